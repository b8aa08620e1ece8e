// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random enumerative synthesis (spec 3.6): lengths in order, and within one length every chain once, in random order.
// The number of a chain is read as digits to the base of the alphabet's size, first op first. The order is a computed
// permutation of the numbers, so nothing is stored. Where there are more than 2^62 chains of a length, which no search
// would exhaust, numbers are drawn independently.
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>

#define MAX_CHAINS (UINT64_C(1) << 62)

// How many chains of a length there are; MAX_CHAINS if more.
static uint64_t number_of_chains(uint64_t symbols, int length) {
  uint64_t count = 1;
  for (int i = 0; i < length; i++) {
    if (count > MAX_CHAINS / symbols) return MAX_CHAINS;
    count *= symbols;
  }
  return count;
}

// Evaluates one chain as far as it is well-typed. True if it satisfies the targets.
static bool evaluate(struct anas_synthesizer *s, const int *symbols, int length, struct anas_prefix *state) {
  anas_synthesizer_start(s, state);
  for (int n = 0; n < length; n++) {
    struct anas_exact exact = anas_exact_at(s->targets, s->num_targets, state);
    struct anas_node scratch;
    const struct anas_node *op = anas_symbol_op(&s->alphabet, symbols[n], &exact, &scratch);
    if (!op || !anas_synthesizer_try(s, state, op, state)) return false;
    s->chain[n] = *op;
  }
  s->length = length;
  return anas_synthesizer_distance(s, state) == 0;
}

static bool search_length(struct anas_synthesizer *s, int length, struct anas_prefix *state) {
  uint64_t base = (uint64_t)s->alphabet.count, count = number_of_chains(base, length), key = anas_rng_u64(s->rng);
  int symbols[ANAS_MAX_CHAIN];
  for (uint64_t i = 0; i < count && !s->out_of_budget; i++) {
    uint64_t number = count < MAX_CHAINS ? anas_permuted(key, count, i) : 0;
    for (int n = length - 1; n >= 0; n--, number /= base)
      symbols[n] = (int)(count < MAX_CHAINS ? number % base : anas_rng_below(s->rng, base));
    if (evaluate(s, symbols, length, state)) return true;
  }
  return false;
}

static anas_status random_enum_search(struct anas_synthesizer *s) {
  struct anas_prefix *state = anas_synthesizer_states(s, 1);
  anas_synthesizer_start(s, state);
  bool found = s->options->min_length == 0 && anas_synthesizer_distance(s, state) == 0; // the empty chain
  int first = s->options->min_length > 1 ? s->options->min_length : 1;
  for (int length = first; length <= s->options->max_length && !found && !s->out_of_budget; length++)
    found = search_length(s, length, state);
  free(state);
  return found ? ANAS_OK : anas_synthesizer_failed(s);
}

const struct anas_strategy anas_strategy_random_enum = {.search = random_enum_search};
