// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: choosing reduction blocks and loop order.
//
// Usually a panel of B for one tile of columns stays in the nearest caches while all rows of a chunk pass by, block by
// block of the reduction; the chunk's part of A and its results stay in the second level across reduction blocks and
// columns. Streams (few results of a long reduction: filter gradients) take the blocks of the reduction one after the
// other outside everything else, so that A and B come from memory once.
#include "passes/cpu/contraction.h"

#include <math.h>
#include <string.h>

// Of B: a packed panel streams from the second-level cache as fast as it is used, and long blocks save loads and stores
// of the accumulators. Panels with gaps between their rows must stay in the first level.
#define PANEL_BYTES 65536.0
#define LOOSE_PANEL_BYTES 20480.0
#define CHUNK_BYTES 524288.0         // of A and C, within a 1 MiB second-level cache
#define FETCHED_CHUNK_BYTES 360000.0 // of two chunks of A, and C, if the next A is fetched while one is in use
#define LONGEST_RUN 128
#define STREAM_BYTES 262144.0 // of A and B in one block of the reduction
#define STREAM_RESULT_BYTES 655360.0
#define MIN_PANEL_COLUMNS 6 // tiles of lanes that share a chunk of A
#define MIN_PANEL_TILES 4   // tiles of rows that share a panel of B
#define MIN_PANEL_STEPS 64
#define MAX_PANEL_STEPS 128
#define PANEL_CHUNK_BYTES 225000.0 // of A
#define STREAM_STEPS 64            // of a block, so that storing and loading accumulators does not matter

static double scaled(double bytes, double factor) {
  return factor > 0 ? bytes * factor : bytes;
}

// ---- reduction blocks

// Makes two loops of reduction loop k[i], the inner one with `inner` iterations.
static void split_reduction(struct anas_contraction *plan, int i, int64_t inner) {
  struct anas_cpu_nest *nest = &plan->split_nest;
  *nest = *plan->nest;
  plan->nest = nest;
  int loop = plan->k[i], outer = nest->num_loops++;
  nest->extent[outer] = nest->extent[loop] / inner;
  nest->extent[loop] = inner;
  nest->reduction[outer] = nest->reduction[loop];
  nest->split[outer] = nest->indexed[outer] = false;
  for (int o = 0; o < nest->num_operands; o++) {
    nest->operand[o].stride[outer] = nest->operand[o].stride[loop] * inner;
    nest->operand[o].slab[outer] = false;
  }
  plan->tile[outer] = 1;
  memmove(plan->k + i + 1, plan->k + i, sizeof *plan->k * (size_t)(plan->num_k - i));
  plan->k[i] = outer;
  plan->num_k++;
}

// Cuts a long reduction over consecutive elements of A, because the rows to come are asked for at the start of the
// innermost loop: a bounded number of lines at once.
static void cut_innermost(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  int loop = plan->num_k > 0 ? plan->k[plan->num_k - 1] : -1;
  if (loop < 0 || nest->operand[plan->a].stride[loop] != 1 || nest->num_loops == ANAS_CPU_LOOPS) return;
  int64_t extent = nest->extent[loop];
  for (int64_t inner = LONGEST_RUN; extent > LONGEST_RUN && inner * 2 >= LONGEST_RUN; inner--)
    if (extent % inner == 0) {
      split_reduction(plan, plan->num_k - 1, inner);
      return;
    }
}

