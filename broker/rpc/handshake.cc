#include "broker/rpc/handshake.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;

// Bytes as characters: ISO 8859-1 in UTF-8.
std::string ToUtf8(absl::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (const char byte : bytes) {
    const auto c = static_cast<unsigned char>(byte);
    if (c < 0x80) {
      out += byte;
    } else {
      out += static_cast<char>(0xc0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 0x3f));
    }
  }
  return out;
}

// As browsers read them, a pair without "=" is a value without a name.
void AddCookies(absl::string_view header, v1::Handshake& out) {
  for (absl::string_view pair : absl::StrSplit(header, ';')) {
    pair = absl::StripAsciiWhitespace(pair);
    if (pair.empty()) continue;
    v1::HandshakeCookie& cookie = *out.add_cookies();
    const size_t equals = pair.find('=');
    if (equals != absl::string_view::npos) {
      cookie.set_name(
          ToUtf8(absl::StripTrailingAsciiWhitespace(pair.substr(0, equals))));
      pair = absl::StripLeadingAsciiWhitespace(pair.substr(equals + 1));
    }
    cookie.set_value(ToUtf8(pair));
  }
}

}  // namespace

v1::Handshake ToProto(const HandshakeFacts& facts,
                      const EndpointSettings& endpoint, uint64_t epoch) {
  v1::Handshake out;
  out.set_namespace_(endpoint.ns);
  out.set_endpoint(endpoint.path);
  out.set_query(facts.query);
  for (const auto& [name, value] : facts.headers) {
    if (absl::EqualsIgnoreCase(name, "Cookie")) {
      AddCookies(value, out);
      continue;
    }
    v1::HandshakeHeader& header = *out.add_headers();
    header.set_name(absl::AsciiStrToLower(name));
    header.set_value(ToUtf8(value));
  }
  for (const std::string& offer : facts.subprotocols) {
    out.add_subprotocols(ToUtf8(offer));
  }
  out.set_remote_address(facts.remote_address);
  out.set_remote_port(facts.remote_port);
  out.set_tls(facts.tls);
  out.set_epoch(epoch);
  return out;
}

}  // namespace broker
