// TLS for the benchmark's sockets: OpenSSL between two memory buffers. Clients
// verify no certificate: they are here to be served.

#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>

namespace bench {

class TlsContext {
 public:
  TlsContext();  // of clients
  // Of a server, from PEM files.
  TlsContext(const std::string& certificate, const std::string& key);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

 private:
  friend class Tls;
  SSL_CTX* const context_;
  const bool server_;
};

class Tls {
 public:
  explicit Tls(const TlsContext& context);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // The handshake is done.
  bool ready() const;
  // Takes what came and appends what it says. False: it is no TLS.
  bool Decrypt(std::string_view wire, std::string* plain);
  // Only when ready.
  void Encrypt(std::string_view plain);
  // What is to be sent, until Sent().
  std::string_view Outgoing() const;
  void Sent();

 private:
  SSL* const ssl_;
  BIO* const in_;
  BIO* const out_;
};

}  // namespace bench
