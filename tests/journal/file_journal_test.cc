// The journal on disk: what is written is read back, by the next run and by no
// one beside it; failures are told.

#include "broker/journal/file_journal.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <future>

#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/journal/journal_fixture.h"

namespace broker::testing {
namespace {

using Kind = RevocationTarget::Kind;
using ::testing::AllOf;
using ::testing::HasSubstr;

using FileJournalTest = JournalFixture;

std::string Fingerprint(const PredicatePtr& predicate) {
  return predicate == nullptr ? "" : predicate->fingerprint();
}

void ExpectSame(const Fence& a, const Fence& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.target.kind, b.target.kind);
  EXPECT_EQ(a.target.key, b.target.key);
  EXPECT_EQ(a.target.keep_token_hash, b.target.keep_token_hash);
  EXPECT_EQ(a.target.namespaces, b.target.namespaces);
  EXPECT_EQ(Fingerprint(a.target.predicate), Fingerprint(b.target.predicate));
  EXPECT_EQ(Fingerprint(a.target.within), Fingerprint(b.target.within));
  EXPECT_EQ(a.create_time, b.create_time);
  EXPECT_EQ(a.block_until_wall, b.block_until_wall);
  EXPECT_EQ(a.blocks_until, b.blocks_until);
  EXPECT_EQ(a.forget_at_wall, b.forget_at_wall);
  EXPECT_EQ(a.forget_at, b.forget_at);
}

TEST_F(FileJournalTest, GivesBackWhatItWasGiven) {
  std::vector<std::shared_ptr<Fence>> fences;
  const uint64_t first = Past().first_epoch;
  fences.push_back(ByKey(first + 1, Kind::kSession, "s"));
  fences.push_back(ByKey(first + 2, Kind::kToken, std::string("a\0b'\"", 5)));
  fences.push_back(ByKey(first + 3, Kind::kAccount, "a"));
  fences.back()->target.keep_token_hash = "kept";
  fences.back()->target.namespaces = {"chat", "default"};
  fences.back()->target.within = *CompileFilter(*ParseFilter("groups:\"g\""));
  fences.back()->block_until_wall = clock_.Now() + absl::Hours(2);
  fences.back()->blocks_until = clock_.Monotonic() + std::chrono::hours(2);
  RevocationTarget filter;
  filter.kind = Kind::kFilter;
  filter.predicate = *CompileFilter(*ParseFilter("labels.x = \"1\""));
  fences.push_back(MakeFence(first + 4, filter));
  filter.predicate = Predicate::All();
  fences.push_back(MakeFence(first + 5, filter));
  {
    const auto journal = Open();
    for (const auto& fence : fences) EXPECT_TRUE(Append(*journal, fence).ok());
    EXPECT_EQ(journal->stats().changes.value(), fences.size());
  }
  const JournalPast past = Past();
  ASSERT_EQ(past.fences.size(), fences.size());
  for (size_t i = 0; i < fences.size(); ++i) {
    ExpectSame(*past.fences[i], *fences[i]);
  }
}

TEST_F(FileJournalTest, NoRunGivesOutAnEpochOfAnEarlierOne) {
  const JournalPast first = Past();
  clock_.SetWall(clock_.Now() - absl::Hours(24 * 365));
  const JournalPast second = Past();
  // Also not one that no fence of the first was written with.
  EXPECT_GT(second.first_epoch, first.first_epoch + 400'000);
  EXPECT_EQ(second.oldest_epoch, first.oldest_epoch);
  // And what gives out more than were reserved reserves more.
  const uint64_t far = second.first_epoch + 5'000'000;
  EXPECT_TRUE(Append(*Open(), ByKey(far, Kind::kSession, "s")).ok());
  EXPECT_GT(Past().first_epoch, far + 400'000);
}

TEST_F(FileJournalTest, SettingTheClockBackMakesNothingLastLonger) {
  auto fence = ByKey(Past().first_epoch + 1, Kind::kSession, "s");
  fence->block_until_wall = clock_.Now() + absl::Hours(1);
  fence->blocks_until = clock_.Monotonic() + std::chrono::hours(1);
  ASSERT_TRUE(Append(*Open(), fence).ok());
  clock_.SetWall(clock_.Now() - absl::Hours(10));
  const JournalPast past = Past();
  ASSERT_EQ(past.fences.size(), 1u);
  EXPECT_EQ(past.fences[0]->blocks_until, fence->blocks_until);
  EXPECT_EQ(past.fences[0]->forget_at, fence->forget_at);
}

TEST_F(FileJournalTest, ErasesAndKeepsTheOldestEpoch) {
  const uint64_t first = Past().first_epoch;
  const auto a = ByKey(first + 1, Kind::kSession, "a");
  const auto b = ByKey(first + 2, Kind::kSession, "b");
  {
    const auto journal = Open();
    ASSERT_TRUE(Append(*journal, a).ok());
    ASSERT_TRUE(Append(*journal, b).ok());
    const absl::Status erased = Await([&](auto written) {
      journal->Erase({a}, a->epoch, std::move(written));
    });
    ASSERT_TRUE(erased.ok()) << erased;
  }
  const JournalPast past = Past();
  ASSERT_EQ(past.fences.size(), 1u);
  EXPECT_EQ(past.fences[0]->id, b->id);
  EXPECT_EQ(past.oldest_epoch, a->epoch);
}

TEST_F(FileJournalTest, WhatComesTogetherIsWrittenTogether) {
  const uint64_t first = Past().first_epoch;
  const auto journal = Open();
  // While the first is being told, the thread cannot write the others.
  std::promise<void> go;
  std::promise<void> told;
  journal->Append(ByKey(first + 1, Kind::kSession, "s"), [&](absl::Status) {
    told.set_value();
    go.get_future().wait();
  });
  told.get_future().wait();
  constexpr uint64_t kMany = 1000;
  std::atomic<uint64_t> written{0};
  std::promise<void> all;
  for (uint64_t i = 0; i < kMany; ++i) {
    journal->Append(ByKey(first + 2 + i, Kind::kSession, "s"),
                    [&](absl::Status status) {
                      EXPECT_TRUE(status.ok()) << status;
                      if (++written == kMany) all.set_value();
                    });
  }
  go.set_value();
  all.get_future().wait();
  uint64_t fsyncs = 0;
  for (size_t i = 0; i <= Histogram::kBuckets; ++i) {
    fsyncs += journal->stats().write_time.count(i);
  }
  EXPECT_EQ(fsyncs, 2u);
}

TEST_F(FileJournalTest, IsForItsOwnerAlone) {
  std::filesystem::remove(dir_);
  Past();
  struct stat status {};
  ASSERT_EQ(stat(dir_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  ASSERT_EQ(stat(file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(FileJournalTest, TwoBrokersCannotShareIt) {
  const auto journal = Open();
  EXPECT_THAT(OpenError(), AllOf(HasSubstr(file()), HasSubstr("in use")));
}

TEST_F(FileJournalTest, NamesADirectoryThatCannotBeMade) {
  const std::string dir = dir_ + "/not/there";
  const auto journal = FileJournal::Open(dir, clock_);
  EXPECT_THAT(std::string(journal.status().message()),
              AllOf(HasSubstr(dir), HasSubstr("No such file")));
}

// ---- a disk that fails ------------------------------------------------------

// Files of this process may not grow beyond the size while it lives.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(FileJournalTest, TellsOfAFullDiskAndGoesOnWhenThereIsRoom) {
  const uint64_t first = Past().first_epoch;
  const auto journal = Open();
  ASSERT_TRUE(
      Append(*journal, ByKey(first + 1, Kind::kSession, "before")).ok());
  {
    const SizeLimit full(16'384);
    absl::Status status;
    for (uint64_t i = 2; status.ok() && i < 100; ++i) {
      status = Append(*journal, ByKey(first + i, Kind::kSession, "full"));
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_GE(journal->stats().failures.value(), 1u);
  }
  EXPECT_TRUE(
      Append(*journal, ByKey(first + 200, Kind::kSession, "after")).ok());
}

// Those that could not be written are not counted, nor missed.
TEST_F(FileJournalTest, CountsWhatIsWrittenAfterAFullDisk) {
  const uint64_t first = Past().first_epoch;
  {
    const auto journal = Open();
    const auto full = ByKey(first + 1, Kind::kSession, "full");
    {
      const SizeLimit limit(4096);
      ASSERT_FALSE(Append(*journal, full).ok());
    }
    ASSERT_TRUE(
        Append(*journal, ByKey(first + 2, Kind::kSession, "after")).ok());
    ASSERT_TRUE(Await([&](auto written) {
                  journal->Erase({full}, first, std::move(written));
                }).ok());
  }
  EXPECT_EQ(Past().fences.size(), 1u);
}

TEST_F(FileJournalTest, ReservesAgainWhatAFailedWriteHadReserved) {
  const uint64_t far = Past().first_epoch + 5'000'000;
  {
    const auto journal = Open();
    absl::Status status;
    {
      const SizeLimit full(4096);
      status = Append(*journal, ByKey(far, Kind::kSession, "full"));
    }
    ASSERT_FALSE(status.ok());
    const auto fence = ByKey(far + 1, Kind::kSession, "after");
    ASSERT_TRUE(Append(*journal, fence).ok());
    ASSERT_TRUE(Await([&](auto written) {
                  journal->Erase({fence}, fence->epoch, std::move(written));
                }).ok());
  }
  EXPECT_GT(Past().first_epoch, far + 400'000);
}

}  // namespace
}  // namespace broker::testing
