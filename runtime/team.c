// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Fork-join thread team. A job is cut into one contiguous share per thread. Every share has a claim word; whoever moves
// it from the previous generation to the current one runs the share. Workers claim only their own share; the caller,
// once done with its own, claims those that no worker has started, so a worker that sleeps or lost its processor costs
// nothing but parallelism. The caller waits only for shares that are running.
#include "runtime/team.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_THREADS 256
#define CACHE_LINE 64
// Pause instructions (20-60 ns each) before a thread sleeps: bridges the gap between two kernels, and bounds what an
// idle team or one without enough processors wastes to about 50 us.
#define SPIN_LIMIT 1500

struct job {
  anas_kernel_range body;
  void **operands;
  int64_t count;
  int shares;
};

struct worker {
  _Alignas(CACHE_LINE) atomic_uint claim; // generation of the last job whose share was taken
  pthread_t thread;
  int index; // share number; 0 is the caller
};

static struct {
  _Alignas(CACHE_LINE) atomic_uint generation; // futex of the workers
  atomic_uint sleepers;
  _Alignas(CACHE_LINE) atomic_uint pending; // shares of this generation not finished; futex of the caller
  atomic_uint caller_sleeps;
  _Alignas(CACHE_LINE) struct job job; // written only while no share is claimed
  atomic_bool stop;
  pid_t owner; // process that started the threads; a forked child has none of them
  int threads; // running threads including the caller; 0: not started
  struct worker worker[MAX_THREADS];
} team;

static atomic_flag busy = ATOMIC_FLAG_INIT; // held by the thread that owns the team
static atomic_int wanted;                   // 0: default

struct profile_entry {
  anas_kernel_range body;
  double seconds;
  int64_t calls;
};
static struct {
  atomic_int enabled;
  struct profile_entry *entries; // open addressing; capacity is a power of two
  size_t count, capacity;
} profile;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void futex_wait(atomic_uint *word, unsigned expected) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, int threads) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

static void run_share(int share) {
  const struct job *job = &team.job;
  int64_t begin = (int64_t)((__int128)job->count * share / job->shares);
  int64_t end = (int64_t)((__int128)job->count * (share + 1) / job->shares);
  if (begin < end) job->body(job->operands, begin, end);
}

