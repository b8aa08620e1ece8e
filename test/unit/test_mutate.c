// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Mutation: what every child must satisfy, over long random lineages of two networks; selection and chains;
// determinism.
#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/mutate/internal.h"
#include "passes/synthesis/certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static MlirContext context;

static int set_up(void **state) {
  (void)state;
  context = anas_context_create(false);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  mlirContextDestroy(context);
  return 0;
}

static struct anas_model *zoo(const char *name) {
  struct anas_model *model;
  assert_int_equal(anas_zoo_build(name, 32, 32, 3, 10, &model), ANAS_OK);
  return model;
}

static struct anas_model *load(const char *text) {
  MlirModule module;
  struct anas_model *model;
  assert_int_equal(anas_parse(context, text, strlen(text), "test", &module), ANAS_OK);
  assert_int_equal(anas_model_import(module, &model), ANAS_OK);
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  mlirModuleDestroy(module);
  return model;
}

#define X "tensor<*xf32>"
#define UNARY(result, op, operand, attrs) "  " result " = \"anas." op "\"(" operand ") {" attrs "} : (" X ") -> " X "\n"
#define C3 "kernel = array<i64: 3, 3>, use_bias = false"
#define SAME "features = affine_map<(n, h, w, c) -> (c)>"
#define TWICE "features = affine_map<(n, h, w, c) -> (c * 2)>"

#define ADDED(out, a, b) "  " out " = \"anas.add\"(" a ", " b ") : (" X ", " X ") -> " X "\n"
// A small residual network: two stages of two basic blocks, the residual connections in main.
#define BASIC(name, kind, features, stride)                                                                            \
  "func.func private @" name "(%x: " X ") -> " X " attributes {anas.block = \"" kind "\"} {\n" UNARY(                  \
      "%0", "conv", "%x", "anas.name = \"conv0\", " features ", " C3 ", strides = array<i64: " stride ", " stride ">") \
      UNARY("%1", "batch_norm", "%0", "anas.name = \"bn1\"") UNARY("%2", "relu", "%1", "")                             \
          UNARY("%3", "conv", "%2", "anas.name = \"conv3\", " SAME ", " C3) "  return %3 : " X "\n}\n"
#define RESIDUAL(out, id, block, in, skip)                                                                             \
  "  %" id " = call @" block "(" in ") : (" X ") -> " X                                                                \
  "\n" UNARY("%" id "n", "batch_norm", "%" id,                                                                         \
             "anas.name = \"" id "/bn\", scale_init = "                                                                \
             "\"zeros\"") "  %" id "s = \"anas.add\"(%" id "n, " skip ") : (" X ", " X ") -> " X                       \
                          "\n" UNARY(out, "relu", "%" id "s", "")
static const char *const resnet_text =
    "func.func @main(%image: tensor<?x16x16x3xf32>) -> tensor<?x10xf32> {\n"
    "  %s = \"anas.conv\"(%image) {anas.name = \"init\", features = 8 : i64, " C3 "} : (tensor<?x16x16x3xf32>) -> " X
    "\n" RESIDUAL("%r11", "b11", "block11", "%s", "%s") RESIDUAL("%r12", "b12", "block12", "%r11", "%r11")
        UNARY("%q", "conv", "%r12",
              "anas.name = \"proj\", kernel = array<i64: 1, 1>, use_bias = false, strides = array<i64: 2, 2>, " TWICE)
            RESIDUAL("%r21", "b21", "block21", "%r12", "%q") RESIDUAL("%r22", "b22", "block22", "%r21", "%r21") UNARY(
                "%m", "mean", "%r22",
                "axes = array<i64: 1, 2>") "  %l = \"anas.dense\"(%m) {anas.name = \"fc\", features = 10 : i64} : (" X
                                           ") -> tensor<?x10xf32>\n"
                                           "  return %l : tensor<?x10xf32>\n}\n" BASIC("block11", "basic", SAME, "1")
                                               BASIC("block12", "basic", SAME, "1")
                                                   BASIC("block21", "basic_down", TWICE, "2")
                                                       BASIC("block22", "basic", SAME, "1");

// ---- selection and chains

