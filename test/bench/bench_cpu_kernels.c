// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Speed of emitted kernel functions on one thread of the host, as one JSON object a line:
//   {"kernel": "fwd 64-64 3x3@32", "gflops": 190.1, "peak": 0.93, "ms": 4.1, "compile_ms": 21.0, "range": 64}
// peak: fraction of the multiply-add rate measured in the same run. Elementwise kernels report "gbps" instead.
// Arguments: [--batch N] [substring of the kernels to run]
#include "test/unit/cpu_kernels.h"

#include <immintrin.h>
#include <time.h>

static MlirContext context;
static struct anas_cpu_target target;
static double peak_gflops;
static const char *filter = "";

static double thread_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// The accumulators are unrolled by hand so that they stay in registers at any optimisation level.
#define PEAK_LOOP(name, feature, vector, set, fma, lanes)                                                              \
  __attribute__((target(feature), noinline)) static double name(int64_t iterations) {                                  \
    vector x = set(1.0f), y = set(1e-9f);                                                                              \
    vector a = set(1), b = set(2), c = set(3), d = set(4), e = set(5), f = set(6), g = set(7), h = set(8);             \
    vector i = set(9), j = set(10), k = set(11), l = set(12);                                                          \
    for (int64_t n = 0; n < iterations; n++) {                                                                         \
      a = fma(x, y, a), b = fma(x, y, b), c = fma(x, y, c), d = fma(x, y, d), e = fma(x, y, e), f = fma(x, y, f);      \
      g = fma(x, y, g), h = fma(x, y, h), i = fma(x, y, i), j = fma(x, y, j), k = fma(x, y, k), l = fma(x, y, l);      \
      __asm__ volatile("" : "+v"(x), "+v"(y));                                                                         \
    }                                                                                                                  \
    __asm__ volatile("" : : "v"(a), "v"(b), "v"(c), "v"(d), "v"(e), "v"(f));                                           \
    __asm__ volatile("" : : "v"(g), "v"(h), "v"(i), "v"(j), "v"(k), "v"(l));                                           \
    return 2.0 * lanes * 12 * (double)iterations;                                                                      \
  }
PEAK_LOOP(peak512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, 16)
PEAK_LOOP(peak256, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, 8)
static inline __m128 multiply_add(__m128 a, __m128 b, __m128 c) {
  return _mm_add_ps(_mm_mul_ps(a, b), c);
}
PEAK_LOOP(peak128, "sse2", __m128, _mm_set1_ps, multiply_add, 4)

static double measure_peak(void) {
  double best = 0;
  for (int i = 0; i < 8; i++) {
    double start = thread_seconds();
    double flops = target.lanes == 16 ? peak512(2000000) : target.lanes == 8 ? peak256(2000000) : peak128(2000000);
    double rate = flops / (thread_seconds() - start) / 1e9;
    if (rate > best) best = rate;
  }
  return best;
}

// flops > 0: report gflops; else gbps from bytes of all operands.
static void bench(const char *name, const struct kernel_text *kernel, double flops) {
  if (!strstr(name, filter)) return;
  char *text = kernel_text_print(kernel);
  struct kernel_operand operand[KERNEL_MAX_OPERANDS];
  struct kernel_code code;
  int num;
  double start = thread_seconds();
  if (!kernel_compile(context, text, &target, &code, operand, &num)) exit(1);
  double compile = thread_seconds() - start, bytes = 0;
  if (getenv("ANAS_BENCH_IR")) fputs(code.ir, stderr);
  void *pointers[KERNEL_MAX_OPERANDS];
  for (int i = 0; i < num; i++) {
    size_t size = (size_t)(operand[i].elements * operand[i].bytes);
    pointers[i] = aligned_alloc(64, (size + 4095) / 4096 * 4096);
    for (int64_t j = 0; j < operand[i].elements && operand[i].is_float; j++)
      ((float *)pointers[i])[j] = 0.01f * (float)(j % 13);
    bytes += (double)size;
  }
  double best = 1e9, total = 0;
  for (int runs = 0; total < 0.25 || runs < 3; runs++) {
    start = thread_seconds();
    kernel_run(&code, pointers, num, 1);
    double seconds = thread_seconds() - start;
    total += seconds;
    if (seconds < best) best = seconds;
  }
  printf("{\"kernel\": \"%s\", ", name);
  if (flops > 0)
    printf("\"gflops\": %.1f, \"peak\": %.3f, ", flops / best / 1e9, flops / best / 1e9 / peak_gflops);
  else
    printf("\"gbps\": %.1f, ", bytes / best / 1e9);
  printf("\"ms\": %.4f, \"compile_ms\": %.1f, \"range\": %lld}\n", best * 1e3, compile * 1e3,
         (long long)code.iterations[0]);
  fflush(stdout);
  for (int i = 0; i < num; i++)
    free(pointers[i]);
  kernel_release(&code);
  free(text);
}

