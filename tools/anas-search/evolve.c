// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The search: proposes candidates in order, keeps the workers busy, records every end in the study.
#include "tools/anas-search/measure.h"

#include "dialect/context.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_MILLISECONDS 100

static volatile sig_atomic_t stop_requests;

static void on_stop(int number) {
  (void)number;
  stop_requests++;
}

static double wall_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// ---- proposing

int64_t search_visible(const struct search_options *options, int64_t number) {
  if (options->synchronous) return number / options->synchronous * options->synchronous;
  int64_t visible = number - options->workers + 1;
  return visible > 0 ? visible : 0;
}

// Without results: whether a parent's are known at this moment may depend on the speed of the workers.
void search_candidate_text(const struct search *search, int64_t number, const struct anas_model *model,
                           struct anas_strbuf *out) {
  lineage_comments(search->trials, number, "// ", false, out);
  anas_model_print(model, out);
}

static anas_status write_candidate(struct search *search, const struct study_trial *trial,
                                   const struct anas_model *model) {
  char *folder = study_trial_path(study_path(search->study), trial->number, "");
  char *path = study_trial_path(study_path(search->study), trial->number, "candidate.mlir");
  struct anas_strbuf text = {0};
  search_candidate_text(search, trial->number, model, &text);
  anas_status status = anas_make_directories(folder);
  if (status == ANAS_OK) status = anas_file_write(path, text.data, text.size);
  anas_strbuf_deinit(&text);
  free(path);
  free(folder);
  return status;
}

static char *non_empty(const char *text) {
  return *text ? anas_strdup(text) : NULL;
}

struct new_trial {
  const struct study_trial *trial;
  const struct proposal *proposal;
};

static anas_status record_new(struct study *study, void *data) {
  const struct new_trial *new = data;
  ANAS_RETURN_IF_ERROR(study_insert(study, new->trial, new->proposal->decision));
  if (new->trial->hash) ANAS_RETURN_IF_ERROR(study_record(study, new->trial->number, "candidate.mlir"));
  ANAS_RETURN_IF_ERROR(study_count(study, "duplicates", new->proposal->duplicates));
  ANAS_RETURN_IF_ERROR(study_count(study, "infeasible", new->proposal->infeasible));
  return study_count(study, "violations", new->proposal->violations);
}

static anas_status add_trial(struct search *search, struct proposal *proposal) {
  int64_t number = search->num_trials;
  search->trials = anas_grow(search->trials, (size_t)number, &search->capacity_trials, sizeof *search->trials);
  search->models = anas_grow(search->models, (size_t)number, &search->capacity_models, sizeof(void *));
  struct study_trial *trial = &search->trials[number];
  study_trial_init(trial);
  trial->number = number;
  trial->parent = proposal->parent;
  trial->state = proposal->state;
  trial->reason = proposal->reason ? anas_strdup(proposal->reason) : NULL;
  trial->kind = non_empty(proposal->kind);
  trial->block = non_empty(proposal->block);
  trial->description = proposal->description ? anas_strdup(proposal->description) : NULL;
  trial->created = wall_clock();
  search->num_trials++;
  if (proposal->model) {
    trial->hash = anas_strdup(proposal->hash);
    metrics_of_cost(&proposal->cost, trial->metric);
    ANAS_RETURN_IF_ERROR(write_candidate(search, trial, proposal->model));
    search_keep_model(search, number, proposal->model);
    proposal->model = NULL;
  } else {
    trial->finished = trial->created;
  }
  // The file comes first: a trial in the database always has its candidate.
  struct new_trial new = {trial, proposal};
  return study_atomically(search->study, record_new, &new);
}

// Replaces a new model by what a resumed or replayed search would read from its file, so that children of it are the
// same there: attributes that nobody interprets are kept as text, and reading gives them MLIR's form.
static anas_status read_back(struct search *search, struct anas_model **model) {
  struct anas_strbuf text = {0};
  anas_model_print(*model, &text);
  struct anas_model *read;
  anas_status status = search_read_model(search->context, anas_strbuf_text(&text), "new candidate", &read);
  anas_strbuf_deinit(&text);
  ANAS_RETURN_IF_ERROR(status);
  anas_model_destroy(*model);
  *model = read;
  return ANAS_OK;
}

// Every decision of a trial comes from a generator of its own, so a resumed search decides as an uninterrupted one.
anas_status search_propose(struct search *search, int64_t visible, struct proposal *out) {
  int64_t number = search->num_trials;
  struct anas_rng root = anas_rng_make(search->options.seed), rng = anas_rng_split(&root, (uint64_t)number);
  *out = (struct proposal){.parent = -1};
  anas_status status = number < search->options.seed_trials
                           ? proposal_seed(search, out)
                           : search->strategy->propose(search, number, visible, &rng, out);
  return status == ANAS_OK && out->model ? read_back(search, &out->model) : status;
}

