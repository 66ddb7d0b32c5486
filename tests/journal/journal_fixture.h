// JournalFixture: journals in a directory of their own.

#pragma once

#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>

#include "broker/journal/file_journal.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_clock.h"

namespace broker::testing {

class JournalFixture : public ::testing::Test {
 protected:
  JournalFixture() {
    std::string name = ::testing::TempDir() + "journal_XXXXXX";
    dir_ = mkdtemp(name.data());
  }
  ~JournalFixture() override { std::filesystem::remove_all(dir_); }

  std::string file() const { return dir_ + "/journal.db"; }
  std::unique_ptr<FileJournal> Open() {
    auto journal = FileJournal::Open(dir_, clock_);
    EXPECT_TRUE(journal.ok()) << journal.status();
    return *std::move(journal);
  }
  JournalPast Past() { return Open()->TakePast(); }
  std::string OpenError() {
    const auto journal = FileJournal::Open(dir_, clock_);
    EXPECT_FALSE(journal.ok());
    return std::string(journal.status().message());
  }

  std::shared_ptr<Fence> MakeFence(uint64_t epoch, RevocationTarget target) {
    auto fence = std::make_shared<Fence>();
    fence->epoch = epoch;
    fence->create_time = clock_.Now();
    fence->id = Uuid::Make(fence->create_time);
    fence->target = std::move(target);
    fence->forget_at_wall = fence->create_time + absl::Hours(24);
    fence->forget_at = clock_.Monotonic() + std::chrono::hours(24);
    return fence;
  }
  std::shared_ptr<Fence> ByKey(uint64_t epoch, RevocationTarget::Kind kind,
                               const std::string& key) {
    RevocationTarget target;
    target.kind = kind;
    target.key = key;
    return MakeFence(epoch, std::move(target));
  }

  static absl::Status Await(
      const std::function<void(Journal::Written)>& start) {
    std::promise<absl::Status> promise;
    start([&](absl::Status status) { promise.set_value(std::move(status)); });
    return promise.get_future().get();
  }
  static absl::Status Append(Journal& journal, FencePtr fence) {
    return Await([&](auto written) {
      journal.Append(std::move(fence), std::move(written));
    });
  }

  FakeClock clock_;
  std::string dir_;
};

}  // namespace broker::testing
