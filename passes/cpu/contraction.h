// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the contraction emitter: the plan of one contraction C[...] += A[...] * B[...].
#ifndef ANAS_PASSES_CPU_CONTRACTION_H
#define ANAS_PASSES_CPU_CONTRACTION_H

#include "passes/cpu/nest.h"

// Loops by role. The lane loop has stride 1 in B and C and 0 in A. Rows: 0 in B. Columns: 0 in A. Batch: in all three.
// A register tile is rows x vectors accumulators; rows come from the tiles of the row loops, vectors from consecutive
// parts of the lane loop or, if that is a single vector, from the column loop `spread`.
enum anas_level_kind { ANAS_LEVEL_BATCH, ANAS_LEVEL_ROWS, ANAS_LEVEL_CHUNK, ANAS_LEVEL_COLUMN, ANAS_LEVEL_LANE };

struct anas_level { // a loop over tiles outside the reduction
  enum anas_level_kind kind;
  int loop;
  int64_t count;
};

struct anas_contraction {
  const struct anas_cpu_nest *nest;
  int a, b, c; // operands
  int lanes, lane;
  int num_rows, row[ANAS_CPU_LOOPS]; // slowest (largest stride in A) first
  int num_columns, column[ANAS_CPU_LOOPS];
  int num_batch, batch[ANAS_CPU_LOOPS];
  int num_k, k[ANAS_CPU_LOOPS]; // reduction, slowest first

  int vectors;                  // per tile
  int spread;                   // -1: the vectors follow each other in the lane loop
  int64_t tile[ANAS_CPU_LOOPS]; // rows of each row loop in a tile; at most one does not divide its extent

  // The first `stream` reduction loops are outside everything, even the range; the others before k_split are outside
  // the row loops, those behind inside the tile; k_split itself is cut into blocks of k_block.
  int stream;
  int k_split;
  int64_t k_block;

  // Row loops before `chunk_at` are levels; loop chunk_at is cut into chunks of chunk_rows, which are a level; the rest
  // is inside the reduction blocks.
  int chunk_at;
  int64_t chunk_rows;

  int num_outer, num_inner;
  struct anas_level outer[ANAS_CPU_LOOPS]; // digits of the range
  struct anas_level inner[ANAS_CPU_LOOPS]; // loops inside it, after the fill
  struct anas_cpu_nest split_nest;         // `nest` if reduction loops had to be split
  int fill_loop;                           // slab loop, -1: fill everything at once
};

#define ANAS_PARALLEL_MACS 200000.0 // fewer are not worth a second thread

// The steps of planning: register tile; reduction blocks and loop order.
void anas_contraction_tile(struct anas_contraction *plan, const struct anas_cpu_target *target);
void anas_contraction_order(struct anas_contraction *plan);

// False if the nest is no contraction this emitter takes.
bool anas_contraction_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                           struct anas_contraction *out);
int64_t anas_contraction_range(const struct anas_contraction *plan);
void anas_contraction_emit(struct anas_code *code, const struct anas_contraction *plan, MlirValue begin, MlirValue end);

#endif
