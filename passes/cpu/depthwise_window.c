// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depthwise convolutions that reduce few steps: the convolution itself and the gradient of its operand. Several
// neighbouring results along a row are computed at once, so that what their windows share is loaded once and every
// weight serves them all. Zeros around and between elements are not multiplied: along the row it is known for every
// tile which products there are; the taps of the other dimension are a loop over those that meet an element.
#include "passes/cpu/depthwise.h"

#include <string.h>

#define ENOUGH_RANGE 64
#define UNROLLED 256 // products in the code of one tile
#define FETCH_ELEMENTS ((int64_t)64 << 10)
#define MOST_SUMS 14

struct window {
  int num_loops, loop[ANAS_CPU_LOOPS]; // outer loops and points, the row last
  int num_range;                       // so many of them are digits of the range
  int unrolled_from;                   // reduced loops from here on are unrolled
  const struct anas_depthwise_axis *row;
  MlirValue iv[ANAS_CPU_LOOPS]; // of loops around the row
  struct anas_depthwise_span span[ANAS_CPU_BORDERS];
};

static int64_t distance(const struct anas_depthwise *d, int operand, int loop) {
  int64_t stride = anas_depthwise_stride(d, operand, loop);
  return stride < 0 ? -stride : stride;
}

static bool slab_for_fill(const struct anas_depthwise *d, int loop) {
  return d->nest->operand[d->out].slab[loop];
}

// ---- planning

// With borders, tiles are parts of a row, and the taps along the row are the last reduced loop.
static bool plan_row(struct anas_depthwise *d, struct window *w, int64_t room) {
  int row = d->point[d->num_points - 1], kept = 0;
  w->row = anas_depthwise_axis_of(d, row);
  for (int i = 0; i < d->num_reduced; i++) { // loops of other axes are spans
    const struct anas_depthwise_axis *axis = anas_depthwise_axis_of(d, d->reduced[i]);
    if (!axis) d->reduced[kept++] = d->reduced[i];
  }
  d->num_reduced = kept;
  int64_t taps = 1, tile = room, period = 1;
  if (w->row) {
    if (w->row->tap >= 0) {
      taps = d->nest->extent[w->row->tap];
      d->reduced[d->num_reduced++] = w->row->tap;
    }
    if (taps > ANAS_DEPTHWISE_TILE) return false;
    while (period * w->row->point_coef % w->row->every)
      period++; // tiles of multiples of it are alike
  }
  int64_t extent = d->nest->extent[row];
  while (tile > 1 && tile * taps > UNROLLED)
    tile--;
  if (extent > tile) {
    int64_t best = tile >= period ? tile / period * period : 1;
    for (int64_t t = best; t > tile / 2; t -= period)
      if (extent % t == 0) {
        best = t;
        break;
      }
    tile = best;
  } else {
    tile = extent;
  }
  d->tile[row] = tile;
  return true;
}

static bool plan_window(struct anas_depthwise *d, struct window *w, int64_t *out_range) {
  int registers = d->code->target->registers, row = d->point[d->num_points - 1];
  int last = d->num_reduced ? d->reduced[d->num_reduced - 1] : -1;
  int64_t taps = last < 0 ? 1 : d->nest->extent[last];
  int64_t room = registers - 2 - (taps < 8 ? taps : 8); // weights of a row of taps, a vector of `dense`
  if (room > MOST_SUMS) room = MOST_SUMS;
  if (d->num_axes == 0)
    anas_depthwise_choose_tile(d, d->point, d->num_points, room);
  else if (!plan_row(d, w, room))
    return false;
  int64_t tile = 1, product = 1;
  for (int i = 0; i < d->num_points; i++)
    tile *= d->tile[d->point[i]];
  for (w->unrolled_from = d->num_reduced; w->unrolled_from > 0; w->unrolled_from--) {
    product *= d->nest->extent[d->reduced[w->unrolled_from - 1]];
    bool row_taps = w->row && w->unrolled_from == d->num_reduced && w->row->tap >= 0;
    if ((product > ANAS_DEPTHWISE_TILE || tile * product > UNROLLED) && !row_taps) break;
  }
  int o = 0, p = 0;
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
  int unit = 0, inside[ANAS_CPU_LOOPS], num = 0, taps[ANAS_CPU_LOOPS], num_taps = 0;
  while (unit < w->num_loops - 2 && distance(d, d->dense, w->loop[unit]) * d->tile[w->loop[unit]] > FETCH_ELEMENTS)
    unit++;
  for (int i = unit + 1; i < w->num_loops - 1; i++)
    inside[num++] = w->loop[i];
  inside[num++] = d->lane;
  inside[num++] = w->loop[w->num_loops - 1];
  for (int i = 0; i < d->num_reduced; i++)
    if (!anas_depthwise_axis_of(d, d->reduced[i])) taps[num_taps++] = d->reduced[i];
  anas_depthwise_plan_fetch(d, w->loop[unit], d->tile[w->loop[unit]], inside, num, taps, num_taps, place);
}

