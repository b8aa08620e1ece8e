// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Filter gradients by Winograd: code of the transforms and of the products.
#include "passes/cpu/winograd.h"
#include "passes/cpu/winograd_filter.h"

#include <math.h>

#define TAPS 3
#define MAX_SUMS 32

struct filter_emitter {
  struct anas_code *code;
  const struct anas_winograd_filter *plan;
  int lanes;
  MlirType vector;
  MlirValue x, dy, dw, scratch;
  // of the block at hand
  MlirValue channel_block, feature_block; // indices
  struct anas_address slot;
};

static MlirValue add(struct filter_emitter *e, MlirValue a, MlirValue b) {
  return anas_code_binary(e->code, "arith.addf", a, b);
}

// ---- transforming the tiles of a step

struct side { // x or dy
  MlirValue source;
  const struct anas_filter_strides *stride;
  const struct anas_winograd_matrix *matrix;
  bool transposed;
  int size;      // positions of a tile in each dimension
  int64_t halo;  // of them, beyond the positions of dy
  int64_t first; // element of the source at iteration 0
  MlirValue block;
  int64_t panels; // of a block
  int64_t target; // in the slot
};

static struct side side_x(const struct filter_emitter *e) {
  const struct anas_winograd_filter *plan = e->plan;
  return (struct side){.source = e->x,
                       .stride = &plan->x_stride,
                       .matrix = anas_winograd_input_matrix(plan->m),
                       .size = plan->window,
                       .halo = TAPS - 1,
                       .first = plan->nest->operand[plan->x].offset,
                       .block = e->channel_block,
                       .panels = plan->channel_block / ANAS_PANEL,
                       .target = anas_winograd_filter_x(plan)};
}

static struct side side_dy(const struct filter_emitter *e) {
  const struct anas_winograd_filter *plan = e->plan;
  return (struct side){.source = e->dy,
                       .stride = &plan->dy_stride,
                       .matrix = anas_winograd_output_matrix(plan->m),
                       .transposed = true,
                       .size = plan->m,
                       .first = plan->nest->operand[plan->dy].offset,
                       .block = e->feature_block,
                       .panels = plan->feature_block / ANAS_PANEL,
                       .target = anas_winograd_filter_dy(plan)};
}

// Row of tiles `row`, of all examples, in a panel of the block; out_tile: its number within the example.
static struct anas_address tile_row(struct filter_emitter *e, const struct side *side, MlirValue panel, MlirValue row,
                                    MlirValue *out_tile) {
  struct anas_code *code = e->code;
  MlirValue size = anas_code_index(code, e->plan->dim[0].tiles);
  MlirValue example = anas_code_binary(code, "arith.divui", row, size);
  MlirValue tile = anas_code_binary(code, "arith.remui", row, size);
  panel = anas_code_add(code, anas_code_mul_const(code, side->block, side->panels), panel);
  struct anas_address at = anas_address_step(code, (struct anas_address){{0}, side->first}, panel, side->stride->panel);
  at = anas_address_step(code, at, example, side->stride->example);
  *out_tile = tile;
  return anas_address_step(code, at, tile, e->plan->m * side->stride->dim[0]);
}

// A tile of which valid[0] by valid[1] positions of dy exist; the others are zeros.
static void emit_tile(struct filter_emitter *e, const struct side *side, struct anas_address from,
                      struct anas_address to, const int64_t *valid) {
  struct anas_code *code = e->code;
  MlirValue zero = anas_code_splat_f32(code, e->lanes, 0), in[ANAS_WINOGRAD_POINTS], out[ANAS_WINOGRAD_POINTS];
  for (int i = 0; i < side->size; i++)
    for (int j = 0; j < side->size; j++) {
      bool exists = i < valid[0] + side->halo && j < valid[1] + side->halo;
      int64_t offset = i * side->stride->dim[0] + j * side->stride->dim[1];
      in[i * side->size + j] =
          exists ? anas_code_vector_load(code, side->source, anas_address_offset(from, offset), e->vector, e->lanes)
                 : zero;
    }
  anas_winograd_transform(code, side->matrix, side->transposed, in, out);
  for (int i = 0; i < e->plan->points; i++)
    anas_code_vector_store(code, out[i], e->scratch, anas_address_offset(to, i * e->plan->step), e->lanes);
}

