// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Winograd convolutions (forward and data gradient): the loops around transforms and products.
#include "passes/cpu/winograd.h"
#include "passes/cpu/contraction.h"

struct emitter {
  struct anas_code *code;
  const struct anas_winograd_plan *plan;
  MlirValue x, w, y, scratch; // flat
  MlirValue v, m;             // flat memory of V and M
  MlirType vector;
  bool add; // to what is in y
};

static MlirValue constant(struct emitter *e, int64_t value) {
  return anas_code_index(e->code, value);
}

static struct anas_code_scope loop(struct emitter *e, int64_t count) {
  return anas_code_for(e->code, (MlirValue){0}, constant(e, count), 1, 0, NULL);
}

// ---- tiles

struct tile {
  MlirValue example, row, col;    // row and col of the grid of tiles
  MlirValue inner_row, inner_col; // i1: not the last one; null: the last one is whole
};

static struct tile find_tile(struct emitter *e, MlirValue number) {
  const struct anas_winograd_plan *p = e->plan;
  struct anas_code *code = e->code;
  struct tile tile = {0};
  MlirValue rows = constant(e, p->tiles_y), cols = constant(e, p->tiles_x);
  MlirValue line = anas_code_binary(code, "arith.divui", number, cols);
  tile.col = anas_code_binary(code, "arith.remui", number, cols);
  tile.row = anas_code_binary(code, "arith.remui", line, rows);
  tile.example = anas_code_binary(code, "arith.divui", line, rows);
  if (p->conv.height % p->m)
    tile.inner_row = anas_code_compare(code, false, ANAS_CMPI_SLT, tile.row, constant(e, p->tiles_y - 1));
  if (p->conv.width % p->m)
    tile.inner_col = anas_code_compare(code, false, ANAS_CMPI_SLT, tile.col, constant(e, p->tiles_x - 1));
  return tile;
}

// Whether position r, c of a tile exists, i1: where the last tile of a row or column is cut after `rows` or `cols`
// positions. Null: it does in every tile.
static MlirValue exists(struct emitter *e, const struct tile *tile, int64_t r, int64_t rows, int64_t c, int64_t cols) {
  MlirValue in_row = r >= rows ? tile->inner_row : (MlirValue){0};
  MlirValue in_col = c >= cols ? tile->inner_col : (MlirValue){0};
  if (mlirValueIsNull(in_row)) return in_col;
  return mlirValueIsNull(in_col) ? in_row : anas_code_binary(e->code, "arith.andi", in_row, in_col);
}

// ---- transforms

// U of the vectors at `from` in w, which goes to `to` in the scratch memory.
static void transform_filter(struct emitter *e, struct anas_address from, struct anas_address to) {
  const struct anas_winograd_plan *p = e->plan;
  MlirValue in[9], out[ANAS_WINOGRAD_POINTS];
  for (int r = 0; r < 3; r++)
    for (int c = 0; c < 3; c++)
      in[3 * r + c] = anas_code_vector_load(
          e->code, e->w, anas_address_offset(from, r * p->conv.w_row + c * p->conv.w_col), e->vector, p->lanes);
  anas_winograd_transform(e->code, anas_winograd_filter_matrix(p->m), false, in, out);
  for (int i = 0; i < p->points; i++)
    anas_code_vector_store(e->code, out[i], e->scratch, anas_address_offset(to, i * p->u_point), p->lanes);
}

// Work item: a feature tile and a block of channels.
static void emit_filters(struct emitter *e, MlirValue item) {
  const struct anas_winograd_plan *p = e->plan;
  const struct anas_winograd_conv *conv = &p->conv;
  struct anas_code *code = e->code;
  MlirValue blocks = constant(e, conv->channels / conv->block);
  MlirValue tile = anas_code_binary(code, "arith.divui", item, blocks);
  MlirValue block = anas_code_binary(code, "arith.remui", item, blocks);
  struct anas_address from = {{0}, conv->w_offset}, to = {{0}, 0};
  from = anas_address_step(code, anas_address_step(code, from, tile, conv->w_tile), block, conv->w_block);
  to = anas_address_step(code, to, tile, p->points * p->u_point);
  to = anas_address_step(code, to, block, conv->block * conv->lane);
  // Channels and lanes lie behind one another in both.
  struct anas_code_scope scope =
      anas_code_for(code, (MlirValue){0}, constant(e, conv->block * conv->lane), p->lanes, 0, NULL);
  transform_filter(e, anas_address_step(code, from, scope.iv, 1), anas_address_step(code, to, scope.iv, 1));
  anas_code_end(code, &scope, 0, NULL);
}

