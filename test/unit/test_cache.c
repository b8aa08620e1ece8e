// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The object cache: what goes in comes out, damage is a miss and heals, old entries leave first.
#include "passes/lower/cache.h"
#include "runtime/support/file.h"
#include "test/unit/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
  char *directory;
  struct anas_cache *cache;
};

static int setup(void **state) {
  struct fixture *fixture = anas_alloc(sizeof *fixture);
  fixture->directory = scratch_create();
  if (!fixture->directory || anas_cache_open(fixture->directory, 0, &fixture->cache) != ANAS_OK) return -1;
  *state = fixture;
  return 0;
}

static int teardown(void **state) {
  struct fixture *fixture = *state;
  anas_cache_close(fixture->cache);
  scratch_destroy(fixture->directory);
  free(fixture);
  return 0;
}

static void make_key(const char *text, char key[33]) {
  size_t size = strlen(text);
  anas_cache_key(&text, &size, 1, key);
}

static char *path_of(const struct fixture *fixture, const char *key) {
  return anas_format("%s/%s.anaso", fixture->directory, key);
}

static void put(struct anas_cache *cache, const char *key, size_t size, char fill) {
  struct anas_object object = {malloc(size), size, .scratch_bytes = 3 * size, .items = (int64_t)size + 7};
  memset(object.data, fill, size);
  assert_int_equal(anas_cache_put(cache, key, &object), ANAS_OK);
  free(object.data);
}

static bool holds(struct anas_cache *cache, const char *key, size_t size, char fill) {
  struct anas_object object;
  if (!anas_cache_get(cache, key, &object)) return false;
  bool equal = object.size == size && object.scratch_bytes == 3 * size && object.items == (int64_t)size + 7;
  for (size_t i = 0; equal && i < size; i++)
    equal = ((char *)object.data)[i] == fill;
  free(object.data);
  assert_true(equal); // a hit with other content would be worse than a miss
  return true;
}

static void test_round_trip(void **state) {
  struct fixture *fixture = *state;
  char key[33], other[33];
  make_key("a", key);
  make_key("b", other);
  assert_false(holds(fixture->cache, key, 1000, 'x'));
  put(fixture->cache, key, 1000, 'x');
  assert_true(holds(fixture->cache, key, 1000, 'x'));
  assert_false(holds(fixture->cache, other, 1000, 'x'));
}

static void test_key_parts_are_separate(void **state) {
  (void)state;
  const char *a[] = {"ab", "c"}, *b[] = {"a", "bc"};
  const size_t sizes_a[] = {2, 1}, sizes_b[] = {1, 2};
  char key_a[33], key_b[33], again[33];
  anas_cache_key(a, sizes_a, 2, key_a);
  anas_cache_key(b, sizes_b, 2, key_b);
  anas_cache_key(a, sizes_a, 2, again);
  assert_string_not_equal(key_a, key_b);
  assert_string_equal(key_a, again);
}

// Every single damaged byte and every truncation is a miss; writing again repairs it.
static void test_damage_is_a_miss(void **state) {
  struct fixture *fixture = *state;
  char key[33], *data;
  size_t size;
  make_key("a", key);
  put(fixture->cache, key, 40, 'x');
  char *path = path_of(fixture, key);
  assert_int_equal(anas_file_read(path, &data, &size), ANAS_OK);
  assert_int_equal(size, 200 + 40);
  for (size_t i = 0; i < size; i++) {
    data[i] ^= 0x10;
    assert_int_equal(anas_file_write(path, data, size), ANAS_OK);
    assert_false(holds(fixture->cache, key, 40, 'x'));
    data[i] ^= 0x10;
  }
  for (size_t length = 0; length < size; length++) {
    assert_int_equal(anas_file_write(path, data, length), ANAS_OK);
    assert_false(holds(fixture->cache, key, 40, 'x'));
  }
  char *longer = anas_format("%s", "");
  longer = anas_realloc(longer, size + 1);
  memcpy(longer, data, size);
  longer[size] = 'x';
  assert_int_equal(anas_file_write(path, longer, size + 1), ANAS_OK);
  assert_false(holds(fixture->cache, key, 40, 'x'));
  put(fixture->cache, key, 40, 'x');
  assert_true(holds(fixture->cache, key, 40, 'x'));
  free(longer);
  free(data);
  free(path);
}

static void test_file_under_a_wrong_name(void **state) {
  struct fixture *fixture = *state;
  char key[33], other[33];
  make_key("a", key);
  make_key("b", other);
  put(fixture->cache, key, 100, 'x');
  char *from = path_of(fixture, key), *to = path_of(fixture, other);
  assert_int_equal(rename(from, to), 0);
  assert_false(holds(fixture->cache, other, 100, 'x'));
  free(from);
  free(to);
}

struct writer {
  struct anas_cache *cache;
  const char *key;
  int misses;
};

static void *write_and_read(void *data) {
  struct writer *writer = data;
  char content[3000];
  memset(content, 'w', sizeof content);
  struct anas_object object = {.data = content, .size = sizeof content};
  for (int i = 0; i < 30; i++) {
    struct anas_object found;
    if (anas_cache_put(writer->cache, writer->key, &object) != ANAS_OK) writer->misses++;
    if (!anas_cache_get(writer->cache, writer->key, &found)) {
      writer->misses++;
      continue;
    }
    if (found.size != sizeof content || memcmp(found.data, content, sizeof content)) writer->misses++;
    free(found.data);
  }
  return NULL;
}

