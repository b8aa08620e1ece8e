// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random synthesis, the weakest baseline that looks at properties: chains of a random length from the window, every op
// drawn by type, then among the instances of the type; until one satisfies the targets or max-candidates is reached.
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>

// One random chain. True if it is well-typed and satisfies the targets.
static bool draw_chain(struct anas_synthesizer *s, int length, struct anas_prefix *state) {
  anas_synthesizer_start(s, state);
  for (int n = 0; n < length; n++) {
    struct anas_exact exact = anas_exact_at(s->targets, s->num_targets, state);
    struct anas_node scratch;
    const struct anas_node *op = NULL;
    while (!op) // an exact size that does not apply here is drawn again
      op = anas_symbol_op(&s->alphabet, anas_alphabet_draw(&s->alphabet, s->rng), &exact, &scratch);
    if (!anas_synthesizer_try(s, state, op, state)) return false;
    s->chain[n] = *op;
  }
  s->length = length;
  return anas_synthesizer_distance(s, state) == 0;
}

static anas_status random_search(struct anas_synthesizer *s) {
  const struct anas_synthesis_options *options = s->options;
  if (options->max_candidates == 0)
    return anas_fail(ANAS_INVALID, "random synthesis needs max-candidates: it would not end where no chain exists");
  struct anas_prefix *state = anas_synthesizer_states(s, 1);
  uint64_t lengths = (uint64_t)(options->max_length - options->min_length) + 1;
  bool found = false;
  while (!found && !s->out_of_budget) {
    int length = options->min_length + (int)anas_rng_below(s->rng, lengths);
    if (length == 0) {
      anas_synthesizer_start(s, state);
      found = anas_synthesizer_distance(s, state) == 0;
      s->length = 0;
      if (!found && lengths == 1) break;
    } else {
      found = draw_chain(s, length, state);
    }
  }
  free(state);
  return found ? ANAS_OK : anas_synthesizer_failed(s);
}

const struct anas_strategy anas_strategy_random = {.search = random_search};