// A row of tiles, of which valid_rows rows of positions exist.
static void emit_tile_row(struct filter_emitter *e, const struct side *side, struct anas_address from,
                          struct anas_address to, int64_t valid_rows) {
  struct anas_code *code = e->code;
  const struct anas_winograd_dim *dim = &e->plan->dim[1];
  int m = e->plan->m;
  int64_t whole = dim->last == m ? dim->tiles : dim->tiles - 1;
  if (whole > 0) {
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, whole), 1, 0, NULL);
    struct anas_address tile = anas_address_step(code, from, scope.iv, m * side->stride->dim[1]);
    emit_tile(e, side, tile, anas_address_step(code, to, scope.iv, ANAS_PANEL), (int64_t[]){valid_rows, m});
    anas_code_end(code, &scope, 0, NULL);
  }
  if (whole < dim->tiles)
    emit_tile(e, side, anas_address_offset(from, whole * m * side->stride->dim[1]),
              anas_address_offset(to, whole * ANAS_PANEL), (int64_t[]){valid_rows, dim->last});
}

// `count` rows of tiles from row `first` on, of every panel of the block.
static void emit_side(struct filter_emitter *e, const struct side *side, MlirValue first, MlirValue count) {
  struct anas_code *code = e->code;
  const struct anas_winograd_filter *plan = e->plan;
  const struct anas_winograd_dim *dim = &plan->dim[0];
  struct anas_code_scope panels = anas_code_for(code, (MlirValue){0}, anas_code_index(code, side->panels), 1, 0, NULL);
  struct anas_address to =
      anas_address_step(code, anas_address_offset(e->slot, side->target), panels.iv, anas_winograd_filter_panel(plan));
  struct anas_code_scope rows = anas_code_for(code, (MlirValue){0}, count, 1, 0, NULL);
  to = anas_address_step(code, to, rows.iv, plan->dim[1].tiles * ANAS_PANEL);
  MlirValue tile;
  struct anas_address from = tile_row(e, side, panels.iv, anas_code_add(code, first, rows.iv), &tile);
  struct anas_code_scope lanes = {0}, branch = {0};
  if (e->lanes < ANAS_PANEL) {
    lanes = anas_code_for(code, (MlirValue){0}, anas_code_index(code, ANAS_PANEL), e->lanes, 0, NULL);
    from = anas_address_step(code, from, lanes.iv, 1);
    to = anas_address_step(code, to, lanes.iv, 1);
  }
  bool branches = dim->last < plan->m && dim->tiles > 1;
  if (branches)
    branch = anas_code_if(
        code, anas_code_compare(code, false, ANAS_CMPI_EQ, tile, anas_code_index(code, dim->tiles - 1)), true);
  for (int b = 0; b < 1 + branches; b++) {
    emit_tile_row(e, side, from, to, b == 0 ? dim->last : plan->m);
    if (branches && b == 0) anas_code_else(code, &branch);
  }
  if (branches) anas_code_end(code, &branch, 0, NULL);
  if (e->lanes < ANAS_PANEL) anas_code_end(code, &lanes, 0, NULL);
  anas_code_end(code, &rows, 0, NULL);
  anas_code_end(code, &panels, 0, NULL);
}

// ---- products

struct product_tile {
  int rows;    // channels, within a panel
  int vectors; // a part of a panel, or several whole panels
};

// As many sums as there are registers, in a shape that loads little.
static struct product_tile choose_tile(const struct filter_emitter *e) {
  int per_panel = ANAS_PANEL / e->lanes, panels = (int)(e->plan->feature_block / ANAS_PANEL);
  int registers = e->code->target->registers;
  struct product_tile best = {1, 1};
  double least = INFINITY;
  for (int rows = 1; rows <= ANAS_PANEL; rows *= 2)
    for (int vectors = 1; rows * vectors <= MAX_SUMS; vectors++) {
      bool fits = vectors < per_panel ? per_panel % vectors == 0
                                      : vectors % per_panel == 0 && panels % (vectors / per_panel) == 0;
      if (!fits || rows * vectors + vectors + 1 > registers - (registers > 16)) continue;
      double sums = rows * vectors, cost = (fmax(fmax(sums, rows + vectors) / 2, 4) + 0.4) / sums;
      if (cost >= least) continue;
      least = cost;
      best = (struct product_tile){rows, vectors};
    }
  return best;
}

