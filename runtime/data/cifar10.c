// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// CIFAR-10, binary version (Krizhevsky 2009): data_batch_1.bin .. data_batch_5.bin and, where present, test_batch.bin.
// A record is one label byte and 3 planes of 32x32 bytes (red, green, blue).
#include "runtime/data/dataset.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIDE 32
#define PLANE (SIDE * SIDE)
#define RECORD (1 + 3 * PLANE)

struct file_bytes {
  char *data;
  size_t size;
};

static anas_status read_records(const char *directory, const char *name, struct file_bytes *out) {
  char *path = anas_format("%s/%s", directory, name);
  anas_status status = anas_file_read(path, &out->data, &out->size);
  if (status == ANAS_OK && (out->size == 0 || out->size % RECORD != 0))
    status = anas_fail(ANAS_CORRUPT,
                       "'%s' is truncated: %zu bytes are not a whole number of %d-byte CIFAR-10 records (%zu are left "
                       "over)",
                       path, out->size, RECORD, out->size % RECORD);
  free(path);
  return status;
}

static void unpack(const struct file_bytes *file, int64_t first, const struct anas_wanted *wanted, int64_t total,
                   struct anas_images *images) {
  const uint8_t *record = (const uint8_t *)file->data;
  for (size_t r = 0; r < file->size / RECORD; r++, record += RECORD) {
    int64_t number = first + (int64_t)r;
    images->labels[number] = record[0];
    if (number >= wanted->first && number < total - wanted->last) continue;
    uint8_t *pixels = images->pixels + (size_t)number * 3 * PLANE;
    for (int c = 0; c < 3; c++)
      for (int i = 0; i < PLANE; i++)
        pixels[i * 3 + c] = record[1 + c * PLANE + i];
  }
}

// 0 if the file is not there; reading it will say so.
static int64_t count_records(const char *directory, const char *name) {
  struct stat info;
  char *path = anas_format("%s/%s", directory, name);
  int64_t count = stat(path, &info) ? 0 : info.st_size / RECORD;
  free(path);
  return count;
}

// One file at a time, so that no more than one is in memory beside the images.
static anas_status read_files(const char *directory, const char *const *names, int count,
                              const struct anas_wanted *wanted, struct anas_images *out) {
  int64_t total = 0, first = 0;
  for (int i = 0; i < count; i++)
    total += count_records(directory, names[i]);
  struct anas_images images = {0};
  ANAS_RETURN_IF_ERROR(anas_images_alloc(&images, total, SIDE, SIDE, 3));
  anas_status status = ANAS_OK;
  for (int i = 0; i < count && status == ANAS_OK; i++) {
    struct file_bytes file = {0};
    status = read_records(directory, names[i], &file);
    int64_t records = (int64_t)(file.size / RECORD);
    if (status == ANAS_OK && records > total - first) // it has grown since it was measured
      status = anas_fail(ANAS_CORRUPT, "'%s/%s' changed while it was read", directory, names[i]);
    if (status == ANAS_OK) unpack(&file, first, wanted, total, &images);
    first += records;
    free(file.data);
  }
  if (status == ANAS_OK && first != total)
    status = anas_fail(ANAS_CORRUPT, "the files in '%s' changed while they were read", directory);
  if (status == ANAS_OK)
    *out = images;
  else
    anas_images_release(&images);
  return status;
}

static anas_status read_cifar10(const char *directory, const struct anas_wanted *wanted, struct anas_images *all,
                                struct anas_images *test) {
  static const struct anas_wanted everything = {.first = INT64_MAX};
  static const char *const training[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                                         "data_batch_5.bin"};
  static const char *const testing[] = {"test_batch.bin"};
  ANAS_RETURN_IF_ERROR(read_files(directory, training, 5, wanted, all));
  char *path = anas_format("%s/%s", directory, testing[0]);
  bool has_test = access(path, F_OK) == 0;
  free(path);
  return has_test ? read_files(directory, testing, 1, &everything, test) : ANAS_OK;
}

const struct anas_dataset_format anas_format_cifar10 = {
    .name = "cifar10",
    .default_validation = 10000,
    .classes = 10,
    .flip = true,
    .read = read_cifar10,
};
