// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every kind of nest, at awkward sizes and for every vector width this machine can run: the emitted code against the
// stock loop lowering of the same kernel function.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "test/unit/cpu_kernels.h"

static MlirContext context;
static struct anas_cpu_target targets[3];
static int num_targets;

static void fill_inputs(struct kernel_buffer *buffer, const struct kernel_operand *operand, struct anas_rng *rng) {
  for (int64_t i = 0; i < operand->elements; i++) {
    if (operand->is_float)
      ((float *)buffer->data)[i] = (float)(2 * anas_rng_double(rng) - 1);
    else if (operand->bytes == 4)
      ((int32_t *)buffer->data)[i] = (int32_t)anas_rng_below(rng, 7);
    else
      ((int64_t *)buffer->data)[i] = (int64_t)anas_rng_below(rng, 1000);
  }
}

// tolerance is relative to 1 + |reference|.
static void compare(const char *text, const struct kernel_code *code, const struct anas_cpu_target *target, int which,
                    const struct kernel_operand *operand, const void *got, const void *expected, double tolerance) {
  for (int64_t i = 0; i < operand->elements; i++) {
    double a, b;
    if (operand->is_float)
      a = ((const float *)got)[i], b = ((const float *)expected)[i];
    else if (operand->bytes == 4)
      a = ((const int32_t *)got)[i], b = ((const int32_t *)expected)[i];
    else
      a = (double)((const int64_t *)got)[i], b = (double)((const int64_t *)expected)[i];
    if (a == b || fabs(a - b) <= tolerance * (1 + fabs(b))) continue;
    fail_msg("%s: operand %d, element %lld is %.9g, expected %.9g\n%s\n%s", target->cpu, which, (long long)i, a, b,
             text, code->ir);
  }
}

// Operand o has the first loop as its first index.
static bool starts_with_first_loop(const struct kernel_text *kernel, int o) {
  size_t length = strcspn(kernel->loops, ",");
  return length > 0 && !strncmp(kernel->map[o], kernel->loops, length) &&
         (kernel->map[o][length] == ',' || !kernel->map[o][length]);
}

// Part p of a kernel that says how it can be cut computes what belongs to iteration p of the first loop, and nothing
// else.
static void check_part(const struct kernel_text *kernel, const char *text, const struct kernel_code *code, int64_t p,
                       const struct kernel_operand *operand, void *const *input, void *const *whole) {
  int num = kernel->num_in + kernel->num_out;
  void *got[KERNEL_MAX_OPERANDS];
  for (int i = 0; i < num; i++) {
    size_t bytes = (size_t)(operand[i].elements * operand[i].bytes);
    got[i] = anas_alloc(bytes);
    memcpy(got[i], input[i], bytes);
  }
  int64_t part = code->iterations[0] / code->leading;
  code->part[0](got, p * part, (p + 1) * part);
  for (int i = 0; i < num; i++) {
    size_t share = (size_t)(operand[i].elements / code->leading * operand[i].bytes), at = (size_t)p * share;
    size_t rest = (size_t)(operand[i].elements * operand[i].bytes) - at - share;
    const char *g = got[i], *in = input[i], *all = whole[i];
    if (i >= kernel->num_in && starts_with_first_loop(kernel, i) &&
        (memcmp(g, in, at) || memcmp(g + at, all + at, share) || memcmp(g + at + share, in + at + share, rest)))
      fail_msg("operand %d: part %d of %d is not iteration %d of the first loop\n%s\n%s", i, (int)p, (int)code->leading,
               (int)p, text, code->ir);
    free(got[i]);
  }
}

static int num_cut; // kernels whose parts were run

