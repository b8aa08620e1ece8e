// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// --profile: where a training step spends its time.
#ifndef ANAS_TOOLS_TRAIN_PROFILE_H
#define ANAS_TOOLS_TRAIN_PROFILE_H

#include "runtime/program.h"

// Runs a few more steps on one thread and prints, for every kernel function, time, GFLOP/s and the share of the FMA
// peak measured in the same run. The parameters move on by those steps.
anas_status profile_kernels(struct anas_program *program, const char *cpu, bool json);

#endif
