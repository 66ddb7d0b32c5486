#include "broker/hub/request_log.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"

namespace broker {
namespace {

absl::Status Reused(absl::string_view request_id) {
  return WithReason(
      InvalidField("request_id",
                   absl::StrCat("\"", request_id,
                                "\" was used for another request: take a new "
                                "one for every request, and the same only to "
                                "repeat it")),
      "REQUEST_ID_REUSED");
}

}  // namespace

void RequestLog::Run(absl::string_view method, absl::string_view request_id,
                     absl::string_view body, Act act, Done done) {
  const std::string key =
      absl::StrCat(method, absl::string_view("\0", 1), request_id);
  const Sha256Digest digest = Sha256(body);
  std::optional<Answer> replay;
  {
    MutexLock lock(mu_);
    Forget();
    const auto [it, first] = entries_.try_emplace(key);
    Entry& entry = it->second;
    if (first) {
      entry.body = digest;
    } else if (entry.body != digest) {
      replay = Reused(request_id);
    } else if (entry.under_way) {
      entry.waiting.push_back(std::move(done));
      return;
    } else {
      replay = entry.answer;
    }
  }
  // Outside the lock: a callback may call anything.
  if (replay) return done(*replay, true);
  act([this, key, done = std::move(done)](Answer answer) mutable {
    Finish(key, std::move(answer), std::move(done));
  });
}

void RequestLog::Finish(const std::string& key, Answer answer, Done done) {
  std::vector<Done> waiting;
  {
    MutexLock lock(mu_);
    const auto it = entries_.find(key);
    waiting = std::exchange(it->second.waiting, {});
    if (answer.ok()) {
      it->second.under_way = false;
      it->second.answer = *answer;
      it->second.answered = clock_.Monotonic();
      by_age_.push_back(key);
      bytes_ += answer->size();
    } else {
      entries_.erase(it);  // Errors are not remembered.
    }
  }
  done(answer, false);
  for (Done& d : waiting) d(answer, true);
}

void RequestLog::Forget() {
  const MonotonicTime now = clock_.Monotonic();
  while (!by_age_.empty() &&
         (by_age_.size() > kMaxRemembered || bytes_ > kMaxBytes ||
          entries_.find(by_age_.front())->second.answered + kWindow <= now)) {
    ForgetOldest();
  }
}

void RequestLog::ForgetOldest() {
  const auto it = entries_.find(by_age_.front());
  bytes_ -= it->second.answer.size();
  by_age_.pop_front();
  entries_.erase(it);
}

}  // namespace broker
