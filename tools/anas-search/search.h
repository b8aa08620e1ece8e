// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the files of anas-search share: options, metrics, proposals, the state of a running search.
#ifndef ANAS_TOOLS_ANAS_SEARCH_SEARCH_H
#define ANAS_TOOLS_ANAS_SEARCH_SEARCH_H

#include "dialect/model.h"
#include "passes/analysis/analysis.h"
#include "passes/mutate/mutate.h"
#include "passes/train/optimizer.h"
#include "runtime/data.h"
#include "runtime/support/nearest.h"
#include "runtime/support/rng.h"
#include "runtime/support/strbuf.h"
#include "tools/anas-search/study.h"

#include <jansson.h>
#include <mlir-c/IR.h>
#include <stdbool.h>
#include <stdint.h>

// ---- options (cli.c)

#define MAX_OBJECTIVES 4
#define MAX_CONSTRAINTS 8
#define WORKERS_AUTOMATIC (-1) // as many as packing.h says; never in a study

struct search_objective {
  enum study_metric metric;
  bool maximize;
};

struct expression; // expression.h
struct anas_compile_options;

struct search_options {
  char *model_path, *model_name; // where the seed came from
  char *dataset, *data_directory, *strategy, *evaluator, *keep_weights;
  struct search_objective objectives[MAX_OBJECTIVES];
  int num_objectives;
  struct expression *constraints[MAX_CONSTRAINTS]; // owned
  int num_constraints;
  int64_t trials, seed_trials, synchronous, epochs, max_steps, batch, workers, limit, validation, retries;
  int64_t threads;   // of a trial; 0: its share of the processors
  int64_t in_flight; // trials decided and not ended, at most; 0: twice the workers, less one
  double lease;      // seconds
  char *artefacts;   // directory for files of a study in a database; null: the database
  uint64_t seed;
  char *optimizer, *schedule; // names; negative numbers below: the optimizer's usual ones
  double learning_rate, momentum, beta1, beta2, epsilon, weight_decay, clip_norm;
  double warmup_epochs, min_accuracy; // min_accuracy < 0: from the seed trials
  double time_limit, trial_timeout;   // seconds; 0: none
  char *pruner, *target;              // pruners/pruner.h; a condition (expression.h), null: none
  int64_t reduction_factor, patience; // patience: epochs; 0: none
  double min_epochs;                  // of the first rung; 0: the pruner's default
  char *preset, *targeted, *ageing;   // targeted: "on" or "off"; ageing: a name of anas_ageing_names
  int64_t population, sample;         // of the strategies that have one
  int64_t generations_to_live;        // 0: no ageing
  char *mutation_text;                // settings of mutations; after parsing, the effective ones
  struct anas_mutation_options mutation;
  int64_t latency_batch;
  char *metrics; // names of further metrics to measure, separated by commas; null: none
  bool inherit_weights;
  int64_t memory_limit; // bytes a trial; 0: the machine's share
  int64_t disk_limit;   // bytes a trial may write
  char *cpu;            // "native" or an LLVM name
  char *precision;      // of contractions, see anas_cpu_target_set_precision
  // Not part of the study.
  char *study;
  bool no_winograd, resume, json, quiet, print_config, compile_report, tune;
};

void search_options_defaults(struct search_options *out);
void search_options_deinit(struct search_options *options);
// The part that belongs to the study, as JSON text and back. Reading keeps what the text does not mention.
char *search_options_to_json(const struct search_options *options);
anas_status search_options_from_json(const char *text, struct search_options *options);
// Parses the command line of a search (not of a sub-command) into options that hold defaults.
anas_status search_options_parse(int argc, char **argv, struct search_options *out);
// On resume: applies the budget flags of the command line to stored options; other flags of the study are refused.
anas_status search_options_budget(int argc, char **argv, struct search_options *out);
void search_help(struct anas_strbuf *out);

