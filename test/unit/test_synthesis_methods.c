// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every synthesis method against slow and obvious references: order and completeness of the enumerations, budgets,
// several contexts, the baselines, and the prime-factor scale. Case numbers are those of the conformance list.
#include "test/unit/chains.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct anas_synthesis_options options(enum anas_synthesis_method method, int max_length) {
  return (struct anas_synthesis_options){.method = method,
                                         .min_length = 1,
                                         .max_length = max_length,
                                         .epsilon = 0.1,
                                         .exponent = 2,
                                         .max_candidates = 10000000,
                                         .regular_sizes = true};
}

static anas_status synthesize(const struct anas_target *target, const struct anas_node *reference, int num_reference,
                              const struct anas_synthesis_options *opts, uint64_t seed,
                              struct anas_synthesis_result *out) {
  struct anas_rng rng = anas_rng_make(seed);
  return anas_synthesize_chain(target, 1, reference, num_reference, opts, &rng, out);
}

static struct anas_value_source source_of(const struct anas_node *reference, int count, bool strict) {
  return (struct anas_value_source){
      .reference = reference, .num_reference = count, .rank = 4, .single_context = true, .strict = strict};
}

static bool same_chain(const struct anas_synthesis_result *a, const struct anas_node *b, int length) {
  if (a->num_nodes != length) return false;
  for (int n = 0; n < length; n++) {
    if (a->chain[n].def != b[n].def) return false;
    for (int i = 0; i < b[n].def->num_attrs; i++) {
      const struct anas_attr_def *def = &b[n].def->attrs[i];
      const struct anas_attr *x = &a->chain[n].attr[i], *y = &b[n].attr[i];
      if (!anas_attr_same(def, x->present ? x : &def->fallback, y->present ? y : &def->fallback)) return false;
    }
  }
  return true;
}

// ---- enumeration

// A8.1: the sequence of digits with a number, in order of length and then lexicographically.
static int sequence_at(int64_t base, int64_t index, int *out) {
  int length = 1;
  int64_t count = base;
  for (; index >= count; count *= base, length++)
    index -= count;
  for (int n = length - 1; n >= 0; n--, index /= base)
    out[n] = (int)(index % base);
  return length;
}

static void test_sequence_numbers(void **state) {
  (void)state;
  int digits[8];
  for (int i = 0; i < 39; i++) {
    int length = sequence_at(3, i, digits);
    assert_int_equal(length, i < 3 ? 1 : i < 12 ? 2 : 3);
    if (i < 3) {
      assert_int_equal(digits[0], i);
    } else if (i < 12) {
      assert_true(digits[0] == (i - 3) / 3 && digits[1] == i % 3);
    } else {
      assert_true(digits[0] == (i - 12) / 9 && digits[1] == (i - 12) / 3 % 3 && digits[2] == i % 3);
    }
  }
  assert_int_equal(sequence_at(3, 39, digits), 4);
}

// The first satisfying sequence by number, each evaluated from its start.
static int64_t first_solution(const struct anas_target *target, const struct anas_alphabet *alphabet, int max_length,
                              struct anas_node *chain, int *out_length) {
  int symbols[8];
  for (int64_t index = 0;; index++) {
    int length = sequence_at(alphabet->count, index, symbols);
    if (length > max_length) return -1;
    for (int n = 0; n < length; n++)
      chain[n] = alphabet->symbols[symbols[n]].op;
    *out_length = length;
    if (anas_chain_distance(target, 1, chain, length) == 0) return index;
  }
}

// Slices of F1 with the property sets of the reference's tests (A8.3 to A8.6), and the one they had to disable.
static const struct {
  int from, to;
  bool depth, mixing;
} slices[] = {{4, 5, true, false}, {4, 5, true, true}, {4, 6, true, false}, {4, 7, false, true}, {4, 7, true, true}};

static struct anas_target slice_target(size_t i, const struct anas_node f1[6]) {
  struct anas_target target;
  test_f1_slice(f1, slices[i].from, slices[i].to, &target);
  target.require_depth = slices[i].depth;
  target.require_mixing = slices[i].mixing;
  return target;
}

