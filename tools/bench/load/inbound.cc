#include "tools/bench/load/inbound.h"

namespace bench {

Inbound::Part Inbound::Cut(std::string_view* bytes) {
  const FrameHead head = ReadFrameHead(*bytes);
  Part part;
  if (head.size == 0 || bytes->size() - head.size < head.length) return part;
  part.whole = true;
  part.opcode = head.opcode();
  part.fin = head.fin();
  part.reserved_or_masked = head.masked || (head.first & 0x70) != 0;
  part.alone = part.fin && (part.opcode == kText || part.opcode == kBinary);
  part.payload = bytes->substr(head.size, head.length);
  bytes->remove_prefix(head.size + head.length);
  return part;
}

bool Inbound::Accept(const Part& part) {
  if (part.reserved_or_masked) {
    fault_ = "a frame is masked or has a reserved bit";
  } else if (part.opcode >= kClose) {
    if (part.opcode > kPong) fault_ = "a frame has an unknown opcode";
    if (!part.fin || part.payload.size() > 125) {
      fault_ = "a control frame is fragmented or too long";
    }
  } else if (part.opcode > kBinary) {
    fault_ = "a frame has an unknown opcode";
  } else if ((part.opcode == kContinuation) != (opcode_ != 0)) {
    fault_ = "a fragment is out of place";
  } else if (!part.alone) {
    if (opcode_ == 0) opcode_ = part.opcode;
    message_.append(part.payload);
  }
  return fault_ == nullptr;
}

}  // namespace bench
