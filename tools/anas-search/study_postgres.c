// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A study in a PostgreSQL database, for many machines: postgresql://USER@HOST/DATABASE#NAME. Each study is a schema of
// its database, "anas" without a name. One driver decides: it holds an advisory lock that ends with its connection.
#include "tools/anas-search/study_backend.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"

#include <ctype.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOCK_SECONDS 2.0 // a driver that was killed may still be connected

struct database {
  struct study_database base;
  char *uri, *schema;
  const char *place; // of messages: uri without a password
  char *place_text;
  PGconn *connection;
  enum study_access access;
  bool lost;
};

struct rows {
  struct study_rows base;
  PGresult *result;
  int at; // next row
  struct study_value *value;
  const char **name;
  unsigned char **blob; // of the row, by column
};

static bool is_location(const char *location) {
  return !strncmp(location, "postgresql://", 13) || !strncmp(location, "postgres://", 11);
}

// ---- statements

// The first line of libpq's messages says what happened; the others guess why.
static char *first_line(const char *text) {
  return text && *text ? anas_format("%.*s", (int)strcspn(text, "\n"), text) : anas_strdup("no answer");
}

static anas_status fail(struct database *database, anas_status status, const char *doing, const char *text) {
  char *line = first_line(text);
  anas_fail(status, "%s '%s': %s", doing, database->place, line);
  free(line);
  return status;
}

// ?1 is $1 here.
static char *dollars(const char *sql) {
  char *text = anas_strdup(sql);
  for (char *c = text; *c; c++)
    if (*c == '?' && isdigit((unsigned char)c[1])) *c = '$';
  return text;
}

static PGresult *send(struct database *database, const char *sql, const struct study_value *parameters, int count) {
  const char *value[STUDY_MAX_VALUES];
  int size[STUDY_MAX_VALUES], format[STUDY_MAX_VALUES];
  char number[STUDY_MAX_VALUES][32];
  for (int i = 0; i < count; i++) {
    const struct study_value *p = &parameters[i];
    format[i] = p->kind == STUDY_BLOB; // binary
    size[i] = (int)p->size;
    value[i] = p->kind == STUDY_NULL ? NULL : p->kind == STUDY_TEXT || p->kind == STUDY_BLOB ? p->text : number[i];
    if (p->kind == STUDY_INTEGER) snprintf(number[i], sizeof number[i], "%" PRId64, p->integer);
    if (p->kind == STUDY_REAL) snprintf(number[i], sizeof number[i], "%.17g", p->real);
  }
  char *text = dollars(sql);
  PGresult *result = PQexecParams(database->connection, text, count, NULL, value, size, format, 0);
  free(text);
  return result;
}

static void free_blobs(struct rows *rows) {
  for (int i = 0; i < rows->base.num_columns; i++) {
    PQfreemem(rows->blob[i]);
    rows->blob[i] = NULL;
  }
}

static void close_rows(struct study_rows *base) {
  struct rows *rows = (struct rows *)base;
  free_blobs(rows);
  PQclear(rows->result);
  free(rows->blob);
  free(rows->value);
  free(rows->name);
  free(rows);
}

static struct study_rows *make_rows(PGresult *result) {
  struct rows *rows = anas_alloc(sizeof *rows);
  int count = PQnfields(result);
  rows->result = result;
  rows->value = anas_calloc((size_t)count, sizeof *rows->value);
  rows->name = anas_calloc((size_t)count, sizeof *rows->name);
  rows->blob = anas_calloc((size_t)count, sizeof *rows->blob);
  for (int i = 0; i < count; i++)
    rows->name[i] = PQfname(result, i);
  rows->base = (struct study_rows){&study_postgres, count, rows->value, rows->name};
  return &rows->base;
}

static struct study_value read_value(struct rows *rows, int column) {
  struct study_value value = {0};
  if (PQgetisnull(rows->result, rows->at, column)) return value;
  const char *text = PQgetvalue(rows->result, rows->at, column);
  switch (PQftype(rows->result, column)) { // catalogue numbers of types never change
  case 20:                                 // bigint
  case 21:                                 // smallint
  case 23:                                 // integer
    value.kind = STUDY_INTEGER;
    value.integer = strtoll(text, NULL, 10);
    break;
  case 701: // double precision
    value.kind = STUDY_REAL;
    value.real = strtod(text, NULL);
    break;
  case 17: // bytea
    value.kind = STUDY_BLOB;
    rows->blob[column] = PQunescapeBytea((const unsigned char *)text, &value.size);
    value.text = (const char *)rows->blob[column];
    break;
  default:
    value.kind = STUDY_TEXT;
    value.text = text;
    value.size = (size_t)PQgetlength(rows->result, rows->at, column);
  }
  return value;
}

