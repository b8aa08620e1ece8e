// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Networks whose contractions multiply bf16: gradients and losses beside those in f32, the same bits for every number
// of threads, and a clear refusal where the processor cannot. The kernels themselves: test_cpu_contractions.
#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/cpu/cpu.h"
#include "passes/lower/compile.h"
#include "runtime/init.h"
#include "runtime/support/memory.h"
#include "runtime/support/rng.h"
#include "runtime/team.h"
#include "test/unit/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BATCH 8
#define CLASSES 5
#define STEPS 5
// bf16 has 8 bits: a product is off by up to 2^-8, and errors of sums average out.
#define ANGLE 1e-3     // 1 - cosine between gradients
#define LENGTH 5e-3    // relative, of gradients
#define LOSS 1e-3      // of the first step, relative
#define LAST_LOSS 5e-3 // of the last step, of the first loss

struct run {
  double loss[STEPS];
  int64_t count;   // of all parameters
  float *gradient; // of the first step
};

static char *cache;
static bool supported;

static void expect_ok(anas_status status) {
  if (status != ANAS_OK) print_error("%s: %s\n", anas_status_name(status), anas_error_message());
  assert_int_equal(status, ANAS_OK);
}

static double take_step(struct anas_program *program) {
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program);
  struct anas_rng rng = anas_rng_make(11);
  float *pixels = (float *)(arena + info->image.offset), rate = 0.005f, loss;
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

// The momentum after one step from zero.
static void take_gradient(struct anas_program *program, struct run *run) {
  const struct anas_program_image *info = anas_program_info(program);
  const char *params = anas_program_params(program);
  run->gradient = anas_alloc(info->params_bytes);
  for (int t = 0; t < info->num_tensors; t++) {
    const struct anas_tensor *tensor = &info->tensors[t];
    if (tensor->role != ANAS_TENSOR_OPTIMIZER) continue;
    memcpy(run->gradient + run->count, params + tensor->offset, tensor->count * sizeof(float));
    run->count += (int64_t)tensor->count;
  }
}

static struct run train(MlirModule module, const char *precision, int threads, int *out_bf16) {
  struct anas_compile_report report = {0};
  struct anas_compile_options options = {
      .batch = BATCH, .optimizer = {.momentum = 0.9}, .precision = precision, .cache = cache, .report = &report};
  struct anas_program_image image;
  struct anas_program *program;
  struct run run = {0};
  expect_ok(anas_compile(module, &options, &image));
  *out_bf16 = 0;
  for (int i = 0; i < report.num_kernels; i++)
    *out_bf16 += strstr(report.kernels[i].plan, "bf16") != NULL;
  anas_compile_report_deinit(&report);
  expect_ok(anas_program_load(&image, &program));
  expect_ok(anas_init_params(anas_program_info(program), 7, anas_program_params(program)));
  anas_team_set_size(threads);
  for (int step = 0; step < STEPS; step++) {
    run.loss[step] = take_step(program);
    if (!step) take_gradient(program, &run);
  }
  anas_program_destroy(program);
  return run;
}

static double product(const struct run *a, const struct run *b) {
  double sum = 0;
  for (int64_t i = 0; i < a->count; i++)
    sum += (double)a->gradient[i] * (double)b->gradient[i];
  return sum;
}

static void check(const char *name, int64_t side, int kernels) {
  MlirContext context = anas_context_create(false);
  struct anas_model *model;
  MlirModule module;
  int used;
  expect_ok(anas_zoo_build(name, side, side, 3, CLASSES, &model));
  expect_ok(anas_model_export(model, context, &module));
  anas_model_destroy(model);
  struct run f32 = train(module, "f32", 2, &used);
  assert_int_equal(used, 0);
  struct run bf16 = train(module, "bf16-always", 2, &used), alone = train(module, "bf16-always", 1, &used);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
  assert_true(used >= kernels);
  assert_int_equal(f32.count, bf16.count);
  double length = sqrt(product(&bf16, &bf16) / product(&f32, &f32));
  double cosine = product(&f32, &bf16) / sqrt(product(&bf16, &bf16) * product(&f32, &f32));
  printf("# %s: %d kernels in bf16, cosine of gradients %.6f, lengths %.4f, loss %.6f and %.6f to %.6f and %.6f\n",
         name, used, cosine, length, f32.loss[0], bf16.loss[0], f32.loss[STEPS - 1], bf16.loss[STEPS - 1]);
  assert_true(cosine > 1 - ANGLE && cosine < 1 - 1e-9); // it is rounded
  assert_true(fabs(length - 1) < LENGTH);
  assert_true(fabs(bf16.loss[0] / f32.loss[0] - 1) < LOSS);
  assert_true(bf16.loss[STEPS - 1] < bf16.loss[0]);
  assert_true(fabs(bf16.loss[STEPS - 1] - f32.loss[STEPS - 1]) < LAST_LOSS * f32.loss[0]);
  assert_memory_equal(alone.loss, bf16.loss, sizeof bf16.loss);
  assert_memory_equal(alone.gradient, bf16.gradient, (size_t)bf16.count * sizeof(float));
  free(f32.gradient);
  free(bf16.gradient);
  free(alone.gradient);
}

static void convolutions(void **state) {
  (void)state;
  if (!supported) skip();
  check("cnn", 16, 6);
}

static void attention(void **state) {
  (void)state;
  if (!supported) skip();
  check("vit-ti/4", 16, 8);
}

static void refusals(void **state) {
  (void)state;
  struct anas_cpu_target target;
  expect_ok(anas_cpu_target_init("x86-64-v3", &target));
  assert_int_equal(anas_cpu_target_set_precision(&target, "bf16"), ANAS_UNSUPPORTED);
  assert_non_null(strstr(anas_error_message(), "avx512bf16"));
  assert_non_null(strstr(anas_error_message(), "'x86-64-v3'"));
  assert_int_equal(target.bf16, ANAS_BF16_OFF);
  expect_ok(anas_cpu_target_set_precision(&target, "f32"));
  assert_int_equal(anas_cpu_target_set_precision(&target, "bf17"), ANAS_INVALID);
  anas_cpu_target_deinit(&target);
  static const char *const able[] = {"cooperlake", "sapphirerapids", "znver4", "znver5"};
  static const char *const unable[] = {"x86-64-v4", "icelake-server", "arrowlake", "znver3"};
  for (int i = 0; i < 4; i++) {
    expect_ok(anas_cpu_target_init(able[i], &target));
    expect_ok(anas_cpu_target_set_precision(&target, "bf16"));
    assert_int_equal(target.bf16, ANAS_BF16_AUTO);
    anas_cpu_target_deinit(&target);
    expect_ok(anas_cpu_target_init(unable[i], &target));
    assert_int_equal(anas_cpu_target_set_precision(&target, "bf16-always"), ANAS_UNSUPPORTED);
    anas_cpu_target_deinit(&target);
  }
}

static int set_up(void **state) {
  (void)state;
  struct anas_cpu_target host;
  if (anas_cpu_target_init(NULL, &host) != ANAS_OK) return -1;
  supported = host.bf16_speed > 0;
  anas_cpu_target_deinit(&host);
  cache = scratch_create();
  return cache ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  anas_team_shutdown();
  return scratch_destroy(cache);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convolutions),
      cmocka_unit_test(attention),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
