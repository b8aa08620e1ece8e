// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depthwise convolutions: recognising them and their gradients.
#include "passes/cpu/depthwise.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

#define FEW_MACS 100000.0 // not worth a second thread

// ---- recognition

static bool named(MlirOperation op, const char *name) {
  return !mlirOperationIsNull(op) && strcmp(mlirIdentifierStr(mlirOperationGetName(op)).data, name) == 0;
}

// The operand of the product that stems from input o: the input itself, or what is chosen between it and zero.
static MlirValue factor_of(const struct anas_cpu_nest *nest, int o, MlirOperation product) {
  MlirValue value = mlirBlockGetArgument(nest->body, nest->operand[o].argument);
  for (int level = 0; level < 2; level++) {
    MlirOpOperand use = mlirValueGetFirstUse(value);
    if (mlirOpOperandIsNull(use) || !mlirOpOperandIsNull(mlirOpOperandGetNextUse(use))) break;
    if (mlirOperationEqual(mlirOpOperandGetOwner(use), product)) return value;
    if (!named(mlirOpOperandGetOwner(use), "arith.select")) break;
    value = mlirOperationGetResult(mlirOpOperandGetOwner(use), 0);
  }
  return (MlirValue){0};
}

// The body is out + in0 * in1, where an input may be taken to be zero under some condition.
static bool sums_products(const struct anas_cpu_nest *nest, MlirValue *factor) {
  if (nest->num_in != 2 || nest->num_operands != 3) return false;
  for (int o = 0; o < 3; o++)
    if (!mlirTypeIsAF32(nest->operand[o].element)) return false;
  MlirValue yield = mlirOperationGetOperand(mlirBlockGetTerminator(nest->body), 0);
  MlirValue out = mlirBlockGetArgument(nest->body, nest->operand[2].argument);
  if (!mlirValueIsAOpResult(yield)) return false;
  MlirOperation sum = mlirOpResultGetOwner(yield);
  if (!named(sum, "arith.addf")) return false;
  int other = mlirValueEqual(mlirOperationGetOperand(sum, 0), out) ? 1 : 0;
  MlirValue value = mlirOperationGetOperand(sum, other);
  if (!mlirValueEqual(mlirOperationGetOperand(sum, 1 - other), out) || !mlirValueIsAOpResult(value)) return false;
  MlirOperation product = mlirOpResultGetOwner(value);
  if (!named(product, "arith.mulf")) return false;
  for (int o = 0; o < 2; o++) {
    factor[o] = factor_of(nest, o, product);
    if (mlirValueIsNull(factor[o])) return false;
  }
  return true;
}

static bool choose_lane(struct anas_depthwise *d) {
  const struct anas_cpu_nest *nest = d->nest;
  d->lane = -1;
  for (int l = 0; l < nest->num_loops; l++) {
    const struct anas_cpu_operand *o = nest->operand;
    if (o[0].stride[l] != 1 || o[1].stride[l] != 1 || o[2].stride[l] != 1 || !nest->split[l]) continue;
    if (d->lane < 0 || nest->extent[l] > nest->extent[d->lane]) d->lane = l;
  }
  return d->lane >= 0;
}

static int64_t distance(const struct anas_depthwise *d, int operand, int loop) {
  int64_t stride = anas_depthwise_stride(d, operand, loop);
  return stride < 0 ? -stride : stride;
}

static void insert(const struct anas_depthwise *d, int operand, int *loops, int *num, int loop) {
  int at = (*num)++;
  for (; at > 0 && distance(d, operand, loops[at - 1]) < distance(d, operand, loop); at--)
    loops[at] = loops[at - 1];
  loops[at] = loop;
}

static bool classify(struct anas_depthwise *d, int dense, const MlirValue *factor) {
  const struct anas_cpu_nest *nest = d->nest;
  d->dense = dense;
  d->still = 1 - dense;
  d->out = 2;
  if (!anas_depthwise_read_axes(d, factor[dense]) || !mlirValueIsABlockArgument(factor[d->still])) return false;
  d->num_points = d->num_reduced = d->num_outer = 0;
  for (int l = 0; l < nest->num_loops; l++) {
    d->tile[l] = 1;
    if (l == d->lane) continue;
    bool in_dense = anas_cpu_moves(nest, d->dense, l), in_still = nest->operand[d->still].stride[l];
    if (!in_dense) return false;
    if (nest->operand[d->out].stride[l] == 0) {
      if (!in_still || !nest->reduction[l]) return false;
      insert(d, d->dense, d->reduced, &d->num_reduced, l);
    } else if (!nest->split[l]) {
      return false;
    } else if (in_still) {
      insert(d, d->out, d->outer, &d->num_outer, l);
    } else {
      insert(d, d->out, d->point, &d->num_points, l);
    }
  }
  return d->num_points > 0 && d->num_reduced > 0;
}

static int64_t iterations(const struct anas_depthwise *d, const int *loops, int num) {
  int64_t product = 1;
  for (int i = 0; i < num; i++)
    product *= d->nest->extent[loops[i]];
  return product;
}

bool anas_cpu_depthwise(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                        struct anas_cpu_range *out) {
  struct anas_depthwise d = {.code = code, .nest = nest, .lanes = code->target->lanes};
  MlirValue factor[2];
  if (!sums_products(nest, factor) || !choose_lane(&d) || (!classify(&d, 0, factor) && !classify(&d, 1, factor)))
    return false;
  struct anas_depthwise_place place = {0};
  for (int o = 0; o < 3; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    d.flat[o] = anas_code_flatten(code, operand->memref, operand->elements, operand->element);
    place.at[o].offset = operand->offset;
  }
  int64_t points = iterations(&d, d.point, d.num_points), steps = iterations(&d, d.reduced, d.num_reduced);
  bool filter = points < steps && points <= ANAS_DEPTHWISE_POINTS;
  anas_depthwise_emitter *window[] = {anas_depthwise_blocks, anas_depthwise_window};
  anas_depthwise_emitter *gradient[] = {anas_depthwise_filter_blocks,
                                        d.num_axes ? anas_depthwise_filter_rows : anas_depthwise_filter};
  anas_depthwise_emitter **emit = filter ? gradient : window;
  if (!emit[0](&d, place, begin, end, &out->iterations) && !emit[1](&d, place, begin, end, &out->iterations))
    return false;
  out->parallel = out->iterations > 1 && (double)anas_cpu_nest_iterations(nest) > FEW_MACS;
  return true;
}
