// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the files of anas-opt share.
#ifndef ANAS_TOOLS_ANAS_OPT_OPT_H
#define ANAS_TOOLS_ANAS_OPT_OPT_H

#include "runtime/support/status.h"
#include "runtime/support/strbuf.h"

#include <mlir-c/IR.h>
#include <stdbool.h>
#include <stdint.h>

// ---- command line (cli.c)

struct opt_flags {
  const char *input, *output; // "-": standard input and output
  const char *pipeline;       // --pass-pipeline, or null
  char **elements;            // per-pass flags in order, as pipeline elements; owned
  int num_elements;
  size_t capacity_elements;
  bool split, verify_diagnostics, allow_unregistered, disable_threading, skip_verify_each;
  bool generic, debug_info, local_scope, bytecode;
  bool print_before_all, print_after_all, print_after_change, print_after_failure, print_module_scope;
  const char *print_tree;
  const char *elide; // elements attributes larger than this many elements
  bool timing, statistics, dump_pipeline;
  const char *seed;
  bool help, version, show_irdl;
  const char *list_ops, *list_passes; // null, "", "json", "markdown"
};

anas_status opt_flags_parse(int argc, char **argv, struct opt_flags *out);
void opt_flags_deinit(struct opt_flags *flags);
// ANAS_INVALID with the nearest flag or pass; leading dashes do not matter.
anas_status opt_unknown_argument(const char *argument);
void opt_help(struct anas_strbuf *out);

// ---- input chunks (split.c)

struct opt_chunk {
  char *text; // preceded by newlines so that its lines have the numbers they have in the file; malloc'ed
  size_t size;
};

// Splits at lines that start with "// -----"; without split, one chunk. Bytecode is never split.
void opt_split(const char *text, size_t size, bool split, struct opt_chunk **out_chunks, int *out_count);
void opt_chunks_free(struct opt_chunk *chunks, int count);

// ---- expected diagnostics (expect.c)

struct opt_expectations;
// Reads the "expected-error@+1 {{text}}" comments of a chunk and starts collecting what the context emits. ANAS_INVALID
// for a malformed comment.
anas_status opt_expectations_attach(MlirContext context, const char *file, const struct opt_chunk *chunk,
                                    struct opt_expectations **out);
// Compares, reports every difference on stderr and returns their number.
int opt_expectations_finish(struct opt_expectations *expectations);

// ---- listings (listing.c)

extern const char *const opt_attr_kinds[], *const opt_option_kinds[]; // names of the kinds
void opt_list_ops(bool json, struct anas_strbuf *out);
void opt_list_passes(bool json, struct anas_strbuf *out);

// ---- the same as reference pages (markdown.c)

void opt_markdown_ops(struct anas_strbuf *out);
void opt_markdown_passes(struct anas_strbuf *out);

// ---- one chunk through the pipeline (process.c)

// Appends the result to out. Diagnostics go to stderr; false on failure.
bool opt_process(const struct opt_flags *flags, const char *file, const struct opt_chunk *chunk,
                 struct anas_strbuf *out);

#endif
