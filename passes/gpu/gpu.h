// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GPU code: kernel functions (linalg on static memrefs) to PTX, and a kernel-stage module to a device program.
#ifndef ANAS_PASSES_GPU_H
#define ANAS_PASSES_GPU_H

#include "passes/train/optimizer.h"
#include "runtime/device/program.h"

#include <mlir-c/IR.h>

enum anas_gpu_precision {
  ANAS_GPU_F32,  // contractions with fused multiply-adds
  ANAS_GPU_TF32, // contractions on tensor cores, operands rounded to tf32, sums in f32
  ANAS_GPU_BF16, // the same with operands rounded to bf16
};

struct anas_gpu_target {
  char chip[16];     // "sm_90"
  char features[16]; // "+ptx80"
  enum anas_gpu_precision precision;
};
// ANAS_INVALID names the chips and precisions that are known. Null: sm_90, f32.
anas_status anas_gpu_target_init(const char *chip, const char *precision, struct anas_gpu_target *out);

// What one kernel function becomes: fills and launches, in order, of the functions of one PTX module.
enum { ANAS_GPU_MAX_LAUNCHES = 4, ANAS_GPU_MAX_ARGUMENTS = 20, ANAS_GPU_WORKSPACE = -1 };
struct anas_gpu_launch {
  bool fill;           // else: a launch of `symbol`
  int fill_argument;   // argument of the kernel function
  uint32_t fill_value; // bits of every element
  int64_t fill_count;  // elements of 4 bytes
  char symbol[48];
  int64_t grid[3], block;
  int num_arguments;
  int argument[ANAS_GPU_MAX_ARGUMENTS]; // number of an argument of the kernel function, or ANAS_GPU_WORKSPACE
};
struct anas_gpu_code {
  MlirModule module; // one gpu.module; owned
  char symbol[48];
  const char *form; // name of the emitter, for listings
  int num_launches;
  struct anas_gpu_launch launch[ANAS_GPU_MAX_LAUNCHES];
  int64_t workspace; // bytes of scratch memory the launches share
};
// Reads a kernel function and emits GPU code for it in a module of its own, in the same context.
anas_status anas_gpu_codegen(MlirOperation function, const struct anas_gpu_target *target, struct anas_gpu_code *out);
void anas_gpu_code_deinit(struct anas_gpu_code *code);

// gpu.module to the LLVM dialect, in place; and that to PTX text (malloc'ed), which has no unresolved functions.
anas_status anas_gpu_to_nvvm(MlirModule module);
anas_status anas_gpu_emit_ptx(MlirModule nvvm_module, const struct anas_gpu_target *target, char **out_ptx);

// Replaces every kernel function of a module by a declaration that lists its launches and a gpu.module, for reading:
// what anas-to-llvm{target=cuda} prints.
enum anas_gpu_stage { ANAS_GPU_STAGE_GPU, ANAS_GPU_STAGE_NVVM, ANAS_GPU_STAGE_PTX };
anas_status anas_gpu_replace_kernels(MlirModule module, const struct anas_gpu_target *target,
                                     enum anas_gpu_stage stage);

// A module of the kernel stage to a device program: PTX of all kernel functions, launch plans of both entry functions.
anas_status anas_gpu_compile_kernels(MlirModule kernels, const struct anas_gpu_target *target,
                                     struct anas_device_program *out);
// From an architecture module, which is not modified.
anas_status anas_gpu_compile(MlirModule architecture, int64_t batch, const struct anas_optimizer *optimizer,
                             const struct anas_gpu_target *target, struct anas_device_program *out);

#endif
