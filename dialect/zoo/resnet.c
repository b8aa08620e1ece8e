// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// ResNet v1 (He et al., 2016) as in spec 6.2: blocks are functions, the residual glue around them stays in main. Sizes
// are relative to the operand, so a block fits wherever it is moved.
#include "dialect/zoo/builder.h"

#include <stdio.h>

struct resnet {
  int layers[4]; // blocks a stage
  bool bottleneck;
  bool plain; // no pooling in the stem
};

static const struct resnet variants[] = {
    {{2, 2, 2, 2}, false, false}, {{3, 4, 6, 3}, false, false}, {{3, 4, 6, 3}, true, false},
    {{3, 4, 23, 3}, true, false}, {{3, 8, 36, 3}, true, false}, {{3, 24, 36, 3}, true, false},
    {{2, 2, 2, 2}, false, true},  {{3, 4, 6, 3}, false, true},
};

static const char bn[] = "momentum=0.9 epsilon=1e-5";

struct block {
  int id, stride, multiply;
  bool bottleneck;
  char function[32], kind[64];
};

// "S:-1", "S:-1*2", "S:-1%4"
static const char *scaled(int multiply, int divide, char out[16]) {
  if (multiply > divide)
    snprintf(out, 16, "S:-1*%d", multiply / divide);
  else if (multiply < divide)
    snprintf(out, 16, "S:-1%%%d", divide / multiply);
  else
    snprintf(out, 16, "S:-1");
  return out;
}

static void build_basic(struct zoo *zoo, const struct block *block) {
  char features[16];
  struct anas_ref x = zoo_begin(zoo, block->function, block->kind, NULL);
  x = zoo_op(zoo, "conv", "conv0", x, "features=%s kernel=3,3 strides=%d,%d use_bias=false",
             scaled(block->multiply, 1, features), block->stride, block->stride);
  x = zoo_op(zoo, "batch_norm", "bn1", x, "%s", bn);
  x = zoo_op(zoo, "relu", NULL, x, " ");
  x = zoo_op(zoo, "conv", "conv3", x, "features=S:-1 kernel=3,3 use_bias=false");
  zoo_return(zoo, x);
}

static void build_bottleneck(struct zoo *zoo, const struct block *block) {
  char features[16];
  struct anas_ref x = zoo_begin(zoo, block->function, block->kind, NULL);
  x = zoo_op(zoo, "conv", "conv0", x, "features=%s kernel=1,1 use_bias=false", scaled(block->multiply, 4, features));
  x = zoo_op(zoo, "batch_norm", "bn1", x, "%s", bn);
  x = zoo_op(zoo, "relu", NULL, x, " ");
  x = zoo_op(zoo, "conv", "conv3", x, "features=S:-1 kernel=3,3 strides=%d,%d use_bias=false", block->stride,
             block->stride);
  x = zoo_op(zoo, "batch_norm", "bn4", x, "%s", bn);
  x = zoo_op(zoo, "relu", NULL, x, " ");
  x = zoo_op(zoo, "conv", "conv6", x, "features=S:-1*4 kernel=1,1 use_bias=false");
  zoo_return(zoo, x);
}

// relu(bn(block(x)) + skip(x)); the scale of bn starts at zero, so that the block starts as its skip.
static struct anas_ref residual(struct zoo *zoo, const struct block *block, struct anas_ref x) {
  char name[64], features[16];
  struct anas_ref branch = zoo_call(zoo, block->function, x);
  snprintf(name, sizeof name, "%s/bn", block->function);
  branch = zoo_op(zoo, "batch_norm", name, branch, "%s scale_init=zeros", bn);
  struct anas_ref skip = x;
  if (block->multiply > 1 || block->stride > 1) {
    snprintf(name, sizeof name, "%s/proj/conv0", block->function);
    skip = zoo_op(zoo, "conv", name, skip, "features=%s kernel=1,1 strides=%d,%d use_bias=false",
                  scaled(block->multiply, 1, features), block->stride, block->stride);
    snprintf(name, sizeof name, "%s/proj/bn1", block->function);
    skip = zoo_op(zoo, "batch_norm", name, skip, "%s", bn);
  }
  return zoo_op(zoo, "relu", NULL, zoo_binary(zoo, "add", branch, skip, " "), " ");
}