static bool reaches(const struct anas_function *f, int from, int to) {
  for (int q = 0; q < f->nodes[to].num_operands; q++) {
    int p = f->nodes[to].operand[q].node;
    if (p == from || (p > from && reaches(f, from, p))) return true;
  }
  return false;
}

static void test_selection_is_connected_and_convex(void **state) {
  (void)state;
  struct anas_model *model = load(resnet_text);
  const struct anas_function *f = &model->functions[anas_model_entry(model)]; // the function with branches
  struct anas_mutation_options options = anas_mutation_defaults();
  options.grow_probability = 0.9;
  int sizes[64] = {0};
  for (uint64_t seed = 0; seed < 400; seed++) {
    struct anas_rng rng = anas_rng_make(seed);
    bool selected[64];
    anas_select_subgraph(f, &options, &rng, selected);
    int size = 0, component[64];
    for (int n = 0; n < f->num_nodes; n++) {
      component[n] = n;
      size += selected[n];
      assert_true(!selected[n] || f->nodes[n].def);
    }
    assert_true(size >= 1 && size <= (int)(options.max_fraction * f->num_nodes + 1));
    sizes[size]++;
    for (int round = 0; round < f->num_nodes; round++)
      for (int n = 0; n < f->num_nodes; n++)
        for (int q = 0; q < f->nodes[n].num_operands; q++) {
          int p = f->nodes[n].operand[q].node;
          if (p == ANAS_ARGUMENT || !selected[n] || !selected[p]) continue;
          int least = component[n] < component[p] ? component[n] : component[p];
          component[n] = component[p] = least;
        }
    int first = -1;
    for (int n = 0; n < f->num_nodes; n++) {
      if (!selected[n]) continue;
      if (first < 0) first = component[n];
      assert_int_equal(component[n], first);
    }
    for (int out = 0; out < f->num_nodes; out++) {
      if (selected[out]) continue;
      bool after = false, before = false;
      for (int n = 0; n < f->num_nodes; n++) {
        after = after || (selected[n] && n < out && reaches(f, n, out));
        before = before || (selected[n] && n > out && reaches(f, out, n));
      }
      assert_false(after && before);
    }
  }
  assert_true(sizes[1] > 0 && sizes[2] > 0 && sizes[3] > 0);
  anas_model_destroy(model);
}

static void test_chains_end_at_junctions(void **state) {
  (void)state;
  // conv and relu feed both a branch and the sum; the chains are [conv relu], [conv gelu], [relu].
  struct anas_model *model = load(
      "func.func @main(%x: tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32> {\n"
      "  %0 = \"anas.conv\"(%x) {anas.name = \"a\", features = 4 : i64, kernel = 3 : i64} : (tensor<?x8x8x4xf32>) -> " X
      "\n" UNARY("%1", "relu", "%0", "") UNARY("%2", "conv", "%1",
                                               "anas.name = \"b\", features = 4 : i64, kernel = 3 "
                                               ": i64")
          UNARY("%3", "gelu", "%2", "") "  %4 = \"anas.add\"(%3, %1) : (" X ", " X ") -> " X "\n"
                                        "  %5 = \"anas.relu\"(%4) : (" X ") -> tensor<?x8x8x4xf32>\n"
                                        "  return %5 : tensor<?x8x8x4xf32>\n}\n");
  const struct anas_function *f = &model->functions[0];
  bool selected[6] = {true, true, true, true, true, true};
  int storage[6];
  struct anas_chain chains[6];
  assert_int_equal(anas_find_chains(f, selected, storage, chains), 3);
  static const int expected[3][3] = {{2, 0, 1}, {2, 2, 3}, {1, 5}}; // length, nodes
  for (int c = 0; c < 3; c++) {
    assert_int_equal(chains[c].length, expected[c][0]);
    for (int i = 0; i < chains[c].length; i++)
      assert_int_equal(chains[c].nodes[i], expected[c][1 + i]);
  }
  selected[1] = false;
  assert_int_equal(anas_find_chains(f, selected, storage, chains), 3);
  assert_int_equal(chains[0].length, 1);
  anas_model_destroy(model);
}

// ---- duplication and deletion (part D 12)

