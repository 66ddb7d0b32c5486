// TlsContext: the certificate, the key and the rules by which the broker speaks
// TLS. Immutable: a reload makes a new one, for handshakes from then on.
// Thread-safe.

#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace broker {

class TlsContext;
using TlsContextPtr = std::shared_ptr<const TlsContext>;

struct TlsOptions {
  std::string certificate_file;  // PEM: the certificate, then its chain
  std::string private_key_file;  // PEM, not encrypted
  bool only_1_3 = false;         // else 1.2, too
};

class TlsContext {
 public:
  // Reads the files. INVALID_ARGUMENT begins with the option that is at fault,
  // such as "certificate_file: ".
  static absl::StatusOr<TlsContextPtr> Load(const TlsOptions& options);

  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  SSL_CTX* get() const { return context_; }
  // When the certificate expires.
  absl::Time not_after() const { return not_after_; }

 private:
  TlsContext();

  SSL_CTX* const context_;
  absl::Time not_after_ = absl::InfiniteFuture();
};

}  // namespace broker
