// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Register tiles of depthwise convolutions and of their gradients.
#include "passes/cpu/depthwise.h"

#define LINE 16 // elements of a cache line

struct anas_depthwise_place anas_depthwise_move(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                int loop, int64_t tile, MlirValue iv) {
  for (int o = 0; o < 3; o++) {
    int64_t stride = d->nest->operand[o].stride[loop] * tile;
    place.at[o] = anas_address_step(d->code, place.at[o], iv, stride);
    if (d->fetch_lines[o] == 0) continue;
    int64_t step = d->fetch_step[o][loop];
    place.fetch[o] = anas_address_step(d->code, place.fetch[o], iv, step ? step : stride);
  }
  return place;
}

struct anas_depthwise_place anas_depthwise_skip(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                int loop, int64_t tile, int64_t tiles) {
  for (int o = 0; o < 3; o++) {
    int64_t stride = d->nest->operand[o].stride[loop] * tile, step = d->fetch_step[o][loop];
    place.at[o].offset += tiles * stride;
    place.fetch[o].offset += tiles * (step ? step : stride);
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
    const int64_t *stride = d->nest->operand[o].stride;
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

// The smallest sum of two offsets above `above`; false if there is none.
static bool next_offset(int num_a, const int64_t *a, int num_b, const int64_t *b, bool first, int64_t *above) {
  bool found = false;
  int64_t next = 0;
  for (int i = 0; i < num_a; i++)
    for (int j = 0; j < num_b; j++) {
      int64_t offset = a[i] + b[j];
      if ((!first && offset <= *above) || (found && offset >= next)) continue;
      next = offset;
      found = true;
    }
  *above = next;
  return found;
}

void anas_depthwise_products(const struct anas_depthwise *d, const struct anas_depthwise_place *place, int num_sums,
                             const int64_t *sum_at, MlirValue *sum, int num_factors, const int64_t *factor_at,
                             const MlirValue *factor) {
  int64_t offset = 0;
  for (bool first = true; next_offset(num_sums, sum_at, num_factors, factor_at, first, &offset); first = false) {
    MlirValue dense = anas_depthwise_load(d, place, d->dense, offset);
    for (int i = 0; i < num_sums; i++)
      for (int j = 0; j < num_factors; j++)
        if (sum_at[i] + factor_at[j] == offset) sum[i] = anas_code_fma(d->code, dense, factor[j], sum[i]);
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