static anas_status decide(struct search *search) {
  struct proposal proposal;
  struct decision_cost cost = {anas_now(), anas_thread_time()};
  anas_status status = search_propose(search, search_visible(&search->options, search->num_trials), &proposal);
  if (status == ANAS_OK) status = add_trial(search, &proposal);
  proposal_deinit(&proposal);
  search->decisions =
      anas_grow(search->decisions, search->num_decisions, &search->capacity_decisions, sizeof *search->decisions);
  search->decisions[search->num_decisions++] =
      (struct decision_cost){anas_now() - cost.seconds, anas_thread_time() - cost.cpu_seconds};
  return status;
}

// ---- running

struct run {
  struct search *search;
  struct table *table;
  struct trial_process *running;
  int num_running;
  int64_t *queue; // trials to start again: of an earlier, interrupted run, or killed from outside
  int64_t num_queue, next_queued;
  size_t capacity_queue;
  int64_t *front;
  int64_t num_front;
  int64_t all_ended; // every trial below has ended
  double started;
};

static bool ended(const struct study_trial *trial) {
  return trial->state != STUDY_RUNNING && trial->state != STUDY_INTERRUPTED;
}

static anas_status launch(struct run *run, int64_t number) {
  struct study_trial *trial = &run->search->trials[number];
  free(trial->reason);
  trial->reason = NULL;
  trial->state = STUDY_RUNNING;
  trial->attempts++;
  trial->started = wall_clock();
  ANAS_RETURN_IF_ERROR(study_update(run->search->study, trial));
  ANAS_RETURN_IF_ERROR(trial_start(run->search, number, &run->running[run->num_running]));
  run->num_running++;
  table_trial_started(run->table, trial);
  return ANAS_OK;
}

static bool out_of_budget(const struct run *run) {
  const struct search_options *o = &run->search->options;
  return stop_requests || (o->time_limit > 0 && anas_now() - run->started > o->time_limit);
}

static bool may_propose(struct run *run) {
  const struct search *search = run->search;
  while (run->all_ended < search->num_trials && ended(&search->trials[run->all_ended]))
    run->all_ended++;
  return search->num_trials < search->options.trials &&
         run->all_ended >= search_visible(&search->options, search->num_trials);
}

static anas_status fill_workers(struct run *run) {
  struct search *search = run->search;
  while (run->num_running < search->options.workers && !out_of_budget(run)) {
    if (run->next_queued < run->num_queue) {
      ANAS_RETURN_IF_ERROR(launch(run, run->queue[run->next_queued++]));
      continue;
    }
    if (!may_propose(run)) break;
    ANAS_RETURN_IF_ERROR(decide(search));
    struct study_trial *trial = &search->trials[search->num_trials - 1];
    if (trial->state == STUDY_RUNNING)
      ANAS_RETURN_IF_ERROR(launch(run, trial->number));
    else
      table_trial_ended(run->table, trial);
  }
  return ANAS_OK;
}

#define WEIGHTS "weights.safetensors"

// Forgotten first: a crash in between leaves a file that nobody misses.
static anas_status drop_weights(const struct run *run, int64_t number) {
  ANAS_RETURN_IF_ERROR(study_forget(run->search->study, number, WEIGHTS));
  char *path = study_trial_path(study_path(run->search->study), number, WEIGHTS);
  unlink(path); // most often absent
  free(path);
  return ANAS_OK;
}

// The front after one more trial has ended; files of what left it, and of what never came onto it, go.
static anas_status update_front(struct run *run, int64_t number) {
  struct search *search = run->search;
  bool drop = strcmp(search->options.keep_weights, "all") != 0;
  int64_t *left = anas_calloc((size_t)run->num_front + 1, sizeof *left), num_left;
  bool joined = front_add(&search->options, search->trials, number, &run->front, &run->num_front, left, &num_left);
  if (!joined) left[num_left++] = number;
  anas_status status = ANAS_OK;
  for (int64_t i = 0; i < num_left && drop && status == ANAS_OK; i++)
    status = drop_weights(run, left[i]);
  free(left);
  if (status != ANAS_OK || !joined) return status;
  return front_export(study_path(search->study), search->trials, run->front, run->num_front);
}

static anas_status record_end(struct study *study, void *data) {
  const struct study_trial *trial = data;
  ANAS_RETURN_IF_ERROR(study_update(study, trial));
  return trial->state == STUDY_COMPLETE ? study_record(study, trial->number, WEIGHTS) : ANAS_OK;
}

static anas_status collect(struct run *run) {
  struct search *search = run->search;
  for (int i = 0; i < run->num_running; i++) {
    struct study_trial *trial = &search->trials[run->running[i].number];
    if (!trial_poll(search, &run->running[i], trial)) continue;
    run->running[i--] = run->running[--run->num_running];
    ANAS_RETURN_IF_ERROR(study_atomically(search->study, record_end, trial));
    table_trial_ended(run->table, trial);
    if (ended(trial)) ANAS_RETURN_IF_ERROR(update_front(run, trial->number));
    if (trial->state == STUDY_INTERRUPTED && trial->kills) {
      run->queue = anas_grow(run->queue, (size_t)run->num_queue, &run->capacity_queue, sizeof *run->queue);
      run->queue[run->num_queue++] = trial->number;
    }
  }
  return ANAS_OK;
}

