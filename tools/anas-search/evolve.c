// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The search: proposes candidates in order, keeps the workers busy, records every end in the study.
#include "tools/anas-search/search.h"

#include "dialect/context.h"
#include "dialect/zoo.h"
#include "passes/verify.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <errno.h>
#include <math.h>
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

double search_standardised(const struct search_objective *objective, const struct study_trial *trial) {
  double value = trial->metric[objective->metric];
  return objective->maximize ? value : -value;
}

// ---- models

static anas_status read_model(MlirContext context, const char *text, const char *name, struct anas_model **out) {
  MlirModule module;
  ANAS_RETURN_IF_ERROR(anas_parse(context, text, strlen(text), name, &module));
  struct anas_model *model = NULL;
  anas_status status = anas_verify_module(module);
  if (status == ANAS_OK) status = anas_model_import(module, &model);
  if (status == ANAS_OK) status = anas_model_infer_shapes(model);
  mlirModuleDestroy(module);
  if (status == ANAS_OK && anas_model_entry(model) < 0)
    status = anas_fail(ANAS_INVALID, "'%s' has no public function to train", name);
  if (status != ANAS_OK) {
    anas_model_destroy(model);
    return status;
  }
  *out = model;
  return ANAS_OK;
}

static anas_status read_model_file(MlirContext context, const char *path, struct anas_model **out) {
  char *text;
  size_t size;
  ANAS_RETURN_IF_ERROR(anas_file_read(path, &text, &size));
  struct anas_diagnostics *diagnostics = anas_diagnostics_attach(context, path, text);
  anas_status status = read_model(context, text, path, out);
  anas_diagnostics_detach(diagnostics);
  free(text);
  return status;
}

const struct anas_model *search_model(struct search *search, int64_t number) {
  if (search->models[number]) return search->models[number];
  char *path = study_trial_path(study_path(search->study), number, "candidate.mlir");
  read_model_file(search->context, path, &search->models[number]);
  free(path);
  return search->models[number];
}

static anas_status build_seed(struct search *search) {
  const struct search_options *o = &search->options;
  struct anas_zoo_size size = {28, 28, 1, 10};
  if (!strcmp(o->dataset, "cifar10")) size = (struct anas_zoo_size){32, 32, 3, 10};
  if (search->dataset) {
    const struct anas_images *images = &search->dataset->train;
    size = (struct anas_zoo_size){images->height, images->width, images->channels, search->dataset->classes};
  }
  return anas_zoo_build(o->model_name, size.height, size.width, size.channels, size.classes, &search->seed);
}

static anas_status check_fits_dataset(const struct search *search) {
  if (!search->dataset) return ANAS_OK;
  const struct anas_function *f = &search->seed->functions[anas_model_entry(search->seed)];
  const struct anas_images *images = &search->dataset->train;
  const struct anas_shape *in = &f->arg[0];
  struct anas_shape want_in = {4, ANAS_F32, {ANAS_DYNAMIC, images->height, images->width, images->channels}};
  struct anas_shape want_out = {2, ANAS_F32, {ANAS_DYNAMIC, search->dataset->classes}};
  char got[128], want[128];
  if (f->num_args != 1 || !anas_shape_equal(in, &want_in))
    return anas_fail(ANAS_INVALID, "the model takes tensor<%s>, but images of %s are tensor<%s>",
                     f->num_args ? anas_shape_text(in, got) : "nothing", search->options.dataset,
                     anas_shape_text(&want_in, want));
  if (f->num_results != 1 || !anas_shape_equal(&f->result_type[0], &want_out))
    return anas_fail(ANAS_INVALID, "the model returns tensor<%s>, but %s needs tensor<%s> (one logit a class)",
                     f->num_results ? anas_shape_text(&f->result_type[0], got) : "nothing", search->options.dataset,
                     anas_shape_text(&want_out, want));
  return ANAS_OK;
}

// ---- the study

