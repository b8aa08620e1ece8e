// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Convolution geometry and packed layouts, shared by conv.c (architecture), dialect/conv_view.c, conv_train.c and
// conv_bwd_data.c.
#ifndef ANAS_DIALECT_OPS_CONV_H
#define ANAS_DIALECT_OPS_CONV_H

#include "dialect/ops/contract.h"

#define ANAS_CONV_MAX_SPATIAL 2

// One spatial dimension: output o reads input o * stride - pad + k * dilation for 0 <= k < window, where it exists.
// That is tap `first` + k of the kernel, where taps were left out; pad may be negative then.
struct anas_conv_dim {
  int64_t in, out, window, stride, dilation, pad;
  int64_t first;
};

struct anas_conv {
  int spatial; // number of spatial dimensions
  struct anas_conv_dim dim[ANAS_CONV_MAX_SPATIAL];
  int64_t batch; // may be ANAS_DYNAMIC at architecture level
  int64_t channels, features, groups;
};

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

// ---- training ops (conv_train.c, conv_bwd_data.c)

// Attributes of conv_fwd, conv_bwd_data and conv_bwd_filter. The last is absent from conv_fwd; it is "input" (extents)
// in conv_bwd_data and "kernel" (windows) in conv_bwd_filter, which their operands do not determine.
enum {
  ANAS_CONV_STRIDES,
  ANAS_CONV_PADDING,
  ANAS_CONV_DILATION,
  ANAS_CONV_GROUPS,
  ANAS_CONV_EXTENTS,
  ANAS_CONV_NUM_ATTRS
};
#define ANAS_CONV_TRAIN_ATTRS                                                                                          \
  [ANAS_CONV_STRIDES] = {.name = "strides", .kind = ANAS_ATTR_INTS, .fallback = ANAS_INTS1(1)},                        \
  [ANAS_CONV_PADDING] = {.name = "padding",                                                                            \
                         .kind = ANAS_ATTR_ENUM,                                                                       \
                         .choices = anas_padding_choices,                                                              \
                         .fallback = ANAS_INT(ANAS_PADDING_SAME)},                                                     \
  [ANAS_CONV_DILATION] = {.name = "dilation", .kind = ANAS_ATTR_INTS, .fallback = ANAS_INTS1(1)},                      \
  [ANAS_CONV_GROUPS] = {.name = "groups", .kind = ANAS_ATTR_INT, .fallback = ANAS_INT(1)}

// A convolution from the attributes of a training op.
anas_status anas_conv_of_train(const struct anas_op *op, const struct anas_shape *input, int64_t features,
                               const struct anas_ints *window, struct anas_conv *out);
// Leaves out the first and last taps that meet nothing but padding, whatever the output (windows larger than a small
// image). Lowerings of all three training ops do, so that they share packed copies.
void anas_conv_trim(struct anas_conv *conv);
// ANAS_INVALID unless operand 'which' has the type.
anas_status anas_conv_check(const struct anas_op *op, int which, const struct anas_shape *expected);

// Groups so narrow that vectors must run over the groups (depthwise above all): no blocking of channels.
bool anas_conv_narrow(const struct anas_conv *conv);
// One input and one output channel a group: narrow, too.
bool anas_conv_depthwise(const struct anas_conv *conv);
// Windows do not overlap, in one dimension or in all, and lie inside the input: every element is read for one output.
bool anas_conv_dim_disjoint(const struct anas_conv_dim *dim);
bool anas_conv_disjoint(const struct anas_conv *conv);

// How nests see an activation (batch, positions..., channels): the tensor itself, a copy (padded with zeros, or of
// every s-th position), or a blocked copy [batch][group][block and position with halo][channel of block] in which
// blocks and halo are filled up with zeros.
struct anas_conv_view {
  int buffer;
  bool blocked;
  int spatial;
  int64_t per_group, block;              // channels in a group, in a block
  int64_t low[ANAS_CONV_MAX_SPATIAL];    // halo before position 0
  int64_t every[ANAS_CONV_MAX_SPATIAL];  // position i of the view is position every * i of the tensor
  int64_t stride[ANAS_CONV_MAX_SPATIAL]; // of positions and blocks within dimension 2 if blocked, else 1
  int64_t block_stride;
};
// Blocks of the stretch with all of them.
struct anas_stretch anas_conv_view_all(const struct anas_conv_view *view);
// low and high: positions needed before the first and after the last one. The copy is shared by everybody who asks for
// the same one; tensors that need neither halo nor blocks are read where they are, and so are those of depthwise
// convolutions, whose accesses have a border instead of a halo.
struct anas_conv_view anas_conv_view_of(struct anas_lowering *l, const struct anas_conv *conv, int source,
                                        const int64_t *low, const int64_t *high);
// The input as the forward pass and the filter gradient read it.
struct anas_conv_view anas_conv_view_input(struct anas_lowering *l, const struct anas_conv *conv, int source);
// The result's gradient as the data gradient and the filter gradient read it.
struct anas_conv_view anas_conv_view_gradient(struct anas_lowering *l, const struct anas_conv *conv, int source);
// Access of the view at position 0 of every dimension, plus loops over examples, groups, blocks and channels of a
// block; the stretch says where the blocks start.
struct anas_access *anas_conv_view_in(struct anas_nest *nest, const struct anas_conv_view *view,
                                      const struct anas_stretch *stretch, int example, int group, int block,
                                      int channel);
// Position += constant + coef * loop in spatial dimension d.
void anas_conv_view_move(struct anas_access *access, const struct anas_conv_view *view, int d, int64_t constant,
                         int loop, int64_t coef);
// The access to a tensor itself, complete, may leave it in dimension d: it reads zeros around it, and if it moves in
// steps of 1 / every positions, between them.
void anas_conv_view_border(struct anas_access *access, const struct anas_nest *nest, const struct anas_lowering *l,
                           int64_t every, int d);
// The same for a tensor (batch, positions..., channels) itself: adds coef * loop to position d.
void anas_conv_move(struct anas_access *access, int d, int64_t constant, int loop, int64_t coef);
// channel += group * per_group + stretch.start + block * stretch.width + lane, in dimension dim of a tensor.
void anas_conv_channel(struct anas_access *access, int dim, int64_t per_group, const struct anas_stretch *stretch,
                       int group, int block, int lane);

// The gradients in the narrow case, that of the data in the depthwise one (conv_narrow.c); x and dy are views of the
// input and of the gradient.
void anas_conv_narrow_data(struct anas_lowering *l, const struct anas_conv *conv, int dy, int kernel, int dx);
void anas_conv_narrow_filter(struct anas_lowering *l, const struct anas_conv *conv, const struct anas_conv_view *x,
                             const struct anas_conv_view *dy, int dk);

// Weights packed for one stretch of lanes: [group][tile][block][window...][channel of block][lane]. Lanes are output
// features and channels input channels; transposed swaps them (data gradient).
int anas_conv_pack_weights(struct anas_lowering *l, const struct anas_conv *conv, int kernel, bool transposed,
                           const struct anas_stretch *lanes, int64_t block);

#endif
