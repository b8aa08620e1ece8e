// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Synthesis of one chain: checks what was asked for, lets a strategy search, diversifies attributes, and infers the
// result from its start once more before it is handed out.
#include "passes/synthesis/internal.h"

#include "runtime/support/memory.h"

#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name;
  const struct anas_strategy *strategy;
} methods[] = {
    [ANAS_PROGRESSIVE] = {"progressive", &anas_strategy_progressive},
    [ANAS_ENUMERATIVE] = {"enumerative", &anas_strategy_enumerative},
    [ANAS_RANDOM_ENUM] = {"random-enum", &anas_strategy_random_enum},
    [ANAS_RANDOM] = {"random", &anas_strategy_random},
    [ANAS_PRIMER] = {"primer", &anas_strategy_primer},
    [ANAS_AUTOML_ZERO] = {"automl-zero", &anas_strategy_automl_zero},
};

const char *anas_synthesis_method_name(int method) {
  return method >= 0 && method < ANAS_SYNTHESIS_METHODS ? methods[method].name : NULL;
}

// ---- what strategies share

bool anas_synthesizer_try(struct anas_synthesizer *s, const struct anas_prefix *before, const struct anas_node *op,
                          struct anas_prefix *out_after) {
  if (s->options->max_candidates > 0 && s->candidates >= s->options->max_candidates) {
    s->out_of_budget = true;
    return false;
  }
  s->candidates++;
  return anas_prefix_append(s->targets, s->num_targets, before, op, out_after);
}

struct anas_prefix *anas_synthesizer_states(const struct anas_synthesizer *s, size_t count) {
  return anas_calloc(count * (size_t)s->num_targets, sizeof(struct anas_prefix));
}

void anas_synthesizer_start(const struct anas_synthesizer *s, struct anas_prefix *out) {
  for (int t = 0; t < s->num_targets; t++)
    anas_prefix_start(&s->targets[t], &out[t]);
}

double anas_synthesizer_distance(const struct anas_synthesizer *s, const struct anas_prefix *prefix) {
  return anas_prefix_distance(s->targets, s->num_targets, prefix);
}

anas_status anas_synthesizer_failed(const struct anas_synthesizer *s) {
  return anas_fail(ANAS_INFEASIBLE, "no chain of %d to %d ops was found%s: %lld candidates of an alphabet of %d",
                   s->options->min_length, s->options->max_length,
                   s->out_of_budget ? " before max-candidates was reached" : "", (long long)s->candidates,
                   s->alphabet.count);
}

// ---- checks

static anas_status check_options(const struct anas_synthesis_options *options) {
  if ((unsigned)options->method >= ANAS_SYNTHESIS_METHODS)
    return anas_fail(ANAS_INVALID, "synthesis method %d does not exist", (int)options->method);
  if (options->max_length < 1 || options->max_length > ANAS_MAX_CHAIN || options->min_length < 0 ||
      options->min_length > options->max_length)
    return anas_fail(ANAS_INVALID,
                     "synthesis needs 0 <= min-length <= max-length <= %d and max-length > 0, got %d and %d",
                     ANAS_MAX_CHAIN, options->min_length, options->max_length);
  if (!(options->epsilon >= 0) || !(options->exponent >= 0))
    return anas_fail(ANAS_INVALID, "epsilon and exponent of the weights must not be negative, got %g and %g",
                     options->epsilon, options->exponent);
  if (options->max_candidates < 0 || options->attempts < 0)
    return anas_fail(ANAS_INVALID, "max-candidates and attempts must not be negative, got %lld and %d",
                     (long long)options->max_candidates, options->attempts);
  return ANAS_OK;
}

