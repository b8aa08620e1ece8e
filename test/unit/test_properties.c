// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Properties and cost of modules, and the pairing of every sample of every op against enumeration.
#include "dialect/context.h"
#include "dialect/zoo.h"
#include "runtime/support/rng.h"
#include "test/unit/pairing.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

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

static struct anas_model *load(const char *text) {
  MlirModule module;
  struct anas_model *model;
  assert_int_equal(anas_parse(context, text, strlen(text), "test", &module), ANAS_OK);
  assert_int_equal(anas_model_import(module, &model), ANAS_OK);
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  mlirModuleDestroy(module);
  return model;
}

static void assert_digits(const struct anas_mixing *m, const char *digits) {
  assert_int_equal(strlen(digits), m->rows * m->columns);
  for (int i = 0; i < m->rows; i++)
    for (int j = 0; j < m->columns; j++)
      assert_int_equal(m->pair[i][j], digits[i * m->columns + j] - '0');
}

static const char *example =
    "func.func @main(%image: tensor<?x32x32x3xf32>) -> tensor<?x10xf32> {\n"
    "  %0 = \"anas.conv\"(%image) {anas.name = \"stem/conv\", features = 32 : i64, kernel = array<i64: 3, 3>, use_bias "
    "= "
    "false} : (tensor<?x32x32x3xf32>) -> tensor<?x32x32x32xf32>\n"
    "  %1 = call @stage0(%0) : (tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32>\n"
    "  %3 = \"anas.mean\"(%1) {axes = array<i64: 1, 2>} : (tensor<?x16x16x64xf32>) -> tensor<?x64xf32>\n"
    "  %4 = \"anas.dense\"(%3) {anas.name = \"head/dense\", features = 10 : i64} : (tensor<?x64xf32>) -> "
    "tensor<?x10xf32>\n"
    "  return %4 : tensor<?x10xf32>\n"
    "}\n"
    "func.func private @stage0(%x: tensor<?x32x32x32xf32>) -> tensor<?x16x16x64xf32> attributes {anas.block = "
    "\"down\"} {\n"
    "  %0 = \"anas.conv\"(%x) {anas.name = \"conv\", features = affine_map<(n, h, w, c) -> (c * 2)>, kernel = "
    "array<i64: 3, 3>, strides = array<i64: 2, 2>, use_bias = false} : (tensor<?x32x32x32xf32>) -> "
    "tensor<?x16x16x64xf32>\n"
    "  %1 = \"anas.batch_norm\"(%0) {anas.name = \"bn\"} : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>\n"
    "  %2 = \"anas.relu\"(%1) : (tensor<?x16x16x64xf32>) -> tensor<?x16x16x64xf32>\n"
    "  return %2 : tensor<?x16x16x64xf32>\n"
    "}\n";

static void test_called_functions_are_summarised(void **state) {
  (void)state;
  struct anas_model *model = load(example);
  struct anas_properties properties[2];
  assert_int_equal(anas_infer_properties(model, properties), ANAS_OK);
  const struct anas_properties *entry = &properties[anas_model_find(model, "main")];
  const struct anas_properties *stage = &properties[anas_model_find(model, "stage0")];
  assert_int_equal(stage->depth[0][0], 2);
  assert_digits(&stage->mixing[0][0], "1000020000203333");
  assert_int_equal(entry->depth[0][0], 3); // linear, non-linear, linear behind a non-linear producer
  assert_digits(&entry->mixing[0][0], "10333333");
  // The block's own depth behind a linear producer is 1: the call in main starts from a convolution.
  model->functions[anas_model_find(model, "stage0")].arg_linear[0] = true;
  assert_int_equal(anas_infer_properties(model, properties), ANAS_OK);
  assert_int_equal(stage->depth[0][0], 1);
  assert_int_equal(entry->depth[0][0], 3);
  anas_model_destroy(model);
}