static anas_status next(struct study_rows *base, bool *out_more) {
  struct rows *rows = (struct rows *)base;
  free_blobs(rows);
  *out_more = rows->at < PQntuples(rows->result);
  for (int i = 0; i < base->num_columns && *out_more; i++)
    rows->value[i] = read_value(rows, i);
  rows->at += *out_more;
  return ANAS_OK;
}

static anas_status run(struct study_database *base, const char *sql, const struct study_value *parameters, int count,
                       const char *doing, struct study_rows **out_rows, int64_t *out_changed) {
  struct database *database = (struct database *)base;
  PGresult *result = send(database, sql, parameters, count);
  ExecStatusType kind = PQresultStatus(result);
  if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK) {
    database->lost = PQstatus(database->connection) == CONNECTION_BAD;
    anas_status status = fail(database, ANAS_IO, doing, PQerrorMessage(database->connection));
    PQclear(result);
    return status;
  }
  if (out_changed) *out_changed = strtoll(PQcmdTuples(result), NULL, 10);
  if (out_rows)
    *out_rows = make_rows(result);
  else
    PQclear(result);
  return ANAS_OK;
}

static anas_status execute(struct database *database, const char *sql, const char *doing) {
  return run(&database->base, sql, NULL, 0, doing, NULL, NULL);
}

// The first value of the first row as a number; 0 if there is none.
static anas_status query_int(struct database *database, const char *sql, const char *parameter, int64_t *out) {
  struct study_value value = study_text(parameter);
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(run(&database->base, sql, &value, 1, "reading", &rows, NULL));
  *out =
      PQntuples(((struct rows *)rows)->result) ? strtoll(PQgetvalue(((struct rows *)rows)->result, 0, 0), NULL, 10) : 0;
  close_rows(rows);
  return ANAS_OK;
}

static anas_status version(struct study_database *base, int *out) {
  int64_t value;
  ANAS_RETURN_IF_ERROR(
      query_int((struct database *)base, "SELECT value FROM settings WHERE key = ?1", "schema-version", &value));
  *out = (int)value;
  return ANAS_OK;
}

static anas_status set_version(struct study_database *base, int number) {
  char *sql = anas_format("INSERT INTO settings VALUES('schema-version', '%d') ON CONFLICT(key) DO UPDATE SET value = "
                          "excluded.value",
                          number);
  anas_status status = execute((struct database *)base, sql, "writing");
  free(sql);
  return status;
}

// The server checks pages as it reads them: everything is read.
static anas_status check(struct study_database *base, bool complete) {
  static const char *const all[] = {
      "SELECT count(*), sum(length(value)) FROM settings", "SELECT count(*), sum(value) FROM counters",
      "SELECT count(*), sum(length(t::text)) FROM trials t", "SELECT count(*), sum(length(content)) FROM artefacts"};
  for (size_t i = 0; complete && i < sizeof all / sizeof *all; i++)
    ANAS_RETURN_IF_ERROR(execute((struct database *)base, all[i], "checking"));
  return ANAS_OK;
}

// ---- connecting

static void ignore_notice(void *data, const char *text) {
  (void)data, (void)text;
}

static anas_status take_lock(struct database *database) {
  double start = anas_now();
  for (;;) {
    int64_t taken;
    ANAS_RETURN_IF_ERROR(query_int(database, "SELECT pg_try_advisory_lock(hashtextextended('anas ' || ?1, 0))::int",
                                   database->schema, &taken));
    if (taken) return ANAS_OK;
    if (anas_now() - start > LOCK_SECONDS)
      return anas_fail(ANAS_INVALID, "study '%s' is in use by another driver; watch it with: anas-search status '%s'",
                       database->place, database->place);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
  }
}

