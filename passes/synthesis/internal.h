// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/synthesis (and its tests): the state of a prefix in one context, and the alphabet.
#ifndef ANAS_PASSES_SYNTHESIS_INTERNAL_H
#define ANAS_PASSES_SYNTHESIS_INTERNAL_H

#include "passes/synthesis/synthesis.h"

// ---- state of a prefix in one context: all a transfer function needs to know

struct anas_prefix {
  struct anas_shape shape;
  struct anas_depth_state depth;
  struct anas_mixing mixing; // kept only where the target requires it
};

void anas_prefix_start(const struct anas_target *target, struct anas_prefix *out);
// Appends an op in every context. False if it is ill-typed in one of them.
bool anas_prefix_append(const struct anas_target *targets, int num_targets, const struct anas_prefix *before,
                        const struct anas_node *op, struct anas_prefix *out_after);
// Sum over properties of the largest distance in any context; negative: infeasible.
double anas_prefix_distance(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix);
// Is the target out of reach for good? An input dimension that no longer reaches any dimension of the value stays lost,
// whatever follows, because composition with NONE is NONE.
bool anas_prefix_is_dead_end(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix);
// Distance of a whole chain, inferred from the start; negative: infeasible or ill-typed.
double anas_chain_distance(const struct anas_target *targets, int num_targets, const struct anas_node *chain,
                           int num_nodes);

// ---- alphabet

#define ANAS_MAX_VALUES 48

// Where attribute values come from: the sets of the op table, extended by the chain that is replaced.
struct anas_value_source {
  const struct anas_node *reference;
  int num_reference;
  int rank;            // of every value of the chain
  bool single_context; // absolute feature counts are then meaningful
};

bool anas_attr_same(const struct anas_attr_def *def, const struct anas_attr *a, const struct anas_attr *b);
// Values the attribute may take; TEST set, or FULL if full. An attribute that is not searched has one value: absent.
int anas_attr_values(const struct anas_value_source *source, const struct anas_attr_def *def, bool full,
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

// Every well-formed op of the synthesisable definitions, in the order of the table (spec 3.5).
void anas_alphabet_init(struct anas_alphabet *alphabet, const struct anas_value_source *source);
void anas_alphabet_deinit(struct anas_alphabet *alphabet);
// Size expression that turns the prefix's last extent into the target's in every context. False: there is none.
bool anas_exact_size(const struct anas_target *targets, int num_targets, const struct anas_prefix *prefix,
                     struct anas_attr *out);

// ---- randomisation (spec 3.8)

// Diversifies attribute values of a satisfying chain within the FULL sets; the chain still satisfies every target.
void anas_chain_randomize(const struct anas_target *targets, int num_targets, const struct anas_value_source *source,
                          struct anas_rng *rng, struct anas_node *chain, int num_nodes);

#endif
