// The outbox against a model: what leaves is what was pushed, in order, and a
// discard cuts at the end of a fragment.

#include "broker/ws/outbox.h"

#include <algorithm>
#include <deque>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace broker {
namespace {

using Keep = Outbox::Keep;

FramePtr Binary(size_t size, char fill = 'x') {
  return Frame::Encode(Opcode::kBinary, std::string(size, fill));
}

TEST(OutboxTest, CountsWhatIsInFlight) {
  Outbox outbox;
  const FramePtr frame = Binary(100);
  outbox.Push(frame, 30);
  EXPECT_EQ(outbox.bytes(), frame->size() - 30);
  outbox.Push(frame, 0);
  EXPECT_EQ(outbox.bytes(), 2 * frame->size() - 30);
  EXPECT_TRUE(outbox.Flush([](const iovec* parts, size_t) {
    return static_cast<ssize_t>(std::min<size_t>(50, parts[0].iov_len));
  }));
  EXPECT_TRUE(outbox.empty());
  EXPECT_EQ(outbox.bytes(), 0u);
}

TEST(OutboxTest, SaysWhenThePeerIsGone) {
  Outbox outbox;
  outbox.Push(Binary(1), 0);
  EXPECT_FALSE(outbox.Flush([](const iovec*, size_t) { return -1; }));
}

TEST(OutboxTest, DiscardKeepsTheRestOfAFragment) {
  Outbox outbox;
  const FramePtr frame = Binary(100'000);
  outbox.Push(frame, 20'000);
  outbox.Push(Binary(10), 0);
  outbox.Discard();
  EXPECT_EQ(outbox.bytes(), frame->FragmentEnd(20'000) - 20'000);
  outbox.Discard();
  EXPECT_EQ(outbox.bytes(), frame->FragmentEnd(20'000) - 20'000);
}

TEST(OutboxTest, DiscardBetweenFragmentsKeepsNothing) {
  Outbox outbox;
  const FramePtr frame = Binary(100'000);
  outbox.Push(frame, frame->FragmentEnd(1));
  outbox.Discard();
  EXPECT_TRUE(outbox.empty());
}

TEST(OutboxTest, DiscardKeepsWhatIsPinned) {
  Outbox outbox;
  outbox.Push("head", 1, Keep::kAlways);
  outbox.Push(Binary(10), 0);
  outbox.Push("pong", 0, Keep::kUntilDiscard);
  outbox.Push("close", 0, Keep::kAlways);
  outbox.Discard();
  std::string wire;
  EXPECT_TRUE(outbox.Flush([&](const iovec* parts, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; ++i) {
      wire.append(static_cast<const char*>(parts[i].iov_base),
                  parts[i].iov_len);
      n += parts[i].iov_len;
    }
    return static_cast<ssize_t>(n);
  }));
  EXPECT_EQ(wire, "eadclose");
}

// The model: one byte after the other, with a note of where its unit (a
// fragment, or bytes that must not be cut) ends and whether a discard spares
// it.
class Model {
 public:
  struct Byte {
    char value;
    bool ends_unit;
    bool pinned;
  };

  void Push(const FramePtr& frame, size_t sent) {
    for (size_t i = 0; i < frame->size(); ++i) {
      bytes_.push_back(
          {frame->bytes()[i], frame->FragmentEnd(i + 1) == i + 1, false});
    }
    Sent(sent);
  }
  void Push(const std::string& bytes, size_t sent, Keep keep) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      bytes_.push_back(
          {bytes[i], i + 1 == bytes.size(), keep == Keep::kAlways});
    }
    Sent(sent);
  }
  void Sent(size_t n) {
    for (; n > 0; --n) {
      mid_unit_ = !bytes_.front().ends_unit;
      bytes_.pop_front();
    }
  }
  void Discard() {
    std::deque<Byte> kept;
    bool in_first = mid_unit_;
    for (const Byte& byte : bytes_) {
      if (in_first || byte.pinned) kept.push_back(byte);
      if (byte.ends_unit) in_first = false;
    }
    bytes_ = kept;
  }
  char at(size_t i) const { return bytes_[i].value; }
  size_t size() const { return bytes_.size(); }

 private:
  std::deque<Byte> bytes_;
  bool mid_unit_ = false;  // the last byte sent did not end its unit
};

class OutboxModelTest : public ::testing::TestWithParam<int> {
 protected:
  size_t Below(size_t n) { return random_() % n; }

  void PushSomething() {
    const bool empty = outbox_.empty();
    if (Below(3) == 0) {
      std::string bytes(1 + Below(130), static_cast<char>('a' + Below(26)));
      const size_t sent = empty ? Below(bytes.size()) : 0;
      const Keep keep = Below(4) == 0 ? Keep::kAlways : Keep::kUntilDiscard;
      model_.Push(bytes, sent, keep);
      outbox_.Push(std::move(bytes), sent, keep);
    } else {
      const FramePtr frame = Binary(Below(10) == 0 ? Below(60'000) : Below(300),
                                    static_cast<char>('a' + Below(26)));
      const size_t sent = empty ? Below(frame->size()) : 0;
      model_.Push(frame, sent);
      outbox_.Push(frame, sent);
    }
  }

  void Flush() {
    size_t budget = Below(4) == 0 ? 0 : Below(20'000);
    EXPECT_TRUE(outbox_.Flush([&](const iovec* parts, size_t count) {
      EXPECT_LE(count, 64u);
      size_t offered = 0;
      for (size_t i = 0; i < count; ++i) offered += parts[i].iov_len;
      const size_t n = std::min({offered, budget, 1 + Below(5'000)});
      size_t checked = 0;
      for (size_t i = 0; i < count && checked < n; ++i) {
        const auto* bytes = static_cast<const char*>(parts[i].iov_base);
        for (size_t k = 0; k < parts[i].iov_len && checked < n; ++k) {
          EXPECT_EQ(bytes[k], model_.at(checked++));
        }
      }
      model_.Sent(n);
      budget -= n;
      return static_cast<ssize_t>(n);
    }));
  }

  std::mt19937 random_{static_cast<uint32_t>(GetParam())};
  Outbox outbox_;
  Model model_;
};

TEST_P(OutboxModelTest, BehavesLikeTheModel) {
  for (int step = 0; step < 3'000 && !HasFailure(); ++step) {
    const size_t what = Below(20);
    if (what < 10) {
      PushSomething();
    } else if (what < 19) {
      Flush();
    } else {
      outbox_.Discard();
      model_.Discard();
    }
    ASSERT_EQ(outbox_.bytes(), model_.size());
    ASSERT_EQ(outbox_.empty(), model_.size() == 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, OutboxModelTest, ::testing::Range(0, 8));

}  // namespace
}  // namespace broker
