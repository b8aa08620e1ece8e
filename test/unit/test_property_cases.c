// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The conformance cases about properties: A1 depth, A2 mixing, A3 shape, C4 depth of chains, C5 composition, C8
// distances, and the invariants of part D that belong to properties; quirks of the reference in strict mode.
#include "passes/analysis/analysis.h"
#include "passes/mutate/internal.h"
#include "test/unit/chains.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_CHAIN 12

// ---- chains from text: "conv3/2*2" is a 3x3 convolution of stride 2 with twice the features, "pool2/2" an avg_pool

static int read_int(const char **text, char mark, int fallback) {
  if (**text != mark) return fallback;
  (*text)++;
  return (int)strtol(*text, (char **)text, 10);
}

static struct anas_node parse_op(const char **text) {
  char name[32];
  size_t length = strspn(*text, "abcdefghijklmnopqrstuvwxyz_");
  memcpy(name, *text, length);
  name[length] = 0;
  *text += length;
  if (!strcmp(name, "pool")) strcpy(name, "avg_pool");
  struct anas_node node = test_node(name);
  assert_non_null(node.def);
  bool window = !strcmp(name, "conv") || strstr(name, "pool");
  int size = window && **text >= '0' && **text <= '9' ? (int)strtol(*text, (char **)text, 10) : 1;
  int stride = read_int(text, '/', 1), mul = read_int(text, '*', 1), count = read_int(text, '=', 0);
  if (!strcmp(name, "conv") || !strcmp(name, "dense")) {
    if (count)
      test_attr(&node, "features")->value.dim = (struct anas_dim_expr){.constant = count};
    else
      test_set_size(&node, "features", mul, 1);
  }
  if (!strcmp(name, "conv")) test_set_ints(&node, "kernel", size);
  if (strstr(name, "pool")) test_set_ints(&node, "window", size);
  if (window) test_set_ints(&node, "strides", stride);
  if (!strcmp(name, "group_norm") && count) test_attr(&node, "num_groups")->value.dim.constant = count;
  for (int i = 0; i < node.def->num_attrs; i++)
    if (node.def->attrs[i].required && !node.attr[i].present) node.attr[i] = node.def->attrs[i].test_set[0];
  return node;
}

// A function that is the chain.
static struct anas_model *chain_model(const char *text, struct anas_shape input, bool linear) {
  struct anas_model *model = anas_model_create();
  struct anas_function *function = anas_model_add_function(model, "main");
  function->num_args = 1;
  function->arg[0] = input;
  function->arg_linear[0] = linear;
  while (*text) {
    struct anas_node node = parse_op(&text);
    node.operand[0] = (struct anas_ref){function->num_nodes - 1, 0};
    *anas_function_add_node(function, node.def) = node;
    while (*text == ' ')
      text++;
  }
  function->num_results = 1;
  function->result[0] = (struct anas_ref){function->num_nodes - 1, 0};
  if (anas_model_infer_shapes(model) != ANAS_OK) fail_msg("%s", anas_error_message());
  return model;
}

static struct anas_properties properties_of(const struct anas_model *model, bool strict) {
  struct anas_properties out;
  struct anas_property_options options = {.strict_reference = strict};
  if (anas_infer_properties_with(model, &options, &out) != ANAS_OK) fail_msg("%s", anas_error_message());
  return out;
}

static struct anas_properties chain_properties(const char *text, struct anas_shape input, bool linear, bool strict) {
  struct anas_model *model = chain_model(text, input, linear);
  struct anas_properties out = properties_of(model, strict);
  anas_model_destroy(model);
  return out;
}

static void assert_digits(const struct anas_mixing *m, const char *digits) {
  char text[ANAS_MAX_RANK * ANAS_MAX_RANK + 1] = "";
  for (int i = 0; i < m->rows; i++)
    for (int j = 0; j < m->columns; j++)
      text[i * m->columns + j] = (char)('0' + m->pair[i][j]);
  assert_string_equal(text, digits);
}

