// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Filter gradients by Winograd: recognising them and choosing blocks.
#include "passes/cpu/winograd_filter.h"

#include "passes/cpu/contraction.h"

#include <math.h>

#define STEP_TILES 32 // tiles of a step, about: long enough that loading and storing the sums does not matter
#define MAX_STEP_TILES 64
#define SLOT_BYTES 1300000.0
#define MIN_SLOTS 8
#define LARGEST_BLOCK 96
#define MIN_MACS 1e7 // smaller convolutions are not worth the code

// Cycles, measured: a transform is bound by storing its results to the second-level cache.
#define TRANSFORM_CYCLES 0.6 // of a point of a channel of a tile
#define FINISH_CYCLES 3.0    // of a sum, for each share of the tiles
#define PRODUCT_RATE 0.8     // of the peak
#define DIRECT_RATE 0.85

// ---- recognition

// The reduction loop that moves x like the tap does: the position of dy.
static int position_of(const struct anas_contraction *contraction, const struct anas_cpu_nest *nest, int tap) {
  const int64_t *x = nest->operand[contraction->a].stride;
  for (int l = 0; l < nest->num_loops; l++)
    if (nest->operand[contraction->c].stride[l] == 0 && x[l] == x[tap]) return l;
  return -1;
}

// Taps and positions of the two dimensions, outer first; false if there are not two of them.
static bool find_dims(struct anas_winograd_filter *plan, const struct anas_contraction *contraction, int *tap,
                      int *position) {
  const struct anas_cpu_nest *nest = plan->nest;
  const int64_t *x = nest->operand[plan->x].stride;
  int num = 0;
  for (int i = 0; i < contraction->num_rows; i++) {
    int loop = contraction->row[i], found = position_of(contraction, nest, loop);
    if (found < 0) continue;
    if (num == 2 || nest->extent[loop] != 3 || nest->operand[plan->dy].stride[found] <= 0) return false;
    tap[num] = loop;
    position[num++] = found;
  }
  if (num < 2 || position[0] == position[1]) return false;
  if (x[tap[0]] < x[tap[1]]) {
    int t = tap[0], p = position[0];
    tap[0] = tap[1], position[0] = position[1];
    tap[1] = t, position[1] = p;
  }
  for (int d = 0; d < 2; d++) {
    plan->dim[d].extent = nest->extent[position[d]];
    plan->x_stride.dim[d] = x[position[d]];
    plan->dy_stride.dim[d] = nest->operand[plan->dy].stride[position[d]];
    plan->tap_stride[d] = nest->operand[plan->dw].stride[tap[d]];
  }
  return true;
}

static bool find_example(struct anas_winograd_filter *plan, const struct anas_contraction *contraction,
                         const int *position) {
  const struct anas_cpu_nest *nest = plan->nest;
  plan->batch = 1;
  for (int l = 0; l < nest->num_loops; l++) {
    if (nest->operand[contraction->c].stride[l] != 0 || l == position[0] || l == position[1]) continue;
    if (plan->batch > 1) return false;
    plan->batch = nest->extent[l];
    plan->x_stride.example = nest->operand[plan->x].stride[l];
    plan->dy_stride.example = nest->operand[plan->dy].stride[l];
  }
  return true;
}

