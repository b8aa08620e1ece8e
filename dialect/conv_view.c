// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Packed layouts that the three training ops of a convolution share. Contractions read blocks of up to 16 channels of
// activations and 32-lane tiles of weights, so that every access of the inner loops is contiguous and positions of one
// block do not compete for the same cache sets.
#include "dialect/ops/conv.h"

#include <stdio.h>

#define CHANNEL_BLOCK 16
#define NARROW_GROUP 8
#define SET_POSITIONS 8 // of 16 channels: one in so many positions at least is in the same sets of a cache

bool anas_conv_narrow(const struct anas_conv *conv) {
  return conv->groups > 1 &&
         (conv->features / conv->groups < NARROW_GROUP || conv->channels / conv->groups < NARROW_GROUP);
}

bool anas_conv_depthwise(const struct anas_conv *conv) {
  return conv->groups > 1 && conv->channels == conv->groups && conv->features == conv->groups;
}

bool anas_conv_dim_disjoint(const struct anas_conv_dim *dim) {
  int64_t reach = (dim->window - 1) * dim->dilation;
  return dim->pad == 0 && reach < dim->stride && (dim->out - 1) * dim->stride + reach < dim->in;
}

bool anas_conv_disjoint(const struct anas_conv *conv) {
  for (int d = 0; d < conv->spatial; d++)
    if (!anas_conv_dim_disjoint(&conv->dim[d])) return false;
  return true;
}

static bool meets_input(const struct anas_conv_dim *dim, int64_t tap) {
  int64_t start = tap * dim->dilation - dim->pad, o = start < 0 ? (dim->stride - 1 - start) / dim->stride : 0;
  return o < dim->out && o * dim->stride + start < dim->in;
}

void anas_conv_trim(struct anas_conv *conv) {
  for (int d = 0; d < conv->spatial; d++) {
    struct anas_conv_dim *dim = &conv->dim[d];
    int64_t first = 0, last = dim->window - 1;
    while (first <= last && !meets_input(dim, first))
      first++;
    while (last > first && !meets_input(dim, last))
      last--;
    if (first > last) continue; // the result is zero, which the general case says well enough
    dim->first += first;
    dim->window = last - first + 1;
    dim->pad -= first * dim->dilation;
  }
}

// ---- accesses

void anas_conv_move(struct anas_access *access, int d, int64_t constant, int loop, int64_t coef) {
  access->index[1 + d].constant += constant;
  anas_contract_index(access, 1 + d, loop, coef);
}

void anas_conv_channel(struct anas_access *access, int dim, int64_t per_group, const struct anas_stretch *stretch,
                       int group, int block, int lane) {
  access->index[dim].constant += stretch->start;
  anas_contract_index(access, dim, group, per_group);
  anas_contract_index(access, dim, block, stretch->width);
  anas_contract_index(access, dim, lane, 1);
}

struct anas_stretch anas_conv_view_all(const struct anas_conv_view *view) {
  return (struct anas_stretch){0, (view->per_group + view->block - 1) / view->block, view->block};
}

void anas_conv_view_move(struct anas_access *access, const struct anas_conv_view *view, int d, int64_t constant,
                         int loop, int64_t coef) {
  int dim = view->blocked ? 2 : 1 + d;
  access->index[dim].constant += constant * view->stride[d];
  anas_contract_index(access, dim, loop, coef * view->stride[d]);
}

void anas_conv_view_border(struct anas_access *access, const struct anas_nest *nest, const struct anas_lowering *l,
                           int64_t every, int d) {
  int64_t low = access->index[1 + d].constant, high = low;
  for (int k = 0; k < nest->num_loops; k++) {
    int64_t reach = access->index[1 + d].coef[k] * (nest->extent[k] - 1);
    *(reach < 0 ? &low : &high) += reach;
  }
  if (every > 1 || low < 0 || high >= anas_lower_shape(l, access->buffer)->dim[1 + d]) access->border[1 + d] = every;
}

