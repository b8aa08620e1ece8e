// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code of a planned contraction: range digits, fill, levels, reduction blocks, rows of the chunk, register tile.
#include "passes/cpu/contraction.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

#define MAX_TILE 64
#define MAX_PREFETCHES 256
#define MAX_RUN 256 // steps for which rows are asked for at once
#define LINE 16     // elements of a cache line

struct emitter {
  struct anas_code *code;
  const struct anas_contraction *plan;
  MlirValue begin, end; // the range
  MlirValue streamed;   // sum of the indices of the stream loops, null: there are none
  MlirValue flat[ANAS_CPU_OPERANDS];
  MlirValue packed_a, packed_b; // the copies, null if there are none
  MlirValue source_a;           // A itself
  bool fetching;                // the tile fetches A of the next item
  MlirValue chunk_lower;        // null: the chunk loop starts at 0 and is not cut
  MlirValue lane_step;          // null: the only one
  // The tile being emitted.
  int vectors;
  int last_lanes; // active lanes of the last vector
  int64_t rows[ANAS_CPU_LOOPS];
  int64_t ahead;         // in A: to the rows that come later; 0: not known
  MlirValue first_block; // i1: no reduction block came before; null: there is only one
  MlirValue k_count;     // steps of loop k_split in this block; null: k_block
};

struct place {
  struct anas_address a, b, c;
  struct anas_address fetch; // in A: what the tile fetches, moved by rows only
};

static struct place move(const struct emitter *e, struct place place, int loop, MlirValue iv, int64_t scale) {
  const struct anas_contraction *plan = e->plan;
  const struct anas_cpu_operand *operand = plan->nest->operand;
  place.a = anas_address_step(e->code, place.a, iv, operand[plan->a].stride[loop] * scale);
  place.b = anas_address_step(e->code, place.b, iv, operand[plan->b].stride[loop] * scale);
  place.c = anas_address_step(e->code, place.c, iv, operand[plan->c].stride[loop] * scale);
  if (e->fetching && loop == plan->row[0])
    place.fetch = anas_address_step(e->code, place.fetch, iv, plan->nest->extent[plan->k[0]] * scale);
  return place;
}

// ---- register tile

static int64_t vector_offset(const struct emitter *e, int o, int v) {
  const struct anas_contraction *plan = e->plan;
  return plan->spread < 0 ? (int64_t)v * plan->lanes : v * plan->nest->operand[o].stride[plan->spread];
}

// Whether vector v is the first in a cache line.
static bool begins_line(const struct emitter *e, int v) {
  return e->plan->spread >= 0 || v * e->plan->lanes % LINE == 0;
}

static int active(const struct emitter *e, int v) {
  return v == e->vectors - 1 || e->plan->spread >= 0 ? e->last_lanes : e->plan->lanes;
}

// Offsets of the rows of a tile in operand o; returns how many rows there are.
static int row_offsets(const struct emitter *e, int o, int64_t *out) {
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
static void prefetch_rows(struct emitter *e, struct anas_address a, int rows, const int64_t *row_a, int64_t count,
                          int64_t ahead) {
  int64_t asked[MAX_PREFETCHES];
  int num = 0;
  for (int r = 0; r < rows; r++)
    for (int64_t i = 0; i < count; i += LINE) {
      bool known = false;
      for (int j = 0; j < num && !known; j++)
        known = asked[j] > row_a[r] + i - LINE && asked[j] < row_a[r] + i + LINE;
      if (known || num == MAX_PREFETCHES) continue;
      asked[num++] = row_a[r] + i;
      anas_code_prefetch(e->code, e->flat[e->plan->a], anas_address_offset(a, row_a[r] + i + ahead), false);
    }
}

// What the same step will use in the next block of a stream.
static void prefetch_stream(struct emitter *e, struct place place, int rows, const int64_t *row_a) {
  const struct anas_contraction *plan = e->plan;
  const struct anas_cpu_operand *operand = plan->nest->operand;
  int loop = plan->k[plan->stream - 1];
  prefetch_rows(e, place.a, rows, row_a, 1, operand[plan->a].stride[loop]);
  for (int v = 0; v < e->vectors; v++) {
    int64_t offset = vector_offset(e, plan->b, v) + operand[plan->b].stride[loop];
    if (begins_line(e, v)) anas_code_prefetch(e->code, e->flat[plan->b], anas_address_offset(place.b, offset), false);
  }
}

static void emit_products(struct emitter *e, struct place place, int rows, const int64_t *row_a,
                          MlirValue *accumulator) {
  struct anas_code *code = e->code;
  const struct anas_contraction *plan = e->plan;
  MlirType type = anas_code_vector(plan->lanes, code->f32);
  MlirValue b[MAX_TILE];
  for (int v = 0; v < e->vectors; v++) {
    struct anas_address at = anas_address_offset(place.b, vector_offset(e, plan->b, v));
    b[v] = anas_code_vector_load(code, e->flat[plan->b], at, type, active(e, v));
  }
  if (plan->stream && !plan->panels) prefetch_stream(e, place, rows, row_a);
  for (int r = 0; r < rows; r++) {
    MlirValue scalar = anas_code_load(code, e->flat[plan->a], anas_address_offset(place.a, row_a[r]));
    MlirValue vector = anas_code_broadcast(code, scalar, plan->lanes);
    for (int v = 0; v < e->vectors; v++) {
      MlirValue *sum = &accumulator[r * e->vectors + v];
      *sum = anas_code_fma(code, vector, b[v], *sum);
    }
  }
}

// Reduction loops k[level..] of one block.
static void emit_reduction(struct emitter *e, int level, struct place place, int rows, const int64_t *row_a,
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
      struct place at = place;
      at.a.offset += i * plan->nest->operand[plan->a].stride[loop];
      at.b.offset += i * plan->nest->operand[plan->b].stride[loop];
      emit_reduction(e, level + 1, at, rows, row_a, accumulator);
    }
    return;
  }
  bool run = level == plan->num_k - 1 && plan->nest->operand[plan->a].stride[loop] == 1;
  if (run && e->ahead && count <= MAX_RUN) prefetch_rows(e, place.a, rows, row_a, count, e->ahead);
  MlirValue upper = dynamic ? e->k_count : anas_code_index(code, count);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, num, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_iter(&scope, i);
  if (e->fetching && level == plan->num_k - 1)
    anas_code_prefetch(code, e->source_a, anas_address_step(code, place.fetch, scope.iv, plan->tile[plan->row[0]]),
                       false);
  emit_reduction(e, level + 1, move(e, place, loop, scope.iv, 1), rows, row_a, accumulator);
  anas_code_end(code, &scope, num, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_result(&scope, i);
}

