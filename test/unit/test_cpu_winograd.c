// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Convolutions by Winograd's algorithm against sums in double precision, with the error of the direct kernel beside it.
#include "passes/cpu/cpu.h"
#include "test/unit/cpu_fixture.h"

// Largest error, in deviations of the result. Each of the two transforms of results of 4 x 4 loses about two bits.
#define BOUND 1e-4

struct conv {
  int n, height, width, blocks, block, tiles, lane; // channels and features: blocks * block, tiles * lane
  bool reversed;                                    // taps of the data gradient
  bool add;                                         // to what is in the result
};

struct data {
  double *exact; // from the inputs as f32
  double deviation;
};

static char *print_text(const struct conv *c) {
  struct anas_strbuf type[4] = {0}, map = {0};
  int cols = c->width + 2, positions = (c->height + 2) * cols;
  anas_strbuf_addf(&type[0], "%dx%dx%dxf32", c->n, c->blocks * positions, c->block);
  anas_strbuf_addf(&type[1], "%dx%dx3x3x%dx%dxf32", c->tiles, c->blocks, c->block, c->lane);
  anas_strbuf_addf(&type[2], "%dx%dx%dx3x3xf32", c->height, c->width, c->blocks);
  anas_strbuf_addf(&type[3], "%dx%dx%dx%dxf32", c->n, c->height, c->width, c->tiles * c->lane);
  if (c->reversed)
    anas_strbuf_addf(&map, "n, b * %d + h * %d + w - p * %d - q + %d, c", positions, cols, cols, 2 * cols + 2);
  else
    anas_strbuf_addf(&map, "n, b * %d + h * %d + w + p * %d + q, c", positions, cols, cols);
  struct anas_strbuf result = {0};
  anas_strbuf_addf(&result, "n, h, w, t * %d + l", c->lane);
  char *text = kernel_text_print(
      &(struct kernel_text){.num_in = 3, // the third operand only gives extents
                            .num_out = 1,
                            .type = {type[0].data, type[1].data, type[2].data, type[3].data},
                            .map = {map.data, "t, b, p, q, c, l", "h, w, b, p, q", result.data},
                            .fill = {NULL, NULL, NULL, c->add ? NULL : "0.0"},
                            .loops = "t, n, h, w, l, b, p, q, c",
                            .kinds = "ppppprrrr",
                            .body = "    %p = arith.mulf %i0, %i1 : f32\n    %s = arith.addf %o0, %p : f32\n",
                            .yield = "%s"});
  for (int i = 0; i < 4; i++)
    anas_strbuf_deinit(&type[i]);
  anas_strbuf_deinit(&map);
  anas_strbuf_deinit(&result);
  return text;
}

static struct data make_exact(const struct conv *c, const float *x, const float *w, const float *y) {
  int cols = c->width + 2, positions = (c->height + 2) * cols, features = c->tiles * c->lane;
  int64_t count = (int64_t)c->n * c->height * c->width * features, i = 0;
  struct data data = {.exact = calloc((size_t)count, sizeof(double))};
  double squares = 0;
  for (int n = 0; n < c->n; n++)
    for (int h = 0; h < c->height; h++)
      for (int q = 0; q < c->width; q++)
        for (int f = 0; f < features; f++) {
          double sum = 0;
          for (int b = 0; b < c->blocks; b++)
            for (int tap = 0; tap < 9; tap++) {
              int row = c->reversed ? h + 2 - tap / 3 : h + tap / 3, col = c->reversed ? q + 2 - tap % 3 : q + tap % 3;
              const float *at_x = x + (((int64_t)n * c->blocks + b) * positions + row * cols + col) * c->block;
              const float *at_w =
                  w + (((int64_t)(f / c->lane) * c->blocks + b) * 9 + tap) * c->block * c->lane + f % c->lane;
              for (int k = 0; k < c->block; k++)
                sum += (double)at_x[k] * at_w[(int64_t)k * c->lane];
            }
          squares += sum * sum;
          data.exact[i] = sum + (c->add ? y[i] : 0);
          i++;
        }
  data.deviation = sqrt(squares / (double)count);
  return data;
}

// Largest error in deviations.
static double run(const char *text, const struct anas_cpu_target *target, struct kernel_buffer *buffer,
                  const struct kernel_operand *operand, const float *before, const struct data *data, int *out_parts) {
  struct kernel_code code;
  assert_true(kernel_compile(cpu.context, text, target, &code, NULL, NULL));
  double worst = 0;
  for (int pieces = 1; pieces <= 3; pieces += 2) {
    memcpy(buffer[3].data, before, buffer[3].bytes);
    void *pointers[] = {buffer[0].data, buffer[1].data, buffer[2].data, buffer[3].data};
    kernel_run(&code, pointers, 4, pieces);
    for (int64_t i = 0; i < operand[3].elements; i++) {
      double error = fabs((double)((float *)buffer[3].data)[i] - data->exact[i]) / data->deviation;
      if (!(error <= worst)) worst = error; // also NaN
    }
    for (int i = 0; i < 4; i++)
      assert_true(kernel_buffer_intact(&buffer[i]));
  }
  *out_parts = code.num_parts;
  kernel_release(&code);
  return worst;
}

