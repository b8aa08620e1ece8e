// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training under a memory limit: the step stays within it, and parameters and losses are those of training without one,
// bit by bit. A limit that cannot be kept is an error that says how much is needed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/lower/compile.h"
#include "runtime/init.h"
#include "runtime/program.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 16
#define STEPS 3

static anas_status build(const char *name, int64_t limit, struct anas_program_image *out) {
  MlirContext context = anas_context_create(false);
  struct anas_model *model;
  MlirModule module;
  assert_int_equal(anas_zoo_build(name, 32, 32, 3, 10, &model), ANAS_OK);
  assert_int_equal(anas_model_export(model, context, &module), ANAS_OK);
  anas_model_destroy(model);
  struct anas_compile_options options = {
      .batch = BATCH, .optimizer = {.momentum = 0.9, .weight_decay = 1e-4}, .memory_limit = limit};
  anas_status status = anas_compile(module, &options, out);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
  return status;
}

// The values of all tensors (malloc'ed), without the padding between, and the losses of a few steps.
static char *train(struct anas_program_image *image, float *out_losses, size_t *out_size) {
  struct anas_program *program;
  if (anas_program_load(image, &program) != ANAS_OK) fail_msg("%s", anas_error_message());
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program), *params = anas_program_params(program);
  assert_int_equal(anas_init_params(info, 1, params), ANAS_OK);
  for (uint64_t step = 0; step < STEPS; step++) {
    float *pixels = (float *)(arena + info->image.offset), rate = 0.05f;
    int32_t *labels = (int32_t *)(arena + info->label.offset);
    for (size_t i = 0; i < info->image.bytes / sizeof *pixels; i++)
      pixels[i] = (float)((i * 7919 + step) % 251) / 125 - 1;
    for (int i = 0; i < BATCH; i++)
      labels[i] = i % 10;
    memcpy(arena + info->learning_rate.offset, &rate, sizeof rate);
    memcpy(arena + info->seed.offset, &step, info->seed.bytes < sizeof step ? info->seed.bytes : sizeof step);
    anas_program_train_step(program);
    memcpy(&out_losses[step], arena + info->loss.offset, sizeof *out_losses);
  }
  char *copy = malloc(info->params_bytes);
  assert_non_null(copy);
  size_t size = 0;
  for (int t = 0; t < info->num_tensors; t++) {
    memcpy(copy + size, params + info->tensors[t].offset, info->tensors[t].count * sizeof(float));
    size += info->tensors[t].count * sizeof(float);
  }
  *out_size = size;
  anas_program_destroy(program);
  return copy;
}

static void check_network(const char *name) {
  struct anas_program_image image;
  if (build(name, 0, &image) != ANAS_OK) fail_msg("%s", anas_error_message());
  int64_t params = (int64_t)image.params_bytes, arena = (int64_t)image.arena_bytes;
  float expected[STEPS], losses[STEPS];
  size_t size, got_size;
  char *reference = train(&image, expected, &size);
  int fitted = 0;
  // Elementwise values and packed copies are enough for the first; convolutions, too, must be computed again for less.
  for (int percent = 80; percent >= 20; percent -= 20) {
    int64_t limit = params + arena * percent / 100;
    anas_status status = build(name, limit, &image);
    if (status != ANAS_OK) {
      assert_int_equal(status, ANAS_NO_MEMORY);
      assert_non_null(strstr(anas_error_message(), "smaller batch"));
      continue;
    }
    assert_true((int64_t)(image.arena_bytes + image.params_bytes) <= limit);
    char *got = train(&image, losses, &got_size);
    assert_int_equal(got_size, size);
    if (memcmp(losses, expected, sizeof losses) != 0 || memcmp(got, reference, size) != 0)
      fail_msg("%s in %d %% of the memory: other results (loss %.9g instead of %.9g)", name, percent,
               (double)losses[STEPS - 1], (double)expected[STEPS - 1]);
    free(got);
    fitted++;
  }
  if (!fitted) fail_msg("%s fits no limit", name);
  free(reference);
}

static void results_are_the_same(void **state) {
  (void)state;
  check_network("resnet18");
  check_network("vit-ti/4");
}

static void impossible_limits_say_so(void **state) {
  (void)state;
  struct anas_program_image image;
  assert_int_equal(build("cnn", 1 << 20, &image), ANAS_NO_MEMORY);
  assert_non_null(strstr(anas_error_message(), "1.0 MB"));
  int64_t budget;
  assert_int_equal(anas_memory_budget(ANAS_PROCESS_BYTES, 10, &budget), ANAS_NO_MEMORY);
  assert_int_equal(anas_memory_budget(ANAS_PROCESS_BYTES + 15, 10, &budget), ANAS_OK);
  assert_int_equal(budget, 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(results_are_the_same),
      cmocka_unit_test(impossible_limits_say_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
