// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One alphaNAS mutation of a model (spec 4.3): duplicate a block, delete a block, or replace a subgraph of a block by a
// synthesised one with mutated properties, in every instance of the block kind that takes part.
#ifndef ANAS_PASSES_MUTATE_H
#define ANAS_PASSES_MUTATE_H

#include "passes/synthesis/synthesis.h"
#include "runtime/support/strbuf.h"

enum anas_selection {
  ANAS_SELECT_RANDOM,     // a random connected convex set of ops
  ANAS_SELECT_SEQUENTIAL, // a chain
};

enum anas_mutation_scope {
  ANAS_SCOPE_BLOCK,    // one block kind; blocks may also be duplicated and deleted
  ANAS_SCOPE_FUNCTION, // the entry function as if it were one block
};

// Which instances of a block must have the required depth and mixing. Shapes are required of all.
enum anas_mutation_contexts { ANAS_CONTEXTS_ALL, ANAS_CONTEXTS_ONE };

// Set through anas_mutation_set, where every member has a name, a range and a description (settings.h).
struct anas_mutation_options {
  double duplicate_probability, delete_probability; // the rest mutates a block
  double propagate_probability;                     // block_mutate_prob: each other instance of the kind follows
  enum anas_mutation_scope scope;
  enum anas_selection selection;
  double grow_probability; // p of the selection
  double max_fraction;     // max_perc: largest share of the ops of a body
  int max_ops;             // > 0: instead of max_fraction
  enum anas_mutation_contexts contexts;
  bool use_shape, use_depth, use_mixing; // false: the property is not required at all
  double shape_probability;              // the result of a chain that leaves the selection may take any shape
  double depth_probability;              // of each step of the required depth
  int depth_delta_max;
  double mixing_probability;   // the requirement is dropped
  double weaken_probability;   // else: each entry of it is lowered by one step of the lattice
  double drop_probability;     // synthesis_graph.p: a branch of an add or mul is dropped where that satisfies
  double residual_probability; // a chain gets a residual connection where shapes agree
  struct anas_synthesis_options synthesis;
  int max_candidates;       // of one chain; 0: no limit
  int max_delta, min_delta; // chain length window around the replaced length
  int retries;              // attempts before giving up
};
struct anas_mutation_options anas_mutation_defaults(void); // the preset "default"

// One setting by name: a member of the options (settings.h), or one that stands for several:
//   preset       default, cifar10 or imagenet: every setting (spec 4.2)
//   property     shape=mutate|nomutate|no,depth=...,mixing=...: the ablations of the properties
//   synthesizer  the ablations of the synthesis
// ANAS_INVALID says what values there are.
anas_status anas_mutation_set(struct anas_mutation_options *options, const char *name, const char *value);
// "name=value name=value" on top of the defaults; a preset applies first, wherever it stands.
anas_status anas_mutation_configure(const char *text, struct anas_mutation_options *out);
// Every member as "name=value name=value ...": the effective configuration, which anas_mutation_configure reads back.
void anas_mutation_print(const struct anas_mutation_options *options, struct anas_strbuf *out);
// Names, ranges and descriptions for --help. The table ends with a null name.
struct anas_mutation_setting {
  const char *name, *metavar, *doc;
};
const struct anas_mutation_setting *anas_mutation_settings(void);

struct anas_mutation_report {
  char kind[24];          // "mutate", "duplicate", "delete"
  char block[64];         // block kind it happened to
  char description[1024]; // one line for people: ops before -> ops after, properties before -> required -> after
  int64_t candidates;     // of the synthesis
  int attempts;
  int chains, dropped, residuals; // replaced chains, dropped branches, added residual connections
};

// *out_child is a new verified model with inferred shapes whose canonical hash differs from the parent's; the parent is
// unchanged. ANAS_INFEASIBLE if no attempt succeeded.
anas_status anas_mutate(const struct anas_model *parent, const struct anas_mutation_options *options,
                        struct anas_rng *rng, struct anas_model **out_child, struct anas_mutation_report *out_report);

#endif
