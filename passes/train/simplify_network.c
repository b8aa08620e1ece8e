// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Networks without some of their ops, for measures of networks that were never trained.
#include "passes/train/network.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

void anas_network_remove_noise(struct anas_network *network) {
  for (int o = 0; o < network->num_ops; o++) {
    struct anas_op *op = &network->ops[o].op;
    for (int a = 0; a < op->def->num_attrs; a++) {
      const char *name = op->def->attrs[a].name;
      if (!strcmp(name, "rate") || !strcmp(name, "layer_drop_rate")) op->attr[a].value.f = 0;
    }
  }
}

static bool is_normalisation(const struct anas_network_op *op) {
  const char *name = op->op.def->name, *suffix = "_norm";
  size_t size = strlen(name), suffix_size = strlen(suffix);
  return size > suffix_size && !strcmp(name + size - suffix_size, suffix);
}

void anas_network_remove_normalisations(struct anas_network *network) {
  int *value = anas_calloc((size_t)network->num_ops + 1, sizeof *value); // new number of each value
  int kept = 0;
  for (int o = 0; o < network->num_ops; o++) {
    struct anas_network_op op = network->ops[o];
    op.need_grad = false;
    for (int i = 0; i < op.op.num_operands; i++) {
      op.operand[i] = value[op.operand[i]];
      if (op.operand[i] && network->ops[op.operand[i] - 1].need_grad) op.need_grad = op.op.def->backward != NULL;
    }
    for (int p = 0; p < op.num_params; p++)
      op.need_grad |= op.param[p].role == ANAS_TRAINABLE;
    value[o + 1] = op.operand[0];
    if (is_normalisation(&op)) continue;
    network->ops[kept] = op;
    value[o + 1] = ++kept;
  }
  network->result = value[network->result];
  network->num_ops = kept;
  free(value);
}