// ---- emission

// A tile as offsets of its results and its products.
struct tile {
  int num;
  int64_t out_at[ANAS_DEPTHWISE_TILE];
  const int64_t *dense_at;              // without borders: of the results
  const struct anas_depthwise_run *run; // along the row; null: there is no axis
};

static void emit_unrolled(struct anas_depthwise *d, int level, const struct anas_depthwise_place *place,
                          const struct tile *tile, const struct window *w, MlirValue *sum) {
  int64_t dense_at[ANAS_DEPTHWISE_TILE] = {0}, still_at[ANAS_DEPTHWISE_TILE] = {0};
  struct anas_depthwise_product product[ANAS_DEPTHWISE_PRODUCTS];
  MlirValue weight[ANAS_DEPTHWISE_TILE];
  const int *loops = &d->reduced[level];
  for (int i = level; i < d->num_reduced; i++)
    d->tile[d->reduced[i]] = d->nest->extent[d->reduced[i]];
  int taps = anas_depthwise_offsets(d, d->dense, loops, d->num_reduced - level, dense_at), num = 0;
  anas_depthwise_offsets(d, d->still, loops, d->num_reduced - level, still_at);
  int along = w->row && w->row->tap >= 0 ? (int)d->nest->extent[w->row->tap] : 1;
  if (tile->run) { // the other unrolled taps, each with what there is along the row
    for (int t = 0; t < taps; t += along)
      for (int i = 0; i < tile->run->num; i++) {
        product[num] = tile->run->product[i];
        product[num].dense += dense_at[t];
        product[num++].factor += t;
      }
  } else {
    num = anas_depthwise_pairs(tile->num, tile->dense_at, taps, dense_at, product);
  }
  bool used[ANAS_DEPTHWISE_TILE] = {false};
  for (int i = 0; i < num; i++)
    used[product[i].factor] = true;
  for (int t = 0; t < taps; t++)
    if (used[t]) weight[t] = anas_depthwise_load(d, place, d->still, still_at[t]);
  anas_depthwise_products(d, place, num, product, sum, weight);
}

// Reduced loops from `level` on.
static void emit_taps(struct anas_depthwise *d, const struct window *w, int level, struct anas_depthwise_place place,
                      const struct tile *tile, MlirValue *sum) {
  struct anas_code *code = d->code;
  if (level >= w->unrolled_from) {
    emit_unrolled(d, level, &place, tile, w, sum);
    return;
  }
  int loop = d->reduced[level];
  struct anas_code_scope scope =
      anas_code_for(code, (MlirValue){0}, anas_code_index(code, d->nest->extent[loop]), 1, tile->num, sum);
  for (int i = 0; i < tile->num; i++)
    sum[i] = anas_code_iter(&scope, i);
  emit_taps(d, w, level + 1, anas_depthwise_move(d, place, loop, 1, scope.iv), tile, sum);
  anas_code_end(code, &scope, tile->num, sum);
  for (int i = 0; i < tile->num; i++)
    sum[i] = anas_code_result(&scope, i);
}

// Axes from number `axis` on, but that of the row: loops over the taps that meet something.
static void emit_spans(struct anas_depthwise *d, const struct window *w, int axis, struct anas_depthwise_place place,
                       const struct tile *tile, MlirValue *sum) {
  struct anas_code *code = d->code;
  if (axis == d->num_axes) {
    emit_taps(d, w, 0, place, tile, sum);
    return;
  }
  if (&d->axis[axis] == w->row) {
    emit_spans(d, w, axis + 1, place, tile, sum);
    return;
  }
  const struct anas_depthwise_span *span = &w->span[axis];
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, span->count, 1, tile->num, sum);
  for (int i = 0; i < tile->num; i++)
    sum[i] = anas_code_iter(&scope, i);
  emit_spans(d, w, axis + 1, anas_depthwise_along(d, place, span, scope.iv), tile, sum);
  anas_code_end(code, &scope, tile->num, sum);
  for (int i = 0; i < tile->num; i++)
    sum[i] = anas_code_result(&scope, i);
}

