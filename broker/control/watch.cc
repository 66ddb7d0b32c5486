#include "broker/control/watch.h"

#include <memory>
#include <utility>

#include "absl/strings/str_join.h"
#include "broker/control/audit.h"
#include "broker/control/convert.h"
#include "broker/control/fields.h"
#include "broker/control/token.h"
#include "broker/core/status_macros.h"
#include "broker/rpc/status.h"

namespace broker::control {
namespace {

namespace v1 = ::socketbroker::v1;
using Response = v1::WatchConnectionsResponse;

absl::StatusOr<WatchSpec> ReadSpec(Hub& hub, const Caller& caller,
                                   const v1::WatchConnectionsRequest& request) {
  WatchSpec spec;
  BROKER_ASSIGN_OR_RETURN(spec.ns,
                          ReadNamespace(request, caller, *hub.settings()));
  BROKER_ASSIGN_OR_RETURN(spec.predicate, ReadSelectorOrAll(request));
  spec.within = caller.filter();
  spec.predicate = Predicate::Both(spec.within, spec.predicate);
  BROKER_ASSIGN_OR_RETURN(spec.states, ReadStates(request.states()));
  return spec;
}

// A token starts with the run that gave it: positions mean nothing in another.
absl::StatusOr<std::vector<uint64_t>> ReadPositions(
    Hub& hub, const std::string& token, const std::string& binding) {
  BROKER_ASSIGN_OR_RETURN(const std::string position,
                          ReadToken("resume_token", token, binding));
  const std::string run = hub.node_id().ToString();
  const std::vector<uint64_t> positions =
      position.size() > run.size()
          ? UnpackNumbers(absl::string_view(position).substr(run.size() + 1))
          : std::vector<uint64_t>();
  if (position.compare(0, run.size(), run) != 0 ||
      positions.size() != hub.shards().size()) {
    return WithReason(
        absl::OutOfRangeError("resume_token: is of another run of the broker: "
                              "start again without it"),
        "RESUME_TOKEN_TOO_OLD");
  }
  return positions;
}

absl::StatusOr<std::shared_ptr<WatchFeed>> Open(
    Hub& hub, const Caller& caller, const v1::WatchConnectionsRequest& request,
    std::string& binding) {
  BROKER_ASSIGN_OR_RETURN(WatchSpec spec, ReadSpec(hub, caller, request));
  binding = absl::StrCat("watch ", spec.ns, " ", spec.predicate->fingerprint(),
                         " ", absl::StrJoin(request.states(), ","));
  if (request.resume_token().empty()) return hub.Watch(std::move(spec));
  BROKER_ASSIGN_OR_RETURN(std::vector<uint64_t> positions,
                          ReadPositions(hub, request.resume_token(), binding));
  return hub.WatchFrom(std::move(spec), std::move(positions));
}

Response ToProto(const WatchEvent& event) {
  Response out;
  const auto removed = [&](v1::RemovedConnection::Reason reason) {
    *out.mutable_removed()->mutable_connection() = broker::ToProto(*event.info);
    out.mutable_removed()->set_reason(reason);
  };
  switch (event.kind) {
    case WatchEvent::Kind::kAdded:
      *out.mutable_added() = broker::ToProto(*event.info);
      break;
    case WatchEvent::Kind::kUpdated:
      *out.mutable_updated() = broker::ToProto(*event.info);
      break;
    case WatchEvent::Kind::kClosed:
      removed(v1::RemovedConnection::REASON_CLOSED);
      out.mutable_removed()->set_close_code(event.close_code);
      break;
    case WatchEvent::Kind::kLeftFilter:
      removed(v1::RemovedConnection::REASON_LEFT_FILTER);
      break;
    case WatchEvent::Kind::kSnapshotEnd:
      out.mutable_snapshot_end();
      break;
  }
  return out;
}

// One stream. The feed calls it back through a link that outlives it, so that a
// late call finds nobody instead of a reactor that is gone.
class Stream final : public grpc::ServerWriteReactor<Response> {
 public:
  Stream(Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats,
         const v1::WatchConnectionsRequest& request)
      : access_(access),
        caller_(std::move(caller)),
        stats_(stats),
        run_(hub.node_id().ToString()) {
    auto feed = Open(hub, *caller_, request, binding_);
    if (feed.ok()) {
      feed_ = *std::move(feed);
      WriteNext();
    } else {
      End(feed.status());
    }
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      WriteNext();
    } else {
      End(absl::CancelledError("the reader is gone"));
    }
  }

  void OnCancel() override {
    if (feed_ == nullptr) return;
    // Waking WriteNext is the one way to end: no other call may be under way.
    feed_->Fail(absl::CancelledError("the reader is gone"));
  }

  void OnDone() override {
    if (feed_ != nullptr) feed_->Cancel();
    delete this;
  }

 private:
  void WriteNext() {
    feed_->NotifyWhenReady([this] {
      WatchFeed::Item item = feed_->Next();
      if (item.end) return End(*item.end);
      const absl::Status allowed =
          access_.CheckUnchanged(caller_, RuleFor("WatchConnections"));
      if (!allowed.ok()) return End(allowed);
      response_ = ToProto(*item.event);
      if (!item.positions.empty()) {
        response_.set_resume_token(MakeToken(
            binding_, absl::StrCat(run_, ",", PackNumbers(item.positions))));
      }
      StartWrite(&response_);
    });
  }

  void End(const absl::Status& status) {
    const grpc::Status out = ToGrpcStatus(status);
    stats_.Add("WatchConnections", out.error_code());
    AuditEnd(caller_->name, RuleFor("WatchConnections"), status);
    Finish(out);
  }

  const Access& access_;
  CallerPtr caller_;
  RpcStats& stats_;
  const std::string run_;
  std::string binding_;
  std::shared_ptr<WatchFeed> feed_;
  Response response_;
};

}  // namespace

grpc::ServerWriteReactor<Response>* WatchConnections(
    Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats,
    const v1::WatchConnectionsRequest& request) {
  return new Stream(hub, access, std::move(caller), stats, request);
}

}  // namespace broker::control
