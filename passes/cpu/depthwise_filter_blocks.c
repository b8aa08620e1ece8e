// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gradients of the filters of depthwise convolutions whose windows leave the images, where the sums of all taps and a
// tile of the gradient fit the registers. Images pass by in blocks of rows; a row of the image is read once for all
// products with the rows of a block.
#include "passes/cpu/depthwise.h"

#define ROWS 2
#define STEP_TILE 8  // positions along a row at most
#define LEAST_TILE 4 // at least, if the row has them
#define CHAINS 8     // sums that are added to in turn, to hide the latency

struct filter {
  struct anas_depthwise_tiles tiles;
  int along, across; // taps
  int split;         // sums of a tap
};

static bool plan(struct anas_depthwise *d, struct filter *f) {
  const struct anas_depthwise_axis *other;
  int row = d->reduced[d->num_reduced - 1], registers = d->code->target->registers;
  f->tiles.row = row;
  f->tiles.axis = anas_depthwise_axis_of(d, row);
  if (!anas_depthwise_other_axis(d, f->tiles.axis, &other)) return false;
  for (int i = 0; i < d->num_points; i++)
    if (!anas_depthwise_axis_of(d, d->point[i])) return false;
  f->along = f->tiles.axis && f->tiles.axis->point >= 0 ? (int)d->nest->extent[f->tiles.axis->point] : 1;
  f->across = other && other->point >= 0 ? (int)d->nest->extent[other->point] : 1;
  int loop = other ? other->tap : -1, taps = f->along * f->across;
  int64_t columns = d->nest->extent[row], rows = loop < 0 || d->nest->extent[loop] < ROWS ? 1 : ROWS;
  int64_t most = (registers - 2 - taps) / rows;
  if (most > STEP_TILE) most = STEP_TILE;
  if (most > columns) most = columns;
  if (most < 1 || (most < LEAST_TILE && most < columns)) return false;
  if (!anas_depthwise_block_of(d, other, loop, rows, &f->tiles.block)) return false;
  int64_t tiles = (columns + most - 1) / most;
  for (int i = 0; i < d->num_reduced; i++)
    d->tile[d->reduced[i]] = 1;
  d->tile[row] = (columns + tiles - 1) / tiles;
  if (loop >= 0) d->tile[loop] = rows;
  f->split = 1;
  while (f->split * taps < CHAINS && (f->split + 1) * taps + rows * d->tile[row] + 2 <= registers)
    f->split++;
  anas_depthwise_plan_vectors(d, &f->tiles);
  return true;
}

static int64_t tap_offset(const struct anas_depthwise *d, const struct filter *f, int tap) {
  const int64_t *stride = d->nest->operand[d->out].stride;
  int64_t across = f->across > 1 ? tap / f->along * stride[f->tiles.block.axis->point] : 0;
  return across + (f->along > 1 ? tap % f->along * stride[f->tiles.axis->point] : 0);
}

// ---- emission

// Products of a row of the image with some rows of the block: uses [first, last) of the line.
static void emit_products(const struct anas_depthwise *d, const struct filter *f, struct anas_depthwise_place place,
                          const struct anas_depthwise_line *line, int first, int last,
                          const struct anas_depthwise_run *run, MlirValue *sum) {
  struct anas_depthwise_product product[ANAS_DEPTHWISE_PRODUCTS];
  MlirValue factor[ROWS * STEP_TILE] = {0};
  const struct anas_depthwise_block *block = &f->tiles.block;
  const int64_t *stride = d->nest->operand[d->still].stride;
  int num = 0;
  if (block->axis) place.at[d->dense].offset += line->index * block->axis->weight;
  for (int i = first; i < last; i++)
    for (int k = 0; k < run->num; k++) {
      const struct anas_depthwise_product *p = &run->product[k];
      int at = line->row[i] * STEP_TILE + p->factor, tap = line->other[i] * f->along + p->sum;
      int64_t offset = (block->loop < 0 ? 0 : line->row[i] * stride[block->loop]) + p->factor * stride[f->tiles.row];
      if (mlirValueIsNull(factor[at])) factor[at] = anas_depthwise_load(d, &place, d->still, offset);
      product[num++] = (struct anas_depthwise_product){p->dense, tap * f->split + p->factor % f->split, at};
    }
  anas_depthwise_products(d, &place, num, product, sum, factor);
}

