// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Error bounds of the vector math functions against libm in double precision, and their values at the ends.
#include "test/unit/cpu_fixture.h"

#include <float.h>

#define POINTS 200000

static float x[POINTS + 16], y[POINTS + 16];

// x: POINTS values from low to high, then the special ones. Returns how many.
static int grid(double low, double high) {
  static const float special[] = {0.0f, -0.0f, 100.0f, -100.0f, INFINITY, -INFINITY, NAN, FLT_MIN, FLT_MAX, 1e-40f};
  int num = sizeof special / sizeof *special;
  for (int i = 0; i < POINTS; i++)
    x[i] = (float)(low + (high - low) * i / (POINTS - 1));
  memcpy(x + POINTS, special, sizeof special);
  return POINTS + num;
}

static void run(const char *function, const struct anas_cpu_target *target, int count) {
  char type[32], body[64];
  snprintf(type, sizeof type, "%dxf32", count);
  snprintf(body, sizeof body, "    %%r = math.%s %%i0 : f32\n", function);
  char *text = kernel_text_print(&(struct kernel_text){.num_in = 1,
                                                       .num_out = 1,
                                                       .type = {type, type},
                                                       .map = {"i", "i"},
                                                       .loops = "i",
                                                       .kinds = "p",
                                                       .body = body,
                                                       .yield = "%r"});
  struct kernel_code code;
  assert_true(kernel_compile(cpu.context, text, target, &code, NULL, NULL));
  assert_null(strstr(code.ir, "math.")); // everything was expanded
  void *operands[] = {x, y};
  kernel_run(&code, operands, 2, 1);
  kernel_release(&code);
  free(text);
}

// Every result within relative * |exact| + absolute of the exact one; infinities and NaN must agree. Results that are
// not normal numbers in f32 may also be anything between 0 and the smallest normal number.
static void check(const char *function, double (*exact)(double), double low, double high, double relative,
                  double absolute) {
  int count = grid(low, high);
  for (int t = 0; t < cpu.num_targets; t++) {
    memset(y, 0x7f, sizeof y);
    run(function, &cpu.targets[t], count);
    for (int i = 0; i < count; i++) {
      double want = exact((double)x[i]);
      if (fabs(want) > FLT_MAX) want = copysign(INFINITY, want);
      bool fits = isnan(want)   ? isnan(y[i])
                  : isinf(want) ? (double)y[i] == want
                                : fabs(y[i] - want) <= relative * fabs(want) + absolute;
      if (!fits && fabs(want) < FLT_MIN) fits = fabs(y[i]) <= FLT_MIN;
      if (!fits)
        fail_msg("%s: %s(%.9g) is %.9g, expected %.9g, error %.3g", cpu.targets[t].cpu, function, x[i], y[i], want,
                 fabs(y[i] - want));
    }
  }
}

static void exponentials(void **state) {
  (void)state;
  check("exp", exp, -87.3, 88.7, 2e-7, 0);
  check("exp", exp, -1e-3, 1e-3, 2e-7, 0);
  check("exp", exp, -1000, 1000, 2e-7, 0);
  check("expm1", expm1, -30, 88, 4e-7, 0);
  check("expm1", expm1, -1e-3, 1e-3, 4e-7, 0);
  check("exp2", exp2, -8, 8, 2e-7, 0);
  check("exp2", exp2, -200, 200, 2e-7, 0);
}

static void sigmoids(void **state) {
  (void)state;
  check("tanh", tanh, -12, 12, 5e-7, 0);
  check("tanh", tanh, -1e-2, 1e-2, 5e-7, 0);
  check("tanh", tanh, -1000, 1000, 5e-7, 0);
  check("erf", erf, -5, 5, 0, 5e-7);
  check("erf", erf, -0.74, 0.74, 5e-7, 0);
  check("erf", erf, -1000, 1000, 0, 5e-7);
}

static void logarithms(void **state) {
  (void)state;
  check("log", log, 1e-6, 4, 2e-7, 1e-7);
  check("log", log, 0.5, 1e6, 2e-7, 1e-7);
  check("log", log, -2, 1e30, 2e-7, 1e-7);
  check("log1p", log1p, -1, 1, 4e-7, 1e-9);
  check("log1p", log1p, -2, 1e6, 4e-7, 1e-9);
  check("log2", log2, 1e-3, 1e3, 4e-7, 2e-7);
}

static double reciprocal_root(double v) {
  return 1 / sqrt(v);
}

static void algebraic(void **state) {
  (void)state;
  check("absf", fabs, -10, 10, 0, 0);
  int count = grid(1e-4, 10);
  for (int t = 0; t < cpu.num_targets; t++) {
    memset(y, 0x7f, sizeof y);
    char type[32];
    snprintf(type, sizeof type, "%dxf32", count);
    char *text = kernel_text_print(&(struct kernel_text){.num_in = 1,
                                                         .num_out = 1,
                                                         .type = {type, type},
                                                         .map = {"i", "i"},
                                                         .loops = "i",
                                                         .kinds = "p",
                                                         .body = "    %r = math.rsqrt %i0 : f32\n",
                                                         .yield = "%r"});
    struct kernel_code code;
    assert_true(kernel_compile(cpu.context, text, &cpu.targets[t], &code, NULL, NULL));
    void *operands[] = {x, y};
    kernel_run(&code, operands, 2, 1);
    for (int i = 0; i < POINTS; i++)
      if (fabs(y[i] - reciprocal_root((double)x[i])) > 2e-7 * reciprocal_root((double)x[i]))
        fail_msg("%s: rsqrt(%.9g) is %.9g", cpu.targets[t].cpu, x[i], y[i]);
    kernel_release(&code);
    free(text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exponentials),
      cmocka_unit_test(sigmoids),
      cmocka_unit_test(logarithms),
      cmocka_unit_test(algebraic),
  };
  return cmocka_run_group_tests(tests, cpu_set_up, cpu_tear_down);
}
