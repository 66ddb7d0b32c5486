// What brokerctl prints: protobuf JSON for programs, tables for people.

#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "socketbroker/v1/connection.pb.h"

namespace brokerctl {

using Row = std::vector<std::string>;

// One document over several lines; fields without a value of their own are
// written, too, so that a script can count on them.
void PrintJson(const google::protobuf::Message& message);

// The same as one line, flushed.
void PrintJsonLine(const google::protobuf::Message& message);

// Columns are as wide as their widest cell. Cells are made printable here.
void PrintTable(const std::vector<Row>& rows);

// The text with its control characters escaped: much of what is shown was
// chosen by a client of the broker, and must not move the cursor of an
// operator.
std::string Printable(std::string_view text);

// "1 connection", "2 connections".
std::string CountOf(uint64_t count, const std::string& noun);

// The state in lower case, without its prefix.
std::string StateName(socketbroker::v1::ConnectionState state);

// "session:<hash>", "token:<id>" or "daemon"; "-" while it is not bound.
std::string CredentialName(const socketbroker::v1::Connection& connection);

// "address:port", with brackets around an IPv6 address.
std::string RemoteName(const socketbroker::v1::Connection& connection);

// The time in RFC 3339, to the second; "-" when it is not set.
std::string TimeName(const google::protobuf::Timestamp& time);

}  // namespace brokerctl
