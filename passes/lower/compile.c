// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From an architecture module to machine code: train step, kernel functions, objects.
#include "passes/lower/compile.h"

#include "passes/lower/lower.h"
#include "passes/lower/step.h"
#include "runtime/support/file.h"

anas_status anas_memory_budget(int64_t limit, size_t data_bytes, int64_t *out_budget) {
  int64_t budget = limit - ANAS_PROCESS_BYTES - (int64_t)data_bytes;
  if (budget <= 0)
    return anas_fail(ANAS_NO_MEMORY,
                     "the memory limit of %.1f MB leaves nothing for training: the process needs %.1f MB, and the data "
                     "set %.1f MB",
                     (double)limit / 1e6, (double)ANAS_PROCESS_BYTES / 1e6, (double)data_bytes / 1e6);
  *out_budget = budget;
  return ANAS_OK;
}

// Compiles for at most `limit` bytes of arena and parameters, before the scratch memory of kernel functions.
static anas_status compile(MlirModule architecture, const struct anas_compile_options *options, int64_t limit,
                           struct anas_program_image *out_image) {
  double start = anas_now();
  MlirModule module = mlirModuleFromOperation(mlirOperationClone(mlirModuleGetOperation(architecture)));
  struct anas_train_step_options step = {
      .batch = options->batch, .optimizer = options->optimizer, .program = options->program};
  anas_status status = anas_build_train_step_with(module, &step);
  double built = anas_now();
  if (status == ANAS_OK)
    status =
        anas_lower_to_kernels_with(module, &(struct anas_lower_options){.memory_limit = limit, .update_pieces = true});
  double lowered = anas_now();
  if (status == ANAS_OK) status = anas_compile_kernels(module, options, out_image);
  mlirModuleDestroy(module);
  if (status == ANAS_OK && options->report) {
    options->report->train_step_seconds = built - start;
    options->report->to_kernels_seconds = lowered - built;
  }
  return status;
}

anas_status anas_compile(MlirModule architecture, const struct anas_compile_options *options,
                         struct anas_program_image *out_image) {
  double start = anas_now();
  int64_t limit = options->memory_limit;
  struct anas_program_image image;
  anas_status status = compile(architecture, options, limit, &image);
  // How much scratch memory there is, compilation tells: it comes off the limit of a second attempt.
  int64_t over = status == ANAS_OK && limit ? (int64_t)(image.arena_bytes + image.params_bytes) - limit : 0;
  if (over > 0) {
    int64_t left = (int64_t)(image.params_bytes + image.scratch.offset) - over;
    anas_program_image_deinit(&image);
    if (options->report) anas_compile_report_deinit(options->report);
    status = left > 0
                 ? compile(architecture, options, left, &image)
                 : anas_fail(ANAS_NO_MEMORY, "the scratch memory of the kernel functions exceeds the memory limit");
    if (status == ANAS_OK && (int64_t)(image.arena_bytes + image.params_bytes) > limit) {
      status = anas_fail(ANAS_NO_MEMORY,
                         "the training step needs %.1f MB, the memory limit leaves %.1f MB; use a smaller batch",
                         (double)(image.arena_bytes + image.params_bytes) / 1e6, (double)limit / 1e6);
      anas_program_image_deinit(&image);
    }
  }
  ANAS_RETURN_IF_ERROR(status);
  image.compile_seconds = anas_now() - start;
  if (options->report) options->report->seconds = image.compile_seconds;
  *out_image = image;
  return ANAS_OK;
}
