// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// GPU code, executed by the PTX interpreter: contractions and reductions of edge sizes against sums in f64, whole
// training steps against the CPU, and PTX with planted faults, which must be reported.
#include "passes/gpu/gpu.h"
#include "passes/lower/compile.h"
#include "runtime/init.h"
#include "runtime/support/rng.h"
#include "runtime/team.h"
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

// ---- single kernel functions

struct kernel {
  struct anas_gpu_code code;
  char *ptx;
};

static void compile_kernel(const char *text, const char *precision, struct kernel *out) {
  MlirContext context = anas_context_create(false);
  MlirModule module;
  struct anas_gpu_target target;
  CHECK(anas_gpu_target_init(NULL, precision, &target));
  CHECK(anas_parse(context, text, strlen(text), "test", &module));
  CHECK(anas_gpu_codegen(mlirBlockGetFirstOperation(mlirModuleGetBody(module)), &target, &out->code));
  CHECK(anas_gpu_to_nvvm(out->code.module));
  CHECK(anas_gpu_emit_ptx(out->code.module, &target, &out->ptx));
  mlirModuleDestroy(out->code.module);
  out->code.module = (MlirModule){0};
  mlirModuleDestroy(module);
  mlirContextDestroy(context);
}

static anas_status run_kernel(const struct kernel *kernel, const uint64_t *operands, struct anas_device *device) {
  const struct anas_device_ops *ops = device->ops;
  void *module, *function;
  uint64_t workspace;
  ANAS_RETURN_IF_ERROR(ops->load(device->state, kernel->ptx, &module));
  CHECK(ops->allocate(device->state, (size_t)kernel->code.workspace, &workspace));
  anas_status status = ANAS_OK;
  for (int l = 0; l < kernel->code.num_launches && status == ANAS_OK; l++) {
    const struct anas_gpu_launch *launch = &kernel->code.launch[l];
    uint64_t value[ANAS_GPU_MAX_ARGUMENTS];
    void *arguments[ANAS_GPU_MAX_ARGUMENTS];
    if (launch->fill) {
      status =
          ops->fill(device->state, operands[launch->fill_argument], launch->fill_value, (size_t)launch->fill_count);
      continue;
    }
    for (int i = 0; i < launch->num_arguments; i++) {
      value[i] = launch->argument[i] < 0 ? workspace : operands[launch->argument[i]];
      arguments[i] = &value[i];
    }
    CHECK(ops->find(device->state, module, launch->symbol, &function));
    const uint32_t grid[] = {(uint32_t)launch->grid[0], (uint32_t)launch->grid[1], (uint32_t)launch->grid[2]};
    status = ops->launch(device->state, function, grid, (uint32_t)launch->block, arguments);
  }
  ops->unload(device->state, module);
  ops->release(device->state, workspace);
  return status;
}

static uint64_t upload(struct anas_device *device, const float *values, size_t count) {
  uint64_t address;
  CHECK(device->ops->allocate(device->state, count * sizeof(float), &address));
  CHECK(device->ops->copy_in(device->state, address, values, count * sizeof(float)));
  return address;
}

static float *random_values(size_t count, struct anas_rng *rng) {
  float *values = anas_calloc(count, sizeof *values);
  for (size_t i = 0; i < count; i++)
    values[i] = (float)anas_rng_normal(rng);
  return values;
}

// C[m, n] (+)= sum over k of A * B, with operands stored as m x k or k x m, k x n or n x k.
static void product_text(int m, int n, int k, bool a_turned, bool b_turned, bool fill, struct anas_strbuf *text) {
  int a0 = a_turned ? k : m, a1 = a_turned ? m : k, b0 = b_turned ? n : k, b1 = b_turned ? k : n;
  anas_strbuf_addf(text,
                   "func.func private @k_product(%%a: memref<%dx%dxf32>, %%b: memref<%dx%dxf32>, %%c: "
                   "memref<%dx%dxf32>) attributes {anas.kernel = \"product\"} {\n",
                   a0, a1, b0, b1, m, n);
  if (fill)
    anas_strbuf_addf(text, "%%z = arith.constant 0.0 : f32\nlinalg.fill ins(%%z : f32) outs(%%c : memref<%dx%dxf32>)\n",
                     m, n);
  anas_strbuf_addf(text,
                   "linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (%s)>, affine_map<(m, n, k) -> (%s)>, "
                   "affine_map<(m, n, k) -> (m, n)>], iterator_types = [\"parallel\", \"parallel\", \"reduction\"]}\n"
                   "ins(%%a, %%b : memref<%dx%dxf32>, memref<%dx%dxf32>) outs(%%c : memref<%dx%dxf32>) {\n"
                   "^bb0(%%x: f32, %%y: f32, %%o: f32):\n"
                   "%%p = arith.mulf %%x, %%y fastmath<contract> : f32\n"
                   "%%s = arith.addf %%o, %%p fastmath<contract> : f32\n"
                   "linalg.yield %%s : f32\n}\nreturn\n}\n",
                   a_turned ? "k, m" : "m, k", b_turned ? "n, k" : "k, n", a0, a1, b0, b1, m, n);
}

