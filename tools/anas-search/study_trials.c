// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Trials in the database: their columns, reading and writing. Of a trial that has ended, study_load reads only what
// decisions need, so that a study of a million opens in a moment; study_describe brings the rest.
#include "tools/anas-search/study_backend.h"

#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

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

// ---- columns

struct column {
  const char *name;
  enum study_value_kind kind;
  size_t offset; // in struct study_trial
  bool not_null;
  bool brief; // study_load reads it
};

// The columns of trials between number and decision: these, with one a metric after METRICS_AFTER. To add one is to add
// a line here, or a metric: a writer adds the columns that a study lacks, and readers do without.
#define AT(member) offsetof(struct study_trial, member)
static const struct column fixed_columns[] = {
    {"parent", STUDY_INTEGER, AT(parent), true, true},
    {"state", STUDY_TEXT, AT(state), true, true}, // by name
    {"reason", STUDY_TEXT, AT(reason), false, false},
    {"kind", STUDY_TEXT, AT(kind), false, false},
    {"block", STUDY_TEXT, AT(block), false, false},
    {"description", STUDY_TEXT, AT(description), false, false},
    {"hash", STUDY_TEXT, AT(hash), false, true},
    {"train_loss", STUDY_REAL, AT(train_loss), false, false},
    {"compile_seconds", STUDY_REAL, AT(compile_seconds), false, false},
    {"steps", STUDY_INTEGER, AT(steps), false, true},
    {"peak_bytes", STUDY_INTEGER, AT(peak_bytes), false, false},
    {"attempts", STUDY_INTEGER, AT(attempts), true, false},
    {"created", STUDY_REAL, AT(created), false, false},
    {"started", STUDY_REAL, AT(started), false, true},
    {"finished", STUDY_REAL, AT(finished), false, true},
    {"owner", STUDY_TEXT, AT(owner), false, false},
    {"lease", STUDY_REAL, AT(lease), false, false},
    {"lost", STUDY_INTEGER, AT(lost), true, false},
};
#define METRICS_AFTER 7 // what comes first stays first in a listing: hash, then the metrics
#define NUM_FIXED ((int)(sizeof fixed_columns / sizeof *fixed_columns))
#define NUM_COLUMNS (NUM_FIXED + METRIC_NUM)
_Static_assert(NUM_COLUMNS + 8 <= STUDY_MAX_VALUES, "raise STUDY_MAX_VALUES");

static struct column column_at(int i) {
  if (i < METRICS_AFTER) return fixed_columns[i];
  if (i >= METRICS_AFTER + METRIC_NUM) return fixed_columns[i - METRIC_NUM];
  int metric = i - METRICS_AFTER;
  return (struct column){study_metrics[metric].name, STUDY_REAL, AT(metric) + (size_t)metric * sizeof(double), false,
                         true};
}

static bool is_state(const struct column *column) {
  return column->offset == AT(state);
}

static const char *type_of(const struct study_engine *engine, enum study_value_kind kind) {
  return kind == STUDY_INTEGER ? engine->integer : kind == STUDY_REAL ? engine->real : engine->text;
}

anas_status study_create_trials(struct study *study) {
  const struct study_engine *e = study->engine;
  struct anas_strbuf sql = {0};
  anas_strbuf_addf(&sql, "CREATE TABLE trials(number %s", e->key);
  for (int i = 0; i < NUM_COLUMNS; i++) {
    struct column column = column_at(i);
    anas_strbuf_addf(&sql, ", %s %s%s", column.name, type_of(e, column.kind), column.not_null ? " NOT NULL" : "");
    study->has_column[i] = true;
  }
  anas_strbuf_addf(&sql, ", decision %s)", e->text);
  anas_status status = study_run(study, anas_strbuf_text(&sql), NULL, 0, NULL, NULL);
  anas_strbuf_deinit(&sql);
  return status;
}

