// Mutex and ThreadRole: mostly what Clang says when this is compiled with
// -Wthread-safety.

#include <thread>
#include <vector>

#include "broker/core/mutex.h"
#include "broker/core/thread_role.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

class Account {
 public:
  void Deposit(int amount) {
    MutexLock lock(mu_);
    Add(amount);
  }
  int balance() {
    MutexLock lock(mu_);
    return balance_;
  }

 private:
  void Add(int amount) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    balance_ += amount;
  }

  Mutex mu_;
  int balance_ ABSL_GUARDED_BY(mu_) = 0;
};

TEST(MutexTest, KeepsThreadsApart) {
  Account account;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) account.Deposit(1);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(account.balance(), 40'000);
}

class Confined {
 public:
  void Bind() { role_.BindToThisThread(); }
  void Increment() {
    role_.AssertHeld();
    ++value_;
  }
  int value() const {
    role_.AssertHeld();
    return value_;
  }

 private:
  ThreadRole role_;
  int value_ ABSL_GUARDED_BY(role_) = 0;
};

TEST(ThreadRoleTest, LetsTheOwnerIn) {
  std::thread thread([] {
    Confined confined;
    confined.Bind();
    confined.Increment();
    EXPECT_EQ(confined.value(), 1);
  });
  thread.join();
}

#ifndef NDEBUG
TEST(ThreadRoleDeathTest, KeepsOthersOut) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Confined confined;
        std::thread([&] { confined.Bind(); }).join();
        confined.Increment();
      },
      "owner_");
}
#endif

}  // namespace
}  // namespace broker