// For images of the size of the seed model, or of what the network of the zoo is made for.
static anas_status open_dataset(struct search *search) {
  const struct search_options *o = &search->options;
  if (strcmp(o->evaluator, "train")) return ANAS_OK;
  struct anas_dataset_options dataset = {
      .directory = o->data_directory, .validation_count = o->validation, .limit = o->limit};
  if (search->seed) {
    const struct anas_shape *image = &search->seed->functions[anas_model_entry(search->seed)].arg[0];
    dataset.height = image->rank == 4 && image->dim[1] > 0 ? image->dim[1] : 0;
    dataset.width = image->rank == 4 && image->dim[2] > 0 ? image->dim[2] : 0;
  } else {
    const struct anas_zoo_entry *entry;
    ANAS_RETURN_IF_ERROR(anas_zoo_find(o->model_name, &entry));
    dataset.height = entry->reference.height;
    dataset.width = entry->reference.width;
  }
  return anas_dataset_open(o->dataset, &dataset, &search->dataset);
}

static anas_status find_strategy(struct search *search) {
  search->strategy = search_strategy_find(search->options.strategy);
  return search->strategy
             ? ANAS_OK
             : anas_fail(ANAS_UNSUPPORTED, "this anas-search has no strategy '%s'", search->options.strategy);
}

static anas_status start_new(struct search *search) {
  if (study_exists(search->options.study))
    return anas_fail(ANAS_INVALID, "'%s' already holds a study; continue it with --resume or choose another directory",
                     search->options.study);
  ANAS_RETURN_IF_ERROR(find_strategy(search));
  const char *path = search->options.model_path;
  if (path) ANAS_RETURN_IF_ERROR(read_model_file(search->context, path, &search->seed));
  ANAS_RETURN_IF_ERROR(open_dataset(search));
  if (!path) ANAS_RETURN_IF_ERROR(build_seed(search));
  ANAS_RETURN_IF_ERROR(check_fits_dataset(search));
  char *json = search_options_to_json(&search->options);
  struct anas_strbuf text = {0};
  anas_model_print(search->seed, &text);
  anas_status status = study_create(search->options.study, json, anas_strbuf_text(&text), &search->study);
  anas_strbuf_deinit(&text);
  free(json);
  return status;
}

anas_status search_load(struct search *search, const char *path, bool write) {
  ANAS_RETURN_IF_ERROR(study_open(path, write, &search->study));
  char *json, *seed_text;
  ANAS_RETURN_IF_ERROR(study_get(search->study, "options", &json));
  anas_status status = json ? search_options_from_json(json, &search->options)
                            : anas_fail(ANAS_CORRUPT, "study '%s' has no options", path);
  free(json);
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(find_strategy(search));
  ANAS_RETURN_IF_ERROR(study_get(search->study, "seed-model", &seed_text));
  status = seed_text ? read_model(search->context, seed_text, "seed model of the study", &search->seed)
                     : anas_fail(ANAS_CORRUPT, "study '%s' has no seed model", path);
  free(seed_text);
  ANAS_RETURN_IF_ERROR(status);
  ANAS_RETURN_IF_ERROR(study_load(search->study, &search->trials, &search->num_trials));
  search->capacity_trials = search->capacity_models = (size_t)search->num_trials;
  search->models = anas_calloc((size_t)search->num_trials, sizeof *search->models);
  return ANAS_OK;
}

void search_deinit(struct search *search) {
  for (int64_t i = 0; search->models && i < search->num_trials; i++)
    anas_model_destroy(search->models[i]);
  free(search->models);
  study_trials_free(search->trials, search->num_trials);
  anas_model_destroy(search->seed);
  if (search->dataset) anas_dataset_close(search->dataset);
  study_close(search->study);
  mlirContextDestroy(search->context);
  search_options_deinit(&search->options);
}

static anas_status resume(struct search *search, int argc, char **argv) {
  ANAS_RETURN_IF_ERROR(search_load(search, search->options.study, true));
  ANAS_RETURN_IF_ERROR(search_options_budget(argc, argv, &search->options));
  char *json = search_options_to_json(&search->options);
  anas_status status = study_set(search->study, "options", json);
  free(json);
  return status == ANAS_OK ? open_dataset(search) : status;
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
    trial->metric[METRIC_PARAMS] = (double)proposal->cost.params;
    trial->metric[METRIC_MACS] = (double)proposal->cost.macs;
    trial->metric[METRIC_FLOPS] = (double)proposal->cost.flops;
    trial->metric[METRIC_TRAIN_BYTES] = (double)proposal->cost.train_bytes;
    ANAS_RETURN_IF_ERROR(write_candidate(search, trial, proposal->model));
    search->models[number] = proposal->model;
    proposal->model = NULL;
  } else {
    trial->finished = trial->created;
  }
  // The file comes first: a trial in the database always has its candidate.
  ANAS_RETURN_IF_ERROR(study_insert(search->study, trial, proposal->decision));
  ANAS_RETURN_IF_ERROR(study_count(search->study, "duplicates", proposal->duplicates));
  ANAS_RETURN_IF_ERROR(study_count(search->study, "infeasible", proposal->infeasible));
  return study_count(search->study, "violations", proposal->violations);
}

