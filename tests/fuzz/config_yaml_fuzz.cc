// Any bytes as a configuration file: refused with sentences, or printed and
// read back as itself.

#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "broker/app/config.h"
#include "broker/app/config_yaml.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kDescriptors = 20'000;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto value = broker::ParseYaml(text);
  if (!value.ok()) {
    Require(!value.status().message().empty());
    return 0;
  }
  broker::Config config;
  broker::Faults faults;
  broker::ApplyValue(*value, "fuzz", config, faults);
  broker::FillDefaults(kDescriptors, /*memory_limit=*/0, config);
  broker::CheckConfig(config, kDescriptors, faults);
  for (const std::string& fault : faults) {
    Require(fault.find('\n') == std::string::npos);
  }
  if (!faults.empty()) return 0;

  Require(broker::ToSettings(config)->endpoints.size() ==
          static_cast<size_t>(config.endpoints_size()));
  const auto again = broker::ParseYaml(broker::PrintConfig(config));
  Require(again.ok());
  broker::Config copy;
  broker::ApplyValue(*again, "printed", copy, faults);
  Require(faults.empty());
  Require(google::protobuf::util::MessageDifferencer::Equals(config, copy));
  return 0;
}