// True if the caller of this function now owns the share for this generation.
static bool claim_share(int share, unsigned generation) {
  unsigned previous = generation - 1;
  return atomic_compare_exchange_strong_explicit(&team.worker[share].claim, &previous, generation, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

static void *worker_main(void *data) {
  struct worker *worker = data;
  unsigned seen = atomic_load_explicit(&worker->claim, memory_order_relaxed);
  for (;;) {
    unsigned now = seen;
    for (int i = 0; i < SPIN_LIMIT; i++) {
      now = atomic_load_explicit(&team.generation, memory_order_acquire);
      if (now != seen) break;
      relax();
    }
    if (now == seen) {
      // Sequentially consistent against the caller's "publish generation, read sleepers": one of the two sees the
      // other.
      atomic_fetch_add(&team.sleepers, 1);
      while ((now = atomic_load(&team.generation)) == seen)
        futex_wait(&team.generation, seen);
      atomic_fetch_sub(&team.sleepers, 1);
    }
    if (atomic_load_explicit(&team.stop, memory_order_acquire)) return NULL;
    seen = now;
    if (!claim_share(worker->index, now)) continue; // the caller has run it
    run_share(worker->index);
    if (atomic_fetch_sub(&team.pending, 1) == 1 && atomic_load(&team.caller_sleeps)) futex_wake(&team.pending, 1);
  }
}

static int available_processors(void) {
  cpu_set_t set;
  if (!sched_getaffinity(0, sizeof set, &set)) return CPU_COUNT(&set);
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (int)n : 1;
}

int anas_team_size(void) {
  int size = atomic_load(&wanted);
  if (!size) {
    const char *text = getenv("ANAS_NUM_THREADS");
    char *end = NULL;
    long value = text && *text ? strtol(text, &end, 10) : 0;
    size = value > 0 && !*end ? (value > MAX_THREADS ? MAX_THREADS : (int)value) : available_processors();
    if (size > MAX_THREADS) size = MAX_THREADS;
    int unset = 0;
    if (!atomic_compare_exchange_strong(&wanted, &unset, size)) size = unset;
  }
  return size;
}

// Forgets the threads of another process after a fork: they do not exist here.
static void drop_foreign_threads(void) {
  if (!team.threads || team.owner == getpid()) return;
  team.threads = 0;
  atomic_store(&team.sleepers, 0);
}

// With busy held.
static void stop_threads(void) {
  drop_foreign_threads();
  if (team.threads) {
    atomic_store(&team.stop, true);
    atomic_fetch_add(&team.generation, 1);
    futex_wake(&team.generation, MAX_THREADS);
    for (int i = 1; i < team.threads; i++)
      pthread_join(team.worker[i].thread, NULL);
    team.threads = 0;
  }
}

// With busy held. A thread that cannot be created only makes the team smaller.
static void start_threads(void) {
  int size = anas_team_size();
  atomic_store(&team.stop, false);
  team.owner = getpid();
  team.threads = 1;
  unsigned generation = atomic_load(&team.generation);
  for (int i = 1; i < size; i++) {
    struct worker *worker = &team.worker[i];
    worker->index = i;
    atomic_store(&worker->claim, generation);
    if (pthread_create(&worker->thread, NULL, worker_main, worker)) break;
    team.threads++;
  }
}

static void acquire_team(void) {
  while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
    sched_yield();
}

static void release_team(void) {
  atomic_flag_clear_explicit(&busy, memory_order_release);
}

void anas_team_set_size(int threads) {
  if (threads < 1) threads = 1;
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  acquire_team();
  if (team.threads && team.threads != threads) stop_threads();
  atomic_store(&wanted, threads);
  release_team();
}

void anas_team_shutdown(void) {
  acquire_team();
  stop_threads();
  release_team();
}

static void wait_for_pending(void) {
  for (int i = 0; i < SPIN_LIMIT; i++) {
    if (!atomic_load_explicit(&team.pending, memory_order_acquire)) return;
    relax();
  }
  atomic_store(&team.caller_sleeps, 1);
  unsigned left;
  while ((left = atomic_load(&team.pending)))
    futex_wait(&team.pending, left);
  atomic_store(&team.caller_sleeps, 0);
}

// With busy held and more than one thread running.
static void fork_join(anas_kernel_range body, void **operands, int64_t count) {
  int shares = team.threads;
  team.job = (struct job){body, operands, count, shares};
  atomic_store_explicit(&team.pending, (unsigned)shares - 1, memory_order_relaxed);
  unsigned generation = atomic_fetch_add(&team.generation, 1) + 1;
  if (atomic_load(&team.sleepers)) futex_wake(&team.generation, shares - 1);
  run_share(0);
  for (int i = 1; i < shares; i++) {
    if (!claim_share(i, generation)) continue;
    run_share(i);
    atomic_fetch_sub_explicit(&team.pending, 1, memory_order_acq_rel);
  }
  wait_for_pending();
}

static size_t profile_slot(const struct profile_entry *entries, size_t capacity, anas_kernel_range body) {
  size_t i = (size_t)(((uintptr_t)body >> 4) * 0x9e3779b97f4a7c15u) & (capacity - 1);
  while (entries[i].body && entries[i].body != body)
    i = (i + 1) & (capacity - 1);
  return i;
}

static void profile_add(anas_kernel_range body, double seconds) {
  if (2 * (profile.count + 1) > profile.capacity) {
    size_t capacity = profile.capacity ? 2 * profile.capacity : 256;
    struct profile_entry *entries = anas_calloc(capacity, sizeof *entries);
    for (size_t i = 0; i < profile.capacity; i++)
      if (profile.entries[i].body)
        entries[profile_slot(entries, capacity, profile.entries[i].body)] = profile.entries[i];
    free(profile.entries);
    profile.entries = entries;
    profile.capacity = capacity;
  }
  struct profile_entry *entry = &profile.entries[profile_slot(profile.entries, profile.capacity, body)];
  if (!entry->body) {
    entry->body = body;
    profile.count++;
  }
  entry->seconds += seconds;
  entry->calls++;
}

void anas_parallel_for(anas_kernel_range body, void **operands, int64_t count, int32_t parallel) {
  if (count <= 0) return;
  bool profiled = atomic_load_explicit(&profile.enabled, memory_order_relaxed);
  bool split = parallel && count > 1;
  // A team in use means a nested call or a second thread that runs a program: run on the caller.
  if ((!split && !profiled) || atomic_flag_test_and_set_explicit(&busy, memory_order_acquire)) {
    body(operands, 0, count);
    return;
  }
  if (split && !team.threads) start_threads();
  bool forked = split && team.threads > 1;
  // What one thread does is measured in its processor time, which other processes do not stretch.
  double (*clock_now)(void) = forked ? anas_now : anas_thread_time;
  double start = profiled ? clock_now() : 0;
  if (forked)
    fork_join(body, operands, count);
  else
    body(operands, 0, count);
  if (profiled) profile_add(body, clock_now() - start);
  release_team();
}

void anas_team_profile(int enable) {
  acquire_team();
  atomic_store(&profile.enabled, enable != 0);
  if (enable) {
    free(profile.entries);
    profile.entries = NULL;
    profile.count = profile.capacity = 0;
  }
  release_team();
}

int anas_team_profiling(void) {
  return atomic_load_explicit(&profile.enabled, memory_order_relaxed);
}

void anas_team_profile_add(anas_kernel_range body, double seconds) {
  acquire_team();
  profile_add(body, seconds);
  release_team();
}

void anas_team_profile_get(anas_kernel_range body, double *out_seconds, int64_t *out_calls) {
  *out_seconds = 0;
  *out_calls = 0;
  acquire_team();
  if (profile.capacity) {
    const struct profile_entry *entry = &profile.entries[profile_slot(profile.entries, profile.capacity, body)];
    if (entry->body) {
      *out_seconds = entry->seconds;
      *out_calls = entry->calls;
    }
  }
  release_team();
}
