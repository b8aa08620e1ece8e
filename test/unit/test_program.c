// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernel-stage module to running code: image, stock lowering, objects, loading, calls, profile, and the errors of each.
#include "dialect/context.h"
#include "passes/cpu/cpu.h"
#include "passes/cpu/peak.h"
#include "passes/lower/image.h"
#include "runtime/support/strbuf.h"
#include "runtime/team.h"
#include "test/unit/kernel_stage.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include <math.h>
#include <mlir-c/Diagnostics.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

struct fixture {
  MlirContext context;
  struct anas_cpu_target target;
  char *cpu, *features;
};

static MlirLogicalResult swallow(MlirDiagnostic diagnostic, void *data) {
  (void)diagnostic;
  (void)data;
  return mlirLogicalResultSuccess();
}

static int setup(void **state) {
  struct fixture *fixture = anas_alloc(sizeof *fixture);
  fixture->context = anas_context_create(false);
  mlirContextAttachDiagnosticHandler(fixture->context, swallow, NULL, NULL);
  fixture->cpu = LLVMGetHostCPUName();
  fixture->features = LLVMGetHostCPUFeatures();
  fixture->target =
      (struct anas_cpu_target){.cpu = fixture->cpu, .features = fixture->features, .lanes = 8, .registers = 16};
  *state = fixture;
  return 0;
}

static int teardown(void **state) {
  struct fixture *fixture = *state;
  mlirContextDestroy(fixture->context);
  LLVMDisposeMessage(fixture->cpu);
  LLVMDisposeMessage(fixture->features);
  free(fixture);
  return 0;
}

static MlirModule parse(struct fixture *fixture, const char *text) {
  MlirModule module = {NULL};
  anas_status status = anas_parse(fixture->context, text, strlen(text), "test", &module);
  if (status != ANAS_OK) print_error("%s\n", anas_error_message());
  assert_int_equal(status, ANAS_OK);
  return module;
}

static struct anas_object emit_reference(struct fixture *fixture, const char *text) {
  MlirModule module = parse(fixture, text);
  struct anas_object object = {0};
  anas_status status = anas_cpu_reference_to_llvm(module);
  if (status == ANAS_OK) status = anas_cpu_emit_object(module, &fixture->target, &object);
  if (status != ANAS_OK) print_error("%s\n", anas_error_message());
  assert_int_equal(status, ANAS_OK);
  mlirModuleDestroy(module);
  return object;
}

static struct anas_program_image make_image(struct fixture *fixture, const char *text) {
  MlirModule module = parse(fixture, text);
  struct anas_program_image image;
  struct anas_unit *units;
  int num_units;
  anas_status status = anas_image_from_module(module, &image, &units, &num_units);
  if (status != ANAS_OK) print_error("%s\n", anas_error_message());
  assert_int_equal(status, ANAS_OK);
  mlirModuleDestroy(module);
  image.objects = anas_arena_alloc(&image.memory, (size_t)num_units * sizeof *image.objects);
  for (int i = 0; i < num_units; i++)
    image.objects[image.num_objects++] = emit_reference(fixture, units[i].text);
  anas_units_destroy(units, num_units);
  return image;
}

static struct anas_program *load(struct fixture *fixture) {
  struct anas_program_image image = make_image(fixture, stage_text);
  struct anas_program *program = NULL;
  anas_status status = anas_program_load(&image, &program);
  if (status != ANAS_OK) print_error("%s\n", anas_error_message());
  assert_int_equal(status, ANAS_OK);
  return program;
}

