// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The workers of one process, of a driver as of anas-search worker: they claim trials from the study, run each in a
// process of its own, keep the lease while it runs and write down what became of it, if it still is theirs by then.
#include "tools/anas-search/search.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_LOST 5             // leases of a trial, before it is taken for the reason
#define PATIENCE_SECONDS 600.0 // without the database
#define MAX_OUTPUT (1 << 20)   // bytes of output.txt that are kept where files are copied
#define WEIGHTS "weights.safetensors"
#define CHECKPOINT "checkpoint.safetensors"
#define OUTPUT "output.txt"

// ---- signals

static volatile sig_atomic_t stop_requests;
static int terminate_counts = 1;

static void on_stop(int number) {
  stop_requests += number == SIGTERM ? terminate_counts : 1;
}

void crew_handle_signals(int terminate) {
  struct sigaction action = {.sa_handler = on_stop}, ignore = {.sa_handler = SIG_IGN};
  terminate_counts = terminate;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGPIPE, &ignore, NULL);
}

int crew_stop_requests(void) {
  return stop_requests;
}

// ---- the database may go and come back

static bool patience(void *data, double seconds, const char *reason) {
  struct crew *crew = data;
  if (!crew->disconnected) {
    char *text = anas_format("%s; trying again", reason);
    table_message(crew->table, text);
    free(text);
  }
  crew->disconnected = true;
  poll(NULL, 0, seconds < 1 ? 100 : 1000);
  for (int i = 0; i < crew->num_running; i++) // or they would wait for somebody to read
    trial_read(&crew->running[i], &crew->search->trials[crew->running[i].number]);
  return stop_requests < 2 && seconds < PATIENCE_SECONDS;
}

static void say_connected(struct crew *crew) {
  if (crew->disconnected) table_message(crew->table, "the database is back");
  crew->disconnected = false;
}

void crew_init(struct crew *crew, struct search *search, struct table *table) {
  *crew = (struct crew){.search = search, .table = table, .size = (int)search->options.workers};
  crew->running = anas_calloc((size_t)crew->size, sizeof *crew->running);
  char host[65] = "";
  uint32_t unique = 0; // process numbers come again
  gethostname(host, sizeof host - 1);
  if (getrandom(&unique, sizeof unique, 0) < 0) unique = (uint32_t)(anas_now() * 1e6);
  snprintf(crew->owner, sizeof crew->owner, "%s:%d:%08x", host, (int)getpid(), unique);
  study_set_patience(search->study, patience, crew);
}

void crew_deinit(struct crew *crew) {
  study_set_patience(crew->search->study, NULL, NULL);
  free(crew->running);
}

// ---- claiming

// The candidate, and where an earlier attempt had come to.
static anas_status fetch_files(struct search *search, int64_t number) {
  struct study *study = search->study;
  if (!study_stored(study)) return ANAS_OK;
  study_discard(study, number); // of an attempt of ours that was not the last one
  ANAS_RETURN_IF_ERROR(study_fetch(study, number, "candidate.mlir"));
  anas_status status = study_fetch(study, number, CHECKPOINT);
  int64_t parent = search->trials[number].parent;
  if ((status == ANAS_OK || status == ANAS_NOT_FOUND) && search->options.inherit_weights && parent >= 0)
    status = study_fetch(study, parent, WEIGHTS);
  return status == ANAS_NOT_FOUND ? ANAS_OK : status;
}

static void take_over(struct study_trial *trial, struct study_trial *claimed) {
  free(trial->reason);
  free(trial->owner);
  trial->reason = NULL;
  trial->owner = claimed->owner;
  claimed->owner = NULL;
  trial->state = claimed->state;
  trial->attempts = claimed->attempts;
  trial->started = claimed->started;
  trial->lease = claimed->lease;
  trial->lost = claimed->lost;
  memcpy(trial->metric, claimed->metric, sizeof trial->metric);
}

static anas_status launch(struct crew *crew, struct study_trial *claimed) {
  struct search *search = crew->search;
  int64_t number = claimed->number;
  if (number >= search->num_trials) ANAS_RETURN_IF_ERROR(search_catch_up(search));
  struct study_trial *trial = &search->trials[number];
  take_over(trial, claimed);
  if (trial->lost >= MAX_LOST) {
    bool held;
    trial->state = STUDY_CRASHED;
    trial->reason = anas_format("%lld workers were lost while they ran it", (long long)trial->lost);
    trial->finished = trial->started;
    return study_end(search->study, trial, &held);
  }
  if (trial->attempts > 1) ANAS_RETURN_IF_ERROR(study_load_curves(search->study, trial, 1)); // what was decided
  ANAS_RETURN_IF_ERROR(fetch_files(search, number));
  ANAS_RETURN_IF_ERROR(trial_start(search, number, &crew->running[crew->num_running]));
  crew->running[crew->num_running++].renewed = anas_now();
  table_trial_started(crew->table, trial);
  return ANAS_OK;
}

anas_status crew_claim(struct crew *crew, bool *out_claimed) {
  *out_claimed = false;
  if (crew->num_running == crew->size) return ANAS_OK;
  struct study_trial claimed;
  ANAS_RETURN_IF_ERROR(
      study_claim(crew->search->study, crew->owner, crew->search->options.lease, &claimed, out_claimed));
  say_connected(crew);
  if (!*out_claimed) return ANAS_OK;
  anas_status status = launch(crew, &claimed);
  study_trial_deinit(&claimed);
  return status;
}

