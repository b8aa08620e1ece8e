// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code of a contraction's register tile: prefetches, the reduction in registers, results.
#include "passes/cpu/contraction_emit.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>

#define MAX_TILE 64
#define MAX_PREFETCHES 256
#define NEAR_BYTES 32768  // of a panel of B that stays in the first cache
#define PANEL_AHEAD 16    // steps
#define MIN_PANEL_TILE 12 // products a step that leave room for asking
#define MAX_RUN 256       // steps for which rows are asked for at once

struct anas_place anas_emitter_move(const struct anas_emitter *e, struct anas_place place, int loop, MlirValue iv,
                                    int64_t scale) {
  const struct anas_contraction *plan = e->plan;
  const struct anas_cpu_operand *operand = plan->nest->operand;
  place.a = anas_address_step(e->code, place.a, iv, operand[plan->a].stride[loop] * scale);
  place.b = anas_address_step(e->code, place.b, iv, operand[plan->b].stride[loop] * scale);
  place.c = anas_address_step(e->code, place.c, iv, operand[plan->c].stride[loop] * scale);
  if (plan->num_rows == 1 && loop == plan->row[0])
    place.next = anas_address_step(e->code, place.next, iv, e->nest->operand[plan->a].stride[loop] * scale);
  return place;
}

// ---- register tile

static int64_t vector_offset(const struct anas_emitter *e, int o, int v) {
  const struct anas_contraction *plan = e->plan;
  return plan->spread < 0 ? (int64_t)v * plan->lanes : v * plan->nest->operand[o].stride[plan->spread];
}

// Whether vector v is the first in a cache line.
static bool begins_line(const struct anas_emitter *e, int v) {
  return e->plan->spread >= 0 || v * e->plan->lanes % ANAS_LINE == 0;
}

static int active(const struct anas_emitter *e, int v) {
  return v == e->vectors - 1 || e->plan->spread >= 0 ? e->last_lanes : e->plan->lanes;
}

// Offsets of the rows of a tile in operand o; returns how many rows there are.
static int row_offsets(const struct anas_emitter *e, int o, int64_t *out) {
  const struct anas_contraction *plan = e->plan;
  int num = 1;
  out[0] = 0;
  for (int i = 0; i < plan->num_rows; i++) {
    int loop = plan->row[i], before = num;
    bool packed = o == plan->a && plan->pack_a;
    int64_t tile = e->rows[loop], stride = packed ? 1 : plan->nest->operand[o].stride[loop];
    // The slowest loop stays outermost in the numbering, so that neighbours in memory are neighbours in the tile.
    for (int r = before - 1; r >= 0; r--)
      for (int64_t t = tile - 1; t >= 0; t--)
        out[r * tile + t] = out[r] + t * stride;
    num = before * (int)tile;
  }
  return num;
}

// Asks for the lines of `count` consecutive elements of every row of A, `ahead` elements on.
static void prefetch_rows(struct anas_emitter *e, struct anas_address a, int rows, const int64_t *row_a, int64_t count,
                          int64_t ahead) {
  int64_t asked[MAX_PREFETCHES];
  int num = 0;
  for (int r = 0; r < rows; r++)
    for (int64_t i = 0; i < count; i += ANAS_LINE) {
      bool known = false;
      for (int j = 0; j < num && !known; j++)
        known = asked[j] > row_a[r] + i - ANAS_LINE && asked[j] < row_a[r] + i + ANAS_LINE;
      if (known || num == MAX_PREFETCHES) continue;
      asked[num++] = row_a[r] + i;
      anas_code_prefetch(e->code, e->flat[e->plan->a], anas_address_offset(a, row_a[r] + i + ahead), false);
    }
}

// What the same step will use in the next block of a stream.
static void prefetch_stream(struct anas_emitter *e, struct anas_place place, int rows, const int64_t *row_a) {
  const struct anas_contraction *plan = e->plan;
  const struct anas_cpu_operand *operand = plan->nest->operand;
  int loop = plan->k[plan->stream - 1];
  prefetch_rows(e, place.a, rows, row_a, 1, operand[plan->a].stride[loop]);
  for (int v = 0; v < e->vectors; v++) {
    int64_t offset = vector_offset(e, plan->b, v) + operand[plan->b].stride[loop];
    if (begins_line(e, v)) anas_code_prefetch(e->code, e->flat[plan->b], anas_address_offset(place.b, offset), false);
  }
}