anas_status study_find_columns(struct study *study, bool *out_complete) {
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(study, "SELECT * FROM trials WHERE number < 0", NULL, 0, &rows, NULL));
  *out_complete = true;
  for (int i = 0; i < NUM_COLUMNS; i++) {
    bool has = false;
    for (int c = 0; c < rows->num_columns; c++)
      has |= !strcmp(column_at(i).name, rows->name[c]);
    study->has_column[i] = has;
    *out_complete &= has;
  }
  study->engine->close_rows(rows);
  return ANAS_OK;
}

anas_status study_add_columns(struct study *study) {
  for (int i = 0; i < NUM_COLUMNS; i++) {
    if (study->has_column[i]) continue;
    struct column column = column_at(i);
    char *sql = anas_format("ALTER TABLE trials ADD COLUMN %s %s%s", column.name, type_of(study->engine, column.kind),
                            column.not_null ? " NOT NULL DEFAULT 0" : "");
    anas_status status = study_run(study, sql, NULL, 0, NULL, NULL);
    free(sql);
    ANAS_RETURN_IF_ERROR(status);
  }
  return ANAS_OK;
}

void study_make_statements(struct study *study, bool complete) {
  struct anas_strbuf columns = {0}, brief = {0}, names = {0}, parameters = {0}, sets = {0};
  for (int i = 0; i < NUM_COLUMNS; i++) {
    struct column column = column_at(i);
    const char *name = complete || study->has_column[i] ? column.name : "NULL";
    anas_strbuf_addf(&columns, ", %s", name);
    if (column.brief) anas_strbuf_addf(&brief, ", %s", name);
    anas_strbuf_addf(&names, ", %s", column.name);
    anas_strbuf_addf(&parameters, ", ?%d", i + 2);
    anas_strbuf_addf(&sets, "%s%s = ?%d", i ? ", " : "", column.name, i + 2);
  }
  study->read = anas_format("SELECT number%s FROM trials WHERE number = ?1", anas_strbuf_text(&columns));
  study->read_brief =
      anas_format("SELECT number%s FROM trials WHERE number >= ?1 ORDER BY number LIMIT ?2", anas_strbuf_text(&brief));
  study->insert = anas_format("INSERT INTO trials(number%s, decision) VALUES(?1%s, ?%d)", anas_strbuf_text(&names),
                              anas_strbuf_text(&parameters), NUM_COLUMNS + 2);
  study->update = anas_format("UPDATE trials SET %s WHERE number = ?1", anas_strbuf_text(&sets));
  study->columns = anas_strbuf_detach(&columns);
  anas_strbuf_deinit(&brief);
  anas_strbuf_deinit(&names);
  anas_strbuf_deinit(&parameters);
  anas_strbuf_deinit(&sets);
}

// ---- reading and writing

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
  return study_run(study, study->insert, values, count, NULL, NULL);
}

anas_status study_update(struct study *study, const struct study_trial *trial) {
  struct study_value values[STUDY_MAX_VALUES];
  return study_run(study, study->update, values, study_trial_values(trial, values), NULL, NULL);
}

