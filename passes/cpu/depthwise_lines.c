// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Blocks of rows of a depthwise convolution: which rows of `dense` a block meets, and what a row gives to which of the
// others. Blocks repeat, so these are the same for all of them but for rows beyond the border.
#include "passes/cpu/depthwise.h"

#include <stdlib.h>

#define VECTORS 4       // of channels that take turns if not all can
#define CACHE_LINES 512 // of the first-level cache, for what a tile reads

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a < 0 ? -a : a;
}

static int64_t floor_div(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

int64_t anas_depthwise_period(const struct anas_depthwise_axis *axis, int loop) {
  if (!axis) return 1;
  return axis->every / gcd(loop == axis->point ? axis->point_coef : axis->tap_coef, axis->every);
}

static struct anas_depthwise_line *line_of(struct anas_depthwise_block *block, int64_t index) {
  int at = 0;
  while (at < block->num && block->line[at].index < index)
    at++;
  if (at < block->num && block->line[at].index == index) return &block->line[at];
  if (block->num == ANAS_DEPTHWISE_LINES) return NULL;
  for (int i = block->num++; i > at; i--)
    block->line[i] = block->line[i - 1];
  block->line[at] = (struct anas_depthwise_line){.index = index};
  return &block->line[at];
}

bool anas_depthwise_block_of(const struct anas_depthwise *d, const struct anas_depthwise_axis *axis, int loop,
                             int64_t rows, struct anas_depthwise_block *out) {
  bool is_point = axis && loop == axis->point;
  int other = !axis ? -1 : is_point ? axis->tap : axis->point;
  int64_t extent = loop < 0 ? 1 : d->nest->extent[loop], others = other < 0 ? 1 : d->nest->extent[other];
  int64_t coef = !axis ? 0 : is_point ? axis->point_coef : axis->tap_coef;
  int64_t other_coef = !axis ? 0 : is_point ? axis->tap_coef : axis->point_coef;
  *out = (struct anas_depthwise_block){.axis = axis, .loop = loop, .rows = rows, .blocks = (extent + rows - 1) / rows};
  int64_t every = axis ? axis->every : 1, constant = axis ? axis->constant : 0, limit = axis ? axis->limit : 1;
  if (loop < 0) coef = 0;
  out->step = coef * rows / every;
  if (coef * rows % every != 0) return false;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t o = 0; o < others; o++) {
      int64_t e = constant + coef * r + other_coef * o, index = floor_div(e, every);
      if (index * every != e) continue;
      struct anas_depthwise_line *line = line_of(out, index);
      if (!line || line->num == ANAS_DEPTHWISE_TILE) return false;
      line->row[line->num] = (int)r;
      line->other[line->num++] = (int)o;
      out->pairs++;
    }
  int64_t reach = (out->blocks - 1) * out->step, low = reach < 0 ? reach : 0, high = reach > 0 ? reach : 0;
  int kept = 0;
  for (int i = 0; i < out->num; i++) {
    struct anas_depthwise_line *line = &out->line[i];
    if (line->index + high < 0 || line->index + low >= limit) continue; // in no block
    line->always = line->index + low >= 0 && line->index + high < limit;
    out->line[kept++] = *line;
  }
  out->num = kept;
  return true;
}

void anas_depthwise_enter_block(const struct anas_depthwise *d, struct anas_depthwise_block *block, MlirValue number,
                                struct anas_depthwise_place *place) {
  struct anas_code *code = d->code;
  MlirValue first = anas_code_mul_const(code, number, block->step);
  if (block->axis) place->at[d->dense] = anas_address_step(code, place->at[d->dense], first, block->axis->weight);
  for (int i = 0; i < block->num; i++) {
    struct anas_depthwise_line *line = &block->line[i];
    if (line->always) continue;
    MlirValue index = anas_code_add_const(code, first, line->index);
    line->exists = anas_code_compare(code, false, ANAS_CMPI_ULT, index, anas_code_index(code, block->axis->limit));
  }
}

bool anas_depthwise_other_axis(const struct anas_depthwise *d, const struct anas_depthwise_axis *axis,
                               const struct anas_depthwise_axis **out) {
  *out = NULL;
  for (int a = 0; a < d->num_axes; a++) {
    if (&d->axis[a] == axis) continue;
    if (*out) return false;
    *out = &d->axis[a];
  }
  return true;
}

