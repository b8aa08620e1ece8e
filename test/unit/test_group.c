// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Groups of kernels: which parts run in which order, on one thread and on several.
#include "runtime/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SLABS 6
#define WIDTH 4 // elements of a slab

// y[i] = x[i] + 1. Two in a row give x + 2 only if the first part of the second runs after the first part of the first.
static void add_one(void **operands, int64_t begin, int64_t end) {
  const int *x = operands[0];
  int *y = operands[1];
  for (int64_t i = begin; i < end; i++)
    y[i] = x[i] + 1;
}

static void add_one_again(void **operands, int64_t begin, int64_t end) {
  add_one(operands, begin, end);
}

// Notes what runs when.
static int log_count;
static struct note {
  int who;
  int64_t begin, end;
} notes[64];

static void note(int who, int64_t begin, int64_t end) {
  notes[log_count++] = (struct note){who, begin, end};
}

static void note_a(void **operands, int64_t begin, int64_t end) {
  (void)operands;
  note('a', begin, end);
}

static void note_b(void **operands, int64_t begin, int64_t end) {
  (void)operands;
  note('b', begin, end);
}

static void expect(int at, int who, int64_t begin, int64_t end) {
  assert_true(at < log_count);
  assert_int_equal(notes[at].who, who);
  assert_int_equal(notes[at].begin, begin);
  assert_int_equal(notes[at].end, end);
}

static void launch(anas_kernel_range body, int64_t count, int64_t leading) {
  void *operands[1] = {NULL};
  anas_launch(body, operands, 1, count, leading, 1);
}

static void test_order(void **state) {
  (void)state;
  anas_team_set_size(1);
  log_count = 0;
  anas_group_begin(2);
  launch(note_a, 8, 4);
  launch(note_b, 2, 2);
  assert_int_equal(log_count, 0); // not before all are known
  anas_group_end();
  assert_int_equal(log_count, 4);
  expect(0, 'a', 0, 4);
  expect(1, 'b', 0, 1);
  expect(2, 'a', 4, 8);
  expect(3, 'b', 1, 2);
  launch(note_a, 8, 4); // outside of groups at once
  assert_int_equal(log_count, 5);
  expect(4, 'a', 0, 8);
}

// What cannot be cut runs whole, between what comes before and after it.
static void test_pieces(void **state) {
  (void)state;
  anas_team_set_size(1);
  log_count = 0;
  anas_group_begin(2);
  launch(note_a, 4, 2);
  launch(note_b, 4, 2);
  launch(note_a, 5, 0);
  launch(note_a, 9, 3);
  launch(note_b, 6, 2);
  launch(note_a, 0, 2);
  launch(note_a, 2, 2);
  anas_group_end();
  assert_int_equal(log_count, 10);
  expect(3, 'b', 2, 4);
  expect(4, 'a', 0, 5);
  expect(5, 'a', 0, 9);
  expect(6, 'b', 0, 3);
  expect(7, 'a', 0, 1);
  expect(8, 'b', 3, 6);
  expect(9, 'a', 1, 2);
}

// More calls than are noted, on a team: every element is right at the end.
static void test_long_chain(void **state) {
  (void)state;
  static int value[64][SLABS * WIDTH];
  for (int threads = 1; threads <= 8; threads++) {
    anas_team_set_size(threads);
    memset(value, 0, sizeof value);
    anas_group_begin(SLABS);
    for (int i = 0; i < 63; i++) {
      void *operands[] = {value[i], value[i + 1]};
      anas_launch(i % 2 ? add_one : add_one_again, operands, 2, SLABS * WIDTH, i % 17 == 16 ? 0 : SLABS, 1);
    }
    anas_group_end();
    for (int i = 0; i < SLABS * WIDTH; i++)
      assert_int_equal(value[63][i], 63);
  }
  anas_team_shutdown();
}

// Every kernel of a group is counted once.
static void test_profile(void **state) {
  (void)state;
  static int value[3][SLABS * WIDTH];
  anas_team_set_size(1);
  anas_team_profile(1);
  for (int round = 0; round < 3; round++) {
    anas_group_begin(SLABS);
    anas_launch(add_one, (void *[]){value[0], value[1]}, 2, SLABS * WIDTH, SLABS, 1);
    anas_launch(add_one_again, (void *[]){value[1], value[2]}, 2, SLABS * WIDTH, SLABS, 1);
    anas_group_end();
  }
  anas_team_profile(0);
  double seconds;
  int64_t calls;
  anas_team_profile_get(add_one, &seconds, &calls);
  assert_int_equal(calls, 3);
  assert_true(seconds >= 0);
  anas_team_profile_get(add_one_again, &seconds, &calls);
  assert_int_equal(calls, 3);
  assert_int_equal(value[2][0], 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_order),
      cmocka_unit_test(test_pieces),
      cmocka_unit_test(test_long_chain),
      cmocka_unit_test(test_profile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
