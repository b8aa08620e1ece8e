// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: what a register tile fetches while it computes: its place in C, and its share of what later work items
// read.
//
// A core waits for a dozen or so lines at a time, and as long as they are under way nothing else comes into the first
// cache. So lines from memory are asked for a few at a time, all through the reduction, and each of them once: a chunk
// of A is read by every tile of columns, and every one of them fetches another part of the next chunk; a panel of B is
// read by every tile of rows, and every one of them fetches another part of the next panel.
#include "passes/cpu/contraction_emit.h"

#define MIN_SEGMENT 4 // steps

static int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// ---- decisions

bool anas_contraction_fetches_a(const struct anas_contraction *plan) {
  if (plan->num_k != plan->stream + 1 || plan->num_rows != 1 || anas_cpu_needs_fill(plan->nest)) return false;
  const struct anas_cpu_operand *a = &plan->nest->operand[plan->a];
  return a->stride[plan->k[plan->stream]] == 1 || a->stride[plan->row[0]] == 1;
}

static bool is_column(enum anas_level_kind kind) {
  return kind == ANAS_LEVEL_COLUMN || kind == ANAS_LEVEL_LANE;
}

void anas_contraction_prefetching(struct anas_contraction *plan) {
  if (!anas_contraction_fetches_a(plan)) return;
  int64_t items = 1, parts = 1;
  bool last = true;
  for (int i = plan->num_outer - 1; i >= 0; i--) {
    last = last && is_column(plan->outer[i].kind);
    if (last || (plan->stream && is_column(plan->outer[i].kind))) parts *= plan->outer[i].count;
    items *= plan->outer[i].count;
  }
  if (plan->stream || items > parts) plan->fetch_parts = parts;
  const struct anas_cpu_operand *b = &plan->nest->operand[plan->b];
  if (plan->spread >= 0 || (!plan->stream && items == 1) ||
      (b->stride[plan->lane] != 1 && b->stride[plan->k[plan->stream]] != 1))
    return;
  bool chunk = !plan->stream || plan->panels;
  plan->fetch_b_parts =
      divide_up(chunk ? plan->chunk_rows : plan->nest->extent[plan->row[0]], plan->tile[plan->row[0]]);
}

// How often a tile of rows of a chunk is computed: by every tile of columns, block by block of the reduction.
static int64_t visits(const struct anas_contraction *plan) {
  return plan->fetch_parts * divide_up(plan->nest->extent[plan->k[plan->stream]], plan->k_block);
}

// ---- places

// Where part `part` of `parts` of the first `extent` iterations of a loop begins in operand o.
static struct anas_address move_to_part(const struct anas_emitter *e, struct anas_address at, int o, int loop,
                                        int64_t extent, MlirValue part, int64_t parts) {
  if (mlirValueIsNull(part)) return at;
  MlirValue first = anas_code_binary(e->code, "arith.divui", anas_code_mul_const(e->code, part, extent),
                                     anas_code_index(e->code, parts));
  return anas_address_step(e->code, at, first, e->nest->operand[o].stride[loop]);
}

MlirValue anas_fetch_share(struct anas_emitter *e, const MlirValue *digit) {
  MlirValue share = {0};
  for (int i = 0; i < e->plan->num_outer; i++) {
    const struct anas_level *level = &e->plan->outer[i];
    if (e->plan->fetch_parts > 1 && is_column(level->kind))
      share = anas_code_add(e->code, anas_code_mul_const(e->code, share, level->count), digit[i]);
  }
  return share;
}

struct anas_address anas_fetch_place(struct anas_emitter *e, struct anas_address next, MlirValue share,
                                     MlirValue block_start) {
  const struct anas_contraction *plan = e->plan;
  struct anas_code *code = e->code;
  MlirValue visit = anas_code_mul_const(code, share, visits(plan) / plan->fetch_parts);
  if (!mlirValueIsNull(block_start)) {
    MlirValue block = anas_code_binary(code, "arith.divui", block_start, anas_code_index(code, plan->k_block));
    visit = anas_code_add(code, visit, block);
  }
  int k = plan->k[plan->stream];
  return move_to_part(e, next, plan->a, k, plan->nest->extent[k], visit, visits(plan));
}

// ---- segments of a reduction

static int longest_row_loop(const struct anas_emitter *e) {
  const struct anas_contraction *plan = e->plan;
  int longest = -1;
  for (int i = 0; i < plan->num_rows; i++)
    if (longest < 0 || e->rows[plan->row[i]] >= e->rows[longest]) longest = plan->row[i];
  return longest;
}

int64_t anas_fetch_segments(const struct anas_emitter *e, int64_t steps) {
  int loop = longest_row_loop(e);
  int64_t rows = loop < 0 ? 1 : e->rows[loop], most = rows < steps / MIN_SEGMENT ? rows : steps / MIN_SEGMENT;
  for (int64_t segments = most; segments * 2 >= most && segments > 1; segments--)
    if (steps % segments == 0) return segments;
  return most > 1 ? most : 1;
}

