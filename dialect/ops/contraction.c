// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// General contractions of two operands at training level: any labels, batch labels included.
//
// The code generators want a loop with stride 1 in the result and none in one operand; in the other, either that loop
// has stride 1 too or the only loop summed over has (query times transposed keys: they transpose what they read). Where
// both lie elsewhere, the operand is copied with the result's last label last, which costs as much as a row of the
// product.
#include "dialect/ops/contraction.h"

#include "dialect/op_support.h"
#include "dialect/ops/contract.h"

#include <stdio.h>
#include <string.h>

#define MIN_ROWS_TO_PACK 8

enum { EQUATION, SHAPE, NUM_ATTRS };

static const struct anas_attr_def contraction_attrs[NUM_ATTRS] = {
    [EQUATION] = {.name = "equation",
                  .kind = ANAS_ATTR_TEXT,
                  .required = true,
                  .doc = "labels of the operands and of the result, e.g. bqhd,bkhd->bhqk"},
    [SHAPE] = {.name = "shape", .kind = ANAS_ATTR_INTS, .required = true, .list = true, .doc = "extents of the result"},
};

anas_status anas_emit_contraction(struct anas_train *train, const struct anas_equation *equation, int a, MlirValue lhs,
                                  int b, MlirValue rhs, MlirValue bias, int result, MlirValue *out) {
  struct anas_attr attrs[NUM_ATTRS] = {[EQUATION] = {.present = true}, [SHAPE] = {.present = true}};
  struct anas_ints *shape = &attrs[SHAPE].value.ints;
  anas_equation_text(equation, a, b, result, attrs[EQUATION].value.text);
  shape->count = equation->rank[result];
  for (int d = 0; d < shape->count; d++)
    shape->value[d] = equation->extent[equation->label[result][d]];
  MlirValue in[] = {lhs, rhs, bias};
  return anas_train_emit(train, "contraction", in, mlirValueIsNull(bias) ? 2 : 3, attrs, out);
}

anas_status anas_emit_contraction_gradients(struct anas_train *train, const struct anas_equation *equation,
                                            struct anas_train_op *op) {
  for (int k = 0; k < 2; k++)
    if (op->need_operand[k])
      ANAS_RETURN_IF_ERROR(anas_emit_contraction(train, equation, ANAS_EQUATION_RESULT, op->grad_result, 1 - k,
                                                 op->operand[1 - k], (MlirValue){0}, k, &op->grad_operand[k]));
  return ANAS_OK;
}

static const struct anas_op_def contraction;

anas_status anas_emit_product(struct anas_train *train, const char *equation, MlirValue lhs, MlirValue rhs,
                              MlirValue bias, MlirValue *out) {
  struct anas_op op = {.def = &contraction, .num_operands = 2, .operand = {anas_train_type(lhs), anas_train_type(rhs)}};
  struct anas_equation bound;
  ANAS_RETURN_IF_ERROR(anas_equation_bind(&op, equation, NULL, &bound));
  return anas_emit_contraction(train, &bound, 0, lhs, 1, rhs, bias, ANAS_EQUATION_RESULT, out);
}

// ---- shape

anas_status anas_check_factors(const struct anas_op *op) {
  char text[128];
  for (int k = 0; k < 2; k++)
    if (op->operand[k].element != ANAS_F32)
      return anas_fail(ANAS_INVALID, "operand %d of 'anas.%s' must be an f32 tensor, got tensor<%s>", k, op->def->name,
                       anas_shape_text(&op->operand[k], text));
  return ANAS_OK;
}

static anas_status bind(const struct anas_op *op, struct anas_equation *out) {
  struct anas_shape result = anas_extents_shape(&op->attr[SHAPE]);
  ANAS_RETURN_IF_ERROR(anas_shape_check(&result, false));
  return anas_equation_bind(op, op->attr[EQUATION].value.text, &result, out);
}

// The bias broadcasts to the result without changing its shape.
static bool bias_fits(const struct anas_shape *bias, const struct anas_shape *result) {
  int missing = result->rank - bias->rank;
  bool fits = missing >= 0 && bias->element == ANAS_F32;
  for (int d = 0; fits && d < bias->rank; d++)
    fits = bias->dim[d] == 1 || bias->dim[d] == result->dim[missing + d];
  return fits;
}