// A dead peer must be noticed on either side: it may hold a lock, or a row.
static anas_status set_up(struct database *database) {
  char *schema = PQescapeIdentifier(database->connection, database->schema, strlen(database->schema));
  char *path = anas_format("SET search_path TO %s", schema ? schema : "anas");
  anas_status status = execute(database, path, "opening");
  PQfreemem(schema);
  free(path);
  static const char *const settings[] = {
      "SET idle_in_transaction_session_timeout = '5min'",
      "SET tcp_keepalives_idle = 30",
      "SET tcp_keepalives_interval = 10",
      "SET tcp_keepalives_count = 3",
      "SET bytea_output = 'hex'",
      "SET client_encoding = 'UTF8'",
  };
  for (size_t i = 0; i < sizeof settings / sizeof *settings && status == ANAS_OK; i++)
    status = execute(database, settings[i], "opening");
  if (status == ANAS_OK && database->access == STUDY_READ)
    status = execute(database, "SET default_transaction_read_only = on", "opening");
  if (status == ANAS_OK && database->access == STUDY_WRITE) status = take_lock(database);
  return status;
}

static anas_status connect_to(struct database *database) {
  // What the URI says comes last and wins.
  const char *const names[] = {"fallback_application_name", "connect_timeout", "tcp_user_timeout",
                               "keepalives_idle",           "dbname",          NULL};
  const char *const values[] = {"anas-search", "10", "30000", "30", database->uri, NULL};
  PQfinish(database->connection);
  database->connection = PQconnectdbParams(names, values, 1);
  database->lost = PQstatus(database->connection) != CONNECTION_OK;
  if (database->lost) return fail(database, ANAS_IO, "opening", PQerrorMessage(database->connection));
  PQsetNoticeProcessor(database->connection, ignore_notice, NULL);
  return set_up(database);
}

static bool is_lost(const struct study_database *base) {
  return ((const struct database *)base)->lost;
}

static anas_status reconnect(struct study_database *base) {
  return connect_to((struct database *)base);
}

static anas_status has_tables(struct database *database, bool *out) {
  int64_t count;
  ANAS_RETURN_IF_ERROR(
      query_int(database, "SELECT count(*) FROM pg_catalog.pg_tables WHERE tablename = 'settings' AND schemaname = ?1",
                database->schema, &count));
  *out = count > 0;
  return ANAS_OK;
}

static void close_database(struct study_database *base) {
  struct database *database = (struct database *)base;
  PQfinish(database->connection);
  free(database->place_text);
  free(database->schema);
  free(database->uri);
  free(database);
}

static struct database *make(const char *location, enum study_access access) {
  struct database *database = anas_alloc(sizeof *database);
  size_t size = strcspn(location, "#");
  database->base.engine = &study_postgres;
  database->uri = anas_format("%.*s", (int)size, location);
  database->schema = anas_strdup(location[size] && location[size + 1] ? location + size + 1 : "anas");
  database->place = database->place_text = study_location_name(location);
  database->access = access;
  return database;
}

static bool exists(const char *location) {
  struct database *database = make(location, STUDY_READ);
  bool found = false;
  if (connect_to(database) == ANAS_OK && has_tables(database, &found) != ANAS_OK) found = false;
  close_database(&database->base);
  return found;
}

static anas_status create_schema(struct database *database) {
  char *schema = PQescapeIdentifier(database->connection, database->schema, strlen(database->schema));
  char *sql = anas_format("CREATE SCHEMA IF NOT EXISTS %s", schema ? schema : "anas");
  anas_status status = execute(database, sql, "creating");
  PQfreemem(schema);
  free(sql);
  return status;
}

static anas_status open_study(const char *location, bool create, enum study_access access,
                              struct study_database **out) {
  struct database *database = make(location, access);
  bool found = false;
  anas_status status = connect_to(database);
  if (status == ANAS_OK && create) status = create_schema(database);
  if (status == ANAS_OK && !create) status = has_tables(database, &found);
  if (status == ANAS_OK && !create && !found)
    status = anas_fail(ANAS_NOT_FOUND, "there is no study in '%s' (no tables in schema '%s')", database->place,
                       database->schema);
  if (status == ANAS_OK)
    *out = &database->base;
  else
    close_database(&database->base);
  return status;
}

const struct study_engine study_postgres = {
    .key = "BIGINT PRIMARY KEY",
    .integer = "BIGINT",
    .real = "DOUBLE PRECISION",
    .text = "TEXT",
    .blob = "BYTEA",
    .table_end = "",
    .begin = "BEGIN",
    .now = "extract(epoch FROM clock_timestamp())::double precision",
    .skip_locked = " FOR UPDATE SKIP LOCKED",
    .shared = true,
    .is_location = is_location,
    .exists = exists,
    .open = open_study,
    .close = close_database,
    .lost = is_lost,
    .reconnect = reconnect,
    .run = run,
    .next = next,
    .close_rows = close_rows,
    .version = version,
    .set_version = set_version,
    .check = check,
};
