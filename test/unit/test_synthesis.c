// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Progressive synthesis: properties of chains, distances of partial programs, the alphabet, and whole syntheses. Case
// numbers are those of the conformance list.
#include "test/unit/chains.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define NEAR(actual, expected) assert_true(fabs((actual) - (expected)) < 1e-9)

static void assert_digits(const struct anas_mixing *m, const char *digits) {
  assert_int_equal(strlen(digits), m->rows * m->columns);
  for (int i = 0; i < m->rows; i++)
    for (int j = 0; j < m->columns; j++)
      assert_int_equal(m->pair[i][j], digits[i * m->columns + j] - '0');
}

static struct anas_synthesis_options options(enum anas_synthesis_mode mode, int max_length) {
  return (struct anas_synthesis_options){
      .mode = mode, .min_length = 1, .max_length = max_length, .epsilon = 0.1, .exponent = 2, .grow_probability = 0.2};
}

// ---- properties of chains of real ops (C5)

static void test_chain_properties(void **state) {
  (void)state;
  struct anas_node flatten = test_node("flatten"), dense = test_node("dense");
  test_attr(&dense, "features")->value.dim = (struct anas_dim_expr){.constant = 10, .div = 1, .mul = 1};
  struct anas_node conv3 = test_conv(1, 3, 1), strided = test_conv(1, 1, 2);
  const struct {
    struct anas_node chain[3];
    int length;
    int64_t features;
    const char *lattice, *exact; // null: the same
  } cases[] = {
      {{conv3, strided}, 2, 64, "1000000000003333", "1000020000203333"},
      {{strided, conv3}, 2, 64, "1000000000003333", NULL},
      {{test_pool("avg_pool", 2, 2), test_conv(1, 1, 1)}, 2, 64, "1000020000203333", NULL},
      {{test_node("relu"), test_pool("max_pool", 2, 2)}, 2, 64, "1000020000200001", NULL},
      {{conv3, flatten, dense}, 3, 10, "10333333", NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int lattice = 0; lattice < 2; lattice++) {
      struct anas_target t;
      assert_true(
          test_target_by(lattice, cases[i].chain, cases[i].length, test_shape4(ANAS_DYNAMIC, 16, 16, 64), false, &t));
      assert_int_equal(t.output.dim[t.output.rank - 1], cases[i].features);
      assert_digits(&t.mixing, lattice || !cases[i].exact ? cases[i].lattice : cases[i].exact);
    }
  // Eight 3x3 convolutions read everything.
  struct anas_node eight[8];
  struct anas_target t;
  for (int i = 0; i < 8; i++)
    eight[i] = conv3;
  assert_true(test_target_by(true, eight, 8, test_shape4(2, 16, 16, 64), false, &t));
  assert_digits(&t.mixing, "1000020000203333");
  assert_true(test_target_by(false, eight, 8, test_shape4(2, 16, 16, 64), false, &t));
  assert_digits(&t.mixing, "1000333333333333");
}

// C4 with ops of the table: behind a graph input, and behind a linear op.
static void test_depth_of_named_chains(void **state) {
  (void)state;
  static const struct {
    const char *ops[6];
    int external, linear;
  } cases[] = {
      {{"conv"}, 1, 0},
      {{"relu"}, 0, 1},
      {{"conv", "relu"}, 2, 1},
      {{"relu", "conv"}, 1, 2},
      {{"conv", "batch_norm", "relu"}, 2, 1},
      {{"relu", "gelu"}, 0, 1},
      {{"conv", "relu", "conv"}, 3, 2},
      {{"softmax", "dense", "relu"}, 2, 3},
      {{"dense", "gelu", "dense"}, 3, 2},
      {{"conv", "relu", "avg_pool", "conv", "relu", "avg_pool"}, 5, 4},
      {{"dropout", "batch_norm", "max_pool"}, 1, 0},
      {{"relu", "swish", "sigmoid", "softmax", "gelu"}, 0, 1},
      {{"batch_norm", "softmax", "scalar_mul", "relu"}, 4, 3},
      {{"relu", "identity", "relu"}, 0, 1},
      {{"conv", "identity", "relu"}, 2, 1},
      {{"identity", "conv", "relu"}, 2, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int linear = 0; linear < 2; linear++) {
      struct anas_depth_state depth = {0, linear ? ANAS_LINEAR : ANAS_NONLINEAR};
      for (int n = 0; n < 6 && cases[i].ops[n]; n++) {
        const struct anas_op_def *def = anas_op_find(cases[i].ops[n], strlen(cases[i].ops[n]));
        assert_non_null(def);
        depth = anas_depth_append(depth, def->linearity);
      }
      assert_int_equal(depth.depth, linear ? cases[i].linear : cases[i].external);
    }
}

// A8: the slices of F1 that the reference's tests replace.
static void test_slices_of_f1(void **state) {
  (void)state;
  static const struct {
    int from, to, depth;
    int64_t extent, features;
  } cases[] = {{4, 5, 0, 16, 128}, {4, 6, 1, 16, 128}, {4, 7, 2, 8, 128}, {1, 4, 2, 16, 64}, {1, 7, 4, 8, 128}};
  struct anas_node f1[6];
  test_f1_layers(f1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_target t;
    test_f1_slice(f1, cases[i].from, cases[i].to, &t);
    struct anas_shape expected = test_shape4(5, cases[i].extent, cases[i].extent, cases[i].features);
    assert_true(anas_shape_equal(&t.output, &expected));
    assert_int_equal(t.depth, cases[i].depth);
    assert_digits(&t.mixing, "1000020000203333");
  }
}

// ---- distances of programs (C8), target F1[4:7] with all three properties

static void test_program_distances(void **state) {
  (void)state;
  struct anas_node f1[6], relu = test_node("relu"), scalar_mul = test_node("scalar_mul");
  struct anas_node softmax = test_node("softmax"), batch_norm = test_node("batch_norm");
  struct anas_node down = test_conv(2, 3, 2);
  test_f1_layers(f1);
  struct anas_target target;
  test_f1_slice(f1, 4, 7, &target);
  const struct {
    struct anas_node chain[4];
    int length;
    double distance; // negative: infeasible
  } cases[] = {
      {{relu}, 1, 0.75 + 0.5 + 6.0 / 7},
      {{down}, 1, 1},
      {{down, relu}, 2, 0.5},
      {{down, relu, scalar_mul}, 3, 0},
      {{test_dense(2), relu, test_pool("avg_pool", 2, 2)}, 3, 0},
      {{test_conv(2, 1, 2), relu, test_conv(1, 3, 1)}, 3, 2.0 / 7},
      {{test_conv(2, 3, 1), relu, test_pool("max_pool", 2, 2)}, 3, 0},
      {{test_pool("avg_pool", 2, 2), test_conv(2, 3, 1), relu, batch_norm}, 4, 0},
      {{softmax, down}, 2, 0},
      {{test_conv(1, 3, 3)}, 1, -1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double distance = anas_chain_distance(&target, 1, cases[i].chain, cases[i].length);
    if (cases[i].distance < 0)
      assert_true(distance < 0);
    else
      NEAR(distance, cases[i].distance);
  }
}

// ---- alphabet

static int count_of(const struct anas_alphabet *alphabet, const char *name) {
  int count = 0;
  for (int s = 0; s < alphabet->count; s++)
    count += alphabet->symbols[s].exact_attr < 0 && !strcmp(alphabet->symbols[s].op.def->name, name);
  return count;
}

static void test_alphabet_sizes(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_alphabet alphabet;
  // One convolution that doubles the features adds the factor 8 (spec 3.5, without the aliasing of window and strides).
  struct anas_value_source source = {.reference = f1, .num_reference = 1, .rank = 4, .single_context = true};
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, true);
  assert_int_equal(count_of(&alphabet, "dense"), 6);
  assert_int_equal(count_of(&alphabet, "conv"), 12);
  assert_int_equal(count_of(&alphabet, "avg_pool"), 3);
  assert_int_equal(count_of(&alphabet, "max_pool"), 3);
  assert_int_equal(count_of(&alphabet, "dropout"), 1);
  assert_int_equal(count_of(&alphabet, "relu"), 1);
  assert_int_equal(count_of(&alphabet, "flatten"), 0);
  assert_int_equal(count_of(&alphabet, "add"), 0);
  for (int s = 1; s < alphabet.count; s++)
    assert_true(alphabet.symbols[s - 1].op.def->order <= alphabet.symbols[s].op.def->order);
  anas_alphabet_deinit(&alphabet);
  // The pool of a whole layer adds stride 2 and VALID to convolutions and pools, window 2 is there already.
  source.num_reference = 3;
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, true);
  assert_int_equal(count_of(&alphabet, "conv"), 12 * 2 * 2);
  assert_int_equal(count_of(&alphabet, "avg_pool"), 3 * 2 * 2);
  anas_alphabet_deinit(&alphabet);
  source.num_reference = 0;
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, true);
  assert_int_equal(count_of(&alphabet, "dense"), 5);
  anas_alphabet_deinit(&alphabet);
}