// Replaces a new model by what a resumed or replayed search would read from its file, so that children of it are the
// same there: attributes that nobody interprets are kept as text, and reading gives them MLIR's form.
static anas_status read_back(struct search *search, struct anas_model **model) {
  struct anas_strbuf text = {0};
  anas_model_print(*model, &text);
  struct anas_model *read;
  anas_status status = read_model(search->context, anas_strbuf_text(&text), "new candidate", &read);
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

static anas_status propose(struct search *search) {
  struct proposal proposal;
  anas_status status = search_propose(search, search_visible(&search->options, search->num_trials), &proposal);
  if (status == ANAS_OK) status = add_trial(search, &proposal);
  proposal_deinit(&proposal);
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

static bool may_propose(const struct run *run) {
  const struct search *search = run->search;
  if (search->num_trials >= search->options.trials) return false;
  for (int64_t i = 0; i < search_visible(&search->options, search->num_trials); i++)
    if (!ended(&search->trials[i])) return false;
  return true;
}

static anas_status fill_workers(struct run *run) {
  struct search *search = run->search;
  while (run->num_running < search->options.workers && !out_of_budget(run)) {
    if (run->next_queued < run->num_queue) {
      ANAS_RETURN_IF_ERROR(launch(run, run->queue[run->next_queued++]));
      continue;
    }
    if (!may_propose(run)) break;
    ANAS_RETURN_IF_ERROR(propose(search));
    struct study_trial *trial = &search->trials[search->num_trials - 1];
    if (trial->state == STUDY_RUNNING)
      ANAS_RETURN_IF_ERROR(launch(run, trial->number));
    else
      table_trial_ended(run->table, trial);
  }
  return ANAS_OK;
}

static void drop_weights(const struct run *run, int64_t number) {
  char *path = study_trial_path(study_path(run->search->study), number, "weights.safetensors");
  unlink(path); // most often absent
  free(path);
}

static bool contains(const int64_t *numbers, int64_t count, int64_t number) {
  for (int64_t i = 0; i < count; i++)
    if (numbers[i] == number) return true;
  return false;
}

static anas_status update_front(struct run *run, int64_t ended_trial) {
  struct search *search = run->search;
  int64_t count, *front = front_of(&search->options, search->trials, search->num_trials, &count);
  if (strcmp(search->options.keep_weights, "all")) {
    for (int64_t i = 0; i < run->num_front; i++)
      if (!contains(front, count, run->front[i])) drop_weights(run, run->front[i]);
    if (!contains(front, count, ended_trial)) drop_weights(run, ended_trial);
  }
  free(run->front);
  run->front = front;
  run->num_front = count;
  return front_export(study_path(search->study), search->trials, front, count);
}

static anas_status collect(struct run *run) {
  struct search *search = run->search;
  for (int i = 0; i < run->num_running; i++) {
    struct study_trial *trial = &search->trials[run->running[i].number];
    if (!trial_poll(search, &run->running[i], trial)) continue;
    run->running[i--] = run->running[--run->num_running];
    ANAS_RETURN_IF_ERROR(study_update(search->study, trial));
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
  anas_status status = options->resume ? resume(&search, argc, argv) : start_new(&search);
  if (status == ANAS_OK) status = run_search(&search);
  if (status != ANAS_OK) fprintf(stderr, "anas-search: error: %s\n", anas_error_message());
  search_deinit(&search);
  fflush(stdout);
  if (status != ANAS_OK) return EXIT_FAILURE;
  return stop_requests > 1 ? 130 : EXIT_SUCCESS;
}
