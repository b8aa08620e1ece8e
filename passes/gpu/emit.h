// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/gpu: a GPU function under construction, and what the emitters share. The IR builder and the body
// of a nest on vectors are those of passes/cpu (nest.h). Index arithmetic is in 32 bits: tensors of 2^31 elements and
// more are refused.
#ifndef ANAS_PASSES_GPU_EMIT_H
#define ANAS_PASSES_GPU_EMIT_H

#include "passes/cpu/nest.h"
#include "passes/gpu/gpu.h"

#define ANAS_GPU_BLOCK 256 // threads of a block

struct anas_gpu_emit { // one kernel function being emitted
  const struct anas_gpu_target *target;
  struct anas_cpu_nest nest;
  const struct anas_combiner *combiner[ANAS_CPU_OPERANDS];
  struct anas_gpu_code *out;
};

struct anas_gpu_function { // one function of the gpu.module
  struct anas_gpu_emit *emit;
  struct anas_gpu_launch *launch;
  struct anas_code code;
  MlirValue operand[ANAS_CPU_OPERANDS]; // one-dimensional memrefs of the operands of the nest
  MlirValue workspace;                  // f32, null: none asked for
  MlirValue shared;                     // f32, null: none asked for
  MlirValue thread, block[3];           // i32
};

struct anas_gpu_shape {
  const char *suffix; // of the symbol
  int64_t grid[3];
  int64_t shared;    // f32 elements, 0: none
  int64_t workspace; // f32 elements, 0: none
  int min_blocks;    // resident on a multiprocessor that the register allocator must allow, 0: no wish
};
// Opens a function with one parameter per operand of the nest (and one for the workspace), and adds its launch.
anas_status anas_gpu_begin(struct anas_gpu_emit *emit, const struct anas_gpu_shape *shape,
                           struct anas_gpu_function *out);
void anas_gpu_end(struct anas_gpu_function *f);
// Adds fills of the outputs that need their fill in memory.
anas_status anas_gpu_fill(struct anas_gpu_emit *emit, const bool *in_memory);

// ---- i32 arithmetic; a null value stands for 0

MlirValue anas_gpu_i32(struct anas_gpu_function *f, int64_t value);
MlirValue anas_gpu_add(struct anas_gpu_function *f, MlirValue a, MlirValue b);
MlirValue anas_gpu_sub(struct anas_gpu_function *f, MlirValue a, MlirValue b);
MlirValue anas_gpu_scale(struct anas_gpu_function *f, MlirValue a, int64_t factor);
MlirValue anas_gpu_offset(struct anas_gpu_function *f, MlirValue a, int64_t offset);
MlirValue anas_gpu_div(struct anas_gpu_function *f, MlirValue a, int64_t divisor); // unsigned
MlirValue anas_gpu_rem(struct anas_gpu_function *f, MlirValue a, int64_t divisor);
MlirValue anas_gpu_min(struct anas_gpu_function *f, MlirValue a, int64_t limit); // signed
MlirValue anas_gpu_less(struct anas_gpu_function *f, MlirValue a, int64_t limit);
MlirValue anas_gpu_less_value(struct anas_gpu_function *f, MlirValue a, MlirValue b);
MlirValue anas_gpu_index(struct anas_gpu_function *f, MlirValue a); // as an index
// Digits of a linear number in the mixed radix of `loops`, slowest first; digit[loops[i]] is set.
void anas_gpu_digits(struct anas_gpu_function *f, MlirValue linear, const struct anas_cpu_nest *nest, const int *loops,
                     int num, MlirValue *digit);
// offset + sum of stride * digit over all loops with a digit
MlirValue anas_gpu_address(struct anas_gpu_function *f, const struct anas_cpu_operand *operand, const MlirValue *digit,
                           int num_loops);
// A loop with an i32 counter; otherwise as anas_code_for.
struct anas_code_scope anas_gpu_for(struct anas_gpu_function *f, MlirValue lower, MlirValue upper, int64_t step,
                                    int num, const MlirValue *inits);
void anas_gpu_barrier(struct anas_gpu_function *f);

// ---- memory; addresses are i32

MlirValue anas_gpu_load(struct anas_gpu_function *f, MlirValue memory, MlirValue address, int lanes); // a vector
void anas_gpu_store(struct anas_gpu_function *f, MlirValue vector, MlirValue memory, MlirValue address);
// Of a word of shared memory, as !llvm.ptr<3>.
MlirValue anas_gpu_shared_pointer(struct anas_gpu_function *f, MlirValue address);
MlirValue anas_gpu_zero(struct anas_gpu_function *f, int lanes, MlirType element);
MlirValue anas_gpu_fill_vector(struct anas_gpu_function *f, const struct anas_cpu_operand *output, int lanes);
MlirValue anas_gpu_extract(struct anas_gpu_function *f, MlirValue vector, int lane); // a scalar
MlirValue anas_gpu_splat(struct anas_gpu_function *f, MlirValue scalar, int lanes);

// ---- emitters: *out_done false and nothing emitted if the nest is not of the form

anas_status anas_gpu_contraction(struct anas_gpu_emit *emit, bool *out_done);
anas_status anas_gpu_reduce(struct anas_gpu_emit *emit, bool *out_done);
anas_status anas_gpu_map(struct anas_gpu_emit *emit); // any nest: one thread an output point, or a vector of them

// True if the body reads the operand (for an output: the old value).
bool anas_gpu_reads(const struct anas_cpu_nest *nest, int operand);
// Bytes of shared vectors: strides and offset allow accesses of 4 elements along `loop`.
bool anas_gpu_aligned(const struct anas_cpu_nest *nest, int operand, int loop);

#endif
