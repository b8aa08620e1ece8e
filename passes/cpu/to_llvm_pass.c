// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-to-llvm: the code generators as a pass on a kernel-stage module.
#include "passes/cpu/cpu.h"
#include "passes/gpu/gpu.h"
#include "passes/pass.h"

#include <string.h>

static anas_status run_cuda(MlirModule module, const struct anas_pass_options *options) {
  static const char *const stages[] = {"gpu", "nvvm", "ptx"};
  struct anas_gpu_target target;
  const char *stage = anas_option_string(options, "stage");
  ANAS_RETURN_IF_ERROR(
      anas_gpu_target_init(anas_option_string(options, "chip"), anas_option_string(options, "precision"), &target));
  for (int i = 0; i < 3; i++)
    if (!strcmp(stage, stages[i])) return anas_gpu_replace_kernels(module, &target, (enum anas_gpu_stage)i);
  return anas_fail(ANAS_INVALID, "unknown stage '%s', expected gpu, nvvm or ptx", stage);
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  const char *device = anas_option_string(options, "target"), *cpu = anas_option_string(options, "cpu");
  if (!strcmp(device, "cuda")) return run_cuda(module, options);
  if (strcmp(device, "cpu") != 0) return anas_fail(ANAS_INVALID, "unknown target '%s', expected cpu or cuda", device);
  if (anas_option_bool(options, "reference")) return anas_cpu_reference_to_llvm(module);
  struct anas_cpu_target target;
  ANAS_RETURN_IF_ERROR(anas_cpu_parse("cpu", cpu, false, &cpu));
  ANAS_RETURN_IF_ERROR(anas_cpu_target_init(cpu, &target));
  if (!anas_option_bool(options, "winograd")) target.winograd = ANAS_WINOGRAD_OFF;
  anas_status status = anas_cpu_target_set_precision(&target, anas_option_string(options, "precision"));
  if (status == ANAS_OK) status = anas_cpu_codegen(module, &target);
  if (status == ANAS_OK) status = anas_cpu_to_llvm(module);
  anas_cpu_target_deinit(&target);
  return status;
}

static const struct anas_pass_option pass_options[] = {
    {"target", ANAS_OPTION_STRING, "cpu", "machine to generate code for: cpu or cuda"},
    {"cpu", ANAS_OPTION_STRING, "native", "LLVM processor name; native: this machine"},
    {"winograd", ANAS_OPTION_BOOL, "true", "3x3 convolutions by Winograd's algorithm where it is faster"},
    {"reference", ANAS_OPTION_BOOL, "false", "stock loop lowering of the same kernel functions, slow, for comparison"},
    {"chip", ANAS_OPTION_STRING, "sm_90", "target=cuda: sm_80, sm_86, sm_89, sm_90 or sm_100"},
    {"precision", ANAS_OPTION_STRING, "f32",
     "of the operands of contractions: f32; bf16 where that is faster, or bf16-always (needs AVX512_BF16); "
     "target=cuda: tf32 or bf16 on tensor cores"},
    {"stage", ANAS_OPTION_STRING, "nvvm", "target=cuda: how far to lower each gpu.module: gpu, nvvm or ptx"},
    {NULL, ANAS_OPTION_STRING, NULL, NULL},
};

extern const struct anas_pass_def anas_pass_to_llvm;
const struct anas_pass_def anas_pass_to_llvm = {
    .argument = "anas-to-llvm",
    .summary = "lower kernel functions and entry functions to the LLVM dialect",
    .options = pass_options,
    .run = run,
};