// The patch at `from` in x; positions behind the last one of the image count as zero.
static void load_patch(struct emitter *e, const struct tile *tile, struct anas_address from, MlirValue *out) {
  const struct anas_winograd_plan *p = e->plan;
  const struct anas_winograd_conv *conv = &p->conv;
  struct anas_code *code = e->code;
  int64_t rows = conv->height % p->m + 2, cols = conv->width % p->m + 2;
  MlirValue zero = anas_code_splat_f32(code, p->lanes, 0);
  for (int r = 0; r < p->patch; r++)
    for (int c = 0; c < p->patch; c++) {
      struct anas_address at = anas_address_offset(from, r * conv->x_row + c * conv->x_col);
      MlirValue valid = exists(e, tile, r, rows, c, cols), *to = &out[r * p->patch + c];
      if (mlirValueIsNull(valid)) {
        *to = anas_code_vector_load(code, e->x, at, e->vector, p->lanes);
        continue;
      }
      MlirValue safe = anas_code_select(code, valid, anas_address_value(code, at), anas_address_value(code, from));
      MlirValue value = anas_code_vector_load(code, e->x, (struct anas_address){safe, 0}, e->vector, p->lanes);
      *to = anas_code_select(code, valid, value, zero);
    }
}

// V of tile `number`, all channels, to row `row` of V.
static void emit_patch(struct emitter *e, MlirValue number, MlirValue row) {
  const struct anas_winograd_plan *p = e->plan;
  const struct anas_winograd_conv *conv = &p->conv;
  struct anas_code *code = e->code;
  struct tile tile = find_tile(e, number);
  struct anas_address from = {{0}, conv->x_offset}, to = {{0}, p->fused ? 0 : p->v_at};
  from = anas_address_step(code, from, tile.example, conv->x_example);
  from = anas_address_step(code, from, tile.row, p->m * conv->x_row);
  from = anas_address_step(code, from, tile.col, p->m * conv->x_col);
  to = anas_address_step(code, to, row, conv->channels);
  struct anas_code_scope blocks = loop(e, conv->channels / conv->block);
  from = anas_address_step(code, from, blocks.iv, conv->x_block);
  to = anas_address_step(code, to, blocks.iv, conv->block);
  struct anas_code_scope vectors = anas_code_for(code, (MlirValue){0}, constant(e, conv->block), p->lanes, 0, NULL);
  from = anas_address_step(code, from, vectors.iv, 1);
  to = anas_address_step(code, to, vectors.iv, 1);
  MlirValue in[ANAS_WINOGRAD_POINTS], out[ANAS_WINOGRAD_POINTS];
  load_patch(e, &tile, from, in);
  // What the next tile of the row reads that this one does not.
  for (int r = 0; r < p->patch; r++)
    for (int c = 2; c < p->patch; c++)
      anas_code_prefetch(code, e->x, anas_address_offset(from, r * conv->x_row + (c + p->m) * conv->x_col), false);
  anas_winograd_transform(code, anas_winograd_input_matrix(p->m), false, in, out);
  for (int i = 0; i < p->points; i++)
    anas_code_vector_store(code, out[i], e->v, anas_address_offset(to, i * p->v_point), p->lanes);
  anas_code_end(code, &vectors, 0, NULL);
  anas_code_end(code, &blocks, 0, NULL);
}

static void store_result(struct emitter *e, const struct tile *tile, int64_t r, int64_t c, struct anas_address at,
                         MlirValue value) {
  const struct anas_winograd_plan *p = e->plan;
  struct anas_code *code = e->code;
  MlirValue valid = exists(e, tile, r, p->conv.height % p->m, c, p->conv.width % p->m);
  struct anas_code_scope branch = {0};
  if (!mlirValueIsNull(valid)) branch = anas_code_if(code, valid, false);
  if (e->add)
    value = anas_code_binary(code, "arith.addf", anas_code_vector_load(code, e->y, at, e->vector, p->lanes), value);
  anas_code_vector_store(code, value, e->y, at, p->lanes);
  if (!mlirValueIsNull(valid)) anas_code_end(code, &branch, 0, NULL);
}

