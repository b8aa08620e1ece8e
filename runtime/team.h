// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread team: splits the outer loop of a kernel function over the threads; spin then sleep, about a microsecond per
// fork-join. One team per process, started on first use; $ANAS_NUM_THREADS or the number of available processors.
#ifndef ANAS_RUNTIME_TEAM_H
#define ANAS_RUNTIME_TEAM_H

#include <stdint.h>

// What the compiler generates for every kernel: iterations [begin, end) of its outermost parallel loop; operands by
// address.
typedef void (*anas_kernel_range)(void **operands, int64_t begin, int64_t end);

// A kernel k runs at most so many ranges one after the other: k_range, k_range1 and so on.
#define ANAS_KERNEL_PARTS 4

// Called by generated code. count: iterations; small kernels pass parallel = 0 and run on the caller.
void anas_parallel_for(anas_kernel_range body, void **operands, int64_t count, int32_t parallel);

int anas_team_size(void);
void anas_team_set_size(int threads); // before first use, or between calls; 1 runs everything on the caller
void anas_team_shutdown(void);        // joins the threads (before fork, at exit)

// Profiling: seconds and calls per body since enabling; wall clock for bodies that were split, processor time for those
// that ran on the caller. Not thread-safe against running kernels.
void anas_team_profile(int enable);
// For launches that measure themselves: one call more of a body.
int anas_team_profiling(void);
void anas_team_profile_add(anas_kernel_range body, double seconds);
void anas_team_profile_get(anas_kernel_range body, double *out_seconds, int64_t *out_calls);

#endif
