// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Batches: normalisation, random crop, random flip; pictures in files are decoded by all threads.
#include "runtime/data.h"
#include "runtime/data/jpeg.h"
#include "runtime/support/memory.h"
#include "runtime/team.h"

#include <stdlib.h>
#include <string.h>

struct view { // where an output image reads its source: shifted, possibly mirrored
  int64_t top, left;
  bool mirror;
};

static void fill_image(const struct anas_images *images, const uint8_t *source, struct view view,
                       const float *table /* [channel][256] */, float *out) {
  int64_t h = images->height, w = images->width, c = images->channels;
  for (int64_t y = 0; y < h; y++) {
    int64_t sy = y + view.top;
    for (int64_t x = 0; x < w; x++, out += c) {
      int64_t sx = (view.mirror ? w - 1 - x : x) + view.left;
      // Outside the image is padding with black pixels, as the usual recipe pads before it normalises.
      bool inside = sy >= 0 && sy < h && sx >= 0 && sx < w;
      const uint8_t *pixel = source + (sy * w + sx) * c;
      for (int64_t k = 0; k < c; k++)
        out[k] = table[k * 256 + (inside ? pixel[k] : 0)];
    }
  }
}

// ---- pictures decoded on demand

struct decoding {
  const struct anas_images *images;
  const uint32_t *indices;
  const struct anas_crop *crops;
  const float *table;
  float *out;
  anas_status *status;
  char **message; // of a failure; messages are kept by thread
};

static void decode_range(void **operands, int64_t begin, int64_t end) {
  const struct decoding *job = operands[0];
  const struct anas_images *images = job->images;
  size_t size = (size_t)(images->height * images->width * images->channels);
  uint8_t *picture = anas_alloc(size);
  for (int64_t i = begin; i < end; i++) {
    job->status[i] =
        anas_jpeg_read(images->files[job->indices[i]], &job->crops[i], images->height, images->width, picture);
    if (job->status[i] == ANAS_OK)
      fill_image(images, picture, (struct view){0}, job->table, job->out + (size_t)i * size);
    else
      job->message[i] = anas_strdup(anas_error_message());
  }
  free(picture);
}

static anas_status fill_from_files(const struct anas_dataset *dataset, const struct anas_images *images,
                                   const uint32_t *indices, int64_t count, bool augment, struct anas_rng *rng,
                                   const float *table, float *out) {
  struct anas_crop *crops = anas_calloc((size_t)count, sizeof *crops);
  struct decoding job = {images,
                         indices,
                         crops,
                         table,
                         out,
                         anas_calloc((size_t)count, sizeof *job.status),
                         anas_calloc((size_t)count, sizeof *job.message)};
  for (int64_t i = 0; augment && i < count; i++)
    crops[i] = (struct anas_crop){.random = true,
                                  .area = anas_rng_double(rng),
                                  .aspect = anas_rng_double(rng),
                                  .x = anas_rng_double(rng),
                                  .y = anas_rng_double(rng),
                                  .mirror = dataset->flip && (anas_rng_u64(rng) & 1)};
  void *operands[] = {&job};
  anas_parallel_for(decode_range, operands, count, 1);
  anas_status status = ANAS_OK;
  for (int64_t i = 0; i < count; i++) {
    if (status == ANAS_OK && job.status[i] != ANAS_OK) status = anas_fail(job.status[i], "%s", job.message[i]);
    free(job.message[i]);
  }
  free(job.status);
  free(job.message);
  free(crops);
  return status;
}

anas_status anas_batch_fill(const struct anas_dataset *dataset, const struct anas_images *images,
                            const uint32_t *indices, int64_t count, int64_t batch, struct anas_augment augment,
                            struct anas_rng *rng, float *out_image, int32_t *out_label) {
  float table[4 * 256];
  for (int64_t c = 0; c < images->channels; c++)
    for (int v = 0; v < 256; v++)
      table[c * 256 + v] = ((float)v / 255.0f - dataset->mean[c]) / dataset->std[c];
  size_t size = (size_t)(images->height * images->width * images->channels);
  if (images->files)
    ANAS_RETURN_IF_ERROR(fill_from_files(dataset, images, indices, count, augment.enable, rng, table, out_image));
  for (int64_t i = 0; i < count; i++) {
    out_label[i] = images->labels[indices[i]];
    if (images->files) continue;
    struct view view = {0};
    if (augment.enable) {
      uint64_t choices = (uint64_t)(2 * augment.pad + 1);
      view.top = (int64_t)anas_rng_below(rng, choices) - augment.pad;
      view.left = (int64_t)anas_rng_below(rng, choices) - augment.pad;
      view.mirror = dataset->flip && (anas_rng_u64(rng) & 1);
    }
    fill_image(images, images->pixels + indices[i] * size, view, table, out_image + (size_t)i * size);
  }
  memset(out_image + (size_t)count * size, 0, (size_t)(batch - count) * size * sizeof *out_image);
  for (int64_t i = count; i < batch; i++)
    out_label[i] = -1;
  return ANAS_OK;
}