static void test_image(void **state) {
  struct anas_program_image image = make_image(*state, stage_text);
  assert_int_equal(image.batch, 4);
  assert_int_equal(image.classes, 6);
  assert_int_equal(image.height * image.width, 1);
  assert_int_equal(image.channels, 6);
  assert_int_equal(image.arena_bytes, 4096);
  assert_int_equal(image.params_bytes, 64);
  assert_int_equal(image.num_tensors, 1);
  assert_string_equal(image.tensors[0].name, "main/scale/weight");
  assert_string_equal(image.tensors[0].init, "ones");
  assert_int_equal(image.tensors[0].role, ANAS_TENSOR_PARAM);
  assert_int_equal(image.tensors[0].rank, 1);
  assert_int_equal(image.tensors[0].count, 6);
  assert_int_equal(image.logits.offset, STAGE_LOGITS);
  assert_int_equal(image.logits.bytes, 96);
  assert_int_equal(image.num_kernels, 3);
  assert_string_equal(image.kernels[0].symbol, "k_scale");
  assert_string_equal(image.kernels[1].kind, "mean_fwd");
  assert_int_equal(image.kernels[0].calls, 1); // per training step: the call in @infer does not count
  assert_true(image.kernels[2].flops == 72.0);
  assert_int_equal(image.num_objects, 3);
  assert_int_equal(image.train_step.num_calls, 3);
  assert_int_equal(image.infer.num_calls, 1);
  const struct anas_call *update = &image.train_step.calls[2];
  assert_int_equal(update->kernel, 2);
  assert_int_equal(update->num_arguments, 3);
  const struct anas_call_argument *arguments = &image.train_step.arguments[update->first_argument];
  assert_int_equal(arguments[1].offset, STAGE_RATE);
  assert_false(arguments[1].in_params);
  assert_true(arguments[2].in_params);
  anas_program_image_deinit(&image);
}

static void fill(struct anas_program *program, float *image) {
  char *arena = anas_program_arena(program);
  float *weight = anas_program_params(program), rate = 0.5f;
  for (int i = 0; i < STAGE_BATCH * STAGE_FEATURES; i++)
    image[i] = (float)(i % 7) - 2.5f;
  for (int i = 0; i < STAGE_FEATURES; i++)
    weight[i] = 1.0f + (float)i;
  memcpy(arena + STAGE_IMAGE, image, STAGE_BATCH * STAGE_FEATURES * sizeof *image);
  memcpy(arena + STAGE_RATE, &rate, sizeof rate);
}

static void test_run(void **state) {
  struct anas_program *program = load(*state);
  char *arena = anas_program_arena(program);
  float *weight = anas_program_params(program), image[STAGE_BATCH * STAGE_FEATURES];
  assert_int_equal((uintptr_t)arena % 64, 0);
  assert_int_equal((uintptr_t)weight % 64, 0);
  for (int i = 0; i < 4096; i++)
    assert_int_equal(arena[i], 0);
  fill(program, image);
  float expected_weight[STAGE_FEATURES], expected_loss = 0;
  for (int f = 0; f < STAGE_FEATURES; f++)
    expected_weight[f] = 1.0f + (float)f;
  for (int b = 0; b < STAGE_BATCH; b++)
    for (int f = 0; f < STAGE_FEATURES; f++)
      expected_loss += image[b * STAGE_FEATURES + f] * expected_weight[f] / 24.0f;
  for (int f = 0; f < STAGE_FEATURES; f++)
    for (int b = 0; b < STAGE_BATCH; b++)
      expected_weight[f] -= image[b * STAGE_FEATURES + f] / 4.0f * 0.5f;

  anas_program_train_step(program);
  float loss;
  memcpy(&loss, arena + STAGE_LOSS, sizeof loss);
  assert_true(fabsf(loss - expected_loss) <= 1e-5f * fabsf(expected_loss));
  for (int f = 0; f < STAGE_FEATURES; f++)
    assert_true(weight[f] == expected_weight[f]); // exact in binary

  anas_program_infer(program);
  const float *logits = (const float *)(arena + STAGE_LOGITS);
  for (int i = 0; i < STAGE_BATCH * STAGE_FEATURES; i++)
    assert_true(logits[i] == image[i] * expected_weight[i % STAGE_FEATURES]);
  anas_program_destroy(program);
}

static void test_profile(void **state) {
  struct anas_program *program = load(*state);
  float image[STAGE_BATCH * STAGE_FEATURES];
  fill(program, image);
  anas_program_train_step(program);
  anas_program_profile(program, true);
  for (int i = 0; i < 3; i++)
    anas_program_train_step(program);
  anas_program_infer(program);
  anas_program_profile(program, false);
  anas_program_infer(program);
  static const int64_t expected[] = {4, 3, 3};
  for (int i = 0; i < 3; i++) {
    double seconds;
    int64_t calls;
    anas_program_profile_get(program, i, &seconds, &calls);
    assert_int_equal(calls, expected[i]);
    assert_true(seconds > 0);
  }
  anas_program_destroy(program);
}

