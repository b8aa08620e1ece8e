// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -verify-diagnostics: diagnostics are compared with comments "expected-(error|warning|note|remark)[@where] {{text}}".
// where: +N, -N, above, below, unknown (no location); default: the line of the comment. Notes nobody expects are fine.
#include "tools/anas-opt/opt.h"

#include "dialect/context.h"
#include "runtime/support/memory.h"

#include <ctype.h>
#include <mlir-c/Diagnostics.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_LINE 0

struct expectation {
  MlirDiagnosticSeverity severity;
  int line, comment_line; // UNKNOWN_LINE: a diagnostic without file location
  char *text;
  bool met;
};

struct emitted {
  MlirDiagnosticSeverity severity;
  int line, column;
  char *text;
};

struct opt_expectations {
  MlirContext context;
  MlirDiagnosticHandlerID handler;
  const char *file;
  struct expectation *expected;
  struct emitted *emitted;
  int num_expected, num_emitted;
  size_t capacity_expected, capacity_emitted;
};

static const struct {
  const char *name;
  MlirDiagnosticSeverity severity;
} severities[] = {
    {"error", MlirDiagnosticError},
    {"warning", MlirDiagnosticWarning},
    {"note", MlirDiagnosticNote},
    {"remark", MlirDiagnosticRemark},
};

static const char *severity_name(MlirDiagnosticSeverity severity) {
  for (size_t i = 0; i < sizeof severities / sizeof *severities; i++)
    if (severities[i].severity == severity) return severities[i].name;
  return "diagnostic";
}

static bool has_prefix(const char *text, const char *prefix) {
  return !strncmp(text, prefix, strlen(prefix));
}

// "@+2", "@above", ... relative to line; moves *at behind it.
static bool parse_where(const char **at, int line, int *out_line) {
  const char *s = *at;
  *out_line = line;
  if (*s != '@') return true;
  s++;
  if (has_prefix(s, "above")) {
    *out_line = line - 1;
    s += 5;
  } else if (has_prefix(s, "below")) {
    *out_line = line + 1;
    s += 5;
  } else if (has_prefix(s, "unknown")) {
    *out_line = UNKNOWN_LINE;
    s += 7;
  } else if (*s == '+' || *s == '-') {
    char *end;
    long offset = strtol(s, &end, 10);
    if (end == s + 1) return false;
    *out_line = line + (int)offset;
    s = end;
  } else {
    return false;
  }
  *at = s;
  return true;
}

static anas_status read_expectation(struct opt_expectations *x, const char *after, int line) {
  MlirDiagnosticSeverity severity = MlirDiagnosticError;
  size_t i = 0, count = sizeof severities / sizeof *severities;
  while (i < count && !has_prefix(after, severities[i].name))
    i++;
  if (i == count) return ANAS_OK; // prose such as "expected-shape"
  severity = severities[i].severity;
  const char *at = after + strlen(severities[i].name);
  int target;
  if (!parse_where(&at, line, &target))
    return anas_fail(ANAS_INVALID, "%s:%d: expected-%s: after '@' comes +N, -N, above, below or unknown", x->file, line,
                     severities[i].name);
  while (*at == ' ')
    at++;
  const char *close = has_prefix(at, "{{") ? strstr(at, "}}") : NULL;
  if (!close || memchr(at, '\n', (size_t)(close - at)))
    return anas_fail(ANAS_INVALID, "%s:%d: expected-%s needs its text in {{...}} on the same line", x->file, line,
                     severities[i].name);
  x->expected = anas_grow(x->expected, (size_t)x->num_expected, &x->capacity_expected, sizeof *x->expected);
  x->expected[x->num_expected++] = (struct expectation){
      .severity = severity,
      .line = target,
      .comment_line = line,
      .text = anas_format("%.*s", (int)(close - at - 2), at + 2),
  };
  return ANAS_OK;
}

static anas_status read_expectations(struct opt_expectations *x, const char *text) {
  static const char prefix[] = "expected-";
  int line = 1;
  for (const char *at = text; *at; at++) {
    if (*at == '\n') line++;
    if (*at == 'e' && !strncmp(at, prefix, sizeof prefix - 1))
      ANAS_RETURN_IF_ERROR(read_expectation(x, at + sizeof prefix - 1, line));
  }
  return ANAS_OK;
}

