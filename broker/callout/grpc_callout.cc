#include "broker/callout/grpc_callout.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/rpc/handshake.h"
#include "broker/rpc/identity.h"
#include "broker/rpc/rpc_stats.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;

constexpr size_t kMaxKeyBytes = 1024;
constexpr size_t kMaxReasonBytes = 512;
// More than the largest identity.
constexpr int kMaxAnswerBytes = 256 * 1024;

absl::StatusOr<std::string> ReadFile(absl::string_view option,
                                     const std::string& name) {
  if (name.empty()) return std::string();
  std::ifstream in(name, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.good() || (in.eof() && !in.bad() && in.is_open())) return text;
  return absl::InvalidArgumentError(absl::StrCat(
      option, ": ", Quoted(name), " cannot be read: ", std::strerror(errno)));
}

absl::StatusOr<std::string> ReadKey(const std::string& name) {
  BROKER_ASSIGN_OR_RETURN(std::string key, ReadFile("key_file", name));
  absl::StripTrailingAsciiWhitespace(&key);
  if (name.empty()) return key;
  bool good = !key.empty() && key.size() <= kMaxKeyBytes;
  for (const char c : key) good &= absl::ascii_isgraph(c);
  if (good) return key;
  return absl::InvalidArgumentError(absl::StrCat(
      "key_file: ", Quoted(name), " has no key; allowed is one of 1 to ",
      kMaxKeyBytes, " printable ASCII characters without blanks"));
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(
    const CalloutOptions& options) {
  grpc::ChannelArguments arguments;
  // Back soon after the application is: the breaker keeps the calls away.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // Else one that vanished without a word is waited for as long as TCP does.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  // Handshakes hold secrets: they go where the configuration says.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  if (!options.tls) {
    return grpc::CreateCustomChannel(
        options.target, grpc::InsecureChannelCredentials(), arguments);
  }
  grpc::SslCredentialsOptions ssl;
  BROKER_ASSIGN_OR_RETURN(ssl.pem_root_certs,
                          ReadFile("tls.ca_file", options.ca_file));
  BROKER_ASSIGN_OR_RETURN(
      ssl.pem_cert_chain,
      ReadFile("tls.certificate_file", options.certificate_file));
  BROKER_ASSIGN_OR_RETURN(
      ssl.pem_private_key,
      ReadFile("tls.private_key_file", options.private_key_file));
  if (!options.server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.server_name);
  }
  return grpc::CreateCustomChannel(options.target, grpc::SslCredentials(ssl),
                                   arguments);
}

CalloutAnswer Unavailable(absl::string_view why) {
  CalloutAnswer answer;
  answer.http_status = 503;
  answer.body = std::string(why);
  return answer;
}

absl::StatusOr<CalloutAnswer> ReadAnswer(
    const v1::AuthenticateResponse& response, const Clock& clock) {
  CalloutAnswer answer;
  switch (response.result_case()) {
    case v1::AuthenticateResponse::kIdentity: {
      BROKER_ASSIGN_OR_RETURN(
          answer.identity,
          ReadIdentity("identity", true, response.identity(), clock));
      return answer;
    }
    case v1::AuthenticateResponse::kRefusal:
      break;
    case v1::AuthenticateResponse::RESULT_NOT_SET:
      return InvalidField("result", "is missing: give identity or refusal");
  }
  const v1::HandshakeRefusal& refusal = response.refusal();
  if (refusal.http_status() < 400 || refusal.http_status() > 599) {
    return InvalidField(
        "refusal.http_status",
        absl::StrCat(refusal.http_status(), ": must be 400 to 599"));
  }
  if (refusal.reason().size() > kMaxReasonBytes) {
    return InvalidField(
        "refusal.reason",
        absl::StrCat(refusal.reason().size(), " bytes, at most ",
                     kMaxReasonBytes, " are allowed"));
  }
  for (const char c : refusal.reason()) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      return InvalidField("refusal.reason", "has a control character");
    }
  }
  answer.http_status = refusal.http_status();
  answer.body = refusal.reason().empty() ? "the application refused this client"
                                         : refusal.reason();
  return answer;
}

}  // namespace

struct GrpcCallout::Call {
  // Null as soon as the call has ended.
  std::shared_ptr<grpc::ClientContext> context =
      std::make_shared<grpc::ClientContext>();
  v1::AuthenticateRequest request;
  v1::AuthenticateResponse response;
  CircuitBreaker::Permit permit = 0;
  std::chrono::steady_clock::time_point start;
  absl::AnyInvocable<void(CalloutAnswer)> done;
};

absl::StatusOr<std::unique_ptr<GrpcCallout>> GrpcCallout::Make(
    const CalloutOptions& options, const Clock& clock) {
  BROKER_ASSIGN_OR_RETURN(std::string key, ReadKey(options.key_file));
  BROKER_ASSIGN_OR_RETURN(std::shared_ptr<grpc::Channel> channel,
                          MakeChannel(options));
  return std::unique_ptr<GrpcCallout>(
      new GrpcCallout(options, std::move(key), std::move(channel), clock));
}

