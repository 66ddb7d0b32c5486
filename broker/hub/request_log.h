// RequestLog: what makes a call with a request_id safe to repeat.
//
// Thread-safe: it is shared by all gRPC threads, and therefore locked. Knows
// nothing of messages: bodies and answers are their serialized bytes.

#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "broker/core/clock.h"
#include "broker/core/mutex.h"
#include "broker/core/secret.h"

namespace broker {

class RequestLog {
 public:
  static constexpr size_t kMaxRemembered = 100'000;
  static constexpr std::chrono::minutes kWindow{10};
  // Larger answers (lists of outcomes) would make the bound on their number
  // worth little, so all answers together are bounded too.
  static constexpr size_t kMaxBytes = 64 << 20;

  using Answer = absl::StatusOr<std::string>;
  // `replayed` is false for the one call that acted.
  using Done = absl::AnyInvocable<void(const Answer&, bool replayed)>;
  using Act = absl::AnyInvocable<void(absl::AnyInvocable<void(Answer)>)>;

  explicit RequestLog(const Clock& clock) : clock_(clock) {}

  // The first call of `method` with that id runs `act`, which must call what it
  // is given exactly once, on any thread. A repeat gets the answer, now or when
  // it is there. INVALID_ARGUMENT, at once, when the body is another.
  void Run(absl::string_view method, absl::string_view request_id,
           absl::string_view body, Act act, Done done);

 private:
  struct Entry {
    Sha256Digest body;
    std::string answer;
    bool under_way = true;
    std::vector<Done> waiting;
    MonotonicTime answered;
  };

  void Finish(const std::string& key, Answer answer, Done done);
  void Forget() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Clock& clock_;
  Mutex mu_;
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mu_);
  std::list<std::string> by_age_
      ABSL_GUARDED_BY(mu_);  // answered, oldest first
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace broker
