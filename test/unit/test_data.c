// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Data sets from files written here: layout, splits, truncated files; batches: normalisation, crops, flips, padding
// rows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka.h needs the four above.
#include <cmocka.h>

#include "runtime/data.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "test/unit/scratch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static char *folder;

static int make_folder(void **state) {
  (void)state;
  folder = scratch_create();
  return folder ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  return scratch_destroy(folder);
}

static void write_file(const char *name, const void *data, size_t size) {
  char *path = anas_format("%s/%s", folder, name);
  assert_int_equal(anas_file_write(path, data, size), ANAS_OK);
  free(path);
}

static void write_gzip(const char *name, const void *data, size_t size) {
  char *path = anas_format("%s/%s", folder, name);
  gzFile file = gzopen(path, "wb");
  assert_int_equal(gzwrite(file, data, (unsigned)size), size);
  gzclose(file);
  free(path);
}

// Pixel (channel, position) of record r, arbitrary but distinct enough to notice a wrong layout.
static uint8_t pixel(int r, int channel, int position) {
  return (uint8_t)(r * 31 + channel * 7 + position);
}

static void write_cifar(int records) {
  uint8_t *data = anas_alloc((size_t)records * 3073);
  for (int r = 0; r < records; r++) {
    data[r * 3073] = (uint8_t)(r % 10);
    for (int c = 0; c < 3; c++)
      for (int p = 0; p < 1024; p++)
        data[r * 3073 + 1 + c * 1024 + p] = pixel(r, c, p);
  }
  for (int b = 1; b <= 5; b++) {
    char *name = anas_format("data_batch_%d.bin", b);
    write_file(name, data, (size_t)records * 3073);
    free(name);
  }
  free(data);
}

static anas_status open_set(const char *name, const char *directory, int64_t validation, int64_t limit,
                            struct anas_dataset **out) {
  const struct anas_dataset_options options = {.directory = directory, .validation_count = validation, .limit = limit};
  return anas_dataset_open(name, &options, out);
}

static void test_cifar(void **state) {
  (void)state;
  write_cifar(4);
  struct anas_dataset *set;
  assert_int_equal(open_set("cifar10", folder, 6, 0, &set), ANAS_OK);
  assert_int_equal(set->train.count, 14);
  assert_int_equal(set->validation.count, 6);
  assert_int_equal(set->test.count, 0); // no test batch: allowed
  // Image 5 is record 1 of the second file; planes became interleaved channels.
  for (int c = 0; c < 3; c++)
    assert_int_equal(set->train.pixels[5 * 3072 + 100 * 3 + c], pixel(1, c, 100));
  assert_int_equal(set->train.labels[5], 1);
  assert_int_equal(set->validation.labels[0], 14 % 4);
  double sum = 0;
  for (int i = 0; i < 14 * 1024; i++)
    sum += set->train.pixels[i * 3 + 1];
  assert_true(fabs(set->mean[1] - sum / (14 * 1024) / 255) < 1e-6);
  anas_dataset_close(set);
  assert_int_equal(open_set("cifar10", folder, 6, 9, &set), ANAS_OK); // limit
  assert_int_equal(set->train.count, 9);
  assert_int_equal(set->validation.count, 6);
  anas_dataset_close(set);
  assert_int_equal(open_set("cifar10", folder, 20, 0, &set), ANAS_INVALID); // nothing left to train on
}

static void test_cifar_errors(void **state) {
  (void)state;
  write_cifar(2);
  struct anas_dataset *set = NULL;
  write_file("data_batch_3.bin", "short", 5);
  assert_int_equal(open_set("cifar10", folder, 1, 0, &set), ANAS_CORRUPT);
  assert_non_null(strstr(anas_error_message(), "data_batch_3.bin"));
  assert_non_null(strstr(anas_error_message(), "truncated"));
  write_cifar(2);
  uint8_t record[3073] = {10}; // label out of range
  write_file("data_batch_2.bin", record, sizeof record);
  assert_int_equal(open_set("cifar10", folder, 1, 0, &set), ANAS_CORRUPT);
  assert_int_equal(open_set("cifar10", "/nonexistent", 1, 0, &set), ANAS_NOT_FOUND);
  assert_non_null(strstr(anas_error_message(), "/nonexistent"));
  assert_int_equal(open_set("cifar10", NULL, 1, 0, &set), ANAS_INVALID);
  assert_int_equal(open_set("imagenet", folder, 1, 0, &set), ANAS_INVALID);
  assert_null(set);
}

