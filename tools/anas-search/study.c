// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The study: its tables, what is read from them and written to them. The engine that keeps them is study_sqlite.c's.
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
    "RUNNING", "COMPLETE", "DIVERGED", "TIMEOUT", "OOM", "CRASHED", "INTERRUPTED", "INVALID", "DUPLICATE",
};

const char *study_state_name(enum study_state state) {
  return (unsigned)state < STUDY_NUM_STATES ? state_names[state] : "?";
}

void study_trial_init(struct study_trial *trial) {
  *trial = (struct study_trial){.parent = -1, .train_loss = NAN, .compile_seconds = NAN};
  for (int i = 0; i < METRIC_NUM; i++)
    trial->metric[i] = NAN;
}

void study_trial_deinit(struct study_trial *trial) {
  free(trial->reason);
  free(trial->kind);
  free(trial->block);
  free(trial->description);
  free(trial->hash);
}

void study_trials_free(struct study_trial *trials, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    study_trial_deinit(&trials[i]);
  free(trials);
}

struct study {
  const struct study_engine *engine;
  struct study_database *database;
  char *path;
  int version;                  // of the schema
  char *read, *insert, *update; // statements on trials
};

const char *study_path(const struct study *study) {
  return study->path;
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
};
#define METRICS_AFTER 7 // what comes first stays first in a listing: hash, then the metrics
#define NUM_FIXED ((int)(sizeof fixed_columns / sizeof *fixed_columns))
#define NUM_COLUMNS (NUM_FIXED + METRIC_NUM)

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

static anas_status execute(struct study *study, const char *sql, const char *doing) {
  return study->engine->run(study->database, sql, NULL, 0, doing, NULL, NULL);
}

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
  const char *all[] = {settings, counters, anas_strbuf_text(&trials), "CREATE INDEX trials_hash ON trials(hash)"};
  anas_status status = ANAS_OK;
  for (size_t i = 0; i < sizeof all / sizeof *all && status == ANAS_OK; i++)
    status = execute(study, all[i], "creating");
  free(counters);
  free(settings);
  anas_strbuf_deinit(&trials);
  return status;
}

static anas_status create_artefacts(struct study *study) { // since version 2
  const struct study_engine *e = study->engine;
  char *sql = anas_format("CREATE TABLE artefacts(trial %s NOT NULL, file %s NOT NULL, size %s NOT NULL, hash %s NOT "
                          "NULL, PRIMARY KEY(trial, file))%s",
                          e->integer, e->text, e->integer, e->text, e->table_end);
  anas_status status = execute(study, sql, "creating");
  free(sql);
  return status;
}

// Which columns of trials the study has.
static anas_status find_columns(struct study *study, bool out_has[NUM_COLUMNS]) {
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(
      study->engine->run(study->database, "SELECT * FROM trials WHERE number < 0", NULL, 0, "reading", &rows, NULL));
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
  anas_strbuf_deinit(&columns);
  anas_strbuf_deinit(&names);
  anas_strbuf_deinit(&parameters);
  anas_strbuf_deinit(&sets);
}

// ---- opening

static const struct study_engine *engine_of(const char *path) {
  (void)path;
  return &study_sqlite;
}

bool study_exists(const char *path) {
  return engine_of(path)->exists(path);
}

static struct study *make(const char *path) {
  struct study *study = anas_alloc(sizeof *study);
  study->path = anas_strdup(path);
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
  ANAS_RETURN_IF_ERROR(study_set(study, "options", settings->options_json));
  ANAS_RETURN_IF_ERROR(study_set(study, "seed-model", settings->seed_text));
  ANAS_RETURN_IF_ERROR(study_set(study, "anas-version", ANAS_VERSION));
  return study->engine->set_version(study->database, STUDY_SCHEMA);
}

