// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Folders of JPEG files written here: decoding, cropping, splits, batches, and the errors of damaged and foreign files.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
// cmocka.h needs the four above, jpeglib.h the last.
#include <cmocka.h>
#include <jpeglib.h>

#include "runtime/data.h"
#include "runtime/data/jpeg.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"
#include "runtime/team.h"
#include "test/unit/scratch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *folder;

static int make_folder(void **state) {
  (void)state;
  folder = scratch_create();
  return folder ? 0 : -1;
}

static int remove_folder(void **state) {
  (void)state;
  anas_team_shutdown();
  return scratch_destroy(folder);
}

static char *path_of(const char *name) {
  return anas_format("%s/%s", folder, name);
}

static void make_directory(const char *name) {
  char *path = path_of(name);
  assert_int_equal(anas_make_directories(path), ANAS_OK);
  free(path);
}

static void write_file(const char *name, const void *data, size_t size) {
  char *path = path_of(name);
  assert_int_equal(anas_file_write(path, data, size), ANAS_OK);
  free(path);
}

// ---- pictures

typedef uint8_t (*paint_fn)(int x, int y, int channel);

static uint8_t red(int x, int y, int channel) {
  (void)x, (void)y;
  return channel ? 20 : 220;
}
static uint8_t green(int x, int y, int channel) {
  (void)x, (void)y;
  return channel == 1 ? 200 : 40;
}
static uint8_t ramp(int x, int y, int channel) {
  return (uint8_t)(channel == 0 ? x : channel == 1 ? y : 128);
}

static void encode(int width, int height, int channels, paint_fn paint, uint8_t **out_data, unsigned long *out_size) {
  struct jpeg_compress_struct jpeg;
  struct jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, out_data, out_size);
  jpeg.image_width = (JDIMENSION)width;
  jpeg.image_height = (JDIMENSION)height;
  jpeg.input_components = channels;
  jpeg.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 100, TRUE);
  if (channels == 3) jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = 1; // colours at full size
  jpeg_start_compress(&jpeg, TRUE);
  uint8_t *line = anas_alloc((size_t)width * (size_t)channels);
  for (int y = 0; y < height; y++) {
    for (int x = 0; x < width; x++)
      for (int c = 0; c < channels; c++)
        line[x * channels + c] = paint(x, y, c);
    jpeg_write_scanlines(&jpeg, &line, 1);
  }
  free(line);
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
}

static void write_picture(const char *name, int width, int height, int channels, paint_fn paint) {
  uint8_t *data = NULL;
  unsigned long size = 0;
  encode(width, height, channels, paint, &data, &size);
  write_file(name, data, size);
  free(data);
}

static void expect_close(int got, double expected, double tolerance) {
  if (fabs(got - expected) > tolerance) fail_msg("%d instead of %g", got, expected);
}

