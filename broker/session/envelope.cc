#include "broker/session/envelope.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/session/json_reader.h"

namespace broker {
namespace {

using internal::JsonFault;
using internal::JsonType;

constexpr char kNotJson[] = "not a JSON text in UTF-8";
constexpr char kTooDeep[] = "nested deeper than 32 levels";
constexpr char kDuplicateKey[] = "an object has the same key twice";

absl::string_view Reason(JsonFault fault) {
  return fault == JsonFault::kTooDeep        ? kTooDeep
         : fault == JsonFault::kDuplicateKey ? kDuplicateKey
                                             : kNotJson;
}

// What is at the top of a text that wants to be an envelope.
struct Members final : internal::JsonVisitor {
  JsonType text = JsonType::kNull;
  bool jsonrpc = false;  // it is there, and "2.0"
  bool result = false;
  std::optional<JsonType> id, method, params, error, code, message;
  std::string id_json;
  std::string id_string;
  std::string method_name;
  std::string traceparent;
  absl::string_view params_json, outcome_json;

  void OnText(JsonType type) override { text = type; }

  void OnMember(absl::string_view key, JsonType type, absl::string_view raw,
                const std::string& string) override {
    if (key == "jsonrpc") {
      jsonrpc = type == JsonType::kString && string == "2.0";
    } else if (key == "id") {
      id = type;
      id_json = std::string(raw);
      id_string = string;
    } else if (key == "method") {
      method = type;
      method_name = string;
    } else if (key == "params") {
      params = type;
    } else if (key == "result") {
      result = true;
      outcome_json = raw;
    } else if (key == "error") {
      error = type;
    } else if (key == "traceparent" && IsTraceparent(string)) {
      traceparent = string;
    }
  }

  void OnMemberEnd(absl::string_view key, absl::string_view raw) override {
    if (key == "params") {
      params_json = raw;
    } else if (key == "result" || key == "error") {
      outcome_json = raw;
    }
  }

  void OnInnerMember(absl::string_view key, absl::string_view inner,
                     JsonType type) override {
    if (key != "error") return;
    if (inner == "code") code = type;
    if (inner == "message") message = type;
  }

