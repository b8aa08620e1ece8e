// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions at awkward sizes and for every vector width this machine can run: the emitted code against the stock
// loop lowering of the same kernel function.
#include "test/unit/cpu_fixture.h"

static const char multiply_add[] = "    %m = arith.mulf %i0, %i1 : f32\n    %s = arith.addf %o0, %m : f32\n";

static void contraction(const char *a, const char *b, const char *c, const char *map_a, const char *map_b,
                        const char *map_c, const char *loops, const char *kinds, int terms, bool fill) {
  kernel_check(&(struct kernel_text){.num_in = 2,
                                     .num_out = 1,
                                     .type = {a, b, c},
                                     .map = {map_a, map_b, map_c},
                                     .fill = {NULL, NULL, fill ? "0.0" : NULL},
                                     .loops = loops,
                                     .kinds = kinds,
                                     .body = multiply_add,
                                     .yield = "%s"},
               1e-6 * sqrt(terms)); // both sides round every one of the sums
}

static void matrix_products(void **state) {
  (void)state;
  static const int sizes[][3] = {{1, 1, 1},   {1, 10, 7},  {9, 3, 13},   {8, 16, 29},  {5, 33, 40},
                                 {13, 40, 3}, {7, 64, 31}, {17, 29, 33}, {3, 130, 70}, {40, 48, 700}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    int m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
    FORMAT(a, "%dx%dxf32", m, k);
    FORMAT(at, "%dx%dxf32", k, m);
    FORMAT(b, "%dx%dxf32", k, n);
    FORMAT(bt, "%dx%dxf32", n, k);
    FORMAT(c, "%dx%dxf32", m, n);
    for (int fill = 0; fill < 2; fill++) {
      contraction(a, b, c, "m, k", "k, n", "m, n", "m, n, k", "ppr", k, fill);
      contraction(at, b, c, "k, m", "k, n", "m, n", "m, n, k", "ppr", k, fill);
      contraction(b, a, c, "k, n", "m, k", "m, n", "m, n, k", "ppr", k, fill); // lanes in the first operand
      contraction(a, bt, c, "m, k", "n, k", "m, n", "m, n, k", "ppr", k,
                  fill); // with few rows dot products: no lane loop
    }
  }
  contraction("3x2x7x5xf32", "3x2x5x19xf32", "3x7x2x19xf32", "n, h, m, k", "n, h, k, c", "n, m, h, c", "n, h, m, c, k",
              "ppppr", 5, true);
  // Long reductions whose steps are far apart: panels of B and chunks of A are copied.
  contraction("256x523xf32", "256x203xf32", "523x203xf32", "k, m", "k, n", "m, n", "m, n, k", "ppr", 256, true);
  contraction("134x1030xf32", "134x130xf32", "1030x130xf32", "k, m", "k, n", "m, n", "m, n, k", "ppr", 134, false);
  contraction("300x8xf32", "300x24xf32", "8x24xf32", "k, m", "k, n", "m, n", "m, n, k", "ppr", 300, true);
}

// Products of heads: operands [n][token][head][d], weights [n][head][query][key]. Large cases copy panels and chunks.
static void attention_products(void **state) {
  (void)state;
  static const int sizes[][5] = {// batch, heads, queries, keys, d
                                 {2, 3, 9, 7, 5},    {1, 2, 17, 33, 16},  {2, 2, 40, 35, 20},
                                 {3, 1, 8, 100, 70}, {1, 3, 110, 97, 33}, {2, 1, 29, 130, 64}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    const int *s = sizes[i];
    FORMAT(q, "%dx%dx%dx%dxf32", s[0], s[2], s[1], s[4]);
    FORMAT(k, "%dx%dx%dx%dxf32", s[0], s[3], s[1], s[4]);
    FORMAT(w, "%dx%dx%dx%dxf32", s[0], s[1], s[2], s[3]);
    for (int fill = 0; fill < 2; fill++) {
      contraction(q, k, w, "b, q, h, d", "b, k, h, d", "b, h, q, k", "b, h, q, k, d", "ppppr", s[4], fill);
      contraction(w, k, q, "b, h, q, k", "b, k, h, d", "b, q, h, d", "b, q, h, d, k", "ppppr", s[3], fill);
      contraction(w, q, k, "b, h, q, k", "b, q, h, d", "b, k, h, d", "b, k, h, d, q", "ppppr", s[2], fill);
    }
  }
  // Long reductions: copies block by block, the last one shorter; rows in several chunks.
  contraction("700x90xf32", "700x130xf32", "90x130xf32", "k, m", "k, n", "m, n", "m, n, k", "ppr", 700, true);
  contraction("40x1500xf32", "50x1500xf32", "40x50xf32", "m, k", "n, k", "m, n", "m, n, k", "ppr", 1500, true);
  contraction("40x1111xf32", "19x1111xf32", "40x19xf32", "m, k", "n, k", "m, n", "m, n, k", "ppr", 1111, false);
  contraction("1100x900xf32", "1100x40xf32", "900x40xf32", "k, m", "k, n", "m, n", "m, n, k", "ppr", 1100, true);
  // Panels of a stream.
  contraction("3072x100xf32", "3072x270xf32", "100x270xf32", "k, m", "k, n", "m, n", "m, n, k", "ppr", 3072, true);
  contraction("1600x230xf32", "1600x260xf32", "230x260xf32", "k, m", "k, n", "m, n", "m, n, k", "ppr", 1600, false);
  contraction("30x200xf32", "200x5x40xf32", "30x5x40xf32", "m, k", "k, u, n", "m, u, n", "m, u, n, k", "pppr", 200,
              true);
}

