// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The canonical hash: two models with the same hash are the same network written differently.
//
// Every value has a digest of the expression that computes it (Merkle): calls are expanded, neutral ops are
// transparent. Digests alone cannot tell two layers with the same attributes on the same operand from one layer used
// twice, so the hash also covers, for every op that owns parameters, the multiset of values computed with them. Layers
// that are alike even then, a and b in (a + b) * (a + b) or (a + a) * (b + b), are told apart by labels: by what is
// done with their values, and where that leaves a choice, so that the hash is the least.
#include "dialect/attributes.h"
#include "dialect/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct owner_use {
  int owner; // number of the parameter-owning node, any numbering
  XXH128_canonical_t value;
};

// An op as it was met when calls were expanded. Digests of a context add up, in any order, over what reads the op.
struct instance {
  int node, num_operands;
  bool commutative;
  int operand[ANAS_MAX_OPERANDS]; // instance * ANAS_MAX_RESULTS + result; -1: argument
  XXH128_canonical_t value;
  uint64_t context[2];
};

struct value {
  XXH128_canonical_t digest;
  int producer; // as in instance.operand, while tracing
};

struct hasher {
  const struct anas_model *model;
  bool **live;
  int *first_node; // of each function in a numbering of all nodes
  int num_nodes;
  char **text; // of each node: op and attributes; null until needed
  int *label;  // of each node: 0, or its number among layers that are alike
  struct owner_use *uses;
  int num_uses;
  size_t capacity_uses;
  int depth;
  bool tracing;
  struct instance *instances;
  int num_instances;
  size_t capacity_instances;
};

