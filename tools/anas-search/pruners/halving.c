// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Successive halving (Li et al., 2018): of the trials at a rung, the best 1/--reduction-factor go on. Best means
// non-domination rank, then crowding distance, over all objectives that are known at the rung, among all trials that
// have reached it: a generation is not compared with itself alone.
#include "tools/anas-search/pruners/pruner.h"

#include "passes/search/halving.h"
#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_RUNGS 2 // without --min-epochs

int pruner_halving_rungs(const struct search_options *options, double *out) {
  double budget = (double)options->epochs, least = options->min_epochs;
  if (!(least > 0)) {
    least = budget;
    for (int i = 0; i < DEFAULT_RUNGS; i++)
      least /= (double)options->reduction_factor;
  }
  return anas_halving_rungs(budget, least, options->reduction_factor, out);
}

static int rungs(const struct search_options *options, int64_t number, double **out) {
  (void)number;
  *out = anas_calloc(ANAS_MAX_RUNGS, sizeof **out);
  return pruner_halving_rungs(options, *out);
}

bool pruner_halving_goes_on(const struct search_options *options, const struct pruner_group *group, int member) {
  bool *keep = anas_calloc((size_t)group->count, sizeof *keep);
  const struct anas_rung rung = {group->rows, group->accuracy, group->judged, group->count, group->num_objectives};
  anas_halving_keep(&rung, options->reduction_factor, keep);
  bool kept = keep[member];
  free(keep);
  return kept;
}

const struct pruner pruner_halving = {
    .name = "halving",
    .summary = "successive halving: the best 1/--reduction-factor at each rung go on, by non-domination and crowding",
    .rungs = rungs,
    .goes_on = pruner_halving_goes_on,
    .losing = "not among the best",
};
