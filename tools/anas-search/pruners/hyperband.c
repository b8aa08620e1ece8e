// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hyperband (Li et al., 2017) over successive halving: trials are dealt to brackets that start at different rungs, so
// that candidates which learn slowly at first have a chance too. Trials are compared within their bracket.
#include "tools/anas-search/pruners/pruner.h"

#include "passes/search/halving.h"
#include "runtime/support/memory.h"

#include <string.h>

static int bracket(const struct search_options *options, int64_t number) {
  double all[ANAS_MAX_RUNGS];
  return anas_hyperband_bracket(number, pruner_halving_rungs(options, all), options->reduction_factor);
}

static int rungs(const struct search_options *options, int64_t number, double **out) {
  double all[ANAS_MAX_RUNGS];
  int count = pruner_halving_rungs(options, all), first = bracket(options, number);
  *out = anas_calloc((size_t)count, sizeof **out);
  memcpy(*out, all + first, (size_t)(count - first) * sizeof **out);
  return count - first;
}

const struct pruner pruner_hyperband = {
    .name = "hyperband",
    .summary = "halving in brackets that start at different rungs: some trials are judged late, or not at all",
    .rungs = rungs,
    .class_of = bracket,
    .goes_on = pruner_halving_goes_on,
    .losing = "not among the best of its bracket,",
};
