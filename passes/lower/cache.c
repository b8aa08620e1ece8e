// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The object cache. Use is recorded in the modification time of an entry. Entries are never trusted: size, checksum and
// key are verified on every read, so a torn, truncated or foreign file costs one compilation and is then replaced.
#include "passes/lower/cache.h"

#include "runtime/support/file.h"
#include "runtime/support/strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "ANASOBJ\n"
#define VERSION 4
#define SUFFIX ".anaso"
// A temporary file this old belongs to a writer that died.
#define STALE_SECONDS 3600

struct header { // little-endian, as in memory
  char magic[8];
  uint32_t version, header_size;
  uint64_t payload_size, scratch_bytes, items, checksum; // checksum: of payload, scratch_bytes, items and plan
  char plan[120];
  char key[32];
};
_Static_assert(sizeof(struct header) == 200, "the header is 200 bytes in the file");

struct anas_cache {
  char *directory;
  int64_t limit;
};

struct entry {
  char *name;
  int64_t bytes;
  struct timespec used;
};

anas_status anas_cache_open(const char *directory, int64_t limit_bytes, struct anas_cache **out) {
  char *path = NULL;
  if (directory) {
    path = anas_strdup(directory);
  } else {
    char *base;
    ANAS_RETURN_IF_ERROR(anas_cache_directory(&base));
    path = anas_format("%s/objects", base);
    free(base);
  }
  anas_status status = anas_make_directories(path);
  if (status != ANAS_OK) {
    free(path);
    return anas_fail_context(status, "object cache: ");
  }
  struct anas_cache *cache = anas_alloc(sizeof *cache);
  cache->directory = path;
  cache->limit = limit_bytes ? limit_bytes : ANAS_CACHE_DEFAULT_LIMIT;
  *out = cache;
  return ANAS_OK;
}

void anas_cache_close(struct anas_cache *cache) {
  if (!cache) return;
  free(cache->directory);
  free(cache);
}

void anas_cache_key(const char *const *parts, const size_t *sizes, int count, char out_key[33]) {
  struct anas_strbuf text = {0};
  for (int i = 0; i < count; i++) {
    anas_strbuf_addf(&text, "%zu:", sizes[i]);
    anas_strbuf_add(&text, parts[i], sizes[i]);
  }
  anas_hash_hex(anas_strbuf_text(&text), text.size, out_key);
  anas_strbuf_deinit(&text);
}

static char *entry_path(const struct anas_cache *cache, const char *key) {
  return anas_format("%s/%s" SUFFIX, cache->directory, key);
}

