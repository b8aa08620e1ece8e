// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files of trials. A study in a directory has them in place. One in a database is worked on by many machines: each uses
// scratch space of its own, and what shall stay is kept in the database, or in a directory that they all see. Nothing
// is copied there before the study says that the trial is still its owner's.
#include "tools/anas-search/study_backend.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SCRATCH_PREFIX "anas-search-"

bool study_stored(const struct study *study) {
  return study->stored;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
  (void)info, (void)kind, (void)place;
  return remove(path);
}

static void remove_tree(const char *path) {
  nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#define STALE_SECONDS 60 // a new one is not locked yet

// Scratch space of processes that were killed: nobody holds its lock.
static void remove_stale(const char *temporary) {
  DIR *directory = opendir(temporary);
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    if (strncmp(entry->d_name, SCRATCH_PREFIX, strlen(SCRATCH_PREFIX)) != 0) continue;
    char *path = anas_format("%s/%s", temporary, entry->d_name);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;
    if (fd >= 0 && !fstat(fd, &info) && info.st_uid == geteuid() && time(NULL) - info.st_mtime > STALE_SECONDS &&
        !flock(fd, LOCK_EX | LOCK_NB))
      remove_tree(path);
    if (fd >= 0) close(fd);
    free(path);
  }
  if (directory) closedir(directory);
}

anas_status study_files_open(struct study *study) {
  study->stored = study->engine->shared;
  if (!study->stored) {
    study->directory = anas_strdup(study->location);
    return ANAS_OK;
  }
  const char *temporary = getenv("TMPDIR");
  if (!temporary || !*temporary) temporary = "/tmp";
  remove_stale(temporary);
  char *path = anas_format("%s/" SCRATCH_PREFIX "XXXXXX", temporary);
  if (!mkdtemp(path)) {
    anas_status status = anas_fail(ANAS_IO, "cannot create scratch space '%s': %s", path, strerror(errno));
    free(path);
    return status;
  }
  study->directory = path;
  study->scratch = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (study->scratch >= 0) flock(study->scratch, LOCK_EX | LOCK_NB);
  return study_get(study, "artefacts", &study->store);
}

const char *study_store(const struct study *study) {
  return study->stored ? study->store : study->directory;
}

anas_status study_keep_files_in(struct study *study, const char *directory) {
  ANAS_RETURN_IF_ERROR(anas_make_directories(directory));
  char *path = realpath(directory, NULL);
  if (!path) return anas_fail(ANAS_IO, "cannot find '%s': %s", directory, strerror(errno));
  free(study->store);
  study->store = path;
  return study_set(study, "artefacts", path);
}

void study_files_close(struct study *study) {
  free(study->new_files);
  if (study->stored && study->directory) remove_tree(study->directory);
  if (study->scratch > 0) close(study->scratch);
  free(study->directory);
  free(study->store);
}

void study_discard(struct study *study, int64_t number) {
  if (!study->stored) return;
  char *folder = study_trial_path(study->directory, number, "");
  remove_tree(folder);
  free(folder);
}

// ---- new files

#define MAX_NEW_FILES 128 // open at a time

// The folders above are there but for the first trial of a study.
static int create_file(const struct study *study, int64_t number, const char *path) {
  int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
  char *folder = study_trial_path(study->directory, number, "");
  int fd = -1;
  if (!mkdir(folder, 0777) || errno == EEXIST)
    fd = open(path, flags, 0666);
  else if (anas_make_directories(folder) == ANAS_OK)
    fd = open(path, flags, 0666);
  free(folder);
  return fd;
}

anas_status study_write(struct study *study, int64_t number, const char *file, const void *data, size_t size) {
  char *path = study_trial_path(study->directory, number, file);
  anas_status status = ANAS_OK;
  int fd = create_file(study, number, path);
  if (fd < 0) status = anas_fail(ANAS_IO, "cannot create '%s': %s", path, strerror(errno));
  for (const char *at = data; size && status == ANAS_OK;) {
    ssize_t wrote = write(fd, at, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) status = anas_fail(ANAS_IO, "cannot write '%s': %s", path, strerror(errno));
    at += wrote;
    size -= (size_t)wrote;
  }
  free(path);
  if (status != ANAS_OK || study->stored) { // what is stored elsewhere is scratch here
    if (fd >= 0) close(fd);
    return status;
  }
  study->new_files =
      anas_grow(study->new_files, study->num_new_files, &study->capacity_new_files, sizeof *study->new_files);
  study->new_files[study->num_new_files++] = (struct study_new_file){fd, number};
  return study->num_new_files < MAX_NEW_FILES ? ANAS_OK : study_sync_files(study);
}

