// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/cpu: a kernel function's loop nest as strides, and the IR builder the emitters share.
#ifndef ANAS_PASSES_CPU_NEST_H
#define ANAS_PASSES_CPU_NEST_H

#include "passes/cpu/cpu.h"

#include <mlir-c/AffineExpr.h>

#define ANAS_CPU_LOOPS 16
#define ANAS_CPU_OPERANDS 16
#define ANAS_CPU_BORDERS 2

// ---- the nest
// --------------------------------------------------------------------------------------------------------

// An index that is not linear in the loops, because it wraps around or skips (passes/lower/border.c). It adds
// weight * index to the address of the operand. Its loops are indexed, so that they stay what they are in the body, and
// have no share in the operand's strides.
struct anas_cpu_border {
  MlirAffineExpr index; // of the dimensions of the linalg.generic
  int64_t weight;
  bool loop[ANAS_CPU_LOOPS];
};

struct anas_cpu_operand {
  MlirValue memref; // argument of the kernel function
  int argument;     // of the body
  MlirType element;
  int64_t elements;
  int64_t offset; // of iteration (0, 0, ...), in elements of the row-major buffer, like every stride
  int64_t stride[ANAS_CPU_LOOPS];
  int num_borders; // inputs only
  struct anas_cpu_border border[ANAS_CPU_BORDERS];
  // Outputs only. filled: every element holds fill before the nest runs. covered: the parallel loops visit every
  // element exactly once, so that a filled output needs no separate fill. slab[l]: for loop l alone, iteration i writes
  // only elements [slab_offset + i*stride[l], slab_offset + (i+1)*stride[l]).
  bool output, filled, covered;
  MlirAttribute fill;
  int64_t slab_offset;
  bool slab[ANAS_CPU_LOOPS];
};

// Loops of extent 1 are dropped, loops contiguous in every operand are merged, and inputs the body does not read (they
// gave loops their extents) are left out.
struct anas_cpu_nest {
  int num_loops;
  int64_t extent[ANAS_CPU_LOOPS];
  bool reduction[ANAS_CPU_LOOPS];
  bool split[ANAS_CPU_LOOPS];   // different iterations write different elements of every output
  bool indexed[ANAS_CPU_LOOPS]; // linalg.index of this loop is used; such loops are not merged
  int loop_of_dim[64];          // dimension of the linalg.generic -> loop; -1: extent 1
  int lead_loop;                // whose slowest digit is dimension 0 of the linalg.generic; -1: none
  int64_t lead_extent;          // of dimension 0
  int num_operands, num_in;     // inputs first
  struct anas_cpu_operand operand[ANAS_CPU_OPERANDS];
  MlirBlock body;
  bool pairs; // of a contraction: the elements of its inputs are pairs of bf16 (bf16.h)
};

// Reads the linalg.fill ops and the linalg.generic of a kernel function.
anas_status anas_cpu_nest_read(MlirOperation function, struct anas_cpu_nest *out);
int64_t anas_cpu_nest_iterations(const struct anas_cpu_nest *nest);
// The operand's address depends on the loop, by its stride or by a border.
bool anas_cpu_moves(const struct anas_cpu_nest *nest, int operand, int loop);
bool anas_cpu_has_border(const struct anas_cpu_nest *nest, int loop); // of any operand
// A border's index in one iteration of its loops.
int64_t anas_cpu_border_at(const struct anas_cpu_nest *nest, const struct anas_cpu_border *border,
                           const int64_t *iteration);

struct anas_combiner { // yield = op(accumulator, something)
  const char *op;
  bool is_float;
  double neutral;
};
// The combiner of output o if its accumulator is used exactly once, by an op whose result is yielded for it; else null.
const struct anas_combiner *anas_cpu_find_combiner(const struct anas_cpu_nest *nest, int o);

// ---- building code
// ---------------------------------------------------------------------------------------------------

#define ANAS_CODE_CONSTANTS 512

struct anas_code {
  MlirContext context;
  MlirLocation location;
  MlirBlock entry; // constants go to its start
  MlirBlock block; // everything else is appended here
  const struct anas_cpu_target *target;
  MlirType index, i1, i32, f32;
  int num_constants;
  struct {
    MlirAttribute attribute;
    MlirValue value;
  } constant[ANAS_CODE_CONSTANTS];
};

// value + offset, in elements; a null value is zero
struct anas_address {
  MlirValue value;
  int64_t offset;
};

struct anas_code_scope { // an open scf.for or one branch of scf.if
  MlirOperation op;
  MlirBlock parent, body;
  MlirValue iv;
};

void anas_code_init(struct anas_code *code, MlirBlock entry, const struct anas_cpu_target *target);
// Appends an op with at most one result (a null type: none) and returns the result.
MlirValue anas_code_op(struct anas_code *code, const char *name, int num_operands, const MlirValue *operands,
                       MlirType result, int num_attributes, const MlirNamedAttribute *attributes);
