#include "broker/ws/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "broker/ws/net.h"

namespace broker {
namespace {

// TLS's own answers to a client that reads nothing, such as to its key updates,
// may not pile up.
constexpr size_t kMaxRest = 64 * 1024;

std::string LastError() {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = ERR_reason_error_string(error);
  return reason != nullptr ? reason : "the connection ended";
}

}  // namespace

// What OpenSSL reads and writes through. It never blocks and never fails: what
// is not there is retried, and what is written goes into the rest.
struct TlsBio {
  static TlsSession& Of(BIO* bio) {
    return *static_cast<TlsSession*>(BIO_get_data(bio));
  }

  static int Read(BIO* bio, char* into, int size) {
    absl::string_view& from = Of(bio).ciphertext_;
    BIO_clear_retry_flags(bio);
    if (from.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const size_t n = std::min(from.size(), static_cast<size_t>(size));
    std::memcpy(into, from.data(), n);
    from.remove_prefix(n);
    return static_cast<int>(n);
  }

  static int Write(BIO* bio, const char* from, int size) {
    Of(bio).rest_.append(from, static_cast<size_t>(size));
    return size;
  }

  static long Control(BIO*, int command, long, void*) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static const BIO_METHOD* Method() {
    static const BIO_METHOD* const kMethod = [] {
      BIO_METHOD* method = BIO_meth_new(
          BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket-broker");
      BIO_meth_set_read(method, Read);
      BIO_meth_set_write(method, Write);
      BIO_meth_set_ctrl(method, Control);
      return method;
    }();
    return kMethod;
  }
};

TlsSession::TlsSession(const TlsContext& context, int fd, TlsBuffers& buffers)
    : buffers_(buffers), fd_(fd), ssl_(SSL_new(context.get())) {
  BIO* const bio = ssl_ != nullptr ? BIO_new(TlsBio::Method()) : nullptr;
  if (bio == nullptr) {
    failed_ = true;
    return;
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_accept_state(ssl_);
}

TlsSession::~TlsSession() { SSL_free(ssl_); }

TlsSession::Received TlsSession::Receive(
    absl::string_view ciphertext,
    absl::FunctionRef<bool(absl::Span<char>)> sink) {
  if (failed_) return Received::kOk;
  if (!std::exchange(begun_, true) &&
      absl::ascii_isalpha(static_cast<unsigned char>(ciphertext[0]))) {
    return Received::kNoTls;
  }
  ciphertext_ = ciphertext;
  for (;;) {
    ERR_clear_error();
    const int n = SSL_read(ssl_, buffers_.received.data(),
                           static_cast<int>(buffers_.received.size()));
    if (n > 0) {
      if (!sink({buffers_.received.data(), static_cast<size_t>(n)})) {
        return Received::kOk;
      }
      continue;
    }
    switch (SSL_get_error(ssl_, n)) {
      case SSL_ERROR_WANT_READ:
        if (!Flush()) return Fail();
        return rest() > kMaxRest ? Fail() : Received::kOk;
      case SSL_ERROR_ZERO_RETURN:
        return Received::kEnd;
      default:
        return Fail();
    }
  }
}

TlsSession::Received TlsSession::Fail() {
  failed_ = true;
  failure_ = rest() > kMaxRest ? "the client reads nothing" : LastError();
  Flush();  // the alert
  return Received::kFailed;
}

ssize_t TlsSession::Send(const iovec* parts, size_t count) {
  if (failed_ || !Flush()) return -1;
  size_t taken = 0;
  while (rest() == 0) {
    const absl::string_view record = Gather(parts, count, taken);
    if (record.empty()) break;
    ERR_clear_error();
    if (SSL_write(ssl_, record.data(), static_cast<int>(record.size())) <= 0) {
      return -1;
    }
    taken += record.size();
    if (!Flush()) return -1;
  }
  return static_cast<ssize_t>(taken);
}

absl::string_view TlsSession::Gather(const iovec* parts, size_t count,
                                     size_t skip) {
  size_t size = 0;
  for (size_t i = 0; i < count && size < TlsBuffers::kRecord; ++i) {
    const size_t skipped = std::min(skip, parts[i].iov_len);
    skip -= skipped;
    const size_t n =
        std::min(parts[i].iov_len - skipped, TlsBuffers::kRecord - size);
    const char* from = static_cast<const char*>(parts[i].iov_base) + skipped;
    // Without a copy, when the record is a part or a piece of one.
    if (size == 0 && (n == TlsBuffers::kRecord || i + 1 == count)) {
      return {from, n};
    }
    std::memcpy(buffers_.to_send.data() + size, from, n);
    size += n;
  }
  return {buffers_.to_send.data(), size};
}

void TlsSession::SendEnd() {
  if (failed_ || SSL_is_init_finished(ssl_) == 0 ||
      (SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) != 0) {
    return;
  }
  ERR_clear_error();
  SSL_shutdown(ssl_);
  Flush();
}

bool TlsSession::Flush() {
  while (rest() > 0) {
    const iovec part{rest_.data() + rest_sent_, rest()};
    const ssize_t n = SendSome(fd_, &part, 1);
    if (n <= 0) return n == 0;
    rest_sent_ += static_cast<size_t>(n);
  }
  // Not clear(): a connection at rest holds no memory for it.
  rest_ = {};
  rest_sent_ = 0;
  return true;
}

}  // namespace broker
