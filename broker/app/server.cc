#include "broker/app/server.h"

#include <google/protobuf/util/json_util.h>

#include <future>
#include <optional>
#include <utility>

#include "broker/admin/metrics.h"
#include "broker/control/handlers.h"
#include "broker/core/clock.h"
#include "broker/core/host_port.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

// How long a page of the admin server waits for the shards.
constexpr std::chrono::seconds kAdminPatience{2};
// What is left of a drain's window for sockets to end and calls to be answered.
constexpr absl::Duration kDrainTail = absl::Seconds(2);

// The answer of a command of the hub, or nothing when it takes too long. For
// threads that may block.
template <typename T, typename Start>
std::optional<T> Wait(Start start) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<T>>>();
  std::future<absl::StatusOr<T>> future = promise->get_future();
  start(Done<T>([promise](absl::StatusOr<T> result) {
    promise->set_value(std::move(result));
  }));
  if (future.wait_for(kAdminPatience) != std::future_status::ready) {
    return std::nullopt;
  }
  absl::StatusOr<T> result = future.get();
  if (!result.ok()) return std::nullopt;
  return *std::move(result);
}

}  // namespace

Server::Server(ServerOptions options, std::unique_ptr<GrpcCallout> callout)
    : options_(std::move(options)),
      websocket_(options_.websocket),
      callout_(std::move(callout)),
      access_(options_.callers,
              options_.control_tls && !options_.control_tls->client_ca.empty(),
              Clock::System()) {
  if (options_.control_tls) {
    control_tls_ = std::make_unique<ControlTls>(options_.control_tls);
  }
  if (websocket_tls()) {
    certificate_expires_ =
        absl::ToUnixSeconds(options_.websocket.tls->not_after());
  }
}

Server::~Server() {
  // Outermost first: nothing may call into what is gone already.
  if (admin_) admin_->Stop();
  memory_.reset();
  if (control_) control_->Shutdown(absl::ZeroDuration());
  websocket_.Stop();
  callout_.reset();  // nobody asks any more, and the hub still hears answers
}

std::string Server::websocket_address() const {
  return HostPort(options_.websocket.address, websocket_.port());
}

std::string Server::control_address() const {
  return control_->server()->address();
}

std::string Server::admin_address() const {
  return admin_ ? HostPort(options_.admin_address, admin_->port()) : "";
}

absl::Status Server::MakeHub() {
  JournalPast past = JournalPast::None(Clock::System());
  if (!options_.state_dir.empty()) {
    BROKER_ASSIGN_OR_RETURN(
        journal_, FileJournal::Open(options_.state_dir, Clock::System()));
    past = journal_->TakePast();
  }
  hub_ =
      std::make_unique<Hub>(websocket_.transports(), options_.settings,
                            Clock::System(), std::move(past), journal_.get());
  return absl::OkStatus();
}

absl::Status Server::Start() {
  BROKER_RETURN_IF_ERROR(MakeHub());
  hub_->SetCallout(callout_.get());
  BROKER_RETURN_IF_ERROR(websocket_.Bind());
  if (options_.admin_enabled) {
    admin_ = std::make_unique<AdminServer>(MakeAdminSource());
    BROKER_RETURN_IF_ERROR(
        admin_->Bind(options_.admin_address, options_.admin_port));
  }
  BrokerFacts facts;
  facts.version = options_.version;
  facts.websocket_address = websocket_address();
  facts.websocket_tls = websocket_tls();
  facts.admin_address = admin_address();
  facts.durable_revocations = journal_ != nullptr;
  // One listener is watched: the other dies with it, of the same cause.
  const ControlServer::Options& control = options_.control;
  control_ = std::make_unique<ControlSupervisor>(
      control.tcp ? control.address : "unix:" + control.unix_socket,
      control.port, [this, facts](uint16_t port) {
        ControlServer::Options options = options_.control;
        options.port = port;
        return std::make_unique<ControlServer>(
            *hub_, access_, control_tls_.get(), options, facts);
      });
  BROKER_RETURN_IF_ERROR(control_->Start());
  websocket_.Start(hub_->shards());
  memory_ = std::make_unique<MemoryMonitor>(*hub_);
  if (admin_) admin_->Serve();
  return absl::OkStatus();
}

