// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Mutation of properties (spec 2.2-2.4): one draw for a part, applied to its properties in every context.
#include "passes/mutate/internal.h"

#include <string.h>

void anas_draw_change(const struct anas_mutation_options *options, bool output, struct anas_rng *rng,
                      struct anas_property_change *out) {
  struct anas_property_change change = {.any_shape = !options->use_shape};
  if (output && options->shape_probability > 0)
    change.any_shape = anas_rng_double(rng) < options->shape_probability || change.any_shape;
  while (change.depth_delta < options->depth_delta_max && anas_rng_double(rng) < options->depth_probability)
    change.depth_delta++;
  if (anas_rng_double(rng) < 0.5) change.depth_delta = -change.depth_delta;
  change.drop_mixing = anas_rng_double(rng) < options->mixing_probability || !options->use_mixing;
  if (!change.drop_mixing && options->weaken_probability > 0)
    for (int i = 0; i < ANAS_MAX_RANK; i++)
      for (int j = 0; j < ANAS_MAX_RANK; j++)
        change.lower[i][j] = anas_rng_double(rng) < options->weaken_probability;
  *out = change;
}

void anas_change_depth(const struct anas_property_change *change, int64_t *depth) {
  *depth += change->depth_delta;
  if (*depth < 0) *depth = 0;
}

void anas_change_mixing(const struct anas_property_change *change, struct anas_mixing *mixing) {
  for (int i = 0; i < mixing->rows; i++)
    for (int j = 0; j < mixing->columns; j++)
      if (change->drop_mixing)
        mixing->pair[i][j] = ANAS_PAIR_NONE;
      else if (change->lower[i][j] && mixing->pair[i][j] > ANAS_PAIR_NONE)
        mixing->pair[i][j]--;
}
