// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Groups of kernels: calls are noted as they come and carried out at the end of the group, or when the notes are full.
// The order of calls that share no slabs is kept, and a group may be carried out in pieces: what is promised of all of
// its kernels holds for some of them.
#include "runtime/group.h"

#include "runtime/support/file.h"

#include <stdbool.h>
#include <string.h>

#define MAX_CALLS 24
#define MAX_OPERANDS 384 // of all calls together

struct call {
  anas_kernel_range body;
  void **operands;
  int64_t count, leading;
  int32_t parallel;
  double seconds; // profiling
};

struct group {
  int64_t slabs; // 0: none is open
  int num_calls, num_operands;
  struct call call[MAX_CALLS];
  void *operand[MAX_OPERANDS];
};

struct run { // calls in step
  struct call *call;
  int num;
  int64_t slabs;
  bool profiled;
};

static _Thread_local struct group group;

static void run_slabs(void **data, int64_t begin, int64_t end) {
  const struct run *run = (const struct run *)data;
  double now = run->profiled ? anas_now() : 0;
  for (int64_t slab = begin; slab < end; slab++)
    for (int i = 0; i < run->num; i++) {
      struct call *call = &run->call[i];
      int64_t part = call->count / run->slabs;
      call->body(call->operands, slab * part, (slab + 1) * part);
      if (!run->profiled) continue;
      double before = now;
      now = anas_now();
      call->seconds += now - before;
    }
}

// On the caller alone. The processor time of all of them is shared out by what each took of the clock's time.
static void run_profiled(struct run *run) {
  for (int i = 0; i < run->num; i++)
    run->call[i].seconds = 0;
  double start = anas_thread_time();
  run_slabs((void **)run, 0, run->slabs);
  double used = anas_thread_time() - start, sum = 0;
  for (int i = 0; i < run->num; i++)
    sum += run->call[i].seconds;
  for (int i = 0; i < run->num; i++)
    anas_team_profile_add(run->call[i].body, sum > 0 ? run->call[i].seconds / sum * used : 0);
}

static bool in_step(const struct call *call, int64_t slabs) {
  return call->leading > 0 && call->leading % slabs == 0 && call->count % call->leading == 0;
}

static void flush(void) {
  // With fewer slabs than that, kernels that are split on their own keep more threads busy.
  bool enough = anas_team_size() == 1 || group.slabs >= 4 * (int64_t)anas_team_size();
  for (int first = 0, next; first < group.num_calls; first = next) {
    struct call *call = &group.call[first];
    bool parallel = false;
    for (next = first; next < group.num_calls && enough && in_step(&group.call[next], group.slabs); next++)
      parallel |= group.call[next].parallel != 0;
    if (next - first < 2) {
      anas_parallel_for(call->body, call->operands, call->count, call->parallel);
      next = first + 1;
      continue;
    }
    struct run run = {.call = call, .num = next - first, .slabs = group.slabs, .profiled = anas_team_profiling()};
    if (run.profiled)
      run_profiled(&run);
    else
      anas_parallel_for(run_slabs, (void **)&run, run.slabs, parallel);
  }
  group.num_calls = group.num_operands = 0;
}

void anas_launch(anas_kernel_range body, void **operands, int32_t num_operands, int64_t count, int64_t leading,
                 int32_t parallel) {
  if (count <= 0) return;
  if (!group.slabs || num_operands > MAX_OPERANDS) {
    flush();
    anas_parallel_for(body, operands, count, parallel);
    return;
  }
  if (group.num_calls == MAX_CALLS || group.num_operands + num_operands > MAX_OPERANDS) flush();
  void **copy = &group.operand[group.num_operands];
  memcpy(copy, operands, sizeof *operands * (size_t)num_operands);
  group.num_operands += num_operands;
  group.call[group.num_calls++] = (struct call){body, copy, count, leading, parallel, 0};
}

void anas_group_begin(int64_t slabs) {
  group.slabs = slabs;
}

void anas_group_end(void) {
  flush();
  group.slabs = 0;
}
