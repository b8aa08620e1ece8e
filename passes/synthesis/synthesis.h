// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Synthesis of chains (spec 3): from a required shape, depth and mixing to a chain of ops that has them. State is
// carried along the prefix, so one candidate costs one transfer function; no tensor is executed. docs/synthesis.md has
// the rules and what is guaranteed.
#ifndef ANAS_PASSES_SYNTHESIS_H
#define ANAS_PASSES_SYNTHESIS_H

#include "dialect/model.h"
#include "passes/analysis/analysis.h"
#include "runtime/support/rng.h"

#define ANAS_MAX_CHAIN 64 // ops of a synthesised chain

// What the chain must satisfy in one context (an instance of the block).
struct anas_target {
  struct anas_shape input, output;
  bool any_shape;    // the output may have any extents; 'output' is then only a hint
  bool input_linear; // the producer of the input is linear
  bool require_depth, require_mixing;
  int64_t depth;
  struct anas_mixing mixing;
  bool lattice_mixing; // the published composition of mixing instead of exact positions (docs/properties.md)
  int feature_steps;   // set by synthesis under ANAS_FEATURES_PRIME: prime factors missing at the start; else 0
};

enum anas_synthesis_method {
  ANAS_PROGRESSIVE, // append what comes closest, or a random op that prefers to (spec 3.7)
  ANAS_ENUMERATIVE, // all chains by length (spec 3.6)
  ANAS_RANDOM_ENUM, // all chains by length, in random order within one length (spec 3.6)
  ANAS_RANDOM,      // random chains
  ANAS_PRIMER,      // mutate the replaced chain, whatever its properties (spec 3.10)
  ANAS_AUTOML_ZERO, // the same, and now and then a random chain instead
};
#define ANAS_SYNTHESIS_METHODS 6
// "progressive", "enumerative", "random-enum", "random", "primer", "automl-zero"; null beyond the last.
const char *anas_synthesis_method_name(int method);

enum anas_synthesis_mode { ANAS_GREEDY, ANAS_UNIFORM, ANAS_WEIGHTED };

// How far a wrong feature count is from the right one: 1 whatever it is, or the share of prime factors still missing.
enum anas_feature_distance { ANAS_FEATURES_MATCH, ANAS_FEATURES_PRIME };

// What a synthesis did, whether it succeeded or not.
struct anas_synthesis_effort {
  int64_t candidates; // transfer functions evaluated
  int attempts;
  bool out_of_budget; // stopped by max_candidates
};

struct anas_synthesis_options {
  enum anas_synthesis_method method;
  enum anas_synthesis_mode mode; // of the progressive method
  int min_length, max_length;    // of the result; max_length > 0
  double epsilon, exponent;      // WEIGHTED: weight = 1 / (distance + epsilon)^exponent
  double grow_probability;       // p of spec 3.7: go on although satisfied
  bool filter_progress;          // only candidates that come closer
  bool randomize_attributes;     // spec 3.8, afterwards
  int attempts;                  // of a method that may miss (progressive, primer, automl-zero); 0 counts as 1
  int64_t max_candidates;        // of all attempts together; 0: no limit
  enum anas_feature_distance feature_distance;
  bool regular_sizes;    // no op with the exact feature count the target needs (feature adjustment, spec 3.4)
  bool prune;            // enumerative: skip prefixes that repeat a state or can no longer succeed
  bool strict_reference; // the alphabet as published: windows and strides share their values, only attributes that are
                         // written count as seen in the replaced chain, no feature adjustment; and lattice_mixing
  struct anas_synthesis_effort *effort; // filled in if not null
};

struct anas_synthesis_result {
  struct anas_node *chain; // num_nodes nodes, each reading the one before; attributes symbolic; malloc'ed, names null
  int num_nodes;
  double distance;              // of the returned chain: 0, except from the baselines, which do not look
  int64_t candidates;           // transfer functions evaluated
  double trace[ANAS_MAX_CHAIN]; // distance after each op; -1: infeasible there
};

// One chain that satisfies every target (the same ops in every context); the baselines PRIMER and AUTOML_ZERO only
// promise that it is well-typed and has the wanted shapes. ANAS_INFEASIBLE if none was found.
// reference: nodes of the replaced chain whose attribute values extend the alphabet (may be null).
anas_status anas_synthesize_chain(const struct anas_target *targets, int num_targets, const struct anas_node *reference,
                                  int num_reference, const struct anas_synthesis_options *options, struct anas_rng *rng,
                                  struct anas_synthesis_result *out);
void anas_synthesis_result_deinit(struct anas_synthesis_result *result);

#endif
