// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files, directories, hashes, time.
#include "runtime/support/file.h"

#include "runtime/support/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

anas_status anas_file_read(const char *path, char **out_data, size_t *out_size) {
  bool from_stdin = !strcmp(path, "-");
  int fd = from_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return anas_fail(errno == ENOENT ? ANAS_NOT_FOUND : ANAS_IO, "cannot open '%s': %s", path, strerror(errno));
  size_t size = 0, capacity = 0;
  char *data = NULL;
  for (;;) {
    if (capacity - size < 65536) {
      capacity = capacity ? capacity * 2 : 131072;
      data = anas_realloc(data, capacity + 1);
    }
    ssize_t n = read(fd, data + size, capacity - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      anas_status status = anas_fail(ANAS_IO, "cannot read '%s': %s", path, strerror(errno));
      free(data);
      if (!from_stdin) close(fd);
      return status;
    }
    if (n == 0) break;
    size += (size_t)n;
  }
  if (!from_stdin) close(fd);
  data[size] = '\0';
  *out_data = data;
  *out_size = size;
  return ANAS_OK;
}

static anas_status write_all(int fd, const char *path, const char *data, size_t size) {
  while (size) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return anas_fail(ANAS_IO, "cannot write '%s': %s", path, strerror(errno));
    data += n;
    size -= (size_t)n;
  }
  return ANAS_OK;
}

static anas_status write_parts(int fd, const char *path, const struct anas_file_part *parts, size_t count) {
  for (size_t i = 0; i < count; i++)
    ANAS_RETURN_IF_ERROR(write_all(fd, path, parts[i].data, parts[i].size));
  return ANAS_OK;
}

anas_status anas_file_write(const char *path, const void *data, size_t size) {
  return anas_file_write_parts(path, &(struct anas_file_part){data, size}, 1);
}

// Devices and pipes are written to: a rename would put a file in their place.
static anas_status write_in_place(const char *path, const struct anas_file_part *parts, size_t count) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return anas_fail(ANAS_IO, "cannot open '%s': %s", path, strerror(errno));
  anas_status status = write_parts(fd, path, parts, count);
  if (close(fd) && status == ANAS_OK) status = anas_fail(ANAS_IO, "cannot write '%s': %s", path, strerror(errno));
  return status;
}

anas_status anas_file_write_parts(const char *path, const struct anas_file_part *parts, size_t count) {
  if (!strcmp(path, "-")) return write_parts(STDOUT_FILENO, "standard output", parts, count);
  struct stat info;
  if (!stat(path, &info) && (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode) || S_ISFIFO(info.st_mode)))
    return write_in_place(path, parts, count);
  char *temporary = anas_format("%s.XXXXXX", path);
  int fd = mkostemp(temporary, O_CLOEXEC);
  anas_status status = ANAS_OK;
  if (fd < 0) {
    status = anas_fail(ANAS_IO, "cannot create '%s': %s", path, strerror(errno));
  } else {
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask);
    status = write_parts(fd, path, parts, count);
    if (status == ANAS_OK && fsync(fd) && errno != EINVAL)
      status = anas_fail(ANAS_IO, "cannot write '%s': %s", path, strerror(errno));
    if (close(fd) && status == ANAS_OK) status = anas_fail(ANAS_IO, "cannot write '%s': %s", path, strerror(errno));
    if (status == ANAS_OK && rename(temporary, path))
      status = anas_fail(ANAS_IO, "cannot write '%s': %s", path, strerror(errno));
    if (status != ANAS_OK) unlink(temporary);
  }
  free(temporary);
  return status;
}

anas_status anas_make_directories(const char *path) {
  char *copy = anas_strdup(path);
  anas_status status = ANAS_OK;
  for (char *p = copy + 1;; p++) {
    if (*p != '/' && *p != '\0') continue;
    char end = *p;
    *p = '\0';
    struct stat info;
    if (mkdir(copy, 0777) && (errno != EEXIST || stat(copy, &info) || !S_ISDIR(info.st_mode))) {
      status = anas_fail(ANAS_IO, "cannot create directory '%s': %s", copy, strerror(errno));
      break;
    }
    *p = end;
    if (!end) break;
  }
  free(copy);
  return status;
}

anas_status anas_cache_directory(char **out_path) {
  const char *own = getenv("ANAS_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  char *path = own && *own     ? anas_strdup(own)
               : xdg && *xdg   ? anas_format("%s/anas", xdg)
               : home && *home ? anas_format("%s/.cache/anas", home)
                               : NULL;
  if (!path) return anas_fail(ANAS_NOT_FOUND, "no cache directory: set ANAS_CACHE_DIR, XDG_CACHE_HOME or HOME");
  anas_status status = anas_make_directories(path);
  if (status != ANAS_OK) {
    free(path);
    return status;
  }
  *out_path = path;
  return ANAS_OK;
}

void anas_hash_hex(const void *data, size_t size, char out_hex[33]) {
  XXH128_hash_t hash = XXH3_128bits(data, size);
  snprintf(out_hex, 33, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

uint64_t anas_hash64(const void *data, size_t size, uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}

static double clock_seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double anas_now(void) {
  return clock_seconds(CLOCK_MONOTONIC);
}

double anas_thread_time(void) {
  return clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}