static void view_index(struct anas_access *access, const struct anas_conv_view *view,
                       const struct anas_stretch *stretch, int example, int group, int block, int channel) {
  for (int d = 0; d < view->spatial; d++)
    anas_conv_view_move(access, view, d, view->low[d], -1, 0);
  anas_contract_index(access, 0, example, 1);
  if (!view->blocked) {
    anas_conv_channel(access, 1 + view->spatial, view->per_group, stretch, group, block, channel);
    return;
  }
  access->index[2].constant += stretch->start / view->block * view->block_stride;
  anas_contract_index(access, 1, group, 1);
  anas_contract_index(access, 2, block, view->block_stride);
  anas_contract_index(access, 3, channel, 1);
}

struct anas_access *anas_conv_view_in(struct anas_nest *nest, const struct anas_conv_view *view,
                                      const struct anas_stretch *stretch, int example, int group, int block,
                                      int channel) {
  struct anas_access *access = anas_nest_in(nest, view->buffer);
  view_index(access, view, stretch, example, group, block, channel);
  return access;
}

// ---- packing

// Copies the tensor into the view's buffer, one nest for the full blocks and one for the remaining channels.
static void emit_view_copy(struct anas_lowering *l, const struct anas_conv_view *view, int source, int64_t groups,
                           bool gaps) {
  struct anas_shape shape = *anas_lower_shape(l, source);
  enum anas_fill fill = gaps ? ANAS_FILL_ZERO : ANAS_NO_FILL;
  struct anas_stretch stretch = {0};
  while (anas_stretch_next(&stretch, view->per_group, view->block)) {
    struct anas_nest *nest = anas_lower_nest(l, "pack_activation");
    int position[ANAS_CONV_MAX_SPATIAL];
    int example = anas_contract_loop(nest, shape.dim[0], false);
    int group = anas_contract_loop(nest, groups, false);
    int block = anas_contract_loop(nest, stretch.blocks, false);
    for (int d = 0; d < view->spatial; d++)
      position[d] = anas_contract_loop(nest, (shape.dim[1 + d] + view->every[d] - 1) / view->every[d], false);
    int channel = anas_nest_loop(nest, stretch.width, false);
    struct anas_access *in = anas_nest_in(nest, source), *out = anas_nest_out(nest, view->buffer, fill);
    anas_contract_index(in, 0, example, 1);
    anas_conv_channel(in, 1 + view->spatial, view->per_group, &stretch, group, block, channel);
    view_index(out, view, &stretch, example, group, block, channel);
    for (int d = 0; d < view->spatial; d++) {
      anas_conv_move(in, d, 0, position[d], view->every[d]);
      anas_conv_view_move(out, view, d, 0, position[d], 1);
    }
    anas_nest_yield(nest, 0, "%%i0");
    fill = ANAS_NO_FILL;
  }
}

// Finds or makes the packed buffer: all channels of a group in one dimension, positions with their halo.
static void view_copy(struct anas_lowering *l, struct anas_conv_view *view, int source, const int64_t *high) {
  struct anas_shape shape = *anas_lower_shape(l, source), packed = {.element = ANAS_F32};
  char key[160];
  int length = snprintf(key, sizeof key, "activation");
  bool halo = false;
  packed.dim[packed.rank++] = shape.dim[0];
  for (int d = 0; d < view->spatial; d++) {
    halo = halo || view->low[d] || high[d];
    packed.dim[packed.rank++] = view->low[d] + (shape.dim[1 + d] + view->every[d] - 1) / view->every[d] + high[d];
    length += snprintf(key + length, sizeof key - (size_t)length, " every %lld halo %lld %lld",
                       (long long)view->every[d], (long long)view->low[d], (long long)high[d]);
  }
  packed.dim[packed.rank++] = shape.dim[shape.rank - 1];
  bool fresh;
  view->buffer = anas_lower_packed(l, source, key, &packed, &fresh);
  struct anas_conv_view copy = *view; // groups are side by side, which is one group of all channels
  copy.per_group = copy.block = shape.dim[shape.rank - 1];
  if (fresh) emit_view_copy(l, &copy, source, 1, halo);
}

