// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// --patience N: a trial stops that has not become better for N epochs. It looks at nothing but its own curve.
#include "tools/anas-search/pruners/pruner.h"

#include "runtime/support/memory.h"

#include <math.h>

bool patience_exhausted(const struct search_options *options, const struct study_trial *trial,
                        const struct study_point *point, char **out_reason) {
  if (!options->patience || trial->number < options->seed_trials) return false;
  const struct study_point *best = NULL;
  for (int i = 0; i < trial->num_points && trial->curve[i].steps <= point->steps; i++)
    if (!best || trial->curve[i].accuracy > best->accuracy) best = &trial->curve[i];
  if (!best || point->epochs - best->epochs < (double)options->patience) return false;
  *out_reason = anas_format(
      "stopped after %g of %lld epochs: accuracy not above %.4f, of epoch %g, for --patience %lld", point->epochs,
      (long long)options->epochs, best->accuracy, best->epochs, (long long)options->patience);
  return true;
}
