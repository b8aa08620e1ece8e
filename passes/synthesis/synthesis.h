// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Progressive synthesis (spec 3.7): from a required shape, depth and mixing to a chain of ops that has them. State is
// carried along the prefix, so one candidate costs one transfer function; no tensor is executed.
#ifndef ANAS_PASSES_SYNTHESIS_H
#define ANAS_PASSES_SYNTHESIS_H

#include "dialect/model.h"
#include "passes/analysis/analysis.h"
#include "runtime/support/rng.h"

// What the chain must satisfy in one context (an instance of the block).
struct anas_target {
  struct anas_shape input, output;
  bool any_shape;    // the output may have any extents; 'output' is then only a hint
  bool input_linear; // the producer of the input is linear
  bool require_depth, require_mixing;
  int64_t depth;
  struct anas_mixing mixing;
};

enum anas_synthesis_mode { ANAS_GREEDY, ANAS_UNIFORM, ANAS_WEIGHTED };

struct anas_synthesis_options {
  enum anas_synthesis_mode mode;
  int min_length, max_length; // of the result; max_length > 0
  double epsilon, exponent;   // WEIGHTED: weight = 1 / (distance + epsilon)^exponent
  double grow_probability;    // p of spec 3.7: go on although satisfied
  bool filter_progress;       // only candidates that come closer
  bool randomize_attributes;  // spec 3.8, afterwards
};

struct anas_synthesis_result {
  struct anas_node *chain; // num_nodes nodes, each reading the one before; attributes symbolic; malloc'ed, names null
  int num_nodes;
  double distance;    // of the returned chain: 0
  int64_t candidates; // transfer functions evaluated
  double trace[64];   // distance after each step
};

// One chain that satisfies every target (the same ops in every context). ANAS_INFEASIBLE if none was found.
// reference: nodes of the replaced chain whose attribute values extend the alphabet (may be null).
anas_status anas_synthesize_chain(const struct anas_target *targets, int num_targets, const struct anas_node *reference,
                                  int num_reference, const struct anas_synthesis_options *options, struct anas_rng *rng,
                                  struct anas_synthesis_result *out);
void anas_synthesis_result_deinit(struct anas_synthesis_result *result);

#endif