static void check_product(int m, int n, int k, int turned, bool fill, const char *precision, double tolerance) {
  bool a_turned = turned & 1, b_turned = turned & 2;
  struct anas_strbuf text = {0};
  product_text(m, n, k, a_turned, b_turned, fill, &text);
  struct kernel kernel;
  compile_kernel(text.data, precision, &kernel);
  anas_strbuf_deinit(&text);
  assert_non_null(strstr(kernel.code.form, "contraction"));
  struct anas_rng rng = anas_rng_make(7);
  size_t count = (size_t)m * (size_t)n;
  float *a = random_values((size_t)m * (size_t)k, &rng), *b = random_values((size_t)k * (size_t)n, &rng),
        *c = random_values(count, &rng), *result = anas_calloc(count, sizeof *result);
  struct anas_device *device;
  CHECK(anas_device_open("ptxsim", 0, &device));
  uint64_t operands[] = {upload(device, a, (size_t)m * (size_t)k), upload(device, b, (size_t)k * (size_t)n),
                         upload(device, c, count)};
  CHECK(run_kernel(&kernel, operands, device));
  CHECK(device->ops->copy_out(device->state, result, operands[2], count * sizeof *result));
  double error = 0, norm = 0;
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double sum = fill ? 0 : c[i * n + j];
      for (int l = 0; l < k; l++)
        sum += (double)a[a_turned ? l * m + i : i * k + l] * b[b_turned ? j * k + l : l * n + j];
      error += pow(result[i * n + j] - sum, 2);
      norm += sum * sum;
    }
  if (!(sqrt(error / norm) < tolerance))
    fail_msg("%dx%dx%d, layout %d, %s: error %g", m, n, k, turned, precision, sqrt(error / norm));
  anas_device_close(device);
  free(kernel.ptx);
  free(a);
  free(b);
  free(c);
  free(result);
}

static void products(void **state) {
  (void)state;
  static const int sizes[][3] = {{8, 8, 8}, {9, 17, 33}, {64, 64, 16}, {67, 130, 41}, {132, 36, 20}, {20, 12, 700}};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (int turned = 0; turned < 4; turned++) {
      check_product(sizes[s][0], sizes[s][1], sizes[s][2], turned, turned != 2, "f32", 1e-6);
      check_product(sizes[s][0], sizes[s][1], sizes[s][2], turned, turned != 1, "tf32", 1e-3);
    }
}

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
  struct kernel kernel;
  compile_kernel(text.data, "f32", &kernel);
  anas_strbuf_deinit(&text);
  assert_non_null(strstr(kernel.code.form, "reduction"));
  struct anas_rng rng = anas_rng_make(11);
  size_t count = (size_t)results * (size_t)terms;
  float *x = random_values(count, &rng), *y = random_values((size_t)results, &rng);
  struct anas_device *device;
  CHECK(anas_device_open("ptxsim", 0, &device));
  uint64_t operands[] = {upload(device, x, count), upload(device, y, (size_t)results)};
  CHECK(run_kernel(&kernel, operands, device));
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

// The PTX of a product that runs on several warps and tiles.
static void compile_product(struct kernel *out) {
  struct anas_strbuf text = {0};
  product_text(40, 40, 40, false, false, true, &text);
  compile_kernel(text.data, "f32", out);
  anas_strbuf_deinit(&text);
}

