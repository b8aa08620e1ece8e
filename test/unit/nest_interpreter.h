// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Naive interpreter of loop nests, the independent reference of the numerics tests: it walks a nest's iteration space
// in order and evaluates the body text in double precision. Memory that nobody wrote is NaN, so reading it shows.
#ifndef ANAS_TEST_NEST_INTERPRETER_H
#define ANAS_TEST_NEST_INTERPRETER_H

#include "passes/lower/lowering.h"

union nest_cell { // f32 tensors hold doubles, i32 and i64 tensors integers
  double f;
  int64_t i;
};

struct nest_memory {
  const struct anas_lowering *lowering;
  union nest_cell **storage; // by buffer; allocated at first use, null before
  int count;
};

void nest_memory_init(struct nest_memory *memory, const struct anas_lowering *lowering);
void nest_memory_deinit(struct nest_memory *memory);
// Row-major elements of a buffer.
union nest_cell *nest_memory_buffer(struct nest_memory *memory, int buffer);

// ANAS_UNSUPPORTED names an operation the interpreter does not know.
anas_status nest_interpret(struct nest_memory *memory, const struct anas_nest *nest);
// Iterations [begin, end) of the first loop alone; outputs get their fill before it if `fills`.
anas_status nest_interpret_part(struct nest_memory *memory, const struct anas_nest *nest, int64_t begin, int64_t end,
                                bool fills);
// Nests first, first + 1, ... to the last one of the lowering.
anas_status nest_interpret_from(struct nest_memory *memory, int first);

#endif
