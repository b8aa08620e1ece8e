// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Layers: the distinct convolutions and products of a training step, each as a program of its own and described the way
// other libraries want them.
#ifndef ANAS_TOOLS_BENCH_LAYER_H
#define ANAS_TOOLS_BENCH_LAYER_H

#include "dialect/ops/conv.h"
#include "tools/anas-bench/bench.h"

enum conv_pass { CONV_FORWARD, CONV_BACKWARD_DATA, CONV_BACKWARD_FILTER };

// C[m][n] = sum over k of A[m][k] B[k][n], row-major, for every batch item (loops over up to three labels).
#define MAX_PRODUCT_LOOPS 3
struct product {
  int64_t m, n, k, lda, ldb, ldc;
  bool transpose_a, transpose_b;
  int num_loops;
  struct {
    int64_t extent, a, b, c; // elements from one item to the next
  } loop[MAX_PRODUCT_LOOPS];
  int64_t elements[3]; // of A, B and C with all items
};

struct layer {
  char *op;     // "conv_fwd"
  char *kind;   // group of the summary: "conv_fwd 3x3", "conv_fwd depthwise", "dense_bwd_data", ...
  char *name;   // for people: "64x32x32x64 3x3 -> 64"
  char *model;  // the first that has it
  char *text;   // attributes and types: equal for equal layers
  int uses;     // in all models
  double flops; // of the direct algorithm
  bool is_conv, is_product;
  enum conv_pass pass;
  struct anas_conv conv;
  struct product product;
  char *program; // training-level module with this op alone
};

struct layers {
  struct layer *items;
  int count;
  size_t capacity;
};

// Adds the layers of a training step (module after anas_build_train_step) that are not yet there.
anas_status layers_collect(struct layers *layers, MlirModule train_step, const char *model);
void layers_deinit(struct layers *layers);

#endif
