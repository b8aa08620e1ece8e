// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Small helpers for the files of dialect/ops.
#ifndef ANAS_DIALECT_OP_SUPPORT_H
#define ANAS_DIALECT_OP_SUPPORT_H

#include "dialect/kernel.h"

#define ANAS_COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

// Result dimension out_dim at position p reads operand position p only.
struct anas_dep anas_dep_same(int out_dim);

// Elements of one example: dimension 0 is the batch.
int64_t anas_example_elements(const struct anas_shape *shape);

// ANAS_INVALID unless every extent but the first, the batch, is positive.
anas_status anas_check_extents(const struct anas_op *op, const struct anas_shape *x);
// ANAS_INVALID unless a window, stride or dilation attribute has one entry, or one for each of the spatial dimensions,
// and each is at least 'least'.
anas_status anas_check_ints(const struct anas_op *op, const char *name, const struct anas_ints *ints, int64_t least,
                            int spatial);
// ANAS_INVALID unless operand 0 is an f32 tensor of at least min_rank dimensions in which only the batch is dynamic.
anas_status anas_check_tensor(const struct anas_op *op, int min_rank);

// Axis of operand 0; negative values count from the end.
anas_status anas_check_axis(const struct anas_op *op, const char *attr, int64_t axis, int *out_axis);

// The extents of a tensor as an INTS attribute of a training op, and back (f32).
struct anas_attr anas_attr_extents(const struct anas_shape *shape);
struct anas_shape anas_extents_shape(const struct anas_attr *attr);

// Lets LLVM fuse a product into a sum.
#define ANAS_CONTRACT "fastmath<contract>"

// Appends a constant to the body and returns its number. f32 with nine significant digits: exact.
int anas_nest_f32(struct anas_nest *nest, double value);
int anas_nest_i32(struct anas_nest *nest, int32_t value);
// One parallel loop a dimension, numbered like the dimensions if the nest had none.
void anas_nest_loops(struct anas_nest *nest, const struct anas_shape *shape);
// index[d] = loop d for every d < rank.
void anas_access_whole(struct anas_access *access, int rank);

#endif