static anas_status create(struct study *study, const char *options_json, const char *seed_text) {
  if (study->engine->exists(study->path))
    return anas_fail(ANAS_INVALID, "'%s' already holds a study; continue it with --resume or choose another directory",
                     study->path);
  ANAS_RETURN_IF_ERROR(study->engine->open(study->path, true, true, &study->database));
  struct new_study settings = {options_json, seed_text};
  ANAS_RETURN_IF_ERROR(study_atomically(study, fill, &settings));
  study->version = STUDY_SCHEMA;
  bool has[NUM_COLUMNS];
  for (int i = 0; i < NUM_COLUMNS; i++)
    has[i] = true;
  make_statements(study, has);
  return ANAS_OK;
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

static anas_status migrate(struct study *study, void *data) {
  const bool *has = data;
  if (study->version < 2) ANAS_RETURN_IF_ERROR(create_artefacts(study));
  for (int i = 0; i < NUM_COLUMNS; i++) {
    if (has[i]) continue;
    struct column column = column_at(i);
    char *sql = anas_format("ALTER TABLE trials ADD COLUMN %s %s%s", column.name, type_of(study->engine, column.kind),
                            column.not_null ? " NOT NULL DEFAULT 0" : "");
    anas_status status = execute(study, sql, "bringing up to date");
    free(sql);
    ANAS_RETURN_IF_ERROR(status);
  }
  return study->engine->set_version(study->database, STUDY_SCHEMA);
}

static anas_status open_existing(struct study *study, bool write) {
  ANAS_RETURN_IF_ERROR(study->engine->open(study->path, false, write, &study->database));
  ANAS_RETURN_IF_ERROR(study->engine->version(study->database, &study->version));
  if (study->version < 1 || study->version > STUDY_SCHEMA)
    return anas_fail(ANAS_UNSUPPORTED, "study '%s' has schema version %d; this anas-search reads versions 1 to %d",
                     study->path, study->version, STUDY_SCHEMA);
  ANAS_RETURN_IF_ERROR(study->engine->check(study->database, false));
  bool has[NUM_COLUMNS], complete = study->version == STUDY_SCHEMA;
  ANAS_RETURN_IF_ERROR(find_columns(study, has));
  for (int i = 0; i < NUM_COLUMNS; i++)
    complete &= has[i];
  if (write && !complete) {
    ANAS_RETURN_IF_ERROR(study_atomically(study, migrate, has));
    study->version = STUDY_SCHEMA;
    for (int i = 0; i < NUM_COLUMNS; i++)
      has[i] = true;
  }
  make_statements(study, has);
  return ANAS_OK;
}

anas_status study_open(const char *path, bool write, struct study **out) {
  struct study *study = make(path);
  anas_status status = open_existing(study, write);
  if (status == ANAS_OK)
    *out = study;
  else
    study_close(study);
  return status;
}

void study_close(struct study *study) {
  if (!study) return;
  if (study->database) study->engine->close(study->database);
  free(study->read);
  free(study->insert);
  free(study->update);
  free(study->path);
  free(study);
}

anas_status study_atomically(struct study *study, study_body body, void *data) {
  ANAS_RETURN_IF_ERROR(execute(study, study->engine->begin, "writing"));
  anas_status status = body(study, data);
  if (status == ANAS_OK) status = execute(study, "COMMIT", "writing");
  if (status == ANAS_OK) return ANAS_OK;
  char *reason = anas_strdup(anas_error_message());
  execute(study, "ROLLBACK", "writing"); // SQLite may have done it already
  anas_fail(status, "%s", reason);
  free(reason);
  return status;
}

anas_status study_check(struct study *study) {
  return study->engine->check(study->database, true);
}

// ---- values

static struct study_value integer_value(int64_t value) {
  return (struct study_value){.kind = STUDY_INTEGER, .integer = value};
}

static struct study_value real_value(double value) {
  return isfinite(value) ? (struct study_value){.kind = STUDY_REAL, .real = value} : (struct study_value){0};
}

static struct study_value text_value(const char *text) {
  return text ? (struct study_value){.kind = STUDY_TEXT, .text = text, .size = strlen(text)} : (struct study_value){0};
}

// Runs a statement that returns no rows.
static anas_status write_row(struct study *study, const char *sql, const struct study_value *values, int count) {
  return study->engine->run(study->database, sql, values, count, "writing", NULL, NULL);
}

// The text in the first row; null if there is none.
static anas_status query_text(struct study *study, const char *sql, struct study_value parameter, char **out) {
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study->engine->run(study->database, sql, &parameter, 1, "reading", &rows, NULL));
  bool more;
  anas_status status = study->engine->next(rows, &more);
  if (status == ANAS_OK) *out = more && rows->value[0].kind == STUDY_TEXT ? anas_strdup(rows->value[0].text) : NULL;
  study->engine->close_rows(rows);
  return status;
}

anas_status study_get(struct study *study, const char *key, char **out) {
  return query_text(study, "SELECT value FROM settings WHERE key = ?1", text_value(key), out);
}

