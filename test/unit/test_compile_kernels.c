// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compilation of a kernel-stage module: tuned and stock code agree, the cache is used and never trusted, errors name
// the kernel and leak nothing.
#include "dialect/context.h"
#include "passes/lower/compile.h"
#include "runtime/support/file.h"
#include "runtime/team.h"
#include "test/unit/kernel_stage.h"
#include "test/unit/scratch.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define UNITS 3 // kernel functions

struct fixture {
  MlirContext context;
  MlirModule module;
  char *directory;
  struct anas_compile_options options;
};

static int setup(void **state) {
  struct fixture *fixture = anas_alloc(sizeof *fixture);
  fixture->directory = scratch_create();
  if (!fixture->directory) return -1;
  fixture->context = anas_context_create(false);
  if (anas_parse(fixture->context, stage_text, strlen(stage_text), "stage", &fixture->module) != ANAS_OK) return -1;
  fixture->options = (struct anas_compile_options){.batch = STAGE_BATCH, .cache = fixture->directory, .threads = 2};
  *state = fixture;
  return 0;
}

static int teardown(void **state) {
  struct fixture *fixture = *state;
  mlirModuleDestroy(fixture->module);
  mlirContextDestroy(fixture->context);
  scratch_destroy(fixture->directory);
  free(fixture);
  return 0;
}

static void expect(anas_status status, anas_status expected) {
  if (status != expected) print_error("%s: %s\n", anas_status_name(status), anas_error_message());
  assert_int_equal(status, expected);
}

static struct anas_program_image compile(struct fixture *fixture, int hits, int misses) {
  struct anas_program_image image;
  expect(anas_compile_kernels(fixture->module, &fixture->options, &image), ANAS_OK);
  assert_int_equal(image.cache_hits, hits);
  assert_int_equal(image.cache_misses, misses);
  assert_int_equal(image.num_objects, UNITS);
  assert_true(image.compile_seconds > 0);
  return image;
}

struct outcome {
  float loss, weight[STAGE_FEATURES], logits[STAGE_BATCH * STAGE_FEATURES];
};

// Two steps from fixed values, then inference.
static struct outcome run(struct anas_program_image *image) {
  struct anas_program *program;
  expect(anas_program_load(image, &program), ANAS_OK);
  char *arena = anas_program_arena(program);
  float *weight = anas_program_params(program), *input = (float *)(arena + STAGE_IMAGE), rate = 0.25f;
  for (int i = 0; i < STAGE_BATCH * STAGE_FEATURES; i++)
    input[i] = 0.37f * (float)(i % 5) - 0.6f;
  for (int i = 0; i < STAGE_FEATURES; i++)
    weight[i] = 0.1f * (float)i - 0.2f;
  memcpy(arena + STAGE_RATE, &rate, sizeof rate);
  anas_program_train_step(program);
  anas_program_train_step(program);
  anas_program_infer(program);
  struct outcome outcome;
  memcpy(&outcome.loss, arena + STAGE_LOSS, sizeof outcome.loss);
  memcpy(outcome.weight, weight, sizeof outcome.weight);
  memcpy(outcome.logits, arena + STAGE_LOGITS, sizeof outcome.logits);
  anas_program_destroy(program);
  return outcome;
}

static void assert_close(const struct outcome *a, const struct outcome *b) {
  const float *x = (const float *)a, *y = (const float *)b;
  for (size_t i = 0; i < sizeof *a / sizeof *x; i++)
    assert_true(fabsf(x[i] - y[i]) <= 1e-6f * (1 + fabsf(y[i])));
}

static void test_tuned_equals_reference(void **state) {
  struct fixture *fixture = *state;
  fixture->options.reference = true;
  struct anas_program_image image = compile(fixture, 0, UNITS);
  struct outcome reference = run(&image);
  fixture->options.reference = false;
  image = compile(fixture, 0, UNITS); // other code under other keys
  struct outcome tuned = run(&image);
  assert_close(&tuned, &reference);
  assert_true(fabsf(reference.weight[0] - -0.2f) > 1e-3f); // something was learnt
  anas_team_shutdown();
}

static void test_second_compilation_hits(void **state) {
  struct fixture *fixture = *state;
  struct anas_program_image image = compile(fixture, 0, UNITS);
  struct outcome cold = run(&image);
  image = compile(fixture, UNITS, 0);
  struct outcome warm = run(&image);
  assert_memory_equal(&cold, &warm, sizeof cold);
  fixture->options.no_cache = true;
  image = compile(fixture, 0, UNITS);
  struct outcome without = run(&image);
  assert_memory_equal(&cold, &without, sizeof cold);
  fixture->options.no_cache = false;
  fixture->options.cpu = "x86-64"; // another processor: nothing is shared
#ifdef __x86_64__
  image = compile(fixture, 0, UNITS);
  anas_program_image_deinit(&image);
#endif
  anas_team_shutdown();
}

