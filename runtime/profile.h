// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Time per kernel function of a program's training steps.
#ifndef ANAS_RUNTIME_PROFILE_H
#define ANAS_RUNTIME_PROFILE_H

#include "runtime/program.h"

struct anas_profile_row {
  const struct anas_kernel *kernel;
  double seconds;                // of all calls in one step, median over the steps
  double gflops, gbytes;         // 1e9 a second
  bool convolution, contraction; // contraction: either of them, whose speed is compared with the FMA peak
};

// Runs a warm-up step and 'steps' more on 'threads' threads and returns the kernel functions that ran, slowest first
// (malloc'ed). One thread is timed in its processor time, several in wall time. The team has its old size afterwards.
int anas_profile_steps(struct anas_program *program, int steps, int threads, struct anas_profile_row **out_rows);

// Middle value; sorts. 0 of none.
double anas_median(double *values, size_t count);

#endif