// Channels are rows, features lanes: panels of them, and perhaps a loop over panels.
static bool find_channels(struct anas_winograd_filter *plan, const struct anas_contraction *contraction,
                          const int *tap) {
  const struct anas_cpu_nest *nest = plan->nest;
  const struct anas_cpu_operand *x = &nest->operand[plan->x], *dy = &nest->operand[plan->dy],
                                *dw = &nest->operand[plan->dw];
  int channel = -1, panel = -1;
  for (int i = 0; i < contraction->num_rows; i++) {
    int loop = contraction->row[i];
    if (loop == tap[0] || loop == tap[1]) continue;
    int *role = x->stride[loop] == 1 ? &channel : &panel;
    if (*role >= 0) return false;
    *role = loop;
  }
  if (channel < 0 || nest->extent[channel] != ANAS_PANEL || nest->extent[contraction->lane] != ANAS_PANEL ||
      contraction->num_columns > 1)
    return false;
  plan->channel_stride = dw->stride[channel];
  plan->channels = plan->features = ANAS_PANEL;
  if (panel >= 0) {
    plan->channels *= nest->extent[panel];
    plan->x_stride.panel = x->stride[panel];
    if (dw->stride[panel] != plan->channel_stride * ANAS_PANEL) return false;
  }
  if (contraction->num_columns) {
    int column = contraction->column[0];
    plan->features *= nest->extent[column];
    plan->dy_stride.panel = dy->stride[column];
    if (dw->stride[column] != ANAS_PANEL) return false;
  }
  return true;
}

static bool recognise(struct anas_winograd_filter *plan, const struct anas_cpu_target *target) {
  const struct anas_cpu_nest *nest = plan->nest;
  struct anas_contraction contraction;
  int tap[2], position[2];
  if (!anas_contraction_plan(nest, target, &contraction) || contraction.num_batch > 0 ||
      nest->num_loops == ANAS_CPU_LOOPS)
    return false;
  plan->x = contraction.a;
  plan->dy = contraction.b;
  plan->dw = contraction.c;
  const struct anas_cpu_operand *dw = &nest->operand[plan->dw];
  return dw->filled && dw->covered && find_dims(plan, &contraction, tap, position) &&
         find_example(plan, &contraction, position) && find_channels(plan, &contraction, tap);
}

// ---- blocks

int64_t anas_winograd_filter_rows(const struct anas_winograd_filter *plan) {
  return plan->batch * plan->dim[0].tiles;
}

int64_t anas_winograd_filter_panel(const struct anas_winograd_filter *plan) {
  return plan->points * plan->step;
}

int64_t anas_winograd_filter_x(const struct anas_winograd_filter *plan) {
  return plan->points * plan->sum_step;
}

int64_t anas_winograd_filter_dy(const struct anas_winograd_filter *plan) {
  return anas_winograd_filter_x(plan) + plan->channel_block / ANAS_PANEL * anas_winograd_filter_panel(plan);
}

static void set_blocks(struct anas_winograd_filter *plan, int64_t channel_block, int64_t feature_block) {
  int64_t tiles = plan->unit * plan->dim[1].tiles;
  plan->channel_block = channel_block;
  plan->feature_block = feature_block;
  plan->blocks = plan->channels / channel_block * (plan->features / feature_block);
  // A line more than the data: values of a tile do not compete for the same cache sets.
  plan->step = (tiles + 1) * ANAS_PANEL;
  plan->sum_step = channel_block * feature_block + ANAS_PANEL;
  plan->slot_elements = anas_winograd_filter_dy(plan) + feature_block / ANAS_PANEL * anas_winograd_filter_panel(plan);
  int64_t steps = (anas_winograd_filter_rows(plan) + plan->unit - 1) / plan->unit;
  plan->parts = 1;
  if (plan->blocks < MIN_SLOTS) plan->parts = (MIN_SLOTS + plan->blocks - 1) / plan->blocks;
  if (plan->parts > steps) plan->parts = steps;
  plan->slots = plan->parts > 1 ? plan->parts * plan->blocks : plan->blocks < MIN_SLOTS ? plan->blocks : MIN_SLOTS;
}

static double cycles(const struct anas_winograd_filter *plan, int lanes) {
  double c = (double)plan->channels, f = (double)plan->features;
  double tiles = (double)(anas_winograd_filter_rows(plan) * plan->dim[1].tiles);
  double products = plan->points * tiles * c * f / (2 * lanes * PRODUCT_RATE);
  double transforms = TRANSFORM_CYCLES * tiles *
                      (c * f / (double)plan->feature_block + f * c / (double)plan->channel_block) *
                      (lanes < ANAS_PANEL ? 1.0 * ANAS_PANEL / (2 * lanes) + 0.5 : 1);
  return products + transforms + plan->points * c * f * FINISH_CYCLES * (double)plan->parts / lanes;
}

