// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a data set file implements: one entry of the table in dataset.c.
#ifndef ANAS_RUNTIME_DATA_DATASET_H
#define ANAS_RUNTIME_DATA_DATASET_H

#include "runtime/data.h"

struct anas_wanted { // the first `first` training images and the last `last`
  int64_t first, last;
};

struct anas_dataset_format {
  const char *name;
  const char *default_directory; // null: --data is required
  int64_t default_validation;    // images of the training files kept for validation
  int64_t classes;
  bool flip;
  // Fills all (every training image, in file order) and test (count 0 if the files are not there). Pixels of images
  // that are not wanted may be left out, so that they take no memory; labels may not. Errors name the file.
  anas_status (*read)(const char *directory, const struct anas_wanted *wanted, struct anas_images *all,
                      struct anas_images *test);
  // Instead of read, for sets that split themselves: fills everything but name and flip.
  anas_status (*open)(const char *directory, const struct anas_dataset_options *options, struct anas_dataset *dataset);
};

extern const struct anas_dataset_format anas_format_cifar10, anas_format_fashion_mnist, anas_format_imagefolder;

// Allocates pixels and labels; ANAS_NO_MEMORY says how much was wanted.
anas_status anas_images_alloc(struct anas_images *images, int64_t count, int64_t height, int64_t width,
                              int64_t channels);
// The first count images, more or fewer than there are.
anas_status anas_images_resize(struct anas_images *images, int64_t count);
void anas_images_release(struct anas_images *images);

#endif
