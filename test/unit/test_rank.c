// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rank correlations against their definitions, with many ties.
#include "tools/anas-search/rank.h"

#include "runtime/support/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int sign(double v) {
  return (v > 0) - (v < 0);
}

static double naive_kendall(const double *x, const double *y, int n) {
  double sum = 0, untied_x = 0, untied_y = 0;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < i; j++) {
      sum += sign(x[i] - x[j]) * sign(y[i] - y[j]);
      untied_x += x[i] != x[j];
      untied_y += y[i] != y[j];
    }
  return sum / sqrt(untied_x * untied_y);
}

static double naive_spearman(const double *x, const double *y, int n) {
  double sx = 0, sy = 0, xx = 0, yy = 0, xy = 0;
  for (int i = 0; i < n; i++) {
    double rx = 0.5, ry = 0.5; // smaller ones, and half of the equal ones
    for (int j = 0; j < n; j++) {
      rx += 0.5 * (sign(x[i] - x[j]) + 1);
      ry += 0.5 * (sign(y[i] - y[j]) + 1);
    }
    sx += rx;
    sy += ry;
    xx += rx * rx;
    yy += ry * ry;
    xy += rx * ry;
  }
  return (n * xy - sx * sy) / sqrt((n * xx - sx * sx) * (n * yy - sy * sy));
}

static void equal_to_definitions(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(1);
  for (int round = 0; round < 300; round++) {
    int n = 3 + (int)anas_rng_below(&rng, 40);
    uint64_t values = 2 + anas_rng_below(&rng, 50);
    double x[43], y[43];
    for (int i = 0; i < n; i++) {
      x[i] = (double)anas_rng_below(&rng, values);
      y[i] = anas_rng_below(&rng, 2) ? x[i] : -(double)anas_rng_below(&rng, values);
    }
    x[0] = -1; // two values at least
    y[0] = 1;
    y[1] = 2;
    assert_true(fabs(rank_kendall(x, y, n) - naive_kendall(x, y, n)) < 1e-12);
    assert_true(fabs(rank_spearman(x, y, n) - naive_spearman(x, y, n)) < 1e-12);
  }
}

static void extremes(void **state) {
  (void)state;
  double up[] = {1, 2, 3, 4}, squares[] = {1, 4, 9, 16}, down[] = {4, 3, 2, 1}, same[] = {5, 5, 5, 5};
  assert_true(fabs(rank_spearman(up, squares, 4) - 1) < 1e-12 && fabs(rank_kendall(up, squares, 4) - 1) < 1e-12);
  assert_true(fabs(rank_spearman(up, down, 4) + 1) < 1e-12 && fabs(rank_kendall(up, down, 4) + 1) < 1e-12);
  assert_true(isnan(rank_spearman(up, same, 4)) && isnan(rank_kendall(same, up, 4)));
  assert_true(isnan(rank_spearman(up, down, 1)) && isnan(rank_kendall(up, down, 0)));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(equal_to_definitions), cmocka_unit_test(extremes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