// C4: a residual branch, and what the reference gets wrong: neutral ops and results inside a path.
static void test_depth_of_graphs(void **state) {
  (void)state;
  struct anas_model *model = load(
      "func.func @main(%x: tensor<?x8x8x4xf32>) -> (tensor<?x8x8x4xf32>, tensor<?x8x8x4xf32>, tensor<?x8x8x4xf32>) {\n"
      "  %0 = \"anas.conv\"(%x) {anas.name = \"a\", features = 4 : i64, kernel = array<i64: 3, 3>} : "
      "(tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>\n"
      "  %1 = \"anas.identity\"(%0) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>\n"
      "  %2 = \"anas.relu\"(%1) : (tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>\n"
      "  %3 = \"anas.conv\"(%2) {anas.name = \"b\", features = 4 : i64, kernel = array<i64: 3, 3>} : "
      "(tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>\n"
      "  %4 = \"anas.add\"(%3, %x) : (tensor<?x8x8x4xf32>, tensor<?x8x8x4xf32>) -> tensor<?x8x8x4xf32>\n"
      "  return %2, %4, %x : tensor<?x8x8x4xf32>, tensor<?x8x8x4xf32>, tensor<?x8x8x4xf32>\n"
      "}\n");
  struct anas_properties properties;
  assert_int_equal(anas_infer_properties(model, &properties), ANAS_OK);
  assert_int_equal(properties.depth[0][0], 2);
  assert_int_equal(properties.depth[1][0], 3);
  assert_int_equal(properties.depth[2][0], 0);
  assert_digits(&properties.mixing[1][0], "1000020000203333");
  assert_digits(&properties.mixing[2][0], "1000010000100001");
  anas_model_destroy(model);
}

static void test_argument_without_path(void **state) {
  (void)state;
  struct anas_model *model = load("func.func @main(%x: tensor<?x4xf32>, %y: tensor<?x6xf32>) -> tensor<?x4xf32> {\n"
                                  "  %0 = \"anas.relu\"(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>\n"
                                  "  return %0 : tensor<?x4xf32>\n"
                                  "}\n");
  struct anas_properties properties;
  assert_int_equal(anas_infer_properties(model, &properties), ANAS_OK);
  assert_int_equal(properties.depth[0][0], 0);
  assert_int_equal(properties.depth[0][1], -1);
  assert_digits(&properties.mixing[0][1], "0000");
  anas_model_destroy(model);
}

static void test_cost_of_module(void **state) {
  (void)state;
  struct anas_model *model = load(example);
  struct anas_model_cost one, many;
  assert_int_equal(anas_model_cost(model, 1, &one), ANAS_OK);
  assert_int_equal(anas_model_cost(model, 32, &many), ANAS_OK);
  int64_t stem = 9 * 3 * 32, down = 9 * 32 * 64, head = 64 * 10;
  assert_int_equal(one.params, stem + down + 2 * 64 + head + 10);
  assert_int_equal(one.macs, 32 * 32 * stem + 16 * 16 * down + head);
  int64_t values = 32 * 32 * 32 + 3 * 16 * 16 * 64 + 64 + 10;
  assert_int_equal(one.activation_bytes, 4 * values);
  assert_int_equal(many.train_bytes - one.train_bytes, 31 * 4 * (values + 32 * 32 * 3 + 2 * 32 * 32 * 32));
  assert_int_equal(many.params, one.params);
  anas_model_destroy(model);
}

// A1.1, and the sizes of spec 6.
static void test_zoo(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int64_t params;
    double gmacs; // as printed in the table
  } cases[] = {{"cnn", 2192458, 0.0399}, {"resnet18", 11178058, 0.1412}, {"resnet34", 21286218, 0.2922}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_model *model;
    struct anas_model_cost cost;
    assert_int_equal(anas_zoo_build(cases[i].name, 32, 32, 3, 10, &model), ANAS_OK);
    assert_int_equal(anas_model_cost(model, 128, &cost), ANAS_OK);
    assert_int_equal(cost.params, cases[i].params);
    assert_true(fabs((double)cost.macs / 1e9 - cases[i].gmacs) < 5e-5);
    struct anas_properties *properties = anas_calloc((size_t)model->num_functions, sizeof *properties);
    assert_int_equal(anas_infer_properties(model, properties), ANAS_OK);
    const struct anas_properties *entry = &properties[anas_model_entry(model)];
    assert_digits(&entry->mixing[0][0], "10333333");
    if (i == 0) assert_int_equal(entry->depth[0][0], 7);
    free(properties);
    anas_model_destroy(model);
  }
}

// ---- inference after an edit

