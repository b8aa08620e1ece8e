// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GPU code, executed by the PTX interpreter: reductions of edge sizes against sums in f64, whole
// training steps against the CPU, and PTX with planted faults, which must be reported.
#include "dialect/zoo.h"
#include "passes/lower/compile.h"
#include "runtime/init.h"
#include "runtime/team.h"
#include "test/unit/gpu_fixture.h"
#include "test/unit/step_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHECK(expr)                                                                                                    \
  do {                                                                                                                 \
    if ((expr) != ANAS_OK) fail_msg("%s", anas_error_message());                                                       \
  } while (0)

// out[j] = max or sum over i of x[i, j] (columns) or x[j, i] (rows)
static void check_reduction(int results, int terms, bool columns, bool maximum) {
  struct anas_strbuf text = {0};
  int d0 = columns ? terms : results, d1 = columns ? results : terms;
  anas_strbuf_addf(&text,
                   "func.func private @k_reduce(%%x: memref<%dx%dxf32>, %%y: memref<%dxf32>) attributes {anas.kernel = "
                   "\"reduce\"} {\n%%z = arith.constant %s : f32\nlinalg.fill ins(%%z : f32) outs(%%y : "
                   "memref<%dxf32>)\n"
                   "linalg.generic {indexing_maps = [affine_map<(j, i) -> (%s)>, affine_map<(j, i) -> (j)>], "
                   "iterator_types = [\"parallel\", \"reduction\"]} ins(%%x : memref<%dx%dxf32>) outs(%%y : "
                   "memref<%dxf32>) {\n"
                   "^bb0(%%a: f32, %%o: f32):\n%%s = arith.%s %%o, %%a : f32\nlinalg.yield %%s : f32\n}\nreturn\n}\n",
                   d0, d1, results, maximum ? "0xFF800000" : "0.0", results, columns ? "i, j" : "j, i", d0, d1, results,
                   maximum ? "maxnumf" : "addf");
  struct gpu_kernel kernel;
  gpu_compile(text.data, "f32", &kernel);
  anas_strbuf_deinit(&text);
  assert_non_null(strstr(kernel.code.form, "reduction"));
  struct anas_rng rng = anas_rng_make(11);
  size_t count = (size_t)results * (size_t)terms;
  float *x = gpu_random_values(count, &rng), *y = gpu_random_values((size_t)results, &rng);
  struct anas_device *device;
  CHECK(anas_device_open("ptxsim", 0, &device));
  uint64_t operands[] = {gpu_upload(device, x, count), gpu_upload(device, y, (size_t)results)};
  CHECK(gpu_run(&kernel, operands, device));
  CHECK(device->ops->copy_out(device->state, y, operands[1], (size_t)results * sizeof *y));
  for (int j = 0; j < results; j++) {
    double expected = maximum ? -INFINITY : 0;
    for (int i = 0; i < terms; i++) {
      double value = x[columns ? i * results + j : j * terms + i];
      expected = maximum ? fmax(expected, value) : expected + value;
    }
    if (!(fabs(y[j] - expected) <= 1e-6 * terms))
      fail_msg("%d results of %d terms, columns %d: %g instead of %g", results, terms, columns, y[j], expected);
  }
  anas_device_close(device);
  free(kernel.ptx);
  free(x);
  free(y);
}

static void reductions(void **state) {
  (void)state;
  static const int sizes[][2] = {{1, 33}, {1, 5000}, {3, 37}, {7, 2100}, {64, 700}, {130, 45}, {33, 4099}};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (int form = 0; form < 4; form++)
      check_reduction(sizes[s][0], sizes[s][1], form & 1, form & 2);
}

// ---- planted faults

// The PTX of a product that takes several warps and several tiles along k.
static void compile_product(const char *precision, struct gpu_kernel *out) {
  struct anas_strbuf text = {0};
  gpu_contraction_text(
      &(struct gpu_contraction){.loops = "mnk", .extent = {8, 8, 200}, .map = {"m, k", "k, n", "m, n"}, .fill = true},
      &text);
  gpu_compile(text.data, precision, out);
  anas_strbuf_deinit(&text);
}

