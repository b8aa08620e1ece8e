// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The study database. WAL with a busy timeout lets readers watch a running search; a record lock on STUDY/lock keeps
// a second writer out and vanishes with its holder, however that one ends.
#include "tools/anas-search/study.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define APPLICATION_ID 0x616e6173 // "anas": what file(1) and we recognise
#define BUSY_MILLISECONDS 20000

static const char schema[] =
    "CREATE TABLE settings(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE trials(number INTEGER PRIMARY KEY, parent INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT,"
    " kind TEXT, block TEXT, description TEXT, hash TEXT, accuracy REAL, loss REAL, params REAL, macs REAL, flops REAL,"
    " train_bytes REAL, images_per_second REAL, train_loss REAL, compile_seconds REAL, steps INTEGER,"
    " peak_bytes INTEGER, attempts INTEGER NOT NULL, created REAL, started REAL, finished REAL, decision TEXT);"
    "CREATE INDEX trials_hash ON trials(hash);";
static const char schema_artefacts[] = // since version 2
    "CREATE TABLE artefacts(trial INTEGER NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, hash TEXT NOT NULL,"
    " PRIMARY KEY(trial, file)) WITHOUT ROWID;";

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
  char *path, *file;
  sqlite3 *db;
  int lock_fd; // -1 for readers
  int version; // of the schema
  bool has_column[METRIC_NUM];
};

const char *study_path(const struct study *study) {
  return study->path;
}

char *study_trial_path(const char *study_directory, int64_t number, const char *file) {
  return anas_format("%s/trials/%04lld%s%s", study_directory, (long long)number, *file ? "/" : "", file);
}

// ---- SQLite errors

static anas_status sql_error(struct study *study, int code, const char *doing) {
  const char *text = study->db ? sqlite3_errmsg(study->db) : sqlite3_errstr(code);
  switch (code & 0xff) {
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return anas_fail(ANAS_CORRUPT,
                     "study database '%s' is damaged (%s); recover what is left with: sqlite3 '%s' .recover",
                     study->file, text, study->file);
  case SQLITE_FULL:
    return anas_fail(ANAS_IO, "%s '%s': no space left on the file system; free some and use --resume", doing,
                     study->file);
  case SQLITE_BUSY:
    return anas_fail(ANAS_IO, "%s '%s': another process has held the database for more than %d s", doing, study->file,
                     BUSY_MILLISECONDS / 1000);
  case SQLITE_CANTOPEN: return anas_fail(ANAS_NOT_FOUND, "cannot open study database '%s': %s", study->file, text);
  default: return anas_fail(ANAS_IO, "%s '%s': %s", doing, study->file, text);
  }
}

static anas_status execute(struct study *study, const char *sql, const char *doing) {
  int code = sqlite3_exec(study->db, sql, NULL, NULL, NULL);
  return code == SQLITE_OK ? ANAS_OK : sql_error(study, code, doing);
}

static anas_status prepare(struct study *study, const char *sql, sqlite3_stmt **out) {
  int code = sqlite3_prepare_v2(study->db, sql, -1, out, NULL);
  return code == SQLITE_OK ? ANAS_OK : sql_error(study, code, "reading");
}

// Runs a statement that returns no rows and frees it.
static anas_status finish(struct study *study, sqlite3_stmt *statement, const char *doing) {
  int code = sqlite3_step(statement);
  anas_status status = code == SQLITE_DONE ? ANAS_OK : sql_error(study, code, doing);
  sqlite3_finalize(statement);
  return status;
}

static anas_status query_text(struct study *study, const char *sql, const char *parameter, char **out) {
  sqlite3_stmt *statement;
  ANAS_RETURN_IF_ERROR(prepare(study, sql, &statement));
  if (parameter) sqlite3_bind_text(statement, 1, parameter, -1, SQLITE_TRANSIENT);
  int code = sqlite3_step(statement);
  anas_status status = ANAS_OK;
  char *text = NULL;
  if (code == SQLITE_ROW) {
    const char *value = (const char *)sqlite3_column_text(statement, 0);
    text = value ? anas_strdup(value) : NULL;
  } else if (code != SQLITE_DONE) {
    status = sql_error(study, code, "reading");
  }
  sqlite3_finalize(statement);
  if (status == ANAS_OK) *out = text;
  return status;
}

