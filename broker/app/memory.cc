#include "broker/app/memory.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "broker/core/log.h"

namespace broker {
namespace {

constexpr std::chrono::milliseconds kInterval{250};
constexpr uint64_t kSoftPercent = 85;
constexpr uint64_t kHardPercent = 95;
constexpr uint64_t kBackPercent = 5;
// Version 1 writes "no limit" as the most that fits, in whole pages.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

std::optional<uint64_t> ReadNumber(const std::string& path) {
  std::ifstream in(path);
  std::string text;
  uint64_t number = 0;
  if (!(in >> text) || !absl::SimpleAtoi(text, &number)) return std::nullopt;
  return number;
}

// The least in the files of that name, from the group up to the mount.
uint64_t LeastLimit(const std::string& mount, std::string group,
                    absl::string_view file) {
  uint64_t least = std::numeric_limits<uint64_t>::max();
  for (;;) {
    const auto limit = ReadNumber(absl::StrCat(mount, group, "/", file));
    if (limit) least = std::min(least, *limit);
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) return least;
    group.resize(slash);
  }
}

uint64_t ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  in >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t Percent(uint64_t limit, uint64_t percent) {
  return limit / 100 * percent;
}

void LogLevelChange(const MemoryStatus& memory) {
  const auto log = [&](LogLevel level, absl::string_view sentence) {
    Log(level, "memory_level", sentence,
        {{"resident_bytes", memory.resident_bytes},
         {"limit_bytes", memory.limit_bytes}});
  };
  switch (memory.level) {
    case MemoryLevel::kNormal:
      return log(LogLevel::kInfo, "there is memory enough again");
    case MemoryLevel::kSoft:
      return log(LogLevel::kWarning, "memory is short: handshakes are refused");
    case MemoryLevel::kHard:
      return log(LogLevel::kError,
                 "memory is very short: the slowest connections are closed");
  }
}

}  // namespace

uint64_t CgroupMemoryLimit(const std::string& root) {
  std::ifstream in(absl::StrCat(root, "proc/self/cgroup"));
  const std::string mount = absl::StrCat(root, "sys/fs/cgroup");
  uint64_t least = std::numeric_limits<uint64_t>::max();
  for (std::string line; std::getline(in, line);) {
    const std::vector<std::string> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::string group = parts[2] == "/" ? "" : parts[2];
    if (parts[0] == "0" && parts[1].empty()) {
      least = std::min(least, LeastLimit(mount, group, "memory.max"));
    }
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
    if (std::find(controllers.begin(), controllers.end(), "memory") !=
        controllers.end()) {
      least = std::min(
          least, LeastLimit(mount + "/memory", group, "memory.limit_in_bytes"));
    }
  }
  return least >= kNoLimit ? 0 : least;
}

MemoryLevel NextMemoryLevel(MemoryLevel now, uint64_t resident,
                            uint64_t limit) {
  if (limit == 0) return MemoryLevel::kNormal;
  const auto reaches = [&](uint64_t percent, MemoryLevel level) {
    if (now >= level) percent -= kBackPercent;
    return resident >= Percent(limit, percent);
  };
  if (reaches(kHardPercent, MemoryLevel::kHard)) return MemoryLevel::kHard;
  if (reaches(kSoftPercent, MemoryLevel::kSoft)) return MemoryLevel::kSoft;
  return MemoryLevel::kNormal;
}

MemoryMonitor::MemoryMonitor(Hub& hub)
    : hub_(hub),
      shedding_(std::make_shared<std::atomic<bool>>(false)),
      ticker_(kInterval, [this] { Check(); }) {}

void MemoryMonitor::Check() {
  MemoryStatus memory = hub_.memory();
  const MemoryLevel before = memory.level;
  // What is free already would be counted.
  if (before != MemoryLevel::kNormal) malloc_trim(0);
  memory.resident_bytes = ResidentBytes();
  memory.limit_bytes = hub_.settings()->limits.max_memory_bytes;
  memory.level =
      NextMemoryLevel(before, memory.resident_bytes, memory.limit_bytes);
  hub_.SetMemory(memory);
  if (memory.level != before) LogLevelChange(memory);
  if (memory.level == MemoryLevel::kHard) {
    Shed(memory.resident_bytes -
         Percent(memory.limit_bytes, kHardPercent - kBackPercent));
  }
}

void MemoryMonitor::Shed(uint64_t bytes) {
  if (shedding_->exchange(true)) return;
  hub_.Shed(bytes, [shedding = shedding_](absl::StatusOr<uint64_t> closed) {
    shedding->store(false);
    if (closed.ok() && *closed > 0) {
      Log(LogLevel::kWarning, "connections_shed",
          "slow connections were closed for want of memory",
          {{"count", *closed}});
    }
  });
}

}  // namespace broker
