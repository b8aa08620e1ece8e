// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How many trials run at the same time where nobody says so: the decision, from what is known of the seed model.
#include "tools/anas-search/packing.h"

#include "passes/lower/compile.h"

#define WORTHWHILE 0.9   // of the ideal speed-up, for threads to work on one trial
#define HEADROOM 2       // times the memory of the seed model, for its descendants
#define MEMORY_SHARE 0.9 // of what is free

int64_t packing_trials(const struct packing_facts *facts) {
  int threads = facts->threads ? facts->threads : facts->processors;
  while (!facts->threads && threads > 1 && facts->speedup[threads - 1] < WORTHWHILE * threads)
    threads--;
  int64_t workers = facts->processors / threads;
  int64_t need = HEADROOM * (facts->planned_bytes + ANAS_PROCESS_BYTES);
  if (facts->memory_limit && facts->memory_limit < need) need = facts->memory_limit;
  int64_t fitting = (int64_t)((double)facts->free_bytes * MEMORY_SHARE) / need;
  if (workers > fitting) workers = fitting;
  if (workers > facts->most) workers = facts->most;
  return workers > 1 ? workers : 1;
}