static int count_nodes(const struct anas_model *model, const char *op) {
  const struct anas_function *entry = &model->functions[anas_model_entry(model)];
  int count = 0;
  for (int n = 0; n < entry->num_nodes; n++)
    count += entry->nodes[n].def ? !strcmp(entry->nodes[n].def->name, op) : !strcmp(op, "call");
  return count;
}

// Every block of these networks, also one that changes extents, may come twice or not at all: the connection around it
// goes along, and what follows is relative.
static void test_every_block_doubles_and_goes(void **state) {
  (void)state;
  static const char *const names[] = {"cnn", "resnet18", "resnet50", "resnet18-plain", "vit-ti/4"};
  for (int i = 0; i < 5; i++) {
    struct anas_model *model = zoo(names[i]);
    bool residual = count_nodes(model, "add") > 0;
    int calls[256], num_calls = anas_block_calls(model, &model->functions[anas_model_entry(model)], calls);
    assert_true(num_calls >= 2);
    for (int c = 0; c < num_calls; c++)
      for (int duplicate = 0; duplicate < 2; duplicate++) {
        struct anas_model *child = anas_model_clone(model);
        anas_status status = duplicate ? anas_duplicate_block(child, calls[c], 7) : anas_delete_block(child, calls[c]);
        if (status == ANAS_OK) status = anas_model_infer_shapes(child);
        if (status == ANAS_OK) status = anas_model_verify(child);
        if (status != ANAS_OK) fail_msg("%s, call %d: %s", names[i], c, anas_error_message());
        int more = duplicate ? 1 : -1;
        assert_int_equal(count_nodes(child, "call"), num_calls + more);
        if (residual) assert_int_equal(count_nodes(child, "add"), count_nodes(model, "add") + more);
        char before[33], after[33];
        anas_model_hash(model, before);
        anas_model_hash(child, after);
        assert_string_not_equal(before, after);
        anas_model_destroy(child);
      }
    anas_model_destroy(model);
  }
}

// What belongs to a block, in the network at the top of this file.
static void test_units(void **state) {
  (void)state;
  struct anas_model *model = load(resnet_text);
  const struct anas_function *entry = &model->functions[anas_model_entry(model)];
  int calls[8], num_calls = anas_block_calls(model, entry, calls);
  static const int sizes[] = {4, 4, 5, 4}; // call, normalisation, sum, relu; and the projection
  assert_int_equal(num_calls, 4);
  for (int c = 0; c < num_calls; c++) {
    struct anas_unit unit;
    int size = 0;
    anas_find_unit(entry, calls[c], &unit);
    for (int n = 0; n < entry->num_nodes; n++)
      size += unit.inside[n];
    assert_string_equal(entry->nodes[unit.exit].def->name, "relu");
    assert_true(unit.inside[calls[c]]);
    assert_int_equal(size, sizes[c]);
    anas_unit_deinit(&unit);
  }
  anas_model_destroy(model);
  // Without a connection, or with one that does not come together around the block alone, it is the call.
  static const char *const texts[] = {
      "func.func @main(%x: tensor<*xf32>) -> tensor<*xf32> {\n  %0 = call @b(%x) : (tensor<*xf32>) -> tensor<*xf32>\n"
      "  %1 = call @b(%0) : (tensor<*xf32>) -> tensor<*xf32>\n  return %1 : tensor<*xf32>\n}\n",
      "func.func @main(%x: tensor<*xf32>) -> tensor<*xf32> {\n  %0 = call @b(%x) : (tensor<*xf32>) -> tensor<*xf32>\n"
      "  %1 = call @b(%0) : (tensor<*xf32>) -> tensor<*xf32>\n" ADDED("%2", "%1",
                                                                      "%x") "  return %2 : tensor<*xf32>\n}\n",
      "func.func @main(%x: tensor<*xf32>) -> tensor<*xf32> {\n  %0 = call @b(%x) : (tensor<*xf32>) -> "
      "tensor<*xf32>\n" ADDED("%1", "%0", "%x") "  return %1 : tensor<*xf32>\n}\n"};
  static const int expected[] = {1, 1, 2};
  for (int t = 0; t < 3; t++) {
    char *text = anas_format("%sfunc.func private @b(%%x: tensor<*xf32>) -> tensor<*xf32> attributes {anas.block = "
                             "\"b\"} {\n  return %%x : tensor<*xf32>\n}\n",
                             texts[t]);
    MlirModule module;
    struct anas_unit unit;
    int size = 0;
    assert_int_equal(anas_parse(context, text, strlen(text), "test", &module), ANAS_OK);
    assert_int_equal(anas_model_import(module, &model), ANAS_OK);
    anas_find_unit(&model->functions[0], 0, &unit);
    for (int n = 0; n < model->functions[0].num_nodes; n++)
      size += unit.inside[n];
    assert_int_equal(size, expected[t]);
    anas_unit_deinit(&unit);
    anas_model_destroy(model);
    mlirModuleDestroy(module);
    free(text);
  }
}

