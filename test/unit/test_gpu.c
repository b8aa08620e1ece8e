// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GPU programs without a GPU: PTX of whole training steps, launch plans inside their buffers, bundle files and damaged
// ones.
#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/gpu/gpu.h"
#include "runtime/support/file.h"
#include "test/unit/scratch.h"
#include "test/unit/step_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void compile_text(const char *text, int64_t batch, const char *chip, const char *precision,
                         struct anas_device_program *out) {
  MlirContext context = anas_context_create(false);
  MlirModule module;
  struct anas_gpu_target target;
  assert_int_equal(anas_gpu_target_init(chip, precision, &target), ANAS_OK);
  assert_int_equal(anas_parse(context, text, strlen(text), "test", &module), ANAS_OK);
  if (anas_gpu_compile(module, batch, &(struct anas_optimizer){.momentum = 0.9, .weight_decay = 1e-4}, &target, out))
    fail_msg("%s", anas_error_message());
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

static void compile_zoo(const char *name, const char *chip, const char *precision, struct anas_device_program *out) {
  struct anas_model *model;
  assert_int_equal(anas_zoo_build(name, 32, 32, 3, 10, &model), ANAS_OK);
  struct anas_strbuf text = {0};
  anas_model_print(model, &text);
  anas_model_destroy(model);
  compile_text(text.data, 16, chip, precision, out);
  anas_strbuf_deinit(&text);
}

// Every module is PTX for the chip, defines what is launched, and calls nothing outside.
static void check_modules(const struct anas_device_program *program) {
  assert_true(program->num_modules > 0 && program->num_functions >= program->num_modules);
  struct anas_strbuf line = {0};
  anas_strbuf_addf(&line, ".target %s\n", program->chip);
  for (int m = 0; m < program->num_modules; m++) {
    const char *ptx = program->modules[m].ptx;
    if (!strstr(ptx, line.data)) fail_msg("module %d is not for %s", m, program->chip);
    if (strstr(ptx, ".extern")) fail_msg("module %d has an unresolved symbol: %.80s", m, strstr(ptx, ".extern"));
    assert_int_equal(strlen(ptx), program->modules[m].size);
  }
  for (int f = 0; f < program->num_functions; f++) {
    anas_strbuf_clear(&line);
    anas_strbuf_addf(&line, ".entry %s(", program->functions[f].symbol);
    if (!strstr(program->modules[program->functions[f].module].ptx, line.data))
      fail_msg("%s is not in its module", program->functions[f].symbol);
  }
  anas_strbuf_deinit(&line);
}

static void zoo_to_ptx(void **state) {
  (void)state;
  static const struct {
    const char *name, *chip, *precision;
  } cases[] = {
      {"cnn", "sm_80", "f32"}, {"cnn", "sm_100", "tf32"}, {"cnn", "sm_80", "bf16"}, {"resnet18", "sm_90", "f32"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct anas_device_program program;
    compile_zoo(cases[i].name, cases[i].chip, cases[i].precision, &program);
    check_modules(&program);
    assert_int_equal(anas_device_program_check(&program), ANAS_OK);
    assert_true(program.num_launches[ANAS_ENTRY_TRAIN_STEP] > program.num_launches[ANAS_ENTRY_INFER]);
    anas_device_program_deinit(&program);
  }
}

// Odd extents, max pooling, dropout, a residual sum.
static void odd_network(void **state) {
  (void)state;
  struct anas_device_program program;
  compile_text(fixture_cnn, FIXTURE_BATCH, "sm_90", NULL, &program);
  check_modules(&program);
  anas_device_program_deinit(&program);
}

static void unknown_targets(void **state) {
  (void)state;
  struct anas_gpu_target target;
  assert_int_equal(anas_gpu_target_init("sm_30", NULL, &target), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "sm_90"));
  assert_int_equal(anas_gpu_target_init(NULL, "f16", &target), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "bf16"));
}

static char *read_text(const char *path, size_t *out_size) {
  char *data;
  assert_int_equal(anas_file_read(path, &data, out_size), ANAS_OK);
  return data;
}

