// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Statistics of latency: percentiles, and a spread that covers the median as often as it says.
#include "tools/anas-search/latency.h"

#include "runtime/support/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void percentiles(void **state) {
  (void)state;
  double values[100];
  for (int i = 0; i < 100; i++)
    values[(i * 37) % 100] = i + 1; // 1..100 in disorder
  struct latency l = latency_of(values, 100);
  assert_true(l.p50 == 50.5);
  assert_true(l.p95 == 95);
  // Ranks 40 and 61 of 100 hold the median with 95 %: textbook values for the sign test.
  assert_true(fabs(l.spread - 0.5 * (61 - 40) / 50.5) < 1e-12);
  double one[] = {3};
  l = latency_of(one, 1);
  assert_true(l.p50 == 3 && l.p95 == 3 && l.spread == 0);
}

// The interval [p50 - w, p50 + w] is not centred in general, but its width must shrink as 1 / sqrt(n) and the true
// median of a skewed distribution must lie about within it.
static void spread_covers_the_median(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(5);
  double values[400], widths[2] = {0};
  int covered = 0;
  for (int trial = 0; trial < 400; trial++)
    for (int size = 0; size < 2; size++) {
      int count = size ? 400 : 100;
      for (int i = 0; i < count; i++)
        values[i] = 1 - log(1 - anas_rng_double(&rng)); // median 1 + log 2
      struct latency l = latency_of(values, count);
      widths[size] += l.spread * l.p50;
      if (size) covered += fabs(l.p50 - (1 + log(2))) < l.spread * l.p50;
    }
  assert_true(covered > 360 && covered < 400);
  assert_true(fabs(widths[0] / widths[1] - 2) < 0.2);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(percentiles), cmocka_unit_test(spread_covers_the_median)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
