// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Register tiles of depthwise convolutions and of their gradients.
#include "passes/cpu/depthwise.h"

#include <stdlib.h>

#define LINE 16 // elements of a cache line

const struct anas_depthwise_axis *anas_depthwise_axis_of(const struct anas_depthwise *d, int loop) {
  for (int a = 0; a < d->num_axes; a++)
    if (d->axis[a].point == loop || d->axis[a].tap == loop) return &d->axis[a];
  return NULL;
}

int64_t anas_depthwise_stride(const struct anas_depthwise *d, int operand, int loop) {
  const struct anas_depthwise_axis *axis = operand == d->dense ? anas_depthwise_axis_of(d, loop) : NULL;
  if (!axis) return d->nest->operand[operand].stride[loop];
  return (axis->point == loop ? axis->point_coef : axis->tap_coef) * axis->weight / axis->every;
}

struct anas_depthwise_place anas_depthwise_move(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                int loop, int64_t tile, MlirValue iv) {
  for (int o = 0; o < 3; o++) {
    int64_t stride = d->nest->operand[o].stride[loop] * tile;
    place.at[o] = anas_address_step(d->code, place.at[o], iv, stride);
    if (d->fetch_lines[o] == 0) continue;
    int64_t step = d->fetch_step[o][loop];
    place.fetch[o] =
        anas_address_step(d->code, place.fetch[o], iv, step ? step : anas_depthwise_stride(d, o, loop) * tile);
  }
  return place;
}

struct anas_depthwise_place anas_depthwise_skip(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                int loop, int64_t tile, int64_t tiles) {
  for (int o = 0; o < 3; o++) {
    int64_t stride = d->nest->operand[o].stride[loop] * tile, step = d->fetch_step[o][loop];
    place.at[o].offset += tiles * stride;
    place.fetch[o].offset += tiles * (step ? step : anas_depthwise_stride(d, o, loop) * tile);
  }
  return place;
}

static int64_t tiles_of(const struct anas_depthwise *d, int loop) {
  int64_t tile = loop == d->lane ? d->lanes : d->tile[loop];
  return (d->nest->extent[loop] + tile - 1) / tile;
}

void anas_depthwise_plan_fetch(struct anas_depthwise *d, int unit, int64_t count, const int *inside, int num,
                               const int *taps, int num_taps, struct anas_depthwise_place *place) {
  for (int o = 0; o < 3; o++) {
    int64_t stride[ANAS_CPU_LOOPS];
    for (int l = 0; l < d->nest->num_loops; l++)
      stride[l] = anas_depthwise_stride(d, o, l);
    int64_t next = stride[unit] * count, span = 1, visits = 1;
    if (next <= 0 || (o == d->out && !d->nest->operand[o].covered)) continue; // the weights, or every s-th position
    for (int i = 0; i < num; i++) {
      int64_t extent = inside[i] == unit ? count : d->nest->extent[inside[i]];
      visits *= inside[i] == unit ? count : tiles_of(d, inside[i]);
      if (stride[inside[i]] > 0) span += (extent - 1) * stride[inside[i]];
    }
    for (int i = 0; i < num_taps; i++)
      if (stride[taps[i]] > 0) span += (d->nest->extent[taps[i]] - 1) * stride[taps[i]];
    int64_t length = next < span ? next : span, lines = (length + LINE - 1) / LINE;
    d->fetch_lines[o] = (lines + visits - 1) / visits;
    place->fetch[o] = anas_address_offset(place->at[o], next > span ? next : span);
    int64_t step = d->fetch_lines[o] * LINE;
    for (int i = num - 1; i >= 0; i--) {
      d->fetch_step[o][inside[i]] = step;
      step *= inside[i] == unit ? count : tiles_of(d, inside[i]);
    }
  }
}

void anas_depthwise_fetch(const struct anas_depthwise *d, const struct anas_depthwise_place *place) {
  for (int o = 0; o < 3; o++)
    for (int64_t i = 0; i < d->fetch_lines[o]; i++)
      anas_code_prefetch(d->code, d->flat[o], anas_address_offset(place->fetch[o], i * LINE), o == d->out);
}

