// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checkpoints and initialisers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka.h needs the four above.
#include <cmocka.h>

#include "runtime/init.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/weights.h"
#include "test/unit/scratch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct anas_tensor tensors[] = {
    {.name = "main/conv/kernel",
     .role = ANAS_TENSOR_PARAM,
     .init = "lecun_normal",
     .rank = 4,
     .dim = {3, 3, 40, 50},
     .fan_in = 360,
     .fan_out = 450,
     .offset = 0,
     .count = 18000},
    {.name = "main/bn/mean",
     .role = ANAS_TENSOR_STATE,
     .init = "ones",
     .rank = 1,
     .dim = {5},
     .offset = 72000,
     .count = 5},
    {.name = "main/conv/kernel:momentum",
     .role = ANAS_TENSOR_OPTIMIZER,
     .init = "zeros",
     .rank = 4,
     .dim = {3, 3, 40, 50},
     .offset = 72064,
     .count = 18000},
};
static const struct anas_program_image image = {.tensors = tensors, .num_tensors = 3, .params_bytes = 144064};

static char *folder, *path;

static int make_path(void **state) {
  (void)state;
  folder = scratch_create();
  path = folder ? anas_format("%s/w.safetensors", folder) : NULL;
  return folder ? 0 : -1;
}

static int remove_path(void **state) {
  (void)state;
  free(path);
  return scratch_destroy(folder);
}

static void test_init(void **state) {
  (void)state;
  char *a = anas_alloc(image.params_bytes), *b = anas_alloc(image.params_bytes);
  assert_int_equal(anas_init_params(&image, 7, a), ANAS_OK);
  assert_int_equal(anas_init_params(&image, 7, b), ANAS_OK);
  assert_memory_equal(a, b, image.params_bytes);
  assert_int_equal(anas_init_params(&image, 8, b), ANAS_OK);
  assert_true(memcmp(a, b, 72000) != 0);
  const float *kernel = (const float *)a;
  double squares = 0, largest = 0;
  for (int i = 0; i < 18000; i++) {
    squares += (double)kernel[i] * kernel[i];
    largest = fmax(largest, fabsf(kernel[i]));
  }
  // Variance 1/fan_in within six standard errors, nothing beyond two deviations of the untruncated normal.
  assert_true(fabs(squares / 18000 * 360 - 1) < 6 * sqrt(2.0 / 18000));
  assert_true(largest <= 2.0 / sqrt(360) / 0.8796 * 1.0001);
  assert_true(*(float *)(a + 72000) == 1.0f);
  struct anas_tensor odd = tensors[1];
  odd.init = "magic";
  struct anas_program_image wrong = {.tensors = &odd, .num_tensors = 1};
  assert_int_equal(anas_init_params(&wrong, 7, a), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "magic"));
  free(a);
  free(b);
}

// Mean, deviation and largest magnitude of what an initialiser draws, against its definition.
static void test_initialisers(void **state) {
  (void)state;
  static const struct {
    const char *init;
    double deviation, most;
  } cases[] = {
      {"normal(0.02)", 0.02, 1},
      {"normal(1e-6)", 1e-6, 1},
      {"truncated_normal(0.02)", 0.02, 0.0455},
      {"uniform(0.3)", 0.3 / 1.7320508, 0.3},
      {"xavier_uniform", 0.1, 0.1 * 1.7320509},                                                 // variance 2 / 200
      {"variance_scaling(2.0, fan_out, truncated_normal)", 0.11547005, 2 * 0.11547005 / 0.879}, // 2 / 150
      {"variance_scaling(0.33333, fan_in, uniform)", 0.08164925, 0.08164925 * 1.7320509},       // 0.33333 / 50
      {"constant(0.25)", 0, 0.25},
  };
  enum { COUNT = 20000 };
  float *values = anas_calloc(COUNT, sizeof *values);
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    struct anas_tensor tensor = {.name = "t", .init = cases[c].init, .rank = 1, .dim = {COUNT}, .count = COUNT};
    tensor.fan_in = 50;
    tensor.fan_out = 150;
    struct anas_program_image one = {.tensors = &tensor, .num_tensors = 1, .params_bytes = COUNT * sizeof *values};
    assert_int_equal(anas_init_params(&one, 5, values), ANAS_OK);
    double mean = 0, squares = 0;
    for (int i = 0; i < COUNT; i++)
      mean += values[i] / COUNT;
    for (int i = 0; i < COUNT; i++) {
      squares += (values[i] - mean) * (values[i] - mean) / COUNT;
      assert_true(fabs(values[i]) <= cases[c].most);
    }
    double expected = cases[c].deviation, constant = expected ? 0 : 0.25;
    if (fabs(mean - constant) > 5 * expected / sqrt(COUNT) + 1e-8 ||
        fabs(sqrt(squares) - expected) > 0.03 * expected + 1e-8)
      fail_msg("%s: mean %g, deviation %g", cases[c].init, mean, sqrt(squares));
  }
  free(values);
}

