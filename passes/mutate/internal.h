// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/mutate: the pieces of one mutation.
#ifndef ANAS_PASSES_MUTATE_INTERNAL_H
#define ANAS_PASSES_MUTATE_INTERNAL_H

#include "passes/mutate/mutate.h"
#include "runtime/support/strbuf.h"

// ---- selection (spec 1.9)

// Marks a random connected, convex set of ops of the function; at least one op unless the function has none.
void anas_select_subgraph(const struct anas_function *function, const struct anas_mutation_options *options,
                          struct anas_rng *rng, bool *out_selected);

// ---- chains: maximal runs of selected synthesisable ops in which every inner value has one use

struct anas_chain {
  int *nodes; // in order, each reading the one before
  int length;
};
// Everything else that is selected stays as it is. chains has room for num_nodes entries, storage for num_nodes ints.
int anas_find_chains(const struct anas_function *function, const bool *selected, int *storage,
                     struct anas_chain *chains);

// ---- blocks

// Are bodies and signatures the same up to attribute values and sizes?
bool anas_functions_isomorphic(const struct anas_function *a, const struct anas_function *b);
// Nodes of the entry function that call a block; returns how many.
int anas_block_calls(const struct anas_model *model, const struct anas_function *entry, int *out_nodes);
// Appends a copy of a function under a new name that starts with its name; returns its index.
int anas_copy_function(struct anas_model *model, int function, int64_t generation);

anas_status anas_duplicate_block(struct anas_model *child, int call, int64_t generation);
anas_status anas_delete_block(struct anas_model *child, int call);
// Mutates the block that node 'call' of the entry calls, in some of its instances.
anas_status anas_mutate_block(const struct anas_model *parent, struct anas_model *child, int call,
                              const struct anas_mutation_options *options, int64_t generation, struct anas_rng *rng,
                              struct anas_mutation_report *report, struct anas_strbuf *description);

// Puts chain (num_chain nodes, the first reads the chain's input) in place of the nodes of old.
struct anas_replacement {
  struct anas_chain old;
  const struct anas_node *chain;
  int num_chain;
};
void anas_splice(struct anas_model *model, struct anas_function *function, const struct anas_replacement *replacements,
                 int count, int64_t generation);

// ---- text

// "conv(features=c*2 kernel=3)": the op with the attributes that are not defaults.
void anas_describe_op(const struct anas_node *node, struct anas_strbuf *out);

#endif