// sums (+)= sum over `tiles` of x[tile][row] * dy[tile][lane]
static void emit_product(struct filter_emitter *e, struct product_tile tile, struct anas_address x,
                         struct anas_address dy, struct anas_address sums, MlirValue tiles, bool adds) {
  struct anas_code *code = e->code;
  int per_panel = ANAS_PANEL / e->lanes, num = tile.rows * tile.vectors;
  MlirValue sum[MAX_SUMS];
  struct anas_address at[MAX_SUMS];
  for (int i = 0; i < num; i++) {
    int r = i / tile.vectors, v = i % tile.vectors;
    at[i] = anas_address_offset(sums, r * e->plan->feature_block + (int64_t)v * e->lanes);
    if (adds) {
      sum[i] = anas_code_vector_load(code, e->scratch, at[i], e->vector, e->lanes);
      continue;
    }
    sum[i] = anas_code_splat_f32(code, e->lanes, 0);
    if (v * e->lanes % ANAS_PANEL == 0) anas_code_prefetch(code, e->scratch, at[i], true);
  }
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, tiles, 1, num, sum);
  x = anas_address_step(code, x, scope.iv, ANAS_PANEL);
  dy = anas_address_step(code, dy, scope.iv, ANAS_PANEL);
  MlirValue lane[MAX_SUMS];
  for (int v = 0; v < tile.vectors; v++) {
    int64_t offset = v / per_panel * anas_winograd_filter_panel(e->plan) + v % per_panel * e->lanes;
    lane[v] = anas_code_vector_load(code, e->scratch, anas_address_offset(dy, offset), e->vector, e->lanes);
  }
  for (int r = 0; r < tile.rows; r++) {
    MlirValue value = anas_code_load(code, e->scratch, anas_address_offset(x, r));
    MlirValue row = anas_code_broadcast(code, value, e->lanes);
    for (int v = 0; v < tile.vectors; v++) {
      int i = r * tile.vectors + v;
      sum[i] = anas_code_fma(code, row, lane[v], anas_code_iter(&scope, i));
    }
  }
  anas_code_end(code, &scope, num, sum);
  for (int i = 0; i < num; i++)
    anas_code_vector_store(code, anas_code_result(&scope, i), e->scratch, at[i], e->lanes);
}

// ---- fetching

#define FETCH_LINES 8
#define FEW_TILES 2 // in a column: then rows that tiles share are fetched for each of them

static int64_t fetched_rows(const struct filter_emitter *e, const struct side *side) {
  return e->plan->dim[0].tiles > FEW_TILES ? e->plan->m : side->size;
}

static int64_t pieces_of_row(const struct filter_emitter *e, const struct side *side) {
  int64_t piece = FETCH_LINES * ANAS_PANEL;
  return (fetched_rows(e, side) * side->stride->dim[0] + piece - 1) / piece;
}

static int64_t pieces_of_step(const struct filter_emitter *e, const struct side *side) {
  return pieces_of_row(e, side) * e->plan->unit * side->panels;
}

static void fetch_piece(struct filter_emitter *e, const struct side *side, MlirValue first, MlirValue piece) {
  struct anas_code *code = e->code;
  MlirValue of_row = anas_code_index(code, pieces_of_row(e, side)), unit = anas_code_index(code, e->plan->unit), tile;
  MlirValue number = anas_code_binary(code, "arith.divui", piece, of_row);
  MlirValue row = anas_code_add(code, first, anas_code_binary(code, "arith.remui", number, unit));
  struct anas_address at = tile_row(e, side, anas_code_binary(code, "arith.divui", number, unit), row, &tile);
  at.offset += (side->size - fetched_rows(e, side)) * side->stride->dim[0];
  at = anas_address_step(code, at, anas_code_binary(code, "arith.remui", piece, of_row), FETCH_LINES * ANAS_PANEL);
  for (int i = 0; i < FETCH_LINES; i++)
    anas_code_prefetch(code, side->source, anas_address_offset(at, i * ANAS_PANEL), false);
}