// kernel: what the text was printed from; null: it was not.
static void check_text(const char *text, const struct kernel_text *kernel, double tolerance) {
  struct kernel_operand operand[KERNEL_MAX_OPERANDS];
  struct kernel_code reference;
  int num;
  assert_true(kernel_compile(context, text, NULL, &reference, operand, &num));
  struct kernel_buffer input[KERNEL_MAX_OPERANDS], expected[KERNEL_MAX_OPERANDS], got[KERNEL_MAX_OPERANDS];
  void *pointers[KERNEL_MAX_OPERANDS];
  struct anas_rng rng = anas_rng_make(7);
  for (int i = 0; i < num; i++) {
    kernel_buffer_init(&input[i], &operand[i]);
    kernel_buffer_init(&expected[i], &operand[i]);
    kernel_buffer_init(&got[i], &operand[i]);
    fill_inputs(&input[i], &operand[i], &rng);
    memcpy(expected[i].data, input[i].data, input[i].bytes);
    pointers[i] = expected[i].data;
  }
  kernel_run(&reference, pointers, num, 1);
  for (int t = 0; t < num_targets; t++) {
    struct kernel_code code;
    assert_true(kernel_compile(context, text, &targets[t], &code, NULL, NULL));
    // In one piece, then in pieces from the back: iterations must not depend on each other.
    for (int pieces = 1; pieces <= 3; pieces += 2) {
      for (int i = 0; i < num; i++) {
        memcpy(got[i].data, input[i].data, input[i].bytes);
        pointers[i] = got[i].data;
      }
      kernel_run(&code, pointers, num, pieces);
      for (int i = 0; i < num; i++) {
        compare(text, &code, &targets[t], i, &operand[i], got[i].data, expected[i].data, tolerance);
        assert_true(kernel_buffer_intact(&got[i]));
      }
    }
    assert_true(code.leading == 0 || code.iterations[0] % code.leading == 0);
    num_cut += code.leading > 1;
    void *in[KERNEL_MAX_OPERANDS];
    for (int i = 0; i < num; i++)
      in[i] = input[i].data;
    for (int64_t p = 0; p < code.leading && kernel; p++)
      check_part(kernel, text, &code, p, operand, in, pointers);
    kernel_release(&code);
  }
  for (int i = 0; i < num; i++) {
    kernel_buffer_deinit(&input[i]);
    kernel_buffer_deinit(&expected[i]);
    kernel_buffer_deinit(&got[i]);
  }
  kernel_release(&reference);
}

static void kernels_were_cut(void **state) {
  (void)state;
  assert_true(num_cut > 100);
}

static void check(const struct kernel_text *kernel, double tolerance) {
  char *text = kernel_text_print(kernel);
  check_text(text, kernel, tolerance);
  free(text);
}

#define FORMAT(name, ...)                                                                                              \
  char name[256];                                                                                                      \
  snprintf(name, sizeof name, __VA_ARGS__)

// ---- maps
// ------------------------------------------------------------------------------------------------------------

