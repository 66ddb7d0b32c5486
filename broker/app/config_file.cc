#include "broker/app/config_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "broker/app/config_yaml.h"

namespace broker {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

absl::StatusOr<std::string> Read(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot be read: ", std::strerror(errno)));
  }
  std::string text;
  char buffer[16384];
  ssize_t size = 0;
  while (text.size() <= kMaxFileBytes &&
         (size = read(fd, buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<size_t>(size));
  }
  const int error = errno;
  close(fd);
  if (size < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot be read: ", std::strerror(error)));
  }
  if (text.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "is over ", kMaxFileBytes, " bytes: that is no configuration"));
  }
  return text;
}

}  // namespace

void ApplyFile(const std::string& file, google::protobuf::Message& message,
               Faults& faults) {
  const absl::StatusOr<std::string> text = Read(file);
  if (!text.ok()) {
    faults.push_back(absl::StrCat(file, ": ", text.status().message()));
    return;
  }
  const absl::StatusOr<ConfigValue> value = ParseYaml(*text);
  if (!value.ok()) {
    // The message may begin with its line: "broker.yaml:3: ...".
    const absl::string_view what = value.status().message();
    const bool line = !what.empty() && absl::ascii_isdigit(what[0]);
    faults.push_back(absl::StrCat(file, line ? ":" : ": ", what));
    return;
  }
  ApplyValue(*value, file, message, faults);
}

}  // namespace broker
