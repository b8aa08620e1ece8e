// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Losses: value, number of correct predictions and gradient with respect to the logits come from one training op.
#include "dialect/op_support.h"

static anas_status cross_entropy_shape(const struct anas_op *op, struct anas_shape *out) {
  const struct anas_shape *logits = &op->operand[0], *label = &op->operand[1];
  char a[128], b[128];
  if (logits->rank != 2 || logits->element != ANAS_F32 || label->rank != 1 || label->element != ANAS_I32 ||
      label->dim[0] != logits->dim[0])
    return anas_fail(ANAS_INVALID,
                     "'anas.%s' needs logits (batch, classes) in f32 and labels (batch) in i32, got tensor<%s> and "
                     "tensor<%s>",
                     op->def->name, anas_shape_text(logits, a), anas_shape_text(label, b));
  out[0] = (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {1}};
  out[1] = (struct anas_shape){.rank = 1, .element = ANAS_I32, .dim = {1}};
  out[2] = *logits;
  return ANAS_OK;
}

enum { ROW, CLASS };

static struct anas_nest *row_nest(const struct anas_op *op, struct anas_lowering *l, const char *kind, bool reduce_rows,
                                  bool reduce_classes) {
  struct anas_nest *nest = anas_lower_nest(l, kind);
  anas_nest_loop(nest, op->operand[0].dim[0], reduce_rows);
  anas_nest_loop(nest, op->operand[0].dim[1], reduce_classes);
  return nest;
}

// i1 %v<returned>: the class of this iteration is the label, input number `label`.
static int is_label(struct anas_nest *nest, int label) {
  int index = anas_nest_value(nest, "linalg.index %d : index", CLASS);
  int class = anas_nest_value(nest, "arith.index_cast %%v%d : index to i32", index);
  return anas_nest_value(nest, "arith.cmpi eq, %%v%d, %%i%d : i32", class, label);
}

// Largest logit of a row and the first class that has it.
static void lower_largest(const struct anas_op *op, struct anas_lowering *l, int largest, int best) {
  struct anas_nest *nest = row_nest(op, l, "cross_entropy_max", false, true);
  anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, 0)), 2);
  anas_access_add(anas_nest_out(nest, largest, ANAS_FILL_NEGATIVE_INFINITY), 0, ROW, 1);
  anas_access_add(anas_nest_out(nest, best, ANAS_FILL_ZERO), 0, ROW, 1);
  int index = anas_nest_value(nest, "linalg.index %d : index", CLASS);
  int class = anas_nest_value(nest, "arith.index_cast %%v%d : index to i32", index);
  int larger = anas_nest_value(nest, "arith.cmpf ogt, %%i0, %%o0 : f32");
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.select %%v%d, %%i0, %%o0 : f32", larger));
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.select %%v%d, %%v%d, %%o1 : i32", larger, class));
}

// norm = largest + log(sum of exp(logit - largest)): the logarithm of the softmax denominator.
static void lower_norm(const struct anas_op *op, struct anas_lowering *l, int largest, int sum, int norm) {
  struct anas_nest *nest = row_nest(op, l, "cross_entropy_sum", false, true);
  anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, 0)), 2);
  anas_access_add(anas_nest_in(nest, largest), 0, ROW, 1);
  anas_access_add(anas_nest_out(nest, sum, ANAS_FILL_ZERO), 0, ROW, 1);
  int exponent = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int term = anas_nest_value(nest, "math.exp %%v%d : f32", exponent);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", term));

  int in[] = {largest, sum};
  nest = anas_lower_map(l, "cross_entropy_norm", in, 2, norm);
  int log = anas_nest_value(nest, "math.log %%i1 : f32");
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%i0, %%v%d : f32", log));
}

// (softmax - one-hot label) / batch; 0 where the label is negative.
static void lower_gradient(const struct anas_op *op, struct anas_lowering *l, int norm) {
  struct anas_nest *nest = row_nest(op, l, "cross_entropy_bwd", false, false);
  anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, 0)), 2);
  anas_access_add(anas_nest_in(nest, norm), 0, ROW, 1);
  anas_access_add(anas_nest_in(nest, anas_lower_operand(l, 1)), 0, ROW, 1);
  anas_access_whole(anas_nest_out(nest, anas_lower_result(l, 2), ANAS_NO_FILL), 2);
  int one = anas_nest_f32(nest, 1), zero = anas_nest_f32(nest, 0), none = anas_nest_i32(nest, 0);
  int share = anas_nest_f32(nest, 1 / (double)op->operand[0].dim[0]);
  int exponent = anas_nest_value(nest, "arith.subf %%i0, %%i1 : f32");
  int probability = anas_nest_value(nest, "math.exp %%v%d : f32", exponent);
  int hot = anas_nest_value(nest, "arith.select %%v%d, %%v%d, %%v%d : f32", is_label(nest, 2), one, zero);
  int rest = anas_nest_value(nest, "arith.subf %%v%d, %%v%d : f32", probability, hot);
  int part = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", rest, share);
  int counts = anas_nest_value(nest, "arith.cmpi sge, %%i2, %%v%d : i32", none);
  anas_nest_yield(nest, 0, "%%v%d",
                  anas_nest_value(nest, "arith.select %%v%d, %%v%d, %%v%d : f32", counts, part, zero));
}