static struct anas_address tile_element(const struct emitter *e, struct place place, const int64_t *row_c, int i) {
  int64_t offset = row_c[i / e->vectors] + vector_offset(e, e->plan->c, i % e->vectors);
  return anas_address_offset(place.c, offset);
}

// Stores the sums, or adds them to C.
static void store_tile(struct emitter *e, struct place place, int rows, const int64_t *row_c, const MlirValue *sums,
                       bool add) {
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
static void emit_tile(struct emitter *e, struct place place) {
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
  for (int i = 0; i < num; i++) {
    sum[i] = blocks ? zero : fill;
    if (!blocks && begins_line(e, i % e->vectors)) // if not this result, then that of the next item
      anas_code_prefetch(code, e->flat[plan->c], anas_address_offset(tile_element(e, place, row_c, i), plan->fetch_c),
                         true);
  }
  emit_reduction(e, plan->k_split, place, rows, row_a, sum);
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

// ---- rows and reduction blocks

static void emit_rows(struct emitter *e, int position, struct place place) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  if (position >= plan->num_rows) {
    emit_tile(e, place);
    return;
  }
  int loop = plan->row[position];
  int64_t extent = plan->nest->extent[loop], tile = plan->tile[loop], whole = extent - extent % tile;
  bool cut = position == plan->chunk_at && !mlirValueIsNull(e->chunk_lower);
  MlirValue lower = {0}, upper = anas_code_index(code, whole), chunk_upper = {0};
  if (cut) {
    lower = e->chunk_lower;
    chunk_upper = anas_code_add_const(code, lower, plan->chunk_rows);
    upper = extent % plan->chunk_rows == 0 && whole == extent ? chunk_upper : anas_code_min(code, chunk_upper, upper);
  }
  e->rows[loop] = tile;
  if (whole == tile && !cut) {
    emit_rows(e, position + 1, place);
  } else if (whole > 0) {
    struct anas_code_scope scope = anas_code_for(code, lower, upper, tile, 0, NULL);
    emit_rows(e, position + 1, move(e, place, loop, scope.iv, 1));
    anas_code_end(code, &scope, 0, NULL);
  }
  if (whole == extent) return;
  struct anas_code_scope branch = {0};
  if (cut) {
    MlirValue last = anas_code_compare(code, false, ANAS_CMPI_SGE, chunk_upper, anas_code_index(code, extent));
    branch = anas_code_if(code, last, false);
  }
  e->rows[loop] = extent - whole;
  emit_rows(e, position + 1, move(e, place, loop, anas_code_index(code, whole), 1));
  if (cut) anas_code_end(code, &branch, 0, NULL);
}

// The rows of a chunk in one reduction block, from copies of A and B if the plan says so.
static void emit_chunk(struct emitter *e, struct place place) {
  const struct anas_contraction *plan = e->plan;
  e->fetching = plan->fetch_a;
  e->source_a = e->flat[plan->a];
  if (plan->fetch_a)
    place.fetch = anas_address_offset(place.a, plan->nest->operand[plan->a].stride[plan->batch[plan->num_batch - 1]]);
  if (!plan->pack_a && !plan->pack_b) {
    emit_rows(e, plan->num_rows > 0 ? plan->chunk_at : 0, place);
    e->fetching = false;
    return;
  }
  struct anas_cpu_nest nest = *plan->nest; // strides of the copies
  struct anas_contraction inner = *plan;
  MlirValue a = e->flat[plan->a], b = e->flat[plan->b];
  int k = plan->k[plan->k_split];
  inner.nest = &nest;
  if (plan->pack_b) {
    anas_contraction_pack_b(e->code, plan, b, place.b, e->packed_b, e->vectors, e->last_lanes, e->k_count);
    nest.operand[plan->b].stride[k] = (int64_t)e->vectors * plan->lanes;
    e->flat[plan->b] = e->packed_b;
    place.b = (struct anas_address){{0}, 0};
  }
  if (plan->pack_a) {
    anas_contraction_pack_a(e->code, plan, a, place.a, e->packed_a, e->chunk_lower, e->k_count);
    nest.operand[plan->a].stride[k] = plan->a_pitch;
    nest.operand[plan->a].stride[plan->row[0]] = plan->a_stride;
    e->flat[plan->a] = e->packed_a;
    place.a = anas_address_step(e->code, (struct anas_address){{0}, 0}, e->chunk_lower, -plan->a_stride);
  }
  e->plan = &inner;
  emit_rows(e, plan->num_rows > 0 ? plan->chunk_at : 0, place);
  e->plan = plan;
  e->fetching = false;
  e->flat[plan->a] = a;
  e->flat[plan->b] = b;
}

// Reduction loops outside the rows. done: sum of the block indices so far, null if there was no such loop.
static void emit_blocks(struct emitter *e, int level, struct place place, MlirValue done) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  int64_t extent = plan->num_k > level ? plan->nest->extent[plan->k[level]] : 1;
  bool is_split = level == plan->k_split;
  e->k_count = (MlirValue){0};
  if (is_split && plan->k_block >= extent) {
    e->first_block = mlirValueIsNull(done)
                         ? (MlirValue){0}
                         : anas_code_compare(code, false, ANAS_CMPI_EQ, done, anas_code_index(code, 0));
    emit_chunk(e, place);
    return;
  }
  int64_t step = is_split ? plan->k_block : 1;
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, extent), step, 0, NULL);
  place = move(e, place, plan->k[level], scope.iv, 1);
  done = anas_code_add(code, done, scope.iv);
  if (!is_split) {
    emit_blocks(e, level + 1, place, done);
  } else {
    if (extent % step != 0) {
      MlirValue left = anas_code_binary(code, "arith.subi", anas_code_index(code, extent), scope.iv);
      e->k_count = anas_code_min(code, left, anas_code_index(code, step));
    }
    e->first_block = anas_code_compare(code, false, ANAS_CMPI_EQ, done, anas_code_index(code, 0));
    emit_chunk(e, place);
  }
  anas_code_end(code, &scope, 0, NULL);
}

