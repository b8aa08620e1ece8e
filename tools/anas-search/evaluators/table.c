// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Results from a table instead of training: a CSV file whose heading names the columns hash (canonical hash of the
// architecture), accuracy and, where known, loss, images_per_second and seconds. Strategies are compared on it in
// seconds, and it is how a benchmark of trained architectures is used.
#include "tools/anas-search/evaluators/evaluator.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum column { HASH, ACCURACY, LOSS, IMAGES_PER_SECOND, SECONDS, NUM_COLUMNS };
static const char *const column_names[NUM_COLUMNS] = {"hash", "accuracy", "loss", "images_per_second", "seconds"};

struct table_file {
  const char *path;
  char *text;
  int place[NUM_COLUMNS]; // of the column in a line, -1: absent
};

static size_t line_size(const char *line) {
  return strcspn(line, "\r\n");
}

static const char *next_line(const char *line) {
  line += line_size(line);
  return line + strspn(line, "\r\n");
}

// Field number 'place' of a line; its size, or -1 if the line has fewer.
static ptrdiff_t field(const char *line, int place, const char **out) {
  const char *end = line + line_size(line);
  for (int i = 0; i < place; i++) {
    line = memchr(line, ',', (size_t)(end - line));
    if (!line) return -1;
    line++;
  }
  const char *comma = memchr(line, ',', (size_t)(end - line));
  *out = line;
  return (comma ? comma : end) - line;
}

static anas_status open_table(const char *path, struct table_file *out) {
  size_t size;
  if (!path || !*path) return anas_fail(ANAS_INVALID, "--evaluator table needs a file: table:FILE");
  ANAS_RETURN_IF_ERROR(anas_file_read(path, &out->text, &size));
  out->path = path;
  for (int c = 0; c < NUM_COLUMNS; c++) {
    out->place[c] = -1;
    const char *name;
    ptrdiff_t length;
    for (int i = 0; (length = field(out->text, i, &name)) >= 0; i++)
      if ((size_t)length == strlen(column_names[c]) && !memcmp(name, column_names[c], (size_t)length))
        out->place[c] = i;
  }
  if (out->place[HASH] >= 0 && out->place[ACCURACY] >= 0) return ANAS_OK;
  free(out->text);
  return anas_fail(ANAS_INVALID,
                   "%s:1: the first line of a table must name its columns, hash and accuracy among them (also known: "
                   "loss, images_per_second, seconds)",
                   path);
}

// NaN where the table has no such column or the field is empty.
static anas_status number_of(const struct table_file *table, const char *line, int line_number, enum column column,
                             double *out) {
  *out = NAN;
  const char *text;
  ptrdiff_t size = table->place[column] < 0 ? -1 : field(line, table->place[column], &text);
  if (size <= 0) return ANAS_OK;
  char *end;
  double value = strtod(text, &end);
  if (end != text + size)
    return anas_fail(ANAS_INVALID, "%s:%d: %s '%.*s' is not a number", table->path, line_number, column_names[column],
                     (int)size, text);
  *out = value;
  return ANAS_OK;
}

static anas_status check(const char *argument) {
  struct table_file table;
  ANAS_RETURN_IF_ERROR(open_table(argument, &table));
  int number = 2;
  anas_status status = ANAS_OK;
  for (const char *line = next_line(table.text); *line && status == ANAS_OK; line = next_line(line), number++)
    for (int c = ACCURACY; c < NUM_COLUMNS && status == ANAS_OK; c++) {
      double value;
      status = number_of(&table, line, number, (enum column)c, &value);
    }
  free(table.text);
  return status;
}

static const char *find(const struct table_file *table, const char *hash, int *out_number) {
  int number = 2;
  for (const char *line = next_line(table->text); *line; line = next_line(line), number++) {
    const char *text;
    ptrdiff_t size = field(line, table->place[HASH], &text);
    if (size != (ptrdiff_t)strlen(hash) || memcmp(text, hash, (size_t)size) != 0) continue;
    *out_number = number;
    return line;
  }
  return NULL;
}

static anas_status read_line(const struct table_file *table, const char *hash, struct outcome *out,
                             double *out_seconds) {
  int number;
  const char *line = find(table, hash, &number);
  if (!line) return anas_fail(ANAS_INVALID, "'%s' has no architecture with hash %s", table->path, hash);
  struct anas_train_result *result = &out->result;
  ANAS_RETURN_IF_ERROR(number_of(table, line, number, ACCURACY, &result->val_accuracy));
  ANAS_RETURN_IF_ERROR(number_of(table, line, number, LOSS, &result->val_loss));
  ANAS_RETURN_IF_ERROR(number_of(table, line, number, IMAGES_PER_SECOND, &result->images_per_second));
  ANAS_RETURN_IF_ERROR(number_of(table, line, number, SECONDS, out_seconds));
  if (isfinite(result->val_accuracy)) return ANAS_OK;
  return anas_fail(ANAS_INVALID, "%s:%d: no accuracy for hash %s", table->path, number, hash);
}

static anas_status evaluate(const struct search *search, int64_t number, const char *argument,
                            struct reporter *reporter, struct outcome *out) {
  struct table_file table;
  ANAS_RETURN_IF_ERROR(open_table(argument, &table));
  double seconds = NAN;
  anas_status status = read_line(&table, search->trials[number].hash, out, &seconds);
  free(table.text);
  ANAS_RETURN_IF_ERROR(status);
  if (seconds > 0) usleep((useconds_t)(fmin(seconds, 1e6) * 1e6));
  int count;
  struct pruner_stop *stops = pruner_stops(&search->options, number, &count);
  double done = epochs_done(&search->trials[number]);
  bool on = true;
  for (int i = 0; i < count && on; i++)
    if (stops[i].epochs > done) on = report_stop(reporter, &stops[i]);
  free(stops);
  return ANAS_OK;
}

const struct evaluator evaluator_table = {
    .name = "table",
    .metavar = ":FILE",
    .summary = "results from a CSV file with columns hash, accuracy [, loss, images_per_second, seconds]",
    .check = check,
    .evaluate = evaluate,
};
