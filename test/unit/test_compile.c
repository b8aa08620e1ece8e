// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An architecture compiled to a training program: tuned and stock code take the same steps, and the loss falls.
#include "dialect/context.h"
#include "passes/lower/compile.h"
#include "runtime/init.h"
#include "runtime/support/rng.h"
#include "runtime/team.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BATCH 8
#define STEPS 12
#define CLASSES 5

static const char network[] =
    "func.func @main(%image: tensor<?x12x12x3xf32>) -> tensor<?x5xf32> {\n"
    "  %0 = \"anas.conv\"(%image) {anas.name = \"stem/conv\", features = 16 : i64, kernel = array<i64: 3, 3>, use_bias "
    "= "
    "false} : (tensor<?x12x12x3xf32>) -> tensor<?x12x12x16xf32>\n"
    "  %1 = \"anas.batch_norm\"(%0) {anas.name = \"stem/bn\"} : (tensor<?x12x12x16xf32>) -> tensor<?x12x12x16xf32>\n"
    "  %2 = \"anas.relu\"(%1) : (tensor<?x12x12x16xf32>) -> tensor<?x12x12x16xf32>\n"
    "  %3 = \"anas.conv\"(%2) {anas.name = \"body/conv\", features = 24 : i64, kernel = array<i64: 3, 3>, strides = "
    "array<i64: 2, 2>} : (tensor<?x12x12x16xf32>) -> tensor<?x6x6x24xf32>\n"
    "  %4 = \"anas.relu\"(%3) : (tensor<?x6x6x24xf32>) -> tensor<?x6x6x24xf32>\n"
    "  %5 = \"anas.mean\"(%4) {axes = array<i64: 1, 2>} : (tensor<?x6x6x24xf32>) -> tensor<?x24xf32>\n"
    "  %6 = \"anas.dense\"(%5) {anas.name = \"head/dense\", features = 5 : i64} : (tensor<?x24xf32>) -> "
    "tensor<?x5xf32>\n"
    "  return %6 : tensor<?x5xf32>\n"
    "}\n";

struct trace {
  float loss[STEPS], logits[BATCH * CLASSES];
};

static void expect_ok(anas_status status) {
  if (status != ANAS_OK) print_error("%s: %s\n", anas_status_name(status), anas_error_message());
  assert_int_equal(status, ANAS_OK);
}

static struct trace train(MlirModule module, const struct anas_optimizer *optimizer, float rate, bool reference) {
  struct anas_compile_options options = {
      .batch = BATCH, .optimizer = *optimizer, .reference = reference, .no_cache = true, .threads = 2};
  struct anas_program_image image;
  expect_ok(anas_compile(module, &options, &image));
  struct anas_program *program;
  expect_ok(anas_program_load(&image, &program));
  const struct anas_program_image *info = anas_program_info(program);
  assert_int_equal(info->batch, BATCH);
  assert_int_equal(info->height, 12);
  assert_int_equal(info->channels, 3);
  assert_int_equal(info->classes, CLASSES);
  assert_int_equal(info->image.bytes, BATCH * 12 * 12 * 3 * sizeof(float));
  expect_ok(anas_init_params(info, 7, anas_program_params(program)));

  char *arena = anas_program_arena(program);
  float *pixels = (float *)(arena + info->image.offset);
  int32_t *labels = (int32_t *)(arena + info->label.offset);
  struct trace trace;
  struct anas_rng rng = anas_rng_make(11);
  float input[BATCH * 12 * 12 * 3];
  for (size_t i = 0; i < sizeof input / sizeof *input; i++)
    input[i] = (float)anas_rng_normal(&rng);
  for (int step = 0; step < STEPS; step++) {
    int64_t seed = step;
    memcpy(pixels, input, sizeof input); // the arena is scratch between calls
    for (int i = 0; i < BATCH; i++)
      labels[i] = i % CLASSES;
    memcpy(arena + info->learning_rate.offset, &rate, sizeof rate);
    memcpy(arena + info->seed.offset, &seed, info->seed.bytes < sizeof seed ? info->seed.bytes : sizeof seed);
    anas_program_train_step(program);
    memcpy(&trace.loss[step], arena + info->loss.offset, sizeof(float));
  }
  memcpy(pixels, input, sizeof input);
  anas_program_infer(program);
  memcpy(trace.logits, arena + info->logits.offset, sizeof trace.logits);
  anas_program_destroy(program);
  return trace;
}

