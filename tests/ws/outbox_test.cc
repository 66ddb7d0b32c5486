// The outbox against a model: what leaves is what was pushed, in order, and a
// discard cuts at the end of a fragment; a message whose time is over, or whose
// key a newer one has, is taken out whole or not at all, and every one has one
// end.

#include "broker/ws/outbox.h"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/ws/outbox_model.h"

namespace broker {
namespace {

using Ends = OutboxModel::Ends;

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

MonotonicTime At(int milliseconds) {
  return MonotonicTime(std::chrono::milliseconds(milliseconds));
}

FramePtr Message(size_t size, MessageOptions options, char fill = 'x') {
  return Frame::Encode(
      Opcode::kBinary, std::string(size, fill),
      std::make_shared<const MessageOptions>(std::move(options)));
}

OutcomeTrackerPtr Tracker() { return std::make_shared<OutcomeTracker>(false); }

Ends TakeEnds(Outbox& outbox) {
  Ends ends;
  if (!outbox.has_ends()) return ends;
  outbox.OfferEnds([&](const Outbox::End& end) {
    ends.emplace(end.tracker.get(), end.outcome);
    return true;
  });
  return ends;
}

TEST(OutboxTest, ExpiresOnlyWhatIsWhole) {
  Outbox outbox;
  EXPECT_EQ(outbox.next_expiry(), MonotonicTime::max());
  const auto begun = Tracker(), waits = Tracker(), later = Tracker();
  const FramePtr first = Message(100, {At(5), SlowPolicy::kClose, "", begun});
  outbox.Push(first, 1);
  EXPECT_EQ(outbox.next_expiry(), At(5));  // whoever waits for it
  outbox.Push(Message(10, {At(9), SlowPolicy::kClose, "", later}), 0);
  outbox.Push(Message(10, {At(7), SlowPolicy::kClose, "", waits}), 0);
  EXPECT_EQ(outbox.Expire(At(6)), 0u);
  EXPECT_EQ(TakeEnds(outbox), (Ends{{begun.get(), SendOutcome::kExpired}}));
  EXPECT_EQ(outbox.next_expiry(), At(7));
  EXPECT_EQ(outbox.Expire(At(7)), 1u);
  EXPECT_EQ(outbox.next_expiry(), At(9));
  EXPECT_EQ(outbox.Expire(At(10)), 1u);
  EXPECT_EQ(outbox.bytes(), first->size() - 1);
  EXPECT_EQ(TakeEnds(outbox), (Ends{{waits.get(), SendOutcome::kExpired},
                                    {later.get(), SendOutcome::kExpired}}));
  outbox.Clear();
  EXPECT_FALSE(outbox.has_ends());
}

TEST(OutboxTest, AnEndThatNobodyTakesIsOfferedAgain) {
  Outbox outbox;
  outbox.AddEnd({Tracker(), SendOutcome::kWritten, At(9)});
  outbox.Push(Message(1, {At(5), SlowPolicy::kDrop, "", nullptr}), 0);
  EXPECT_EQ(outbox.Expire(At(5)), 1u);
  EXPECT_TRUE(outbox.empty());
  outbox.OfferEnds([](const Outbox::End&) { return false; });
  EXPECT_EQ(outbox.next_expiry(), At(9));
  EXPECT_EQ(TakeEnds(outbox).size(), 1u);
  EXPECT_FALSE(outbox.has_ends());
}

TEST(OutboxTest, WhatIsReplacedForeverTakesNoRoom) {
  Outbox outbox;
  outbox.Push(Binary(100), 1);
  for (int i = 0; i < 10'000; ++i) {
    const FramePtr frame =
        Message(10, {At(1), SlowPolicy::kLatest, "key", nullptr});
    if (i > 0) {
      ASSERT_EQ(outbox.Replaceable("key"), frame->size());
      outbox.TakeOutReplaceable("key");
    }
    outbox.Push(frame, 0);
    ASSERT_LE(outbox.chunks(), 8u);
  }
  EXPECT_EQ(outbox.bytes(), Binary(100)->size() - 1 + Binary(10)->size());
}

TEST(OutboxTest, KeysAreFoundWhereverTheirMessagesMove) {
  Outbox outbox;
  const auto latest = [](const std::string& key) {
    return Message(10, {At(99), SlowPolicy::kLatest, key, nullptr});
  };
  const FramePtr first = latest("a");
  outbox.Push(first, 1);
  EXPECT_EQ(outbox.Replaceable("a"), 0u);
  for (const char* key : {"b", "a", "c"}) outbox.Push(latest(key), 0);
  for (int i = 0; i < 10; ++i) {
    outbox.TakeOutReplaceable("b");
    outbox.Push(latest("b"), 0);
    for (const char* key : {"a", "b", "c"}) {
      ASSERT_EQ(outbox.Replaceable(key), first->size()) << key << i;
    }
  }
  // The first is written, and gone; the newer one with its key is still known.
  bool offered = false;
  EXPECT_TRUE(outbox.Flush([&](const iovec*, size_t) -> ssize_t {
    return std::exchange(offered, true)
               ? 0
               : static_cast<ssize_t>(first->size() - 1);
  }));
  for (const char* key : {"a", "b", "c"}) {
    EXPECT_EQ(outbox.Replaceable(key), first->size()) << key;
  }
  EXPECT_EQ(outbox.Expire(At(99)), 3u);
  EXPECT_EQ(outbox.Replaceable("a"), 0u);
  EXPECT_TRUE(outbox.empty());
}

TEST(OutboxTest, TheFirstMayBeTakenOut) {
  for (const bool discard : {false, true}) {
    Outbox outbox;
    outbox.Push(Message(10, {At(1), SlowPolicy::kClose, "", nullptr}), 0);
    outbox.Push(Binary(10), 0);
    outbox.Push(Binary(10), 0);
    outbox.Push("close", 0, Keep::kAlways);
    EXPECT_EQ(outbox.Expire(At(1)), 1u);
    if (discard) outbox.Discard();
    EXPECT_EQ(outbox.bytes(), discard ? 5 : 5 + 2 * Binary(10)->size());
    EXPECT_TRUE(outbox.Flush([](const iovec* parts, size_t) {
      return static_cast<ssize_t>(parts[0].iov_len);
    }));
    EXPECT_TRUE(outbox.empty());
  }
}

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