void Server::Reload(const Reloaded& reloaded) {
  const TlsContextPtr& tls = reloaded.websocket_tls;
  hub_->Reload(reloaded.settings);
  if (tls != nullptr)
    certificate_expires_ = absl::ToUnixSeconds(tls->not_after());
  websocket_.SetTls(tls);
  if (reloaded.control_tls) control_tls_->Set(reloaded.control_tls);
  if (reloaded.callers) access_.SetCallers(reloaded.callers);
}

void Server::Drain(absl::Duration window, const std::function<bool()>& hurry) {
  const absl::Time end = absl::Now() + window;
  control_->SetServing(false);
  auto drained = std::make_shared<std::promise<void>>();
  std::future<void> future = drained->get_future();
  hub_->Drain(std::max(window - kDrainTail, absl::ZeroDuration()),
              [drained] { drained->set_value(); });
  // Asked once and kept: `hurry` takes the signal that it tells of.
  bool hurried = false;
  while (absl::Now() < end && !(hurried = hurry()) &&
         future.wait_for(std::chrono::milliseconds(20)) !=
             std::future_status::ready) {
  }
  websocket_.StopAccepting();
  control_->Shutdown(hurried
                         ? absl::ZeroDuration()
                         : std::clamp(end - absl::Now(), absl::ZeroDuration(),
                                      absl::Seconds(1)));
}

// ---- the admin pages ------------------------------------------------------

AdminSource Server::MakeAdminSource() {
  AdminSource source;
  source.live = [this] { return ShardsAnswer(); };
  source.ready = [this] { return !hub_->draining() && ShardsAnswer(); };
  source.status_json = [this] { return StatusJson(); };
  source.metrics = [this] { return CollectMetrics(); };
  return source;
}

bool Server::ShardsAnswer() {
  return Wait<uint64_t>([this](Done<uint64_t> done) {
           hub_->Count("default", Predicate::All(), std::move(done));
         })
      .has_value();
}

std::vector<prometheus::MetricFamily> Server::CollectMetrics() {
  MetricsSnapshot snapshot;
  snapshot.version = options_.version;
  for (Shard* shard : hub_->shards())
    snapshot.shards.push_back(&shard->stats());
  snapshot.sockets = hub_->shards().front()->caps().sockets();
  snapshot.epoch = hub_->epoch();
  if (journal_ != nullptr) snapshot.journal = &journal_->stats();
  snapshot.memory = hub_->memory();
  snapshot.control_restarts = control_->restarts();
  snapshot.offers = hub_->offer_figures();
  if (callout_ != nullptr) snapshot.callouts = &callout_->stats();
  if (websocket_tls()) snapshot.certificate_expires = certificate_expires_;
  using Counts = std::map<std::string, Registry::Counts>;
  snapshot.namespaces = Wait<Counts>([this](Done<Counts> done) {
                          hub_->CountByNamespace(std::move(done));
                        }).value_or(Counts());
  for (const RpcStats::Row& row : control_->server()->stats().Snapshot()) {
    snapshot.rpcs.push_back({row.method, row.code, row.count});
  }
  return broker::CollectMetrics(snapshot);
}

std::string Server::StatusJson() {
  using Response = socketbroker::v1::GetBrokerInfoResponse;
  const std::optional<Response> info =
      Wait<Response>([this](Done<Response> done) {
        control_->server()->GetBrokerInfo(std::move(done));
      });
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  if (info) {
    (void)google::protobuf::util::MessageToJsonString(*info, &json, options);
  }
  return json.empty() ? "{}" : json;
}

}  // namespace broker