// ---- opening

bool study_exists(const char *path) {
  char *file = anas_format("%s/study.db", path);
  bool exists = !access(file, F_OK);
  free(file);
  return exists;
}

static anas_status take_lock(struct study *study) {
  char *path = anas_format("%s/lock", study->path);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  anas_status status = ANAS_OK;
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (fd < 0) {
    status = anas_fail(ANAS_IO, "cannot open '%s': %s", path, strerror(errno));
  } else if (fcntl(fd, F_SETLK, &lock)) { // unlike flock(2), not inherited by the children
    struct flock holder = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool known = !fcntl(fd, F_GETLK, &holder) && holder.l_type != F_UNLCK;
    status = known ? anas_fail(ANAS_INVALID, "study '%s' is in use by process %d; watch it with: anas-search status %s",
                               study->path, (int)holder.l_pid, study->path)
                   : anas_fail(ANAS_IO, "cannot lock '%s': %s", path, strerror(errno));
    close(fd);
  } else {
    study->lock_fd = fd;
  }
  free(path);
  return status;
}

// SQLite's locks are unreliable there, and many a study was lost that way.
static void warn_network_file_system(const struct study *study) {
  struct statfs info;
  if (statfs(study->path, &info)) return;
  unsigned long type = (unsigned long)info.f_type & 0xffffffffUL;
  if (type == 0x6969 || type == 0xff534d42UL || type == 0xfe534d42UL || type == 0x0bd00bd0UL)
    fprintf(stderr,
            "anas-search: warning: study '%s' is on a network file system, where SQLite can lose data; prefer a local "
            "directory\n",
            study->path);
}

static anas_status check(struct study *study) {
  char *text;
  ANAS_RETURN_IF_ERROR(query_text(study, "PRAGMA application_id", NULL, &text));
  long id = text ? strtol(text, NULL, 10) : 0;
  free(text);
  if (id != APPLICATION_ID) return anas_fail(ANAS_CORRUPT, "'%s' is a database, but not a study of anas", study->file);
  ANAS_RETURN_IF_ERROR(query_text(study, "PRAGMA user_version", NULL, &text));
  long version = text ? strtol(text, NULL, 10) : 0;
  free(text);
  if (version < 1 || version > STUDY_SCHEMA)
    return anas_fail(ANAS_UNSUPPORTED, "study '%s' has schema version %ld; this anas-search reads versions 1 to %d",
                     study->file, version, STUDY_SCHEMA);
  study->version = (int)version;
  ANAS_RETURN_IF_ERROR(query_text(study, "PRAGMA quick_check(1)", NULL, &text));
  anas_status status = ANAS_OK;
  if (!text || strcmp(text, "ok"))
    status =
        anas_fail(ANAS_CORRUPT, "study database '%s' is damaged (%s); recover what is left with: sqlite3 '%s' .recover",
                  study->file, text ? text : "no answer", study->file);
  free(text);
  return status;
}

static anas_status open_database(struct study *study, int flags) {
  int code = sqlite3_open_v2(study->file, &study->db, flags, NULL);
  if (code != SQLITE_OK) return sql_error(study, code, "opening");
  sqlite3_busy_timeout(study->db, BUSY_MILLISECONDS);
  return ANAS_OK;
}

static struct study *make(const char *path) {
  struct study *study = anas_alloc(sizeof *study);
  study->path = anas_strdup(path);
  study->file = anas_format("%s/study.db", path);
  study->lock_fd = -1;
  return study;
}

