// Journals that accidents, repairs and other programs have changed: the broker
// starts with all that was written, or not at all.

#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/journal/journal_fixture.h"

namespace broker::testing {
namespace {

using Kind = RevocationTarget::Kind;
using ::testing::AllOf;
using ::testing::HasSubstr;

class DamagedJournalTest : public JournalFixture {
 protected:
  // What a program that is not the broker does to the file.
  void Sql(const std::string& statements) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(file().c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    sqlite3_exec(db, statements.c_str(), nullptr, nullptr, &error);
    ASSERT_EQ(error, nullptr) << error;
    sqlite3_close(db);
  }
};

TEST_F(DamagedJournalTest, RefusesAFileThatIsNone) {
  std::ofstream(file()) << std::string(5000, 'x');
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("is damaged"), HasSubstr(file()),
                                 HasSubstr("To start without it")));
}

TEST_F(DamagedJournalTest, RefusesADatabaseOfAnotherProgram) {
  Sql("CREATE TABLE t (x)");
  EXPECT_THAT(OpenError(), HasSubstr("another program"));
}

TEST_F(DamagedJournalTest, RefusesALaterVersion) {
  Past();
  Sql("PRAGMA user_version = 3");
  EXPECT_THAT(OpenError(), HasSubstr("its version is 3"));
}

TEST_F(DamagedJournalTest, RefusesARowThatIsNotAsItWasWritten) {
  const uint64_t epoch = Past().first_epoch + 1;
  ASSERT_TRUE(Append(*Open(), ByKey(epoch, Kind::kSession, "abc")).ok());
  Sql("UPDATE fences SET key = 'abd'");
  EXPECT_THAT(OpenError(),
              AllOf(HasSubstr("is damaged"), HasSubstr(std::to_string(epoch))));
  Sql("UPDATE fences SET key = 'abc'");
  EXPECT_EQ(Past().fences.size(), 1u);
  Sql("UPDATE numbers SET value = value - 1 WHERE name = 'oldest_epoch'");
  EXPECT_THAT(OpenError(), HasSubstr("oldest_epoch is not as it was written"));
  Sql("UPDATE numbers SET value = value + 1 WHERE name = 'oldest_epoch'");
  EXPECT_EQ(Past().fences.size(), 1u);
  Sql("DROP TABLE fences");
  EXPECT_THAT(OpenError(), HasSubstr("is damaged"));
}

// What a repair drops has no seal that could be wrong.
TEST_F(DamagedJournalTest, RefusesAFileThatLacksFences) {
  const uint64_t first = Past().first_epoch;
  std::vector<FencePtr> fences;
  {
    const auto journal = Open();
    for (uint64_t i = 1; i <= 5; ++i) {
      fences.push_back(ByKey(first + i, Kind::kSession, "s"));
      ASSERT_TRUE(Append(*journal, fences.back()).ok());
    }
    // What was erased is not missed; what is not there is not counted twice.
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(Await([&](auto written) {
                    journal->Erase({fences[0]}, first, std::move(written));
                  }).ok());
    }
  }
  EXPECT_EQ(Past().fences.size(), 4u);
  Sql("CREATE TABLE kept AS SELECT * FROM fences");
  Sql("DELETE FROM fences WHERE epoch > " + std::to_string(first + 2));
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("is damaged"),
                                 HasSubstr("3 of the 4 fences in it are "
                                           "missing"),
                                 HasSubstr("To start without it")));
  Sql("UPDATE numbers SET value = 1 WHERE name = 'fences'");
  EXPECT_THAT(OpenError(), HasSubstr("fences is not as it was written"));
  Sql("UPDATE numbers SET value = 4 WHERE name = 'fences'");
  Sql("INSERT OR IGNORE INTO fences SELECT * FROM kept");
  EXPECT_EQ(Past().fences.size(), 4u);
  {
    const auto journal = Open();
    ASSERT_TRUE(
        Await([&](auto written) {
          journal->Erase({fences[1], fences[2]}, first, std::move(written));
        }).ok());
  }
  Sql("INSERT OR IGNORE INTO fences SELECT * FROM kept");
  EXPECT_THAT(OpenError(), HasSubstr("there are 4 fences in it, and 2 were"));
  Sql("DELETE FROM numbers WHERE name = 'fences'");
  EXPECT_THAT(OpenError(), HasSubstr("the number of its fences is missing"));
}

// Whatever is overwritten, the broker starts with all fences or not at all, and
// then says what can be done.
TEST_F(DamagedJournalTest, NeverStartsWithHalfOfIt) {
  const JournalPast before = Past();
  const uint64_t first = before.first_epoch;
  constexpr uint64_t kFences = 100;
  {
    const auto journal = Open();
    for (uint64_t i = 1; i <= kFences; ++i) {
      ASSERT_TRUE(
          Append(*journal, ByKey(first + i, Kind::kSession, "session")).ok());
    }
  }
  std::ifstream in(file(), std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  std::mt19937 random(20);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bad = good;
    // Here and there, or half of the page with the tables.
    const bool page = round % 2 == 0;
    for (size_t i = 0; i < (page ? 2096 : 8); ++i) {
      bad[page ? 2000 + i : random() % bad.size()] =
          static_cast<char>(random());
    }
    std::ofstream(file(), std::ios::binary) << bad;
    auto journal = FileJournal::Open(dir_, clock_);
    if (!journal.ok()) {
      ++refused;
      EXPECT_TRUE(absl::IsDataLoss(journal.status())) << journal.status();
    } else {
      const JournalPast past = (*journal)->TakePast();
      EXPECT_EQ(past.fences.size(), kFences);
      EXPECT_GE(past.oldest_epoch, before.oldest_epoch);
    }
    journal = absl::CancelledError();
    std::filesystem::remove(file() + "-wal");
  }
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace broker::testing
