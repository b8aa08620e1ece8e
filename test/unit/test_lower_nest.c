// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recording nests, checking them, and the kernel functions they print: each is run and compared with plain C loops.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "passes/lower/lowering.h"
#include "test/unit/kernel_runner.h"

static struct anas_shape shape_of(int rank, const int64_t *dims) {
  struct anas_shape shape = {.rank = rank, .element = ANAS_F32};
  memcpy(shape.dim, dims, (size_t)rank * sizeof *dims);
  return shape;
}
#define SHAPE(...) shape_of(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static int buffer(struct anas_lowering *l, struct anas_shape shape) {
  return anas_lowering_buffer(l, &shape);
}

// Prints the only nest of l, compiles it and calls it with its operands in order.
static void run(struct anas_lowering *l, float **operands, int expected_operands, const char *must_contain) {
  assert_int_equal(l->num_nests, 1);
  struct anas_kernel_function kernel;
  assert_int_equal(anas_nest_check(l, l->nests[0]), ANAS_OK);
  if (anas_kernel_function_print(l, l->nests[0], &kernel) != ANAS_OK) fail_msg("%s", anas_error_message());
  assert_int_equal(kernel.num_operands, expected_operands);
  if (must_contain && !strstr(kernel.text, must_contain)) fail_msg("no '%s' in\n%s", must_contain, kernel.text);
  char *private = strstr(kernel.text, "private ");
  assert_non_null(private);
  memset(private, ' ', strlen("private "));
  struct kernel_runner runner;
  assert_true(runner_init(&runner, kernel.text));
  void *symbol = runner_symbol(&runner, kernel.name);
  assert_non_null(symbol);
  float **p = operands;
  switch (expected_operands) {
  case 1: ((void (*)(float *))symbol)(p[0]); break;
  case 2: ((void (*)(float *, float *))symbol)(p[0], p[1]); break;
  case 3: ((void (*)(float *, float *, float *))symbol)(p[0], p[1], p[2]); break;
  case 4: ((void (*)(float *, float *, float *, float *))symbol)(p[0], p[1], p[2], p[3]); break;
  default: fail();
  }
  runner_deinit(&runner);
  anas_kernel_function_deinit(&kernel);
}

static void relu_of_the_table(void **state) {
  (void)state;
  struct anas_op op = {.def = anas_op_find("relu_fwd", 8), .num_operands = 1, .operand = {SHAPE(2, 3)}};
  struct anas_lowering *l = anas_lowering_create();
  int x = buffer(l, SHAPE(2, 3)), y;
  assert_int_equal(anas_lowering_run(l, &op, &x, &y), ANAS_OK);
  assert_true(anas_shape_equal(anas_lower_shape(l, y), &op.operand[0]));
  float in[6] = {-1, 2, -3, 4, 0, 6}, out[6];
  run(l, (float *[]){in, out}, 2, "anas.kernel = \"relu_fwd\"");
  for (int i = 0; i < 6; i++)
    assert_float_equal(out[i], in[i] > 0 ? in[i] : 0, 0);
  anas_lowering_destroy(l);
}

static void broadcast_and_in_place(void **state) {
  (void)state;
  struct anas_lowering *l = anas_lowering_create();
  int x = buffer(l, SHAPE(2, 3)), bias = buffer(l, SHAPE(3)), y = buffer(l, SHAPE(2, 3));
  anas_lowering_alias(l, y, x, 0);
  int in[] = {x, bias, x};
  struct anas_nest *nest = anas_lower_map(l, "bias", in, 3, y);
  int sum = anas_nest_value(nest, "arith.addf %%i0, %%i1 : f32");
  int all = anas_nest_value(nest, "arith.mulf %%v%d, %%i2 : f32", sum);
  anas_nest_yield(nest, 0, "%%v%d", all);
  float a[6] = {1, 2, 3, 4, 5, 6}, b[3] = {10, 20, 30};
  run(l, (float *[]){b, a}, 2, "arith.mulf %v0, %o0"); // one operand for x, x and y
  for (int i = 0; i < 6; i++)
    assert_float_equal(a[i], ((float)i + 1 + b[i % 3]) * (float)(i + 1), 0);
  anas_lowering_destroy(l);
}

