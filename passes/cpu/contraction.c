// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: recognising them, and choosing register tile, reduction blocks and loop order.
//
// Inside a reduction block the panel of B for one tile of columns stays in the nearest caches while all rows of a chunk
// pass by; the chunk's part of A and its results stay in the second level across reduction blocks and columns.
#include "passes/cpu/contraction.h"

#include <math.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

// Of B: a packed panel streams from the second-level cache as fast as it is used, and long blocks save loads and stores
// of the accumulators. Panels with gaps between their rows must stay in the first level.
#define PANEL_BYTES 65536.0
#define LOOSE_PANEL_BYTES 20480.0
#define CHUNK_BYTES 524288.0 // of A and C, within a 1 MiB second-level cache
#define MAX_VECTORS 6
#define MIN_PARALLEL_MACS 200000.0

// ---- recognition
// -----------------------------------------------------------------------------------------------------

static bool is_op(MlirOperation op, const char *name) {
  return !mlirOperationIsNull(op) && strcmp(mlirIdentifierStr(mlirOperationGetName(op)).data, name) == 0;
}

static bool has_operands(MlirOperation op, MlirValue a, MlirValue b) {
  MlirValue x = mlirOperationGetOperand(op, 0), y = mlirOperationGetOperand(op, 1);
  return (mlirValueEqual(x, a) && mlirValueEqual(y, b)) || (mlirValueEqual(x, b) && mlirValueEqual(y, a));
}

// acc + in0 * in1, nothing else
static bool multiplies_and_adds(const struct anas_cpu_nest *nest) {
  if (nest->num_in != 2 || nest->num_operands != 3) return false;
  for (int o = 0; o < nest->num_operands; o++)
    if (!mlirTypeIsAF32(nest->operand[o].element)) return false;
  MlirOperation product = mlirBlockGetFirstOperation(nest->body);
  if (!is_op(product, "arith.mulf")) return false;
  MlirOperation sum = mlirOperationGetNextInBlock(product);
  if (!is_op(sum, "arith.addf")) return false;
  MlirOperation yield = mlirOperationGetNextInBlock(sum);
  return is_op(yield, "linalg.yield") &&
         has_operands(product, mlirBlockGetArgument(nest->body, nest->operand[0].argument),
                      mlirBlockGetArgument(nest->body, nest->operand[1].argument)) &&
         has_operands(sum, mlirBlockGetArgument(nest->body, nest->operand[2].argument),
                      mlirOperationGetResult(product, 0)) &&
         mlirValueEqual(mlirOperationGetOperand(yield, 0), mlirOperationGetResult(sum, 0));
}

static bool choose_lane(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  plan->lane = -1;
  for (int l = 0; l < nest->num_loops; l++) {
    int64_t s0 = nest->operand[0].stride[l], s1 = nest->operand[1].stride[l];
    if (nest->operand[2].stride[l] != 1 || s0 + s1 != 1 || s0 * s1 != 0) continue;
    if (plan->lane >= 0 && nest->extent[plan->lane] >= nest->extent[l]) continue;
    plan->lane = l;
    plan->a = s0 == 0 ? 0 : 1;
    plan->b = 1 - plan->a;
  }
  plan->c = 2;
  return plan->lane >= 0;
}

// Inserts a loop so that strides in operand o fall.
static void insert_by_stride(const struct anas_cpu_nest *nest, int o, int *loops, int *num, int loop) {
  int at = (*num)++;
  for (; at > 0 && nest->operand[o].stride[loops[at - 1]] < nest->operand[o].stride[loop]; at--)
    loops[at] = loops[at - 1];
  loops[at] = loop;
}

static bool classify(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  for (int l = 0; l < nest->num_loops; l++) {
    bool in_a = nest->operand[plan->a].stride[l], in_b = nest->operand[plan->b].stride[l];
    if (nest->operand[plan->c].stride[l] == 0) {
      if (!nest->reduction[l]) return false;
      plan->k[plan->num_k++] = l;
      continue;
    }
    if (!nest->split[l]) return false;
    if (l == plan->lane) continue;
    if (in_a && in_b)
      plan->batch[plan->num_batch++] = l;
    else if (in_a)
      insert_by_stride(nest, plan->a, plan->row, &plan->num_rows, l);
    else if (in_b)
      plan->column[plan->num_columns++] = l;
    else
      return false;
  }
  return true;
}

