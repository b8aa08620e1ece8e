// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal interface of passes/lower: the loop nests and buffers of one step (or of a single op in a test), and the
// kernel function a nest becomes. dialect/kernel.h is the part of it that op files see.
#ifndef ANAS_PASSES_LOWERING_H
#define ANAS_PASSES_LOWERING_H

#include "dialect/kernel.h"
#include "runtime/support/memory.h"

enum anas_place {
  ANAS_PLACE_ARENA,  // a temporary of the step: the memory plan gives it an address
  ANAS_PLACE_FIXED,  // an input or result of the step, at its own address in the arena
  ANAS_PLACE_PARAMS, // the parameter buffer
};

struct anas_buffer {
  struct anas_shape shape;
  int alias;             // buffer in whose storage this one lies, under its own type; -1: it has its own storage
  int64_t offset;        // bytes from the start of that buffer
  int source;            // anas_lower_packed: the buffer it was packed from; -1 otherwise
  const char *key;       // anas_lower_packed
  enum anas_place place; // of a buffer with its own storage
  int64_t address;       // bytes from the start of the arena or the parameter buffer
};

struct anas_canonical;

// Handles are indices: buffer handles are given out in order and stay valid. buffers[i] and nests[i] do not move.
struct anas_lowering {
  struct anas_buffer **buffers;
  int num_buffers;
  size_t capacity_buffers;
  struct anas_nest **nests; // in execution order
  int *nest_op;             // number of the op (order of anas_lowering_run) a nest came from
  int num_nests;
  size_t capacity_nests, capacity_nest_op;
  int num_ops;

  // The op being lowered.
  const struct anas_op *op;
  int operand[ANAS_MAX_OPERANDS], result[ANAS_MAX_RESULTS];

  struct anas_arena arena; // buffers, keys
  int64_t num_aliases;     // calls of anas_lowering_alias
  struct anas_canonical *canonical;
};

struct anas_lowering *anas_lowering_create(void);
void anas_lowering_destroy(struct anas_lowering *l);

// A new buffer, e.g. for an operand of a single op under test.
int anas_lowering_buffer(struct anas_lowering *l, const struct anas_shape *shape);
// Runs op->def->lower: operands holds op->num_operands handles. *out_results receives one handle per result of the op,
// new buffers of the types its shape rule gives. Every nest is checked (anas_nest_check).
anas_status anas_lowering_run(struct anas_lowering *l, const struct anas_op *op, const int *operands, int *out_results);
// Sets alias and offset: a buffer lies at `offset` bytes of another one, or has its own storage again (target -1).
void anas_lowering_alias(struct anas_lowering *l, int buffer, int target, int64_t offset);
// The first buffer with the same bytes and the same type (canonical.c).
int anas_lowering_canonical(const struct anas_lowering *l, int buffer);
struct anas_canonical *anas_canonical_create(void);
void anas_canonical_destroy(struct anas_canonical *canonical);
// The buffer that owns the storage of a buffer: follows aliases.
int anas_lowering_storage(const struct anas_lowering *l, int buffer);
// The same; *out_offset: bytes from the start of that storage.
int anas_lowering_locate(const struct anas_lowering *l, int buffer, int64_t *out_offset);
bool anas_lowering_overlap(const struct anas_lowering *l, int a, int b); // the buffers share bytes
bool anas_lowering_same(const struct anas_lowering *l, int a, int b);    // same bytes, same type
int64_t anas_lowering_bytes(const struct anas_lowering *l, int buffer);
int anas_lowering_num_results(const struct anas_op *op);
// Drops the nests marked true in dead.
void anas_lowering_remove(struct anas_lowering *l, const bool *dead);
// Sorts the nests by key[nest], 0 <= key < num_keys; nests with equal keys keep their order.
void anas_lowering_reorder(struct anas_lowering *l, const int *key, int num_keys);

// ---- nests

