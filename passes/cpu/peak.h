// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The arithmetic peak that profiles are compared with.
#ifndef ANAS_PASSES_CPU_PEAK_H
#define ANAS_PASSES_CPU_PEAK_H

#include "passes/cpu/cpu.h"

// GFLOP/s (2 per fused multiply-add) of one thread in f32, measured with a generated loop over registers; takes a few
// milliseconds besides its compilation. 0 if the loop cannot be compiled; anas_error_message() says why. The target
// must be able to run here.
double anas_fma_peak(const struct anas_cpu_target *target);

#endif
