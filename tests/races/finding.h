// Looks for a run that violates the specification, and makes it small.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace broker::races {

struct Finding {
  uint64_t runs = 0;
  uint64_t steps = 0;
  std::string violation;  // empty: there was none
  uint64_t seed = 0;
  std::vector<std::string> trace;  // of the run, made small
};

// Runs the seeds from `first` on, until one fails or there were `runs`.
Finding FindViolation(uint64_t first, uint64_t runs);

std::string ToText(const Finding& finding);

}  // namespace broker::races