// Returns the parts of the kernel for the last target.
static int check(const struct conv *c) {
  char *text = print_text(c);
  struct kernel_operand operand[KERNEL_MAX_OPERANDS];
  struct kernel_code reference;
  int num;
  assert_true(kernel_compile(cpu.context, text, NULL, &reference, operand, &num));
  kernel_release(&reference);
  assert_int_equal(num, 4);
  struct kernel_buffer buffer[4];
  struct anas_rng rng = anas_rng_make(11);
  for (int i = 0; i < 4; i++) {
    kernel_buffer_init(&buffer[i], &operand[i]);
    for (int64_t j = 0; j < operand[i].elements; j++)
      ((float *)buffer[i].data)[j] = (float)anas_rng_normal(&rng);
  }
  float *before = malloc(buffer[3].bytes);
  memcpy(before, buffer[3].data, buffer[3].bytes);
  struct data data = make_exact(c, (float *)buffer[0].data, (float *)buffer[1].data, before);
  int parts = 0;
  for (int t = 0; t < cpu.num_targets; t++) {
    struct anas_cpu_target target = cpu.targets[t];
    int direct_parts;
    target.winograd = ANAS_WINOGRAD_OFF;
    double direct = run(text, &target, buffer, operand, before, &data, &direct_parts);
    target.winograd = ANAS_WINOGRAD_ALWAYS;
    double error = run(text, &target, buffer, operand, before, &data, &parts);
    bool whole = c->block % target.lanes == 0 && c->lane % target.lanes == 0;
    print_message("%2dx%2d, %3d to %3d channels, %2d lanes, %d parts: largest error %.1e, direct %.1e\n", c->height,
                  c->width, c->blocks * c->block, c->tiles * c->lane, target.lanes, parts, error, direct);
    assert_int_equal(direct_parts, 1);
    assert_int_equal(parts > 1, whole);
    assert_true(direct <= BOUND / 10);
    assert_true(error <= BOUND);
  }
  free(data.exact);
  free(before);
  for (int i = 0; i < 4; i++)
    kernel_buffer_deinit(&buffer[i]);
  free(text);
  return parts;
}

static void whole_tiles(void **state) {
  (void)state;
  check(&(struct conv){.n = 3, .height = 8, .width = 12, .blocks = 4, .block = 16, .tiles = 2, .lane = 32});
  check(&(struct conv){2, 8, 8, 2, 16, 3, 32, .reversed = true});
}

static void cut_tiles(void **state) {
  (void)state;
  for (int size = 5; size <= 7; size++) {
    check(&(struct conv){3, size, 15 - size, 2, 16, 1, 32, .reversed = size % 2});
    check(&(struct conv){2, size + 4, size, 3, 16, 2, 32, .reversed = size % 2 == 0});
  }
}

static void small_images(void **state) {
  (void)state;
  for (int size = 2; size <= 3; size++)
    check(&(struct conv){5, size, size, 3, 16, 2, 32, .reversed = size == 3});
}

static void one_block_and_narrow_tiles(void **state) {
  (void)state;
  check(&(struct conv){1, 9, 8, 1, 16, 1, 16, false, false});
  check(&(struct conv){4, 6, 6, 2, 16, 3, 16, true, false});
  check(&(struct conv){2, 8, 5, 2, 8, 2, 24, false, false});
  check(&(struct conv){2, 8, 5, 3, 12, 2, 12, true, false}); // not of whole vectors but for the narrowest
}

static void added(void **state) {
  (void)state;
  check(&(struct conv){3, 7, 8, 2, 16, 2, 32, .add = true});
  check(&(struct conv){5, 2, 2, 2, 16, 2, 32, .reversed = true, .add = true});
}

// So many channels that the transformed data of a few tiles do not fit the cache: on wide vectors, parts of their own.
static void many_channels(void **state) {
  (void)state;
  int expected = cpu.num_targets == 3 ? 4 : 2;
  assert_int_equal(check(&(struct conv){24, 8, 8, 32, 16, 2, 32, .reversed = true}), expected);
  assert_int_equal(check(&(struct conv){24, 7, 8, 32, 16, 2, 32, .reversed = false, .add = true}), expected);
  check(&(struct conv){31, 4, 4, 16, 16, 2, 32, .reversed = false});
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_tiles),  cmocka_unit_test(cut_tiles),
      cmocka_unit_test(small_images), cmocka_unit_test(one_block_and_narrow_tiles),
      cmocka_unit_test(added),        cmocka_unit_test(many_channels),
  };
  return cmocka_run_group_tests(tests, cpu_set_up, cpu_tear_down);
}
