// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Counters of passes. MLIR's own statistics are compiled out of release builds and closed to external passes.
#include "passes/statistics.h"

#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct counter {
  char *name;
  int64_t value;
};

struct run {
  char *pass;
  struct counter *counters;
  int num_counters;
  size_t capacity;
};

struct anas_statistics {
  pthread_mutex_t lock; // sibling modules may run a pass at the same time
  struct run *runs;
  int num_runs;
  size_t capacity;
};

// The run in progress on this thread.
static _Thread_local struct anas_statistics *current;
static _Thread_local int current_run;

struct anas_statistics *anas_statistics_create(void) {
  struct anas_statistics *statistics = anas_alloc(sizeof *statistics);
  pthread_mutex_init(&statistics->lock, NULL);
  return statistics;
}

void anas_statistics_destroy(struct anas_statistics *statistics) {
  if (!statistics) return;
  for (int i = 0; i < statistics->num_runs; i++) {
    for (int k = 0; k < statistics->runs[i].num_counters; k++)
      free(statistics->runs[i].counters[k].name);
    free(statistics->runs[i].counters);
    free(statistics->runs[i].pass);
  }
  free(statistics->runs);
  pthread_mutex_destroy(&statistics->lock);
  free(statistics);
}

static void add(struct anas_statistics *statistics, int index, const char *name, int64_t amount) {
  pthread_mutex_lock(&statistics->lock);
  struct run *run = &statistics->runs[index];
  int k = 0;
  while (k < run->num_counters && strcmp(run->counters[k].name, name))
    k++;
  if (k == run->num_counters) {
    run->counters = anas_grow(run->counters, (size_t)k, &run->capacity, sizeof *run->counters);
    run->counters[run->num_counters++] = (struct counter){.name = anas_strdup(name)};
  }
  run->counters[k].value += amount;
  pthread_mutex_unlock(&statistics->lock);
}

static MlirWalkResult count_operation(MlirOperation operation, void *count) {
  (void)operation;
  ++*(int64_t *)count;
  return MlirWalkResultAdvance;
}

static int64_t operations(MlirModule module) {
  int64_t count = 0;
  mlirOperationWalk(mlirModuleGetOperation(module), count_operation, &count, MlirWalkPreOrder);
  return count - 1; // without the module itself
}

int anas_statistics_begin(struct anas_statistics *statistics, const char *pass, MlirModule module) {
  if (!statistics) return -1;
  pthread_mutex_lock(&statistics->lock);
  int index = statistics->num_runs;
  statistics->runs = anas_grow(statistics->runs, (size_t)index, &statistics->capacity, sizeof *statistics->runs);
  statistics->runs[statistics->num_runs++] = (struct run){.pass = anas_strdup(pass)};
  pthread_mutex_unlock(&statistics->lock);
  current = statistics;
  current_run = index;
  add(statistics, index, "operations before", operations(module));
  return index;
}

void anas_statistics_end(struct anas_statistics *statistics, int run, MlirModule module) {
  if (!statistics) return;
  add(statistics, run, "operations after", operations(module));
  current = NULL;
}

void anas_pass_count(const char *name, int64_t amount) {
  if (current) add(current, current_run, name, amount);
}

void anas_statistics_print(const struct anas_statistics *statistics, struct anas_strbuf *out) {
  anas_strbuf_adds(out, "===- Pass statistics -===\n");
  for (int i = 0; i < statistics->num_runs; i++) {
    anas_strbuf_addf(out, "%s\n", statistics->runs[i].pass);
    for (int k = 0; k < statistics->runs[i].num_counters; k++)
      anas_strbuf_addf(out, "  %10lld  %s\n", (long long)statistics->runs[i].counters[k].value,
                       statistics->runs[i].counters[k].name);
  }
}