static void test_threads_give_the_same_objects(void **state) {
  struct fixture *fixture = *state;
  fixture->options.no_cache = true;
  fixture->options.threads = 1;
  struct anas_program_image one = compile(fixture, 0, UNITS);
  fixture->options.threads = 4;
  struct anas_program_image four = compile(fixture, 0, UNITS);
  for (int i = 0; i < UNITS; i++) {
    assert_int_equal(one.objects[i].size, four.objects[i].size);
    assert_memory_equal(one.objects[i].data, four.objects[i].data, one.objects[i].size);
  }
  anas_program_image_deinit(&one);
  anas_program_image_deinit(&four);
}

static void test_damaged_entries_are_replaced(void **state) {
  struct fixture *fixture = *state;
  struct anas_program_image image = compile(fixture, 0, UNITS);
  anas_program_image_deinit(&image);
  DIR *dir = opendir(fixture->directory);
  int damaged = 0;
  for (struct dirent *item; (item = readdir(dir));) {
    if (item->d_name[0] == '.') continue;
    char *path = anas_format("%s/%s", fixture->directory, item->d_name), *data;
    size_t size;
    expect(anas_file_read(path, &data, &size), ANAS_OK);
    data[size / 2] ^= 1;
    if (damaged == 0) expect(anas_file_write(path, data, size), ANAS_OK);
    if (damaged == 1) expect(anas_file_write(path, data, size / 2), ANAS_OK);
    if (damaged == 2) expect(anas_file_write(path, "", 0), ANAS_OK);
    damaged++;
    free(data);
    free(path);
  }
  closedir(dir);
  assert_int_equal(damaged, UNITS);
  image = compile(fixture, UNITS - 3, 3);
  run(&image);
  image = compile(fixture, UNITS, 0);
  anas_program_image_deinit(&image);
  anas_team_shutdown();
}

// The generated text of one kernel function is broken in a way only the code generator notices.
static void test_error_names_the_kernel(void **state) {
  struct fixture *fixture = *state;
  static const char broken[] = "func.func private @k_broken(%x: memref<?xf32>) attributes {anas.kernel = \"odd\", "
                               "anas.flops = 1.0 : f64, anas.bytes = 1.0 : f64} {\n  return\n}\n}\n";
  char *text = anas_format("%.*s%s", (int)(strlen(stage_text) - 2), stage_text, broken);
  MlirModule module;
  expect(anas_parse(fixture->context, text, strlen(text), "stage", &module), ANAS_OK);
  for (int reference = 0; reference < 2; reference++) {
    fixture->options.reference = reference;
    struct anas_program_image image = {.batch = 77};
    anas_status status = anas_compile_kernels(module, &fixture->options, &image);
    assert_int_not_equal(status, ANAS_OK);
    assert_non_null(strstr(anas_error_message(), "k_broken"));
    assert_non_null(strstr(anas_error_message(), "odd"));
    assert_int_equal(image.batch, 77); // untouched
  }
  mlirModuleDestroy(module);
  free(text);
}

static void test_cache_directory(void **state) {
  struct fixture *fixture = *state;
  char *path = anas_format("%s/file", fixture->directory);
  expect(anas_file_write(path, "x", 1), ANAS_OK);
  fixture->options.cache = path;
  struct anas_program_image image;
  expect(anas_compile_kernels(fixture->module, &fixture->options, &image), ANAS_IO);
  assert_non_null(strstr(anas_error_message(), path));
  // Only a directory that was asked for has to work.
  fixture->options.cache = NULL;
  setenv("ANAS_CACHE_DIR", path, 1);
  image = compile(fixture, 0, UNITS);
  anas_program_image_deinit(&image);
  setenv("ANAS_CACHE_DIR", fixture->directory, 1);
  image = compile(fixture, 0, UNITS);
  anas_program_image_deinit(&image);
  image = compile(fixture, UNITS, 0);
  anas_program_image_deinit(&image);
  unsetenv("ANAS_CACHE_DIR");
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_tuned_equals_reference, setup, teardown),
      cmocka_unit_test_setup_teardown(test_second_compilation_hits, setup, teardown),
      cmocka_unit_test_setup_teardown(test_threads_give_the_same_objects, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damaged_entries_are_replaced, setup, teardown),
      cmocka_unit_test_setup_teardown(test_error_names_the_kernel, setup, teardown),
      cmocka_unit_test_setup_teardown(test_cache_directory, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
