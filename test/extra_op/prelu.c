// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A throw-away op: what adding one to the dialect takes. The build links it into the tests that are generated from the
// op table (test/CMakeLists.txt); the definition at the end is what they compare its forward pass with.
#include "dialect/op_support.h"
#include "dialect/train.h"
#include "test/unit/op_references.h"

enum { START, NUM_ATTRS };

static const struct anas_attr_def prelu_attrs[NUM_ATTRS] = {
    [START] = {.name = "slope_init",
               .kind = ANAS_ATTR_INIT,
               .fallback = ANAS_INIT_OF(ANAS_ZEROS),
               .doc = "initialiser of the slopes"},
};

static anas_status prelu_shape(const struct anas_op *op, struct anas_shape *out) {
  ANAS_RETURN_IF_ERROR(anas_check_tensor(op, 2));
  return anas_shape_same(op, out);
}

static int prelu_params(const struct anas_op *op, struct anas_param *out) {
  int64_t channels = op->operand[0].dim[op->operand[0].rank - 1];
  out[0] = (struct anas_param){.name = "slope",
                               .shape = {.rank = 1, .element = ANAS_F32, .dim = {channels}},
                               .init = op->attr[START].value.init,
                               .fan_in = channels,
                               .fan_out = channels};
  return 1;
}

static anas_status prelu_forward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue in[] = {op->operand[0], op->param[0]};
  return anas_train_emit(train, "prelu_fwd", in, 2, NULL, &op->result);
}

static anas_status prelu_backward(struct anas_train *train, struct anas_train_op *op) {
  MlirValue in[] = {op->grad_result, op->operand[0], op->param[0]}, part;
  if (op->need_operand[0]) ANAS_RETURN_IF_ERROR(anas_train_emit(train, "prelu_bwd", in, 3, NULL, &op->grad_operand[0]));
  ANAS_RETURN_IF_ERROR(anas_train_emit(train, "prelu_bwd_slope", in, 2, NULL, &part));
  return anas_train_emit(train, "bias_bwd", &part, 1, NULL, &op->grad_param[0]);
}

static const struct anas_sample prelu_samples[] = {
    {{"2x3x5x7xf32"}, "{}", "2x3x5x7xf32"},
    {{"3x11xf32"}, "{slope_init = \"constant(0.25)\"}", "3x11xf32"},
};

static const struct anas_op_def prelu = {
    .name = "prelu",
    .summary = "x where it is positive, slope * x elsewhere, a slope a channel",
    .order = 29,
    .num_operands = 1,
    .attrs = prelu_attrs,
    .num_attrs = NUM_ATTRS,
    .linearity = ANAS_NONLINEAR,
    .synthesizable = true,
    .onnx = "PRelu",
    .samples = prelu_samples,
    .num_samples = ANAS_COUNT(prelu_samples),
    .shape = prelu_shape,
    .params = prelu_params,
    .forward = prelu_forward,
    .backward = prelu_backward,
};

// ---- training ops: operand 0 has the type of the result

// out = positive where input `test` is positive, otherwise times
static anas_status choose(struct anas_lowering *l, const char *kind, const struct anas_op *op, int test,
                          const char *positive, const char *factor, const char *value) {
  int in[3];
  for (int i = 0; i < op->num_operands; i++)
    in[i] = anas_lower_operand(l, i);
  struct anas_nest *nest = anas_lower_map(l, kind, in, op->num_operands, anas_lower_result(l, 0));
  int zero = anas_nest_f32(nest, 0);
  int where = anas_nest_value(nest, "arith.cmpf ogt, %%i%d, %%v%d : f32", test, zero);
  int times = anas_nest_value(nest, "arith.mulf %s, %s : f32", factor, value);
  int chosen = positive ? anas_nest_value(nest, "arith.select %%v%d, %s, %%v%d : f32", where, positive, times)
                        : anas_nest_value(nest, "arith.select %%v%d, %%v%d, %%v%d : f32", where, zero, times);
  anas_nest_yield(nest, 0, "%%v%d", chosen);
  return ANAS_OK;
}

static anas_status fwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  return choose(l, "prelu_fwd", op, 0, "%i0", "%i0", "%i1");
}

static anas_status bwd_lower(const struct anas_op *op, struct anas_lowering *l) {
  return choose(l, "prelu_bwd", op, 1, "%i0", "%i0", "%i2");
}

static anas_status slope_lower(const struct anas_op *op, struct anas_lowering *l) {
  return choose(l, "prelu_bwd_slope", op, 1, NULL, "%i0", "%i1");
}

static const struct anas_op_def prelu_fwd = {
    .name = "prelu_fwd",
    .level = ANAS_TRAINING,
    .summary = "prelu of x and the slopes",
    .num_operands = 2,
    .shape = anas_shape_same,
    .lower = fwd_lower,
};

static const struct anas_op_def prelu_bwd = {
    .name = "prelu_bwd",
    .level = ANAS_TRAINING,
    .summary = "gradient of x, from dy, x and the slopes",
    .num_operands = 3,
    .shape = anas_shape_same,
    .lower = bwd_lower,
};

static const struct anas_op_def prelu_bwd_slope = {
    .name = "prelu_bwd_slope",
    .level = ANAS_TRAINING,
    .summary = "what every element adds to the gradient of its slope, from dy and x",
    .num_operands = 2,
    .shape = anas_shape_same,
    .lower = slope_lower,
};

ANAS_OP_FAMILY(prelu, &prelu, &prelu_fwd, &prelu_bwd, &prelu_bwd_slope);

// ---- the definition, for the tests

static void prelu_definition(const struct anas_op *op, const struct anas_shape *result, bool training,
                             const double *const *in, const double *const *param, double *y) {
  (void)op;
  (void)training;
  int64_t channels = result->dim[result->rank - 1];
  for (int64_t i = 0; i < anas_shape_elements(result); i++)
    y[i] = in[0][i] > 0 ? in[0][i] : in[0][i] * param[0][i % channels];
}

const char *const op_reference_extra_name = "prelu";
const op_reference op_reference_extra = prelu_definition;
