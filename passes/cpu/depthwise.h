// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the depthwise emitter: one depthwise convolution or one of its gradients.
#ifndef ANAS_PASSES_CPU_DEPTHWISE_H
#define ANAS_PASSES_CPU_DEPTHWISE_H

#include "passes/cpu/nest.h"

#define ANAS_DEPTHWISE_TILE 32       // iterations of a tile at most
#define ANAS_DEPTHWISE_POINTS 64     // more are no taps of a filter
#define ANAS_DEPTHWISE_PRODUCTS 1024 // of a register tile: all pairs

// out[p, c] += dense[p + t, c] * still[t, c] with channels c in the lanes. Points p are the free loops in which `still`
// stands still, t are the reduced loops. A convolution has positions as points and reduces few taps; the gradient of a
// filter is the same nest with taps as points and reduces many positions.
// Two loops of `dense` that may leave it: with e = constant + point_coef * point + tap_coef * tap, the element e /
// every exists if every divides e and the quotient is in [0, limit); everything else is zero and left out.
struct anas_depthwise_axis {
  int point, tap; // loops; -1: extent 1
  int64_t constant, point_coef, tap_coef, every, limit;
  int64_t weight; // elements of `dense` from one quotient to the next
};

struct anas_depthwise {
  struct anas_code *code;
  const struct anas_cpu_nest *nest;
  MlirValue flat[3];
  int dense, still, out; // operands
  int lane, lanes;
  int num_points, point[ANAS_CPU_LOOPS];    // slowest first, by stride in out
  int num_reduced, reduced[ANAS_CPU_LOOPS]; // slowest first, by stride in dense
  int num_outer, outer[ANAS_CPU_LOOPS];     // loops that all three operands move in, slowest first, by stride in out
  int num_axes;                             // 0: every element exists; the loops of axes have no stride in `dense`
  struct anas_depthwise_axis axis[ANAS_CPU_BORDERS];
  int64_t tile[ANAS_CPU_LOOPS]; // iterations of a loop in a register tile
  int active;                   // lanes of the channels being emitted
  // Images are read a vector of channels at a time, which no prefetcher follows. So every register tile fetches some
  // lines that come later: while one iteration of a loop (the unit) is computed, what the next one adds is fetched,
  // from its start to its end. fetch_step: elements from what one tile of a loop fetches to what the next one does; 0:
  // the loop is not inside the unit.
  int64_t fetch_lines[3], fetch_step[3][ANAS_CPU_LOOPS];
};

struct anas_depthwise_place { // addresses in the operands
  struct anas_address at[3], fetch[3];
};

// Elements from one iteration of a loop to the next, about, where those of an axis are not a whole number.
int64_t anas_depthwise_stride(const struct anas_depthwise *d, int operand, int loop);
// The axis of a loop, null: none.
const struct anas_depthwise_axis *anas_depthwise_axis_of(const struct anas_depthwise *d, int loop);

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
struct anas_depthwise_product { // sum[sum] += dense[dense] * factor[factor]
  int64_t dense;
  int sum, factor;
};
// Those of all pairs of offsets.
int anas_depthwise_pairs(int num_sums, const int64_t *sum_at, int num_factors, const int64_t *factor_at,
                         struct anas_depthwise_product *out);
// Emits products in the order of `dense`; what several share is loaded once.
void anas_depthwise_products(const struct anas_depthwise *d, const struct anas_depthwise_place *place, int num,
                             struct anas_depthwise_product *product, MlirValue *sum, const MlirValue *factor);

// ---- rows of an axis, in tiles of which it is known what exists

// Neighbouring tiles that do the same, each `size` iterations of the loop.
struct anas_depthwise_run {
  int64_t first, tiles, size; // in iterations, tiles, iterations
  int64_t dense_step;         // elements from one tile to the next
  int num;
  struct anas_depthwise_product product[ANAS_DEPTHWISE_PRODUCTS]; // of the first tile: (tap, iteration) or the reverse
};
// The next run from iteration `from` of a loop of the axis on, in tiles of `size`. A product's `sum` is the iteration
// in the tile and its factor that of the other loop, if the loop is the axis's point; the other way round if it is its
// tap. Without an axis, the loop has a stride in `dense`, and there is one product for each of its iterations.
void anas_depthwise_next_run(const struct anas_depthwise *d, const struct anas_depthwise_axis *axis, int loop,
                             int64_t from, int64_t size, struct anas_depthwise_run *out);

// ---- blocks of rows (depthwise_lines.c)

#define ANAS_DEPTHWISE_LINES 64

