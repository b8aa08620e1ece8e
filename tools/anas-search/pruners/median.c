// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The median rule (Golovin et al., 2017): after every epoch from --min-epochs on, a trial stops whose accuracy (loss,
// if that is the objective) is worse than the median of the others at that epoch.
#include "tools/anas-search/pruners/pruner.h"

#include "passes/search/halving.h"
#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEWEST_OTHERS 3 // a median of fewer says nothing

static int rungs(const struct search_options *options, int64_t number, double **out) {
  (void)number;
  double least = options->min_epochs > 0 ? options->min_epochs : 1;
  int count = 0;
  *out = anas_calloc((size_t)options->epochs + 1, sizeof **out);
  if (least < (double)options->epochs && least != floor(least)) (*out)[count++] = least;
  for (double epoch = ceil(least); epoch < (double)options->epochs; epoch++)
    (*out)[count++] = epoch;
  return count;
}

static bool goes_on(const struct search_options *options, const struct pruner_group *group, int member) {
  (void)options;
  if (group->count - 1 < FEWEST_OTHERS) return true;
  double *others = anas_calloc((size_t)group->count, sizeof *others);
  int count = 0;
  for (int i = 0; i < group->count; i++)
    if (i != member) others[count++] = group->quality[i];
  bool below = anas_below_median(group->quality[member], others, count);
  free(others);
  return !below;
}

const struct pruner pruner_median = {
    .name = "median",
    .summary = "stop a trial that is worse than the median of the others after the same epoch",
    .rungs = rungs,
    .goes_on = goes_on,
    .losing = "below the median",
};
