// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the contraction emitter: its state, shared by loops (contraction_emit.c) and register tile
// (contraction_body.c).
#ifndef ANAS_PASSES_CPU_CONTRACTION_EMIT_H
#define ANAS_PASSES_CPU_CONTRACTION_EMIT_H

#include "passes/cpu/contraction.h"

#define ANAS_LINE 16 // elements of a cache line

struct anas_emitter {
  struct anas_code *code;
  const struct anas_contraction *plan;
  const struct anas_cpu_nest *nest; // strides of the operands themselves, not of copies
  MlirValue begin, end;             // the range
  MlirValue streamed;               // sum of the indices of the stream loops, null: there are none
  MlirValue flat[ANAS_CPU_OPERANDS];
  MlirValue packed_a, packed_b; // the copies, null if there are none
  MlirValue source_a, source_b; // A and B themselves
  MlirValue filler, fill_limit; // see fill_line; null: nothing is filled
  MlirValue fill_at;
  struct anas_address next_b; // in B: the first row tile's, of what is read next
  MlirValue row_index;        // of the tile, if there is one row loop; null: 0
  MlirValue share;            // which part of the next A this work item fetches
  MlirValue chunk_lower;      // null: the chunk loop starts at 0 and is not cut
  MlirValue lane_step;        // null: the only one
  // The tile being emitted.
  int vectors;
  int last_lanes; // active lanes of the last vector
  int64_t rows[ANAS_CPU_LOOPS];
  int64_t ahead;         // in A: to the rows that come later; 0: not known
  MlirValue block_start; // of loop k_split; null: 0
  MlirValue first_block; // i1: no reduction block came before; null: there is only one
  MlirValue k_count;     // steps of loop k_split in this block; null: k_block
};

struct anas_place { // addresses in the operands
  struct anas_address a, b, c;
  struct anas_address next; // the same place in A, of the next work items that read another A
};

#define ANAS_FETCH_LINES 64

// Lines to ask for in every segment of a reduction.
struct anas_fetch {
  MlirValue operand;
  struct anas_address base;
  int64_t stride; // from segment to segment
  int num;
  int64_t offset[ANAS_FETCH_LINES];
  bool write;
};

// ---- contraction_fetch.c

// Which part of the next A a work item fetches; null: all of it.
MlirValue anas_fetch_share(struct anas_emitter *e, const MlirValue *digit);
// Where the block of the reduction that starts at block_start (null: 0) begins to fetch, for the first row.
struct anas_address anas_fetch_place(struct anas_emitter *e, struct anas_address next, MlirValue share,
                                     MlirValue block_start);
// In how many segments of equal length, and a rest, to divide the steps of a tile. 1: not at all.
int64_t anas_fetch_segments(const struct anas_emitter *e, int64_t steps);
// The tile's results: offsets of rows, and of the vectors (-1: it does not begin a line).
struct anas_fetch anas_fetch_c(const struct anas_emitter *e, struct anas_address c, int rows, const int64_t *row_c,
                               const int64_t *vector_c, int64_t segments);
struct anas_fetch anas_fetch_a(const struct anas_emitter *e, struct anas_address next, int64_t segments);
struct anas_fetch anas_fetch_b(const struct anas_emitter *e, const int64_t *vector_b, int64_t segments);
void anas_fetch_emit(struct anas_emitter *e, const struct anas_fetch *fetch, MlirValue segment);

// ---- contraction_body.c

// The place of iteration iv * scale of a loop.
struct anas_place anas_emitter_move(const struct anas_emitter *e, struct anas_place place, int loop, MlirValue iv,
                                    int64_t scale);
// One register tile of one reduction block.
void anas_emitter_tile(struct anas_emitter *e, struct anas_place place);

#endif