// What the step from row `first` on transforms comes from memory while the products of this one are computed: product
// tile `number` of `count` asks for its share.
static void fetch_share(struct filter_emitter *e, MlirValue first, MlirValue number, int64_t count) {
  struct anas_code *code = e->code;
  struct side x = side_x(e), dy = side_dy(e);
  int64_t of_x = pieces_of_step(e, &x), of_dy = pieces_of_step(e, &dy), share = (of_x + of_dy + count - 1) / count;
  for (int64_t i = 0; i < share; i++) {
    MlirValue piece = anas_code_add_const(code, anas_code_mul_const(code, number, share), i);
    MlirValue is_x = anas_code_compare(code, false, ANAS_CMPI_SLT, piece, anas_code_index(code, of_x));
    struct anas_code_scope branch = anas_code_if(code, is_x, true);
    fetch_piece(e, &x, first, piece);
    anas_code_else(code, &branch);
    piece = anas_code_min(code, anas_code_add_const(code, piece, -of_x), anas_code_index(code, of_dy - 1));
    fetch_piece(e, &dy, first, piece);
    anas_code_end(code, &branch, 0, NULL);
  }
}

// ---- steps

// All products of a step, point by point: lanes, then rows, so that the lanes of x and dy at hand stay near.
static void emit_products(struct filter_emitter *e, MlirValue tiles, MlirValue next, bool adds) {
  struct anas_code *code = e->code;
  const struct anas_winograd_filter *plan = e->plan;
  struct product_tile tile = choose_tile(e);
  int64_t panel = anas_winograd_filter_panel(plan), width = (int64_t)tile.vectors * e->lanes;
  int64_t wide = width > ANAS_PANEL ? width : ANAS_PANEL; // lanes of the loop over panels
  struct anas_address x = anas_address_offset(e->slot, anas_winograd_filter_x(plan)), sums = e->slot;
  struct anas_address dy = anas_address_offset(e->slot, anas_winograd_filter_dy(plan));
  // Strides in x, dy and the sums.
  const struct {
    int64_t count, x, dy, sums;
  } level[] = {
      {plan->points, plan->step, plan->step, plan->sum_step},
      {plan->feature_block / wide, 0, wide / ANAS_PANEL * panel, wide},
      {wide / width, 0, width, width},
      {plan->channel_block / ANAS_PANEL, panel, 0, ANAS_PANEL * plan->feature_block},
      {ANAS_PANEL / tile.rows, tile.rows, 0, tile.rows * plan->feature_block},
  };
  enum { LEVELS = sizeof level / sizeof *level };
  struct anas_code_scope scope[LEVELS];
  MlirValue number = {0};
  int64_t count = 1;
  for (int l = 0; l < LEVELS; l++) {
    if (level[l].count == 1) continue;
    count *= level[l].count;
    scope[l] = anas_code_for(code, (MlirValue){0}, anas_code_index(code, level[l].count), 1, 0, NULL);
    x = anas_address_step(code, x, scope[l].iv, level[l].x);
    dy = anas_address_step(code, dy, scope[l].iv, level[l].dy);
    sums = anas_address_step(code, sums, scope[l].iv, level[l].sums);
    number = anas_code_add(code, anas_code_mul_const(code, number, level[l].count), scope[l].iv);
  }
  fetch_share(e, next, number, count);
  emit_product(e, tile, x, dy, sums, tiles, adds);
  for (int l = LEVELS - 1; l >= 0; l--)
    if (level[l].count != 1) anas_code_end(code, &scope[l], 0, NULL);
}

// ---- sums to filters

