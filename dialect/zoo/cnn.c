// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// CifarNet (spec 6.1): a 1x1 projection, two blocks of convolution, relu and pooling, two dense layers.
#include "dialect/zoo/builder.h"

static void build_layer(struct zoo *zoo, const char *name) {
  struct anas_ref x = zoo_begin(zoo, name, "conv_layer", NULL);
  x = zoo_op(zoo, "conv", "conv", x, "features=S:-1*2 kernel=3,3");
  x = zoo_op(zoo, "relu", NULL, x, " ");
  x = zoo_op(zoo, "avg_pool", NULL, x, "window=2,2 strides=2,2");
  zoo_return(zoo, x);
}

static void build_cnn(struct zoo *zoo, const struct anas_zoo_entry *entry, const struct anas_zoo_size *size) {
  (void)entry;
  const struct anas_shape image = {.rank = 4, .dim = {ANAS_DYNAMIC, size->height, size->width, size->channels}};
  struct anas_ref x = zoo_begin(zoo, "main", NULL, &image);
  build_layer(zoo, "conv_layer0");
  build_layer(zoo, "conv_layer1");
  zoo->function = 0;
  x = zoo_op(zoo, "conv", "proj", x, "features=32 kernel=1,1");
  x = zoo_call(zoo, "conv_layer0", x);
  x = zoo_call(zoo, "conv_layer1", x);
  x = zoo_op(zoo, "flatten", NULL, x, " ");
  x = zoo_op(zoo, "dense", "fc/dense", x, "features=256");
  x = zoo_op(zoo, "relu", NULL, x, " ");
  x = zoo_op(zoo, "dense", "fc/logits", x, "features=%lld", (long long)size->classes);
  zoo_return(zoo, x);
}

static const struct anas_zoo_entry cnn = {
    .name = "cnn",
    .summary = "two convolution blocks and two dense layers (CifarNet)",
    .params = 2192458,
    .reference = {32, 32, 3, 10},
    .build = build_cnn,
};

const struct anas_zoo_entry *const zoo_cnn[] = {&cnn, NULL};
