// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rungs, who goes on from one, brackets of Hyperband, the median rule: worked examples and the definitions.
#include "passes/search/halving.h"
#include "passes/search/nondominated.h"
#include "runtime/support/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_rungs(void **state) {
  (void)state;
  double rungs[ANAS_MAX_RUNGS];
  assert_int_equal(anas_halving_rungs(9, 1, 3, rungs), 2);
  assert_true(fabs(rungs[0] - 1) < 1e-12 && fabs(rungs[1] - 3) < 1e-12);
  assert_int_equal(anas_halving_rungs(9, 1.01, 3, rungs), 1);
  assert_true(fabs(rungs[0] - 3) < 1e-12);
  assert_int_equal(anas_halving_rungs(1, 0.25, 2, rungs), 2); // a fraction of an epoch
  assert_true(rungs[0] == 0.25 && rungs[1] == 0.5);
  assert_int_equal(anas_halving_rungs(2, 1.5, 2, rungs), 0);
  assert_int_equal(anas_halving_rungs(1e9, 1e-9, 2, rungs), ANAS_MAX_RUNGS);
}

static void test_keep(void **state) {
  (void)state;
  // One objective: the best third, in any order.
  const double one[] = {0.3, 0.9, 0.5, 0.8, 0.1, 0.2, 0.7};
  bool keep[8];
  anas_halving_keep(&(struct anas_rung){one, NULL, NULL, 7, 1}, 3, keep);
  for (int i = 0; i < 7; i++)
    assert_int_equal(keep[i], i == 1 || i == 3);
  // Never nobody; the earlier one of equals.
  const double two[] = {0.5, 0.5};
  anas_halving_keep(&(struct anas_rung){two, NULL, NULL, 2, 1}, 3, keep);
  assert_true(keep[0] && !keep[1]);
  // Two objectives: the front is 0 1 2 3, of which the ends and the one with more room around it go on; 4 is better
  // than 1 in the first objective, but dominated.
  const double front[] = {0, 10, 2, 9, 7, 6, 10, 0, 6.5, 5, 1, 1};
  anas_halving_keep(&(struct anas_rung){front, NULL, NULL, 6, 2}, 2, keep);
  const bool expected[] = {true, false, true, true, false, false};
  for (int i = 0; i < 6; i++)
    assert_int_equal(keep[i], expected[i]);
}

// Who was there before takes no place, but decides who is good.
static void test_judged(void **state) {
  (void)state;
  // Accuracy and minus the size. Among themselves 2 and 3 are the front, and 2 is in front as the more accurate end;
  // but 0 dominates it, so 3 goes on.
  const double rows[] = {0.8, -5, 0.6, -2, 0.78, -6, 0.7, -3, 0.68, -4};
  const bool judged[] = {false, false, true, true, true};
  bool keep[6];
  anas_halving_keep(&(struct anas_rung){rows, NULL, judged, 5, 2}, 3, keep);
  for (int i = 0; i < 5; i++)
    assert_int_equal(keep[i], i == 3);
  anas_halving_keep(&(struct anas_rung){rows + 4, NULL, NULL, 3, 2}, 3, keep);
  assert_true(keep[0] && !keep[1] && !keep[2]);
  // The smallest guesses, the second has less than half of the best accuracy: neither goes on, though there is room.
  const double small[] = {0.8, -5, 0.1, -1, 0.39, -2, 0.7, -6}, accuracy[] = {0.8, 0.1, 0.39, 0.7};
  anas_halving_keep(&(struct anas_rung){small, NULL, NULL, 4, 2}, 2, keep);
  assert_true(keep[0] && keep[1] && !keep[2] && !keep[3]);
  anas_halving_keep(&(struct anas_rung){small, accuracy, NULL, 4, 2}, 2, keep);
  assert_true(keep[0] && !keep[1] && !keep[2] && keep[3]);
  const bool last[] = {false, true, true, false};
  anas_halving_keep(&(struct anas_rung){small, accuracy, last, 4, 2}, 2, keep);
  for (int i = 0; i < 4; i++)
    assert_false(keep[i]);
}

// Nobody stops who dominates somebody that goes on; the quota is kept.
static void test_random_keep(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(5);
  for (int round = 0; round < 300; round++) {
    double rows[20 * 3];
    bool keep[20], judged[20];
    int count = 1 + (int)anas_rng_below(&rng, 20), objectives = 1 + (int)anas_rng_below(&rng, 3), kept = 0;
    int64_t factor = 2 + (int64_t)anas_rng_below(&rng, 3);
    for (int i = 0; i < count * objectives; i++)
      rows[i] = (double)anas_rng_below(&rng, 6);
    int others = (int)anas_rng_below(&rng, (uint64_t)count);
    for (int i = 0; i < count; i++)
      judged[i] = i >= others;
    anas_halving_keep(&(struct anas_rung){rows, NULL, judged, count, objectives}, factor, keep);
    for (int i = 0; i < count; i++) {
      kept += keep[i];
      for (int j = 0; j < count; j++)
        if (judged[i] && !keep[i] && keep[j])
          assert_false(anas_dominates(rows + (ptrdiff_t)i * objectives, rows + (ptrdiff_t)j * objectives, objectives));
    }
    count -= others;
    assert_int_equal(kept, count / factor > 1 ? count / factor : 1);
  }
}

static void test_brackets(void **state) {
  (void)state;
  // K = 2, factor 3: 9, ceil(3 / 2 * 3) = 5 and 3 of 17.
  int count[3] = {0}, longest = 0, run = 0;
  for (int64_t i = 0; i < 34; i++) {
    int bracket = anas_hyperband_bracket(i, 2, 3);
    assert_in_range(bracket, 0, 2);
    count[bracket]++;
    run = bracket ? run + 1 : 0;
    if (run > longest) longest = run;
  }
  assert_int_equal(count[0], 18);
  assert_int_equal(count[1], 10);
  assert_int_equal(count[2], 6);
  assert_true(longest <= 2); // spread evenly
  for (int64_t i = 0; i < 5; i++)
    assert_int_equal(anas_hyperband_bracket(i, 0, 3), 0); // no rung, one bracket
}

static void test_median(void **state) {
  (void)state;
  const double others[] = {0.4, 0.1, 0.3, 0.2};
  assert_true(anas_below_median(0.24, others, 4));
  assert_false(anas_below_median(0.25, others, 4));
  assert_false(anas_below_median(0.3, others, 3));
  assert_true(anas_below_median(0.29, others, 3));
  assert_false(anas_below_median(-1, others, 0));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rungs),       cmocka_unit_test(test_keep),     cmocka_unit_test(test_judged),
      cmocka_unit_test(test_random_keep), cmocka_unit_test(test_brackets), cmocka_unit_test(test_median),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
