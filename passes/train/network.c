// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Inlining of block functions and static shapes (network.h).
#include "passes/train/network.h"

#include "dialect/context.h"

#include <stdlib.h>
#include <string.h>

struct inliner {
  const struct anas_model *model;
  struct anas_network *network;
  int depth;
};

const struct anas_shape *anas_network_type(const struct anas_network *network, int value) {
  return value == 0 ? &network->image : &network->ops[value - 1].result;
}

static bool value_needs_grad(const struct anas_network *network, int value) {
  return value > 0 && network->ops[value - 1].need_grad;
}

static anas_status resolve_params(struct inliner *in, struct anas_network_op *op) {
  if (!op->op.def->params) return ANAS_OK;
  op->num_params = op->op.def->params(&op->op, op->param);
  if (op->num_params < 0 || op->num_params > ANAS_MAX_PARAMS)
    return anas_fail(ANAS_INTERNAL, "'anas.%s' reports %d parameters", op->op.def->name, op->num_params);
  if (op->num_params && !op->node->name)
    return anas_fail(ANAS_INVALID, "'anas.%s' has parameters and needs a name; add anas.name = \"...\"",
                     op->op.def->name);
  for (int i = 0; i < in->network->num_ops - 1 && op->num_params; i++)
    if (in->network->ops[i].num_params && !strcmp(in->network->ops[i].path, op->path))
      return anas_fail(ANAS_UNSUPPORTED,
                       "'anas.%s' would be the second op with the parameters '%s'; names must be unique in their "
                       "function, and a function with parameters can be called only once (call a copy of it)",
                       op->op.def->name, op->path);
  for (int i = 0; i < op->num_params; i++)
    if (op->param[i].role == ANAS_TRAINABLE) op->need_grad = true;
  if (op->num_params && !op->op.def->backward)
    return anas_fail(ANAS_UNSUPPORTED, "'anas.%s' cannot be trained: it has parameters but no gradient",
                     op->op.def->name);
  return ANAS_OK;
}

static anas_status append_op(struct inliner *in, const struct anas_function *function, const struct anas_node *node,
                             const int *operands) {
  struct anas_network *network = in->network;
  if (node->def->level != ANAS_ARCHITECTURE)
    return anas_fail(ANAS_INVALID, "'anas.%s' is a training op; anas-train-step takes an architecture",
                     node->def->name);
  network->ops = anas_grow(network->ops, (size_t)network->num_ops, &network->capacity_ops, sizeof *network->ops);
  struct anas_network_op *op = &network->ops[network->num_ops++];
  *op = (struct anas_network_op){.node = node};
  struct anas_shape types[ANAS_MAX_OPERANDS], results[ANAS_MAX_RESULTS] = {0};
  for (int i = 0; i < node->num_operands; i++) {
    op->operand[i] = operands[i];
    types[i] = *anas_network_type(network, operands[i]);
    if (value_needs_grad(network, operands[i])) op->need_grad = node->def->backward != NULL;
  }
  ANAS_RETURN_IF_ERROR(anas_node_resolve(node, types, &op->op));
  ANAS_RETURN_IF_ERROR(op->op.def->shape(&op->op, results));
  ANAS_RETURN_IF_ERROR(anas_shape_check(&results[0], false));
  op->result = results[0];
  const char *name = node->name ? node->name : node->def->name;
  op->path = anas_arena_format(&network->arena, "%s/%s", function->name, name);
  if (!op->op.def->forward)
    return anas_fail(ANAS_UNSUPPORTED, "'anas.%s' cannot be trained: it has no training form", op->op.def->name);
  return resolve_params(in, op);
}

