// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every kind of nest but contractions, at awkward sizes and for every vector width this machine can run: the emitted
// code against the stock loop lowering of the same kernel function.
#include "test/unit/cpu_fixture.h"

// ---- maps
// ------------------------------------------------------------------------------------------------------------

static void elementwise_sizes(void **state) {
  (void)state;
  for (int n = 1; n <= 70; n += n < 20 ? 1 : 7) {
    FORMAT(type, "%dxf32", n);
    kernel_check(
        &(struct kernel_text){.num_in = 2,
                              .num_out = 1,
                              .type = {type, type, type},
                              .map = {"i", "i", "i"},
                              .loops = "i",
                              .kinds = "p",
                              .body = "    %p = arith.mulf %i0, %i1 : f32\n    %s = arith.addf %p, %i0 : f32\n",
                              .yield = "%s"},
        1e-6);
  }
  FORMAT(big, "%dxf32", 70001);
  kernel_check(&(struct kernel_text){.num_in = 1,
                                     .num_out = 1,
                                     .type = {big, big},
                                     .map = {"i", "i"},
                                     .loops = "i",
                                     .kinds = "p",
                                     .body = "    %s = arith.subf %i0, %o0 : f32\n",
                                     .yield = "%s"},
               0);
}

static void broadcast_channels(void **state) { // batch normalisation applied, then relu
  (void)state;
  static const int channels[] = {1, 3, 13, 16, 29, 33, 40, 64};
  for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
    FORMAT(x, "2x5x3x%dxf32", channels[i]);
    FORMAT(c, "%dxf32", channels[i]);
    kernel_check(&(struct kernel_text){.num_in = 3,
                                       .num_out = 1,
                                       .type = {x, c, c, x},
                                       .map = {"n, h, w, c", "c", "c", "n, h, w, c"},
                                       .loops = "n, h, w, c",
                                       .kinds = "pppp",
                                       .body =
                                           "    %z = arith.constant 0.0 : f32\n    %p = arith.mulf %i0, %i1 : f32\n"
                                           "    %s = arith.addf %p, %i2 : f32\n    %r = arith.maxnumf %s, %z : f32\n",
                                       .yield = "%r"},
                 1e-6);
  }
}

static void scalar_operand_and_in_place(void **state) { // momentum update
  (void)state;
  kernel_check(&(struct kernel_text){.num_in = 2,
                                     .num_out = 2,
                                     .type = {"3x37xf32", "f32", "3x37xf32", "3x37xf32"},
                                     .map = {"i, j", "", "i, j", "i, j"},
                                     .loops = "i, j",
                                     .kinds = "pp",
                                     .body = "    %m = arith.constant 0.9 : f32\n    %a = arith.mulf %o0, %m : f32\n"
                                             "    %b = arith.addf %a, %i0 : f32\n    %c = arith.mulf %b, %i1 : f32\n"
                                             "    %d = arith.subf %o1, %c : f32\n",
                                     .yield = "%b, %d"},
               1e-6);
}

static void no_loops(void **state) {
  (void)state;
  kernel_check(&(struct kernel_text){.num_in = 1,
                                     .num_out = 1,
                                     .type = {"f32", "f32"},
                                     .map = {"", ""},
                                     .loops = "",
                                     .kinds = "",
                                     .body = "    %s = arith.addf %i0, %o0 : f32\n",
                                     .yield = "%s"},
               0);
}

// ---- reductions
// ------------------------------------------------------------------------------------------------------

static void row_reductions(void **state) {
  (void)state;
  for (int n = 1; n <= 70; n += n < 20 ? 1 : 5) {
    FORMAT(x, "5x%dxf32", n);
    for (int fill = 0; fill < 2; fill++)
      kernel_check(&(struct kernel_text){.num_in = 1,
                                         .num_out = 2,
                                         .type = {x, "5xf32", "5xf32"},
                                         .map = {"i, j", "i", "i"},
                                         .fill = {NULL, fill ? "0.0" : NULL, fill ? "0xFF800000" : NULL},
                                         .loops = "i, j",
                                         .kinds = "pr",
                                         .body =
                                             "    %q = arith.mulf %i0, %i0 : f32\n    %s = arith.addf %o0, %q : f32\n"
                                             "    %m = arith.maxnumf %i0, %o1 : f32\n",
                                         .yield = "%s, %m"},
                   2e-6);
  }
}