// ---- keeping the lease

struct heartbeat {
  struct search *search;
  int64_t number;
  bool held, checkpoint; // checkpoint: there is a new one
};

static anas_status beat(struct study *study, void *data) {
  struct heartbeat *b = data;
  const struct search *search = b->search;
  ANAS_RETURN_IF_ERROR(study_renew(study, &search->trials[b->number], search->options.lease, &b->held));
  return b->held && b->checkpoint ? study_record(study, b->number, CHECKPOINT) : ANAS_OK;
}

// When the trial's checkpoint was written, 0 if there is none.
static int64_t checkpoint_time(const struct search *search, int64_t number) {
  char *path = study_trial_path(study_path(search->study), number, CHECKPOINT);
  struct stat info;
  int64_t time = stat(path, &info) ? 0 : (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
  free(path);
  return time;
}

static anas_status keep_lease(struct crew *crew, struct trial_process *process) {
  struct search *search = crew->search;
  if (!study_shared(search->study) || process->lost) return ANAS_OK;
  double now = anas_now();
  int64_t checkpoint = checkpoint_time(search, process->number);
  struct heartbeat b = {search, process->number, true, checkpoint && checkpoint != process->checkpoint};
  if (!b.checkpoint && now - process->renewed < search->options.lease / 4) return ANAS_OK;
  ANAS_RETURN_IF_ERROR(study_atomically(search->study, beat, &b));
  process->renewed = now;
  process->checkpoint = checkpoint;
  process->lost = !b.held;
  if (process->lost) trial_interrupt(process);
  return ANAS_OK;
}

// ---- ends

struct record {
  const struct study_trial *trial;
  bool held;
};

static anas_status record_end(struct study *study, void *data) {
  struct record *record = data;
  int64_t number = record->trial->number;
  ANAS_RETURN_IF_ERROR(study_end(study, record->trial, &record->held));
  if (!record->held) return ANAS_OK;
  ANAS_RETURN_IF_ERROR(study_put_curve(study, record->trial));
  if (record->trial->state == STUDY_COMPLETE) ANAS_RETURN_IF_ERROR(study_record(study, number, WEIGHTS));
  if (!study_stored(study)) return ANAS_OK; // the rest is in its place
  ANAS_RETURN_IF_ERROR(study_record(study, number, OUTPUT));
  ANAS_RETURN_IF_ERROR(study_record(study, number, "compile.json"));
  return study_state_ended(record->trial->state) ? study_forget(study, number, CHECKPOINT)
                                                 : study_record(study, number, CHECKPOINT);
}

static void limit_output(const struct search *search, int64_t number) {
  char *path = study_trial_path(study_path(search->study), number, OUTPUT);
  struct stat info;
  if (study_stored(search->study) && !stat(path, &info) && info.st_size > MAX_OUTPUT && truncate(path, MAX_OUTPUT))
    unlink(path);
  free(path);
}

static anas_status finish(struct crew *crew, bool lost, int64_t number, bool *out_held) {
  struct search *search = crew->search;
  struct record record = {&search->trials[number], false};
  limit_output(search, number);
  if (!lost) ANAS_RETURN_IF_ERROR(study_atomically(search->study, record_end, &record));
  study_discard(search->study, number);
  *out_held = record.held;
  if (record.held) return ANAS_OK;
  char *text = anas_format("trial %lld: the lease ran out and another worker has it; this result (%s) is dropped",
                           (long long)number, study_state_name(search->trials[number].state));
  table_message(crew->table, text);
  free(text);
  search->trials[number].state = STUDY_RUNNING; // as far as we know
  return ANAS_OK;
}

anas_status crew_collect(struct crew *crew, crew_ended ended, void *data) {
  struct search *search = crew->search;
  for (int i = 0; i < crew->num_running; i++) {
    struct trial_process *process = &crew->running[i];
    int64_t number = process->number;
    if (!trial_poll(search, process, &search->trials[number])) {
      ANAS_RETURN_IF_ERROR(keep_lease(crew, process));
      continue;
    }
    bool lost = process->lost, no_space = process->no_space, held;
    crew->running[i--] = crew->running[--crew->num_running];
    ANAS_RETURN_IF_ERROR(finish(crew, lost, number, &held));
    if (!held) continue;
    if (search->trials[number].state != STUDY_PAUSED) table_trial_ended(crew->table, &search->trials[number]);
    ANAS_RETURN_IF_ERROR(ended(data, number));
    if (no_space) // it, and all others, would fail again
      return anas_fail(ANAS_IO, "trial %lld: %s", (long long)number, search->trials[number].reason);
  }
  say_connected(crew);
  return ANAS_OK;
}

void crew_wait(const struct crew *crew) {
  trial_wait(crew->running, crew->num_running);
}

void crew_interrupt(struct crew *crew) {
  for (int i = 0; i < crew->num_running; i++)
    trial_interrupt(&crew->running[i]);
}

void crew_stop(struct crew *crew) {
  struct search *search = crew->search;
  crew_interrupt(crew);
  while (crew->num_running) {
    for (int i = 0; i < crew->num_running; i++)
      if (trial_poll(search, &crew->running[i], &search->trials[crew->running[i].number]))
        crew->running[i--] = crew->running[--crew->num_running];
    crew_wait(crew);
  }
}

bool crew_runs(const struct crew *crew, int64_t number) {
  for (int i = 0; i < crew->num_running; i++)
    if (crew->running[i].number == number) return true;
  return false;
}