anas_status study_decision(struct study *study, int64_t number, char **out) {
  return study_query_text(study, "SELECT decision FROM trials WHERE number = ?1", study_integer(number), out);
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

static anas_status read_column(const struct study *study, const struct column *column, const struct study_value *value,
                               struct study_trial *out) {
  char *field = (char *)out + column->offset;
  if (is_state(column)) return read_state(study, value->kind == STUDY_TEXT ? value->text : "", out);
  if (value->kind == STUDY_NULL) return ANAS_OK;
  if (column->kind == STUDY_INTEGER)
    *(int64_t *)field = value->integer;
  else if (column->kind == STUDY_REAL)
    *(double *)field = value->real;
  else if (value->kind == STUDY_TEXT)
    *(char **)field = anas_strdup(value->text);
  return ANAS_OK;
}

// From a row with number and the columns. *out is to be deinit'ed, also on failure.
anas_status study_read_trial(const struct study *study, const struct study_value *value, struct study_trial *out) {
  study_trial_init(out);
  out->number = value[0].integer;
  anas_status status = ANAS_OK;
  for (int i = 0; i < NUM_COLUMNS && status == ANAS_OK; i++) {
    struct column column = column_at(i);
    status = read_column(study, &column, &value[i + 1], out);
  }
  return status;
}

#define PAGE 10000 // trials read at a time

struct brief_columns {
  struct column column[NUM_COLUMNS];
  int count;
};

static anas_status load_page(struct study *study, const struct brief_columns *brief, int64_t first,
                             struct study_trial **trials, int64_t *count, size_t *capacity) {
  struct study_value parameters[] = {study_integer(first), study_integer(PAGE)};
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(study, study->read_brief, parameters, 2, &rows, NULL));
  bool more;
  anas_status status;
  while ((status = study->engine->next(rows, &more)) == ANAS_OK && more) {
    *trials = anas_grow(*trials, (size_t)*count, capacity, sizeof **trials);
    struct study_trial *trial = &(*trials)[(*count)++];
    study_trial_init(trial);
    trial->number = rows->value[0].integer;
    trial->brief = true;
    for (int i = 0; i < brief->count && status == ANAS_OK; i++)
      status = read_column(study, &brief->column[i], &rows->value[i + 1], trial);
    if (status == ANAS_OK && trial->number != first)
      status = anas_fail(ANAS_CORRUPT, "study '%s': trial %lld is missing", study->name, (long long)first);
    if (status != ANAS_OK) break;
    first++;
  }
  study->engine->close_rows(rows);
  return status;
}

anas_status study_load(struct study *study, int64_t first, struct study_trial **out, int64_t *out_count) {
  struct brief_columns brief = {.count = 0};
  for (int i = 0; i < NUM_COLUMNS; i++)
    if (column_at(i).brief) brief.column[brief.count++] = column_at(i);
  struct study_trial *trials = NULL;
  int64_t count = 0, before;
  size_t capacity = 0;
  anas_status status;
  do {
    before = count;
    status = load_page(study, &brief, first + count, &trials, &count, &capacity);
  } while (status == ANAS_OK && count - before == PAGE);
  for (int64_t i = 0; i < count && status == ANAS_OK; i++)
    if (!study_state_ended(trials[i].state)) status = study_describe(study, &trials[i]);
  if (status != ANAS_OK) {
    study_trials_free(trials, count);
    return status;
  }
  *out = trials;
  *out_count = count;
  return ANAS_OK;
}

anas_status study_find(struct study *study, int64_t number, struct study_trial *out) {
  struct study_value parameter = study_integer(number);
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(study_run(study, study->read, &parameter, 1, &rows, NULL));
  struct study_trial trial;
  study_trial_init(&trial);
  bool more;
  anas_status status = study->engine->next(rows, &more);
  if (status == ANAS_OK && more) status = study_read_trial(study, rows->value, &trial);
  if (status == ANAS_OK && !more)
    status = anas_fail(ANAS_NOT_FOUND, "study '%s' has no trial %lld", study->name, (long long)number);
  study->engine->close_rows(rows);
  if (status == ANAS_OK)
    *out = trial;
  else
    study_trial_deinit(&trial);
  return status;
}

void study_trial_summarise(struct study_trial *trial) {
  char **texts[] = {&trial->reason, &trial->kind, &trial->block, &trial->description, &trial->owner};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    free(*texts[i]);
    *texts[i] = NULL;
  }
  trial->brief = true;
}

anas_status study_describe(struct study *study, struct study_trial *trial) {
  if (!trial->brief) return ANAS_OK;
  struct study_trial full;
  ANAS_RETURN_IF_ERROR(study_find(study, trial->number, &full));
  full.curve = trial->curve;
  full.num_points = trial->num_points;
  full.capacity_points = trial->capacity_points;
  trial->curve = NULL;
  study_trial_deinit(trial);
  *trial = full;
  return ANAS_OK;
}
