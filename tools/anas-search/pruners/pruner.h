// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Who is trained on: --pruner NAME, one file each. A trial pauses at a rung, an amount of training, with a checkpoint;
// what is decided there depends on options and log alone, never on which worker was faster without the log saying so:
//   --synchronous N   when all of a generation have reached the rung, or ended before it, compared with each other and
//                     with the generations before;
//   else              at once, compared with those that reached it before: the log keeps the order of arrivals.
// Trials of the seed model take no part: they are trained in full.
#ifndef ANAS_TOOLS_ANAS_SEARCH_PRUNER_H
#define ANAS_TOOLS_ANAS_SEARCH_PRUNER_H

#include "tools/anas-search/search.h"

// Trials that reached a rung, best quality first; one of them is to be judged.
struct pruner_group {
  int count, num_objectives;
  double *rows;     // count x num_objectives at the rung, standardised: higher is better
  double *quality;  // count: accuracy, or loss if that is the objective, likewise
  double *accuracy; // count
  bool *judged;     // count: with generations those of its own; else all
};

struct pruner {
  const char *name, *summary;
  // Rungs of a trial in epochs, ascending, all below the budget. *out is malloc'ed; returns how many.
  int (*rungs)(const struct search_options *options, int64_t number, double **out);
  // Only trials with the same answer are compared. Null: all are.
  int (*class_of)(const struct search_options *options, int64_t number);
  bool (*goes_on)(const struct search_options *options, const struct pruner_group *group, int member);
  const char *losing; // why a trial that does not go on: "not among the best" of N trials
};
extern const struct pruner pruner_halving, pruner_hyperband, pruner_median;

// Null for "none" and for names that do not exist; see pruner_check.
const struct pruner *pruner_find(const char *name);
anas_status pruner_check(const struct search_options *options);
void pruner_help(struct anas_strbuf *out);
// How many trials may pass a worker while it trains one in full: on average the others are that much shorter.
int64_t pruner_overtaking(const struct search_options *options);

// What halving and hyperband share (halving.c): rungs of the whole budget, the ranking.
int pruner_halving_rungs(const struct search_options *options, double *out);
bool pruner_halving_goes_on(const struct search_options *options, const struct pruner_group *group, int member);

// ---- a trial's curve (curve.c)

// Where a trial has validation figures: at the end of each epoch and at its rungs; ascending, the last is the budget.
struct pruner_stop {
  double epochs;
  bool rung;
};
struct pruner_stop *pruner_stops(const struct search_options *options, int64_t number, int *out_count); // malloc'ed

// The point of a curve at 'steps', new if there was none.
struct study_point *curve_point(struct study_trial *trial, int64_t steps);
// As text for a checkpoint, malloc'ed, and back: adds the points that the trial does not have.
char *curve_to_text(const struct study_trial *trial);
void curve_from_text(const char *text, struct study_trial *trial);
// The rule of --patience (patience.c): whether the trial has not become better for that many epochs at its point.
bool patience_exhausted(const struct search_options *options, const struct study_trial *trial,
                        const struct study_point *point, char **out_reason);

// ---- decisions (decide.c)

// Enters the rungs that a trial has reached into the log of arrivals. Whether there were new ones.
bool pruner_arrive(struct search *search, struct study_trial *trial);
// Decides what can be decided about 'paused', all the PAUSED trials whose processes have ended: the last point of such
// a trial gets its verdict, the trial a reason and the state WAITING or PRUNED.
void pruner_decide(struct search *search, const int64_t *paused, int64_t count);
// Makes the decision at a rung again.
enum study_verdict pruner_again(const struct search *search, const struct study_trial *trial,
                                const struct study_point *point);
void pruner_log_deinit(struct search *search);

// ---- results in full training (expect.c)

// Learns from the trials below visible what the rest of the training is worth. True if anything expected may be another
// than before.
bool pruner_learn_gains(struct search *search, int64_t visible);
void pruner_gains_deinit(struct search *search);
// Metric of a trial, the expected one if it was stopped at a rung; NaN if it is not known.
double pruner_expected(const struct search *search, const struct study_trial *trial, enum study_metric metric);

// ---- trials at a rung, of a running search (paused.c)

struct paused {
  int64_t *numbers, count;
  size_t capacity;
};
void paused_add(struct paused *paused, int64_t number);
// Decides what can be decided, writes it down, and calls decided for each trial: it is WAITING or PRUNED now.
typedef anas_status (*paused_decided)(void *data, int64_t number);
anas_status paused_settle(struct paused *paused, struct search *search, paused_decided decided, void *data,
                          bool *out_any);

#endif
