// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the contraction emitter: the plan of one contraction C[...] += A[...] * B[...].
#ifndef ANAS_PASSES_CPU_CONTRACTION_H
#define ANAS_PASSES_CPU_CONTRACTION_H

#include "passes/cpu/nest.h"

// Loops by role. The lane loop has stride 1 in B and C and 0 in A; if not 1 in B, a copy of B is transposed. Rows: 0 in
// B. Columns: 0 in A. Batch: in all three. A register tile is rows x vectors accumulators; rows come from the tiles of
// the row loops, vectors from consecutive parts of the lane loop or, if that is a single vector, from the column loop
// `spread`.
enum anas_level_kind { ANAS_LEVEL_BATCH, ANAS_LEVEL_ROWS, ANAS_LEVEL_CHUNK, ANAS_LEVEL_COLUMN, ANAS_LEVEL_LANE };

struct anas_level { // a loop over tiles outside the reduction
  enum anas_level_kind kind;
  int loop;
  int64_t count;
};

struct anas_contraction {
  const struct anas_cpu_nest *nest;
  struct anas_cpu_choice choice; // from outside
  int a, b, c;                   // operands
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

  // Copies that every reduction block of a chunk makes of what its tiles read (contraction_pack.c). B: step by step,
  // `vectors` whole vectors a step. A: tile by tile of rows, step by step; row r of a chunk, if a tile starts there, is
  // at r * a_stride, a step is a_pitch.
  bool pack_a, pack_b;
  int64_t a_elements, b_elements, a_pitch, a_stride;
  bool panels; // a stream that copies a panel of B for every column and block
  // Each of so many work items fetches a part of what they read next of A; each of so many tiles of rows, of B. 0:
  // none.
  int64_t fetch_parts, fetch_b_parts;
};

#define ANAS_PARALLEL_MACS 200000.0 // fewer are not worth a second thread

// The steps of planning: register tile; reduction blocks and loop order.
void anas_contraction_tile(struct anas_contraction *plan, const struct anas_cpu_target *target);
void anas_contraction_order(struct anas_contraction *plan);

// ---- copies (contraction_pack.c)

// Whether loop `lane`, not contiguous in operand b, can be the lane loop because a copy of b transposes it.
bool anas_contraction_transposable(const struct anas_cpu_nest *nest, int a, int b, int lane);
// Whether rows of A are side by side and steps of the reduction far apart, so that a tile keeps to a few cache sets.
bool anas_contraction_steps_apart(const struct anas_contraction *plan);
// Which operands to copy, after the register tile and the stream are chosen; how large the copies are, at the end.
void anas_contraction_packing(struct anas_contraction *plan);
void anas_contraction_packed_sizes(struct anas_contraction *plan);
// What is fetched ahead (contraction_fetch.c).
bool anas_contraction_fetches_a(const struct anas_contraction *plan);
void anas_contraction_prefetching(struct anas_contraction *plan);
// An array of f32, or one index, on the stack; to be called at the top of the function.
MlirValue anas_contraction_stack(struct anas_code *code, int64_t elements);
MlirValue anas_contraction_counter(struct anas_code *code);
// Copy of the panel of B, or the chunk of A, that starts at `from` in `source`; count: steps, null for k_block of them.
void anas_contraction_pack_b(struct anas_code *code, const struct anas_contraction *plan, MlirValue source,
                             struct anas_address from, MlirValue to, int vectors, int last_lanes, MlirValue count);
void anas_contraction_pack_a(struct anas_code *code, const struct anas_contraction *plan, MlirValue source,
                             struct anas_address from, MlirValue to, MlirValue chunk_lower, MlirValue count);

// Whether the body is acc + in0 * in1 in f32, nothing else.
bool anas_contraction_multiplies(const struct anas_cpu_nest *nest);
// False if the nest is no contraction this emitter takes.
bool anas_contraction_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                           struct anas_contraction *out);
// What was planned, for people.
void anas_contraction_describe(const struct anas_contraction *plan, char *out, size_t size);
int64_t anas_contraction_range(const struct anas_contraction *plan);
void anas_contraction_emit(struct anas_code *code, const struct anas_contraction *plan, MlirValue begin, MlirValue end);

#endif
