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
#define STEPS 5

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

// A few steps on one batch; out_loss[STEPS].
static void take_steps(struct anas_program *program, float *out_loss) {
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program);
  float rate = 0.002f; // b0 starts at a loss of 9.5 in this tiny setting and diverges at ten times as much
  for (int64_t step = 0; step < STEPS; step++) {
    struct anas_rng rng = anas_rng_make(11);
    float *pixels = (float *)(arena + info->image.offset);
    int32_t *labels = (int32_t *)(arena + info->label.offset);
    for (size_t i = 0; i < info->image.bytes / sizeof *pixels; i++)
      pixels[i] = (float)anas_rng_normal(&rng); // the arena is scratch between calls
    for (int i = 0; i < BATCH; i++)
      labels[i] = i % CLASSES;
    memcpy(arena + info->learning_rate.offset, &rate, sizeof rate);
    memcpy(arena + info->seed.offset, &step, info->seed.bytes < sizeof step ? info->seed.bytes : sizeof step);
    anas_program_train_step(program);
    memcpy(&out_loss[step], arena + info->loss.offset, sizeof *out_loss);
  }
}

static bool all_zero(const float *values, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (values[i] != 0) return false;
  return true;
}

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
    struct anas_compile_options options = {.batch = BATCH, .momentum = 0.9, .cache = cache};
    struct anas_program_image image;
    struct anas_program *program;
    expect_ok(anas_compile(module, &options, &image));
    mlirModuleDestroy(module);
    mlirContextDestroy(context);
    expect_ok(anas_program_load(&image, &program));
    const struct anas_program_image *info = anas_program_info(program);
    const char *params = anas_program_params(program);
    expect_ok(anas_init_params(info, 7, anas_program_params(program)));
    float loss[STEPS];
    take_steps(program, loss);
    for (int step = 0; step < STEPS; step++)
      if (!isfinite(loss[step])) fail_msg("%s: loss %g in step %d", cases[i].name, (double)loss[step], step);
    if (!(loss[STEPS - 1] < loss[0]))
      fail_msg("%s: loss %g, after %d steps %g", cases[i].name, (double)loss[0], STEPS, (double)loss[STEPS - 1]);
    // Every parameter received a gradient.
    for (int t = 0; t < info->num_tensors; t++)
      if (info->tensors[t].role == ANAS_TENSOR_OPTIMIZER &&
          all_zero((const float *)(params + info->tensors[t].offset), info->tensors[t].count))
        fail_msg("%s: %s stayed zero", cases[i].name, info->tensors[t].name);
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