// Copies 2x4 into rows from..from+1 and columns 0..3 of a zero 4x7 buffer.
static void pad(int from) {
  struct anas_lowering *l = anas_lowering_create();
  int x = buffer(l, SHAPE(2, 4)), y = buffer(l, SHAPE(4, 7));
  struct anas_nest *nest = anas_lower_nest(l, "pad");
  int i = anas_nest_loop(nest, 2, false), j = anas_nest_loop(nest, 4, false);
  struct anas_access *in = anas_nest_in(nest, x);
  anas_access_add(in, 0, i, 1);
  anas_access_add(in, 1, j, 1);
  struct anas_access *out = anas_nest_out(nest, y, ANAS_FILL_ZERO);
  anas_access_add(out, 0, i, 1);
  anas_access_add(out, 1, j, 1);
  out->index[0].constant = from;
  anas_nest_yield(nest, 0, "%%i0");
  float a[8], window[1], b[28];
  for (int k = 0; k < 8; k++)
    a[k] = (float)k + 1;
  memset(b, 0x55, sizeof b);
  run(l, (float *[]){a, window, b}, 3, "memref<1xf32>"); // the companion loop keeps the maps invertible
  for (int r = 0; r < 4; r++)
    for (int c = 0; c < 7; c++)
      assert_float_equal(b[r * 7 + c], r >= from && r < from + 2 && c < 4 ? a[(r - from) * 4 + c] : 0, 0);
  anas_lowering_destroy(l);
}

static void prefix_of_a_larger_buffer(void **state) {
  (void)state;
  pad(0);
  pad(1);
}

static void window_without_operand(void **state) { // max pooling, window 3, stride 2, one dimension
  (void)state;
  struct anas_lowering *l = anas_lowering_create();
  int x = buffer(l, SHAPE(9, 2)), y = buffer(l, SHAPE(4, 2));
  struct anas_nest *nest = anas_lower_nest(l, "max_pool");
  int o = anas_nest_loop(nest, 4, false), c = anas_nest_loop(nest, 2, false), k = anas_nest_loop(nest, 3, true);
  struct anas_access *in = anas_nest_in(nest, x);
  anas_access_add(in, 0, o, 2);
  anas_access_add(in, 0, k, 1);
  anas_access_add(in, 1, c, 1);
  struct anas_access *out = anas_nest_out(nest, y, ANAS_FILL_NEGATIVE_INFINITY);
  anas_access_add(out, 0, o, 1);
  anas_access_add(out, 1, c, 1);
  int max = anas_nest_value(nest, "arith.maxnumf %%i0, %%o0 : f32");
  anas_nest_yield(nest, 0, "%%v%d", max);
  float a[18], window[3], b[8];
  for (int i = 0; i < 18; i++)
    a[i] = (float)((i * 7) % 11) - 5;
  run(l, (float *[]){a, window, b}, 3, "memref<3xf32>");
  for (int i = 0; i < 8; i++) {
    float best = -1e30f;
    for (int t = 0; t < 3; t++)
      best = a[(i / 2 * 2 + t) * 2 + i % 2] > best ? a[(i / 2 * 2 + t) * 2 + i % 2] : best;
    assert_float_equal(b[i], best, 0);
  }
  anas_lowering_destroy(l);
}