// A kernel in the form the code generator leaves behind: a range of the outer loop, split over the team.
static const char tuned_text[] =
    "func.func private @k_axpy(%x: memref<64x16xf32>, %y: memref<64x16xf32>, %begin: index, %end: index) attributes "
    "{anas.kernel = \"axpy\", anas.range = 64 : i64, anas.parallel = true} {\n"
    "  %c0 = arith.constant 0 : index\n"
    "  %c1 = arith.constant 1 : index\n"
    "  %two = arith.constant dense<2.0> : vector<16xf32>\n"
    "  scf.for %i = %begin to %end step %c1 {\n"
    "    %a = vector.load %x[%i, %c0] : memref<64x16xf32>, vector<16xf32>\n"
    "    %b = vector.load %y[%i, %c0] : memref<64x16xf32>, vector<16xf32>\n"
    "    %s = vector.fma %a, %two, %b : vector<16xf32>\n"
    "    vector.store %s, %y[%i, %c0] : memref<64x16xf32>, vector<16xf32>\n"
    "  }\n"
    "  return\n"
    "}\n";
// An image whose training step calls one kernel, @symbol in `text`, with arena bytes 0 and 4096.
static struct anas_program_image tuned_image(struct fixture *fixture, const char *text, const char *symbol) {
  struct anas_program_image image = {.arena_bytes = 8192 + 256, .params_bytes = 64, .scratch = {8192, 256}};
  struct anas_arena *memory = &image.memory;
  image.objects = anas_arena_alloc(memory, sizeof *image.objects);
  image.kernels = anas_arena_alloc(memory, sizeof *image.kernels);
  image.kernels[image.num_kernels++] = (struct anas_kernel){.symbol = symbol, .kind = "test", .calls = 1};
  struct anas_call_list *list = &image.train_step;
  *list = (struct anas_call_list){.calls = anas_arena_alloc(memory, sizeof *list->calls),
                                  .arguments = anas_arena_alloc(memory, 2 * sizeof *list->arguments),
                                  .num_calls = 1,
                                  .num_arguments = 2};
  list->calls[0] = (struct anas_call){.kernel = 0, .first_argument = 0, .num_arguments = 2};
  list->arguments[1].offset = 4096;
  MlirModule module = parse(fixture, text);
  assert_int_equal(anas_cpu_to_llvm(module), ANAS_OK);
  assert_int_equal(anas_cpu_emit_object(module, &fixture->target, &image.objects[image.num_objects++]), ANAS_OK);
  mlirModuleDestroy(module);
  return image;
}

static void test_tuned_kernel(void **state) {
  struct fixture *fixture = *state;
  struct anas_program_image image = tuned_image(fixture, tuned_text, "k_axpy");
  struct anas_program *program = NULL;
  anas_status status = anas_program_load(&image, &program);
  if (status != ANAS_OK) print_error("%s\n", anas_error_message());
  assert_int_equal(status, ANAS_OK);
  anas_team_set_size(3);
  float *x = anas_program_arena(program), *y = x + 1024;
  for (int i = 0; i < 1024; i++) {
    x[i] = (float)i;
    y[i] = 1.0f;
  }
  anas_program_train_step(program);
  anas_program_train_step(program);
  for (int i = 0; i < 1024; i++)
    assert_true(y[i] == 1.0f + 4.0f * (float)i);
  anas_team_shutdown();
  anas_program_destroy(program);
}

