// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Support library: status messages, buffers, arenas, random numbers, files, command-line numbers.
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
// cmocka.h needs the four above.
#include <cmocka.h>

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/parse.h"
#include "runtime/support/rng.h"
#include "runtime/support/strbuf.h"
#include "test/unit/scratch.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_status(void **state) {
  (void)state;
  assert_int_equal(anas_fail(ANAS_INVALID, "op %s", "conv"), ANAS_INVALID);
  assert_string_equal(anas_error_message(), "op conv");
  // The message itself may be an argument.
  anas_fail(ANAS_IO, "again: %s", anas_error_message());
  assert_string_equal(anas_error_message(), "again: op conv");
  assert_int_equal(anas_fail_context(ANAS_IO, "file %d: ", 3), ANAS_IO);
  assert_string_equal(anas_error_message(), "file 3: again: op conv");
  assert_string_equal(anas_status_name(ANAS_DIVERGED), "diverged");
}

static void test_strbuf(void **state) {
  (void)state;
  struct anas_strbuf buf = {0};
  assert_string_equal(anas_strbuf_text(&buf), "");
  for (int i = 0; i < 1000; i++)
    anas_strbuf_addf(&buf, "%04d,", i);
  assert_int_equal(buf.size, 5000);
  assert_memory_equal(buf.data + 5 * 999, "0999,", 6);
  char *text = anas_strbuf_detach(&buf);
  assert_int_equal(strlen(text), 5000);
  assert_int_equal(buf.size, 0);
  free(text);
  char big[400];
  memset(big, 'x', sizeof big - 1);
  big[sizeof big - 1] = '\0';
  anas_strbuf_addf(&buf, "<%s>", big); // longer than the first guess
  assert_int_equal(buf.size, sizeof big - 1 + 2);
  anas_strbuf_clear(&buf);
  static const long long numbers[] = {0, 7, -1, 1234567890123, LLONG_MAX, LLONG_MIN};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    char expected[32];
    snprintf(expected, sizeof expected, "%lld", numbers[i]);
    anas_strbuf_clear(&buf);
    anas_strbuf_addi(&buf, numbers[i]);
    assert_string_equal(anas_strbuf_text(&buf), expected);
  }
  anas_strbuf_deinit(&buf);
}

static void test_arena(void **state) {
  (void)state;
  struct anas_arena arena = {0};
  char *first = anas_arena_strdup(&arena, "first");
  for (int i = 0; i < 2000; i++) {
    unsigned char *block = anas_arena_alloc(&arena, (size_t)i % 97 + 1);
    assert_int_equal((uintptr_t)block % 16, 0);
    assert_int_equal(block[0], 0);
    block[0] = 0xff;
  }
  memset(anas_arena_alloc(&arena, 100000), 1, 100000); // larger than a chunk
  assert_string_equal(first, "first");
  assert_string_equal(anas_arena_format(&arena, "%s/%d", "x", 7), "x/7");
  anas_arena_deinit(&arena);
}

static void test_rng(void **state) {
  (void)state;
  struct anas_rng a = anas_rng_make(1), b = anas_rng_make(1), c = anas_rng_make(2);
  assert_true(anas_rng_u64(&a) == anas_rng_u64(&b));
  assert_true(anas_rng_u64(&a) != anas_rng_u64(&c));
  // A split stream does not depend on how far the parent has advanced.
  struct anas_rng left = anas_rng_split(&a, 5), right = anas_rng_split(&b, 5);
  anas_rng_u64(&a);
  struct anas_rng later = anas_rng_split(&a, 5);
  uint64_t value = anas_rng_u64(&left);
  assert_true(value == anas_rng_u64(&right) && value == anas_rng_u64(&later));
  // Moments of a large sample; bounds are six standard errors wide.
  double sum = 0, squares = 0, uniform = 0;
  int64_t counts[7] = {0};
  enum { SAMPLES = 200000 };
  for (int i = 0; i < SAMPLES; i++) {
    double z = anas_rng_normal(&c);
    sum += z;
    squares += z * z;
    uniform += anas_rng_double(&c);
    counts[anas_rng_below(&c, 7)]++;
  }
  assert_true(fabs(sum / SAMPLES) < 6 / sqrt(SAMPLES));
  assert_true(fabs(squares / SAMPLES - 1) < 6 * sqrt(2.0 / SAMPLES));
  assert_true(fabs(uniform / SAMPLES - 0.5) < 6 * sqrt(1.0 / 12 / SAMPLES));
  for (int i = 0; i < 7; i++)
    assert_true(fabs((double)counts[i] - SAMPLES / 7.0) < 6 * sqrt(SAMPLES / 7.0));
  uint32_t order[100];
  for (uint32_t i = 0; i < 100; i++)
    order[i] = i;
  anas_rng_shuffle(&c, order, 100);
  uint64_t seen[2] = {0};
  int moved = 0;
  for (uint32_t i = 0; i < 100; i++) {
    seen[order[i] / 64] |= (uint64_t)1 << order[i] % 64;
    moved += order[i] != i;
  }
  assert_true(seen[0] == UINT64_MAX && seen[1] == ((uint64_t)1 << 36) - 1 && moved > 80);
}

