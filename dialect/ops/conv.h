// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Convolution geometry shared by the architecture op (conv.c) and its training ops (conv_train.c, conv_lower.c).
#ifndef ANAS_DIALECT_OPS_CONV_H
#define ANAS_DIALECT_OPS_CONV_H

#include "dialect/op.h"

#define ANAS_CONV_MAX_SPATIAL 2

// One spatial dimension: output o reads input o * stride - pad + k * dilation for 0 <= k < window, where it exists.
struct anas_conv_dim {
  int64_t in, out, window, stride, dilation, pad;
};

struct anas_conv {
  int spatial; // number of spatial dimensions
  struct anas_conv_dim dim[ANAS_CONV_MAX_SPATIAL];
  int64_t batch; // may be ANAS_DYNAMIC at architecture level
  int64_t channels, features, groups;
};

#define ANAS_MAX_FEATURES (1 << 24) // keeps products with other extents far from overflow

enum { ANAS_PADDING_SAME, ANAS_PADDING_VALID };
extern const char *const anas_padding_choices[];

// An INTS attribute in spatial dimension dim: a single entry counts for all of them.
int64_t anas_ints_at(const struct anas_ints *ints, int dim);

// Fills in batch, channels, extents and pads from the type of the input and checks every rule of spec 1.4; the other
// members (features, groups) are arguments. Windows, strides and dilations have one entry, or one per dimension.
anas_status anas_conv_init(const struct anas_op *op, const struct anas_shape *input, int64_t features,
                           const struct anas_ints *window, const struct anas_ints *strides,
                           const struct anas_ints *dilation, bool same, int64_t groups, struct anas_conv *out);

// (batch, out..., features)
struct anas_shape anas_conv_result(const struct anas_conv *conv);
// (window..., channels / groups, features)
struct anas_shape anas_conv_kernel(const struct anas_conv *conv);

#endif
