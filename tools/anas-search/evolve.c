// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The search: proposes candidates in order, keeps the workers busy, records every end in the study.
#include "tools/anas-search/measure.h"
#include "tools/anas-search/pruners/pruner.h"
#include "tools/anas-search/target.h"

#include "dialect/context.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FOLLOW_SECONDS 0.2 // between looks at what other processes have done
#define FLUSH_SECONDS 1.0  // results of so long may be lost in a power cut (not in a crash), and are made again
#define WEIGHTS "weights.safetensors"

static double wall_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// ---- proposing

int64_t search_visible(const struct search_options *options, int64_t number) {
  if (options->synchronous) return number / options->synchronous * options->synchronous;
  // Twice the other workers, or one long trial would keep all waiting for its result.
  int64_t ahead = 2 * (options->workers - 1) * pruner_overtaking(options);
  int64_t visible = number - (options->in_flight ? options->in_flight - 1 : ahead);
  return visible > 0 ? visible : 0;
}

// Without results: whether a parent's are known at this moment may depend on the speed of the workers.
anas_status search_candidate_text(const struct search *search, int64_t number, const struct anas_model *model,
                                  struct anas_strbuf *out) {
  ANAS_RETURN_IF_ERROR(lineage_comments(search->study, search->trials, number, "// ", false, MAX_LINEAGE, out));
  anas_model_print(model, out);
  return ANAS_OK;
}

static anas_status write_candidate(struct search *search, const struct study_trial *trial,
                                   const struct anas_model *model) {
  struct anas_strbuf text = {0};
  anas_status status = search_candidate_text(search, trial->number, model, &text);
  if (status == ANAS_OK) status = study_write(search->study, trial->number, "candidate.mlir", text.data, text.size);
  anas_strbuf_deinit(&text);
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
  search->duplicates += proposal->duplicates;
  struct new_trial new = {trial, proposal};
  ANAS_RETURN_IF_ERROR(study_atomically(search->study, record_new, &new));
  study_discard(search->study, number);
  return ANAS_OK;
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
  // A strategy remembers what it expected: with other expectations it reads the log again.
  if (pruner_learn_gains(search, visible) && search->strategy->forget && search->memory) {
    search->strategy->forget(search->memory);
    search->memory = NULL;
  }
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
  struct crew crew;
  int64_t waiting; // trials that nobody works on, where no other process claims them
  struct paused paused;
  struct target *target;
  int64_t *front;
  int64_t num_front;
  int64_t all_ended; // every trial below has ended
  double started, followed, flushed;
};

static bool out_of_budget(const struct run *run) {
  const struct search_options *o = &run->search->options;
  return crew_stop_requests() || (o->time_limit > 0 && anas_now() - run->started > o->time_limit);
}

static bool all_have_ended(struct run *run) {
  const struct search *search = run->search;
  while (run->all_ended < search->num_trials && study_state_ended(search->trials[run->all_ended].state))
    run->all_ended++;
  return run->all_ended == search->num_trials;
}

static bool may_propose(struct run *run) {
  const struct search *search = run->search;
  all_have_ended(run);
  int64_t visible = search_visible(&search->options, search->num_trials);
  return search->num_trials < search->options.trials && run->all_ended >= visible &&
         !target_met(run->target, search, visible);
}

static anas_status add_one(struct run *run) {
  struct search *search = run->search;
  ANAS_RETURN_IF_ERROR(decide(search));
  const struct study_trial *trial = &search->trials[search->num_trials - 1];
  if (trial->state == STUDY_WAITING)
    run->waiting++;
  else
    table_trial_ended(run->table, trial);
  return ANAS_OK;
}

static anas_status on_verdict(void *data, int64_t number) {
  struct run *run = data;
  struct search *search = run->search;
  if (search->trials[number].state == STUDY_WAITING) {
    run->waiting++;
    return ANAS_OK;
  }
  char *path = study_trial_path(study_path(search->study), number, "checkpoint.safetensors");
  unlink(path); // simulated trials have none
  free(path);
  table_trial_ended(run->table, &search->trials[number]);
  return ANAS_OK;
}

// A trial has reached a rung, or passed it: the log keeps the order.
static anas_status arrive(struct run *run, int64_t number) {
  struct study_trial *trial = &run->search->trials[number];
  bool new = pruner_arrive(run->search, trial);
  if (trial->state == STUDY_PAUSED) paused_add(&run->paused, number); // written with the verdict
  return new && trial->state != STUDY_PAUSED ? study_put_curve(run->search->study, trial) : ANAS_OK;
}

