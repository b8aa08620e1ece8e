// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every network of the zoo lowers to kernel functions, and one of each kind trains, at a size made for tests.
#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/lower/compile.h"
#include "passes/lower/lower.h"
#include "runtime/init.h"
#include "runtime/support/rng.h"
#include "runtime/team.h"
#include "test/unit/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BATCH 4
#define CLASSES 5
#define MOMENTUM 0.9
#define DECREASE 0.01 // of the loss

static void expect_ok(anas_status status) {
  if (status != ANAS_OK) print_error("%s: %s\n", anas_status_name(status), anas_error_message());
  assert_int_equal(status, ANAS_OK);
}

static MlirModule build(MlirContext context, const char *name, int64_t side) {
  struct anas_model *model;
  MlirModule module;
  expect_ok(anas_zoo_build(name, side, side, 3, CLASSES, &model));
  expect_ok(anas_model_export(model, context, &module));
  anas_model_destroy(model);
  return module;
}

static void every_network_lowers(void **state) {
  (void)state;
  MlirContext context = anas_context_create(false);
  int count;
  const struct anas_zoo_entry *const *entries = anas_zoo_table(&count);
  for (int i = 0; i < count; i++) {
    MlirModule module = build(context, entries[i]->name, 32);
    expect_ok(anas_build_train_step(module, 2, 0.9, 1e-4));
    expect_ok(anas_lower_to_kernels(module));
    if (!mlirOperationVerify(mlirModuleGetOperation(module))) fail_msg("%s: kernels do not verify", entries[i]->name);
    mlirModuleDestroy(module);
  }
  mlirContextDestroy(context);
}

// One step on always the same batch, dropout included; returns the loss.
static double take_step(struct anas_program *program, double learning_rate) {
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program);
  struct anas_rng rng = anas_rng_make(11);
  float *pixels = (float *)(arena + info->image.offset), rate = (float)learning_rate, loss;
  int32_t *labels = (int32_t *)(arena + info->label.offset);
  const int64_t seed = 3;
  for (size_t i = 0; i < info->image.bytes / sizeof *pixels; i++)
    pixels[i] = (float)anas_rng_normal(&rng); // the arena is scratch between calls
  for (int i = 0; i < BATCH; i++)
    labels[i] = i % CLASSES;
  memcpy(arena + info->learning_rate.offset, &rate, sizeof rate);
  memcpy(arena + info->seed.offset, &seed, info->seed.bytes < sizeof seed ? info->seed.bytes : sizeof seed);
  anas_program_train_step(program);
  memcpy(&loss, arena + info->loss.offset, sizeof loss);
  return loss;
}

// Initial values, but nothing starts at zero: every parameter then has a gradient.
static void init_params(struct anas_program *program) {
  const struct anas_program_image *info = anas_program_info(program);
  char *params = anas_program_params(program);
  struct anas_rng rng = anas_rng_make(5);
  expect_ok(anas_init_params(info, 7, params));
  for (int t = 0; t < info->num_tensors; t++) {
    float *values = (float *)(params + info->tensors[t].offset);
    bool zeros = info->tensors[t].role == ANAS_TENSOR_PARAM;
    for (size_t i = 0; i < info->tensors[t].count; i++)
      zeros &= values[i] == 0;
    for (size_t i = 0; zeros && i < info->tensors[t].count; i++)
      values[i] = 0.1f * (float)anas_rng_normal(&rng);
  }
}

// Squared length of the gradient, which the momentum is after one step from zero.
static double gradient_square(struct anas_program *program, const char *name) {
  const struct anas_program_image *info = anas_program_info(program);
  const char *params = anas_program_params(program);
  double sum = 0;
  for (int t = 0; t < info->num_tensors; t++) {
    const struct anas_tensor *tensor = &info->tensors[t];
    const float *values = (const float *)(params + tensor->offset);
    double square = 0;
    if (tensor->role != ANAS_TENSOR_OPTIMIZER) continue;
    for (size_t i = 0; i < tensor->count; i++)
      square += (double)values[i] * (double)values[i];
    if (!(square > 0)) fail_msg("%s: %s has the square %g", name, tensor->name, square);
    sum += square;
  }
  return sum;
}

// A small step along the gradient of the whole network lowers the loss by as much as the gradient says.
static void networks_train(void **state) {
  static const struct {
    const char *name;
    int64_t side;
  } cases[] = {
      {"cnn", 16}, {"resnet18", 32}, {"resnet18-plain", 16}, {"resnet50", 32}, {"b0", 32}, {"vit-ti/4", 16},
  };
  (void)state;
  char *cache = scratch_create();
  assert_non_null(cache);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    MlirContext context = anas_context_create(false);
    MlirModule module = build(context, cases[i].name, cases[i].side);
    struct anas_compile_options options = {.batch = BATCH, .optimizer = {.momentum = MOMENTUM}, .cache = cache};
    struct anas_program_image image;
    struct anas_program *program;
    expect_ok(anas_compile(module, &options, &image));
    mlirModuleDestroy(module);
    mlirContextDestroy(context);
    expect_ok(anas_program_load(&image, &program));
    init_params(program);
    double before = take_step(program, 0), square = gradient_square(program, cases[i].name);
    double again = take_step(program, DECREASE / square / (1 + MOMENTUM)), after = take_step(program, 0);
    if (!isfinite(before) || again != before || !(fabs((before - after) / DECREASE - 1) < 0.15))
      fail_msg("%s: loss %.7g, again %.7g, then %.7g; the gradient promised %g less", cases[i].name, before, again,
               after, DECREASE);
    anas_program_destroy(program);
  }
  assert_int_equal(scratch_destroy(cache), 0);
  anas_team_shutdown();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_network_lowers),
      cmocka_unit_test(networks_train),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