static int64_t infer_cached(const struct anas_model *model, struct anas_property_cache *cache,
                            struct anas_properties *out) {
  struct anas_property_options options = {.cache = cache};
  struct anas_properties *plain = anas_calloc((size_t)model->num_functions, sizeof *plain);
  int64_t before = anas_property_cache_transfers(cache);
  assert_int_equal(anas_infer_properties_with(model, &options, out), ANAS_OK);
  assert_int_equal(anas_infer_properties(model, plain), ANAS_OK);
  for (int f = 0; f < model->num_functions; f++)
    assert_memory_equal(&plain[f], &out[f], sizeof *plain);
  free(plain);
  return anas_property_cache_transfers(cache) - before;
}

// Transfers follow the edit: nothing without one, the edited function if its summary stays, its callers if it does not.
static void test_inference_after_an_edit(void **state) {
  (void)state;
  struct anas_model *model;
  assert_int_equal(anas_zoo_build("resnet34", 32, 32, 3, 10, &model), ANAS_OK);
  struct anas_property_cache *cache = anas_property_cache_create();
  struct anas_properties *properties = anas_calloc((size_t)model->num_functions, sizeof *properties);
  int64_t whole = infer_cached(model, cache, properties), all_nodes = 0;
  for (int f = 0; f < model->num_functions; f++)
    all_nodes += model->functions[f].num_nodes;
  assert_true(whole > 50 && whole < all_nodes); // instances of a block with the same types are one function
  assert_int_equal(infer_cached(model, cache, properties), 0);

  struct anas_model *child = anas_model_clone(model);
  assert_int_equal(infer_cached(child, cache, properties), 0);
  const struct anas_function *main = &child->functions[anas_model_find(child, "main")];
  struct anas_function *edited = NULL;
  struct anas_node *relu = NULL;
  for (int f = 0; f < child->num_functions; f++)
    for (int n = 0; n < child->functions[f].num_nodes; n++) {
      struct anas_node *node = &child->functions[f].nodes[n];
      if (&child->functions[f] == main || !node->def || strcmp(node->def->name, "relu")) continue;
      edited = &child->functions[f];
      relu = node;
    }
  assert_non_null(relu);
  relu->def = anas_op_find("gelu", 4);
  assert_int_equal(infer_cached(child, cache, properties), edited->num_nodes);
  relu->def = anas_op_find("identity", 8); // less depth
  int64_t after = infer_cached(child, cache, properties);
  assert_true(after > edited->num_nodes && after <= edited->num_nodes + main->num_nodes);
  relu->def = anas_op_find("relu", 4);
  assert_int_equal(infer_cached(child, cache, properties), 0);
  anas_model_destroy(child);
  anas_model_destroy(model);
  anas_property_cache_destroy(cache);
  free(properties);
}

// A session says after every edit what inference from nothing says, and evaluates only what the edit reaches.
static void test_session_follows_edits(void **state) {
  (void)state;
  static const char *const kinds[] = {"relu", "gelu", "identity", "batch_norm", "softmax"};
  static const char *const names[] = {"resnet34", "b0"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    struct anas_rng rng = anas_rng_make(41);
    struct anas_model *model;
    struct anas_property_session *session;
    assert_int_equal(anas_zoo_build(names[i], 64, 64, 3, 10, &model), ANAS_OK);
    assert_int_equal(anas_property_session_create(model, &session), ANAS_OK);
    struct anas_properties *plain = anas_calloc((size_t)model->num_functions, sizeof *plain);
    int main = anas_model_find(model, "main"), quiet = 0;
    for (int edit = 0; edit < 150; edit++) {
      int f = (int)anas_rng_below(&rng, (uint64_t)model->num_functions);
      struct anas_function *function = &model->functions[f];
      struct anas_node *node = &function->nodes[anas_rng_below(&rng, (uint64_t)function->num_nodes)];
      if (!node->def || node->num_operands != 1 ||
          !anas_shape_equal(anas_value_type(function, node->operand[0]), &node->result[0]))
        continue;
      const char *kind = kinds[anas_rng_below(&rng, sizeof kinds / sizeof *kinds)];
      node->def = anas_op_find(kind, strlen(kind));
      memset(node->attr, 0, sizeof node->attr);
      int64_t before = anas_property_session_transfers(session);
      assert_int_equal(anas_property_session_update(session, model, &f, 1), ANAS_OK);
      int64_t cost = anas_property_session_transfers(session) - before;
      assert_true(cost <= function->num_nodes + (f == main ? 0 : model->functions[main].num_nodes));
      quiet += f != main && cost == function->num_nodes;
      assert_int_equal(anas_infer_properties(model, plain), ANAS_OK);
      assert_memory_equal(plain, anas_property_session_get(session), (size_t)model->num_functions * sizeof *plain);
    }
    assert_true(quiet > 0);
    free(plain);
    anas_property_session_destroy(session);
    anas_model_destroy(model);
  }
}