// ---- register tile
// ---------------------------------------------------------------------------------------------------

// Cycles of one reduction step on a processor that starts two multiply-adds and two loads a cycle, with a latency of
// four; the constant is the loop.
static double step_cycles(double rows, double vectors) {
  return fmax(fmax(rows * vectors, rows + vectors) / 2, 4) + 0.4;
}

struct tile_search {
  struct anas_contraction *plan;
  int registers;
  int64_t tile[ANAS_CPU_LOOPS];
  double best;
};

static void consider(struct tile_search *search, int vectors, int spread) {
  struct anas_contraction *plan = search->plan;
  const struct anas_cpu_nest *nest = plan->nest;
  double rows = 1, tiles = 1, left_rows = 0;
  int64_t left = 0, left_tile = 1, left_whole = 1;
  for (int i = 0; i < plan->num_rows; i++) {
    int64_t extent = nest->extent[plan->row[i]], tile = search->tile[plan->row[i]];
    rows *= (double)tile;
    if (extent % tile == 0) {
      tiles *= (double)(extent / tile);
    } else {
      left = extent % tile;
      left_tile = tile;
      left_whole = extent / tile;
    }
  }
  if (rows * vectors + vectors + 1 > search->registers - (search->registers > 16)) return;
  left_rows = rows / (double)left_tile * (double)left;
  int64_t blocks = (nest->extent[plan->lane] + plan->lanes - 1) / plan->lanes;
  int64_t whole = spread >= 0 ? nest->extent[spread] / vectors : blocks / vectors;
  int64_t rest = spread >= 0 ? 0 : blocks % vectors;
  double cost = 0;
  for (int part = 0; part < 2; part++) {
    double v = part ? (double)rest : vectors, count = part ? 1 : (double)whole;
    if (v == 0 || count == 0) continue;
    cost += count * tiles * (double)left_whole * step_cycles(rows, v);
    if (left) cost += count * tiles * step_cycles(left_rows, v);
  }
  if (left) cost *= 1.06; // more code, and a branch
  if (spread < 0)         // as for spread: every other column repeats this
    for (int i = 0; i < plan->num_columns; i++)
      cost *= (double)nest->extent[plan->column[i]];
  else
    for (int i = 0; i < plan->num_columns; i++)
      if (plan->column[i] != spread) cost *= (double)nest->extent[plan->column[i]];
  if (cost >= search->best * 0.999) return;
  search->best = cost;
  plan->vectors = vectors;
  plan->spread = spread;
  memcpy(plan->tile, search->tile, sizeof plan->tile);
}

// Tiles of row loops from the fastest to the slowest; one of them may leave a remainder.
static void search_rows(struct tile_search *search, int position, int64_t rows, bool remainder, int vectors,
                        int spread) {
  struct anas_contraction *plan = search->plan;
  if (position < 0) {
    consider(search, vectors, spread);
    return;
  }
  int loop = plan->row[position];
  int64_t extent = plan->nest->extent[loop], most = search->registers / vectors / rows;
  for (int64_t tile = most < extent ? most : extent; tile >= 1; tile--) {
    bool divides = extent % tile == 0;
    if (!divides && remainder) continue;
    search->tile[loop] = tile;
    search_rows(search, position - 1, rows * tile, remainder || !divides, vectors, spread);
  }
  search->tile[loop] = 1;
}

static void choose_tile(struct anas_contraction *plan, const struct anas_cpu_target *target) {
  const struct anas_cpu_nest *nest = plan->nest;
  struct tile_search search = {.plan = plan, .registers = target->registers, .best = INFINITY};
  for (int l = 0; l < nest->num_loops; l++)
    search.tile[l] = 1;
  int64_t blocks = (nest->extent[plan->lane] + plan->lanes - 1) / plan->lanes;
  for (int vectors = 1; vectors <= MAX_VECTORS && vectors <= blocks; vectors++)
    search_rows(&search, plan->num_rows - 1, 1, false, vectors, -1);
  if (blocks > 1) return;
  for (int i = 0; i < plan->num_columns; i++)
    for (int vectors = 2; vectors <= MAX_VECTORS; vectors++)
      if (nest->extent[plan->column[i]] % vectors == 0)
        search_rows(&search, plan->num_rows - 1, 1, false, vectors, plan->column[i]);
}

