#include "broker/app/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <string>

namespace broker {
namespace {

bool IsLoopback4(const in_addr& address) {
  return ntohl(address.s_addr) >> 24 == 127;
}

}  // namespace

bool IsIpAddress(absl::string_view text) {
  in_addr v4{};
  in6_addr v6{};
  const std::string address(text);
  return inet_pton(AF_INET, address.c_str(), &v4) == 1 ||
         inet_pton(AF_INET6, address.c_str(), &v6) == 1;
}

bool IsLoopback(absl::string_view text) {
  in_addr v4{};
  in6_addr v6{};
  const std::string address(text);
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return IsLoopback4(v4);
  if (inet_pton(AF_INET6, address.c_str(), &v6) != 1) return false;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    v4.s_addr = v6.s6_addr32[3];
    return IsLoopback4(v4);
  }
  return IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace broker
