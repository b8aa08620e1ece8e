// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pareto curves and weights: the asserted cases A12 of the reference, and properties on random points.
#include "passes/search/pareto.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-12)

static const struct anas_point unit = {1, 1};

static void test_a12_1_and_3(void **state) { // both objectives: lower is better
  (void)state;
  struct anas_point points[] = {{-3, -1}, {-2, -2}, {-1, -3}, {-3, -3}}, curve[4];
  assert_int_equal(anas_pareto_curve(points, 4, curve), 3);
  for (int i = 0; i < 3; i++) {
    NEAR(curve[i].first, -1 - i);
    NEAR(curve[i].second, -3 + i);
  }
  struct anas_point asked[] = {{-3, -1}, {-2, -2}, {-1, -3}, {-3, -3}, {-1, -1}};
  double expected[] = {0, 0, 0, sqrt(2), -sqrt(2)};
  for (int i = 0; i < 5; i++)
    NEAR(anas_pareto_weight(curve, 3, NULL, unit, asked[i]), expected[i]);
}

static void test_a12_2_and_4(void **state) { // both: higher is better
  (void)state;
  struct anas_point points[] = {{3, 1}, {2, 2}, {1, 3}, {3, 3}}, curve[4];
  assert_int_equal(anas_pareto_curve(points, 4, curve), 1);
  NEAR(curve[0].first, 3);
  NEAR(curve[0].second, 3);
  struct anas_point asked[] = {{3, 1}, {2, 2}, {1, 3}, {3, 3}, {4, 4}};
  double expected[] = {0, 1, 0, 0, -sqrt(2)};
  for (int i = 0; i < 5; i++)
    NEAR(anas_pareto_weight(curve, 1, NULL, unit, asked[i]), expected[i]);
}

static void test_scale(void **state) {
  (void)state;
  struct anas_point curve[] = {{10, 0}, {8, 1}, {4, 5}, {0, 6}};
  struct anas_point whole = anas_pareto_scale(curve, 4, NULL);
  NEAR(whole.first, 10);
  NEAR(whole.second, 6);
  struct anas_point inside = {6, 3}; // between the second and the third
  struct anas_point part = anas_pareto_scale(curve, 4, &inside);
  NEAR(part.first, 4);
  NEAR(part.second, 4);
  struct anas_point single = anas_pareto_scale(curve, 1, NULL);
  NEAR(single.first, 1);
  NEAR(single.second, 1);
}

static void test_anchor_weight(void **state) {
  (void)state;
  struct anas_point curve[] = {{10, 0}, {0, 10}}, anchor = {5, 5}, scale = anas_pareto_scale(curve, 2, &anchor);
  NEAR(anas_pareto_weight(curve, 2, &anchor, scale, (struct anas_point){10, 0}), sqrt(0.5));
  NEAR(anas_pareto_weight(curve, 2, &anchor, scale, (struct anas_point){8, 9}), -0.5);
  NEAR(anas_pareto_weight(curve, 2, &anchor, scale, anchor), 0);
}

static void test_random_curves(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(7);
  for (int round = 0; round < 200; round++) {
    enum { N = 40 };
    struct anas_point points[N], curve[N];
    double rows[N][2];
    bool front[N];
    for (int i = 0; i < N; i++) {
      points[i] = (struct anas_point){(double)anas_rng_below(&rng, 12), (double)anas_rng_below(&rng, 12)};
      rows[i][0] = points[i].first;
      rows[i][1] = points[i].second;
    }
    int count = anas_pareto_curve(points, N, curve);
    anas_pareto_front(&rows[0][0], N, 2, front);
    for (int i = 0; i < N; i++) { // brute force: on the curve exactly if nothing dominates it
      bool on_curve = false;
      for (int k = 0; k < count; k++)
        on_curve |= curve[k].first == points[i].first && curve[k].second == points[i].second;
      assert_int_equal(on_curve, front[i]);
      assert_false(anas_pareto_optimal(curve, count, points[i]));
      assert_true(anas_pareto_weight(curve, count, NULL, unit, points[i]) >= 0);
      if (on_curve) NEAR(anas_pareto_weight(curve, count, NULL, unit, points[i]), 0);
    }
    struct anas_point sample = anas_pareto_sample(curve, count, &rng);
    NEAR(anas_pareto_weight(curve, count, NULL, unit, sample), 0);
    struct anas_point scale = anas_pareto_scale(curve, count, &sample);
    assert_true(scale.first > 0 && scale.second > 0);
  }
}