static void elementwise_sizes(void **state) {
  (void)state;
  for (int n = 1; n <= 70; n += n < 20 ? 1 : 7) {
    FORMAT(type, "%dxf32", n);
    check(&(struct kernel_text){.num_in = 2,
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
  check(&(struct kernel_text){.num_in = 1,
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
    check(&(struct kernel_text){.num_in = 3,
                                .num_out = 1,
                                .type = {x, c, c, x},
                                .map = {"n, h, w, c", "c", "c", "n, h, w, c"},
                                .loops = "n, h, w, c",
                                .kinds = "pppp",
                                .body = "    %z = arith.constant 0.0 : f32\n    %p = arith.mulf %i0, %i1 : f32\n"
                                        "    %s = arith.addf %p, %i2 : f32\n    %r = arith.maxnumf %s, %z : f32\n",
                                .yield = "%r"},
          1e-6);
  }
}

static void scalar_operand_and_in_place(void **state) { // momentum update
  (void)state;
  check(&(struct kernel_text){.num_in = 2,
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
  check(&(struct kernel_text){.num_in = 1,
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
      check(&(struct kernel_text){.num_in = 1,
                                  .num_out = 2,
                                  .type = {x, "5xf32", "5xf32"},
                                  .map = {"i, j", "i", "i"},
                                  .fill = {NULL, fill ? "0.0" : NULL, fill ? "0xFF800000" : NULL},
                                  .loops = "i, j",
                                  .kinds = "pr",
                                  .body = "    %q = arith.mulf %i0, %i0 : f32\n    %s = arith.addf %o0, %q : f32\n"
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
      check(&(struct kernel_text){.num_in = 1,
                                  .num_out = 2,
                                  .type = {x, c, c},
                                  .map = {"n, h, w, c", "c", "c"},
                                  .fill = {NULL, fill ? "0.0" : NULL, fill ? "0.0" : NULL},
                                  .loops = "c, n, h, w",
                                  .kinds = "prrr",
                                  .body = "    %q = arith.mulf %i0, %i0 : f32\n    %s = arith.addf %o0, %i0 : f32\n"
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
        check(&(struct kernel_text){.num_in = 2,
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
  check(&(struct kernel_text){.num_in = 1,
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
    check(&(struct kernel_text){.num_in = 1,
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
  check(&(struct kernel_text){.num_in = 1,
                              .num_out = 2,
                              .type = {"9xf32", "f32", "i32"},
                              .map = {"k", "", ""},
                              .fill = {NULL, "0xFF800000", "0"},
                              .loops = "k",
                              .kinds = "r",
                              .body = "    %g = arith.cmpf ogt, %i0, %o0 : f32\n"
                                      "    %m = arith.select %g, %i0, %o0 : f32\n    %k = linalg.index 0 : index\n"
                                      "    %j = arith.index_cast %k : index to i32\n"
                                      "    %a = arith.select %g, %j, %o1 : i32\n",
                              .yield = "%m, %a"},
        0);
}

static void label_lookup(void **state) { // -log p[label], from a one-hot comparison
  (void)state;
  check(&(struct kernel_text){.num_in = 2,
                              .num_out = 1,
                              .type = {"9x10xf32", "9xi32", "9xf32"},
                              .map = {"n, k", "n", "n"},
                              .fill = {NULL, NULL, "0.0"},
                              .loops = "n, k",
                              .kinds = "pr",
                              .body = "    %z = arith.constant 0.0 : f32\n    %k = linalg.index 1 : index\n"
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
    check(&(struct kernel_text){.num_in = 2,
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
    check(&(struct kernel_text){.num_in = 2,
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
  check(&(struct kernel_text){.num_in = 2,
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
  check(&(struct kernel_text){.num_in = 3,
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
  check(&(struct kernel_text){.num_in = 3,
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
  check(&(struct kernel_text){.num_in = 1,
                              .num_out = 1,
                              .type = {"3x5x4x48xf32", "3x3x7x6x16xf32"},
                              .map = {"n, h, w, b * 16 + c", "n, b, h + 1, w + 1, c"},
                              .fill = {NULL, "0.0"},
                              .loops = "n, b, h, w, c",
                              .kinds = "ppppp",
                              .body = "",
                              .yield = "%i0"},
        0);
  check(&(struct kernel_text){.num_in = 1,
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
    check(&(struct kernel_text){.num_in = 1,
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
    check(&(struct kernel_text){.num_in = 2,
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
  check(&(struct kernel_text){.num_in = 1,
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
  check(&(struct kernel_text){.num_in = 2,
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
  check(&(struct kernel_text){.num_in = 2,
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

// ---- contractions
// ----------------------------------------------------------------------------------------------------

static const char multiply_add[] = "    %m = arith.mulf %i0, %i1 : f32\n    %s = arith.addf %o0, %m : f32\n";

static void contraction(const char *a, const char *b, const char *c, const char *map_a, const char *map_b,
                        const char *map_c, const char *loops, const char *kinds, int terms, bool fill) {
  check(&(struct kernel_text){.num_in = 2,
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
      check(&(struct kernel_text){.num_in = 3, // the third operand only gives extents
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
      check(&(struct kernel_text){.num_in = 3,
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
    check(
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
  (void)state;
  context = anas_context_create(false);
  num_targets = kernel_targets(targets);
  for (int i = 0; i < num_targets; i++) // has tests of its own, and larger errors
    targets[i].winograd = ANAS_WINOGRAD_OFF;
  return num_targets > 0 ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  for (int i = 0; i < num_targets; i++)
    anas_cpu_target_deinit(&targets[i]);
  mlirContextDestroy(context);
  return 0;
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
      cmocka_unit_test(matrix_products),
      cmocka_unit_test(attention_products),
      cmocka_unit_test(conv_forward),
      cmocka_unit_test(conv_backward_data),
      cmocka_unit_test(conv_backward_filter),
      cmocka_unit_test(streams),
      cmocka_unit_test(kernels_were_cut), // last
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
