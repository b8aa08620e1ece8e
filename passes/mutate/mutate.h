// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One alphaNAS mutation of a model (spec 4.3): duplicate a block, delete a block, or replace a subgraph of a block by a
// synthesised one with mutated properties, in every instance of the block kind that takes part.
#ifndef ANAS_PASSES_MUTATE_H
#define ANAS_PASSES_MUTATE_H

#include "passes/synthesis/synthesis.h"

struct anas_mutation_options {
  double duplicate_probability, delete_probability; // 0.2, 0.2; the rest mutates a block
  double propagate_probability;                     // block_mutate_prob: each other instance of the kind follows
  double grow_probability;                          // subgraph selection p (0.75)
  double max_fraction;                              // max_perc (0.8)
  double depth_probability;                         // 0.5
  int depth_delta_max;                              // 2
  double mixing_probability;                        // 0.5: drop the requirement
  struct anas_synthesis_options synthesis;
  int max_delta, min_delta; // chain length window around the replaced length (2, 2)
  int retries;              // attempts before giving up
};
struct anas_mutation_options anas_mutation_defaults(void); // the CIFAR-10 preset of spec 4.2

struct anas_mutation_report {
  char kind[24];         // "mutate", "duplicate", "delete"
  char block[64];        // block kind it happened to
  char description[512]; // one line for people: ops before -> ops after, properties before -> required -> after
  int64_t candidates;
  int attempts;
};

// *out_child is a new verified model with inferred shapes whose canonical hash differs from the parent's; the parent is
// unchanged. ANAS_INFEASIBLE if no attempt succeeded.
anas_status anas_mutate(const struct anas_model *parent, const struct anas_mutation_options *options,
                        struct anas_rng *rng, struct anas_model **out_child, struct anas_mutation_report *out_report);

#endif
