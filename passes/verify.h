// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The checks behind --anas-verify, for tools that read files.
#ifndef ANAS_PASSES_VERIFY_H
#define ANAS_PASSES_VERIFY_H

#include "passes/pass.h"

#include <stdbool.h>

// True if the module has ops of the architecture level (or anas ops nobody knows); training steps, kernel functions and
// modules of other dialects have none.
bool anas_is_architecture(MlirModule module);

// Emits diagnostics at the ops.
anas_status anas_verify_module(MlirModule module);

#endif
