// ConfigCheck: collects what is wrong with a configuration, each fault with the
// key, the value, and what is allowed.
//
// For one thread.

#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "broker/app/config_map.h"
#include "google/protobuf/duration.pb.h"

namespace broker {

inline absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

class ConfigCheck {
 public:
  explicit ConfigCheck(Faults& faults) : faults_(faults) {}

  Faults& faults() { return faults_; }

  void Fault(const std::string& path, absl::string_view what) {
    faults_.push_back(absl::StrCat(path, ": ", what));
  }

  void Range(const std::string& path, uint64_t value, uint64_t least,
             uint64_t most) {
    if (value >= least && value <= most) return;
    Fault(path, absl::StrCat(value, " is out of range; allowed are ", least,
                             " to ", most));
  }

  void Range(const std::string& path, const google::protobuf::Duration& value,
             absl::Duration least, absl::Duration most) {
    const absl::Duration duration = ToDuration(value);
    if (duration >= least && duration <= most) return;
    Fault(path, absl::StrCat(absl::FormatDuration(duration),
                             " is out of range; allowed are ",
                             absl::FormatDuration(least), " to ",
                             absl::FormatDuration(most)));
  }

 private:
  Faults& faults_;
};

}  // namespace broker
