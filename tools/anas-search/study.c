// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The study: its tables, what is read from them and written to them. Claims are study_claims.c's, files
// study_files.c's; engines keep it all.
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

static const char *const state_names[STUDY_NUM_STATES] = {
    "WAITING", "RUNNING",     "COMPLETE", "DIVERGED",  "TIMEOUT", "OOM",
    "CRASHED", "INTERRUPTED", "INVALID",  "DUPLICATE", "PAUSED",  "PRUNED",
};

const char *study_state_name(enum study_state state) {
  return (unsigned)state < STUDY_NUM_STATES ? state_names[state] : "?";
}

bool study_state_ended(enum study_state state) {
  return state != STUDY_WAITING && state != STUDY_RUNNING && state != STUDY_INTERRUPTED && state != STUDY_PAUSED;
}

void study_trial_init(struct study_trial *trial) {
  *trial = (struct study_trial){.parent = -1, .train_loss = NAN, .compile_seconds = NAN, .lease = NAN};
  for (int i = 0; i < METRIC_NUM; i++)
    trial->metric[i] = NAN;
}

void study_trial_deinit(struct study_trial *trial) {
  free(trial->reason);
  free(trial->kind);
  free(trial->block);
  free(trial->description);
  free(trial->hash);
  free(trial->owner);
  free(trial->curve);
}

void study_trials_free(struct study_trial *trials, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    study_trial_deinit(&trials[i]);
  free(trials);
}

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

struct column {
  const char *name;
  enum study_value_kind kind;
  size_t offset; // in struct study_trial
  bool not_null;
};

// The columns of trials between number and decision: these, with one a metric after METRICS_AFTER. To add one is to add
// a line here, or a metric: a writer adds the columns that a study lacks, and readers do without.
#define AT(member) offsetof(struct study_trial, member)
static const struct column fixed_columns[] = {
    {"parent", STUDY_INTEGER, AT(parent), true},
    {"state", STUDY_TEXT, AT(state), true}, // by name
    {"reason", STUDY_TEXT, AT(reason), false},
    {"kind", STUDY_TEXT, AT(kind), false},
    {"block", STUDY_TEXT, AT(block), false},
    {"description", STUDY_TEXT, AT(description), false},
    {"hash", STUDY_TEXT, AT(hash), false},
    {"train_loss", STUDY_REAL, AT(train_loss), false},
    {"compile_seconds", STUDY_REAL, AT(compile_seconds), false},
    {"steps", STUDY_INTEGER, AT(steps), false},
    {"peak_bytes", STUDY_INTEGER, AT(peak_bytes), false},
    {"attempts", STUDY_INTEGER, AT(attempts), true},
    {"created", STUDY_REAL, AT(created), false},
    {"started", STUDY_REAL, AT(started), false},
    {"finished", STUDY_REAL, AT(finished), false},
    {"owner", STUDY_TEXT, AT(owner), false},
    {"lease", STUDY_REAL, AT(lease), false},
    {"lost", STUDY_INTEGER, AT(lost), true},
};
#define METRICS_AFTER 7 // what comes first stays first in a listing: hash, then the metrics
#define NUM_FIXED ((int)(sizeof fixed_columns / sizeof *fixed_columns))
#define NUM_COLUMNS (NUM_FIXED + METRIC_NUM)
_Static_assert(NUM_COLUMNS + 8 <= STUDY_MAX_VALUES, "raise STUDY_MAX_VALUES");

static struct column column_at(int i) {
  if (i < METRICS_AFTER) return fixed_columns[i];
  if (i >= METRICS_AFTER + METRIC_NUM) return fixed_columns[i - METRIC_NUM];
  int metric = i - METRICS_AFTER;
  return (struct column){study_metrics[metric].name, STUDY_REAL, AT(metric) + (size_t)metric * sizeof(double), false};
}

static bool is_state(const struct column *column) {
  return column->offset == AT(state);
}