static void test_geometry(void **state) {
  (void)state;
  enum { SIDE = 28 };
  uint8_t pixels[SIDE][SIDE][3], mirrored[SIDE][SIDE][3];
  write_picture("ramp.jpg", 256, 240, 3, ramp);
  char *path = path_of("ramp.jpg");
  // Centre: 7/8 of the short side, 210 pixels from 23 (columns) and 15 (rows) on.
  const struct anas_crop centre = {0}, mirror = {.mirror = true};
  assert_int_equal(anas_jpeg_read(path, &centre, SIDE, SIDE, &pixels[0][0][0]), ANAS_OK);
  assert_int_equal(anas_jpeg_read(path, &mirror, SIDE, SIDE, &mirrored[0][0][0]), ANAS_OK);
  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++) {
      expect_close(pixels[y][x][0], 23 + (x + 0.5) * 7.5 - 0.5, 2);
      expect_close(pixels[y][x][1], 15 + (y + 0.5) * 7.5 - 0.5, 2);
      expect_close(pixels[y][x][2], 128, 2);
      assert_memory_equal(pixels[y][x], mirrored[y][SIDE - 1 - x], 3);
    }
  // Enlarged, and not square: 210 columns of the centre become 8, 105 rows become 4 pixels; then the other way round.
  uint8_t wide[4][8][3], tall[300][3][3];
  assert_int_equal(anas_jpeg_read(path, &centre, 4, 8, &wide[0][0][0]), ANAS_OK);
  for (int y = 0; y < 4; y++)
    for (int x = 0; x < 8; x++) {
      expect_close(wide[y][x][0], 16 + (x + 0.5) * 28 - 0.5, 2.5);
      expect_close(wide[y][x][1], 64 + (y + 0.5) * 28 - 0.5, 2.5);
    }
  assert_int_equal(anas_jpeg_read(path, &centre, 300, 3, &tall[0][0][0]), ANAS_OK);
  for (int y = 0; y < 300; y++)
    expect_close(tall[y][1][1], 15 + (y + 0.5) * 0.7 - 0.5, 2);
  // Random: the whole picture at the upper end of the area, a corner of 8 % of it at the lower one.
  const struct anas_crop all = {.random = true, .area = 1, .aspect = 0.5};
  assert_int_equal(anas_jpeg_read(path, &all, SIDE, SIDE, &pixels[0][0][0]), ANAS_OK);
  expect_close(pixels[3][0][0], 0.5 * sqrt(256 * 240) / SIDE - 0.5, 2);
  const struct anas_crop corner = {.random = true, .aspect = 0.5, .x = 1, .y = 1};
  assert_int_equal(anas_jpeg_read(path, &corner, SIDE, SIDE, &pixels[0][0][0]), ANAS_OK);
  double side = sqrt(0.08 * 256 * 240);
  for (int x = 0; x < SIDE; x++) {
    expect_close(pixels[9][x][0], 256 - side + (x + 0.5) * side / SIDE - 0.5, 2);
    expect_close(pixels[x][9][1], 240 - side + (x + 0.5) * side / SIDE - 0.5, 2);
  }
  free(path);
}

static void test_colours(void **state) {
  (void)state;
  uint8_t pixel[3];
  const struct anas_crop centre = {0};
  write_picture("gray.jpg", 17, 9, 1, red);
  write_picture("cmyk.jpg", 16, 16, 4, red); // inverted: ink that is not there
  char *gray = path_of("gray.jpg"), *cmyk = path_of("cmyk.jpg");
  assert_int_equal(anas_jpeg_read(gray, &centre, 1, 1, pixel), ANAS_OK);
  for (int c = 0; c < 3; c++)
    expect_close(pixel[c], 220, 1);
  assert_int_equal(anas_jpeg_read(cmyk, &centre, 1, 1, pixel), ANAS_OK);
  expect_close(pixel[0], 220 * 20 / 255, 2);
  expect_close(pixel[1], 20 * 20 / 255, 2);
  free(gray);
  free(cmyk);
}

// ---- folders

static void write_class(const char *split, const char *class, int count, paint_fn paint) {
  char *name = anas_format("%s%s", split, class);
  make_directory(name);
  free(name);
  for (int i = 0; i < count; i++) {
    name = anas_format("%s%s/%d.jpeg", split, class, i);
    write_picture(name, 20 + i, 24, 3, paint);
    free(name);
  }
}

static anas_status open_set(const struct anas_dataset_options *options, struct anas_dataset **out) {
  struct anas_dataset_options whole = *options;
  whole.directory = folder;
  return anas_dataset_open("imagefolder", &whole, out);
}

static void expect_labels(const struct anas_images *images) {
  for (int64_t i = 0; i < images->count; i++)
    assert_int_equal(images->labels[i], strstr(images->files[i], "/green/") ? 0 : 1);
}

