// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the files of a study share, and what they ask of a database engine: SQL with ?1, ?2, ... for parameters, rows as
// values. Tables and statements are the same everywhere; where the dialects differ, the engine has the words.
#ifndef ANAS_TOOLS_ANAS_SEARCH_STUDY_BACKEND_H
#define ANAS_TOOLS_ANAS_SEARCH_STUDY_BACKEND_H

#include "tools/anas-search/study.h"

#include <stddef.h>

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

enum study_access {
  STUDY_READ,
  STUDY_WORK, // claims trials, where the engine is shared
  STUDY_WRITE // decides; takes the study's lock
};

struct study_database { // the engine's own is larger
  const struct study_engine *engine;
};

struct study_engine {
  // Types of columns, what ends the definition of a table that has a key of its own, how a transaction begins.
  const char *key, *integer, *real, *text, *blob, *table_end, *begin;
  const char *now;         // seconds since 1970 by the clock of the database
  const char *skip_locked; // at the end of a SELECT: rows that nobody else is about to change
  bool shared;             // several processes write; else the one that holds the study's lock

  bool (*is_location)(const char *location);
  bool (*exists)(const char *location);
  // create: the study is new; the caller makes its tables.
  anas_status (*open)(const char *location, bool create, enum study_access access, struct study_database **out);
  void (*close)(struct study_database *database);
  // Of engines that may lose their database: whether the last failure was that, and a try to find it again, without
  // what was begun and not committed. Null: it cannot happen.
  bool (*lost)(const struct study_database *database);
  anas_status (*reconnect)(struct study_database *database);

  // Runs one statement. out_rows: null if there are none, or nobody wants them; else to be closed. out_changed: rows
  // that were inserted, updated or deleted; may be null.
  anas_status (*run)(struct study_database *database, const char *sql, const struct study_value *parameters, int count,
                     const char *doing, struct study_rows **out_rows, int64_t *out_changed);
  anas_status (*next)(struct study_rows *rows, bool *out_more);
  void (*close_rows)(struct study_rows *rows);

  anas_status (*version)(struct study_database *database, int *out); // of the schema
  anas_status (*set_version)(struct study_database *database, int version);
  anas_status (*flush)(struct study_database *database); // see study_flush; null: every commit is one
  // Whether the database is sound; complete: whatever it takes.
  anas_status (*check)(struct study_database *database, bool complete);
};

extern const struct study_engine study_sqlite, study_postgres;

#define STUDY_UNFINISHED "'WAITING', 'RUNNING', 'INTERRUPTED'" // states, for SQL: somebody works on it, or may

#define STUDY_MAX_VALUES 64 // number and columns of a trial, and a few more

struct study_new_file {
  int fd;
  int64_t number;
};

struct study {
  const struct study_engine *engine;
  struct study_database *database;
  char *location;  // as the user gave it
  char *name;      // the same for messages
  char *directory; // where files of trials are worked on
  int scratch;     // holds the lock of scratch space; 0: none
  bool stored;     // they are kept elsewhere: see study_files.c
  char *store;     // a directory of all machines; null: the database
  int version;     // of the schema
  bool in_transaction;
  struct study_new_file *new_files; // that the disk was not yet asked to keep
  size_t num_new_files, capacity_new_files;
  bool has_column[STUDY_MAX_VALUES];         // of trials; study_trials.c
  char *columns;                             // ", parent, state, ..."
  char *read, *read_brief, *insert, *update; // statements on trials
  study_patience patience;
  void *patience_data;
};

char *study_location_name(const char *location); // without a password; malloc'ed

struct study_value study_integer(int64_t value);
struct study_value study_real(double value);     // null if it is not finite
struct study_value study_text(const char *text); // null if it is null
// engine->run, again when the database was lost and found.
anas_status study_run(struct study *study, const char *sql, const struct study_value *parameters, int count,
                      struct study_rows **out_rows, int64_t *out_changed);
// The values of a row "number, columns" become a trial, to be deinit'ed also on failure.
anas_status study_read_trial(const struct study *study, const struct study_value *row, struct study_trial *out);
int study_trial_values(const struct study_trial *trial, struct study_value out[STUDY_MAX_VALUES]); // for study->update

// The text in the first row, malloc'ed; null if there is none.
anas_status study_query_text(struct study *study, const char *sql, struct study_value parameter, char **out);

// ---- the table of trials (study_trials.c)

anas_status study_create_trials(struct study *study);
anas_status study_find_columns(struct study *study, bool *out_complete); // complete: it has all that we know
anas_status study_add_columns(struct study *study);                      // what was not found
// complete: all columns are there by now. Others read as null.
void study_make_statements(struct study *study, bool complete);

anas_status study_sync_files(struct study *study);
anas_status study_create_curves(struct study *study); // the table; study_curves.c
anas_status study_files_open(struct study *study);    // study_files.c
void study_files_close(struct study *study);

#endif
