// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One kernel function to GPU code: reads the nest and picks the emitter.
#include "passes/gpu/emit.h"

#include "dialect/context.h"
#include "runtime/support/memory.h"

#include <mlir-c/BuiltinAttributes.h>
#include <stdio.h>
#include <string.h>

anas_status anas_gpu_target_init(const char *chip, const char *precision, struct anas_gpu_target *out) {
  static const struct {
    const char *chip, *features;
  } chips[] = {
      {"sm_80", "+ptx70"}, {"sm_86", "+ptx71"}, {"sm_89", "+ptx78"}, {"sm_90", "+ptx80"}, {"sm_100", "+ptx86"}};
  struct anas_gpu_target target = {0};
  if (!chip) chip = "sm_90";
  for (size_t i = 0; i < sizeof chips / sizeof *chips; i++) {
    if (strcmp(chip, chips[i].chip) != 0) continue;
    snprintf(target.chip, sizeof target.chip, "%s", chip);
    snprintf(target.features, sizeof target.features, "%s", chips[i].features);
  }
  if (!target.chip[0])
    return anas_fail(ANAS_INVALID, "unknown chip '%s'; known are sm_80, sm_86, sm_89, sm_90 and sm_100", chip);
  if (!precision || !strcmp(precision, "f32"))
    target.precision = ANAS_GPU_F32;
  else if (!strcmp(precision, "tf32"))
    target.precision = ANAS_GPU_TF32;
  else if (!strcmp(precision, "bf16"))
    target.precision = ANAS_GPU_BF16;
  else
    return anas_fail(ANAS_INVALID, "unknown precision '%s'; known are f32, tf32 and bf16", precision);
  *out = target;
  return ANAS_OK;
}

static anas_status check_sizes(const struct anas_cpu_nest *nest) {
  double points = 1;
  for (int l = 0; l < nest->num_loops; l++)
    if (nest->split[l]) points *= (double)nest->extent[l];
  for (int o = 0; o < nest->num_operands; o++)
    if (nest->operand[o].elements > INT32_MAX) points = 1e18;
  if (points > INT32_MAX)
    return anas_fail(ANAS_UNSUPPORTED, "kernel function: GPU kernels take tensors of less than 2^31 elements; use a "
                                       "smaller batch");
  return ANAS_OK;
}

static anas_status emit(struct anas_gpu_emit *emit) {
  bool done;
  ANAS_RETURN_IF_ERROR(anas_gpu_contraction(emit, &done));
  if (!done) ANAS_RETURN_IF_ERROR(anas_gpu_reduce(emit, &done));
  return done ? ANAS_OK : anas_gpu_map(emit);
}

anas_status anas_gpu_codegen(MlirOperation function, const struct anas_gpu_target *target, struct anas_gpu_code *out) {
  struct anas_gpu_code code = {.form = ""};
  struct anas_gpu_emit state = {.target = target, .out = &code};
  MlirStringRef name = mlirStringAttrGetValue(mlirOperationGetAttributeByName(function, anas_ref_text("sym_name")));
  if (name.length + 8 > sizeof code.symbol)
    return anas_fail(ANAS_INVALID, "kernel function '%.*s': the name is longer than that of a kernel function",
                     (int)name.length, name.data);
  snprintf(code.symbol, sizeof code.symbol, "%.*s", (int)name.length, name.data);
  anas_status status = anas_cpu_nest_read(function, &state.nest);
  if (status == ANAS_OK) status = check_sizes(&state.nest);
  if (status == ANAS_OK) {
    for (int o = state.nest.num_in; o < state.nest.num_operands; o++)
      state.combiner[o] = anas_cpu_find_combiner(&state.nest, o);
    char text[96];
    int length = snprintf(text, sizeof text, "module { gpu.module @%s { } }", code.symbol);
    status = anas_parse(mlirOperationGetContext(function), text, (size_t)length, "GPU module", &code.module);
  }
  if (status == ANAS_OK) status = emit(&state);
  if (status != ANAS_OK) {
    anas_gpu_code_deinit(&code);
    return anas_fail_context(status, "%.*s: ", (int)name.length, name.data);
  }
  *out = code;
  return ANAS_OK;
}

void anas_gpu_code_deinit(struct anas_gpu_code *code) {
  if (!mlirModuleIsNull(code->module)) mlirModuleDestroy(code->module);
  *code = (struct anas_gpu_code){0};
}