// Absolute feature counts of the replaced chain serve where there is one context only.
static void test_absolute_sizes(void **state) {
  (void)state;
  struct anas_node conv = test_conv(1, 1, 1);
  test_attr(&conv, "features")->value.dim = (struct anas_dim_expr){.constant = 24, .div = 1, .mul = 1};
  struct anas_value_source source = {.reference = &conv, .num_reference = 1, .rank = 4, .single_context = true};
  struct anas_attr values[ANAS_MAX_VALUES];
  const struct anas_attr_def *def = &conv.def->attrs[anas_op_attr_index(conv.def, "features")];
  assert_int_equal(anas_attr_values(&source, def, ANAS_VALUES_TEST, values),
                   10); // c * {1, 2, 4, 1/2, 1/4}; 24, 48, 96, 12, 6
  source.single_context = false;
  assert_int_equal(anas_attr_values(&source, def, ANAS_VALUES_TEST, values), 5);
}

static void test_exact_size(void **state) {
  (void)state;
  struct anas_target targets[2] = {{.output = test_shape4(5, 16, 16, 128)}, {.output = test_shape4(5, 8, 8, 256)}};
  struct anas_prefix prefix[2] = {{.shape = test_shape4(5, 16, 16, 64)}, {.shape = test_shape4(5, 8, 8, 128)}};
  struct anas_attr exact;
  assert_true(anas_exact_size(targets, 2, prefix, &exact)); // A7.3: multiply by 2, divide by 1
  assert_true(exact.value.dim.relative && exact.value.dim.mul == 2 && exact.value.dim.div == 1);
  prefix[1].shape.dim[3] = 64;
  assert_false(anas_exact_size(targets, 2, prefix, &exact)); // 2 and 4
  targets[1].output.dim[3] = 128;
  assert_true(anas_exact_size(targets, 2, prefix, &exact));
  prefix[0].shape.dim[3] = 96;
  assert_true(anas_exact_size(targets, 1, prefix, &exact)); // 4/3: the count itself
  assert_true(!exact.value.dim.relative && exact.value.dim.constant == 128);
}

