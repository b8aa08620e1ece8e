// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-bench threads: what it costs to start a kernel function on all threads and wait for it.
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"
#include "tools/anas-bench/bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCHES 2000
#define WARM_UP 10 // batches
#define WORK 5000  // turns of a share, some 3 us: long enough that the other threads have time to take theirs
#define BATCH 20   // calls between two looks at the clock, which costs some 20 ns

// The caller runs the shares of threads that have not started by the time it is done itself, so a latency alone may
// mean that nobody else took part.
static pthread_t caller;
static atomic_llong shares_of_others;

static void nothing(void **operands, int64_t begin, int64_t end) {
  (void)operands, (void)begin, (void)end;
}

static void work(void **operands, int64_t begin, int64_t end) {
  (void)operands;
  for (int64_t share = begin; share < end; share++)
    for (int i = 0; i < WORK; i++) {
      uint64_t x = (uint64_t)i;
      __asm__ volatile("" : "+r"(x)); // keeps the loop
    }
  if (!pthread_equal(pthread_self(), caller)) atomic_fetch_add_explicit(&shares_of_others, 1, memory_order_relaxed);
}

// Seconds of one call in each batch, in a row as kernel functions follow each other in a step; ascending.
static void measure(struct samples *samples, anas_kernel_range body, int64_t count, int32_t parallel) {
  for (int i = -WARM_UP; i < BATCHES; i++) {
    double start = anas_now();
    for (int call = 0; call < BATCH; call++)
      anas_parallel_for(body, NULL, count, parallel);
    if (i >= 0) samples_add(samples, (anas_now() - start) / BATCH);
  }
}

// The first call after a pause, for which the threads have gone to sleep.
static void measure_asleep(struct samples *samples) {
  for (int i = 0; i < 100; i++) {
    usleep(2000);
    double start = anas_now();
    anas_parallel_for(nothing, NULL, anas_team_size(), 1);
    samples_add(samples, anas_now() - start);
  }
}

static anas_status run(const struct options *options) {
  ANAS_RETURN_IF_ERROR(print_machine(options, NULL));
  struct samples forked = {0}, alone = {0}, empty = {0}, serial = {0}, asleep = {0};
  caller = pthread_self();
  measure(&serial, nothing, anas_team_size(), 0);
  measure(&empty, nothing, anas_team_size(), 1);
  measure(&alone, work, 1, 0); // what a share costs
  measure(&forked, work, anas_team_size(), 1);
  double others = (double)(anas_team_size() - 1) * BATCH * (BATCHES + WARM_UP);
  double taken = others > 0 ? (double)atomic_load(&shares_of_others) / others : 0;
  measure_asleep(&asleep);
  double share_us = samples_median(&alone) * 1e6, forked_us = samples_median(&forked) * 1e6; // sorted now
  json_t *line = json_pack("{s:s, s:i, s:f, s:f, s:f}", "bench", "threads", "threads", anas_team_size(), "fork_join_us",
                           forked_us - share_us, "fork_join_p10_us", forked.value[forked.count / 10] * 1e6 - share_us,
                           "fork_join_p90_us", forked.value[forked.count * 9 / 10] * 1e6 - share_us);
  json_object_set_new(line, "share_us", json_real(share_us));
  json_object_set_new(line, "shares_taken_by_others", json_real(taken));
  json_object_set_new(line, "empty_us", json_real(samples_median(&empty) * 1e6));
  json_object_set_new(line, "asleep_us", json_real(samples_median(&asleep) * 1e6));
  json_object_set_new(line, "call_us", json_real(samples_median(&serial) * 1e6));
  json_object_set_new(line, "load", json_real(load_average()));
  print_json(line);
  samples_deinit(&forked);
  samples_deinit(&alone);
  samples_deinit(&empty);
  samples_deinit(&serial);
  samples_deinit(&asleep);
  return ANAS_OK;
}

const struct command command_threads = {
    .name = "threads",
    .summary = "latency of the thread team",
    .run = run,
};
