// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How many trials run at the same time, and with how many threads each, where nobody says so. A thread that waits for
// others trains nothing: trials get more than one thread only as far as the step of the seed model gains by it, else
// there are more trials. The seed's step is compiled for that in a process of its own; the first trial finds the kernel
// functions in the object cache.
#include "tools/anas-search/packing.h"

#include "passes/lower/compile.h"
#include "runtime/support/file.h"
#include "runtime/team.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct plan { // of the seed model's step
  bool known;
  int64_t bytes;                          // arena and parameters
  double speedup[MAX_PACKING_PROCESSORS]; // with index + 1 threads
};

// ---- the plan

static anas_status compile_seed(struct search *search, int processors, struct plan *out) {
  struct anas_compile_options options;
  ANAS_RETURN_IF_ERROR(search_compile_options(&search->options, processors, &options));
  MlirModule module;
  ANAS_RETURN_IF_ERROR(anas_model_export(search->seed, search->context, &module));
  struct anas_program_image image;
  ANAS_RETURN_IF_ERROR(anas_compile(module, &options, &image));
  out->known = true;
  out->bytes = (int64_t)(image.arena_bytes + image.params_bytes);
  for (int threads = 1; threads <= processors; threads++)
    out->speedup[threads - 1] = anas_predict_speedup(&image, threads);
  return ANAS_OK;
}

__attribute__((noreturn)) static void child(struct search *search, int processors, int fd, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1); // the parent died before the line above
  struct plan plan = {0};
  anas_status status = compile_seed(search, processors, &plan);
  ssize_t wrote = status == ANAS_OK ? write(fd, &plan, sizeof plan) : 0; // less than a pipe holds
  _exit(wrote == sizeof plan ? 0 : 1);
}

// Not known if the seed model cannot be compiled: its trial will say why.
static struct plan plan_seed(struct search *search, int processors) {
  struct plan plan = {0};
  int ends[2];
  if (pipe(ends)) return plan;
  fflush(NULL);
  pid_t parent = getpid(), pid = fork();
  if (!pid) {
    close(ends[0]);
    child(search, processors, ends[1], parent);
  }
  close(ends[1]);
  if (pid < 0 || read(ends[0], &plan, sizeof plan) != sizeof plan) plan.known = false;
  close(ends[0]);
  if (pid > 0) waitpid(pid, NULL, 0);
  return plan;
}

// ---- memory

// Number after a name at the start of a line of a file of /proc; 0 if there is none.
static int64_t kilobytes(const char *path, const char *name) {
  FILE *file = fopen(path, "re");
  char line[256];
  long long found = 0;
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, name, strlen(name))) found = strtoll(line + strlen(name), NULL, 10);
  if (file) fclose(file);
  return found;
}

// A file that holds one number; -1 if there is none.
static int64_t number_in(const char *path) {
  char *text, *end;
  size_t size;
  if (anas_file_read(path, &text, &size) != ANAS_OK) return -1;
  int64_t number = strtoll(text, &end, 10);
  if (end == text) number = -1; // "max"
  free(text);
  return number;
}

// Bytes that processes may still take, of the machine or of the control group (v2).
static int64_t free_memory(void) {
  int64_t bytes = kilobytes("/proc/meminfo", "MemAvailable:") * 1024;
  int64_t limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  if (limit > 0 && used >= 0 && limit - used < bytes) bytes = limit - used;
  return bytes;
}

// ---- the decision

int search_trial_threads(const struct search_options *options) {
  int64_t threads = options->threads ? options->threads : anas_team_size() / options->workers;
  return threads > 1 ? (int)threads : 1;
}

// Decisions look at the results of all trials but those under way: not more than a quarter of a search should be
// decided in the dark, nor more than its options allow.
static int64_t most_workers(const struct search_options *options) {
  if (options->tune) return 1; // measures
  if (options->synchronous) return options->synchronous;
  return options->in_flight ? options->in_flight : 1 + options->trials / 8;
}

void search_pack(struct search *search) {
  struct search_options *o = &search->options;
  if (o->workers != WORKERS_AUTOMATIC) return;
  o->workers = 1;
  int processors = anas_team_size();
  int64_t most = most_workers(o);
  if (strcmp(o->evaluator, "train") || processors < 2 || most < 2) return;
  if (processors > MAX_PACKING_PROCESSORS) processors = MAX_PACKING_PROCESSORS;
  struct plan plan = plan_seed(search, processors);
  if (!plan.known) return;
  struct packing_facts facts = {
      .processors = processors,
      .threads = (int)o->threads,
      .speedup = plan.speedup,
      .planned_bytes = plan.bytes,
      .free_bytes = free_memory(),
      .memory_limit = o->memory_limit,
      .most = most,
  };
  o->workers = packing_trials(&facts);
  search->packing.automatic = true;
  search->packing.speedup = plan.speedup[processors - 1];
  search->packing.planned_bytes = plan.bytes;
}
