// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Trials at the same time, and threads for each.
#ifndef ANAS_TOOLS_ANAS_SEARCH_PACKING_H
#define ANAS_TOOLS_ANAS_SEARCH_PACKING_H

#include "tools/anas-search/search.h"

#define MAX_PACKING_PROCESSORS 256

struct packing_facts {
  int processors;
  int threads;           // of a trial, if somebody said so; else 0
  const double *speedup; // predicted for the step of the seed model with 1, 2, ... `processors` threads
  int64_t planned_bytes; // of that step
  int64_t free_bytes;    // of the machine
  int64_t memory_limit;  // of a trial; 0: none
  int64_t most;          // trials that may be under way
};
// The fewest trials whose threads all gain nine tenths of what they could; fewer where their memory would not fit.
int64_t packing_trials(const struct packing_facts *facts);

#endif
