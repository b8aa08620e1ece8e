// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where the results of a trial come from: --evaluator NAME[:ARGUMENT]. One file each; training itself is evaluate.c.
#ifndef ANAS_TOOLS_ANAS_SEARCH_EVALUATOR_H
#define ANAS_TOOLS_ANAS_SEARCH_EVALUATOR_H

#include "runtime/trainer.h"
#include "tools/anas-search/pruners/pruner.h"

struct reporter; // takes progress to the driver
struct outcome {
  struct anas_train_result result;
  double metric[METRIC_NUM]; // those measured before training
  double compile_seconds;
  int cache_hits, cache_misses; // kernel functions
  enum study_state ended;       // STUDY_COMPLETE, or PAUSED or PRUNED at the stop that was reported last
  char *reason;                 // of these
};

struct evaluator {
  const char *name, *metavar, *summary; // metavar: of the argument, null if it takes none
  // Whether the argument (null if there is none) is usable; called before a study is made. May be null.
  anas_status (*check)(const char *argument);
  // Runs in the process of the trial.
  anas_status (*evaluate)(const struct search *search, int64_t number, const char *argument, struct reporter *reporter,
                          struct outcome *out);
};
extern const struct evaluator evaluator_simulated, evaluator_table;

// The evaluator of an option value, and its argument; null with a message if there is none. "train" has no entry here:
// out_evaluator is null and the status ANAS_OK.
anas_status evaluator_find(const char *option, const struct evaluator **out_evaluator, const char **out_argument);
void evaluator_help(struct anas_strbuf *out);

// Evaluators that make results up have this many steps an epoch.
#define STEPS_AN_EPOCH 100
// Reports one of pruner_stops with what the outcome holds so far. False: the trial ends there (evaluate.c).
bool report_stop(struct reporter *reporter, const struct pruner_stop *stop);
// Epochs after which the trial goes on, of an earlier process; 0: from the start.
double epochs_done(const struct study_trial *trial);

#endif