static void choose_reduction_blocks(struct anas_contraction *plan) {
  int first = plan->stream;
  const struct anas_cpu_nest *nest = plan->nest;
  bool packed = plan->num_k == 0 || plan->pack_b ||
                nest->operand[plan->b].stride[plan->k[plan->num_k - 1]] <= 2 * (int64_t)plan->vectors * plan->lanes;
  double panel = scaled(packed ? PANEL_BYTES : LOOSE_PANEL_BYTES, plan->choice.panel);
  int64_t most = (int64_t)(panel / (4.0 * plan->vectors * plan->lanes)), steps = 1;
  plan->k_split = first;
  plan->k_block = plan->num_k > first ? nest->extent[plan->k[first]] : 1;
  int64_t all = 1;
  for (int i = first; i < plan->num_k; i++)
    all *= nest->extent[plan->k[i]];
  if (all <= most + most / 2) return; // not worth storing and loading the accumulators
  for (int i = plan->num_k - 1; i >= first; i--) {
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
  double c = footprint(plan, plan->c, extent);
  if (plan->fill_loop >= 0) // all of its slab is filled, and the next
    c = 2 * (double)(rows * nest->operand[plan->c].stride[plan->fill_loop] * 4);
  return (anas_contraction_fetches_a(plan) ? 2 : 1) * a + c; // the next chunk of A is on its way
}

static int64_t column_levels(const struct anas_contraction *plan) {
  int64_t blocks = (plan->nest->extent[plan->lane] + plan->lanes - 1) / plan->lanes;
  int64_t count = plan->spread >= 0 ? 1 : (blocks + plan->vectors - 1) / plan->vectors;
  for (int i = 0; i < plan->num_columns; i++)
    count *= plan->nest->extent[plan->column[i]] / (plan->column[i] == plan->spread ? plan->vectors : 1);
  return count;
}

// The largest chunk that fits the cache and leaves enough work items; false if none fits the cache.
static bool search_chunk(struct anas_contraction *plan, bool whole_reduction, int last_at, int64_t items, int64_t want,
                         double *out_tiles) {
  const struct anas_cpu_nest *nest = plan->nest;
  bool fitting = false;
  double limit = scaled(anas_contraction_fetches_a(plan) ? FETCHED_CHUNK_BYTES : CHUNK_BYTES, plan->choice.chunk);
  for (int at = 0; at <= last_at; at++) {
    int loop = plan->row[at];
    int64_t extent = nest->extent[loop], tile = plan->tile[loop], tiles = (extent + tile - 1) / tile;
    int64_t previous = 0;
    for (int64_t parts = 1; parts <= tiles; parts++) {
      int64_t rows = (tiles + parts - 1) / parts * tile;
      if (rows == previous) continue;
      previous = rows;
      if (chunk_bytes(plan, at, rows, whole_reduction) > limit) continue;
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
  double macs = (double)anas_cpu_nest_iterations(plan->nest);
  int64_t want = macs < ANAS_PARALLEL_MACS ? 1 : 8;
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
  if (plan->choice.columns) return plan->choice.columns > 0;
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

// ---- streams

// Takes the outer loops of a long reduction outside the range, so that A and B come from memory once, if the results
// stay in the second-level cache beside the A and B of what is left.
static void choose_stream(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  double extent[ANAS_CPU_LOOPS];
  for (int l = 0; l < nest->num_loops; l++)
    extent[l] = (double)nest->extent[l];
  if (plan->num_k == 0 || plan->num_batch > 0 || anas_cpu_needs_fill(nest) ||
      nest->operand[plan->a].stride[plan->k[plan->num_k - 1]] == 1 || nest->operand[plan->b].stride[plan->lane] != 1 ||
      footprint(plan, plan->c, extent) > STREAM_RESULT_BYTES ||
      footprint(plan, plan->a, extent) + footprint(plan, plan->b, extent) <= CHUNK_BYTES)
    return;
  int i = 0;
  int64_t block = 1;
  for (; i < plan->num_k; i++) {
    int loop = plan->k[i];
    int64_t whole = nest->extent[loop];
    for (block = whole; block > 1; block--) {
      if (whole % block) continue;
      extent[loop] = (double)block;
      if (footprint(plan, plan->a, extent) + footprint(plan, plan->b, extent) <= STREAM_BYTES) break;
    }
    extent[loop] = (double)block;
    if (block > 1) break;
  }
  int64_t steps = block;
  for (int j = i + 1; j < plan->num_k; j++)
    steps *= nest->extent[plan->k[j]];
  if (i == plan->num_k || steps < STREAM_STEPS) return; // as when nothing divides the loops
  if (block < nest->extent[plan->k[i]]) {
    if (nest->num_loops == ANAS_CPU_LOOPS) return;
    split_reduction(plan, i++, block);
  }
  plan->stream = i;
}

// The same where the results are many but a block of the reduction for a chunk of rows fits the second-level cache:
// filter gradients of dense layers. Panels of B are copied, A comes from memory once, and the results once a block.
// Also where a block of A would fit but its lines compete for the same cache sets: then chunks of A are copied, too.
static void choose_panels(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  if (plan->num_k != 1 || plan->num_rows != 1 || plan->num_batch > 0 || plan->spread >= 0 ||
      nest->operand[plan->b].stride[plan->lane] != 1 || anas_cpu_needs_fill(nest) ||
      column_levels(plan) < MIN_PANEL_COLUMNS || nest->num_loops == ANAS_CPU_LOOPS)
    return;
  int row = plan->row[0], k = plan->k[0];
  int64_t tile = plan->tile[row], whole = nest->extent[k], rows = nest->extent[row];
  bool apart = anas_contraction_steps_apart(plan);
  if (rows < MIN_PANEL_TILES * tile || (!apart && (double)whole * (double)(MIN_PANEL_TILES * tile) * 4 <= CHUNK_BYTES))
    return;
  int64_t block = MAX_PANEL_STEPS;
  while (block >= MIN_PANEL_STEPS && whole % block != 0)
    block--;
  if (block < MIN_PANEL_STEPS || block == whole) return;
  int64_t most = (int64_t)(PANEL_CHUNK_BYTES / (4.0 * (double)block));
  if (apart) most = most * tile / ((tile + plan->lanes - 1) / plan->lanes * plan->lanes); // what the copy takes
  int64_t chunks = (rows + most - 1) / most;
  split_reduction(plan, 0, block);
  plan->stream = 1;
  plan->panels = true;
  plan->chunk_rows = ((rows + chunks - 1) / chunks + tile - 1) / tile * tile;
}

static void stream_levels(struct anas_contraction *plan) {
  plan->fill_loop = -1;
  if (plan->panels) {
    plan->chunk_at = 0;
    row_levels(plan, plan->outer, &plan->num_outer);
    column_level_list(plan, plan->outer, &plan->num_outer);
    return;
  }
  plan->chunk_at = 0;
  plan->chunk_rows = plan->num_rows > 0 ? plan->tile[plan->row[0]] : 1;
  column_level_list(plan, plan->outer, &plan->num_outer);
  row_levels(plan, plan->outer, &plan->num_outer);
}

void anas_contraction_order(struct anas_contraction *plan) {
  if (!plan->choice.no_stream) choose_panels(plan);
  if (!plan->choice.no_stream && !plan->panels) choose_stream(plan);
  anas_contraction_packing(plan);
  if (!plan->stream && plan->num_batch == 0 && !plan->pack_a && !plan->pack_b &&
      (plan->num_k > 1 || plan->num_rows > 1))
    cut_innermost(plan);
  choose_reduction_blocks(plan);
  if (plan->stream)
    stream_levels(plan);
  else
    choose_levels(plan);
  anas_contraction_packed_sizes(plan);
  anas_contraction_prefetching(plan);
}