static anas_status inline_function(struct inliner *in, int index, const int *args, int *out_results) {
  const struct anas_function *f = &in->model->functions[index];
  if (++in->depth > in->model->num_functions)
    return anas_fail(ANAS_INVALID, "function '@%s' calls itself; networks are not recursive", f->name);
  int *values = anas_calloc((size_t)f->num_nodes * ANAS_MAX_RESULTS, sizeof *values);
  anas_status status = ANAS_OK;
  for (int n = 0; n < f->num_nodes && status == ANAS_OK; n++) {
    const struct anas_node *node = &f->nodes[n];
    int operands[ANAS_MAX_OPERANDS];
    for (int i = 0; i < node->num_operands; i++) {
      struct anas_ref ref = node->operand[i];
      operands[i] = ref.node == ANAS_ARGUMENT ? args[ref.index] : values[ref.node * ANAS_MAX_RESULTS + ref.index];
    }
    if (node->def) {
      status = append_op(in, f, node, operands);
      values[n * ANAS_MAX_RESULTS] = in->network->num_ops;
      if (status != ANAS_OK) status = anas_node_error(node, status);
    } else {
      status = inline_function(in, node->callee, operands, &values[n * ANAS_MAX_RESULTS]);
    }
  }
  for (int r = 0; r < f->num_results && status == ANAS_OK; r++) {
    struct anas_ref ref = f->result[r];
    out_results[r] = ref.node == ANAS_ARGUMENT ? args[ref.index] : values[ref.node * ANAS_MAX_RESULTS + ref.index];
  }
  free(values);
  in->depth--;
  return status;
}

// Emits the failure at the function.
static anas_status function_error(const struct anas_function *f, anas_status status) {
  if (f->location.ptr) anas_emit_error(f->location, "%s", anas_error_message());
  return status;
}

static anas_status check_entry(const struct anas_function *f, int64_t batch, struct anas_shape *out_image) {
  char text[128];
  if (f->num_args != 1 || f->num_results != 1)
    return anas_fail(ANAS_INVALID,
                     "'@%s' must take one tensor of images and return one of class scores to be trained; it takes %d "
                     "and returns %d",
                     f->name, f->num_args, f->num_results);
  struct anas_shape image = f->arg[0];
  if (image.element != ANAS_F32 || image.rank < 2 || image.rank > 4)
    return anas_fail(ANAS_INVALID,
                     "the argument of '@%s' must be f32 images (batch, height, width, channels), not tensor<%s>",
                     f->name, anas_shape_text(&image, text));
  if (image.dim[0] != ANAS_DYNAMIC && image.dim[0] != batch)
    return anas_fail(ANAS_INVALID,
                     "the argument of '@%s' is tensor<%s>, which fixes another batch than %lld; write '?'", f->name,
                     anas_shape_text(&image, text), (long long)batch);
  image.dim[0] = batch;
  ANAS_RETURN_IF_ERROR(anas_shape_check(&image, false));
  *out_image = image;
  return ANAS_OK;
}

static anas_status check_result(const struct anas_function *f, const struct anas_network *network, int64_t batch) {
  char text[128];
  const struct anas_shape *logits = anas_network_type(network, network->result);
  if (logits->element != ANAS_F32 || logits->rank != 2 || logits->dim[0] != batch)
    return anas_fail(
        ANAS_INVALID,
        "'@%s' must return (batch, classes) to be trained, but with a batch of %lld it returns tensor<%s>; "
        "end the network with a mean or flatten and a dense",
        f->name, (long long)batch, anas_shape_text(logits, text));
  return ANAS_OK;
}

anas_status anas_network_init(const struct anas_model *model, int64_t batch, struct anas_network *out) {
  struct anas_network network = {0};
  int entry = anas_model_entry(model), image = 0;
  if (entry < 0) return anas_fail(ANAS_INVALID, "the module has no public function to train");
  if (batch < 1) return anas_fail(ANAS_INVALID, "the batch must be positive, got %lld", (long long)batch);
  const struct anas_function *f = &model->functions[entry];
  if (check_entry(f, batch, &network.image) != ANAS_OK) return function_error(f, ANAS_INVALID);
  struct inliner in = {.model = model, .network = &network};
  anas_status status = inline_function(&in, entry, &image, &network.result);
  if (status == ANAS_OK) {
    status = check_result(f, &network, batch);
    if (status != ANAS_OK) status = function_error(f, status);
  }
  if (status != ANAS_OK) {
    anas_network_deinit(&network);
    return status;
  }
  network.classes = anas_network_type(&network, network.result)->dim[1];
  *out = network;
  return ANAS_OK;
}

void anas_network_deinit(struct anas_network *network) {
  free(network->ops);
  anas_arena_deinit(&network->arena);
  *network = (struct anas_network){0};
}
