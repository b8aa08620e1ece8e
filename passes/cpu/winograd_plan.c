// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Winograd: recognising convolutions in the strides of a nest, and choosing how to compute one, if at all.
#include "passes/cpu/contraction.h"
#include "passes/cpu/winograd.h"

#include <math.h>
#include <mlir-c/BuiltinAttributes.h>
#include <stdlib.h>

// ---- recognition

struct roles { // loops, -1: none
  int lane, feature_tile, channel, block, row_tap, col_tap, row, col, example;
};

static bool find_lane(const struct anas_cpu_nest *nest, struct roles *roles, struct anas_winograd_conv *conv) {
  for (int l = 0; l < nest->num_loops; l++) {
    int64_t s0 = nest->operand[0].stride[l], s1 = nest->operand[1].stride[l];
    if (nest->operand[2].stride[l] != 1 || !((s0 == 0 && s1 == 1) || (s0 == 1 && s1 == 0))) continue;
    roles->lane = l;
    conv->w = s0 == 1 ? 0 : 1;
    conv->x = 1 - conv->w;
    conv->lane = nest->extent[l];
    return true;
  }
  return false;
}

static bool take(int *role, int loop) {
  if (*role >= 0) return false;
  *role = loop;
  return true;
}

// The reduction of extent 3 that moves w by `distance`; -1: none.
static int find_tap(const struct anas_cpu_nest *nest, const struct anas_winograd_conv *conv, int64_t distance) {
  for (int l = 0; l < nest->num_loops; l++)
    if (nest->reduction[l] && nest->extent[l] == 3 && nest->operand[conv->w].stride[l] == distance) return l;
  return -1;
}

// Reductions: w is [block][3][3][channel][lane]. `merged`: the taps of a row and the channels are one loop, as where
// they are neighbours in x.
static bool find_reductions(const struct anas_cpu_nest *nest, bool merged, struct roles *roles,
                            struct anas_winograd_conv *conv) {
  const int64_t *x = nest->operand[conv->x].stride, *w = nest->operand[conv->w].stride;
  for (int l = 0; l < nest->num_loops; l++)
    if (nest->reduction[l] && x[l] == 1 && w[l] == conv->lane) roles->channel = l;
  if (roles->channel < 0 || (merged && nest->extent[roles->channel] % 3)) return false;
  conv->block = nest->extent[roles->channel] / (merged ? 3 : 1);
  int64_t tap = conv->block * conv->lane;
  roles->row_tap = find_tap(nest, conv, 3 * tap);
  roles->col_tap = merged ? -1 : find_tap(nest, conv, tap);
  if (roles->row_tap < 0 || (!merged && roles->col_tap < 0)) return false;
  conv->col_step = merged ? conv->block : x[roles->col_tap];
  for (int l = 0; l < nest->num_loops; l++) {
    if (!nest->reduction[l] || l == roles->channel || l == roles->row_tap || l == roles->col_tap) continue;
    if (w[l] != 9 * tap || x[l] <= 0 || !take(&roles->block, l)) return false;
  }
  return true;
}

// Parallel loops: positions move x by what the taps do.
static bool find_positions(const struct anas_cpu_nest *nest, struct roles *roles,
                           const struct anas_winograd_conv *conv) {
  const int64_t *x = nest->operand[conv->x].stride, *w = nest->operand[conv->w].stride;
  for (int l = 0; l < nest->num_loops; l++) {
    if (nest->reduction[l] || l == roles->lane) continue;
    if (!nest->split[l] || nest->indexed[l]) return false;
    bool known = false;
    if (w[l] != 0)
      known = x[l] == 0 && take(&roles->feature_tile, l);
    else if (x[l] == llabs(conv->col_step))
      known = take(&roles->col, l);
    else if (x[l] == llabs(x[roles->row_tap]))
      known = take(&roles->row, l);
    else
      known = x[l] > 0 && take(&roles->example, l);
    if (!known) return false;
  }
  return roles->row >= 0 && roles->col >= 0;
}

