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

// p by its definition: all ways to choose the first group, ranks by counting.
static double naive_rank_sum(const double *x, int num_x, const double *y, int num_y) {
  int n = num_x + num_y, as_far = 0, ways = 0;
  double all[16], rank[16], middle = 0.5 * num_x * (n + 1), sum = 0;
  for (int i = 0; i < n; i++)
    all[i] = i < num_x ? x[i] : y[i - num_x];
  for (int i = 0; i < n; i++) {
    rank[i] = 0.5;
    for (int j = 0; j < n; j++)
      rank[i] += all[j] < all[i] ? 1 : all[j] == all[i] ? 0.5 : 0;
    if (i < num_x) sum += rank[i];
  }
  for (unsigned chosen = 0; chosen < 1u << n; chosen++) {
    if (__builtin_popcount(chosen) != num_x) continue;
    double other = 0;
    for (int i = 0; i < n; i++)
      if (chosen >> i & 1) other += rank[i];
    ways++;
    as_far += fabs(other - middle) >= fabs(sum - middle);
  }
  return (double)as_far / ways;
}

static void rank_sum(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(2);
  for (int round = 0; round < 300; round++) {
    int num_x = 1 + (int)anas_rng_below(&rng, 6), num_y = 1 + (int)anas_rng_below(&rng, 6);
    uint64_t values = 2 + anas_rng_below(&rng, 20);
    double x[6], y[6], pairs = 0;
    for (int i = 0; i < num_x; i++)
      x[i] = (double)anas_rng_below(&rng, values);
    for (int i = 0; i < num_y; i++)
      y[i] = (double)anas_rng_below(&rng, values) + (double)(round % 3);
    for (int i = 0; i < num_x * num_y; i++)
      pairs += x[i / num_y] > y[i % num_y] ? 1 : x[i / num_y] == y[i % num_y] ? 0.5 : 0;
    struct rank_sum got = rank_sum_test(x, num_x, y, num_y);
    assert_true(fabs(got.p - naive_rank_sum(x, num_x, y, num_y)) < 1e-12);
    assert_true(fabs(got.superiority - pairs / (num_x * num_y)) < 1e-12);
  }
  // From tables: 4 and 4 values that do not overlap; 3 and 3 can never be significant.
  double low[] = {1, 2, 3, 4}, high[] = {5, 6, 7, 8};
  struct rank_sum got = rank_sum_test(low, 4, high, 4);
  assert_true(fabs(got.p - 2.0 / 70) < 1e-12 && fabs(got.smallest_p - 2.0 / 70) < 1e-9 && got.superiority == 0);
  assert_true(fabs(rank_sum_test(low, 3, high, 3).smallest_p - 0.1) < 1e-9);
  assert_true(isnan(rank_sum_test(low, 0, high, 3).p));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(equal_to_definitions), cmocka_unit_test(extremes),
                                     cmocka_unit_test(rank_sum)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
