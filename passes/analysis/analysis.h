// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Program properties (spec 2): shape, depth, mixing; and cost. Each property is transfer, join and distance over small
// values; functions that are called are summarised once.
#ifndef ANAS_PASSES_ANALYSIS_H
#define ANAS_PASSES_ANALYSIS_H

#include "dialect/model.h"
#include "passes/analysis/reads.h"

// A chain that grows op by op carries (shape, struct anas_depth_state, struct anas_reads): reads.h has the exact state
// behind mixing, in constant space, and one transfer function an op:
//   anas_reads_of_input(&input, &reads);                               // once
//   anas_reads_append(&reads, &op, 0, &result, arena, &after);         // per op; arena may be null
//   anas_reads_mixing(&after, &mixing);                                // where the property is needed
// This replaces anas_mixing_of_op followed by anas_mixing_compose, which is the weaker published composition.

// Pairing of input dimension i (row) with output dimension j (column), ordered by strength (spec 2.4).
enum anas_pairing { ANAS_PAIR_NONE = 0, ANAS_PAIR_ONE = 1, ANAS_PAIR_MANY = 2, ANAS_PAIR_ALL = 3 };

struct anas_mixing {
  int rows, columns; // rank of the input, rank of the output
  uint8_t pair[ANAS_MAX_RANK][ANAS_MAX_RANK];
};

void anas_mixing_identity(int rank, struct anas_mixing *out);
// Pairing of a value with itself: the identity, but a dimension of extent 1 is read whole by whatever reads it.
void anas_mixing_of_input(const struct anas_shape *shape, struct anas_mixing *out);
// One op's pairing of operand 'which' with its result, by the structural rule; exact for product-form dependencies.
void anas_mixing_of_op(const struct anas_op *op, int which, const struct anas_shape *result, struct anas_mixing *out);
// first is input x middle, then is middle x output (spec 2.4 compose).
void anas_mixing_compose(const struct anas_mixing *first, const struct anas_mixing *then, struct anas_mixing *out);
void anas_mixing_join(struct anas_mixing *into, const struct anas_mixing *other); // entry-wise max
// (#entries with required > actual) / max(1, #required non-zero); spec 2.4.
double anas_mixing_distance(const struct anas_mixing *required, const struct anas_mixing *actual);

// Mean over pairs of max(0, required - actual) / max(required, 1), one pair here (spec 2.3).
double anas_depth_distance(int64_t required, int64_t actual);

// Distance of an output type from the required one; negative: infeasible (spec 2.2).
double anas_shape_distance(const struct anas_shape *required, const struct anas_shape *actual);

// Depth along a chain, as carried by synthesis: append an op kind to (depth, kind of the last non-neutral op).
struct anas_depth_state {
  int64_t depth;
  enum anas_linearity last;
};
struct anas_depth_state anas_depth_append(struct anas_depth_state state, enum anas_linearity kind);

// Properties of one function, [result][argument]. Depth -1: no path.
struct anas_properties {
  int num_results, num_args;
  bool exact; // false: some sets of positions were too large to keep, and mixing may be weaker than the truth
  int64_t depth[ANAS_MAX_RESULTS][ANAS_MAX_ARGS];
  struct anas_mixing mixing[ANAS_MAX_RESULTS][ANAS_MAX_ARGS];
};

// Means over the pairs that are required: depth -1, or a mixing without rows, is not required. A required pair that the
// actual properties do not have counts 1 for depth, and as NONE for mixing.
double anas_properties_depth_distance(const struct anas_properties *required, const struct anas_properties *actual);
double anas_properties_mixing_distance(const struct anas_properties *required, const struct anas_properties *actual);

// Summaries of functions by content, so that inference after an edit evaluates what the edit changed: the functions
// edited, and callers of those whose summary is not what it was. Serves any number of models; one thread at a time.
struct anas_property_cache;
struct anas_property_cache *anas_property_cache_create(void);
void anas_property_cache_destroy(struct anas_property_cache *cache);
// Transfer functions (of ops and calls) evaluated through the cache so far.
int64_t anas_property_cache_transfers(const struct anas_property_cache *cache);

struct anas_property_options {
  // Mixing by the published lattice composition and depth with the quirks of the reference implementation
  // (docs/properties.md): for comparison with published numbers. Does not use the cache.
  bool strict_reference;
  struct anas_property_cache *cache; // null: none
  // If not null, called for every function, result and argument; reads is null where there is no dependency, and lives
  // until the call returns. Not in the strict reference.
  void (*on_reads)(void *context, int function, int result, int arg, const struct anas_reads *reads);
  void *context;
};
// Infers properties of every function (shapes must have been inferred). out has model->num_functions entries. Null
// options: the defaults.
anas_status anas_infer_properties_with(const struct anas_model *model, const struct anas_property_options *options,
                                       struct anas_properties *out);
anas_status anas_infer_properties(const struct anas_model *model, struct anas_properties *out);

// Properties of a model that is edited in place, or of copies of it one after another: an update costs what the edited
// functions and the callers of changed summaries cost, whatever the size of the network. Functions keep their numbers;
// when functions come or go, the whole model is inferred again.
struct anas_property_session;
anas_status anas_property_session_create(const struct anas_model *model, struct anas_property_session **out_session);
void anas_property_session_destroy(struct anas_property_session *session);
// edited: functions whose ops, types or producers differ from the last model seen. After a failure the next update
// infers everything.
anas_status anas_property_session_update(struct anas_property_session *session, const struct anas_model *model,
                                         const int *edited, int num_edited);
// One entry a function of the last model; valid until the next update.
const struct anas_properties *anas_property_session_get(const struct anas_property_session *session);
int64_t anas_property_session_transfers(const struct anas_property_session *session); // so far, as for the cache

// ANAS_INVALID naming the op if a value has more than max_elements elements, '?' counted as batch (spec 2.2, max_size);
// shapes must have been inferred.
anas_status anas_check_sizes(const struct anas_model *model, int64_t batch, int64_t max_elements);

// Cost of the entry function for one example; activation and training bytes are estimates from types, the exact figure
// is the memory plan's (anas-to-kernels).
struct anas_model_cost {
  int64_t params, macs, flops, activation_bytes, train_bytes;
  int64_t model_bytes; // parameters and running statistics, as stored
};
anas_status anas_model_cost(const struct anas_model *model, int64_t batch, struct anas_model_cost *out);

#endif
