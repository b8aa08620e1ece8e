// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contexts, parsing and printing. Registration happens once per process; IRDL is loaded exactly once per context
// (MLIR aborts on the second load).
#include "dialect/context.h"

#include "dialect/op.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <ctype.h>
#include <mlir-c/Diagnostics.h>
#include <mlir-c/Dialect/IRDL.h>
#include <mlir-c/RegisterEverything.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Everything our passes and the stock lowering produce: a dialect must not be loaded while a pass runs.
static const char *const loaded_dialects[] = {
    "func",   "arith",         "math", "linalg", "memref", "scf",  "cf",    "vector", "tensor",
    "affine", "bufferization", "llvm", "index",  "gpu",    "nvvm", "nvgpu", "ub",     "irdl",
};

static pthread_once_t process_once = PTHREAD_ONCE_INIT;
static MlirDialectRegistry registry; // lives as long as the process
static char *irdl_text;

static void register_process(void) {
  registry = mlirDialectRegistryCreate();
  mlirRegisterAllDialects(registry);
  mlirRegisterAllPasses();
  struct anas_strbuf text = {0};
  anas_irdl_text(&text);
  irdl_text = anas_strbuf_detach(&text);
}

MlirStringRef anas_ref_text(const char *text) {
  return mlirStringRefCreate(text, strlen(text));
}

void anas_print_to_strbuf(MlirStringRef text, void *strbuf) {
  anas_strbuf_add(strbuf, text.data, text.length);
}

MlirContext anas_context_create(bool threading) {
  pthread_once(&process_once, register_process);
  MlirContext context = mlirContextCreateWithRegistry(registry, threading);
  for (size_t i = 0; i < sizeof loaded_dialects / sizeof *loaded_dialects; i++)
    mlirContextGetOrLoadDialect(context, anas_ref_text(loaded_dialects[i]));
  mlirRegisterAllLLVMTranslations(context);
  MlirModule definition = mlirModuleCreateParse(context, anas_ref_text(irdl_text));
  // A null module here means the op table produced bad IRDL; MLIR has printed why, and every parse will fail.
  if (!mlirModuleIsNull(definition)) {
    mlirLoadIRDLDialects(definition);
    mlirModuleDestroy(definition);
  }
  return context;
}

void anas_operation_text(MlirOperation operation, struct anas_strbuf *out) {
  MlirOpPrintingFlags flags = mlirOpPrintingFlagsCreate();
  mlirOpPrintingFlagsUseLocalScope(flags);
  mlirOpPrintingFlagsAssumeVerified(flags);
  mlirOperationPrintWithFlags(operation, flags, anas_print_to_strbuf, out);
  mlirOpPrintingFlagsDestroy(flags);
}

void anas_emit_error(MlirLocation location, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *text = NULL;
  int length = vasprintf(&text, format, args);
  va_end(args);
  if (length >= 0) mlirEmitError(location, text);
  free(text);
}

// ---- parsing

struct parse_watch {
  const char *name;
  int errors;
  struct anas_strbuf first; // "file:line:col: message" of the first error
};

static void first_error_text(MlirDiagnostic diagnostic, struct parse_watch *watch) {
  MlirLocation location = mlirDiagnosticGetLocation(diagnostic);
  if (mlirLocationIsAFileLineColRange(location)) {
    MlirStringRef file = mlirIdentifierStr(mlirLocationFileLineColRangeGetFilename(location));
    bool anonymous = file.length == 1 && file.data[0] == '-';
    anas_strbuf_addf(&watch->first, "%.*s:%d:%d: ", anonymous ? (int)strlen(watch->name) : (int)file.length,
                     anonymous ? watch->name : file.data, mlirLocationFileLineColRangeGetStartLine(location),
                     mlirLocationFileLineColRangeGetStartColumn(location));
  }
  mlirDiagnosticPrint(diagnostic, anas_print_to_strbuf, &watch->first);
  const struct anas_op_def *nearest = anas_unregistered_op_hint(anas_strbuf_text(&watch->first));
  if (nearest) anas_strbuf_addf(&watch->first, "; did you mean 'anas.%s'?", nearest->name);
}

// Remembers the first error and lets the handlers of the caller report it.
static MlirLogicalResult watch_parse(MlirDiagnostic diagnostic, void *data) {
  struct parse_watch *watch = data;
  if (mlirDiagnosticGetSeverity(diagnostic) == MlirDiagnosticError && !watch->errors++)
    first_error_text(diagnostic, watch);
  return mlirLogicalResultFailure();
}

