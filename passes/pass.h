// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes as data: one static struct anas_pass_def per pass; --help, docs and pipelines come from the table.
#ifndef ANAS_PASSES_PASS_H
#define ANAS_PASSES_PASS_H

#include "runtime/support/status.h"

#include <mlir-c/IR.h>
#include <mlir-c/Pass.h>
#include <stdint.h>

enum anas_option_kind { ANAS_OPTION_INT, ANAS_OPTION_FLOAT, ANAS_OPTION_BOOL, ANAS_OPTION_STRING };

struct anas_pass_option {
  const char *name; // "max-length"
  enum anas_option_kind kind;
  const char *fallback; // default as text
  const char *doc;
};

struct anas_pass_options; // parsed values of one pass instance

struct anas_pass_def {
  const char *argument; // "anas-infer-shapes"
  const char *summary;
  const struct anas_pass_option *options; // ends with a null name; may be null
  // Runs on a builtin.module. Errors about an op are emitted at the op; the returned status ends the pipeline and its
  // message is emitted at the module unless a diagnostic was already seen.
  anas_status (*run)(MlirModule module, const struct anas_pass_options *options);
};

int64_t anas_option_int(const struct anas_pass_options *options, const char *name);
double anas_option_float(const struct anas_pass_options *options, const char *name);
bool anas_option_bool(const struct anas_pass_options *options, const char *name);
const char *anas_option_string(const struct anas_pass_options *options, const char *name);
// Text of an option of any kind as it was given; null if it was not, so that the default applies.
const char *anas_option_given(const struct anas_pass_options *options, const char *name);

// Every pass, in the order of --help. passes/registry.c lists them.
const struct anas_pass_def *const *anas_pass_table(int *out_count);
const struct anas_pass_def *anas_pass_find(const char *argument, size_t length);

// Adds the passes of a textual pipeline ("anas-infer-shapes,func.func(canonicalize),anas-mutate{seed=3}", with or
// without "builtin.module(...)" around) to a pass manager anchored on builtin.module. anas passes and MLIR's own mix
// freely; an error names the position in the text. After an error the manager may hold a part of the pipeline.
anas_status anas_pipeline_parse(MlirPassManager manager, const char *pipeline);

// The same, with what tools add. All members may be zero.
struct anas_pipeline_config {
  const char *defaults; // "seed=3": option values for passes that have such options and were not given them
  struct anas_statistics *statistics; // collects counters of anas passes; must outlive the manager
};
anas_status anas_pipeline_parse_config(MlirPassManager manager, const char *pipeline,
                                       const struct anas_pipeline_config *config);
// Runs a pipeline on a module in one call (own pass manager; no printing). The common way for library code.
anas_status anas_pipeline_run(MlirModule module, const char *pipeline);

// A pipeline to run on one module after the other: setting up its passes (their rewrite patterns) costs more than
// running them on a small module. Not for several threads at once.
struct anas_pipeline;
anas_status anas_pipeline_create(MlirContext context, const char *text, struct anas_pipeline **out);
void anas_pipeline_destroy(struct anas_pipeline *pipeline);
anas_status anas_pipeline_apply(struct anas_pipeline *pipeline, MlirModule module);

// ---- statistics

// Counters per pass instance: operations before and after, time, and what passes report with anas_pass_count.
struct anas_statistics;
struct anas_strbuf;
struct anas_statistics *anas_statistics_create(void);
void anas_statistics_destroy(struct anas_statistics *statistics);
void anas_statistics_print(const struct anas_statistics *statistics, struct anas_strbuf *out);
// Adds to a counter of the pass that runs on this thread; does nothing outside of one or if nobody collects. name is
// one or two words for people, e.g. "candidates".
void anas_pass_count(const char *name, int64_t amount);

#endif