anas_status study_set(struct study *study, const char *key, const char *value) {
  struct study_value values[] = {text_value(key), text_value(value)};
  return write_row(study, "INSERT INTO settings VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                   values, 2);
}

anas_status study_count(struct study *study, const char *name, int64_t amount) {
  if (!amount) return ANAS_OK;
  struct study_value values[] = {text_value(name), integer_value(amount)};
  return write_row(study,
                   "INSERT INTO counters VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET value = counters.value + "
                   "excluded.value",
                   values, 2);
}

anas_status study_counter(struct study *study, const char *name, int64_t *out) {
  struct study_rows *rows;
  struct study_value parameter = text_value(name);
  ANAS_RETURN_IF_ERROR(study->engine->run(study->database, "SELECT value FROM counters WHERE name = ?1", &parameter, 1,
                                          "reading", &rows, NULL));
  bool more;
  anas_status status = study->engine->next(rows, &more);
  if (status == ANAS_OK) *out = more ? rows->value[0].integer : 0;
  study->engine->close_rows(rows);
  return status;
}

// ---- trials

// Values of a trial's columns, number first.
static void trial_values(const struct study_trial *trial, struct study_value out[NUM_COLUMNS + 1]) {
  out[0] = integer_value(trial->number);
  for (int i = 0; i < NUM_COLUMNS; i++) {
    struct column column = column_at(i);
    const char *field = (const char *)trial + column.offset;
    if (is_state(&column))
      out[i + 1] = text_value(study_state_name(trial->state));
    else if (column.kind == STUDY_INTEGER)
      out[i + 1] = integer_value(*(const int64_t *)field);
    else if (column.kind == STUDY_REAL)
      out[i + 1] = real_value(*(const double *)field);
    else
      out[i + 1] = text_value(*(char *const *)field);
  }
}

anas_status study_insert(struct study *study, const struct study_trial *trial, const char *decision) {
  struct study_value values[NUM_COLUMNS + 2];
  trial_values(trial, values);
  values[NUM_COLUMNS + 1] = text_value(decision);
  return write_row(study, study->insert, values, NUM_COLUMNS + 2);
}

anas_status study_update(struct study *study, const struct study_trial *trial) {
  struct study_value values[NUM_COLUMNS + 1];
  trial_values(trial, values);
  return write_row(study, study->update, values, NUM_COLUMNS + 1);
}

anas_status study_decision(struct study *study, int64_t number, char **out) {
  return query_text(study, "SELECT decision FROM trials WHERE number = ?1", integer_value(number), out);
}

static anas_status read_state(const struct study *study, const char *name, struct study_trial *trial) {
  for (int s = 0; s < STUDY_NUM_STATES; s++) {
    if (strcmp(state_names[s], name) != 0) continue;
    trial->state = (enum study_state)s;
    return ANAS_OK;
  }
  return anas_fail(ANAS_CORRUPT, "study '%s': trial %lld has the unknown state '%s'", study->path,
                   (long long)trial->number, name);
}

// From a row with number and the columns. *out is to be deinit'ed, also on failure.
static anas_status read_trial(const struct study *study, const struct study_value *value, struct study_trial *out) {
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

anas_status study_load(struct study *study, struct study_trial **out, int64_t *out_count) {
  struct study_value parameters[] = {integer_value(0), integer_value(INT64_MAX)};
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study->engine->run(study->database, study->read, parameters, 2, "reading", &rows, NULL));
  struct study_trial *trials = NULL;
  int64_t count = 0;
  size_t capacity = 0;
  bool more;
  anas_status status;
  while ((status = study->engine->next(rows, &more)) == ANAS_OK && more) {
    trials = anas_grow(trials, (size_t)count, &capacity, sizeof *trials);
    status = read_trial(study, rows->value, &trials[count]);
    if (status == ANAS_OK && trials[count].number != count)
      status = anas_fail(ANAS_CORRUPT, "study '%s': trial %lld is missing", study->path, (long long)count);
    count++;
    if (status != ANAS_OK) break;
  }
  study->engine->close_rows(rows);
  if (status != ANAS_OK) {
    study_trials_free(trials, count);
    return status;
  }
  *out = trials;
  *out_count = count;
  return ANAS_OK;
}

// ---- artefacts

anas_status study_record(struct study *study, int64_t number, const char *file) {
  char *path = study_trial_path(study->path, number, file), *data = NULL, hash[33];
  size_t size = 0;
  bool exists = !access(path, F_OK);
  anas_status status = exists ? anas_file_read(path, &data, &size) : ANAS_OK;
  free(path);
  if (status != ANAS_OK || !exists) return status;
  anas_hash_hex(data, size, hash);
  free(data);
  struct study_value values[] = {integer_value(number), text_value(file), integer_value((int64_t)size),
                                 text_value(hash)};
  return write_row(study,
                   "INSERT INTO artefacts VALUES(?1, ?2, ?3, ?4) ON CONFLICT(trial, file) DO UPDATE SET size = "
                   "excluded.size, hash = excluded.hash",
                   values, 4);
}

anas_status study_forget(struct study *study, int64_t number, const char *file) {
  struct study_value values[] = {integer_value(number), text_value(file)};
  return write_row(study, "DELETE FROM artefacts WHERE trial = ?1 AND file = ?2", values, 2);
}

anas_status study_artefacts(struct study *study, struct study_artefact **out, int64_t *out_count) {
  *out = NULL;
  *out_count = 0;
  if (study->version < 2) return ANAS_OK;
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study->engine->run(study->database,
                                          "SELECT trial, file, size, hash FROM artefacts ORDER BY trial, file", NULL, 0,
                                          "reading", &rows, NULL));
  size_t capacity = 0;
  bool more;
  anas_status status;
  while ((status = study->engine->next(rows, &more)) == ANAS_OK && more) {
    const struct study_value *v = rows->value;
    *out = anas_grow(*out, (size_t)*out_count, &capacity, sizeof **out);
    (*out)[(*out_count)++] = (struct study_artefact){
        .number = v[0].integer,
        .file = anas_strdup(v[1].kind == STUDY_TEXT ? v[1].text : ""),
        .size = v[2].integer,
        .hash = anas_strdup(v[3].kind == STUDY_TEXT ? v[3].text : ""),
    };
  }
  study->engine->close_rows(rows);
  return status;
}

void study_artefacts_free(struct study_artefact *artefacts, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    free(artefacts[i].file);
    free(artefacts[i].hash);
  }
  free(artefacts);
}
