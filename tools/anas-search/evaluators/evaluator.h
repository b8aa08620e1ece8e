// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where the results of a trial come from: --evaluator NAME[:ARGUMENT]. One file each; training itself is evaluate.c.
#ifndef ANAS_TOOLS_ANAS_SEARCH_EVALUATOR_H
#define ANAS_TOOLS_ANAS_SEARCH_EVALUATOR_H

#include "runtime/trainer.h"
#include "tools/anas-search/search.h"

struct reporter; // takes progress to the driver
struct outcome {
  struct anas_train_result result;
  double metric[METRIC_NUM]; // those measured before training
  double compile_seconds;
  int cache_hits, cache_misses; // kernel functions
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

// Reports the end of epoch 'epoch' with what the outcome holds so far (evaluate.c).
void report_epoch(struct reporter *reporter, const struct search *search, int64_t epoch, const struct outcome *outcome);

#endif
