// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depthwise convolutions: recognising them and their gradients, and code for those that reduce few steps (the
// convolution itself and the gradient of its operand). Channels are in the lanes; several neighbouring results along a
// row are computed at once, so that what their windows share is loaded once and every weight serves them all.
#include "passes/cpu/depthwise.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

#define FEW_MACS 100000.0 // not worth a second thread
#define ENOUGH_RANGE 64
#define UNROLLED 256 // products in the code of one tile
#define FETCH_ELEMENTS ((int64_t)64 << 10)

// ---- recognition

static bool named(MlirOperation op, const char *name) {
  return !mlirOperationIsNull(op) && strcmp(mlirIdentifierStr(mlirOperationGetName(op)).data, name) == 0;
}

// The body is out + in0 * in1: a product and a sum, each of whose operands has one user.
static bool sums_products(const struct anas_cpu_nest *nest) {
  MlirOperation product = mlirBlockGetFirstOperation(nest->body), sum, yield;
  if (nest->num_in != 2 || nest->num_operands != 3 || !named(product, "arith.mulf")) return false;
  sum = mlirOperationGetNextInBlock(product);
  if (!named(sum, "arith.addf")) return false;
  yield = mlirOperationGetNextInBlock(sum);
  if (!named(yield, "linalg.yield") ||
      !mlirValueEqual(mlirOperationGetOperand(yield, 0), mlirOperationGetResult(sum, 0)))
    return false;
  for (int o = 0; o < 3; o++) {
    if (!mlirTypeIsAF32(nest->operand[o].element)) return false;
    MlirOpOperand use = mlirValueGetFirstUse(mlirBlockGetArgument(nest->body, nest->operand[o].argument));
    if (mlirOpOperandIsNull(use) || !mlirOpOperandIsNull(mlirOpOperandGetNextUse(use)) ||
        !mlirOperationEqual(mlirOpOperandGetOwner(use), o < 2 ? product : sum))
      return false;
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
  int64_t stride = d->nest->operand[operand].stride[loop];
  return stride < 0 ? -stride : stride;
}

static void insert(const struct anas_depthwise *d, int operand, int *loops, int *num, int loop) {
  int at = (*num)++;
  for (; at > 0 && distance(d, operand, loops[at - 1]) < distance(d, operand, loop); at--)
    loops[at] = loops[at - 1];
  loops[at] = loop;
}

static bool classify(struct anas_depthwise *d, int dense) {
  const struct anas_cpu_nest *nest = d->nest;
  d->dense = dense;
  d->still = 1 - dense;
  d->out = 2;
  d->num_points = d->num_reduced = d->num_outer = 0;
  for (int l = 0; l < nest->num_loops; l++) {
    d->tile[l] = 1;
    if (l == d->lane) continue;
    bool in_dense = nest->operand[d->dense].stride[l], in_still = nest->operand[d->still].stride[l];
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

// ---- the convolution: points in registers, taps unrolled

struct window {
  int num_loops, loop[ANAS_CPU_LOOPS]; // outer loops and points, the row last
  int num_range;                       // so many of them are digits of the range
  int unrolled_from;                   // reduced loops from here on are unrolled
};

static bool slab_for_fill(const struct anas_depthwise *d, int loop) {
  return d->nest->operand[d->out].slab[loop];
}

static bool plan_window(struct anas_depthwise *d, struct window *w, int64_t *out_range) {
  int registers = d->code->target->registers;
  int64_t taps = d->nest->extent[d->reduced[d->num_reduced - 1]];
  int64_t room = registers - 2 - (taps < 8 ? taps : 8); // weights of a row of taps, a vector of `dense`
  if (room > 14) room = 14;
  anas_depthwise_choose_tile(d, d->point, d->num_points, room);
  int64_t tile = 1, product = 1;
  for (int i = 0; i < d->num_points; i++)
    tile *= d->tile[d->point[i]];
  for (w->unrolled_from = d->num_reduced; w->unrolled_from > 0; w->unrolled_from--) {
    product *= d->nest->extent[d->reduced[w->unrolled_from - 1]];
    if (product > ANAS_DEPTHWISE_TILE || tile * product > UNROLLED) break;
  }
  int row = d->point[d->num_points - 1], o = 0, p = 0;
  while (o < d->num_outer || p < d->num_points - 1) {
    bool outer = p == d->num_points - 1 ||
                 (o < d->num_outer && distance(d, d->out, d->outer[o]) > distance(d, d->out, d->point[p]));
    w->loop[w->num_loops++] = outer ? d->outer[o++] : d->point[p++];
  }
  w->loop[w->num_loops++] = row;
  *out_range = 1;
  if (anas_cpu_needs_fill(d->nest)) { // the loop whose iterations fill disjoint parts comes first, alone
    for (int i = 0; i < w->num_loops - 1; i++) {
      int loop = w->loop[i];
      if (!slab_for_fill(d, loop) || d->tile[loop] > 1) continue;
      memmove(&w->loop[1], &w->loop[0], sizeof w->loop[0] * (size_t)i);
      w->loop[0] = loop;
      w->num_range = 1;
      *out_range = d->nest->extent[loop];
      return true;
    }
    return false;
  }
  while (w->num_range < w->num_loops - 1 && *out_range < ENOUGH_RANGE) {
    int loop = w->loop[w->num_range++];
    *out_range *= d->nest->extent[loop] / d->tile[loop];
  }
  return true;
}

// The unit is the slowest loop of which one iteration is well within the second-level cache.
static void plan_window_fetch(struct anas_depthwise *d, const struct window *w, struct anas_depthwise_place *place) {
  if (w->num_loops < 2) return;
  int unit = 0, inside[ANAS_CPU_LOOPS], num = 0;
  while (unit < w->num_loops - 2 && distance(d, d->dense, w->loop[unit]) * d->tile[w->loop[unit]] > FETCH_ELEMENTS)
    unit++;
  for (int i = unit + 1; i < w->num_loops - 1; i++)
    inside[num++] = w->loop[i];
  inside[num++] = d->lane;
  inside[num++] = w->loop[w->num_loops - 1];
  anas_depthwise_plan_fetch(d, w->loop[unit], d->tile[w->loop[unit]], inside, num, d->reduced, d->num_reduced, place);
}

// Reduced loops from `level` on.
static void emit_taps(struct anas_depthwise *d, const struct window *w, int level, struct anas_depthwise_place place,
                      int num, const int64_t *point_at, MlirValue *sum) {
  struct anas_code *code = d->code;
  if (level < w->unrolled_from) {
    int loop = d->reduced[level];
    struct anas_code_scope scope =
        anas_code_for(code, (MlirValue){0}, anas_code_index(code, d->nest->extent[loop]), 1, num, sum);
    for (int i = 0; i < num; i++)
      sum[i] = anas_code_iter(&scope, i);
    emit_taps(d, w, level + 1, anas_depthwise_move(d, place, loop, 1, scope.iv), num, point_at, sum);
    anas_code_end(code, &scope, num, sum);
    for (int i = 0; i < num; i++)
      sum[i] = anas_code_result(&scope, i);
    return;
  }
  int64_t dense_at[ANAS_DEPTHWISE_TILE], still_at[ANAS_DEPTHWISE_TILE];
  MlirValue weight[ANAS_DEPTHWISE_TILE];
  const int *loops = &d->reduced[level];
  for (int i = level; i < d->num_reduced; i++)
    d->tile[d->reduced[i]] = d->nest->extent[d->reduced[i]];
  int taps = anas_depthwise_offsets(d, d->dense, loops, d->num_reduced - level, dense_at);
  anas_depthwise_offsets(d, d->still, loops, d->num_reduced - level, still_at);
  for (int t = 0; t < taps; t++)
    weight[t] = anas_depthwise_load(d, &place, d->still, still_at[t]);
  anas_depthwise_products(d, &place, num, point_at, sum, taps, dense_at, weight);
}

static void emit_tile(struct anas_depthwise *d, const struct window *w, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  const struct anas_cpu_operand *out = &d->nest->operand[d->out];
  int64_t dense_at[ANAS_DEPTHWISE_TILE], out_at[ANAS_DEPTHWISE_TILE];
  MlirValue sum[ANAS_DEPTHWISE_TILE];
  int num = anas_depthwise_offsets(d, d->dense, d->point, d->num_points, dense_at);
  anas_depthwise_offsets(d, d->out, d->point, d->num_points, out_at);
  for (int i = 0; i < num; i++)
    sum[i] = out->filled && out->covered ? anas_code_splat(code, anas_code_vector(d->lanes, code->f32), out->fill)
                                         : anas_depthwise_load(d, &place, d->out, out_at[i]);
  anas_depthwise_fetch(d, &place);
  emit_taps(d, w, 0, place, num, dense_at, sum);
  for (int i = 0; i < num; i++)
    anas_depthwise_store(d, &place, sum[i], out_at[i]);
}

// All tiles of a row, for one vector of channels.
static void emit_row(struct anas_depthwise *d, struct anas_depthwise_place place, void *data) {
  struct anas_code *code = d->code;
  int row = d->point[d->num_points - 1];
  int64_t extent = d->nest->extent[row], tile = d->tile[row], whole = extent / tile * tile;
  if (whole == tile) {
    emit_tile(d, data, place);
  } else {
    MlirValue tiles = anas_code_index(code, whole / tile);
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, tiles, 1, 0, NULL);
    emit_tile(d, data, anas_depthwise_move(d, place, row, tile, scope.iv));
    anas_code_end(code, &scope, 0, NULL);
  }
  if (whole == extent) return;
  d->tile[row] = extent - whole;
  emit_tile(d, data, anas_depthwise_skip(d, place, row, tile, whole / tile));
  d->tile[row] = tile;
}

static void emit_loops(struct anas_depthwise *d, struct window *w, int level, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  if (level == w->num_loops - 1) {
    anas_depthwise_channels(d, place, emit_row, w);
    return;
  }
  int loop = w->loop[level];
  MlirValue upper = anas_code_index(code, d->nest->extent[loop] / d->tile[loop]);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, 0, NULL);
  emit_loops(d, w, level + 1, anas_depthwise_move(d, place, loop, d->tile[loop], scope.iv));
  anas_code_end(code, &scope, 0, NULL);
}

static bool emit_window(struct anas_depthwise *d, struct anas_depthwise_place place, MlirValue begin, MlirValue end,
                        int64_t *out_range) {
  struct anas_code *code = d->code;
  struct window w = {0};
  if (!plan_window(d, &w, out_range)) return false;
  plan_window_fetch(d, &w, &place);
  struct anas_code_scope scope = anas_code_for(code, begin, end, 1, 0, NULL);
  if (anas_cpu_needs_fill(d->nest))
    anas_cpu_fill(code, d->nest, d->flat, w.loop[0], scope.iv, anas_code_add_const(code, scope.iv, 1));
  MlirValue left = scope.iv;
  for (int i = w.num_range - 1; i >= 0; i--) {
    int loop = w.loop[i];
    MlirValue size = anas_code_index(code, d->nest->extent[loop] / d->tile[loop]);
    MlirValue digit = i > 0 ? anas_code_binary(code, "arith.remui", left, size) : left;
    if (i > 0) left = anas_code_binary(code, "arith.divui", left, size);
    place = anas_depthwise_move(d, place, loop, d->tile[loop], digit);
  }
  emit_loops(d, &w, w.num_range, place);
  anas_code_end(code, &scope, 0, NULL);
  return true;
}

bool anas_cpu_depthwise(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                        struct anas_cpu_range *out) {
  struct anas_depthwise d = {.code = code, .nest = nest, .lanes = code->target->lanes};
  if (!sums_products(nest) || !choose_lane(&d) || (!classify(&d, 0) && !classify(&d, 1))) return false;
  struct anas_depthwise_place place = {0};
  for (int o = 0; o < 3; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    d.flat[o] = anas_code_flatten(code, operand->memref, operand->elements, operand->element);
    place.at[o].offset = operand->offset;
  }
  int64_t points = iterations(&d, d.point, d.num_points), steps = iterations(&d, d.reduced, d.num_reduced);
  bool filter = points < steps && points <= ANAS_DEPTHWISE_POINTS;
  if (!(filter ? anas_depthwise_filter : emit_window)(&d, place, begin, end, &out->iterations)) return false;
  out->parallel = out->iterations > 1 && (double)anas_cpu_nest_iterations(nest) > FEW_MACS;
  return true;
}