static void test_files(void **state) {
  (void)state;
  char *folder = scratch_create();
  assert_non_null(folder);
  char *deep = anas_format("%s/a/b", folder), *path = anas_format("%s/file", deep), *data;
  size_t size;
  assert_int_equal(anas_make_directories(deep), ANAS_OK);
  assert_int_equal(anas_make_directories(deep), ANAS_OK);
  assert_int_equal(anas_file_read(path, &data, &size), ANAS_NOT_FOUND);
  assert_non_null(strstr(anas_error_message(), path));
  assert_int_equal(anas_file_write(path, "one\0two", 7), ANAS_OK);
  assert_int_equal(anas_file_read(path, &data, &size), ANAS_OK);
  assert_int_equal(size, 7);
  assert_memory_equal(data, "one\0two", 8);
  free(data);
  char *below = anas_format("%s/x", path); // a file is not a directory
  assert_int_equal(anas_make_directories(below), ANAS_IO);
  assert_int_equal(anas_file_write(below, "x", 1), ANAS_IO);
  free(below);
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0); // what is no file stays what it is
  int reader = open(path, O_RDONLY | O_NONBLOCK);
  char got[8] = "";
  struct stat info;
  assert_int_equal(anas_file_write(path, "piped", 5), ANAS_OK);
  assert_int_equal(read(reader, got, sizeof got - 1), 5);
  assert_string_equal(got, "piped");
  assert_int_equal(stat(path, &info), 0);
  assert_true(S_ISFIFO(info.st_mode));
  close(reader);
  unlink(path);
  rmdir(deep);
  *strrchr(deep, '/') = '\0';
  assert_int_equal(rmdir(deep), 0); // nothing temporary is left behind
  assert_int_equal(scratch_destroy(folder), 0);
  free(path);
  free(deep);
}

static void test_parse(void **state) {
  (void)state;
  int64_t i = -1;
  double d = -1;
  uint64_t bytes;
  assert_int_equal(anas_parse_int("--n", "12", 1, 20, &i), ANAS_OK);
  assert_int_equal(i, 12);
  const char *const bad[] = {"", "x", "12x", "0", "21", "99999999999999999999"};
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
    assert_int_equal(anas_parse_int("--n", bad[k], 1, 20, &i), ANAS_INVALID);
  assert_int_equal(i, 12);
  assert_non_null(strstr(anas_error_message(), "--n"));
  assert_int_equal(anas_parse_double("--x", "nan", 0, 1, &d), ANAS_INVALID);
  assert_int_equal(anas_parse_double("--x", "0.25", 0, 1, &d), ANAS_OK);
  assert_true(d == 0.25);
  assert_int_equal(anas_parse_duration("--time", "30m", &d), ANAS_OK);
  assert_true(d == 1800);
  assert_int_equal(anas_parse_duration("--time", "30mm", &d), ANAS_INVALID);
  assert_int_equal(anas_parse_bytes("--mem", "1.5G", &bytes), ANAS_OK);
  assert_true(bytes == 1610612736u);
  assert_int_equal(anas_parse_bytes("--mem", "-1G", &bytes), ANAS_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_status), cmocka_unit_test(test_strbuf), cmocka_unit_test(test_arena),
      cmocka_unit_test(test_rng),    cmocka_unit_test(test_files),  cmocka_unit_test(test_parse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