static const char *type_of(const struct study_engine *engine, enum study_value_kind kind) {
  return kind == STUDY_INTEGER ? engine->integer : kind == STUDY_REAL ? engine->real : engine->text;
}

static anas_status execute(struct study *study, const char *sql) {
  return study_run(study, sql, NULL, 0, NULL, NULL);
}

// What is claimed, or waited for, is found without looking at what has ended. Since version 4.
static const char unfinished_index[] =
    "CREATE INDEX IF NOT EXISTS trials_unfinished ON trials(number) WHERE state IN (" STUDY_UNFINISHED ")";

static anas_status create_tables(struct study *study) {
  const struct study_engine *e = study->engine;
  struct anas_strbuf trials = {0};
  anas_strbuf_addf(&trials, "CREATE TABLE trials(number %s", e->key);
  for (int i = 0; i < NUM_COLUMNS; i++) {
    struct column column = column_at(i);
    anas_strbuf_addf(&trials, ", %s %s%s", column.name, type_of(e, column.kind), column.not_null ? " NOT NULL" : "");
  }
  anas_strbuf_addf(&trials, ", decision %s)", e->text);
  char *settings =
      anas_format("CREATE TABLE settings(key %s PRIMARY KEY, value %s NOT NULL)%s", e->text, e->text, e->table_end);
  char *counters =
      anas_format("CREATE TABLE counters(name %s PRIMARY KEY, value %s NOT NULL)%s", e->text, e->integer, e->table_end);
  const char *all[] = {settings, counters, anas_strbuf_text(&trials), "CREATE INDEX trials_hash ON trials(hash)",
                       unfinished_index};
  anas_status status = ANAS_OK;
  for (size_t i = 0; i < sizeof all / sizeof *all && status == ANAS_OK; i++)
    status = execute(study, all[i]);
  free(counters);
  free(settings);
  anas_strbuf_deinit(&trials);
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

// Which columns of trials the study has.
static anas_status find_columns(struct study *study, bool out_has[NUM_COLUMNS]) {
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(study, "SELECT * FROM trials WHERE number < 0", NULL, 0, &rows, NULL));
  for (int i = 0; i < NUM_COLUMNS; i++) {
    out_has[i] = false;
    for (int c = 0; c < rows->num_columns; c++)
      out_has[i] |= !strcmp(column_at(i).name, rows->name[c]);
  }
  study->engine->close_rows(rows);
  return ANAS_OK;
}

// The statements, with the columns that there are.
static void make_statements(struct study *study, const bool has[NUM_COLUMNS]) {
  struct anas_strbuf columns = {0}, names = {0}, parameters = {0}, sets = {0};
  for (int i = 0; i < NUM_COLUMNS; i++) {
    const char *name = column_at(i).name;
    anas_strbuf_addf(&columns, ", %s", has[i] ? name : "NULL");
    anas_strbuf_addf(&names, ", %s", name);
    anas_strbuf_addf(&parameters, ", ?%d", i + 2);
    anas_strbuf_addf(&sets, "%s%s = ?%d", i ? ", " : "", name, i + 2);
  }
  study->read = anas_format("SELECT number%s FROM trials WHERE number >= ?1 ORDER BY number LIMIT ?2",
                            anas_strbuf_text(&columns));
  study->insert = anas_format("INSERT INTO trials(number%s, decision) VALUES(?1%s, ?%d)", anas_strbuf_text(&names),
                              anas_strbuf_text(&parameters), NUM_COLUMNS + 2);
  study->update = anas_format("UPDATE trials SET %s WHERE number = ?1", anas_strbuf_text(&sets));
  study->columns = anas_strbuf_detach(&columns);
  anas_strbuf_deinit(&names);
  anas_strbuf_deinit(&parameters);
  anas_strbuf_deinit(&sets);
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
  bool has[NUM_COLUMNS];
  for (int i = 0; i < NUM_COLUMNS; i++)
    has[i] = true;
  make_statements(study, has);
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
  const bool *has = data;
  if (study->version < 2)
    ANAS_RETURN_IF_ERROR(create_artefacts(study));
  else if (study->version < 4)
    ANAS_RETURN_IF_ERROR(add_column(study, "artefacts", "content", study->engine->blob));
  if (study->version < 4) ANAS_RETURN_IF_ERROR(execute(study, unfinished_index));
  if (study->version < 5) ANAS_RETURN_IF_ERROR(study_create_curves(study));
  for (int i = 0; i < NUM_COLUMNS; i++) {
    if (has[i]) continue;
    struct column column = column_at(i);
    char *type = anas_format("%s%s", type_of(study->engine, column.kind), column.not_null ? " NOT NULL DEFAULT 0" : "");
    anas_status status = add_column(study, "trials", column.name, type);
    free(type);
    ANAS_RETURN_IF_ERROR(status);
  }
  return study->engine->set_version(study->database, STUDY_SCHEMA);
}

