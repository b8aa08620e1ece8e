// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weight inheritance: by path and shape, and residual branches that start as nothing.
#include "tools/anas-search/inherit.h"

#include "passes/train/network.h"
#include "runtime/support/memory.h"
#include "runtime/weights.h"

#include <stdlib.h>
#include <string.h>

struct heir {
  const struct anas_network *network;
  const struct anas_program_image *image;
  char *params;
  const bool *loaded; // per tensor of the image
};

static int find_tensor(const struct heir *heir, const char *path, const char *param) {
  size_t size = strlen(path);
  for (int t = 0; t < heir->image->num_tensors; t++) {
    const char *name = heir->image->tensors[t].name;
    if (!strncmp(name, path, size) && name[size] == '/' && !strcmp(name + size + 1, param)) return t;
  }
  return -1;
}

// Whether nothing of an op's parameters came from the parent.
static bool is_new(const struct heir *heir, const struct anas_network_op *op) {
  for (int p = 0; p < op->num_params; p++) {
    int tensor = find_tensor(heir, op->path, op->param[p].name);
    if (tensor >= 0 && heir->loaded[tensor]) return false;
  }
  return true;
}

static bool zero(const struct heir *heir, const struct anas_network_op *op, const char *param) {
  int tensor = find_tensor(heir, op->path, param);
  if (tensor < 0) return false;
  memset(heir->params + heir->image->tensors[tensor].offset, 0, heir->image->tensors[tensor].count * sizeof(float));
  return true;
}

// Makes the result of a normalisation or of a linear op zero for every operand.
static bool silence(const struct heir *heir, const struct anas_network_op *op) {
  static const char *const factors[][2] = {{"scale", "offset"}, {"out/kernel", "out/bias"}, {"kernel", "bias"}};
  for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
    if (zero(heir, op, factors[i][0])) {
      zero(heir, op, factors[i][1]); // it may have none
      return true;
    }
  return false;
}

// reached[v]: value v depends on value 'from', or is it.
static void mark_dependents(const struct anas_network *network, int from, bool *reached) {
  memset(reached, 0, ((size_t)network->num_ops + 1) * sizeof *reached);
  reached[from] = true;
  for (int o = 0; o < network->num_ops; o++)
    for (int i = 0; i < network->ops[o].op.num_operands; i++)
      if (reached[network->ops[o].operand[i]]) reached[o + 1] = true;
}

// Ops between value 'from' and value 'to' (included), which depends on it: all new, and at least one has parameters.
static bool branch_is_new(const struct heir *heir, int from, int to) {
  const struct anas_network *network = heir->network;
  size_t count = (size_t)network->num_ops + 1;
  bool *after = anas_calloc(count, sizeof *after), *needed = anas_calloc(count, sizeof *needed);
  mark_dependents(network, from, after);
  needed[to] = true;
  bool fresh = after[to] && from != to;
  int with_params = 0;
  for (int v = to; v > from && fresh; v--) {
    if (!needed[v] || !after[v]) continue;
    const struct anas_network_op *op = &network->ops[v - 1];
    for (int i = 0; i < op->op.num_operands; i++)
      needed[op->operand[i]] = true;
    with_params += op->num_params > 0;
    fresh = is_new(heir, op);
  }
  free(after);
  free(needed);
  return fresh && with_params > 0;
}

// The op that decides whether a branch is zero: behind it come only ops that leave zeros as they are. Null: none.
static const struct anas_network_op *last_factor(const struct anas_network *network, int value) {
  static const char *const keep_zero[] = {"relu", "dropout", "stoch_depth", "reshape"};
  while (value > 0) {
    const struct anas_network_op *op = &network->ops[value - 1];
    if (op->num_params > 0) return op;
    bool keeps = false;
    for (size_t i = 0; i < sizeof keep_zero / sizeof *keep_zero; i++)
      keeps |= !strcmp(op->op.def->name, keep_zero[i]);
    if (!keeps) return NULL;
    value = op->operand[0];
  }
  return NULL;
}

static int start_as_identity(const struct heir *heir) {
  const struct anas_network *network = heir->network;
  int identities = 0;
  for (int o = 0; o < network->num_ops; o++) {
    const struct anas_network_op *add = &network->ops[o];
    if (strcmp(add->op.def->name, "add") != 0 || add->op.num_operands != 2) continue;
    for (int side = 0; side < 2; side++) {
      int skip = add->operand[side], branch = add->operand[1 - side];
      const struct anas_network_op *last = last_factor(network, branch);
      if (last && branch_is_new(heir, skip, branch) && silence(heir, last)) {
        identities++;
        break;
      }
    }
  }
  return identities;
}

anas_status inherit_weights(const char *path, const struct anas_model *model, const struct anas_program_image *image,
                            void *params, bool identity, struct inherit_report *out) {
  bool *loaded = anas_calloc((size_t)image->num_tensors + 1, sizeof *loaded);
  struct inherit_report report = {0};
  anas_status status = anas_weights_load_matching(path, image, params, loaded);
  for (int t = 0; t < image->num_tensors && status == ANAS_OK; t++) {
    if (image->tensors[t].role == ANAS_TENSOR_OPTIMIZER) continue;
    report.all_tensors++;
    report.all_scalars += (int64_t)image->tensors[t].count;
    report.tensors += loaded[t];
    if (loaded[t]) report.scalars += (int64_t)image->tensors[t].count;
  }
  if (status == ANAS_OK && identity) {
    struct anas_network network;
    status = anas_network_init(model, image->batch, &network);
    if (status == ANAS_OK) {
      struct heir heir = {&network, image, params, loaded};
      report.identities = start_as_identity(&heir);
      anas_network_deinit(&network);
    }
  }
  free(loaded);
  if (status == ANAS_OK) *out = report;
  return status;
}
