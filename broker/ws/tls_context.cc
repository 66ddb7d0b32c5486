#include "broker/ws/tls_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "broker/core/quoted.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

constexpr unsigned char kHttp11[] = "\x08http/1.1";

absl::Status Fault(absl::string_view option, const std::string& file,
                   absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": ", Quoted(file), " ", what));
}

// OpenSSL says no more of a file that is not there than "system lib".
absl::Status CheckReadable(absl::string_view option, const std::string& file) {
  std::FILE* const open = std::fopen(file.c_str(), "re");
  char byte = 0;
  const bool ok = open != nullptr && std::fread(&byte, 1, 1, open) == 1;
  const int error = open == nullptr || std::ferror(open) != 0 ? errno : 0;
  if (open != nullptr) std::fclose(open);
  if (ok) return absl::OkStatus();
  return Fault(option, file,
               error == 0
                   ? "is empty"
                   : absl::StrCat("cannot be read: ", std::strerror(error)));
}

// A browser that offers HTTP/2 as well gets what a WebSocket needs; who does
// not offer that is refused (RFC 7301 section 3.2).
int SelectProtocol(SSL*, const unsigned char** out, unsigned char* out_size,
                   const unsigned char* offered, unsigned int size, void*) {
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_size, kHttp11,
                                          sizeof kHttp11 - 1, offered, size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK
                                         : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// A daemon has nobody to ask for a password.
int NoPassword(char*, int, int, void*) { return 0; }

}  // namespace

TlsContext::TlsContext() : context_(SSL_CTX_new(TLS_server_method())) {}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

absl::StatusOr<TlsContextPtr> TlsContext::Load(const TlsOptions& options) {
  BROKER_RETURN_IF_ERROR(
      CheckReadable("certificate_file", options.certificate_file));
  BROKER_RETURN_IF_ERROR(
      CheckReadable("private_key_file", options.private_key_file));
  const std::shared_ptr<TlsContext> result(new TlsContext());
  SSL_CTX* const context = result->context_;
  if (context == nullptr) return absl::InternalError("no memory for TLS");
  SSL_CTX_set_min_proto_version(
      context, options.only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  // A connection at rest has no buffers of 16 KiB.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  // Clients resume with tickets, which cost the broker no memory.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context, SelectProtocol, nullptr);
  SSL_CTX_set_default_passwd_cb(context, NoPassword);

  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(
          context, options.certificate_file.c_str()) != 1) {
    return Fault("certificate_file", options.certificate_file,
                 "has no certificate in PEM form that OpenSSL takes");
  }
  ERR_clear_error();
  if (SSL_CTX_use_PrivateKey_file(context, options.private_key_file.c_str(),
                                  SSL_FILETYPE_PEM) != 1) {
    const bool mismatch =
        ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;
    return Fault("private_key_file", options.private_key_file,
                 mismatch
                     ? absl::StrCat("is not the key of the certificate in ",
                                    Quoted(options.certificate_file))
                     : "has no private key in PEM form without a password");
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return Fault("private_key_file", options.private_key_file,
                 absl::StrCat("is not the key of the certificate in ",
                              Quoted(options.certificate_file)));
  }
  std::tm not_after{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(context)),
                      &not_after) == 1) {
    result->not_after_ = absl::FromTM(not_after, absl::UTCTimeZone());
  }
  return result;
}

}  // namespace broker