// MLIR rejects an IRDL op in pretty syntax without a word. Finds the first such op: anas.<word> outside strings and
// comments that is neither an attribute name (followed by '=') nor an alias.
static bool find_pretty_op(const char *text, size_t size, int *out_line, int *out_column, size_t *out_offset) {
  int line = 1;
  size_t line_start = 0;
  bool in_string = false, in_comment = false;
  for (size_t i = 0; i < size; i++) {
    if (text[i] == '\n') {
      line++;
      line_start = i + 1;
      in_comment = in_string = false;
      continue;
    }
    if (in_comment) continue;
    if (text[i] == '"' && (!i || text[i - 1] != '\\')) in_string = !in_string;
    if (in_string) continue;
    if (text[i] == '/' && i + 1 < size && text[i + 1] == '/') in_comment = true;
    if (size - i < 6 || memcmp(text + i, "anas.", 5) != 0 || !islower((unsigned char)text[i + 5])) continue;
    if (i && text[i - 1] != ' ' && text[i - 1] != '\t' && text[i - 1] != '\n' && text[i - 1] != '=') continue;
    size_t end = i + 5;
    while (end < size && (isalnum((unsigned char)text[end]) || text[end] == '_'))
      end++;
    while (end < size && text[end] == ' ')
      end++;
    if (end < size && (text[end] == '%' || text[end] == '(')) {
      *out_line = line;
      *out_column = (int)(i - line_start) + 1;
      *out_offset = i;
      return true;
    }
    i = end - 1;
  }
  return false;
}

static void explain_silent_failure(MlirContext context, const char *text, size_t size, const char *name) {
  int line = 1, column = 1;
  size_t offset = 0;
  bool found = text && find_pretty_op(text, size, &line, &column, &offset);
  MlirLocation location = mlirLocationFileLineColGet(context, anas_ref_text(name), (unsigned)line, (unsigned)column);
  if (found) {
    int length = 5;
    while (offset + (size_t)length < size &&
           (isalnum((unsigned char)text[offset + (size_t)length]) || text[offset + (size_t)length] == '_'))
      length++;
    anas_emit_error(location, "'%.*s' has no custom syntax; write the generic form: \"%.*s\"(%%x) {...} : (...) -> ...",
                    length, text + offset, length, text + offset);
  } else {
    anas_emit_error(location, "MLIR could not parse this input and gave no reason; anas operations must be written in "
                              "the generic form: \"anas.relu\"(%%x) : (...) -> ...");
  }
}

static anas_status finish_parse(MlirContext context, MlirModule module, struct parse_watch *watch,
                                MlirDiagnosticHandlerID handler, const char *text, size_t size,
                                MlirModule *out_module) {
  if (mlirModuleIsNull(module) && !watch->errors) explain_silent_failure(context, text, size, watch->name);
  mlirContextDetachDiagnosticHandler(context, handler);
  anas_status status = ANAS_OK;
  if (mlirModuleIsNull(module))
    status = anas_fail(ANAS_INVALID, "%s", anas_strbuf_text(&watch->first));
  else
    *out_module = module;
  anas_strbuf_deinit(&watch->first);
  return status;
}

anas_status anas_parse(MlirContext context, const char *text, size_t size, const char *name, MlirModule *out_module) {
  struct parse_watch watch = {.name = name};
  MlirDiagnosticHandlerID handler = mlirContextAttachDiagnosticHandler(context, watch_parse, &watch, NULL);
  MlirModule module = mlirModuleCreateParse(context, mlirStringRefCreate(text, size));
  return finish_parse(context, module, &watch, handler, text, size, out_module);
}

anas_status anas_parse_file(MlirContext context, const char *path, MlirModule *out_module) {
  char *text;
  size_t size;
  ANAS_RETURN_IF_ERROR(anas_file_read(path, &text, &size));
  anas_status status;
  if (!strcmp(path, "-")) {
    status = anas_parse(context, text, size, "<stdin>", out_module);
  } else {
    // Parsed from the file again, so that locations carry its path; the text serves the explanation of failures.
    struct parse_watch watch = {.name = path};
    MlirDiagnosticHandlerID handler = mlirContextAttachDiagnosticHandler(context, watch_parse, &watch, NULL);
    MlirModule module = mlirModuleCreateParseFromFile(context, anas_ref_text(path));
    status = finish_parse(context, module, &watch, handler, text, size, out_module);
  }
  free(text);
  return status;
}
