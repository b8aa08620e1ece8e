// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Canonical hash on networks of the zoo and random descendants of them (part D 7): whatever changes only how a network
// is written keeps the hash, any changed attribute changes it, and the values are the same on every machine.
#include "dialect/attributes.h"
#include "dialect/zoo.h"
#include "passes/mutate/mutate.h"
#include "runtime/support/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct anas_model *zoo(const char *name) {
  struct anas_model *model;
  if (anas_zoo_build(name, 32, 32, 3, 10, &model)) fail_msg("%s", anas_error_message());
  return model;
}

// A descendant after some mutations.
static struct anas_model *descendant(const char *name, uint64_t seed, int steps) {
  struct anas_model *model = zoo(name), *child;
  struct anas_mutation_options options = anas_mutation_defaults();
  struct anas_rng rng = anas_rng_make(seed);
  options.residual_probability = 0.5;
  for (int i = 0; i < steps; i++) {
    struct anas_mutation_report report;
    assert_int_equal(anas_mutate(model, &options, &rng, &child, &report), ANAS_OK);
    anas_model_destroy(model);
    model = child;
  }
  return model;
}

// The values are part of the interface: studies store them. Changing them means changing the study format.
static void known_values(void **state) {
  (void)state;
  static const char *const known[][2] = {{"cnn", "a114c31d04f3a61ec85ca0873a1c61fa"},
                                         {"resnet18", "bd1358d1b1597bbfa2f8bb4adc3658c5"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct anas_model *model = zoo(known[i][0]);
    char hash[33];
    anas_model_hash(model, hash);
    assert_string_equal(hash, known[i][1]);
    anas_model_destroy(model);
  }
}

// ---- other ways to write a network

static void move(struct anas_ref *ref, const int *place) {
  if (ref->node != ANAS_ARGUMENT) ref->node = place[ref->node];
}

// Another topological order: repeatedly one of the nodes whose operands are there.
static void reorder(struct anas_function *f, struct anas_rng *rng) {
  struct anas_node *nodes = anas_calloc((size_t)f->num_nodes, sizeof *nodes);
  int *place = anas_calloc((size_t)f->num_nodes, sizeof *place);
  for (int n = 0; n < f->num_nodes; n++)
    place[n] = -1;
  for (int at = 0; at < f->num_nodes; at++) {
    int ready[512], count = 0;
    for (int n = 0; n < f->num_nodes && count < 512; n++) {
      bool is_ready = place[n] < 0;
      for (int q = 0; is_ready && q < f->nodes[n].num_operands; q++)
        is_ready = f->nodes[n].operand[q].node == ANAS_ARGUMENT || place[f->nodes[n].operand[q].node] >= 0;
      if (is_ready) ready[count++] = n;
    }
    int chosen = ready[anas_rng_below(rng, (uint64_t)count)];
    nodes[at] = f->nodes[chosen];
    place[chosen] = at;
  }
  for (int n = 0; n < f->num_nodes; n++)
    for (int q = 0; q < nodes[n].num_operands; q++)
      move(&nodes[n].operand[q], place);
  for (int r = 0; r < f->num_results; r++)
    move(&f->result[r], place);
  memcpy(f->nodes, nodes, (size_t)f->num_nodes * sizeof *nodes);
  free(nodes);
  free(place);
}

// An add with stochastic depth drops its first operand only: that one is no longer like the second.
static bool is_symmetric(const struct anas_node *node) {
  if (!node->def || !node->def->commutative || node->num_operands != 2) return false;
  for (int a = 0; a < node->def->num_attrs; a++)
    if (node->attr[a].present) return false;
  return true;
}

static void swap_operands(struct anas_function *f, struct anas_rng *rng) {
  for (int n = 0; n < f->num_nodes; n++) {
    struct anas_node *node = &f->nodes[n];
    if (!is_symmetric(node) || anas_rng_double(rng) < 0.5) continue;
    struct anas_ref first = node->operand[0];
    node->operand[0] = node->operand[1];
    node->operand[1] = first;
  }
}

// At the end of the function: identities on results, and ops nobody uses.
static void add_identities_and_dead_code(struct anas_model *model, struct anas_function *f, struct anas_rng *rng) {
  static const char *const ops[] = {"identity", "relu", "dense"};
  for (int i = 0; i < 3; i++) {
    struct anas_ref source = f->num_nodes ? (struct anas_ref){(int)anas_rng_below(rng, (uint64_t)f->num_nodes), 0}
                                          : (struct anas_ref){ANAS_ARGUMENT, 0};
    bool dead = i > 0;
    if (!dead) source = f->result[0];
    struct anas_node *node = anas_function_add_node(f, anas_op_find(ops[i], strlen(ops[i])));
    node->operand[0] = source;
    if (i == 2) {
      node->name = anas_arena_format(&model->arena, "dead%d", f->num_nodes);
      node->attr[0] = (struct anas_attr){.present = true, .value.dim = {.constant = 3, .div = 1, .mul = 1}};
    }
    if (!dead) f->result[0] = (struct anas_ref){f->num_nodes - 1, 0};
  }
}

static void rename_all(struct anas_model *model, struct anas_rng *rng) {
  for (int f = 0; f < model->num_functions; f++) {
    struct anas_function *function = &model->functions[f];
    function->name = anas_arena_format(&model->arena, "f%d_%llu", f, (unsigned long long)anas_rng_below(rng, 1000));
    if (function->block) function->block = "something else";
    for (int n = 0; n < function->num_nodes; n++)
      if (function->nodes[n].name) function->nodes[n].name = anas_arena_format(&model->arena, "op%d", n);
  }
}

// Functions in another order.
static void shuffle_functions(struct anas_model *model, struct anas_rng *rng) {
  uint32_t order[128];
  int place[128];
  struct anas_function *functions = anas_calloc((size_t)model->num_functions, sizeof *functions);
  for (int f = 0; f < model->num_functions; f++)
    order[f] = (uint32_t)f;
  anas_rng_shuffle(rng, order, (uint64_t)model->num_functions);
  for (int f = 0; f < model->num_functions; f++) {
    functions[f] = model->functions[order[f]];
    place[order[f]] = f;
  }
  for (int f = 0; f < model->num_functions; f++)
    for (int n = 0; n < functions[f].num_nodes; n++)
      if (!functions[f].nodes[n].def) functions[f].nodes[n].callee = place[functions[f].nodes[n].callee];
  memcpy(model->functions, functions, (size_t)model->num_functions * sizeof *functions);
  free(functions);
}

// Symbolic sizes become the numbers they stand for.
static void resolve_sizes(struct anas_function *f) {
  for (int n = 0; n < f->num_nodes; n++) {
    struct anas_node *node = &f->nodes[n];
    struct anas_shape operands[ANAS_MAX_OPERANDS];
    struct anas_op op;
    if (!node->def) continue;
    for (int q = 0; q < node->num_operands; q++)
      operands[q] = *anas_value_type(f, node->operand[q]);
    assert_int_equal(anas_node_resolve(node, operands, &op), ANAS_OK);
    for (int a = 0; a < node->def->num_attrs; a++)
      if (node->attr[a].present && node->def->attrs[a].kind == ANAS_ATTR_DIM) node->attr[a] = op.attr[a];
  }
}

// Puts the bodies of the entry's callees in place of calls with a chance of a half.
static void inline_calls(struct anas_model *model, struct anas_rng *rng) {
  struct anas_function *entry = &model->functions[anas_model_entry(model)];
  struct anas_node *old = entry->nodes;
  int num_old = entry->num_nodes;
  struct anas_ref(*values)[ANAS_MAX_RESULTS] = anas_calloc((size_t)num_old, sizeof *values);
  entry->nodes = NULL;
  entry->num_nodes = 0;
  entry->capacity_nodes = 0;
  for (int n = 0; n < num_old; n++) {
    for (int q = 0; q < old[n].num_operands; q++)
      if (old[n].operand[q].node != ANAS_ARGUMENT)
        old[n].operand[q] = values[old[n].operand[q].node][old[n].operand[q].index];
    const struct anas_function *callee = old[n].def ? NULL : &model->functions[old[n].callee];
    if (!callee || anas_rng_double(rng) < 0.5) {
      *anas_function_add_node(entry, old[n].def) = old[n];
      for (int r = 0; r < old[n].num_results; r++)
        values[n][r] = (struct anas_ref){entry->num_nodes - 1, r};
      continue;
    }
    int first = entry->num_nodes;
    for (int i = 0; i < callee->num_nodes; i++) {
      struct anas_node node = callee->nodes[i];
      for (int q = 0; q < node.num_operands; q++) {
        struct anas_ref *operand = &node.operand[q];
        *operand = operand->node == ANAS_ARGUMENT ? old[n].operand[operand->index]
                                                  : (struct anas_ref){first + operand->node, operand->index};
      }
      if (node.name) node.name = anas_arena_format(&model->arena, "inlined%d/%s", n, node.name);
      *anas_function_add_node(entry, node.def) = node;
    }
    for (int r = 0; r < callee->num_results; r++) {
      struct anas_ref result = callee->result[r];
      values[n][r] = result.node == ANAS_ARGUMENT ? old[n].operand[result.index]
                                                  : (struct anas_ref){first + result.node, result.index};
    }
  }
  for (int r = 0; r < entry->num_results; r++)
    if (entry->result[r].node != ANAS_ARGUMENT)
      entry->result[r] = values[entry->result[r].node][entry->result[r].index];
  free(values);
  free(old);
}

static void writing_does_not_count(void **state) {
  (void)state;
  static const char *const names[] = {"cnn", "resnet18", "vit-ti/4", "b0"};
  for (int round = 0; round < 24; round++) {
    struct anas_model *model = descendant(names[round % 4], (uint64_t)round, round / 4),
                      *other = anas_model_clone(model);
    struct anas_rng rng = anas_rng_make((uint64_t)round);
    char expected[33], hash[33];
    anas_model_hash(model, expected);
    for (int f = 0; f < other->num_functions; f++) {
      resolve_sizes(&other->functions[f]);
      add_identities_and_dead_code(other, &other->functions[f], &rng);
      swap_operands(&other->functions[f], &rng);
      reorder(&other->functions[f], &rng);
    }
    inline_calls(other, &rng);
    rename_all(other, &rng);
    shuffle_functions(other, &rng);
    assert_int_equal(anas_model_infer_shapes(other), ANAS_OK);
    anas_model_hash(other, hash);
    if (strcmp(hash, expected)) fail_msg("%s, round %d: %s is not %s", names[round % 4], round, hash, expected);
    anas_model_destroy(other);
    anas_model_destroy(model);
  }
}

// ---- attributes

// Another value of the attribute; false if there is no obvious one.
static bool change_value(const struct anas_attr_def *def, struct anas_attr *attr) {
  if (!attr->present) *attr = def->fallback;
  if (!attr->present) return false;
  switch (def->kind) {
  case ANAS_ATTR_INT: attr->value.i++; return true;
  case ANAS_ATTR_FLOAT: attr->value.f = attr->value.f / 2 + 0.01; return true;
  case ANAS_ATTR_BOOL: attr->value.b = !attr->value.b; return true;
  case ANAS_ATTR_ENUM: attr->value.i = attr->value.i ? 0 : 1; return def->choices[attr->value.i] != NULL;
  case ANAS_ATTR_INTS:
    for (int i = 0; i < attr->value.ints.count; i++)
      attr->value.ints.value[i]++;
    return true;
  case ANAS_ATTR_DIM:
    if (attr->value.dim.relative)
      attr->value.dim.mul *= 2;
    else
      attr->value.dim.constant *= 2;
    return true;
  default: return false;
  }
}

// Tries every attribute of every node on its own. Changes that do not type-check are no networks; a window of another
// size on an extent of 1 stays another attribute.
static void every_attribute_counts(void **state) {
  (void)state;
  static const char *const names[] = {"cnn", "resnet18", "b0"};
  for (int i = 0; i < 3; i++) {
    struct anas_model *model = descendant(names[i], 1, 4);
    char before[33], after[33];
    int tried = 0;
    anas_model_hash(model, before);
    for (int f = 0; f < model->num_functions; f++)
      for (int n = 0; n < model->functions[f].num_nodes; n++) {
        const struct anas_op_def *def = model->functions[f].nodes[n].def;
        for (int a = 0; def && a < def->num_attrs; a++) {
          struct anas_model *other = anas_model_clone(model);
          struct anas_attr *attr = &other->functions[f].nodes[n].attr[a];
          bool changed = change_value(&def->attrs[a], attr);
          anas_model_clear_types(other);
          if (changed && anas_model_infer_shapes(other) == ANAS_OK) {
            anas_model_hash(other, after);
            if (!strcmp(before, after))
              fail_msg("%s: %s of %s does not count", names[i], def->attrs[a].name, def->name);
            tried++;
          }
          // Written out, a default is the default.
          *attr = def->attrs[a].fallback;
          if (!model->functions[f].nodes[n].attr[a].present && attr->present) {
            anas_model_clear_types(other);
            assert_int_equal(anas_model_infer_shapes(other), ANAS_OK);
            anas_model_hash(other, after);
            assert_string_equal(before, after);
          }
          anas_model_destroy(other);
        }
      }
    assert_true(tried > 20);
    anas_model_destroy(model);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_values),
      cmocka_unit_test(writing_does_not_count),
      cmocka_unit_test(every_attribute_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
