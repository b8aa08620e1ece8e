// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hooks of the pipeline into statistics (internal to passes/).
#ifndef ANAS_PASSES_STATISTICS_H
#define ANAS_PASSES_STATISTICS_H

#include "passes/pass.h"

// Brackets one run of a pass on a module. begin returns what end takes back; counters reported in between on this
// thread belong to it.
int anas_statistics_begin(struct anas_statistics *statistics, const char *pass, MlirModule module);
void anas_statistics_end(struct anas_statistics *statistics, int run, MlirModule module);

#endif
