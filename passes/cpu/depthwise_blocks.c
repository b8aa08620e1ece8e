// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Depthwise convolutions with borders, and gradients of their operands: register tiles are blocks of rows and columns,
// so that a row of `dense` is read once for all results of the block. What exists along a row is known for every tile;
// rows beyond the border are skipped at run time. Neighbouring vectors of channels take turns, tile by tile, so that
// prefetchers of the processor see streams: all channels if what a tile reads of them fits the first-level cache. Where
// rows are long, the results of the next block are fetched ahead.
#include "passes/cpu/depthwise.h"

#define ENOUGH_RANGE 64
#define MOST_PRODUCTS 512 // in the code of a tile
#define MOST_SUMS 16
#define MOST_WEIGHTS 8 // of a line, in registers
#define ROWS 2
#define LONG_ROW 3 // tiles; results of shorter ones are few streams, too

struct blocks {
  struct anas_depthwise_tiles tiles;
  int num_loops, loop[ANAS_CPU_LOOPS]; // around the channels, slowest first
  int num_range;                       // so many of them are digits of the range
  int64_t fetch;                       // from a result to the one to be fetched; 0: nothing is
};

// ---- planning

static int64_t distance(const struct anas_depthwise *d, int loop) {
  int64_t stride = anas_depthwise_stride(d, d->out, loop);
  return stride < 0 ? -stride : stride;
}

// Rows of a block and columns of a tile.
static bool plan_tile(struct anas_depthwise *d, struct blocks *b, const struct anas_depthwise_axis *other) {
  int registers = d->code->target->registers, rows_loop = other ? other->point : -1;
  int64_t along = b->tiles.axis && b->tiles.axis->tap >= 0 ? d->nest->extent[b->tiles.axis->tap] : 1;
  int64_t period = anas_depthwise_period(other, rows_loop), extent = rows_loop < 0 ? 1 : d->nest->extent[rows_loop];
  int64_t row_period = anas_depthwise_period(b->tiles.axis, b->tiles.row), columns = d->nest->extent[b->tiles.row];
  int64_t rows = (extent < ROWS ? extent : ROWS) / period * period;
  if (rows < period) rows = period;
  for (;; rows = period) {
    if (rows > ANAS_DEPTHWISE_TILE || !anas_depthwise_block_of(d, other, rows_loop, rows, &b->tiles.block))
      return false;
    int64_t weights =
        b->tiles.block.num ? (b->tiles.block.pairs + b->tiles.block.num - 1) / b->tiles.block.num * along : 0;
    int64_t most = (registers - 2 - (weights < MOST_WEIGHTS ? weights : MOST_WEIGHTS)) / rows;
    if (most > MOST_SUMS / rows) most = MOST_SUMS / rows;
    if (most > columns) most = columns;
    while (most > 1 && b->tiles.block.pairs * most * along > MOST_PRODUCTS * row_period)
      most--;
    bool small = most < columns && most < row_period;
    if ((most < 1 || small || b->tiles.block.pairs * most * along > MOST_PRODUCTS * row_period) && rows > period)
      continue;
    if (most < 1 || b->tiles.block.pairs * most * along > MOST_PRODUCTS * row_period) return false;
    int64_t tile = most;
    if (most < columns) {
      tile = most >= row_period ? most / row_period * row_period : 1;
      for (int64_t t = tile; t > most / 2; t -= row_period)
        if (columns % t == 0) {
          tile = t;
          break;
        }
    }
    d->tile[b->tiles.row] = tile;
    break;
  }
  if (rows_loop >= 0) d->tile[rows_loop] = b->tiles.block.rows;
  return along <= ANAS_DEPTHWISE_TILE;
}

