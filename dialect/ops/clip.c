// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Clipping by the norm of all gradients together (Pascanu et al., 2013): the square sum of one, the common factor.
#include "dialect/column_sums.h"
#include "dialect/op_support.h"

static const struct anas_shape scalar_type = {.rank = 1, .element = ANAS_F32, .dim = {1}};

static anas_status squared_norm_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 1));
  out[0] = scalar_type;
  return ANAS_OK;
}

// The square sums of the columns, for all dimensions but the last at once, then their sum.
static anas_status squared_norm_lower(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *x = &op->operand[0];
  int64_t channels = x->dim[x->rank - 1];
  int columns = anas_lower_operand(l, 0);
  if (x->rank > 1) {
    struct anas_shape type = {.rank = 1, .element = ANAS_F32, .dim = {channels}};
    columns = anas_lower_scratch(l, &type);
    struct anas_column_sums sums;
    anas_column_sums_init(&sums, x, 0);
    struct anas_nest *nest = anas_column_sums_begin(&sums, l, "squared_norm", &columns, 1);
    anas_column_sums_whole(&sums, anas_nest_in(nest, anas_lower_operand(l, 0)));
    int square = anas_nest_value(nest, "arith.mulf %%i0, %%i0 " ANAS_CONTRACT " : f32");
    anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d " ANAS_CONTRACT " : f32", square));
    anas_column_sums_end(&sums, l, &columns, 1);
  }
  struct anas_nest *nest = anas_lower_nest(l, "squared_norm_sum");
  anas_nest_loop(nest, channels, true);
  anas_access_add(anas_nest_in(nest, columns), 0, 0, 1);
  anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO);
  if (x->rank > 1) {
    anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%i0 : f32"));
  } else {
    int square = anas_nest_value(nest, "arith.mulf %%i0, %%i0 : f32");
    anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", square));
  }
  return ANAS_OK;
}

static const struct anas_sample squared_norm_samples[] = {
    {{"3x5xf32"}, "{}", "1xf32"},
    {{"17xf32"}, "{}", "1xf32"},
    {{"3x3x33x20xf32"}, "{}", "1xf32"},
};

static const struct anas_op_def squared_norm = {
    .name = "squared_norm",
    .level = ANAS_TRAINING,
    .summary = "sum of the squares of all elements",
    .num_operands = 1,
    .samples = squared_norm_samples,
    .num_samples = ANAS_COUNT(squared_norm_samples),
    .shape = squared_norm_shape,
    .lower = squared_norm_lower,
};

// ---- the factor

static const struct anas_attr_def factor_attrs[] = {
    {.name = "norm", .kind = ANAS_ATTR_FLOAT, .required = true, .doc = "most that the norm may be"},
};

static anas_status factor_shape(const struct anas_op *op, struct anas_shape *out) {
  char text[128];
  if (!anas_shape_equal(&op->operand[0], &scalar_type))
    return anas_fail(ANAS_INVALID, "'anas.%s' needs tensor<1xf32>, got tensor<%s>", op->def->name,
                     anas_shape_text(&op->operand[0], text));
  out[0] = scalar_type;
  return ANAS_OK;
}

static anas_status factor_lower(const struct anas_op *op, struct anas_lowering *l) {
  int in[] = {anas_lower_operand(l, 0)};
  struct anas_nest *nest = anas_lower_map(l, "clip_factor", in, 1, anas_lower_result(l, 0));
  int root = anas_nest_value(nest, "math.sqrt %%i0 : f32");
  int most = anas_nest_f32(nest, op->attr[0].value.f), one = anas_nest_f32(nest, 1);
  int share = anas_nest_value(nest, "arith.divf %%v%d, %%v%d : f32", most, root); // infinite for no gradient at all
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.minnumf %%v%d, %%v%d : f32", share, one));
  return ANAS_OK;
}

static const struct anas_sample factor_samples[] = {{{"1xf32"}, "{norm = 0.5 : f32}", "1xf32"}};

static const struct anas_op_def clip_factor = {
    .name = "clip_factor",
    .level = ANAS_TRAINING,
    .summary = "min(1, norm / root of the operand), which is the square sum of all gradients",
    .num_operands = 1,
    .attrs = factor_attrs,
    .num_attrs = ANAS_COUNT(factor_attrs),
    .samples = factor_samples,
    .num_samples = ANAS_COUNT(factor_samples),
    .shape = factor_shape,
    .lower = factor_lower,
};

ANAS_OP_FAMILY(clip, &squared_norm, &clip_factor);
