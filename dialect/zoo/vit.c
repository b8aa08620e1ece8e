// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Vision transformers (Dosovitskiy et al., 2021) as in spec 6.4: no class token, the mean over the tokens goes to the
// head. Attention and MLP are blocks; layer norms and residual sums stay in main.
#include "dialect/zoo/builder.h"

#include <math.h>
#include <stdio.h>

#define EXPANSION 4 // width of the hidden layer of an MLP, in widths of the network

struct variant {
  int width, depth, heads, patch;
};

static const struct variant variants[] = {
    {192, 12, 3, 16}, {384, 12, 6, 16}, {768, 12, 12, 16}, {1024, 24, 16, 16},
    {192, 12, 3, 4},  {384, 12, 6, 4},  {768, 12, 12, 4},  {1024, 24, 16, 4},
};

static const char kernel[] = "kernel_init=xavier_uniform";

// x as (batch, tokens, heads, features of a head) after a dense layer of its own.
static struct anas_ref project(struct zoo *zoo, const char *name, int heads, struct anas_ref x) {
  x = zoo_op(zoo, "dense", name, x, "features=S:-1 %s", kernel);
  return zoo_op(zoo, "reshape", NULL, x, "new_shape=B,-1,%d,S:-1%%%d", heads, heads);
}

static void build_attention(struct zoo *zoo, const struct variant *variant, const char *name) {
  struct anas_ref input = zoo_begin(zoo, name, "mhdpa", NULL);
  struct anas_ref value = project(zoo, "value", variant->heads, input);
  struct anas_ref key = project(zoo, "key", variant->heads, input);
  struct anas_ref query = project(zoo, "query", variant->heads, input);
  query = zoo_op(zoo, "scalar_mul", NULL, query, " "); // 1 / sqrt(features of a head)
  struct anas_ref x = zoo_binary(zoo, "einsum", query, key, "equation=...qhd,...khd->...hqk");
  x = zoo_op(zoo, "softmax", NULL, x, " ");
  x = zoo_binary(zoo, "einsum", x, value, "equation=...hqk,...khd->...qhd");
  x = zoo_op(zoo, "reshape", NULL, x, "new_shape=B,S:1,-1");
  zoo_return(zoo, zoo_op(zoo, "dense", "out", x, "features=S:-1 %s", kernel));
}

static void build_mlp(struct zoo *zoo, const char *name) {
  struct anas_ref x = zoo_begin(zoo, name, "mlp", NULL);
  x = zoo_op(zoo, "dense", "dense0", x, "features=S:-1*%d %s bias_init=normal(1e-6)", EXPANSION, kernel);
  x = zoo_op(zoo, "gelu", NULL, x, " ");
  x = zoo_op(zoo, "dense", "dense1", x, "features=S:-1%%%d %s bias_init=normal(1e-6)", EXPANSION, kernel);
  zoo_return(zoo, x);
}

// x + block(layer_norm(x))
static struct anas_ref residual(struct zoo *zoo, const char *block, struct anas_ref x) {
  char name[64];
  snprintf(name, sizeof name, "%s/norm", block);
  struct anas_ref branch = zoo_call(zoo, block, zoo_op(zoo, "layer_norm", name, x, " "));
  return zoo_binary(zoo, "add", branch, x, " ");
}

static void build_vit(struct zoo *zoo, const struct anas_zoo_entry *entry, const struct anas_zoo_size *size) {
  const struct variant *variant = &variants[entry->variant];
  const struct anas_shape image = {.rank = 4, .dim = {ANAS_DYNAMIC, size->height, size->width, size->channels}};
  int patch = variant->patch;
  if (size->height % patch || size->width % patch) {
    zoo->status = anas_fail(ANAS_INVALID, "height and width must be multiples of %d, the side of a patch", patch);
    return;
  }
  struct anas_ref x = zoo_begin(zoo, "main", NULL, &image);
  x = zoo_op(zoo, "conv", "embedding", x, "features=%d kernel=%d,%d strides=%d,%d padding=VALID %s", variant->width,
             patch, patch, patch, patch, kernel);
  x = zoo_op(zoo, "reshape", NULL, x, "new_shape=B,-1,S:-1");
  struct anas_ref position =
      zoo_op(zoo, "param", "pos_embedding", x, "shape=1,%lld,%d init=normal(%.3f)",
             (long long)(size->height / patch * (size->width / patch)), variant->width, 1 / sqrt(variant->width));
  x = zoo_binary(zoo, "add", x, position, " ");
  for (int layer = 0; layer < variant->depth; layer++) {
    char attention[32], mlp[32];
    snprintf(attention, sizeof attention, "attention%d", layer);
    snprintf(mlp, sizeof mlp, "mlp%d", layer);
    build_attention(zoo, variant, attention);
    build_mlp(zoo, mlp);
    zoo->function = 0;
    x = residual(zoo, attention, x);
    x = residual(zoo, mlp, x);
  }
  x = zoo_op(zoo, "layer_norm", "norm", x, " ");
  x = zoo_op(zoo, "mean", NULL, x, "axes=1");
  x = zoo_op(zoo, "dense", "head", x, "features=%lld kernel_init=zeros", (long long)size->classes);
  zoo_return(zoo, x);
}

#define VIT(id, title, size, index, scalars16, scalars4)                                                               \
  static const struct anas_zoo_entry vit_##id##_16 = {                                                                 \
      .name = "vit-" title "/16",                                                                                      \
      .summary = "vision transformer, " size ", patches of 16x16",                                                     \
      .params = (scalars16),                                                                                           \
      .reference = {224, 224, 3, 1000},                                                                                \
      .build = build_vit,                                                                                              \
      .variant = (index),                                                                                              \
  };                                                                                                                   \
  static const struct anas_zoo_entry vit_##id##_4 = {                                                                  \
      .name = "vit-" title "/4",                                                                                       \
      .summary = "vision transformer, " size ", patches of 4x4",                                                       \
      .params = (scalars4),                                                                                            \
      .reference = {32, 32, 3, 10},                                                                                    \
      .build = build_vit,                                                                                              \
      .variant = 4 + (index),                                                                                          \
  }

VIT(ti, "ti", "tiny", 0, 5717032, 5362378);
VIT(s, "s", "small", 1, 22049896, 21341578);
VIT(b, "b", "base", 2, 86566120, 85150474);
VIT(l, "l", "large", 3, 304324584, 302437386);

const struct anas_zoo_entry *const zoo_vit[] = {&vit_ti_16, &vit_s_16, &vit_b_16, &vit_l_16, &vit_ti_4,
                                                &vit_s_4,   &vit_b_4,  &vit_l_4,  NULL};
