// TLS of the gRPC listener: the certificate that it shows and those that it
// asks of callers, replaced while the server runs.

#pragma once

#include <grpcpp/security/server_credentials.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "broker/core/mutex.h"

namespace broker {

// As PEM. Immutable once shared.
struct ControlCertificates {
  std::string certificate;  // and its chain
  std::string private_key;
  std::string client_ca;  // empty: callers need no certificate

  // Reads the files; `client_ca_file` may be empty. INVALID_ARGUMENT begins
  // with the option that is at fault, such as "certificate_file: ".
  static absl::StatusOr<std::shared_ptr<const ControlCertificates>> Load(
      const std::string& certificate_file, const std::string& private_key_file,
      const std::string& client_ca_file);
};

using ControlCertificatesPtr = std::shared_ptr<const ControlCertificates>;

// Thread-safe. Outlives every server that it made credentials for.
class ControlTls {
 public:
  explicit ControlTls(ControlCertificatesPtr certificates);

  // For handshakes from now on.
  void Set(ControlCertificatesPtr certificates);

  // For one start of a server.
  std::shared_ptr<grpc::ServerCredentials> MakeCredentials();

 private:
  struct Version {
    ControlCertificatesPtr certificates;
    uint64_t number;
  };
  // What one server has got already.
  struct Listener {
    explicit Listener(const ControlTls& of) : tls(of) {}
    const ControlTls& tls;
    std::atomic<uint64_t> has{0};
  };

  Version current() const;
  // gRPC asks before each handshake.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* listener, grpc_ssl_server_certificate_config** config);

  const bool wants_client_;
  mutable Mutex mu_;
  Version version_ ABSL_GUARDED_BY(mu_);
  std::deque<Listener> listeners_ ABSL_GUARDED_BY(mu_);
};

}  // namespace broker
