// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From an architecture module to a compiled training program.
#ifndef ANAS_PASSES_COMPILE_H
#define ANAS_PASSES_COMPILE_H

#include "runtime/program.h"

#include <mlir-c/IR.h>

struct anas_compile_options {
  int64_t batch;
  double momentum, weight_decay;
  const char *cpu;   // LLVM processor name, null: the host
  bool no_winograd;  // 3x3 convolutions by direct sums everywhere
  bool reference;    // stock loop lowering instead of our kernels (slow, for tests)
  const char *cache; // object cache directory; null: the default place
  bool no_cache;
  int threads; // compile threads; 0: all processors
};

// The module is not modified. The context of the module must not be in use elsewhere meanwhile.
anas_status anas_compile(MlirModule architecture, const struct anas_compile_options *options,
                         struct anas_program_image *out_image);

// The second half of anas_compile, for a module that is already at the kernel stage (passes/lower/lower.h); batch and
// optimizer options are not used.
anas_status anas_compile_kernels(MlirModule kernels, const struct anas_compile_options *options,
                                 struct anas_program_image *out_image);

#endif