// ---- reduction blocks
// ------------------------------------------------------------------------------------------------

static void choose_reduction_blocks(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  bool packed = plan->num_k == 0 ||
                nest->operand[plan->b].stride[plan->k[plan->num_k - 1]] <= 2 * (int64_t)plan->vectors * plan->lanes;
  int64_t most = (int64_t)((packed ? PANEL_BYTES : LOOSE_PANEL_BYTES) / (4.0 * plan->vectors * plan->lanes)), steps = 1;
  plan->k_split = 0;
  plan->k_block = plan->num_k > 0 ? nest->extent[plan->k[0]] : 1;
  int64_t all = 1;
  for (int i = 0; i < plan->num_k; i++)
    all *= nest->extent[plan->k[i]];
  if (all <= most + most / 2) return; // not worth storing and loading the accumulators
  for (int i = plan->num_k - 1; i >= 0; i--) {
    int64_t extent = nest->extent[plan->k[i]];
    if (steps * extent <= most) {
      steps *= extent;
      continue;
    }
    int64_t fits = most / steps > 0 ? most / steps : 1;
    int64_t blocks = (extent + fits - 1) / fits;
    plan->k_split = i;
    plan->k_block = (extent + blocks - 1) / blocks;
    // Equal blocks if they need not be much smaller.
    for (int64_t block = plan->k_block; block * 3 >= fits * 2; block--)
      if (extent % block == 0) {
        plan->k_block = block;
        break;
      }
    return;
  }
}

// ---- loop order
// ------------------------------------------------------------------------------------------------------

// Bytes of cache lines operand o touches when loop l takes extent[l] consecutive values. Loops are taken by rising
// stride; one whose stride is within the span so far overlaps with it (taps and positions of a convolution).
static double footprint(const struct anas_contraction *plan, int o, const double *extent) {
  const struct anas_cpu_nest *nest = plan->nest;
  bool done[ANAS_CPU_LOOPS] = {false};
  double count = 1, span = 1, run = 1;
  for (;;) {
    int next = -1;
    double stride = 0;
    for (int l = 0; l < nest->num_loops; l++) {
      double s = fabs((double)nest->operand[o].stride[l]);
      if (done[l] || s == 0 || (next >= 0 && s >= stride)) continue;
      next = l;
      stride = s;
    }
    if (next < 0) break;
    done[next] = true;
    span += (extent[next] - 1) * stride;
    count = fmin(count * extent[next], span);
    if (stride == 1) run = extent[next];
  }
  return count * 4 * (run < 16 ? 16 / run : 1);
}

// Footprint of A and C for a chunk: row loops before `at` fixed, `rows` of loop `at`, all of the others; one tile of
// columns; the whole reduction or one block of it.
static double chunk_bytes(const struct anas_contraction *plan, int at, int64_t rows, bool whole_reduction) {
  const struct anas_cpu_nest *nest = plan->nest;
  double extent[ANAS_CPU_LOOPS];
  for (int l = 0; l < nest->num_loops; l++)
    extent[l] = 1;
  for (int i = at; i < plan->num_rows; i++)
    extent[plan->row[i]] = (double)nest->extent[plan->row[i]];
  if (at < plan->num_rows) extent[plan->row[at]] = (double)rows;
  for (int i = 0; i < plan->num_k; i++) {
    extent[plan->k[i]] = (double)nest->extent[plan->k[i]];
    if (!whole_reduction && i <= plan->k_split) extent[plan->k[i]] = i < plan->k_split ? 1 : (double)plan->k_block;
  }
  double a = footprint(plan, plan->a, extent);
  extent[plan->lane] = fmin((double)nest->extent[plan->lane], (double)plan->vectors * plan->lanes);
  if (plan->spread >= 0) extent[plan->spread] = plan->vectors;
  return a + footprint(plan, plan->c, extent);
}

