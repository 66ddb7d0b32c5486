#include "broker/app/memory.h"

#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

namespace broker {
namespace {

using Level = MemoryLevel;

TEST(MemoryLevelTest, HasThresholdsAndLeavesThemLater) {
  constexpr uint64_t kLimit = 1'000'000;
  EXPECT_EQ(NextMemoryLevel(Level::kNormal, 849'999, kLimit), Level::kNormal);
  EXPECT_EQ(NextMemoryLevel(Level::kNormal, 850'000, kLimit), Level::kSoft);
  EXPECT_EQ(NextMemoryLevel(Level::kSoft, 800'000, kLimit), Level::kSoft);
  EXPECT_EQ(NextMemoryLevel(Level::kSoft, 799'999, kLimit), Level::kNormal);
  EXPECT_EQ(NextMemoryLevel(Level::kSoft, 949'999, kLimit), Level::kSoft);
  EXPECT_EQ(NextMemoryLevel(Level::kNormal, 950'000, kLimit), Level::kHard);
  EXPECT_EQ(NextMemoryLevel(Level::kHard, 900'000, kLimit), Level::kHard);
  EXPECT_EQ(NextMemoryLevel(Level::kHard, 899'999, kLimit), Level::kSoft);
  EXPECT_EQ(NextMemoryLevel(Level::kHard, 1, kLimit), Level::kNormal);
  EXPECT_EQ(NextMemoryLevel(Level::kHard, kLimit, 0), Level::kNormal);
}

class CgroupTest : public ::testing::Test {
 protected:
  CgroupTest()
      : root_(::testing::TempDir() + "cgroup_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name() +
              "/") {
    std::filesystem::remove_all(root_);
  }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  const std::string root_;
};

TEST_F(CgroupTest, Version2TakesTheLeastOfTheGroupAndThoseAroundIt) {
  Write("proc/self/cgroup", "0::/system.slice/broker.service\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 0u);
  Write("sys/fs/cgroup/system.slice/broker.service/memory.max", "max\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 0u);
  Write("sys/fs/cgroup/system.slice/memory.max", "2000\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 2000u);
  Write("sys/fs/cgroup/system.slice/broker.service/memory.max", "1000\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 1000u);
}

TEST_F(CgroupTest, InAContainerTheGroupIsTheMount) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "3000\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 3000u);
}

TEST_F(CgroupTest, Version1HasAMountOfItsOwn) {
  Write("proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 0u);
  Write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "4000\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 4000u);
}

TEST_F(CgroupTest, WithoutCgroupsThereIsNone) {
  EXPECT_EQ(CgroupMemoryLimit(root_), 0u);
}

}  // namespace
}  // namespace broker