// Both enumerations find the sequence of the lowest number; random enumeration finds one as short.
static void test_enumeration_finds_first(void **state) {
  (void)state;
  struct anas_node f1[6], expected[8];
  test_f1_layers(f1);
  for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
    for (int strict = 0; strict < 2; strict++) {
      if (i == 4 && strict) continue; // long
      struct anas_target target = slice_target(i, f1);
      const struct anas_node *reference = f1 + slices[i].from - 1;
      int num_reference = slices[i].to - slices[i].from, length = 0;
      struct anas_value_source source = source_of(reference, num_reference, strict);
      struct anas_alphabet alphabet;
      anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, false);
      int64_t index = first_solution(&target, &alphabet, 2, expected, &length);
      assert_true(index >= 0);

      struct anas_synthesis_options opts = options(ANAS_ENUMERATIVE, 3);
      opts.strict_reference = strict;
      struct anas_synthesis_result result;
      for (int prune = 0; prune < 2; prune++) {
        opts.prune = prune;
        assert_int_equal(synthesize(&target, reference, num_reference, &opts, 1, &result), ANAS_OK);
        assert_true(same_chain(&result, expected, length));
        assert_true(result.distance == 0 && result.trace[length - 1] == 0);
        // Sharing a prefix saves its evaluation, and never costs more than one per prefix.
        assert_true(result.candidates <= index + 1 + alphabet.count);
        anas_synthesis_result_deinit(&result);
      }
      opts.method = ANAS_RANDOM_ENUM;
      for (uint64_t seed = 0; seed < 5; seed++) {
        assert_int_equal(synthesize(&target, reference, num_reference, &opts, seed, &result), ANAS_OK);
        assert_int_equal(result.num_nodes, length);
        assert_true(anas_chain_distance(&target, 1, result.chain, result.num_nodes) == 0);
        anas_synthesis_result_deinit(&result);
      }
      anas_alphabet_deinit(&alphabet);
    }
}

// B1 to B4, with the published alphabet.
static void test_documented_results(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct {
    struct anas_node chain[2];
    int length;
  } expected[] = {{{test_dense(2)}, 1},                    // B1
                  {{test_conv(2, 3, 1)}, 1},               // B2: the convolution itself
                  {{test_dense(2), test_node("relu")}, 2}, // B3
                  {{test_conv(2, 3, 2)}, 1}};              // B4: the pool's stride on a convolution
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
    struct anas_target target = slice_target(i, f1);
    struct anas_synthesis_options opts = options(ANAS_ENUMERATIVE, 3);
    opts.strict_reference = true;
    struct anas_synthesis_result result;
    assert_int_equal(synthesize(&target, f1 + slices[i].from - 1, slices[i].to - slices[i].from, &opts, 1, &result),
                     ANAS_OK);
    assert_true(same_chain(&result, expected[i].chain, expected[i].length));
    anas_synthesis_result_deinit(&result);
  }
}

// A8.2: instances of an op are the product of its values, each once.
static void test_product_of_values(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_value_source source = source_of(f1, 3, false);
  struct anas_alphabet alphabet;
  struct anas_attr values[ANAS_MAX_VALUES];
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, false);
  struct anas_node wanted = test_conv(4, 3, 2); // 6 sizes, 2 kernels, 2 strides, 2 paddings
  int convs = 0, found = 0;
  for (int first = 0, last; first < alphabet.count; first = last) {
    const struct anas_op_def *def = alphabet.symbols[first].op.def;
    int product = 1;
    for (last = first; last < alphabet.count && alphabet.symbols[last].op.def == def; last++) {
      struct anas_synthesis_result one = {.chain = &alphabet.symbols[last].op, .num_nodes = 1};
      found += same_chain(&one, &wanted, 1);
      for (int other = first; other < last; other++)
        assert_false(same_chain(&one, &alphabet.symbols[other].op, 1));
    }
    for (int a = 0; a < def->num_attrs; a++)
      product *= anas_attr_values(&source, &def->attrs[a], ANAS_VALUES_TEST, values);
    assert_int_equal(last - first, product);
    if (!strcmp(def->name, "conv")) convs = product;
  }
  assert_int_equal(convs, 48);
  assert_int_equal(found, 1);
  anas_alphabet_deinit(&alphabet);
}

