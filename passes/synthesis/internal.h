// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/synthesis (and its tests): the state of a prefix, the alphabet, and what strategies share.
#ifndef ANAS_PASSES_SYNTHESIS_INTERNAL_H
#define ANAS_PASSES_SYNTHESIS_INTERNAL_H

#include "passes/synthesis/synthesis.h"

// ---- state of a prefix in one context: all a transfer function needs to know

struct anas_prefix {
  struct anas_shape shape;
  struct anas_depth_state depth;
  // Kept only where the target requires mixing: the pairing, and the exact positions read that it follows from (not
  // under lattice_mixing). Tables are left out: where positions have no closed form the pairing is too weak.
  struct anas_mixing mixing;
  struct anas_reads reads;
};

void anas_prefix_start(const struct anas_target *target, struct anas_prefix *out);
// Appends an op in every context. False if it is ill-typed in one of them.
bool anas_prefix_append(const struct anas_target *targets, int num_targets, const struct anas_prefix *before,
                        const struct anas_node *op, struct anas_prefix *out_after);
// Sum over properties of the largest distance in any context; negative: infeasible.
double anas_prefix_distance(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix);
// Is the target out of reach for good? An input dimension of which the value no longer reads every position stays lost,
// whatever follows.
bool anas_prefix_is_dead_end(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix);
// The same for shapes: no op of the alphabet enlarges a spatial extent or changes the batch or the rank.
bool anas_prefix_is_too_small(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix);
// Identifies what the distances of a state's continuations depend on: two prefixes with equal keys have the same
// completions. 128 bits of a hash; equal hashes are taken for equal states.
struct anas_prefix_key {
  uint64_t bits[2];
};
struct anas_prefix_key anas_prefix_key_of(const struct anas_target *targets, int num_targets,
                                          const struct anas_prefix *prefix);
// Distance of a whole chain, inferred from the start; negative: infeasible or ill-typed.
double anas_chain_distance(const struct anas_target *targets, int num_targets, const struct anas_node *chain,
                           int num_nodes);
// Number of prime factors, with multiplicity, by which two feature counts differ: of the reduced ratio. 0: equal.
int anas_missing_factors(int64_t have, int64_t need);
int64_t anas_gcd(int64_t a, int64_t b);

// ---- alphabet

#define ANAS_MAX_VALUES 48
#define ANAS_MAX_FACTORS 24

// Where attribute values come from: the sets of the op table, extended by the chain that is replaced.
struct anas_value_source {
  const struct anas_node *reference;
  int num_reference;
  int rank;                            // of every value of the chain
  bool single_context;                 // absolute feature counts are then meaningful
  bool strict;                         // anas_synthesis_options.strict_reference
  int64_t factor[ANAS_MAX_FACTORS][2]; // further factors of feature counts: multiply by, divide by
  int num_factors;
};

enum anas_value_set {
  ANAS_VALUES_TEST,     // what is searched
  ANAS_VALUES_FULL,     // what randomisation tries
  ANAS_VALUES_OBSERVED, // only what occurs in the replaced chain (and the feature factors)
};

bool anas_attr_same(const struct anas_attr_def *def, const struct anas_attr *a, const struct anas_attr *b);
// Values the attribute may take. An attribute that is not searched has one value: absent.
int anas_attr_values(const struct anas_value_source *source, const struct anas_attr_def *def, enum anas_value_set set,
                     struct anas_attr out[ANAS_MAX_VALUES]);
// Is it a size the synthesiser computes (features), as opposed to one it picks from a set?
bool anas_attr_is_size(const struct anas_attr_def *def);

struct anas_symbol {
  struct anas_node op;
  int type;       // symbols of one op are consecutive and share the number
  int exact_attr; // size attribute that takes the exact value the target needs; -1: none
};

struct anas_alphabet {
  struct anas_symbol *symbols; // in enumeration order
  int count, num_types;
  size_t capacity;
};

// Every well-formed op of the synthesisable definitions, in the order of the table (spec 3.5). exact: with symbols for
// feature adjustment.
void anas_alphabet_init(struct anas_alphabet *alphabet, const struct anas_value_source *source, enum anas_value_set set,
                        bool exact);
void anas_alphabet_deinit(struct anas_alphabet *alphabet);
// Size expression that turns the prefix's last extent into the target's in every context. False: there is none.
bool anas_exact_size(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix,
                     struct anas_attr *out);

// Feature adjustment for one prefix.
struct anas_exact {
  bool available;
  struct anas_attr size;
  int type;     // the op type asked for last, and
  bool regular; // whether one of its regular sizes is the exact one, which would then count twice
};
struct anas_exact anas_exact_at(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix);
// The op of a symbol behind that prefix: the symbol's own or *scratch. Null: the symbol has none there.
const struct anas_node *anas_symbol_op(const struct anas_alphabet *alphabet, int symbol, struct anas_exact *exact,
                                       struct anas_node *scratch);

// ---- strategies: one file each

struct anas_synthesizer {
  const struct anas_target *targets;
  int num_targets;
  const struct anas_node *reference;
  int num_reference;
  const struct anas_synthesis_options *options;
  struct anas_value_source source;
  struct anas_alphabet alphabet; // TEST values
  struct anas_rng *rng;
  int64_t candidates;
  bool out_of_budget;
  struct anas_node chain[ANAS_MAX_CHAIN]; // the result
  int length;
};

struct anas_strategy {
  bool repeats; // a second attempt may succeed where the first did not
  bool blind;   // does not look at the properties: what it finds need not satisfy them
  // ANAS_OK: chain and length hold a result. ANAS_INFEASIBLE with a message otherwise.
  anas_status (*search)(struct anas_synthesizer *s);
};
extern const struct anas_strategy anas_strategy_progressive, anas_strategy_enumerative, anas_strategy_random_enum,
    anas_strategy_random, anas_strategy_primer, anas_strategy_automl_zero;

// Evaluates one candidate: false if it is ill-typed or the budget is spent (out_of_budget is then set).
bool anas_synthesizer_try(struct anas_synthesizer *s, const struct anas_prefix *before, const struct anas_node *op,
                          struct anas_prefix *out_after);
// Every state is an array with one entry per context.
struct anas_prefix *anas_synthesizer_states(const struct anas_synthesizer *s, size_t count);
void anas_synthesizer_start(const struct anas_synthesizer *s, struct anas_prefix *out);
double anas_synthesizer_distance(const struct anas_synthesizer *s, const struct anas_prefix *prefix);
// The message of a search that found nothing.
anas_status anas_synthesizer_failed(const struct anas_synthesizer *s);
// Weight of a candidate in WEIGHTED mode: 1 / (distance + epsilon)^exponent.
double anas_candidate_weight(double distance, double epsilon, double exponent);
// A random op type, then one of its symbols, all uniformly.
int anas_alphabet_draw(const struct anas_alphabet *alphabet, struct anas_rng *rng);
// A random op of the FULL enumeration, every instance as likely as another.
void anas_full_draw(const struct anas_value_source *source, struct anas_rng *rng, struct anas_node *out);

// The index-th element of a pseudo-random permutation of [0, count), selected by key; count <= 2^62. Costs a few
// hashes and no memory.
uint64_t anas_permuted(uint64_t key, uint64_t count, uint64_t index);

// ---- randomisation (spec 3.8)

// Diversifies attribute values of a satisfying chain within the FULL sets; the chain still satisfies every target.
void anas_chain_randomize(const struct anas_target *targets, int num_targets, const struct anas_value_source *source,
                          struct anas_rng *rng, struct anas_node *chain, int num_nodes);

#endif