// Others may be waiting: whatever may be decided is. Alone, only what can be started.
static anas_status fill_workers(struct run *run) {
  bool shared = study_shared(run->search->study), claimed = true, settled;
  while (shared && !out_of_budget(run) && may_propose(run))
    ANAS_RETURN_IF_ERROR(add_one(run));
  ANAS_RETURN_IF_ERROR(paused_settle(&run->paused, run->search, on_verdict, run, &settled));
  while (claimed && run->crew.num_running < run->crew.size && !out_of_budget(run)) {
    if (!shared && !run->waiting) {
      if (!may_propose(run)) {
        // The generation may have become complete with a trial that could not even start.
        ANAS_RETURN_IF_ERROR(paused_settle(&run->paused, run->search, on_verdict, run, &settled));
        if (settled) continue;
        break;
      }
      ANAS_RETURN_IF_ERROR(add_one(run));
      continue;
    }
    ANAS_RETURN_IF_ERROR(crew_claim(&run->crew, &claimed));
    if (claimed) run->waiting--;
  }
  return ANAS_OK;
}

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
  // With --inherit-weights any trial may still become a parent; what its child starts from must not depend on when the
  // front changed.
  bool drop = strcmp(search->options.keep_weights, "all") != 0 && !search->options.inherit_weights;
  int64_t *left = anas_calloc((size_t)run->num_front + 1, sizeof *left), num_left;
  bool joined = front_add(&search->options, search->trials, number, &run->front, &run->num_front, left, &num_left);
  if (!joined) left[num_left++] = number;
  anas_status status = ANAS_OK;
  for (int64_t i = 0; i < num_left && drop && status == ANAS_OK; i++)
    status = drop_weights(run, left[i]);
  const char *store = study_store(search->study); // null: no files
  for (int64_t i = 0; i < num_left && joined && store; i++)
    front_remove(store, left[i]);
  free(left);
  return status == ANAS_OK && joined && store ? front_write(search, number) : status;
}

static anas_status on_end(void *data, int64_t number) {
  struct run *run = data;
  enum study_state state = run->search->trials[number].state;
  ANAS_RETURN_IF_ERROR(arrive(run, number));
  if (study_state_ended(state)) {
    ANAS_RETURN_IF_ERROR(update_front(run, number));
    // The reason of a seed may be that of the search (check_seed).
    if (number >= run->search->options.seed_trials) study_trial_summarise(&run->search->trials[number]);
    return ANAS_OK;
  }
  if (state != STUDY_PAUSED) run->waiting++; // it was interrupted
  return ANAS_OK;
}

static anas_status take_end(struct run *run, int64_t number) {
  struct search *search = run->search;
  struct study_trial ended;
  ANAS_RETURN_IF_ERROR(study_find(search->study, number, &ended));
  study_trial_deinit(&search->trials[number]);
  search->trials[number] = ended;
  ANAS_RETURN_IF_ERROR(study_load_curves(search->study, &search->trials[number], 1));
  ANAS_RETURN_IF_ERROR(arrive(run, number));
  if (!study_state_ended(ended.state)) return ANAS_OK;
  table_trial_ended(run->table, &search->trials[number]);
  return update_front(run, number);
}

// Ends that other processes have written.
static anas_status follow(struct run *run) {
  struct search *search = run->search;
  if (!study_shared(search->study) || anas_now() - run->followed < FOLLOW_SECONDS) return ANAS_OK;
  int64_t *unfinished, count, at = 0;
  ANAS_RETURN_IF_ERROR(study_unfinished(search->study, &unfinished, &count));
  anas_status status = ANAS_OK;
  for (int64_t i = run->all_ended; i < search->num_trials && status == ANAS_OK; i++) {
    while (at < count && unfinished[at] < i)
      at++;
    bool done = at == count || unfinished[at] != i;
    enum study_state known = search->trials[i].state;
    if (done && !study_state_ended(known) && known != STUDY_PAUSED && !crew_runs(&run->crew, i))
      status = take_end(run, i);
  }
  free(unfinished);
  run->followed = anas_now();
  return status;
}

static anas_status check_seed(const struct search *search) {
  int64_t seeds = search->options.seed_trials;
  if (search->num_trials < seeds) return ANAS_OK;
  for (int64_t i = 0; i < seeds; i++)
    if (search->trials[i].state == STUDY_COMPLETE || !study_state_ended(search->trials[i].state)) return ANAS_OK;
  const struct study_trial *trial = &search->trials[seeds - 1];
  return anas_fail(ANAS_INVALID, "the seed model cannot be trained: %s (%s); see: anas-search show '%s' %lld --output",
                   study_state_name(trial->state), trial->reason ? trial->reason : "no reason",
                   study_name(search->study), (long long)trial->number);
}

// Whether a trial has neither ended nor pauses: those that pause now do so until the search goes on.
static bool anyone_works(const struct run *run) {
  for (int64_t i = run->all_ended; i < run->search->num_trials; i++) {
    enum study_state state = run->search->trials[i].state;
    if (!study_state_ended(state) && state != STUDY_PAUSED) return true;
  }
  return false;
}

static bool all_done(struct run *run) {
  if (run->crew.num_running) return false;
  if (!study_shared(run->search->study) || crew_stop_requests()) return true;
  bool more = may_propose(run) && !out_of_budget(run);
  return !more && !anyone_works(run);
}