// C is filled slab by slab, each before the work item that it belongs to. The slab of the next item is filled while one
// is computed, a line in every step, so that storing does not hold up multiplying: up to fill_limit, from `filler`[0]
// on, which every tile moves.
static void fill_line(struct anas_emitter *e) {
  struct anas_code *code = e->code;
  const struct anas_contraction *plan = e->plan;
  MlirValue behind = anas_code_add_const(code, e->fill_at, ANAS_LINE);
  struct anas_code_scope scope =
      anas_code_if(code, anas_code_compare(code, false, ANAS_CMPI_SLE, behind, e->fill_limit), false);
  MlirValue fill = anas_code_splat(code, anas_code_vector(plan->lanes, code->f32), plan->nest->operand[plan->c].fill);
  for (int i = 0; i < ANAS_LINE; i += plan->lanes)
    anas_code_vector_store(code, fill, e->flat[plan->c], (struct anas_address){e->fill_at, i}, plan->lanes);
  anas_code_end(code, &scope, 0, NULL);
}

// Steps of the reduction in the loops k[level..] of one block.
static int64_t block_steps(const struct anas_contraction *plan, int level) {
  int64_t steps = 1;
  for (int i = level; i < plan->num_k; i++)
    steps *= i == plan->k_split ? plan->k_block : plan->nest->extent[plan->k[i]];
  return steps;
}

// A panel of B that the first cache cannot hold beside A comes from the second one again for every tile of rows, step
// by step.
static void prefetch_panel(struct anas_emitter *e, struct anas_place place, int rows) {
  const struct anas_contraction *plan = e->plan;
  int64_t width = (int64_t)e->vectors * plan->lanes;
  if (plan->num_k <= plan->stream || plan->spread >= 0 || rows * e->vectors < MIN_PANEL_TILE ||
      plan->nest->operand[plan->b].stride[plan->k[plan->num_k - 1]] != width ||
      block_steps(plan, plan->k_split) * width * (int64_t)sizeof(float) <= NEAR_BYTES)
    return;
  for (int v = 0; v < e->vectors; v++)
    if (begins_line(e, v))
      anas_code_prefetch_near(e->code, e->flat[plan->b],
                              anas_address_offset(place.b, PANEL_AHEAD * width + (int64_t)v * plan->lanes));
}

static void emit_products(struct anas_emitter *e, struct anas_place place, int rows, const int64_t *row_a,
                          MlirValue *accumulator) {
  struct anas_code *code = e->code;
  const struct anas_contraction *plan = e->plan;
  MlirType type = anas_code_vector(plan->lanes, code->f32);
  MlirValue b[MAX_TILE];
  for (int v = 0; v < e->vectors; v++) {
    struct anas_address at = anas_address_offset(place.b, vector_offset(e, plan->b, v));
    b[v] = anas_code_vector_load(code, e->flat[plan->b], at, type, active(e, v));
  }
  prefetch_panel(e, place, rows);
  if (plan->stream && plan->fetch_parts == 0) prefetch_stream(e, place, rows, row_a);
  if (!mlirValueIsNull(e->fill_limit)) fill_line(e);
  for (int r = 0; r < rows; r++) {
    MlirValue scalar = anas_code_load(code, e->flat[plan->a], anas_address_offset(place.a, row_a[r]));
    MlirValue vector = anas_code_broadcast(code, scalar, plan->lanes);
    for (int v = 0; v < e->vectors; v++) {
      MlirValue *sum = &accumulator[r * e->vectors + v];
      *sum = plan->nest->pairs ? anas_code_multiply_pairs(code, vector, b[v], *sum)
                               : anas_code_fma(code, vector, b[v], *sum);
    }
  }
}

