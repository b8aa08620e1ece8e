// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hypervolumes: worked examples, and random rows on a grid against counting its cells.
#include "passes/search/hypervolume.h"
#include "runtime/support/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_examples(void **state) {
  (void)state;
  const double two[] = {1, 3, 2, 2, 3, 1}, dominated[] = {1, 3, 2, 2, 3, 1, 1, 1, 2, 2};
  assert_true(anas_hypervolume(two, 3, 2) == 6);
  assert_true(anas_hypervolume(dominated, 5, 2) == 6);
  assert_true(anas_hypervolume((double[]){2, 3, 4}, 1, 3) == 24);
  assert_true(anas_hypervolume((double[]){3, 1, 2}, 3, 1) == 3);
  assert_true(anas_hypervolume((double[]){-1, 5, 0, 5, NAN, 5}, 3, 2) == 0);
  assert_true(anas_hypervolume(two, 0, 2) == 0);
}

// Cells of the unit grid whose upper corner some row reaches.
static int cells(const double *rows, int count, int objectives, int size) {
  int total = 1, sum = 0;
  for (int o = 0; o < objectives; o++)
    total *= size;
  for (int cell = 0; cell < total; cell++) {
    bool covered = false;
    for (int i = 0; i < count && !covered; i++) {
      covered = true;
      for (int o = 0, rest = cell; o < objectives; o++, rest /= size)
        covered &= rows[i * objectives + o] >= rest % size + 1;
    }
    sum += covered;
  }
  return sum;
}

static void test_random(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(5);
  for (int objectives = 1; objectives <= 4; objectives++)
    for (int round = 0; round < 100; round++) {
      double rows[12 * 4];
      int count = 1 + (int)anas_rng_below(&rng, 12);
      for (int i = 0; i < count * objectives; i++)
        rows[i] = (double)anas_rng_below(&rng, 8) - 1;
      assert_true(anas_hypervolume(rows, count, objectives) == cells(rows, count, objectives, 6));
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_examples),
      cmocka_unit_test(test_random),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