static void test_permutation(void **state) {
  (void)state;
  static const uint64_t counts[] = {1, 2, 3, 7, 64, 100, 1000, 9216};
  uint8_t seen[9216];
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
    for (uint64_t key = 0; key < 5; key++) {
      memset(seen, 0, sizeof seen);
      for (uint64_t i = 0; i < counts[c]; i++) {
        uint64_t at = anas_permuted(key, counts[c], i);
        assert_true(at < counts[c]);
        assert_int_equal(seen[at]++, 0);
      }
    }
  // The first element is anywhere: chi-squared over keys, 15 degrees of freedom, 99.9 % quantile 37.7.
  int count[16] = {0};
  double chi = 0;
  for (uint64_t key = 0; key < 16000; key++)
    count[anas_permuted(key * 0x9e3779b97f4a7c15u, 16, 3)]++;
  for (int i = 0; i < 16; i++)
    chi += (count[i] - 1000.0) * (count[i] - 1000.0) / 1000;
  assert_true(chi < 37.7);
  assert_true(anas_permuted(1, UINT64_C(1) << 62, UINT64_C(123456789012345)) < UINT64_C(1) << 62);
}

// What no chain of the window satisfies is refuted by both enumerations alike, with or without pruning.
static void test_enumeration_is_exhaustive(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_target target = slice_target(4, f1);
  struct anas_value_source source = source_of(f1 + 3, 3, false);
  struct anas_alphabet alphabet;
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, false);
  target.depth = 3; // two ops, the first non-linear, are at most two changes behind the linear pool
  struct anas_synthesis_effort effort[2];
  struct anas_synthesis_result result;
  for (int prune = 0; prune < 2; prune++) {
    struct anas_synthesis_options opts = options(ANAS_ENUMERATIVE, 2);
    opts.prune = prune;
    opts.effort = &effort[prune];
    assert_int_equal(synthesize(&target, f1 + 3, 3, &opts, 1, &result), ANAS_INFEASIBLE);
    assert_false(effort[prune].out_of_budget);
  }
  assert_true(effort[1].candidates < effort[0].candidates / 2);
  struct anas_synthesis_options opts = options(ANAS_RANDOM_ENUM, 2);
  struct anas_synthesis_effort random;
  opts.effort = &random;
  assert_int_equal(synthesize(&target, f1 + 3, 3, &opts, 1, &result), ANAS_INFEASIBLE);
  assert_true(random.candidates >= effort[0].candidates && !random.out_of_budget);
  anas_alphabet_deinit(&alphabet);
}

// Pruning changes nothing but the cost: random chains of any instances on small and odd extents, in one or two
// contexts, any set of demands, and sometimes more than the chain has.
static void test_pruning_on_random_targets(void **state) {
  (void)state;
  int found = 0, refuted = 0, fewer = 0;
  for (uint64_t seed = 0; seed < 500; seed++) {
    struct anas_rng rng = anas_rng_make(seed);
    struct anas_value_source source = {.rank = 4};
    struct anas_node chain[3];
    struct anas_target targets[2];
    int num_targets = 1 + (int)anas_rng_below(&rng, 2), length = 1 + (int)anas_rng_below(&rng, 3);
    bool typed = true;
    for (int n = 0; n < length; n++)
      anas_full_draw(&source, &rng, &chain[n]);
    uint64_t demands = anas_rng_below(&rng, 4), deeper = anas_rng_below(&rng, 3);
    for (int t = 0; t < num_targets; t++) {
      int64_t h = 1 + (int64_t)anas_rng_below(&rng, 9), w = 1 + (int64_t)anas_rng_below(&rng, 9);
      typed = typed && test_target_of(chain, length, test_shape4(2, h, w, 8), anas_rng_below(&rng, 2), &targets[t]);
      targets[t].require_depth = demands & 1;
      targets[t].require_mixing = demands & 2;
      if (deeper == 0) targets[t].depth++;
    }
    if (!typed) continue;
    struct anas_synthesis_result result[2];
    struct anas_synthesis_effort effort[2];
    anas_status status[2];
    for (int prune = 0; prune < 2; prune++) {
      struct anas_synthesis_options opts = options(ANAS_ENUMERATIVE, 2);
      opts.min_length = 1 + (int)(seed % 2);
      opts.regular_sizes = seed % 3 == 0;
      opts.prune = prune;
      opts.effort = &effort[prune];
      status[prune] = anas_synthesize_chain(targets, num_targets, chain, length, &opts, &rng, &result[prune]);
    }
    assert_int_equal(status[0], status[1]);
    fewer += effort[1].candidates < effort[0].candidates;
    refuted += status[0] != ANAS_OK;
    if (status[0] != ANAS_OK) continue;
    found++;
    assert_true(same_chain(&result[0], result[1].chain, result[1].num_nodes));
    for (int i = 0; i < 2; i++)
      anas_synthesis_result_deinit(&result[i]);
  }
  assert_true(found > 100 && refuted > 4 && fewer > 50);
}

