// Which fault of mutants.txt is switched on. Only in copies of the sources that
// mutate.py has made.

#pragma once

namespace broker::races {

// 0: none.
extern int mutant;

inline bool Mutant(int number) { return mutant == number; }

}  // namespace broker::races
