// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Chains of ops for tests: built by hand, without a module. The fixture is the convolutional part of the network that
// the conformance cases call F1.
#ifndef ANAS_TEST_CHAINS_H
#define ANAS_TEST_CHAINS_H

#include "passes/synthesis/internal.h"

#include <string.h>

static inline struct anas_node test_node(const char *name) {
  struct anas_node node = {.def = anas_op_find(name, strlen(name)), .num_operands = 1, .num_results = 1};
  node.operand[0] = (struct anas_ref){ANAS_ARGUMENT, 0};
  return node;
}

static inline struct anas_attr *test_attr(struct anas_node *node, const char *name) {
  struct anas_attr *attr = &node->attr[anas_op_attr_index(node->def, name)];
  attr->present = true;
  return attr;
}

static inline void test_set_ints(struct anas_node *node, const char *name, int64_t value) {
  test_attr(node, name)->value.ints = (struct anas_ints){.count = 1, .value = {value}};
}

static inline void test_set_size(struct anas_node *node, const char *name, int64_t mul, int64_t div) {
  test_attr(node, name)->value.dim = (struct anas_dim_expr){.relative = true, .axis = -1, .div = div, .mul = mul};
}

static inline struct anas_node test_conv(int64_t mul, int64_t kernel, int64_t stride) {
  struct anas_node node = test_node("conv");
  test_set_size(&node, "features", mul, 1);
  test_set_ints(&node, "kernel", kernel);
  if (stride != 1) test_set_ints(&node, "strides", stride);
  return node;
}

static inline struct anas_node test_dense(int64_t mul) {
  struct anas_node node = test_node("dense");
  test_set_size(&node, "features", mul, 1);
  return node;
}

static inline struct anas_node test_pool(const char *name, int64_t window, int64_t stride) {
  struct anas_node node = test_node(name);
  test_set_ints(&node, "window", window);
  test_set_ints(&node, "strides", stride);
  return node;
}

// conv*2 k3, relu, avg_pool 2/2, twice: ops 1..6 of F1. Fills nodes[0..5].
static inline void test_f1_layers(struct anas_node nodes[6]) {
  for (int layer = 0; layer < 2; layer++) {
    nodes[3 * layer] = test_conv(2, 3, 1);
    nodes[3 * layer + 1] = test_node("relu");
    nodes[3 * layer + 2] = test_pool("avg_pool", 2, 2);
  }
  for (int i = 0; i < 6; i++)
    nodes[i].operand[0] = (struct anas_ref){i - 1, 0};
}

static inline struct anas_shape test_shape4(int64_t n, int64_t h, int64_t w, int64_t c) {
  return (struct anas_shape){.rank = 4, .dim = {n, h, w, c}};
}

// The target that the chain itself satisfies, mixing by exact positions or by the published lattice.
static inline bool test_target_by(bool lattice, const struct anas_node *chain, int length, struct anas_shape input,
                                  bool input_linear, struct anas_target *out) {
  *out = (struct anas_target){.input = input,
                              .input_linear = input_linear,
                              .require_depth = true,
                              .require_mixing = true,
                              .lattice_mixing = lattice};
  struct anas_prefix prefix;
  anas_prefix_start(out, &prefix);
  for (int i = 0; i < length; i++)
    if (!anas_prefix_append(out, 1, &prefix, &chain[i], &prefix)) return false;
  out->output = prefix.shape;
  out->depth = prefix.depth.depth;
  out->mixing = prefix.mixing;
  return true;
}

static inline bool test_target_of(const struct anas_node *chain, int length, struct anas_shape input, bool input_linear,
                                  struct anas_target *out) {
  return test_target_by(false, chain, length, input, input_linear, out);
}

// Ops [from, to) of F1 (1 <= from, to <= 7), batch 5, in place.
static inline void test_f1_slice(const struct anas_node nodes[6], int from, int to, struct anas_target *out) {
  struct anas_target before;
  test_target_of(nodes, from - 1, test_shape4(5, 32, 32, 32), true, &before);
  bool linear = from == 1 || nodes[from - 2].def->linearity == ANAS_LINEAR;
  test_target_of(nodes + from - 1, to - from, before.output, linear, out);
}

#endif
