// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A trial runs in a forked process of its own group with limits on memory and time, so that a crash, a hang or a leak
// ends one trial. Results come back as JSON lines through a pipe; everything printed goes to output.txt.
#include "tools/anas-search/pruners/pruner.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK_SECONDS 0.1 // between two looks at the limits of a process
#define GRACE_SECONDS 3.0 // between SIGTERM and SIGKILL
#define MAX_KILLS 5       // from outside, before it is the candidate's fault (the system may have run out of memory)

static double wall_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Memory of the machine, or of the control group (v2) this process lives in if that is less; bytes.
static int64_t machine_memory(void) {
  int64_t bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  char *text;
  size_t size;
  if (anas_file_read("/sys/fs/cgroup/memory.max", &text, &size) != ANAS_OK) return bytes;
  long long group = atoll(text); // "max": 0
  free(text);
  return group > 0 && group < bytes ? group : bytes;
}

// Without --memory-limit the workers share nine tenths of the machine: a candidate that wants more must not take the
// search, or the machine, down with it.
static int64_t memory_limit(const struct search_options *options) {
  return options->memory_limit ? options->memory_limit : machine_memory() / 10 * 9 / options->workers;
}

// ---- the child

__attribute__((noreturn)) static void child(struct search *search, int64_t number, int fd, int output, pid_t parent,
                                            int64_t limit) {
  setpgid(0, 0); // Ctrl-C on the terminal is the parent's business
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1); // the parent died before the line above
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  trial_isolate(limit, search->options.disk_limit);
  evaluate_trial(search, number, limit, fd);
}

anas_status trial_start(struct search *search, int64_t number, struct trial_process *out) {
  char *path = study_trial_path(study_path(search->study), number, "output.txt");
  int output = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  anas_status status = output < 0 ? anas_fail(ANAS_IO, "cannot create '%s': %s", path, strerror(errno)) : ANAS_OK;
  free(path);
  if (status != ANAS_OK) return status;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) {
    close(output);
    return anas_fail(ANAS_IO, "cannot create a pipe: %s", strerror(errno));
  }
  int64_t limit = memory_limit(&search->options);
  fflush(NULL); // what is buffered must not be printed twice
  pid_t parent = getpid(), pid = fork();
  if (!pid) {
    close(ends[0]);
    child(search, number, ends[1], output, parent, limit);
  }
  close(ends[1]);
  close(output);
  if (pid < 0) {
    close(ends[0]);
    return anas_fail(ANAS_IO, "cannot start a process: %s", strerror(errno));
  }
  setpgid(pid, pid); // also here: a signal may be sent before the child got to it
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  double now = anas_now();
  *out = (struct trial_process){
      .number = number,
      .pid = pid,
      .fd = ends[0],
      .pidfd = (int)syscall(SYS_pidfd_open, pid, 0), // -1 on kernels before 5.3: the end is noticed by the clock
      .started = now,
      .deadline = search->options.trial_timeout > 0 ? now + search->options.trial_timeout : 0,
      .memory_limit = limit,
      .disk_limit = search->options.disk_limit,
      .loss = NAN,
      .val_accuracy = NAN,
  };
  return ANAS_OK;
}

// ---- what the child says