static void column_reductions(void **state) {
  (void)state;
  static const int channels[] = {1, 3, 13, 16, 33, 64, 100, 260};
  for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
    FORMAT(x, "7x2x5x%dxf32", channels[i]);
    FORMAT(c, "%dxf32", channels[i]);
    for (int fill = 0; fill < 2; fill++)
      kernel_check(&(struct kernel_text){.num_in = 1,
                                         .num_out = 2,
                                         .type = {x, c, c},
                                         .map = {"n, h, w, c", "c", "c"},
                                         .fill = {NULL, fill ? "0.0" : NULL, fill ? "0.0" : NULL},
                                         .loops = "c, n, h, w",
                                         .kinds = "prrr",
                                         .body =
                                             "    %q = arith.mulf %i0, %i0 : f32\n    %s = arith.addf %o0, %i0 : f32\n"
                                             "    %t = arith.addf %o1, %q : f32\n",
                                         .yield = "%s, %t"},
                   4e-6);
  }
}

// Enough examples for the threads, and rows wider than the accumulators: read row by row. The second input keeps the
// two loops over positions apart.
static void sums_by_example(void **state) {
  (void)state;
  static const int channels[] = {65, 100, 128, 260, 700};
  for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
    FORMAT(x, "9x3x5x%dxf32", channels[i]);
    FORMAT(y, "9x4x7x%dxf32", channels[i]);
    FORMAT(c, "9x%dxf32", channels[i]);
    for (int fill = 0; fill < 2; fill++)
      for (int two = 0; two < 2; two++)
        kernel_check(
            &(struct kernel_text){.num_in = 2,
                                  .num_out = 2,
                                  .type = {x, two ? y : x, c, c},
                                  .map = {"n, h, w, c", two ? "n, h + 1, w + 2, c" : "n, h, w, c", "n, c", "n, c"},
                                  .fill = {NULL, NULL, fill ? "0.0" : NULL, fill ? "0xFF800000" : NULL},
                                  .loops = "n, h, w, c",
                                  .kinds = "prrp",
                                  .body = "    %q = arith.mulf %i0, %i1 : f32\n    %s = arith.addf %o0, %q : f32\n"
                                          "    %t = arith.maxnumf %o1, %i1 : f32\n",
                                  .yield = "%s, %t"},
            4e-6);
  }
}

static void full_reduction(void **state) {
  (void)state;
  kernel_check(&(struct kernel_text){.num_in = 1,
                                     .num_out = 1,
                                     .type = {"11x13xf32", "f32"},
                                     .map = {"i, j", ""},
                                     .fill = {NULL, "0.0"},
                                     .loops = "i, j",
                                     .kinds = "rr",
                                     .body = "    %s = arith.addf %o0, %i0 : f32\n",
                                     .yield = "%s"},
               4e-6);
}

static void coupled_argmax(void **state) { // two outputs that depend on each other: lanes cannot be the reduction
  (void)state;
  for (int n = 1; n < 40; n += 6) {
    FORMAT(x, "%dx10xf32", n);
    FORMAT(m, "%dxf32", n);
    FORMAT(a, "%dxi32", n);
    kernel_check(&(struct kernel_text){.num_in = 1,
                                       .num_out = 2,
                                       .type = {x, m, a},
                                       .map = {"n, k", "n", "n"},
                                       .fill = {NULL, "0xFF800000", "0"},
                                       .loops = "n, k",
                                       .kinds = "pr",
                                       .body = "    %g = arith.cmpf ogt, %i0, %o0 : f32\n"
                                               "    %m = arith.select %g, %i0, %o0 : f32\n"
                                               "    %k = linalg.index 1 : index\n"
                                               "    %j = arith.index_cast %k : index to i32\n"
                                               "    %a = arith.select %g, %j, %o1 : i32\n",
                                       .yield = "%m, %a"},
                 0);
  }
  kernel_check(&(struct kernel_text){.num_in = 1,
                                     .num_out = 2,
                                     .type = {"9xf32", "f32", "i32"},
                                     .map = {"k", "", ""},
                                     .fill = {NULL, "0xFF800000", "0"},
                                     .loops = "k",
                                     .kinds = "r",
                                     .body =
                                         "    %g = arith.cmpf ogt, %i0, %o0 : f32\n"
                                         "    %m = arith.select %g, %i0, %o0 : f32\n    %k = linalg.index 0 : index\n"
                                         "    %j = arith.index_cast %k : index to i32\n"
                                         "    %a = arith.select %g, %j, %o1 : i32\n",
                                     .yield = "%m, %a"},
               0);
}

