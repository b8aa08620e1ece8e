// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/mutate: the pieces of one mutation.
#ifndef ANAS_PASSES_MUTATE_INTERNAL_H
#define ANAS_PASSES_MUTATE_INTERNAL_H

#include "passes/mutate/mutate.h"
#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"

// ---- selection (spec 1.9): select.c, chains.c

// Marks a random connected, convex set of ops of the function; at least one op unless the function has none.
void anas_select_subgraph(const struct anas_function *function, const struct anas_mutation_options *options,
                          struct anas_rng *rng, bool *out_selected);
// Marks a random chain of ops with one input and one result, of which only the last result is used outside.
void anas_select_sequence(const struct anas_function *function, const struct anas_mutation_options *options,
                          struct anas_rng *rng, bool *out_selected);
// Most ops the options allow to select in the function; at least one.
int anas_selection_limit(const struct anas_function *function, const struct anas_mutation_options *options);
// How often each node's results are read, by nodes and as results of the function. malloc'ed.
int *anas_count_uses(const struct anas_function *function);

// ---- chains: maximal runs of selected synthesisable ops in which every inner value has one use

struct anas_chain {
  int *nodes; // in order, each reading the one before
  int length;
};
// Everything else that is selected stays as it is. chains has room for num_nodes entries, storage for num_nodes ints.
int anas_find_chains(const struct anas_function *function, const bool *selected, int *storage,
                     struct anas_chain *chains);

// ---- draft: the body that replaces an old one, while it grows, with what is known of its values in every context
// A context is an instance of the block; contexts that agree in types and attributes are one.

// A value and one argument of the function, in one context. 'required' is what the mutated requirements of the parts
// add up to; what the analysis finds in the finished body must be at least that.
struct anas_relation {
  int64_t depth, required_depth;              // -1: the value does not depend on the argument
  struct anas_mixing mixing, required_mixing; // rows == 0: likewise
};

struct anas_draft_value {
  enum anas_linearity kind;       // of the op that made it, as depth sees it; neutral ops hand on their operand's
  bool exact;                     // false behind a call, whose properties are bounded from below
  struct anas_shape *shapes;      // [context]
  struct anas_relation *relation; // [checked context * num_args + argument]
};

struct anas_draft_node {
  int old;             // node of the old body, whose attributes each instance has for itself; -1: 'op'
  struct anas_node op; // operands refer to the draft, in both cases
  struct anas_draft_value result[ANAS_MAX_RESULTS];
};

struct anas_draft {
  const struct anas_model *model;
  const int *contexts; // functions of the model, the chosen one first
  int num_contexts;
  int num_checked; // contexts whose depth and mixing matter: all, or the first
  int num_args;
  struct anas_draft_value args[ANAS_MAX_ARGS];
  struct anas_draft_node *nodes;
  int num_nodes;
  size_t capacity;
  struct anas_ref results[ANAS_MAX_RESULTS]; // of the new body
  struct anas_arena arena;
};

void anas_draft_init(struct anas_draft *draft, const struct anas_model *model, const int *contexts, int num_contexts,
                     bool check_all);
void anas_draft_deinit(struct anas_draft *draft);
struct anas_draft_value *anas_draft_value(struct anas_draft *draft, struct anas_ref ref);
// Old body of a context.
const struct anas_function *anas_draft_old(const struct anas_draft *draft, int context);
// Appends node 'old' of the old body with new operands, or a new op; *out_node is its index. ANAS_INFEASIBLE if it is
// ill-typed in a context.
anas_status anas_draft_keep(struct anas_draft *draft, int old, const struct anas_ref *operands, int *out_node);
anas_status anas_draft_append(struct anas_draft *draft, const struct anas_node *op, const struct anas_ref *operands,
                              int num_operands, int *out_node);
// Does the value satisfy in every checked context what 'required' asks (relations of num_checked * num_args)?
bool anas_draft_satisfies(const struct anas_draft *draft, const struct anas_draft_value *value,
                          const struct anas_relation *required);

// ---- properties of a part and their mutation (properties.c)