static bool find_roles(const struct anas_cpu_nest *nest, bool merged, struct roles *roles,
                       struct anas_winograd_conv *conv) {
  *roles = (struct roles){-1, -1, -1, -1, -1, -1, -1, -1, -1};
  *conv = (struct anas_winograd_conv){0};
  return find_lane(nest, roles, conv) && find_reductions(nest, merged, roles, conv) &&
         find_positions(nest, roles, conv);
}

static int64_t extent(const struct anas_cpu_nest *nest, int loop) {
  return loop < 0 ? 1 : nest->extent[loop];
}

static int64_t stride(const struct anas_cpu_nest *nest, int o, int loop) {
  return loop < 0 ? 0 : nest->operand[o].stride[loop];
}

// Taps that move x backwards are read from the last one on instead.
static void turn_taps(struct anas_winograd_conv *conv, int64_t x_step, int64_t *w_stride) {
  if (x_step > 0) return;
  conv->x_offset += 2 * x_step;
  conv->w_offset += 2 * *w_stride;
  *w_stride = -*w_stride;
}

bool anas_winograd_conv_read(const struct anas_cpu_nest *nest, int lanes, struct anas_winograd_conv *out) {
  struct roles roles;
  struct anas_winograd_conv conv;
  if (!anas_contraction_multiplies(nest) ||
      (!find_roles(nest, false, &roles, &conv) && !find_roles(nest, true, &roles, &conv)))
    return false;
  if (conv.lane % lanes != 0 || conv.block % lanes != 0) return false;
  const struct anas_cpu_operand *y = &nest->operand[2];
  if (y->filled && (!y->covered || mlirFloatAttrGetValueDouble(y->fill) != 0)) return false;
  conv.examples = extent(nest, roles.example);
  conv.height = nest->extent[roles.row];
  conv.width = nest->extent[roles.col];
  conv.channels = conv.block * extent(nest, roles.block);
  conv.features = conv.lane * extent(nest, roles.feature_tile);
  conv.x_offset = nest->operand[conv.x].offset;
  conv.x_example = stride(nest, conv.x, roles.example);
  conv.x_row = stride(nest, conv.x, roles.row);
  conv.x_col = stride(nest, conv.x, roles.col);
  conv.x_block = stride(nest, conv.x, roles.block);
  conv.y_offset = y->offset;
  conv.y_example = stride(nest, 2, roles.example);
  conv.y_row = stride(nest, 2, roles.row);
  conv.y_col = stride(nest, 2, roles.col);
  conv.y_tile = stride(nest, 2, roles.feature_tile);
  conv.w_offset = nest->operand[conv.w].offset;
  conv.w_tile = stride(nest, conv.w, roles.feature_tile);
  conv.w_block = stride(nest, conv.w, roles.block);
  conv.w_col = conv.block * conv.lane;
  conv.w_row = 3 * conv.w_col;
  turn_taps(&conv, conv.col_step, &conv.w_col);
  turn_taps(&conv, stride(nest, conv.x, roles.row_tap), &conv.w_row);
  *out = conv;
  return true;
}

// ---- choice

#define LINE 16
#define MIN_MACS 1e7 // smaller convolutions are not worth the code

// Register tiles of a group. One would leave too little work for each U that is read; more than three only make V
// larger.
#define MIN_GROUP 2
#define MAX_GROUP 3
#define GROUP_BYTES (1 << 20)    // V and M of a group: half of a second-level cache
#define STAGED_BYTES (128 << 20) // V and M of all tiles: what a step may need in addition

// Cycles of a thread. The constants are measured: a transformed vector of all points costs about 5 cycles a point with
// its loads and stores. U arrives at about 9 bytes a cycle while the products run; what the other parts hand on comes
// and goes at about 6.
#define POINT_CYCLES 5.0
#define FETCH_BYTES 9.0
#define CYCLE_BYTES 6.0
#define PRODUCT_RATE 0.85 // of the multiply-add peak
#define DIRECT_RATE 0.92
#define GAIN 0.9 // expected time, of the direct one, below which it is done