struct owner {
  int node; // as in owner_use
  XXH128_canonical_t value, context;
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

static void hash_function(struct hasher *hasher, int index, const struct value *args, struct value *out);

static int compare_ints(const void *a, const void *b) {
  return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

// The same computation written twice is one instance; with parameters, only if they are the same.
static int find_instance(const struct hasher *hasher, const struct instance *wanted, bool owner) {
  for (int i = 0; i < hasher->num_instances; i++) {
    const struct instance *instance = &hasher->instances[i];
    if (!compare_digests(&instance->value, &wanted->value) && instance->num_operands == wanted->num_operands &&
        (!owner || instance->node == wanted->node) &&
        !memcmp(instance->operand, wanted->operand, sizeof wanted->operand))
      return i;
  }
  return -1;
}

static void trace(struct hasher *hasher, int id, bool commutative, bool owner, const struct value *operands,
                  int num_operands, struct value *results, int num_results) {
  struct instance wanted = {
      .node = id, .num_operands = num_operands, .commutative = commutative, .value = results[0].digest};
  for (int q = 0; q < num_operands; q++)
    wanted.operand[q] = operands[q].producer;
  if (commutative) qsort(wanted.operand, (size_t)num_operands, sizeof wanted.operand[0], compare_ints);
  int index = find_instance(hasher, &wanted, owner);
  if (index < 0) {
    hasher->instances = anas_grow(hasher->instances, (size_t)hasher->num_instances, &hasher->capacity_instances,
                                  sizeof *hasher->instances);
    index = hasher->num_instances++;
    hasher->instances[index] = wanted;
  }
  for (int r = 0; r < num_results; r++)
    results[r].producer = index * ANAS_MAX_RESULTS + r;
}

static void hash_op(struct hasher *hasher, int function_index, int index, const struct value *operand_values,
                    struct value *out) {
  const struct anas_function *function = &hasher->model->functions[function_index];
  const struct anas_node *node = &function->nodes[index];
  int id = hasher->first_node[function_index] + index;
  struct anas_strbuf bytes = {0};
  bool commutative = node->def->commutative && has_defaults(node);
  XXH128_canonical_t operands[ANAS_MAX_OPERANDS];
  for (int q = 0; q < node->num_operands; q++)
    operands[q] = operand_values[q].digest;
  if (commutative) qsort(operands, (size_t)node->num_operands, sizeof *operands, compare_digests);
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
    out[r] = (struct value){digest(&bytes), -1};
    bytes.size = common;
  }
  if (hasher->tracing)
    trace(hasher, id, commutative, node->def->params != NULL, operand_values, node->num_operands, out,
          node->num_results);
  if (node->def->params) {
    hasher->uses = anas_grow(hasher->uses, (size_t)hasher->num_uses, &hasher->capacity_uses, sizeof *hasher->uses);
    hasher->uses[hasher->num_uses++] = (struct owner_use){id, out[0].digest};
  }
  anas_strbuf_deinit(&bytes);
}

static struct value value_of(const struct value (*values)[ANAS_MAX_RESULTS], const struct value *args,
                             struct anas_ref ref) {
  return ref.node == ANAS_ARGUMENT ? args[ref.index] : values[ref.node][ref.index];
}

static void hash_function(struct hasher *hasher, int index, const struct value *args, struct value *out) {
  const struct anas_function *function = &hasher->model->functions[index];
  memset(out, 0, (size_t)function->num_results * sizeof *out);
  if (hasher->depth > ANAS_MAX_CALL_DEPTH) return; // recursion, which verification rejects
  hasher->depth++;
  struct value(*values)[ANAS_MAX_RESULTS] = anas_calloc((size_t)function->num_nodes, sizeof *values);
  for (int n = 0; n < function->num_nodes; n++) {
    if (!hasher->live[index][n]) continue;
    const struct anas_node *node = &function->nodes[n];
    struct value operands[ANAS_MAX_OPERANDS];
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

// Adds to the context of what made a value; 'how' says who reads it and in what place.
static void add_context(struct hasher *hasher, int producer, int place, const void *how, size_t size) {
  if (producer < 0) return;
  struct anas_strbuf bytes = {0};
  anas_strbuf_addi(&bytes, producer % ANAS_MAX_RESULTS);
  anas_strbuf_adds(&bytes, ":");
  anas_strbuf_addi(&bytes, place);
  anas_strbuf_adds(&bytes, ":");
  anas_strbuf_add(&bytes, how, size);
  XXH128_hash_t hash = XXH3_128bits(anas_strbuf_text(&bytes), bytes.size);
  struct instance *instance = &hasher->instances[producer / ANAS_MAX_RESULTS];
  instance->context[0] += hash.low64;
  instance->context[1] += hash.high64;
  anas_strbuf_deinit(&bytes);
}

// What is done with an instance's values and with which others; complete once all readers have been passed.
static XXH128_canonical_t context_of(const struct instance *instance) {
  struct anas_strbuf bytes = {0};
  anas_strbuf_add(&bytes, (const char *)&instance->value, sizeof instance->value);
  anas_strbuf_addf(&bytes, "%016llx%016llx", (unsigned long long)instance->context[0],
                   (unsigned long long)instance->context[1]);
  XXH128_canonical_t out = digest(&bytes);
  anas_strbuf_deinit(&bytes);
  return out;
}

static void hash_root(struct hasher *hasher, int index, struct anas_strbuf *bytes) {
  const struct anas_function *function = &hasher->model->functions[index];
  struct value args[ANAS_MAX_ARGS], results[ANAS_MAX_RESULTS];
  XXH128_canonical_t digests[ANAS_MAX_ARGS + ANAS_MAX_RESULTS];
  for (int a = 0; a < function->num_args; a++) {
    struct anas_strbuf arg = {0};
    char type[128];
    anas_strbuf_addf(&arg, "arg %d %s", a, anas_shape_text(&function->arg[a], type));
    args[a] = (struct value){digest(&arg), -1};
    digests[a] = args[a].digest;
    anas_strbuf_deinit(&arg);
  }
  hash_function(hasher, index, args, results);
  anas_strbuf_addf(bytes, "root ");
  add_digests(bytes, digests, function->num_args);
  for (int r = 0; r < function->num_results; r++)
    digests[r] = results[r].digest;
  add_digests(bytes, digests, function->num_results);
  for (int r = 0; hasher->tracing && r < function->num_results; r++)
    add_context(hasher, results[r].producer, r, "result", 6);
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
    owners[count++] = (struct owner){.node = hasher->uses[first].owner, .value = digest(&values)};
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

static int compare_contexts(const void *a, const void *b) {
  const struct owner *x = a, *y = b;
  int order = compare_digests(&x->value, &y->value);
  return order ? order : compare_digests(&x->context, &y->context);
}

// Fills in the contexts of the owners: the sum over the places where each was met.
static void find_contexts(struct hasher *hasher, struct owner *owners, int count) {
  uint64_t(*sums)[2] = anas_calloc((size_t)hasher->num_nodes + 1, sizeof *sums);
  hasher->tracing = true;
  hasher->num_instances = 0;
  evaluate(hasher, NULL, NULL);
  hasher->tracing = false;
  for (int i = hasher->num_instances - 1; i >= 0; i--) { // readers come after what they read
    const struct instance *instance = &hasher->instances[i];
    XXH128_canonical_t context = context_of(instance);
    XXH128_hash_t hash = XXH128_hashFromCanonical(&context);
    sums[instance->node][0] += hash.low64;
    sums[instance->node][1] += hash.high64;
    for (int q = 0; q < instance->num_operands; q++)
      add_context(hasher, instance->operand[q], instance->commutative ? -1 : q, &context, sizeof context);
  }
  for (int i = 0; i < count; i++)
    XXH128_canonicalFromHash(&owners[i].context, (XXH128_hash_t){sums[owners[i].node][0], sums[owners[i].node][1]});
  free(sums);
}

static bool has_alike(const struct owner *owners, int count) {
  for (int i = 0; i + 1 < count; i++)
    if (!compare_digests(&owners[i].value, &owners[i + 1].value)) return true;
  return false;
}

// Labels layers with equal digests by their contexts, where these differ. False if no layers are alike.
static bool label_by_context(struct hasher *hasher, struct owner *owners, int count) {
  if (!has_alike(owners, count)) return false;
  find_contexts(hasher, owners, count);
  qsort(owners, (size_t)count, sizeof *owners, compare_contexts);
  for (int i = 0, rank = 0; i < count; i++) {
    bool after = i > 0 && !compare_digests(&owners[i - 1].value, &owners[i].value);
    bool before = i + 1 < count && !compare_digests(&owners[i].value, &owners[i + 1].value);
    rank = after ? rank + 1 : 1;
    bool unique = (!after || compare_digests(&owners[i - 1].context, &owners[i].context)) &&
                  (!before || compare_digests(&owners[i].context, &owners[i + 1].context));
    if ((after || before) && unique) hasher->label[owners[i].node] = rank;
  }
  return true;
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
    hasher.live[f] = anas_live_nodes(&model->functions[f]);
    hasher.first_node[f] = nodes;
    nodes += model->functions[f].num_nodes;
  }
  hasher.num_nodes = nodes;
  hasher.text = anas_calloc((size_t)nodes, sizeof *hasher.text);
  hasher.label = anas_calloc((size_t)nodes, sizeof *hasher.label);
  int evaluations = 0;
  XXH128_canonical_t hash;
  struct owner *owners;
  int count;
  hash = evaluate(&hasher, &owners, &count);
  bool more = label_by_context(&hasher, owners, count);
  free(owners);
  for (int number = ANAS_MAX_OPS + 1; more; number++) { // beyond the labels by context
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
  free(hasher.instances);
  anas_model_destroy(typed);
}