static anas_status check_seed(const struct search *search) {
  int64_t seeds = search->options.seed_trials;
  if (search->num_trials < seeds) return ANAS_OK;
  for (int64_t i = 0; i < seeds; i++)
    if (search->trials[i].state == STUDY_COMPLETE || !ended(&search->trials[i])) return ANAS_OK;
  const struct study_trial *trial = &search->trials[seeds - 1];
  return anas_fail(ANAS_INVALID, "the seed model cannot be trained: %s (%s); see %s/trials/%04lld/output.txt",
                   study_state_name(trial->state), trial->reason ? trial->reason : "no reason",
                   study_path(search->study), (long long)trial->number);
}

static void wait_for_news(const struct run *run) {
  struct pollfd *fds = anas_calloc((size_t)run->num_running, sizeof *fds);
  for (int i = 0; i < run->num_running; i++)
    fds[i] = (struct pollfd){.fd = run->running[i].fd, .events = POLLIN};
  poll(fds, (nfds_t)run->num_running, POLL_MILLISECONDS);
  free(fds);
}

static anas_status loop(struct run *run) {
  bool announced = false;
  for (;;) {
    if (stop_requests && !announced && run->num_running) {
      table_message(run->table, "finishing the running trials; Ctrl-C again stops them");
      announced = true;
    }
    if (stop_requests > 1)
      for (int i = 0; i < run->num_running; i++)
        trial_interrupt(&run->running[i]);
    ANAS_RETURN_IF_ERROR(fill_workers(run));
    table_refresh(run->table, run->running, run->num_running, stop_requests);
    if (!run->num_running) return ANAS_OK;
    wait_for_news(run);
    ANAS_RETURN_IF_ERROR(collect(run));
    ANAS_RETURN_IF_ERROR(check_seed(run->search));
  }
}

static void stop_all(struct run *run) {
  for (int i = 0; i < run->num_running; i++)
    trial_interrupt(&run->running[i]);
  while (run->num_running) {
    for (int i = 0; i < run->num_running; i++)
      if (trial_poll(run->search, &run->running[i], &run->search->trials[run->running[i].number]))
        run->running[i--] = run->running[--run->num_running];
    wait_for_news(run);
  }
}

static void queue_unfinished(struct run *run) {
  const struct search *search = run->search;
  run->queue = anas_calloc((size_t)search->num_trials, sizeof *run->queue);
  run->capacity_queue = (size_t)search->num_trials;
  for (int64_t i = 0; i < search->num_trials; i++)
    if (!ended(&search->trials[i])) run->queue[run->num_queue++] = i;
  int64_t count;
  run->front = front_of(&search->options, search->trials, search->num_trials, &count);
  run->num_front = count;
  if (!run->num_queue) return;
  char text[128];
  snprintf(text, sizeof text, "%lld unfinished trial%s of the last run start%s again", (long long)run->num_queue,
           run->num_queue == 1 ? "" : "s", run->num_queue == 1 ? "s" : "");
  table_message(run->table, text);
}

static anas_status run_search(struct search *search) {
  struct sigaction action = {.sa_handler = on_stop}, ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGPIPE, &ignore, NULL);
  struct run run = {
      .search = search,
      .table = table_create(search),
      .running = anas_calloc((size_t)search->options.workers, sizeof *run.running),
      .started = anas_now(),
  };
  queue_unfinished(&run);
  anas_status status = loop(&run);
  char *reason = status == ANAS_OK ? NULL : anas_strdup(anas_error_message());
  stop_all(&run);
  table_destroy(run.table);
  if (status == ANAS_OK) {
    struct anas_strbuf text = {0};
    front_print(&search->options, search->trials, run.front, run.num_front, &text);
    if (!search->options.json) {
      anas_strbuf_addf(&text, "architectures: %s/front/*.mlir\n", study_path(search->study));
      if (search->num_trials < search->options.trials)
        anas_strbuf_addf(&text, "%lld of %lld trials done; go on with: anas-search --study %s --resume\n",
                         (long long)search->num_trials, (long long)search->options.trials, study_path(search->study));
    }
    fputs(anas_strbuf_text(&text), stdout);
    anas_strbuf_deinit(&text);
  } else {
    status = anas_fail(status, "%s", reason);
  }
  free(reason);
  free(run.front);
  free(run.queue);
  free(run.running);
  return status;
}

int search_run(int argc, char **argv, struct search_options *options) {
  struct search search = {.options = *options, .context = anas_context_create(false)};
  anas_status status = options->resume ? search_resume(&search, argc, argv) : search_start(&search);
  if (status == ANAS_OK) status = run_search(&search);
  if (status != ANAS_OK) fprintf(stderr, "anas-search: error: %s\n", anas_error_message());
  search_deinit(&search);
  fflush(stdout);
  if (status != ANAS_OK) return EXIT_FAILURE;
  return stop_requests > 1 ? 130 : EXIT_SUCCESS;
}