struct conv_case {
  int n, out, channels, features, window, stride;
};
static const struct conv_case conv_cases[] = {
    {2, 4, 3, 32, 3, 1},  {3, 5, 13, 29, 2, 1}, {2, 7, 29, 40, 3, 2},  {1, 9, 33, 13, 5, 1},
    {3, 1, 40, 33, 3, 1}, {2, 2, 64, 64, 3, 1}, {2, 8, 48, 64, 3, 1},  {5, 3, 16, 96, 1, 2},
    {2, 6, 32, 3, 1, 1},  {9, 2, 80, 32, 3, 2}, {2, 13, 16, 32, 3, 1},
};

// Packed input [n][block][h][w][channel], packed weights [tile][block][kh][kw][channel][lane], result NHWC. The lanes
// beyond the last whole tile are a kernel function of their own, which adds to what the first one filled.
static void conv_forward(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++) {
    const struct conv_case *s = &conv_cases[i];
    int cb = s->channels < 16 ? s->channels : 16, blocks = (s->channels + cb - 1) / cb;
    int in = (s->out - 1) * s->stride + s->window;
    FORMAT(x, "%dx%dx%dx%dx%dxf32", s->n, blocks, in, in, cb);
    FORMAT(y, "%dx%dx%dx%dxf32", s->n, s->out, s->out, s->features);
    FORMAT(map_x, "n, b, h * %d + p, w * %d + q, c", s->stride, s->stride);
    for (int tail = 0; tail < 2; tail++) {
      int lanes = tail ? s->features % 32 : 32, tiles = tail ? 1 : s->features / 32;
      if (lanes == 0 || tiles == 0) continue;
      FORMAT(w, "%dx%dx%dx%dx%dx%dxf32", tiles, blocks, s->window, s->window, cb, lanes);
      FORMAT(map_y, "n, h, w, t * 32 + l + %d", tail ? s->features / 32 * 32 : 0);
      for (int fill = 0; fill < 2; fill++)
        contraction(x, w, y, map_x, "t, b, p, q, c, l", map_y, "t, n, h, w, l, b, p, q, c", "ppppprrrr",
                    s->window * s->window * s->channels, fill);
    }
  }
}

// One phase of the data gradient of a strided convolution: the result is written with that stride.
static void conv_backward_data(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++) {
    const struct conv_case *s = &conv_cases[i];
    int blocks = (s->features + 15) / 16, taps = (s->window + s->stride - 1) / s->stride, in = s->out + taps - 1;
    FORMAT(dy, "%dx%dx%dx%dx16xf32", s->n, blocks, in, in);
    FORMAT(dx, "%dx%dx%dx%dxf32", s->n, s->out * s->stride, s->out * s->stride, s->channels);
    FORMAT(map_x, "n, h * %d + %d, w * %d, t * 32 + l", s->stride, s->stride - 1, s->stride);
    int lanes = s->channels < 32 ? s->channels : 32;
    FORMAT(w, "%dx%dx%dx%dx16x%dxf32", s->channels / lanes, blocks, s->window, s->window, lanes);
    FORMAT(map_w, "t, b, p * %d, q * %d + %d, c, l", s->stride, s->stride, s->window - 1 - (taps - 1) * s->stride);
    FORMAT(extents, "%dx%dx%dx%dxf32", s->out, s->out, taps, taps);
    for (int fill = 0; fill < 2; fill++)
      kernel_check(&(struct kernel_text){.num_in = 3, // the third operand only gives extents
                                         .num_out = 1,
                                         .type = {dy, w, extents, dx},
                                         .map = {"n, b, h + p, w + q, c", map_w, "h, w, p, q", map_x},
                                         .fill = {NULL, NULL, NULL, fill ? "0.0" : NULL},
                                         .loops = "t, n, h, w, l, b, p, q, c",
                                         .kinds = "ppppprrrr",
                                         .body = multiply_add,
                                         .yield = "%s"},
                   1e-6 * sqrt(taps * taps * s->features));
  }
}