// One-op programs (C8), counted by enumeration.
static void count_programs(const struct anas_target *target, const struct anas_alphabet *alphabet, int *one, int *two) {
  struct anas_prefix start, first, second;
  anas_prefix_start(target, &start);
  *one = *two = 0;
  for (int a = 0; a < alphabet->count; a++) {
    if (alphabet->symbols[a].exact_attr >= 0) continue;
    if (!anas_prefix_append(target, 1, &start, &alphabet->symbols[a].op, &first)) continue;
    *one += anas_prefix_distance(target, 1, &first) == 0;
    for (int b = 0; b < alphabet->count; b++)
      if (alphabet->symbols[b].exact_attr < 0 &&
          anas_prefix_append(target, 1, &first, &alphabet->symbols[b].op, &second))
        *two += anas_prefix_distance(target, 1, &second) == 0;
  }
}

static void test_solutions_by_enumeration(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_value_source source = {.reference = f1, .num_reference = 1, .rank = 4, .single_context = true};
  struct anas_alphabet alphabet;
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, true);
  int nonlinear = 0, one, two;
  for (int s = 0; s < alphabet.count; s++)
    nonlinear += alphabet.symbols[s].op.def->linearity == ANAS_NONLINEAR;
  assert_true(nonlinear >= 2);

  struct anas_target target;
  test_f1_slice(f1, 4, 5, &target);
  count_programs(&target, &alphabet, &one, &two);
  assert_int_equal(one, 1); // B2: the convolution itself
  target.require_mixing = false;
  count_programs(&target, &alphabet, &one, &two);
  assert_int_equal(one, 3); // B1: dense * 2, conv * 2 k1, conv * 2 k3
  test_f1_slice(f1, 4, 6, &target);
  target.require_mixing = false;
  count_programs(&target, &alphabet, &one, &two);
  assert_int_equal(one, 0);
  assert_int_equal(two, 2 * 3 * nonlinear); // B3: the three and a non-linear op, in either order
  anas_alphabet_deinit(&alphabet);

  source.num_reference = 3;
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, true);
  test_f1_slice(f1, 4, 7, &target);
  target.require_depth = false;
  count_programs(&target, &alphabet, &one, &two);
  assert_int_equal(one, 1); // B4: conv * 2 k3 with the pool's stride
  anas_alphabet_deinit(&alphabet);
}