static double number_of(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

static int64_t integer_of(const json_t *object, const char *key) {
  return (int64_t)json_integer_value(json_object_get(object, key));
}

static void take_result(const json_t *object, struct trial_process *process, struct study_trial *trial) {
  static const struct {
    const char *name;
    enum study_state state;
  } states[] = {
      {"ok", STUDY_COMPLETE},     {"diverged", STUDY_DIVERGED},   {"no-memory", STUDY_OOM},
      {"invalid", STUDY_INVALID}, {"unsupported", STUDY_INVALID}, {"internal", STUDY_CRASHED},
      {"paused", STUDY_PAUSED},   {"pruned", STUDY_PRUNED},
  };
  const char *status = json_string_value(json_object_get(object, "status"));
  trial->state = STUDY_CRASHED;
  for (size_t i = 0; status && i < sizeof states / sizeof *states; i++)
    if (!strcmp(states[i].name, status)) trial->state = states[i].state;
  const char *message = json_string_value(json_object_get(object, "message"));
  free(trial->reason);
  trial->reason = message ? anas_strdup(message) : NULL;
  process->no_space = trial->state == STUDY_CRASHED && message &&
                      (strstr(message, strerror(ENOSPC)) || strstr(message, strerror(EDQUOT)));
  if (process->no_space) trial->state = STUDY_INTERRUPTED; // it would have been the same with any other candidate
  for (int m = 0; m < METRIC_NUM; m++)
    if (study_metrics[m].known != METRIC_FROM_MODEL) trial->metric[m] = number_of(object, study_metrics[m].name);
  trial->train_loss = number_of(object, "train_loss");
  trial->compile_seconds = number_of(object, "compile_seconds");
  trial->cache_hits = integer_of(object, "cache_hits");
  trial->cache_misses = integer_of(object, "cache_misses");
  trial->steps = integer_of(object, "steps");
  trial->peak_bytes = integer_of(object, "peak_bytes");
}

static void take_line(struct trial_process *process, const char *line, struct study_trial *trial) {
  json_t *object = json_loads(line, JSON_ALLOW_NUL, NULL);
  const char *event = json_string_value(json_object_get(object, "event"));
  if (event && !strcmp(event, "progress")) {
    process->epoch = integer_of(object, "epoch");
    process->epochs = integer_of(object, "epochs");
    process->step = integer_of(object, "step");
    process->steps = integer_of(object, "steps");
    process->loss = number_of(object, "loss");
    double accuracy = number_of(object, "val_accuracy");
    if (!isnan(accuracy)) process->val_accuracy = accuracy;
  } else if (event && !strcmp(event, "point")) {
    struct study_point *point = curve_point(trial, integer_of(object, "steps"));
    point->epochs = number_of(object, "epochs");
    point->accuracy = number_of(object, "accuracy");
    point->loss = number_of(object, "loss");
    point->rung = json_is_true(json_object_get(object, "rung"));
  } else if (event && !strcmp(event, "result")) {
    take_result(object, process, trial);
  }
  json_decref(object);
}

bool trial_read(struct trial_process *process, struct study_trial *trial) {
  char buffer[4096];
  ssize_t got;
  bool news = false;
  while (!process->silent && (got = read(process->fd, buffer, sizeof buffer)) >= 0) {
    process->silent = !got;
    for (ssize_t i = 0; i < got; i++) {
      if (buffer[i] != '\n') {
        anas_strbuf_add(&process->line, &buffer[i], 1);
        continue;
      }
      take_line(process, anas_strbuf_text(&process->line), trial);
      anas_strbuf_clear(&process->line);
      news = true;
    }
  }
  return news;
}

void trial_wait(const struct trial_process *running, int count) {
  struct pollfd *fds = anas_calloc((size_t)count * 2, sizeof *fds);
  for (int i = 0; i < count; i++) { // of negative ones nothing is expected
    fds[2 * i] = (struct pollfd){.fd = running[i].silent ? -1 : running[i].fd, .events = POLLIN};
    fds[2 * i + 1] = (struct pollfd){.fd = running[i].pidfd, .events = POLLIN};
  }
  poll(fds, (nfds_t)count * 2, (int)(CHECK_SECONDS * 1e3));
  free(fds);
}

// ---- limits and the end

static int64_t resident_bytes(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/statm", pid);
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  long long total = 0, resident = 0, shared = 0;
  int fields = fscanf(file, "%lld %lld %lld", &total, &resident, &shared);
  fclose(file);
  // File pages (libraries, the data set) are shared between trials and can be dropped at any time.
  return fields == 3 ? (resident - shared) * sysconf(_SC_PAGESIZE) : 0;
}

// What the process has written so far, to files and pipes.
static int64_t written_bytes(int pid) {
  char path[64], line[128];
  snprintf(path, sizeof path, "/proc/%d/io", pid);
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  long long bytes = 0;
  while (fgets(line, sizeof line, file))
    if (!strncmp(line, "wchar: ", 7)) bytes = strtoll(line + 7, NULL, 10);
  fclose(file);
  return bytes;
}

static void end(struct trial_process *process, double now) {
  if (!process->killed) {
    process->killed = now;
    kill(-process->pid, SIGTERM);
  } else if (now - process->killed > GRACE_SECONDS) {
    kill(-process->pid, SIGKILL);
  }
}

void trial_interrupt(struct trial_process *process) {
  process->interrupted = true;
}

static void enforce(struct trial_process *process) {
  double now = anas_now();
  if (now - process->checked < CHECK_SECONDS && !process->interrupted) return;
  process->checked = now;
  process->resident = resident_bytes(process->pid);
  if (process->deadline && now > process->deadline) process->timed_out = true;
  if (process->resident > process->memory_limit) process->over_memory = true;
  if (written_bytes(process->pid) > process->disk_limit) process->over_disk = true;
  if (process->timed_out || process->over_memory || process->over_disk || process->interrupted) end(process, now);
}

// Libraries that run out of memory abort; their last words tell.
static bool output_says_out_of_memory(const struct search *search, int64_t number) {
  char *path = study_trial_path(study_path(search->study), number, "output.txt"), *text;
  size_t size;
  anas_status status = anas_file_read(path, &text, &size);
  free(path);
  if (status != ANAS_OK) return false;
  const char *tail = size > 4096 ? text + size - 4096 : text;
  bool said = strstr(tail, "out of memory") || strstr(tail, "bad_alloc") || strstr(tail, "Cannot allocate memory");
  free(text);
  return said;
}

static void set_end(struct study_trial *trial, enum study_state state, char *reason /* consumed */) {
  free(trial->reason);
  trial->state = state;
  trial->reason = reason;
}

static void classify(struct search *search, struct trial_process *process, int wait_status, struct study_trial *trial) {
  const struct search_options *options = &search->options;
  bool reported = trial->state != STUDY_RUNNING;
  int sign = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
  if (reported && (sign == SIGKILL || (!sign && !WEXITSTATUS(wait_status)))) return; // a result is a result
  const char *limit_name = options->memory_limit ? "--memory-limit" : "this machine's share of a worker";
  double limit_mib = (double)process->memory_limit / (1 << 20);
  bool outside = sign == SIGKILL || sign == SIGTERM; // SIGTERM: a job scheduler ends all processes of a job
  if (process->interrupted) {
    set_end(trial, STUDY_INTERRUPTED, anas_strdup("stopped from outside"));
  } else if (process->over_memory) {
    set_end(trial, STUDY_OOM, anas_format("more memory than %s (%.0f MiB)", limit_name, limit_mib));
  } else if (process->over_disk || sign == SIGXFSZ) {
    set_end(trial, STUDY_CRASHED,
            anas_format("wrote more than --disk-limit (%.0f MiB)", (double)process->disk_limit / (1 << 20)));
  } else if (process->timed_out) {
    set_end(trial, STUDY_TIMEOUT, anas_format("longer than --trial-timeout (%g s)", options->trial_timeout));
  } else if (sign && output_says_out_of_memory(search, trial->number)) {
    set_end(trial, STUDY_OOM, anas_format("an allocation failed under %s (%.0f MiB)", limit_name, limit_mib));
  } else if (outside && ++trial->kills < MAX_KILLS) {
    set_end(trial, STUDY_INTERRUPTED,
            anas_format("killed by signal %d (%s) from outside; it starts again", sign, strsignal(sign)));
  } else if (outside) {
    set_end(trial, STUDY_CRASHED,
            anas_format("killed by signal %d (%s) from outside; perhaps the system ran out of memory", sign,
                        strsignal(sign)));
  } else if (sign) {
    set_end(trial, STUDY_CRASHED, anas_format("killed by signal %d (%s); see output.txt", sign, strsignal(sign)));
  } else if (!reported) {
    set_end(trial, STUDY_CRASHED,
            anas_format("exited with code %d without a result; see output.txt", WEXITSTATUS(wait_status)));
  }
}

bool trial_poll(struct search *search, struct trial_process *process, struct study_trial *trial) {
  trial_read(process, trial);
  enforce(process);
  int wait_status;
  pid_t pid = waitpid(process->pid, &wait_status, WNOHANG);
  if (pid == 0 || (pid < 0 && errno == EINTR)) return false;
  kill(-process->pid, SIGKILL); // whatever it started
  trial_read(process, trial);
  close(process->fd);
  if (process->pidfd >= 0) close(process->pidfd);
  anas_strbuf_deinit(&process->line);
  if (pid == process->pid)
    classify(search, process, wait_status, trial);
  else if (trial->state == STUDY_RUNNING)
    set_end(trial, STUDY_CRASHED, anas_format("lost the process: %s", strerror(errno)));
  trial->finished = wall_clock();
  return true;
}
