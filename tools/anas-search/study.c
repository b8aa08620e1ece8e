// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The study: opening it, its tables, transactions, settings. Trials are study_trials.c's, claims study_claims.c's,
// files study_files.c's; engines keep it all.
#include "tools/anas-search/study.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"
#include "tools/anas-search/study_backend.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *study_location_name(const char *location) {
  char *name = anas_strdup(location), *host = strstr(name, "://");
  if (!host) return name;
  host += 3;
  size_t user = strcspn(host, "@/?#"), secret = strcspn(host, ":@/?#");
  if (host[user] == '@' && host[secret] == ':') memmove(host + secret, host + user, strlen(host + user) + 1);
  return name;
}

const char *study_name(const struct study *study) {
  return study->name;
}

const char *study_path(const struct study *study) {
  return study->directory;
}

bool study_shared(const struct study *study) {
  return study->engine->shared;
}

char *study_trial_path(const char *study_directory, int64_t number, const char *file) {
  return anas_format("%s/trials/%04lld%s%s", study_directory, (long long)number, *file ? "/" : "", file);
}

// ---- tables

static anas_status execute(struct study *study, const char *sql) {
  return study_run(study, sql, NULL, 0, NULL, NULL);
}

// What is claimed, or waited for, is found without looking at what has ended. Since version 4.
static const char unfinished_index[] =
    "CREATE INDEX IF NOT EXISTS trials_unfinished ON trials(number) WHERE state IN (" STUDY_UNFINISHED ")";

static anas_status create_tables(struct study *study) {
  const struct study_engine *e = study->engine;
  char *settings =
      anas_format("CREATE TABLE settings(key %s PRIMARY KEY, value %s NOT NULL)%s", e->text, e->text, e->table_end);
  char *counters =
      anas_format("CREATE TABLE counters(name %s PRIMARY KEY, value %s NOT NULL)%s", e->text, e->integer, e->table_end);
  anas_status status = execute(study, settings);
  if (status == ANAS_OK) status = execute(study, counters);
  if (status == ANAS_OK) status = study_create_trials(study);
  if (status == ANAS_OK) status = execute(study, "CREATE INDEX trials_hash ON trials(hash)");
  if (status == ANAS_OK) status = execute(study, unfinished_index);
  free(counters);
  free(settings);
  return status;
}

static anas_status create_artefacts(struct study *study) { // since version 2
  const struct study_engine *e = study->engine;
  char *sql = anas_format("CREATE TABLE artefacts(trial %s NOT NULL, file %s NOT NULL, size %s NOT NULL, hash %s NOT "
                          "NULL, content %s, PRIMARY KEY(trial, file))%s",
                          e->integer, e->text, e->integer, e->text, e->blob, e->table_end);
  anas_status status = execute(study, sql);
  free(sql);
  return status;
}

// ---- opening

static const struct study_engine *engine_of(const char *path) {
  static const struct study_engine *const engines[] = {&study_postgres, &study_sqlite};
  size_t i = 0;
  while (!engines[i]->is_location(path))
    i++;
  return engines[i];
}

bool study_exists(const char *path) {
  return engine_of(path)->exists(path);
}

bool study_location_shared(const char *path) {
  return engine_of(path)->shared;
}

static struct study *make(const char *path) {
  struct study *study = anas_alloc(sizeof *study);
  study->location = anas_strdup(path);
  study->name = study_location_name(path);
  study->engine = engine_of(path);
  return study;
}

struct new_study {
  const char *options_json, *seed_text;
};

static anas_status fill(struct study *study, void *data) {
  const struct new_study *settings = data;
  ANAS_RETURN_IF_ERROR(create_tables(study));
  ANAS_RETURN_IF_ERROR(create_artefacts(study));
  ANAS_RETURN_IF_ERROR(study_create_curves(study));
  ANAS_RETURN_IF_ERROR(study_set(study, "options", settings->options_json));
  ANAS_RETURN_IF_ERROR(study_set(study, "seed-model", settings->seed_text));
  ANAS_RETURN_IF_ERROR(study_set(study, "anas-version", ANAS_VERSION));
  return study->engine->set_version(study->database, STUDY_SCHEMA);
}

