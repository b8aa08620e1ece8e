// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Latency: one thread on one core, one measurement at a time on the machine, candidate and seed model in alternation so
// that what disturbs one disturbs the other. Every timed run follows an untimed one of the same program: the caches
// hold what that one left, whatever ran before it.
#include "tools/anas-search/latency.h"

#include "runtime/init.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_FILE P_tmpdir "/anas-latency.lock" // of the machine, whoever measures
#define WARM_UP 2
#define MIN_RUNS 31
#define MAX_RUNS 5000
#define SLOW_RUNS 7 // of programs that are too slow for MIN_RUNS
#define MAX_SECONDS 5.0
#define SPREAD 0.02
#define ATTEMPTS 4

// ---- statistics

static int by_size(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

// The interval of the median comes from ranks: so many of n values are below it with a probability of 95 %.
struct latency latency_of(double *seconds, int count) {
  qsort(seconds, (size_t)count, sizeof *seconds, by_size);
  double half = 0.98 * sqrt((double)count), middle = 0.5 * (double)(count - 1);
  int low = (int)fmax(0, floor(middle - half)), high = (int)fmin(count - 1, ceil(middle + half));
  struct latency out = {.p50 = 0.5 * (seconds[(count - 1) / 2] + seconds[count / 2]),
                        .p95 = seconds[(int)ceil(0.95 * (double)count) - 1]};
  out.spread = out.p50 > 0 ? 0.5 * (seconds[high] - seconds[low]) / out.p50 : 0;
  return out;
}

// ---- a quiet machine

// The descriptor that holds the lock, -1 where there can be none: measuring goes on without.
static int lock_machine(void) {
  int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW, fd = open(LOCK_FILE, flags);
  if (fd < 0 && errno == ENOENT) {
    fd = open(LOCK_FILE, flags | O_CREAT, 0666);
    if (fd >= 0) fchmod(fd, 0666); // for other users, whatever the mask
  }
  if (fd < 0) return -1;
  int code;
  do
    code = flock(fd, LOCK_EX);
  while (code && errno == EINTR);
  return fd;
}

// Keeps the calling thread on the core it is on; -1 if that is not allowed.
static int pin(cpu_set_t *out_before) {
  int core = sched_getcpu();
  if (core < 0 || core >= CPU_SETSIZE || sched_getaffinity(0, sizeof *out_before, out_before)) return -1;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  return sched_setaffinity(0, sizeof one, &one) ? -1 : core;
}

// ---- measuring

struct subject {
  struct anas_program *program;
  void *input; // image and label regions, one behind the other: a run may use their storage for something else
  double *seconds;
};

static void subject_deinit(struct subject *subject) {
  free(subject->input);
  free(subject->seconds);
}

static anas_status subject_init(struct subject *subject, struct anas_program *program,
                                const struct anas_dataset *dataset) {
  const struct anas_program_image *info = anas_program_info(program);
  *subject = (struct subject){.program = program,
                              .input = anas_alloc(info->image.bytes + info->label.bytes),
                              .seconds = anas_calloc(MAX_RUNS, sizeof *subject->seconds)};
  int64_t count = dataset->train.count < info->batch ? dataset->train.count : info->batch;
  uint32_t *indices = anas_calloc((size_t)count, sizeof *indices);
  for (int64_t i = 0; i < count; i++)
    indices[i] = (uint32_t)i;
  anas_status status = anas_init_params(info, 0, anas_program_params(program));
  if (status == ANAS_OK)
    status = anas_batch_fill(dataset, &dataset->train, indices, count, info->batch, (struct anas_augment){0}, NULL,
                             subject->input, (int32_t *)((char *)subject->input + info->image.bytes));
  free(indices);
  return status;
}

static void fill_input(struct subject *subject) {
  const struct anas_program_image *info = anas_program_info(subject->program);
  char *arena = anas_program_arena(subject->program);
  memcpy(arena + info->image.offset, subject->input, info->image.bytes);
  memcpy(arena + info->label.offset, (char *)subject->input + info->image.bytes, info->label.bytes);
}

static long interruptions(void) {
  struct rusage usage;
  return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nivcsw;
}

// A run during which the core was given to another process says nothing about the program, and is made again; on a core
// that is never free the last attempt counts.
static double timed_run(struct subject *subject, int *repeated) {
  for (int attempt = 0;; attempt++) {
    fill_input(subject);
    anas_program_infer(subject->program);
    fill_input(subject);
    long before = interruptions();
    double start = anas_now();
    anas_program_infer(subject->program);
    double seconds = anas_now() - start;
    if (interruptions() == before || attempt == ATTEMPTS - 1) return seconds;
    (*repeated)++;
  }
}

static bool enough(const struct subject subjects[2], double *sorted, int runs, double elapsed) {
  if (runs == MAX_RUNS || (elapsed > MAX_SECONDS && runs >= SLOW_RUNS)) return true;
  // Statistics cost more than a run: they are taken when the number of runs has doubled.
  if (runs < MIN_RUNS || (runs & (runs + 1))) return false;
  for (int i = 0; i < 2; i++) {
    memcpy(sorted, subjects[i].seconds, (size_t)runs * sizeof *sorted);
    if (latency_of(sorted, runs).spread > SPREAD) return false;
  }
  return true;
}

static void alternate(struct subject subjects[2], struct latency_report *report) {
  double *sorted = anas_calloc(MAX_RUNS, sizeof *sorted);
  int ignored = 0;
  for (int n = 0; n < 2 * WARM_UP; n++)
    timed_run(&subjects[n % 2], &ignored);
  double start = anas_now();
  do {
    for (int i = 0; i < 2; i++)
      subjects[i].seconds[report->runs] = timed_run(&subjects[i], &report->repeated);
    report->runs++;
  } while (!enough(subjects, sorted, report->runs, anas_now() - start));
  report->candidate = latency_of(subjects[0].seconds, report->runs);
  report->seed = latency_of(subjects[1].seconds, report->runs);
  free(sorted);
}

static struct latency_report measure(struct subject subjects[2]) {
  struct latency_report report = {0};
  double start = anas_now();
  anas_team_set_size(1);
  int lock = lock_machine();
  report.waited = anas_now() - start;
  cpu_set_t before;
  report.core = pin(&before);
  alternate(subjects, &report);
  if (report.core >= 0) sched_setaffinity(0, sizeof before, &before);
  if (lock >= 0) close(lock);
  return report;
}

anas_status latency_measure(struct anas_program *candidate, struct anas_program *seed,
                            const struct anas_dataset *dataset, struct latency_report *out) {
  struct subject subjects[2] = {0};
  anas_status status = subject_init(&subjects[0], candidate, dataset);
  if (status == ANAS_OK) status = subject_init(&subjects[1], seed, dataset);
  struct latency_report report = {0};
  if (status == ANAS_OK) report = measure(subjects);
  for (int i = 0; i < 2; i++)
    subject_deinit(&subjects[i]);
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(anas_program_status(candidate));
  ANAS_RETURN_IF_ERROR(anas_program_status(seed));
  *out = report;
  return ANAS_OK;
}