static bool plan_blocks(struct anas_depthwise *d, struct blocks *b, int64_t *out_range) {
  const struct anas_depthwise_axis *other = NULL;
  b->tiles.row = d->point[d->num_points - 1];
  b->tiles.axis = anas_depthwise_axis_of(d, b->tiles.row);
  if (!anas_depthwise_other_axis(d, b->tiles.axis, &other)) return false;
  for (int i = 0; i < d->num_reduced; i++)
    if (!anas_depthwise_axis_of(d, d->reduced[i])) return false;
  if (!plan_tile(d, b, other)) return false;
  int o = 0, p = 0;
  while (o < d->num_outer || p < d->num_points - 1) {
    bool outer = p == d->num_points - 1 || (o < d->num_outer && distance(d, d->outer[o]) > distance(d, d->point[p]));
    b->loop[b->num_loops++] = outer ? d->outer[o++] : d->point[p++];
  }
  anas_depthwise_plan_vectors(d, &b->tiles);
  if (anas_depthwise_iterations(d, b->tiles.row) >= LONG_ROW && b->tiles.block.loop >= 0)
    b->fetch = b->tiles.block.rows * d->nest->operand[d->out].stride[b->tiles.block.loop];
  *out_range = 1;
  while (b->num_range < b->num_loops && *out_range < ENOUGH_RANGE)
    *out_range *= anas_depthwise_iterations(d, b->loop[b->num_range++]);
  return true;
}

// ---- emission

// The products of one row of `dense`.
static void emit_line(const struct anas_depthwise *d, const struct blocks *b, struct anas_depthwise_place place,
                      const struct anas_depthwise_line *line, const struct anas_depthwise_run *run, MlirValue *sum) {
  struct anas_depthwise_product product[ANAS_DEPTHWISE_PRODUCTS];
  MlirValue weight[ANAS_DEPTHWISE_PRODUCTS] = {0};
  const struct anas_cpu_operand *still = &d->nest->operand[d->still];
  int tap = b->tiles.block.axis ? b->tiles.block.axis->tap : -1, along = b->tiles.axis ? b->tiles.axis->tap : -1,
      num = 0;
  int64_t taps = along < 0 ? 1 : d->nest->extent[along];
  if (b->tiles.block.axis) place.at[d->dense].offset += line->index * b->tiles.block.axis->weight;
  for (int i = 0; i < line->num; i++)
    for (int k = 0; k < run->num; k++) {
      int64_t at = (tap < 0 ? 0 : line->other[i] * still->stride[tap]) +
                   (along < 0 ? 0 : run->product[k].factor * still->stride[along]);
      int factor = line->other[i] * (int)taps + run->product[k].factor;
      if (mlirValueIsNull(weight[factor])) weight[factor] = anas_depthwise_load(d, &place, d->still, at);
      product[num++] = (struct anas_depthwise_product){run->product[k].dense,
                                                       line->row[i] * (int)run->size + run->product[k].sum, factor};
    }
  anas_depthwise_products(d, &place, num, product, sum, weight);
}

// The same if the row exists; sums of other rows of the block stay out of it.
static void emit_line_that_exists(const struct anas_depthwise *d, const struct blocks *b,
                                  struct anas_depthwise_place place, const struct anas_depthwise_line *line,
                                  const struct anas_depthwise_run *run, MlirValue *sum) {
  MlirValue changed[ANAS_DEPTHWISE_TILE];
  int index[ANAS_DEPTHWISE_TILE], num = 0;
  bool touched[ANAS_DEPTHWISE_TILE] = {false};
  for (int i = 0; i < line->num; i++)
    touched[line->row[i]] = true;
  for (int r = 0; r < b->tiles.block.rows; r++)
    for (int i = 0; touched[r] && i < run->size; i++) {
      index[num] = r * (int)run->size + i;
      changed[num] = sum[index[num]];
      num++;
    }
  struct anas_code_scope scope = anas_code_when(d->code, line->exists, num, changed);
  emit_line(d, b, place, line, run, sum);
  for (int i = 0; i < num; i++)
    changed[i] = sum[index[i]];
  anas_code_end(d->code, &scope, num, changed);
  for (int i = 0; i < num; i++)
    sum[index[i]] = anas_code_result(&scope, i);
}

