// The JSON-RPC 2.0 envelope: what kind of message a text is, and whether it is
// one at all. The broker reads no further: params, results and error data are
// relayed as they are.
//
// A text is at most 32 levels deep, and no object in it has a key twice: two
// readers could take different ones. Nothing here recurses.
//
// Pure functions, for any thread.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace broker {

inline constexpr int kMaxJsonDepth = 32;

enum class EnvelopeKind : uint8_t {
  kRequest,
  kNotification,
  kResponse,
  kErrorResponse,
};

struct Envelope {
  EnvelopeKind kind = EnvelopeKind::kNotification;
  // The id as it stands in the text, such as `7` or `"a\u0062"`, to be echoed.
  // Empty for a notification.
  std::string id_json;
  // Of a request or a notification, decoded.
  std::string method;
  // Of a response or an error response whose id is a string: that, decoded.
  std::string reply_to;
  // As they stand in the text, and only good as long as it is. The params of a
  // request or a notification, empty when it has none; the result of a response
  // or the error of an error response.
  absl::string_view params_json;
  absl::string_view outcome_json;
  // The member of this name, when it is a W3C trace context; else empty.
  std::string traceparent;
};

// The values are the error codes of JSON-RPC.
enum class EnvelopeFault : int {
  kNone = 0,
  kParseError = -32700,      // not JSON, not UTF-8, or a number out of range
  kInvalidRequest = -32600,  // JSON, but not a message we take
};

struct EnvelopeResult {
  EnvelopeFault fault = EnvelopeFault::kNone;
  // What is wrong, a sentence without its end. A constant.
  absl::string_view reason;
  // With a fault only `id_json` is meaningful: the id to answer, or `null`.
  Envelope envelope;
};

// Reads what a client sent. An id is a string or a number, and in an error
// response it may be null. A batch is an invalid request.
EnvelopeResult ParseEnvelope(absl::string_view text);

// Whether this is a W3C Trace Context `traceparent`, of version 00 or one like
// it.
bool IsTraceparent(absl::string_view text);

// The id that the params of a cancel notification name, as it stands there:
// their member `request_id` or else `id`. Empty: they name none.
absl::string_view FindCancelledId(absl::string_view params_json);

// The error response to a message. `id_json` is Envelope::id_json; `message` is
// text and need not be UTF-8; `data_json` is a JSON value as it is, or empty.
std::string MakeErrorReply(absl::string_view id_json, int64_t code,
                           absl::string_view message,
                           absl::string_view data_json = {});

// What goes under the id of a request: `member` is "result" or "error", and
// `json` what passed ValidateResult or ValidateError.
std::string MakeReply(absl::string_view id_json, absl::string_view member,
                      absl::string_view json);

// A JSON-RPC error object. `data_json` is a JSON value as it is, or empty.
std::string MakeError(int64_t code, absl::string_view message,
                      absl::string_view data_json);

// A request of the broker's, with the id "s<number>".
std::string MakeRequest(uint64_t number, absl::string_view method,
                        absl::string_view params_json);
// The number of such an id, decoded; 0: it is none.
uint64_t ReadRequestNumber(absl::string_view id);

// Whether a service may reply with this: a JSON value, or an error object with
// code and message. At most 31 levels deep: the reply around it is one more.
// INVALID_ARGUMENT without a field name. The data of an error: 30 levels.
absl::Status ValidateResult(absl::string_view json);
absl::Status ValidateError(absl::string_view json);
absl::Status ValidateErrorData(absl::string_view json);

// Whether a service may send this text to a client: a notification, a response
// or an error. INVALID_ARGUMENT without a field name: see BelowField.
absl::Status ValidateOutgoing(absl::string_view text);

// Whether this may be the params of a notification: an object or an array.
// At most 31 levels deep: the notification around them is one more.
// INVALID_ARGUMENT without a field name.
absl::Status ValidateParams(absl::string_view json);

// A notification. `params_json` passed ValidateParams and is copied as it is;
// empty: no params. `method` is UTF-8.
std::string MakeNotification(absl::string_view method,
                             absl::string_view params_json);

}  // namespace broker