// Flags of mutations (mutation_flags.c). The setting a flag stands for, null if it is none of them.
const char *search_mutation_setting(const char *flag, size_t size);
void search_mutation_offer(struct anas_nearest *nearest); // names for "did you mean"
anas_status search_mutation_add(struct search_options *options, const char *setting, const char *value);
anas_status search_mutation_finish(struct search_options *options); // text -> options->mutation, made effective
// Everything of a preset but the mutation; model: of the zoo, null if there is none.
anas_status search_preset(struct search_options *options, const char *preset);
// recipe.c. What a preset trains a family of networks with; optimizer: what --optimizer says, may be null. Then the
// usual numbers where nobody has given any.
void search_preset_recipe(struct search_options *options, const char *model, const char *optimizer);
anas_status search_recipe_finish(struct search_options *options);
anas_status search_optimizer(const struct search_options *options, struct anas_optimizer *out);
void search_preset_model(struct search_options *options); // what of it depends on the model, where no flag was given
int search_ageing(const struct search_options *options);  // enum anas_ageing; -1: there is no such name
void search_mutation_help(struct anas_strbuf *out);

// ---- proposals

struct search;

// What becomes a trial. state is STUDY_WAITING if it shall be trained, else why not.
struct proposal {
  struct anas_model *model; // owned; null if there is none
  int64_t parent;           // -1: a seed
  char kind[24], block[64];
  char *description; // malloc'ed
  char *decision;    // JSON: how the parent was chosen, attempts; malloc'ed
  char hash[33];
  struct anas_model_cost cost;
  int duplicates, infeasible, violations; // rejected attempts
  enum study_state state;
  char *reason; // malloc'ed, null if WAITING
};
void proposal_deinit(struct proposal *proposal);

// A strategy proposes trial 'number'. It may look at the trials below visible only: all of them have ended, so the
// decision does not depend on which worker was faster.
struct search_strategy {
  const char *name, *summary;
  anas_status (*propose)(struct search *search, int64_t number, int64_t visible, struct anas_rng *rng,
                         struct proposal *out);
  void (*forget)(void *memory); // frees search->memory; null if there is none
};
extern const struct search_strategy strategy_alphanas, strategy_regularized, strategy_nsga2, strategy_mu_plus_lambda,
    strategy_local, strategy_mutation, strategy_random;
const struct search_strategy *search_strategy_find(const char *name);
const struct search_strategy *const *search_strategies(int *out_count);

// For strategies: mutates parent; checks duplicates and constraints. True if accepted; else counted in proposal.
bool proposal_try_child(struct search *search, int64_t parent, const struct anas_model *parent_model,
                        struct anas_rng *rng, struct proposal *proposal);
// Chooses a parent among the trials below visible, 0 (the first seed) while there is nothing to choose from. What led
// to it may be added to the decision.
typedef int64_t (*search_choose)(const struct search *search, int64_t visible, const void *data, struct anas_rng *rng,
                                 json_t *decision);
// Proposes a mutation of a chosen parent, and tries others while nothing new is found; writes the decision.
anas_status proposal_mutate(struct search *search, const char *strategy, search_choose choose, const void *data,
                            int64_t visible, struct anas_rng *rng, struct proposal *out);
// Marks a proposal that found nothing after 'attempts'.
void proposal_give_up(struct proposal *proposal, int attempts);
anas_status proposal_seed(struct search *search, struct proposal *out);

// ---- state of a running search (evolve.c)

struct decision_cost { // of a proposal: mutation, checks and writing
  double seconds, cpu_seconds;
};

struct packing {  // why there are so many workers
  bool automatic; // what follows is known
  double speedup; // predicted, of all processors on one trial
  int64_t planned_bytes;
};

#define MAX_CACHED_MODELS 64 // read again from their files when needed

struct search {
  struct search_options options;
  struct study *study;
  MlirContext context;          // without threads: trials are forked from here
  struct anas_dataset *dataset; // null with the simulated evaluator
  const struct search_strategy *strategy;
  void *memory; // of the strategy: what it read from the trials already; saves time and decides nothing
  struct anas_model *seed;
  double *seed_metric;        // METRIC_NUM values, those known from the model; null: not computed yet
  struct study_trial *trials; // by number; all below num_trials exist
  struct anas_model **models; // by number; the last ones used are in memory
  int64_t num_trials;
  size_t capacity_trials, capacity_models;
  struct pruner_log *arrivals; // at rungs, in order (pruners/decide.c); null until needed
  struct pruner_gains *gains;  // from rungs to full training (pruners/expect.c); null until needed
  int64_t *index;              // architectures by hash: number + 1, 0 where free (propose.c)
  size_t capacity_index;
  int64_t num_indexed;
  struct decision_cost *decisions; // of this process
  int64_t duplicates;              // children that were known already, in the whole study
  size_t num_decisions, capacity_decisions;
  struct packing packing;
  int64_t cached[MAX_CACHED_MODELS]; // numbers + 1 of the models in memory, a ring; 0: none
  int next_cached;
};