static int64_t column_levels(const struct anas_contraction *plan) {
  int64_t blocks = (plan->nest->extent[plan->lane] + plan->lanes - 1) / plan->lanes;
  int64_t count = plan->spread >= 0 ? 1 : (blocks + plan->vectors - 1) / plan->vectors;
  for (int i = 0; i < plan->num_columns; i++)
    count *= plan->nest->extent[plan->column[i]] / (plan->column[i] == plan->spread ? plan->vectors : 1);
  return count;
}

static double total_macs(const struct anas_contraction *plan) {
  return (double)anas_cpu_nest_iterations(plan->nest);
}

// The largest chunk that fits the cache and leaves enough work items; false if none fits the cache.
static bool search_chunk(struct anas_contraction *plan, bool whole_reduction, int last_at, int64_t items, int64_t want,
                         double *out_tiles) {
  const struct anas_cpu_nest *nest = plan->nest;
  bool fitting = false;
  for (int at = 0; at <= last_at; at++) {
    int loop = plan->row[at];
    int64_t extent = nest->extent[loop], tile = plan->tile[loop], tiles = (extent + tile - 1) / tile;
    int64_t previous = 0;
    for (int64_t parts = 1; parts <= tiles; parts++) {
      int64_t rows = (tiles + parts - 1) / parts * tile;
      if (rows == previous) continue;
      previous = rows;
      if (chunk_bytes(plan, at, rows, whole_reduction) > CHUNK_BYTES) continue;
      int64_t chunks = (extent + rows - 1) / rows;
      fitting = true;
      plan->chunk_at = at;
      plan->chunk_rows = rows;
      *out_tiles = (double)rows / (double)tile;
      for (int i = at + 1; i < plan->num_rows; i++)
        *out_tiles *= ceil((double)nest->extent[plan->row[i]] / (double)plan->tile[plan->row[i]]);
      if (items * chunks >= want) return true;
    }
    if (extent % tile != 0) break; // a loop with a remainder can be cut but not be a level
    items *= extent / tile;
  }
  return fitting;
}

static void choose_chunk(struct anas_contraction *plan, int last_at) {
  plan->chunk_at = 0;
  plan->chunk_rows = plan->num_rows > 0 ? plan->nest->extent[plan->row[0]] : 1;
  if (plan->num_rows == 0) return;
  int64_t items = column_levels(plan);
  for (int i = 0; i < plan->num_batch; i++)
    items *= plan->nest->extent[plan->batch[i]];
  double macs = total_macs(plan);
  int64_t want = macs < MIN_PARALLEL_MACS ? 1 : 8;
  double tiles;
  struct anas_contraction block = *plan;
  bool whole = search_chunk(plan, true, last_at, items, want, &tiles);
  // With few tiles a chunk the panels of B would be loaded too often: let only one reduction block of A stay.
  double block_tiles;
  if ((!whole || tiles < 8) && search_chunk(&block, false, last_at, items, want, &block_tiles) &&
      (!whole || block_tiles > tiles))
    *plan = block;
  else if (!whole)
    plan->chunk_rows = plan->tile[plan->row[0]];
}

static void add_level(struct anas_level *levels, int *num, enum anas_level_kind kind, int loop, int64_t count) {
  if (count > 1 || kind == ANAS_LEVEL_CHUNK) levels[(*num)++] = (struct anas_level){kind, loop, count};
}

static void row_levels(const struct anas_contraction *plan, struct anas_level *levels, int *num) {
  if (plan->num_rows == 0) return;
  for (int i = 0; i < plan->chunk_at; i++) {
    int loop = plan->row[i];
    add_level(levels, num, ANAS_LEVEL_ROWS, loop, plan->nest->extent[loop] / plan->tile[loop]);
  }
  int loop = plan->row[plan->chunk_at];
  add_level(levels, num, ANAS_LEVEL_CHUNK, loop, (plan->nest->extent[loop] + plan->chunk_rows - 1) / plan->chunk_rows);
}

static void column_level_list(const struct anas_contraction *plan, struct anas_level *levels, int *num) {
  for (int i = 0; i < plan->num_columns; i++) {
    int loop = plan->column[i];
    add_level(levels, num, ANAS_LEVEL_COLUMN, loop,
              plan->nest->extent[loop] / (loop == plan->spread ? plan->vectors : 1));
  }
  int64_t blocks = (plan->nest->extent[plan->lane] + plan->lanes - 1) / plan->lanes;
  if (plan->spread < 0)
    add_level(levels, num, ANAS_LEVEL_LANE, plan->lane, (blocks + plan->vectors - 1) / plan->vectors);
}