// Sum of (norm - logit) / batch over the labelled entries: affine accesses cannot look an entry up, so all are visited.
static void lower_loss(const struct anas_op *op, struct anas_lowering *l, int norm) {
  struct anas_nest *nest = row_nest(op, l, "cross_entropy_loss", true, true);
  anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, 0)), 2);
  anas_access_add(anas_nest_in(nest, norm), 0, ROW, 1);
  anas_access_add(anas_nest_in(nest, anas_lower_operand(l, 1)), 0, ROW, 1);
  anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO);
  int zero = anas_nest_f32(nest, 0), share = anas_nest_f32(nest, 1 / (double)op->operand[0].dim[0]);
  int excess = anas_nest_value(nest, "arith.subf %%i1, %%i0 : f32");
  int part = anas_nest_value(nest, "arith.mulf %%v%d, %%v%d : f32", excess, share);
  int term = anas_nest_value(nest, "arith.select %%v%d, %%v%d, %%v%d : f32", is_label(nest, 2), part, zero);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%v%d : f32", term));
}

static void lower_correct(const struct anas_op *op, struct anas_lowering *l, int best) {
  struct anas_nest *nest = anas_lower_nest(l, "cross_entropy_correct");
  anas_nest_loop(nest, op->operand[0].dim[0], true);
  anas_access_add(anas_nest_in(nest, best), 0, ROW, 1);
  anas_access_add(anas_nest_in(nest, anas_lower_operand(l, 1)), 0, ROW, 1);
  anas_nest_out(nest, anas_lower_result(l, 1), ANAS_FILL_ZERO);
  int hit = anas_nest_value(nest, "arith.cmpi eq, %%i0, %%i1 : i32");
  int one = anas_nest_value(nest, "arith.extui %%v%d : i1 to i32", hit);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addi %%o0, %%v%d : i32", one));
}

static anas_status cross_entropy_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_shape rows = {.rank = 1, .element = ANAS_F32, .dim = {op->operand[0].dim[0]}};
  struct anas_shape classes = rows;
  classes.element = ANAS_I32;
  int largest = anas_lower_scratch(l, &rows), best = anas_lower_scratch(l, &classes);
  int sum = anas_lower_scratch(l, &rows), norm = anas_lower_scratch(l, &rows);
  lower_largest(op, l, largest, best);
  lower_norm(op, l, largest, sum, norm);
  lower_gradient(op, l, norm);
  lower_loss(op, l, norm);
  lower_correct(op, l, best);
  return ANAS_OK;
}

static const struct anas_sample cross_entropy_samples[] = {
    {{"5x7xf32", "5xi32"}, "{}", "1xf32"},
    {{"3x1xf32", "3xi32"}, "{}", "1xf32"},
    {{"1x17xf32", "1xi32"}, "{}", "1xf32"},
};

static const struct anas_op_def softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .level = ANAS_TRAINING,
    .summary = "loss, correct predictions and gradient of the logits",
    .description = "Results: the mean over the batch of `-log softmax(logits)[label]`; the number of rows whose first "
                   "largest logit is the label; the gradient of the loss with respect to the logits. A row with label "
                   "-1 contributes to none of them, but counts in the size of the batch.",
    .num_operands = 2,
    .num_results = 3,
    .samples = cross_entropy_samples,
    .num_samples = ANAS_COUNT(cross_entropy_samples),
    .shape = cross_entropy_shape,
    .lower = cross_entropy_lower,
};

// ---- sum of the logits

static anas_status sum_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_nest *nest = row_nest(op, l, "logit_sum", true, true);
  anas_access_whole(anas_nest_in(nest, anas_lower_operand(l, 0)), 2);
  anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%i0 : f32"));

  nest = anas_lower_map(l, "logit_sum_correct", NULL, 0, anas_lower_result(l, 1));
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_i32(nest, 0));
  nest = anas_lower_map(l, "logit_sum_bwd", NULL, 0, anas_lower_result(l, 2));
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_f32(nest, 1));
  return ANAS_OK;
}

static const struct anas_op_def sum_of_logits = {
    .name = "sum_of_logits",
    .level = ANAS_TRAINING,
    .summary = "the sum of all logits in place of a loss",
    .description = "Operands and results are those of softmax_cross_entropy: the sum, no correct row, and ones for the "
                   "gradient of the logits. Synaptic flow (Tanaka et al., 2020) follows this sum back.",
    .num_operands = 2,
    .num_results = 3,
    .samples = cross_entropy_samples,
    .num_samples = ANAS_COUNT(cross_entropy_samples),
    .shape = cross_entropy_shape,
    .lower = sum_lower,
};

ANAS_OP_FAMILY(loss, &softmax_cross_entropy, &sum_of_logits);