static void label_lookup(void **state) { // -log p[label], from a one-hot comparison
  (void)state;
  kernel_check(&(struct kernel_text){.num_in = 2,
                                     .num_out = 1,
                                     .type = {"9x10xf32", "9xi32", "9xf32"},
                                     .map = {"n, k", "n", "n"},
                                     .fill = {NULL, NULL, "0.0"},
                                     .loops = "n, k",
                                     .kinds = "pr",
                                     .body =
                                         "    %z = arith.constant 0.0 : f32\n    %k = linalg.index 1 : index\n"
                                         "    %j = arith.index_cast %k : index to i32\n"
                                         "    %h = arith.cmpi eq, %j, %i1 : i32\n"
                                         "    %v = arith.select %h, %i0, %z : f32\n    %s = arith.addf %o0, %v : f32\n",
                                     .yield = "%s"},
               1e-6);
}

// ---- windows, scatters, data movement
// --------------------------------------------------------------------------------

static void max_pool(void **state) {
  (void)state;
  static const int channels[] = {1, 3, 16, 29};
  for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
    FORMAT(x, "2x9x7x%dxf32", channels[i]);
    FORMAT(y, "2x4x3x%dxf32", channels[i]);
    kernel_check(&(struct kernel_text){.num_in = 2,
                                       .num_out = 1,
                                       .type = {x, "3x3xf32", y},
                                       .map = {"n, h * 2 + p, w * 2 + q, c", "p, q", "n, h, w, c"},
                                       .fill = {NULL, NULL, "0xFF800000"},
                                       .loops = "n, h, w, c, p, q",
                                       .kinds = "pppprr",
                                       .body = "    %m = arith.maxnumf %i0, %o0 : f32\n",
                                       .yield = "%m"},
                 0);
  }
}

static void pool_backward(void **state) { // scatter: the output address depends on the window
  (void)state;
  static const int channels[] = {3, 16, 29};
  for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
    FORMAT(x, "3x9x7x%dxf32", channels[i]);
    FORMAT(y, "3x4x3x%dxf32", channels[i]);
    kernel_check(&(struct kernel_text){.num_in = 2,
                                       .num_out = 1,
                                       .type = {y, "3x3xf32", x},
                                       .map = {"n, h, w, c", "p, q", "n, h * 2 + p, w * 2 + q, c"},
                                       .fill = {NULL, NULL, "0.0"},
                                       .loops = "n, h, w, c, p, q",
                                       .kinds = "prrprr",
                                       .body = "    %m = arith.addf %i0, %o0 : f32\n",
                                       .yield = "%m"},
                 1e-6);
  }
}

#define PRODUCT_SUM "    %m = arith.mulf %i0, %i1 : f32\n    %s = arith.addf %o0, %m : f32\n"

struct depthwise {
  int channels, taps, stride, dilation, height, width; // of the results
};

static void depthwise_forward(const struct depthwise *d, const char *fill) {
  int reach = (d->taps - 1) * d->dilation + 1;
  FORMAT(x, "4x%dx%dx%dxf32", (d->height - 1) * d->stride + reach, (d->width - 1) * d->stride + reach, d->channels);
  FORMAT(w, "%dx%dx%dxf32", d->taps, d->taps, d->channels);
  FORMAT(y, "4x%dx%dx%dxf32", d->height, d->width, d->channels);
  FORMAT(window, "n, h * %d + p * %d, w * %d + q * %d, c", d->stride, d->dilation, d->stride, d->dilation);
  kernel_check(&(struct kernel_text){.num_in = 2,
                                     .num_out = 1,
                                     .type = {x, w, y},
                                     .map = {window, "p, q, c", "n, h, w, c"},
                                     .fill = {NULL, NULL, fill},
                                     .loops = "n, h, w, c, p, q",
                                     .kinds = "pppprr",
                                     .body = PRODUCT_SUM,
                                     .yield = "%s"},
               4e-6);
}

// Of chunks of two examples, or of all examples; `spare` further rows of taps keep the fill.
static void depthwise_filter(const struct depthwise *d, bool chunks, int spare, const char *fill) {
  int reach = (d->taps - 1) * d->dilation + 1;
  FORMAT(x, "4x%dx%dx%dxf32", (d->height - 1) * d->stride + reach, (d->width - 1) * d->stride + reach, d->channels);
  FORMAT(w, "%s%dx%dx%dxf32", chunks ? "2x" : "", d->taps + spare, d->taps, d->channels);
  FORMAT(y, "4x%dx%dx%dxf32", d->height, d->width, d->channels);
  const char *example = chunks ? "b * 2 + n" : "n";
  FORMAT(window, "%s, h * %d + p * %d, w * %d + q * %d, c", example, d->stride, d->dilation, d->stride, d->dilation);
  FORMAT(bounds, "%dx%dx%dx%dxf32", chunks ? 2 : 4, d->height, d->width, d->taps); // gives loops their extents
  FORMAT(taps, "%sp + %d, q, c", chunks ? "b, " : "", spare);
  kernel_check(&(struct kernel_text){.num_in = 3,
                                     .num_out = 1,
                                     .type = {x, y, bounds, w},
                                     .map = {window, chunks ? "b * 2 + n, h, w, c" : "n, h, w, c", "n, h, w, p", taps},
                                     .fill = {NULL, NULL, NULL, fill},
                                     .loops = chunks ? "b, p, q, c, n, h, w" : "p, q, c, n, h, w",
                                     .kinds = chunks ? "pppprrr" : "ppprrr",
                                     .body = PRODUCT_SUM,
                                     .yield = "%s"},
               1e-5);
}

