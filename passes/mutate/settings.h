// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The settings of a mutation as one table, from which come the options of anas-mutate, the flags of anas-search, both
// helps and the printed configuration. REAL: number in [low, high]; COUNT: integer in [low, high]; CHOICE: enum whose
// names are listed in options.c; FLAG: true or false.
// Columns: name, member of struct anas_mutation_options, low, high, value of the preset "default", description.
#ifndef ANAS_PASSES_MUTATE_SETTINGS_H
#define ANAS_PASSES_MUTATE_SETTINGS_H

#define ANAS_MUTATION_SETTINGS(REAL, COUNT, CHOICE, FLAG)                                                              \
  REAL("duplicate", duplicate_probability, 0, 1, "0.2", "probability of duplicating a block")                          \
  REAL("delete", delete_probability, 0, 1, "0.2", "probability of deleting a block; the rest mutates one")             \
  REAL("propagate", propagate_probability, 0, 1, "0.2", "probability that another instance of the block follows")      \
  CHOICE("scope", scope, 0, 0, "block", "what is mutated: block, or the entry function as a whole")                    \
  CHOICE("selection", selection, 0, 0, "random", "which ops are replaced: random (connected, convex) or sequential")   \
  REAL("grow", grow_probability, 0, 1, "0.75", "probability that the selected subgraph grows by one more op")          \
  REAL("max-fraction", max_fraction, 0, 1, "0.8", "largest share of a block's ops that is replaced")                   \
  COUNT("max-ops", max_ops, 0, 1000, "0", "most ops that are replaced; 0: by max-fraction")                            \
  CHOICE("contexts", contexts, 0, 0, "all", "instances that must have the required depth and mixing: all or one")      \
  FLAG("use-shape", use_shape, 0, 0, "true", "require shapes")                                                         \
  FLAG("use-depth", use_depth, 0, 0, "true", "require depth")                                                          \
  FLAG("use-mixing", use_mixing, 0, 0, "true", "require mixing")                                                       \
  REAL("shape", shape_probability, 0, 1, "0", "probability that a result of the selection may take any shape")         \
  REAL("depth", depth_probability, 0, 1, "0.5", "probability of each step of the required depth")                      \
  COUNT("depth-delta", depth_delta_max, 0, 1000, "2", "most steps of the required depth")                              \
  REAL("mixing", mixing_probability, 0, 1, "0.5", "probability that a mixing requirement is dropped")                  \
  REAL("weaken", weaken_probability, 0, 1, "0.1", "probability that an entry of required mixing goes down one step")   \
  REAL("drop-branch", drop_probability, 0, 1, "0.2", "probability of trying to drop a branch of an add or mul")        \
  REAL("residual", residual_probability, 0, 1, "0.1", "probability of adding a residual connection to a chain")        \
  CHOICE("method", synthesis.method, 0, 0, "progressive", "how chains are synthesised; see synthesizer")               \
  CHOICE("mode", synthesis.mode, 0, 0, "weighted", "choice among candidates: greedy, uniform or weighted")             \
  REAL("epsilon", synthesis.epsilon, 0, 1e6, "0.1", "weighted: weight is 1 / (distance + epsilon) ^ exponent")         \
  REAL("exponent", synthesis.exponent, 0, 1e6, "2", "weighted: see epsilon")                                           \
  REAL("chain-grow", synthesis.grow_probability, 0, 1, "0.2", "probability that a satisfying chain grows on")          \
  FLAG("filter-progress", synthesis.filter_progress, 0, 0, "false", "only ops that come closer")                       \
  CHOICE("features", synthesis.feature_distance, 0, 0, "match", "distance of feature counts: match or prime factors")  \
  COUNT("max-candidates", max_candidates, 0, 1e9, "0", "most candidates a chain may cost; 0: no limit")                \
  FLAG("randomize", synthesis.randomize_attributes, 0, 0, "true", "diversify attribute values afterwards")             \
  COUNT("max-delta", max_delta, 0, 1000, "2", "how much longer a chain may become")                                    \
  COUNT("min-delta", min_delta, 0, 1000, "2", "a chain stays longer than its old length less this")                    \
  COUNT("retries", retries, 0, 1000, "16", "attempts before giving up")

// Settings that stand for several of the above; text.
#define ANAS_MUTATION_MACROS(MACRO)                                                                                    \
  MACRO("preset", "default|cifar10|imagenet", "all settings at once; those written beside it win")                     \
  MACRO("property", "shape=MODE,depth=MODE,mixing=MODE",                                                               \
        "ablation: mutate (with probability 0.75), nomutate, or no (not required)")                                    \
  MACRO("synthesizer", "progressive|enumerative|random-enum|random|primer|automl-zero",                                \
        "ablation: a method, with the settings it was published with")

#endif
