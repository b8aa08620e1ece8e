// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// EfficientNet (Tan and Le, 2019) as in spec 6.3: mobile inverted bottlenecks with squeeze and excitation, scaled in
// width and depth. The blocks are functions, the skips around them stay in main. Inside a block every size is relative
// to the operand but the filters it puts out.
#include "dialect/zoo/builder.h"

#include <stdio.h>

#define STAGES 7

struct stage {
  int in, out, kernel, repeat, expand, stride; // of b0
};

static const struct stage stages[STAGES] = {
    {32, 16, 3, 1, 1, 1},  {16, 24, 3, 2, 6, 2},   {24, 40, 5, 2, 6, 2},   {40, 80, 3, 3, 6, 2},
    {80, 112, 5, 3, 6, 1}, {112, 192, 5, 4, 6, 2}, {192, 320, 3, 1, 6, 1},
};

// Width and depth as tenths of b0's, so that the rounding below is exact.
struct variant {
  int width, depth;
  const char *dropout;
};

static const struct variant variants[] = {
    {10, 10, "0.2"}, {10, 11, "0.2"}, {11, 12, "0.3"}, {12, 14, "0.3"},
    {14, 18, "0.4"}, {16, 22, "0.4"}, {18, 26, "0.5"}, {20, 31, "0.5"},
};

static const char bn[] = "momentum=0.99 epsilon=1e-3";
static const char conv[] = "use_bias=false kernel_init=variance_scaling(2,fan_out,truncated_normal)";
static const char dense[] = "kernel_init=variance_scaling(0.33333,fan_out,uniform)";
static const double drop_rate = 0.2; // of whole examples in the skips; grows from 0 with the number of the block

struct mbconv {
  int expand, stride, kernel;
  int filters; // 0: as many as come in
};

// The nearest multiple of 8, but not below nine tenths.
static int scaled_filters(int filters, int width) {
  int rounded = (filters * width + 40) / 80 * 8;
  if (rounded < 8) rounded = 8;
  return rounded * 100 < filters * width * 9 ? rounded + 8 : rounded;
}

static int scaled_repeats(int repeat, int depth) {
  return (repeat * depth + 9) / 10;
}

static struct anas_ref norm_swish(struct zoo *zoo, const char *name, struct anas_ref x) {
  x = zoo_op(zoo, "batch_norm", name, x, "%s", bn);
  return zoo_op(zoo, "swish", NULL, x, " ");
}

// x times a gate for every channel, computed from the means of all channels.
static struct anas_ref squeeze_excite(struct zoo *zoo, int expand, struct anas_ref x) {
  struct anas_ref gate = zoo_op(zoo, "avg_pool", NULL, x, "window=0");
  gate = zoo_op(zoo, "dense", "se/reduce", gate, "features=S:-1%%%d %s", 4 * expand, dense);
  gate = zoo_op(zoo, "swish", NULL, gate, " ");
  gate = zoo_op(zoo, "dense", "se/expand", gate, "features=S:-1*%d %s", 4 * expand, dense);
  gate = zoo_op(zoo, "sigmoid", NULL, gate, " ");
  return zoo_binary(zoo, "mul", gate, x, " ");
}

static void build_block(struct zoo *zoo, const struct mbconv *block, const char *name) {
  char kind[96], features[32];
  snprintf(kind, sizeof kind, "mbconv_expand%d_stride%d_kernel%d_outputfilters%d_", block->expand, block->stride,
           block->kernel, block->filters);
  struct anas_ref x = zoo_begin(zoo, name, kind, NULL);
  if (block->expand > 1) {
    x = zoo_op(zoo, "conv", "expand/conv", x, "features=S:-1*%d kernel=1,1 %s", block->expand, conv);
    x = norm_swish(zoo, "expand/bn", x);
  }
  x = zoo_op(zoo, "conv", "depthwise/conv", x, "features=S:-1 groups=S:-1 kernel=%d,%d strides=%d,%d %s", block->kernel,
             block->kernel, block->stride, block->stride, conv);
  x = norm_swish(zoo, "depthwise/bn", x);
  x = squeeze_excite(zoo, block->expand, x);
  if (block->filters)
    snprintf(features, sizeof features, "%d", block->filters);
  else
    snprintf(features, sizeof features, block->expand > 1 ? "S:-1%%%d" : "S:-1", block->expand);
  x = zoo_op(zoo, "conv", "project/conv", x, "features=%s kernel=1,1 %s", features, conv);
  x = zoo_op(zoo, "batch_norm", "project/bn", x, "%s", bn);
  zoo_return(zoo, x);
}