static int64_t round_up(int64_t value, int64_t to) {
  return (value + to - 1) / to * to;
}

static double product_cycles(const struct anas_winograd_plan *p) {
  return (double)p->points * (double)round_up(p->tiles, p->rows) * (double)p->conv.channels * (double)p->conv.features /
         (2.0 * p->lanes * PRODUCT_RATE);
}

static double transform_cycles(const struct anas_winograd_plan *p) {
  double c = (double)p->conv.channels, f = (double)p->conv.features, t = (double)p->tiles;
  return POINT_CYCLES * p->points * (c * f + t * c + t * f) / p->lanes;
}

static void set_layout(struct anas_winograd_plan *p) {
  const struct anas_winograd_conv *c = &p->conv;
  p->u_point = c->channels * c->lane + LINE;
  p->v_point = p->group * c->channels + LINE;
  p->m_point = p->group * c->lane + LINE;
  p->v_at = p->feature_tiles * p->points * p->u_point;
  p->m_at = p->v_at + (p->fused ? 0 : p->points * p->v_point);
  p->scratch = p->m_at + (p->fused ? 0 : p->feature_tiles * p->points * p->m_point);
}

// Expected cycles with results of m x m.
static double plan_size(struct anas_winograd_plan *p, int m) {
  const struct anas_winograd_conv *c = &p->conv;
  p->m = m;
  p->patch = m + 2;
  p->points = p->patch * p->patch;
  p->tiles_y = (c->height + m - 1) / m;
  p->tiles_x = (c->width + m - 1) / m;
  p->tiles = c->examples * p->tiles_y * p->tiles_x;
  p->feature_tiles = c->features / c->lane;
  double bytes = 4.0 * p->points, u = bytes * (double)(c->channels * c->features);
  double all = bytes * (double)p->tiles * (double)(c->channels + c->features);
  int64_t fit = GROUP_BYTES / (4 * (int64_t)p->points * (c->channels + c->lane)) / p->rows;
  p->fused = fit >= MIN_GROUP || all > STAGED_BYTES;
  if (!p->fused) {
    p->group = round_up(p->tiles, p->rows);
    return product_cycles(p) + transform_cycles(p) + (u + 2 * all) / CYCLE_BYTES;
  }
  if (fit == 0) return INFINITY;
  // As many groups as the threads of a small machine share evenly.
  int64_t most = (fit < MAX_GROUP ? fit : MAX_GROUP) * p->rows;
  int64_t groups = round_up((p->tiles + most - 1) / most, 4);
  p->group = round_up((p->tiles + groups - 1) / groups, p->rows);
  double fetch = u * (double)((p->tiles + p->group - 1) / p->group) / FETCH_BYTES;
  return fmax(product_cycles(p), fetch) + transform_cycles(p);
}

bool anas_winograd_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                        struct anas_winograd_plan *out) {
  struct anas_winograd_plan plan = {.lanes = target->lanes, .rows = anas_winograd_rows(target)};
  if (!anas_winograd_conv_read(nest, target->lanes, &plan.conv)) return false;
  double macs = (double)anas_cpu_nest_iterations(nest),
         limit = GAIN * anas_cpu_direct_cycles(nest, target) / DIRECT_RATE;
  bool always = target->winograd == ANAS_WINOGRAD_ALWAYS;
  if (macs < MIN_MACS && !always) return false;
  struct anas_winograd_plan small = plan, large = plan;
  double small_cycles = plan_size(&small, 2), large_cycles = plan_size(&large, 4);
  plan = small_cycles < large_cycles ? small : large;
  double cycles = fmin(small_cycles, large_cycles);
  if (cycles > limit && (!always || isinf(cycles))) return false;
  set_layout(&plan);
  *out = plan;
  return true;
}
