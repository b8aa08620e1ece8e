// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Filter gradients by Winograd, for every vector width this machine can run: errors against sums in double, beside
// those of the direct sum in float.
#include "test/unit/cpu_fixture.h"

struct filter_case {
  int n, h, w, channels, features;
  int halo; // of dy
};

static const struct filter_case cases[] = {
    {1, 28, 28, 32, 96, 0},                           // no loop over examples
    {4, 16, 16, 64, 32, 0},                           // several shares of the tiles
    {8, 4, 4, 256, 256, 0},                           // more blocks than work items
    {5, 8, 8, 128, 160, 1},                           // blocks of 80 features, steps that do not divide the rows
    {4, 13, 9, 64, 48, 1},                            // partial tiles at both ends
    {3, 21, 34, 48, 16, 0},                           // one block of features
    {1, 3, 200, 64, 64, 0},                           // one row of tiles, which is partial
    {9, 3, 3, 256, 144, 1},                           // one tile, partial
    {7, 7, 7, 96, 64, 0},    {32, 2, 2, 128, 256, 1}, // tiles of 2x2
    {20, 2, 5, 128, 144, 0}, {1, 3, 4, 32, 16, 1},    // less than one step
    {3, 5, 2, 48, 32, 0},
};

static char *case_text(const struct filter_case *s) {
  char x[64], dy[64], dk[64], extents[64], map_dy[64];
  snprintf(x, sizeof x, "%dx%dx%dx%dx16xf32", s->n, s->channels / 16, s->h + 2, s->w + 2);
  snprintf(dy, sizeof dy, "%dx%dx%dx%dx16xf32", s->n, s->features / 16, s->h + 2 * s->halo, s->w + 2 * s->halo);
  snprintf(dk, sizeof dk, "3x3x%dx%dxf32", s->channels, s->features);
  snprintf(extents, sizeof extents, "3x3x%dx%dxf32", s->h, s->w);
  snprintf(map_dy, sizeof map_dy, "n, g, h + %d, w + %d, f", s->halo, s->halo);
  return kernel_text_print(
      &(struct kernel_text){.num_in = 3, // the third operand only gives extents
                            .num_out = 1,
                            .type = {x, dy, extents, dk},
                            .map = {"n, b, h + p, w + q, c", map_dy, "p, q, h, w", "p, q, b * 16 + c, g * 16 + f"},
                            .fill = {NULL, NULL, NULL, "0.0"},
                            .loops = "g, p, q, b, c, f, n, h, w",
                            .kinds = "pppppprrr",
                            .body = "    %p = arith.mulf %i0, %i1 : f32\n    %s = arith.addf %o0, %p : f32\n",
                            .yield = "%s"});
}

// Everything that the gradient must not read is NaN.
static void fill(const struct filter_case *s, float *x, float *dy, struct anas_rng *rng) {
  int64_t positions = (int64_t)(s->h + 2) * (s->w + 2) * s->channels * s->n;
  for (int64_t i = 0; i < positions; i++)
    x[i] = (float)(2 * anas_rng_double(rng) - 1);
  int height = s->h + 2 * s->halo, width = s->w + 2 * s->halo;
  for (int64_t block = 0; block < (int64_t)s->n * s->features / 16; block++)
    for (int i = 0; i < height; i++)
      for (int j = 0; j < width; j++)
        for (int f = 0; f < 16; f++) {
          int row = i - s->halo, col = j - s->halo;
          bool inside = row >= 0 && row < s->h && col >= 0 && col < s->w;
          dy[((block * height + i) * width + j) * 16 + f] = inside ? (float)(2 * anas_rng_double(rng) - 1) : NAN;
        }
}

