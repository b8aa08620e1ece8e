// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-to-llvm: the CPU code generator as a pass on a kernel-stage module.
#include "passes/cpu/cpu.h"
#include "passes/pass.h"

#include <string.h>

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  const char *device = anas_option_string(options, "target"), *cpu = anas_option_string(options, "cpu");
  if (!strcmp(device, "cuda")) return anas_fail(ANAS_UNSUPPORTED, "target=cuda is not built yet; target=cpu is");
  if (strcmp(device, "cpu") != 0) return anas_fail(ANAS_INVALID, "unknown target '%s', expected cpu", device);
  if (anas_option_bool(options, "reference")) return anas_cpu_reference_to_llvm(module);
  struct anas_cpu_target target;
  ANAS_RETURN_IF_ERROR(anas_cpu_target_init(strcmp(cpu, "native") != 0 ? cpu : NULL, &target));
  anas_status status = anas_cpu_codegen(module, &target);
  if (status == ANAS_OK) status = anas_cpu_to_llvm(module);
  anas_cpu_target_deinit(&target);
  return status;
}

static const struct anas_pass_option pass_options[] = {
    {"target", ANAS_OPTION_STRING, "cpu", "machine to generate code for: cpu"},
    {"cpu", ANAS_OPTION_STRING, "native", "LLVM processor name; native: this machine"},
    {"reference", ANAS_OPTION_BOOL, "false", "stock loop lowering of the same kernel functions, slow, for comparison"},
    {NULL, ANAS_OPTION_STRING, NULL, NULL},
};

extern const struct anas_pass_def anas_pass_to_llvm;
const struct anas_pass_def anas_pass_to_llvm = {
    .argument = "anas-to-llvm",
    .summary = "lower kernel functions and entry functions to the LLVM dialect",
    .options = pass_options,
    .run = run,
};
