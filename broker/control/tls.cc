#include "broker/control/tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpcpp/version_info.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/pem.h"
#include "broker/core/quoted.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

absl::Status At(absl::string_view option, const std::string& file,
                const absl::Status& fault) {
  if (fault.ok()) return fault;
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": ", Quoted(file), " ", fault.message()));
}

absl::StatusOr<std::string> ReadCertificates(absl::string_view option,
                                             const std::string& file) {
  auto pem = ReadPemFile(file);
  if (!pem.ok()) return At(option, file, pem.status());
  BROKER_RETURN_IF_ERROR(At(option, file, CheckCertificates(*pem)));
  return pem;
}

// gRPC's C++ has no credentials whose certificate can be replaced at a moment
// of our choice; its C API has.
class ReplaceableCredentials final : public grpc::ServerCredentials {
 public:
#if GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR < 54
  explicit ReplaceableCredentials(grpc_server_credentials* credentials)
      : credentials_(credentials) {}
  ~ReplaceableCredentials() override {
    grpc_server_credentials_release(credentials_);
  }
#else  // The base class owns them.
  explicit ReplaceableCredentials(grpc_server_credentials* credentials)
      : grpc::ServerCredentials(credentials), credentials_(credentials) {}
#endif

  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address,
                      grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* const credentials_;
};

}  // namespace

absl::StatusOr<ControlCertificatesPtr> ControlCertificates::Load(
    const std::string& certificate_file, const std::string& private_key_file,
    const std::string& client_ca_file) {
  auto out = std::make_shared<ControlCertificates>();
  BROKER_ASSIGN_OR_RETURN(
      out->certificate, ReadCertificates("certificate_file", certificate_file));
  auto key = ReadPemFile(private_key_file);
  if (!key.ok()) return At("private_key_file", private_key_file, key.status());
  out->private_key = *std::move(key);
  BROKER_RETURN_IF_ERROR(
      At("private_key_file", private_key_file,
         CheckPrivateKey(out->private_key, out->certificate)));
  if (!client_ca_file.empty()) {
    BROKER_ASSIGN_OR_RETURN(out->client_ca,
                            ReadCertificates("client_ca_file", client_ca_file));
  }
  return ControlCertificatesPtr(std::move(out));
}

ControlTls::ControlTls(ControlCertificatesPtr certificates)
    : wants_client_(!certificates->client_ca.empty()),
      version_{std::move(certificates), 1} {}

void ControlTls::Set(ControlCertificatesPtr certificates) {
  MutexLock lock(mu_);
  version_ = {std::move(certificates), version_.number + 1};
}

ControlTls::Version ControlTls::current() const {
  MutexLock lock(mu_);
  return version_;
}

grpc_ssl_certificate_config_reload_status ControlTls::Fetch(
    void* listener, grpc_ssl_server_certificate_config** config) {
  auto& to = *static_cast<Listener*>(listener);
  const Version version = to.tls.current();
  if (to.has.exchange(version.number) == version.number) {
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  }
  const ControlCertificates& pem = *version.certificates;
  const grpc_ssl_pem_key_cert_pair pair = {pem.private_key.c_str(),
                                           pem.certificate.c_str()};
  // gRPC 1.51 wants authorities even where it asks for no certificate.
  *config = grpc_ssl_server_certificate_config_create(
      pem.client_ca.empty() ? pem.certificate.c_str() : pem.client_ca.c_str(),
      &pair, 1);
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

std::shared_ptr<grpc::ServerCredentials> ControlTls::MakeCredentials() {
  Listener* listener;
  {
    MutexLock lock(mu_);
    listener = &listeners_.emplace_back(*this);
  }
  grpc_ssl_server_credentials_options* const options =
      grpc_ssl_server_credentials_create_options_using_config_fetcher(
          wants_client_
              ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
              : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
          &Fetch, listener);
  return std::make_shared<ReplaceableCredentials>(
      grpc_ssl_server_credentials_create_with_options(options));
}

}  // namespace broker
