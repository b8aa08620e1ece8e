// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// MLIR contexts with the anas dialect, diagnostics as mlir-opt prints them, and parsing that never fails silently.
#ifndef ANAS_DIALECT_CONTEXT_H
#define ANAS_DIALECT_CONTEXT_H

#include "runtime/support/status.h"
#include "runtime/support/strbuf.h"

#include <mlir-c/IR.h>

struct anas_op_def;

// A context with every dialect we use loaded (none may be loaded later, inside a pass) and anas registered from IRDL.
// threading: let pass managers use MLIR's thread pool; off for contexts used from worker threads or before fork.
MlirContext anas_context_create(bool threading);

// IRDL definition of the dialect, generated from the op table; the caller clears the buffer.
void anas_irdl_text(struct anas_strbuf *out);

// Parses a module from text (or bytecode). name stands for the text in the status message; MLIR gives the locations the
// file name "-", which anas_diagnostics prints as the file it was attached for. A chunk of a file is given with as many
// newlines in front as it has lines before it. If MLIR fails without a diagnostic, an error of our own is emitted.
anas_status anas_parse(MlirContext context, const char *text, size_t size, const char *name, MlirModule *out_module);
anas_status anas_parse_file(MlirContext context, const char *path, MlirModule *out_module); // "-": standard input

// Prints diagnostics as "file:line:col: error: message", source line and caret, to stderr. source may be null.
struct anas_diagnostics;
struct anas_diagnostics *anas_diagnostics_attach(MlirContext context, const char *file, const char *source);
int anas_diagnostics_errors(const struct anas_diagnostics *diagnostics); // how many errors were seen
void anas_diagnostics_detach(struct anas_diagnostics *diagnostics);

// The op an "unregistered operation 'anas.xyz'" message of MLIR probably means; null for other messages.
const struct anas_op_def *anas_unregistered_op_hint(const char *message);

// printf-style error at a location.
__attribute__((format(printf, 2, 3))) void anas_emit_error(MlirLocation location, const char *format, ...);

MlirStringRef anas_ref_text(const char *text);               // borrowed
void anas_print_to_strbuf(MlirStringRef text, void *strbuf); // MlirStringCallback
// Canonical text of an operation: local scope, no locations.
void anas_operation_text(MlirOperation operation, struct anas_strbuf *out);

#endif
