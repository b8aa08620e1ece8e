// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opening a data set: read the files, split off validation images, measure mean and deviation.
#include "runtime/data/dataset.h"

#include "runtime/support/memory.h"
#include "runtime/support/nearest.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct anas_dataset_format *const formats[] = {&anas_format_fashion_mnist, &anas_format_cifar10,
                                                            &anas_format_imagefolder};

static size_t image_bytes(const struct anas_images *images) {
  return (size_t)(images->height * images->width * images->channels);
}

anas_status anas_images_alloc(struct anas_images *images, int64_t count, int64_t height, int64_t width,
                              int64_t channels) {
  size_t bytes = (size_t)count * (size_t)(height * width * channels);
  uint8_t *pixels = malloc(bytes ? bytes : 1);
  int32_t *labels = malloc(count ? (size_t)count * sizeof *labels : 1);
  if (!pixels || !labels) {
    free(pixels);
    free(labels);
    return anas_fail(ANAS_NO_MEMORY, "no memory for %lld images (%zu bytes)", (long long)count, bytes);
  }
  *images = (struct anas_images){pixels, NULL, labels, count, height, width, channels};
  return ANAS_OK;
}

anas_status anas_images_resize(struct anas_images *images, int64_t count) {
  size_t bytes = (size_t)count * image_bytes(images);
  uint8_t *pixels = realloc(images->pixels, bytes ? bytes : 1);
  if (pixels) images->pixels = pixels;
  int32_t *labels = realloc(images->labels, count ? (size_t)count * sizeof *labels : 1);
  if (labels) images->labels = labels;
  if (!pixels || !labels)
    return anas_fail(ANAS_NO_MEMORY, "no memory for %lld images (%zu bytes)", (long long)count, bytes);
  images->count = count;
  return ANAS_OK;
}

void anas_images_release(struct anas_images *images) {
  for (int64_t i = 0; images->files && i < images->count; i++)
    free(images->files[i]);
  free(images->files);
  free(images->pixels);
  free(images->labels);
  *images = (struct anas_images){0};
}

static anas_status copy_range(const struct anas_images *from, int64_t begin, int64_t count, struct anas_images *to) {
  ANAS_RETURN_IF_ERROR(anas_images_alloc(to, count, from->height, from->width, from->channels));
  memcpy(to->pixels, from->pixels + (size_t)begin * image_bytes(from), (size_t)count * image_bytes(from));
  memcpy(to->labels, from->labels + begin, (size_t)count * sizeof *to->labels);
  return ANAS_OK;
}

static void measure(struct anas_dataset *dataset) {
  const struct anas_images *train = &dataset->train;
  int64_t channels = train->channels, positions = train->count * train->height * train->width;
  for (int64_t c = 0; c < channels; c++) {
    // Exact sums: 255^2 * positions stays far below 2^63.
    int64_t sum = 0, squares = 0;
    for (int64_t i = 0; i < positions; i++) {
      int64_t value = train->pixels[i * channels + c];
      sum += value;
      squares += value * value;
    }
    double mean = (double)sum / (double)positions;
    double variance = (double)squares / (double)positions - mean * mean;
    dataset->mean[c] = (float)(mean / 255.0);
    dataset->std[c] = variance > 1e-6 ? (float)(sqrt(variance) / 255.0) : 1.0f;
  }
}

static anas_status check_labels(const struct anas_images *images, int64_t classes, const char *split) {
  for (int64_t i = 0; i < images->count; i++)
    if (images->labels[i] < 0 || images->labels[i] >= classes)
      return anas_fail(ANAS_CORRUPT, "%s image %lld has label %d, outside 0..%lld", split, (long long)i,
                       images->labels[i], (long long)classes - 1);
  return ANAS_OK;
}

// The training images stay where they are.
static anas_status split(struct anas_images *all, int64_t validation_count, int64_t limit,
                         struct anas_dataset *dataset) {
  int64_t train_count = all->count - validation_count;
  if (validation_count < 0 || train_count < 1)
    return anas_fail(ANAS_INVALID, "cannot keep %lld of %lld training images for validation",
                     (long long)validation_count, (long long)all->count);
  ANAS_RETURN_IF_ERROR(check_labels(all, dataset->classes, "training"));
  ANAS_RETURN_IF_ERROR(copy_range(all, train_count, validation_count, &dataset->validation));
  if (limit > 0 && limit < train_count) train_count = limit;
  ANAS_RETURN_IF_ERROR(anas_images_resize(all, train_count));
  dataset->train = *all;
  *all = (struct anas_images){0};
  ANAS_RETURN_IF_ERROR(check_labels(&dataset->test, dataset->classes, "test"));
  measure(dataset);
  return ANAS_OK;
}

static const struct anas_dataset_format *find_format(const char *name) {
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
    if (!strcmp(formats[i]->name, name)) return formats[i];
  return NULL;
}

// Reads whole files and splits them.
static anas_status open_files(const struct anas_dataset_format *format, const char *folder,
                              const struct anas_dataset_options *options, struct anas_dataset *dataset) {
  struct anas_images all = {0};
  int64_t keep = options->validation_count < 0 ? format->default_validation : options->validation_count;
  dataset->classes = format->classes;
  struct anas_wanted wanted = {.first = options->limit > 0 ? options->limit : INT64_MAX, .last = keep};
  anas_status status = format->read(folder, &wanted, &all, &dataset->test);
  if (status == ANAS_OK) status = split(&all, keep, options->limit, dataset);
  anas_images_release(&all);
  return status;
}

anas_status anas_dataset_open(const char *name, const struct anas_dataset_options *options, struct anas_dataset **out) {
  const struct anas_dataset_format *format = find_format(name);
  struct anas_nearest nearest = anas_nearest_make(name, strlen(name));
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
    anas_nearest_offer(&nearest, formats[i]->name);
  char hint[128];
  if (!format)
    return anas_fail(ANAS_INVALID, "unknown data set '%s'; known are fashion-mnist, cifar10 and imagefolder%s", name,
                     anas_nearest_hint(&nearest, hint));
  const char *folder = options->directory ? options->directory : format->default_directory;
  if (!folder)
    return anas_fail(ANAS_INVALID, "data set '%s' has no default directory; give its folder with --data", name);
  struct stat info;
  if (stat(folder, &info) || !S_ISDIR(info.st_mode))
    return anas_fail(ANAS_NOT_FOUND, "data directory '%s' for '%s' %s%s", folder, name,
                     errno == ENOENT ? "does not exist" : "is not a directory",
                     options->directory ? "" : "; install the package dataset-fashion-mnist or give --data");
  struct anas_dataset *dataset = anas_alloc(sizeof *dataset);
  dataset->name = format->name;
  dataset->flip = format->flip;
  anas_status status =
      format->open ? format->open(folder, options, dataset) : open_files(format, folder, options, dataset);
  if (status != ANAS_OK) {
    anas_dataset_close(dataset);
    return status;
  }
  *out = dataset;
  return ANAS_OK;
}

static size_t images_bytes(const struct anas_images *images) {
  return (size_t)images->count * ((images->pixels ? image_bytes(images) : 0) + sizeof *images->labels);
}

size_t anas_dataset_bytes(const struct anas_dataset *dataset) {
  return images_bytes(&dataset->train) + images_bytes(&dataset->validation) + images_bytes(&dataset->test);
}

void anas_dataset_close(struct anas_dataset *dataset) {
  if (!dataset) return;
  anas_images_release(&dataset->train);
  anas_images_release(&dataset->validation);
  anas_images_release(&dataset->test);
  free(dataset);
}
