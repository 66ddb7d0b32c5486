// TlsSession: the TLS of one connection, between the plaintext of a Socket and
// the kernel.
//
// What it has taken to send it has encrypted, and keeps what the kernel does
// not take: one record at most, and TLS's own messages. So the plaintext stays
// in the Outbox, where a close may discard it.
//
// Confined to the shard's thread. Reads nothing itself.

#pragma once

#include <openssl/types.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "broker/ws/tls_context.h"

namespace broker {

// What one session at a time needs while it is called; one for each thread.
struct TlsBuffers {
  static constexpr size_t kRecord = 16 * 1024;  // RFC 8446 section 5.1
  std::array<char, kRecord> received;
  std::array<char, kRecord> to_send;
};

class TlsSession {
 public:
  TlsSession(const TlsContext& context, int fd, TlsBuffers& buffers);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  enum class Received {
    kOk,
    kEnd,     // the client's close_notify
    kNoTls,   // the first byte is a letter: HTTP without TLS
    kFailed,  // see failure(); an alert is on its way, and nothing else will
  };
  // Bytes of the client. Gives what they hold to the sink, which returns false
  // when it wants no more, and may change them.
  Received Receive(absl::string_view ciphertext,
                   absl::FunctionRef<bool(absl::Span<char>)> sink);

  // As Outbox::Writer, of plaintext: takes nothing while there is a rest.
  ssize_t Send(const iovec* parts, size_t count);

  // Sends close_notify, once: nothing may be sent behind it.
  void SendEnd();

  // Gives the kernel what it takes of the rest. False: the peer is gone.
  bool Flush();
  // Bytes that are encrypted and that the kernel has not taken.
  size_t rest() const { return rest_.size() - rest_sent_; }

  // Why Receive failed, for people.
  const std::string& failure() const { return failure_; }

 private:
  friend struct TlsBio;

  Received Fail();
  // The next record's plaintext: what follows `skip` bytes of the parts.
  absl::string_view Gather(const iovec* parts, size_t count, size_t skip);

  TlsBuffers& buffers_;
  const int fd_;
  SSL* const ssl_;
  absl::string_view ciphertext_;  // within Receive: what OpenSSL has not read
  bool begun_ = false;
  bool failed_ = false;
  std::string rest_;
  size_t rest_sent_ = 0;
  std::string failure_;
};

}  // namespace broker
