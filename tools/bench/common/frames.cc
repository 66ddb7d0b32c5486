#include "tools/bench/common/frames.h"

#include <cstring>

namespace bench {
namespace {

void AppendLength(size_t length, uint8_t mask_bit, std::string* out) {
  const auto put = [out](size_t byte) {
    out->push_back(static_cast<char>(byte));
  };
  if (length < 126) {
    put(mask_bit | length);
  } else if (length < 65536) {
    put(mask_bit | 126);
    put(length >> 8);
    put(length & 0xff);
  } else {
    put(mask_bit | 127);
    for (int shift = 56; shift >= 0; shift -= 8) put(length >> shift & 0xff);
  }
}

}  // namespace

FrameHead ReadFrameHead(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  FrameHead head;
  if (bytes.size() < 2) return head;
  head.first = byte(0);
  head.masked = (byte(1) & 0x80) != 0;
  head.length = byte(1) & 0x7f;
  size_t size = 2;
  if (head.length >= 126) {
    const size_t extra = head.length == 126 ? 2 : 8;
    if (bytes.size() < size + extra) return head;
    head.length = 0;
    for (size_t i = 0; i < extra; ++i) {
      head.length = head.length << 8 | byte(size + i);
    }
    size += extra;
  }
  if (head.masked) {
    if (bytes.size() < size + 4) return head;
    std::memcpy(head.mask, bytes.data() + size, 4);
    size += 4;
  }
  head.size = size;
  return head;
}

void AppendServerFrame(Opcode opcode, std::string_view payload,
                       std::string* out) {
  out->push_back(static_cast<char>(0x80 | opcode));
  AppendLength(payload.size(), 0, out);
  out->append(payload);
}

void AppendClientFrame(Opcode opcode, std::string_view payload,
                       std::string* out) {
  const uint8_t mask[4] = {0x37, 0xfa, 0x21,
                           static_cast<uint8_t>(payload.size())};
  out->push_back(static_cast<char>(0x80 | opcode));
  AppendLength(payload.size(), 0x80, out);
  out->append(reinterpret_cast<const char*>(mask), 4);
  const size_t at = out->size();
  out->append(payload);
  ApplyMask(mask, out->data() + at, payload.size());
}

void ApplyMask(const uint8_t mask[4], char* bytes, size_t size) {
  uint64_t wide = 0;
  std::memcpy(&wide, mask, 4);
  wide |= wide << 32;
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + at, 8);
    word ^= wide;
    std::memcpy(bytes + at, &word, 8);
  }
  for (; at < size; ++at)
    bytes[at] = static_cast<char>(bytes[at] ^ mask[at & 3]);
}

std::string UpgradeRequest(const std::string& path, const std::string& ticket) {
  std::string request = "GET ";
  request.append(path)
      .append(
          " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: ")
      .append(kKey)
      .append("\r\n");
  if (!ticket.empty()) {
    request.append("Sec-WebSocket-Protocol: socketbroker.v1, ticket.")
        .append(ticket)
        .append("\r\n");
  }
  return request.append("\r\n");
}

}  // namespace bench