// y = sum of x over all rows, to every row: partial sums of rows go to the scratch memory, then every row adds them up.
static const char parts_text[] =
    "func.func private @k_total(%x: memref<64x16xf32>, %y: memref<64x16xf32>, %s: memref<64xf32>, %begin: index,\n"
    "    %end: index) attributes {anas.kernel = \"total\", anas.range = 64 : i64, anas.parallel = true,\n"
    "    anas.scratch = 256 : i64} {\n"
    "  %c0 = arith.constant 0 : index\n"
    "  %c1 = arith.constant 1 : index\n"
    "  %c16 = arith.constant 16 : index\n"
    "  %zero = arith.constant 0.0 : f32\n"
    "  scf.for %i = %begin to %end step %c1 {\n"
    "    memref.store %zero, %s[%i] : memref<64xf32>\n"
    "    scf.for %j = %c0 to %c16 step %c1 {\n"
    "      %a = memref.load %x[%i, %j] : memref<64x16xf32>\n"
    "      %b = memref.load %s[%i] : memref<64xf32>\n"
    "      %c = arith.addf %a, %b : f32\n"
    "      memref.store %c, %s[%i] : memref<64xf32>\n"
    "    }\n"
    "  }\n"
    "  return\n"
    "}\n"
    "func.func private @k_total_part1(%x: memref<64x16xf32>, %y: memref<64x16xf32>, %s: memref<64xf32>, %begin: "
    "index,\n"
    "    %end: index) attributes {anas.part = 1 : i64, anas.range = 16 : i64, anas.parallel = true} {\n"
    "  %c0 = arith.constant 0 : index\n"
    "  %c1 = arith.constant 1 : index\n"
    "  %c64 = arith.constant 64 : index\n"
    "  %zero = arith.constant 0.0 : f32\n"
    "  scf.for %j = %begin to %end step %c1 {\n"
    "    %sum = scf.for %i = %c0 to %c64 step %c1 iter_args(%t = %zero) -> (f32) {\n"
    "      %a = memref.load %s[%i] : memref<64xf32>\n"
    "      %b = arith.addf %a, %t : f32\n"
    "      scf.yield %b : f32\n"
    "    }\n"
    "    scf.for %i = %c0 to %c64 step %c1 {\n"
    "      memref.store %sum, %y[%i, %j] : memref<64x16xf32>\n"
    "    }\n"
    "  }\n"
    "  return\n"
    "}\n";

static void test_parts(void **state) {
  struct fixture *fixture = *state;
  struct anas_program_image image = tuned_image(fixture, parts_text, "k_total");
  assert_int_equal(image.objects[0].scratch_bytes, 256);
  struct anas_program *program = NULL;
  anas_status status = anas_program_load(&image, &program);
  if (status != ANAS_OK) print_error("%s\n", anas_error_message());
  assert_int_equal(status, ANAS_OK);
  float *x = anas_program_arena(program), *y = x + 1024;
  anas_program_profile(program, true);
  for (int threads = 1; threads <= 3; threads++) {
    anas_team_set_size(threads);
    for (int i = 0; i < 1024; i++) {
      x[i] = (float)(i + threads);
      y[i] = -1.0f;
    }
    anas_program_train_step(program);
    for (int i = 0; i < 1024; i++)
      assert_true(y[i] == 1024.0f * 1023 / 2 + 1024.0f * (float)threads);
  }
  double seconds;
  int64_t calls;
  anas_program_profile_get(program, 0, &seconds, &calls);
  assert_int_equal(calls, 3); // of the kernel, not of its parts
  assert_true(seconds > 0);
  anas_program_profile(program, false);
  anas_team_shutdown();
  anas_program_destroy(program);
}

static void check_refusal(struct fixture *fixture, bool reference, const char *text, const char *expected) {
  MlirModule module = parse(fixture, text);
  anas_status status = reference ? anas_cpu_reference_to_llvm(module) : anas_cpu_to_llvm(module);
  assert_int_equal(status, ANAS_INVALID);
  if (!strstr(anas_error_message(), expected)) print_error("message: %s\n", anas_error_message());
  assert_non_null(strstr(anas_error_message(), expected));
  mlirModuleDestroy(module);
}

static void test_kernel_errors(void **state) {
  struct fixture *fixture = *state;
  check_refusal(fixture, true, "func.func private @k_a(%x: memref<?xf32>) attributes {anas.kernel = \"a\"} { return }",
                "'k_a': argument 0 has type memref<?xf32>, expected a memref of static shape");
  check_refusal(fixture, true,
                "func.func private @k_a(%x: memref<4xf32, strided<[2]>>) attributes {anas.kernel = \"a\"} { return }",
                "identity layout");
  check_refusal(fixture, true,
                "func.func private @k_a(%x: memref<4xf32>) attributes {anas.kernel = \"a\"} { call @k_a(%x) : "
                "(memref<4xf32>) -> () return }",
                "'k_a' calls a function");
  check_refusal(fixture, false, "func.func private @k_a(%x: memref<4xf32>) attributes {anas.kernel = \"a\"} { return }",
                "two index values");
  check_refusal(fixture, false,
                "func.func private @k_a(%x: memref<4xf32>, %b: index, %e: index) attributes {anas.kernel = \"a\"} { "
                "return }",
                "needs anas.range");
}

