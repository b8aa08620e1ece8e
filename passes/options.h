// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Option values of one pass instance (internal to passes/ and the tools that print them).
#ifndef ANAS_PASSES_OPTIONS_H
#define ANAS_PASSES_OPTIONS_H

#include "passes/pass.h"
#include "runtime/support/strbuf.h"

// Parses "name=value name=value" (values may be quoted with "..." or '...', or be bracketed) against the definition.
// defaults has the same form and fills options that the text does not give; names in it that the pass does not have are
// ignored.
anas_status anas_pass_options_parse(const struct anas_pass_def *def, const char *text, size_t size,
                                    const char *defaults, struct anas_pass_options **out);
struct anas_pass_options *anas_pass_options_clone(const struct anas_pass_options *options);
void anas_pass_options_destroy(struct anas_pass_options *options);

// "anas-mutate{seed=3}": the pass with every value that was given, parsable again.
void anas_pass_options_print(const struct anas_pass_options *options, struct anas_strbuf *out);

#endif