static anas_status contraction_shape(const struct anas_op *op, struct anas_shape *out) {
  struct anas_equation equation;
  char a[128], b[128];
  if (op->num_operands > 3)
    return anas_fail(ANAS_INVALID, "'anas.%s' takes two tensors and at most one bias", op->def->name);
  ANAS_RETURN_IF_ERROR(anas_check_factors(op));
  ANAS_RETURN_IF_ERROR(bind(op, &equation));
  struct anas_shape result = anas_equation_result(&equation);
  if (op->num_operands == 3 && !bias_fits(&op->operand[2], &result))
    return anas_fail(ANAS_INVALID, "the bias of 'anas.%s', tensor<%s>, does not broadcast to the result, tensor<%s>",
                     op->def->name, anas_shape_text(&op->operand[2], a), anas_shape_text(&result, b));
  out[0] = result;
  return ANAS_OK;
}

// ---- loop nests

// True if the labels that are summed are the last dimensions of an operand and neighbours in the other: one loop.
static bool sums_last(const struct anas_equation *equation, int operand) {
  int other = 1 - operand, rank = equation->rank[operand], summed = 0, first = -1;
  for (int t = 0; t < 2; t++)
    for (int d = 0; d < equation->rank[t]; d++) {
      int label = equation->label[t][d];
      if (anas_equation_find(equation, ANAS_EQUATION_RESULT, label) >= 0) continue;
      if (anas_equation_find(equation, 1 - t, label) < 0) return false;
      summed += t == operand;
    }
  for (int i = 0; i < summed; i++) {
    int at = anas_equation_find(equation, other, equation->label[operand][rank - summed + i]);
    if (at < 0 || (i && at != first + i)) return false;
    if (!i) first = at;
    if (anas_equation_find(equation, ANAS_EQUATION_RESULT, equation->label[operand][rank - summed + i]) >= 0)
      return false;
  }
  return summed > 0;
}

// The operand whose last dimension should be the result's last label: the only one that has it, at another place, and
// used for several rows. -1: none.
static int operand_to_pack(const struct anas_equation *equation) {
  int last = equation->rank[ANAS_EQUATION_RESULT] - 1, lane;
  while (last > 0 && equation->extent[equation->label[ANAS_EQUATION_RESULT][last]] == 1)
    last--;
  lane = equation->label[ANAS_EQUATION_RESULT][last];
  int at[2];
  for (int t = 0; t < 2; t++)
    at[t] = anas_equation_find(equation, t, lane);
  if (equation->extent[lane] == 1 || (at[0] < 0) == (at[1] < 0)) return -1;
  int packed = at[0] < 0 ? 1 : 0;
  bool contiguous = true;
  for (int d = at[packed] + 1; d < equation->rank[packed]; d++)
    contiguous = contiguous && equation->extent[equation->label[packed][d]] == 1;
  if (contiguous || sums_last(equation, packed)) return -1;
  int64_t rows = 1;
  for (int d = 0; d < equation->rank[1 - packed]; d++) {
    int label = equation->label[1 - packed][d];
    if (anas_equation_find(equation, packed, label) < 0 &&
        anas_equation_find(equation, ANAS_EQUATION_RESULT, label) >= 0)
      rows *= equation->extent[label];
  }
  return rows < MIN_ROWS_TO_PACK ? -1 : packed;
}

// Labels of the packed operand: those the result has in its order, then those summed, then the lanes.
static void packed_order(struct anas_equation *equation, int operand) {
  int order[ANAS_MAX_RANK], num = 0;
  const int *result = equation->label[ANAS_EQUATION_RESULT];
  int last = equation->rank[ANAS_EQUATION_RESULT] - 1;
  while (equation->extent[result[last]] == 1)
    last--;
  for (int d = 0; d < equation->rank[ANAS_EQUATION_RESULT]; d++)
    if (d != last && anas_equation_find(equation, operand, result[d]) >= 0) order[num++] = result[d];
  for (int d = 0; d < equation->rank[operand]; d++)
    if (anas_equation_find(equation, ANAS_EQUATION_RESULT, equation->label[operand][d]) < 0)
      order[num++] = equation->label[operand][d];
  order[num++] = result[last];
  memcpy(equation->label[operand], order, (size_t)num * sizeof *order);
}

// Copies an operand into the order of its labels in 'packed'; returns the buffer.
static int pack(struct anas_lowering *l, const struct anas_equation *equation, const struct anas_equation *packed,
                int operand) {
  struct anas_shape shape = {.rank = packed->rank[operand], .element = ANAS_F32};
  char key[64] = "permuted";
  for (int d = 0; d < shape.rank; d++) {
    int from = anas_equation_find(equation, operand, packed->label[operand][d]);
    shape.dim[d] = equation->extent[packed->label[operand][d]];
    snprintf(key + strlen(key), sizeof key - strlen(key), " %d", from);
  }
  bool fresh;
  int source = anas_lower_operand(l, operand), buffer = anas_lower_packed(l, source, key, &shape, &fresh);
  if (!fresh) return buffer;
  struct anas_nest *nest = anas_lower_nest(l, "pack_permuted");
  anas_nest_loops(nest, &shape);
  struct anas_access *in = anas_nest_in(nest, source);
  for (int d = 0; d < shape.rank; d++)
    anas_access_add(in, anas_equation_find(equation, operand, packed->label[operand][d]), d, 1);
  anas_access_whole(anas_nest_out(nest, buffer, ANAS_NO_FILL), shape.rank);
  anas_nest_yield(nest, 0, "%%i0");
  return buffer;
}

