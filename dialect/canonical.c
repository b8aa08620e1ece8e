// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dead code, and the canonical hash: two models with the same hash are the same network written differently.
#include "dialect/attributes.h"
#include "dialect/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

// live[n]: a result of function depends on node n. malloc'ed.
static bool *live_nodes(const struct anas_function *function) {
  bool *live = anas_calloc((size_t)function->num_nodes, sizeof *live);
  for (int r = 0; r < function->num_results; r++)
    if (function->result[r].node != ANAS_ARGUMENT) live[function->result[r].node] = true;
  for (int n = function->num_nodes - 1; n >= 0; n--)
    for (int i = 0; live[n] && i < function->nodes[n].num_operands; i++)
      if (function->nodes[n].operand[i].node != ANAS_ARGUMENT) live[function->nodes[n].operand[i].node] = true;
  return live;
}

// ---- dead code

static void renumber(struct anas_ref *ref, const int *new_index) {
  if (ref->node != ANAS_ARGUMENT) ref->node = new_index[ref->node];
}

static void remove_dead_nodes(struct anas_function *function) {
  bool *live = live_nodes(function);
  int *new_index = anas_calloc((size_t)function->num_nodes, sizeof *new_index);
  int kept = 0;
  for (int n = 0; n < function->num_nodes; n++) {
    if (!live[n]) continue;
    struct anas_node *node = &function->nodes[kept];
    if (kept != n) *node = function->nodes[n];
    for (int i = 0; i < node->num_operands; i++)
      renumber(&node->operand[i], new_index);
    new_index[n] = kept++;
  }
  function->num_nodes = kept;
  for (int r = 0; r < function->num_results; r++)
    renumber(&function->result[r], new_index);
  free(new_index);
  free(live);
}

// Everything the public functions call, directly or not. malloc'ed.
static bool *reachable_functions(const struct anas_model *model) {
  bool *reachable = anas_calloc((size_t)model->num_functions, sizeof *reachable);
  int *pending = anas_calloc((size_t)model->num_functions, sizeof *pending), count = 0;
  for (int f = 0; f < model->num_functions; f++)
    if (!model->functions[f].is_private) reachable[pending[count++] = f] = true;
  while (count) {
    const struct anas_function *function = &model->functions[pending[--count]];
    for (int n = 0; n < function->num_nodes; n++) {
      int callee = function->nodes[n].callee;
      if (!function->nodes[n].def && !reachable[callee]) reachable[pending[count++] = callee] = true;
    }
  }
  free(pending);
  return reachable;
}

static void remove_dead_functions(struct anas_model *model) {
  bool *reachable = reachable_functions(model);
  int *new_index = anas_calloc((size_t)model->num_functions, sizeof *new_index);
  int kept = 0;
  for (int f = 0; f < model->num_functions; f++) {
    struct anas_function *function = &model->functions[f];
    if (!reachable[f]) {
      free(function->nodes);
      free(function->extras);
      continue;
    }
    if (kept != f) model->functions[kept] = *function;
    new_index[f] = kept++;
  }
  // The tail holds copies of pointers that now belong to the functions in front.
  memset(model->functions + kept, 0, (size_t)(model->num_functions - kept) * sizeof *model->functions);
  model->num_functions = kept;
  for (int f = 0; f < kept; f++)
    for (int n = 0; n < model->functions[f].num_nodes; n++)
      if (!model->functions[f].nodes[n].def)
        model->functions[f].nodes[n].callee = new_index[model->functions[f].nodes[n].callee];
  free(new_index);
  free(reachable);
}

void anas_model_remove_dead(struct anas_model *model) {
  for (int f = 0; f < model->num_functions; f++)
    remove_dead_nodes(&model->functions[f]);
  // A module without a public function is a collection of blocks: every one of them is a root.
  if (anas_model_entry(model) >= 0) remove_dead_functions(model);
}

// ---- hash
//
// Every value has a digest of the expression that computes it (Merkle): calls are expanded, neutral ops are
// transparent. Digests alone cannot tell two layers with the same attributes on the same operand from one layer used
// twice, so the hash also covers, for every op that owns parameters, the multiset of values computed with them. Layers
// that are alike even then, a and b in (a + b) * (a + b) or (a + a) * (b + b), are told apart by labels, given so that
// the hash is the least.

struct owner_use {
  int owner; // number of the parameter-owning node, any numbering
  XXH128_canonical_t value;
};