static void emit_tile(struct anas_depthwise *d, const struct window *w, struct anas_depthwise_place place,
                      const struct anas_depthwise_run *run) {
  struct anas_code *code = d->code;
  const struct anas_cpu_operand *out = &d->nest->operand[d->out];
  int64_t dense_at[ANAS_DEPTHWISE_TILE];
  MlirValue sum[ANAS_DEPTHWISE_TILE];
  struct tile tile = {.dense_at = dense_at, .run = run};
  tile.num = anas_depthwise_offsets(d, d->dense, d->point, d->num_points, dense_at);
  anas_depthwise_offsets(d, d->out, d->point, d->num_points, tile.out_at);
  for (int i = 0; i < tile.num; i++)
    sum[i] = out->filled && out->covered ? anas_code_splat(code, anas_code_vector(d->lanes, code->f32), out->fill)
                                         : anas_depthwise_load(d, &place, d->out, tile.out_at[i]);
  anas_depthwise_fetch(d, &place);
  emit_spans(d, w, 0, place, &tile, sum);
  for (int i = 0; i < tile.num; i++)
    anas_depthwise_store(d, &place, sum[i], tile.out_at[i]);
}

// All tiles of a row with borders.
static void emit_bordered_row(struct anas_depthwise *d, const struct window *w, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  int row = d->point[d->num_points - 1];
  int64_t size = d->tile[row];
  struct anas_depthwise_run run;
  for (int64_t from = 0; from < d->nest->extent[row]; from += run.tiles * run.size) {
    anas_depthwise_next_run(d, w->row, row, from, size, &run);
    d->tile[row] = run.size;
    struct anas_depthwise_place at = anas_depthwise_skip(d, place, row, size, from / size);
    if (run.tiles == 1) {
      emit_tile(d, w, at, &run);
    } else {
      struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, run.tiles), 1, 0, NULL);
      at = anas_depthwise_move(d, at, row, size, scope.iv);
      at.at[d->dense] = anas_address_step(code, at.at[d->dense], scope.iv, run.dense_step);
      emit_tile(d, w, at, &run);
      anas_code_end(code, &scope, 0, NULL);
    }
    d->tile[row] = size;
  }
}

// All tiles of a row, for one vector of channels.
static void emit_row(struct anas_depthwise *d, struct anas_depthwise_place place, void *data) {
  struct anas_code *code = d->code;
  const struct window *w = data;
  if (w->row) {
    emit_bordered_row(d, w, place);
    return;
  }
  int row = d->point[d->num_points - 1];
  int64_t extent = d->nest->extent[row], tile = d->tile[row], whole = extent / tile * tile;
  if (whole == tile) {
    emit_tile(d, w, place, NULL);
  } else {
    MlirValue tiles = anas_code_index(code, whole / tile);
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, tiles, 1, 0, NULL);
    emit_tile(d, w, anas_depthwise_move(d, place, row, tile, scope.iv), NULL);
    anas_code_end(code, &scope, 0, NULL);
  }
  if (whole == extent) return;
  d->tile[row] = extent - whole;
  emit_tile(d, w, anas_depthwise_skip(d, place, row, tile, whole / tile), NULL);
  d->tile[row] = tile;
}

static struct anas_depthwise_place enter(struct anas_depthwise *d, struct window *w, struct anas_depthwise_place place,
                                         int loop, MlirValue iv) {
  w->iv[loop] = iv;
  return anas_depthwise_move(d, place, loop, d->tile[loop], iv);
}

static void emit_loops(struct anas_depthwise *d, struct window *w, int level, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  if (level == w->num_loops - 1) {
    for (int a = 0; a < d->num_axes; a++) {
      int given = d->axis[a].point;
      if (&d->axis[a] == w->row) continue;
      w->span[a] = anas_depthwise_span(d, &d->axis[a], given, given < 0 ? (MlirValue){0} : w->iv[given]);
    }
    anas_depthwise_channels(d, place, emit_row, w);
    return;
  }
  int loop = w->loop[level];
  MlirValue upper = anas_code_index(code, d->nest->extent[loop] / d->tile[loop]);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, 0, NULL);
  emit_loops(d, w, level + 1, enter(d, w, place, loop, scope.iv));
  anas_code_end(code, &scope, 0, NULL);
}

bool anas_depthwise_window(struct anas_depthwise *d, struct anas_depthwise_place place, MlirValue begin, MlirValue end,
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
    place = enter(d, &w, place, loop, digit);
  }
  emit_loops(d, &w, w.num_range, place);
  anas_code_end(code, &scope, 0, NULL);
  return true;
}
