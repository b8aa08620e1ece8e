// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gradients of the filters of depthwise convolutions whose windows leave the images. Images pass by row by row, with
// all channels, in the order of memory. A row meets those rows of taps that reach something from it; for one of them,
// the sums of a vector of channels are in registers, in between they are in the first-level cache. Along the row, it is
// known for every tile of positions which products there are.
#include "passes/cpu/depthwise.h"

#define STEP_TILE 8 // positions of a register tile
#define CHAINS 8    // sums that are added to in turn, to hide the latency

struct rows {
  int row;                                 // the reduced loop along rows, the last one
  const struct anas_depthwise_axis *axis;  // of the row
  const struct anas_depthwise_axis *other; // null: there is none
  int num_taps;                            // along the row
  int split;                               // sums of a tap
  struct anas_depthwise_span span;         // of `other`: the rows of taps
};

// Points that are neither taps along the row nor rows of taps.
static int outer_points(const struct anas_depthwise *d, const struct rows *r, int *out) {
  int num = 0;
  for (int i = 0; i < d->num_points; i++)
    if (d->point[i] != r->axis->point && !(r->other && d->point[i] == r->other->point)) out[num++] = d->point[i];
  return num;
}

static bool plan_rows(struct anas_depthwise *d, struct rows *r) {
  r->row = d->reduced[d->num_reduced - 1];
  r->axis = anas_depthwise_axis_of(d, r->row);
  if (!r->axis) return false;
  for (int a = 0; a < d->num_axes; a++)
    if (&d->axis[a] != r->axis) r->other = &d->axis[a];
  r->num_taps = r->axis->point < 0 ? 1 : (int)d->nest->extent[r->axis->point];
  if (r->num_taps > d->code->target->registers / 2) return false;
  r->split = CHAINS / r->num_taps;
  while (r->split > 1 && r->split * r->num_taps > d->code->target->registers / 2)
    r->split--;
  if (r->split < 1) r->split = 1;
  int64_t tile = d->nest->extent[r->row], most = STEP_TILE;
  while (most > 1 && most * r->num_taps > ANAS_DEPTHWISE_PRODUCTS)
    most--;
  int64_t tiles = (tile + most - 1) / most;
  tile = (tile + tiles - 1) / tiles;
  for (int i = 0; i < d->num_reduced; i++)
    d->tile[d->reduced[i]] = 1;
  d->tile[r->row] = tile;
  return true;
}

// The unit is the loop around the channels.
static void plan_rows_fetch(struct anas_depthwise *d, const struct rows *r, struct anas_depthwise_place *place) {
  int inside[ANAS_CPU_LOOPS], num = 0, before = d->num_reduced - 2;
  if (before < 0 && d->num_outer == 0) return;
  int unit = before >= 0 ? d->reduced[before] : d->outer[d->num_outer - 1];
  inside[num++] = d->lane;
  if (r->other && r->other->point >= 0) inside[num++] = r->other->point;
  num += outer_points(d, r, &inside[num]);
  inside[num++] = r->row;
  anas_depthwise_plan_fetch(d, unit, 1, inside, num, NULL, 0, place);
}

// ---- emission

static void emit_run(struct anas_depthwise *d, const struct rows *r, const struct anas_depthwise_place *place,
                     const struct anas_depthwise_run *run, MlirValue *sum) {
  struct anas_depthwise_product product[ANAS_DEPTHWISE_PRODUCTS];
  MlirValue factor[STEP_TILE];
  bool used[STEP_TILE] = {false};
  anas_depthwise_fetch(d, place);
  for (int i = 0; i < run->num; i++) {
    product[i] = run->product[i];
    product[i].sum = product[i].sum * r->split + product[i].factor % r->split;
    used[product[i].factor] = true;
  }
  for (int64_t i = 0; i < run->size; i++)
    if (used[i]) factor[i] = anas_depthwise_load(d, place, d->still, i * d->nest->operand[d->still].stride[r->row]);
  anas_depthwise_products(d, place, run->num, product, sum, factor);
}