// A head split makes the channels a function of two dimensions; across a call, the callee's ops are then looked into.
static void test_calls_that_need_the_callee(void **state) {
  (void)state;
  if (!anas_op_find("reshape", 7)) skip();
  static const char *const block =
      "func.func private @block(%x: tensor<?x6x4xf32>) -> tensor<?x3x4xf32> {\n"
      "  %0 = \"anas.avg_pool\"(%x) {window = 2 : i64, strides = 2 : i64} : (tensor<?x6x4xf32>) -> tensor<?x3x4xf32>\n"
      "  return %0 : tensor<?x3x4xf32>\n"
      "}\n";
  struct anas_strbuf text = {0};
  anas_strbuf_adds(&text, "func.func @main(%x: tensor<?x24xf32>) -> tensor<?x12xf32> {\n"
                          "  %0 = \"anas.reshape\"(%x) {new_shape = [\"B\", 6, 4]} : (tensor<?x24xf32>) -> "
                          "tensor<?x6x4xf32>\n"
                          "  %1 = call @block(%0) : (tensor<?x6x4xf32>) -> tensor<?x3x4xf32>\n"
                          "  %2 = \"anas.flatten\"(%1) : (tensor<?x3x4xf32>) -> tensor<?x12xf32>\n"
                          "  return %2 : tensor<?x12xf32>\n"
                          "}\n");
  anas_strbuf_adds(&text, block);
  struct anas_model *model = load(anas_strbuf_text(&text));
  struct anas_properties properties[2];
  assert_int_equal(anas_infer_properties(model, properties), ANAS_OK);
  assert_true(properties[0].exact);
  assert_digits(&properties[0].mixing[0][0], "1002"); // every feature is read, two at a time
  // An edit that the block's summary does not show, but its body does.
  struct anas_property_session *session;
  assert_int_equal(anas_property_session_create(model, &session), ANAS_OK);
  int block_index = anas_model_find(model, "block");
  model->functions[block_index].nodes[0].def = anas_op_find("max_pool", 8);
  assert_int_equal(anas_property_session_update(session, model, &block_index, 1), ANAS_OK);
  assert_int_equal(anas_infer_properties(model, properties), ANAS_OK);
  assert_memory_equal(properties, anas_property_session_get(session), sizeof properties);
  anas_property_session_destroy(session);
  anas_model_destroy(model);
  anas_strbuf_deinit(&text);
}

// ---- every op

static anas_status sample_op(const struct anas_op_def *def, const struct anas_sample *sample, struct anas_op *out,
                             struct anas_shape *out_result) {
  struct anas_strbuf text = {0};
  anas_strbuf_adds(&text, "func.func @main(");
  int operands = 0;
  while (operands < ANAS_MAX_OPERANDS && sample->operand[operands])
    operands++;
  for (int q = 0; q < operands; q++)
    anas_strbuf_addf(&text, "%s%%x%d: tensor<%s>", q ? ", " : "", q, sample->operand[q]);
  anas_strbuf_addf(&text, ") -> tensor<%s> {\n%%r = \"anas.%s\"(", sample->result, def->name);
  for (int q = 0; q < operands; q++)
    anas_strbuf_addf(&text, "%s%%x%d", q ? ", " : "", q);
  anas_strbuf_addf(&text, ") %s : (", sample->attrs);
  for (int q = 0; q < operands; q++)
    anas_strbuf_addf(&text, "%stensor<%s>", q ? ", " : "", sample->operand[q]);
  anas_strbuf_addf(&text, ") -> tensor<%s>\nreturn %%r : tensor<%s>\n}\n", sample->result, sample->result);
  struct anas_model *model = load(anas_strbuf_text(&text));
  const struct anas_function *function = &model->functions[0];
  struct anas_shape types[ANAS_MAX_OPERANDS];
  for (int q = 0; q < operands; q++)
    types[q] = *anas_value_type(function, function->nodes[0].operand[q]);
  anas_status status = anas_node_resolve(&function->nodes[0], types, out);
  *out_result = function->nodes[0].result[0];
  anas_model_destroy(model);
  anas_strbuf_deinit(&text);
  return status;
}

