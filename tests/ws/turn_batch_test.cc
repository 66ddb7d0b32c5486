#include "broker/ws/turn_batch.h"

#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

FramePtr Text(absl::string_view text) {
  return Frame::Encode(Opcode::kText, text);
}

TEST(TurnBatchTest, OneFrameIsItsOwnBytes) {
  TurnBatch batch;
  const FramePtr frame = Text("a");
  batch.Begin(frame);
  const TurnBatch::Sequence one = batch.Append(TurnBatch::kNone);
  EXPECT_EQ(batch.bytes(one).data(), frame->bytes().data()) << "no copy";
  EXPECT_EQ(batch.size(one), frame->size());
  EXPECT_EQ(batch.size(TurnBatch::kNone), 0u);
}

TEST(TurnBatchTest, EqualSequencesAreOne) {
  TurnBatch batch;
  batch.Begin(Text("a"));
  const TurnBatch::Sequence a = batch.Append(TurnBatch::kNone);
  EXPECT_EQ(batch.Append(TurnBatch::kNone), a);
  batch.Begin(Text("b"));
  const TurnBatch::Sequence ab = batch.Append(a);
  EXPECT_EQ(batch.Append(a), ab);
  EXPECT_NE(batch.Append(TurnBatch::kNone), ab);
  EXPECT_EQ(batch.bytes(ab), Text("a")->bytes() + Text("b")->bytes());
  EXPECT_EQ(batch.bytes(ab).data(), batch.bytes(ab).data()) << "joined once";
}

TEST(TurnBatchTest, AFrameSentTwiceIsThereTwice) {
  TurnBatch batch;
  const FramePtr frame = Text("a");
  batch.Begin(frame);
  const TurnBatch::Sequence twice =
      batch.Append(batch.Append(TurnBatch::kNone));
  EXPECT_EQ(batch.bytes(twice), frame->bytes() + frame->bytes());
}

// Against one list of frames for each connection.
TEST(TurnBatchTest, BehavesLikeTheModel) {
  std::mt19937 random(1);
  TurnBatch batch;
  for (int turn = 0; turn < 200; ++turn) {
    const size_t connections = 1 + random() % 20;
    std::vector<TurnBatch::Sequence> waiting(connections, TurnBatch::kNone);
    std::vector<std::vector<FramePtr>> model(connections);
    const auto sends = random() % 30;
    for (size_t i = 0; i < sends; ++i) {
      const FramePtr frame = Text(absl::StrCat(turn, "/", i));
      batch.Begin(frame);
      for (size_t c = 0; c < connections; ++c) {
        if (random() % 3 == 0) continue;
        waiting[c] = batch.Append(waiting[c]);
        model[c].push_back(frame);
      }
      if (random() % 8 == 0) waiting[0] = TurnBatch::kNone, model[0].clear();
    }
    std::map<std::vector<FramePtr>, TurnBatch::Sequence> sequences;
    for (size_t c = 0; c < connections; ++c) {
      const auto [it, first] = sequences.emplace(model[c], waiting[c]);
      EXPECT_EQ(it->second, waiting[c]) << "not shared";
      if (model[c].empty()) continue;
      std::string bytes;
      for (const FramePtr& frame : model[c]) bytes += frame->bytes();
      EXPECT_EQ(batch.bytes(waiting[c]), bytes);
      EXPECT_EQ(batch.size(waiting[c]), bytes.size());
      EXPECT_EQ(batch.Frames(waiting[c]), model[c]);
    }
    batch.Clear();
  }
}

}  // namespace
}  // namespace broker