// All positions of a row.
static void emit_row(struct anas_depthwise *d, const struct rows *r, struct anas_depthwise_place place,
                     MlirValue *sum) {
  struct anas_code *code = d->code;
  int num = r->num_taps * r->split;
  int64_t size = d->tile[r->row];
  struct anas_depthwise_run run;
  for (int64_t from = 0; from < d->nest->extent[r->row]; from += run.tiles * run.size) {
    anas_depthwise_next_run(d, r->axis, r->row, from, size, &run);
    struct anas_depthwise_place at = anas_depthwise_skip(d, place, r->row, size, from / size);
    if (run.tiles == 1) {
      emit_run(d, r, &at, &run, sum);
      continue;
    }
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, run.tiles), 1, num, sum);
    for (int i = 0; i < num; i++)
      sum[i] = anas_code_iter(&scope, i);
    at = anas_depthwise_move(d, at, r->row, size, scope.iv);
    at.at[d->dense] = anas_address_step(code, at.at[d->dense], scope.iv, run.dense_step);
    emit_run(d, r, &at, &run, sum);
    anas_code_end(code, &scope, num, sum);
    for (int i = 0; i < num; i++)
      sum[i] = anas_code_result(&scope, i);
  }
}

// The sums of one row of taps.
static void emit_sums(struct anas_depthwise *d, const struct rows *r, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  MlirValue sum[ANAS_DEPTHWISE_TILE], zero = anas_code_splat_f32(code, d->lanes, 0);
  int64_t stride = r->axis->point < 0 ? 0 : d->nest->operand[d->out].stride[r->axis->point];
  for (int i = 0; i < r->num_taps * r->split; i++)
    sum[i] = i % r->split ? zero : anas_depthwise_load(d, &place, d->out, i / r->split * stride);
  emit_row(d, r, place, sum);
  for (int i = 0; i < r->num_taps; i++) {
    MlirValue total = sum[i * r->split];
    for (int k = 1; k < r->split; k++)
      total = anas_code_binary(code, "arith.addf", total, sum[i * r->split + k]);
    anas_depthwise_store(d, &place, total, i * stride);
  }
}

// Loops of points without an axis, from number `level` on.
static void emit_points(struct anas_depthwise *d, const struct rows *r, int level, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  int loops[ANAS_CPU_LOOPS], num = outer_points(d, r, loops);
  if (level == num) {
    emit_sums(d, r, place);
    return;
  }
  MlirValue upper = anas_code_index(code, d->nest->extent[loops[level]]);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, 0, NULL);
  emit_points(d, r, level + 1, anas_depthwise_move(d, place, loops[level], 1, scope.iv));
  anas_code_end(code, &scope, 0, NULL);
}

static void emit_channels(struct anas_depthwise *d, struct anas_depthwise_place place, void *data) {
  struct anas_code *code = d->code;
  const struct rows *r = data;
  if (!r->other) {
    emit_points(d, r, 0, place);
    return;
  }
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, r->span.count, 1, 0, NULL);
  emit_points(d, r, 0, anas_depthwise_along(d, place, &r->span, scope.iv));
  anas_code_end(code, &scope, 0, NULL);
}

// Reduced loops outside the channels: all but that along rows.
static void emit_parts(struct anas_depthwise *d, struct rows *r, int level, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  if (level == d->num_reduced - 1) {
    if (r->other && r->other->tap < 0) r->span = anas_depthwise_span(d, r->other, -1, (MlirValue){0});
    anas_depthwise_channels(d, place, emit_channels, r);
    return;
  }
  int loop = d->reduced[level];
  MlirValue upper = anas_code_index(code, d->nest->extent[loop]);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, 0, NULL);
  if (r->other && loop == r->other->tap) r->span = anas_depthwise_span(d, r->other, loop, scope.iv);
  emit_parts(d, r, level + 1, anas_depthwise_move(d, place, loop, 1, scope.iv));
  anas_code_end(code, &scope, 0, NULL);
}

bool anas_depthwise_filter_rows(struct anas_depthwise *d, struct anas_depthwise_place place, MlirValue begin,
                                MlirValue end, int64_t *out_range) {
  struct rows r = {0};
  bool fills = anas_cpu_needs_fill(d->nest);
  if ((fills && d->num_outer > 0) || !plan_rows(d, &r)) return false;
  plan_rows_fetch(d, &r, &place);
  struct anas_code *code = d->code;
  struct anas_code_scope scope = anas_code_for(code, begin, end, 1, 0, NULL);
  place = anas_depthwise_outer(d, place, scope.iv, out_range);
  if (fills) // beside the taps, too; there is one iteration then
    anas_cpu_fill(code, d->nest, d->flat, -1, begin, end);
  else if (d->nest->operand[d->out].filled)
    anas_depthwise_channels(d, place, anas_depthwise_fill_points, NULL);
  emit_parts(d, &r, 0, place);
  anas_code_end(code, &scope, 0, NULL);
  return true;
}