static anas_status open_existing(struct study *study, enum study_access access) {
  ANAS_RETURN_IF_ERROR(study->engine->open(study->location, false, access, &study->database));
  ANAS_RETURN_IF_ERROR(study->engine->version(study->database, &study->version));
  if (study->version < 1 || study->version > STUDY_SCHEMA)
    return anas_fail(ANAS_UNSUPPORTED, "study '%s' has schema version %d; this anas-search reads versions 1 to %d",
                     study->name, study->version, STUDY_SCHEMA);
  ANAS_RETURN_IF_ERROR(study->engine->check(study->database, false));
  bool has[NUM_COLUMNS], complete = study->version == STUDY_SCHEMA;
  ANAS_RETURN_IF_ERROR(find_columns(study, has));
  for (int i = 0; i < NUM_COLUMNS; i++)
    complete &= has[i];
  if (access == STUDY_WRITE && !complete) {
    ANAS_RETURN_IF_ERROR(study_atomically(study, migrate, has));
    study->version = STUDY_SCHEMA;
    for (int i = 0; i < NUM_COLUMNS; i++)
      has[i] = true;
  }
  make_statements(study, has);
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

// The text in the first row; null if there is none.
static anas_status query_text(struct study *study, const char *sql, struct study_value parameter, char **out) {
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(study, sql, &parameter, 1, &rows, NULL));
  bool more;
  anas_status status = study->engine->next(rows, &more);
  if (status == ANAS_OK) *out = more && rows->value[0].kind == STUDY_TEXT ? anas_strdup(rows->value[0].text) : NULL;
  study->engine->close_rows(rows);
  return status;
}

