// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the vector emitter: loops of a nest by role, as chosen by vector_plan.c and emitted by vector.c.
#ifndef ANAS_PASSES_CPU_VECTOR_H
#define ANAS_PASSES_CPU_VECTOR_H

#include "passes/cpu/nest.h"

#define ANAS_VECTOR_MAX 4
#define ANAS_VECTOR_ACCUMULATORS (ANAS_CPU_OPERANDS * ANAS_VECTOR_MAX)

struct anas_vector_plan {
  struct anas_code *code;
  struct anas_cpu_nest nest;
  MlirValue flat[ANAS_CPU_OPERANDS];
  bool used[ANAS_CPU_OPERANDS];      // the body reads the operand
  bool in_memory[ANAS_CPU_OPERANDS]; // output that is loaded and stored in every iteration
  const struct anas_combiner *combiner[ANAS_CPU_OPERANDS];
  int lane, lanes, vectors;
  bool lane_reduces;
  int num_outer, outer[ANAS_CPU_LOOPS];    // digits of the range, slowest first; may end with the lane loop
  int num_free, free_loop[ANAS_CPU_LOOPS]; // further free loops, without the lane loop
  int num_accumulating, accumulating[ANAS_CPU_LOOPS];
  // Free loops cut into tiles whose iterations are unrolled, each with its own accumulators: operands that stand still
  // in such a loop are loaded once for the tile.
  int num_tiled, tiled[ANAS_CPU_LOOPS];
  int64_t tile[ANAS_CPU_LOOPS]; // 1 for the other loops
  int copies;                   // product of the tiles
  int unrolled_from;            // accumulating loops from here on are unrolled
  // Sums of columns that are wider than the accumulators: the accumulating loops run outside the lane loop, so that
  // rows are read from end to end; the outputs are updated in memory.
  bool by_rows;
  bool starts; // of by_rows: the outputs get their fill
  bool lane_outer;
  int fill_loop; // slab loop of the fills, -1: none
  // state of emission
  MlirValue iv[ANAS_CPU_LOOPS];
  int num_accumulators;
  MlirValue accumulator[ANAS_VECTOR_ACCUMULATORS];
};

// Chooses everything but the state of emission; code, nest and flat are set. Returns the estimated vector instructions
// of the whole nest and the iterations of the range.
double anas_vector_plan(struct anas_vector_plan *plan, int64_t *out_range);
int64_t anas_vector_leading(const struct anas_vector_plan *plan); // of struct anas_cpu_range
int64_t anas_vector_steps(const struct anas_vector_plan *plan);   // of the lane loop, the last one perhaps partial

#endif