static void index_term(struct anas_access *access, const struct anas_equation *equation, int term, const int *loop) {
  for (int d = 0; d < equation->rank[term]; d++)
    anas_contract_index(access, d, loop[equation->label[term][d]], 1);
}

static void add_bias(const struct anas_op *op, struct anas_lowering *l) {
  const struct anas_shape *bias = &op->operand[2];
  struct anas_shape result = *anas_lower_shape(l, anas_lower_result(l, 0));
  struct anas_nest *nest = anas_lower_nest(l, "bias_add");
  anas_nest_loops(nest, &result);
  struct anas_access *in = anas_nest_in(nest, anas_lower_operand(l, 2));
  for (int d = 0; d < bias->rank; d++)
    if (bias->dim[d] != 1) anas_access_add(in, d, result.rank - bias->rank + d, 1);
  anas_access_whole(anas_nest_out(nest, anas_lower_result(l, 0), ANAS_NO_FILL), result.rank);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%i0 : f32"));
}

static anas_status contraction_lower(const struct anas_op *op, struct anas_lowering *l) {
  struct anas_equation equation, packed;
  ANAS_RETURN_IF_ERROR(bind(op, &equation));
  int buffer[2] = {anas_lower_operand(l, 0), anas_lower_operand(l, 1)}, operand = operand_to_pack(&equation);
  packed = equation;
  if (operand >= 0) {
    packed_order(&packed, operand);
    buffer[operand] = pack(l, &equation, &packed, operand);
  }
  int loop[ANAS_MAX_LABELS];
  struct anas_nest *nest = anas_lower_nest(l, "contraction");
  for (int label = 0; label < packed.num_labels; label++)
    loop[label] = -1;
  for (int d = 0; d < packed.rank[ANAS_EQUATION_RESULT]; d++) {
    int label = packed.label[ANAS_EQUATION_RESULT][d];
    loop[label] = anas_contract_loop(nest, packed.extent[label], false);
  }
  for (int label = 0; label < packed.num_labels; label++)
    if (anas_equation_find(&packed, ANAS_EQUATION_RESULT, label) < 0)
      loop[label] = anas_contract_loop(nest, packed.extent[label], true);
  for (int t = 0; t < 2; t++)
    index_term(anas_nest_in(nest, buffer[t]), &packed, t, loop);
  index_term(anas_nest_out(nest, anas_lower_result(l, 0), ANAS_FILL_ZERO), &packed, ANAS_EQUATION_RESULT, loop);
  anas_contract_body(nest);
  if (op->num_operands == 3) add_bias(op, l);
  return ANAS_OK;
}

static const struct anas_sample contraction_samples[] = {
    {{"2x5x3x7xf32", "2x4x3x7xf32"}, "{equation = \"bqhd,bkhd->bhqk\", shape = array<i64: 2, 3, 5, 4>}", "2x3x5x4xf32"},
    {{"2x3x5x4xf32", "2x4x3x7xf32", "3x7xf32"},
     "{equation = \"bhqk,bkhd->bqhd\", shape = array<i64: 2, 5, 3, 7>}",
     "2x5x3x7xf32"},
    {{"3x4xf32", "5x4xf32"}, "{equation = \"ij,kj->kl\", shape = array<i64: 5, 2>}", "5x2xf32"},
    {{"1x1xf32", "1x1xf32"}, "{equation = \"ij,jk->ik\", shape = array<i64: 1, 1>}", "1x1xf32"},
};

static const struct anas_op_def contraction = {
    .name = "contraction",
    .level = ANAS_TRAINING,
    .summary = "sum of products by an equation without ellipsis, plus a bias if there is one",
    .num_operands = 2,
    .variadic = true,
    .attrs = contraction_attrs,
    .num_attrs = NUM_ATTRS,
    .samples = contraction_samples,
    .num_samples = ANAS_COUNT(contraction_samples),
    .shape = contraction_shape,
    .lower = contraction_lower,
};

ANAS_OP_FAMILY(contraction, &contraction);