static void tuned_equals_reference(const struct anas_optimizer *optimizer, float rate) {
  MlirContext context = anas_context_create(false);
  MlirModule module;
  expect_ok(anas_parse(context, network, strlen(network), "network", &module));
  struct anas_strbuf before = {0}, after = {0};
  anas_operation_text(mlirModuleGetOperation(module), &before);
  struct trace reference = train(module, optimizer, rate, true), tuned = train(module, optimizer, rate, false);
  anas_operation_text(mlirModuleGetOperation(module), &after);
  assert_string_equal(before.data, after.data); // not modified
  // Sums are taken in another order, and training amplifies the difference a little.
  for (int i = 0; i < STEPS; i++)
    assert_true(fabsf(tuned.loss[i] - reference.loss[i]) <= 1e-4f);
  for (int i = 0; i < BATCH * CLASSES; i++)
    assert_true(fabsf(tuned.logits[i] - reference.logits[i]) <= 1e-3f);
  assert_true(fabsf(tuned.loss[0] - logf(CLASSES)) < 1.5f);
  assert_true(tuned.loss[STEPS - 1] < 0.9f * tuned.loss[0]);
  struct trace again = train(module, optimizer, rate, false);
  assert_memory_equal(&again, &tuned, sizeof again); // same seed, same numbers
  int team = anas_team_size();
  anas_team_set_size(1);
  struct trace serial = train(module, optimizer, rate, false);
  assert_memory_equal(&serial, &tuned, sizeof serial); // and on any number of threads
  anas_team_set_size(team);
  anas_strbuf_deinit(&before);
  anas_strbuf_deinit(&after);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
  anas_team_shutdown();
}

static void test_tuned_equals_reference(void **state) {
  (void)state;
  static const struct {
    struct anas_optimizer optimizer;
    float rate;
  } cases[] = {
      {{.momentum = 0.9, .weight_decay = 1e-4}, 0.02f},
      {{.kind = ANAS_ADAM, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.1, .clip_norm = 0.5},
       0.01f},
      {{.kind = ANAS_RMSPROP, .beta2 = 0.9, .epsilon = 1e-3, .weight_decay = 1e-3}, 0.003f},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    tuned_equals_reference(&cases[i].optimizer, cases[i].rate);
}

// A step of plain descent moves all parameters together by rate * norm of the gradient, clipped: by rate * clip norm.
static double moved_by_a_step(MlirModule module, double clip_norm) {
  struct anas_compile_options options = {
      .batch = BATCH, .optimizer = {.clip_norm = clip_norm}, .no_cache = true, .threads = 2};
  struct anas_program_image image;
  struct anas_program *program;
  expect_ok(anas_compile(module, &options, &image));
  expect_ok(anas_program_load(&image, &program));
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program), *params = anas_program_params(program);
  float rate = 0.5f, *pixels = (float *)(arena + info->image.offset);
  expect_ok(anas_init_params(info, 7, params));
  char *before = anas_alloc(info->params_bytes);
  memcpy(before, params, info->params_bytes);
  struct anas_rng rng = anas_rng_make(11);
  for (size_t i = 0; i < info->image.bytes / sizeof(float); i++)
    pixels[i] = (float)anas_rng_normal(&rng);
  for (int i = 0; i < BATCH; i++)
    ((int32_t *)(arena + info->label.offset))[i] = i % CLASSES;
  memcpy(arena + info->learning_rate.offset, &rate, sizeof rate);
  memset(arena + info->seed.offset, 0, info->seed.bytes);
  anas_program_train_step(program);
  double squares = 0;
  for (int t = 0; t < info->num_tensors; t++) {
    if (info->tensors[t].role != ANAS_TENSOR_PARAM) continue;
    const float *old = (const float *)(before + info->tensors[t].offset);
    const float *new = (const float *)(params + info->tensors[t].offset);
    for (size_t i = 0; i < info->tensors[t].count; i++)
      squares += ((double)new[i] - old[i]) * ((double)new[i] - old[i]);
  }
  free(before);
  anas_program_destroy(program);
  return sqrt(squares) / rate;
}

static void test_clip_norm(void **state) {
  (void)state;
  MlirContext context = anas_context_create(false);
  MlirModule module;
  expect_ok(anas_parse(context, network, strlen(network), "network", &module));
  double norm = moved_by_a_step(module, 0);
  assert_true(norm > 0.1);
  assert_true(fabs(moved_by_a_step(module, norm * 2) / norm - 1) < 1e-6);
  assert_true(fabs(moved_by_a_step(module, norm / 4) / (norm / 4) - 1) < 1e-5);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
  anas_team_shutdown();
}

static struct anas_program *compile_with(MlirModule module, bool infer_only) {
  struct anas_compile_options options = {
      .batch = BATCH, .program = infer_only ? ANAS_PROGRAM_INFER : ANAS_PROGRAM_TRAIN, .no_cache = true, .threads = 2};
  struct anas_program_image image;
  struct anas_program *program;
  expect_ok(anas_compile(module, &options, &image));
  expect_ok(anas_program_load(&image, &program));
  return program;
}