static void test_pairing_of_every_sample(void **state) {
  (void)state;
  int num_defs, checked = 0;
  const struct anas_op_def *const *defs = anas_op_table(&num_defs);
  for (int d = 0; d < num_defs; d++) {
    if (defs[d]->level != ANAS_ARCHITECTURE || !defs[d]->deps) continue;
    for (int s = 0; s < defs[d]->num_samples; s++) {
      struct anas_op op;
      struct anas_shape result;
      assert_int_equal(sample_op(defs[d], &defs[d]->samples[s], &op, &result), ANAS_OK);
      for (int q = 0; q < op.num_operands; q++) {
        struct anas_dep deps[ANAS_MAX_RANK] = {0};
        struct anas_mixing actual, expected;
        defs[d]->deps(&op, q, &result, deps);
        anas_mixing_of_op(&op, q, &result, &actual);
        test_literal_pairing(deps, &op.operand[q], &result, &expected);
        assert_memory_equal(&actual, &expected, sizeof actual);
        checked++;
      }
    }
  }
  assert_true(checked >= 20);
}

// A2: softmax, and a convolution on a tensor with one spatial dimension.
static void test_named_pairings(void **state) {
  (void)state;
  static const struct {
    const char *op;
    struct anas_sample sample;
    const char *mixing;
  } cases[] = {
      {"softmax", {{"5x5x5xf32"}, "{}", "5x5x5xf32"}, "100010333"},
      {"conv", {{"5x5x5xf32"}, "{features = 10 : i64, kernel = 3 : i64}", "5x5x10xf32"}, "100020333"},
      {"conv", {{"2x3x3x4xf32"}, "{features = 4 : i64, kernel = 3 : i64}", "2x3x3x4xf32"}, "1000333333333333"},
      {"conv",
       {{"2x8x8x16xf32"}, "{features = 16 : i64, kernel = 3 : i64, groups = 16 : i64}", "2x8x8x16xf32"},
       "1000020000200001"},
      {"conv",
       {{"2x8x8x16xf32"}, "{features = 16 : i64, kernel = 3 : i64, groups = 4 : i64}", "2x8x8x16xf32"},
       "1000020000200002"},
      {"conv",
       {{"2x8x8x16xf32"}, "{features = 16 : i64, kernel = 1 : i64, strides = 2 : i64}", "2x4x4x16xf32"},
       "1000000000003333"},
      {"avg_pool", {{"2x8x8x16xf32"}, "{window = 0 : i64}", "2x1x1x16xf32"}, "1000333333330001"},
      {"flatten", {{"2x8x8x16xf32"}, "{}", "2x1024xf32"}, "10010101"},
      {"dense", {{"2x8x8x16xf32"}, "{features = 4 : i64}", "2x8x8x4xf32"}, "1000010000103333"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_op op;
    struct anas_shape result;
    struct anas_mixing mixing;
    assert_int_equal(sample_op(anas_op_find(cases[i].op, strlen(cases[i].op)), &cases[i].sample, &op, &result),
                     ANAS_OK);
    anas_mixing_of_op(&op, 0, &result, &mixing);
    assert_digits(&mixing, cases[i].mixing);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_called_functions_are_summarised),
      cmocka_unit_test(test_depth_of_graphs),
      cmocka_unit_test(test_argument_without_path),
      cmocka_unit_test(test_cost_of_module),
      cmocka_unit_test(test_zoo),
      cmocka_unit_test(test_inference_after_an_edit),
      cmocka_unit_test(test_session_follows_edits),
      cmocka_unit_test(test_calls_that_need_the_callee),
      cmocka_unit_test(test_pairing_of_every_sample),
      cmocka_unit_test(test_named_pairings),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