static anas_status create(struct study *study, const char *options_json, const char *seed_text) {
  if (study->engine->exists(study->location))
    return anas_fail(ANAS_INVALID, "'%s' already holds a study; continue it with --resume or choose another directory",
                     study->name);
  ANAS_RETURN_IF_ERROR(study->engine->open(study->location, true, STUDY_WRITE, &study->database));
  struct new_study settings = {options_json, seed_text};
  ANAS_RETURN_IF_ERROR(study_atomically(study, fill, &settings));
  study->version = STUDY_SCHEMA;
  study_make_statements(study, true);
  return study_files_open(study);
}

anas_status study_create(const char *path, const char *options_json, const char *seed_text, struct study **out) {
  struct study *study = make(path);
  anas_status status = create(study, options_json, seed_text);
  if (status == ANAS_OK)
    *out = study;
  else
    study_close(study);
  return status;
}

static anas_status add_column(struct study *study, const char *table, const char *name, const char *type) {
  char *sql = anas_format("ALTER TABLE %s ADD COLUMN %s %s", table, name, type);
  anas_status status = execute(study, sql);
  free(sql);
  return status;
}

static anas_status migrate(struct study *study, void *data) {
  (void)data;
  if (study->version < 2)
    ANAS_RETURN_IF_ERROR(create_artefacts(study));
  else if (study->version < 4)
    ANAS_RETURN_IF_ERROR(add_column(study, "artefacts", "content", study->engine->blob));
  if (study->version < 4) ANAS_RETURN_IF_ERROR(execute(study, unfinished_index));
  if (study->version < 5) ANAS_RETURN_IF_ERROR(study_create_curves(study));
  ANAS_RETURN_IF_ERROR(study_add_columns(study));
  return study->engine->set_version(study->database, STUDY_SCHEMA);
}

static anas_status open_existing(struct study *study, enum study_access access) {
  ANAS_RETURN_IF_ERROR(study->engine->open(study->location, false, access, &study->database));
  ANAS_RETURN_IF_ERROR(study->engine->version(study->database, &study->version));
  if (study->version < 1 || study->version > STUDY_SCHEMA)
    return anas_fail(ANAS_UNSUPPORTED, "study '%s' has schema version %d; this anas-search reads versions 1 to %d",
                     study->name, study->version, STUDY_SCHEMA);
  ANAS_RETURN_IF_ERROR(study->engine->check(study->database, false));
  bool complete;
  ANAS_RETURN_IF_ERROR(study_find_columns(study, &complete));
  complete &= study->version == STUDY_SCHEMA;
  if (access == STUDY_WRITE && !complete) {
    ANAS_RETURN_IF_ERROR(study_atomically(study, migrate, NULL));
    study->version = STUDY_SCHEMA;
    complete = true;
  }
  study_make_statements(study, complete);
  return study_files_open(study);
}

static anas_status open_as(const char *path, enum study_access access, struct study **out) {
  struct study *study = make(path);
  anas_status status = open_existing(study, access);
  if (status == ANAS_OK)
    *out = study;
  else
    study_close(study);
  return status;
}

anas_status study_open(const char *path, bool write, struct study **out) {
  return open_as(path, write ? STUDY_WRITE : STUDY_READ, out);
}

anas_status study_open_worker(const char *path, struct study **out) {
  if (study_location_shared(path)) return open_as(path, STUDY_WORK, out);
  return anas_fail(ANAS_INVALID, "'%s' is a study for one machine; workers need one in PostgreSQL: postgresql://...",
                   path);
}

void study_close(struct study *study) {
  if (!study) return;
  if (study->database) study_flush(study);
  study_files_close(study);
  if (study->database) study->engine->close(study->database);
  free(study->columns);
  free(study->read);
  free(study->read_brief);
  free(study->insert);
  free(study->update);
  free(study->location);
  free(study->name);
  free(study);
}

// ---- statements and transactions

void study_set_patience(struct study *study, study_patience patience, void *data) {
  study->patience = patience;
  study->patience_data = data;
}

