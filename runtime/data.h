// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Labelled image data sets in memory, and batches with augmentation.
#ifndef ANAS_RUNTIME_DATA_H
#define ANAS_RUNTIME_DATA_H

#include "runtime/support/rng.h"
#include "runtime/support/status.h"

#include <stdbool.h>
#include <stdint.h>

// Images as bytes, row-major (n, height, width, channels).
struct anas_images {
  uint8_t *pixels; // mapped or malloc'ed; owned
  int32_t *labels;
  int64_t count, height, width, channels;
};

struct anas_dataset {
  const char *name;                           // "cifar10"
  struct anas_images train, validation, test; // test.count may be 0
  int64_t classes;
  float mean[4], std[4]; // per channel, of the training split, pixel values 0..1
  bool flip;             // horizontal flips preserve the class
};

// name: "fashion-mnist" or "cifar10". directory: null uses the system's place for the set (fashion-mnist only).
// The last validation_count training images become the validation split (a negative count: the set's default, 10000
// for CIFAR-10 i.e. data_batch_5, 5000 for Fashion-MNIST); limit > 0 keeps only that many training images.
anas_status anas_dataset_open(const char *name, const char *directory, int64_t validation_count, int64_t limit,
                              struct anas_dataset **out);
void anas_dataset_close(struct anas_dataset *dataset);

// One batch: out_image is (batch, height, width, channels) f32 normalised to mean 0, deviation 1; rows past 'count' are
// zero with label -1. Augmentation: zero-pad by pad on each side and crop at random, then flip with probability 1/2.
struct anas_augment {
  bool enable;
  int pad;
};
void anas_batch_fill(const struct anas_dataset *dataset, const struct anas_images *images, const uint32_t *indices,
                     int64_t count, int64_t batch, struct anas_augment augment, struct anas_rng *rng, float *out_image,
                     int32_t *out_label);

#endif
