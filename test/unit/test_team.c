// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The thread team: every iteration runs exactly once, whatever the team size and whoever calls.
#include "runtime/support/file.h"
#include "runtime/team.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_COUNT 1000

static void count_up(void **operands, int64_t begin, int64_t end) {
  int *hits = operands[0];
  for (int64_t i = begin; i < end; i++)
    hits[i]++;
}

static void check_counts(int64_t count, int32_t parallel, int rounds) {
  static int hits[MAX_COUNT + 1];
  memset(hits, 0, sizeof hits);
  void *operands[] = {hits};
  for (int i = 0; i < rounds; i++)
    anas_parallel_for(count_up, operands, count, parallel);
  for (int64_t i = 0; i < count; i++)
    assert_int_equal(hits[i], rounds);
  assert_int_equal(hits[count], 0);
}

static void test_every_iteration_once(void **state) {
  (void)state;
  static const int64_t counts[] = {0, 1, 2, 3, 7, 64, MAX_COUNT};
  for (int threads = 1; threads <= 5; threads++) {
    anas_team_set_size(threads);
    assert_int_equal(anas_team_size(), threads);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
      check_counts(counts[i], 1, 50);
      check_counts(counts[i], 0, 5);
    }
  }
  anas_team_shutdown();
}

// Wakes from sleep as well as from spinning.
static void test_after_idle(void **state) {
  (void)state;
  anas_team_set_size(3);
  for (int i = 0; i < 20; i++) {
    check_counts(100, 1, 3);
    usleep(2000);
  }
  anas_team_shutdown();
}

static void sum_shares(void **operands, int64_t begin, int64_t end) {
  atomic_llong *total = operands[0];
  long long sum = 0;
  for (int64_t i = begin; i < end; i++)
    sum += i;
  atomic_fetch_add(total, sum);
}

static void nest(void **operands, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++)
    anas_parallel_for(sum_shares, operands, 10, 1);
}

static void test_nested_runs_inline(void **state) {
  (void)state;
  anas_team_set_size(3);
  atomic_llong total = 0;
  void *operands[] = {&total};
  anas_parallel_for(nest, operands, 40, 1);
  assert_int_equal(atomic_load(&total), 40 * 45);
  anas_team_shutdown();
}

static void *call_many(void *data) {
  void *operands[] = {data};
  for (int i = 0; i < 500; i++)
    anas_parallel_for(sum_shares, operands, 10, 1);
  return NULL;
}

static void test_concurrent_callers(void **state) {
  (void)state;
  anas_team_set_size(2);
  atomic_llong total[3] = {0, 0, 0};
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, call_many, &total[i]), 0);
  for (int i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&total[i]), 500 * 45);
  }
  anas_team_shutdown();
}

static void note_share(void **operands, int64_t begin, int64_t end) {
  atomic_int *boundary = operands[0];
  atomic_fetch_add(&boundary[begin], 1);
  atomic_fetch_add(&boundary[end], 1);
}

static void test_split_is_contiguous_and_even(void **state) {
  (void)state;
  anas_team_set_size(4);
  atomic_int boundary[11] = {0};
  void *operands[] = {boundary};
  anas_parallel_for(note_share, operands, 10, 1);
  static const int expected[11] = {1, 0, 2, 0, 0, 2, 0, 2, 0, 0, 1}; // [0,2) [2,5) [5,7) [7,10)
  for (int i = 0; i <= 10; i++)
    assert_int_equal(atomic_load(&boundary[i]), expected[i]);
  anas_team_shutdown();
}

static int run_in_child(void) {
  int hits[8] = {0};
  void *operands[] = {hits};
  anas_parallel_for(count_up, operands, 8, 1);
  anas_team_shutdown();
  anas_parallel_for(count_up, operands, 8, 1);
  anas_team_shutdown();
  for (int i = 0; i < 8; i++)
    if (hits[i] != 2) return 1;
  return 0;
}

// With and without the shutdown that callers are asked for: a child never waits for threads it does not have.
static void test_fork(void **state) {
  (void)state;
#ifdef __SANITIZE_THREAD__
  skip(); // ThreadSanitizer does not support threads in a forked child
#endif
  int first = 0;
#ifdef __SANITIZE_ADDRESS__
  first = 1; // a thread that ends while we fork leaves AddressSanitizer's allocator locked in the child
#endif
  for (int shutdown = first; shutdown < 2; shutdown++) {
    anas_team_set_size(3);
    check_counts(100, 1, 3);
    if (shutdown) anas_team_shutdown();
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
      alarm(20);
      _exit(run_in_child());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    check_counts(100, 1, 3);
    anas_team_shutdown();
  }
}

static void nothing(void **operands, int64_t begin, int64_t end) {
  (void)operands;
  (void)begin;
  (void)end;
}

// A millisecond of work an iteration, both by the clock and in processor time: the profile may use either.
static void work_a_little(void **operands, int64_t begin, int64_t end) {
  (void)operands;
  for (double stop = anas_thread_time() + 0.001 * (double)(end - begin); anas_thread_time() < stop;)
    ;
}

static void test_profile(void **state) {
  (void)state;
  anas_team_set_size(2);
  anas_team_profile(1);
  for (int i = 0; i < 3; i++)
    anas_parallel_for(work_a_little, NULL, 2, i != 0);
  anas_parallel_for(nothing, NULL, 1, 1);
  anas_team_profile(0);
  anas_parallel_for(nothing, NULL, 1, 1);
  double seconds;
  int64_t calls;
  anas_team_profile_get(work_a_little, &seconds, &calls);
  assert_int_equal(calls, 3);
  assert_true(seconds >= 0.003);
  anas_team_profile_get(nothing, &seconds, &calls);
  assert_int_equal(calls, 1);
  anas_team_profile_get(count_up, &seconds, &calls);
  assert_int_equal(calls, 0);
  anas_team_profile(1);
  anas_team_profile_get(work_a_little, &seconds, &calls);
  assert_int_equal(calls, 0);
  anas_team_profile(0);
  anas_team_shutdown();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_iteration_once),
      cmocka_unit_test(test_after_idle),
      cmocka_unit_test(test_nested_runs_inline),
      cmocka_unit_test(test_concurrent_callers),
      cmocka_unit_test(test_split_is_contiguous_and_even),
      cmocka_unit_test(test_fork),
      cmocka_unit_test(test_profile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
