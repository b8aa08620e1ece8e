// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Progressive synthesis of a chain (spec 3.7): append the op that comes closest, or a random one that prefers to.
// Differences from the reference, all of them repairs: the progress filter is in force, the exact feature count and the
// greedy end use the true length limit, prefixes that have lost a required pairing are not entered, and what the chain
// satisfies is checked again at the end.
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

struct search {
  struct anas_synthesizer *s;
  struct anas_prefix *prefix, *after; // one per target
  struct anas_exact exact;
  double *distance; // per symbol; negative: not a candidate
};

// Fills in search->distance for every candidate of this step. False if there is none.
static bool evaluate(struct search *search, double last) {
  struct anas_synthesizer *s = search->s;
  search->exact = anas_exact_at(s->targets, s->num_targets, search->prefix);
  // Below the minimum length a satisfied chain has to stay as it is; no op could come closer.
  bool must_progress = s->options->filter_progress && last > 0;
  bool any = false;
  for (int i = 0; i < s->alphabet.count; i++) {
    struct anas_node scratch;
    const struct anas_node *op = anas_symbol_op(&s->alphabet, i, &search->exact, &scratch);
    search->distance[i] = -1;
    if (!op || !anas_synthesizer_try(s, search->prefix, op, search->after)) continue;
    double distance = anas_synthesizer_distance(s, search->after);
    if (distance < 0 || (must_progress && distance >= last)) continue;
    if (distance > 0 && anas_prefix_is_dead_end(s->targets, s->num_targets, search->after)) continue;
    search->distance[i] = distance;
    any = true;
  }
  return any && !s->out_of_budget;
}

static void keep_at_most(struct search *search, double limit) {
  for (int s = 0; s < search->s->alphabet.count; s++)
    if (search->distance[s] > limit) search->distance[s] = -1;
}

double anas_candidate_weight(double distance, double epsilon, double exponent) {
  double base = distance + epsilon;
  return base > 0 ? pow(base, -exponent) : 1; // without epsilon only the satisfying ones are left
}

static double weight_of(const struct search *search, int s) {
  const struct anas_synthesis_options *options = search->s->options;
  if (search->distance[s] < 0) return 0;
  return options->mode == ANAS_WEIGHTED
             ? anas_candidate_weight(search->distance[s], options->epsilon, options->exponent)
             : 1;
}

// Op type first, then one of its instances: ops with many attributes would win too often otherwise.
static int choose(struct search *search) {
  const struct anas_alphabet *alphabet = &search->s->alphabet;
  double *type_weight = anas_calloc((size_t)alphabet->num_types, sizeof *type_weight), total = 0;
  for (int s = 0; s < alphabet->count; s++) {
    double weight = weight_of(search, s), *type = &type_weight[alphabet->symbols[s].type];
    if (weight > *type) {
      total += weight - *type;
      *type = weight;
    }
  }
  double draw = anas_rng_double(search->s->rng) * total;
  int type = -1;
  for (int t = 0; t < alphabet->num_types; t++) {
    if (type_weight[t] == 0) continue;
    type = t; // rounding may leave a rest beyond the last
    if (draw < type_weight[t]) break;
    draw -= type_weight[t];
  }
  free(type_weight);

  total = 0;
  for (int s = 0; s < alphabet->count; s++)
    if (alphabet->symbols[s].type == type) total += weight_of(search, s);
  draw = anas_rng_double(search->s->rng) * total;
  int chosen = -1;
  for (int s = 0; s < alphabet->count; s++) {
    double weight = alphabet->symbols[s].type == type ? weight_of(search, s) : 0;
    if (weight == 0) continue;
    chosen = s;
    if (draw < weight) break;
    draw -= weight;
  }
  return chosen;
}

// Appends one op; false if nothing can be appended.
static bool step(struct search *search, double last, double *out_distance) {
  struct anas_synthesizer *s = search->s;
  if (!evaluate(search, last)) return false;
  double least = DBL_MAX;
  for (int i = 0; i < s->alphabet.count; i++)
    if (search->distance[i] >= 0 && search->distance[i] < least) least = search->distance[i];
  if (s->options->mode == ANAS_GREEDY || s->length >= s->options->max_length - 2)
    keep_at_most(search, least);
  else if ((s->options->epsilon == 0 || s->options->mode == ANAS_UNIFORM) && least == 0)
    keep_at_most(search, 0);
  int chosen = choose(search);
  struct anas_node scratch, *op = &s->chain[s->length++];
  *op = *anas_symbol_op(&s->alphabet, chosen, &search->exact, &scratch);
  anas_prefix_append(s->targets, s->num_targets, search->prefix, op, search->prefix);
  *out_distance = search->distance[chosen];
  return true;
}

// Distance of the chain when it cannot or need not go on.
static double grow(struct search *search) {
  struct anas_synthesizer *s = search->s;
  double distance = anas_synthesizer_distance(s, search->prefix);
  double last = distance < 0 ? DBL_MAX : distance;
  for (;;) {
    if (s->length >= s->options->min_length && last == 0) {
      bool room = s->length <= s->options->max_length - 2;
      if (!room || anas_rng_double(s->rng) >= s->options->grow_probability) return last;
    }
    if (s->length >= s->options->max_length) return last;
    if (!step(search, last, &distance)) return last;
    last = distance;
  }
}

static anas_status progressive_search(struct anas_synthesizer *s) {
  struct search search = {.s = s,
                          .prefix = anas_synthesizer_states(s, 1),
                          .after = anas_synthesizer_states(s, 1),
                          .distance = anas_calloc((size_t)s->alphabet.count, sizeof(double))};
  anas_synthesizer_start(s, search.prefix);
  double distance = grow(&search);
  free(search.prefix);
  free(search.after);
  free(search.distance);
  if (distance == 0 && s->length >= s->options->min_length) return ANAS_OK;
  return anas_fail(ANAS_INFEASIBLE,
                   "no chain of at most %d ops was found%s: %d ops reached distance %.4g after %lld "
                   "candidates",
                   s->options->max_length, s->out_of_budget ? " before max-candidates was reached" : "", s->length,
                   distance == DBL_MAX ? INFINITY : distance, (long long)s->candidates);
}

const struct anas_strategy anas_strategy_progressive = {.repeats = true, .search = progressive_search};
