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
#define BATCH 20   // calls between two looks at the clock, which costs some 20 ns

// The caller runs the shares of threads that have not started by the time it is done itself, so a latency alone may
// mean that nobody else took part.
static pthread_t caller;
static atomic_llong shares_of_others;

static void nothing(void **operands, int64_t begin, int64_t end) {
  (void)operands, (void)begin, (void)end;
  if (!pthread_equal(pthread_self(), caller)) atomic_fetch_add_explicit(&shares_of_others, 1, memory_order_relaxed);
}

// Seconds of one call in each batch, in a row as kernel functions follow each other in a step; ascending.
static void measure(struct samples *samples, int32_t parallel) {
  for (int i = -WARM_UP; i < BATCHES; i++) {
    double start = anas_now();
    for (int call = 0; call < BATCH; call++)
      anas_parallel_for(nothing, NULL, 1024, parallel);
    if (i >= 0) samples_add(samples, (anas_now() - start) / BATCH);
  }
}

// The first call after a pause, for which the threads have gone to sleep.
static void measure_asleep(struct samples *samples) {
  for (int i = 0; i < 100; i++) {
    usleep(2000);
    double start = anas_now();
    anas_parallel_for(nothing, NULL, 1024, 1);
    samples_add(samples, anas_now() - start);
  }
}

static anas_status run(const struct options *options) {
  ANAS_RETURN_IF_ERROR(print_machine(options, NULL));
  struct samples forked = {0}, serial = {0}, asleep = {0};
  caller = pthread_self();
  measure(&serial, 0);
  measure(&forked, 1);
  double others = (double)(anas_team_size() - 1) * BATCH * (BATCHES + WARM_UP);
  double taken = others > 0 ? (double)atomic_load(&shares_of_others) / others : 0;
  measure_asleep(&asleep);
  double serial_us = samples_median(&serial) * 1e6, forked_us = samples_median(&forked) * 1e6; // sorted now
  print_json(json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "bench", "threads", "threads", anas_team_size(),
                       "fork_join_us", forked_us, "fork_join_p10_us", forked.value[forked.count / 10] * 1e6,
                       "fork_join_p90_us", forked.value[forked.count * 9 / 10] * 1e6, "shares_taken_by_others", taken,
                       "asleep_us", samples_median(&asleep) * 1e6, "call_us", serial_us, "load", load_average()));
  samples_deinit(&forked);
  samples_deinit(&serial);
  samples_deinit(&asleep);
  return ANAS_OK;
}

const struct command command_threads = {
    .name = "threads",
    .summary = "latency of the thread team",
    .run = run,
};