// Linear and exponential: refuting a depth that is out of reach costs greedy at most the alphabet for every op, and the
// enumerations every well-typed chain.
static void test_growth(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_target target = slice_target(2, f1);
  target.depth = 100;
  target.require_mixing = true;
  struct anas_value_source source = source_of(f1 + 3, 2, false);
  struct anas_alphabet alphabet;
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, false);
  int64_t before[ANAS_RANDOM_ENUM + 1] = {0};
  for (int length = 1; length <= 3; length++)
    for (int method = ANAS_PROGRESSIVE; method <= ANAS_RANDOM_ENUM; method++) {
      struct anas_synthesis_effort effort;
      struct anas_synthesis_options opts = options((enum anas_synthesis_method)method, length);
      opts.effort = &effort;
      struct anas_synthesis_result result;
      assert_int_equal(synthesize(&target, f1 + 3, 2, &opts, 1, &result), ANAS_INFEASIBLE);
      assert_false(effort.out_of_budget);
      if (method == ANAS_PROGRESSIVE)
        assert_true(effort.candidates <= (int64_t)alphabet.count * length);
      else if (length > 1)
        assert_true(effort.candidates > before[method] * alphabet.count / 3);
      before[method] = effort.candidates;
    }
  anas_alphabet_deinit(&alphabet);
}

// ---- every method

static void test_budget(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_target target = slice_target(4, f1);
  target.depth = 40; // out of reach
  for (int method = 0; method < ANAS_SYNTHESIS_METHODS; method++) {
    if (method == ANAS_PRIMER || method == ANAS_AUTOML_ZERO) continue; // do not look at the depth
    for (int prune = 0; prune < 2; prune++) {
      struct anas_synthesis_effort effort;
      struct anas_synthesis_options opts = options((enum anas_synthesis_method)method, 20);
      opts.max_candidates = 2000;
      opts.prune = prune;
      opts.attempts = 1000000;
      opts.effort = &effort;
      struct anas_synthesis_result result;
      assert_int_equal(synthesize(&target, f1 + 3, 3, &opts, 1, &result), ANAS_INFEASIBLE);
      assert_true(effort.out_of_budget);
      assert_int_equal(effort.candidates, 2000);
      assert_non_null(strstr(anas_error_message(), "max-candidates"));
    }
  }
  struct anas_synthesis_options opts = options(ANAS_RANDOM, 3);
  struct anas_synthesis_result result;
  opts.max_candidates = 0;
  assert_int_equal(synthesize(&target, f1 + 3, 3, &opts, 1, &result), ANAS_INVALID);
}

// One chain for two layers of different extents.
static void test_contexts_of_every_method(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_target targets[2];
  test_f1_slice(f1, 1, 4, &targets[0]);
  test_f1_slice(f1, 4, 7, &targets[1]);
  targets[0].require_depth = targets[0].require_mixing = false;
  for (int method = 0; method < ANAS_SYNTHESIS_METHODS; method++)
    for (uint64_t seed = 0; seed < 10; seed++) {
      struct anas_synthesis_options opts = options((enum anas_synthesis_method)method, 4);
      opts.attempts = 1000;
      opts.randomize_attributes = true;
      struct anas_rng rng = anas_rng_make(seed);
      struct anas_synthesis_result result;
      assert_int_equal(anas_synthesize_chain(targets, 2, f1 + 3, 3, &opts, &rng, &result), ANAS_OK);
      double distance = anas_chain_distance(targets, 2, result.chain, result.num_nodes);
      if (method == ANAS_PRIMER || method == ANAS_AUTOML_ZERO)
        assert_true(distance >= 0 && distance == result.distance);
      else
        assert_true(distance == 0 && result.distance == 0);
      assert_true(result.trace[result.num_nodes - 1] == result.distance);
      struct anas_prefix state_of[2];
      for (int t = 0; t < 2; t++)
        anas_prefix_start(&targets[t], &state_of[t]);
      for (int n = 0; n < result.num_nodes; n++)
        assert_true(anas_prefix_append(targets, 2, state_of, &result.chain[n], state_of));
      for (int t = 0; t < 2; t++)
        assert_true(anas_shape_equal(&state_of[t].shape, &targets[t].output));
      anas_synthesis_result_deinit(&result);
    }
}