MlirValue anas_code_unary(struct anas_code *code, const char *name, MlirValue a, MlirType result);
MlirValue anas_code_binary(struct anas_code *code, const char *name, MlirValue a, MlirValue b); // type of a
MlirValue anas_code_compare(struct anas_code *code, bool is_float, int predicate, MlirValue a, MlirValue b);
MlirValue anas_code_select(struct anas_code *code, MlirValue condition, MlirValue a, MlirValue b);
MlirNamedAttribute anas_code_attribute(struct anas_code *code, const char *name, MlirAttribute value);

MlirType anas_code_vector(int lanes, MlirType element);
MlirValue anas_code_constant(struct anas_code *code, MlirType type, MlirAttribute value); // cached by attribute
MlirValue anas_code_index(struct anas_code *code, int64_t value);
MlirValue anas_code_splat(struct anas_code *code, MlirType vector, MlirAttribute element);
MlirValue anas_code_splat_f32(struct anas_code *code, int lanes, double value);
MlirValue anas_code_splat_i32(struct anas_code *code, int lanes, int64_t value);
MlirValue anas_code_mask(struct anas_code *code, int lanes, int active); // vector<lanes x i1>, first `active` set

// Index arithmetic; a null value stands for 0.
MlirValue anas_code_add(struct anas_code *code, MlirValue a, MlirValue b);
MlirValue anas_code_add_const(struct anas_code *code, MlirValue a, int64_t b);
MlirValue anas_code_mul_const(struct anas_code *code, MlirValue a, int64_t b);
MlirValue anas_code_min(struct anas_code *code, MlirValue a, MlirValue b);
MlirValue anas_code_max(struct anas_code *code, MlirValue a, MlirValue b);
struct anas_address anas_address_step(struct anas_code *code, struct anas_address a, MlirValue iv, int64_t stride);
struct anas_address anas_address_offset(struct anas_address a, int64_t offset);
MlirValue anas_address_value(struct anas_code *code, struct anas_address a);

// One-dimensional view of a static memref.
MlirValue anas_code_flatten(struct anas_code *code, MlirValue memref, int64_t elements, MlirType element);
MlirValue anas_code_load(struct anas_code *code, MlirValue flat, struct anas_address a);
void anas_code_store(struct anas_code *code, MlirValue value, MlirValue flat, struct anas_address a);
// Contiguous vectors; only the first `active` lanes are touched, the others read as pass (null: zero).
MlirValue anas_code_vector_load(struct anas_code *code, MlirValue flat, struct anas_address a, MlirType vector,
                                int active);
void anas_code_vector_store(struct anas_code *code, MlirValue value, MlirValue flat, struct anas_address a, int active);
// Fetches the line of an element, which need not exist: to be written soon, or (into the second-level cache) to be
// read.
void anas_code_prefetch(struct anas_code *code, MlirValue flat, struct anas_address a, bool write);
// The same into the first-level cache, to be read within some hundred cycles.
void anas_code_prefetch_near(struct anas_code *code, MlirValue flat, struct anas_address a);
MlirValue anas_code_broadcast(struct anas_code *code, MlirValue scalar, int lanes);
MlirValue anas_code_fma(struct anas_code *code, MlirValue a, MlirValue b, MlirValue c);
// sum + a.first * b.first + a.second * b.second, where the elements of a and b are pairs of bf16.
MlirValue anas_code_multiply_pairs(struct anas_code *code, MlirValue a, MlirValue b, MlirValue sum);

// for iv = lower to upper step `step` iter_args(inits): the scope's body becomes the current block. Iteration
// arguments are anas_code_iter(scope, i); anas_code_end yields and returns to the parent block.
struct anas_code_scope anas_code_for(struct anas_code *code, MlirValue lower, MlirValue upper, int64_t step, int num,
                                     const MlirValue *inits);
MlirValue anas_code_iter(const struct anas_code_scope *scope, int i);
void anas_code_end(struct anas_code *code, const struct anas_code_scope *scope, int num, const MlirValue *yields);
MlirValue anas_code_result(const struct anas_code_scope *scope, int i);
// if condition { first } [else { second }], no results. Call else between the branches, end after the last.
struct anas_code_scope anas_code_if(struct anas_code *code, MlirValue condition, bool with_else);
void anas_code_else(struct anas_code *code, struct anas_code_scope *scope);
// if condition { values become what anas_code_end yields }: anas_code_result(scope, i) is the value afterwards.
struct anas_code_scope anas_code_when(struct anas_code *code, MlirValue condition, int num, const MlirValue *values);