// The curve against its definition, on points with many ties.
static void test_curve_of_ties(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(17);
  for (int round = 0; round < 2000; round++) {
    struct anas_point points[12], curve[12];
    int count = 1 + (int)anas_rng_below(&rng, 12);
    for (int i = 0; i < count; i++)
      points[i] = (struct anas_point){(double)anas_rng_below(&rng, 5), (double)anas_rng_below(&rng, 5)};
    int length = anas_pareto_curve(points, count, curve), distinct = 0;
    for (int i = 0; i < count; i++) {
      bool dominated = false, seen = false;
      for (int k = 0; k < count; k++) {
        bool equal = points[k].first == points[i].first && points[k].second == points[i].second;
        dominated |= !equal && points[k].first >= points[i].first && points[k].second >= points[i].second;
        seen |= equal && k < i;
      }
      distinct += !dominated && !seen;
      bool on_curve = false;
      for (int k = 0; k < length; k++)
        on_curve |= curve[k].first == points[i].first && curve[k].second == points[i].second;
      assert_int_equal(on_curve, !dominated);
    }
    assert_int_equal(length, distinct);
    for (int k = 1; k < length; k++)
      assert_true(curve[k].first < curve[k - 1].first && curve[k].second > curve[k - 1].second);
  }
}

static void test_selection_frequencies(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(1);
  // Twelve candidates: the top ten compete; the best is ten times as likely as the tenth.
  double weights[12];
  int hits[12] = {0};
  for (int i = 0; i < 12; i++)
    weights[i] = 11 - i;
  enum { DRAWS = 40000 };
  for (int i = 0; i < DRAWS; i++)
    hits[anas_pareto_select(weights, 12, &rng)]++;
  assert_int_equal(hits[0], 0);
  assert_int_equal(hits[1], 0);
  double total = 0;
  for (int i = 0; i < 10; i++)
    total += pow(10, -i / 9.0);
  for (int i = 0; i < 10; i++) { // five standard deviations of a binomial
    double p = pow(10, -i / 9.0) / total;
    assert_true(fabs(hits[11 - i] - DRAWS * p) < 5 * sqrt(DRAWS * p * (1 - p)));
  }
  double equal[3] = {2, 2, 2};
  int seen[3] = {0};
  for (int i = 0; i < 300; i++)
    seen[anas_pareto_select(equal, 3, &rng)]++;
  assert_true(seen[0] > 50 && seen[1] > 50 && seen[2] > 50);
}

static void test_targeted_filter(void **state) {
  (void)state;
  // Seeds at (5, 5) and (6, 4): the base is (5, 4).
  struct anas_point points[] = {{5, 5}, {6, 4}, {5, 4}, {7, 3.9}, {4.9, 9}, {8, 8}, {5 - 1e-9, 4}};
  const bool seeds[] = {true, true, false, false, false, false, false};
  const bool expected[] = {true, true, true, false, false, true, true};
  bool kept[7], candidate[7];
  struct anas_rng rng = anas_rng_make(1);
  anas_targeted_filter(points, seeds, 7, &rng, kept, candidate);
  for (int i = 0; i < 7; i++) {
    assert_int_equal(kept[i], expected[i]);
    assert_true(candidate[i]); // more are kept than not: all others balance them
  }
  // One kept, nine not: each of them joins with probability 1/9.
  struct anas_point many[10] = {{1, 1}};
  const bool one[10] = {true};
  int joined = 0;
  for (int round = 0; round < 2000; round++) {
    bool k[10], c[10];
    anas_targeted_filter(many, one, 10, &rng, k, c);
    assert_true(k[0] && c[0]);
    for (int i = 1; i < 10; i++) {
      assert_false(k[i]);
      joined += c[i];
    }
  }
  assert_true(abs(joined - 2000) < 250);
}

static void test_ageing(void **state) {
  (void)state;
  for (int form = 0; form < 5; form++) {
    enum anas_ageing ageing = (enum anas_ageing)form;
    NEAR(anas_aged(80, 17, 0, ageing), 80); // off
    NEAR(anas_aged(80, 9, 10, ageing), 80);
    assert_non_null(anas_ageing_names[form]);
  }
  assert_null(anas_ageing_names[5]);
  NEAR(anas_aged(80, 15, 10, ANAS_AGEING_IMPULSE), 8 + 72 * 0.5);
  NEAR(anas_aged(80, 20, 10, ANAS_AGEING_IMPULSE), 80);
  NEAR(anas_aged(80, 15, 10, ANAS_AGEING_CYCLIC), 8);
  NEAR(anas_aged(80, 15, 10, ANAS_AGEING_ONCE), 8 + 72 * 0.5);
  NEAR(anas_aged(80, 20, 10, ANAS_AGEING_ONCE), 8);
  NEAR(anas_aged(80, 500, 10, ANAS_AGEING_ONCE), 8);
  NEAR(anas_aged(80, 11, 10, ANAS_AGEING_STEP), 8);
  NEAR(anas_aged(80, 15, 10, ANAS_AGEING_CYCLIC_STEP), 8);
  NEAR(anas_aged(80, 25, 10, ANAS_AGEING_CYCLIC_STEP), 80);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a12_1_and_3),
      cmocka_unit_test(test_a12_2_and_4),
      cmocka_unit_test(test_scale),
      cmocka_unit_test(test_anchor_weight),
      cmocka_unit_test(test_random_curves),
      cmocka_unit_test(test_curve_of_ties),
      cmocka_unit_test(test_selection_frequencies),
      cmocka_unit_test(test_targeted_filter),
      cmocka_unit_test(test_ageing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