static anas_status loop(struct run *run) {
  bool announced = false;
  for (;;) {
    int stop = crew_stop_requests();
    if (stop && !announced && run->crew.num_running) {
      table_message(run->table, "finishing the running trials; Ctrl-C again stops them");
      announced = true;
    }
    if (stop > 1) crew_interrupt(&run->crew);
    ANAS_RETURN_IF_ERROR(fill_workers(run));
    table_refresh(run->table, run->crew.running, run->crew.num_running, stop);
    if (all_done(run)) return ANAS_OK;
    crew_wait(&run->crew);
    ANAS_RETURN_IF_ERROR(crew_collect(&run->crew, on_end, run));
    ANAS_RETURN_IF_ERROR(follow(run));
    ANAS_RETURN_IF_ERROR(check_seed(run->search));
    if (anas_now() - run->flushed < FLUSH_SECONDS) continue;
    run->flushed = anas_now();
    ANAS_RETURN_IF_ERROR(study_flush(run->search->study));
  }
}

static anas_status take_stock(struct run *run) {
  const struct search *search = run->search;
  for (int64_t i = 0; i < search->num_trials; i++) {
    enum study_state state = search->trials[i].state;
    ANAS_RETURN_IF_ERROR(arrive(run, i)); // a driver may have died before it wrote that
    run->waiting += !study_state_ended(state) && state != STUDY_PAUSED;
  }
  run->front = front_of(&search->options, search->trials, search->num_trials, &run->num_front);
  if (!run->waiting) return ANAS_OK;
  char text[128];
  snprintf(text, sizeof text, "%lld unfinished trial%s of the last run start%s again", (long long)run->waiting,
           run->waiting == 1 ? "" : "s", run->waiting == 1 ? "s" : "");
  table_message(run->table, text);
  return ANAS_OK;
}

// For workers on other machines.
static anas_status search_announce(struct search *search, const char *what) {
  return study_shared(search->study) ? study_set(search->study, "search", what) : ANAS_OK;
}

static anas_status run_search(struct search *search) {
  crew_handle_signals(1);
  struct run run = {.search = search, .table = table_create(search), .started = anas_now()};
  crew_init(&run.crew, search, run.table);
  table_workers(run.table);
  anas_status status = target_create(search->options.target, &run.target);
  if (status == ANAS_OK) status = take_stock(&run);
  if (status == ANAS_OK) status = search_announce(search, "running");
  // The last run may have ended between a result and its file.
  if (status == ANAS_OK && study_store(search->study)) status = front_export(search, run.front, run.num_front);
  if (status == ANAS_OK) status = loop(&run);
  // Workers on other machines end with the search, not with a driver that will be back.
  if (status == ANAS_OK) status = search_announce(search, crew_stop_requests() ? "stopped" : "ended");
  char *reason = status == ANAS_OK ? NULL : anas_strdup(anas_error_message());
  crew_stop(&run.crew);
  table_destroy(run.table);
  if (status == ANAS_OK) {
    struct anas_strbuf text = {0};
    status = front_print(search, run.front, run.num_front, &text);
    if (!search->options.json) {
      if (study_store(search->study))
        anas_strbuf_addf(&text, "architectures: %s/front/*.mlir\n", study_store(search->study));
      else
        anas_strbuf_addf(&text, "architectures: anas-search show '%s' TRIAL\n", study_name(search->study));
      if (target_met(run.target, search, search->num_trials))
        anas_strbuf_addf(&text, "target met: %s\n", search->options.target);
      else if (search->num_trials < search->options.trials || !all_have_ended(&run))
        anas_strbuf_addf(&text, "%lld of %lld trials done; go on with: anas-search --study %s --resume\n",
                         (long long)search->num_trials, (long long)search->options.trials, study_name(search->study));
    }
    fputs(anas_strbuf_text(&text), stdout);
    anas_strbuf_deinit(&text);
  } else {
    status = anas_fail(status, "%s", reason);
  }
  free(reason);
  free(run.front);
  free(run.paused.numbers);
  target_destroy(run.target);
  crew_deinit(&run.crew);
  return status;
}

// Many things write: what to do when they cannot is the same.
static const char *hint(const char *message) {
  static const int full[] = {ENOSPC, EDQUOT, EROFS};
  if (strstr(message, "--resume") || strstr(message, "go on with")) return "";
  for (size_t i = 0; i < sizeof full / sizeof *full; i++)
    if (strstr(message, strerror(full[i])))
      return full[i] == EROFS ? "; make it writable and use --resume" : "; free some and use --resume";
  return "";
}

int search_run(int argc, char **argv, struct search_options *options) {
  struct search search = {.options = *options, .context = anas_context_create(false)};
  anas_status status = options->resume ? search_resume(&search, argc, argv) : search_start(&search);
  if (status == ANAS_OK) status = run_search(&search);
  if (status != ANAS_OK)
    fprintf(stderr, "anas-search: error: %s%s\n", anas_error_message(), hint(anas_error_message()));
  search_deinit(&search);
  fflush(stdout);
  if (status != ANAS_OK) return EXIT_FAILURE;
  return crew_stop_requests() > 1 ? 130 : EXIT_SUCCESS;
}