// One of the four phases of the gradient of the operand at stride 2: taps read backwards, results are apart.
static void depthwise_data(const struct depthwise *d, const char *fill) {
  FORMAT(dy, "4x%dx%dx%dxf32", d->height + d->taps - 1, d->width + d->taps - 1, d->channels);
  FORMAT(w, "%dx%dx%dxf32", 2 * d->taps, 2 * d->taps, d->channels);
  FORMAT(dx, "4x%dx%dx%dxf32", 2 * d->height, 2 * d->width, d->channels);
  FORMAT(bounds, "%dx%dx%dx%dxf32", d->height, d->width, d->taps, d->taps);
  FORMAT(window, "n, h - p + %d, w - q + %d, c", d->taps - 1, d->taps - 1);
  kernel_check(&(struct kernel_text){.num_in = 3,
                                     .num_out = 1,
                                     .type = {dy, w, bounds, dx},
                                     .map = {window, "p * 2 + 1, q * 2, c", "h, w, p, q", "n, h * 2, w * 2 + 1, c"},
                                     .fill = {NULL, NULL, NULL, fill},
                                     .loops = "n, h, w, c, p, q",
                                     .kinds = "pppprr",
                                     .body = PRODUCT_SUM,
                                     .yield = "%s"},
               4e-6);
}

static void depthwise(void **state) {
  (void)state;
  static const struct depthwise cases[] = {
      {3, 3, 1, 1, 5, 7},  {16, 3, 1, 1, 4, 4},  {40, 3, 2, 1, 3, 17}, {21, 5, 1, 1, 2, 9},
      {33, 5, 2, 2, 3, 2}, {16, 3, 1, 2, 1, 13}, {6, 7, 1, 1, 2, 5},   {130, 3, 1, 1, 3, 29},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    depthwise_forward(&cases[i], "0.0");
    depthwise_filter(&cases[i], true, 0, "0.0");
    depthwise_filter(&cases[i], false, 0, i % 2 ? "0.0" : NULL);
    if (cases[i].stride == 1 && cases[i].dilation == 1) depthwise_data(&cases[i], i % 3 ? "0.0" : NULL);
  }
  depthwise_forward(&cases[1], NULL);
  depthwise_filter(&cases[3], false, 2, "0.5");
  depthwise_filter(&cases[3], true, 1, "0.0");
  // More channels than a part of the images leaves room for in a cache.
  depthwise_filter(&(struct depthwise){1600, 3, 1, 1, 7, 9}, true, 0, "0.0");
  depthwise_forward(&(struct depthwise){800, 3, 1, 1, 9, 11}, "0.0");
}

static void padding_copy(void **state) { // NHWC to packed blocks with a halo
  (void)state;
  kernel_check(&(struct kernel_text){.num_in = 1,
                                     .num_out = 1,
                                     .type = {"3x5x4x48xf32", "3x3x7x6x16xf32"},
                                     .map = {"n, h, w, b * 16 + c", "n, b, h + 1, w + 1, c"},
                                     .fill = {NULL, "0.0"},
                                     .loops = "n, b, h, w, c",
                                     .kinds = "ppppp",
                                     .body = "",
                                     .yield = "%i0"},
               0);
  kernel_check(&(struct kernel_text){.num_in = 1,
                                     .num_out = 1,
                                     .type = {"3x5x4x3xf32", "1x3x9x6x3xf32"},
                                     .map = {"n, h, w, c", "u, n, h + 2, w + 1, c"},
                                     .fill = {NULL, "0.0"},
                                     .loops = "u, n, h, w, c",
                                     .kinds = "ppppp",
                                     .body = "",
                                     .yield = "%i0"},
               0);
}