// The same under a condition.
static void emit_products_if(const struct anas_depthwise *d, const struct filter *f, struct anas_depthwise_place place,
                             const struct anas_depthwise_line *line, int first, int last,
                             const struct anas_depthwise_run *run, MlirValue condition, MlirValue *sum) {
  MlirValue changed[ANAS_DEPTHWISE_TILE];
  int of_row = f->along * f->split, index[ANAS_DEPTHWISE_TILE], num = 0;
  for (int s = 0; s < f->across * of_row; s++) {
    bool touched = false;
    for (int i = first; i < last; i++)
      touched = touched || line->other[i] == s / of_row;
    if (touched) index[num++] = s;
  }
  for (int i = 0; i < num; i++)
    changed[i] = sum[index[i]];
  struct anas_code_scope scope = anas_code_when(d->code, condition, num, changed);
  emit_products(d, f, place, line, first, last, run, sum);
  for (int i = 0; i < num; i++)
    changed[i] = sum[index[i]];
  anas_code_end(d->code, &scope, num, changed);
  for (int i = 0; i < num; i++)
    sum[index[i]] = anas_code_result(&scope, i);
}

// Rows of the image that do not exist are left out, and so are rows of the gradient behind the last one.
static void emit_line(const struct anas_depthwise *d, const struct filter *f, struct anas_depthwise_place place,
                      const struct anas_depthwise_line *line, const struct anas_depthwise_run *run, MlirValue *sum) {
  for (int first = 0, last; first < line->num; first = last) {
    MlirValue inside = f->tiles.inside[line->row[first]], condition = line->exists;
    last = first + 1;
    while (last < line->num && mlirValueEqual(f->tiles.inside[line->row[last]], inside))
      last++;
    if (line->always)
      condition = inside;
    else if (!mlirValueIsNull(inside))
      condition = anas_code_binary(d->code, "arith.andi", condition, inside);
    if (mlirValueIsNull(condition))
      emit_products(d, f, place, line, first, last, run, sum);
    else
      emit_products_if(d, f, place, line, first, last, run, condition, sum);
  }
}

static void emit_tile(const struct anas_depthwise *d, const struct anas_depthwise_tiles *tiles,
                      struct anas_depthwise_place place, const struct anas_depthwise_run *run) {
  struct anas_code *code = d->code;
  const struct filter *f = (const struct filter *)tiles; // its first member
  int taps = f->along * f->across;
  MlirValue sum[ANAS_DEPTHWISE_TILE], zero = anas_code_splat_f32(code, d->lanes, 0);
  for (int i = 0; i < taps * f->split; i++)
    sum[i] = i % f->split ? zero : anas_depthwise_load(d, &place, d->out, tap_offset(d, f, i / f->split));
  for (int i = 0; i < tiles->block.num; i++)
    emit_line(d, f, place, &tiles->block.line[i], run, sum);
  for (int i = 0; i < taps; i++) {
    MlirValue total = sum[i * f->split];
    for (int k = 1; k < f->split; k++)
      total = anas_code_binary(code, "arith.addf", total, sum[i * f->split + k]);
    anas_depthwise_store(d, &place, total, tap_offset(d, f, i));
  }
}

// Reduced loops but that along rows: examples and blocks of rows.
static void emit_parts(struct anas_depthwise *d, struct filter *f, int level, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  if (level == d->num_reduced - 1) {
    if (f->tiles.block.loop < 0) anas_depthwise_enter_block(d, &f->tiles.block, (MlirValue){0}, &place);
    anas_depthwise_tiles_of_channels(d, &f->tiles, place);
    return;
  }
  int loop = d->reduced[level];
  MlirValue upper = anas_code_index(code, anas_depthwise_iterations(d, loop));
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, 0, NULL);
  emit_parts(d, f, level + 1, anas_depthwise_enter(d, &f->tiles, place, loop, scope.iv));
  anas_code_end(code, &scope, 0, NULL);
}

bool anas_depthwise_filter_blocks(struct anas_depthwise *d, struct anas_depthwise_place place, MlirValue begin,
                                  MlirValue end, int64_t *out_range) {
  struct anas_code *code = d->code;
  struct filter f = {.tiles.emit = emit_tile};
  bool fills = anas_cpu_needs_fill(d->nest);
  if (d->num_axes == 0 || (fills && d->num_outer > 0) || !plan(d, &f)) return false;
  struct anas_code_scope scope = anas_code_for(code, begin, end, 1, 0, NULL);
  place = anas_depthwise_outer(d, place, scope.iv, out_range);
  if (fills) // beside the taps, too; there is one iteration then
    anas_cpu_fill(code, d->nest, d->flat, -1, begin, end);
  else if (d->nest->operand[d->out].filled)
    anas_depthwise_channels(d, place, anas_depthwise_fill_points, NULL);
  emit_parts(d, &f, 0, place);
  anas_code_end(code, &scope, 0, NULL);
  return true;
}