int64_t anas_depthwise_iterations(const struct anas_depthwise *d, int loop) {
  return (d->nest->extent[loop] + d->tile[loop] - 1) / d->tile[loop];
}

void anas_depthwise_plan_vectors(const struct anas_depthwise *d, struct anas_depthwise_tiles *t) {
  int64_t columns = d->tile[t->row], vectors = (d->nest->extent[d->lane] + d->lanes - 1) / d->lanes;
  if (t->axis) {
    int64_t taps = t->axis->tap < 0 ? 1 : d->nest->extent[t->axis->tap];
    columns = (columns * t->axis->point_coef + (taps - 1) * llabs(t->axis->tap_coef)) / t->axis->every + 1;
  }
  bool all = columns * t->block.num * vectors <= CACHE_LINES;
  t->vectors = all ? vectors : VECTORS;
}

// All columns of a block for `count` vectors of channels (null: one).
static void emit_columns(const struct anas_depthwise *d, const struct anas_depthwise_tiles *t,
                         struct anas_depthwise_place place, MlirValue count) {
  struct anas_code *code = d->code;
  int64_t size = d->tile[t->row];
  struct anas_depthwise_run run;
  for (int64_t from = 0; from < d->nest->extent[t->row]; from += run.tiles * run.size) {
    anas_depthwise_next_run(d, t->axis, t->row, from, size, &run);
    struct anas_depthwise_place at = anas_depthwise_skip(d, place, t->row, size, from / size);
    struct anas_code_scope tiles, vectors;
    if (run.tiles > 1) {
      tiles = anas_code_for(code, (MlirValue){0}, anas_code_index(code, run.tiles), 1, 0, NULL);
      at = anas_depthwise_move(d, at, t->row, size, tiles.iv);
      at.at[d->dense] = anas_address_step(code, at.at[d->dense], tiles.iv, run.dense_step);
    }
    if (!mlirValueIsNull(count)) {
      vectors = anas_code_for(code, (MlirValue){0}, count, 1, 0, NULL);
      at = anas_depthwise_move(d, at, d->lane, d->lanes, vectors.iv);
    }
    t->emit(d, t, at, &run);
    if (!mlirValueIsNull(count)) anas_code_end(code, &vectors, 0, NULL);
    if (run.tiles > 1) anas_code_end(code, &tiles, 0, NULL);
  }
}

void anas_depthwise_tiles_of_channels(struct anas_depthwise *d, const struct anas_depthwise_tiles *t,
                                      struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  int64_t channels = d->nest->extent[d->lane], whole = channels / d->lanes;
  d->active = d->lanes;
  if (whole == 1) {
    emit_columns(d, t, place, (MlirValue){0});
  } else if (whole > 1) {
    MlirValue vectors = anas_code_index(code, whole), several = anas_code_index(code, t->vectors);
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, vectors, t->vectors, 0, NULL);
    MlirValue left = anas_code_binary(code, "arith.subi", vectors, scope.iv);
    emit_columns(d, t, anas_depthwise_move(d, place, d->lane, d->lanes, scope.iv), anas_code_min(code, left, several));
    anas_code_end(code, &scope, 0, NULL);
  }
  if (whole * d->lanes == channels) return;
  d->active = (int)(channels - whole * d->lanes);
  emit_columns(d, t, anas_depthwise_skip(d, place, d->lane, d->lanes, whole), (MlirValue){0});
}

struct anas_depthwise_place anas_depthwise_enter(struct anas_depthwise *d, struct anas_depthwise_tiles *t,
                                                 struct anas_depthwise_place place, int loop, MlirValue iv) {
  struct anas_code *code = d->code;
  place = anas_depthwise_move(d, place, loop, d->tile[loop], iv);
  if (loop != t->block.loop) return place;
  anas_depthwise_enter_block(d, &t->block, iv, &place);
  int64_t extent = d->nest->extent[loop];
  for (int r = 0; r < t->block.rows; r++)
    if ((t->block.blocks - 1) * t->block.rows + r >= extent) {
      MlirValue row = anas_code_add_const(code, anas_code_mul_const(code, iv, t->block.rows), r);
      t->inside[r] = anas_code_compare(code, false, ANAS_CMPI_SLT, row, anas_code_index(code, extent));
    }
  return place;
}