// Reduction loops k[level..] of one block.
static void emit_reduction(struct anas_emitter *e, int level, struct anas_place place, int rows, const int64_t *row_a,
                           MlirValue *accumulator) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  if (level >= plan->num_k) {
    emit_products(e, place, rows, row_a, accumulator);
    return;
  }
  int loop = plan->k[level], num = rows * e->vectors;
  int64_t count = level == plan->k_split ? plan->k_block : plan->nest->extent[loop];
  bool dynamic = level == plan->k_split && !mlirValueIsNull(e->k_count);
  // Short loops are unrolled, unless the scheduler could then ask for more registers than there are.
  if (!dynamic && count <= 2 && num + rows + e->vectors <= code->target->registers) {
    for (int64_t i = 0; i < count; i++) {
      struct anas_place at = place;
      at.a.offset += i * plan->nest->operand[plan->a].stride[loop];
      at.b.offset += i * plan->nest->operand[plan->b].stride[loop];
      MlirValue fill_at = e->fill_at;
      if (!mlirValueIsNull(e->fill_limit))
        e->fill_at = anas_code_add_const(code, fill_at, i * block_steps(plan, level + 1) * ANAS_LINE);
      emit_reduction(e, level + 1, at, rows, row_a, accumulator);
      e->fill_at = fill_at;
    }
    return;
  }
  bool run = level == plan->num_k - 1 && plan->nest->operand[plan->a].stride[loop] == 1;
  if (run && e->ahead && count <= MAX_RUN) prefetch_rows(e, place.a, rows, row_a, count, e->ahead);
  MlirValue upper = dynamic ? e->k_count : anas_code_index(code, count);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, num, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_iter(&scope, i);
  MlirValue fill_at = e->fill_at;
  if (!mlirValueIsNull(e->fill_limit))
    e->fill_at =
        anas_code_add(code, fill_at, anas_code_mul_const(code, scope.iv, block_steps(plan, level + 1) * ANAS_LINE));
  emit_reduction(e, level + 1, anas_emitter_move(e, place, loop, scope.iv, 1), rows, row_a, accumulator);
  e->fill_at = fill_at;
  anas_code_end(code, &scope, num, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_result(&scope, i);
}

// `count` steps of the only reduction loop of a tile, from step `first` on.
static void emit_steps(struct anas_emitter *e, struct anas_place place, MlirValue first, int64_t offset, int64_t count,
                       int rows, const int64_t *row_a, MlirValue *accumulator) {
  struct anas_code *code = e->code;
  int loop = e->plan->k[e->plan->k_split], num = rows * e->vectors;
  place = anas_emitter_move(e, place, loop, first, 1);
  place = anas_emitter_move(e, place, loop, anas_code_index(code, offset), 1);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, count), 1, num, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_iter(&scope, i);
  emit_products(e, anas_emitter_move(e, place, loop, scope.iv, 1), rows, row_a, accumulator);
  anas_code_end(code, &scope, num, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_result(&scope, i);
}