static struct anas_ref stem(struct zoo *zoo, bool small, bool plain, struct anas_ref x) {
  x = zoo_op(zoo, "conv", "init/conv0", x, "features=64 kernel=%s strides=%s use_bias=false", small ? "3,3" : "7,7",
             small ? "1,1" : "2,2");
  x = zoo_op(zoo, "batch_norm", "init/bn1", x, "%s", bn);
  x = zoo_op(zoo, "relu", NULL, x, " ");
  if (plain) return x;
  x = zoo_op(zoo, "max_pool", NULL, x, "window=3,3 strides=2,2 padding=SAME");
  return zoo_op(zoo, "conv", "init/proj4", x, "features=64 kernel=1,1 use_bias=false");
}

static void build_resnet(struct zoo *zoo, const struct anas_zoo_entry *entry, const struct anas_zoo_size *size) {
  const struct resnet *resnet = &variants[entry->variant];
  const struct anas_shape image = {.rank = 4, .dim = {ANAS_DYNAMIC, size->height, size->width, size->channels}};
  struct anas_ref x = zoo_begin(zoo, "main", NULL, &image);
  x = stem(zoo, resnet->plain || (size->height < 64 && size->width < 64), resnet->plain, x);
  for (int stage = 0; stage < 4; stage++)
    for (int layer = 0; layer < resnet->layers[stage]; layer++) {
      // The digits of stage and layer, one after the other.
      struct block block = {.id = (stage + 1) * (layer < 9 ? 10 : 100) + layer + 1,
                            .stride = stage && !layer ? 2 : 1,
                            .multiply = layer                ? 1
                                        : stage              ? 2
                                        : resnet->bottleneck ? 4
                                                             : 1,
                            .bottleneck = resnet->bottleneck};
      snprintf(block.function, sizeof block.function, "resnet%d", block.id);
      snprintf(block.kind, sizeof block.kind, "resnet_stride%d_filtermul%d_%s", block.stride, block.multiply,
               block.bottleneck ? "bottleneck" : "basic");
      if (block.bottleneck)
        build_bottleneck(zoo, &block);
      else
        build_basic(zoo, &block);
      zoo->function = 0;
      x = residual(zoo, &block, x);
    }
  x = zoo_op(zoo, "mean", NULL, x, "axes=1,2");
  x = zoo_op(zoo, "dense", "fc/dense", x, "features=%lld kernel_init=zeros", (long long)size->classes);
  zoo_return(zoo, x);
}

#define RESNET(id, title, index, scalars, about)                                                                       \
  static const struct anas_zoo_entry resnet##id = {                                                                    \
      .name = "resnet" title,                                                                                          \
      .summary = about,                                                                                                \
      .params = (scalars),                                                                                             \
      .reference = {32, 32, 3, 10},                                                                                    \
      .build = build_resnet,                                                                                           \
      .variant = (index),                                                                                              \
  }

RESNET(18, "18", 0, 11178058, "residual network of 18 layers; small stem below 64 pixels");
RESNET(34, "34", 1, 21286218, "residual network of 34 layers");
RESNET(50, "50", 2, 23524938, "residual network of 50 layers, bottleneck blocks");
RESNET(101, "101", 3, 42517066, "residual network of 101 layers, bottleneck blocks");
RESNET(152, "152", 4, 58160714, "residual network of 152 layers, bottleneck blocks");
RESNET(200, "200", 5, 62641738, "residual network of 200 layers, bottleneck blocks");
RESNET(18_plain, "18-plain", 6, 11173962, "the usual ResNet-18 for CIFAR: no pooling in the stem");
RESNET(34_plain, "34-plain", 7, 21282122, "the usual ResNet-34 for CIFAR: no pooling in the stem");

const struct anas_zoo_entry *const zoo_resnet[] = {&resnet18,  &resnet34,       &resnet50,       &resnet101, &resnet152,
                                                   &resnet200, &resnet18_plain, &resnet34_plain, NULL};