// ---- synthesis

// Greedy always succeeds on what a chain of up to three ops of the alphabet satisfies, with few candidates.
static void test_greedy_succeeds(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  for (int from = 1; from < 7; from++)
    for (int to = from + 1; to <= 7 && to - from <= 3; to++)
      for (int properties = 0; properties < 4; properties++) {
        struct anas_target target;
        test_f1_slice(f1, from, to, &target);
        target.require_depth = properties & 1;
        target.require_mixing = properties & 2;
        struct anas_value_source source = {
            .reference = f1 + from - 1, .num_reference = to - from, .rank = 4, .single_context = true};
        struct anas_alphabet alphabet;
        anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, true);
        for (uint64_t seed = 0; seed < 25; seed++) {
          struct anas_rng rng = anas_rng_make(seed);
          struct anas_synthesis_options opts = options(ANAS_GREEDY, 3);
          struct anas_synthesis_result result;
          assert_int_equal(anas_synthesize_chain(&target, 1, f1 + from - 1, to - from, &opts, &rng, &result), ANAS_OK);
          assert_true(result.num_nodes >= 1 && result.num_nodes <= 3);
          assert_true(result.candidates <= (int64_t)alphabet.count * result.num_nodes);
          assert_true(anas_chain_distance(&target, 1, result.chain, result.num_nodes) == 0);
          assert_true(result.trace[result.num_nodes - 1] == 0);
          anas_synthesis_result_deinit(&result);
        }
        anas_alphabet_deinit(&alphabet);
      }
}

static int successes(const struct anas_target *target, const struct anas_node *reference, int num_reference,
                     const struct anas_synthesis_options *opts, int rounds) {
  int count = 0;
  for (int seed = 0; seed < rounds; seed++) {
    struct anas_rng rng = anas_rng_make((uint64_t)seed);
    struct anas_synthesis_result result;
    anas_status status = anas_synthesize_chain(target, 1, reference, num_reference, opts, &rng, &result);
    if (status != ANAS_OK) {
      assert_int_equal(status, ANAS_INFEASIBLE);
      continue;
    }
    assert_true(anas_chain_distance(target, 1, result.chain, result.num_nodes) == 0);
    anas_synthesis_result_deinit(&result);
    count++;
  }
  return count;
}

// A9: weighted, at most three ops.
static void test_weighted_succeeds(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  static const struct {
    int from, to;
    bool depth, mixing;
    int least; // of 200
  } cases[] = {{4, 5, true, false, 200}, {4, 5, true, true, 200}, {4, 6, true, false, 200}, {4, 7, false, true, 195}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int mode = ANAS_UNIFORM; mode <= ANAS_WEIGHTED; mode++) {
      struct anas_target target;
      test_f1_slice(f1, cases[i].from, cases[i].to, &target);
      target.require_depth = cases[i].depth;
      target.require_mixing = cases[i].mixing;
      struct anas_synthesis_options opts = options((enum anas_synthesis_mode)mode, 3);
      opts.filter_progress = mode == ANAS_UNIFORM; // uniform steps wander off without it
      opts.randomize_attributes = true;
      int count = successes(&target, f1 + cases[i].from - 1, cases[i].to - cases[i].from, &opts, 200);
      assert_true(count >= (mode == ANAS_WEIGHTED ? cases[i].least : 150));
    }
}

