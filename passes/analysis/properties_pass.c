// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-infer-properties: writes depth and mixing of every function as discardable attributes.
#include "passes/analysis/analysis.h"
#include "passes/pass.h"

#include <stdlib.h>

extern const struct anas_pass_def anas_pass_infer_properties;

// dense<...> : tensor<RxAxi64>; a splat where all entries agree, as MLIR prints it.
static void depth_text(const struct anas_properties *properties, struct anas_strbuf *out) {
  bool splat = true;
  for (int r = 0; r < properties->num_results; r++)
    for (int a = 0; a < properties->num_args; a++)
      splat = splat && properties->depth[r][a] == properties->depth[0][0];
  anas_strbuf_adds(out, "dense<");
  if (splat) {
    anas_strbuf_addf(out, "%lld", (long long)properties->depth[0][0]);
  } else {
    anas_strbuf_adds(out, "[");
    for (int r = 0; r < properties->num_results; r++) {
      anas_strbuf_adds(out, r ? ", [" : "[");
      for (int a = 0; a < properties->num_args; a++)
        anas_strbuf_addf(out, "%s%lld", a ? ", " : "", (long long)properties->depth[r][a]);
      anas_strbuf_adds(out, "]");
    }
    anas_strbuf_adds(out, "]");
  }
  anas_strbuf_addf(out, "> : tensor<%dx%dxi64>", properties->num_results, properties->num_args);
}

static void matrix_text(const struct anas_mixing *mixing, struct anas_strbuf *out) {
  anas_strbuf_adds(out, "dense<[");
  for (int i = 0; i < mixing->rows; i++) {
    anas_strbuf_adds(out, i ? ", [" : "[");
    for (int j = 0; j < mixing->columns; j++)
      anas_strbuf_addf(out, "%s%d", j ? ", " : "", mixing->pair[i][j]);
    anas_strbuf_adds(out, "]");
  }
  anas_strbuf_addf(out, "]> : tensor<%dx%dxi8>", mixing->rows, mixing->columns);
}

static void mixing_text(const struct anas_properties *properties, struct anas_strbuf *out) {
  anas_strbuf_adds(out, "[");
  for (int r = 0; r < properties->num_results; r++) {
    anas_strbuf_adds(out, r ? ", [" : "[");
    for (int a = 0; a < properties->num_args; a++) {
      anas_strbuf_adds(out, a ? ", " : "");
      matrix_text(&properties->mixing[r][a], out);
    }
    anas_strbuf_adds(out, "]");
  }
  anas_strbuf_adds(out, "]");
}

static void attach(struct anas_model *model, const struct anas_properties *properties) {
  struct anas_strbuf text = {0};
  for (int f = 0; f < model->num_functions; f++) {
    if (!properties[f].num_results || !properties[f].num_args) continue; // a tensor<0x...> has no literal
    depth_text(&properties[f], &text);
    anas_function_set_extra(model, &model->functions[f], "anas.depth", anas_strbuf_text(&text));
    anas_strbuf_clear(&text);
    mixing_text(&properties[f], &text);
    anas_function_set_extra(model, &model->functions[f], "anas.mixing", anas_strbuf_text(&text));
    anas_strbuf_clear(&text);
  }
  anas_strbuf_deinit(&text);
}

// anas.reads: [result][argument] a list of texts, one for each dimension of the argument.
struct reads_text {
  struct anas_model *model;
  struct anas_strbuf text;
};

static void add_reads(void *context, int index, int result, int arg, const struct anas_reads *reads) {
  struct reads_text *r = context;
  struct anas_function *function = &r->model->functions[index];
  anas_strbuf_adds(&r->text, arg ? ", [" : result ? ", [[" : "[[[");
  for (int i = 0; i < function->arg[arg].rank; i++) {
    anas_strbuf_adds(&r->text, i ? ", \"" : "\"");
    if (reads)
      anas_reads_text(reads, i, &r->text);
    else
      anas_strbuf_adds(&r->text, "nothing");
    anas_strbuf_adds(&r->text, "\"");
  }
  anas_strbuf_adds(&r->text, arg + 1 < function->num_args ? "]" : "]]");
  if (result + 1 < function->num_results || arg + 1 < function->num_args) return;
  anas_strbuf_adds(&r->text, "]");
  anas_function_set_extra(r->model, function, "anas.reads", anas_strbuf_text(&r->text));
  anas_strbuf_clear(&r->text);
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  struct anas_property_options how = {.strict_reference = anas_option_bool(options, "strict-reference")};
  struct reads_text reads = {0};
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  reads.model = model;
  if (anas_option_bool(options, "reads") && !how.strict_reference) {
    how.on_reads = add_reads;
    how.context = &reads;
  }
  struct anas_properties *properties = anas_calloc((size_t)model->num_functions + 1, sizeof *properties);
  anas_status status = anas_model_infer_shapes(model);
  if (status == ANAS_OK) status = anas_infer_properties_with(model, &how, properties);
  if (status == ANAS_OK) {
    attach(model, properties);
    status = anas_model_write_back(model, module);
  }
  anas_strbuf_deinit(&reads.text);
  free(properties);
  anas_model_destroy(model);
  return status;
}

static const struct anas_pass_option properties_options[] = {
    {"strict-reference", ANAS_OPTION_BOOL, "false",
     "compose mixing and count depth as the reference implementation does"},
    {"reads", ANAS_OPTION_BOOL, "false", "also write the positions of arguments that results read, as anas.reads"},
    {0},
};

const struct anas_pass_def anas_pass_infer_properties = {
    .argument = "anas-infer-properties",
    .summary = "write depth and mixing of every function as attributes anas.depth and anas.mixing",
    .options = properties_options,
    .run = run,
};
