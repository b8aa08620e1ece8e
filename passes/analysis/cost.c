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

// Sums of work and memory; a network whose cost does not fit in 64 bits is nobody's network.
static anas_status add(int64_t *sum, int64_t count, int64_t amount) {
  int64_t product;
  if (__builtin_mul_overflow(count, amount, &product) || __builtin_add_overflow(*sum, product, sum))
    return anas_fail(ANAS_INVALID, "the cost of the network does not fit in 64 bits");
  return ANAS_OK;
}

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
  ANAS_RETURN_IF_ERROR(add(&cost->macs, 1, one.macs));
  ANAS_RETURN_IF_ERROR(add(&cost->flops, 1, one.flops));

  struct anas_param params[ANAS_MAX_PARAMS];
  int num_params = op.def->params ? op.def->params(&op, params) : 0;
  for (int p = 0; p < num_params; p++) {
    int64_t *sum = params[p].role == ANAS_TRAINABLE ? &cost->trainable : &cost->state_scalars;
    ANAS_RETURN_IF_ERROR(add(sum, 1, anas_shape_elements(&params[p].shape)));
  }
  for (int r = 0; r < node->num_results; r++) {
    int64_t bytes = anas_shape_elements(&node->result[r]) * anas_element_bytes(node->result[r].element);
    ANAS_RETURN_IF_ERROR(add(&cost->activation_bytes, 1, bytes));
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
    ANAS_RETURN_IF_ERROR(add(&cost->macs, 1, callee->macs));
    ANAS_RETURN_IF_ERROR(add(&cost->flops, 1, callee->flops));
    ANAS_RETURN_IF_ERROR(add(&cost->activation_bytes, 1, callee->activation_bytes));
    if (callee->largest_bytes > cost->largest_bytes) cost->largest_bytes = callee->largest_bytes;
  }
  cost->state = DONE;
  return ANAS_OK;
}

// Every activation is kept for its gradient, the backward pass holds two gradients at a time; a parameter has a
// gradient and a momentum.
static anas_status total(const struct anas_model *model, int entry, const struct function_cost *costs, int64_t batch,
                         struct anas_model_cost *out) {
  struct anas_model_cost cost = {
      .macs = costs[entry].macs, .flops = costs[entry].flops, .activation_bytes = costs[entry].activation_bytes};
  int64_t state_scalars = 0, example_bytes = cost.activation_bytes;
  for (int f = 0; f < model->num_functions; f++) { // functions the entry does not reach were not measured
    if (costs[f].state != DONE) continue;
    ANAS_RETURN_IF_ERROR(add(&cost.params, 1, costs[f].trainable));
    ANAS_RETURN_IF_ERROR(add(&state_scalars, 1, costs[f].state_scalars));
  }
  const struct anas_function *function = &model->functions[entry];
  for (int a = 0; a < function->num_args; a++)
    ANAS_RETURN_IF_ERROR(
        add(&example_bytes, anas_element_bytes(function->arg[a].element), anas_shape_elements(&function->arg[a])));
  ANAS_RETURN_IF_ERROR(add(&example_bytes, 2, costs[entry].largest_bytes));
  ANAS_RETURN_IF_ERROR(add(&cost.train_bytes, batch, example_bytes));
  ANAS_RETURN_IF_ERROR(add(&cost.train_bytes, 12, cost.params));
  ANAS_RETURN_IF_ERROR(add(&cost.train_bytes, 4, state_scalars));
  ANAS_RETURN_IF_ERROR(add(&cost.model_bytes, 4, cost.params));
  ANAS_RETURN_IF_ERROR(add(&cost.model_bytes, 4, state_scalars));
  *out = cost;
  return ANAS_OK;
}

anas_status anas_model_cost(const struct anas_model *model, int64_t batch, struct anas_model_cost *out) {
  int entry = anas_model_entry(model);
  if (entry < 0) return anas_fail(ANAS_INVALID, "the module has no public function whose cost could be computed");
  struct function_cost *costs = anas_calloc((size_t)model->num_functions, sizeof *costs);
  anas_status status = measure(model, entry, costs);
  if (status == ANAS_OK) status = total(model, entry, costs, batch, out);
  free(costs);
  return status;
}
