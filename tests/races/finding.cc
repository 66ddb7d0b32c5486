#include "tests/races/finding.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/races/simulation.h"

namespace broker::races {
namespace {

// Leaves out choices as long as what is left still fails.
std::vector<uint32_t> Shrink(Simulation& simulation,
                             std::vector<uint32_t> choices) {
  for (bool smaller = true; smaller;) {
    smaller = false;
    for (size_t size = 32; size > 0; size /= 2) {
      for (size_t at = 0; at + size <= choices.size();) {
        std::vector<uint32_t> fewer = choices;
        const auto from = fewer.begin() + static_cast<ptrdiff_t>(at);
        fewer.erase(from, from + static_cast<ptrdiff_t>(size));
        Choices replay(fewer);
        if (simulation.Run(replay).empty()) {
          ++at;
        } else {
          choices = std::move(fewer);
          smaller = true;
        }
      }
    }
  }
  return choices;
}

}  // namespace

Finding FindViolation(uint64_t first, uint64_t runs) {
  Finding finding;
  Simulation simulation;
  for (uint64_t seed = first; finding.runs < runs; ++seed) {
    Choices choices(seed);
    ++finding.runs;
    finding.violation = simulation.Run(choices);
    finding.steps = simulation.steps();
    if (finding.violation.empty()) continue;
    finding.seed = seed;
    Choices replay(Shrink(simulation, choices.drawn()));
    finding.violation = simulation.Run(replay, &finding.trace);
    break;
  }
  return finding;
}

std::string ToText(const Finding& finding) {
  return absl::StrCat("seed ", finding.seed, ", made small:\n  ",
                      absl::StrJoin(finding.trace, "\n  "), "\n",
                      finding.violation);
}

}  // namespace broker::races