// ---- lineages

static char *text_of(const struct anas_model *model) {
  struct anas_strbuf text = {0};
  anas_model_print(model, &text);
  return anas_strbuf_detach(&text);
}

// Attributes we only carry along are written MLIR's way after the first round; from then on nothing changes.
static void assert_round_trip(const struct anas_model *model) {
  char *text = text_of(model);
  struct anas_model *again = load(text);
  assert_int_equal(anas_model_verify(again), ANAS_OK);
  char *second = text_of(again), a[33], b[33];
  struct anas_model *once_more = load(second);
  char *third = text_of(once_more);
  assert_string_equal(second, third);
  anas_model_hash(model, a);
  anas_model_hash(again, b);
  assert_string_equal(a, b);
  free(third);
  free(second);
  free(text);
  anas_model_destroy(once_more);
  anas_model_destroy(again);
}

// Whatever is certified is so, now and not only when it was written. Returns how many certificates there are.
static int check_certificates(const struct anas_model *model) {
  struct anas_properties *properties = anas_calloc((size_t)model->num_functions, sizeof *properties);
  assert_int_equal(anas_infer_properties(model, properties), ANAS_OK);
  int count = 0;
  for (int f = 0; f < model->num_functions; f++) {
    if (!anas_function_extra(&model->functions[f], "anas.certificate")) continue;
    if (anas_certificate_check(model, context, f, properties)) fail_msg("%s", anas_error_message());
    count++;
  }
  free(properties);
  return count;
}

struct census {
  int mutate, duplicate, delete, grouped, depthwise, failed;
};

static void count_groups(const struct anas_model *model, struct census *census) {
  for (int f = 0; f < model->num_functions; f++)
    for (int n = 0; n < model->functions[f].num_nodes; n++) {
      const struct anas_node *node = &model->functions[f].nodes[n];
      if (!node->def || strcmp(node->def->name, "conv")) continue;
      struct anas_op op;
      assert_int_equal(anas_node_resolve(node, anas_value_type(&model->functions[f], node->operand[0]), &op), ANAS_OK);
      int64_t groups = op.attr[anas_op_attr_index(op.def, "groups")].value.dim.constant;
      census->grouped += groups > 1;
      census->depthwise += groups > 1 && groups == op.operand[0].dim[op.operand[0].rank - 1];
    }
}

