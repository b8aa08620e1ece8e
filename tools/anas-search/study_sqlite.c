// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A study in a directory: SQLite. WAL with a busy timeout lets readers watch a running search; a record lock on
// STUDY/lock keeps a second writer out and vanishes with its holder, however that one ends.
#include "tools/anas-search/study_backend.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NO_SPACE_HINT "; free some and use --resume"
#define READ_ONLY_HINT "; a search needs a study that it can write: make it writable, or go on with a copy"
#define APPLICATION_ID 0x616e6173 // "anas": what file(1) and we recognise
#define BUSY_MILLISECONDS 20000
#define MAX_QUICK_CHECK 32e6 // bytes

#define MAX_PREPARED 32

struct prepared {
  char *sql;
  sqlite3_stmt *statement;
  bool busy;
};

struct database {
  struct study_database base;
  char *path, *file;
  sqlite3 *db;
  int lock_fd;                            // -1 for readers
  int64_t flushed;                        // changes by then
  struct prepared prepared[MAX_PREPARED]; // statements that come again
  int num_prepared;
};

struct rows {
  struct study_rows base;
  struct database *database;
  sqlite3_stmt *statement;
  struct study_value *value;
  const char **name;
};

// ---- errors

static anas_status sql_error(struct database *database, int code, const char *doing) {
  const char *text = database->db ? sqlite3_errmsg(database->db) : sqlite3_errstr(code);
  switch (code & 0xff) {
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return anas_fail(ANAS_CORRUPT,
                     "study database '%s' is damaged (%s); recover what is left with: sqlite3 '%s' .recover",
                     database->file, text, database->file);
  case SQLITE_FULL:
    return anas_fail(ANAS_IO, "writing '%s': no space left on the file system" NO_SPACE_HINT, database->file);
  case SQLITE_READONLY: return anas_fail(ANAS_IO, "cannot write '%s': %s" READ_ONLY_HINT, database->file, text);
  case SQLITE_BUSY:
    return anas_fail(ANAS_IO, "%s '%s': another process has held the database for more than %d s", doing,
                     database->file, BUSY_MILLISECONDS / 1000);
  case SQLITE_CANTOPEN: return anas_fail(ANAS_NOT_FOUND, "cannot open study database '%s': %s", database->file, text);
  default: return anas_fail(ANAS_IO, "%s '%s': %s", doing, database->file, text);
  }
}

// ---- statements

static void bind(sqlite3_stmt *statement, int at, const struct study_value *value) {
  switch (value->kind) {
  case STUDY_NULL: break;
  case STUDY_INTEGER: sqlite3_bind_int64(statement, at, value->integer); break;
  case STUDY_REAL: sqlite3_bind_double(statement, at, value->real); break;
  case STUDY_TEXT: sqlite3_bind_text(statement, at, value->text, (int)value->size, SQLITE_TRANSIENT); break;
  case STUDY_BLOB: sqlite3_bind_blob64(statement, at, value->text, value->size, SQLITE_TRANSIENT); break;
  }
}

// Preparing a statement takes longer than running it. Those without parameters do not come often, and read tables whose
// columns may change.
static int prepare(struct database *database, const char *sql, int count, sqlite3_stmt **out) {
  for (int i = 0; i < database->num_prepared && count; i++) {
    struct prepared *p = &database->prepared[i];
    if (p->busy || strcmp(p->sql, sql) != 0) continue;
    p->busy = true;
    *out = p->statement;
    return SQLITE_OK;
  }
  int code = sqlite3_prepare_v2(database->db, sql, -1, out, NULL);
  if (code == SQLITE_OK && count && database->num_prepared < MAX_PREPARED)
    database->prepared[database->num_prepared++] = (struct prepared){anas_strdup(sql), *out, true};
  return code;
}

static void release(struct database *database, sqlite3_stmt *statement) {
  for (int i = 0; i < database->num_prepared; i++) {
    struct prepared *p = &database->prepared[i];
    if (p->statement != statement) continue;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    p->busy = false;
    return;
  }
  sqlite3_finalize(statement);
}

static void close_rows(struct study_rows *base) {
  struct rows *rows = (struct rows *)base;
  release(rows->database, rows->statement);
  free(rows->value);
  free(rows->name);
  free(rows);
}

