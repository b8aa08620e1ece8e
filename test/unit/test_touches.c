// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lists of the nests that touch a storage, and names of equal buffers, against tables and searches.
#include "passes/lower/step.h"
#include "runtime/support/rng.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define STORAGES 7
#define NESTS 60

struct table {
  bool touches[STORAGES][NESTS], writes[STORAGES][NESTS];
};

static void check(const struct anas_touches *touches, const struct table *table) {
  for (int s = 0; s < STORAGES; s++)
    for (int n = -1; n <= NESTS; n++) {
      int after = n + 1, before = n - 1;
      while (after < NESTS && !table->touches[s][after])
        after++;
      while (before >= 0 && !table->touches[s][before])
        before--;
      const struct anas_touch *next = anas_touches_after(touches, s, n), *last = anas_touches_before(touches, s, n);
      assert_int_equal(next->nest, after < NESTS ? after : INT_MAX);
      assert_int_equal(last->nest, before < 0 ? -1 : before);
      if (after < NESTS) assert_int_equal(next->writes, table->writes[s][after]);
      if (before >= 0) assert_int_equal(last->writes, table->writes[s][before]);
    }
}

static void lists_hold_what_was_added(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(11);
  for (int round = 0; round < 20; round++) {
    struct anas_touches touches = {0};
    struct table table;
    memset(&table, 0, sizeof table);
    check(&touches, &table);
    for (int step = 0; step < 150; step++) {
      int storage = (int)anas_rng_below(&rng, STORAGES), other = (int)anas_rng_below(&rng, STORAGES);
      int nest = (int)anas_rng_below(&rng, NESTS);
      bool writes = anas_rng_below(&rng, 3) == 0;
      if (step % 50 != 49) {
        anas_touches_add(&touches, storage, nest, writes);
        table.touches[storage][nest] = true;
        table.writes[storage][nest] |= writes;
      } else if (storage != other) {
        anas_touches_merge(&touches, storage, other);
        for (int n = 0; n < NESTS; n++) {
          table.touches[other][n] |= table.touches[storage][n];
          table.writes[other][n] |= table.writes[storage][n];
        }
      }
      if (step % 10 == 9) check(&touches, &table);
    }
    anas_touches_deinit(&touches);
  }
}

// The list is read up and down in place.
static void ends_stop_a_walk(void **state) {
  (void)state;
  struct anas_touches touches = {0};
  for (int n = 8; n > 0; n -= 2)
    anas_touches_add(&touches, 3, n, n == 4);
  int seen = 0, sum = 0;
  for (const struct anas_touch *t = anas_touches_after(&touches, 3, -1); t->nest < 100; t++, seen++)
    sum += t->nest;
  for (const struct anas_touch *t = anas_touches_before(&touches, 3, 7); t->nest > 2; t--, seen++)
    sum += t->nest;
  assert_int_equal(seen, 4 + 2);
  assert_int_equal(sum, 20 + 10);
  anas_touches_deinit(&touches);
}

static int first_same(const struct anas_lowering *l, int buffer) {
  int first = 0;
  while (!anas_lowering_same(l, first, buffer))
    first++;
  return first;
}

static void equal_buffers_have_one_name(void **state) {
  (void)state;
  struct anas_rng rng = anas_rng_make(5);
  for (int round = 0; round < 50; round++) {
    struct anas_lowering *l = anas_lowering_create();
    int renamed = 0;
    for (int b = 0; b < 80; b++) {
      struct anas_shape shape = {.rank = 2, .element = ANAS_F32};
      shape.dim[0] = 1 + (int64_t)anas_rng_below(&rng, 2);
      shape.dim[1] = 1 + (int64_t)anas_rng_below(&rng, 2);
      int buffer = anas_lowering_buffer(l, &shape);
      if (b && anas_rng_below(&rng, 2))
        anas_lowering_alias(l, buffer, (int)anas_rng_below(&rng, (uint64_t)b), 4 * (int64_t)anas_rng_below(&rng, 2));
      if (b % 16 != 15) continue;
      for (int i = 0; i <= b; i++) {
        assert_int_equal(anas_lowering_canonical(l, i), first_same(l, i));
        renamed += first_same(l, i) != i;
      }
    }
    assert_true(renamed > 0);
    // What a change of an alias makes equal is found at once, and what it makes different, too.
    int last = l->num_buffers - 1, twin = anas_lowering_buffer(l, &l->buffers[last]->shape);
    assert_int_equal(anas_lowering_canonical(l, twin), twin);
    anas_lowering_alias(l, twin, last, 0);
    assert_int_equal(anas_lowering_canonical(l, twin), anas_lowering_canonical(l, last));
    anas_lowering_alias(l, twin, -1, 0);
    assert_int_equal(anas_lowering_canonical(l, twin), twin);
    anas_lowering_destroy(l);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lists_hold_what_was_added),
      cmocka_unit_test(ends_stop_a_walk),
      cmocka_unit_test(equal_buffers_have_one_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
