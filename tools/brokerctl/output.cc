#include "tools/brokerctl/output.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;

std::string ToJson(const google::protobuf::Message& message,
                   bool with_whitespace) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = with_whitespace;
  options.always_print_primitive_fields = true;
  std::string json;
  // Fails for an Any of unknown type only, and the API has none.
  const auto status =
      google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : status.ToString();
}

// How many columns a terminal needs: code points, not bytes.
size_t Width(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

void PrintJson(const google::protobuf::Message& message) {
  std::cout << ToJson(message, true);
}

void PrintJsonLine(const google::protobuf::Message& message) {
  std::cout << ToJson(message, false) << std::endl;
}

void PrintTable(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  std::vector<Row> printable = rows;
  for (Row& row : printable) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = Printable(row[i]);
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  for (const Row& row : printable) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      // No blanks behind the last cell.
      if (i + 1 < row.size()) line.append(widths[i] - Width(row[i]) + 2, ' ');
    }
    std::cout << line << "\n";
  }
}

std::string Printable(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are control characters, two bytes long.
    const bool is_c1 = byte == 0xC2 && i + 1 < text.size() &&
                       static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (byte >= 0x20 && byte != 0x7F && !is_c1) {
      result += text[i];
      continue;
    }
    char escaped[8];
    const unsigned value = is_c1 ? static_cast<unsigned char>(text[++i]) : byte;
    std::snprintf(escaped, sizeof(escaped), "\\x%02x", value);
    result += escaped;
  }
  return result;
}

std::string CountOf(uint64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string StateName(v1::ConnectionState state) {
  switch (state) {
    case v1::CONNECTION_STATE_PENDING:
      return "pending";
    case v1::CONNECTION_STATE_ADMITTED:
      return "admitted";
    case v1::CONNECTION_STATE_CLOSING:
      return "closing";
    default:
      return "unknown";
  }
}

std::string CredentialName(const v1::Connection& connection) {
  if (!connection.has_identity()) return "-";
  const v1::Identity& identity = connection.identity();
  if (identity.has_token_hash()) return "session:" + identity.token_hash();
  if (identity.has_api_token_id()) return "token:" + identity.api_token_id();
  return "daemon";
}

std::string RemoteName(const v1::Connection& connection) {
  const std::string& address = connection.remote_address();
  const bool is_v6 = address.find(':') != std::string::npos;
  return (is_v6 ? "[" + address + "]" : address) + ":" +
         std::to_string(connection.remote_port());
}

std::string TimeName(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  google::protobuf::Timestamp seconds;
  seconds.set_seconds(time.seconds());
  return google::protobuf::util::TimeUtil::ToString(seconds);
}

}  // namespace brokerctl