// Logits of @infer with the same weights and images every time.
static void infer(struct anas_program *program, float logits[BATCH * CLASSES]) {
  const struct anas_program_image *info = anas_program_info(program);
  expect_ok(anas_init_params(info, 7, anas_program_params(program)));
  char *arena = anas_program_arena(program);
  float *pixels = (float *)(arena + info->image.offset);
  struct anas_rng rng = anas_rng_make(11);
  for (size_t i = 0; i < info->image.bytes / sizeof *pixels; i++)
    pixels[i] = (float)anas_rng_normal(&rng);
  memset(arena + info->label.offset, 0, info->label.bytes);
  anas_program_infer(program);
  memcpy(logits, arena + info->logits.offset, BATCH * CLASSES * sizeof *logits);
}

// A program for inference alone computes the same and holds no momenta and no gradients.
static void test_infer_only(void **state) {
  (void)state;
  MlirContext context = anas_context_create(false);
  MlirModule module;
  expect_ok(anas_parse(context, network, strlen(network), "network", &module));
  struct anas_program *whole = compile_with(module, false), *alone = compile_with(module, true);
  float expected[BATCH * CLASSES], got[BATCH * CLASSES];
  infer(whole, expected);
  infer(alone, got);
  assert_memory_equal(got, expected, sizeof got);
  const struct anas_program_image *large = anas_program_info(whole), *small = anas_program_info(alone);
  assert_true(small->params_bytes < large->params_bytes);
  assert_true(small->num_kernels < large->num_kernels);
  for (int t = 0; t < small->num_tensors; t++)
    assert_int_not_equal(small->tensors[t].role, ANAS_TENSOR_OPTIMIZER);
  float before = *(float *)anas_program_params(alone);
  anas_program_train_step(alone);
  assert_true(*(float *)anas_program_params(alone) == before);
  anas_program_destroy(whole);
  anas_program_destroy(alone);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

static void test_error_leaves_nothing(void **state) {
  (void)state;
  static const char text[] = "func.func @main(%image: tensor<?x4x4x3xf32>) -> tensor<?x4x4x3xf32> {\n"
                             "  %0 = \"anas.relu\"(%image) : (tensor<?x4x4x3xf32>) -> tensor<?x4x4x3xf32>\n"
                             "  return %0 : tensor<?x4x4x3xf32>\n"
                             "}\n";
  MlirContext context = anas_context_create(false);
  MlirModule module;
  expect_ok(anas_parse(context, text, strlen(text), "network", &module));
  struct anas_compile_options options = {.batch = 2, .no_cache = true};
  struct anas_program_image image = {.batch = 77};
  assert_int_not_equal(anas_compile(module, &options, &image), ANAS_OK); // no logits
  assert_true(strlen(anas_error_message()) > 0);
  assert_int_equal(image.batch, 77);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

// Four channels a group: lanes are moved one by one, and copies of that must not multiply. (They once made 54 KB of
// code, which took LLVM 16 seconds.)
static void code_of_small_groups_stays_small(void **state) {
  (void)state;
  static const char text[] =
      "func.func @main(%image: tensor<?x20x20x128xf32>) -> tensor<?x32xf32> {\n"
      "  %0 = \"anas.conv\"(%image) {anas.name = \"conv\", features = 32 : i64, kernel = array<i64: 5, 5>, groups = 32 "
      ": "
      "i64} : (tensor<?x20x20x128xf32>) -> tensor<?x20x20x32xf32>\n"
      "  %1 = \"anas.mean\"(%0) {axes = array<i64: 1, 2>} : (tensor<?x20x20x32xf32>) -> tensor<?x32xf32>\n"
      "  return %1 : tensor<?x32xf32>\n"
      "}\n";
  MlirContext context = anas_context_create(false);
  MlirModule module;
  expect_ok(anas_parse(context, text, strlen(text), "groups", &module));
  struct anas_compile_report report = {0};
  struct anas_compile_options options = {.batch = 32,
                                         .optimizer = {.momentum = 0.9, .weight_decay = 1e-4},
                                         .no_cache = true,
                                         .threads = 1,
                                         .report = &report};
  struct anas_program_image image;
  expect_ok(anas_compile(module, &options, &image));
  assert_true(report.num_kernels > 4);
  for (int i = 0; i < report.num_kernels; i++)
    if (report.kernels[i].object_bytes > 12000)
      fail_msg("%s: %zu bytes of code", report.kernels[i].kind, report.kernels[i].object_bytes);
  anas_compile_report_deinit(&report);
  anas_program_image_deinit(&image);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tuned_equals_reference),
      cmocka_unit_test(test_clip_norm),
      cmocka_unit_test(test_infer_only),
      cmocka_unit_test(code_of_small_groups_stays_small),
      cmocka_unit_test(test_error_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