static void emit_tile(const struct anas_depthwise *d, const struct anas_depthwise_tiles *tiles,
                      struct anas_depthwise_place place, const struct anas_depthwise_run *run) {
  const struct blocks *b = (const struct blocks *)tiles; // its first member
  struct anas_code *code = d->code;
  const struct anas_cpu_operand *out = &d->nest->operand[d->out];
  MlirValue sum[ANAS_DEPTHWISE_TILE], fill = anas_code_splat(code, anas_code_vector(d->lanes, code->f32), out->fill);
  for (int i = 0; i < b->tiles.block.rows * run->size; i++)
    sum[i] = fill;
  for (int i = 0; i < b->tiles.block.num; i++) {
    const struct anas_depthwise_line *line = &b->tiles.block.line[i];
    if (line->always)
      emit_line(d, b, place, line, run, sum);
    else
      emit_line_that_exists(d, b, place, line, run, sum);
  }
  for (int r = 0; r < b->tiles.block.rows; r++) {
    bool asked = !mlirValueIsNull(b->tiles.inside[r]);
    struct anas_code_scope scope = {0};
    if (asked) scope = anas_code_if(code, b->tiles.inside[r], false);
    int64_t at = b->tiles.block.loop < 0 ? 0 : r * out->stride[b->tiles.block.loop];
    for (int i = 0; i < run->size; i++) {
      anas_depthwise_store(d, &place, sum[r * run->size + i], at + i * out->stride[b->tiles.row]);
      if (!b->fetch) continue;
      struct anas_address next = anas_address_offset(place.at[d->out], at + i * out->stride[b->tiles.row] + b->fetch);
      anas_code_prefetch(code, d->flat[d->out], next, true);
    }
    if (asked) anas_code_end(code, &scope, 0, NULL);
  }
}

static void emit_loops(struct anas_depthwise *d, struct blocks *b, int level, struct anas_depthwise_place place) {
  struct anas_code *code = d->code;
  if (level == b->num_loops) {
    anas_depthwise_tiles_of_channels(d, &b->tiles, place);
    return;
  }
  MlirValue upper = anas_code_index(code, anas_depthwise_iterations(d, b->loop[level]));
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, 1, 0, NULL);
  emit_loops(d, b, level + 1, anas_depthwise_enter(d, &b->tiles, place, b->loop[level], scope.iv));
  anas_code_end(code, &scope, 0, NULL);
}

bool anas_depthwise_blocks(struct anas_depthwise *d, struct anas_depthwise_place place, MlirValue begin, MlirValue end,
                           int64_t *out_range) {
  struct anas_code *code = d->code;
  const struct anas_cpu_operand *out = &d->nest->operand[d->out];
  struct blocks b = {.tiles.emit = emit_tile};
  if (d->num_axes == 0 || !out->filled || !out->covered || !plan_blocks(d, &b, out_range)) {
    for (int l = 0; l < d->nest->num_loops; l++)
      d->tile[l] = 1;
    return false;
  }
  struct anas_code_scope scope = anas_code_for(code, begin, end, 1, 0, NULL);
  if (b.tiles.block.loop < 0) anas_depthwise_enter_block(d, &b.tiles.block, (MlirValue){0}, &place);
  MlirValue left = scope.iv;
  for (int i = b.num_range - 1; i >= 0; i--) {
    MlirValue size = anas_code_index(code, anas_depthwise_iterations(d, b.loop[i]));
    MlirValue digit = i > 0 ? anas_code_binary(code, "arith.remui", left, size) : left;
    if (i > 0) left = anas_code_binary(code, "arith.divui", left, size);
    place = anas_depthwise_enter(d, &b.tiles, place, b.loop[i], digit);
  }
  emit_loops(d, &b, b.num_range, place);
  anas_code_end(code, &scope, 0, NULL);
  return true;
}