anas_status study_sync_files(struct study *study) {
  anas_status status = ANAS_OK;
  for (size_t i = 0; i < study->num_new_files; i++) {
    const struct study_new_file *new = &study->new_files[i];
    bool failed = fsync(new->fd) && errno != EINVAL;
    failed |= close(new->fd) != 0;
    if (failed)
      status = anas_fail(ANAS_IO, "cannot write the files of trial %lld of '%s': %s", (long long)new->number,
                         study->location, strerror(errno));
  }
  study->num_new_files = 0;
  return status;
}

// ---- one file

static anas_status store_in_directory(const struct study *study, int64_t number, const char *file, const char *data,
                                      size_t size) {
  char *folder = study_trial_path(study->store, number, ""), *path = study_trial_path(study->store, number, file);
  anas_status status = anas_make_directories(folder);
  if (status == ANAS_OK) status = anas_file_write(path, data, size);
  free(path);
  free(folder);
  return status;
}

anas_status study_record(struct study *study, int64_t number, const char *file) {
  char *path = study_trial_path(study->directory, number, file), *data = NULL, hash[33];
  size_t size = 0;
  bool exists = !access(path, F_OK);
  anas_status status = exists ? anas_file_read(path, &data, &size) : ANAS_OK;
  free(path);
  if (status != ANAS_OK || !exists) return status;
  anas_hash_hex(data, size, hash);
  struct study_value content = {0};
  if (study->store)
    status = store_in_directory(study, number, file, data, size);
  else if (study->stored)
    content = (struct study_value){.kind = STUDY_BLOB, .text = data, .size = size};
  struct study_value values[] = {study_integer(number), study_text(file), study_integer((int64_t)size),
                                 study_text(hash), content};
  if (status == ANAS_OK)
    status = study_run(study,
                       "INSERT INTO artefacts(trial, file, size, hash, content) VALUES(?1, ?2, ?3, ?4, ?5) ON "
                       "CONFLICT(trial, file) DO UPDATE SET size = excluded.size, hash = excluded.hash, content = "
                       "excluded.content",
                       values, 5, NULL, NULL);
  free(data);
  return status;
}

anas_status study_forget(struct study *study, int64_t number, const char *file) {
  struct study_value values[] = {study_integer(number), study_text(file)};
  ANAS_RETURN_IF_ERROR(study_run(study, "DELETE FROM artefacts WHERE trial = ?1 AND file = ?2", values, 2, NULL, NULL));
  if (study->store) {
    char *path = study_trial_path(study->store, number, file);
    unlink(path); // most often absent
    free(path);
  }
  return ANAS_OK;
}

static anas_status read_content(struct study *study, int64_t number, const char *file, char **out, size_t *out_size) {
  struct study_value values[] = {study_integer(number), study_text(file)};
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(
      study_run(study, "SELECT content FROM artefacts WHERE trial = ?1 AND file = ?2", values, 2, &rows, NULL));
  bool more;
  anas_status status = study->engine->next(rows, &more);
  if (status == ANAS_OK && more && study->store) {
    char *path = study_trial_path(study->store, number, file);
    status = anas_file_read(path, out, out_size);
    free(path);
  } else if (status == ANAS_OK && more && rows->value[0].kind == STUDY_BLOB) {
    *out_size = rows->value[0].size;
    *out = anas_alloc(*out_size + 1);
    memcpy(*out, rows->value[0].text, *out_size);
  } else if (status == ANAS_OK) {
    status = anas_fail(ANAS_NOT_FOUND, "study '%s' has no %s of trial %lld", study->name, file, (long long)number);
  }
  study->engine->close_rows(rows);
  return status;
}

anas_status study_fetch(struct study *study, int64_t number, const char *file) {
  if (!study->stored) return ANAS_OK;
  char *path = study_trial_path(study->directory, number, file), *data;
  size_t size;
  anas_status status = ANAS_OK;
  if (access(path, F_OK)) {
    char *folder = study_trial_path(study->directory, number, "");
    status = read_content(study, number, file, &data, &size);
    if (status == ANAS_OK) {
      status = anas_make_directories(folder);
      if (status == ANAS_OK) status = anas_file_write(path, data, size);
      free(data);
    }
    free(folder);
  }
  free(path);
  return status;
}

// ---- all of them

anas_status study_artefacts(struct study *study, struct study_artefact **out, int64_t *out_count) {
  *out = NULL;
  *out_count = 0;
  if (study->version < 2) return ANAS_OK;
  struct study_rows *rows;
  ANAS_RETURN_IF_ERROR(
      study_run(study, "SELECT trial, file, size, hash FROM artefacts ORDER BY trial, file", NULL, 0, &rows, NULL));
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