static void add(struct anas_fetch *fetch, int64_t offset) {
  if (fetch->num < ANAS_FETCH_LINES) fetch->offset[fetch->num++] = offset;
}

struct anas_fetch anas_fetch_c(const struct anas_emitter *e, struct anas_address c, int rows, const int64_t *row_c,
                               const int64_t *vector_c, int64_t segments) {
  const struct anas_contraction *plan = e->plan;
  struct anas_fetch fetch = {.operand = e->flat[plan->c], .base = c, .write = true};
  int loop = longest_row_loop(e);
  int64_t extent = loop < 0 ? 1 : e->rows[loop], share = divide_up(extent, segments);
  int64_t stride = loop < 0 ? 0 : plan->nest->operand[plan->c].stride[loop];
  fetch.stride = share * stride;
  // The rows of the tile that are among the first of that loop, by their offsets.
  int64_t inside = 1;
  for (int i = plan->num_rows - 1; i >= 0 && plan->row[i] != loop; i--)
    inside *= e->rows[plan->row[i]];
  for (int r = 0; r < rows; r++) {
    if (r / inside % extent >= share) continue;
    for (int v = 0; v < e->vectors; v++)
      if (vector_c[v] >= 0) add(&fetch, row_c[r] + vector_c[v]);
  }
  return fetch;
}

struct anas_fetch anas_fetch_a(const struct anas_emitter *e, struct anas_address next, int64_t segments) {
  const struct anas_contraction *plan = e->plan;
  const struct anas_cpu_operand *a = &e->nest->operand[plan->a];
  struct anas_fetch fetch = {.operand = e->source_a, .base = next};
  int row = plan->row[0], k = plan->k[plan->stream];
  int64_t steps = divide_up(plan->nest->extent[k], visits(plan));
  bool along = a->stride[k] == 1;
  // Lines along rows of A: some rows a segment, and their part of the reduction. Else: some steps.
  int64_t share = divide_up(along ? e->rows[row] : steps, segments);
  int64_t run = along ? steps : e->rows[row], pitch = a->stride[along ? row : k];
  fetch.stride = share * pitch;
  for (int64_t i = 0; i < share; i++)
    for (int64_t j = 0; j < run; j += ANAS_LINE)
      add(&fetch, i * pitch + j);
  return fetch;
}

struct anas_fetch anas_fetch_b(const struct anas_emitter *e, const int64_t *vector_b, int64_t segments) {
  const struct anas_contraction *plan = e->plan;
  int k = plan->k[plan->stream], row = plan->row[0];
  struct anas_fetch fetch = {.operand = e->source_b};
  MlirValue tile = e->row_index;
  bool chunk = !plan->stream || plan->panels;
  if (chunk && !mlirValueIsNull(tile) && !mlirValueIsNull(e->chunk_lower))
    tile = anas_code_binary(e->code, "arith.subi", tile, e->chunk_lower);
  if (!mlirValueIsNull(tile))
    tile = anas_code_binary(e->code, "arith.divui", tile, anas_code_index(e->code, plan->tile[row]));
  const int64_t *stride = e->nest->operand[plan->b].stride;
  struct anas_address block = anas_address_step(e->code, e->next_b, e->block_start, stride[k]);
  // Lines along the lanes: some steps a tile. Else, along the reduction: some lanes.
  bool lanes = stride[plan->lane] == 1;
  int loop = lanes ? k : plan->lane;
  int64_t extent = lanes ? plan->k_block : (int64_t)e->vectors * plan->lanes;
  fetch.base = move_to_part(e, block, plan->b, loop, extent, tile, plan->fetch_b_parts);
  int64_t share = divide_up(extent, plan->fetch_b_parts), run = divide_up(plan->k_block, segments);
  if (lanes) share = divide_up(share, segments);
  fetch.stride = lanes ? share * stride[k] : run;
  for (int64_t i = 0; i < share; i++) {
    for (int v = 0; lanes && v < e->vectors; v++)
      if (vector_b[v] >= 0) add(&fetch, i * stride[k] + vector_b[v]);
    for (int64_t j = 0; !lanes && j < run; j += ANAS_LINE)
      add(&fetch, i * stride[plan->lane] + j);
  }
  return fetch;
}

void anas_fetch_emit(struct anas_emitter *e, const struct anas_fetch *fetch, MlirValue segment) {
  struct anas_address base = anas_address_step(e->code, fetch->base, segment, fetch->stride);
  for (int i = 0; i < fetch->num; i++)
    anas_code_prefetch(e->code, fetch->operand, anas_address_offset(base, fetch->offset[i]), fetch->write);
}
