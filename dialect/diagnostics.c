// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Diagnostics as mlir-opt prints them: file:line:col: severity: message, the source line, a caret, then the notes.
#include "dialect/context.h"

#include "dialect/op.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <mlir-c/Diagnostics.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct anas_diagnostics {
  MlirContext context;
  MlirDiagnosticHandlerID handler;
  char *file, *source;        // source may be null; then files are read when a message points into them
  char *loaded_path, *loaded; // the last file read
  atomic_int errors;
};

const struct anas_op_def *anas_unregistered_op_hint(const char *message) {
  static const char start[] = "unregistered operation 'anas.";
  const char *name = strstr(message, start);
  if (!name) return NULL;
  name += sizeof start - 1;
  const char *end = strchr(name, '\'');
  return end ? anas_op_nearest(name, (size_t)(end - name)) : NULL;
}

// The place in a file that a location stands for: first of a fused one, callee of a call site.
static bool file_location(MlirLocation location, MlirLocation *out) {
  for (int depth = 0; depth < 64; depth++) {
    if (mlirLocationIsAFileLineColRange(location)) {
      *out = location;
      return true;
    }
    if (mlirLocationIsAName(location)) {
      location = mlirLocationNameGetChildLoc(location);
    } else if (mlirLocationIsACallSite(location)) {
      location = mlirLocationCallSiteGetCallee(location);
    } else if (mlirLocationIsAFused(location)) {
      unsigned count = mlirLocationFusedGetNumLocations(location);
      if (!count) return false;
      MlirLocation *parts = anas_calloc(count, sizeof *parts);
      mlirLocationFusedGetLocations(location, parts);
      bool found = false;
      for (unsigned i = 0; i < count && !found; i++)
        found = file_location(parts[i], out);
      free(parts);
      return found;
    } else {
      return false;
    }
  }
  return false;
}

static const char *source_of(struct anas_diagnostics *diagnostics, const char *path) {
  if (diagnostics->file && !strcmp(path, diagnostics->file) && diagnostics->source) return diagnostics->source;
  if (diagnostics->loaded_path && !strcmp(diagnostics->loaded_path, path)) return diagnostics->loaded;
  if (!strcmp(path, "-") || path[0] == '<') return NULL;
  char *text;
  size_t size;
  // A file that is gone by now costs the source line, not the message; the thread's error text stays as it was.
  FILE *probe = fopen(path, "rb");
  if (!probe) return NULL;
  fclose(probe);
  if (anas_file_read(path, &text, &size) != ANAS_OK) return NULL;
  free(diagnostics->loaded_path);
  free(diagnostics->loaded);
  diagnostics->loaded_path = anas_strdup(path);
  diagnostics->loaded = text;
  return text;
}

static void print_source_line(const char *source, int line, int column) {
  for (int i = 1; i < line && source; i++) {
    source = strchr(source, '\n');
    if (source) source++;
  }
  if (!source || column < 1) return;
  size_t length = strcspn(source, "\n");
  if (!length || (size_t)column > length + 1) return;
  fprintf(stderr, "%.*s\n", (int)length, source);
  for (int i = 0; i < column - 1; i++)
    fputc(source[i] == '\t' ? '\t' : ' ', stderr);
  fputs("^\n", stderr);
}

static void print_diagnostic(struct anas_diagnostics *diagnostics, MlirDiagnostic diagnostic, int nesting) {
  static const char *const severities[] = {"error", "warning", "note", "remark"};
  struct anas_strbuf message = {0};
  mlirDiagnosticPrint(diagnostic, anas_print_to_strbuf, &message);
  enum MlirDiagnosticSeverity severity = mlirDiagnosticGetSeverity(diagnostic);
  MlirLocation location;
  if (file_location(mlirDiagnosticGetLocation(diagnostic), &location)) {
    MlirStringRef file = mlirIdentifierStr(mlirLocationFileLineColRangeGetFilename(location));
    char *path = anas_format("%.*s", (int)file.length, file.data);
    const char *shown = !strcmp(path, "-") && diagnostics->file ? diagnostics->file : path;
    int line = mlirLocationFileLineColRangeGetStartLine(location);
    int column = mlirLocationFileLineColRangeGetStartColumn(location);
    fprintf(stderr, "%s:%d:%d: %s: %s\n", shown, line, column, severities[severity], anas_strbuf_text(&message));
    const char *source = source_of(diagnostics, shown);
    if (source) print_source_line(source, line, column);
    const struct anas_op_def *nearest = anas_unregistered_op_hint(anas_strbuf_text(&message));
    if (nearest) fprintf(stderr, "%s:%d:%d: note: did you mean 'anas.%s'?\n", shown, line, column, nearest->name);
    free(path);
  } else {
    const char *file = diagnostics->file ? diagnostics->file : "<unknown>";
    fprintf(stderr, "%s: %s: %s\n", file, severities[severity], anas_strbuf_text(&message));
  }
  anas_strbuf_deinit(&message);
  if (nesting < 8)
    for (intptr_t i = 0; i < mlirDiagnosticGetNumNotes(diagnostic); i++)
      print_diagnostic(diagnostics, mlirDiagnosticGetNote(diagnostic, i), nesting + 1);
}

static MlirLogicalResult handle(MlirDiagnostic diagnostic, void *data) {
  struct anas_diagnostics *diagnostics = data;
  if (mlirDiagnosticGetSeverity(diagnostic) == MlirDiagnosticError) diagnostics->errors++;
  print_diagnostic(diagnostics, diagnostic, 0);
  return mlirLogicalResultSuccess();
}

struct anas_diagnostics *anas_diagnostics_attach(MlirContext context, const char *file, const char *source) {
  struct anas_diagnostics *diagnostics = anas_alloc(sizeof *diagnostics);
  diagnostics->context = context;
  diagnostics->file = file ? anas_strdup(file) : NULL;
  diagnostics->source = source ? anas_strdup(source) : NULL;
  diagnostics->handler = mlirContextAttachDiagnosticHandler(context, handle, diagnostics, NULL);
  return diagnostics;
}

int anas_diagnostics_errors(const struct anas_diagnostics *diagnostics) {
  return diagnostics->errors;
}

void anas_diagnostics_detach(struct anas_diagnostics *diagnostics) {
  if (!diagnostics) return;
  mlirContextDetachDiagnosticHandler(diagnostics->context, diagnostics->handler);
  free(diagnostics->file);
  free(diagnostics->source);
  free(diagnostics->loaded_path);
  free(diagnostics->loaded);
  free(diagnostics);
}
