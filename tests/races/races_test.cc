// A million runs, each another interleaving of connects, bindings, offers,
// updates, evictions, revocations, drops and restarts, held against the
// specification after every step. See broker/docs/testing.md.
//
//   BROKER_RACES_RUNS=100000   how many, instead of what the build can do
//   BROKER_RACES_SEED=4711     the first, or with RUNS=1 the only one: its
//                              steps are printed when it fails

#include <cstdlib>
#include <iostream>

#include "gtest/gtest.h"
#include "tests/races/finding.h"

namespace broker::races {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST(Races, NoInterleavingViolatesTheSpecification) {
  const uint64_t first = FromEnvironment("BROKER_RACES_SEED", 1);
  const uint64_t runs = FromEnvironment("BROKER_RACES_RUNS", BROKER_RACES_RUNS);
  const Finding finding = FindViolation(first, runs);
  std::cout << finding.runs << " runs, " << finding.steps << " steps\n";
  EXPECT_EQ(finding.violation, "") << ToText(finding);
}

}  // namespace
}  // namespace broker::races
