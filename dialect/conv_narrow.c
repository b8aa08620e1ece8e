// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Convolutions whose groups are narrow (depthwise above all): gradients. Lanes are groups.
#include "dialect/ops/conv.h"

#define MAX_CHUNKS 16
#define WORTH_CHUNKS 4 // times what the sums of the chunks take must the operand be

// Into so many parts are the examples cut whose gradients are summed separately, so that each can read its part in the
// order of memory and threads need not share channels. Depends on nothing but the shapes.
static int64_t num_chunks(const struct anas_conv *conv) {
  int64_t positions = 1, taps = 1, inputs = conv->channels / conv->groups;
  for (int d = 0; d < conv->spatial; d++) {
    positions *= conv->dim[d].in;
    taps *= conv->dim[d].window;
  }
  for (int64_t chunks = MAX_CHUNKS; chunks > 1; chunks--)
    if (conv->batch % chunks == 0 &&
        conv->batch * positions * conv->channels >= WORTH_CHUNKS * chunks * taps * inputs * conv->features)
      return chunks;
  return 1;
}

// With every tap that a position of dx was read at, the gradient at (position + pad - tap * dilation) / stride belongs
// to it, where there is such a position.
void anas_conv_narrow_data(struct anas_lowering *l, const struct anas_conv *conv, int dy, int kernel, int dx) {
  int64_t inputs = conv->channels / conv->groups, outputs = conv->features / conv->groups;
  int position[ANAS_CONV_MAX_SPATIAL], window[ANAS_CONV_MAX_SPATIAL], spatial = conv->spatial;
  struct anas_nest *nest = anas_lower_nest(l, "depthwise_bwd_data");
  int example = anas_contract_loop(nest, conv->batch, false);
  for (int d = 0; d < spatial; d++)
    position[d] = anas_contract_loop(nest, conv->dim[d].in, false);
  int channel = anas_contract_loop(nest, inputs, false), group = anas_nest_loop(nest, conv->groups, false);
  for (int d = 0; d < spatial; d++)
    window[d] = anas_contract_loop(nest, conv->dim[d].window, true);
  int feature = anas_contract_loop(nest, outputs, true);

  struct anas_stretch in_group = {0, 1, inputs}, out_group = {0, 1, outputs};
  struct anas_access *in = anas_nest_in(nest, dy), *weight = anas_nest_in(nest, kernel);
  struct anas_access *out = anas_nest_out(nest, dx, ANAS_FILL_ZERO);
  anas_contract_index(in, 0, example, 1);
  anas_contract_index(out, 0, example, 1);
  for (int d = 0; d < spatial; d++) {
    anas_conv_move(in, d, conv->dim[d].pad, position[d], 1);
    anas_conv_move(in, d, 0, window[d], -conv->dim[d].dilation);
    anas_conv_view_border(in, nest, l, conv->dim[d].stride, d);
    weight->index[d].constant = conv->dim[d].first;
    anas_contract_index(weight, d, window[d], 1);
    anas_conv_move(out, d, 0, position[d], 1);
  }
  anas_conv_channel(in, spatial + 1, outputs, &out_group, group, -1, feature);
  anas_contract_index(weight, spatial, channel, 1);
  anas_conv_channel(weight, spatial + 1, outputs, &out_group, group, -1, feature);
  anas_conv_channel(out, spatial + 1, inputs, &in_group, group, -1, channel);
  anas_contract_body(nest);
}

void anas_conv_narrow_filter(struct anas_lowering *l, const struct anas_conv *conv, const struct anas_conv_view *x,
                             const struct anas_conv_view *dy, int dk) {
  int64_t inputs = conv->channels / conv->groups, outputs = conv->features / conv->groups, chunks = num_chunks(conv);
  int rank = conv->spatial + 2, position[ANAS_CONV_MAX_SPATIAL], window[ANAS_CONV_MAX_SPATIAL];
  struct anas_shape partial = {.rank = 1 + rank, .element = ANAS_F32, .dim = {chunks}};
  for (int d = 0; d < conv->spatial; d++)
    partial.dim[1 + d] = conv->dim[d].window;
  partial.dim[rank - 1] = inputs;
  partial.dim[rank] = conv->features;
  int sums = chunks > 1 ? anas_lower_scratch(l, &partial) : dk, first = chunks > 1 ? 1 : 0;

  struct anas_nest *nest = anas_lower_nest(l, "depthwise_bwd_filter");
  struct anas_stretch channels = anas_conv_view_all(x), features = anas_conv_view_all(dy);
  int chunk = anas_contract_loop(nest, chunks, false);
  for (int d = 0; d < conv->spatial; d++)
    window[d] = anas_contract_loop(nest, conv->dim[d].window, false);
  int channel = anas_contract_loop(nest, inputs, false), feature = anas_contract_loop(nest, outputs, false);
  int group = anas_nest_loop(nest, conv->groups, false);
  int example = anas_contract_loop(nest, conv->batch / chunks, true);
  for (int d = 0; d < conv->spatial; d++)
    position[d] = anas_contract_loop(nest, conv->dim[d].out, true);
  struct anas_access *in = anas_conv_view_in(nest, x, &channels, example, group, -1, channel);
  struct anas_access *grad = anas_conv_view_in(nest, dy, &features, example, group, -1, feature);
  struct anas_access *out = anas_nest_out(nest, sums, ANAS_FILL_ZERO);
  anas_contract_index(in, 0, chunk, conv->batch / chunks);
  anas_contract_index(grad, 0, chunk, conv->batch / chunks);
  anas_contract_index(out, 0, chunk, 1);
  for (int d = 0; d < conv->spatial; d++) {
    anas_conv_view_move(in, x, d, -conv->dim[d].pad, position[d], conv->dim[d].stride / x->every[d]);
    anas_conv_view_move(in, x, d, 0, window[d], conv->dim[d].dilation);
    anas_conv_view_border(in, nest, l, 1, d);
    anas_conv_view_move(grad, dy, d, 0, position[d], 1);
    if (chunks == 1) out->index[d].constant = conv->dim[d].first;
    anas_contract_index(out, first + d, window[d], 1);
  }
  anas_contract_index(out, first + rank - 2, channel, 1);
  anas_conv_channel(out, first + rank - 1, outputs, &features, group, -1, feature);
  anas_contract_body(nest);
  if (chunks == 1) return;

  nest = anas_lower_nest(l, "sum_blocks");
  int loop[ANAS_MAX_RANK];
  for (int d = 0; d <= rank; d++)
    loop[d] = anas_contract_loop(nest, partial.dim[d], d == 0);
  in = anas_nest_in(nest, sums);
  out = anas_nest_out(nest, dk, ANAS_FILL_ZERO);
  for (int d = 0; d <= rank; d++) {
    anas_contract_index(in, d, loop[d], 1);
    if (d == 0) continue;
    if (d <= conv->spatial) out->index[d - 1].constant = conv->dim[d - 1].first;
    anas_contract_index(out, d - 1, loop[d], 1);
  }
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%i0 : f32"));
}