struct hasher {
  const struct anas_model *model;
  bool **live;
  int *first_node; // of each function in a numbering of all nodes
  char **text;     // of each node: op and attributes; null until needed
  int *label;      // of each node: 0, or its number among layers that are alike
  struct owner_use *uses;
  int num_uses;
  size_t capacity_uses;
  int depth;
};

struct owner {
  int node; // as in owner_use
  XXH128_canonical_t value;
};

static XXH128_canonical_t digest(const struct anas_strbuf *bytes) {
  XXH128_canonical_t out;
  XXH128_canonicalFromHash(&out, XXH3_128bits(anas_strbuf_text(bytes), bytes->size));
  return out;
}

static int compare_digests(const void *a, const void *b) {
  return memcmp(a, b, sizeof(XXH128_canonical_t));
}

static int compare_uses(const void *a, const void *b) {
  const struct owner_use *x = a, *y = b;
  if (x->owner != y->owner) return x->owner < y->owner ? -1 : 1;
  return compare_digests(&x->value, &y->value);
}

static void add_digests(struct anas_strbuf *bytes, const XXH128_canonical_t *digests, int count) {
  anas_strbuf_addi(bytes, count);
  anas_strbuf_adds(bytes, ":");
  anas_strbuf_add(bytes, (const char *)digests, (size_t)count * sizeof *digests);
}

// Attribute values count as resolved: 64 and twice the 32 channels of the operand make the same network. Those that
// have their default value are left out, so that an op may gain an optional attribute without changing every hash.
static void add_attributes(struct anas_strbuf *bytes, const struct anas_function *function,
                           const struct anas_node *node) {
  struct anas_shape operands[ANAS_MAX_OPERANDS];
  struct anas_op op, defaults;
  for (int i = 0; i < node->num_operands; i++)
    operands[i] = *anas_value_type(function, node->operand[i]);
  bool resolved = anas_node_resolve(node, operands, &op) == ANAS_OK, have_defaults = false;
  for (int i = 0; i < node->def->num_attrs && resolved && !have_defaults; i++) {
    if (!node->attr[i].present || node->def->attrs[i].required) continue;
    struct anas_node bare = *node; // an optional attribute was written: is it the default?
    for (int k = 0; k < node->def->num_attrs; k++)
      if (!node->def->attrs[k].required) bare.attr[k].present = false;
    resolved = anas_node_resolve(&bare, operands, &defaults) == ANAS_OK;
    have_defaults = true;
  }
  for (int i = 0; i < node->def->num_attrs; i++) {
    const struct anas_attr_def *def = &node->def->attrs[i];
    if (!node->attr[i].present && !def->required) continue;
    const struct anas_attr *attr = resolved ? &op.attr[i] : &node->attr[i];
    const struct anas_attr *fallback = resolved && have_defaults ? &defaults.attr[i] : &def->fallback;
    if (!attr->present || (!def->required && anas_attr_equal(def, attr, fallback))) continue;
    anas_strbuf_adds(bytes, def->name);
    anas_strbuf_adds(bytes, "=");
    anas_attr_print(def, attr, 0, bytes);
    anas_strbuf_adds(bytes, ";");
  }
}

static char *op_text(const struct anas_function *function, const struct anas_node *node) {
  struct anas_strbuf bytes = {0};
  anas_strbuf_adds(&bytes, "op ");
  anas_strbuf_adds(&bytes, node->def->name);
  anas_strbuf_adds(&bytes, "{");
  add_attributes(&bytes, function, node);
  anas_strbuf_adds(&bytes, "}");
  return anas_strbuf_detach(&bytes);
}

static bool is_transparent(const struct anas_node *node) {
  return node->def && node->def->linearity == ANAS_NEUTRAL && node->num_operands == 1 && !node->def->num_attrs &&
         !node->def->deps && !node->def->params;
}

static bool has_defaults(const struct anas_node *node) {
  for (int i = 0; i < node->def->num_attrs; i++) {
    const struct anas_attr_def *def = &node->def->attrs[i];
    if (!def->required && node->attr[i].present && !anas_attr_equal(def, &node->attr[i], &def->fallback)) return false;
  }
  return true;
}

static void hash_function(struct hasher *hasher, int index, const XXH128_canonical_t *args, XXH128_canonical_t *out);

