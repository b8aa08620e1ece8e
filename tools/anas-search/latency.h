// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Inference latency of a candidate beside the seed model, in one run on one core.
#ifndef ANAS_TOOLS_ANAS_SEARCH_LATENCY_H
#define ANAS_TOOLS_ANAS_SEARCH_LATENCY_H

#include "runtime/data.h"
#include "runtime/program.h"

struct latency {
  double p50, p95; // seconds of one inference
  double spread;   // of p50: half the width of its 95 % confidence interval, relative
};

// How the measuring of two programs ended.
struct latency_report {
  struct latency candidate, seed;
  int runs;      // timed, of each
  int repeated;  // runs of either that another process interrupted
  int core;      // they were pinned to, -1: pinning was not allowed
  double waited; // seconds for other measurements on this machine
};

// Measures two inference programs in alternation until both spreads are below 2 %, or for 5 s. Their parameters are
// initialised and their input is images of the data set. Waits until no other process of this machine measures. The
// thread team has one thread afterwards.
anas_status latency_measure(struct anas_program *candidate, struct anas_program *seed,
                            const struct anas_dataset *dataset, struct latency_report *out);

// Statistics of 'count' > 0 run times, which are sorted by the call.
struct latency latency_of(double *seconds, int count);

#endif