// Sum `point` of the shares, the slots of which follow each other from `slot` on; `at` is within the sums.
static void load_sums(struct filter_emitter *e, const int *point, int num, struct anas_address at, MlirValue *out) {
  struct anas_code *code = e->code;
  const struct anas_winograd_filter *plan = e->plan;
  for (int i = 0; i < num; i++)
    out[i] = anas_code_vector_load(code, e->scratch, anas_address_offset(at, point[i] * plan->sum_step), e->vector,
                                   e->lanes);
  if (plan->parts == 1) return;
  struct anas_code_scope scope =
      anas_code_for(code, anas_code_index(code, 1), anas_code_index(code, plan->parts), 1, num, out);
  at = anas_address_step(code, at, scope.iv, plan->slot_elements);
  for (int i = 0; i < num; i++) {
    MlirValue share = anas_code_vector_load(code, e->scratch, anas_address_offset(at, point[i] * plan->sum_step),
                                            e->vector, e->lanes);
    out[i] = add(e, anas_code_iter(&scope, i), share);
  }
  anas_code_end(code, &scope, num, out);
  for (int i = 0; i < num; i++)
    out[i] = anas_code_result(&scope, i);
}

// Filters of `count` channels of the block from `first` on.
static void emit_filters(struct filter_emitter *e, MlirValue first, int64_t count) {
  struct anas_code *code = e->code;
  const struct anas_winograd_filter *plan = e->plan;
  struct anas_code_scope rows = anas_code_for(code, (MlirValue){0}, anas_code_index(code, count), 1, 0, NULL);
  MlirValue channel = anas_code_add(code, first, rows.iv);
  struct anas_code_scope columns =
      anas_code_for(code, (MlirValue){0}, anas_code_index(code, plan->feature_block), e->lanes, 0, NULL);
  struct anas_address at = anas_address_step(code, e->slot, channel, plan->feature_block);
  at = anas_address_step(code, at, columns.iv, 1);
  MlirValue sums[ANAS_WINOGRAD_POINTS], taps[TAPS * TAPS];
  for (int j = 0; j < plan->window; j++) { // a column of points at a time, so that they fit the registers
    int point[ANAS_WINOGRAD_PATCH];
    MlirValue column[ANAS_WINOGRAD_PATCH];
    for (int i = 0; i < plan->window; i++)
      point[i] = i * plan->window + j;
    load_sums(e, point, plan->window, at, column);
    for (int i = 0; i < plan->window; i++)
      sums[point[i]] = column[i];
  }
  anas_winograd_transform(code, anas_winograd_filter_matrix(plan->m), true, sums, taps);
  struct anas_address to = {{0}, plan->nest->operand[plan->dw].offset};
  to = anas_address_step(code, to, e->channel_block, plan->channel_block * plan->channel_stride);
  to = anas_address_step(code, to, channel, plan->channel_stride);
  to = anas_address_step(code, to, e->feature_block, plan->feature_block);
  to = anas_address_step(code, to, columns.iv, 1);
  MlirValue fill = anas_code_splat(code, e->vector, plan->nest->operand[plan->dw].fill);
  bool adds = !mlirValueEqual(fill, anas_code_splat_f32(code, e->lanes, 0));
  for (int i = 0; i < TAPS; i++)
    for (int j = 0; j < TAPS; j++) {
      MlirValue value = taps[i * TAPS + j];
      anas_code_vector_store(code, adds ? add(e, value, fill) : value, e->dw,
                             anas_address_offset(to, i * plan->tap_stride[0] + j * plan->tap_stride[1]), e->lanes);
    }
  anas_code_end(code, &columns, 0, NULL);
  anas_code_end(code, &rows, 0, NULL);
}

// ---- parts of the kernel

static struct filter_emitter emitter(struct anas_code *code, const struct anas_winograd_filter *plan,
                                     MlirValue scratch) {
  const struct anas_cpu_operand *x = &plan->nest->operand[plan->x], *dy = &plan->nest->operand[plan->dy],
                                *dw = &plan->nest->operand[plan->dw];
  return (struct filter_emitter){.code = code,
                                 .plan = plan,
                                 .lanes = code->target->lanes,
                                 .vector = anas_code_vector(code->target->lanes, code->f32),
                                 .x = anas_code_flatten(code, x->memref, x->elements, x->element),
                                 .dy = anas_code_flatten(code, dy->memref, dy->elements, dy->element),
                                 .dw = anas_code_flatten(code, dw->memref, dw->elements, dw->element),
                                 .scratch = scratch};
}

