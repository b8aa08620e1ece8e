// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loop nests: what a training op computes. A nest is one perfect loop nest with affine accesses and a scalar body, and
// becomes exactly one linalg.generic in one kernel function. Op files describe nests through this interface; grouping,
// outlining and memory planning happen in passes/lower.
#ifndef ANAS_DIALECT_KERNEL_H
#define ANAS_DIALECT_KERNEL_H

#include "dialect/op.h"
#include "runtime/support/strbuf.h"

#define ANAS_MAX_LOOPS 12
#define ANAS_MAX_ACCESSES 12

// constant + sum of coef[l] * loop l
struct anas_linear {
  int64_t constant;
  int64_t coef[ANAS_MAX_LOOPS];
};

struct anas_access {
  int buffer;                              // handle, see below
  struct anas_linear index[ANAS_MAX_RANK]; // one per dimension of the buffer
  // Inputs only. border[d] = s > 0: the index may leave the buffer; it is index[d] / s where that is a whole number
  // inside the dimension, and the access reads zero everywhere else. 0: index[d] stays inside.
  int64_t border[ANAS_MAX_RANK];
};

enum anas_fill { ANAS_NO_FILL = 0, ANAS_FILL_ZERO, ANAS_FILL_NEGATIVE_INFINITY, ANAS_FILL_ONE };

struct anas_nest {
  const char *kind; // "conv_fwd", "relu_bwd", ...: the value of anas.kernel
  int num_loops;
  int64_t extent[ANAS_MAX_LOOPS];
  bool reduction[ANAS_MAX_LOOPS]; // true if some output index does not use the loop injectively
  int num_in, num_out;
  struct anas_access in[ANAS_MAX_ACCESSES], out[ANAS_MAX_RESULTS];
  enum anas_fill fill[ANAS_MAX_RESULTS]; // value every element of the output buffer has before the nest runs;
                                         // ANAS_NO_FILL: elements not written keep whatever they were
  // Scalar body as MLIR text. Inputs are %i0, %i1, ...; current values of the outputs %o0, ...; locals are %v<number>;
  // ops print as "arith.*", "math.*" or "linalg.index". yield[k] names the value stored to output k.
  struct anas_strbuf body;
  char yield[ANAS_MAX_RESULTS][16];
  int next_local;
};

// ---- describing an op (inside anas_op_def.lower)
// ----------------------------------------------------------------------

struct anas_lowering;

int anas_lower_operand(struct anas_lowering *l, int i);                          // buffer handle of operand i
int anas_lower_result(struct anas_lowering *l, int i);                           // buffer handle of result i
int anas_lower_scratch(struct anas_lowering *l, const struct anas_shape *shape); // a temporary of this op
const struct anas_shape *anas_lower_shape(const struct anas_lowering *l, int buffer);
// Result i is the storage of operand i under the result's type: no code (flatten), or an in-place update (optimizer).
void anas_lower_alias(struct anas_lowering *l, int result, int operand);
// A packed form of a buffer that several ops may want (padded input, transposed weights): two calls with the same
// source value and the same key in one step share one buffer. *out_fresh tells the caller whether it must emit the
// packing nest.
int anas_lower_packed(struct anas_lowering *l, int source, const char *key, const struct anas_shape *shape,
                      bool *out_fresh);

// Appends a nest (zeroed). The pointer is valid until the next anas_lower_nest.
struct anas_nest *anas_lower_nest(struct anas_lowering *l, const char *kind);

int anas_nest_loop(struct anas_nest *nest, int64_t extent, bool reduction); // returns the loop number
struct anas_access *anas_nest_in(struct anas_nest *nest, int buffer);
struct anas_access *anas_nest_out(struct anas_nest *nest, int buffer, enum anas_fill fill);
// index[dim] += coef * loop
void anas_access_add(struct anas_access *access, int dim, int loop, int64_t coef);
// Appends "%v<n> = <printf text>\n" to the body and returns n.
__attribute__((format(printf, 2, 3))) int anas_nest_value(struct anas_nest *nest, const char *format, ...);
// Sets the value of output k, e.g. anas_nest_yield(nest, 0, "%%v%d", n) or "%%i0".
__attribute__((format(printf, 3, 4))) void anas_nest_yield(struct anas_nest *nest, int output, const char *format, ...);

// Elementwise: result 0 = body of the operands (numpy broadcasting to the result's type). The nest comes back with
// loops and accesses set (%i0.. in operand order); the caller adds body and yield.
struct anas_nest *anas_lower_map(struct anas_lowering *l, const char *kind, const int *in, int num_in, int out);

#endif
