// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pooling geometry shared by the architecture ops (pool.c) and their training ops (pool_train.c).
#ifndef ANAS_DIALECT_OPS_POOL_H
#define ANAS_DIALECT_OPS_POOL_H

#include "dialect/op.h"

#define ANAS_POOL_MAX_SPATIAL 5 // two loops each, batch and feature: ANAS_MAX_LOOPS of a nest

// One spatial dimension: output o reads input o * stride - pad + k for 0 <= k < window, where it exists.
struct anas_pool_dim {
  int64_t in, out, window, stride, pad;
};

struct anas_pool {
  int spatial;
  struct anas_pool_dim dim[ANAS_POOL_MAX_SPATIAL];
};

// Checks every rule of spec 1.4 against the input's type. A window entry of 0 is the full extent.
anas_status anas_pool_init(const struct anas_op *op, const struct anas_shape *input, const struct anas_ints *window,
                           const struct anas_ints *strides, bool same, struct anas_pool *out);
struct anas_shape anas_pool_result(const struct anas_pool *pool, const struct anas_shape *input);
// Attributes of the training ops, in this order; the forward ops lack the last one.
enum { ANAS_POOL_WINDOW, ANAS_POOL_STRIDES, ANAS_POOL_PADDING, ANAS_POOL_SHAPE, ANAS_POOL_ATTRS };

int64_t anas_pool_positions(const struct anas_pool *pool); // elements of a window, padding included

#endif
