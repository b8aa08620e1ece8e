// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The op table: everything anas knows about an op is one struct anas_op_def in one file of dialect/ops.
//
// Ops live on two levels of one dialect. ARCHITECTURE ops are what users write and the search mutates: parameters are
// implicit, attributes may be symbolic, the batch is '?'. TRAINING ops appear after anas-train-step: parameters, saved
// activations and gradients are values, everything is static. From this table come the IRDL definition, the verifier,
// docs/dialect.md, the synthesis alphabet and the generated tests.
//
// Tensors are channel-last: (batch, spatial..., feature).
#ifndef ANAS_DIALECT_OP_H
#define ANAS_DIALECT_OP_H

#include "runtime/support/initializer.h"
#include "runtime/support/status.h"

#include <stdbool.h>
#include <stdint.h>

#define ANAS_MAX_RANK 8
#define ANAS_MAX_OPERANDS 8
#define ANAS_MAX_RESULTS 4
#define ANAS_MAX_ATTRS 12
#define ANAS_MAX_PARAMS 8
#define ANAS_MAX_TEXT 72         // bytes of a text attribute, with the final zero
#define ANAS_DYNAMIC INT64_C(-1) // the batch extent '?' at architecture level
// Limits of one tensor: elements of an example (every dimension but the first), and of the whole. Products of two
// example sizes, and bytes of a tensor, then fit in 64 bits.
#define ANAS_MAX_EXAMPLE_ELEMENTS INT64_C(0x7fffffff)
#define ANAS_MAX_ELEMENTS (INT64_C(1) << 48)

enum anas_element { ANAS_F32 = 0, ANAS_I32, ANAS_I64 };

struct anas_shape {
  int rank;
  enum anas_element element;
  int64_t dim[ANAS_MAX_RANK];
};

bool anas_shape_equal(const struct anas_shape *a, const struct anas_shape *b);
int64_t anas_shape_elements(const struct anas_shape *shape); // a dynamic extent counts as 1
int64_t anas_element_bytes(enum anas_element element);
// ANAS_INVALID unless every extent is positive (the first may be '?'; if open is set, any) and the tensor is within the
// limits above.
anas_status anas_shape_check(const struct anas_shape *shape, bool open);
// The same for windows and weights, which have no batch: all extents together are one example.
anas_status anas_shape_check_weights(const struct anas_shape *shape);
// "?x32x32x3xf32"; the text is written to out and returned. Absurd extents that do not fit are cut off.
const char *anas_shape_text(const struct anas_shape *shape, char out[128]);

// ---- attributes
// ------------------------------------------------------------------------------------------------------

enum anas_attr_kind {
  ANAS_ATTR_INT,   // 3 : i64                              value.i
  ANAS_ATTR_FLOAT, // 0.1 : f32 or f64                     value.f
  ANAS_ATTR_BOOL,  // true                                 value.b
  ANAS_ATTR_INTS,  // array<i64: 3, 3>, or an integer that means the same in every spatial dimension   value.ints
  ANAS_ATTR_ENUM,  // "SAME"; value.i indexes the choices
  ANAS_ATTR_TEXT,  // "bqhd,bkhd->bhqk"                    value.text
  ANAS_ATTR_DIM,   // 64 : i64, affine_map<(n, h, w, c) -> (c * 2)>, or "S:-1*2" (spec 1.5)            value.dim
  ANAS_ATTR_DIMS,  // ["B", -1, 3, "S:-1%3"]               value.ints, entries as below
  ANAS_ATTR_INIT,  // "normal(0.02)" (runtime/support/initializer.h)                                   value.init
};

// Entries of ANAS_ATTR_DIMS: positive integers, extents of operands (packed, see attributes.h; resolution replaces them
// by integers), and
#define ANAS_DIMS_REST INT64_C(-1) // -1: whatever is left
#define ANAS_DIMS_BATCH INT64_C(0) // "B": the batch of operand 0; only in front

// A positive integer, possibly relative to an extent of an operand: constant, or extent(operand, axis) / div * mul.
// Resolution fails unless div divides the extent.
struct anas_dim_expr {
  bool relative;
  int operand, axis; // axis may be negative (from the end)
  int64_t constant, div, mul;
};

