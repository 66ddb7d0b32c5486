// Any bytes as a configuration file: refused with sentences, or printed and
// read back as itself.

#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "broker/app/config.h"
#include "broker/app/config_yaml.h"
#include "tests/fuzz/check.h"

using broker::fuzz::Check;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kDescriptors = 20'000;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto value = broker::ParseYaml(text);
  if (!value.ok()) {
    Check(!value.status().message().empty(), "what is refused is explained");
    return 0;
  }
  broker::Config config;
  broker::Faults faults;
  broker::ApplyValue(*value, "fuzz", config, faults);
  broker::FillDefaults(kDescriptors, /*memory_limit=*/0, config);
  broker::CheckConfig(config, kDescriptors, faults);
  for (const std::string& fault : faults) {
    Check(fault.find('\n') == std::string::npos, "a fault is one line");
  }
  if (!faults.empty()) return 0;

  Check(broker::ToSettings(config)->endpoints.size() ==
            static_cast<size_t>(config.endpoints_size()),
        "every endpoint is set up");
  const auto again = broker::ParseYaml(broker::PrintConfig(config));
  Check(again.ok(), "what is printed is read");
  broker::Config copy;
  broker::ApplyValue(*again, "printed", copy, faults);
  Check(faults.empty(), "without faults");
  Check(google::protobuf::util::MessageDifferencer::Equals(config, copy),
        "as itself");
  return 0;
}