// F1 of the conformance cases.
static const char f1[] = "conv1=32 conv3*2 relu pool2/2 conv3*2 relu pool2/2 flatten dense=256 relu dense=10";

static struct anas_shape image(int64_t batch) {
  return test_shape4(batch, 32, 32, 3);
}

// ---- A1

static void test_a1_depth(void **state) {
  (void)state;
  struct anas_properties whole = chain_properties(f1, image(5), false, false);
  assert_int_equal(whole.num_results, 1); // A1.1
  assert_int_equal(whole.num_args, 1);
  assert_int_equal(whole.depth[0][0], 7);
  struct anas_mutation_options options = {
      .use_shape = true, .use_depth = true, .use_mixing = true, .depth_probability = 1, .depth_delta_max = 5};
  int seen[2] = {0};
  for (uint64_t seed = 0; seed < 32; seed++) { // A1.2
    struct anas_rng rng = anas_rng_make(seed);
    struct anas_property_change change;
    int64_t depth = whole.depth[0][0];
    anas_draw_change(&options, true, &rng, &change);
    anas_change_depth(&change, &depth);
    assert_true(depth == 2 || depth == 12);
    seen[depth == 12]++;
  }
  assert_true(seen[0] && seen[1]);
  assert_true(anas_depth_distance(whole.depth[0][0], whole.depth[0][0]) == 0); // A1.3
  char without_last[sizeof f1];
  strcpy(without_last, f1);
  *strstr(without_last, " dense=10") = 0;
  struct anas_properties shorter = chain_properties(without_last, image(5), false, false);
  assert_int_equal(shorter.depth[0][0], 6); // A1.4
  assert_true(anas_depth_distance(whole.depth[0][0], shorter.depth[0][0]) > 0);
  assert_true(anas_depth_distance(shorter.depth[0][0], whole.depth[0][0]) == 0); // A1.5
}

// ---- A2

static void test_a2_mixing(void **state) {
  (void)state;
  struct anas_shape cube = {.rank = 3, .dim = {5, 5, 5}};
  for (int strict = 0; strict < 2; strict++) {
    struct anas_properties softmax = chain_properties("softmax", cube, false, strict);
    struct anas_properties conv = chain_properties("conv3=10", cube, false, strict);
    assert_digits(&softmax.mixing[0][0], "100010333"); // A2.1
    // A2.2: the reference takes the tensor for one image without a batch; here the first dimension is the batch, as
    // everywhere (spec 8.1, B4).
    assert_digits(&conv.mixing[0][0], "100020333");
    assert_true(anas_mixing_distance(&conv.mixing[0][0], &conv.mixing[0][0]) == 0);
    assert_true(anas_mixing_distance(&softmax.mixing[0][0], &conv.mixing[0][0]) == 0); // A2.3
    assert_true(anas_mixing_distance(&conv.mixing[0][0], &softmax.mixing[0][0]) > 0);  // A2.4
  }
}

// ---- A3

static void assert_shape(const struct anas_shape *actual, struct anas_shape expected) {
  assert_true(anas_shape_equal(actual, &expected));
}

static void test_a3_shape(void **state) {
  (void)state;
  struct anas_model *model = chain_model(f1, image(5), false);
  const struct anas_function *function = &model->functions[0];
  struct anas_shape logits = {.rank = 2, .dim = {5, 10}}, relu = {.rank = 2, .dim = {5, 256}};
  assert_shape(&function->arg[0], image(5)); // A3.1
  assert_shape(&function->result_type[0], logits);
  assert_int_equal(function->num_nodes, 11); // A3.2
  for (int n = 0; n < function->num_nodes; n++)
    assert_true(function->nodes[n].result[0].rank >= 2);
  assert_shape(&function->nodes[10].result[0], logits);
  assert_int_equal(anas_check_sizes(model, 1, 327680), ANAS_OK); // A3.3
  assert_int_equal(anas_check_sizes(model, 1, 327679), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "max-size"));
  assert_true(anas_shape_distance(&logits, &logits) == 0); // A3.4
  assert_shape(&function->nodes[9].result[0], relu);       // A3.5
  assert_true(anas_shape_distance(&logits, &relu) != 0);
  anas_model_destroy(model);
  // A3.6: the second layer's convolution and relu replaced.
  model = chain_model("conv1=32 conv3*2 relu pool2/2 conv1=64 gelu pool2/2", image(5), false);
  assert_shape(&model->functions[0].nodes[5].result[0], test_shape4(5, 16, 16, 64));
  anas_model_destroy(model);
}

