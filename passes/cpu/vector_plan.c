// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Planning of vector code: which loop runs over the lanes, which are split over threads, tiled or unrolled.
#include "passes/cpu/vector.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define FAR_STRIDE 128         // elements
#define MOST_ELEMENT_MOVES 512 // in the innermost loop

static const struct anas_combiner combiners[] = {
    {"arith.addf", true, 0.0},           {"arith.mulf", true, 1.0},         {"arith.maxnumf", true, -INFINITY},
    {"arith.maximumf", true, -INFINITY}, {"arith.minnumf", true, INFINITY}, {"arith.minimumf", true, INFINITY},
    {"arith.addi", false, 0.0},          {"arith.muli", false, 1.0},
};

static const char *name_of(MlirOperation op) {
  return mlirIdentifierStr(mlirOperationGetName(op)).data;
}

static bool is_free(const struct anas_cpu_nest *nest, int loop) {
  for (int o = nest->num_in; o < nest->num_operands; o++)
    if (nest->operand[o].stride[loop] == 0) return false;
  return true;
}

static bool stands_still(const struct anas_cpu_nest *nest, int loop) {
  for (int o = nest->num_in; o < nest->num_operands; o++)
    if (nest->operand[o].stride[loop] != 0) return false;
  return true;
}

const struct anas_combiner *anas_cpu_find_combiner(const struct anas_cpu_nest *nest, int o) {
  MlirValue accumulator = mlirBlockGetArgument(nest->body, nest->operand[o].argument);
  MlirOpOperand use = mlirValueGetFirstUse(accumulator);
  if (mlirOpOperandIsNull(use) || !mlirOpOperandIsNull(mlirOpOperandGetNextUse(use))) return NULL;
  MlirOperation op = mlirOpOperandGetOwner(use), yield = mlirBlockGetTerminator(nest->body);
  if (mlirOperationGetNumResults(op) != 1) return NULL;
  if (!mlirValueEqual(mlirOperationGetOperand(yield, o - nest->num_in), mlirOperationGetResult(op, 0))) return NULL;
  MlirOpOperand result_use = mlirValueGetFirstUse(mlirOperationGetResult(op, 0));
  if (!mlirOpOperandIsNull(mlirOpOperandGetNextUse(result_use))) return NULL;
  for (size_t i = 0; i < sizeof combiners / sizeof *combiners; i++)
    if (strcmp(combiners[i].op, name_of(op)) == 0) return &combiners[i];
  return NULL;
}

// ---- choosing the loops
// ----------------------------------------------------------------------------------------------

static double body_cost(const struct anas_cpu_nest *nest) {
  double cost = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(nest->body); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    cost += strncmp(name_of(op), "math.", 5) == 0 ? 16 : 1;
  return cost;
}

// Estimated vector instructions of the whole nest with `loop` in the lanes; infinite if impossible.
static double lane_cost(const struct anas_vector_plan *plan, int loop) {
  const struct anas_cpu_nest *nest = &plan->nest;
  bool reduces = stands_still(nest, loop);
  if ((!reduces && !is_free(nest, loop)) || anas_cpu_has_border(nest, loop)) return INFINITY;
  double once = body_cost(nest);
  for (int o = 0; o < nest->num_operands; o++) {
    if (reduces && o >= nest->num_in && !plan->combiner[o]) return INFINITY;
    int64_t stride = nest->operand[o].stride[loop];
    if (!plan->used[o] && o < nest->num_in) continue;
    // Lanes in far apart cache lines compete for the same sets, and every line is fetched for one element.
    double element = stride > -FAR_STRIDE && stride < FAR_STRIDE ? 1.5 : 3;
    once += stride == 1 ? 1 : stride == 0 ? 0.5 : element * plan->lanes;
  }
  double iterations = (double)anas_cpu_nest_iterations(nest), extent = (double)nest->extent[loop];
  double cost = iterations / extent * ceil(extent / plan->lanes) * once;
  if (reduces) {
    double results = 1; // times a horizontal reduction
    for (int l = 0; l < nest->num_loops; l++)
      if (!stands_still(nest, l)) results *= (double)nest->extent[l];
    cost += results * 12 * (nest->num_operands - nest->num_in);
  }
  return cost;
}