static bool read_exactly(int fd, void *data, size_t size) {
  char *to = data;
  while (size) {
    ssize_t n = read(fd, to, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to += n;
    size -= (size_t)n;
  }
  return true;
}

static uint64_t checksum(const struct anas_object *object) {
  uint64_t numbers[] = {object->scratch_bytes, (uint64_t)object->items};
  uint64_t hash = anas_hash64(object->plan, sizeof object->plan, anas_hash64(numbers, sizeof numbers, 0));
  return anas_hash64(object->data, object->size, hash);
}

static bool read_entry(int fd, const char *key, struct anas_object *out_object) {
  struct header header;
  struct stat info;
  if (!read_exactly(fd, &header, sizeof header) || fstat(fd, &info) || !S_ISREG(info.st_mode)) return false;
  if (memcmp(header.magic, MAGIC, sizeof header.magic) || header.version != VERSION ||
      header.header_size != sizeof header || memcmp(header.key, key, sizeof header.key))
    return false;
  if (info.st_size < (off_t)sizeof header || header.payload_size != (uint64_t)info.st_size - sizeof header ||
      !header.payload_size)
    return false;
  struct anas_object object = {malloc(header.payload_size), header.payload_size, header.scratch_bytes,
                               (int64_t)header.items, ""};
  if (!object.data) return false;
  memcpy(object.plan, header.plan, sizeof object.plan);
  if (!read_exactly(fd, object.data, object.size) || object.plan[sizeof object.plan - 1] ||
      checksum(&object) != header.checksum) {
    free(object.data);
    return false;
  }
  *out_object = object;
  return true;
}

bool anas_cache_get(struct anas_cache *cache, const char *key, struct anas_object *out_object) {
  char *path = entry_path(cache, key);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  free(path);
  if (fd < 0) return false;
  bool hit = read_entry(fd, key, out_object);
  if (hit) futimens(fd, NULL); // may be refused (another user's cache): then the entry merely looks older
  close(fd);
  return hit;
}

// Like anas_file_write without waiting for the disk: an entry that a power failure damages is a miss.
static anas_status write_entry(const char *path, const void *data, size_t size) {
  char *temporary = anas_format("%s.XXXXXX", path);
  int fd = mkostemp(temporary, O_CLOEXEC);
  bool ok = fd >= 0;
  if (ok) {
    fchmod(fd, 0644);
    for (const char *from = data; ok && size;) {
      ssize_t n = write(fd, from, size);
      if (n < 0 && errno == EINTR) continue;
      ok = n > 0;
      from += ok ? n : 0;
      size -= ok ? (size_t)n : 0;
    }
    if (close(fd)) ok = false;
    if (ok && rename(temporary, path)) ok = false;
  }
  anas_status status = ANAS_OK;
  if (!ok) {
    status = anas_fail(ANAS_IO, "object cache: cannot write '%s': %s", path, strerror(errno));
    if (fd >= 0) unlink(temporary);
  }
  free(temporary);
  return status;
}

anas_status anas_cache_put(struct anas_cache *cache, const char *key, const struct anas_object *object) {
  struct header header = {.magic = MAGIC,
                          .version = VERSION,
                          .header_size = sizeof header,
                          .payload_size = object->size,
                          .scratch_bytes = object->scratch_bytes,
                          .items = (uint64_t)object->items,
                          .checksum = checksum(object)};
  memcpy(header.key, key, sizeof header.key);
  memcpy(header.plan, object->plan, sizeof header.plan);
  struct anas_strbuf file = {0};
  anas_strbuf_add(&file, (const char *)&header, sizeof header);
  anas_strbuf_add(&file, object->data, object->size);
  char *path = entry_path(cache, key);
  anas_status status = write_entry(path, file.data, file.size);
  free(path);
  anas_strbuf_deinit(&file);
  return status;
}

static int by_use(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  if (x->used.tv_sec != y->used.tv_sec) return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
  if (x->used.tv_nsec != y->used.tv_nsec) return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
  return strcmp(x->name, y->name);
}

// "<key>.anaso", or its form while being written: "<key>.anaso.XXXXXX".
static bool is_ours(const char *name, bool *out_temporary) {
  if (strspn(name, "0123456789abcdef") != 32 || strncmp(name + 32, SUFFIX, strlen(SUFFIX))) return false;
  const char *rest = name + 32 + strlen(SUFFIX);
  *out_temporary = *rest == '.';
  return !*rest || *rest == '.';
}

void anas_cache_trim(struct anas_cache *cache) {
  DIR *dir = opendir(cache->directory);
  if (!dir) return;
  struct entry *entries = NULL;
  size_t count = 0, capacity = 0;
  int64_t total = 0;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  for (struct dirent *item; (item = readdir(dir));) {
    bool temporary;
    struct stat info;
    if (!is_ours(item->d_name, &temporary) || fstatat(dirfd(dir), item->d_name, &info, AT_SYMLINK_NOFOLLOW)) continue;
    if (temporary) {
      if (now.tv_sec - info.st_mtim.tv_sec > STALE_SECONDS) unlinkat(dirfd(dir), item->d_name, 0);
      continue;
    }
    entries = anas_grow(entries, count, &capacity, sizeof *entries);
    entries[count++] = (struct entry){anas_strdup(item->d_name), info.st_size, info.st_mtim};
    total += info.st_size;
  }
  if (total > cache->limit) {
    qsort(entries, count, sizeof *entries, by_use);
    int64_t keep = cache->limit - cache->limit / 10;
    for (size_t i = 0; i < count && total > keep; i++)
      if (!unlinkat(dirfd(dir), entries[i].name, 0) || errno == ENOENT) total -= entries[i].bytes;
  }
  closedir(dir);
  for (size_t i = 0; i < count; i++)
    free(entries[i].name);
  free(entries);
}