static void set_block(struct filter_emitter *e, MlirValue block) {
  MlirValue across = anas_code_index(e->code, e->plan->features / e->plan->feature_block);
  e->channel_block = anas_code_binary(e->code, "arith.divui", block, across);
  e->feature_block = anas_code_binary(e->code, "arith.remui", block, across);
}

// Steps [lower, upper) of the block at hand.
static void emit_steps(struct filter_emitter *e, MlirValue lower, MlirValue upper) {
  struct anas_code *code = e->code;
  const struct anas_winograd_filter *plan = e->plan;
  int64_t rows = anas_winograd_filter_rows(plan);
  struct anas_code_scope steps = anas_code_for(code, lower, upper, 1, 0, NULL);
  MlirValue first = anas_code_mul_const(code, steps.iv, plan->unit), count = anas_code_index(code, plan->unit);
  if (rows % plan->unit)
    count = anas_code_min(code, anas_code_binary(code, "arith.subi", anas_code_index(code, rows), first), count);
  struct side x = side_x(e), dy = side_dy(e);
  emit_side(e, &x, first, count);
  emit_side(e, &dy, first, count);
  MlirValue tiles = anas_code_mul_const(code, count, plan->dim[1].tiles);
  MlirValue next = anas_code_add_const(code, first, plan->unit);
  struct anas_code_scope branch =
      anas_code_if(code, anas_code_compare(code, false, ANAS_CMPI_EQ, steps.iv, lower), true);
  emit_products(e, tiles, next, false);
  anas_code_else(code, &branch);
  emit_products(e, tiles, next, true);
  anas_code_end(code, &branch, 0, NULL);
  anas_code_end(code, &steps, 0, NULL);
}

void anas_winograd_filter_items(struct anas_code *code, const struct anas_winograd_filter *plan,
                                const struct anas_cpu_part *part) {
  struct filter_emitter e = emitter(code, plan, part->scratch);
  int64_t steps = (anas_winograd_filter_rows(plan) + plan->unit - 1) / plan->unit;
  struct anas_code_scope items = anas_code_for(code, part->begin, part->end, 1, 0, NULL);
  e.slot = anas_address_step(code, (struct anas_address){{0}, 0}, items.iv, plan->slot_elements);
  if (plan->parts > 1) {
    MlirValue parts = anas_code_index(code, plan->parts);
    set_block(&e, anas_code_binary(code, "arith.divui", items.iv, parts));
    MlirValue share = anas_code_binary(code, "arith.remui", items.iv, parts);
    MlirValue lower = anas_code_mul_const(code, share, steps), upper = anas_code_add_const(code, lower, steps);
    emit_steps(&e, anas_code_binary(code, "arith.divui", lower, parts),
               anas_code_binary(code, "arith.divui", upper, parts));
  } else {
    struct anas_code_scope blocks =
        anas_code_for(code, items.iv, anas_code_index(code, plan->blocks), plan->slots, 0, NULL);
    set_block(&e, blocks.iv);
    emit_steps(&e, anas_code_index(code, 0), anas_code_index(code, steps));
    emit_filters(&e, (MlirValue){0}, plan->channel_block);
    anas_code_end(code, &blocks, 0, NULL);
  }
  anas_code_end(code, &items, 0, NULL);
}

void anas_winograd_filter_sums(struct anas_code *code, const struct anas_winograd_filter *plan,
                               const struct anas_cpu_part *part) {
  struct filter_emitter e = emitter(code, plan, part->scratch);
  MlirValue panels = anas_code_index(code, plan->channel_block / ANAS_PANEL);
  struct anas_code_scope items = anas_code_for(code, part->begin, part->end, 1, 0, NULL);
  MlirValue block = anas_code_binary(code, "arith.divui", items.iv, panels);
  MlirValue panel = anas_code_binary(code, "arith.remui", items.iv, panels);
  e.slot = anas_address_step(code, (struct anas_address){{0}, 0}, block, plan->parts * plan->slot_elements);
  set_block(&e, block);
  emit_filters(&e, anas_code_mul_const(code, panel, ANAS_PANEL), ANAS_PANEL);
  anas_code_end(code, &items, 0, NULL);
}