static bool file_location(MlirLocation location, int *out_line, int *out_column) {
  for (;;) {
    if (mlirLocationIsAFileLineColRange(location)) {
      *out_line = mlirLocationFileLineColRangeGetStartLine(location);
      *out_column = mlirLocationFileLineColRangeGetStartColumn(location);
      return true;
    }
    if (mlirLocationIsAName(location)) {
      location = mlirLocationNameGetChildLoc(location);
    } else if (mlirLocationIsACallSite(location)) {
      location = mlirLocationCallSiteGetCallee(location);
    } else if (mlirLocationIsAFused(location) && mlirLocationFusedGetNumLocations(location)) {
      MlirLocation *parts = anas_calloc(mlirLocationFusedGetNumLocations(location), sizeof *parts);
      mlirLocationFusedGetLocations(location, parts);
      location = parts[0];
      free(parts);
    } else {
      return false;
    }
  }
}

static void collect(struct opt_expectations *x, MlirDiagnostic diagnostic) {
  struct emitted emitted = {.severity = mlirDiagnosticGetSeverity(diagnostic), .line = UNKNOWN_LINE};
  file_location(mlirDiagnosticGetLocation(diagnostic), &emitted.line, &emitted.column);
  struct anas_strbuf text = {0};
  mlirDiagnosticPrint(diagnostic, anas_print_to_strbuf, &text);
  anas_strbuf_adds(&text, "");
  emitted.text = text.data ? anas_strbuf_detach(&text) : anas_strdup("");
  x->emitted = anas_grow(x->emitted, (size_t)x->num_emitted, &x->capacity_emitted, sizeof *x->emitted);
  x->emitted[x->num_emitted++] = emitted;
  for (intptr_t i = 0; i < mlirDiagnosticGetNumNotes(diagnostic); i++)
    collect(x, mlirDiagnosticGetNote(diagnostic, i));
}

static MlirLogicalResult handle(MlirDiagnostic diagnostic, void *data) {
  collect(data, diagnostic);
  return mlirLogicalResultSuccess();
}

static void destroy(struct opt_expectations *x) {
  for (int i = 0; i < x->num_expected; i++)
    free(x->expected[i].text);
  for (int i = 0; i < x->num_emitted; i++)
    free(x->emitted[i].text);
  free(x->expected);
  free(x->emitted);
  free(x);
}

anas_status opt_expectations_attach(MlirContext context, const char *file, const struct opt_chunk *chunk,
                                    struct opt_expectations **out) {
  struct opt_expectations *x = anas_alloc(sizeof *x);
  x->context = context;
  x->file = file;
  anas_status status = read_expectations(x, chunk->text);
  if (status != ANAS_OK) {
    destroy(x);
    return status;
  }
  x->handler = mlirContextAttachDiagnosticHandler(context, handle, x, NULL);
  *out = x;
  return ANAS_OK;
}

int opt_expectations_finish(struct opt_expectations *x) {
  mlirContextDetachDiagnosticHandler(x->context, x->handler);
  int differences = 0;
  for (int i = 0; i < x->num_emitted; i++) {
    const struct emitted *e = &x->emitted[i];
    int k = 0;
    while (k < x->num_expected && (x->expected[k].met || x->expected[k].severity != e->severity ||
                                   x->expected[k].line != e->line || !strstr(e->text, x->expected[k].text)))
      k++;
    if (k < x->num_expected) {
      x->expected[k].met = true;
    } else if (e->severity != MlirDiagnosticNote) {
      fprintf(stderr, "%s:%d:%d: error: unexpected %s: %s\n", x->file, e->line, e->column, severity_name(e->severity),
              e->text);
      differences++;
    }
  }
  for (int k = 0; k < x->num_expected; k++) {
    const struct expectation *e = &x->expected[k];
    if (e->met) continue;
    fprintf(stderr, "%s:%d: error: expected %s \"%s\" was not produced\n", x->file, e->comment_line,
            severity_name(e->severity), e->text);
    differences++;
  }
  destroy(x);
  return differences;
}