static void test_missing_kernel(void **state) {
  struct anas_program_image image = make_image(*state, stage_text);
  free(image.objects[1].data); // k_mean
  image.objects[1] = image.objects[--image.num_objects];
  struct anas_program *program = NULL;
  assert_int_equal(anas_program_load(&image, &program), ANAS_NOT_FOUND);
  assert_non_null(strstr(anas_error_message(), "k_mean"));
  assert_null(program);
}

static void test_damaged_object(void **state) {
  struct anas_program_image image = make_image(*state, stage_text);
  memset(image.objects[0].data, 0x55, image.objects[0].size);
  struct anas_program *program = NULL;
  assert_int_not_equal(anas_program_load(&image, &program), ANAS_OK);
  assert_null(program);
}

static void test_regions_are_checked(void **state) {
  struct anas_program_image image = make_image(*state, stage_text);
  image.loss.offset = 4094;
  struct anas_program *program = NULL;
  assert_int_equal(anas_program_load(&image, &program), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "loss"));
  image = make_image(*state, stage_text);
  image.tensors[0].count = 17;
  assert_int_equal(anas_program_load(&image, &program), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "main/scale/weight"));
}

static void test_no_memory(void **state) {
  struct anas_program_image image = make_image(*state, stage_text);
  image.arena_bytes = (size_t)1 << 50;
  struct anas_program *program = NULL;
  assert_int_equal(anas_program_load(&image, &program), ANAS_NO_MEMORY);
  assert_non_null(strstr(anas_error_message(), "1125899906842624"));
  assert_non_null(strstr(anas_error_message(), "64 bytes"));
}

static void test_bad_attributes(void **state) {
  struct fixture *fixture = *state;
  static const char *const cases[][3] = {
      // removed text, replacement, expected message
      {"anas.batch = 4 : i64, ", "", "anas.batch"},
      {"role = \"param\"", "role = \"parameter\"", "role"},
      {"loss = array<i64: 320, 4>", "loss = array<i64: 320>", "loss"},
      {"anas.params_bytes = 64 : i64", "anas.params_bytes = -64 : i64", "anas.params_bytes"},
      {"%image = memref.view %arena[%c0][] : memref<4096xi8> to memref<4x6xf32>",
       "%image = memref.alloc() : memref<4x6xf32>", "'memref.alloc'; it may only call kernels"},
      {"@train_step", "@step", "entry function 'step' is neither"},
      {"anas.flops = 2.400000e+01 : f64", "anas.flops = 24 : i64", "k_scale: 'anas.flops'"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *at = strstr(stage_text, cases[i][0]);
    assert_non_null(at);
    char *text = anas_format("%.*s%s%s", (int)(at - stage_text), stage_text, cases[i][1], at + strlen(cases[i][0]));
    MlirModule module = parse(fixture, text);
    struct anas_program_image image;
    struct anas_unit *units;
    int num_units;
    assert_int_equal(anas_image_from_module(module, &image, &units, &num_units), ANAS_INVALID);
    if (!strstr(anas_error_message(), cases[i][2])) print_error("message: %s\n", anas_error_message());
    assert_non_null(strstr(anas_error_message(), cases[i][2]));
    mlirModuleDestroy(module);
    free(text);
  }
}

// Twice the lanes cannot be slower than half the rate of one lane: enough to show that the loop ran and was counted.
static void test_peak(void **state) {
  struct fixture *fixture = *state;
  double scalar, vector;
  struct anas_cpu_target target = fixture->target;
  target.lanes = 1;
  scalar = anas_fma_peak(&target);
  target.lanes = 4;
  vector = anas_fma_peak(&target);
  assert_true(scalar > 0.01 && scalar < 1e4);
  assert_true(vector > scalar / 2);
  target.lanes = 0;
  assert_true(anas_fma_peak(&target) == 0);
  print_message("%.1f GFLOP/s with 1 lane, %.1f with 4\n", scalar, vector);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_image),          cmocka_unit_test(test_run),
      cmocka_unit_test(test_profile),        cmocka_unit_test(test_tuned_kernel),
      cmocka_unit_test(test_kernel_errors),  cmocka_unit_test(test_missing_kernel),
      cmocka_unit_test(test_damaged_object), cmocka_unit_test(test_regions_are_checked),
      cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_peak),
      cmocka_unit_test(test_bad_attributes), cmocka_unit_test(test_parts),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
