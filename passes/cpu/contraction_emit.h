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
  MlirValue begin, end; // the range
  MlirValue streamed;   // sum of the indices of the stream loops, null: there are none
  MlirValue flat[ANAS_CPU_OPERANDS];
  MlirValue packed_a, packed_b; // the copies, null if there are none
  MlirValue source_a;           // A itself
  bool fetching;                // the tile fetches A of the next item
  MlirValue filler, fill_limit; // see fill_line; null: nothing is filled
  MlirValue fill_at;
  MlirValue chunk_lower; // null: the chunk loop starts at 0 and is not cut
  MlirValue lane_step;   // null: the only one
  // The tile being emitted.
  int vectors;
  int last_lanes; // active lanes of the last vector
  int64_t rows[ANAS_CPU_LOOPS];
  int64_t ahead;         // in A: to the rows that come later; 0: not known
  MlirValue first_block; // i1: no reduction block came before; null: there is only one
  MlirValue k_count;     // steps of loop k_split in this block; null: k_block
};

struct anas_place { // addresses in the operands
  struct anas_address a, b, c;
  struct anas_address fetch; // in A: what the tile fetches, moved by rows only
};

// The place of iteration iv * scale of a loop.
struct anas_place anas_emitter_move(const struct anas_emitter *e, struct anas_place place, int loop, MlirValue iv,
                                    int64_t scale);
// One register tile of one reduction block.
void anas_emitter_tile(struct anas_emitter *e, struct anas_place place);

#endif
