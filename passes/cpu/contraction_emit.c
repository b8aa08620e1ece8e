// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code of a planned contraction: streams, range digits, fill, levels, reduction blocks, rows of the chunk. The register
// tile is in contraction_body.c.
#include "passes/cpu/contraction_emit.h"

#include <string.h>

// ---- rows and reduction blocks

static void emit_rows(struct anas_emitter *e, int position, struct anas_place place) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  if (position >= plan->num_rows) {
    anas_emitter_tile(e, place);
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
    e->row_index = scope.iv;
    emit_rows(e, position + 1, anas_emitter_move(e, place, loop, scope.iv, 1));
    anas_code_end(code, &scope, 0, NULL);
  }
  e->row_index = (MlirValue){0};
  if (whole == extent) return;
  struct anas_code_scope branch = {0};
  if (cut) {
    MlirValue last = anas_code_compare(code, false, ANAS_CMPI_SGE, chunk_upper, anas_code_index(code, extent));
    branch = anas_code_if(code, last, false);
  }
  e->rows[loop] = extent - whole;
  emit_rows(e, position + 1, anas_emitter_move(e, place, loop, anas_code_index(code, whole), 1));
  if (cut) anas_code_end(code, &branch, 0, NULL);
}

// The rows of a chunk in one reduction block, from copies of A and B if the plan says so.
static void emit_chunk(struct anas_emitter *e, struct anas_place place) {
  const struct anas_contraction *plan = e->plan;
  e->source_a = e->flat[plan->a];
  e->source_b = e->flat[plan->b];
  if (!plan->pack_a && !plan->pack_b) {
    emit_rows(e, plan->num_rows > 0 ? plan->chunk_at : 0, place);
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
    if (!plan->panels) anas_contraction_pack_a(e->code, plan, a, place.a, e->packed_a, e->chunk_lower, e->k_count);
    nest.operand[plan->a].stride[k] = plan->a_pitch;
    nest.operand[plan->a].stride[plan->row[0]] = plan->a_stride;
    e->flat[plan->a] = e->packed_a;
    place.a = anas_address_step(e->code, (struct anas_address){{0}, 0}, e->chunk_lower, -plan->a_stride);
  }
  e->plan = &inner;
  emit_rows(e, plan->num_rows > 0 ? plan->chunk_at : 0, place);
  e->plan = plan;
  e->flat[plan->a] = a;
  e->flat[plan->b] = b;
}

