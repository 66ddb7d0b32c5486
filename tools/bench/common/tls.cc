#include "tools/bench/common/tls.h"

#include <openssl/ssl.h>

#include "tools/bench/common/net.h"

namespace bench {

TlsContext::TlsContext()
    : context_(SSL_CTX_new(TLS_client_method())), server_(false) {
  SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS);
}

TlsContext::TlsContext(const std::string& certificate, const std::string& key)
    : context_(SSL_CTX_new(TLS_server_method())), server_(true) {
  SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  if (SSL_CTX_use_certificate_chain_file(context_, certificate.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context_, key.c_str(), SSL_FILETYPE_PEM) !=
          1) {
    Die("tls: no such certificate or key");
  }
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Tls::Tls(const TlsContext& context)
    : ssl_(SSL_new(context.context_)),
      in_(BIO_new(BIO_s_mem())),
      out_(BIO_new(BIO_s_mem())) {
  SSL_set_bio(ssl_, in_, out_);
  if (context.server_) {
    SSL_set_accept_state(ssl_);
  } else {
    SSL_set_connect_state(ssl_);
    SSL_do_handshake(ssl_);
  }
}

Tls::~Tls() { SSL_free(ssl_); }

bool Tls::ready() const { return SSL_is_init_finished(ssl_) == 1; }

bool Tls::Decrypt(std::string_view wire, std::string* plain) {
  BIO_write(in_, wire.data(), static_cast<int>(wire.size()));
  constexpr size_t kRecord = 16 * 1024;
  for (;;) {
    const size_t before = plain->size();
    plain->resize(before + kRecord);
    const int n = SSL_read(ssl_, plain->data() + before, kRecord);
    plain->resize(before + static_cast<size_t>(n > 0 ? n : 0));
    if (n > 0) continue;
    const int error = SSL_get_error(ssl_, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN;
  }
}

void Tls::Encrypt(std::string_view plain) {
  SSL_write(ssl_, plain.data(), static_cast<int>(plain.size()));
}

std::string_view Tls::Outgoing() const {
  char* data = nullptr;
  const long size = BIO_get_mem_data(out_, &data);
  return {data, static_cast<size_t>(size)};
}

void Tls::Sent() { BIO_reset(out_); }

}  // namespace bench