// Columns outside rows reads A once a column tile; rows outside columns reads B once a chunk.
static bool columns_outside(const struct anas_contraction *plan) {
  double extent[ANAS_CPU_LOOPS];
  for (int l = 0; l < plan->nest->num_loops; l++)
    extent[l] = (double)plan->nest->extent[l];
  struct anas_level levels[ANAS_CPU_LOOPS];
  int num = 0;
  double chunks = 1;
  row_levels(plan, levels, &num);
  for (int i = 0; i < num; i++)
    chunks *= (double)levels[i].count;
  return footprint(plan, plan->b, extent) * chunks > footprint(plan, plan->a, extent) * (double)column_levels(plan);
}

static bool slab_for_fill(const struct anas_contraction *plan, int loop) {
  return plan->nest->operand[plan->c].slab[loop];
}

static void choose_levels(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  plan->fill_loop = -1;
  if (!anas_cpu_needs_fill(nest)) {
    choose_chunk(plan, plan->num_rows - 1);
    for (int i = 0; i < plan->num_batch; i++)
      add_level(plan->outer, &plan->num_outer, ANAS_LEVEL_BATCH, plan->batch[i], nest->extent[plan->batch[i]]);
    bool columns_first = columns_outside(plan);
    if (columns_first) column_level_list(plan, plan->outer, &plan->num_outer);
    row_levels(plan, plan->outer, &plan->num_outer);
    if (!columns_first) column_level_list(plan, plan->outer, &plan->num_outer);
    return;
  }
  // Each work item first fills its slab of C, so it must own one: only the slab loop is split.
  for (int i = 0; i < plan->num_rows && plan->fill_loop < 0; i++) {
    int loop = plan->row[i];
    if (!slab_for_fill(plan, loop)) continue;
    plan->fill_loop = loop;
    for (; i > 0; i--)
      plan->row[i] = plan->row[i - 1];
    plan->row[0] = loop;
  }
  if (plan->fill_loop >= 0) {
    choose_chunk(plan, 0);
    row_levels(plan, plan->outer, &plan->num_outer);
  } else {
    plan->chunk_at = 0;
    plan->chunk_rows = plan->num_rows > 0 ? nest->extent[plan->row[0]] : 1;
  }
  for (int i = 0; i < plan->num_batch; i++) {
    int loop = plan->batch[i];
    bool owner = plan->fill_loop < 0 && slab_for_fill(plan, loop);
    if (owner) plan->fill_loop = loop;
    add_level(owner ? plan->outer : plan->inner, owner ? &plan->num_outer : &plan->num_inner, ANAS_LEVEL_BATCH, loop,
              nest->extent[loop]);
  }
  if (plan->num_outer == 0 || plan->outer[0].kind == ANAS_LEVEL_BATCH) row_levels(plan, plan->inner, &plan->num_inner);
  column_level_list(plan, plan->inner, &plan->num_inner);
}

bool anas_contraction_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                           struct anas_contraction *out) {
  if (!multiplies_and_adds(nest)) return false;
  struct anas_contraction plan = {.nest = nest, .lanes = target->lanes};
  if (!choose_lane(&plan) || !classify(&plan)) return false;
  choose_tile(&plan, target);
  choose_reduction_blocks(&plan);
  choose_levels(&plan);
  *out = plan;
  return true;
}

int64_t anas_contraction_range(const struct anas_contraction *plan) {
  int64_t range = 1;
  for (int i = 0; i < plan->num_outer; i++)
    range *= plan->outer[i].count;
  return range;
}

bool anas_cpu_contraction(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                          struct anas_cpu_range *out) {
  struct anas_contraction plan;
  if (!anas_contraction_plan(nest, code->target, &plan)) return false;
  anas_contraction_emit(code, &plan, begin, end);
  out->iterations = anas_contraction_range(&plan);
  out->parallel = out->iterations > 1 && total_macs(&plan) > MIN_PARALLEL_MACS;
  return true;
}