struct anas_ints {
  int count; // 0: absent; 1 broadcasts over the spatial dimensions
  int64_t value[ANAS_MAX_RANK];
};

struct anas_attr {
  bool present; // false: the default of the definition applies
  union {
    int64_t i;
    double f;
    bool b;
    struct anas_ints ints;
    struct anas_dim_expr dim;
    char text[ANAS_MAX_TEXT];
    struct anas_init init;
  } value;
};

struct anas_attr_def {
  const char *name;
  enum anas_attr_kind kind;
  bool required;
  bool list;                  // ANAS_ATTR_INTS: entries are meant as written (axes), not one per spatial dimension
  struct anas_attr fallback;  // default of an optional attribute
  const char *const *choices; // ANAS_ATTR_ENUM: null-terminated
  const struct anas_attr *test_set; // values the synthesiser searches (spec 3.5 TEST)
  int num_test;
  const struct anas_attr *full_set; // values attribute randomisation tries (spec 3.5 FULL)
  int num_full;
  const char *doc;
};

// Shorthands for static tables.
#define ANAS_INT(x)                                                                                                    \
  { .present = true, .value.i = (x) }
#define ANAS_FLOAT(x)                                                                                                  \
  { .present = true, .value.f = (x) }
#define ANAS_BOOL(x)                                                                                                   \
  { .present = true, .value.b = (x) }
#define ANAS_INIT_OF(x)                                                                                                \
  { .present = true, .value.init = x }
#define ANAS_INTS1(x)                                                                                                  \
  {                                                                                                                    \
    .present = true, .value.ints = {.count = 1, .value = {(x)} }                                                       \
  }

// ---- op instances
// ----------------------------------------------------------------------------------------------------

struct anas_op_def;

// An op instance, detached from MLIR: definition, operand types, and attributes with defaults filled in and symbolic
// values resolved (a DIM attribute is then a constant; INTS have one entry per spatial dimension of operand 0 where the
// definition says so). attr[i] belongs to def->attrs[i].
struct anas_op {
  const struct anas_op_def *def;
  int num_operands;
  struct anas_shape operand[ANAS_MAX_OPERANDS];
  struct anas_attr attr[ANAS_MAX_ATTRS];
};

// Index of an attribute in the definition, -1 if there is none. Op files use their own enum of indices instead.
int anas_op_attr_index(const struct anas_op_def *def, const char *name);

// How many positions an index vector of operand dimension i the op reads to produce result element y. Every op has a
// product-form dependency set: dep(y) = S_0(y) x S_1(y) x ... (spec 2.4), one of these per operand dimension.
enum anas_dep_kind {
  ANAS_DEP_NONE = 0, // the operand dimension does not influence the result (stop-gradient)
  ANAS_DEP_WINDOW,   // { y[j]*stride - pad + t*dilation : 0 <= t < window }, clipped to the extent; the identity is
                     // 1,1,0,1
  ANAS_DEP_ALL,      // every position
  ANAS_DEP_GROUP,    // y[j] selects a block: [ y[j]/out_group * in_group, ... + in_group )
  ANAS_DEP_DIVMOD,   // the single position (y[j] / div) mod extent (flatten, reshape)
  ANAS_DEP_FIRST,    // position 0 (broadcast of an extent-1 dimension)
  ANAS_DEP_LINEAR,   // the single position (u / div) mod extent, u the row-major index of y over the result dimensions
                     // out_dim to out_last (a reshape that splits or regroups dimensions)
};
struct anas_dep {
  enum anas_dep_kind kind;
  int out_dim;  // j
  int out_last; // ANAS_DEP_LINEAR only
  int64_t window, stride, pad, dilation;
  int64_t out_group, in_group;
  int64_t div;
};

enum anas_linearity { ANAS_LINEAR, ANAS_NONLINEAR, ANAS_NEUTRAL };

enum anas_role { ANAS_TRAINABLE, ANAS_STATE };

struct anas_param {
  const char *name; // "kernel": last component of the parameter path
  struct anas_shape shape;
  struct anas_init init;
  int64_t fan_in, fan_out;
  enum anas_role role;
};