// The best blocks for tiles of m x m; returns their cycles.
static double choose_blocks(struct anas_winograd_filter *plan, int m, int lanes) {
  double best = INFINITY;
  plan->m = m;
  plan->window = m + 2;
  plan->points = plan->window * plan->window;
  for (int d = 0; d < 2; d++) {
    struct anas_winograd_dim *dim = &plan->dim[d];
    dim->tiles = (dim->extent + m - 1) / m;
    dim->last = dim->extent - (dim->tiles - 1) * m;
  }
  struct anas_winograd_filter found = *plan;
  if (plan->dim[1].tiles > MAX_STEP_TILES) return best;
  plan->unit = STEP_TILES / plan->dim[1].tiles;
  if (plan->unit < 1) plan->unit = 1;
  if (plan->unit > anas_winograd_filter_rows(plan)) plan->unit = anas_winograd_filter_rows(plan);
  for (int64_t c = ANAS_PANEL; c <= LARGEST_BLOCK && c <= plan->channels; c += ANAS_PANEL)
    for (int64_t f = ANAS_PANEL; f <= LARGEST_BLOCK && f <= plan->features; f += ANAS_PANEL) {
      if (plan->channels % c || plan->features % f) continue;
      set_blocks(plan, c, f);
      double cost = cycles(plan, lanes);
      if ((double)plan->slot_elements * 4 > SLOT_BYTES || cost >= best) continue;
      best = cost;
      found = *plan;
    }
  *plan = found;
  return best;
}

bool anas_winograd_filter_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                               struct anas_winograd_filter *out) {
  struct anas_winograd_filter large = {.nest = nest};
  double macs = (double)anas_cpu_nest_iterations(nest);
  bool always = target->winograd == ANAS_WINOGRAD_ALWAYS;
  if ((macs < MIN_MACS && !always) || !recognise(&large, target)) return false;
  struct anas_winograd_filter small = large;
  double large_cycles = choose_blocks(&large, 4, target->lanes), small_cycles = choose_blocks(&small, 2, target->lanes);
  *out = small_cycles < large_cycles ? small : large;
  return fmin(small_cycles, large_cycles) < (always ? INFINITY : anas_cpu_direct_cycles(nest, target) / DIRECT_RATE);
}

// ---- as an algorithm of the code generator

static anas_status emit(struct anas_code *code, const struct anas_cpu_nest *nest, const struct anas_cpu_part *part,
                        struct anas_cpu_range *out) {
  struct anas_winograd_filter plan;
  if (!anas_winograd_filter_plan(nest, code->target, &plan))
    return anas_fail(ANAS_INTERNAL, "a filter gradient was planned by Winograd and then was not");
  if (part->index == 0)
    anas_winograd_filter_items(code, &plan, part);
  else
    anas_winograd_filter_sums(code, &plan, part);
  out->iterations = part->index == 0 ? plan.slots : plan.blocks * plan.channel_block / ANAS_PANEL;
  out->parallel = out->iterations > 1;
  return ANAS_OK;
}

bool anas_cpu_winograd_filter(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                              struct anas_cpu_algorithm *out) {
  struct anas_winograd_filter plan;
  if (!anas_winograd_filter_plan(nest, target, &plan)) return false;
  *out = (struct anas_cpu_algorithm){.name = "Winograd F(4x4, 3x3)",
                                     .num_parts = plan.parts > 1 ? 2 : 1,
                                     .scratch_bytes = plan.slots * plan.slot_elements * 4,
                                     .emit = emit};
  return true;
}