#define FORMAT(name, ...)                                                                                              \
  char name[256];                                                                                                      \
  snprintf(name, sizeof name, __VA_ARGS__)

static const char multiply_add_body[] =
    "    %m = arith.mulf %i0, %i1 fastmath<contract> : f32\n    %s = arith.addf %o0, %m fastmath<contract> : f32\n";

static void contraction(const char *name, double macs, const char *a, const char *b, const char *c, const char *map_a,
                        const char *map_b, const char *map_c, const char *loops, const char *kinds) {
  bench(name,
        &(struct kernel_text){.num_in = 2,
                              .num_out = 1,
                              .type = {a, b, c},
                              .map = {map_a, map_b, map_c},
                              .fill = {NULL, NULL, "0.0"},
                              .loops = loops,
                              .kinds = kinds,
                              .body = multiply_add_body,
                              .yield = "%s"},
        2 * macs);
}

// One convolution layer (square images and windows) in the layouts of dialect/ops/conv_train.c.
static void conv(int n, int out, int channels, int features, int window, int stride, bool data) {
  int cb = channels < 16 ? channels : 16, blocks = channels / cb, fb = 16, groups = features / fb;
  int in = (out - 1) * stride + window;
  double macs = (double)n * out * out * channels * features * window * window;
  FORMAT(x, "%dx%dx%dx%dx%dxf32", n, blocks, in, in, cb);
  FORMAT(y, "%dx%dx%dx%dxf32", n, out, out, features);
  FORMAT(w, "%dx%dx%dx%dx%dx32xf32", features / 32, blocks, window, window, cb);
  FORMAT(map_x, "n, b, h * %d + p, w * %d + q, c", stride, stride);
  FORMAT(name, "fwd %d-%d %dx%d/%d@%d", channels, features, window, window, stride, out);
  contraction(name, macs, x, w, y, map_x, "t, b, p, q, c, l", "n, h, w, t * 32 + l", "t, n, h, w, l, b, p, q, c",
              "ppppprrrr");
  FORMAT(dy, "%dx%dx%dx%dx%dxf32", n, groups, out, out, fb);
  FORMAT(dk, "%dx%dx%dx%dxf32", window, window, channels, features);
  FORMAT(map_k, "p, q, b * %d + c, g * %d + f", cb, fb);
  FORMAT(taps, "%dx%dxf32", window, window);
  FORMAT(filter_name, "bwd_filter %d-%d %dx%d/%d@%d", channels, features, window, window, stride, out);
  bench(filter_name,
        &(struct kernel_text){.num_in = 3,
                              .num_out = 1,
                              .type = {x, dy, taps, dk},
                              .map = {map_x, "n, g, h, w, f", "p, q", map_k},
                              .fill = {NULL, NULL, NULL, "0.0"},
                              .loops = "g, p, q, b, c, f, n, h, w",
                              .kinds = "pppppprrr",
                              .body = multiply_add_body,
                              .yield = "%s"},
        2 * macs);
  if (!data) return;
  // The phase with the most taps; its share of the work is that of its taps.
  int most = (window + stride - 1) / stride, extent = out + most - 1;
  FORMAT(dq, "%dx%dx%dx%dx16xf32", n, groups, extent, extent);
  FORMAT(wt, "%dx%dx%dx%dx16x32xf32", channels / 32, groups, window, window);
  FORMAT(dx, "%dx%dx%dx%dxf32", n, out * stride, out * stride, channels);
  FORMAT(extents, "%dx%dx%dx%dxf32", out, out, most, most);
  FORMAT(map_w, "t, b, p * %d, q * %d, c, l", stride, stride);
  FORMAT(map_dx, "n, h * %d, w * %d, t * 32 + l", stride, stride);
  FORMAT(data_name, "bwd_data %d-%d %dx%d/%d@%d", channels, features, window, window, stride, out);
  bench(data_name,
        &(struct kernel_text){.num_in = 3,
                              .num_out = 1,
                              .type = {dq, wt, extents, dx},
                              .map = {"n, b, h + p, w + q, c", map_w, "h, w, p, q", map_dx},
                              .fill = {NULL, NULL, NULL, "0.0"},
                              .loops = "t, n, h, w, l, b, p, q, c",
                              .kinds = "ppppprrrr",
                              .body = multiply_add_body,
                              .yield = "%s"},
        2.0 * n * out * out * channels * features * most * most);
}