// Results of tile `number` and one feature tile from row `row` of M, which starts at `from`.
static void emit_results(struct emitter *e, MlirValue number, MlirValue row, MlirValue feature_tile,
                         struct anas_address from) {
  const struct anas_winograd_plan *p = e->plan;
  const struct anas_winograd_conv *conv = &p->conv;
  struct anas_code *code = e->code;
  struct tile tile = find_tile(e, number);
  struct anas_address to = {{0}, conv->y_offset};
  to = anas_address_step(code, to, tile.example, conv->y_example);
  to = anas_address_step(code, to, tile.row, p->m * conv->y_row);
  to = anas_address_step(code, to, tile.col, p->m * conv->y_col);
  to = anas_address_step(code, to, feature_tile, conv->y_tile);
  from = anas_address_step(code, from, row, conv->lane);
  struct anas_code_scope vectors = anas_code_for(code, (MlirValue){0}, constant(e, conv->lane), p->lanes, 0, NULL);
  to = anas_address_step(code, to, vectors.iv, 1);
  from = anas_address_step(code, from, vectors.iv, 1);
  MlirValue in[ANAS_WINOGRAD_POINTS], out[ANAS_WINOGRAD_POINTS];
  for (int i = 0; i < p->points; i++)
    in[i] = anas_code_vector_load(code, e->m, anas_address_offset(from, i * p->m_point), e->vector, p->lanes);
  // What the next tile of the row writes.
  for (int r = 0; r < p->m; r++)
    for (int c = 0; c < p->m; c++)
      anas_code_prefetch(code, e->y, anas_address_offset(to, r * conv->y_row + (c + p->m) * conv->y_col), true);
  anas_winograd_transform(code, anas_winograd_output_matrix(p->m), false, in, out);
  for (int r = 0; r < p->m; r++)
    for (int c = 0; c < p->m; c++)
      store_result(e, &tile, r, c, anas_address_offset(to, r * conv->y_row + c * conv->y_col), out[r * p->m + c]);
  anas_code_end(code, &vectors, 0, NULL);
}

// ---- products

// Channels summed at a time: long sums in one register would lose accuracy, and their U the first-level cache.
#define CHUNK 128

// M of one feature tile and point: rows [0, end) of V in whole register tiles. Rows behind the last tile hold anything,
// and so do their results, which nobody reads.
static void emit_products(struct emitter *e, struct anas_address v, struct anas_address u, struct anas_address m,
                          MlirValue end) {
  const struct anas_winograd_plan *p = e->plan;
  const struct anas_winograd_conv *conv = &p->conv;
  struct anas_code *code = e->code;
  struct anas_winograd_product product = {
      .rows = p->rows,
      .a = e->v,
      .b = e->scratch,
      .c = e->m,
      .a_row = conv->channels,
      .a_step = 1,
      .b_step = conv->lane,
      .c_row = conv->lane,
      .unroll = 2,
  };
  struct anas_code_scope chunks = {0};
  MlirValue steps = constant(e, conv->channels);
  bool cut = conv->channels > CHUNK;
  if (cut) {
    chunks = anas_code_for(code, (MlirValue){0}, steps, CHUNK, 0, NULL);
    v = anas_address_step(code, v, chunks.iv, 1);
    u = anas_address_step(code, u, chunks.iv, conv->lane);
    steps = anas_code_min(code, anas_code_binary(code, "arith.subi", steps, chunks.iv), constant(e, CHUNK));
    product.add = anas_code_compare(code, false, ANAS_CMPI_SGT, chunks.iv, constant(e, 0));
  }
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, end, p->rows, 0, NULL);
  v = anas_address_step(code, v, scope.iv, conv->channels);
  m = anas_address_step(code, m, scope.iv, conv->lane);
  int vectors = (int)(conv->lane / p->lanes);
  for (int first = 0; first < vectors; first += product.vectors) {
    product.vectors = vectors - first < 2 ? 1 : 2;
    anas_winograd_multiply(code, &product, v, anas_address_offset(u, (int64_t)first * p->lanes),
                           anas_address_offset(m, (int64_t)first * p->lanes), steps);
  }
  anas_code_end(code, &scope, 0, NULL);
  if (cut) anas_code_end(code, &chunks, 0, NULL);
}

// Work item: a group of tiles, everything but the filters.
static void emit_group(struct emitter *e, MlirValue item) {
  const struct anas_winograd_plan *p = e->plan;
  struct anas_code *code = e->code;
  MlirValue first = anas_code_mul_const(code, item, p->group);
  MlirValue left = anas_code_binary(code, "arith.subi", constant(e, p->tiles), first);
  MlirValue count = anas_code_min(code, left, constant(e, p->group));
  struct anas_code_scope patches = anas_code_for(code, (MlirValue){0}, count, 1, 0, NULL);
  emit_patch(e, anas_code_add(code, first, patches.iv), patches.iv);
  anas_code_end(code, &patches, 0, NULL);

  struct anas_code_scope features = loop(e, p->feature_tiles), points = loop(e, p->points);
  struct anas_address v = {{0}, 0}, u = {{0}, 0}, m = {{0}, 0};
  v = anas_address_step(code, v, points.iv, p->v_point);
  u = anas_address_step(code, u, features.iv, p->points * p->u_point);
  u = anas_address_step(code, u, points.iv, p->u_point);
  m = anas_address_step(code, m, points.iv, p->m_point);
  emit_products(e, v, u, m, count);
  anas_code_end(code, &points, 0, NULL);

  struct anas_code_scope results = anas_code_for(code, (MlirValue){0}, count, 1, 0, NULL);
  emit_results(e, anas_code_add(code, first, results.iv), results.iv, features.iv, (struct anas_address){{0}, 0});
  anas_code_end(code, &results, 0, NULL);
  anas_code_end(code, &features, 0, NULL);
}