// Whether the failure was a lost database that has been found again: what failed can be done again then.
static bool found_again(struct study *study) {
  const struct study_engine *engine = study->engine;
  if (!engine->lost || !engine->lost(study->database) || !study->patience) return false;
  char *reason = anas_strdup(anas_error_message());
  double start = anas_now();
  anas_status status;
  do {
    if (!study->patience(study->patience_data, anas_now() - start, reason)) break;
    status = engine->reconnect(study->database);
  } while (status != ANAS_OK && engine->lost(study->database));
  bool found = !engine->lost(study->database);
  if (!found) anas_fail(ANAS_IO, "%s", reason);
  free(reason);
  return found && status == ANAS_OK;
}

anas_status study_run(struct study *study, const char *sql, const struct study_value *parameters, int count,
                      struct study_rows **out_rows, int64_t *out_changed) {
  const char *doing = out_rows ? "reading" : "writing";
  anas_status status;
  do
    status = study->engine->run(study->database, sql, parameters, count, doing, out_rows, out_changed);
  while (status != ANAS_OK && !study->in_transaction && found_again(study));
  return status;
}

anas_status study_atomically(struct study *study, study_body body, void *data) {
  anas_status status;
  do {
    ANAS_RETURN_IF_ERROR(execute(study, study->engine->begin));
    study->in_transaction = true;
    status = body(study, data);
    if (status == ANAS_OK) status = execute(study, "COMMIT");
    study->in_transaction = false;
  } while (status != ANAS_OK && found_again(study));
  if (status == ANAS_OK) return ANAS_OK;
  char *reason = anas_strdup(anas_error_message());
  study->engine->run(study->database, "ROLLBACK", NULL, 0, "writing", NULL, NULL); // it may be rolled back already
  anas_fail(status, "%s", reason);
  free(reason);
  return status;
}

anas_status study_flush(struct study *study) {
  // Files first: what the database mentions exists.
  ANAS_RETURN_IF_ERROR(study_sync_files(study));
  return study->engine->flush ? study->engine->flush(study->database) : ANAS_OK;
}

anas_status study_check(struct study *study) {
  return study->engine->check(study->database, true);
}

// ---- values

struct study_value study_integer(int64_t value) {
  return (struct study_value){.kind = STUDY_INTEGER, .integer = value};
}

struct study_value study_real(double value) {
  return isfinite(value) ? (struct study_value){.kind = STUDY_REAL, .real = value} : (struct study_value){0};
}

struct study_value study_text(const char *text) {
  return text ? (struct study_value){.kind = STUDY_TEXT, .text = text, .size = strlen(text)} : (struct study_value){0};
}

// Runs a statement that returns no rows.
static anas_status write_row(struct study *study, const char *sql, const struct study_value *values, int count) {
  return study_run(study, sql, values, count, NULL, NULL);
}

anas_status study_query_text(struct study *study, const char *sql, struct study_value parameter, char **out) {
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(study, sql, &parameter, 1, &rows, NULL));
  bool more;
  anas_status status = study->engine->next(rows, &more);
  if (status == ANAS_OK) *out = more && rows->value[0].kind == STUDY_TEXT ? anas_strdup(rows->value[0].text) : NULL;
  study->engine->close_rows(rows);
  return status;
}

anas_status study_get(struct study *study, const char *key, char **out) {
  return study_query_text(study, "SELECT value FROM settings WHERE key = ?1", study_text(key), out);
}

anas_status study_set(struct study *study, const char *key, const char *value) {
  struct study_value values[] = {study_text(key), study_text(value)};
  return write_row(study, "INSERT INTO settings VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                   values, 2);
}

anas_status study_count(struct study *study, const char *name, int64_t amount) {
  if (!amount) return ANAS_OK;
  struct study_value values[] = {study_text(name), study_integer(amount)};
  return write_row(study,
                   "INSERT INTO counters VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET value = counters.value + "
                   "excluded.value",
                   values, 2);
}

anas_status study_counter(struct study *study, const char *name, int64_t *out) {
  struct study_rows *rows;
  struct study_value parameter = study_text(name);
  ANAS_RETURN_IF_ERROR(study_run(study, "SELECT value FROM counters WHERE name = ?1", &parameter, 1, &rows, NULL));
  bool more;
  anas_status status = study->engine->next(rows, &more);
  if (status == ANAS_OK) *out = more ? rows->value[0].integer : 0;
  study->engine->close_rows(rows);
  return status;
}
