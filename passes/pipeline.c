// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Textual pipelines over one MLIR pass manager. MLIR's C API cannot register a pass, so the text is read here: our
// passes are added as external passes, nesting is followed, everything else goes to MLIR verbatim. Because it stays one
// manager, timing, IR printing, verification and dumping work for the mixture.
#include "dialect/context.h"
#include "passes/options.h"
#include "passes/pass.h"
#include "passes/statistics.h"

#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"
#include "runtime/support/strbuf.h"

#include <ctype.h>
#include <mlir-c/Diagnostics.h>
#include <mlir-c/RegisterEverything.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// ---- a pass of ours as an MLIR pass

struct instance {
  const struct anas_pass_def *def;
  struct anas_pass_options *options;
  struct anas_statistics *statistics;
  char *text; // "anas-mutate{seed=3}"
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static MlirTypeID *type_ids; // one per entry of the table; live as long as the process

static void prepare(void) {
  mlirRegisterAllPasses();
  int count;
  anas_pass_table(&count);
  type_ids = anas_calloc((size_t)count, sizeof *type_ids);
  static MlirTypeIDAllocator allocator; // static: reachable for as long as the identifiers are used
  allocator = mlirTypeIDAllocatorCreate();
  for (int i = 0; i < count; i++)
    type_ids[i] = mlirTypeIDAllocatorAllocateTypeID(allocator);
}

static MlirTypeID type_id(const struct anas_pass_def *def) {
  int count;
  const struct anas_pass_def *const *table = anas_pass_table(&count);
  for (int i = 0; i < count; i++)
    if (table[i] == def) return type_ids[i];
  return (MlirTypeID){NULL};
}

static void instance_destroy(void *data) {
  struct instance *instance = data;
  anas_pass_options_destroy(instance->options);
  free(instance->text);
  free(instance);
}

static void *instance_clone(void *data) {
  const struct instance *instance = data;
  struct instance *copy = anas_alloc(sizeof *copy);
  *copy = *instance;
  copy->options = anas_pass_options_clone(instance->options);
  copy->text = anas_strdup(instance->text);
  return copy;
}

static MlirLogicalResult notice_error(MlirDiagnostic diagnostic, void *seen) {
  if (mlirDiagnosticGetSeverity(diagnostic) == MlirDiagnosticError) *(bool *)seen = true;
  return mlirLogicalResultFailure(); // not handled: the next handler prints it
}

static void instance_run(MlirOperation operation, MlirExternalPass pass, void *data) {
  struct instance *instance = data;
  MlirModule module = mlirModuleFromOperation(operation);
  MlirContext context = mlirOperationGetContext(operation);
  bool seen = false;
  MlirDiagnosticHandlerID handler = mlirContextAttachDiagnosticHandler(context, notice_error, &seen, NULL);
  int run = anas_statistics_begin(instance->statistics, instance->text, module);
  anas_status status = instance->def->run(module, instance->options);
  anas_statistics_end(instance->statistics, run, module);
  mlirContextDetachDiagnosticHandler(context, handler);
  if (status == ANAS_OK) return;
  if (!seen)
    anas_emit_error(mlirOperationGetLocation(operation), "'%s': %s", instance->def->argument, anas_error_message());
  mlirExternalPassSignalFailure(pass);
}

static MlirPass make_pass(const struct anas_pass_def *def, struct anas_pass_options *options,
                          struct anas_statistics *statistics) {
  struct instance *instance = anas_alloc(sizeof *instance);
  *instance = (struct instance){.def = def, .options = options, .statistics = statistics};
  struct anas_strbuf text = {0};
  anas_pass_options_print(options, &text);
  instance->text = anas_strbuf_detach(&text);
  MlirExternalPassCallbacks callbacks = {.destruct = instance_destroy, .clone = instance_clone, .run = instance_run};
  // Name, argument and description are copied by MLIR; the anchor is not, hence a literal. The argument carries the
  // options so that dumped pipelines can be parsed back.
  return mlirCreateExternalPass(type_id(def), anas_ref_text(def->argument), anas_ref_text(instance->text),
                                anas_ref_text(def->summary), anas_ref_text("builtin.module"), 0, NULL, callbacks,
                                instance);
}

// ---- the text

struct parser {
  const char *text, *at, *end;
  const struct anas_pipeline_config *config;
};

// Position is 1-based; messages of MLIR and of the option parser are appended.
static anas_status fail_at(const struct parser *p, const char *at, const char *message) {
  return anas_fail(ANAS_INVALID, "pass pipeline, column %d: %s", (int)(at - p->text) + 1, message);
}

static void skip_space(struct parser *p) {
  while (p->at < p->end && isspace((unsigned char)*p->at))
    p->at++;
}

static bool is_name(char c) {
  return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

// From an opening bracket to behind the closing one that matches it; null if there is none. Quoted text is skipped.
static const char *match_bracket(const char *at, const char *end) {
  int depth = 0;
  char quote = 0;
  for (; at < end; at++) {
    if (quote) {
      if (*at == quote) quote = 0;
    } else if (*at == '"' || *at == '\'') {
      quote = *at;
    } else if (strchr("({[", *at)) {
      depth++;
    } else if (strchr(")}]", *at) && --depth == 0) {
      return at + 1;
    }
  }
  return NULL;
}

static anas_status unknown_pass(const struct parser *p, const char *name, size_t size) {
  int count;
  const struct anas_pass_def *const *table = anas_pass_table(&count);
  struct anas_nearest nearest = anas_nearest_make(name, size);
  for (int i = 0; i < count; i++)
    anas_nearest_offer(&nearest, table[i]->argument);
  char hint[128];
  char *message = anas_format("unknown pass '%.*s'%s (--list-passes shows all)", (int)size, name,
                              anas_nearest_hint(&nearest, hint));
  anas_status status = fail_at(p, name, message);
  free(message);
  return status;
}

static anas_status add_own(struct parser *p, MlirOpPassManager manager, const char *anchor,
                           const struct anas_pass_def *def, const char *name, const char *options, size_t size) {
  // MLIR would abort the process.
  if (strcmp(anchor, "builtin.module")) {
    char *message = anas_format("pass '%s' runs on builtin.module and cannot be nested in '%s'", def->argument, anchor);
    anas_status status = fail_at(p, name, message);
    free(message);
    return status;
  }
  struct anas_pass_options *values;
  anas_status status = anas_pass_options_parse(def, options, size, p->config ? p->config->defaults : NULL, &values);
  if (status != ANAS_OK) return anas_fail_context(status, "pass pipeline, column %d: ", (int)(name - p->text) + 1);
  mlirOpPassManagerAddOwnedPass(manager, make_pass(def, values, p->config ? p->config->statistics : NULL));
  return ANAS_OK;
}

static anas_status add_foreign(struct parser *p, MlirOpPassManager manager, const char *name, const char *end) {
  struct anas_strbuf error = {0};
  MlirStringRef element = mlirStringRefCreate(name, (size_t)(end - name));
  bool ok = mlirLogicalResultIsSuccess(mlirOpPassManagerAddPipeline(manager, element, anas_print_to_strbuf, &error));
  anas_status status = ANAS_OK;
  if (!ok) {
    // MLIR shows the element and a caret on further lines; the first line is the message.
    while (error.size && isspace((unsigned char)error.data[error.size - 1]))
      error.data[--error.size] = 0;
    const char *text = anas_strbuf_text(&error);
    const char *message = strstr(text, "error: ");
    message = message ? message + strlen("error: ") : text;
    char *line = anas_format("%.*s", (int)strcspn(message, "\n"), message);
    status = fail_at(p, name, line);
    free(line);
  }
  anas_strbuf_deinit(&error);
  return status;
}

static anas_status parse_list(struct parser *p, MlirOpPassManager manager, const char *anchor, bool nested);

static anas_status parse_element(struct parser *p, MlirOpPassManager manager, const char *anchor) {
  skip_space(p);
  const char *name = p->at;
  while (p->at < p->end && is_name(*p->at))
    p->at++;
  size_t size = (size_t)(p->at - name);
  if (!size) return fail_at(p, name, "expected the name of a pass or of an operation to nest in");
  skip_space(p);
  if (p->at < p->end && *p->at == '(') {
    if (!match_bracket(p->at, p->end)) return fail_at(p, p->at, "this '(' is not closed");
    p->at++;
    char *inner_anchor = anas_format("%.*s", (int)size, name);
    MlirOpPassManager inner = mlirOpPassManagerGetNestedUnder(manager, anas_ref_text(inner_anchor));
    anas_status status = parse_list(p, inner, inner_anchor, true);
    free(inner_anchor);
    return status;
  }
  const char *options = NULL;
  size_t options_size = 0;
  if (p->at < p->end && *p->at == '{') {
    const char *close = match_bracket(p->at, p->end);
    if (!close) return fail_at(p, p->at, "this '{' is not closed");
    options = p->at + 1;
    options_size = (size_t)(close - options) - 1;
    p->at = close;
  }
  const struct anas_pass_def *def = anas_pass_find(name, size);
  if (def) return add_own(p, manager, anchor, def, name, options ? options : "", options_size);
  if (size > 5 && !memcmp(name, "anas-", 5)) return unknown_pass(p, name, size);
  return add_foreign(p, manager, name, p->at);
}

static anas_status parse_list(struct parser *p, MlirOpPassManager manager, const char *anchor, bool nested) {
  skip_space(p);
  if (nested && p->at < p->end && *p->at == ')') {
    p->at++;
    return ANAS_OK;
  }
  for (;;) {
    ANAS_RETURN_IF_ERROR(parse_element(p, manager, anchor));
    skip_space(p);
    if (p->at == p->end) return nested ? fail_at(p, p->at, "expected ')'") : ANAS_OK;
    char c = *p->at;
    if (c != ',' && !(c == ')' && nested)) return fail_at(p, p->at, nested ? "expected ',' or ')'" : "expected ','");
    p->at++;
    if (c == ')') return ANAS_OK;
  }
}

anas_status anas_pipeline_parse_config(MlirPassManager manager, const char *pipeline,
                                       const struct anas_pipeline_config *config) {
  pthread_once(&once, prepare);
  struct parser p = {.text = pipeline, .at = pipeline, .end = pipeline + strlen(pipeline), .config = config};
  skip_space(&p);
  while (p.end > p.at && isspace((unsigned char)p.end[-1]))
    p.end--;
  if (p.at == p.end) return ANAS_OK;
  static const char wrapper[] = "builtin.module";
  if (!strncmp(p.at, wrapper, sizeof wrapper - 1)) {
    const char *open = p.at + sizeof wrapper - 1;
    while (open < p.end && isspace((unsigned char)*open))
      open++;
    if (open < p.end && *open == '(' && match_bracket(open, p.end) == p.end) { // around everything: our own anchor
      p.at = open + 1;
      p.end--;
      skip_space(&p);
      if (p.at == p.end) return ANAS_OK;
    }
  }
  return parse_list(&p, mlirPassManagerGetAsOpPassManager(manager), "builtin.module", false);
}

anas_status anas_pipeline_parse(MlirPassManager manager, const char *pipeline) {
  return anas_pipeline_parse_config(manager, pipeline, NULL);
}

// ---- running

static MlirLogicalResult keep_first_error(MlirDiagnostic diagnostic, void *data) {
  struct anas_strbuf *first = data;
  if (!first->size && mlirDiagnosticGetSeverity(diagnostic) == MlirDiagnosticError)
    mlirDiagnosticPrint(diagnostic, anas_print_to_strbuf, first);
  return mlirLogicalResultFailure();
}

struct anas_pipeline {
  MlirPassManager manager;
  char *text;
};

anas_status anas_pipeline_create(MlirContext context, const char *text, struct anas_pipeline **out) {
  MlirPassManager manager = mlirPassManagerCreateOnOperation(context, anas_ref_text("builtin.module"));
  anas_status status = anas_pipeline_parse(manager, text);
  if (status != ANAS_OK) {
    mlirPassManagerDestroy(manager);
    return status;
  }
  *out = anas_alloc(sizeof **out);
  **out = (struct anas_pipeline){manager, anas_strdup(text)};
  return ANAS_OK;
}

void anas_pipeline_destroy(struct anas_pipeline *pipeline) {
  if (!pipeline) return;
  mlirPassManagerDestroy(pipeline->manager);
  free(pipeline->text);
  free(pipeline);
}

anas_status anas_pipeline_apply(struct anas_pipeline *pipeline, MlirModule module) {
  MlirContext context = mlirModuleGetContext(module);
  struct anas_strbuf first = {0};
  MlirDiagnosticHandlerID handler = mlirContextAttachDiagnosticHandler(context, keep_first_error, &first, NULL);
  bool ok = mlirLogicalResultIsSuccess(mlirPassManagerRunOnOp(pipeline->manager, mlirModuleGetOperation(module)));
  mlirContextDetachDiagnosticHandler(context, handler);
  anas_status status = ANAS_OK;
  if (!ok)
    status = anas_fail(ANAS_INVALID, "pipeline '%s' failed: %s", pipeline->text,
                       first.size ? first.data : "no reason was given");
  anas_strbuf_deinit(&first);
  return status;
}

anas_status anas_pipeline_run(MlirModule module, const char *text) {
  struct anas_pipeline *pipeline;
  ANAS_RETURN_IF_ERROR(anas_pipeline_create(mlirModuleGetContext(module), text, &pipeline));
  anas_status status = anas_pipeline_apply(pipeline, module);
  anas_pipeline_destroy(pipeline);
  return status;
}