static void write_idx(const char *prefix, int count, bool truncate) {
  uint8_t images[16 + 12 * 10] = {0, 0, 8, 3, 0, 0, 0, (uint8_t)count, 0, 0, 0, 4, 0, 0, 0, 3};
  uint8_t labels[8 + 10] = {0, 0, 8, 1, 0, 0, 0, (uint8_t)count};
  for (int i = 0; i < count; i++) {
    labels[8 + i] = (uint8_t)(i % 10);
    for (int p = 0; p < 12; p++)
      images[16 + i * 12 + p] = (uint8_t)(i * 20 + p);
  }
  char *name = anas_format("%s-images-idx3-ubyte.gz", prefix);
  write_gzip(name, images, (size_t)(16 + count * 12 - (truncate ? 5 : 0)));
  free(name);
  name = anas_format("%s-labels-idx1-ubyte", prefix); // plain files are read too
  write_file(name, labels, (size_t)(8 + count));
  free(name);
}

static void test_idx(void **state) {
  (void)state;
  write_idx("train", 10, false);
  write_idx("t10k", 3, false);
  struct anas_dataset *set;
  assert_int_equal(open_set("fashion-mnist", folder, 2, 0, &set), ANAS_OK);
  assert_int_equal(set->train.count, 8);
  assert_int_equal(set->test.count, 3);
  assert_int_equal(set->train.height, 4);
  assert_int_equal(set->train.width, 3);
  assert_int_equal(set->train.channels, 1);
  assert_int_equal(set->train.pixels[7 * 12 + 5], 145);
  assert_int_equal(set->validation.labels[1], 9);
  anas_dataset_close(set);
  write_idx("train", 10, true);
  assert_int_equal(open_set("fashion-mnist", folder, 2, 0, &set), ANAS_CORRUPT);
  assert_non_null(strstr(anas_error_message(), "truncated"));
}

static void test_batch(void **state) {
  (void)state;
  write_idx("train", 10, false);
  write_idx("t10k", 3, false);
  struct anas_dataset *set;
  assert_int_equal(open_set("fashion-mnist", folder, 2, 0, &set), ANAS_OK);
  uint32_t indices[2] = {6, 0};
  float image[3 * 12];
  int32_t label[3];
  assert_int_equal(anas_batch_fill(set, &set->train, indices, 2, 3, (struct anas_augment){0}, NULL, image, label),
                   ANAS_OK);
  for (int p = 0; p < 12; p++) {
    float expected = ((float)(120 + p) / 255.0f - set->mean[0]) / set->std[0];
    assert_true(fabsf(image[p] - expected) < 1e-6f);
    assert_true(image[24 + p] == 0.0f);
  }
  assert_int_equal(label[0], 6);
  assert_int_equal(label[1], 0);
  assert_int_equal(label[2], -1);
  // Augmented: every view is the image shifted by at most pad and possibly mirrored, black outside.
  struct anas_rng rng = anas_rng_make(3);
  int mirrored = 0, shifted = 0;
  for (int trial = 0; trial < 200; trial++) {
    assert_int_equal(
        anas_batch_fill(set, &set->train, indices, 1, 1, (struct anas_augment){true, 1}, &rng, image, label), ANAS_OK);
    int matches = 0;
    for (int mirror = 0; mirror < 2; mirror++)
      for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) {
          bool same = true;
          for (int y = 0; y < 4; y++)
            for (int x = 0; x < 3; x++) {
              int sy = y + dy, sx = (mirror ? 2 - x : x) + dx;
              int value = sy >= 0 && sy < 4 && sx >= 0 && sx < 3 ? 120 + sy * 3 + sx : 0;
              same &= fabsf(image[y * 3 + x] - ((float)value / 255.0f - set->mean[0]) / set->std[0]) < 1e-6f;
            }
          if (!same) continue;
          matches++;
          mirrored += mirror;
          shifted += dy || dx;
        }
    assert_int_equal(matches, 1);
  }
  assert_true(mirrored > 60 && mirrored < 140 && shifted > 150);
  anas_dataset_close(set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_cifar, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(test_cifar_errors, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(test_idx, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(test_batch, make_folder, remove_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
