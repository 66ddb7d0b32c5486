#include "broker/session/frame.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace broker {
namespace {

constexpr uint8_t kFin = 0x80;
// Two bytes and a 16-bit length: the header of every full fragment.
constexpr size_t kFragmentSize = 4 + Frame::kFragmentPayload;

void AppendFragment(uint8_t first_byte, absl::string_view payload,
                    std::string& out) {
  out += static_cast<char>(first_byte);
  if (payload.size() < 126) {
    out += static_cast<char>(payload.size());
  } else {  // Never over 16 KiB, so 16 bits do.
    out += static_cast<char>(126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size() & 0xff);
  }
  absl::StrAppend(&out, payload);
}

}  // namespace

Frame::Frame(Opcode opcode, absl::string_view payload,
             MessageOptionsPtr options)
    : options_(std::move(options)),
      payload_size_(payload.size()),
      opcode_(opcode) {
  bytes_.reserve(payload.size() + 4 + 4 * (payload.size() / kFragmentPayload));
  auto first = static_cast<uint8_t>(opcode);
  while (payload.size() > kFragmentPayload) {
    AppendFragment(first, payload.substr(0, kFragmentPayload), bytes_);
    payload.remove_prefix(kFragmentPayload);
    first = 0;  // A continuation.
  }
  AppendFragment(first | kFin, payload, bytes_);
}

size_t Frame::FragmentEnd(size_t offset) const {
  const size_t ends = (offset + kFragmentSize - 1) / kFragmentSize;
  return std::min(ends * kFragmentSize, bytes_.size());
}

}  // namespace broker
