// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Settings of a mutation: the presets against the numbers of spec 4.2, ablations, printing and reading back, errors.
#include "passes/mutate/mutate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct anas_mutation_options configure(const char *text) {
  struct anas_mutation_options options;
  if (anas_mutation_configure(text, &options)) fail_msg("%s", anas_error_message());
  return options;
}

static char *printed(const struct anas_mutation_options *options) {
  struct anas_strbuf text = {0};
  anas_mutation_print(options, &text);
  return anas_strbuf_detach(&text);
}

static void assert_production(const struct anas_mutation_options *o) {
  assert_true(o->duplicate_probability == 0.2 && o->delete_probability == 0.2 && o->propagate_probability == 0.2);
  assert_true(o->scope == ANAS_SCOPE_BLOCK && o->selection == ANAS_SELECT_RANDOM && o->max_ops == 0);
  assert_true(o->use_shape && o->use_depth && o->use_mixing && o->shape_probability == 0);
  assert_int_equal(o->depth_delta_max, 2);
  assert_true(o->weaken_probability == 0 && o->residual_probability == 0 && o->drop_probability == 0.2);
  assert_int_equal(o->synthesis.mode, ANAS_WEIGHTED);
  assert_true(o->synthesis.epsilon == 0.1 && o->synthesis.exponent == 2 && o->synthesis.grow_probability == 0.2);
  assert_false(o->synthesis.filter_progress);
  assert_true(o->synthesis.randomize_attributes);
  assert_int_equal(o->max_delta, 2);
  assert_int_equal(o->min_delta, 2);
  assert_int_equal(o->retries, 1);
  assert_int_equal(o->contexts, ANAS_CONTEXTS_ONE);
}

static void presets(void **state) {
  (void)state;
  struct anas_mutation_options o = configure("preset=cifar10");
  assert_production(&o);
  assert_true(o.grow_probability == 0.75 && o.max_fraction == 0.8);
  assert_true(o.depth_probability == 0.5 && o.mixing_probability == 0.5);
  o = configure("preset=imagenet");
  assert_production(&o);
  assert_true(o.grow_probability == 0.9 && o.max_fraction == 0.5);
  assert_true(o.depth_probability == 0.8 && o.mixing_probability == 0.8);
  // A preset comes first, wherever it is written.
  o = configure("depth=0.25 preset=imagenet residual=1");
  assert_true(o.depth_probability == 0.25 && o.mixing_probability == 0.8 && o.residual_probability == 1);
  struct anas_mutation_options defaults = anas_mutation_defaults(), named = configure("preset=default");
  char *a = printed(&defaults), *b = printed(&named);
  assert_string_equal(a, b);
  free(a);
  free(b);
}

static void printed_settings_read_back(void **state) {
  (void)state;
  static const char ablation[] = "property=shape=mutate,depth=no selection=sequential scope=function max-ops=3 "
                                 "mode=greedy epsilon=0.125 filter-progress=true randomize=false";
  static const char *const texts[] = {"", "preset=cifar10", "preset=imagenet contexts=all", ablation};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    struct anas_mutation_options o = configure(texts[i]);
    char *first = printed(&o);
    struct anas_mutation_options again = configure(first);
    char *second = printed(&again);
    assert_string_equal(first, second);
    free(first);
    free(second);
  }
}

static void property_ablations(void **state) {
  (void)state;
  struct anas_mutation_options o = configure("preset=cifar10 property=shape=nomutate,depth=no,mixing=mutate");
  assert_true(o.use_shape && o.shape_probability == 0);
  assert_true(!o.use_depth);
  assert_true(o.use_mixing && o.mixing_probability == 0.75);
  o = configure("preset=cifar10 property=depth=mutate");
  assert_true(o.use_depth && o.depth_probability == 0.75 && o.mixing_probability == 0.5 && o.shape_probability == 0);
  o = configure("preset=cifar10 property=mixing=nomutate,depth=nomutate");
  assert_true(o.use_mixing && o.mixing_probability == 0 && o.depth_probability == 0 && o.weaken_probability == 0);
  // All three as mutate: unchanged (spec 4.2).
  struct anas_mutation_options plain = configure("preset=cifar10"),
                               all = configure("preset=cifar10 property=mixing=mutate,shape=mutate,depth=mutate");
  char *a = printed(&plain), *b = printed(&all);
  assert_string_equal(a, b);
  free(a);
  free(b);
}

static void synthesizer_ablations(void **state) {
  (void)state;
  for (int i = 0; i < ANAS_SYNTHESIS_METHODS; i++) {
    char text[64];
    snprintf(text, sizeof text, "preset=cifar10 synthesizer=%s", anas_synthesis_method_name(i));
    struct anas_mutation_options o = configure(text);
    assert_int_equal(o.synthesis.method, i);
    bool baseline = i == ANAS_PRIMER || i == ANAS_AUTOML_ZERO;
    assert_true(o.use_depth == !baseline && o.use_mixing == !baseline && o.use_shape);
    assert_true(o.grow_probability == (baseline ? 1 : 0.75) && o.max_fraction == (baseline ? 1 : 0.8));
    assert_true(o.max_delta == 2 && o.min_delta == 2);
  }
}

static void errors(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"preset=cifar", "did you mean 'cifar10'?"},
      {"preset=", "its values: default, cifar10, imagenet"},
      {"property=depht=no", "did you mean 'depth'?"},
      {"property=depth=maybe", "its values: mutate, nomutate, no"},
      {"property=depth", "'' is no value of 'depth'"},
      {"property=depth=no,depth=no", "given twice"},
      {"synthesizer=greedy", "'greedy' is no value of 'synthesizer'"},
      {"synthesizer=primr",
       "did you mean 'primer'? (its values: progressive, enumerative, random-enum, random, primer"},
      {"depth=2", "depth: '2' is not a number from 0 to 1"},
      {"depth=x", "depth: 'x' is not a number"},
      {"retries=-1", "retries: '-1' is not an integer"},
      {"selection=randm", "did you mean 'random'?"},
      {"use-depth=maybe", "its values: false, true"},
      {"dupplicate=0.1", "no setting 'dupplicate'; did you mean 'duplicate'?"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_mutation_options o = anas_mutation_defaults(), untouched = o;
    assert_int_equal(anas_mutation_configure(cases[i][0], &o), ANAS_INVALID);
    if (!strstr(anas_error_message(), cases[i][1])) fail_msg("%s: %s", cases[i][0], anas_error_message());
    assert_memory_equal(&o, &untouched, sizeof o);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(presets),
      cmocka_unit_test(printed_settings_read_back),
      cmocka_unit_test(property_ablations),
      cmocka_unit_test(synthesizer_ablations),
      cmocka_unit_test(errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