static void two_outputs(void **state) { // column sums and sums of squares
  (void)state;
  struct anas_lowering *l = anas_lowering_create();
  int x = buffer(l, SHAPE(5, 3)), sum = buffer(l, SHAPE(3)), squares = buffer(l, SHAPE(3));
  struct anas_nest *nest = anas_lower_nest(l, "stats");
  int n = anas_nest_loop(nest, 5, true), c = anas_nest_loop(nest, 3, false);
  struct anas_access *in = anas_nest_in(nest, x);
  anas_access_add(in, 0, n, 1);
  anas_access_add(in, 1, c, 1);
  anas_access_add(anas_nest_out(nest, sum, ANAS_FILL_ZERO), 0, c, 1);
  anas_access_add(anas_nest_out(nest, squares, ANAS_FILL_ZERO), 0, c, 1);
  anas_nest_yield(nest, 0, "%%v%d", anas_nest_value(nest, "arith.addf %%o0, %%i0 : f32"));
  int square = anas_nest_value(nest, "arith.mulf %%i0, %%i0 : f32");
  anas_nest_yield(nest, 1, "%%v%d", anas_nest_value(nest, "arith.addf %%o1, %%v%d : f32", square));
  float a[15], s[3], q[3];
  for (int i = 0; i < 15; i++)
    a[i] = (float)i - 6;
  run(l, (float *[]){a, s, q}, 3, NULL);
  for (int i = 0; i < 3; i++) {
    float es = 0, eq = 0;
    for (int r = 0; r < 5; r++) {
      es += a[r * 3 + i];
      eq += a[r * 3 + i] * a[r * 3 + i];
    }
    assert_float_equal(s[i], es, 0);
    assert_float_equal(q[i], eq, 0);
  }
  anas_lowering_destroy(l);
}

static void mistakes_are_found(void **state) {
  (void)state;
  struct anas_lowering *l = anas_lowering_create();
  int x = buffer(l, SHAPE(4)), y = buffer(l, SHAPE(4));
  struct anas_nest *nest = anas_lower_nest(l, "shift");
  int i = anas_nest_loop(nest, 4, false);
  struct anas_access *in = anas_nest_in(nest, x), *out = anas_nest_out(nest, y, ANAS_NO_FILL);
  anas_access_add(in, 0, i, 1);
  anas_access_add(out, 0, i, 1);
  assert_int_equal(anas_nest_check(l, nest), ANAS_INTERNAL); // no value
  anas_nest_yield(nest, 0, "%%i0");
  assert_int_equal(anas_nest_check(l, nest), ANAS_OK);
  in->index[0].constant = 1;
  assert_int_equal(anas_nest_check(l, nest), ANAS_INTERNAL);
  assert_non_null(strstr(anas_error_message(), "reaches 1..4"));
  in->index[0].constant = 0;
  out->index[0].coef[i] = 0; // every iteration writes element 0
  assert_int_equal(anas_nest_check(l, nest), ANAS_INTERNAL);
  nest->reduction[i] = true;
  assert_int_equal(anas_nest_check(l, nest), ANAS_OK);
  nest->reduction[i] = false;
  out->index[0].coef[i] = -1;
  out->index[0].constant = 3;
  assert_int_equal(anas_nest_check(l, nest), ANAS_OK);
  anas_lowering_alias(l, y, x, 0); // reverses in place
  struct anas_kernel_function kernel;
  assert_int_equal(anas_kernel_function_print(l, nest, &kernel), ANAS_INTERNAL);
  anas_lowering_destroy(l);
}

static void packed_buffers_are_shared(void **state) {
  (void)state;
  struct anas_lowering *l = anas_lowering_create();
  int x = buffer(l, SHAPE(4)), z = buffer(l, SHAPE(4));
  struct anas_shape padded = SHAPE(6), wider = SHAPE(8);
  bool fresh;
  int a = anas_lower_packed(l, x, "pad", &padded, &fresh);
  assert_true(fresh);
  assert_int_equal(anas_lower_packed(l, x, "pad", &padded, &fresh), a);
  assert_false(fresh);
  assert_int_not_equal(anas_lower_packed(l, x, "pad", &wider, &fresh), a);
  assert_true(fresh);
  assert_int_not_equal(anas_lower_packed(l, z, "pad", &padded, &fresh), a);
  assert_true(fresh);
  anas_lowering_destroy(l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(relu_of_the_table),
      cmocka_unit_test(broadcast_and_in_place),
      cmocka_unit_test(prefix_of_a_larger_buffer),
      cmocka_unit_test(window_without_operand),
      cmocka_unit_test(two_outputs),
      cmocka_unit_test(mistakes_are_found),
      cmocka_unit_test(packed_buffers_are_shared),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