// ---- levels

static struct place enter_level(struct emitter *e, struct place place, const struct anas_level *level,
                                MlirValue index) {
  const struct anas_contraction *plan = e->plan;
  switch (level->kind) {
  case ANAS_LEVEL_BATCH: return move(e, place, level->loop, index, 1);
  case ANAS_LEVEL_ROWS: return move(e, place, level->loop, index, plan->tile[level->loop]);
  case ANAS_LEVEL_COLUMN: return move(e, place, level->loop, index, level->loop == plan->spread ? plan->vectors : 1);
  case ANAS_LEVEL_LANE:
    e->lane_step = index;
    return move(e, place, level->loop, index, (int64_t)plan->vectors * plan->lanes);
  case ANAS_LEVEL_CHUNK:
    if (level->count > 1) e->chunk_lower = anas_code_mul_const(e->code, index, plan->chunk_rows);
    return place;
  }
  return place;
}

// Whole and partial column tiles are separate code.
static void emit_columns(struct emitter *e, struct place place) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  int64_t extent = plan->nest->extent[plan->lane], step = (int64_t)plan->vectors * plan->lanes;
  if (plan->spread >= 0) {
    e->vectors = plan->vectors;
    e->last_lanes = (int)extent;
    emit_blocks(e, plan->stream, place, e->streamed);
    return;
  }
  int64_t whole = extent / step, left = extent % step;
  struct anas_code_scope branch = {0};
  if (whole > 0) {
    if (left > 0) {
      MlirValue is_whole = anas_code_compare(code, false, ANAS_CMPI_SLT, e->lane_step, anas_code_index(code, whole));
      branch = anas_code_if(code, is_whole, true);
    }
    e->vectors = plan->vectors;
    e->last_lanes = plan->lanes;
    emit_blocks(e, plan->stream, place, e->streamed);
    if (left > 0) anas_code_else(code, &branch);
  }
  if (left == 0) return;
  e->vectors = (int)((left + plan->lanes - 1) / plan->lanes);
  e->last_lanes = (int)(left - (int64_t)(e->vectors - 1) * plan->lanes);
  emit_blocks(e, plan->stream, place, e->streamed);
  if (whole > 0) anas_code_end(code, &branch, 0, NULL);
}