// Accesses inside their buffers, parallel loops write disjoint elements, every output has a value. ANAS_INTERNAL names
// nest and access: the op that described it is wrong.
anas_status anas_nest_check(const struct anas_lowering *l, const struct anas_nest *nest);
bool anas_linear_equal(const struct anas_linear *a, const struct anas_linear *b);
bool anas_access_same_index(const struct anas_access *a, const struct anas_access *b, int rank);
bool anas_access_bordered(const struct anas_access *access); // some index may leave the buffer
// Smallest and largest value of an index over the iterations of the nest.
void anas_linear_range(const struct anas_nest *nest, const struct anas_linear *index, int64_t *out_low,
                       int64_t *out_high);
// Rewrites body and yields so that accesses with a border become accesses without, of the element that
// anas_border_index says, which always exists: zero is chosen instead of it where the border is.
void anas_nest_body_with_borders(const struct anas_lowering *l, struct anas_nest *nest);
// Appends the index of dimension d as an affine expression inside the dimension.
void anas_border_index(const struct anas_nest *nest, const struct anas_access *access, int d, int64_t extent,
                       struct anas_strbuf *out);
// Appends the index as an affine expression: "d0 * 2 + d1 + 5".
void anas_linear_text(const struct anas_nest *nest, const struct anas_linear *index, struct anas_strbuf *out);
// The loop l if index is exactly "loop l", -1 otherwise.
int anas_linear_single_loop(const struct anas_linear *index);
// True if the access visits every element of its buffer exactly once: each index is one loop over the whole extent (or
// 0 where the extent is 1), and each loop with more than one iteration is used once.
bool anas_access_bijective(const struct anas_lowering *l, const struct anas_nest *nest,
                           const struct anas_access *access);
// True if no two iterations visit the same element: each loop with more than one iteration occurs in exactly one index,
// and the loops of an index form a mixed-radix number (block * 16 + lane).
bool anas_access_injective(const struct anas_nest *nest, const struct anas_access *access, int rank);
// Merges equal inputs, and inputs that are an output's old value into %o<k> (in-place update). ANAS_INTERNAL if a nest
// reads the storage it writes at other places than the one it writes.
anas_status anas_nest_simplify(const struct anas_lowering *l, struct anas_nest *nest);

// Copies body text: %i<k> becomes in[k], %o<k> becomes out[k], %v<k> becomes %v<k + first_local>, linalg.index <k>
// becomes linalg.index loop[k] (null tables: unchanged). False if an index refers to a loop whose entry is -1.
bool anas_body_rewrite(const char *body, const char (*in)[16], const char (*out)[16], int first_local, const int *loop,
                       struct anas_strbuf *out_text);
bool anas_nest_uses_output(const struct anas_nest *nest, int output); // body or yield mentions %o<output>
double anas_body_flops(const char *body);                             // floating point operations of one iteration

// ---- kernel functions

#define ANAS_SHAPE_OPERAND (-1)

// The text of the kernel function of one nest and the buffers to call it with.
//
// linalg derives the extent of every loop from the operands, so each loop must appear alone as the index of some
// operand dimension of just its extent. Where a nest has no such access, the printer arranges for it:
//  - a loop that is the only term of an index into a larger dimension (a prefix) gets a companion loop of extent 1, so
//    that the index is a sum and does not bound it;
//  - loops that nothing bounds (windows of a pooling, companions) become the dimensions of one more input, the shape
//    operand: memref<window x f32>, last of the inputs, never read. It has shape.dim[] and needs storage of its own.
struct anas_kernel_function {
  char name[35];                                        // "k_<32 hex digits>"
  char *text;                                           // "func.func private @k_...(...) {...}\n"; malloc'ed
  int num_operands;                                     // inputs first, then outputs
  int num_inputs;                                       // the shape operand included
  int buffer[ANAS_MAX_ACCESSES + ANAS_MAX_RESULTS + 1]; // handle, or ANAS_SHAPE_OPERAND
  struct anas_shape shape;                              // of the shape operand; rank 0: there is none
  double flops, bytes;
};
anas_status anas_kernel_function_print(const struct anas_lowering *l, const struct anas_nest *nest,
                                       struct anas_kernel_function *out);
void anas_kernel_function_deinit(struct anas_kernel_function *kernel);
// "memref<2x3xf32>"
void anas_memref_text(const struct anas_shape *shape, struct anas_strbuf *out);

#endif