static void add_unit_loop(struct anas_cpu_nest *nest) {
  int l = nest->num_loops++;
  nest->extent[l] = 1;
  nest->split[l] = true;
  nest->reduction[l] = nest->indexed[l] = false;
  for (int o = 0; o < nest->num_operands; o++) {
    nest->operand[o].stride[l] = 1;
    nest->operand[o].slab[l] = false;
  }
}

static double choose_lane(struct anas_vector_plan *plan) {
  double best = INFINITY;
  for (int l = 0; l < plan->nest.num_loops; l++) {
    double cost = lane_cost(plan, l);
    if (cost >= best) continue;
    best = cost;
    plan->lane = l;
  }
  if (isinf(best)) { // only loops that cannot be vectorised: one lane
    plan->lane = plan->nest.num_loops;
    add_unit_loop(&plan->nest);
    best = lane_cost(plan, plan->lane);
  }
  plan->lane_reduces = stands_still(&plan->nest, plan->lane);
  return best;
}

// Distance the outputs move in a loop: slow loops go outside.
static int64_t output_stride(const struct anas_cpu_nest *nest, int loop) {
  int64_t sum = 0;
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    int64_t stride = nest->operand[o].stride[loop];
    sum += stride < 0 ? -stride : stride;
  }
  return sum;
}

static bool slab_for_fills(const struct anas_cpu_nest *nest, int loop) {
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    const struct anas_cpu_operand *operand = &nest->operand[o];
    if (operand->filled && !operand->covered && !operand->slab[loop]) return false;
  }
  return nest->split[loop];
}

// Loops whose iterations may go to different threads come first, each group by falling stride of the outputs.
static void order_loops(struct anas_vector_plan *plan) {
  const struct anas_cpu_nest *nest = &plan->nest;
  for (int l = 0; l < nest->num_loops; l++) {
    if (l == plan->lane) continue;
    if (!is_free(nest, l)) {
      plan->accumulating[plan->num_accumulating++] = l;
      continue;
    }
    int at = plan->num_free++;
    for (; at > 0; at--) {
      int other = plan->free_loop[at - 1];
      bool before =
          nest->split[l] != nest->split[other] ? nest->split[l] : output_stride(nest, l) > output_stride(nest, other);
      if (!before) break;
      plan->free_loop[at] = other;
    }
    plan->free_loop[at] = l;
  }
}

static int num_register_outputs(const struct anas_vector_plan *plan) {
  int num = 0;
  for (int o = plan->nest.num_in; o < plan->nest.num_operands; o++)
    num += !plan->in_memory[o] && plan->used[o];
  return num;
}

static bool reads_once(const struct anas_cpu_nest *nest, int loop) {
  for (int o = 0; o < nest->num_in; o++)
    if (!anas_cpu_moves(nest, o, loop)) return true;
  return false;
}

// Some input is read from end to end, every element once: then memory is the limit, and its order the thing to keep.
static bool streams(const struct anas_cpu_nest *nest) {
  for (int o = 0; o < nest->num_in; o++)
    if (nest->operand[o].elements >= anas_cpu_nest_iterations(nest)) return true;
  return false;
}

// Tiles for reductions that stay in registers and have cheap bodies, such as depthwise convolutions.
static void choose_tiles(struct anas_vector_plan *plan) {
  const struct anas_cpu_nest *nest = &plan->nest;
  for (int l = 0; l < nest->num_loops; l++)
    plan->tile[l] = 1;
  plan->copies = 1;
  int outputs = num_register_outputs(plan), room = plan->code->target->registers / 2;
  if (plan->num_accumulating == 0 || plan->lane_reduces || body_cost(nest) > 8 || anas_cpu_needs_fill(nest) ||
      streams(nest) || outputs == 0 ||
      outputs != nest->num_operands - nest->num_in) // 0: they are all updated in memory
    return;
  assert(outputs > 0); // every kernel function writes something
  bool taken[ANAS_CPU_LOOPS] = {false};
  for (int round = 0; round < plan->num_free; round++) {
    int loop = -1; // the fastest loop left
    for (int i = 0; i < plan->num_free; i++) {
      int l = plan->free_loop[i];
      if (!taken[l] && (loop < 0 || output_stride(nest, l) < output_stride(nest, loop))) loop = l;
    }
    taken[loop] = true;
    if (!reads_once(nest, loop)) continue;
    int64_t tile = room / (plan->copies * outputs);
    if (tile > nest->extent[loop]) tile = nest->extent[loop];
    while (tile > 1 && nest->extent[loop] % tile != 0)
      tile--;
    if (tile <= 1) continue;
    plan->tile[loop] = tile;
    plan->tiled[plan->num_tiled++] = loop;
    plan->copies *= (int)tile;
  }
}