static void sum_in_double(const struct filter_case *s, const float *x, const float *dy, double *dk) {
  int in_w = s->w + 2, width = s->w + 2 * s->halo;
  int64_t x_plane = (int64_t)(s->h + 2) * in_w * 16, dy_plane = (int64_t)(s->h + 2 * s->halo) * width * 16;
  memset(dk, 0, sizeof *dk * 9 * (size_t)(s->channels * s->features));
  for (int n = 0; n < s->n; n++)
    for (int tap = 0; tap < 9; tap++)
      for (int c = 0; c < s->channels; c++)
        for (int g = 0; g < s->features / 16; g++) {
          const float *from = x + (n * s->channels / 16 + c / 16) * x_plane + c % 16;
          const float *by = dy + (n * s->features / 16 + g) * dy_plane;
          double *sum = dk + ((int64_t)tap * s->channels + c) * s->features + g * 16;
          for (int i = 0; i < s->h; i++)
            for (int j = 0; j < s->w; j++) {
              double value = from[((i + tap / 3) * in_w + j + tap % 3) * 16];
              const float *lane = by + ((i + s->halo) * width + j + s->halo) * 16;
              for (int f = 0; f < 16; f++)
                sum[f] += value * lane[f];
            }
        }
}

// Largest and mean square error of `got`, of the deviation of the values.
static void errors(const float *got, const double *expected, int64_t count, double *out_max, double *out_rms) {
  double largest = 0, square = 0, values = 0;
  for (int64_t i = 0; i < count; i++) {
    double error = fabs(got[i] - expected[i]);
    assert_true(isfinite(error));
    if (error > largest) largest = error;
    square += error * error;
    values += expected[i] * expected[i];
  }
  *out_max = largest / sqrt(values / (double)count);
  *out_rms = sqrt(square / values);
}

static void check_case(const struct filter_case *s) {
  char *text = case_text(s);
  struct kernel_operand operand[4];
  struct kernel_code direct;
  struct kernel_buffer buffer[4];
  void *pointers[4];
  int num;
  struct anas_cpu_target plain = cpu.targets[cpu.num_targets - 1];
  plain.winograd = ANAS_WINOGRAD_OFF;
  assert_true(kernel_compile(cpu.context, text, &plain, &direct, operand, &num));
  assert_null(direct.scratch);
  for (int i = 0; i < 4; i++) {
    kernel_buffer_init(&buffer[i], &operand[i]);
    pointers[i] = buffer[i].data;
  }
  struct anas_rng rng = anas_rng_make(3);
  fill(s, pointers[0], pointers[1], &rng);
  int64_t count = operand[3].elements;
  double *expected = anas_calloc((size_t)count, sizeof *expected), direct_max, direct_rms;
  float *first = anas_calloc((size_t)count, sizeof *first);
  sum_in_double(s, pointers[0], pointers[1], expected);
  kernel_run(&direct, pointers, 4, 1);
  errors(pointers[3], expected, count, &direct_max, &direct_rms);
  kernel_release(&direct);
  for (int t = 0; t < cpu.num_targets; t++) {
    struct kernel_code code;
    cpu.targets[t].winograd = ANAS_WINOGRAD_ALWAYS;
    assert_true(kernel_compile(cpu.context, text, &cpu.targets[t], &code, NULL, NULL));
    assert_non_null(code.scratch);
    for (int pieces = 1; pieces <= 3; pieces += 2) {
      memset(pointers[3], 0xff, buffer[3].bytes);
      kernel_run(&code, pointers, 4, pieces);
      double max, rms;
      errors(pointers[3], expected, count, &max, &rms);
      print_message("%dx%dx%dx%d-%d %-10s max %.1e rms %.1e, direct %.1e %.1e\n", s->n, s->h, s->w, s->channels,
                    s->features, cpu.targets[t].cpu, max, rms, direct_max, direct_rms);
      assert_true(max < 4e-5 && rms < 3e-6);
      // However the work is shared among threads, the sums are the same.
      if (pieces == 1) memcpy(first, pointers[3], buffer[3].bytes);
      assert_memory_equal(first, pointers[3], buffer[3].bytes);
      for (int i = 0; i < 4; i++)
        assert_true(kernel_buffer_intact(&buffer[i]));
    }
    kernel_release(&code);
  }
  for (int i = 0; i < 4; i++)
    kernel_buffer_deinit(&buffer[i]);
  free(expected);
  free(first);
  free(text);
}

static void all_cases(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_case(&cases[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases)};
  return cmocka_run_group_tests(tests, cpu_set_up, cpu_tear_down);
}
