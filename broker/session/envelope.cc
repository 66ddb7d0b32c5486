#include "broker/session/envelope.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
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
  std::string method_name;

  void OnText(JsonType type) override { text = type; }

  void OnMember(absl::string_view key, JsonType type, absl::string_view raw,
                const std::string& string) override {
    if (key == "jsonrpc") {
      jsonrpc = type == JsonType::kString && string == "2.0";
    } else if (key == "id") {
      id = type;
      id_json = std::string(raw);
    } else if (key == "method") {
      method = type;
      method_name = string;
    } else if (key == "params") {
      params = type;
    } else if (key == "result") {
      result = true;
    } else if (key == "error") {
      error = type;
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
  void OnInnerMember(absl::string_view, absl::string_view, JsonType) override {}
};

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
  result.envelope.id_json = std::move(members.id_json);
  result.envelope.method = std::move(members.method_name);
  return result;
}

std::string MakeErrorReply(absl::string_view id_json, int code,
                           absl::string_view message) {
  return absl::StrCat(R"({"jsonrpc":"2.0","id":)", id_json,
                      R"(,"error":{"code":)", code, R"(,"message":)",
                      Quote(message), "}}");
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
