// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What study.c asks of a database engine: SQL with ?1, ?2, ... for parameters, rows as values, one writer. Tables and
// statements are study.c's and the same everywhere; where the dialects differ, the engine has the words.
#ifndef ANAS_TOOLS_ANAS_SEARCH_STUDY_BACKEND_H
#define ANAS_TOOLS_ANAS_SEARCH_STUDY_BACKEND_H

#include "runtime/support/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum study_value_kind { STUDY_NULL = 0, STUDY_INTEGER, STUDY_REAL, STUDY_TEXT, STUDY_BLOB };

struct study_value {
  enum study_value_kind kind;
  int64_t integer;
  double real;
  const char *text; // of texts (terminated) and blobs
  size_t size;      // of texts (without the terminator) and blobs
};

// Rows of a result. value and name have num_columns entries; value holds until the next row is asked for.
struct study_rows {
  const struct study_engine *engine;
  int num_columns;
  const struct study_value *value;
  const char *const *name;
};

struct study_database { // the engine's own is larger
  const struct study_engine *engine;
};

struct study_engine {
  // Types of columns, what ends the definition of a table that has a key of its own, how a transaction begins.
  const char *key, *integer, *real, *text, *blob, *table_end, *begin;

  bool (*exists)(const char *location);
  // create: the study is new; the caller makes its tables.
  // write: takes the study's lock. Neither: only reads.
  anas_status (*open)(const char *location, bool create, bool write, struct study_database **out);
  void (*close)(struct study_database *database);

  // Runs one statement. out_rows: null if there are none, or nobody wants them; else to be closed. out_changed: rows
  // that were inserted, updated or deleted; may be null.
  anas_status (*run)(struct study_database *database, const char *sql, const struct study_value *parameters, int count,
                     const char *doing, struct study_rows **out_rows, int64_t *out_changed);
  anas_status (*next)(struct study_rows *rows, bool *out_more);
  void (*close_rows)(struct study_rows *rows);

  anas_status (*version)(struct study_database *database, int *out); // of the schema
  anas_status (*set_version)(struct study_database *database, int version);
  // Whether the database is sound; complete: whatever it takes.
  anas_status (*check)(struct study_database *database, bool complete);
};

extern const struct study_engine study_sqlite;

#endif
