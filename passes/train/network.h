// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The network that anas-train-step differentiates: the entry function with every call inlined and the batch fixed.
#ifndef ANAS_PASSES_NETWORK_H
#define ANAS_PASSES_NETWORK_H

#include "dialect/model.h"

// One architecture op in execution order; its result is value number 1 + its index, the image is value 0.
struct anas_network_op {
  struct anas_op op;
  struct anas_shape result;
  int operand[ANAS_MAX_OPERANDS]; // value numbers
  const char *path;               // "main/stem/conv"; empty components are left out
  const struct anas_node *node;   // for messages; belongs to the model
  int num_params;
  struct anas_param param[ANAS_MAX_PARAMS];
  bool need_grad; // a trainable parameter of this op or of one before it depends on the gradient of the result
};

struct anas_network {
  struct anas_shape image;
  struct anas_network_op *ops;
  int num_ops;
  size_t capacity_ops;
  int result; // value number of the logits
  int64_t classes;
  struct anas_arena arena;
};

// Messages are emitted at the op they are about. The model must outlive the network. The entry function must take one
// f32 image tensor (batch, ...) and return one f32 tensor (batch, classes).
anas_status anas_network_init(const struct anas_model *model, int64_t batch, struct anas_network *out);
void anas_network_deinit(struct anas_network *network);
// Everything random becomes what it is at inference: dropout, stochastic depth.
void anas_network_remove_noise(struct anas_network *network);
// Normalisations become their operand, and their parameters go.
void anas_network_remove_normalisations(struct anas_network *network);
const struct anas_shape *anas_network_type(const struct anas_network *network, int value);

#endif