// The largest tile of at least half of `most` that divides the extent, or as few tiles of about equal size as possible.
static int64_t tile_of(int64_t extent, int64_t most, bool divides) {
  if (extent <= most) return extent;
  for (int64_t tile = most; tile > (divides ? 1 : most / 2); tile--)
    if (extent % tile == 0) return tile;
  if (divides) return 1;
  int64_t tiles = (extent + most - 1) / most;
  return (extent + tiles - 1) / tiles;
}

void anas_depthwise_choose_tile(struct anas_depthwise *d, const int *loops, int num, int64_t most) {
  if (most > ANAS_DEPTHWISE_TILE) most = ANAS_DEPTHWISE_TILE;
  for (int i = num - 1; i >= 0; i--) {
    int64_t extent = d->nest->extent[loops[i]], tile = tile_of(extent, most, i < num - 1);
    d->tile[loops[i]] = tile;
    most = tile < extent ? 1 : most / tile;
  }
}

int anas_depthwise_offsets(const struct anas_depthwise *d, int o, const int *loops, int num, int64_t *out) {
  int count = 1;
  out[0] = 0;
  for (int i = num - 1; i >= 0; i--) {
    int inner = count;
    for (int64_t t = 1; t < d->tile[loops[i]]; t++)
      for (int k = 0; k < inner; k++)
        out[count++] = out[k] + t * d->nest->operand[o].stride[loops[i]];
  }
  return count;
}

MlirValue anas_depthwise_load(const struct anas_depthwise *d, const struct anas_depthwise_place *place, int o,
                              int64_t offset) {
  return anas_code_vector_load(d->code, d->flat[o], anas_address_offset(place->at[o], offset),
                               anas_code_vector(d->lanes, d->code->f32), d->active);
}

void anas_depthwise_store(const struct anas_depthwise *d, const struct anas_depthwise_place *place, MlirValue value,
                          int64_t offset) {
  anas_code_vector_store(d->code, value, d->flat[d->out], anas_address_offset(place->at[d->out], offset), d->active);
}

int anas_depthwise_pairs(int num_sums, const int64_t *sum_at, int num_factors, const int64_t *factor_at,
                         struct anas_depthwise_product *out) {
  int num = 0;
  for (int i = 0; i < num_sums; i++)
    for (int j = 0; j < num_factors; j++)
      out[num++] = (struct anas_depthwise_product){sum_at[i] + factor_at[j], i, j};
  return num;
}

static int by_dense(const void *a, const void *b) {
  const struct anas_depthwise_product *x = a, *y = b;
  if (x->dense != y->dense) return x->dense < y->dense ? -1 : 1;
  return x->sum != y->sum ? x->sum - y->sum : x->factor - y->factor;
}

void anas_depthwise_products(const struct anas_depthwise *d, const struct anas_depthwise_place *place, int num,
                             struct anas_depthwise_product *product, MlirValue *sum, const MlirValue *factor) {
  MlirValue dense = {0};
  qsort(product, (size_t)num, sizeof *product, by_dense);
  for (int i = 0; i < num; i++) {
    const struct anas_depthwise_product *p = &product[i];
    if (i == 0 || p->dense != product[i - 1].dense) dense = anas_depthwise_load(d, place, d->dense, p->dense);
    sum[p->sum] = anas_code_fma(d->code, dense, factor[p->factor], sum[p->sum]);
  }
}

// Products of the tile of `size` iterations from `first` on, relative to the place of the tile in its run.
static int tile_products(const struct anas_depthwise_axis *axis, bool is_point, int64_t others, int64_t first,
                         int64_t size, int64_t base, struct anas_depthwise_product *out) {
  int num = 0;
  for (int64_t i = 0; i < size; i++)
    for (int64_t j = 0; j < others; j++) {
      int64_t index;
      if (!anas_depthwise_exists(axis, is_point ? first + i : j, is_point ? j : first + i, &index)) continue;
      out[num++] = (struct anas_depthwise_product){axis->weight * index - base, (int)(is_point ? i : j),
                                                   (int)(is_point ? j : i)};
    }
  return num;
}

