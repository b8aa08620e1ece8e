// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Labelled image data sets in memory, and batches with augmentation.
#ifndef ANAS_RUNTIME_DATA_H
#define ANAS_RUNTIME_DATA_H

#include "runtime/support/rng.h"
#include "runtime/support/status.h"

#include <stdbool.h>
#include <stdint.h>

// Images as bytes, row-major (n, height, width, channels), or as the names of JPEG files that are decoded to that size
// when a batch needs them.
struct anas_images {
  uint8_t *pixels; // owned; null if there are files
  char **files;    // owned, as are the names; null if there are pixels
  int32_t *labels;
  int64_t count, height, width, channels;
};

struct anas_dataset {
  const char *name;                           // "cifar10"
  struct anas_images train, validation, test; // test.count may be 0
  int64_t classes;
  float mean[4], std[4]; // per channel, of the training split (imagefolder: of a sample), pixel values 0..1
  bool flip;             // horizontal flips preserve the class
};

struct anas_dataset_options {
  const char *directory; // null: the system's place for the set (fashion-mnist only)
  int64_t
      validation_count;  // the last so many training images become the validation split; negative: the set's default,
                         // 10000 for CIFAR-10 i.e. data_batch_5, 5000 for Fashion-MNIST. imagefolder: how many of
                         // val/, by default all; without val/ how many drawn training images, by default a tenth
  int64_t limit;         // above 0: keep only that many training images
  int64_t height, width; // imagefolder: what pictures are scaled to; 0: 224
  uint64_t seed;         // imagefolder: of the draws above
};

// name: "fashion-mnist", "cifar10" or "imagefolder".
anas_status anas_dataset_open(const char *name, const struct anas_dataset_options *options, struct anas_dataset **out);
size_t anas_dataset_bytes(const struct anas_dataset *dataset); // of pixels and labels in memory
void anas_dataset_close(struct anas_dataset *dataset);

// One batch: out_image is (batch, height, width, channels) f32 normalised to mean 0, deviation 1; rows past 'count' are
// zero with label -1. Augmentation: zero-pad by pad on each side and crop at random (files: show a random part of the
// picture), then flip with probability 1/2. Fails only if a file cannot be decoded.
struct anas_augment {
  bool enable;
  int pad;
};
anas_status anas_batch_fill(const struct anas_dataset *dataset, const struct anas_images *images,
                            const uint32_t *indices, int64_t count, int64_t batch, struct anas_augment augment,
                            struct anas_rng *rng, float *out_image, int32_t *out_label);

#endif
