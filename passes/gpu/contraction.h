// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the contraction emitter: C[b,m,n] += sum over k of A[b,m,k] * B[b,k,n], where each of b, m, n and k is a
// number whose digits are loops of the nest. Addresses are sums of one term per loop, so a term of m and one of k make
// an address of A: convolutions and their gradients need no copy of their operands.
#ifndef ANAS_PASSES_GPU_CONTRACTION_H
#define ANAS_PASSES_GPU_CONTRACTION_H

#include "passes/gpu/emit.h"

#define ANAS_GPU_MAX_ACCUMULATORS 64

struct anas_gpu_axis {           // b, m, n or k
  int num, loop[ANAS_CPU_LOOPS]; // slowest first
  int64_t extent;                // product; 1 if there is no loop
};

enum anas_gpu_access {
  ANAS_GPU_SINGLE,  // one element at a time
  ANAS_GPU_ALONG_X, // four neighbours in m (of A) or n (of B)
  ANAS_GPU_ALONG_K, // four neighbours in k
};

struct anas_gpu_side { // A or B
  int operand;
  struct anas_gpu_axis *x; // m or n
  int64_t tile;            // extent of a tile in x
  enum anas_gpu_access access;
  bool x_fastest; // single: neighbouring threads take neighbours in x
  // Shared memory: rows of neighbours in k, one for each x, or of neighbours in x, one for each k.
  bool rows_along_k;
  int64_t row, first; // words from one row to the next, and from the start of a buffer
};

struct anas_gpu_contraction {
  struct anas_gpu_function f;
  struct anas_gpu_emit *emit;
  struct anas_gpu_axis b, m, n, k;
  struct anas_gpu_side a_side, b_side;
  int output;
  bool tensor_cores;
  int64_t packed;          // neighbours in a row that share a word of shared memory: 2 in bf16, else 1
  bool async;              // tiles are copied without passing through registers
  int64_t stages;          // buffers in shared memory
  int64_t step;            // extent of a tile in k
  int64_t rows, columns;   // per thread, or per warp on tensor cores
  int64_t splits, k_split; // of k; elements of one split, a multiple of step
  int64_t n_padded;        // row of the workspace
  int64_t buffer;          // words of one of the shared buffers
  bool vector_store;       // four neighbours in n are neighbours in C
};

// A tile of A or B on its way from global to shared memory.
struct anas_gpu_fetch {
  const struct anas_gpu_side *side;
  int count;                        // vectors or elements a thread takes
  MlirValue active;                 // i1, null: every thread takes part
  MlirValue base[16], x[16], k[16]; // address of x; position in the tile
  MlirValue value[16];
};
void anas_gpu_fetch_init(struct anas_gpu_contraction *c, const struct anas_gpu_side *side, MlirValue x0, MlirValue b,
                         struct anas_gpu_fetch *out);
// Reads the tile that starts at k0 into registers; elements from `limit` (the contraction's extent) on read as zero.
void anas_gpu_fetch_load(struct anas_gpu_contraction *c, struct anas_gpu_fetch *fetch, MlirValue k0);
// Writes it to the shared buffer that starts at `buffer`.
void anas_gpu_fetch_store(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch, MlirValue buffer);

// Async: starts copying the tile that starts at k0 to the buffer, elements behind the contraction are zeros. Commit
// ends a group of copies; wait leaves at most `pending` groups of this thread under way.
void anas_gpu_fetch_copy(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch, MlirValue k0,
                         MlirValue buffer);
void anas_gpu_fetch_commit(struct anas_gpu_contraction *c);
void anas_gpu_fetch_wait(struct anas_gpu_contraction *c, int64_t pending);

// Multiply-accumulate of the tiles in shared memory; accumulators are scalars or vectors, in an order of their own.
int anas_gpu_simt_count(const struct anas_gpu_contraction *c);
MlirValue anas_gpu_simt_zero(struct anas_gpu_contraction *c);
void anas_gpu_simt_step(struct anas_gpu_contraction *c, MlirValue buffer, MlirValue *accumulator);
int anas_gpu_mma_count(const struct anas_gpu_contraction *c);
MlirValue anas_gpu_mma_zero(struct anas_gpu_contraction *c);
void anas_gpu_mma_step(struct anas_gpu_contraction *c, MlirValue buffer, MlirValue *accumulator);

// Result i of a thread: a vector of neighbours in n at (row, column) of the tile.
struct anas_gpu_fragment {
  MlirValue row, column, value;
  int lanes;
};
int anas_gpu_simt_fragments(struct anas_gpu_contraction *c, const MlirValue *accumulator,
                            struct anas_gpu_fragment *out);
int anas_gpu_mma_fragments(struct anas_gpu_contraction *c, const MlirValue *accumulator, struct anas_gpu_fragment *out);

// The number of a point on an axis to its digits.
void anas_gpu_axis_digits(struct anas_gpu_contraction *c, const struct anas_gpu_axis *axis, MlirValue number,
                          MlirValue *digit);
// Term of an axis in the address of an operand; number null: 0.
MlirValue anas_gpu_axis_address(struct anas_gpu_contraction *c, const struct anas_gpu_axis *axis, int operand,
                                MlirValue number);

#endif
