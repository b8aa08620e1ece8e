// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Cost of the entry function. Parameters belong to functions, so a function called twice counts once; work and
// activations count per call.
#include "passes/analysis/analysis.h"

#include "runtime/support/memory.h"

#include <stdlib.h>

struct function_cost {
  enum { UNSEEN = 0, OPEN, DONE } state;
  // One call, one example.
  int64_t macs, flops, activation_bytes;
  int64_t largest_bytes; // of one value
  // The function itself, without its callees.
  int64_t trainable, state_scalars;
};

static anas_status add_op(const struct anas_function *function, const struct anas_node *node,
                          struct function_cost *cost) {
  struct anas_shape operands[ANAS_MAX_OPERANDS];
  for (int q = 0; q < node->num_operands; q++)
    operands[q] = *anas_value_type(function, node->operand[q]);
  struct anas_op op;
  ANAS_RETURN_IF_ERROR(anas_node_resolve(node, operands, &op));

  struct anas_cost one = {.flops = anas_shape_elements(&node->result[0])};
  if (op.def->cost) {
    one = (struct anas_cost){0};
    op.def->cost(&op, node->result, &one);
  }
  cost->macs += one.macs;
  cost->flops += one.flops;

  struct anas_param params[ANAS_MAX_PARAMS];
  int num_params = op.def->params ? op.def->params(&op, params) : 0;
  for (int p = 0; p < num_params; p++) {
    int64_t scalars = anas_shape_elements(&params[p].shape);
    *(params[p].role == ANAS_TRAINABLE ? &cost->trainable : &cost->state_scalars) += scalars;
  }
  for (int r = 0; r < node->num_results; r++) {
    int64_t bytes = anas_shape_elements(&node->result[r]) * anas_element_bytes(node->result[r].element);
    cost->activation_bytes += bytes;
    if (bytes > cost->largest_bytes) cost->largest_bytes = bytes;
  }
  return ANAS_OK;
}

static anas_status measure(const struct anas_model *model, int index, struct function_cost *costs) {
  struct function_cost *cost = &costs[index];
  const struct anas_function *function = &model->functions[index];
  if (cost->state == DONE) return ANAS_OK;
  if (cost->state == OPEN)
    return anas_fail(ANAS_INVALID, "function '@%s' calls itself; its cost is not defined", function->name);
  cost->state = OPEN;
  for (int n = 0; n < function->num_nodes; n++) {
    const struct anas_node *node = &function->nodes[n];
    if (node->def) {
      ANAS_RETURN_IF_ERROR(add_op(function, node, cost));
      continue;
    }
    ANAS_RETURN_IF_ERROR(measure(model, node->callee, costs));
    const struct function_cost *callee = &costs[node->callee];
    cost->macs += callee->macs;
    cost->flops += callee->flops;
    cost->activation_bytes += callee->activation_bytes;
    if (callee->largest_bytes > cost->largest_bytes) cost->largest_bytes = callee->largest_bytes;
  }
  cost->state = DONE;
  return ANAS_OK;
}

anas_status anas_model_cost(const struct anas_model *model, int64_t batch, struct anas_model_cost *out) {
  int entry = anas_model_entry(model);
  if (entry < 0) return anas_fail(ANAS_INVALID, "the module has no public function whose cost could be computed");
  struct function_cost *costs = anas_calloc((size_t)model->num_functions, sizeof *costs);
  anas_status status = measure(model, entry, costs);
  if (status == ANAS_OK) {
    int64_t trainable = 0, state_scalars = 0, input_bytes = 0;
    for (int f = 0; f < model->num_functions; f++) // functions the entry does not reach were not measured
      if (costs[f].state == DONE) {
        trainable += costs[f].trainable;
        state_scalars += costs[f].state_scalars;
      }
    const struct anas_function *function = &model->functions[entry];
    for (int a = 0; a < function->num_args; a++)
      input_bytes += anas_shape_elements(&function->arg[a]) * anas_element_bytes(function->arg[a].element);
    // Every activation is kept for its gradient, the backward pass holds two gradients at a time; a parameter has a
    // gradient and a momentum.
    int64_t example_bytes = input_bytes + costs[entry].activation_bytes + 2 * costs[entry].largest_bytes;
    *out = (struct anas_model_cost){.params = trainable,
                                    .macs = costs[entry].macs,
                                    .flops = costs[entry].flops,
                                    .activation_bytes = costs[entry].activation_bytes,
                                    .train_bytes = batch * example_bytes + 4 * (3 * trainable + state_scalars)};
  }
  free(costs);
  return status;
}