// C10: weights 100 for distance 0 and 1 / 0.35^2 for distance 0.25; the op type is drawn first.
static void test_two_level_choice(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_target target;
  test_f1_slice(f1, 4, 5, &target);
  target.require_mixing = false;
  struct anas_value_source source = {.reference = f1, .num_reference = 1, .rank = 4, .single_context = true};
  struct anas_alphabet alphabet;
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, true);
  struct anas_prefix start, after;
  anas_prefix_start(&target, &start);
  double largest[256] = {0}, sum[256] = {0}, satisfying[256] = {0}; // weights by order of the definition
  for (int s = 0; s < alphabet.count; s++) {
    if (alphabet.symbols[s].exact_attr >= 0) continue; // twice the features is a regular value
    if (!anas_prefix_append(&target, 1, &start, &alphabet.symbols[s].op, &after)) continue;
    double distance = anas_prefix_distance(&target, 1, &after);
    if (distance < 0) continue;
    NEAR(distance, distance > 0 ? 0.25 : 0);
    int order = alphabet.symbols[s].op.def->order;
    double weight = distance > 0 ? 1 / (0.35 * 0.35) : 1 / (0.1 * 0.1);
    sum[order] += weight;
    if (weight > largest[order]) largest[order] = weight;
    if (distance == 0) satisfying[order] += weight;
  }
  anas_alphabet_deinit(&alphabet);
  double total = 0, expected = 0;
  for (int i = 0; i < 256; i++)
    total += largest[i];
  for (int i = 0; i < 256; i++)
    if (satisfying[i] > 0) expected += largest[i] / total * satisfying[i] / sum[i];
  int rounds = 4000, hits = 0, ended = 0;
  for (int seed = 0; seed < rounds; seed++) {
    struct anas_rng rng = anas_rng_make((uint64_t)seed);
    struct anas_synthesis_options opts = options(ANAS_WEIGHTED, 12);
    opts.grow_probability = 0;
    struct anas_synthesis_result result;
    if (anas_synthesize_chain(&target, 1, f1 + 3, 1, &opts, &rng, &result) != ANAS_OK) continue;
    ended++;
    hits += result.num_nodes == 1;
    anas_synthesis_result_deinit(&result);
  }
  assert_true(ended > rounds * 99 / 100);
  double share = (double)hits / rounds, deviation = sqrt(expected * (1 - expected) / rounds);
  assert_true(fabs(share - expected) < 4 * deviation);
}

// The same ops serve both layers although their extents differ.
static void test_two_contexts(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_target targets[2];
  test_f1_slice(f1, 1, 4, &targets[0]);
  test_f1_slice(f1, 4, 7, &targets[1]);
  targets[0].require_depth = targets[0].require_mixing = false;
  for (uint64_t seed = 0; seed < 100; seed++) {
    struct anas_rng rng = anas_rng_make(seed);
    struct anas_synthesis_options opts = options(ANAS_WEIGHTED, 5);
    opts.randomize_attributes = true;
    struct anas_synthesis_result result;
    if (anas_synthesize_chain(targets, 2, f1 + 3, 3, &opts, &rng, &result) != ANAS_OK) continue;
    assert_true(anas_chain_distance(targets, 2, result.chain, result.num_nodes) == 0);
    for (int i = 0; i < 2; i++)
      assert_true(anas_chain_distance(&targets[i], 1, result.chain, result.num_nodes) == 0);
    anas_synthesis_result_deinit(&result);
  }
}

