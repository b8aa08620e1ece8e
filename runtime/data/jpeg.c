// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// JPEG files through libjpeg: decoding at the nearest of its scales, then separable resampling of the wanted part.
#include "runtime/data/jpeg.h"

#include "runtime/support/memory.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// Needs stdio.h.
#include <jerror.h>
#include <jpeglib.h>

#define CHANNELS 3
#define MAX_PIXELS (INT64_C(1) << 28) // of a picture; more is a damaged or hostile header
#define CENTRE_SHARE 0.875            // 224 of 256 pixels, the usual evaluation recipe
#define SMALLEST_AREA 0.08
#define LARGEST_ASPECT (4.0 / 3.0)

struct decoder {
  struct jpeg_error_mgr errors;
  struct jpeg_decompress_struct jpeg;
  jmp_buf escape;
  bool started; // jpeg is initialised
  char message[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr common) {
  struct decoder *decoder = (struct decoder *)common->err;
  common->err->format_message(common, decoder->message);
  longjmp(decoder->escape, 1);
}

// Warnings after which pixels are missing or made up are errors; the others are harmless and common.
static void on_message(j_common_ptr common, int level) {
  if (level >= 0) return;
  switch (common->err->msg_code) {
  case JWRN_JPEG_EOF:
  case JWRN_HIT_MARKER:
  case JWRN_HUFF_BAD_CODE:
  case JWRN_MUST_RESYNC: on_error(common); break;
  default: break;
  }
}

static bool decoder_init(struct decoder *decoder) {
  memset(decoder, 0, sizeof *decoder);
  decoder->jpeg.err = jpeg_std_error(&decoder->errors);
  decoder->errors.error_exit = on_error;
  decoder->errors.emit_message = on_message;
  if (setjmp(decoder->escape)) return false;
  jpeg_create_decompress(&decoder->jpeg);
  decoder->started = true;
  return true;
}

// ---- the part of the picture

struct box {
  double x, y, width, height; // in source pixels
};

static struct box choose_box(const struct anas_crop *crop, double source_width, double source_height, double shape) {
  double width, height;
  if (crop->random) {
    double area = source_width * source_height * (SMALLEST_AREA + (1 - SMALLEST_AREA) * crop->area);
    double aspect = shape * pow(LARGEST_ASPECT, 2 * crop->aspect - 1);
    width = fmin(sqrt(area * aspect), source_width);
    height = fmin(sqrt(area / aspect), source_height);
    return (struct box){crop->x * (source_width - width), crop->y * (source_height - height), width, height};
  }
  width = CENTRE_SHARE * fmin(source_width, source_height * shape);
  height = width / shape;
  return (struct box){(source_width - width) / 2, (source_height - height) / 2, width, height};
}

// ---- resampling

struct taps { // of one output position: weights of consecutive source positions, which sum to one
  int64_t first, count;
  float *weight;
};

struct filter { // of one dimension
  int64_t count;
  struct taps *taps;
  float *weights;
};

static void filter_deinit(struct filter *filter) {
  free(filter->taps);
  free(filter->weights);
}

// Output position i looks at start + (i + 1/2) * step of the source, of which there are extent positions.
static void filter_init(struct filter *filter, int64_t count, double start, double step, int64_t extent) {
  double radius = fmax(step, 1.0);
  size_t most = (size_t)(2 * radius) + 3;
  filter->count = count;
  filter->taps = anas_calloc((size_t)count, sizeof *filter->taps);
  filter->weights = anas_calloc((size_t)count * most, sizeof *filter->weights);
  for (int64_t i = 0; i < count; i++) {
    double centre = start + ((double)i + 0.5) * step, sum = 0;
    int64_t first = (int64_t)ceil(centre - radius - 0.5), last = (int64_t)floor(centre + radius - 0.5);
    if (first < 0) first = 0;
    if (last > extent - 1) last = extent - 1;
    if (first > last) first = last;
    struct taps *taps = &filter->taps[i];
    *taps = (struct taps){first, last - first + 1, filter->weights + (size_t)i * most};
    for (int64_t t = 0; t < taps->count; t++) {
      double weight = fmax(0.0, 1.0 - fabs((double)(first + t) + 0.5 - centre) / radius);
      taps->weight[t] = (float)weight;
      sum += weight;
    }
    for (int64_t t = 0; t < taps->count; t++)
      taps->weight[t] = sum > 0 ? (float)(taps->weight[t] / sum) : 1.0f / (float)taps->count;
  }
}

// One scan line (source pixels) to width output pixels.
static void resample_line(const struct filter *filter, const uint8_t *line, float *out) {
  for (int64_t i = 0; i < filter->count; i++, out += CHANNELS) {
    const struct taps *taps = &filter->taps[i];
    const uint8_t *pixel = line + taps->first * CHANNELS;
    float sum[CHANNELS] = {0};
    for (int64_t t = 0; t < taps->count; t++, pixel += CHANNELS)
      for (int c = 0; c < CHANNELS; c++)
        sum[c] += taps->weight[t] * (float)pixel[c];
    memcpy(out, sum, sizeof sum);
  }
}

// lines: resampled scan lines, the first of which is number first.
static void resample_columns(const struct filter *rows, const float *lines, int64_t first, int64_t width, bool mirror,
                             uint8_t *out) {
  int64_t size = width * CHANNELS;
  for (int64_t y = 0; y < rows->count; y++) {
    const struct taps *taps = &rows->taps[y];
    for (int64_t x = 0; x < width; x++)
      for (int c = 0; c < CHANNELS; c++) {
        const float *at = lines + (taps->first - first) * size + x * CHANNELS + c;
        float sum = 0.5f; // rounds
        for (int64_t t = 0; t < taps->count; t++)
          sum += taps->weight[t] * at[t * size];
        out[y * size + (mirror ? width - 1 - x : x) * CHANNELS + c] = (uint8_t)(sum < 255.0f ? sum : 255.0f);
      }
  }
}

// ---- decoding

// Cyan, magenta, yellow and black as Adobe writes them, inverted.
static void line_from_cmyk(const uint8_t *cmyk, int64_t width, uint8_t *rgb) {
  for (int64_t x = 0; x < width; x++, cmyk += 4, rgb += CHANNELS)
    for (int c = 0; c < CHANNELS; c++)
      rgb[c] = (uint8_t)(cmyk[c] * cmyk[3] / 255);
}

struct picture { // buffers of one decoding
  uint8_t *line, *raw;
  float *lines;
  struct filter columns, rows;
};

static void picture_deinit(struct picture *picture) {
  free(picture->line);
  free(picture->raw);
  free(picture->lines);
  filter_deinit(&picture->columns);
  filter_deinit(&picture->rows);
}

// Chooses the scale and prepares buffers and filters; jpeg's header has been read.
static void prepare(struct jpeg_decompress_struct *jpeg, const struct anas_crop *crop, int64_t height, int64_t width,
                    struct picture *picture) {
  struct box box =
      choose_box(crop, (double)jpeg->image_width, (double)jpeg->image_height, (double)width / (double)height);
  bool cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
  jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg->scale_denom = 8;
  jpeg->scale_num = 1;
  while (jpeg->scale_num < 8 &&
         (box.width * jpeg->scale_num < 8 * (double)width || box.height * jpeg->scale_num < 8 * (double)height))
    jpeg->scale_num *= 2;
  jpeg_start_decompress(jpeg);
  double fx = (double)jpeg->output_width / (double)jpeg->image_width;
  double fy = (double)jpeg->output_height / (double)jpeg->image_height;
  filter_init(&picture->columns, width, box.x * fx, box.width * fx / (double)width, jpeg->output_width);
  filter_init(&picture->rows, height, box.y * fy, box.height * fy / (double)height, jpeg->output_height);
  picture->line = anas_alloc((size_t)jpeg->output_width * CHANNELS);
  picture->raw = cmyk ? anas_alloc((size_t)jpeg->output_width * 4) : NULL;
}

static void decode(struct decoder *decoder, const struct anas_crop *crop, int64_t height, int64_t width,
                   struct picture *picture, uint8_t *out) {
  struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
  prepare(jpeg, crop, height, width, picture);
  const struct taps *rows = picture->rows.taps;
  int64_t first = rows[0].first, last = rows[height - 1].first + rows[height - 1].count - 1;
  picture->lines = anas_calloc((size_t)(last - first + 1) * (size_t)width * CHANNELS, sizeof *picture->lines);
  if (first > 0) jpeg_skip_scanlines(jpeg, (JDIMENSION)first);
  for (int64_t y = first; y <= last; y++) {
    JSAMPROW row = picture->raw ? picture->raw : picture->line;
    jpeg_read_scanlines(jpeg, &row, 1);
    if (picture->raw) line_from_cmyk(picture->raw, jpeg->output_width, picture->line);
    resample_line(&picture->columns, picture->line, picture->lines + (y - first) * width * CHANNELS);
  }
  resample_columns(&picture->rows, picture->lines, first, width, crop->mirror, out);
  jpeg_abort_decompress(jpeg);
}

static anas_status open_file(const char *path, FILE **out) {
  *out = fopen(path, "rb");
  if (*out) return ANAS_OK;
  return anas_fail(errno == ENOENT ? ANAS_NOT_FOUND : ANAS_IO, "cannot open '%s': %s", path, strerror(errno));
}

anas_status anas_jpeg_read(const char *path, const struct anas_crop *crop, int64_t height, int64_t width,
                           uint8_t *out_pixels) {
  FILE *file;
  ANAS_RETURN_IF_ERROR(open_file(path, &file));
  // On the heap: longjmp leaves automatic variables undefined.
  struct decoder *decoder = anas_alloc(sizeof *decoder);
  struct picture *picture = anas_alloc(sizeof *picture);
  anas_status status = ANAS_OK;
  if (decoder_init(decoder)) {
    if (!setjmp(decoder->escape)) {
      jpeg_stdio_src(&decoder->jpeg, file);
      jpeg_read_header(&decoder->jpeg, TRUE);
      if ((int64_t)decoder->jpeg.image_width * decoder->jpeg.image_height > MAX_PIXELS)
        snprintf(decoder->message, sizeof decoder->message, "%ux%u pixels are too many", decoder->jpeg.image_width,
                 decoder->jpeg.image_height);
      else
        decode(decoder, crop, height, width, picture, out_pixels);
    }
  }
  if (decoder->message[0])
    status = anas_fail(ANAS_CORRUPT, "'%s' cannot be read as a JPEG picture: %s", path, decoder->message);
  if (decoder->started) jpeg_destroy_decompress(&decoder->jpeg);
  picture_deinit(picture);
  free(picture);
  free(decoder);
  fclose(file);
  return status;
}

anas_status anas_jpeg_check(const char *path) {
  FILE *file;
  ANAS_RETURN_IF_ERROR(open_file(path, &file));
  uint8_t start[3] = {0}, end[2] = {0};
  size_t got = fread(start, 1, sizeof start, file);
  bool seeks = !fseek(file, -2, SEEK_END) && fread(end, 1, sizeof end, file) == sizeof end;
  bool failed = ferror(file);
  fclose(file);
  if (failed) return anas_fail(ANAS_IO, "cannot read '%s'", path);
  if (got < sizeof start || start[0] != 0xff || start[1] != 0xd8 || start[2] != 0xff)
    return anas_fail(ANAS_CORRUPT, "'%s' is not a JPEG file; class folders may hold nothing else", path);
  if (seeks && end[0] == 0xff && end[1] == 0xd9) return ANAS_OK;
  // Something follows the picture, or its end is missing: read every line to find out which.
  uint8_t pixel[CHANNELS];
  const struct anas_crop all = {.random = true, .area = 1, .aspect = 0.5, .y = 1};
  return anas_jpeg_read(path, &all, 1, 1, pixel);
}