anas_status study_get(struct study *study, const char *key, char **out) {
  return query_text(study, "SELECT value FROM settings WHERE key = ?1", study_text(key), out);
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

// ---- trials

// Values of a trial's columns, number first.
int study_trial_values(const struct study_trial *trial, struct study_value out[STUDY_MAX_VALUES]) {
  out[0] = study_integer(trial->number);
  for (int i = 0; i < NUM_COLUMNS; i++) {
    struct column column = column_at(i);
    const char *field = (const char *)trial + column.offset;
    if (is_state(&column))
      out[i + 1] = study_text(study_state_name(trial->state));
    else if (column.kind == STUDY_INTEGER)
      out[i + 1] = study_integer(*(const int64_t *)field);
    else if (column.kind == STUDY_REAL)
      out[i + 1] = study_real(*(const double *)field);
    else
      out[i + 1] = study_text(*(char *const *)field);
  }
  return NUM_COLUMNS + 1;
}

anas_status study_insert(struct study *study, const struct study_trial *trial, const char *decision) {
  struct study_value values[STUDY_MAX_VALUES];
  int count = study_trial_values(trial, values);
  values[count++] = study_text(decision);
  return write_row(study, study->insert, values, count);
}

anas_status study_update(struct study *study, const struct study_trial *trial) {
  struct study_value values[STUDY_MAX_VALUES];
  return write_row(study, study->update, values, study_trial_values(trial, values));
}

anas_status study_decision(struct study *study, int64_t number, char **out) {
  return query_text(study, "SELECT decision FROM trials WHERE number = ?1", study_integer(number), out);
}

static anas_status read_state(const struct study *study, const char *name, struct study_trial *trial) {
  for (int s = 0; s < STUDY_NUM_STATES; s++) {
    if (strcmp(state_names[s], name) != 0) continue;
    trial->state = (enum study_state)s;
    return ANAS_OK;
  }
  return anas_fail(ANAS_CORRUPT, "study '%s': trial %lld has the unknown state '%s'", study->name,
                   (long long)trial->number, name);
}

// From a row with number and the columns. *out is to be deinit'ed, also on failure.
anas_status study_read_trial(const struct study *study, const struct study_value *value, struct study_trial *out) {
  study_trial_init(out);
  out->number = value[0].integer;
  anas_status status = ANAS_OK;
  for (int i = 0; i < NUM_COLUMNS; i++) {
    struct column column = column_at(i);
    const struct study_value *v = &value[i + 1];
    char *field = (char *)out + column.offset;
    if (is_state(&column))
      status = read_state(study, v->kind == STUDY_TEXT ? v->text : "", out);
    else if (v->kind == STUDY_NULL)
      continue;
    else if (column.kind == STUDY_INTEGER)
      *(int64_t *)field = v->integer;
    else if (column.kind == STUDY_REAL)
      *(double *)field = v->real;
    else if (v->kind == STUDY_TEXT)
      *(char **)field = anas_strdup(v->text);
  }
  return status;
}

#define PAGE 10000 // trials read at a time

static anas_status load_page(struct study *study, int64_t first, struct study_trial **trials, int64_t *count,
                             size_t *capacity) {
  struct study_value parameters[] = {study_integer(first), study_integer(PAGE)};
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(study, study->read, parameters, 2, &rows, NULL));
  bool more;
  anas_status status;
  while ((status = study->engine->next(rows, &more)) == ANAS_OK && more) {
    *trials = anas_grow(*trials, (size_t)*count, capacity, sizeof **trials);
    struct study_trial *trial = &(*trials)[(*count)++];
    status = study_read_trial(study, rows->value, trial);
    if (status == ANAS_OK && trial->number != first)
      status = anas_fail(ANAS_CORRUPT, "study '%s': trial %lld is missing", study->name, (long long)first);
    if (status != ANAS_OK) break;
    first++;
  }
  study->engine->close_rows(rows);
  return status;
}

anas_status study_load(struct study *study, int64_t first, struct study_trial **out, int64_t *out_count) {
  struct study_trial *trials = NULL;
  int64_t count = 0, before;
  size_t capacity = 0;
  anas_status status;
  do {
    before = count;
    status = load_page(study, first + count, &trials, &count, &capacity);
  } while (status == ANAS_OK && count - before == PAGE);
  if (status != ANAS_OK) {
    study_trials_free(trials, count);
    return status;
  }
  *out = trials;
  *out_count = count;
  return ANAS_OK;
}

anas_status study_find(struct study *study, int64_t number, struct study_trial *out) {
  struct study_value parameters[] = {study_integer(number), study_integer(1)};
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(study, study->read, parameters, 2, &rows, NULL));
  struct study_trial trial;
  study_trial_init(&trial);
  bool more;
  anas_status status = study->engine->next(rows, &more);
  if (status == ANAS_OK && more) status = study_read_trial(study, rows->value, &trial);
  if (status == ANAS_OK && (!more || trial.number != number))
    status = anas_fail(ANAS_NOT_FOUND, "study '%s' has no trial %lld", study->name, (long long)number);
  study->engine->close_rows(rows);
  if (status == ANAS_OK)
    *out = trial;
  else
    study_trial_deinit(&trial);
  return status;
}
