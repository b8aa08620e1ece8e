// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions on GPUs, executed by the PTX interpreter, of edge sizes against sums in f64. In bf16 the sums are of
// operands that were rounded: what is left is the error of f32.
#include "runtime/device/ptxsim.h"
#include "runtime/team.h"
#include "test/unit/gpu_fixture.h"

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

static float round_to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits = ptx_round_to_bf16(bits) << 16;
  memcpy(&value, &bits, sizeof bits);
  return value;
}

// Adds the products of all points of the loops to sum.
static void contract(const struct gpu_contraction *c, const float *a, const float *b, double *sum) {
  int digit[8] = {0}, num = (int)strlen(c->loops), l;
  int64_t stride[3][8], at[3] = {0};
  for (int o = 0; o < 3; o++)
    for (l = 0; l < num; l++)
      stride[o][l] = gpu_contraction_stride(c, o, l);
  do {
    sum[at[2]] += (double)a[at[0]] * b[at[1]];
    for (l = num - 1; l >= 0; l--) {
      bool wraps = ++digit[l] == c->extent[l];
      for (int o = 0; o < 3; o++)
        at[o] += wraps ? -stride[o][l] * (c->extent[l] - 1) : stride[o][l];
      if (!wraps) break;
      digit[l] = 0;
    }
  } while (l >= 0);
}

static void check(const struct gpu_contraction *c, const char *precision, double tolerance) {
  struct anas_strbuf text = {0};
  gpu_contraction_text(c, &text);
  struct gpu_kernel kernel;
  gpu_compile(text.data, precision, &kernel);
  anas_strbuf_deinit(&text);
  assert_non_null(strstr(kernel.code.form, "contraction"));
  struct anas_rng rng = anas_rng_make(7);
  struct anas_device *device;
  CHECK(anas_device_open("ptxsim", 0, &device));
  float *values[3];
  uint64_t operands[3];
  size_t count = gpu_contraction_elements(c, 2);
  for (int o = 0; o < 3; o++) {
    size_t elements = gpu_contraction_elements(c, o);
    values[o] = gpu_random_values(elements, &rng);
    operands[o] = gpu_upload(device, values[o], elements);
    for (size_t i = 0; o < 2 && i < elements && !strcmp(precision, "bf16"); i++)
      values[o][i] = round_to_bf16(values[o][i]);
  }
  double *sum = anas_calloc(count, sizeof *sum), error = 0, norm = 0;
  for (size_t i = 0; i < count && !c->fill; i++)
    sum[i] = values[2][i];
  contract(c, values[0], values[1], sum);
  CHECK(gpu_run(&kernel, operands, device));
  CHECK(device->ops->copy_out(device->state, values[2], operands[2], count * sizeof(float)));
  for (size_t i = 0; i < count; i++) {
    error += pow(values[2][i] - sum[i], 2);
    norm += sum[i] * sum[i];
  }
  if (!(sqrt(error / norm) < tolerance))
    fail_msg("%s of %s, %s: error %g", c->map[0], c->map[1], precision, sqrt(error / norm));
  anas_device_close(device);
  free(kernel.ptx);
  free(sum);
  for (int o = 0; o < 3; o++)
    free(values[o]);
}

static void check_all(struct gpu_contraction c, int number) {
  static const struct {
    const char *precision;
    double tolerance;
  } cases[] = {{"f32", 1e-6}, {"tf32", 1e-3}, {"bf16", 1e-6}};
  for (int i = 0; i < 3; i++) {
    c.fill = (number + i) % 4 != 2;
    check(&c, cases[i].precision, cases[i].tolerance);
  }
}

// Operands stored as m x k or k x m, k x n or n x k.
static void products(void **state) {
  (void)state;
  static const int sizes[][3] = {{8, 8, 8}, {9, 17, 33}, {64, 64, 16}, {67, 130, 41}, {132, 36, 20}, {20, 12, 700}};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (int turned = 0; turned < 4; turned++)
      check_all((struct gpu_contraction){.loops = "mnk",
                                         .extent = {sizes[s][0], sizes[s][1], sizes[s][2]},
                                         .map = {turned & 1 ? "k, m" : "m, k", turned & 2 ? "n, k" : "k, n", "m, n"}},
                turned);
}

// Heads of an attention, convolutions of strides 1 and 2 on operands with a halo, and the gradients of both operands.
static void other_forms(void **state) {
  (void)state;
  static const struct gpu_contraction cases[] = {
      {.loops = "bmnk", .extent = {3, 9, 21, 12}, .map = {"b, m, k", "b, n, k", "b, m, n"}},
      {.loops = "bmhnk", .extent = {2, 17, 3, 8, 17}, .map = {"b, h, m, k", "b, k, h, n", "b, m, h, n"}},
      {.loops = "nyxfijc", .extent = {2, 5, 7, 9, 3, 3, 5}, .map = {"n, y+i, x+j, c", "i, j, c, f", "n, y, x, f"}},
      {.loops = "nyxfijc", .extent = {2, 6, 4, 16, 3, 3, 8}, .map = {"n, y+i, x+j, c", "i, j, c, f", "n, y, x, f"}},
      {.loops = "nyxfijc", .extent = {3, 4, 4, 12, 3, 3, 4}, .map = {"n, y*2+i, x*2+j, c", "i, j, c, f", "n, y, x, f"}},
      {.loops = "nyxcijf", .extent = {2, 5, 3, 12, 3, 3, 8}, .map = {"n, y+i, x+j, f", "i, j, c, f", "n, y, x, c"}},
      {.loops = "ijcfnyx", .extent = {3, 3, 8, 12, 2, 5, 3}, .map = {"n, y+i, x+j, c", "n, y, x, f", "i, j, c, f"}},
      {.loops = "ijcfnyx", .extent = {3, 3, 3, 9, 5, 4, 3}, .map = {"n, y*2+i, x*2+j, c", "n, y, x, f", "i, j, c, f"}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_all(cases[i], (int)i);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(products),
      cmocka_unit_test(other_forms),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  anas_team_shutdown();
  return failed;
}
