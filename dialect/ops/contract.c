// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Shared pieces of convolution and dense layers, and the gradient of their bias.
#include "dialect/ops/contract.h"

#include "dialect/column_sums.h"

int anas_contract_loop(struct anas_nest *nest, int64_t extent, bool reduction) {
  return extent == 1 ? -1 : anas_nest_loop(nest, extent, reduction);
}

void anas_contract_index(struct anas_access *access, int dim, int loop, int64_t coef) {
  if (loop >= 0) anas_access_add(access, dim, loop, coef);
}

void anas_contract_body(struct anas_nest *nest) {
  int product = anas_nest_value(nest, "arith.mulf %%i0, %%i1 fastmath<contract> : f32");
  int sum = anas_nest_value(nest, "arith.addf %%o0, %%v%d fastmath<contract> : f32", product);
  anas_nest_yield(nest, 0, "%%v%d", sum);
}

void anas_contract_bias(struct anas_lowering *l, int bias, int result) {
  struct anas_shape shape = *anas_lower_shape(l, result);
  struct anas_nest *nest = anas_lower_nest(l, "bias_add");
  for (int i = 0; i < shape.rank; i++)
    anas_nest_loop(nest, shape.dim[i], false);
  anas_access_add(anas_nest_in(nest, bias), 0, shape.rank - 1, 1);
  struct anas_access *out = anas_nest_out(nest, result, ANAS_NO_FILL);
  for (int i = 0; i < shape.rank; i++)
    anas_access_add(out, i, i, 1);
  int sum = anas_nest_value(nest, "arith.addf %%o0, %%i0 : f32");
  anas_nest_yield(nest, 0, "%%v%d", sum);
}

bool anas_stretch_next(struct anas_stretch *stretch, int64_t channels, int64_t block) {
  int64_t start = stretch->start + stretch->blocks * stretch->width;
  if (start >= channels) return false;
  int64_t left = channels - start;
  *stretch = left >= block ? (struct anas_stretch){start, left / block, block} : (struct anas_stretch){start, 1, left};
  return true;
}

// ---- bias_bwd

static anas_status bias_bwd_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *dy = &op->operand[0];
  char text[128];
  if (dy->element != ANAS_F32 || dy->rank < 2)
    return anas_fail(ANAS_INVALID, "'anas.bias_bwd' needs an f32 tensor of rank 2 or more, got tensor<%s>",
                     anas_shape_text(dy, text));
  out[0] = (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {dy->dim[dy->rank - 1]}};
  return ANAS_OK;
}

static anas_status bias_bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *dy = &op->operand[0];
  const int result[] = {anas_lower_result(l, 0)};
  struct anas_column_sums sums;
  anas_column_sums_init(&sums, dy, 0);
  struct anas_nest *nest = anas_column_sums_begin(&sums, l, "bias_bwd", result, 1);
  anas_column_sums_whole(&sums, anas_nest_in(nest, anas_lower_operand(l, 0)));
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%i0 : f32"));
  anas_column_sums_end(&sums, l, result, 1);
  return ANAS_OK;
}

static const struct anas_sample bias_bwd_samples[] = {
    {{"3x17xf32"}, "{}", "17xf32"},
    {{"2x5x3x33xf32"}, "{}", "33xf32"},
    {{"1x4x1xf32"}, "{}", "1xf32"},
};

static const struct anas_op_def bias_bwd = {
    .name = "bias_bwd",
    .level = ANAS_TRAINING,
    .summary = "gradient of a bias: the sum of dy over everything but the features",
    .num_operands = 1,
    .samples = bias_bwd_samples,
    .num_samples = sizeof bias_bwd_samples / sizeof *bias_bwd_samples,
    .shape = bias_bwd_shape,
    .lower = bias_bwd_lower,
};

ANAS_OP_FAMILY(contract, &bias_bwd);
