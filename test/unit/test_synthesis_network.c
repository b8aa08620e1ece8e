// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// D8: blocks of whole networks are synthesised again from their own properties, all instances together. The network
// keeps its shapes, every block has what was required of it when the whole network is inferred anew, its certificate
// holds, and a second run with the same seed gives the same text (D13).
#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/pass.h"
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

static struct anas_properties *infer(struct anas_model *model) {
  struct anas_properties *properties = anas_calloc((size_t)model->num_functions + 1, sizeof *properties);
  assert_int_equal(anas_model_infer_shapes(model), ANAS_OK);
  assert_int_equal(anas_infer_properties(model, properties), ANAS_OK);
  return properties;
}

// Demands of every chain-shaped block what it has. Returns how many.
static int add_targets(struct anas_model *model, const struct anas_properties *properties) {
  int count = 0;
  for (int f = 0; f < model->num_functions; f++) {
    struct anas_function *function = &model->functions[f];
    if (!function->block || function->num_args != 1 || function->arg[0].rank != function->result_type[0].rank) continue;
    struct anas_strbuf text = {0};
    anas_strbuf_addf(&text, "%lld : i64", (long long)properties[f].depth[0][0]);
    anas_function_set_extra(model, function, "anas.target_depth", anas_strbuf_text(&text));
    anas_strbuf_clear(&text);
    const struct anas_mixing *mixing = &properties[f].mixing[0][0];
    for (int i = 0; i < mixing->rows; i++) {
      anas_strbuf_adds(&text, i ? "], [" : "dense<[[");
      for (int j = 0; j < mixing->columns; j++)
        anas_strbuf_addf(&text, "%s%d", j ? ", " : "", mixing->pair[i][j]);
    }
    anas_strbuf_addf(&text, "]]> : tensor<%dx%dxi8>", mixing->rows, mixing->columns);
    anas_function_set_extra(model, function, "anas.target_mixing", anas_strbuf_text(&text));
    anas_strbuf_deinit(&text);
    count++;
  }
  return count;
}

// The network after a pipeline; null if it failed.
static struct anas_model *transform(const struct anas_model *model, const char *pipeline) {
  MlirModule module;
  struct anas_model *after = NULL;
  assert_int_equal(anas_model_export(model, context, &module), ANAS_OK);
  if (anas_pipeline_run(module, pipeline) == ANAS_OK) assert_int_equal(anas_model_import(module, &after), ANAS_OK);
  mlirModuleDestroy(module);
  return after;
}

static void compare(const struct anas_model *before, const struct anas_properties *required,
                    const struct anas_model *after, const struct anas_properties *actual) {
  assert_int_equal(before->num_functions, after->num_functions);
  for (int f = 0; f < before->num_functions; f++) {
    const struct anas_function *a = &before->functions[f], *b = &after->functions[f];
    assert_string_equal(a->name, b->name);
    assert_true(anas_shape_equal(&a->arg[0], &b->arg[0]));
    assert_true(anas_shape_equal(&a->result_type[0], &b->result_type[0]));
    if (!anas_function_has_targets(b)) continue;
    assert_true(actual[f].depth[0][0] >= required[f].depth[0][0]);
    assert_true(anas_mixing_distance(&required[f].mixing[0][0], &actual[f].mixing[0][0]) == 0);
    assert_non_null(anas_function_extra(b, "anas.certificate"));
  }
}

// Instances of one kind have the same ops.
static void check_instances(const struct anas_model *model) {
  for (int f = 0; f < model->num_functions; f++)
    for (int g = 0; g < f; g++) {
      const struct anas_function *a = &model->functions[f], *b = &model->functions[g];
      if (!a->block || !b->block || strcmp(a->block, b->block) || !anas_function_has_targets(a)) continue;
      assert_int_equal(a->num_nodes, b->num_nodes);
      for (int n = 0; n < a->num_nodes; n++)
        assert_ptr_equal(a->nodes[n].def, b->nodes[n].def);
    }
}

static void resynthesize(const char *name, const char *options, int least_blocks) {
  struct anas_model *model;
  assert_int_equal(anas_zoo_build(name, 32, 32, 3, 10, &model), ANAS_OK);
  struct anas_properties *required = infer(model);
  assert_true(add_targets(model, required) >= least_blocks);
  int changed = 0;
  char before_hash[33], after_hash[33];
  anas_model_hash(model, before_hash);
  for (int seed = 0; seed < 8; seed++) {
    char pipeline[256];
    snprintf(pipeline, sizeof pipeline, "anas-synthesize{%s seed=%d},anas-verify,anas-check-certificate{required=true}",
             options, seed);
    struct anas_model *after = transform(model, pipeline), *again = transform(model, pipeline);
    if (!after || !again) fail_msg("%s: %s", name, anas_error_message());
    struct anas_properties *actual = infer(after);
    compare(model, required, after, actual);
    check_instances(after);
    struct anas_strbuf text[2] = {{0}, {0}};
    anas_model_print(after, &text[0]);
    anas_model_print(again, &text[1]);
    assert_string_equal(anas_strbuf_text(&text[0]), anas_strbuf_text(&text[1]));
    anas_model_hash(after, after_hash);
    changed += strcmp(before_hash, after_hash) != 0;
    anas_strbuf_deinit(&text[0]);
    anas_strbuf_deinit(&text[1]);
    free(actual);
    anas_model_destroy(after);
    anas_model_destroy(again);
  }
  assert_true(changed > 0);
  free(required);
  anas_model_destroy(model);
}

static void test_greedy(void **state) {
  (void)state;
  resynthesize("cnn", "mode=greedy randomize=true max-length=5 attempts=16", 2);
  resynthesize("resnet18", "mode=greedy randomize=true max-length=6 attempts=16", 8);
}

static void test_weighted(void **state) {
  (void)state;
  resynthesize("cnn", "mode=weighted randomize=true grow=0.2 max-length=5 attempts=50", 2);
  resynthesize("resnet18", "mode=weighted randomize=true grow=0.2 max-length=7 attempts=50", 8);
  resynthesize("vit-ti/4", "mode=weighted randomize=true max-length=6 attempts=50", 12);
}

static void test_enumerations(void **state) {
  (void)state;
  resynthesize("cnn", "method=random-enum max-length=3", 2);
  resynthesize("cnn", "method=enumerative prune=true randomize=true max-length=3", 2);
  resynthesize("cnn", "method=random max-length=6", 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_greedy),
      cmocka_unit_test(test_weighted),
      cmocka_unit_test(test_enumerations),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
