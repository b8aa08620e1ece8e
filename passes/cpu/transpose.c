// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Copies whose fastest dimension is another one in the source than in the result (transposed weights, transposes):
// squares of vectors are transposed in registers, so that both sides are read and written a vector at a time.
#include "passes/cpu/nest.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

#define FEW_ELEMENTS 16384 // not worth a second thread
#define ENOUGH_RANGE 64
#define SHORTEST 4 // extents below are left to the vector emitter

struct copy {
  struct anas_code *code;
  const struct anas_cpu_nest *nest;
  MlirValue flat[2];
  int from, to;                        // loops with stride 1 in the source and in the result
  int num_loops, loop[ANAS_CPU_LOOPS]; // the others, by falling stride in the result
  int num_range;                       // so many of them are digits of the range
  bool range_from;                     // and then the squares along loop `from`
};

struct place {
  struct anas_address at[2];
};

// ---- recognition

static bool copies(const struct anas_cpu_nest *nest) {
  if (nest->num_in != 1 || nest->num_operands != 2 || !mlirTypeIsAF32(nest->operand[0].element) ||
      !mlirTypeIsAF32(nest->operand[1].element))
    return false;
  MlirOperation yield = mlirBlockGetTerminator(nest->body);
  return mlirOperationEqual(mlirBlockGetFirstOperation(nest->body), yield) &&
         mlirValueEqual(mlirOperationGetOperand(yield, 0), mlirBlockGetArgument(nest->body, nest->operand[0].argument));
}

static bool plan(struct copy *copy) {
  const struct anas_cpu_nest *nest = copy->nest;
  const int64_t *source = nest->operand[0].stride, *result = nest->operand[1].stride;
  copy->from = copy->to = -1;
  for (int l = 0; l < nest->num_loops; l++) {
    if (!nest->split[l] || source[l] < 0 || result[l] <= 0) return false;
    if (nest->extent[l] < SHORTEST) continue;
    if (source[l] == 1 && result[l] != 1) copy->from = l;
    if (result[l] == 1 && source[l] > 1) copy->to = l;
  }
  if (copy->from < 0 || copy->to < 0) return false;
  for (int l = 0; l < nest->num_loops; l++) {
    if (l == copy->from || l == copy->to) continue;
    int at = copy->num_loops++;
    for (; at > 0 && result[copy->loop[at - 1]] < result[l]; at--)
      copy->loop[at] = copy->loop[at - 1];
    copy->loop[at] = l;
  }
  return true;
}

static int64_t squares(const struct copy *copy, int loop) {
  int lanes = copy->code->target->lanes;
  return (copy->nest->extent[loop] + lanes - 1) / lanes;
}

// Work items; false if the fill cannot be split among them.
static bool plan_range(struct copy *copy, int64_t *out_range) {
  *out_range = 1;
  if (anas_cpu_needs_fill(copy->nest)) {
    for (int i = 0; i < copy->num_loops; i++) {
      int loop = copy->loop[i];
      if (!copy->nest->operand[1].slab[loop]) continue;
      memmove(&copy->loop[1], &copy->loop[0], sizeof copy->loop[0] * (size_t)i);
      copy->loop[0] = loop;
      copy->num_range = 1;
      *out_range = copy->nest->extent[loop];
      return true;
    }
    return false;
  }
  while (copy->num_range < copy->num_loops && *out_range < ENOUGH_RANGE)
    *out_range *= copy->nest->extent[copy->loop[copy->num_range++]];
  if (*out_range < ENOUGH_RANGE) {
    copy->range_from = true;
    *out_range *= squares(copy, copy->from);
  }
  return true;
}

// ---- emission

static struct place move(const struct copy *copy, struct place place, int loop, int64_t scale, MlirValue iv) {
  for (int o = 0; o < 2; o++)
    place.at[o] = anas_address_step(copy->code, place.at[o], iv, copy->nest->operand[o].stride[loop] * scale);
  return place;
}

// Lanes whose number has bit `bit` change places with lanes of the other vector that do not.
static void exchange(struct anas_code *code, int lanes, int bit, MlirValue *a, MlirValue *b) {
  int64_t low[64], high[64];
  for (int l = 0; l < lanes; l++) {
    low[l] = l & bit ? lanes + l - bit : l;
    high[l] = l & bit ? lanes + l : l + bit;
  }
  MlirNamedAttribute low_mask = anas_code_attribute(code, "mask", mlirDenseI64ArrayGet(code->context, lanes, low));
  MlirNamedAttribute high_mask = anas_code_attribute(code, "mask", mlirDenseI64ArrayGet(code->context, lanes, high));
  MlirValue operands[] = {*a, *b};
  MlirType type = mlirValueGetType(*a);
  *a = anas_code_op(code, "vector.shuffle", 2, operands, type, 1, &low_mask);
  *b = anas_code_op(code, "vector.shuffle", 2, operands, type, 1, &high_mask);
}