// Work item: a point and a feature tile, over all tiles; V of the point stays in the cache meanwhile.
static void emit_point(struct emitter *e, MlirValue item) {
  const struct anas_winograd_plan *p = e->plan;
  struct anas_code *code = e->code;
  MlirValue features = constant(e, p->feature_tiles);
  MlirValue point = anas_code_binary(code, "arith.divui", item, features);
  MlirValue feature = anas_code_binary(code, "arith.remui", item, features);
  struct anas_address v = {{0}, p->v_at}, u = {{0}, 0}, m = {{0}, p->m_at};
  v = anas_address_step(code, v, point, p->v_point);
  u = anas_address_step(code, u, feature, p->points * p->u_point);
  u = anas_address_step(code, u, point, p->u_point);
  m = anas_address_step(code, m, feature, p->points * p->m_point);
  m = anas_address_step(code, m, point, p->m_point);
  emit_products(e, v, u, m, constant(e, p->tiles));
}

// Work item: a tile, all features.
static void emit_tile_results(struct emitter *e, MlirValue item) {
  const struct anas_winograd_plan *p = e->plan;
  struct anas_code_scope features = loop(e, p->feature_tiles);
  struct anas_address m = {{0}, p->m_at};
  emit_results(e, item, item, features.iv, anas_address_step(e->code, m, features.iv, p->points * p->m_point));
  anas_code_end(e->code, &features, 0, NULL);
}

// ---- parts

static void emit_tile_patch(struct emitter *e, MlirValue item) {
  emit_patch(e, item, item);
}

struct part {
  void (*emit)(struct emitter *e, MlirValue item);
  int64_t items;
};

static struct part find_part(const struct anas_winograd_plan *p, int index) {
  if (index == 0) return (struct part){emit_filters, p->feature_tiles * (p->conv.channels / p->conv.block)};
  if (p->fused) return (struct part){emit_group, (p->tiles + p->group - 1) / p->group};
  if (index == 1) return (struct part){emit_tile_patch, p->tiles};
  if (index == 2) return (struct part){emit_point, p->points * p->feature_tiles};
  return (struct part){emit_tile_results, p->tiles};
}

static anas_status emit_part(struct anas_code *code, const struct anas_cpu_nest *nest, const struct anas_cpu_part *part,
                             struct anas_cpu_range *out) {
  struct anas_winograd_plan plan;
  if (!anas_winograd_plan(nest, code->target, &plan))
    return anas_fail(ANAS_INTERNAL, "Winograd convolution: the parts of a kernel are not the same nest");
  struct part what = find_part(&plan, part->index);
  const struct anas_cpu_operand *x = &nest->operand[plan.conv.x], *w = &nest->operand[plan.conv.w],
                                *y = &nest->operand[2];
  struct emitter e = {.code = code, .plan = &plan, .scratch = part->scratch, .add = !y->filled};
  e.x = anas_code_flatten(code, x->memref, x->elements, x->element);
  e.w = anas_code_flatten(code, w->memref, w->elements, w->element);
  e.y = anas_code_flatten(code, y->memref, y->elements, y->element);
  e.v = e.m = e.scratch;
  e.vector = anas_code_vector(plan.lanes, code->f32);
  if (plan.fused && part->index > 0) {
    e.v = anas_contraction_stack(code, plan.points * plan.v_point);
    e.m = anas_contraction_stack(code, plan.points * plan.m_point);
  }
  struct anas_code_scope scope = anas_code_for(code, part->begin, part->end, 1, 0, NULL);
  what.emit(&e, scope.iv);
  anas_code_end(code, &scope, 0, NULL);
  out->iterations = what.items;
  out->parallel = what.items > 1;
  return ANAS_OK;
}

bool anas_cpu_winograd(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                       struct anas_cpu_algorithm *out) {
  struct anas_winograd_plan plan;
  if (!anas_winograd_plan(nest, target, &plan)) return false;
  *out = (struct anas_cpu_algorithm){.name = "Winograd F(4x4, 3x3)",
                                     .num_parts = plan.fused ? 2 : 4,
                                     .scratch_bytes = 4 * plan.scratch,
                                     .emit = emit_part};
  return true;
}