static void conv_backward_filter(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++) {
    const struct conv_case *s = &conv_cases[i];
    int cb = s->channels < 16 ? s->channels : 16, blocks = s->channels / cb;
    int fb = s->features < 16 ? s->features : 16, groups = s->features / fb;
    int in = (s->out - 1) * s->stride + s->window;
    FORMAT(x, "%dx%dx%dx%dx%dxf32", s->n, blocks, in, in, cb);
    FORMAT(dy, "%dx%dx%dx%dx%dxf32", s->n, groups, s->out, s->out, fb);
    FORMAT(dk, "%dx%dx%dx%dxf32", s->window, s->window, s->channels, s->features);
    FORMAT(map_x, "n, b, h * %d + p, w * %d + q, c", s->stride, s->stride);
    FORMAT(map_k, "p, q, b * %d + c, g * %d + f", cb, fb);
    FORMAT(taps, "%dx%dxf32", s->window, s->window);
    for (int fill = 0; fill < 2; fill++)
      kernel_check(&(struct kernel_text){.num_in = 3,
                                         .num_out = 1,
                                         .type = {x, dy, taps, dk},
                                         .map = {map_x, "n, g, h, w, f", "p, q", map_k},
                                         .fill = {NULL, NULL, NULL, fill ? "0.0" : NULL},
                                         .loops = "g, p, q, b, c, f, n, h, w",
                                         .kinds = "pppppprrr",
                                         .body = multiply_add,
                                         .yield = "%s"},
                   1e-6 * sqrt(s->n * s->out * s->out));
  }
}

// Long reductions into few results: the outer blocks of the reduction are outside the range. The partial sums of n
// terms grow like the square root of n and so does each rounding: errors grow like n.
static void streams(void **state) {
  (void)state;
  static const int lengths[] = {4096, 4100, 4099}; // cut evenly, cut badly, prime
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    FORMAT(x, "%dx40xf32", lengths[i]);
    FORMAT(y, "%dx37xf32", lengths[i]);
    for (int fill = 0; fill < 2; fill++)
      contraction(x, y, "40x37xf32", "n, c", "n, f", "c, f", "c, f, n", "ppr", lengths[i], fill);
  }
  for (int fill = 0; fill < 2; fill++)
    kernel_check(
        &(struct kernel_text){.num_in = 3,
                              .num_out = 1,
                              .type = {"34x2x18x18x16xf32", "34x3x16x16x16xf32", "3x3xf32", "3x3x32x48xf32"},
                              .map = {"n, b, h + p, w + q, c", "n, g, h, w, f", "p, q", "p, q, b * 16 + c, g * 16 + f"},
                              .fill = {NULL, NULL, NULL, fill ? "0.0" : NULL},
                              .loops = "g, p, q, b, c, f, n, h, w",
                              .kinds = "pppppprrr",
                              .body = multiply_add,
                              .yield = "%s"},
        5e-8 * 34 * 256);
}

static int set_up(void **state) {
  int failed = cpu_set_up(state);
  for (int i = 0; i < cpu.num_targets; i++) // has tests of its own, and larger errors
    cpu.targets[i].winograd = ANAS_WINOGRAD_OFF;
  return failed;
}

static int tear_down_bf16(void **state) {
  // Only products whose reductions are odd in neighbours of both operands, or overlap, stay in f32.
  bool failed = cpu.num_targets > 0 && cpu.num_paired < 150 * cpu.num_targets;
  printf("# %d of the kernels multiply pairs of bf16\n", cpu.num_paired);
  return cpu_tear_down(state) || failed;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(matrix_products),    cmocka_unit_test(attention_products),   cmocka_unit_test(conv_forward),
      cmocka_unit_test(conv_backward_data), cmocka_unit_test(conv_backward_filter), cmocka_unit_test(streams),
  };
  return cmocka_run_group_tests(tests, set_up, cpu_tear_down) +
         cmocka_run_group_tests(tests, cpu_set_up_bf16, tear_down_bf16);
}