// `from` x `to` elements, at most a square of vectors.
static void emit_square(const struct copy *copy, struct place place, int from, int to) {
  struct anas_code *code = copy->code;
  int lanes = code->target->lanes;
  int64_t source = copy->nest->operand[0].stride[copy->to], result = copy->nest->operand[1].stride[copy->from];
  MlirType type = anas_code_vector(lanes, code->f32);
  MlirValue row[64];
  for (int i = 0; i < lanes; i++)
    row[i] = i < to
                 ? anas_code_vector_load(code, copy->flat[0], anas_address_offset(place.at[0], i * source), type, from)
                 : anas_code_splat_f32(code, lanes, 0);
  for (int bit = 1; bit < lanes; bit *= 2)
    for (int i = 0; i < lanes; i++)
      if (!(i & bit)) exchange(code, lanes, bit, &row[i], &row[i + bit]);
  for (int i = 0; i < from; i++)
    anas_code_vector_store(code, row[i], copy->flat[1], anas_address_offset(place.at[1], i * result), to);
}

static struct place skip(const struct copy *copy, struct place place, int loop, int64_t iterations) {
  for (int o = 0; o < 2; o++)
    place.at[o].offset += iterations * copy->nest->operand[o].stride[loop];
  return place;
}

// All squares along loop `to`.
static void emit_row(const struct copy *copy, struct place place, int from) {
  struct anas_code *code = copy->code;
  int lanes = code->target->lanes;
  int64_t extent = copy->nest->extent[copy->to], whole = extent / lanes;
  if (whole > 0) {
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, whole), 1, 0, NULL);
    emit_square(copy, move(copy, place, copy->to, lanes, scope.iv), from, lanes);
    anas_code_end(code, &scope, 0, NULL);
  }
  if (extent % lanes) emit_square(copy, skip(copy, place, copy->to, whole * lanes), from, (int)(extent % lanes));
}

static void emit_rows(const struct copy *copy, struct place place, MlirValue square) {
  struct anas_code *code = copy->code;
  int lanes = code->target->lanes;
  int64_t extent = copy->nest->extent[copy->from], whole = extent / lanes;
  int rest = (int)(extent % lanes);
  if (mlirValueIsNull(square)) {
    if (whole > 0) {
      struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, whole), 1, 0, NULL);
      emit_row(copy, move(copy, place, copy->from, lanes, scope.iv), lanes);
      anas_code_end(code, &scope, 0, NULL);
    }
    if (rest) emit_row(copy, skip(copy, place, copy->from, whole * lanes), rest);
    return;
  }
  if (whole == 0 || rest == 0) {
    emit_row(copy, move(copy, place, copy->from, lanes, square), rest == 0 ? lanes : rest);
    return;
  }
  MlirValue is_whole = anas_code_compare(code, false, ANAS_CMPI_SLT, square, anas_code_index(code, whole));
  struct anas_code_scope branch = anas_code_if(code, is_whole, true);
  emit_row(copy, move(copy, place, copy->from, lanes, square), lanes);
  anas_code_else(code, &branch);
  emit_row(copy, skip(copy, place, copy->from, whole * lanes), rest);
  anas_code_end(code, &branch, 0, NULL);
}

static void emit_loops(const struct copy *copy, int level, struct place place, MlirValue square) {
  struct anas_code *code = copy->code;
  if (level == copy->num_loops) {
    emit_rows(copy, place, square);
    return;
  }
  int loop = copy->loop[level];
  MlirValue upper = anas_code_index(code, copy->nest->extent[loop]);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, 0, NULL);
  emit_loops(copy, level + 1, move(copy, place, loop, 1, scope.iv), square);
  anas_code_end(code, &scope, 0, NULL);
}

// Takes the last digit, of `size` values, from a work item's number.
static MlirValue digit(struct anas_code *code, MlirValue *left, int64_t size, bool last) {
  if (last) return *left;
  MlirValue divisor = anas_code_index(code, size), value = anas_code_binary(code, "arith.remui", *left, divisor);
  *left = anas_code_binary(code, "arith.divui", *left, divisor);
  return value;
}

bool anas_cpu_transpose(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                        struct anas_cpu_range *out) {
  struct copy copy = {.code = code, .nest = nest};
  if (!copies(nest) || !plan(&copy) || !plan_range(&copy, &out->iterations)) return false;
  struct place place = {0};
  for (int o = 0; o < 2; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    copy.flat[o] = anas_code_flatten(code, operand->memref, operand->elements, operand->element);
    place.at[o].offset = operand->offset;
  }
  struct anas_code_scope scope = anas_code_for(code, begin, end, 1, 0, NULL);
  if (anas_cpu_needs_fill(nest))
    anas_cpu_fill(code, nest, copy.flat, copy.loop[0], scope.iv, anas_code_add_const(code, scope.iv, 1));
  MlirValue left = scope.iv, square = {0};
  if (copy.range_from) square = digit(code, &left, squares(&copy, copy.from), copy.num_range == 0);
  for (int i = copy.num_range - 1; i >= 0; i--) {
    int loop = copy.loop[i];
    place = move(&copy, place, loop, 1, digit(code, &left, nest->extent[loop], i == 0));
  }
  emit_loops(&copy, copy.num_range, place, square);
  anas_code_end(code, &scope, 0, NULL);
  out->parallel = out->iterations > 1 && anas_cpu_nest_iterations(nest) > FEW_ELEMENTS;
  return true;
}
