// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depthwise convolutions that reduce many steps into few points: the gradient of the filter. The sums of all taps of a
// vector of channels stay in registers while a part of the images passes by that fits in the second-level cache with
// all its channels; so memory is read about in its order, and the sums are rarely stored.
#include "passes/cpu/depthwise.h"

#include <mlir-c/BuiltinAttributes.h>

#define CACHE_ELEMENTS ((int64_t)96 << 10) // of `dense` in a part
#define STEP_TILE 8                        // steps of a register tile

struct filter {
  int inside;          // reduced loops from here on run inside the loop over channels
  int64_t block;       // iterations of the loop before them that do, too, at a time; 0: none
  MlirValue blocks;    // how many those are
  int num_taps, group; // of which `group` are in registers at a time
  int64_t dense_at[ANAS_DEPTHWISE_POINTS], out_at[ANAS_DEPTHWISE_POINTS];
};

static int64_t stride_of(const struct anas_depthwise *d, int level) {
  int64_t stride = d->nest->operand[d->dense].stride[d->reduced[level]];
  return stride < 0 ? -stride : stride;
}

// Elements of `dense` between the first and the last one of the reduced loops from `level` on.
static int64_t span(const struct anas_depthwise *d, int level) {
  int64_t elements = d->nest->extent[d->lane];
  for (int i = level; i < d->num_reduced; i++)
    elements += (d->nest->extent[d->reduced[i]] - 1) * stride_of(d, i);
  return elements;
}

static void plan_filter(struct anas_depthwise *d, struct filter *f, bool by_channels) {
  if (!by_channels) {
    while (f->inside < d->num_reduced - 1 && span(d, f->inside) > CACHE_ELEMENTS)
      f->inside++;
    if (f->inside > 0) {
      int64_t extent = d->nest->extent[d->reduced[f->inside - 1]];
      f->block = CACHE_ELEMENTS / stride_of(d, f->inside - 1);
      if (f->block > extent) f->block = extent;
      if (f->block < 2) f->block = 0;
    }
  }
  for (int i = 0; i < d->num_points; i++)
    d->tile[d->point[i]] = d->nest->extent[d->point[i]];
  f->num_taps = anas_depthwise_offsets(d, d->dense, d->point, d->num_points, f->dense_at);
  anas_depthwise_offsets(d, d->out, d->point, d->num_points, f->out_at);
  int registers = d->code->target->registers, row = (int)d->nest->extent[d->point[d->num_points - 1]];
  f->group = registers - 6; // two for a vector of `dense` and another, the rest for steps
  if (f->group > ANAS_DEPTHWISE_TILE) f->group = ANAS_DEPTHWISE_TILE;
  if (f->group > row) f->group = f->group / row * row;
  if (f->group > f->num_taps) f->group = f->num_taps;
  int64_t steps = registers - 2 - f->group;
  anas_depthwise_choose_tile(d, &d->reduced[f->inside], d->num_reduced - f->inside,
                             steps < STEP_TILE ? steps : STEP_TILE);
}

// The unit is the loop around the channels.
static void plan_filter_fetch(struct anas_depthwise *d, const struct filter *f, struct anas_depthwise_place *place) {
  int inside[ANAS_CPU_LOOPS], num = 0;
  if (f->inside == 0 && d->num_outer == 0) return;
  int unit = f->inside > 0 ? d->reduced[f->inside - 1] : d->outer[d->num_outer - 1];
  inside[num++] = d->lane;
  for (int i = f->block ? f->inside - 1 : f->inside; i < d->num_reduced; i++)
    inside[num++] = d->reduced[i];
  anas_depthwise_plan_fetch(d, unit, f->block ? f->block : 1, inside, num, d->point, d->num_points, place);
}

// Reduced loops from `level` on, for taps [tap, tap + num).
static void emit_steps(struct anas_depthwise *d, struct filter *f, int level, struct anas_depthwise_place place,
                       int tap, int num, MlirValue *sum) {
  struct anas_code *code = d->code;
  if (level == d->num_reduced) {
    if (tap == 0) anas_depthwise_fetch(d, &place);
    int64_t dense_at[ANAS_DEPTHWISE_TILE], still_at[ANAS_DEPTHWISE_TILE];
    MlirValue factor[ANAS_DEPTHWISE_TILE];
    const int *loops = &d->reduced[f->inside];
    int steps = anas_depthwise_offsets(d, d->dense, loops, d->num_reduced - f->inside, dense_at);
    anas_depthwise_offsets(d, d->still, loops, d->num_reduced - f->inside, still_at);
    for (int i = 0; i < steps; i++)
      factor[i] = anas_depthwise_load(d, &place, d->still, still_at[i]);
    struct anas_depthwise_product product[ANAS_DEPTHWISE_PRODUCTS];
    int products = anas_depthwise_pairs(num, &f->dense_at[tap], steps, dense_at, product);
    anas_depthwise_products(d, &place, products, product, sum, factor);
    return;
  }
  int loop = d->reduced[level];
  bool blocked = level < f->inside;
  int64_t extent = d->nest->extent[loop], tile = d->tile[loop], whole = extent / tile * tile;
  if (whole == tile && !blocked) {
    emit_steps(d, f, level + 1, place, tap, num, sum);
  } else {
    MlirValue upper = blocked ? f->blocks : anas_code_index(code, whole / tile);
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, num, sum);
    for (int i = 0; i < num; i++)
      sum[i] = anas_code_iter(&scope, i);
    emit_steps(d, f, level + 1, anas_depthwise_move(d, place, loop, tile, scope.iv), tap, num, sum);
    anas_code_end(code, &scope, num, sum);
    for (int i = 0; i < num; i++)
      sum[i] = anas_code_result(&scope, i);
  }
  if (whole == extent || blocked) return;
  d->tile[loop] = extent - whole;
  emit_steps(d, f, level + 1, anas_depthwise_skip(d, place, loop, tile, whole / tile), tap, num, sum);
  d->tile[loop] = tile;
}

