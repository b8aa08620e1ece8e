// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of pruners.
#include "tools/anas-search/pruners/pruner.h"

#include "passes/search/halving.h"
#include "runtime/support/nearest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_HALVINGS 1e3 // ratio of the budget and the first rung; brackets of Hyperband are dealt in cycles that long

static const struct pruner *const pruners[] = {&pruner_halving, &pruner_hyperband, &pruner_median};
#define NUM_PRUNERS (sizeof pruners / sizeof *pruners)

const struct pruner *pruner_find(const char *name) {
  for (size_t i = 0; i < NUM_PRUNERS; i++)
    if (!strcmp(pruners[i]->name, name)) return pruners[i];
  return NULL;
}

anas_status pruner_check(const struct search_options *options) {
  if (!strcmp(options->pruner, "none")) return ANAS_OK;
  struct anas_nearest nearest = anas_nearest_make(options->pruner, strlen(options->pruner));
  for (size_t i = 0; i < NUM_PRUNERS; i++)
    anas_nearest_offer(&nearest, pruners[i]->name);
  char hint[128];
  if (!pruner_find(options->pruner))
    return anas_fail(ANAS_INVALID, "--pruner is none, halving, hyperband or median, got '%s'%s", options->pruner,
                     nearest.best ? anas_nearest_hint(&nearest, hint) : "");
  if (options->max_steps)
    return anas_fail(ANAS_INVALID, "--pruner takes the budget of a trial from --epochs; --max-steps excludes it (use "
                                   "fewer images an epoch: --limit)");
  if (options->min_epochs > 0 && (double)options->epochs / options->min_epochs > MOST_HALVINGS)
    return anas_fail(ANAS_INVALID, "--min-epochs %g is less than 1/%g of --epochs %lld", options->min_epochs,
                     MOST_HALVINGS, (long long)options->epochs);
  double rungs[ANAS_MAX_RUNGS];
  bool median = !strcmp(options->pruner, "median");
  if (median ? options->epochs <= (options->min_epochs > 0 ? options->min_epochs : 1)
             : !pruner_halving_rungs(options, rungs))
    return anas_fail(ANAS_INVALID,
                     "--pruner %s has nothing to decide: --epochs %lld leave no rung of at least --min-epochs %g",
                     options->pruner, (long long)options->epochs, options->min_epochs);
  return ANAS_OK;
}

void pruner_help(struct anas_strbuf *out) {
  anas_strbuf_addf(out, "  %-28s %s\n", "none", "train every candidate in full (default)");
  for (size_t i = 0; i < NUM_PRUNERS; i++)
    anas_strbuf_addf(out, "  %-28s %s\n", pruners[i]->name, pruners[i]->summary);
}

int64_t pruner_overtaking(const struct search_options *options) {
  const struct pruner *pruner = pruner_find(options->pruner);
  double rungs[ANAS_MAX_RUNGS];
  int count = pruner && pruner->goes_on == pruner_halving_goes_on ? pruner_halving_rungs(options, rungs) : 0;
  if (!count) return 1;
  // Of K rungs, each takes factor^-K (1 - 1/factor) of the budget of all, the first factor^-K.
  double factor = (double)options->reduction_factor, mean = pow(factor, -count) * (1 + count * (1 - 1 / factor));
  return mean < 1 ? (int64_t)ceil(1 / mean) : 1;
}
