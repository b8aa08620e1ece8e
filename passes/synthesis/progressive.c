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
#include <string.h>

#define MAX_CHAIN 64 // entries of the trace

struct search {
  const struct anas_target *targets;
  int num_targets;
  const struct anas_synthesis_options *options;
  struct anas_rng *rng;
  struct anas_alphabet alphabet;
  struct anas_prefix *prefix, *after; // one per target
  double *distance;                   // per symbol; negative: not a candidate
  struct anas_node chain[MAX_CHAIN];
  int length;
  int64_t candidates;
};

static void set_exact(struct search *search, bool available, const struct anas_attr *exact, int s) {
  struct anas_symbol *symbol = &search->alphabet.symbols[s];
  symbol->op.attr[symbol->exact_attr] = available ? *exact : (struct anas_attr){.present = false};
}

// Is the exact size one of the regular ones? Then it would count twice.
static bool is_regular(const struct search *search, int s, const struct anas_attr *exact) {
  const struct anas_symbol *symbols = search->alphabet.symbols;
  int attr = symbols[s].exact_attr;
  for (int i = 0; i < search->alphabet.count; i++)
    if (symbols[i].type == symbols[s].type && symbols[i].exact_attr < 0 &&
        anas_attr_same(&symbols[i].op.def->attrs[attr], &symbols[i].op.attr[attr], exact))
      return true;
  return false;
}

// Fills in search->distance for every candidate of this step. False if there is none.
static bool evaluate(struct search *search, double last) {
  struct anas_attr exact;
  bool have_exact = anas_exact_size(search->targets, search->num_targets, search->prefix, &exact);
  // Below the minimum length a satisfied chain has to stay as it is; no op could come closer.
  bool must_progress = search->options->filter_progress && last > 0;
  int exact_type = -1;
  bool exact_regular = false, any = false;
  for (int s = 0; s < search->alphabet.count; s++) {
    struct anas_symbol *symbol = &search->alphabet.symbols[s];
    search->distance[s] = -1;
    if (symbol->exact_attr >= 0) {
      if (!have_exact) continue;
      if (symbol->type != exact_type) {
        exact_type = symbol->type;
        exact_regular = is_regular(search, s, &exact);
      }
      if (exact_regular) continue;
      set_exact(search, true, &exact, s);
    }
    search->candidates++;
    if (!anas_prefix_append(search->targets, search->num_targets, search->prefix, &symbol->op, search->after)) continue;
    double distance = anas_prefix_distance(search->targets, search->num_targets, search->after);
    if (distance < 0 || (must_progress && distance >= last)) continue;
    if (distance > 0 && anas_prefix_is_dead_end(search->targets, search->num_targets, search->after)) continue;
    search->distance[s] = distance;
    any = true;
  }
  return any;
}

static void keep_at_most(struct search *search, double limit) {
  for (int s = 0; s < search->alphabet.count; s++)
    if (search->distance[s] > limit) search->distance[s] = -1;
}

static double weight_of(const struct search *search, int s) {
  if (search->distance[s] < 0) return 0;
  if (search->options->mode != ANAS_WEIGHTED) return 1;
  double base = search->distance[s] + search->options->epsilon;
  return base > 0 ? pow(base, -search->options->exponent) : 1; // without epsilon only the satisfying ones are left
}

// Op type first, then one of its instances: ops with many attributes would win too often otherwise.
static int choose(struct search *search) {
  const struct anas_alphabet *alphabet = &search->alphabet;
  double *type_weight = anas_calloc((size_t)alphabet->num_types, sizeof *type_weight), total = 0;
  for (int s = 0; s < alphabet->count; s++) {
    double weight = weight_of(search, s), *type = &type_weight[alphabet->symbols[s].type];
    if (weight > *type) {
      total += weight - *type;
      *type = weight;
    }
  }
  double draw = anas_rng_double(search->rng) * total;
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
  draw = anas_rng_double(search->rng) * total;
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
  if (!evaluate(search, last)) return false;
  double least = DBL_MAX;
  for (int s = 0; s < search->alphabet.count; s++)
    if (search->distance[s] >= 0 && search->distance[s] < least) least = search->distance[s];
  if (search->options->mode == ANAS_GREEDY || search->length >= search->options->max_length - 2)
    keep_at_most(search, least);
  else if ((search->options->epsilon == 0 || search->options->mode == ANAS_UNIFORM) && least == 0)
    keep_at_most(search, 0);
  int s = choose(search);
  struct anas_node *op = &search->chain[search->length];
  *op = search->alphabet.symbols[s].op;
  op->operand[0] = (struct anas_ref){search->length - 1, 0}; // -1: the argument
  anas_prefix_append(search->targets, search->num_targets, search->prefix, op, search->prefix);
  op->result[0] = search->prefix[0].shape;
  search->length++;
  *out_distance = search->distance[s];
  return true;
}