static struct study_rows *make_rows(struct database *database, sqlite3_stmt *statement) {
  struct rows *rows = anas_alloc(sizeof *rows);
  int count = sqlite3_column_count(statement);
  rows->database = database;
  rows->statement = statement;
  rows->value = anas_calloc((size_t)count, sizeof *rows->value);
  rows->name = anas_calloc((size_t)count, sizeof *rows->name);
  for (int i = 0; i < count; i++)
    rows->name[i] = sqlite3_column_name(statement, i);
  rows->base = (struct study_rows){&study_sqlite, count, rows->value, rows->name};
  return &rows->base;
}

static anas_status next(struct study_rows *base, bool *out_more) {
  struct rows *rows = (struct rows *)base;
  int code = sqlite3_step(rows->statement);
  if (code != SQLITE_ROW && code != SQLITE_DONE) return sql_error(rows->database, code, "reading");
  *out_more = code == SQLITE_ROW;
  for (int i = 0; i < base->num_columns && *out_more; i++) {
    struct study_value *value = &rows->value[i];
    *value = (struct study_value){0};
    sqlite3_value *cell = sqlite3_column_value(rows->statement, i);
    // SQLite's columns are typed loosely: a whole number is one, whatever it was meant to be.
    switch (sqlite3_value_type(cell)) {
    case SQLITE_INTEGER:
      value->kind = STUDY_INTEGER;
      value->real = (double)(value->integer = sqlite3_value_int64(cell));
      break;
    case SQLITE_FLOAT:
      value->kind = STUDY_REAL;
      value->integer = (int64_t)(value->real = sqlite3_value_double(cell));
      break;
    case SQLITE_TEXT:
      value->kind = STUDY_TEXT;
      value->text = (const char *)sqlite3_value_text(cell);
      break;
    case SQLITE_BLOB:
      value->kind = STUDY_BLOB;
      value->text = sqlite3_value_blob(cell);
      break;
    default: break;
    }
    if (value->text) value->size = (size_t)sqlite3_value_bytes(cell);
  }
  return ANAS_OK;
}

static anas_status run(struct study_database *base, const char *sql, const struct study_value *parameters, int count,
                       const char *doing, struct study_rows **out_rows, int64_t *out_changed) {
  struct database *database = (struct database *)base;
  sqlite3_stmt *statement;
  int code = prepare(database, sql, count, &statement);
  if (code != SQLITE_OK) return sql_error(database, code, doing);
  for (int i = 0; i < count; i++)
    bind(statement, i + 1, &parameters[i]);
  if (out_rows) {
    *out_rows = make_rows(database, statement);
    return ANAS_OK;
  }
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) // a pragma may answer
    ;
  anas_status status = code == SQLITE_DONE ? ANAS_OK : sql_error(database, code, doing);
  release(database, statement);
  if (status == ANAS_OK && out_changed) *out_changed = sqlite3_changes64(database->db);
  return status;
}

static anas_status execute(struct database *database, const char *sql, const char *doing) {
  return run(&database->base, sql, NULL, 0, doing, NULL, NULL);
}

// The first value of a pragma, malloc'ed; null if it has none.
static anas_status pragma(struct database *database, const char *sql, char **out) {
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(run(&database->base, sql, NULL, 0, "reading", &rows, NULL));
  bool more;
  anas_status status = next(rows, &more);
  if (status == ANAS_OK) {
    const char *text = more ? (const char *)sqlite3_column_text(((struct rows *)rows)->statement, 0) : NULL;
    *out = text ? anas_strdup(text) : NULL;
  }
  close_rows(rows);
  return status;
}

static anas_status pragma_int(struct database *database, const char *sql, long *out) {
  char *text;
  ANAS_RETURN_IF_ERROR(pragma(database, sql, &text));
  *out = text ? strtol(text, NULL, 10) : 0;
  free(text);
  return ANAS_OK;
}

static anas_status version(struct study_database *base, int *out) {
  long value;
  ANAS_RETURN_IF_ERROR(pragma_int((struct database *)base, "PRAGMA user_version", &value));
  *out = (int)value;
  return ANAS_OK;
}