  bool HasGoodId() const {
    return id == JsonType::kString || id == JsonType::kInteger ||
           id == JsonType::kNumber;
  }
};

// Null when the members make an envelope of `kind`; else what is wrong.
const char* CheckCall(const Members& m, EnvelopeKind& kind) {
  if (m.method != JsonType::kString) return "\"method\" must be a string";
  if (m.result || m.error) {
    return "a message has \"method\", or \"result\", or \"error\"";
  }
  if (m.params && m.params != JsonType::kObject &&
      m.params != JsonType::kArray) {
    return "\"params\" must be an object or an array";
  }
  if (m.id && !m.HasGoodId()) return "\"id\" must be a string or a number";
  kind = m.id ? EnvelopeKind::kRequest : EnvelopeKind::kNotification;
  return nullptr;
}

const char* CheckReply(const Members& m, EnvelopeKind& kind) {
  if (!m.result && !m.error) {
    return "one of \"method\", \"result\" and \"error\" is required";
  }
  if (m.result && m.error) {
    return "a response has \"result\" or \"error\", not both";
  }
  if (m.params) return "\"params\" without \"method\"";
  if (!m.id) return "a response needs an \"id\"";
  if (m.result) {
    kind = EnvelopeKind::kResponse;
    return m.HasGoodId() ? nullptr : "\"id\" must be a string or a number";
  }
  kind = EnvelopeKind::kErrorResponse;
  if (!m.HasGoodId() && m.id != JsonType::kNull) {
    return "\"id\" must be a string, a number or null";
  }
  if (m.error != JsonType::kObject) return "\"error\" must be an object";
  if (m.code != JsonType::kInteger) return "\"error.code\" must be an integer";
  if (m.message != JsonType::kString) {
    return "\"error.message\" must be a string";
  }
  return nullptr;
}

const char* Check(const Members& m, EnvelopeKind& kind) {
  if (m.text == JsonType::kArray) {
    return "a batch: send one JSON object a message";
  }
  if (m.text != JsonType::kObject) return "not a JSON object";
  if (!m.jsonrpc) return "\"jsonrpc\" must be \"2.0\"";
  return m.method ? CheckCall(m, kind) : CheckReply(m, kind);
}

// A JSON string. Never throws: what is not UTF-8 is replaced.
std::string Quote(absl::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Of a request's method, for an error message.
std::string Excerpt(absl::string_view text) {
  constexpr size_t kMost = 64;
  return text.size() <= kMost
             ? absl::Utf8SafeCHexEscape(text)
             : absl::StrCat(absl::CHexEscape(text.substr(0, kMost)), "...");
}

// Told of no more than what a text is.
struct TypeOfText final : internal::JsonVisitor {
  JsonType type = JsonType::kNull;
  void OnText(JsonType t) override { type = t; }
  void OnMember(absl::string_view, JsonType, absl::string_view,
                const std::string&) override {}
  void OnMemberEnd(absl::string_view, absl::string_view) override {}
  void OnInnerMember(absl::string_view, absl::string_view, JsonType) override {}
};

// Told of what makes an error object of one.
struct ErrorMembers final : internal::JsonVisitor {
  JsonType type = JsonType::kNull;
  std::optional<JsonType> code, message;
  void OnText(JsonType t) override { type = t; }
  void OnMember(absl::string_view key, JsonType t, absl::string_view,
                const std::string&) override {
    if (key == "code") code = t;
    if (key == "message") message = t;
  }
  void OnMemberEnd(absl::string_view, absl::string_view) override {}
  void OnInnerMember(absl::string_view, absl::string_view, JsonType) override {}
};

struct CancelledId final : internal::JsonVisitor {
  absl::string_view request_id, id;
  void OnText(JsonType) override {}
  void OnMember(absl::string_view key, JsonType, absl::string_view raw,
                const std::string&) override {
    if (key == "request_id") request_id = raw;
    if (key == "id") id = raw;
  }
  void OnMemberEnd(absl::string_view, absl::string_view) override {}
  void OnInnerMember(absl::string_view, absl::string_view, JsonType) override {}
};

// A JSON value with `around` levels around it.
absl::Status ValidateValue(absl::string_view json, int around) {
  TypeOfText text;
  const JsonFault fault =
      internal::ReadJson(json, kMaxJsonDepth - around, text);
  if (fault == JsonFault::kNone) return absl::OkStatus();
  return InvalidField(
      "", absl::StrCat("must be one JSON value: ",
                       fault == JsonFault::kTooDeep
                           ? absl::StrCat("nested deeper than ",
                                          kMaxJsonDepth - around, " levels")
                           : std::string(Reason(fault))));
}

}  // namespace

EnvelopeResult ParseEnvelope(absl::string_view text) {
  EnvelopeResult result;
  Members members;
  const JsonFault fault = internal::ReadJson(text, kMaxJsonDepth, members);
  const char* wrong = nullptr;
  if (fault == JsonFault::kNone) wrong = Check(members, result.envelope.kind);

  if (fault == JsonFault::kMalformed) {
    result.fault = EnvelopeFault::kParseError;
    result.reason = kNotJson;
  } else if (fault != JsonFault::kNone || wrong != nullptr) {
    result.fault = EnvelopeFault::kInvalidRequest;
    result.reason = wrong != nullptr ? wrong : Reason(fault);
  }
  if (result.fault != EnvelopeFault::kNone) {
    // Only of a text read to its end the id is known.
    result.envelope.id_json = wrong != nullptr && members.HasGoodId()
                                  ? std::move(members.id_json)
                                  : "null";
    return result;
  }
  Envelope& envelope = result.envelope;
  envelope.id_json = std::move(members.id_json);
  envelope.method = std::move(members.method_name);
  envelope.params_json = members.params_json;
  envelope.outcome_json = members.outcome_json;
  envelope.traceparent = std::move(members.traceparent);
  if (envelope.kind == EnvelopeKind::kResponse ||
      envelope.kind == EnvelopeKind::kErrorResponse) {
    envelope.reply_to = std::move(members.id_string);
  }
  return result;
}

bool IsTraceparent(absl::string_view text) {
  // version "-" trace-id "-" parent-id "-" flags, in small hexadecimal digits.
  constexpr size_t kSize = 55;
  if (text.size() != kSize) return false;
  for (size_t i = 0; i < kSize; ++i) {
    const bool dash = i == 2 || i == 35 || i == 52;
    const bool hex = absl::ascii_isdigit(static_cast<unsigned char>(text[i])) ||
                     (text[i] >= 'a' && text[i] <= 'f');
    if (dash ? text[i] != '-' : !hex) return false;
  }
  const auto all_zero = [&](size_t from, size_t size) {
    return text.substr(from, size).find_first_not_of('0') ==
           absl::string_view::npos;
  };
  return text.substr(0, 2) != "ff" && !all_zero(3, 32) && !all_zero(36, 16);
}

absl::string_view FindCancelledId(absl::string_view params_json) {
  CancelledId found;
  if (internal::ReadJson(params_json, kMaxJsonDepth, found) !=
      JsonFault::kNone) {
    return {};
  }
  return found.request_id.empty() ? found.id : found.request_id;
}

std::string MakeErrorReply(absl::string_view id_json, int64_t code,
                           absl::string_view message,
                           absl::string_view data_json) {
  return MakeReply(id_json, "error", MakeError(code, message, data_json));
}

std::string MakeReply(absl::string_view id_json, absl::string_view member,
                      absl::string_view json) {
  return absl::StrCat(R"({"jsonrpc":"2.0","id":)", id_json, ",\"", member,
                      "\":", json, "}");
}

std::string MakeError(int64_t code, absl::string_view message,
                      absl::string_view data_json) {
  return absl::StrCat(R"({"code":)", code, R"(,"message":)", Quote(message),
                      data_json.empty() ? "" : R"(,"data":)", data_json, "}");
}

std::string MakeRequest(uint64_t number, absl::string_view method,
                        absl::string_view params_json) {
  return absl::StrCat(R"({"jsonrpc":"2.0","id":"s)", number, R"(","method":)",
                      Quote(method), params_json.empty() ? "" : R"(,"params":)",
                      params_json, "}");
}

uint64_t ReadRequestNumber(absl::string_view id) {
  uint64_t number = 0;
  if (id.size() < 2 || id[0] != 's' ||
      !absl::ascii_isdigit(static_cast<unsigned char>(id[1])) ||
      !absl::SimpleAtoi(id.substr(1), &number)) {
    return 0;
  }
  // Only as the broker writes it.
  return absl::StrCat("s", number) == id ? number : 0;
}

absl::Status ValidateResult(absl::string_view json) {
  return ValidateValue(json, 1);
}

absl::Status ValidateErrorData(absl::string_view json) {
  return ValidateValue(json, 2);
}

absl::Status ValidateError(absl::string_view json) {
  BROKER_RETURN_IF_ERROR(ValidateValue(json, 1));
  ErrorMembers members;
  internal::ReadJson(json, kMaxJsonDepth - 1, members);
  if (members.type != JsonType::kObject || members.code != JsonType::kInteger ||
      members.message != JsonType::kString) {
    return InvalidField("",
                        "must be a JSON-RPC 2.0 error object: with an integer "
                        "\"code\" and a string \"message\"");
  }
  return absl::OkStatus();
}

absl::Status ValidateOutgoing(absl::string_view text) {
  const EnvelopeResult result = ParseEnvelope(text);
  if (result.fault != EnvelopeFault::kNone) {
    return InvalidField(
        "", absl::StrCat("must be one JSON-RPC 2.0 notification, response or "
                         "error: ",
                         result.reason));
  }
  if (result.envelope.kind == EnvelopeKind::kRequest) {
    return InvalidField(
        "", absl::StrCat("is a JSON-RPC request, method \"",
                         Excerpt(result.envelope.method),
                         "\": Send carries no requests, since nobody would get "
                         "the reply; leave out \"id\" for a notification, or "
                         "ask with RequestConnection"));
  }
  return absl::OkStatus();
}

absl::Status ValidateParams(absl::string_view json) {
  TypeOfText text;
  // The notification around them is a level, too.
  const JsonFault fault = internal::ReadJson(json, kMaxJsonDepth - 1, text);
  if (fault != JsonFault::kNone) {
    return InvalidField("", absl::StrCat("must be one JSON object or array: ",
                                         fault == JsonFault::kTooDeep
                                             ? "nested deeper than 31 levels"
                                             : Reason(fault)));
  }
  if (text.type != JsonType::kObject && text.type != JsonType::kArray) {
    return InvalidField("", "must be one JSON object or array, not a value");
  }
  return absl::OkStatus();
}

std::string MakeNotification(absl::string_view method,
                             absl::string_view params_json) {
  return absl::StrCat(R"({"jsonrpc":"2.0","method":)", Quote(method),
                      params_json.empty() ? "" : R"(,"params":)", params_json,
                      "}");
}

}  // namespace broker