GrpcCallout::GrpcCallout(const CalloutOptions& options, std::string key,
                         std::shared_ptr<grpc::Channel> channel,
                         const Clock& clock)
    : options_(options),
      authorization_(key.empty() ? "" : absl::StrCat("Bearer ", key)),
      clock_(clock),
      stub_(v1::ConnectAuthenticator::NewStub(channel)),
      breaker_(options.breaker_failures, options.breaker_pause) {}

GrpcCallout::~GrpcCallout() {
  std::vector<std::shared_ptr<grpc::ClientContext>> left;
  {
    MutexLock lock(mu_);
    ending_ = true;
    if (calls_.empty()) return;
    for (const auto& call : calls_) {
      if (call->context != nullptr) left.push_back(call->context);
    }
  }
  // Without the lock: gRPC may call back from within.
  for (const auto& context : left) context->TryCancel();
  left.clear();
  ended_.get_future().wait();
}

std::shared_ptr<GrpcCallout::Call> GrpcCallout::Begin() {
  MutexLock lock(mu_);
  if (calls_.size() >= options_.max_concurrent) return nullptr;
  return *calls_.insert(std::make_shared<Call>()).first;
}

void GrpcCallout::End(const std::shared_ptr<Call>& call) {
  // It holds the channel. The last one to do so must not be a thread of gRPC's,
  // which would wait for itself to end.
  std::shared_ptr<grpc::ClientContext> context;
  {
    MutexLock lock(mu_);
    context = std::move(call->context);
  }
  context.reset();
  bool last = false;
  {
    MutexLock lock(mu_);
    calls_.erase(call);
    last = ending_ && calls_.empty();
  }
  if (last) ended_.set_value();
}

void GrpcCallout::Authenticate(const HandshakeFacts& facts,
                               const EndpointSettings& endpoint, uint64_t epoch,
                               absl::AnyInvocable<void(CalloutAnswer)> done) {
  // The place first: a permit of the breaker must be used.
  const std::shared_ptr<Call> call = Begin();
  if (call == nullptr) {
    stats_.Add(CalloutResult::kBusy);
    return done(Unavailable("the application has too much to do"));
  }
  const auto permit = breaker_.Ask(clock_.Monotonic());
  if (!permit) {
    End(call);
    stats_.Add(CalloutResult::kOpen);
    return done(Unavailable("the application does not answer"));
  }
  call->permit = *permit;
  call->done = std::move(done);
  call->start = std::chrono::steady_clock::now();
  *call->request.mutable_handshake() = ToProto(facts, endpoint, epoch);
  call->context->set_deadline(std::chrono::system_clock::now() +
                              options_.deadline);
  if (!authorization_.empty()) {
    call->context->AddMetadata("authorization", authorization_);
  }
  stub_->async()->Authenticate(
      call->context.get(), &call->request, &call->response,
      [this, call](const grpc::Status& status) { OnAnswer(call, status); });
}

void GrpcCallout::OnAnswer(const std::shared_ptr<Call>& call,
                           const grpc::Status& status) {
  stats_.Observe(std::chrono::duration<double>(
                     std::chrono::steady_clock::now() - call->start)
                     .count());
  // Any answer shows that somebody is there.
  Report(*call, status.ok());
  if (status.ok()) {
    CalloutResult result;
    CalloutAnswer answer = Read(*call, result);
    stats_.Add(result);  // before the client knows
    call->done(std::move(answer));
  } else {
    const bool late = status.error_code() == grpc::DEADLINE_EXCEEDED;
    stats_.Add(late ? CalloutResult::kDeadline : CalloutResult::kFailed);
    // Not its message: it is the application's, and may quote the request.
    failed_.Log(
        LogLevel::kWarning, "callout_failed",
        "the application did not say who a client is",
        {{"target", options_.target}, {"code", CodeName(status.error_code())}});
    call->done(Unavailable("the application does not answer"));
  }
  call->done = nullptr;
  End(call);
}

CalloutAnswer GrpcCallout::Read(const Call& call, CalloutResult& result) {
  absl::StatusOr<CalloutAnswer> answer = ReadAnswer(call.response, clock_);
  if (answer.ok()) {
    result = answer->identity != nullptr ? CalloutResult::kAdmitted
                                         : CalloutResult::kRefused;
    return *std::move(answer);
  }
  result = CalloutResult::kInvalid;
  invalid_.Log(
      LogLevel::kError, "callout_invalid",
      "the application's answer cannot be taken, and the client was refused",
      {{"target", options_.target}, {"fault", answer.status().message()}});
  return Unavailable("the application's answer cannot be used");
}

void GrpcCallout::Report(const Call& call, bool ok) {
  switch (breaker_.Report(call.permit, ok, clock_.Monotonic())) {
    case CircuitBreaker::Change::kNone:
      return;
    case CircuitBreaker::Change::kOpened:
      stats_.SetBreakerOpen(true);
      return Log(
          LogLevel::kError, "callout_breaker_opened",
          "the application does not answer: it is left alone for a while",
          {{"target", options_.target}});
    case CircuitBreaker::Change::kClosed:
      stats_.SetBreakerOpen(false);
      return Log(LogLevel::kInfo, "callout_breaker_closed",
                 "the application answers again",
                 {{"target", options_.target}});
  }
}

}  // namespace broker