// Trials below this have ended, and may be looked at, when trial 'number' is proposed: depends on the options alone.
int64_t search_visible(const struct search_options *options, int64_t number);
// Decides what trial search->num_trials is, from the trials below visible. The proposal is initialised and filled.
anas_status search_propose(struct search *search, int64_t visible, struct proposal *out);
// Text of candidate.mlir of a trial: its lineage as comments, then the model.
anas_status search_candidate_text(const struct search *search, int64_t number, const struct anas_model *model,
                                  struct anas_strbuf *out);
// Model of a trial, read from its candidate file when needed. Null and an error if that fails. It stays until
// MAX_CACHED_MODELS others have been asked for or kept.
const struct anas_model *search_model(struct search *search, int64_t number);
// Hands over the model of a trial.
void search_keep_model(struct search *search, int64_t number, struct anas_model *model);
// Objective value standardised to "higher is better".
double search_standardised(const struct search_objective *objective, const struct study_trial *trial);
// The same for choosing parents: of a trial that was stopped early, what it is expected to have reached; NaN if the
// trial can be no parent.
double search_expected(const struct search *search, const struct search_objective *objective,
                       const struct study_trial *trial);

// ---- opening a search (setup.c)

// Creates the study of search->options, or takes up an existing one with the budget flags of the command line.
anas_status search_start(struct search *search);
anas_status search_resume(struct search *search, int argc, char **argv);
// Verifies and infers shapes; name is for messages.
anas_status search_read_model(MlirContext context, const char *text, const char *name, struct anas_model **out);
// Reads options, seed model and trials of an existing study into a search that holds default options and a context.
anas_status search_load(struct search *search, const char *study, bool write);
// The same of a study that is open already.
anas_status search_read_study(struct search *search);
// The images that trials of the search are trained on, where its evaluator needs them.
anas_status search_open_dataset(struct search *search);
// Reads the trials that came into the study since.
anas_status search_catch_up(struct search *search);
void search_deinit(struct search *search);

// Decides on the number of workers, if that is automatic (packing_seed.c).
void search_pack(struct search *search);
int search_trial_threads(const struct search_options *options); // there are workers

// Creates or resumes the study and runs it; returns the exit code.
int search_run(int argc, char **argv, struct search_options *options /* taken over */);

// ---- one trial in its own process (trial.c)

struct trial_process {
  int64_t number;
  int pid, pidfd, fd;                        // fd: JSON lines from the child
  double started, deadline, killed, checked; // monotonic seconds; deadline 0: none; killed 0: not yet
  bool silent;                               // it has closed its end of fd
  bool timed_out, over_memory, over_disk, interrupted;
  bool no_space;      // on the file system of the study
  double renewed;     // when its lease was
  int64_t checkpoint; // time of the last one kept, nanoseconds
  bool lost;          // the lease: somebody else may be at it
  struct anas_strbuf line;
  // last progress
  int64_t epoch, epochs, step, steps;
  double loss, val_accuracy;
  int64_t resident, memory_limit, disk_limit; // bytes
};

anas_status trial_start(struct search *search, int64_t number, struct trial_process *out);
// Waits until a child has something to say or ends, or its limits are to be looked at.
void trial_wait(const struct trial_process *running, int count);
// Reads what the child wrote; true if there was something new.
bool trial_read(struct trial_process *process, struct study_trial *trial);
// Enforces limits and collects the child. True if it has ended: trial then holds state, reason and results.
bool trial_poll(struct search *search, struct trial_process *process, struct study_trial *trial);
void trial_interrupt(struct trial_process *process);

