// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weight inheritance: what has the same path and shape is bit-equal, the rest is initialised, and a duplicated residual
// block changes nothing.
#include "tools/anas-search/inherit.h"

#include "dialect/context.h"
#include "passes/lower/compile.h"
#include "runtime/init.h"
#include "runtime/support/memory.h"
#include "runtime/support/rng.h"
#include "runtime/support/strbuf.h"
#include "runtime/weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BATCH 4
#define CLASSES 5
#define FILE_NAME "test_inherit.safetensors"

static void expect_ok(anas_status status) {
  if (status != ANAS_OK) fail_msg("%s: %s", anas_status_name(status), anas_error_message());
}

// A stem, 'blocks' residual blocks named block0, block1, ..., a head. tail: of the branches of a block.
static MlirModule network(MlirContext context, int blocks, int features, const char *tail) {
  struct anas_strbuf t = {0};
  anas_strbuf_addf(&t,
                   "func.func @main(%%i: tensor<?x6x6x3xf32>) -> tensor<?x5xf32> {\n"
                   "%%s = \"anas.conv\"(%%i) {anas.name = \"stem\", features = 8 : i64, kernel = array<i64: 3, 3>} : "
                   "(tensor<?x6x6x3xf32>) -> tensor<?x6x6x8xf32>\n"
                   "%%x0 = \"anas.relu\"(%%s) : (tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32>\n");
  for (int b = 0; b < blocks; b++)
    anas_strbuf_addf(&t, "%%x%d = call @block%d(%%x%d) : (tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32>\n", b + 1, b, b);
  anas_strbuf_addf(&t,
                   "%%m = \"anas.mean\"(%%x%d) {axes = array<i64: 1, 2>} : (tensor<?x6x6x8xf32>) -> tensor<?x8xf32>\n"
                   "%%h = \"anas.dense\"(%%m) {anas.name = \"hidden\", features = %d : i64} : (tensor<?x8xf32>) -> "
                   "tensor<?x%dxf32>\n"
                   "%%l = \"anas.dense\"(%%h) {anas.name = \"head\", features = 5 : i64} : (tensor<?x%dxf32>) -> "
                   "tensor<?x5xf32>\n"
                   "return %%l : tensor<?x5xf32>\n}\n",
                   blocks, features, features, features);
  for (int b = 0; b < blocks; b++)
    anas_strbuf_addf(&t,
                     "func.func private @block%d(%%x: tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32> attributes "
                     "{anas.block = \"block\"} {\n"
                     "%%c = \"anas.conv\"(%%x) {anas.name = \"conv\", features = 8 : i64, kernel = array<i64: 3, 3>} : "
                     "(tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32>\n%s"
                     "%%a = \"anas.add\"(%%n, %%x) : (tensor<?x6x6x8xf32>, tensor<?x6x6x8xf32>) -> "
                     "tensor<?x6x6x8xf32>\n"
                     "%%r = \"anas.relu\"(%%a) : (tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32>\n"
                     "return %%r : tensor<?x6x6x8xf32>\n}\n",
                     b, tail);
  MlirModule module;
  expect_ok(anas_parse(context, t.data, t.size, "network", &module));
  anas_strbuf_deinit(&t);
  return module;
}

static const char norm[] =
    "%n = \"anas.batch_norm\"(%c) {anas.name = \"bn\"} : (tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32>\n";
static const char linear[] = "%r1 = \"anas.relu\"(%c) : (tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32>\n"
                             "%n = \"anas.dense\"(%r1) {anas.name = \"out\", features = 8 : i64} : "
                             "(tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32>\n";
static const char neither[] = "%n = \"anas.sigmoid\"(%c) : (tensor<?x6x6x8xf32>) -> tensor<?x6x6x8xf32>\n";

static struct anas_program *load(MlirModule module, uint64_t seed) {
  struct anas_compile_options options = {.batch = BATCH, .program = ANAS_PROGRAM_INFER, .no_cache = true, .threads = 2};
  struct anas_program_image image;
  struct anas_program *program;
  expect_ok(anas_compile(module, &options, &image));
  expect_ok(anas_program_load(&image, &program));
  expect_ok(anas_init_params(anas_program_info(program), seed, anas_program_params(program)));
  return program;
}

static void infer(struct anas_program *program, float logits[BATCH * CLASSES]) {
  const struct anas_program_image *info = anas_program_info(program);
  char *arena = anas_program_arena(program);
  struct anas_rng rng = anas_rng_make(3);
  for (size_t i = 0; i < info->image.bytes / sizeof(float); i++)
    ((float *)(arena + info->image.offset))[i] = (float)anas_rng_normal(&rng);
  memset(arena + info->label.offset, 0, info->label.bytes);
  anas_program_infer(program);
  memcpy(logits, arena + info->logits.offset, BATCH * CLASSES * sizeof *logits);
}

