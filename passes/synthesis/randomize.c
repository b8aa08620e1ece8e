// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Randomisation of attributes (spec 3.8): where the properties leave a choice, take a random value of the FULL sets.
// Strides, dilation, larger windows and groups enter here; depthwise convolutions when mixing is not required.
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>

struct variation {
  const struct anas_target *targets;
  int num_targets;
  const struct anas_value_source *source;
  struct anas_rng *rng;
  struct anas_node *chain;
  int num_nodes;
  struct anas_prefix *before; // state in front of every node: [node][target], one more at the end
};

// Does the chain satisfy its targets from node n on? Updates the states behind n.
static bool satisfied_from(struct variation *v, int n) {
  for (; n < v->num_nodes; n++)
    if (!anas_prefix_append(v->targets, v->num_targets, v->before + n * v->num_targets, &v->chain[n],
                            v->before + (n + 1) * v->num_targets))
      return false;
  return anas_prefix_distance(v->targets, v->num_targets, v->before + n * v->num_targets) == 0;
}

// Sizes are what the chain was built for. A value that switches its attribute off stays half of the time; a window that
// spans everything always does, it would not be found again.
static bool is_pinned(struct variation *v, const struct anas_attr_def *def, const struct anas_attr *value) {
  if (anas_attr_is_size(def) || def->num_full < 2) return true;
  struct anas_attr current = value->present ? *value : def->fallback;
  if (def->kind == ANAS_ATTR_INTS && current.value.ints.value[0] == 0) return true;
  bool neutral = def->num_test > 0 && anas_attr_same(def, &current, &def->test_set[0]);
  return neutral && anas_rng_double(v->rng) < 0.5;
}

static void vary_attribute(struct variation *v, int n, int a) {
  const struct anas_attr_def *def = &v->chain[n].def->attrs[a];
  if (is_pinned(v, def, &v->chain[n].attr[a])) return;
  struct anas_attr values[ANAS_MAX_VALUES], old = v->chain[n].attr[a];
  uint32_t order[ANAS_MAX_VALUES];
  int count = anas_attr_values(v->source, def, ANAS_VALUES_FULL, values);
  for (int i = 0; i < count; i++)
    order[i] = (uint32_t)i;
  anas_rng_shuffle(v->rng, order, (uint64_t)count);
  for (int i = 0; i < count; i++) {
    v->chain[n].attr[a] = values[order[i]];
    if (satisfied_from(v, n)) return;
  }
  v->chain[n].attr[a] = old;
  satisfied_from(v, n);
}

void anas_chain_randomize(const struct anas_target *targets, int num_targets, const struct anas_value_source *source,
                          struct anas_rng *rng, struct anas_node *chain, int num_nodes) {
  struct variation v = {.targets = targets,
                        .num_targets = num_targets,
                        .source = source,
                        .rng = rng,
                        .chain = chain,
                        .num_nodes = num_nodes};
  v.before = anas_calloc((size_t)(num_nodes + 1) * (size_t)num_targets, sizeof *v.before);
  for (int t = 0; t < num_targets; t++)
    anas_prefix_start(&targets[t], &v.before[t]);
  satisfied_from(&v, 0);
  for (int n = 0; n < num_nodes; n++) {
    uint32_t order[ANAS_MAX_ATTRS];
    int count = chain[n].def->num_attrs;
    for (int a = 0; a < count; a++)
      order[a] = (uint32_t)a;
    anas_rng_shuffle(rng, order, (uint64_t)count);
    for (int a = 0; a < count; a++)
      vary_attribute(&v, n, (int)order[a]);
  }
  for (int n = 0; n < num_nodes; n++)
    chain[n].result[0] = v.before[(n + 1) * num_targets].shape;
  free(v.before);
}
