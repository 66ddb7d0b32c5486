#include "tests/fakes/tls_client.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace broker::testing {

TlsClient::TlsClient(const Options& options)
    : context_(SSL_CTX_new(TLS_client_method())),
      ssl_(SSL_new(context_)),
      in_(BIO_new(BIO_s_mem())),
      out_(BIO_new(BIO_s_mem())) {
  if (options.max_version != 0) {
    // So that versions which the system forbids can be offered at all.
    SSL_set_security_level(ssl_, 0);
    SSL_set_min_proto_version(ssl_, 0);
    SSL_set_max_proto_version(ssl_, options.max_version);
  }
  std::string offered;
  for (const std::string& name : options.alpn) {
    offered += static_cast<char>(name.size());
    offered += name;
  }
  if (!offered.empty()) {
    SSL_set_alpn_protos(ssl_,
                        reinterpret_cast<const unsigned char*>(offered.data()),
                        static_cast<unsigned>(offered.size()));
  }
  SSL_set_bio(ssl_, in_, out_);
  SSL_set_connect_state(ssl_);
  SSL_do_handshake(ssl_);
}

TlsClient::~TlsClient() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

bool TlsClient::Feed(absl::string_view wire, std::string& plain) {
  BIO_write(in_, wire.data(), static_cast<int>(wire.size()));
  char piece[16 * 1024];
  for (;;) {
    const int n = SSL_read(ssl_, piece, sizeof piece);
    if (n > 0) {
      plain.append(piece, static_cast<size_t>(n));
      continue;
    }
    const int error = SSL_get_error(ssl_, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN;
  }
}

bool TlsClient::Write(absl::string_view plain) {
  return ready() &&
         (plain.empty() ||
          SSL_write(ssl_, plain.data(), static_cast<int>(plain.size())) > 0);
}

void TlsClient::UpdateKeys() {
  SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED);
  SSL_do_handshake(ssl_);
}

void TlsClient::Renegotiate() {
  SSL_renegotiate(ssl_);
  SSL_do_handshake(ssl_);
}

uint32_t TlsClient::early_data() const {
  return SSL_SESSION_get_max_early_data(SSL_get_session(ssl_));
}

std::string TlsClient::TakeOutgoing() {
  char* data = nullptr;
  const long size = BIO_get_mem_data(out_, &data);
  std::string result(data, static_cast<size_t>(size));
  BIO_reset(out_);
  return result;
}

bool TlsClient::ready() const { return SSL_is_init_finished(ssl_) == 1; }

bool TlsClient::ended() const {
  return (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0;
}

std::string TlsClient::version() const { return SSL_get_version(ssl_); }

std::string TlsClient::protocol() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string TlsClient::server_name() const {
  X509* const certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr) return "";
  char name[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
                            name, sizeof name);
  return name;
}

TestCertificate::TestCertificate(const std::string& common_name, int days) {
  const char* const base = std::getenv("TMPDIR");
  folder_ = std::string(base != nullptr ? base : "/tmp") + "/broker_XXXXXX";
  if (mkdtemp(folder_.data()) == nullptr) std::abort();
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 86'400L * days);
  X509_NAME* const name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(
      name, "CN", MBSTRING_UTF8,
      reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_set_pubkey(certificate, key);
  X509_sign(certificate, key, EVP_sha256());
  std::FILE* file = std::fopen(certificate_file().c_str(), "w");
  PEM_write_X509(file, certificate);
  std::fclose(file);
  file = std::fopen(private_key_file().c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

TestCertificate::~TestCertificate() {
  std::remove(certificate_file().c_str());
  std::remove(private_key_file().c_str());
  rmdir(folder_.c_str());
}

}  // namespace broker::testing