// Loads and stores of single elements for one vector of every operand: lanes that are not neighbours.
static int64_t element_moves(const struct anas_vector_plan *plan) {
  int64_t moves = 0;
  for (int o = 0; o < plan->nest.num_operands; o++) {
    int64_t stride = plan->nest.operand[o].stride[plan->lane];
    if (plan->used[o] && stride != 0 && stride != 1) moves += plan->lanes;
  }
  return moves;
}

// Short accumulating loops are unrolled: windows of three by three would be mostly loop. Where lanes are moved one by
// one, that is little, and LLVM's time grows faster than the code.
static void choose_unrolling(struct anas_vector_plan *plan) {
  int64_t copies = (int64_t)plan->copies * plan->vectors, most = 256 / copies, product = 1, moves = element_moves(plan);
  if (most > 32) most = 32;
  if (moves > 0 && most > MOST_ELEMENT_MOVES / (copies * moves)) most = MOST_ELEMENT_MOVES / (copies * moves);
  if (streams(&plan->nest) && most > 8) most = 8; // memory is the limit
  plan->unrolled_from = plan->num_accumulating;
  if (body_cost(&plan->nest) > 8) return;
  for (int i = plan->num_accumulating - 1; i >= 0; i--) {
    product *= plan->nest.extent[plan->accumulating[i]];
    if (product > most) return;
    plan->unrolled_from = i;
  }
}

// Reading a column block by block would take a few cache lines of every row, which no prefetcher likes.
static void choose_rows(struct anas_vector_plan *plan) {
  const int64_t most_bytes = 16384, least_tasks = 8; // of accumulators, which stay in the first-level cache
  struct anas_cpu_nest *nest = &plan->nest;
  int outputs = nest->num_operands - nest->num_in;
  int64_t tasks = 1, width = nest->extent[plan->lane];
  for (int i = 0; i < plan->num_free; i++)
    if (nest->split[plan->free_loop[i]]) tasks *= nest->extent[plan->free_loop[i]];
  plan->by_rows = plan->num_accumulating > 0 && !plan->lane_reduces && plan->copies == 1 && streams(nest) &&
                  num_register_outputs(plan) == outputs && !anas_cpu_needs_fill(nest) &&
                  width > (int64_t)plan->vectors * plan->lanes && width * outputs * 4 <= most_bytes &&
                  tasks >= least_tasks;
  if (plan->by_rows && plan->vectors > 2) plan->vectors = 2;
}

static void take_outer(struct anas_vector_plan *plan, int position) {
  plan->outer[plan->num_outer++] = plan->free_loop[position];
  plan->num_free--;
  memmove(&plan->free_loop[position], &plan->free_loop[position + 1],
          sizeof plan->free_loop[0] * (size_t)(plan->num_free - position));
}

int64_t anas_vector_steps(const struct anas_vector_plan *plan) {
  int64_t step = (int64_t)plan->vectors * plan->lanes;
  return (plan->nest.extent[plan->lane] + step - 1) / step;
}

static void choose_outer(struct anas_vector_plan *plan, int64_t *out_range) {
  const int64_t enough = 64;
  *out_range = 1;
  plan->fill_loop = -1;
  if (anas_cpu_needs_fill(&plan->nest)) {
    for (int i = 0; i < plan->num_free; i++) {
      int loop = plan->free_loop[i];
      if (!slab_for_fills(&plan->nest, loop)) continue;
      plan->fill_loop = loop;
      *out_range = plan->nest.extent[loop];
      take_outer(plan, i);
      break;
    }
    return;
  }
  while (plan->num_free > 0 && *out_range < enough && plan->nest.split[plan->free_loop[0]]) {
    *out_range *= plan->nest.extent[plan->free_loop[0]] / plan->tile[plan->free_loop[0]];
    take_outer(plan, 0);
  }
  if (*out_range < enough && !plan->lane_reduces && !plan->by_rows && plan->nest.split[plan->lane]) {
    plan->lane_outer = true;
    *out_range *= anas_vector_steps(plan);
  }
}