static void build_efficientnet(struct zoo *zoo, const struct anas_zoo_entry *entry, const struct anas_zoo_size *size) {
  const struct variant *variant = &variants[entry->variant];
  const struct anas_shape image = {.rank = 4, .dim = {ANAS_DYNAMIC, size->height, size->width, size->channels}};
  int num_blocks = 0;
  for (int s = 0; s < STAGES; s++)
    num_blocks += scaled_repeats(stages[s].repeat, variant->depth);
  struct anas_ref x = zoo_begin(zoo, "main", NULL, &image);
  x = zoo_op(zoo, "conv", "stem/conv", x, "features=%d kernel=3,3 strides=2,2 %s",
             scaled_filters(stages[0].in, variant->width), conv);
  x = norm_swish(zoo, "stem/bn", x);
  for (int s = 0, index = 0; s < STAGES; s++) {
    int in = scaled_filters(stages[s].in, variant->width), out = scaled_filters(stages[s].out, variant->width);
    int repeats = scaled_repeats(stages[s].repeat, variant->depth);
    for (int layer = 0; layer < repeats; layer++, index++) {
      struct mbconv block = {stages[s].expand, layer ? 1 : stages[s].stride, stages[s].kernel,
                             layer || in == out ? 0 : out};
      char name[32];
      snprintf(name, sizeof name, "mbconv%d", index);
      build_block(zoo, &block, name);
      zoo->function = 0;
      struct anas_ref branch = zoo_call(zoo, name, x);
      x = block.filters || block.stride > 1
              ? branch
              : zoo_binary(zoo, "add", branch, x, "layer_drop_rate=%.9g", drop_rate * index / num_blocks);
    }
  }
  x = zoo_op(zoo, "conv", "head/conv", x, "features=%d kernel=1,1 %s", scaled_filters(1280, variant->width), conv);
  x = norm_swish(zoo, "head/bn", x);
  x = zoo_op(zoo, "avg_pool", NULL, x, "window=0");
  x = zoo_op(zoo, "dropout", NULL, x, "rate=%s", variant->dropout);
  x = zoo_op(zoo, "dense", "head/dense", x, "features=%lld %s", (long long)size->classes, dense);
  zoo_return(zoo, zoo_op(zoo, "flatten", NULL, x, " "));
}

#define EFFICIENTNET(number, resolution, scalars)                                                                      \
  static const struct anas_zoo_entry b##number = {                                                                     \
      .name = "b" #number,                                                                                             \
      .summary = "EfficientNet-B" #number,                                                                             \
      .params = (scalars),                                                                                             \
      .reference = {(resolution), (resolution), 3, 1000},                                                              \
      .build = build_efficientnet,                                                                                     \
      .variant = (number),                                                                                             \
  }

EFFICIENTNET(0, 224, 5288548);
EFFICIENTNET(1, 240, 7794184);
EFFICIENTNET(2, 260, 9109994);
EFFICIENTNET(3, 300, 12233232);
EFFICIENTNET(4, 380, 19341616);
EFFICIENTNET(5, 456, 30389784);
EFFICIENTNET(6, 528, 43040704);
EFFICIENTNET(7, 600, 66347960);

const struct anas_zoo_entry *const zoo_efficientnet[] = {&b0, &b1, &b2, &b3, &b4, &b5, &b6, &b7, NULL};