  void PushMessage() {
    MessageOptions options;
    if (Below(2) == 0) options.expires_at = At(now_ + 1 + Below(50));
    if (Below(2) == 0) {
      options.slow_policy = SlowPolicy::kLatest;
      options.conflation_key = absl::StrCat("key", Below(5));
    }
    options.tracker = Tracker();
    const std::string& key = options.conflation_key;
    const Frame* older = key.empty() ? nullptr : model_.Replaceable(key);
    ASSERT_EQ(outbox_.Replaceable(key), older == nullptr ? 0 : older->size());
    if (older != nullptr) {
      model_.TakeOut(older, SendOutcome::kDroppedSlow);
      outbox_.TakeOutReplaceable(key);
    }
    const FramePtr frame = Message(Below(10) == 0 ? Below(60'000) : Below(300),
                                   options, static_cast<char>('a' + Below(26)));
    const size_t sent = outbox_.empty() ? Below(frame->size()) : 0;
    model_.Push(frame, sent);
    outbox_.Push(frame, sent);
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
  int now_ = 0;
  Outbox outbox_;
  OutboxModel model_;
};

TEST_P(OutboxModelTest, BehavesLikeTheModel) {
  for (int step = 0; step < 3'000 && !HasFailure(); ++step) {
    const size_t what = Below(40);
    if (what < 10) {
      PushSomething();
    } else if (what < 20) {
      PushMessage();
    } else if (what < 35) {
      Flush();
    } else if (what < 38) {
      now_ += static_cast<int>(Below(20));
      EXPECT_EQ(outbox_.Expire(At(now_)), model_.Expire(At(now_)));
      EXPECT_GT(outbox_.next_expiry(), At(now_));
    } else if (what < 39 || Below(10) > 0) {
      outbox_.Discard();
      model_.Discard();
    } else {
      outbox_.Clear();
      model_.Clear();
    }
    if (Below(2) == 0) {
      ASSERT_EQ(TakeEnds(outbox_), model_.TakeEnds());
    }
    ASSERT_EQ(outbox_.bytes(), model_.size());
    ASSERT_EQ(outbox_.empty(), model_.size() == 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, OutboxModelTest, ::testing::Range(0, 8));

}  // namespace
}  // namespace broker