// Without a demand on mixing, randomisation finds grouped and depthwise convolutions; with it, the windows stay
// covered.
static void test_randomization(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_target target;
  test_f1_slice(f1, 4, 5, &target);
  int grouped = 0, dilated = 0, wide = 0;
  for (int mixing = 0; mixing < 2; mixing++) {
    target.require_mixing = mixing;
    for (uint64_t seed = 0; seed < 300; seed++) {
      struct anas_rng rng = anas_rng_make(seed);
      struct anas_synthesis_options opts = options(ANAS_GREEDY, 2);
      opts.randomize_attributes = true;
      struct anas_synthesis_result result;
      assert_int_equal(anas_synthesize_chain(&target, 1, f1 + 3, 1, &opts, &rng, &result), ANAS_OK);
      assert_true(anas_chain_distance(&target, 1, result.chain, result.num_nodes) == 0);
      for (int n = 0; n < result.num_nodes; n++) {
        struct anas_op op;
        if (strcmp(result.chain[n].def->name, "conv")) continue;
        assert_int_equal(anas_node_resolve(&result.chain[n], &target.input, &op), ANAS_OK);
        bool groups = op.attr[anas_op_attr_index(op.def, "groups")].value.dim.constant > 1;
        assert_false(mixing && groups);
        grouped += groups;
        dilated += op.attr[anas_op_attr_index(op.def, "dilation")].value.ints.value[0] > 1;
        wide += op.attr[anas_op_attr_index(op.def, "kernel")].value.ints.value[0] == 5;
      }
      anas_synthesis_result_deinit(&result);
    }
  }
  assert_true(grouped > 0 && dilated > 0 && wide > 0);
}

static void test_same_seed_same_chain(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_target target;
  test_f1_slice(f1, 1, 7, &target);
  struct anas_synthesis_options opts = options(ANAS_WEIGHTED, 8);
  opts.randomize_attributes = true;
  for (uint64_t seed = 0; seed < 50; seed++) {
    struct anas_synthesis_result results[2];
    anas_status status[2];
    for (int i = 0; i < 2; i++) {
      struct anas_rng rng = anas_rng_make(seed);
      status[i] = anas_synthesize_chain(&target, 1, f1, 6, &opts, &rng, &results[i]);
    }
    assert_int_equal(status[0], status[1]);
    if (status[0] != ANAS_OK) continue;
    assert_int_equal(results[0].num_nodes, results[1].num_nodes);
    for (int n = 0; n < results[0].num_nodes; n++) {
      const struct anas_node *a = &results[0].chain[n], *b = &results[1].chain[n];
      assert_ptr_equal(a->def, b->def);
      for (int i = 0; i < a->def->num_attrs; i++)
        assert_true(anas_attr_same(&a->def->attrs[i], &a->attr[i], &b->attr[i]));
    }
    for (int i = 0; i < 2; i++)
      anas_synthesis_result_deinit(&results[i]);
  }
}

static void test_impossible_targets(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(1);
  struct anas_synthesis_options opts = options(ANAS_GREEDY, 4);
  struct anas_synthesis_result result;
  struct anas_target larger = {.input = test_shape4(5, 8, 8, 4), .output = test_shape4(5, 16, 16, 4)};
  assert_int_equal(anas_synthesize_chain(&larger, 1, NULL, 0, &opts, &rng, &result), ANAS_INFEASIBLE);
  struct anas_target flat = {.input = test_shape4(5, 8, 8, 4), .output = {.rank = 2, .dim = {5, 4}}};
  assert_int_equal(anas_synthesize_chain(&flat, 1, NULL, 0, &opts, &rng, &result), ANAS_INFEASIBLE);
  opts.max_length = 0;
  assert_int_equal(anas_synthesize_chain(&larger, 1, NULL, 0, &opts, &rng, &result), ANAS_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chain_properties),   cmocka_unit_test(test_depth_of_named_chains),
      cmocka_unit_test(test_slices_of_f1),       cmocka_unit_test(test_program_distances),
      cmocka_unit_test(test_alphabet_sizes),     cmocka_unit_test(test_absolute_sizes),
      cmocka_unit_test(test_exact_size),         cmocka_unit_test(test_solutions_by_enumeration),
      cmocka_unit_test(test_greedy_succeeds),    cmocka_unit_test(test_weighted_succeeds),
      cmocka_unit_test(test_two_level_choice),   cmocka_unit_test(test_two_contexts),
      cmocka_unit_test(test_randomization),      cmocka_unit_test(test_same_seed_same_chain),
      cmocka_unit_test(test_impossible_targets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