static void expect_fault(struct kernel *kernel, const uint64_t *operands, struct anas_device *device,
                         const char *message) {
  anas_status status = run_kernel(kernel, operands, device);
  if (status == ANAS_OK) fail_msg("not noticed; expected: %s", message);
  if (!strstr(anas_error_message(), message)) fail_msg("'%s' is not in: %s", message, anas_error_message());
}

static void faults(void **state) {
  (void)state;
  struct kernel kernel;
  compile_product(&kernel);
  struct anas_rng rng = anas_rng_make(3);
  float *values = random_values(1600, &rng);
  struct anas_device *device;
  CHECK(anas_device_open("ptxsim", 0, &device));
  uint64_t operands[] = {upload(device, values, 1600), upload(device, values, 1600), upload(device, values, 1600)};
  CHECK(run_kernel(&kernel, operands, device));

  // Without any of its barriers.
  int barriers = 0;
  for (char *at = kernel.ptx; (at = strstr(at, "bar.sync")); at++, barriers++) {
    char *end = strchr(at, ';'), saved[32];
    size_t length = (size_t)(end - at) + 1;
    assert_true(length < sizeof saved);
    memcpy(saved, at, length);
    memset(at, ' ', length);
    expect_fault(&kernel, operands, device, "shared memory");
    memcpy(at, saved, length);
  }
  assert_true(barriers >= 2);

  uint64_t small[] = {operands[0], upload(device, values, 100), operands[2]};
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

static void train(struct anas_program *program, double *losses) {
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
    *(float *)(arena + info->learning_rate.offset) = 0.05f;
    *(uint64_t *)(arena + info->seed.offset) = anas_rng_u64(&rng);
    anas_program_train_step(program);
    CHECK(anas_program_status(program));
    losses[step] = *(float *)(arena + info->loss.offset);
  }
  anas_program_infer(program);
  CHECK(anas_program_status(program));
  losses[STEPS] = *(float *)(arena + info->loss.offset);
}

static void train_on_cpu(MlirModule module, double *losses) {
  struct anas_compile_options options = {
      .batch = FIXTURE_BATCH, .momentum = 0.9, .weight_decay = 1e-4, .no_cache = true, .threads = 1};
  struct anas_program_image image;
  struct anas_program *program;
  CHECK(anas_compile(module, &options, &image));
  CHECK(anas_program_load(&image, &program));
  train(program, losses);
  anas_program_destroy(program);
}

static void train_on_device(MlirModule module, const char *precision, double *losses) {
  struct anas_gpu_target target;
  struct anas_device_program code;
  struct anas_device *device;
  struct anas_program *program;
  CHECK(anas_gpu_target_init(NULL, precision, &target));
  CHECK(anas_gpu_compile(module, FIXTURE_BATCH, 0.9, 1e-4, &target, &code));
  CHECK(anas_device_open("ptxsim", 0, &device));
  CHECK(anas_device_program_load(&code, device, &program));
  train(program, losses);
  anas_program_destroy(program);
  anas_device_close(device);
}

static void whole_steps(void **state) {
  (void)state;
  static const char *const networks[] = {fixture_cnn, fixture_mlp};
  static const struct {
    const char *precision;
    double tolerance;
  } cases[] = {{"f32", 1e-4}, {"tf32", 5e-3}};
  for (size_t n = 0; n < 2; n++) {
    MlirContext context = anas_context_create(false);
    MlirModule module;
    CHECK(anas_parse(context, networks[n], strlen(networks[n]), "test", &module));
    double expected[STEPS + 1], actual[STEPS + 1];
    train_on_cpu(module, expected);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
      train_on_device(module, cases[c].precision, actual);
      for (int i = 0; i <= STEPS; i++)
        if (!(fabs(actual[i] - expected[i]) <= cases[c].tolerance * fabs(expected[i])))
          fail_msg("network %zu, %s, step %d: loss %.8g instead of %.8g", n, cases[c].precision, i + 1, actual[i],
                   expected[i]);
    }
    mlirModuleDestroy(module);
    mlirContextDestroy(context);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(products),
      cmocka_unit_test(reductions),
      cmocka_unit_test(faults),
      cmocka_unit_test(whole_steps),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  anas_team_shutdown();
  return failed;
}