// The loop has a stride in `dense`, and there is one product for each iteration.
static void run_without_axis(const struct anas_depthwise *d, int loop, int64_t left, int64_t size,
                             struct anas_depthwise_run *out) {
  bool is_point = !d->nest->reduction[loop];
  out->size = left < size ? left : size;
  out->tiles = left / out->size;
  out->dense_step = 0;
  out->num = (int)out->size;
  for (int i = 0; i < out->num; i++)
    out->product[i] = (struct anas_depthwise_product){d->nest->operand[d->dense].stride[loop] * i, is_point ? i : 0,
                                                      is_point ? 0 : i};
}

void anas_depthwise_next_run(const struct anas_depthwise *d, const struct anas_depthwise_axis *axis, int loop,
                             int64_t from, int64_t size, struct anas_depthwise_run *out) {
  int64_t extent = d->nest->extent[loop];
  if (!axis) {
    run_without_axis(d, loop, extent - from, size, out);
    out->first = from;
    return;
  }
  bool is_point = loop == axis->point;
  int other = is_point ? axis->tap : axis->point;
  int64_t others = other < 0 ? 1 : d->nest->extent[other];
  int64_t coef = is_point ? axis->point_coef : axis->tap_coef;
  struct anas_depthwise_product next[ANAS_DEPTHWISE_PRODUCTS];
  out->first = from;
  out->tiles = 1;
  out->size = extent - from < size ? extent - from : size;
  out->num = tile_products(axis, is_point, others, from, out->size, 0, out->product);
  out->dense_step = coef * size / axis->every * axis->weight;
  if (coef * size % axis->every) return;
  for (; from + (out->tiles + 1) * size <= extent; out->tiles++) {
    int num = tile_products(axis, is_point, others, from + out->tiles * size, size, out->tiles * out->dense_step, next);
    if (num != out->num) break;
    for (int i = 0; i < num; i++)
      if (next[i].dense != out->product[i].dense || next[i].sum != out->product[i].sum ||
          next[i].factor != out->product[i].factor)
        return;
  }
}

void anas_depthwise_channels(struct anas_depthwise *d, struct anas_depthwise_place place, anas_depthwise_emit *emit,
                             void *data) {
  struct anas_code *code = d->code;
  int64_t channels = d->nest->extent[d->lane], whole = channels / d->lanes * d->lanes;
  if (whole > 0) {
    d->active = d->lanes;
    MlirValue vectors = anas_code_index(code, whole / d->lanes);
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, vectors, 1, 0, NULL);
    emit(d, anas_depthwise_move(d, place, d->lane, d->lanes, scope.iv), data);
    anas_code_end(code, &scope, 0, NULL);
  }
  if (whole == channels) return;
  d->active = (int)(channels - whole);
  emit(d, anas_depthwise_skip(d, place, d->lane, d->lanes, whole / d->lanes), data);
}

void anas_depthwise_fill_points(struct anas_depthwise *d, struct anas_depthwise_place place, void *data) {
  (void)data;
  int64_t out_at[ANAS_DEPTHWISE_POINTS];
  MlirValue fill = anas_code_splat(d->code, anas_code_vector(d->lanes, d->code->f32), d->nest->operand[d->out].fill);
  for (int i = 0; i < d->num_points; i++)
    d->tile[d->point[i]] = d->nest->extent[d->point[i]];
  int taps = anas_depthwise_offsets(d, d->out, d->point, d->num_points, out_at);
  for (int i = 0; i < d->num_points; i++)
    d->tile[d->point[i]] = 1;
  for (int i = 0; i < taps; i++)
    anas_depthwise_store(d, &place, fill, out_at[i]);
}

struct anas_depthwise_place anas_depthwise_outer(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                 MlirValue iv, int64_t *out_range) {
  struct anas_code *code = d->code;
  MlirValue left = iv;
  *out_range = 1;
  for (int i = d->num_outer - 1; i >= 0; i--) {
    int loop = d->outer[i];
    MlirValue size = anas_code_index(code, d->nest->extent[loop]);
    MlirValue digit = i > 0 ? anas_code_binary(code, "arith.remui", left, size) : left;
    if (i > 0) left = anas_code_binary(code, "arith.divui", left, size);
    place = anas_depthwise_move(d, place, loop, 1, digit);
    *out_range *= d->nest->extent[loop];
  }
  return place;
}