static void expect_fault(struct gpu_kernel *kernel, const uint64_t *operands, struct anas_device *device,
                         const char *message) {
  anas_status status = gpu_run(kernel, operands, device);
  if (status == ANAS_OK) fail_msg("not noticed; expected: %s", message);
  if (!strstr(anas_error_message(), message)) fail_msg("'%s' is not in: %s", message, anas_error_message());
}

// Runs the kernel without each occurrence of an instruction; returns their number.
static int expect_needed(struct gpu_kernel *kernel, const char *instruction, const uint64_t *operands,
                         struct anas_device *device) {
  int count = 0;
  for (char *at = kernel->ptx; (at = strstr(at, instruction)); at++, count++) {
    char *end = strchr(at, ';'), saved[32];
    size_t length = (size_t)(end - at) + 1;
    assert_true(length < sizeof saved);
    memcpy(saved, at, length);
    memset(at, ' ', length);
    expect_fault(kernel, operands, device, "shared memory");
    memcpy(at, saved, length);
  }
  return count;
}

// One group of copies more may be under way than the kernel allows.
static void expect_waits(struct gpu_kernel *kernel, const uint64_t *operands, struct anas_device *device) {
  int count = 0;
  for (char *at = kernel->ptx; (at = strstr(at, "cp.async.wait_group")); at++, count++) {
    char *number = at + strcspn(at, "0123456789");
    ++*number;
    expect_fault(kernel, operands, device, "a copy is under way to");
    --*number;
  }
  assert_true(count > 0);
}

static void faults(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(3);
  float *values = gpu_random_values(1600, &rng);
  struct anas_device *device;
  CHECK(anas_device_open("ptxsim", 0, &device));
  uint64_t operands[] = {gpu_upload(device, values, 1600), gpu_upload(device, values, 1600),
                         gpu_upload(device, values, 1600)};
  static const char *const precisions[] = {"bf16", "tf32", "f32"};
  struct gpu_kernel kernel = {.ptx = NULL};
  for (int p = 0; p < 3; p++) {
    free(kernel.ptx);
    compile_product(precisions[p], &kernel);
    CHECK(gpu_run(&kernel, operands, device));
    bool ring = !strcmp(precisions[p], "tf32");
    assert_true(expect_needed(&kernel, "bar.sync", operands, device) >= (ring ? 1 : 2));
    assert_true(!ring || expect_needed(&kernel, "cp.async.commit_group", operands, device) > 2);
    if (ring) expect_waits(&kernel, operands, device);
    CHECK(gpu_run(&kernel, operands, device));
  }

  uint64_t small[] = {operands[0], gpu_upload(device, values, 100), operands[2]};
  expect_fault(&kernel, small, device, "outside of every allocation");
  uint64_t crooked[] = {operands[0] + 4, operands[1], operands[2]};
  expect_fault(&kernel, crooked, device, "off its alignment");

  char *name = strstr(kernel.ptx, "fma.rn.f32");
  memcpy(name, "fmx", 3);
  expect_fault(&kernel, operands, device, "unknown instruction 'fmx'");
  anas_device_close(device);
  free(kernel.ptx);
  free(values);
}

// ---- whole steps

#define STEPS 5

struct recipe {
  struct anas_optimizer optimizer;
  float rate;
};
static const struct recipe plain = {{.momentum = 0.9, .weight_decay = 1e-4}, 0.05f};

static void train(struct anas_program *program, const struct recipe *recipe, double *losses) {
  const struct anas_program_image *info = anas_program_info(program);
  CHECK(anas_init_params(info, 5, anas_program_params(program)));
  struct anas_rng rng = anas_rng_make(17);
  char *arena = anas_program_arena(program);
  for (int step = 0; step < STEPS; step++) {
    float *image = (float *)(arena + info->image.offset);
    for (size_t i = 0; i < info->image.bytes / sizeof *image; i++)
      image[i] = (float)anas_rng_normal(&rng);
    for (int64_t i = 0; i < info->batch; i++)
      ((int32_t *)(arena + info->label.offset))[i] = (int32_t)anas_rng_below(&rng, (uint64_t)info->classes);
    *(float *)(arena + info->learning_rate.offset) = recipe->rate;
    *(uint64_t *)(arena + info->seed.offset) = anas_rng_u64(&rng);
    anas_program_train_step(program);
    CHECK(anas_program_status(program));
    losses[step] = *(float *)(arena + info->loss.offset);
  }
  anas_program_infer(program);
  CHECK(anas_program_status(program));
  losses[STEPS] = *(float *)(arena + info->loss.offset);
}

