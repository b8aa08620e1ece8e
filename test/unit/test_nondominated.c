// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranks and crowding distances: a worked example, and random rows against the definitions.
#include "passes/search/nondominated.h"
#include "runtime/support/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_example(void **state) {
  (void)state;
  //                     front 0: a b c d    front 1: e f    front 2: g
  const double rows[] = {0, 10, 2, 8, 5, 5, 10, 0, 1, 7, 4, 4, 0, 6};
  const int expected[] = {0, 0, 0, 0, 1, 1, 2};
  int rank[7], order[7];
  double distance[7];
  anas_nondominated_ranks(rows, 7, 2, rank);
  for (int i = 0; i < 7; i++)
    assert_int_equal(rank[i], expected[i]);
  anas_crowding_distances(rows, rank, 7, 2, distance);
  assert_true(isinf(distance[0]) && isinf(distance[3]) && isinf(distance[4]) && isinf(distance[6]));
  assert_true(fabs(distance[1] - (0.5 + 0.5)) < 1e-12); // neighbours a and c: 5 of 10 in both
  assert_true(fabs(distance[2] - (0.8 + 0.8)) < 1e-12); // neighbours b and d
  anas_crowded_order(rank, distance, 7, order);
  const int expected_order[] = {0, 3, 2, 1, 4, 5, 6};
  for (int i = 0; i < 7; i++)
    assert_int_equal(order[i], expected_order[i]);
}

// Rank r: the longest chain of rows, each dominating the next, that ends in the row, less one.
static int chain(const double *rows, int count, int objectives, int row) {
  int longest = 0;
  for (int i = 0; i < count; i++)
    if (anas_dominates(rows + (ptrdiff_t)i * objectives, rows + (ptrdiff_t)row * objectives, objectives)) {
      int length = 1 + chain(rows, count, objectives, i);
      if (length > longest) longest = length;
    }
  return longest;
}

static void test_random_ranks(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(11);
  for (int round = 0; round < 200; round++) {
    double rows[12 * 3];
    int rank[12], count = 1 + (int)anas_rng_below(&rng, 12), objectives = 1 + (int)anas_rng_below(&rng, 3);
    for (int i = 0; i < count * objectives; i++)
      rows[i] = (double)anas_rng_below(&rng, 5); // few values: many ties
    anas_nondominated_ranks(rows, count, objectives, rank);
    for (int i = 0; i < count; i++)
      assert_int_equal(rank[i], chain(rows, count, objectives, i));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_example),
      cmocka_unit_test(test_random_ranks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