static void dense(int n, int channels, int features) {
  FORMAT(x, "%dx%dxf32", n, channels);
  FORMAT(w, "%dx%dxf32", channels, features);
  FORMAT(y, "%dx%dxf32", n, features);
  FORMAT(name, "dense %dx%dx%d", n, channels, features);
  FORMAT(filter_name, "dense_bwd_filter %dx%dx%d", n, channels, features);
  double macs = (double)n * channels * features;
  contraction(name, macs, x, w, y, "n, c", "c, f", "n, f", "n, f, c", "ppr");
  contraction(filter_name, macs, x, y, w, "n, c", "n, f", "c, f", "c, f, n", "ppr");
}

// Attention of n examples: query times keys, weights times values, and the product with transposed weights that is the
// gradient of keys and values.
static void attention(int n, int tokens, int heads, int d) {
  FORMAT(x, "%dx%dx%dx%dxf32", n, tokens, heads, d);
  FORMAT(w, "%dx%dx%dx%dxf32", n, heads, tokens, tokens);
  FORMAT(shape, "%dx%d@%d", heads, d, tokens);
  double macs = (double)n * heads * tokens * tokens * d;
  FORMAT(keys, "query_keys %s", shape);
  contraction(keys, macs, x, x, w, "b, q, h, d", "b, k, h, d", "b, h, q, k", "b, h, q, k, d", "ppppr");
  FORMAT(values, "weights_values %s", shape);
  contraction(values, macs, w, x, x, "b, h, q, k", "b, k, h, d", "b, q, h, d", "b, q, h, d, k", "ppppr");
  FORMAT(gradient, "weights_bwd %s", shape);
  contraction(gradient, macs, w, x, x, "b, h, q, k", "b, q, h, d", "b, k, h, d", "b, k, h, d, q", "ppppr");
}

