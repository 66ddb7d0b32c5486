#include "broker/session/frame.h"

#include <random>

#include "gtest/gtest.h"

namespace broker {
namespace {

// A reader of unmasked frames that trusts nothing but RFC 6455 section 5.2.
struct Parsed {
  std::vector<size_t> ends;  // of fragments, in bytes
  std::string payload;
  uint8_t opcode = 0;
  bool fin_last_only = true;
};

Parsed Parse(const std::string& wire) {
  Parsed out;
  size_t at = 0;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(wire.at(i)); };
  while (at < wire.size()) {
    const uint8_t first = byte(at);
    const bool fin = first & 0x80;
    if (out.ends.empty()) {
      out.opcode = first & 0x0f;
    } else {
      EXPECT_EQ(first & 0x0f, 0) << "a continuation";
    }
    size_t size = byte(at + 1);
    EXPECT_LT(size, 127u) << "unmasked, and 16 bits are enough";
    at += 2;
    if (size == 126) {
      size = byte(at) << 8 | byte(at + 1);
      EXPECT_GE(size, 126u) << "the shortest form";
      at += 2;
    }
    out.payload += wire.substr(at, size);
    at += size;
    out.ends.push_back(at);
    out.fin_last_only &= fin == (at == wire.size());
  }
  return out;
}

TEST(FrameTest, EverySizeReadsBackWithItsFragmentEnds) {
  std::mt19937 random(3);
  constexpr size_t kF = Frame::kFragmentPayload;
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{125}, size_t{126}, kF - 1, kF, kF + 1,
        2 * kF, 2 * kF + 1, size_t{1'000'000}}) {
    std::string payload(size, '\0');
    for (char& c : payload) c = static_cast<char>(random());
    const FramePtr frame = Frame::Encode(Opcode::kBinary, payload);
    const Parsed parsed = Parse(frame->bytes());
    EXPECT_EQ(parsed.payload, payload) << size;
    EXPECT_EQ(parsed.opcode, 2);
    EXPECT_TRUE(parsed.fin_last_only);
    EXPECT_EQ(parsed.ends.size(), std::max<size_t>(1, (size + kF - 1) / kF));
    EXPECT_EQ(frame->payload_size(), size);
    size_t start = 0;
    for (const size_t end : parsed.ends) {
      EXPECT_EQ(frame->FragmentEnd(start), start);
      for (int i = 0; i < 20; ++i) {
        const size_t inside = start + 1 + random() % (end - start);
        EXPECT_EQ(frame->FragmentEnd(inside), end) << inside;
      }
      start = end;
    }
  }
}

}  // namespace
}  // namespace broker