static void emit_inner(struct emitter *e, int level, struct place place) {
  const struct anas_contraction *plan = e->plan;
  if (level == plan->num_inner) {
    emit_columns(e, place);
    return;
  }
  const struct anas_level *inner = &plan->inner[level];
  struct anas_code_scope scope =
      anas_code_for(e->code, (MlirValue){0}, anas_code_index(e->code, inner->count), 1, 0, NULL);
  emit_inner(e, level + 1, enter_level(e, place, inner, scope.iv));
  anas_code_end(e->code, &scope, 0, NULL);
}

static void emit_fill(struct emitter *e, MlirValue p) {
  const struct anas_contraction *plan = e->plan;
  MlirValue flat[ANAS_CPU_OPERANDS];
  for (int o = 0; o < plan->nest->num_operands; o++)
    flat[o] = e->flat[o];
  MlirValue lower = p, upper = p;
  if (plan->fill_loop >= 0) {
    bool chunk = plan->outer[0].kind == ANAS_LEVEL_CHUNK;
    int64_t rows = chunk ? plan->chunk_rows : 1, extent = plan->nest->extent[plan->fill_loop];
    lower = anas_code_mul_const(e->code, p, rows);
    upper = anas_code_min(e->code, anas_code_add_const(e->code, lower, rows), anas_code_index(e->code, extent));
  }
  anas_cpu_fill(e->code, plan->nest, flat, plan->fill_loop, lower, upper);
}

static void emit_range(struct emitter *e, struct place place) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  struct anas_code_scope scope = anas_code_for(code, e->begin, e->end, 1, 0, NULL);
  MlirValue digit[ANAS_CPU_LOOPS], left = scope.iv;
  for (int i = plan->num_outer - 1; i >= 0; i--) {
    MlirValue size = anas_code_index(code, plan->outer[i].count);
    digit[i] = i > 0 ? anas_code_binary(code, "arith.remui", left, size) : left;
    if (i > 0) left = anas_code_binary(code, "arith.divui", left, size);
  }
  for (int i = 0; i < plan->num_outer; i++)
    place = enter_level(e, place, &plan->outer[i], digit[i]);
  if (anas_cpu_needs_fill(plan->nest)) emit_fill(e, scope.iv);
  emit_inner(e, 0, place);
  anas_code_end(code, &scope, 0, NULL);
}

static void emit_stream(struct emitter *e, int level, struct place place) {
  const struct anas_contraction *plan = e->plan;
  if (level == plan->stream) {
    emit_range(e, place);
    return;
  }
  int loop = plan->k[level];
  struct anas_code_scope scope =
      anas_code_for(e->code, (MlirValue){0}, anas_code_index(e->code, plan->nest->extent[loop]), 1, 0, NULL);
  e->streamed = anas_code_add(e->code, e->streamed, scope.iv);
  emit_stream(e, level + 1, move(e, place, loop, scope.iv, 1));
  anas_code_end(e->code, &scope, 0, NULL);
}

void anas_contraction_emit(struct anas_code *code, const struct anas_contraction *plan, MlirValue begin,
                           MlirValue end) {
  struct emitter e = {.code = code, .plan = plan, .begin = begin, .end = end};
  memcpy(e.rows, plan->tile, sizeof e.rows);
  const struct anas_cpu_operand *operand = plan->nest->operand;
  for (int o = 0; o < plan->nest->num_operands; o++)
    e.flat[o] = anas_code_flatten(code, operand[o].memref, operand[o].elements, operand[o].element);
  if (plan->num_rows > 0 && !plan->stream && !plan->pack_a && !plan->fetch_a) {
    int loop = plan->row[plan->chunk_at];
    e.ahead = operand[plan->a].stride[loop] * plan->tile[loop];
  }
  struct place place = {
      .a = {{0}, operand[plan->a].offset}, .b = {{0}, operand[plan->b].offset}, .c = {{0}, operand[plan->c].offset}};
  if (plan->pack_a) e.packed_a = anas_contraction_stack(code, plan->a_elements);
  if (plan->pack_b) e.packed_b = anas_contraction_stack(code, plan->b_elements);
  emit_stream(&e, 0, place);
}