// Primer edits one op at a time; all five edits happen, and AutoML-Zero's replacement of the whole chain.
static void test_baselines(void **state) {
  (void)state;
  struct anas_node chain[3] = {test_node("relu"), test_dense(1), test_conv(1, 3, 1)};
  struct anas_target target;
  assert_true(test_target_of(chain, 3, test_shape4(2, 8, 8, 16), false, &target));
  int shorter = 0, longer = 0, swapped = 0, changed = 0, foreign = 0, far = 0;
  for (int method = ANAS_PRIMER; method <= ANAS_AUTOML_ZERO; method++)
    for (uint64_t seed = 0; seed < 400; seed++) {
      struct anas_synthesis_options opts = options((enum anas_synthesis_method)method, 8);
      struct anas_synthesis_result result;
      if (synthesize(&target, chain, 3, &opts, seed, &result) != ANAS_OK) continue;
      int kept = 0;
      for (int n = 0; n < result.num_nodes && n < 3; n++)
        kept += result.chain[n].def == chain[n].def;
      if (method == ANAS_PRIMER) {
        assert_in_range(result.num_nodes, 2, 4);
        shorter += result.num_nodes == 2;
        longer += result.num_nodes == 4;
        changed += result.num_nodes == 3 && kept == 3;
        swapped += result.num_nodes == 3 && result.chain[0].def == chain[1].def && result.chain[1].def == chain[0].def;
        foreign += result.num_nodes == 3 && kept < 3;
      } else {
        far += result.num_nodes == 5 || result.num_nodes == 1;
      }
      anas_synthesis_result_deinit(&result);
    }
  assert_true(shorter > 0 && longer > 0 && swapped > 0 && changed > 0 && foreign > swapped && far > 0);
  // Nothing left is the identity; nothing there is an error.
  int identities = 0;
  for (uint64_t seed = 0; seed < 100; seed++) {
    struct anas_synthesis_options opts = options(ANAS_PRIMER, 8);
    struct anas_synthesis_result result;
    assert_true(test_target_of(chain, 1, test_shape4(2, 8, 8, 16), false, &target));
    if (synthesize(&target, chain, 1, &opts, seed, &result) != ANAS_OK) continue;
    identities += !strcmp(result.chain[0].def->name, "identity");
    anas_synthesis_result_deinit(&result);
  }
  assert_true(identities > 0);
  struct anas_synthesis_options opts = options(ANAS_PRIMER, 8);
  struct anas_synthesis_result result;
  assert_int_equal(synthesize(&target, NULL, 0, &opts, 1, &result), ANAS_INFEASIBLE);
}

// Stochastic completeness: without a filter every satisfying sequence of two ops turns up.
static void test_weighted_reaches_every_solution(void **state) {
  (void)state;
  struct anas_node f1[6];
  test_f1_layers(f1);
  struct anas_target target = slice_target(2, f1);
  struct anas_value_source source = source_of(f1 + 3, 2, false);
  struct anas_alphabet alphabet;
  anas_alphabet_init(&alphabet, &source, ANAS_VALUES_TEST, false);
  struct anas_node pair[2];
  struct anas_node(*solutions)[2] = calloc(4096, sizeof *solutions);
  bool *seen = calloc(4096, sizeof *seen);
  int count = 0, missing;
  for (int a = 0; a < alphabet.count; a++)
    for (int b = 0; b < alphabet.count; b++) {
      pair[0] = alphabet.symbols[a].op;
      pair[1] = alphabet.symbols[b].op;
      if (anas_chain_distance(&target, 1, pair, 2) != 0) continue;
      memcpy(solutions[count++], pair, sizeof pair);
    }
  assert_true(count >= 30);
  missing = count;
  for (uint64_t seed = 0; seed < 20000 && missing > 0; seed++) {
    struct anas_synthesis_options opts = options(ANAS_PROGRESSIVE, 4);
    opts.mode = ANAS_WEIGHTED;
    struct anas_synthesis_result result;
    if (synthesize(&target, f1 + 3, 2, &opts, seed, &result) != ANAS_OK) continue;
    for (int i = 0; i < count; i++)
      if (!seen[i] && same_chain(&result, solutions[i], 2)) {
        seen[i] = true;
        missing--;
      }
    anas_synthesis_result_deinit(&result);
  }
  assert_int_equal(missing, 0);
  free(seen);
  free(solutions);
  anas_alphabet_deinit(&alphabet);
}