static anas_status check_targets(const struct anas_target *targets, int num_targets) {
  if (num_targets < 1) return anas_fail(ANAS_INVALID, "synthesis needs at least one target");
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

// ---- the prime-factor scale

// Every prime factor of a number becomes a factor of the alphabet, in both directions.
static void add_prime_factors(struct anas_value_source *source, int64_t number) {
  for (int64_t p = 2; number > 1; p++) {
    if (p > number / p) p = number;
    if (number % p) continue;
    while (number % p == 0)
      number /= p;
    bool known = p == 2; // among the regular ones
    for (int f = 0; f < source->num_factors; f++)
      known = known || source->factor[f][0] == p || source->factor[f][1] == p;
    if (known || source->num_factors + 2 > ANAS_MAX_FACTORS) continue;
    memcpy(source->factor[source->num_factors++], (int64_t[]){p, 1}, sizeof source->factor[0]);
    memcpy(source->factor[source->num_factors++], (int64_t[]){1, p}, sizeof source->factor[0]);
  }
}

// Whatever leads towards or away from the target then has an op that makes progress: the prime factors by which input
// and output differ, and those that ops of the replaced chain bring in.
static void use_prime_factors(struct anas_target *targets, int num_targets, struct anas_value_source *source) {
  for (int t = 0; t < num_targets; t++) {
    int64_t have = targets[t].input.dim[targets[t].input.rank - 1];
    int64_t need = targets[t].output.dim[targets[t].output.rank - 1], common = anas_gcd(have, need);
    int missing = anas_missing_factors(have, need);
    targets[t].feature_steps = missing ? missing : 1; // what leads away from the right count is as far as a factor
    if (!missing || targets[t].any_shape) continue;
    add_prime_factors(source, need / common);
    add_prime_factors(source, have / common);
  }
  for (int n = 0; n < source->num_reference; n++)
    for (int a = 0; source->reference[n].def && a < source->reference[n].def->num_attrs; a++) {
      const struct anas_attr *attr = &source->reference[n].attr[a];
      if (!attr->present || !anas_attr_is_size(&source->reference[n].def->attrs[a])) continue;
      const struct anas_dim_expr *dim = &attr->value.dim;
      add_prime_factors(source, dim->relative ? dim->mul : dim->constant);
      add_prime_factors(source, dim->relative ? dim->div : 1);
    }
}

// ---- the result

// Values that are the defaults need not be written.
static void drop_defaults(struct anas_node *chain, int num_nodes) {
  for (int n = 0; n < num_nodes; n++)
    for (int a = 0; a < chain[n].def->num_attrs; a++) {
      const struct anas_attr_def *def = &chain[n].def->attrs[a];
      if (!def->required && def->fallback.present && anas_attr_same(def, &chain[n].attr[a], &def->fallback))
        chain[n].attr[a] = (struct anas_attr){.present = false};
    }
}

static bool has_target_shapes(const struct anas_synthesizer *s, const struct anas_prefix *prefix) {
  for (int t = 0; t < s->num_targets; t++)
    if (!s->targets[t].any_shape && !anas_shape_equal(&s->targets[t].output, &prefix[t].shape)) return false;
  return true;
}

// Infers the chain from its start; fills in result types, trace and distance.
static anas_status check_result(struct anas_synthesizer *s, bool blind, struct anas_synthesis_result *result) {
  struct anas_prefix *state = anas_synthesizer_states(s, 1);
  anas_synthesizer_start(s, state);
  double distance = anas_synthesizer_distance(s, state);
  anas_status status = ANAS_OK;
  for (int n = 0; n < s->length && status == ANAS_OK; n++) {
    s->chain[n].operand[0] = (struct anas_ref){n - 1, 0}; // -1: the argument
    if (!anas_prefix_append(s->targets, s->num_targets, state, &s->chain[n], state)) {
      status = anas_fail_context(ANAS_INFEASIBLE, "op %d of the chain: ", n);
      break;
    }
    s->chain[n].result[0] = state[0].shape;
    distance = anas_synthesizer_distance(s, state);
    result->trace[n] = distance < 0 ? -1 : distance;
  }
  if (status == ANAS_OK && blind && !has_target_shapes(s, state))
    status = anas_fail(ANAS_INFEASIBLE, "the mutated chain has another type than wanted");
  if (status == ANAS_OK && !blind && distance != 0)
    status = anas_fail(ANAS_INTERNAL, "the synthesised chain does not satisfy its targets");
  result->distance = distance < 0 ? -1 : distance;
  free(state);
  return status;
}

static anas_status attempt(struct anas_synthesizer *s, const struct anas_strategy *strategy,
                           struct anas_synthesis_result *result) {
  s->length = 0;
  ANAS_RETURN_IF_ERROR(strategy->search(s));
  if (s->options->randomize_attributes && !strategy->blind)
    anas_chain_randomize(s->targets, s->num_targets, &s->source, s->rng, s->chain, s->length);
  drop_defaults(s->chain, s->length);
  return check_result(s, strategy->blind, result);
}

anas_status anas_synthesize_chain(const struct anas_target *targets, int num_targets, const struct anas_node *reference,
                                  int num_reference, const struct anas_synthesis_options *options, struct anas_rng *rng,
                                  struct anas_synthesis_result *out) {
  if (options->effort) *options->effort = (struct anas_synthesis_effort){0};
  ANAS_RETURN_IF_ERROR(check_options(options));
  ANAS_RETURN_IF_ERROR(check_targets(targets, num_targets));
  struct anas_target *own = anas_calloc((size_t)num_targets, sizeof *own);
  memcpy(own, targets, (size_t)num_targets * sizeof *own);
  struct anas_synthesizer *s = anas_alloc(sizeof *s);
  *s = (struct anas_synthesizer){.targets = own,
                                 .num_targets = num_targets,
                                 .reference = reference,
                                 .num_reference = reference ? num_reference : 0,
                                 .options = options,
                                 .rng = rng};
  s->source = (struct anas_value_source){.reference = reference,
                                         .num_reference = s->num_reference,
                                         .rank = targets[0].input.rank,
                                         .single_context = num_targets == 1,
                                         .strict = options->strict_reference};
  for (int t = 0; t < num_targets; t++)
    own[t].lattice_mixing = own[t].lattice_mixing || options->strict_reference;
  if (options->feature_distance == ANAS_FEATURES_PRIME) use_prime_factors(own, num_targets, &s->source);
  anas_alphabet_init(&s->alphabet, &s->source, ANAS_VALUES_TEST, !options->regular_sizes && !options->strict_reference);

  const struct anas_strategy *strategy = methods[options->method].strategy;
  int attempts = strategy->repeats && options->attempts > 1 ? options->attempts : 1, done = 0;
  struct anas_synthesis_result result = {0};
  anas_status status = ANAS_INFEASIBLE;
  while (status == ANAS_INFEASIBLE && done < attempts && !s->out_of_budget) {
    status = attempt(s, strategy, &result);
    done++;
  }
  if (status == ANAS_OK) {
    result.num_nodes = s->length;
    result.chain = anas_calloc((size_t)s->length + 1, sizeof *result.chain);
    memcpy(result.chain, s->chain, (size_t)s->length * sizeof *result.chain);
    result.candidates = s->candidates;
    *out = result;
  }
  if (options->effort)
    *options->effort = (struct anas_synthesis_effort){
        .candidates = s->candidates, .attempts = done, .out_of_budget = s->out_of_budget && status != ANAS_OK};
  anas_alphabet_deinit(&s->alphabet);
  free(own);
  free(s);
  return status;
}

void anas_synthesis_result_deinit(struct anas_synthesis_result *result) {
  free(result->chain);
  *result = (struct anas_synthesis_result){0};
}