// A chain of mutations; starts over from the root when the child has grown beyond bounds, as a population would not
// select it, and when it has lost the blocks that could be deleted.
static void follow_lineage(const char *name, uint64_t seed, int steps, struct census *census) {
  struct anas_model *root = zoo(name), *model = anas_model_clone(root);
  struct anas_mutation_options options = anas_mutation_defaults();
  struct anas_rng rng = anas_rng_make(seed);
  for (int step = 0; step < steps; step++) {
    struct anas_model *child;
    struct anas_mutation_report report;
    char *before = text_of(model), parent_hash[33], hash[33];
    anas_status status = anas_mutate(model, &options, &rng, &child, &report);
    char *after = text_of(model);
    assert_string_equal(before, after); // the parent is untouched
    free(before);
    free(after);
    if (status != ANAS_OK) {
      assert_int_equal(status, ANAS_INFEASIBLE);
      census->failed++;
      continue;
    }
    census->mutate += !strcmp(report.kind, "mutate");
    census->duplicate += !strcmp(report.kind, "duplicate");
    census->delete += !strcmp(report.kind, "delete");
    assert_true(report.description[0] && report.block[0] && report.attempts >= 1);
    assert_int_equal(anas_model_verify(child), ANAS_OK);
    assert_true(anas_shape_equal(&child->functions[anas_model_entry(child)].result_type[0],
                                 &root->functions[anas_model_entry(root)].result_type[0]));
    for (int f = 0; f < child->num_functions && !strcmp(report.kind, "mutate"); f++) {
      const struct anas_function *after_it = &child->functions[f];
      const struct anas_function *before_it = &model->functions[anas_model_find(model, after_it->name)];
      assert_true(anas_shape_equal(&after_it->arg[0], &before_it->arg[0])); // what is spliced in fits in every instance
      assert_true(anas_shape_equal(&after_it->result_type[0], &before_it->result_type[0]));
    }
    anas_model_hash(model, parent_hash);
    anas_model_hash(child, hash);
    assert_string_not_equal(parent_hash, hash);
    assert_round_trip(child);
    int certificates = check_certificates(child);
    assert_true(certificates > 0 || strcmp(report.kind, "mutate"));
    count_groups(child, census);
    anas_model_destroy(model);
    int nodes = 0, blocks = 0;
    for (int f = 0; f < child->num_functions; f++) {
      nodes += child->functions[f].num_nodes;
      blocks += child->functions[f].block != NULL;
    }
    model = child;
    if (nodes > 400 || blocks < 2) {
      anas_model_destroy(model);
      model = anas_model_clone(root);
    }
  }
  anas_model_destroy(model);
  anas_model_destroy(root);
}

static void test_lineage_of_cnn(void **state) {
  (void)state;
  struct census census = {0};
  follow_lineage("cnn", 1, 300, &census);
  assert_int_equal(census.failed, 0);
  assert_true(census.mutate > 100 && census.duplicate > 20 && census.delete > 20);
  assert_true(census.grouped > 0 && census.depthwise > 0);
}

static void test_lineage_of_resnet(void **state) {
  (void)state;
  struct census census = {0};
  follow_lineage("resnet18", 1, 300, &census);
  assert_int_equal(census.failed, 0);
  assert_true(census.mutate > 100 && census.duplicate > 20 && census.delete > 20);
  assert_true(census.grouped > 0 && census.depthwise > 0);
}

// First children of the root: the kinds are drawn 1/5, 1/5, 3/5 and hardly ever need a second attempt.
static void test_shares_of_kinds(void **state) {
  (void)state;
  struct anas_model *parent = zoo("resnet18");
  struct anas_mutation_options options = anas_mutation_defaults();
  int duplicate = 0, delete = 0, mutate = 0, attempts = 0, rounds = 1000;
  for (int seed = 0; seed < rounds; seed++) {
    struct anas_rng rng = anas_rng_make((uint64_t)seed);
    struct anas_model *child;
    struct anas_mutation_report report;
    assert_int_equal(anas_mutate(parent, &options, &rng, &child, &report), ANAS_OK);
    duplicate += !strcmp(report.kind, "duplicate");
    delete += !strcmp(report.kind, "delete");
    mutate += !strcmp(report.kind, "mutate");
    attempts += report.attempts;
    anas_model_destroy(child);
  }
  anas_model_destroy(parent);
  // Four standard deviations of a share of 0.2 are 51; failed synthesis moves a few draws to the others.
  assert_true(abs(duplicate - rounds / 5) < 80 && abs(delete - rounds / 5) < 80);
  assert_int_equal(duplicate + delete + mutate, rounds);
  assert_true(attempts < rounds * 3 / 2);
}

static void test_same_seed_same_child(void **state) {
  (void)state;
  struct anas_model *parent = zoo("resnet18");
  struct anas_mutation_options options = anas_mutation_defaults();
  int different = 0;
  char *last = NULL;
  for (uint64_t seed = 0; seed < 30; seed++) {
    char *texts[2];
    for (int i = 0; i < 2; i++) {
      struct anas_rng rng = anas_rng_make(seed);
      struct anas_model *child;
      struct anas_mutation_report report;
      assert_int_equal(anas_mutate(parent, &options, &rng, &child, &report), ANAS_OK);
      texts[i] = text_of(child);
      anas_model_destroy(child);
    }
    assert_string_equal(texts[0], texts[1]);
    different += last && strcmp(last, texts[0]);
    free(last);
    last = texts[0];
    free(texts[1]);
  }
  free(last);
  assert_true(different > 25);
  anas_model_destroy(parent);
}