static anas_status set_version(struct study_database *base, int value) {
  struct database *database = (struct database *)base;
  char *id = anas_format("PRAGMA application_id=%d", APPLICATION_ID);
  char *number = anas_format("PRAGMA user_version=%d", value);
  anas_status status = execute(database, id, "writing");
  if (status == ANAS_OK) status = execute(database, number, "writing");
  free(number);
  free(id);
  return status;
}

static anas_status check(struct study_database *base, bool complete) {
  struct database *database = (struct database *)base;
  char *text;
  // Of a large database only what is read; anas-search fsck looks at the rest.
  if (!complete) {
    long pages, page_bytes;
    ANAS_RETURN_IF_ERROR(pragma_int(database, "PRAGMA page_count", &pages));
    ANAS_RETURN_IF_ERROR(pragma_int(database, "PRAGMA page_size", &page_bytes));
    if ((double)pages * (double)page_bytes > MAX_QUICK_CHECK) return ANAS_OK;
  }
  ANAS_RETURN_IF_ERROR(pragma(database, complete ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)", &text));
  anas_status status = ANAS_OK;
  const char *answer = text ? text : "no answer";
  if (strcmp(answer, "ok") != 0)
    status = complete ? anas_fail(ANAS_CORRUPT, "database: %s", answer)
                      : anas_fail(ANAS_CORRUPT,
                                  "study database '%s' is damaged (%s); recover what is left with: sqlite3 '%s' "
                                  ".recover",
                                  database->file, answer, database->file);
  free(text);
  return status;
}

// ---- opening

static bool is_location(const char *path) {
  return path != NULL; // whatever no other engine wants
}

static bool exists(const char *path) {
  char *file = anas_format("%s/study.db", path);
  bool found = !access(file, F_OK);
  free(file);
  return found;
}

static anas_status take_lock(struct database *database) {
  char *path = anas_format("%s/lock", database->path);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  anas_status status = ANAS_OK;
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (fd < 0) {
    bool refused = errno == EROFS || errno == EACCES || errno == EPERM;
    status = anas_fail(ANAS_IO, "cannot write '%s': %s%s", path, strerror(errno),
                       refused           ? READ_ONLY_HINT
                       : errno == ENOSPC ? NO_SPACE_HINT
                                         : "");
  } else if (fcntl(fd, F_SETLK, &lock)) { // unlike flock(2), not inherited by the children
    struct flock holder = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool known = !fcntl(fd, F_GETLK, &holder) && holder.l_type != F_UNLCK;
    status = known ? anas_fail(ANAS_INVALID, "study '%s' is in use by process %d; watch it with: anas-search status %s",
                               database->path, (int)holder.l_pid, database->path)
                   : anas_fail(ANAS_IO, "cannot lock '%s': %s", path, strerror(errno));
    close(fd);
  } else {
    database->lock_fd = fd;
  }
  free(path);
  return status;
}

// SQLite's locks are unreliable there, and many a study was lost that way.
static void warn_network_file_system(const struct database *database) {
  struct statfs info;
  if (statfs(database->path, &info)) return;
  unsigned long type = (unsigned long)info.f_type & 0xffffffffUL;
  if (type == 0x6969 || type == 0xff534d42UL || type == 0xfe534d42UL || type == 0x0bd00bd0UL)
    fprintf(stderr,
            "anas-search: warning: study '%s' is on a network file system, where SQLite can lose data; prefer a local "
            "directory\n",
            database->path);
}

// Readers make files beside the database, too, unless it is said that nobody writes: so it is where nobody can, and
// where no log says that somebody does.
static char *immutable_uri(const struct database *database) {
  char *log = anas_format("%s-wal", database->file);
  bool immutable = access(database->path, W_OK) && access(log, F_OK);
  free(log);
  if (!immutable) return NULL;
  struct anas_strbuf uri = {0};
  anas_strbuf_adds(&uri, "file:");
  for (const char *c = database->file; *c; c++)
    anas_strbuf_addf(&uri, strchr("%?#", *c) ? "%%%02x" : "%c", (unsigned char)*c);
  anas_strbuf_adds(&uri, "?immutable=1");
  return anas_strbuf_detach(&uri);
}

static anas_status open_file(struct database *database, int flags) {
  char *uri = flags & SQLITE_OPEN_READONLY ? immutable_uri(database) : NULL;
  // One thread uses the connection.
  int code = sqlite3_open_v2(uri ? uri : database->file, &database->db,
                             flags | SQLITE_OPEN_NOMUTEX | (uri ? SQLITE_OPEN_URI : 0), NULL);
  free(uri);
  if (code != SQLITE_OK) return sql_error(database, code, "opening");
  sqlite3_busy_timeout(database->db, BUSY_MILLISECONDS);
  return ANAS_OK;
}

// Commits are written to the log at once; the disk is made to keep them by flush, not by each of them: with many short
// trials that would be most of the work.
static anas_status flush(struct study_database *base) {
  struct database *database = (struct database *)base;
  int64_t changes = sqlite3_total_changes64(database->db);
  if (changes == database->flushed) return ANAS_OK;
  int code = sqlite3_wal_checkpoint_v2(database->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
  if (code != SQLITE_OK && code != SQLITE_BUSY) return sql_error(database, code, "writing");
  database->flushed = changes;
  return ANAS_OK;
}

// Nobody else moves the log into the database while this process writes: flush knows when its files are there.
static anas_status set_up_writing(struct database *database) {
  ANAS_RETURN_IF_ERROR(execute(database, "PRAGMA synchronous=NORMAL", "opening"));
  return execute(database, "PRAGMA wal_autocheckpoint=0", "opening");
}

static anas_status create_new(struct database *database) {
  ANAS_RETURN_IF_ERROR(anas_make_directories(database->path));
  ANAS_RETURN_IF_ERROR(take_lock(database));
  warn_network_file_system(database);
  ANAS_RETURN_IF_ERROR(open_file(database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  ANAS_RETURN_IF_ERROR(execute(database, "PRAGMA journal_mode=WAL", "creating"));
  return set_up_writing(database);
}

static anas_status open_existing(struct database *database, bool write) {
  if (!exists(database->path))
    return anas_fail(ANAS_NOT_FOUND, "there is no study in '%s' (no file '%s')", database->path, database->file);
  if (write) {
    ANAS_RETURN_IF_ERROR(take_lock(database));
    warn_network_file_system(database);
  }
  ANAS_RETURN_IF_ERROR(open_file(database, write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY));
  if (write) ANAS_RETURN_IF_ERROR(set_up_writing(database));
  long id;
  ANAS_RETURN_IF_ERROR(pragma_int(database, "PRAGMA application_id", &id));
  return id == APPLICATION_ID ? ANAS_OK
                              : anas_fail(ANAS_CORRUPT, "'%s' is a database, but not a study of anas", database->file);
}

static void close_database(struct study_database *base) {
  struct database *database = (struct database *)base;
  for (int i = 0; i < database->num_prepared; i++) {
    sqlite3_finalize(database->prepared[i].statement);
    free(database->prepared[i].sql);
  }
  sqlite3_close(database->db);
  if (database->lock_fd >= 0) close(database->lock_fd);
  free(database->file);
  free(database->path);
  free(database);
}

static anas_status open_study(const char *path, bool create, enum study_access access, struct study_database **out) {
  struct database *database = anas_alloc(sizeof *database);
  database->base.engine = &study_sqlite;
  database->path = anas_strdup(path);
  database->file = anas_format("%s/study.db", path);
  database->lock_fd = -1;
  anas_status status = create ? create_new(database) : open_existing(database, access == STUDY_WRITE);
  if (status == ANAS_OK)
    *out = &database->base;
  else
    close_database(&database->base);
  return status;
}

const struct study_engine study_sqlite = {
    .key = "INTEGER PRIMARY KEY",
    .integer = "INTEGER",
    .real = "REAL",
    .text = "TEXT",
    .blob = "BLOB",
    .table_end = " WITHOUT ROWID",
    .begin = "BEGIN IMMEDIATE",
    .now = "((julianday('now') - 2440587.5) * 86400.0)",
    .skip_locked = "",
    .is_location = is_location,
    .exists = exists,
    .open = open_study,
    .close = close_database,
    .run = run,
    .next = next,
    .close_rows = close_rows,
    .version = version,
    .set_version = set_version,
    .flush = flush,
    .check = check,
};
