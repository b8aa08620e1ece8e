// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Conversions between MLIR and the op table's values: attributes, symbolic extents and tensor types.
#ifndef ANAS_DIALECT_ATTRIBUTES_H
#define ANAS_DIALECT_ATTRIBUTES_H

#include "dialect/op.h"
#include "runtime/support/strbuf.h"

#include <mlir-c/IR.h>

// Symbolic extent of spec 1.5 as text: "S:-1%4*3", "S:1:2", or a number.
anas_status anas_dim_parse(const char *text, size_t length, struct anas_dim_expr *out);
// Text of the same grammar.
void anas_dim_text(const struct anas_dim_expr *dim, char out[64]);
// Value against operand types; ANAS_INVALID if the operand or axis does not exist, the extent is dynamic, or the
// division leaves a rest.
anas_status anas_dim_resolve(const struct anas_dim_expr *dim, const struct anas_shape *operands, int num_operands,
                             int64_t *out_value);

// An extent of an operand as an entry of ANAS_ATTR_DIMS, and back. Divisor and factor are at most ANAS_MAX_DIMS_FACTOR.
#define ANAS_MAX_DIMS_FACTOR ((1 << 24) - 1)
int64_t anas_dims_pack(const struct anas_dim_expr *dim);
bool anas_dims_is_packed(int64_t entry);
struct anas_dim_expr anas_dims_unpack(int64_t entry);
// One entry as text: "B", "S:-1%3", or a number of at least 1, or -1.
anas_status anas_dims_parse_entry(const char *text, size_t length, bool first, int64_t *out);
// A number as an entry.
anas_status anas_dims_check_entry(int64_t entry);

// One attribute by its definition. operand0_rank checks affine maps; 0: unknown.
anas_status anas_attr_from_mlir(const struct anas_attr_def *def, MlirAttribute attribute, int operand0_rank,
                                struct anas_attr *out);
// All attributes of a dictionary or of an op; out has one entry per definition, absent ones not present. anas.name is
// skipped. An unknown name is an error that gives the nearest one.
anas_status anas_attrs_from_dictionary(const struct anas_op_def *def, MlirAttribute dictionary, int operand0_rank,
                                       struct anas_attr *out);
anas_status anas_attrs_from_operation(const struct anas_op_def *def, MlirOperation operation, int operand0_rank,
                                      struct anas_attr *out);
// Text that parses back to the same value. operand0_rank > 0: extents of operand 0 as an affine map.
void anas_attr_print(const struct anas_attr_def *def, const struct anas_attr *attr, int operand0_rank,
                     struct anas_strbuf *out);
bool anas_attr_equal(const struct anas_attr_def *def, const struct anas_attr *a, const struct anas_attr *b);

// Double-quoted MLIR string or symbol text with escapes.
void anas_print_quoted(const char *text, struct anas_strbuf *out);

// Tensor types. Unranked tensors have rank 0 here; other element types than f32, i32, i64, rank 0 tensors and ranks
// above ANAS_MAX_RANK are ANAS_UNSUPPORTED.
anas_status anas_shape_from_type(MlirType type, struct anas_shape *out);
MlirType anas_shape_to_type(MlirContext context, const struct anas_shape *shape);
// "?x32x32x3xf32", the inverse of anas_shape_text.
anas_status anas_shape_parse(const char *text, struct anas_shape *out);

#endif