static void bundle_round_trip(void **state) {
  (void)state;
  struct anas_device_program program, again;
  compile_text(fixture_cnn, FIXTURE_BATCH, NULL, NULL, &program);
  char *folder = scratch_create(), *first = anas_format("%s/a", folder), *second = anas_format("%s/b", folder);
  assert_int_equal(anas_bundle_write(first, &program), ANAS_OK);
  if (anas_bundle_read(first, &again)) fail_msg("%s", anas_error_message());
  assert_int_equal(again.num_modules, program.num_modules);
  assert_int_equal(again.image.num_tensors, program.image.num_tensors);
  assert_int_equal(again.workspace_bytes, program.workspace_bytes);
  for (int t = 0; t < again.image.num_tensors; t++)
    assert_string_equal(again.image.tensors[t].name, program.image.tensors[t].name);
  assert_int_equal(anas_bundle_write(second, &again), ANAS_OK);
  size_t size_a, size_b;
  char *a = read_text(first, &size_a), *b = read_text(second, &size_b);
  assert_int_equal(size_a, size_b);
  assert_memory_equal(a, b, size_a);
  free(a);
  free(b);
  anas_device_program_deinit(&program);
  anas_device_program_deinit(&again);
  free(first);
  free(second);
  assert_int_equal(scratch_destroy(folder), 0);
}

static void expect_bad_bundle(const char *path, const char *data, size_t size, anas_status expected,
                              const char *message) {
  struct anas_device_program program;
  assert_int_equal(anas_file_write(path, data, size), ANAS_OK);
  assert_int_equal(anas_bundle_read(path, &program), expected);
  if (!strstr(anas_error_message(), message)) fail_msg("'%s' is not in: %s", message, anas_error_message());
}

static void damaged_bundles(void **state) {
  (void)state;
  struct anas_device_program program;
  compile_text(fixture_mlp, FIXTURE_BATCH, NULL, NULL, &program);
  char *folder = scratch_create(), *path = anas_format("%s/bundle", folder);
  assert_int_equal(anas_bundle_write(path, &program), ANAS_OK);
  size_t size;
  char *data = read_text(path, &size);
  expect_bad_bundle(path, data, size / 2, ANAS_CORRUPT, "checksum");
  expect_bad_bundle(path, data, 5, ANAS_CORRUPT, "not a bundle");
  expect_bad_bundle(path, "", 0, ANAS_CORRUPT, "not a bundle");
  data[size / 2] ^= 1;
  expect_bad_bundle(path, data, size, ANAS_CORRUPT, "checksum");
  data[size / 2] ^= 1;
  data[strlen("anas-bundle ")] = '9';
  expect_bad_bundle(path, data, size, ANAS_UNSUPPORTED, "version 9");
  free(data);

  // Programs that a wrong compiler could write are refused when they are read.
  struct anas_device_launch *launch = &program.launches[ANAS_ENTRY_TRAIN_STEP][0], saved = *launch;
  launch->argument[0].offset = program.image.arena_bytes + program.image.params_bytes + 64;
  assert_int_equal(anas_device_program_check(&program), ANAS_CORRUPT);
  *launch = saved;
  launch->function = program.num_functions;
  assert_int_equal(anas_device_program_check(&program), ANAS_CORRUPT);
  *launch = saved;
  launch->argument[0].offset += 4;
  assert_int_equal(anas_device_program_check(&program), ANAS_CORRUPT);
  *launch = saved;
  assert_int_equal(anas_device_program_check(&program), ANAS_OK);
  anas_device_program_deinit(&program);
  free(path);
  assert_int_equal(scratch_destroy(folder), 0);
}

static void unknown_device(void **state) {
  (void)state;
  struct anas_device *device;
  assert_int_equal(anas_device_open("abacus", 0, &device), ANAS_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(zoo_to_ptx),        cmocka_unit_test(odd_network),     cmocka_unit_test(unknown_targets),
      cmocka_unit_test(bundle_round_trip), cmocka_unit_test(damaged_bundles), cmocka_unit_test(unknown_device),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