static void hash_op(struct hasher *hasher, int function_index, int index, XXH128_canonical_t *operands,
                    XXH128_canonical_t *out) {
  const struct anas_function *function = &hasher->model->functions[function_index];
  const struct anas_node *node = &function->nodes[index];
  int id = hasher->first_node[function_index] + index;
  struct anas_strbuf bytes = {0};
  if (node->def->commutative && has_defaults(node))
    qsort(operands, (size_t)node->num_operands, sizeof *operands, compare_digests);
  if (!hasher->text[id]) hasher->text[id] = op_text(function, node);
  anas_strbuf_adds(&bytes, hasher->text[id]);
  if (hasher->label[id]) {
    anas_strbuf_adds(&bytes, "@");
    anas_strbuf_addi(&bytes, hasher->label[id]);
  }
  add_digests(&bytes, operands, node->num_operands);
  size_t common = bytes.size;
  for (int r = 0; r < node->num_results; r++) {
    anas_strbuf_adds(&bytes, "#");
    anas_strbuf_addi(&bytes, r);
    out[r] = digest(&bytes);
    bytes.size = common;
  }
  if (node->def->params) {
    hasher->uses = anas_grow(hasher->uses, (size_t)hasher->num_uses, &hasher->capacity_uses, sizeof *hasher->uses);
    hasher->uses[hasher->num_uses++] = (struct owner_use){id, out[0]};
  }
  anas_strbuf_deinit(&bytes);
}

static XXH128_canonical_t value_of(const XXH128_canonical_t (*values)[ANAS_MAX_RESULTS], const XXH128_canonical_t *args,
                                   struct anas_ref ref) {
  return ref.node == ANAS_ARGUMENT ? args[ref.index] : values[ref.node][ref.index];
}

static void hash_function(struct hasher *hasher, int index, const XXH128_canonical_t *args, XXH128_canonical_t *out) {
  const struct anas_function *function = &hasher->model->functions[index];
  memset(out, 0, (size_t)function->num_results * sizeof *out);
  if (hasher->depth > ANAS_MAX_CALL_DEPTH) return; // recursion, which verification rejects
  hasher->depth++;
  XXH128_canonical_t(*values)[ANAS_MAX_RESULTS] = anas_calloc((size_t)function->num_nodes, sizeof *values);
  for (int n = 0; n < function->num_nodes; n++) {
    if (!hasher->live[index][n]) continue;
    const struct anas_node *node = &function->nodes[n];
    XXH128_canonical_t operands[ANAS_MAX_OPERANDS];
    for (int i = 0; i < node->num_operands; i++)
      operands[i] = value_of(values, args, node->operand[i]);
    if (is_transparent(node))
      values[n][0] = operands[0];
    else if (node->def)
      hash_op(hasher, index, n, operands, values[n]);
    else
      hash_function(hasher, node->callee, operands, values[n]);
  }
  for (int r = 0; r < function->num_results; r++)
    out[r] = value_of(values, args, function->result[r]);
  free(values);
  hasher->depth--;
}

static void hash_root(struct hasher *hasher, int index, struct anas_strbuf *bytes) {
  const struct anas_function *function = &hasher->model->functions[index];
  XXH128_canonical_t args[ANAS_MAX_ARGS], results[ANAS_MAX_RESULTS];
  for (int a = 0; a < function->num_args; a++) {
    struct anas_strbuf arg = {0};
    char type[128];
    anas_strbuf_addf(&arg, "arg %d %s", a, anas_shape_text(&function->arg[a], type));
    args[a] = digest(&arg);
    anas_strbuf_deinit(&arg);
  }
  hash_function(hasher, index, args, results);
  anas_strbuf_addf(bytes, "root ");
  add_digests(bytes, args, function->num_args);
  add_digests(bytes, results, function->num_results);
}

static int compare_owners(const void *a, const void *b) {
  const struct owner *x = a, *y = b;
  int order = compare_digests(&x->value, &y->value);
  return order ? order : (x->node > y->node) - (x->node < y->node);
}

// The layers, by the digests of what is computed with them. malloc'ed.
static struct owner *find_owners(struct hasher *hasher, int *out_count) {
  if (hasher->num_uses) qsort(hasher->uses, (size_t)hasher->num_uses, sizeof *hasher->uses, compare_uses);
  struct owner *owners = anas_calloc((size_t)hasher->num_uses, sizeof *owners);
  int count = 0;
  for (int first = 0, next; first < hasher->num_uses; first = next) {
    struct anas_strbuf values = {0};
    for (next = first; next < hasher->num_uses && hasher->uses[next].owner == hasher->uses[first].owner; next++)
      add_digests(&values, &hasher->uses[next].value, 1);
    owners[count++] = (struct owner){hasher->uses[first].owner, digest(&values)};
    anas_strbuf_deinit(&values);
  }
  qsort(owners, (size_t)count, sizeof *owners, compare_owners);
  *out_count = count;
  return owners;
}