// ---- C4

static void test_c4_depth_of_chains(void **state) {
  (void)state;
  static const struct {
    const char *chain;
    int external, linear;               // ideal
    int strict_external, strict_linear; // -1: the same
  } cases[] = {
      {"conv3", 1, 0, -1, -1},
      {"relu", 0, 1, -1, -1},
      {"conv3 relu", 2, 1, -1, -1},
      {"relu conv3", 1, 2, -1, -1},
      {"conv3 batch_norm relu", 2, 1, -1, -1},
      {"relu gelu", 0, 1, -1, -1},
      {"conv3 relu conv3", 3, 2, -1, -1},
      {"softmax dense relu", 2, 3, -1, -1},
      {"dense gelu dense", 3, 2, -1, -1},
      {"conv3 relu pool2/2 conv3 relu pool2/2", 5, 4, -1, -1},
      {"dropout layer_norm max_pool2/2", 1, 0, -1, -1},
      {"relu swish sigmoid softmax gelu", 0, 1, -1, -1},
      {"group_norm softmax scalar_mul relu", 4, 3, -1, -1},
      // What the reference does with neutral ops.
      {"identity", 0, 0, -1, -1},
      {"relu identity relu", 0, 1, 1, 2},
      {"conv3 identity relu", 2, 1, 1, 0},
      {"identity conv3 relu", 2, 1, 0, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int linear = 0; linear < 2; linear++)
      for (int strict = 0; strict < 2; strict++) {
        int expected = linear ? cases[i].linear : cases[i].external;
        if (strict && cases[i].strict_external >= 0)
          expected = linear ? cases[i].strict_linear : cases[i].strict_external;
        struct anas_properties p = chain_properties(cases[i].chain, test_shape4(2, 16, 16, 64), linear, strict);
        if (p.depth[0][0] != expected)
          fail_msg("%s, linear %d, strict %d: %d, expected %d", cases[i].chain, linear, strict, (int)p.depth[0][0],
                   expected);
      }
}

static void test_c4_graphs(void **state) {
  (void)state;
  // add(conv -> relu -> conv, x) from a graph input, and the second value in the middle of it as a result.
  struct anas_model *model = chain_model("conv3 relu conv3", test_shape4(2, 16, 16, 64), false);
  struct anas_function *function = &model->functions[0];
  struct anas_node add = test_node("add");
  add.num_operands = 2;
  add.operand[0] = (struct anas_ref){2, 0};
  add.operand[1] = (struct anas_ref){ANAS_ARGUMENT, 0};
  *anas_function_add_node(function, add.def) = add;
  function->result[0] = (struct anas_ref){3, 0};
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  for (int strict = 0; strict < 2; strict++)
    assert_int_equal(properties_of(model, strict).depth[0][0], 3);
  function->num_results = 2;
  function->result[0] = (struct anas_ref){1, 0};
  function->result[1] = (struct anas_ref){2, 0};
  function->result_type[1] = function->result_type[0];
  assert_int_equal(properties_of(model, false).depth[0][0], 2);
  assert_int_equal(properties_of(model, false).depth[1][0], 3);
  assert_int_equal(properties_of(model, true).depth[0][0], 2);
  assert_int_equal(properties_of(model, true).depth[1][0], -1); // hidden by the first result (B14)
  anas_model_destroy(model);
}

// ---- C5

static void test_c5_chains(void **state) {
  (void)state;
  static const struct {
    const char *chain, *exact, *strict;
    struct anas_shape result;
  } cases[] = {
      {"conv3 conv1/2", "1000020000203333", "1000000000003333", {4, ANAS_F32, {2, 8, 8, 64}}},
      {"conv1/2 conv3", "1000000000003333", "1000000000003333", {4, ANAS_F32, {2, 8, 8, 64}}},
      {"conv3 conv3 conv3 conv3 conv3 conv3 conv3 conv3",
       "1000333333333333",
       "1000020000203333",
       {4, ANAS_F32, {2, 16, 16, 64}}},
      {"pool2/2 conv1", "1000020000203333", "1000020000203333", {4, ANAS_F32, {2, 8, 8, 64}}},
      {"relu max_pool2/2", "1000020000200001", "1000020000200001", {4, ANAS_F32, {2, 8, 8, 64}}},
      {"group_norm=1 conv1/2", "1000333333333333", "1000333333333333", {4, ANAS_F32, {2, 8, 8, 64}}},
      {"conv3 flatten dense=10", "10333333", "10333333", {2, ANAS_F32, {2, 10}}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_model *model = chain_model(cases[i].chain, test_shape4(2, 16, 16, 64), false);
    struct anas_properties exact = properties_of(model, false), strict = properties_of(model, true);
    assert_shape(&model->functions[0].result_type[0], cases[i].result);
    assert_digits(&exact.mixing[0][0], cases[i].exact);
    assert_digits(&strict.mixing[0][0], cases[i].strict);
    assert_true(exact.exact);
    anas_model_destroy(model);
  }
}

static void test_c5_whole_network(void **state) {
  (void)state;
  // The values of F1 in order, then F1[4:7] and the whole with one spatial dimension.
  static const struct {
    const char *chain, *mixing;
  } prefixes[] = {
      {"conv1=32", "1000010000103333"},
      {"conv1=32 conv3*2", "1000020000203333"},
      {"conv1=32 conv3*2 relu pool2/2", "1000020000203333"},
      {"conv1=32 conv3*2 relu pool2/2 conv3*2 relu pool2/2", "1000020000203333"},
      {"conv1=32 conv3*2 relu pool2/2 conv3*2 relu pool2/2 flatten", "10020233"},
      {"conv1=32 conv3*2 relu pool2/2 conv3*2 relu pool2/2 flatten dense=256", "10333333"},
      {f1, "10333333"},
  };
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    for (int strict = 0; strict < 2; strict++)
      assert_digits(&chain_properties(prefixes[i].chain, image(10), false, strict).mixing[0][0], prefixes[i].mixing);
  struct anas_shape row = {.rank = 3, .dim = {32, 32, 3}};
  struct anas_model *model = chain_model("conv1=32 conv3*2 relu pool2/2 conv3*2 relu pool2/2 flatten", row, false);
  static const int64_t extents[][3] = {{32, 32, 32},  {32, 32, 64},  {32, 32, 64}, {32, 16, 64},
                                       {32, 16, 128}, {32, 16, 128}, {32, 8, 128}};
  for (int n = 0; n < 7; n++)
    assert_memory_equal(model->functions[0].nodes[n].result[0].dim, extents[n], sizeof extents[n]);
  assert_int_equal(model->functions[0].nodes[7].result[0].dim[1], 1024);
  anas_model_destroy(model);
  struct anas_shape middle = {.rank = 3, .dim = {32, 16, 64}};
  for (int strict = 0; strict < 2; strict++)
    assert_digits(&chain_properties("conv3*2 relu pool2/2", middle, false, strict).mixing[0][0], "100020333");
}

// C5: a property of a slice is that of the chain that it is (cases A8).
static void test_slices_of_f1(void **state) {
  (void)state;
  static const struct {
    const char *chain;
    int64_t side, channels;
    bool linear;
    int depth;
    int64_t out_side, out_channels;
  } cases[] = {
      {"conv3*2", 16, 64, true, 0, 16, 128},
      {"conv3*2 relu", 16, 64, true, 1, 16, 128},
      {"conv3*2 relu pool2/2", 16, 64, true, 2, 8, 128},
      {"conv3*2 relu pool2/2", 32, 32, true, 2, 16, 64},
      {"conv3*2 relu pool2/2 conv3*2 relu pool2/2", 32, 32, true, 4, 8, 128},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_shape input = test_shape4(5, cases[i].side, cases[i].side, cases[i].channels);
    struct anas_model *model = chain_model(cases[i].chain, input, cases[i].linear);
    struct anas_properties p = properties_of(model, false);
    assert_int_equal(p.depth[0][0], cases[i].depth);
    assert_digits(&p.mixing[0][0], "1000020000203333");
    assert_shape(&model->functions[0].result_type[0],
                 test_shape4(5, cases[i].out_side, cases[i].out_side, cases[i].out_channels));
    anas_model_destroy(model);
  }
}

// ---- C8; the single distances are in test_property_rules.c

static void test_c8_distances_over_pairs(void **state) {
  (void)state;
  struct anas_properties conv = chain_properties("conv3", test_shape4(2, 16, 16, 64), false, false);
  struct anas_properties dense = chain_properties("dense", test_shape4(2, 16, 16, 64), false, false);
  struct anas_properties required = {.num_results = 2, .num_args = 1, .depth = {{2}, {4}}};
  struct anas_properties actual = {.num_results = 2, .num_args = 1, .depth = {{1}, {4}}};
  assert_true(anas_properties_depth_distance(&required, &actual) == 0.25);
  actual.num_results = 1; // the second pair is missing
  assert_true(anas_properties_depth_distance(&required, &actual) == 0.75);
  required.depth[1][0] = -1; // and no longer required
  assert_true(anas_properties_depth_distance(&required, &actual) == 0.5);
  assert_true(anas_properties_mixing_distance(&conv, &dense) == 2.0 / 7);
  assert_true(anas_properties_mixing_distance(&conv, &conv) == 0);
  required.mixing[0][0] = conv.mixing[0][0];
  required.mixing[1][0] = conv.mixing[0][0];
  actual.mixing[0][0] = conv.mixing[0][0];
  assert_true(anas_properties_mixing_distance(&required, &actual) == 0.5);
  conv.mixing[0][0].rows = 0; // a deleted pair
  assert_true(anas_properties_mixing_distance(&conv, &dense) == 0);
}

// ---- defects of the reference that are not reproduced, strict or not (spec 8.1)

static void test_defects_are_not_reproduced(void **state) {
  (void)state;
  for (int strict = 0; strict < 2; strict++) {
    struct anas_shape input = test_shape4(2, 8, 8, 16);
    // B2: pairings do not depend on what was asked before.
    assert_digits(&chain_properties("conv3", input, false, strict).mixing[0][0], "1000020000203333");
    assert_digits(&chain_properties("conv1", input, false, strict).mixing[0][0], "1000010000103333");
    assert_digits(&chain_properties("conv1/2", input, false, strict).mixing[0][0], "1000000000003333");
    assert_digits(&chain_properties("conv3", test_shape4(2, 3, 3, 16), false, strict).mixing[0][0], "1000333333333333");
    // B3: max_pool by its windows.
    assert_digits(&chain_properties("max_pool2/2", input, false, strict).mixing[0][0], "1000020000200001");
    // B22: a spatial dimension of a convolution does not pair with the feature dimension.
    assert_int_equal(chain_properties("conv3", input, false, strict).mixing[0][0].pair[1][3], ANAS_PAIR_NONE);
  }
}

// B21: operands of different ranks, each read through its own pairing.
static void test_operands_of_different_ranks(void **state) {
  (void)state;
  struct anas_model *model = anas_model_create();
  struct anas_function *function = anas_model_add_function(model, "main");
  struct anas_node add = test_node("add");
  function->num_args = 2;
  function->arg[0] = test_shape4(2, 8, 8, 16);
  function->arg[1] = (struct anas_shape){.rank = 3, .dim = {8, 1, 16}};
  add.num_operands = 2;
  add.operand[1] = (struct anas_ref){ANAS_ARGUMENT, 1};
  add.operand[0] = (struct anas_ref){ANAS_ARGUMENT, 0};
  *anas_function_add_node(function, add.def) = add;
  function->num_results = 1;
  function->result[0] = (struct anas_ref){0, 0};
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  for (int strict = 0; strict < 2; strict++) {
    struct anas_properties p = properties_of(model, strict);
    assert_digits(&p.mixing[0][0], "1000010000100001");
    assert_digits(&p.mixing[0][1], "010033330001");
  }
  anas_model_destroy(model);
}

// ---- what the published composition gets wrong (spec 2.4)

static void test_imprecisions_are_gone(void **state) {
  (void)state;
  static const struct {
    const char *what, *chain, *exact, *strict;
    int64_t side;
  } cases[] = {
      {"(a) windows that together read everything", "conv3 conv3 conv3", "1000333333333333", "1000020000203333", 5},
      {"(b) coverage regained", "conv3 conv1/2", "1000020000203333", "1000000000003333", 8},
      {"(b) in two steps", "conv7 conv1/2 conv1/2", "1000020000203333", "1000000000003333", 16},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_shape input = test_shape4(2, cases[i].side, cases[i].side, 4);
    assert_digits(&chain_properties(cases[i].chain, input, false, false).mixing[0][0], cases[i].exact);
    assert_digits(&chain_properties(cases[i].chain, input, false, true).mixing[0][0], cases[i].strict);
  }
  // (c) The centre of the flattened value is not above the centre of the convolution: there the window is cut off at
  // the border and reads two of three positions, not all.
  struct anas_shape input = test_shape4(2, 2, 3, 1);
  assert_digits(&chain_properties("conv3=1 flatten", input, false, false).mixing[0][0], "10330233");
  assert_digits(&chain_properties("conv3=1 flatten", input, false, true).mixing[0][0], "10333333");
}

// Functions that only call, each the next one twice: summaries do not care, what expands calls says no.
static void test_calls_without_end(void **state) {
  (void)state;
  struct anas_model *model = anas_model_create();
  for (int f = 0; f < 40; f++) {
    char name[16];
    snprintf(name, sizeof name, "f%d", f);
    struct anas_function *function = anas_model_add_function(model, name);
    function->is_private = f > 0;
    function->num_args = function->num_results = 1;
    function->arg[0] = test_shape4(2, 8, 8, 4);
    function->result[0] = (struct anas_ref){ANAS_ARGUMENT, 0};
    for (int n = 0; n < 2 && f < 39; n++) {
      struct anas_node *call = anas_function_add_node(function, NULL);
      call->callee = f + 1;
      call->num_operands = call->num_results = 1;
      call->operand[0] = (struct anas_ref){n - 1, 0};
      function->result[0] = (struct anas_ref){n, 0};
    }
  }
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  struct anas_properties properties[40];
  struct anas_property_options strict = {.strict_reference = true};
  assert_int_equal(anas_infer_properties(model, properties), ANAS_OK);
  assert_digits(&properties[0].mixing[0][0], "1000010000100001");
  assert_int_equal(anas_infer_properties_with(model, &strict, properties), ANAS_INVALID);
  anas_model_destroy(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a1_depth),
      cmocka_unit_test(test_a2_mixing),
      cmocka_unit_test(test_a3_shape),
      cmocka_unit_test(test_c4_depth_of_chains),
      cmocka_unit_test(test_c4_graphs),
      cmocka_unit_test(test_c5_chains),
      cmocka_unit_test(test_c5_whole_network),
      cmocka_unit_test(test_slices_of_f1),
      cmocka_unit_test(test_c8_distances_over_pairs),
      cmocka_unit_test(test_defects_are_not_reproduced),
      cmocka_unit_test(test_operands_of_different_ranks),
      cmocka_unit_test(test_imprecisions_are_gone),
      cmocka_unit_test(test_calls_without_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