// Values that are the defaults need not be written.
static void drop_defaults(struct anas_node *chain, int num_nodes) {
  for (int n = 0; n < num_nodes; n++)
    for (int a = 0; a < chain[n].def->num_attrs; a++) {
      const struct anas_attr_def *def = &chain[n].def->attrs[a];
      if (!def->required && def->fallback.present && anas_attr_same(def, &chain[n].attr[a], &def->fallback))
        chain[n].attr[a] = (struct anas_attr){.present = false};
    }
}

static double grow(struct search *search, double *trace) {
  const struct anas_synthesis_options *options = search->options;
  double distance = anas_prefix_distance(search->targets, search->num_targets, search->prefix);
  double last = distance < 0 ? DBL_MAX : distance;
  for (;;) {
    if (search->length >= options->min_length && last == 0) {
      bool room = search->length <= options->max_length - 2;
      if (!room || anas_rng_double(search->rng) >= options->grow_probability) return last;
    }
    if (search->length >= options->max_length) return last;
    if (!step(search, last, &distance)) return last;
    trace[search->length - 1] = distance;
    last = distance;
  }
}

static anas_status check_options(const struct anas_target *targets, int num_targets,
                                 const struct anas_synthesis_options *options) {
  if (num_targets < 1) return anas_fail(ANAS_INVALID, "synthesis needs at least one target");
  if (options->max_length < 1 || options->max_length > MAX_CHAIN || options->min_length < 0 ||
      options->min_length > options->max_length)
    return anas_fail(ANAS_INVALID,
                     "synthesis needs 0 <= min-length <= max-length <= %d and max-length > 0, got %d and %d", MAX_CHAIN,
                     options->min_length, options->max_length);
  if (!(options->epsilon >= 0) || !(options->exponent >= 0))
    return anas_fail(ANAS_INVALID, "epsilon and exponent of the weights must not be negative, got %g and %g",
                     options->epsilon, options->exponent);
  for (int t = 0; t < num_targets; t++) {
    char have[128], need[128];
    if (targets[t].input.rank != targets[t].output.rank || targets[t].input.rank < 2)
      return anas_fail(
          ANAS_INFEASIBLE,
          "no chain leads from tensor<%s> to tensor<%s>: synthesised ops keep the rank, which must be 2 or more",
          anas_shape_text(&targets[t].input, have), anas_shape_text(&targets[t].output, need));
    if (targets[t].input.rank != targets[0].input.rank)
      return anas_fail(ANAS_INFEASIBLE, "contexts 0 and %d have inputs of different ranks, %d and %d", t,
                       targets[0].input.rank, targets[t].input.rank);
  }
  return ANAS_OK;
}

anas_status anas_synthesize_chain(const struct anas_target *targets, int num_targets, const struct anas_node *reference,
                                  int num_reference, const struct anas_synthesis_options *options, struct anas_rng *rng,
                                  struct anas_synthesis_result *out) {
  ANAS_RETURN_IF_ERROR(check_options(targets, num_targets, options));
  struct anas_value_source source = {.reference = reference,
                                     .num_reference = reference ? num_reference : 0,
                                     .rank = targets[0].input.rank,
                                     .single_context = num_targets == 1};
  struct search *search = anas_alloc(sizeof *search);
  search->targets = targets;
  search->num_targets = num_targets;
  search->options = options;
  search->rng = rng;
  search->prefix = anas_calloc((size_t)num_targets, sizeof *search->prefix);
  search->after = anas_calloc((size_t)num_targets, sizeof *search->after);
  for (int t = 0; t < num_targets; t++)
    anas_prefix_start(&targets[t], &search->prefix[t]);
  anas_alphabet_init(&search->alphabet, &source);
  search->distance = anas_calloc((size_t)search->alphabet.count, sizeof *search->distance);

  struct anas_synthesis_result result = {0};
  double distance = grow(search, result.trace);
  anas_status status = ANAS_OK;
  if (distance != 0 || search->length < options->min_length) {
    status = anas_fail(
        ANAS_INFEASIBLE, "no chain of at most %d ops was found: %d ops reached distance %.4g after %lld candidates",
        options->max_length, search->length, distance == DBL_MAX ? INFINITY : distance, (long long)search->candidates);
  } else {
    if (options->randomize_attributes)
      anas_chain_randomize(targets, num_targets, &source, rng, search->chain, search->length);
    drop_defaults(search->chain, search->length);
    if (anas_chain_distance(targets, num_targets, search->chain, search->length) != 0)
      status = anas_fail(ANAS_INTERNAL, "the synthesised chain does not satisfy its targets");
  }
  if (status == ANAS_OK) {
    result.num_nodes = search->length;
    result.chain = anas_calloc((size_t)search->length, sizeof *result.chain);
    memcpy(result.chain, search->chain, (size_t)search->length * sizeof *result.chain);
    result.candidates = search->candidates;
    *out = result;
  }
  anas_alphabet_deinit(&search->alphabet);
  free(search->distance);
  free(search->prefix);
  free(search->after);
  free(search);
  return status;
}

void anas_synthesis_result_deinit(struct anas_synthesis_result *result) {
  free(result->chain);
  *result = (struct anas_synthesis_result){0};
}
