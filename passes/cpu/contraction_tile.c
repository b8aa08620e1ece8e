// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: choosing the register tile.
#include "passes/cpu/contraction.h"

#include <math.h>
#include <string.h>

#define MAX_VECTORS 6

// Cycles of one reduction step on a processor that starts two multiply-adds and two loads a cycle, with a latency of
// four; overhead is the loop and what the operands of another step cost outside the first-level cache.
static double step_cycles(double rows, double vectors, double overhead) {
  return fmax(fmax(rows * vectors, rows + vectors) / 2, 4) + overhead;
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
  // Products whose rows of A lie side by side take both operands step by step from the second level.
  bool side_by_side = plan->num_rows == 1 && plan->num_k == 1 && nest->operand[plan->a].stride[plan->row[0]] == 1;
  double overhead = side_by_side ? 0.8 : 0.4;
  for (int part = 0; part < 2; part++) {
    double v = part ? (double)rest : vectors, count = part ? 1 : (double)whole;
    if (v == 0 || count == 0) continue;
    cost += count * tiles * (double)left_whole * step_cycles(rows, v, overhead);
    if (left) cost += count * tiles * step_cycles(left_rows, v, overhead);
  }
  if (left && !side_by_side) cost *= 1.06; // more code, and a branch
  if (spread < 0)                          // as for spread: every other column repeats this
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

static bool wanted(const struct anas_contraction *plan, int vectors) {
  return !plan->choice.vectors || plan->choice.vectors == vectors;
}

void anas_contraction_tile(struct anas_contraction *plan, const struct anas_cpu_target *target) {
  const struct anas_cpu_nest *nest = plan->nest;
  struct tile_search search = {.plan = plan, .registers = target->registers, .best = INFINITY};
  for (int l = 0; l < nest->num_loops; l++)
    search.tile[l] = 1;
  int64_t blocks = (nest->extent[plan->lane] + plan->lanes - 1) / plan->lanes;
  for (int vectors = 1; vectors <= MAX_VECTORS && vectors <= blocks; vectors++)
    if (wanted(plan, vectors)) search_rows(&search, plan->num_rows - 1, 1, false, vectors, -1);
  bool spreads = blocks == 1 && nest->operand[plan->b].stride[plan->lane] == 1;
  for (int i = 0; spreads && i < plan->num_columns; i++)
    for (int vectors = 2; vectors <= MAX_VECTORS; vectors++)
      if (nest->extent[plan->column[i]] % vectors == 0 && wanted(plan, vectors))
        search_rows(&search, plan->num_rows - 1, 1, false, vectors, plan->column[i]);
  if (!isinf(search.best) || !plan->choice.vectors) return;
  plan->choice.vectors = 0; // no tile has that many
  anas_contraction_tile(plan, target);
}