// A row of `dense` that a block meets, and what of it: (row of the block, iteration of the axis's other loop).
struct anas_depthwise_line {
  int64_t index; // of the axis, from the first one of the block
  int num, row[ANAS_DEPTHWISE_TILE], other[ANAS_DEPTHWISE_TILE];
  bool always;      // it exists for every block
  MlirValue exists; // otherwise, in the current one
};
// `rows` iterations of a loop of the axis (-1: extent 1; null: there is no axis and a single line).
struct anas_depthwise_block {
  const struct anas_depthwise_axis *axis;
  int loop;
  int64_t rows, blocks; // the last block may go beyond the extent
  int64_t step;         // of the index, from one block to the next
  int64_t pairs;        // of all lines
  int num;
  struct anas_depthwise_line line[ANAS_DEPTHWISE_LINES];
};
// So many iterations of a loop of the axis (null: no axis) must be neighbours for blocks of them to be alike.
int64_t anas_depthwise_period(const struct anas_depthwise_axis *axis, int loop);
// False if there are too many lines or the rows are not a multiple of the period.
bool anas_depthwise_block_of(const struct anas_depthwise *d, const struct anas_depthwise_axis *axis, int loop,
                             int64_t rows, struct anas_depthwise_block *out);
// Moves the place in `dense` to a block (null: number 0) and sets which lines exist there.
void anas_depthwise_enter_block(const struct anas_depthwise *d, struct anas_depthwise_block *block, MlirValue number,
                                struct anas_depthwise_place *place);

// Tiles of blocks: rows of a block by d->tile[row] columns.
struct anas_depthwise_tiles {
  struct anas_depthwise_block block;
  int row;                                // the loop along rows
  const struct anas_depthwise_axis *axis; // of it; null: there is none
  int64_t vectors;                        // of channels that take turns, tile by tile
  MlirValue inside[ANAS_DEPTHWISE_TILE];  // rows of the current block that exist, where that is not always so
  void (*emit)(const struct anas_depthwise *d, const struct anas_depthwise_tiles *tiles,
               struct anas_depthwise_place place, const struct anas_depthwise_run *run);
};
// The axis beside this one (null: there is none); false if there are two.
bool anas_depthwise_other_axis(const struct anas_depthwise *d, const struct anas_depthwise_axis *axis,
                               const struct anas_depthwise_axis **out);
// Tiles of a loop, the last one perhaps partial.
int64_t anas_depthwise_iterations(const struct anas_depthwise *d, int loop);
void anas_depthwise_plan_vectors(const struct anas_depthwise *d, struct anas_depthwise_tiles *tiles);
// The place of tile number iv of a loop, which may be that of the blocks.
struct anas_depthwise_place anas_depthwise_enter(struct anas_depthwise *d, struct anas_depthwise_tiles *tiles,
                                                 struct anas_depthwise_place place, int loop, MlirValue iv);
// Emits all tiles of the current block, for all channels.
void anas_depthwise_tiles_of_channels(struct anas_depthwise *d, const struct anas_depthwise_tiles *tiles,
                                      struct anas_depthwise_place place);

// ---- borders (depthwise_border.c)

// Reads num_axes and axis from the borders of `dense` and from the factor of the products that reads it. False if
// elements are missing in another way.
bool anas_depthwise_read_axes(struct anas_depthwise *d, MlirValue factor);
// Whether an element exists, and the quotient.
bool anas_depthwise_exists(const struct anas_depthwise_axis *axis, int64_t point, int64_t tap, int64_t *out_index);

// Iterations of a loop of an axis whose elements exist, for one iteration of the other: start, start + step, ...
struct anas_depthwise_span {
  int loop; // -1: extent 1
  int64_t step;
  MlirValue count;
  MlirValue dense, start[3]; // offsets of the first one in `dense`, with all that the axis adds, and in the others
  int64_t dense_step;        // elements of `dense` from one to the next
};
// given: the other loop (-1: extent 1), iv its iteration (null: 0).
struct anas_depthwise_span anas_depthwise_span(const struct anas_depthwise *d, const struct anas_depthwise_axis *axis,
                                               int given, MlirValue iv);
// The place of number iv of the span.
struct anas_depthwise_place anas_depthwise_along(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                 const struct anas_depthwise_span *span, MlirValue iv);
// Emits code for every vector of channels, the last one perhaps partial.
typedef void anas_depthwise_emit(struct anas_depthwise *d, struct anas_depthwise_place place, void *data);
void anas_depthwise_channels(struct anas_depthwise *d, struct anas_depthwise_place place, anas_depthwise_emit *emit,
                             void *data);

anas_depthwise_emit anas_depthwise_fill_points; // stores the fill to all points of the channels

// The place of iteration iv of all outer loops together, and how many there are.
struct anas_depthwise_place anas_depthwise_outer(const struct anas_depthwise *d, struct anas_depthwise_place place,
                                                 MlirValue iv, int64_t *out_range);

// ---- emitters: the range goes to *out_range; false, and nothing emitted, if they cannot do it

typedef bool anas_depthwise_emitter(struct anas_depthwise *d, struct anas_depthwise_place place, MlirValue begin,
                                    MlirValue end, int64_t *out_range);
anas_depthwise_emitter anas_depthwise_blocks;        // the same with axes and windows of some ten elements
anas_depthwise_emitter anas_depthwise_window;        // few reduced steps
anas_depthwise_emitter anas_depthwise_filter;        // at most ANAS_DEPTHWISE_POINTS points, no axes
anas_depthwise_emitter anas_depthwise_filter_blocks; // with axes, all sums in registers
anas_depthwise_emitter anas_depthwise_filter_rows;   // the same with axes

#endif