static void test_concurrent_writers(void **state) {
  struct fixture *fixture = *state;
  char key[33];
  make_key("a", key);
  struct writer writers[4];
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    writers[i] = (struct writer){fixture->cache, key, 0};
    assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, &writers[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(writers[i].misses, 0);
  }
}

static void set_age(const char *path, long seconds) {
  struct timespec times[2];
  clock_gettime(CLOCK_REALTIME, &times[0]);
  times[0].tv_sec -= seconds;
  times[1] = times[0];
  assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_trim_removes_least_recently_used(void **state) {
  struct fixture *fixture = *state;
  struct anas_cache *small;
  assert_int_equal(anas_cache_open(fixture->directory, 10000, &small), ANAS_OK);
  char key[8][33], *path[8];
  for (int i = 0; i < 8; i++) {
    char name[2] = {(char)('a' + i), 0};
    make_key(name, key[i]);
    put(small, key[i], 2000 - 72, 'x');
    path[i] = path_of(fixture, key[i]);
    set_age(path[i], 1000 - 100 * i);
  }
  assert_true(holds(small, key[0], 2000 - 72, 'x')); // the oldest becomes the most recent
  char *stranger = anas_format("%s/notes.txt", fixture->directory);
  char *abandoned = anas_format("%s.AbCdEf", path[0]), *writing = anas_format("%s.GhIjKl", path[0]);
  assert_int_equal(anas_file_write(stranger, "x", 1), ANAS_OK);
  assert_int_equal(anas_file_write(abandoned, "x", 1), ANAS_OK);
  assert_int_equal(anas_file_write(writing, "x", 1), ANAS_OK);
  set_age(stranger, 100000);
  set_age(abandoned, 100000);
  anas_cache_trim(small);
  static const bool kept[8] = {true, false, false, false, false, true, true, true}; // 8000 <= 9000 bytes
  for (int i = 0; i < 8; i++)
    assert_int_equal(holds(small, key[i], 2000 - 72, 'x'), kept[i]);
  assert_int_equal(access(stranger, F_OK), 0);
  assert_int_equal(access(writing, F_OK), 0);
  assert_int_not_equal(access(abandoned, F_OK), 0);
  anas_cache_trim(small); // within the limit now: nothing more goes
  assert_true(holds(small, key[5], 2000 - 72, 'x'));
  for (int i = 0; i < 8; i++)
    free(path[i]);
  free(stranger);
  free(abandoned);
  free(writing);
  anas_cache_close(small);
}

// Another process trims and writes while this one reads: every answer is the right object or a miss, and entries that
// are used stay.
static void test_trim_in_another_process(void **state) {
  struct fixture *fixture = *state;
  char key[16][33];
  for (int i = 0; i < 16; i++) {
    char name[2] = {(char)('a' + i), 0};
    make_key(name, key[i]);
    put(fixture->cache, key[i], 5000, (char)('a' + i));
  }
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (!pid) { // keeps at most 8 of the 16 entries, and puts back what it removed
    struct anas_cache *small;
    if (anas_cache_open(fixture->directory, 8 * 5300, &small) != ANAS_OK) _exit(1);
    for (int round = 0; round < 300; round++) {
      anas_cache_trim(small);
      for (int i = round % 2; i < 16; i += 2)
        put(small, key[i], 5000, (char)('a' + i));
    }
    anas_cache_trim(small);
    anas_cache_close(small);
    _exit(0);
  }
  int hits = 0, status = -1;
  while (waitpid(pid, &status, WNOHANG) == 0)
    for (int i = 0; i < 16; i++)
      hits += holds(fixture->cache, key[i], 5000, (char)('a' + i));
  assert_int_equal(status, 0);
  assert_true(hits > 0);
  int left = 0;
  for (int i = 0; i < 16; i++)
    left += holds(fixture->cache, key[i], 5000, (char)('a' + i));
  assert_in_range(left, 1, 8);
}

static void test_directory_errors(void **state) {
  struct fixture *fixture = *state;
  char *path = anas_format("%s/file", fixture->directory);
  assert_int_equal(anas_file_write(path, "x", 1), ANAS_OK);
  struct anas_cache *cache = NULL;
  assert_int_equal(anas_cache_open(path, 0, &cache), ANAS_IO);
  assert_non_null(strstr(anas_error_message(), path));
  assert_null(cache);
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
      cmocka_unit_test(test_key_parts_are_separate),
      cmocka_unit_test_setup_teardown(test_damage_is_a_miss, setup, teardown),
      cmocka_unit_test_setup_teardown(test_file_under_a_wrong_name, setup, teardown),
      cmocka_unit_test_setup_teardown(test_concurrent_writers, setup, teardown),
      cmocka_unit_test_setup_teardown(test_trim_removes_least_recently_used, setup, teardown),
      cmocka_unit_test_setup_teardown(test_trim_in_another_process, setup, teardown),
      cmocka_unit_test_setup_teardown(test_directory_errors, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