// Metrics have a column each; a study made before a metric existed gets it from its next writer.
static anas_status find_metric_columns(struct study *study, bool write) {
  sqlite3_stmt *statement;
  ANAS_RETURN_IF_ERROR(prepare(study, "SELECT name FROM pragma_table_info('trials')", &statement));
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    int metric = study_metric_find((const char *)sqlite3_column_text(statement, 0));
    if (metric >= 0) study->has_column[metric] = true;
  }
  anas_status status = code == SQLITE_DONE ? ANAS_OK : sql_error(study, code, "reading");
  sqlite3_finalize(statement);
  for (int m = 0; m < METRIC_NUM && write && status == ANAS_OK; m++) {
    if (study->has_column[m]) continue;
    char *sql = anas_format("ALTER TABLE trials ADD COLUMN %s REAL", study_metrics[m].name);
    status = execute(study, sql, "bringing up to date");
    free(sql);
    study->has_column[m] = true;
  }
  return status;
}

static anas_status create(struct study *study, const char *options_json, const char *seed_text) {
  if (study_exists(study->path))
    return anas_fail(ANAS_INVALID, "'%s' already holds a study; continue it with --resume or choose another directory",
                     study->path);
  ANAS_RETURN_IF_ERROR(anas_make_directories(study->path));
  ANAS_RETURN_IF_ERROR(take_lock(study));
  warn_network_file_system(study);
  ANAS_RETURN_IF_ERROR(open_database(study, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  ANAS_RETURN_IF_ERROR(
      execute(study, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; BEGIN IMMEDIATE;", "creating"));
  char *ids = anas_format("PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID, STUDY_SCHEMA);
  anas_status status = execute(study, ids, "creating");
  free(ids);
  if (status == ANAS_OK) status = execute(study, schema, "creating");
  if (status == ANAS_OK) status = execute(study, schema_artefacts, "creating");
  if (status == ANAS_OK) status = find_metric_columns(study, true);
  if (status == ANAS_OK) status = study_set(study, "options", options_json);
  if (status == ANAS_OK) status = study_set(study, "seed-model", seed_text);
  if (status == ANAS_OK) status = study_set(study, "anas-version", ANAS_VERSION);
  if (status == ANAS_OK) status = execute(study, "COMMIT", "creating");
  study->version = STUDY_SCHEMA;
  return status;
}

static anas_status migrate(struct study *study) {
  if (study->version == STUDY_SCHEMA) return ANAS_OK;
  char *sql = anas_format("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT;",
                          study->version < 2 ? schema_artefacts : "", STUDY_SCHEMA);
  anas_status status = execute(study, sql, "bringing up to date");
  free(sql);
  study->version = STUDY_SCHEMA;
  return status;
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

static anas_status open_existing(struct study *study, bool write) {
  if (!study_exists(study->path))
    return anas_fail(ANAS_NOT_FOUND, "there is no study in '%s' (no file '%s')", study->path, study->file);
  if (write) {
    ANAS_RETURN_IF_ERROR(take_lock(study));
    warn_network_file_system(study);
  }
  ANAS_RETURN_IF_ERROR(open_database(study, write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY));
  if (write) ANAS_RETURN_IF_ERROR(execute(study, "PRAGMA synchronous=FULL", "opening"));
  ANAS_RETURN_IF_ERROR(check(study));
  if (write) ANAS_RETURN_IF_ERROR(migrate(study));
  return find_metric_columns(study, write);
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
  sqlite3_close(study->db);
  if (study->lock_fd >= 0) close(study->lock_fd);
  free(study->file);
  free(study->path);
  free(study);
}

// ---- values

anas_status study_get(struct study *study, const char *key, char **out) {
  return query_text(study, "SELECT value FROM settings WHERE key = ?1", key, out);
}

anas_status study_set(struct study *study, const char *key, const char *value) {
  sqlite3_stmt *statement;
  ANAS_RETURN_IF_ERROR(prepare(study, "INSERT OR REPLACE INTO settings VALUES(?1, ?2)", &statement));
  sqlite3_bind_text(statement, 1, key, -1, SQLITE_TRANSIENT);
  sqlite3_bind_text(statement, 2, value, -1, SQLITE_TRANSIENT);
  return finish(study, statement, "writing");
}

anas_status study_count(struct study *study, const char *name, int64_t amount) {
  if (!amount) return ANAS_OK;
  sqlite3_stmt *statement;
  ANAS_RETURN_IF_ERROR(prepare(
      study, "INSERT INTO counters VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET value = value + ?2", &statement));
  sqlite3_bind_text(statement, 1, name, -1, SQLITE_TRANSIENT);
  sqlite3_bind_int64(statement, 2, amount);
  return finish(study, statement, "writing");
}

anas_status study_counter(struct study *study, const char *name, int64_t *out) {
  char *text;
  ANAS_RETURN_IF_ERROR(query_text(study, "SELECT value FROM counters WHERE name = ?1", name, &text));
  *out = text ? strtoll(text, NULL, 10) : 0;
  free(text);
  return ANAS_OK;
}

// ---- trials

static void bind_text(sqlite3_stmt *statement, int column, const char *text) {
  if (text) sqlite3_bind_text(statement, column, text, -1, SQLITE_TRANSIENT);
}

static void bind_real(sqlite3_stmt *statement, int column, double value) {
  if (isfinite(value)) sqlite3_bind_double(statement, column, value); // else NULL
}

// Columns that bind_trial and read_trial know, in their order; metrics follow.
#define COLUMNS 15
static const char *const columns[COLUMNS] = {
    "parent",          "state", "reason",     "kind",     "block",   "description", "hash",    "train_loss",
    "compile_seconds", "steps", "peak_bytes", "attempts", "created", "started",     "finished"};

static const char *column_name(int i) {
  return i < COLUMNS ? columns[i] : study_metrics[i - COLUMNS].name;
}

static int bind_trial(sqlite3_stmt *statement, int column, const struct study_trial *trial) {
  sqlite3_bind_int64(statement, column++, trial->parent);
  bind_text(statement, column++, study_state_name(trial->state));
  bind_text(statement, column++, trial->reason);
  bind_text(statement, column++, trial->kind);
  bind_text(statement, column++, trial->block);
  bind_text(statement, column++, trial->description);
  bind_text(statement, column++, trial->hash);
  bind_real(statement, column++, trial->train_loss);
  bind_real(statement, column++, trial->compile_seconds);
  sqlite3_bind_int64(statement, column++, trial->steps);
  sqlite3_bind_int64(statement, column++, trial->peak_bytes);
  sqlite3_bind_int64(statement, column++, trial->attempts);
  bind_real(statement, column++, trial->created);
  bind_real(statement, column++, trial->started);
  bind_real(statement, column++, trial->finished);
  for (int i = 0; i < METRIC_NUM; i++)
    bind_real(statement, column++, trial->metric[i]);
  return column;
}

anas_status study_insert(struct study *study, const struct study_trial *trial, const char *decision) {
  struct anas_strbuf sql = {0};
  anas_strbuf_adds(&sql, "INSERT INTO trials(number");
  for (int i = 0; i < COLUMNS + METRIC_NUM; i++)
    anas_strbuf_addf(&sql, ", %s", column_name(i));
  anas_strbuf_adds(&sql, ", decision) VALUES(?");
  for (int i = 0; i < COLUMNS + METRIC_NUM + 1; i++)
    anas_strbuf_adds(&sql, ", ?");
  anas_strbuf_adds(&sql, ")");
  sqlite3_stmt *statement;
  anas_status status = prepare(study, anas_strbuf_text(&sql), &statement);
  anas_strbuf_deinit(&sql);
  ANAS_RETURN_IF_ERROR(status);
  sqlite3_bind_int64(statement, 1, trial->number);
  bind_text(statement, bind_trial(statement, 2, trial), decision);
  return finish(study, statement, "writing");
}

anas_status study_update(struct study *study, const struct study_trial *trial) {
  struct anas_strbuf sql = {0};
  for (int i = 0; i < COLUMNS + METRIC_NUM; i++)
    anas_strbuf_addf(&sql, "%s%s = ?", i ? ", " : "UPDATE trials SET ", column_name(i));
  anas_strbuf_adds(&sql, " WHERE number = ?");
  sqlite3_stmt *statement;
  anas_status status = prepare(study, anas_strbuf_text(&sql), &statement);
  anas_strbuf_deinit(&sql);
  ANAS_RETURN_IF_ERROR(status);
  int column = bind_trial(statement, 1, trial);
  sqlite3_bind_int64(statement, column, trial->number);
  return finish(study, statement, "writing");
}

anas_status study_decision(struct study *study, int64_t number, char **out) {
  char parameter[32];
  snprintf(parameter, sizeof parameter, "%lld", (long long)number);
  return query_text(study, "SELECT decision FROM trials WHERE number = CAST(?1 AS INTEGER)", parameter, out);
}

static char *column_text(sqlite3_stmt *statement, int column) {
  const char *text = (const char *)sqlite3_column_text(statement, column);
  return text ? anas_strdup(text) : NULL;
}

static double column_real(sqlite3_stmt *statement, int column) {
  return sqlite3_column_type(statement, column) == SQLITE_NULL ? NAN : sqlite3_column_double(statement, column);
}

static anas_status read_trial(struct study *study, sqlite3_stmt *statement, struct study_trial *out) {
  struct study_trial trial;
  study_trial_init(&trial);
  int column = 0;
  trial.number = sqlite3_column_int64(statement, column++);
  trial.parent = sqlite3_column_int64(statement, column++);
  const char *state = (const char *)sqlite3_column_text(statement, column++);
  int s = 0;
  while (s < STUDY_NUM_STATES && strcmp(state_names[s], state ? state : ""))
    s++;
  if (s == STUDY_NUM_STATES)
    return anas_fail(ANAS_CORRUPT, "study database '%s': trial %lld has the unknown state '%s'", study->file,
                     (long long)trial.number, state ? state : "");
  trial.state = (enum study_state)s;
  trial.reason = column_text(statement, column++);
  trial.kind = column_text(statement, column++);
  trial.block = column_text(statement, column++);
  trial.description = column_text(statement, column++);
  trial.hash = column_text(statement, column++);
  trial.train_loss = column_real(statement, column++);
  trial.compile_seconds = column_real(statement, column++);
  trial.steps = sqlite3_column_int64(statement, column++);
  trial.peak_bytes = sqlite3_column_int64(statement, column++);
  trial.attempts = sqlite3_column_int64(statement, column++);
  trial.created = sqlite3_column_double(statement, column++);
  trial.started = sqlite3_column_double(statement, column++);
  trial.finished = sqlite3_column_double(statement, column++);
  for (int i = 0; i < METRIC_NUM; i++)
    trial.metric[i] = column_real(statement, column++);
  *out = trial;
  return ANAS_OK;
}

anas_status study_load(struct study *study, struct study_trial **out, int64_t *out_count) {
  struct anas_strbuf sql = {0};
  anas_strbuf_adds(&sql, "SELECT number");
  for (int i = 0; i < COLUMNS + METRIC_NUM; i++)
    anas_strbuf_addf(&sql, ", %s", i < COLUMNS || study->has_column[i - COLUMNS] ? column_name(i) : "NULL");
  anas_strbuf_adds(&sql, " FROM trials ORDER BY number");
  sqlite3_stmt *statement;
  anas_status prepared = prepare(study, anas_strbuf_text(&sql), &statement);
  anas_strbuf_deinit(&sql);
  ANAS_RETURN_IF_ERROR(prepared);
  struct study_trial *trials = NULL;
  int64_t count = 0;
  size_t capacity = 0;
  int code;
  anas_status status = ANAS_OK;
  while (status == ANAS_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
    trials = anas_grow(trials, (size_t)count, &capacity, sizeof *trials);
    status = read_trial(study, statement, &trials[count]);
    if (status != ANAS_OK) break;
    if (trials[count].number != count)
      status = anas_fail(ANAS_CORRUPT, "study database '%s': trial %lld is missing", study->file, (long long)count);
    count++;
  }
  if (status == ANAS_OK && code != SQLITE_DONE) status = sql_error(study, code, "reading");
  sqlite3_finalize(statement);
  if (status != ANAS_OK) {
    study_trials_free(trials, count);
    return status;
  }
  *out = trials;
  *out_count = count;
  return ANAS_OK;
}

// ---- transactions and artefacts

anas_status study_begin(struct study *study) {
  return execute(study, "BEGIN IMMEDIATE", "writing");
}

anas_status study_commit(struct study *study) {
  return execute(study, "COMMIT", "writing");
}

anas_status study_record(struct study *study, int64_t number, const char *file) {
  char *path = study_trial_path(study->path, number, file), *data = NULL, hash[33];
  size_t size = 0;
  bool exists = !access(path, F_OK);
  anas_status status = exists ? anas_file_read(path, &data, &size) : ANAS_OK;
  free(path);
  if (status != ANAS_OK || !exists) return status;
  anas_hash_hex(data, size, hash);
  free(data);
  sqlite3_stmt *statement;
  ANAS_RETURN_IF_ERROR(prepare(study, "INSERT OR REPLACE INTO artefacts VALUES(?1, ?2, ?3, ?4)", &statement));
  sqlite3_bind_int64(statement, 1, number);
  sqlite3_bind_text(statement, 2, file, -1, SQLITE_TRANSIENT);
  sqlite3_bind_int64(statement, 3, (int64_t)size);
  sqlite3_bind_text(statement, 4, hash, -1, SQLITE_TRANSIENT);
  return finish(study, statement, "writing");
}

anas_status study_forget(struct study *study, int64_t number, const char *file) {
  sqlite3_stmt *statement;
  ANAS_RETURN_IF_ERROR(prepare(study, "DELETE FROM artefacts WHERE trial = ?1 AND file = ?2", &statement));
  sqlite3_bind_int64(statement, 1, number);
  sqlite3_bind_text(statement, 2, file, -1, SQLITE_TRANSIENT);
  return finish(study, statement, "writing");
}

anas_status study_artefacts(struct study *study, struct study_artefact **out, int64_t *out_count) {
  *out = NULL;
  *out_count = 0;
  if (study->version < 2) return ANAS_OK;
  sqlite3_stmt *statement;
  ANAS_RETURN_IF_ERROR(
      prepare(study, "SELECT trial, file, size, hash FROM artefacts ORDER BY trial, file", &statement));
  size_t capacity = 0;
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    *out = anas_grow(*out, (size_t)*out_count, &capacity, sizeof **out);
    (*out)[(*out_count)++] = (struct study_artefact){
        .number = sqlite3_column_int64(statement, 0),
        .file = column_text(statement, 1),
        .size = sqlite3_column_int64(statement, 2),
        .hash = column_text(statement, 3),
    };
  }
  anas_status status = code == SQLITE_DONE ? ANAS_OK : sql_error(study, code, "reading");
  sqlite3_finalize(statement);
  return status;
}

void study_artefacts_free(struct study_artefact *artefacts, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    free(artefacts[i].file);
    free(artefacts[i].hash);
  }
  free(artefacts);
}

anas_status study_check(struct study *study) {
  char *text;
  ANAS_RETURN_IF_ERROR(query_text(study, "PRAGMA integrity_check(1)", NULL, &text));
  anas_status status =
      text && !strcmp(text, "ok") ? ANAS_OK : anas_fail(ANAS_CORRUPT, "database: %s", text ? text : "no answer");
  free(text);
  return status;
}
