// GrpcCallout: the hub's port Callout as a client of the service
// ConnectAuthenticator, which the user's application implements. Fails closed:
// whatever is no answer is a refusal with 503.
//
// Thread-safe.

#pragma once

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "broker/callout/circuit_breaker.h"
#include "broker/core/clock.h"
#include "broker/core/log.h"
#include "broker/core/mutex.h"
#include "broker/hub/callout.h"
#include "broker/hub/callout_stats.h"
#include "socketbroker/v1/connect_authenticator.grpc.pb.h"

namespace broker {

struct CalloutOptions {
  std::string target;  // what gRPC takes, such as "127.0.0.1:50061"
  std::chrono::milliseconds deadline{3'000};
  uint32_t max_concurrent = 256;
  uint32_t breaker_failures = 10;  // in a row; 0: never opens
  std::chrono::milliseconds breaker_pause{5'000};
  bool tls = false;
  std::string ca_file;           // empty: the system's
  std::string certificate_file;  // of the broker, with private_key_file
  std::string private_key_file;
  std::string server_name;  // in the certificate; empty: the target's host
  std::string key_file;     // holds the key; empty: none is sent
};

class GrpcCallout final : public Callout {
 public:
  // Reads the files; does not connect yet. The error begins with the option's
  // name.
  static absl::StatusOr<std::unique_ptr<GrpcCallout>> Make(
      const CalloutOptions& options, const Clock& clock = Clock::System());

  // Drops what is not answered. Not while anybody may still ask.
  ~GrpcCallout() override;

  void Authenticate(const HandshakeFacts& facts,
                    const EndpointSettings& endpoint, uint64_t epoch,
                    absl::AnyInvocable<void(CalloutAnswer)> done) override;

  const CalloutStats& stats() const { return stats_; }

 private:
  struct Call;

  GrpcCallout(const CalloutOptions& options, std::string key,
              std::shared_ptr<grpc::Channel> channel, const Clock& clock);
  // A place among the calls under way; null: there is none.
  std::shared_ptr<Call> Begin();
  void End(const std::shared_ptr<Call>& call);
  void OnAnswer(const std::shared_ptr<Call>& call, const grpc::Status& status);
  // The answer, and as what it counts.
  CalloutAnswer Read(const Call& call, CalloutResult& result);
  void Report(const Call& call, bool ok);

  const CalloutOptions options_;
  const std::string authorization_;  // a secret; empty: there is no key
  const Clock& clock_;
  const std::unique_ptr<socketbroker::v1::ConnectAuthenticator::Stub> stub_;
  CircuitBreaker breaker_;
  CalloutStats stats_;
  LogLimiter failed_{1};  // lines a second
  LogLimiter invalid_{1};

  Mutex mu_;
  absl::flat_hash_set<std::shared_ptr<Call>> calls_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::promise<void> ended_;  // kept when ending_ and no call is left
};

}  // namespace broker