// arith comparison predicates
enum {
  ANAS_CMPI_EQ = 0,
  ANAS_CMPI_SLT = 2,
  ANAS_CMPI_SLE = 3,
  ANAS_CMPI_SGT = 4,
  ANAS_CMPI_SGE = 5,
  ANAS_CMPI_ULT = 6
};
enum { ANAS_CMPF_OEQ = 1, ANAS_CMPF_OGT = 2, ANAS_CMPF_OLT = 4 };

// ---- emitters
// --------------------------------------------------------------------------------------------------------

// What an emitter decides about the range of a kernel function.
struct anas_cpu_range {
  int64_t iterations;
  bool parallel;
  char plan[120]; // the emitter's choices, for people; empty: plain vector loops
  // If the iterations are cut into so many equal parts, each is one iteration of the first loop of the linalg.generic;
  // 0: they cannot be cut like that.
  int64_t leading;
};

// A part being emitted: the arguments of its function behind the operands. Each range of iterations runs on one thread.
struct anas_cpu_part {
  int index;         // 0: the first part
  MlirValue scratch; // null if the algorithm needs none
  MlirValue begin, end;
};

// How a nest is computed: emit is called once for every part, in a function of its own whose operands are the nest's.
struct anas_cpu_algorithm {
  const char *name;      // for people; null: the plans of the parts say it
  int num_parts;         // at most ANAS_KERNEL_PARTS
  int64_t scratch_bytes; // shared by all threads and parts, contents undefined at the start
  anas_status (*emit)(struct anas_code *code, const struct anas_cpu_nest *nest, const struct anas_cpu_part *part,
                      struct anas_cpu_range *out);
};

// False unless the nest is a convolution that Winograd's algorithm makes faster on the target.
bool anas_cpu_winograd(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                       struct anas_cpu_algorithm *out);
// False unless the nest is the filter gradient of a convolution that Winograd's algorithm makes faster on the target.
bool anas_cpu_winograd_filter(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                              struct anas_cpu_algorithm *out);
// False unless the nest is a contraction that is faster on operands rounded to bf16, and the target allows that.
bool anas_cpu_bf16(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                   struct anas_cpu_algorithm *out);
// Cycles of a thread that a contraction is expected to take at full speed without Winograd's algorithm.
double anas_cpu_direct_cycles(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target);
// True and code emitted if the nest is a contraction this emitter tiles; false and nothing emitted otherwise.
bool anas_cpu_contraction(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                          struct anas_cpu_range *out);
// The same for depthwise convolutions and their gradients.
bool anas_cpu_depthwise(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                        struct anas_cpu_range *out);
// Copies that transpose.
bool anas_cpu_transpose(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                        struct anas_cpu_range *out);
// The index of a border times its weight, of indices in the loops (null: 0).
MlirValue anas_cpu_border_address(struct anas_code *code, const struct anas_cpu_nest *nest,
                                  const struct anas_cpu_border *border, const MlirValue *iv);
// Every other nest.
anas_status anas_cpu_vector(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                            struct anas_cpu_range *out);

// The body of a nest on vectors: args are the block arguments as vectors of `lanes`; index(loop) is asked for
// linalg.index values. Results of the yield go to out_yield.
struct anas_cpu_body {
  struct anas_code *code;
  const struct anas_cpu_nest *nest;
  int lanes;
  int lane_loop;
  MlirValue iv[ANAS_CPU_LOOPS]; // current index of each loop (of the first lane), null: 0
  MlirValue arg[ANAS_CPU_OPERANDS];
};
anas_status anas_cpu_body_emit(const struct anas_cpu_body *body, MlirValue *out_yield);

// Writes the fill of every output that needs one, for iterations [lower, upper) of loop `loop` (extent `extent`), or
// the whole buffer when loop < 0.
void anas_cpu_fill(struct anas_code *code, const struct anas_cpu_nest *nest, const MlirValue *flat, int loop,
                   MlirValue lower, MlirValue upper);
// Elements [first, last) of output o that iterations [lower, upper) of the loop fill.
void anas_cpu_fill_bounds(struct anas_code *code, const struct anas_cpu_nest *nest, int o, int loop, MlirValue lower,
                          MlirValue upper, MlirValue *out_first, MlirValue *out_last);
// Stores value to flat[lower, upper), lower <= upper.
void anas_cpu_fill_range(struct anas_code *code, MlirValue flat, MlirAttribute value, MlirValue lower, MlirValue upper);
// True if some output needs anas_cpu_fill.
bool anas_cpu_needs_fill(const struct anas_cpu_nest *nest);

// Expands math.* on f32 vectors to arithmetic; null if the op is not one it knows (then LLVM has an instruction for
// it, or a library call).
MlirValue anas_cpu_math(struct anas_code *code, const char *name, int num_operands, const MlirValue *operands,
                        int lanes);

#endif