// The same reduction, in segments that begin with fetches.
static void emit_segments(struct anas_emitter *e, struct anas_place place, int64_t segments, int num_fetches,
                          const struct anas_fetch *fetch, int rows, const int64_t *row_a, MlirValue *accumulator) {
  struct anas_code *code = e->code;
  int num = rows * e->vectors;
  int64_t length = e->plan->k_block / segments, left = e->plan->k_block - length * segments;
  struct anas_code_scope scope =
      anas_code_for(code, (MlirValue){0}, anas_code_index(code, segments), 1, num, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_iter(&scope, i);
  for (int i = 0; i < num_fetches; i++)
    anas_fetch_emit(e, &fetch[i], scope.iv);
  emit_steps(e, place, anas_code_mul_const(code, scope.iv, length), 0, length, rows, row_a, accumulator);
  anas_code_end(code, &scope, num, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_result(&scope, i);
  if (left > 0) emit_steps(e, place, (MlirValue){0}, length * segments, left, rows, row_a, accumulator);
}

static struct anas_address tile_element(const struct anas_emitter *e, struct anas_place place, const int64_t *row_c,
                                        int i) {
  int64_t offset = row_c[i / e->vectors] + vector_offset(e, e->plan->c, i % e->vectors);
  return anas_address_offset(place.c, offset);
}

// Stores the sums, or adds them to C.
static void store_tile(struct anas_emitter *e, struct anas_place place, int rows, const int64_t *row_c,
                       const MlirValue *sums, bool add) {
  struct anas_code *code = e->code;
  MlirType type = anas_code_vector(e->plan->lanes, code->f32);
  for (int i = 0; i < rows * e->vectors; i++) {
    struct anas_address at = tile_element(e, place, row_c, i);
    int lanes = active(e, i % e->vectors);
    MlirValue sum = sums[i];
    if (add) {
      MlirValue before = anas_code_vector_load(code, e->flat[e->plan->c], at, type, lanes);
      sum = anas_code_binary(code, "arith.addf", before, sum);
    }
    anas_code_vector_store(code, sum, e->flat[e->plan->c], at, lanes);
  }
}

// What is in C is added behind the reduction, so that nothing waits for it.
void anas_emitter_tile(struct anas_emitter *e, struct anas_place place) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  int64_t row_a[MAX_TILE], row_c[MAX_TILE];
  int rows = row_offsets(e, plan->a, row_a), num = rows * e->vectors;
  row_offsets(e, plan->c, row_c);
  const struct anas_cpu_operand *c = &plan->nest->operand[plan->c];
  MlirType type = anas_code_vector(plan->lanes, code->f32);
  MlirValue zero = anas_code_splat_f32(code, plan->lanes, 0), sum[MAX_TILE];
  MlirValue fill = c->filled ? anas_code_splat(code, type, c->fill) : zero;
  bool blocks = !mlirValueIsNull(e->first_block);
  bool filling = !mlirValueIsNull(e->fill_limit);
  int64_t segments = 1;
  if (plan->num_k == plan->k_split + 1 && (!plan->stream || plan->fetch_parts > 0) && !filling &&
      mlirValueIsNull(e->k_count))
    segments = anas_fetch_segments(e, plan->k_block);
  struct anas_fetch fetch[3];
  int num_fetches = 0;
  int64_t vector_c[MAX_TILE], vector_b[MAX_TILE];
  for (int v = 0; v < e->vectors; v++) {
    vector_c[v] = begins_line(e, v) ? vector_offset(e, plan->c, v) : -1;
    vector_b[v] = begins_line(e, v) ? vector_offset(e, plan->b, v) : -1;
  }
  if (!blocks || (plan->stream && plan->fetch_parts > 0))
    fetch[num_fetches++] = anas_fetch_c(e, place.c, rows, row_c, vector_c, segments);
  if (plan->fetch_parts > 0) fetch[num_fetches++] = anas_fetch_a(e, place.next, segments);
  if (plan->fetch_b_parts > 0) fetch[num_fetches++] = anas_fetch_b(e, vector_b, segments);
  for (int i = 0; i < num; i++)
    sum[i] = blocks ? zero : fill;
  if (filling) e->fill_at = anas_code_load(code, e->filler, (struct anas_address){0});
  if (segments > 1) {
    emit_segments(e, place, segments, num_fetches, fetch, rows, row_a, sum);
  } else {
    for (int i = 0; i < num_fetches; i++)
      anas_fetch_emit(e, &fetch[i], (MlirValue){0});
    emit_reduction(e, plan->k_split, place, rows, row_a, sum);
  }
  if (filling)
    anas_code_store(code, anas_code_add_const(code, e->fill_at, block_steps(plan, plan->k_split) * ANAS_LINE),
                    e->filler, (struct anas_address){0});
  if (!c->filled || !blocks) {
    store_tile(e, place, rows, row_c, sum, !c->filled);
    return;
  }
  struct anas_code_scope branch = anas_code_if(code, e->first_block, true);
  MlirValue filled[MAX_TILE];
  for (int i = 0; i < num; i++)
    filled[i] = mlirValueEqual(fill, zero) ? sum[i] : anas_code_binary(code, "arith.addf", fill, sum[i]);
  store_tile(e, place, rows, row_c, filled, false);
  anas_code_else(code, &branch);
  store_tile(e, place, rows, row_c, sum, true);
  anas_code_end(code, &branch, 0, NULL);
}
