// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Folders of JPEG files, one a class: DIR/<class>/*, or DIR/train/<class>/* with val/ and perhaps test/ beside it. Only
// the names are kept; pictures are decoded when a batch needs them.
#include "runtime/data/dataset.h"
#include "runtime/data/jpeg.h"
#include "runtime/support/memory.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_SIDE 224
#define MAX_SIDE 8192
#define MAX_CLASSES 100000
#define SAMPLE 256          // training pictures that mean and deviation are measured on
#define VALIDATION_SHARE 10 // one of so many, where there is no val folder
#define MAX_IMAGES UINT32_MAX

// ---- names

struct names {
  char **name;
  size_t count, capacity;
};

static void names_deinit(struct names *names) {
  for (size_t i = 0; i < names->count; i++)
    free(names->name[i]);
  free(names->name);
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_folder(const char *path) {
  struct stat info;
  return !stat(path, &info) && S_ISDIR(info.st_mode);
}

// Entries of a folder that are folders, or that are not, in the order of their bytes; hidden ones are left out.
static anas_status list_folder(const char *path, bool folders, struct names *out) {
  DIR *folder = opendir(path);
  if (!folder) return anas_fail(ANAS_IO, "cannot open folder '%s': %s", path, strerror(errno));
  for (struct dirent *entry; (entry = readdir(folder));) {
    if (entry->d_name[0] == '.') continue;
    bool known = entry->d_type == DT_DIR || entry->d_type == DT_REG;
    char *whole = known ? NULL : anas_format("%s/%s", path, entry->d_name);
    bool is = known ? entry->d_type == DT_DIR : is_folder(whole);
    free(whole);
    if (is != folders) continue;
    out->name = anas_grow(out->name, out->count, &out->capacity, sizeof *out->name);
    out->name[out->count++] = anas_strdup(entry->d_name);
  }
  closedir(folder);
  if (out->count) qsort(out->name, out->count, sizeof *out->name, by_name);
  return ANAS_OK;
}

// ---- a split

struct split {
  char **files;
  int32_t *labels;
  size_t count, capacity_files, capacity_labels;
};

static void split_deinit(struct split *split) {
  for (size_t i = 0; i < split->count; i++)
    free(split->files[i]);
  free(split->files);
  free(split->labels);
}

static anas_status add_class(const char *folder, int32_t label, struct split *split) {
  struct names names = {0};
  anas_status status = list_folder(folder, false, &names);
  if (status == ANAS_OK && !names.count) status = anas_fail(ANAS_INVALID, "class folder '%s' holds no files", folder);
  for (size_t i = 0; status == ANAS_OK && i < names.count; i++) {
    if (split->count == MAX_IMAGES) {
      status = anas_fail(ANAS_UNSUPPORTED, "more than %u pictures", MAX_IMAGES);
      break;
    }
    split->files = anas_grow(split->files, split->count, &split->capacity_files, sizeof *split->files);
    split->labels = anas_grow(split->labels, split->count, &split->capacity_labels, sizeof *split->labels);
    split->files[split->count] = anas_format("%s/%s", folder, names.name[i]);
    split->labels[split->count] = label;
    status = anas_jpeg_check(split->files[split->count++]);
  }
  names_deinit(&names);
  return status;
}

// Every class folder of root must be one of classes. needed: an error if there are no pictures.
static anas_status read_split(const char *root, const struct names *classes, bool needed, struct split *split) {
  struct names found = {0};
  anas_status status = list_folder(root, true, &found);
  size_t position = 0;
  for (size_t i = 0; status == ANAS_OK && i < found.count; i++) {
    while (position < classes->count && strcmp(classes->name[position], found.name[i]) < 0)
      position++;
    char *folder = anas_format("%s/%s", root, found.name[i]);
    status = position < classes->count && !strcmp(classes->name[position], found.name[i])
                 ? add_class(folder, (int32_t)position, split)
                 : anas_fail(ANAS_INVALID, "'%s' is no class of the training pictures", folder);
    free(folder);
  }
  if (status == ANAS_OK && !split->count && needed)
    status = anas_fail(ANAS_INVALID, "'%s' has no class folders with JPEG files", root);
  names_deinit(&found);
  return status;
}

static void shuffle(struct split *split, struct anas_rng rng) {
  uint32_t *order = anas_calloc(split->count, sizeof *order);
  char **files = anas_calloc(split->count, sizeof *files);
  int32_t *labels = anas_calloc(split->count, sizeof *labels);
  for (size_t i = 0; i < split->count; i++)
    order[i] = (uint32_t)i;
  anas_rng_shuffle(&rng, order, split->count);
  for (size_t i = 0; i < split->count; i++) {
    files[i] = split->files[order[i]];
    labels[i] = split->labels[order[i]];
  }
  free(order);
  free(split->files);
  free(split->labels);
  split->files = files;
  split->labels = labels;
}

// Pictures [begin, begin + count) of split become images; the split keeps the others.
static void take(struct split *split, size_t begin, size_t count, int64_t height, int64_t width,
                 struct anas_images *images) {
  *images = (struct anas_images){.count = (int64_t)count, .height = height, .width = width, .channels = 3};
  images->files = anas_calloc(count + 1, sizeof *images->files);
  images->labels = anas_calloc(count + 1, sizeof *images->labels);
  for (size_t i = 0; i < count; i++) {
    images->files[i] = split->files[begin + i];
    images->labels[i] = split->labels[begin + i];
    split->files[begin + i] = NULL;
  }
}

// ---- mean and deviation

static anas_status measure(struct anas_dataset *dataset) {
  const struct anas_images *train = &dataset->train;
  int64_t step = (train->count + SAMPLE - 1) / SAMPLE, count = 0;
  size_t pixels = (size_t)(train->height * train->width);
  uint8_t *picture = anas_alloc(pixels * 3);
  int64_t sum[3] = {0}, squares[3] = {0};
  anas_status status = ANAS_OK;
  for (int64_t i = 0; status == ANAS_OK && i < train->count; i += step, count++) {
    const struct anas_crop centre = {0};
    status = anas_jpeg_read(train->files[i], &centre, train->height, train->width, picture);
    for (size_t p = 0; status == ANAS_OK && p < 3 * pixels; p++) {
      sum[p % 3] += picture[p];
      squares[p % 3] += picture[p] * picture[p];
    }
  }
  free(picture);
  for (int c = 0; status == ANAS_OK && c < 3; c++) {
    double total = (double)count * (double)pixels, mean = (double)sum[c] / total;
    double variance = (double)squares[c] / total - mean * mean;
    dataset->mean[c] = (float)(mean / 255.0);
    dataset->std[c] = variance > 1e-6 ? (float)(sqrt(variance) / 255.0) : 1.0f;
  }
  return status;
}

// ---- opening

static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// Fills train, validation and test from the split folders, or from one folder by drawing.
static anas_status divide(const struct anas_dataset_options *options, struct split *train, struct split *validation,
                          struct split *test, struct anas_dataset *dataset) {
  int64_t height = options->height ? options->height : DEFAULT_SIDE;
  int64_t width = options->width ? options->width : DEFAULT_SIDE;
  if (height > MAX_SIDE || width > MAX_SIDE)
    return anas_fail(ANAS_INVALID, "pictures of %lldx%lld pixels: more than %d on a side is not supported",
                     (long long)height, (long long)width, MAX_SIDE);
  struct anas_rng rng = anas_rng_make(options->seed);
  shuffle(train, anas_rng_split_name(&rng, "train")); // a limit then keeps every class
  shuffle(validation, anas_rng_split_name(&rng, "validation"));
  int64_t keep = options->validation_count, count = (int64_t)train->count;
  if (validation->count) {
    int64_t there = (int64_t)validation->count;
    take(validation, 0, (size_t)(keep < 0 ? there : smaller(keep, there)), height, width, &dataset->validation);
  } else {
    if (keep < 0) keep = count / VALIDATION_SHARE;
    if (keep >= count)
      return anas_fail(ANAS_INVALID, "cannot keep %lld of %lld training images for validation", (long long)keep,
                       (long long)count);
    count -= keep;
    take(train, (size_t)count, (size_t)keep, height, width, &dataset->validation);
  }
  if (options->limit > 0) count = smaller(count, options->limit);
  take(train, 0, (size_t)count, height, width, &dataset->train);
  take(test, 0, test->count, height, width, &dataset->test);
  return measure(dataset);
}

// "DIR/val" if it is there, else null.
static char *sub_folder(const char *directory, const char *name) {
  char *path = anas_format("%s/%s", directory, name);
  if (is_folder(path)) return path;
  free(path);
  return NULL;
}

static anas_status open_folders(const char *directory, const struct anas_dataset_options *options,
                                struct anas_dataset *dataset) {
  char *train_folder = sub_folder(directory, "train");
  char *val_folder = train_folder ? sub_folder(directory, "val") : NULL;
  char *test_folder = train_folder ? sub_folder(directory, "test") : NULL;
  const char *root = train_folder ? train_folder : directory;
  struct names classes = {0};
  struct split train = {0}, validation = {0}, test = {0};
  anas_status status = list_folder(root, true, &classes);
  if (status == ANAS_OK && (classes.count < 2 || classes.count > MAX_CLASSES))
    status = anas_fail(ANAS_INVALID, "'%s' holds %zu folders; a data set needs one for each of 2 to %d classes", root,
                       classes.count, MAX_CLASSES);
  dataset->classes = (int64_t)classes.count;
  if (status == ANAS_OK) status = read_split(root, &classes, true, &train);
  if (status == ANAS_OK && val_folder) status = read_split(val_folder, &classes, true, &validation);
  if (status == ANAS_OK && test_folder) status = read_split(test_folder, &classes, false, &test);
  if (status == ANAS_OK) status = divide(options, &train, &validation, &test, dataset);
  split_deinit(&train);
  split_deinit(&validation);
  split_deinit(&test);
  names_deinit(&classes);
  free(train_folder);
  free(val_folder);
  free(test_folder);
  return status;
}

const struct anas_dataset_format anas_format_imagefolder = {
    .name = "imagefolder",
    .flip = true,
    .open = open_folders,
};
