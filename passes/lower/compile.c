// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From an architecture module to machine code: train step, kernel functions, objects.
#include "passes/lower/compile.h"

#include "passes/lower/lower.h"
#include "runtime/support/file.h"

anas_status anas_compile(MlirModule architecture, const struct anas_compile_options *options,
                         struct anas_program_image *out_image) {
  double start = anas_now();
  MlirModule module = mlirModuleFromOperation(mlirOperationClone(mlirModuleGetOperation(architecture)));
  anas_status status = anas_build_train_step(module, options->batch, options->momentum, options->weight_decay);
  double built = anas_now();
  if (status == ANAS_OK) status = anas_lower_to_kernels(module);
  double lowered = anas_now();
  if (status == ANAS_OK) status = anas_compile_kernels(module, options, out_image);
  mlirModuleDestroy(module);
  if (status != ANAS_OK) return status;
  out_image->compile_seconds = anas_now() - start;
  if (options->report) {
    options->report->train_step_seconds = built - start;
    options->report->to_kernels_seconds = lowered - built;
    options->report->seconds = out_image->compile_seconds;
  }
  return status;
}