// With certainty to propagate, every instance of the kind changes alike and gets the same new kind.
static void test_instances_follow(void **state) {
  (void)state;
  struct anas_model *parent = zoo("cnn");
  struct anas_mutation_options options = anas_mutation_defaults();
  options.duplicate_probability = options.delete_probability = 0;
  for (int certain = 0; certain < 2; certain++) {
    options.propagate_probability = certain;
    for (uint64_t seed = 0; seed < 20; seed++) {
      struct anas_rng rng = anas_rng_make(seed);
      struct anas_model *child;
      struct anas_mutation_report report;
      assert_int_equal(anas_mutate(parent, &options, &rng, &child, &report), ANAS_OK);
      assert_string_equal(report.kind, "mutate");
      assert_string_equal(report.block, "conv_layer");
      const struct anas_function *a = &child->functions[anas_model_find(child, "conv_layer0")];
      const struct anas_function *b = &child->functions[anas_model_find(child, "conv_layer1")];
      if (certain) {
        assert_string_equal(a->block, "conv_layer/t1");
        assert_string_equal(b->block, "conv_layer/t1");
        assert_true(anas_functions_isomorphic(a, b));
      } else {
        assert_string_not_equal(a->block, b->block);
      }
      for (int n = 0; n < a->num_nodes; n++)
        if (a->nodes[n].name && strcmp(a->nodes[n].name, "conv")) assert_memory_equal(a->nodes[n].name, "gen1/", 5);
      anas_model_destroy(child);
    }
  }
  anas_model_destroy(parent);
}

static const char *extra_of(const struct anas_model *model, const char *name) {
  for (int i = 0; i < model->num_extras; i++)
    if (!strcmp(model->extras[i].name, name)) return model->extras[i].value;
  return "";
}

static void test_lineage_attributes(void **state) {
  (void)state;
  struct anas_model *model = zoo("cnn");
  struct anas_mutation_options options = anas_mutation_defaults();
  struct anas_rng rng = anas_rng_make(7);
  for (int generation = 1; generation <= 3; generation++) {
    struct anas_model *child;
    struct anas_mutation_report report;
    char hash[33], expected[64];
    anas_model_hash(model, hash);
    assert_int_equal(anas_mutate(model, &options, &rng, &child, &report), ANAS_OK);
    snprintf(expected, sizeof expected, "%d : i64", generation);
    assert_string_equal(extra_of(child, "anas.generation"), expected);
    snprintf(expected, sizeof expected, "\"%s\"", hash);
    assert_string_equal(extra_of(child, "anas.parent"), expected);
    assert_true(strstr(extra_of(child, "anas.mutation"), report.kind) != NULL);
    anas_model_destroy(model);
    model = child;
  }
  anas_model_destroy(model);
}

static void test_model_without_blocks(void **state) {
  (void)state;
  struct anas_model *model = load("func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {\n"
                                  "  %0 = \"anas.relu\"(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>\n"
                                  "  return %0 : tensor<?x4xf32>\n}\n");
  struct anas_mutation_options options = anas_mutation_defaults();
  struct anas_rng rng = anas_rng_make(7);
  struct anas_model *child;
  struct anas_mutation_report report;
  assert_int_equal(anas_mutate(model, &options, &rng, &child, &report), ANAS_INFEASIBLE);
  assert_non_null(strstr(anas_error_message(), "anas.block"));
  anas_model_destroy(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_selection_is_connected_and_convex),
      cmocka_unit_test(test_chains_end_at_junctions),
      cmocka_unit_test(test_every_block_doubles_and_goes),
      cmocka_unit_test(test_units),
      cmocka_unit_test(test_lineage_of_cnn),
      cmocka_unit_test(test_lineage_of_resnet),
      cmocka_unit_test(test_shares_of_kinds),
      cmocka_unit_test(test_same_seed_same_child),
      cmocka_unit_test(test_instances_follow),
      cmocka_unit_test(test_lineage_attributes),
      cmocka_unit_test(test_model_without_blocks),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