static void emit_groups(struct anas_depthwise *d, struct anas_depthwise_place place, void *data) {
  struct filter *f = data;
  for (int tap = 0; tap < f->num_taps; tap += f->group) {
    int num = f->num_taps - tap < f->group ? f->num_taps - tap : f->group;
    MlirValue sum[ANAS_DEPTHWISE_TILE];
    for (int i = 0; i < num; i++)
      sum[i] = anas_depthwise_load(d, &place, d->out, f->out_at[tap + i]);
    emit_steps(d, f, f->block ? f->inside - 1 : f->inside, place, tap, num, sum);
    for (int i = 0; i < num; i++)
      anas_depthwise_store(d, &place, sum[i], f->out_at[tap + i]);
  }
}

static void emit_fill(struct anas_depthwise *d, struct anas_depthwise_place place, void *data) {
  const struct filter *f = data;
  MlirType type = anas_code_vector(d->lanes, d->code->f32);
  MlirValue fill = anas_code_splat(d->code, type, d->nest->operand[d->out].fill);
  for (int i = 0; i < f->num_taps; i++)
    anas_depthwise_store(d, &place, fill, f->out_at[i]);
}

static void emit_parts(struct anas_depthwise *d, struct filter *f, int level, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  if (level == f->inside) {
    anas_depthwise_channels(d, place, emit_groups, f);
    return;
  }
  int loop = d->reduced[level];
  bool blocked = f->block && level == f->inside - 1;
  MlirValue upper = anas_code_index(code, d->nest->extent[loop]);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, blocked ? f->block : 1, 0, NULL);
  if (blocked)
    f->blocks =
        anas_code_min(code, anas_code_binary(code, "arith.subi", upper, scope.iv), anas_code_index(code, f->block));
  // Fetches move with the block here, and by lines inside it.
  int64_t step[3];
  for (int o = 0; o < 3; o++) {
    step[o] = d->fetch_step[o][loop];
    d->fetch_step[o][loop] = 0;
  }
  place = anas_depthwise_move(d, place, loop, 1, scope.iv);
  for (int o = 0; o < 3; o++)
    d->fetch_step[o][loop] = step[o];
  emit_parts(d, f, level + 1, place);
  anas_code_end(code, &scope, 0, NULL);
}

// The range is over vectors of channels, each with all steps.
static int64_t emit_by_channels(struct anas_depthwise *d, struct filter *f, struct anas_depthwise_place place,
                                MlirValue begin, MlirValue end) {
  struct anas_code *code = d->code;
  int64_t channels = d->nest->extent[d->lane], whole = channels / d->lanes;
  int rest = (int)(channels % d->lanes);
  bool filled = d->nest->operand[d->out].filled;
  MlirValue upper = anas_code_index(code, whole);
  if (whole > 0) {
    d->active = d->lanes;
    struct anas_code_scope scope = anas_code_for(code, begin, anas_code_min(code, end, upper), 1, 0, NULL);
    struct anas_depthwise_place at = anas_depthwise_move(d, place, d->lane, d->lanes, scope.iv);
    if (filled) emit_fill(d, at, f);
    emit_groups(d, at, f);
    anas_code_end(code, &scope, 0, NULL);
  }
  if (rest == 0) return whole;
  d->active = rest;
  place = anas_depthwise_skip(d, place, d->lane, d->lanes, whole);
  struct anas_code_scope scope = anas_code_if(code, anas_code_compare(code, false, ANAS_CMPI_SGT, end, upper), false);
  if (filled) emit_fill(d, place, f);
  emit_groups(d, place, f);
  anas_code_end(code, &scope, 0, NULL);
  return whole + 1;
}

// The range is over the outer loops.
static int64_t emit_by_parts(struct anas_depthwise *d, struct filter *f, struct anas_depthwise_place place,
                             MlirValue begin, MlirValue end) {
  struct anas_code *code = d->code;
  struct anas_code_scope scope = anas_code_for(code, begin, end, 1, 0, NULL);
  int64_t range;
  place = anas_depthwise_outer(d, place, scope.iv, &range);
  if (anas_cpu_needs_fill(d->nest)) // beside the taps, too; there is one iteration then
    anas_cpu_fill(code, d->nest, d->flat, -1, begin, end);
  else if (d->nest->operand[d->out].filled)
    anas_depthwise_channels(d, place, emit_fill, f);
  emit_parts(d, f, 0, place);
  anas_code_end(code, &scope, 0, NULL);
  return range;
}

bool anas_depthwise_filter(struct anas_depthwise *d, struct anas_depthwise_place place, MlirValue begin, MlirValue end,
                           int64_t *out_range) {
  struct filter f = {0};
  bool fills = anas_cpu_needs_fill(d->nest), by_channels = d->num_outer == 0 && !fills;
  if (fills && d->num_outer > 0) return false;
  plan_filter(d, &f, by_channels);
  plan_filter_fetch(d, &f, &place);
  if (by_channels) {
    *out_range = emit_by_channels(d, &f, place, begin, end);
    return true;
  }
  *out_range = emit_by_parts(d, &f, place, begin, end);
  return true;
}