static void maps(int n) {
  FORMAT(x, "%dx32x32x64xf32", n);
  const char *same = "n, h, w, c";
  bench("relu",
        &(struct kernel_text){.num_in = 1,
                              .num_out = 1,
                              .type = {x, x},
                              .map = {same, same},
                              .loops = same,
                              .kinds = "pppp",
                              .body = "    %z = arith.constant 0.0 : f32\n"
                                      "    %r = arith.maxnumf %i0, %z : f32\n",
                              .yield = "%r"},
        0);
  bench("scale_shift_relu",
        &(struct kernel_text){.num_in = 3,
                              .num_out = 1,
                              .type = {x, "64xf32", "64xf32", x},
                              .map = {same, "c", "c", same},
                              .loops = same,
                              .kinds = "pppp",
                              .body = "    %z = arith.constant 0.0 : f32\n"
                                      "    %m = arith.mulf %i0, %i1 fastmath<contract> : f32\n"
                                      "    %a = arith.addf %m, %i2 fastmath<contract> : f32\n"
                                      "    %r = arith.maxnumf %a, %z : f32\n",
                              .yield = "%r"},
        0);
  bench("channel_sums",
        &(struct kernel_text){.num_in = 1,
                              .num_out = 2,
                              .type = {x, "64xf32", "64xf32"},
                              .map = {same, "c", "c"},
                              .fill = {NULL, "0.0", "0.0"},
                              .loops = same,
                              .kinds = "rrrp",
                              .body = "    %a = arith.addf %o0, %i0 : f32\n"
                                      "    %q = arith.mulf %i0, %i0 fastmath<contract> : f32\n"
                                      "    %b = arith.addf %o1, %q fastmath<contract> : f32\n",
                              .yield = "%a, %b"},
        0);
  static const char *const functions[] = {"exp", "tanh", "erf", "log"};
  for (int i = 0; i < 4; i++) {
    FORMAT(body, "    %%r = math.%s %%i0 : f32\n", functions[i]);
    bench(functions[i],
          &(struct kernel_text){.num_in = 1,
                                .num_out = 1,
                                .type = {"65536xf32", "65536xf32"},
                                .map = {"i", "i"},
                                .loops = "i",
                                .kinds = "p",
                                .body = body,
                                .yield = "%r"},
          0);
  }
  FORMAT(pooled, "%dx16x16x64xf32", n);
  bench("max_pool 3x3/2",
        &(struct kernel_text){.num_in = 3,
                              .num_out = 1,
                              .type = {"1x33x33x64xf32", "3x3xf32", "1xf32", "1x16x16x64xf32"},
                              .map = {"n, h * 2 + p, w * 2 + q, c", "p, q", "n", same},
                              .fill = {NULL, NULL, NULL, "0xFF800000"},
                              .loops = "n, h, w, c, p, q",
                              .kinds = "pppprr",
                              .body = "    %r = arith.maxnumf %o0, %i0 : f32\n",
                              .yield = "%r"},
        0);
  FORMAT(packed, "%dx4x34x34x16xf32", n);
  bench("pack",
        &(struct kernel_text){.num_in = 1,
                              .num_out = 1,
                              .type = {x, packed},
                              .map = {"n, h, w, b * 16 + c", "n, b, h + 1, w + 1, c"},
                              .fill = {NULL, "0.0"},
                              .loops = "n, b, h, w, c",
                              .kinds = "ppppp",
                              .body = "",
                              .yield = "%i0"},
        0);
  bench("pack_weights",
        &(struct kernel_text){.num_in = 1,
                              .num_out = 1,
                              .type = {"3x3x512x512xf32", "16x32x3x3x16x32xf32"},
                              .map = {"p, q, b * 16 + c, t * 32 + l", "t, b, p, q, c, l"},
                              .loops = "t, b, p, q, c, l",
                              .kinds = "pppppp",
                              .body = "",
                              .yield = "%i0"},
        0);
  bench("pack_weights transposed",
        &(struct kernel_text){.num_in = 1,
                              .num_out = 1,
                              .type = {"3x3x512x512xf32", "16x32x3x3x16x32xf32"},
                              .map = {"p, q, t * 32 + l, b * 16 + c", "t, b, p, q, c, l"},
                              .loops = "t, b, p, q, c, l",
                              .kinds = "pppppp",
                              .body = "",
                              .yield = "%i0"},
        0);
  FORMAT(padded, "%dx18x18x96xf32", n);
  FORMAT(plain, "%dx16x16x96xf32", n);
  bench("depthwise 96 3x3@16",
        &(struct kernel_text){.num_in = 2,
                              .num_out = 1,
                              .type = {padded, "3x3x96xf32", plain},
                              .map = {"n, h + p, w + q, c", "p, q, c", same},
                              .fill = {NULL, NULL, "0.0"},
                              .loops = "n, h, w, c, p, q",
                              .kinds = "pppprr",
                              .body = multiply_add_body,
                              .yield = "%s"},
        2.0 * n * 16 * 16 * 96 * 9);
  bench("depthwise_bwd_filter 96 3x3@16",
        &(struct kernel_text){.num_in = 3,
                              .num_out = 1,
                              .type = {padded, plain, "3x3xf32", "3x3x96xf32"},
                              .map = {"n, h + p, w + q, c", same, "p, q", "p, q, c"},
                              .fill = {NULL, NULL, NULL, "0.0"},
                              .loops = "p, q, c, n, h, w",
                              .kinds = "ppprrr",
                              .body = multiply_add_body,
                              .yield = "%s"},
        2.0 * n * 16 * 16 * 96 * 9);
}

int main(int argc, char **argv) {
  int n = 64;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--batch") == 0 && i + 1 < argc)
      n = atoi(argv[++i]);
    else
      filter = argv[i];
  }
  context = anas_context_create(false);
  const char *cpu = getenv("ANAS_BENCH_CPU");
  if (anas_cpu_target_init(cpu, &target) != ANAS_OK) {
    fprintf(stderr, "%s\n", anas_error_message());
    return 1;
  }
  peak_gflops = measure_peak();
  printf("{\"cpu\": \"%s\", \"lanes\": %d, \"peak_gflops\": %.1f}\n", target.cpu, target.lanes, peak_gflops);
  conv(n, 32, 3, 64, 3, 1, false);
  conv(n, 32, 64, 64, 3, 1, true);
  conv(n, 16, 128, 128, 3, 1, true);
  conv(n, 8, 256, 256, 3, 1, true);
  conv(n, 4, 512, 512, 3, 1, true);
  conv(n, 2, 512, 512, 3, 1, true);
  conv(n, 16, 64, 128, 3, 2, true);
  conv(n, 8, 128, 256, 1, 2, true);
  conv(n, 8, 256, 1024, 1, 1, true);
  dense(128, 6272, 256);
  dense(128, 512, 10);
  dense(n / 2 * 197, 384, 384);
  dense(n / 2 * 197, 384, 1536);
  dense(n / 2 * 197, 1536, 384);
  attention(n / 2, 49, 6, 64);
  attention(n / 2, 65, 3, 64);
  attention(n / 2, 197, 6, 64);
  maps(n);
  anas_cpu_target_deinit(&target);
  mlirContextDestroy(context);
  return 0;
}