static void test_round_trip(void **state) {
  (void)state;
  char *a = anas_alloc(image.params_bytes), *b = anas_alloc(image.params_bytes);
  anas_init_params(&image, 3, a);
  ((float *)(a + 72064))[17] = 2.5f;
  const char *metadata[] = {"step", "41", NULL};
  bool optimizer;
  assert_int_equal(anas_weights_save(path, &image, a, true, metadata), ANAS_OK);
  assert_int_equal(anas_weights_load(path, &image, b, &optimizer), ANAS_OK);
  assert_true(optimizer);
  assert_memory_equal(a, b, 72000);
  assert_memory_equal(a + 72064, b + 72064, 72000);
  char *step;
  assert_int_equal(anas_weights_metadata(path, "step", &step), ANAS_OK);
  assert_string_equal(step, "41");
  free(step);
  assert_int_equal(anas_weights_save(path, &image, a, false, NULL), ANAS_OK); // weights alone
  assert_int_equal(anas_weights_load(path, &image, b, &optimizer), ANAS_OK);
  assert_false(optimizer);
  free(a);
  free(b);
}

static void test_damage(void **state) {
  (void)state;
  char *a = anas_alloc(image.params_bytes), *b = anas_alloc(image.params_bytes), *file;
  size_t size;
  bool optimizer;
  anas_init_params(&image, 3, a);
  anas_weights_save(path, &image, a, true, NULL);
  assert_int_equal(anas_file_read(path, &file, &size), ANAS_OK);
  // Cut anywhere: always an error, never a crash, and nothing is written to the parameters.
  for (size_t cut = 0; cut < size; cut += cut < 600 ? 7 : 9973) {
    assert_int_equal(anas_file_write(path, file, cut), ANAS_OK);
    assert_int_equal(anas_weights_load(path, &image, b, &optimizer), ANAS_CORRUPT);
    assert_non_null(strstr(anas_error_message(), path));
  }
  for (size_t i = 0; i < image.params_bytes; i++)
    assert_int_equal(b[i], 0);
  anas_file_write(path, file, size);
  int64_t dim = tensors[0].dim[0];
  tensors[0].dim[0] = 1;
  assert_int_equal(anas_weights_load(path, &image, b, &optimizer), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "3x3x40x50"));
  assert_non_null(strstr(anas_error_message(), "1x3x40x50"));
  tensors[0].dim[0] = dim;
  const char *name = tensors[1].name;
  tensors[1].name = "main/bn/variance";
  assert_int_equal(anas_weights_load(path, &image, b, &optimizer), ANAS_INVALID);
  assert_non_null(strstr(anas_error_message(), "main/bn/variance"));
  tensors[1].name = name;
  free(file);
  free(a);
  free(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_init),
      cmocka_unit_test(test_initialisers),
      cmocka_unit_test_setup_teardown(test_round_trip, make_path, remove_path),
      cmocka_unit_test_setup_teardown(test_damage, make_path, remove_path),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