// ---- local workers: claim trials, run each in its process, record what became of it (crew.c)

struct crew {
  struct search *search;
  struct table *table;
  struct trial_process *running;
  int num_running, size;
  char owner[128]; // in claims
  bool disconnected;
};
void crew_init(struct crew *crew, struct search *search, struct table *table);
void crew_deinit(struct crew *crew);
// Starts a waiting trial, if there is one and a worker is free.
anas_status crew_claim(struct crew *crew, bool *out_claimed);
// Keeps leases and records ends. ended: called for each trial that has ended, or goes back to the queue.
typedef anas_status (*crew_ended)(void *data, int64_t number);
anas_status crew_collect(struct crew *crew, crew_ended ended, void *data);
void crew_wait(const struct crew *crew); // for news, a short time at most
void crew_interrupt(struct crew *crew);
void crew_stop(struct crew *crew); // likewise, waits for their ends and records nothing
bool crew_runs(const struct crew *crew, int64_t number);
// Ctrl-C and SIGTERM are counted from now on; terminate: how much a SIGTERM counts.
void crew_handle_signals(int terminate);
int crew_stop_requests(void);

// Limits of the calling process, for good (isolate.c).
void trial_isolate(int64_t memory_bytes, int64_t disk_bytes);
// How trials are compiled (evaluate.c), but for the memory limit and the report.
anas_status search_compile_options(const struct search_options *options, int threads, struct anas_compile_options *out);
// Does what ANAS_TEST_FAULT asks of this trial (faults.c).
anas_status trial_fault(const struct search *search, int64_t number);
// Runs in the child (evaluate.c): reads the candidate, trains, writes JSON lines to fd. Never returns.
__attribute__((noreturn)) void evaluate_trial(struct search *search, int64_t number, int64_t memory_limit /* bytes */,
                                              int fd);

// ---- output

struct table; // live table on a terminal, or lines, or JSON events (table.c)
struct table *table_create(const struct search *search);
void table_workers(struct table *table); // how many there are, and why
void table_destroy(struct table *table); // leaves the last picture on the screen
void table_trial_started(struct table *table, const struct study_trial *trial);
void table_trial_ended(struct table *table, const struct study_trial *trial);
void table_message(struct table *table, const char *text);
void table_refresh(struct table *table, const struct trial_process *running, int count, int draining);

// Non-dominated completed trials, best first objective first; malloc'ed numbers (front.c).
int64_t *front_of(const struct search_options *options, const struct study_trial *trials, int64_t count,
                  int64_t *out_count);
// Adds a trial that has ended to a front in the same order. False if it does not belong there. left has room for the
// front: the members that it pushed out.
bool front_add(const struct search_options *options, const struct study_trial *trials, int64_t number, int64_t **front,
               int64_t *count, int64_t *left, int64_t *out_num_left);
// Means of the completed seed trials' objectives, the units of hypervolumes; NaN while there is none.
void front_units(const struct search_options *options, const struct study_trial *trials, int64_t count,
                 double out_units[MAX_OBJECTIVES]);
// Exact hypervolume of a front. Objectives are measured in units of the seed's; the reference point is 0 where they are
// maximised and 2 where they are minimised, so that the seed alone has 1. NaN without units.
double front_hypervolume(const struct search_options *options, const struct study_trial *trials, const int64_t *front,
                         int64_t count, const double units[MAX_OBJECTIVES]);
anas_status front_print(const struct search *search, const int64_t *front, int64_t count, struct anas_strbuf *out);
// Lines "PREFIX..." with the chain of parents of a trial, up to so many, and the results that are known by now.
#define MAX_LINEAGE 32 // in files: later generations would be comments for the most part
anas_status lineage_comments(struct study *study, struct study_trial *trials, int64_t number, const char *prefix,
                             bool results, int64_t generations, struct anas_strbuf *out);
// STORE/front/NNNN.mlir: writes one, or removes it.
anas_status front_write(const struct search *search, int64_t number);
void front_remove(const char *study, int64_t number);
// Writes those of the whole front and removes all others.
anas_status front_export(const struct search *search, const int64_t *front, int64_t count);

#endif
