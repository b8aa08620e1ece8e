// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// JPEG files as RGB images of a wanted size.
#ifndef ANAS_RUNTIME_DATA_JPEG_H
#define ANAS_RUNTIME_DATA_JPEG_H

#include "runtime/support/status.h"

#include <stdbool.h>
#include <stdint.h>

// Which part of the picture is shown. Not random: the largest centred rectangle of the wanted shape, times 7/8.
// Random: share of the area from 8 % on, aspect ratio off by up to 4/3, and position, from four uniform numbers.
struct anas_crop {
  bool random, mirror;
  double area, aspect, x, y; // in [0, 1)
};

// Decodes the part and resamples it (a triangle filter as wide as an output pixel) to out_pixels (height, width, 3).
// Gray pictures become RGB. ANAS_NOT_FOUND or ANAS_IO if the file cannot be read, ANAS_CORRUPT if it is no JPEG, is
// truncated or damaged; messages name the file.
anas_status anas_jpeg_read(const char *path, const struct anas_crop *crop, int64_t height, int64_t width,
                           uint8_t *out_pixels);

// Whether the file starts and ends as a JPEG does; decodes it only if the end looks odd. Errors as above.
anas_status anas_jpeg_check(const char *path);

#endif
