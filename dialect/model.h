// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A model in memory: the functions of a module as flat arrays of op instances. MLIR is the exchange form (text,
// bytecode, passes); analyses, synthesis and mutation work on this one, where reading an attribute costs a load.
// Ownership: a model owns everything it points to; MlirLocation handles borrow the context of the module it came from.
#ifndef ANAS_DIALECT_MODEL_H
#define ANAS_DIALECT_MODEL_H

#include "dialect/op.h"
#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"

#include <mlir-c/IR.h>

#define ANAS_MAX_ARGS 8
// Limits of a whole network, checked by shape inference: analyses recurse over calls, training expands them.
#define ANAS_MAX_CALL_DEPTH 64
#define ANAS_MAX_OPS (1 << 20)

// A value of a function: argument (node == ANAS_ARGUMENT, index = argument number) or result of a node.
#define ANAS_ARGUMENT (-1)
struct anas_ref {
  int node, index;
};

struct anas_node {
  const struct anas_op_def *def; // null: a call of a block function
  int callee;                    // index of the function in the model, for calls
  int num_operands, num_results;
  struct anas_ref operand[ANAS_MAX_OPERANDS];
  struct anas_shape result[ANAS_MAX_RESULTS]; // declared or inferred type; rank 0: not known yet
  struct anas_attr attr[ANAS_MAX_ATTRS];      // as written: symbolic, absent where defaulted
  const char *name;                           // anas.name, null if none
  MlirLocation location;                      // null pointer inside if made by us
};

struct anas_extra { // a discardable attribute kept as text, e.g. {"anas.target_depth", "dense<2> : tensor<1x1xi64>"}
  const char *name, *value;
};

struct anas_function {
  const char *name;
  const char *block; // anas.block: kind of which this is an instance; null for the entry and helpers
  bool is_private;
  int num_args, num_results;
  struct anas_shape arg[ANAS_MAX_ARGS];
  bool arg_linear[ANAS_MAX_ARGS]; // anas.producer = "linear": the argument is produced by a linear op
  struct anas_ref result[ANAS_MAX_RESULTS];
  struct anas_shape result_type[ANAS_MAX_RESULTS];
  struct anas_node *nodes; // in execution order
  int num_nodes;
  size_t capacity_nodes;
  struct anas_extra *extras;
  int num_extras;
  size_t capacity_extras;
  MlirLocation location;
};

struct anas_model {
  struct anas_function *functions;
  int num_functions;
  size_t capacity_functions;
  struct anas_extra *extras; // attributes of the module
  int num_extras;
  size_t capacity_extras;
  struct anas_arena arena; // strings
  bool quiet; // report failures by status only; set on clones, of which the search makes many that do not fit
};

struct anas_model *anas_model_create(void);
void anas_model_destroy(struct anas_model *model);
// A deep copy; quiet. Its locations are those of the original and as short-lived.
struct anas_model *anas_model_clone(const struct anas_model *model);

// Reads a module. Unknown ops, unknown or ill-typed attributes, and wrong operand counts are errors that are emitted as
// MLIR diagnostics at the op; the status then only says that it failed.
anas_status anas_model_import(MlirModule module, struct anas_model **out_model);
// The model as MLIR text (generic op form), with the types stored in the nodes.
void anas_model_print(const struct anas_model *model, struct anas_strbuf *out);
// The same as a module of the context, without locations; a status if it does not parse (a bug of ours).
anas_status anas_model_export(const struct anas_model *model, MlirContext context, MlirModule *out_module);
// Replaces the content of an existing module (body and attributes) by the model: how passes write back. Operations keep
// the locations of their nodes, which must belong to the module's context.
anas_status anas_model_write_back(const struct anas_model *model, MlirModule module);

// Entry function: the first public one ("main" by convention); -1 if there is none.
int anas_model_entry(const struct anas_model *model);
int anas_model_find(const struct anas_model *model, const char *name); // -1 if there is none

// Building. Returned pointers are valid until the next addition to the same array.
struct anas_function *anas_model_add_function(struct anas_model *model, const char *name);
struct anas_node *anas_function_add_node(struct anas_function *function, const struct anas_op_def *def);
void anas_function_set_extra(struct anas_model *model, struct anas_function *function, const char *name,
                             const char *value); // replaces; null removes
void anas_model_set_extra(struct anas_model *model, const char *name, const char *value);

const char *anas_model_strdup(struct anas_model *model, const char *text);               // owned by the model
const char *anas_function_extra(const struct anas_function *function, const char *name); // null if there is none

// Forgets the types of results, and of the arguments of private functions that are called: what a mutation does before
// it infers them anew.
void anas_model_clear_types(struct anas_model *model);

// Type of a value; rank 0 if unknown.
const struct anas_shape *anas_value_type(const struct anas_function *function, struct anas_ref ref);

// Attributes with defaults and symbolic values resolved against operand types.
anas_status anas_node_resolve(const struct anas_node *node, const struct anas_shape *operands, struct anas_op *out_op);

// Infers every type from the argument types, callees first; arguments of callees are taken from the first call and
// must agree with the others. Declared types that contradict are errors (emitted at the op if it has a location).
anas_status anas_model_infer_shapes(struct anas_model *model);

// Verifies everything import and shape inference check, plus: names of parameterised ops present and unique, no
// recursion, every function reachable result used consistently. Emits diagnostics.
anas_status anas_model_verify(const struct anas_model *model);

// live[n]: a result of the function depends on node n. malloc'ed.
bool *anas_live_nodes(const struct anas_function *function);
// Removes nodes whose results are unused, and private functions nobody calls.
void anas_model_remove_dead(struct anas_model *model);

// Canonical 128-bit hash as 32 hex digits: invariant under value, function and op names, node order, dead code,
// identities, and the order of operands of commutative ops; stable across runs and machines. Types of arguments,
// every attribute value (defaults filled in) and the op types count.
void anas_model_hash(const struct anas_model *model, char out_hex[33]);

// Emits status's message as an MLIR error at the node (or prints "error: ..." to stderr if it has no location), and
// returns status.
anas_status anas_node_error(const struct anas_node *node, anas_status status);

#endif