static void train_on_cpu(MlirModule module, const struct recipe *recipe, double *losses) {
  struct anas_compile_options options = {
      .batch = FIXTURE_BATCH, .optimizer = recipe->optimizer, .no_cache = true, .threads = 1};
  struct anas_program_image image;
  struct anas_program *program;
  CHECK(anas_compile(module, &options, &image));
  CHECK(anas_program_load(&image, &program));
  train(program, recipe, losses);
  anas_program_destroy(program);
}

static void train_on_device(MlirModule module, const char *precision, const struct recipe *recipe, double *losses) {
  struct anas_gpu_target target;
  struct anas_device_program code;
  struct anas_device *device;
  struct anas_program *program;
  CHECK(anas_gpu_target_init(NULL, precision, &target));
  CHECK(anas_gpu_compile(module, FIXTURE_BATCH, &recipe->optimizer, &target, &code));
  CHECK(anas_device_open("ptxsim", 0, &device));
  CHECK(anas_device_program_load(&code, device, &program));
  train(program, recipe, losses);
  anas_program_destroy(program);
  anas_device_close(device);
}

static char *zoo_cnn(void) {
  struct anas_model *model;
  CHECK(anas_zoo_build("cnn", 8, 8, 1, 10, &model));
  struct anas_strbuf text = {0};
  anas_model_print(model, &text);
  anas_model_destroy(model);
  return text.data;
}

static void whole_steps(void **state) {
  (void)state;
  char *zoo = zoo_cnn();
  const char *const networks[] = {fixture_cnn, fixture_mlp, zoo};
  static const struct {
    const char *precision;
    double tolerance;
  } cases[] = {{"f32", 1e-4}, {"tf32", 5e-3}, {"bf16", 5e-3}};
  for (size_t n = 0; n < 3; n++) {
    MlirContext context = anas_context_create(false);
    MlirModule module;
    CHECK(anas_parse(context, networks[n], strlen(networks[n]), "test", &module));
    double expected[STEPS + 1], actual[STEPS + 1];
    train_on_cpu(module, &plain, expected);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
      train_on_device(module, cases[c].precision, &plain, actual);
      for (int i = 0; i <= STEPS; i++)
        if (!(fabs(actual[i] - expected[i]) <= cases[c].tolerance * fabs(expected[i])))
          fail_msg("network %zu, %s, step %d: loss %.8g instead of %.8g", n, cases[c].precision, i + 1, actual[i],
                   expected[i]);
    }
    mlirModuleDestroy(module);
    mlirContextDestroy(context);
  }
  free(zoo);
}

// Whatever the optimizer; clipping reduces over all gradients.
static void other_optimizers(void **state) {
  (void)state;
  static const struct recipe recipes[] = {
      {{.kind = ANAS_ADAM, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-3, .weight_decay = 0.1, .clip_norm = 0.5},
       0.01f},
      {{.kind = ANAS_RMSPROP, .beta2 = 0.9, .epsilon = 1e-3, .weight_decay = 1e-3, .clip_norm = 0.25}, 0.002f},
  };
  MlirContext context = anas_context_create(false);
  MlirModule module;
  CHECK(anas_parse(context, fixture_cnn, strlen(fixture_cnn), "test", &module));
  for (size_t r = 0; r < sizeof recipes / sizeof *recipes; r++) {
    double expected[STEPS + 1], actual[STEPS + 1];
    train_on_cpu(module, &recipes[r], expected);
    train_on_device(module, "f32", &recipes[r], actual);
    for (int i = 0; i <= STEPS; i++)
      if (!(fabs(actual[i] - expected[i]) <= 1e-4 * fabs(expected[i])))
        fail_msg("recipe %zu, step %d: loss %.8g instead of %.8g", r, i + 1, actual[i], expected[i]);
  }
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reductions),
      cmocka_unit_test(faults),
      cmocka_unit_test(whole_steps),
      cmocka_unit_test(other_optimizers),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  anas_team_shutdown();
  return failed;
}