// Hash of the whole with the labels there are.
static XXH128_canonical_t evaluate(struct hasher *hasher, struct owner **out_owners, int *out_count) {
  const struct anas_model *model = hasher->model;
  struct anas_strbuf bytes = {0};
  bool only_private = anas_model_entry(model) < 0;
  hasher->num_uses = 0;
  for (int f = 0; f < model->num_functions; f++)
    if (only_private || !model->functions[f].is_private) hash_root(hasher, f, &bytes);
  int count;
  struct owner *owners = find_owners(hasher, &count);
  anas_strbuf_addi(&bytes, count);
  anas_strbuf_adds(&bytes, ":");
  for (int i = 0; i < count; i++)
    anas_strbuf_add(&bytes, (const char *)&owners[i].value, sizeof owners[i].value);
  XXH128_canonical_t hash = digest(&bytes);
  anas_strbuf_deinit(&bytes);
  if (out_owners) {
    *out_owners = owners;
    *out_count = count;
  } else {
    free(owners);
  }
  return hash;
}

#define MAX_EVALUATIONS 2000 // of networks with hundreds of layers that are all alike

// Gives one layer of the first group of layers that are alike a label. False if all are distinct. If two choices make
// the same hash, they are the same up to names, so that it does not matter which is taken.
static bool label_one(struct hasher *hasher, const struct owner *owners, int count, int number, int *evaluations,
                      XXH128_canonical_t *hash) {
  int first = 0, size = 1, chosen = -1;
  while (first + 1 < count && compare_digests(&owners[first].value, &owners[first + 1].value))
    first++;
  while (first + size < count && !compare_digests(&owners[first].value, &owners[first + size].value))
    size++;
  if (size < 2) return false;
  for (int i = first; i < first + size && *evaluations < MAX_EVALUATIONS; i++) {
    hasher->label[owners[i].node] = number;
    XXH128_canonical_t candidate = evaluate(hasher, NULL, NULL);
    hasher->label[owners[i].node] = 0;
    ++*evaluations;
    if (chosen >= 0 && compare_digests(&candidate, hash) >= 0) continue;
    chosen = owners[i].node;
    *hash = candidate;
  }
  if (chosen >= 0) hasher->label[chosen] = number;
  return chosen >= 0;
}

static bool has_unknown_types(const struct anas_model *model) {
  for (int f = 0; f < model->num_functions; f++)
    for (int n = 0; n < model->functions[f].num_nodes; n++)
      if (!model->functions[f].nodes[n].result[0].rank) return true;
  return false;
}

void anas_model_hash(const struct anas_model *model, char out_hex[33]) {
  struct anas_model *typed = NULL;
  if (has_unknown_types(model)) {
    typed = anas_model_clone(model);
    // If inference fails, attributes that could not be resolved count as they are written.
    (void)anas_model_infer_shapes(typed);
    model = typed;
  }
  struct hasher hasher = {.model = model};
  hasher.live = anas_calloc((size_t)model->num_functions, sizeof *hasher.live);
  hasher.first_node = anas_calloc((size_t)model->num_functions, sizeof *hasher.first_node);
  int nodes = 0;
  for (int f = 0; f < model->num_functions; f++) {
    hasher.live[f] = live_nodes(&model->functions[f]);
    hasher.first_node[f] = nodes;
    nodes += model->functions[f].num_nodes;
  }
  hasher.text = anas_calloc((size_t)nodes, sizeof *hasher.text);
  hasher.label = anas_calloc((size_t)nodes, sizeof *hasher.label);
  int evaluations = 0;
  XXH128_canonical_t hash;
  for (int number = 1, more = 1; more; number++) {
    struct owner *owners;
    int count;
    hash = evaluate(&hasher, &owners, &count);
    more = label_one(&hasher, owners, count, number, &evaluations, &hash);
    free(owners);
  }
  for (size_t i = 0; i < sizeof hash.digest; i++)
    snprintf(out_hex + 2 * i, 3, "%02x", hash.digest[i]);
  for (int f = 0; f < model->num_functions; f++)
    free(hasher.live[f]);
  for (int n = 0; n < nodes; n++)
    free(hasher.text[n]);
  free(hasher.text);
  free(hasher.label);
  free(hasher.live);
  free(hasher.first_node);
  free(hasher.uses);
  anas_model_destroy(typed);
}