// What is done to the properties of one part, the same in every context (spec 2.2-2.4).
struct anas_property_change {
  bool any_shape;
  int64_t depth_delta;
  bool drop_mixing;
  bool lower[ANAS_MAX_RANK][ANAS_MAX_RANK]; // entries of the mixing that go down one step
};
// output: the value leaves the selection, so its shape may be mutated too.
void anas_draw_change(const struct anas_mutation_options *options, bool output, struct anas_rng *rng,
                      struct anas_property_change *out);
void anas_change_depth(const struct anas_property_change *change, int64_t *depth);
void anas_change_mixing(const struct anas_property_change *change, struct anas_mixing *mixing);

// ---- graph synthesis (graph.c): a new body for the selected part of the old one (spec 3.9)

struct anas_rewrite {
  const struct anas_mutation_options *options;
  struct anas_rng *rng;
  const bool *selected; // nodes of the old body
  struct anas_draft *draft;
  struct anas_ref (*moved)[ANAS_MAX_RESULTS]; // what stands for each result of each old node
  struct anas_mutation_report *report;
  struct anas_strbuf *description;
};
anas_status anas_rewrite_body(struct anas_rewrite *rewrite);
// Replaces one chain whose input has been rewritten (chain.c).
anas_status anas_rewrite_chain(struct anas_rewrite *rewrite, const struct anas_chain *chain, bool output);
// Tries to let one operand of an add or mul stand for its result, dropping the others (branch.c). True if it did.
bool anas_drop_branch(struct anas_rewrite *rewrite, int node);
// May replace *value by its sum with a value it was computed from (residual.c).
anas_status anas_add_residual(struct anas_rewrite *rewrite, struct anas_ref *value);

// ---- splicing (spec 1.8): splice.c

// Gives an instance the body of the draft, without its dead nodes. New ops with parameters get
// names "gen<generation>/<op>"; ANAS_INVALID if a node reads what is not made before it, or a name is taken or contains
// a delimiter of parameter paths; the function is then unchanged.
anas_status anas_splice(struct anas_model *model, struct anas_function *function, const struct anas_draft_node *nodes,
                        int num_nodes, const struct anas_ref *results, int64_t generation);

// ---- blocks

// Are bodies and signatures the same up to attribute values and sizes?
bool anas_functions_isomorphic(const struct anas_function *a, const struct anas_function *b);
// Nodes of the entry function that call a block; returns how many.
int anas_block_calls(const struct anas_model *model, const struct anas_function *entry, int *out_nodes);
// Appends a copy of a function under a new name that starts with its name; returns its index.
int anas_copy_function(struct anas_model *model, int function, int64_t generation);

// What duplication and deletion take along with a call (unit.c): nodes of the entry function.
struct anas_unit {
  struct anas_ref entry; // the one value it reads
  int exit;              // the one node that is read outside
  bool *inside;          // malloc'ed
};
void anas_find_unit(const struct anas_function *function, int call, struct anas_unit *out);
void anas_unit_deinit(struct anas_unit *unit);

anas_status anas_duplicate_block(struct anas_model *child, int call, int64_t generation);
anas_status anas_delete_block(struct anas_model *child, int call);

// ---- bodies: body.c, claim.c

// What the mutated functions of a child must have, as composed from the requirements of the parts.
struct anas_claim {
  int num_functions;
  int *functions;                 // of the child
  struct anas_relation *required; // [function][result][argument]; malloc'ed like functions
};
void anas_claim_deinit(struct anas_claim *claim);
// Analyses the finished functions anew, as a whole, and writes their certificates (passes/synthesis/certificate.h).
// ANAS_INFEASIBLE if one has less than was claimed.
anas_status anas_claim_verify(const struct anas_claim *claim, struct anas_model *child);

// Mutates a function and some of the other instances of its block, in the child.
anas_status anas_mutate_body(const struct anas_model *parent, struct anas_model *child, int function,
                             const struct anas_mutation_options *options, int64_t generation, struct anas_rng *rng,
                             struct anas_mutation_report *report, struct anas_strbuf *description,
                             struct anas_claim *out_claim);

// ---- text

// "conv(features=c*2 kernel=3)": the op with the attributes that are not defaults.
void anas_describe_op(const struct anas_node *node, struct anas_strbuf *out);

#endif
