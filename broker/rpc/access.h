// Access: tells who a call is from, by its API key (authorization: Bearer) or
// by the client certificate of its connection.
//
// Thread-safe. Callers can be replaced while calls come in.

#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <string>

#include "absl/status/statusor.h"
#include "broker/core/clock.h"
#include "broker/core/mutex.h"
#include "broker/rpc/callers.h"

namespace broker {

class Access {
 public:
  // Null callers: whoever reaches the listener may do everything, as someone
  // without a name, or with that of its client certificate.
  Access(CallersPtr callers, bool client_certificates, const Clock& clock)
      : clock_(clock),
        client_certificates_(client_certificates),
        open_(callers == nullptr && !client_certificates),
        callers_(std::move(callers)) {}

  // For calls from now on. Not from some callers to none.
  void SetCallers(CallersPtr callers);

  // UNAUTHENTICATED when it is from nobody who is known. An unknown key and
  // what is no key at all get the same answer.
  absl::StatusOr<CallerPtr> Identify(
      const grpc::ServerContextBase& context) const;

  // For a stream that goes on: the caller as it is now, after a reload or at
  // its expiry. Costs little while nothing has changed.
  absl::StatusOr<CallerPtr> Renew(const CallerPtr& caller) const;
  // For a stream whose caller's rights were settled when it began: ABORTED when
  // what the caller reaches is another now. Else `caller` is the one of now, so
  // that a reload is looked into once.
  absl::Status CheckUnchanged(CallerPtr& caller, const Rule& rule) const;

 private:
  CallersPtr callers() const;
  absl::StatusOr<CallerPtr> ByKey(const Callers& callers,
                                  absl::string_view authorization) const;
  absl::StatusOr<CallerPtr> ByCertificate(
      const CallersPtr& callers, const grpc::ServerContextBase& context) const;
  absl::StatusOr<CallerPtr> NotExpired(CallerPtr caller) const;

  const Clock& clock_;
  const bool client_certificates_;
  std::atomic<bool> open_;  // without the lock: nobody must prove anything
  std::atomic<uint64_t> reloads_{0};
  mutable Mutex mu_;
  CallersPtr callers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace broker
