// mutants NAME: the race test with one fault of mutants.txt switched on. Exits
// with 0 when the test finds it. With "none" it exits with 0 when the test,
// over these copies of the sources, finds nothing.

#include <cstring>
#include <iostream>
#include <iterator>

#include "tests/races/finding.h"
#include "tests/races/mutant.h"

namespace broker::races {

int mutant = 0;

namespace {

// Most are found within the first thousand.
constexpr uint64_t kMostRuns = 100'000;
constexpr uint64_t kRunsWithout = 10'000;
constexpr const char* kNames[] = {
    "none",
#include "names.inc"
};

int Find(const char* name) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (std::strcmp(kNames[i], name) == 0) return static_cast<int>(i);
  }
  return -1;
}

int Run(const char* name) {
  mutant = Find(name);
  if (mutant < 0) {
    std::cerr << "there is no mutant " << name << "\n";
    return 2;
  }
  const Finding finding =
      FindViolation(1, mutant == 0 ? kRunsWithout : kMostRuns);
  if (finding.violation.empty()) {
    std::cout << "nothing found in " << finding.runs << " runs\n";
    return mutant == 0 ? 0 : 1;
  }
  std::cout << "found after " << finding.runs << " runs\n"
            << ToText(finding) << "\n";
  return mutant == 0 ? 1 : 0;
}

}  // namespace
}  // namespace broker::races

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "mutants NAME\n";
    return 2;
  }
  return broker::races::Run(argv[1]);
}