static void view_blocked_copy(struct anas_lowering *l, struct anas_conv_view *view, int source, int64_t groups,
                              const int64_t *high) {
  // As few blocks as possible, of equal size: 24 channels are 2 x 12 rather than 16 + 8 and padding.
  int64_t blocks = (view->per_group + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK, positions = 1;
  view->blocked = true;
  view->block = (view->per_group + blocks - 1) / blocks;
  char key[160];
  int length = snprintf(key, sizeof key, "activation blocked groups %lld", (long long)groups);
  bool gaps = view->per_group % view->block != 0;
  const struct anas_shape *shape = anas_lower_shape(l, source);
  for (int d = view->spatial - 1; d >= 0; d--) {
    gaps = gaps || view->low[d] || high[d];
    view->stride[d] = positions;
    positions *= view->low[d] + shape->dim[1 + d] + high[d];
    length += snprintf(key + length, sizeof key - (size_t)length, " halo %lld %lld", (long long)view->low[d],
                       (long long)high[d]);
  }
  view->block_stride = positions;
  positions *= blocks;
  // The same position of different examples should not compete for the same cache sets.
  if (gaps && positions * groups % SET_POSITIONS == 0) positions++;
  struct anas_shape packed = {.rank = 4, .element = ANAS_F32, .dim = {shape->dim[0], groups, positions, view->block}};
  bool fresh;
  view->buffer = anas_lower_packed(l, source, key, &packed, &fresh);
  if (fresh) emit_view_copy(l, view, source, groups, gaps);
}

static struct anas_conv_view view_tensor(struct anas_lowering *l, const struct anas_conv *conv, int source) {
  const struct anas_shape *shape = anas_lower_shape(l, source);
  int64_t per_group = shape->dim[shape->rank - 1] / conv->groups;
  struct anas_conv_view view = {.buffer = source, .spatial = conv->spatial, .per_group = per_group, .block = per_group};
  for (int d = 0; d < conv->spatial; d++)
    view.every[d] = view.stride[d] = 1;
  return view;
}

struct anas_conv_view anas_conv_view_of(struct anas_lowering *l, const struct anas_conv *conv, int source,
                                        const int64_t *low, const int64_t *high) {
  struct anas_conv_view view = view_tensor(l, conv, source);
  bool narrow = anas_conv_narrow(conv), halo = false;
  if (anas_conv_depthwise(conv)) return view;
  for (int d = 0; d < conv->spatial; d++) {
    view.low[d] = low[d];
    halo = halo || low[d] || high[d];
  }
  if (!halo && (narrow || anas_conv_disjoint(conv) || (conv->groups == 1 && view.per_group <= CHANNEL_BLOCK)))
    return view;
  if (narrow)
    view_copy(l, &view, source, high);
  else
    view_blocked_copy(l, &view, source, conv->groups, high);
  return view;
}

// Windows of one position that skip others: what they read is copied together.
static bool skips_positions(const struct anas_conv *conv) {
  bool skips = false;
  for (int d = 0; d < conv->spatial; d++) {
    const struct anas_conv_dim *dim = &conv->dim[d];
    if (dim->window > 1 || dim->pad != 0 || (dim->in + dim->stride - 1) / dim->stride != dim->out) return false;
    skips = skips || (dim->stride > 1 && dim->out > 1);
  }
  return skips && !anas_conv_narrow(conv);
}

struct anas_conv_view anas_conv_view_input(struct anas_lowering *l, const struct anas_conv *conv, int source) {
  if (skips_positions(conv)) {
    struct anas_conv_view view = view_tensor(l, conv, source);
    const int64_t high[ANAS_CONV_MAX_SPATIAL] = {0};
    for (int d = 0; d < conv->spatial; d++)
      view.every[d] = conv->dim[d].stride;
    view_copy(l, &view, source, high);
    return view;
  }
  int64_t low[ANAS_CONV_MAX_SPATIAL], high[ANAS_CONV_MAX_SPATIAL];
  for (int d = 0; d < conv->spatial; d++) {
    const struct anas_conv_dim *dim = &conv->dim[d];
    int64_t last = (dim->out - 1) * dim->stride - dim->pad + (dim->window - 1) * dim->dilation;
    low[d] = dim->pad > 0 ? dim->pad : 0;
    high[d] = last > dim->in - 1 ? last - (dim->in - 1) : 0;
  }
  return anas_conv_view_of(l, conv, source, low, high);
}

int anas_conv_pack_weights(struct anas_lowering *l, const struct anas_conv *conv, int kernel, bool transposed,
                           const struct anas_stretch *lanes, int64_t block) {
  int64_t inputs = conv->channels / conv->groups, outputs = conv->features / conv->groups;
  int64_t channels = transposed ? outputs : inputs;
  int spatial = conv->spatial;
  struct anas_shape packed = {.element = ANAS_F32};
  packed.dim[packed.rank++] = conv->groups;
  packed.dim[packed.rank++] = lanes->blocks;
  packed.dim[packed.rank++] = (channels + block - 1) / block;
  for (int d = 0; d < spatial; d++)
    packed.dim[packed.rank++] = conv->dim[d].window;
  packed.dim[packed.rank++] = block;
  packed.dim[packed.rank++] = lanes->width;
  char key[256];
  int length = snprintf(key, sizeof key, "weights%s groups %lld block %lld lanes %lld + %lld x %lld",
                        transposed ? " transposed" : "", (long long)conv->groups, (long long)block,
                        (long long)lanes->start, (long long)lanes->blocks, (long long)lanes->width);
  for (int d = 0; d < spatial; d++)
    length += snprintf(key + length, sizeof key - (size_t)length, " taps %lld + %lld", (long long)conv->dim[d].first,
                       (long long)conv->dim[d].window);
  bool fresh;
  int buffer = anas_lower_packed(l, kernel, key, &packed, &fresh);
  if (!fresh) return buffer;

  enum anas_fill fill = channels % block ? ANAS_FILL_ZERO : ANAS_NO_FILL;
  struct anas_stretch stretch = {0};
  while (anas_stretch_next(&stretch, channels, block)) {
    struct anas_nest *nest = anas_lower_nest(l, "pack_weights");
    int window[ANAS_CONV_MAX_SPATIAL];
    int group = anas_contract_loop(nest, conv->groups, false);
    int tile = anas_contract_loop(nest, lanes->blocks, false);
    int b = anas_contract_loop(nest, stretch.blocks, false);
    for (int d = 0; d < spatial; d++)
      window[d] = anas_contract_loop(nest, conv->dim[d].window, false);
    int channel = anas_contract_loop(nest, stretch.width, false);
    int lane = anas_nest_loop(nest, lanes->width, false);
    struct anas_access *in = anas_nest_in(nest, kernel), *out = anas_nest_out(nest, buffer, fill);
    for (int d = 0; d < spatial; d++) {
      in->index[d].constant = conv->dim[d].first;
      anas_contract_index(in, d, window[d], 1);
      anas_contract_index(out, 3 + d, window[d], 1);
    }
    anas_conv_channel(in, spatial + (transposed ? 1 : 0), transposed ? outputs : 0, &stretch, transposed ? group : -1,
                      b, channel);
    anas_conv_channel(in, spatial + (transposed ? 0 : 1), transposed ? 0 : outputs, lanes, transposed ? -1 : group,
                      tile, lane);
    anas_contract_index(out, 0, group, 1);
    anas_contract_index(out, 1, tile, 1);
    out->index[2].constant = stretch.start / block;
    anas_contract_index(out, 2, b, 1);
    anas_contract_index(out, 3 + spatial, channel, 1);
    anas_access_add(out, 4 + spatial, lane, 1);
    anas_nest_yield(nest, 0, "%%i0");
    fill = ANAS_NO_FILL;
  }
  return buffer;
}