// Reduction loops outside the rows. done: sum of the block indices so far, null if there was no such loop.
static void emit_blocks(struct anas_emitter *e, int level, struct anas_place place, MlirValue done) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  int64_t extent = plan->num_k > level ? plan->nest->extent[plan->k[level]] : 1;
  bool is_split = level == plan->k_split;
  e->k_count = e->block_start = (MlirValue){0};
  if (is_split && plan->k_block >= extent) {
    e->first_block = mlirValueIsNull(done)
                         ? (MlirValue){0}
                         : anas_code_compare(code, false, ANAS_CMPI_EQ, done, anas_code_index(code, 0));
    if (plan->fetch_parts > 0) place.next = anas_fetch_place(e, place.next, e->share, (MlirValue){0});
    emit_chunk(e, place);
    return;
  }
  int64_t step = is_split ? plan->k_block : 1;
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, extent), step, 0, NULL);
  struct anas_address next = place.next;
  place = anas_emitter_move(e, place, plan->k[level], scope.iv, 1);
  if (is_split && plan->fetch_parts > 0) place.next = anas_fetch_place(e, next, e->share, scope.iv);
  done = anas_code_add(code, done, scope.iv);
  if (!is_split) {
    emit_blocks(e, level + 1, place, done);
  } else {
    e->block_start = scope.iv;
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

static struct anas_place enter_level(struct anas_emitter *e, struct anas_place place, const struct anas_level *level,
                                     MlirValue index) {
  const struct anas_contraction *plan = e->plan;
  switch (level->kind) {
  case ANAS_LEVEL_BATCH: return anas_emitter_move(e, place, level->loop, index, 1);
  case ANAS_LEVEL_ROWS: return anas_emitter_move(e, place, level->loop, index, plan->tile[level->loop]);
  case ANAS_LEVEL_COLUMN:
    return anas_emitter_move(e, place, level->loop, index, level->loop == plan->spread ? plan->vectors : 1);
  case ANAS_LEVEL_LANE:
    e->lane_step = index;
    return anas_emitter_move(e, place, level->loop, index, (int64_t)plan->vectors * plan->lanes);
  case ANAS_LEVEL_CHUNK:
    if (level->count > 1) e->chunk_lower = anas_code_mul_const(e->code, index, plan->chunk_rows);
    return place;
  }
  return place;
}

// Whole and partial column tiles are separate code.
static void emit_columns(struct anas_emitter *e, struct anas_place place) {
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

static void emit_inner(struct anas_emitter *e, int level, struct anas_place place) {
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

// Bounds of the slab of work item p in C.
static void slab(struct anas_emitter *e, MlirValue p, MlirValue *out_first, MlirValue *out_last) {
  const struct anas_contraction *plan = e->plan;
  MlirValue lower = p, upper = p;
  if (plan->fill_loop >= 0) {
    bool chunk = plan->outer[0].kind == ANAS_LEVEL_CHUNK;
    int64_t rows = chunk ? plan->chunk_rows : 1, extent = plan->nest->extent[plan->fill_loop];
    lower = anas_code_mul_const(e->code, p, rows);
    upper = anas_code_min(e->code, anas_code_add_const(e->code, lower, rows), anas_code_index(e->code, extent));
  }
  anas_cpu_fill_bounds(e->code, plan->nest, plan->c, plan->fill_loop, lower, upper, out_first, out_last);
}

static void fill_slab(struct anas_emitter *e, MlirValue first, MlirValue last) {
  anas_cpu_fill_range(e->code, e->flat[e->plan->c], e->plan->nest->operand[e->plan->c].fill, first, last);
}

// Fills the slab of the first work item; the others are filled in the background.
static void begin_filling(struct anas_emitter *e) {
  struct anas_code *code = e->code;
  struct anas_code_scope scope =
      anas_code_if(code, anas_code_compare(code, false, ANAS_CMPI_SLT, e->begin, e->end), false);
  MlirValue first, last;
  slab(e, e->begin, &first, &last);
  fill_slab(e, first, last);
  anas_code_end(code, &scope, 0, NULL);
}

static void read_digits(struct anas_emitter *e, MlirValue item, MlirValue *out_digit) {
  const struct anas_contraction *plan = e->plan;
  for (int i = plan->num_outer - 1; i >= 0; i--) {
    MlirValue size = anas_code_index(e->code, plan->outer[i].count);
    out_digit[i] = i > 0 ? anas_code_binary(e->code, "arith.remui", item, size) : item;
    if (i > 0) item = anas_code_binary(e->code, "arith.divui", item, size);
  }
}

// Where the next work items that read another A than `item` find it. Rows are counted from the first of the chunk of
// this one.
static struct anas_address next_a(struct anas_emitter *e, struct anas_address a, MlirValue item,
                                  const MlirValue *digit) {
  const struct anas_contraction *plan = e->plan;
  const int64_t *stride = plan->nest->operand[plan->a].stride;
  int64_t block = plan->stream ? stride[plan->k[plan->stream - 1]] : 0;
  if (plan->stream && !plan->panels) return anas_address_offset(a, block);
  MlirValue next[ANAS_CPU_LOOPS];
  MlirValue after = anas_code_add_const(e->code, item, plan->fetch_parts);
  if (plan->stream) { // behind the last chunk comes the first one of the next block
    int64_t items = anas_contraction_range(plan);
    MlirValue last = anas_code_compare(e->code, false, ANAS_CMPI_SGE, after, anas_code_index(e->code, items));
    after = anas_code_select(e->code, last, anas_code_add_const(e->code, after, -items), after);
    MlirValue to_block = anas_code_select(e->code, last, anas_code_index(e->code, block), anas_code_index(e->code, 0));
    a = anas_address_step(e->code, a, to_block, 1);
  }
  read_digits(e, after, next);
  for (int i = 0; i < plan->num_outer; i++) {
    const struct anas_level *level = &plan->outer[i];
    if (level->kind == ANAS_LEVEL_CHUNK) {
      int64_t chunk = stride[level->loop] * plan->chunk_rows;
      a = anas_address_step(e->code, anas_address_step(e->code, a, next[i], chunk), digit[i], -chunk);
    } else if (level->kind == ANAS_LEVEL_BATCH) {
      a = anas_address_step(e->code, a, next[i], stride[level->loop]);
    }
  }
  return a;
}

// A chunk of a stream of panels is copied by the first work item of the range that reads it.
static void copy_chunk(struct anas_emitter *e, struct anas_place place, MlirValue item, const MlirValue *digit) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  MlirValue column = {0};
  for (int i = 0; i < plan->num_outer; i++)
    if (plan->outer[i].kind == ANAS_LEVEL_COLUMN || plan->outer[i].kind == ANAS_LEVEL_LANE)
      column = anas_code_add(code, column, digit[i]);
  MlirValue first = anas_code_compare(code, false, ANAS_CMPI_EQ, item, e->begin);
  if (!mlirValueIsNull(column))
    first = anas_code_binary(code, "arith.ori", first,
                             anas_code_compare(code, false, ANAS_CMPI_EQ, column, anas_code_index(code, 0)));
  struct anas_code_scope branch = anas_code_if(code, first, false);
  anas_contraction_pack_a(code, plan, e->flat[plan->a], place.a, e->packed_a, e->chunk_lower, (MlirValue){0});
  anas_code_end(code, &branch, 0, NULL);
}

// What is read next of B: the panel of the next work item, or the same place in the next block of a stream.
static struct anas_address next_b(struct anas_emitter *e, struct anas_address b, MlirValue item,
                                  const MlirValue *digit) {
  const struct anas_contraction *plan = e->plan;
  bool panel = !plan->stream || plan->panels;
  MlirValue next[ANAS_CPU_LOOPS];
  if (panel) read_digits(e, anas_code_add_const(e->code, item, 1), next);
  struct anas_place place = {.b = b};
  struct anas_emitter other = *e;
  for (int i = 0; i < plan->num_outer; i++)
    place = enter_level(&other, place, &plan->outer[i], panel ? next[i] : digit[i]);
  if (panel) return place.b;
  return anas_address_offset(place.b, plan->nest->operand[plan->b].stride[plan->k[plan->stream - 1]]);
}

static void emit_range(struct anas_emitter *e, struct anas_place place) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  bool fills = anas_cpu_needs_fill(plan->nest), background = !mlirValueIsNull(e->filler);
  if (background) begin_filling(e);
  struct anas_code_scope scope = anas_code_for(code, e->begin, e->end, 1, 0, NULL);
  MlirValue digit[ANAS_CPU_LOOPS];
  read_digits(e, scope.iv, digit);
  if (plan->fetch_parts > 0) {
    e->share = anas_fetch_share(e, digit);
    place.next = next_a(e, place.a, scope.iv, digit);
  }
  if (plan->fetch_b_parts > 0) e->next_b = next_b(e, place.b, scope.iv, digit);
  for (int i = 0; i < plan->num_outer; i++)
    place = enter_level(e, place, &plan->outer[i], digit[i]);
  if (plan->panels && plan->pack_a) copy_chunk(e, place, scope.iv, digit);
  MlirValue first, last;
  if (background) {
    MlirValue next = anas_code_add_const(code, scope.iv, 1);
    slab(e, next, &first, &last);
    MlirValue exists = anas_code_compare(code, false, ANAS_CMPI_SLT, next, e->end);
    e->fill_limit = anas_code_select(code, exists, last, first);
    anas_code_store(code, first, e->filler, (struct anas_address){0});
  } else if (fills) {
    slab(e, scope.iv, &first, &last);
    fill_slab(e, first, last);
  }
  emit_inner(e, 0, place);
  if (background) {
    // The counter goes on where no whole line is left.
    MlirValue length = anas_code_binary(code, "arith.subi", e->fill_limit, first);
    MlirValue rest = anas_code_binary(code, "arith.remui", length, anas_code_index(code, ANAS_LINE));
    MlirValue lines_end = anas_code_binary(code, "arith.subi", e->fill_limit, rest);
    MlirValue at = anas_code_min(code, anas_code_load(code, e->filler, (struct anas_address){0}), lines_end);
    fill_slab(e, at, e->fill_limit);
    e->fill_limit = (MlirValue){0};
  }
  anas_code_end(code, &scope, 0, NULL);
}

static void emit_stream(struct anas_emitter *e, int level, struct anas_place place) {
  const struct anas_contraction *plan = e->plan;
  if (level == plan->stream) {
    emit_range(e, place);
    return;
  }
  int loop = plan->k[level];
  struct anas_code_scope scope =
      anas_code_for(e->code, (MlirValue){0}, anas_code_index(e->code, plan->nest->extent[loop]), 1, 0, NULL);
  e->streamed = anas_code_add(e->code, e->streamed, scope.iv);
  emit_stream(e, level + 1, anas_emitter_move(e, place, loop, scope.iv, 1));
  anas_code_end(e->code, &scope, 0, NULL);
}

void anas_contraction_emit(struct anas_code *code, const struct anas_contraction *plan, MlirValue begin,
                           MlirValue end) {
  struct anas_emitter e = {.code = code, .plan = plan, .nest = plan->nest, .begin = begin, .end = end};
  memcpy(e.rows, plan->tile, sizeof e.rows);
  const struct anas_cpu_operand *operand = plan->nest->operand;
  for (int o = 0; o < plan->nest->num_operands; o++)
    e.flat[o] = anas_code_flatten(code, operand[o].memref, operand[o].elements, operand[o].element);
  if (plan->num_rows > 0 && !plan->stream && !plan->pack_a && plan->fetch_parts == 0) {
    int loop = plan->row[plan->chunk_at];
    e.ahead = operand[plan->a].stride[loop] * plan->tile[loop];
  }
  struct anas_place place = {
      .a = {{0}, operand[plan->a].offset}, .b = {{0}, operand[plan->b].offset}, .c = {{0}, operand[plan->c].offset}};
  if (plan->pack_a) e.packed_a = anas_contraction_stack(code, plan->a_elements);
  if (plan->pack_b) e.packed_b = anas_contraction_stack(code, plan->b_elements);
  // Only tiles of whole blocks count their steps.
  bool whole = plan->num_k > 0 && plan->nest->extent[plan->k[plan->k_split]] % plan->k_block == 0;
  if (anas_cpu_needs_fill(plan->nest) && plan->fill_loop >= 0 && whole) e.filler = anas_contraction_counter(code);
  emit_stream(&e, 0, place);
}