// Vectors per step: enough independent work to hide latency, within the registers; for column reductions no more than
// leaves every thread of a small team a share.
static void choose_vectors(struct anas_vector_plan *plan) {
  const struct anas_cpu_nest *nest = &plan->nest;
  int64_t blocks = (nest->extent[plan->lane] + plan->lanes - 1) / plan->lanes, others = 1;
  for (int i = 0; i < plan->num_free; i++)
    if (nest->split[plan->free_loop[i]]) others *= nest->extent[plan->free_loop[i]] / plan->tile[plan->free_loop[i]];
  int vectors = plan->num_accumulating > 0 || plan->lane_reduces ? 4 : 2;
  assert(nest->num_operands > nest->num_in);
  int room = plan->code->target->registers / 2 / plan->copies / (nest->num_operands - nest->num_in);
  if (plan->copies > 1 && vectors > room) vectors = room > 1 ? room : 1;
  if (body_cost(nest) > 24) vectors = 1;
  while (vectors > 1 && vectors * (nest->num_operands + 1) > plan->code->target->registers)
    vectors--;
  if (blocks < vectors) vectors = (int)blocks;
  if (plan->num_accumulating > 0 && !plan->lane_reduces)
    while (vectors > 1 && others * ((blocks + vectors - 1) / vectors) < 2)
      vectors = (vectors + 1) / 2;
  plan->vectors = vectors;
}

// Where all loops are one, in the lanes, its steps would reach over the end of an iteration of the first loop of the
// function, and nothing could be carried out in step with it.
static void split_lead(struct anas_vector_plan *plan) {
  struct anas_cpu_nest *nest = &plan->nest;
  int lane = plan->lane;
  if (lane != nest->lead_loop || plan->lane_reduces || nest->num_loops == ANAS_CPU_LOOPS) return;
  int64_t rest = nest->extent[lane] / nest->lead_extent, step = 2 * plan->lanes;
  if (rest < 2 * step || rest % step == 0) return;
  int lead = nest->num_loops++;
  nest->extent[lead] = nest->lead_extent;
  nest->extent[lane] = rest;
  nest->split[lead] = nest->split[lane];
  nest->reduction[lead] = nest->indexed[lead] = false;
  for (int o = 0; o < nest->num_operands; o++) {
    struct anas_cpu_operand *operand = &nest->operand[o];
    operand->stride[lead] = operand->stride[lane] * rest;
    operand->slab[lead] = operand->slab[lane];
    operand->slab[lane] = false;
  }
  nest->lead_loop = lead;
}

int64_t anas_vector_leading(const struct anas_vector_plan *plan) {
  const struct anas_cpu_nest *nest = &plan->nest;
  int lead = nest->lead_loop;
  if (lead < 0) return 0;
  int64_t rest = nest->extent[lead] / nest->lead_extent;
  bool cut = plan->num_outer > 0 ? lead == plan->outer[0] && rest % plan->tile[lead] == 0
                                 : plan->lane_outer && lead == plan->lane && plan->num_free == 0 &&
                                       rest % ((int64_t)plan->vectors * plan->lanes) == 0;
  return cut ? nest->lead_extent : 0;
}

double anas_vector_plan(struct anas_vector_plan *plan, int64_t *out_range) {
  plan->lanes = plan->code->target->lanes;
  for (int o = 0; o < plan->nest.num_operands; o++) {
    MlirValue argument = mlirBlockGetArgument(plan->nest.body, plan->nest.operand[o].argument);
    plan->used[o] = !mlirOpOperandIsNull(mlirValueGetFirstUse(argument));
    if (o >= plan->nest.num_in) plan->combiner[o] = anas_cpu_find_combiner(&plan->nest, o);
  }
  double cost = choose_lane(plan);
  split_lead(plan);
  order_loops(plan);
  for (int o = plan->nest.num_in; o < plan->nest.num_operands; o++)
    for (int i = 0; i < plan->num_accumulating; i++)
      if (plan->nest.operand[o].stride[plan->accumulating[i]] != 0) plan->in_memory[o] = true;
  choose_tiles(plan);
  choose_vectors(plan);
  choose_unrolling(plan);
  choose_rows(plan);
  choose_outer(plan, out_range);
  return cost;
}
