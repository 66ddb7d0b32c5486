// One call of a handler, on its own or as an item of a Publish stream: with a
// request_id it acts once, and a repeat of the same caller gets the first
// answer.
//
// Thread-safe.

#pragma once

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/control/handlers.h"
#include "broker/core/status.h"
#include "broker/hub/hub.h"

namespace broker::control {

inline constexpr size_t kMaxRequestIdBytes = 128;

template <typename Request>
constexpr bool kHasRequestId = requires(const Request& request) {
  request.request_id();
};

// How to answer a repeat: with the first answer, but for bindings.
template <typename Request, typename Response>
void Repeat(Hub&, const Caller&, const Request&, Response answer,
            Done<Response> done) {
  done(std::move(answer));
}
inline void Repeat(Hub& hub, const Caller& caller,
                   const v1::AddConnectionRequest& request,
                   v1::AddConnectionResponse answer,
                   Done<v1::AddConnectionResponse> done) {
  RepeatAddConnection(hub, caller, request, std::move(answer), std::move(done));
}

// Runs the handler, or answers from what is remembered for the request_id.
template <typename Request, typename Response, typename Handler>
void CallOnce(Hub& hub, const Caller& caller, const Rule& rule,
              const Request& request, Handler handler, Done<Response> done) {
  const std::string& id = request.request_id();
  if (id.size() > kMaxRequestIdBytes) {
    return done(InvalidField("request_id",
                             absl::StrCat(id.size(), " bytes, at most ",
                                          kMaxRequestIdBytes, " are allowed")));
  }
  hub.requests().Run(
      absl::StrCat(caller.name, absl::string_view("\0", 1),
                   absl::string_view(rule.method.data(), rule.method.size())),
      id, request.SerializeAsString(),
      [&hub, &caller, &request,
       handler](absl::AnyInvocable<void(RequestLog::Answer)> finish) {
        handler(hub, caller, request,
                [finish = std::move(finish)](
                    absl::StatusOr<Response> response) mutable {
                  if (!response.ok()) return finish(response.status());
                  finish(response->SerializeAsString());
                });
      },
      [&hub, &caller, &request, done = std::move(done)](
          const RequestLog::Answer& answer, bool replayed) mutable {
        if (!answer.ok()) return done(answer.status());
        Response response;
        response.ParseFromString(*answer);
        if (!replayed) return done(std::move(response));
        Repeat(hub, caller, request, std::move(response), std::move(done));
      });
}

// Request and caller live until `done` has been called. A caller without the
// role is denied.
template <typename Request, typename Response, typename Handler>
void Call(Hub& hub, const Caller& caller, const Rule& rule,
          const Request& request, Handler handler, Done<Response> done) {
  if (!caller.roles.Allow(rule.roles)) return done(caller.CheckRole(rule));
  if constexpr (kHasRequestId<Request>) {
    if (!request.request_id().empty()) {
      return CallOnce(hub, caller, rule, request, handler, std::move(done));
    }
  }
  handler(hub, caller, request, std::move(done));
}

}  // namespace broker::control