static void test_one_folder(void **state) {
  (void)state;
  write_class("", "red", 20, red);
  write_class("", "green", 20, green);
  write_file("README", "not a class", 11);
  write_file("red/.hidden", "x", 1);
  struct anas_dataset *set, *again;
  assert_int_equal(open_set(&(struct anas_dataset_options){.validation_count = -1, .height = 8, .width = 8}, &set),
                   ANAS_OK);
  assert_int_equal(set->classes, 2);
  assert_int_equal(set->train.count, 36);
  assert_int_equal(set->validation.count, 4);
  assert_int_equal(set->test.count, 0);
  expect_labels(&set->train);
  expect_labels(&set->validation);
  for (int64_t v = 0; v < 4; v++)
    for (int64_t t = 0; t < 36; t++)
      assert_string_not_equal(set->validation.files[v], set->train.files[t]);
  assert_true(set->mean[0] > 0.3f && set->mean[0] < 0.7f && set->std[0] > 0.2f);
  // The same seed draws the same split, another one another; a limit shortens the training split only.
  const struct anas_dataset_options limited = {.validation_count = 4, .limit = 10, .height = 8, .width = 8};
  assert_int_equal(open_set(&limited, &again), ANAS_OK);
  assert_int_equal(again->train.count, 10);
  for (int64_t i = 0; i < 4; i++)
    assert_string_equal(again->validation.files[i], set->validation.files[i]);
  anas_dataset_close(again);
  assert_int_equal(open_set(&(struct anas_dataset_options){.validation_count = 4, .seed = 1}, &again), ANAS_OK);
  assert_int_equal(again->train.height, 224);
  int same = 0;
  for (int64_t i = 0; i < 36; i++)
    same += !strcmp(again->train.files[i], set->train.files[i]);
  assert_true(same < 18);
  anas_dataset_close(again);
  assert_int_equal(open_set(&(struct anas_dataset_options){.validation_count = 40}, &again), ANAS_INVALID);
  assert_int_equal(open_set(&(struct anas_dataset_options){.height = 1 << 20, .width = 8}, &again), ANAS_INVALID);

  // Batches: normalised, the same with any number of threads; augmented ones depend on the generator alone.
  enum { SIZE = 8 * 8 * 3 };
  uint32_t indices[6] = {0, 1, 2, 3, 4, 5};
  static float one[8 * SIZE], two[8 * SIZE];
  int32_t labels[8];
  const struct anas_augment off = {0}, on = {.enable = true, .pad = 4};
  assert_int_equal(anas_batch_fill(set, &set->train, indices, 6, 8, off, NULL, one, labels), ANAS_OK);
  for (int i = 0; i < 6; i++) {
    double expected = (labels[i] ? 220 : 40) / 255.0;
    assert_true(fabs(one[i * SIZE] - (expected - set->mean[0]) / set->std[0]) < 0.03);
  }
  assert_int_equal(labels[6], -1);
  assert_true(one[7 * SIZE] == 0);
  anas_team_set_size(1);
  assert_int_equal(anas_batch_fill(set, &set->train, indices, 6, 8, off, NULL, two, labels), ANAS_OK);
  assert_memory_equal(one, two, sizeof one);
  for (int run = 0; run < 2; run++) {
    struct anas_rng rng = anas_rng_make(5);
    assert_int_equal(anas_batch_fill(set, &set->train, indices, 6, 8, on, &rng, run ? two : one, labels), ANAS_OK);
  }
  assert_memory_equal(one, two, sizeof one);

  // A file that disappears while training.
  assert_int_equal(unlink(set->train.files[3]), 0);
  assert_int_equal(anas_batch_fill(set, &set->train, indices, 6, 8, off, NULL, one, labels), ANAS_NOT_FOUND);
  assert_non_null(strstr(anas_error_message(), set->train.files[3]));
  anas_dataset_close(set);
}

