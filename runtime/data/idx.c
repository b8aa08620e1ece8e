// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Fashion-MNIST in IDX files, gzip-compressed or plain (Xiao et al. 2017; the format is that of MNIST).
#include "runtime/data/dataset.h"

#include "runtime/support/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define IMAGE_MAGIC 0x00000803u // unsigned bytes, 3 dimensions
#define LABEL_MAGIC 0x00000801u // unsigned bytes, 1 dimension

static anas_status read_exactly(gzFile file, const char *path, void *data, size_t size, const char *what) {
  size_t done = 0;
  while (done < size) {
    size_t left = size - done;
    int n = gzread(file, (char *)data + done, left > (1u << 30) ? 1u << 30 : (unsigned)left);
    if (n <= 0) {
      int code;
      const char *reason = gzerror(file, &code);
      return anas_fail(ANAS_CORRUPT, "'%s' is truncated or damaged: wanted %zu bytes of %s, got %zu%s%s", path, size,
                       what, done, n < 0 ? ": " : "", n < 0 ? reason : "");
    }
    done += (size_t)n;
  }
  return ANAS_OK;
}

static uint32_t big_endian(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// Opens directory/name.gz, or directory/name.
static anas_status open_idx(const char *directory, const char *name, gzFile *out_file, char **out_path) {
  char *path = anas_format("%s/%s.gz", directory, name);
  gzFile file = gzopen(path, "rb");
  if (!file) {
    free(path);
    path = anas_format("%s/%s", directory, name);
    file = gzopen(path, "rb");
  }
  if (!file) {
    anas_status status = anas_fail(errno == ENOENT ? ANAS_NOT_FOUND : ANAS_IO, "cannot open '%s' or '%s.gz': %s", path,
                                   path, strerror(errno));
    free(path);
    return status;
  }
  *out_file = file;
  *out_path = path;
  return ANAS_OK;
}

static anas_status read_images(const char *directory, const char *name, struct anas_images *images) {
  gzFile file;
  char *path;
  ANAS_RETURN_IF_ERROR(open_idx(directory, name, &file, &path));
  uint8_t header[16];
  anas_status status = read_exactly(file, path, header, sizeof header, "header");
  if (status == ANAS_OK && big_endian(header) != IMAGE_MAGIC)
    status = anas_fail(ANAS_CORRUPT, "'%s' is not an IDX image file: magic number 0x%08x instead of 0x%08x", path,
                       big_endian(header), IMAGE_MAGIC);
  uint32_t count = big_endian(header + 4), height = big_endian(header + 8), width = big_endian(header + 12);
  if (status == ANAS_OK && (!count || !height || !width || height > 4096 || width > 4096 || count > 100000000))
    status = anas_fail(ANAS_CORRUPT, "'%s' claims %u images of %ux%u pixels", path, count, height, width);
  if (status == ANAS_OK) status = anas_images_alloc(images, count, height, width, 1);
  if (status == ANAS_OK) status = read_exactly(file, path, images->pixels, (size_t)count * height * width, "pixels");
  gzclose(file);
  free(path);
  return status;
}

static anas_status read_labels(const char *directory, const char *name, struct anas_images *images) {
  gzFile file;
  char *path;
  ANAS_RETURN_IF_ERROR(open_idx(directory, name, &file, &path));
  uint8_t header[8], *labels = NULL;
  anas_status status = read_exactly(file, path, header, sizeof header, "header");
  if (status == ANAS_OK && big_endian(header) != LABEL_MAGIC)
    status = anas_fail(ANAS_CORRUPT, "'%s' is not an IDX label file: magic number 0x%08x instead of 0x%08x", path,
                       big_endian(header), LABEL_MAGIC);
  if (status == ANAS_OK && big_endian(header + 4) != images->count)
    status = anas_fail(ANAS_CORRUPT, "'%s' has %u labels for %lld images", path, big_endian(header + 4),
                       (long long)images->count);
  if (status == ANAS_OK) {
    labels = anas_alloc((size_t)images->count);
    status = read_exactly(file, path, labels, (size_t)images->count, "labels");
  }
  for (int64_t i = 0; status == ANAS_OK && i < images->count; i++)
    images->labels[i] = labels[i];
  free(labels);
  gzclose(file);
  free(path);
  return status;
}

static anas_status read_split(const char *directory, const char *prefix, struct anas_images *images) {
  char *name = anas_format("%s-images-idx3-ubyte", prefix);
  anas_status status = read_images(directory, name, images);
  free(name);
  ANAS_RETURN_IF_ERROR(status);
  name = anas_format("%s-labels-idx1-ubyte", prefix);
  status = read_labels(directory, name, images);
  free(name);
  return status;
}

static anas_status read_fashion_mnist(const char *directory, const struct anas_wanted *wanted, struct anas_images *all,
                                      struct anas_images *test) {
  (void)wanted; // one compressed stream
  ANAS_RETURN_IF_ERROR(read_split(directory, "train", all));
  return read_split(directory, "t10k", test);
}

const struct anas_dataset_format anas_format_fashion_mnist = {
    .name = "fashion-mnist",
    .default_directory = "/usr/share/datasets/fashion-mnist",
    .default_validation = 5000,
    .classes = 10,
    .flip = true,
    .read = read_fashion_mnist,
};
