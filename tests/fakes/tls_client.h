// TlsClient: the client's side of TLS without a socket, so that tests decide
// which bytes travel and when. Verifies no certificate.

#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace broker::testing {

class TlsClient {
 public:
  struct Options {
    int max_version = 0;            // such as TLS1_2_VERSION; 0: the newest
    std::vector<std::string> alpn;  // what it offers
  };
  explicit TlsClient(const Options& options);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // Bytes of the server. Appends what they hold to `plain`. False: TLS failed.
  bool Feed(absl::string_view wire, std::string& plain);
  // False before the handshake is done.
  bool Write(absl::string_view plain);
  // Asks the server for new keys.
  void UpdateKeys();
  // TLS 1.2: begins another handshake.
  void Renegotiate();
  // Bytes that the server would take ahead of a handshake, once it has said so.
  uint32_t early_data() const;
  // What is to be sent to the server.
  std::string TakeOutgoing();

  bool ready() const;
  bool ended() const;            // the server has sent close_notify
  std::string version() const;   // such as "TLSv1.3"
  std::string protocol() const;  // of ALPN; empty: none
  // The common name in the server's certificate.
  std::string server_name() const;

 private:
  SSL_CTX* const context_;
  SSL* const ssl_;
  BIO* const in_;
  BIO* const out_;
};

// A certificate of its own making, as two PEM files that go with it.
class TestCertificate {
 public:
  // `days` until it expires.
  explicit TestCertificate(const std::string& common_name, int days = 1);
  ~TestCertificate();
  TestCertificate(const TestCertificate&) = delete;
  TestCertificate& operator=(const TestCertificate&) = delete;

  std::string certificate_file() const { return folder_ + "/certificate.pem"; }
  std::string private_key_file() const { return folder_ + "/key.pem"; }

 private:
  std::string folder_;
};

}  // namespace broker::testing