static void test_split_folders(void **state) {
  (void)state;
  write_class("train/", "red", 5, red);
  write_class("train/", "green", 4, green);
  write_class("val/", "red", 2, red);
  write_class("val/", "green", 3, green);
  write_class("test/", "red", 1, red);
  struct anas_dataset *set;
  struct anas_dataset_options options = {.validation_count = -1, .height = 6, .width = 4};
  assert_int_equal(open_set(&options, &set), ANAS_OK);
  assert_int_equal(set->train.count, 9);
  assert_int_equal(set->train.height, 6);
  assert_int_equal(set->train.width, 4);
  assert_int_equal(set->validation.count, 5);
  assert_int_equal(set->test.count, 1);
  assert_int_equal(set->test.labels[0], 1);
  expect_labels(&set->train);
  expect_labels(&set->validation);
  anas_dataset_close(set);
  options.validation_count = 2;
  assert_int_equal(open_set(&options, &set), ANAS_OK);
  assert_int_equal(set->train.count, 9);
  assert_int_equal(set->validation.count, 2);
  anas_dataset_close(set);
  // A class that training does not know.
  write_class("val/", "violet", 1, red);
  assert_int_equal(open_set(&options, &set), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "val/violet"));
}

static void expect_failure(anas_status status, const char *name, const char *word) {
  struct anas_dataset *set = NULL;
  const struct anas_dataset_options options = {.validation_count = 1, .height = 8, .width = 8};
  anas_status got = open_set(&options, &set);
  if (got != status || !strstr(anas_error_message(), name) || !strstr(anas_error_message(), word))
    fail_msg("%s: %s", anas_status_name(got), got ? anas_error_message() : "no error");
  assert_null(set);
}

static void test_errors(void **state) {
  (void)state;
  write_class("", "red", 3, red);
  expect_failure(ANAS_INVALID, folder, "classes");
  write_class("", "green", 3, green);
  uint8_t *data = NULL;
  unsigned long size = 0;
  encode(60, 60, 3, ramp, &data, &size);
  // Something after the picture is allowed.
  struct anas_strbuf longer = {0};
  anas_strbuf_add(&longer, (const char *)data, size);
  anas_strbuf_adds(&longer, "trailer");
  write_file("red/odd.jpg", longer.data, longer.size);
  anas_strbuf_deinit(&longer);
  struct anas_dataset *set;
  assert_int_equal(open_set(&(struct anas_dataset_options){.validation_count = 1, .height = 8, .width = 8}, &set),
                   ANAS_OK);
  anas_dataset_close(set);
  write_file("red/odd.jpg", data, size - 2); // only the end marker is missing
  expect_failure(ANAS_CORRUPT, "red/odd.jpg", "remature end");
  write_file("red/odd.jpg", data, size / 2);
  expect_failure(ANAS_CORRUPT, "red/odd.jpg", "remature end");
  write_file("red/odd.jpg", data, 20); // in the middle of the header
  expect_failure(ANAS_CORRUPT, "red/odd.jpg", "JPEG");
  write_file("red/odd.jpg", data, 0);
  expect_failure(ANAS_CORRUPT, "red/odd.jpg", "is not a JPEG file");
  write_file("red/odd.jpg", "\x89PNG\r\n\x1a\n", 8);
  expect_failure(ANAS_CORRUPT, "red/odd.jpg", "is not a JPEG file");
  // Damaged inside: the picture ends early although the file does not.
  data[size / 2] = 0xff;
  data[size / 2 + 1] = 0xd9;
  write_file("red/odd.jpg", data, size);
  expect_failure(ANAS_CORRUPT, "red/odd.jpg", "remature end");
  free(data);
  char *path = path_of("red/odd.jpg");
  assert_int_equal(unlink(path), 0);
  free(path);
  make_directory("empty");
  expect_failure(ANAS_INVALID, "empty", "no files");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_geometry, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(test_colours, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(test_one_folder, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(test_split_folders, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(test_errors, make_folder, remove_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