static struct inherit_report inherit(struct anas_program *child, MlirModule module, bool identity) {
  struct anas_model *model;
  struct inherit_report report;
  expect_ok(anas_model_import(module, &model));
  expect_ok(anas_model_infer_shapes(model));
  expect_ok(inherit_weights(FILE_NAME, model, anas_program_info(child), anas_program_params(child), identity, &report));
  anas_model_destroy(model);
  return report;
}

static void save(struct anas_program *program) {
  const char *metadata[] = {NULL};
  expect_ok(anas_weights_save(FILE_NAME, anas_program_info(program), anas_program_params(program), false, metadata));
}

// A tensor's values; null if the program has none of that name.
static const float *tensor(struct anas_program *program, const char *name, size_t *out_count) {
  const struct anas_program_image *info = anas_program_info(program);
  for (int t = 0; t < info->num_tensors; t++)
    if (!strcmp(info->tensors[t].name, name)) {
      *out_count = info->tensors[t].count;
      return (float *)((char *)anas_program_params(program) + info->tensors[t].offset);
    }
  return NULL;
}

// The child has another width in the middle of its head: what touches it keeps its initial values.
static void path_and_shape_decide(void **state) {
  (void)state;
  MlirContext context = anas_context_create(false);
  MlirModule parent_module = network(context, 1, 7, norm), child_module = network(context, 1, 9, norm);
  struct anas_program *parent = load(parent_module, 1), *child = load(child_module, 2), *fresh = load(child_module, 2);
  save(parent);
  struct inherit_report report = inherit(child, child_module, true);
  const struct anas_program_image *info = anas_program_info(child);
  int equal = 0, fresh_equal = 0;
  for (int t = 0; t < info->num_tensors; t++) {
    const char *name = info->tensors[t].name;
    size_t count, parent_count = 0;
    const float *got = tensor(child, name, &count), *old = tensor(parent, name, &parent_count);
    bool expected =
        strcmp(name, "main/hidden/kernel") && strcmp(name, "main/hidden/bias") && strcmp(name, "main/head/kernel");
    if (expected) {
      assert_non_null(old);
      assert_int_equal(count, parent_count);
      assert_memory_equal(got, old, count * sizeof *got);
      equal++;
    } else {
      assert_memory_equal(got, tensor(fresh, name, &count), count * sizeof *got);
      fresh_equal++;
    }
  }
  assert_int_equal(fresh_equal, 3);
  assert_int_equal(report.tensors, equal);
  assert_int_equal(report.all_tensors, equal + 3);
  assert_int_equal(report.all_scalars - report.scalars, 8 * 9 + 9 + 9 * 5);
  assert_int_equal(report.identities, 0); // the block's branch came from the parent
  anas_program_destroy(parent);
  anas_program_destroy(child);
  anas_program_destroy(fresh);
  mlirModuleDestroy(parent_module);
  mlirModuleDestroy(child_module);
  mlirContextDestroy(context);
}

static void check_duplicate(const char *tail, bool covered) {
  MlirContext context = anas_context_create(false);
  MlirModule parent_module = network(context, 1, 7, tail), child_module = network(context, 3, 7, tail);
  struct anas_program *parent = load(parent_module, 1), *child = load(child_module, 2);
  save(parent);
  float expected[BATCH * CLASSES], got[BATCH * CLASSES];
  infer(parent, expected);
  struct inherit_report report = inherit(child, child_module, false);
  assert_int_equal(report.identities, 0);
  infer(child, got);
  assert_memory_not_equal(got, expected, sizeof got);
  report = inherit(child, child_module, true);
  assert_int_equal(report.identities, covered ? 2 : 0);
  infer(child, got);
  if (covered) assert_memory_equal(got, expected, sizeof got);
  anas_program_destroy(parent);
  anas_program_destroy(child);
  mlirModuleDestroy(parent_module);
  mlirModuleDestroy(child_module);
  mlirContextDestroy(context);
}

static void duplicated_blocks_change_nothing(void **state) {
  (void)state;
  check_duplicate(norm, true);
  check_duplicate(linear, true);
  check_duplicate(neither, false);
}

static void damaged_files_change_nothing(void **state) {
  (void)state;
  MlirContext context = anas_context_create(false);
  MlirModule module = network(context, 1, 7, norm);
  struct anas_program *program = load(module, 1);
  save(program);
  assert_int_equal(truncate(FILE_NAME, 600), 0);
  const struct anas_program_image *info = anas_program_info(program);
  char *before = anas_alloc(info->params_bytes);
  memcpy(before, anas_program_params(program), info->params_bytes);
  struct anas_model *model;
  struct inherit_report report;
  expect_ok(anas_model_import(module, &model));
  assert_int_equal(inherit_weights(FILE_NAME, model, info, anas_program_params(program), true, &report), ANAS_CORRUPT);
  assert_memory_equal(before, anas_program_params(program), info->params_bytes);
  anas_model_destroy(model);
  free(before);
  anas_program_destroy(program);
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(path_and_shape_decide),
      cmocka_unit_test(duplicated_blocks_change_nothing),
      cmocka_unit_test(damaged_files_change_nothing),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  unlink(FILE_NAME);
  return failed;
}