struct anas_cost {
  int64_t params; // trainable scalars
  int64_t macs;   // multiply-accumulates of contractions, one example
  int64_t flops;  // 2*macs plus one per elementwise operation, one example
};

// A test instance: operand types and an attribute dictionary as text, e.g. {"2x5x5x3xf32"}, "{features = 4 : i64}".
struct anas_sample {
  const char *operand[ANAS_MAX_OPERANDS];
  const char *attrs;
  const char *result; // expected result type
};

struct anas_train;
struct anas_train_op;
struct anas_lowering;

enum anas_level { ANAS_ARCHITECTURE, ANAS_TRAINING };

struct anas_op_def {
  const char *name; // without "anas."
  enum anas_level level;
  const char *summary;     // one line
  const char *description; // markdown
  int order;               // position in the enumeration of the synthesisers (the enum of spec 1.3); training ops: 0
  int num_operands;        // minimum
  bool variadic;           // more operands allowed
  int num_results;         // 0 means 1
  const struct anas_attr_def *attrs;
  int num_attrs;
  enum anas_linearity linearity;
  bool commutative; // operands may be exchanged while no optional attribute differs from its default
  bool synthesizable;
  bool batch_coupled; // in training, an example's result depends on the others (batch statistics)
  const char *onnx;   // operator name, null if the export composes several
  const struct anas_sample *samples;
  int num_samples;

  // Result types of a well-typed instance, or ANAS_INVALID with a message naming extents and a hint. Both levels.
  anas_status (*shape)(const struct anas_op *op, struct anas_shape *out_results);

  // -- architecture level --
  // Dependencies of the result on one operand; out has operand[which].rank entries. Null: elementwise with numpy
  // broadcasting.
  void (*deps)(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_dep *out);
  int (*params)(const struct anas_op *op, struct anas_param *out); // returns how many; null: none
  void (*cost)(const struct anas_op *op, const struct anas_shape *result, struct anas_cost *out); // macs, flops; null:
                                                                                                  // one flop an element
  // Emits training ops for the forward pass and for the gradients (train.h). A null backward: no gradient flows.
  anas_status (*forward)(struct anas_train *train, struct anas_train_op *op);
  anas_status (*backward)(struct anas_train *train, struct anas_train_op *op);

  // -- training level --
  // Describes the op as loop nests (kernel.h).
  anas_status (*lower)(const struct anas_op *op, struct anas_lowering *lowering);
  bool horizontal; // all instances in a step become one launch over operands laid out one after another (optimizers)
};

// ---- the table
// -------------------------------------------------------------------------------------------------------

// One per file of dialect/ops, found by the build: file foo.c defines `const struct anas_op_family anas_ops_foo`.
struct anas_op_family {
  const struct anas_op_def *const *defs;
  int count;
};

#define ANAS_OP_FAMILY(file, ...)                                                                                      \
  static const struct anas_op_def *const anas_defs_##file[] = {__VA_ARGS__};                                           \
  const struct anas_op_family anas_ops_##file = {anas_defs_##file, sizeof anas_defs_##file / sizeof *anas_defs_##file}

// All definitions: architecture ops by order, then training ops by name. Built once, thread-safe.
const struct anas_op_def *const *anas_op_table(int *out_count);
const struct anas_op_def *anas_op_find(const char *name, size_t length);    // without "anas."; null if unknown
const struct anas_op_def *anas_op_nearest(const char *name, size_t length); // by edit distance, for hints

// Helpers shared by op files.
anas_status anas_shape_same(const struct anas_op *op, struct anas_shape *out);      // result type = type of operand 0
anas_status anas_shape_broadcast(const struct anas_op *op, struct anas_shape *out); // numpy broadcast of all operands
// One spatial dimension: window k, dilation d, stride s on extent a (spec 1.4). *out_pad_low is the SAME padding before
// the first element, 0 for VALID.
anas_status anas_window_extent(const struct anas_op *op, int dim, int64_t extent, int64_t window, int64_t dilation,
                               int64_t stride, bool same, int64_t *out_extent, int64_t *out_pad_low);

#endif
