// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the depthwise emitter: one depthwise convolution or one of its gradients.
#ifndef ANAS_PASSES_CPU_DEPTHWISE_H
#define ANAS_PASSES_CPU_DEPTHWISE_H

#include "passes/cpu/nest.h"

#define ANAS_DEPTHWISE_TILE 32   // iterations of a tile at most
#define ANAS_DEPTHWISE_POINTS 64 // more are no taps of a filter

// out[p, c] += dense[p + t, c] * still[t, c] with channels c in the lanes. Points p are the free loops in which `still`
// stands still, t are the reduced loops. A convolution has positions as points and reduces few taps; the gradient of a
// filter is the same nest with taps as points and reduces many positions.
struct anas_depthwise {
  struct anas_code *code;
  const struct anas_cpu_nest *nest;
  MlirValue flat[3];
  int dense, still, out; // operands
  int lane, lanes;
  int num_points, point[ANAS_CPU_LOOPS];    // slowest first, by stride in out
  int num_reduced, reduced[ANAS_CPU_LOOPS]; // slowest first, by stride in dense
  int num_outer, outer[ANAS_CPU_LOOPS];     // loops that all three operands move in, slowest first, by stride in out
  int64_t tile[ANAS_CPU_LOOPS];             // iterations of a loop in a register tile
  int active;                               // lanes of the channels being emitted
  // Images are read a vector of channels at a time, which no prefetcher follows. So every register tile fetches some
  // lines that come later: while one iteration of a loop (the unit) is computed, what the next one adds is fetched,
  // from its start to its end. fetch_step: elements from what one tile of a loop fetches to what the next one does; 0:
  // the loop is not inside the unit.
  int64_t fetch_lines[3], fetch_step[3][ANAS_CPU_LOOPS];
};

struct anas_depthwise_place { // addresses in the operands
  struct anas_address at[3], fetch[3];
};

// The place of tile number iv of a loop.
struct anas_depthwise_place anas_depthwise_move(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                int loop, int64_t tile, MlirValue iv);
// The same for a constant number.
struct anas_depthwise_place anas_depthwise_skip(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                int loop, int64_t tile, int64_t tiles);
// Plans fetching and sets the place's fetches. What comes next is `count` iterations of loop `unit` away; inside are
// the loops with register tiles in them, slowest first, and unit itself if it has iterations there. Tap loops are those
// that make windows overlap.
void anas_depthwise_plan_fetch(struct anas_depthwise *d, int unit, int64_t count, const int *inside, int num,
                               const int *taps, int num_taps, struct anas_depthwise_place *place);
void anas_depthwise_fetch(const struct anas_depthwise *d, const struct anas_depthwise_place *place);
// Cuts loops into tiles of at most `most` iterations together, the fastest loop (the last one) first. Only the fastest
// one may end with a partial tile.
void anas_depthwise_choose_tile(struct anas_depthwise *d, const int *loops, int num, int64_t most);
// Offsets in operand o of the iterations of a tile, in order; returns how many there are.
int anas_depthwise_offsets(const struct anas_depthwise *d, int o, const int *loops, int num, int64_t *out);
MlirValue anas_depthwise_load(const struct anas_depthwise *d, const struct anas_depthwise_place *place, int o,
                              int64_t offset);
void anas_depthwise_store(const struct anas_depthwise *d, const struct anas_depthwise_place *place, MlirValue value,
                          int64_t offset);
// sum[i] += dense[sum_at[i] + factor_at[j]] * factor[j] for all i, j; what several pairs share is loaded once.
void anas_depthwise_products(const struct anas_depthwise *d, const struct anas_depthwise_place *place, int num_sums,
                             const int64_t *sum_at, MlirValue *sum, int num_factors, const int64_t *factor_at,
                             const MlirValue *factor);
// Emits code for every vector of channels, the last one perhaps partial.
typedef void anas_depthwise_emit(struct anas_depthwise *d, struct anas_depthwise_place place, void *data);
void anas_depthwise_channels(struct anas_depthwise *d, struct anas_depthwise_place place, anas_depthwise_emit *emit,
                             void *data);

// Gradient of a filter, with at most ANAS_DEPTHWISE_POINTS points. False, and nothing emitted, if the fills do not
// allow it.
bool anas_depthwise_filter(struct anas_depthwise *d, struct anas_depthwise_place place, MlirValue begin, MlirValue end,
                           int64_t *out_range);

#endif