static void transpose(void **state) {
  (void)state;
  static const int sizes[][2] = {{37, 21}, {16, 32}, {5, 48}, {64, 4}, {3, 70}, {130, 17}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    FORMAT(from, "3x%dx%dxf32", sizes[i][0], sizes[i][1]);
    FORMAT(to, "%dx3x%dxf32", sizes[i][1], sizes[i][0]);
    kernel_check(&(struct kernel_text){.num_in = 1,
                                       .num_out = 1,
                                       .type = {from, to},
                                       .map = {"n, i, j", "j, n, i"},
                                       .loops = "n, i, j",
                                       .kinds = "ppp",
                                       .body = "",
                                       .yield = "%i0"},
                 0);
  }
  // Weights of a data gradient: blocks of 14 features behind one that is not written, tiles of 20 channels.
  for (int fill = 0; fill < 2; fill++)
    kernel_check(&(struct kernel_text){.num_in = 2,
                                       .num_out = 1,
                                       .type = {"3x2x20x40xf32", "1x2xf32", "1x3x3x2x14x20xf32"},
                                       .map = {"p, q, c, b * 14 + f", "t, b", "t, b + 1, p, q, f, c"},
                                       .fill = {NULL, NULL, fill ? "0.0" : NULL},
                                       .loops = "t, b, p, q, f, c",
                                       .kinds = "pppppp",
                                       .body = "",
                                       .yield = "%i0"},
                 0);
}

static void strided_output(void **state) { // one phase of an upsampling; the rest is the fill
  (void)state;
  kernel_check(&(struct kernel_text){.num_in = 1,
                                     .num_out = 1,
                                     .type = {"2x3x5xf32", "2x6x10xf32"},
                                     .map = {"n, i, j", "n, i * 2 + 1, j * 2"},
                                     .fill = {NULL, "0.0"},
                                     .loops = "n, i, j",
                                     .kinds = "ppp",
                                     .body = "    %s = arith.addf %o0, %i0 : f32\n",
                                     .yield = "%s"},
               0);
}

static void integer_hash(void **state) { // counter-based dropout mask
  (void)state;
  kernel_check(
      &(struct kernel_text){.num_in = 2,
                            .num_out = 1,
                            .type = {"53xf32", "i64", "53xf32"},
                            .map = {"i", "", "i"},
                            .loops = "i",
                            .kinds = "p",
                            .body = "    %k = linalg.index 0 : index\n    %a = arith.index_cast %k : index to i64\n"
                                    "    %b = arith.addi %a, %i1 : i64\n"
                                    "    %c = arith.constant 6364136223846793005 : i64\n"
                                    "    %d = arith.muli %b, %c : i64\n    %e = arith.constant 40 : i64\n"
                                    "    %f = arith.shrui %d, %e : i64\n    %g = arith.trunci %f : i64 to i32\n"
                                    "    %h = arith.constant 8388608 : i32\n"
                                    "    %l = arith.cmpi ult, %g, %h : i32\n    %z = arith.constant 0.0 : f32\n"
                                    "    %s = arith.select %l, %i0, %z : f32\n",
                            .yield = "%s"},
      0);
  kernel_check(&(struct kernel_text){.num_in = 2,
                                     .num_out = 1,
                                     .type = {"23xi32", "23xi32", "23xi32"},
                                     .map = {"i", "i", "i"},
                                     .loops = "i",
                                     .kinds = "p",
                                     .body = "    %o = arith.constant 1 : i32\n    %a = arith.addi %i1, %o : i32\n"
                                             "    %s = arith.divsi %i0, %a : i32\n",
                                     .yield = "%s"},
               0);
}

static void kernels_were_cut(void **state) {
  (void)state;
  assert_true(cpu.num_cut > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(elementwise_sizes),
      cmocka_unit_test(broadcast_channels),
      cmocka_unit_test(scalar_operand_and_in_place),
      cmocka_unit_test(no_loops),
      cmocka_unit_test(row_reductions),
      cmocka_unit_test(column_reductions),
      cmocka_unit_test(sums_by_example),
      cmocka_unit_test(full_reduction),
      cmocka_unit_test(coupled_argmax),
      cmocka_unit_test(label_lookup),
      cmocka_unit_test(max_pool),
      cmocka_unit_test(pool_backward),
      cmocka_unit_test(depthwise),
      cmocka_unit_test(padding_copy),
      cmocka_unit_test(transpose),
      cmocka_unit_test(strided_output),
      cmocka_unit_test(integer_hash),
      cmocka_unit_test(kernels_were_cut), // last
  };
  return cmocka_run_group_tests(tests, cpu_set_up, cpu_tear_down);
}