// ---- the prime-factor scale

static void test_missing_factors(void **state) {
  (void)state;
  static const struct {
    int64_t have, need;
    int missing;
  } cases[] = {{64, 64, 0}, {64, 128, 1}, {64, 512, 3}, {64, 384, 2},
               {48, 8, 2},  {3, 10, 3},   {1, 7919, 1}, {7919, 2, 2}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(anas_missing_factors(cases[i].have, cases[i].need), cases[i].missing);
}

// Eight, six or 18 times the features: no single factor of the alphabet gets there, so under the 0/1 rule no op makes
// progress and the filter ends the search; by prime factors every step counts. 18 is 6 times 3, which the replaced
// chain offers to both.
static void test_prime_scale(void **state) {
  (void)state;
  struct anas_node reference = test_dense(3);
  static const struct {
    int64_t features;
    int num_reference;
  } cases[] = {{8 * 16, 0}, {6 * 16, 0}, {48 * 16, 0}, {16 / 8, 0}, {5 * 16, 0}, {10, 0}, {18 * 16, 1}, {8 * 16, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int mode = ANAS_GREEDY; mode <= ANAS_WEIGHTED; mode++)
      for (int prime = 0; prime < 2; prime++)
        for (uint64_t seed = 0; seed < 20; seed++) {
          struct anas_target target = {.input = test_shape4(2, 8, 8, 16),
                                       .output = test_shape4(2, 8, 8, cases[i].features)};
          struct anas_synthesis_options opts = options(ANAS_PROGRESSIVE, 8);
          opts.mode = (enum anas_synthesis_mode)mode;
          opts.filter_progress = true;
          opts.feature_distance = prime ? ANAS_FEATURES_PRIME : ANAS_FEATURES_MATCH;
          struct anas_synthesis_result result;
          anas_status status = synthesize(&target, &reference, cases[i].num_reference, &opts, seed, &result);
          assert_int_equal(status, prime ? ANAS_OK : ANAS_INFEASIBLE);
          if (!prime) continue;
          assert_true(anas_chain_distance(&target, 1, result.chain, result.num_nodes) == 0);
          assert_true(result.num_nodes <= anas_missing_factors(16, cases[i].features));
          for (int n = 1; n < result.num_nodes; n++)
            assert_true(result.trace[n] < result.trace[n - 1]);
          anas_synthesis_result_deinit(&result);
        }
}

// At the start and at the target the two scales agree, whatever the other dimensions.
static void test_scales_agree_at_both_ends(void **state) {
  (void)state;
  struct anas_target target = {.input = test_shape4(2, 8, 8, 16), .output = test_shape4(2, 4, 4, 96)}, prime = target;
  prime.feature_steps = anas_missing_factors(16, 96);
  struct anas_prefix start;
  anas_prefix_start(&target, &start);
  assert_true(anas_prefix_distance(&target, 1, &start) == anas_prefix_distance(&prime, 1, &start));
  start.shape.dim[3] = 96;
  assert_true(anas_prefix_distance(&target, 1, &start) == anas_prefix_distance(&prime, 1, &start));
  start.shape.dim[3] = 32; // the factor 3 is missing: half of two
  assert_true(anas_prefix_distance(&target, 1, &start) - anas_prefix_distance(&prime, 1, &start) == 0.125);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sequence_numbers),
      cmocka_unit_test(test_enumeration_finds_first),
      cmocka_unit_test(test_documented_results),
      cmocka_unit_test(test_product_of_values),
      cmocka_unit_test(test_permutation),
      cmocka_unit_test(test_enumeration_is_exhaustive),
      cmocka_unit_test(test_pruning_on_random_targets),
      cmocka_unit_test(test_growth),
      cmocka_unit_test(test_budget),
      cmocka_unit_test(test_contexts_of_every_method),
      cmocka_unit_test(test_baselines),
      cmocka_unit_test(test_weighted_reaches_every_solution),
      cmocka_unit_test(test_missing_factors),
      cmocka_unit_test(test_prime_scale),
      cmocka_unit_test(test_scales_agree_at_both_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
