// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the generated numerics tests cannot see: statistics of distant values, the exact dropout mask, ties of max
// pooling; and the messages of shape rules.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dialect/attributes.h"
#include "dialect/context.h"
#include "test/unit/nest_interpreter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-6 // bodies hold constants in f32 precision
#define assert_near(have, want)                                                                                        \
  do {                                                                                                                 \
    double have_ = (have), want_ = (want);                                                                             \
    if (!(fabs(have_ - want_) <= TOLERANCE * fmax(1, fabs(want_))))                                                    \
      fail_msg("%s is %.12g, not %.12g", #have, have_, want_);                                                         \
  } while (0)

static struct anas_op make_op(const char *name, int num_operands, const char *const *types) {
  struct anas_op op = {.def = anas_op_find(name, strlen(name)), .num_operands = num_operands};
  assert_non_null(op.def);
  for (int i = 0; i < op.def->num_attrs; i++)
    op.attr[i] = op.def->attrs[i].fallback;
  for (int i = 0; i < num_operands; i++)
    assert_int_equal(anas_shape_parse(types[i], &op.operand[i]), ANAS_OK);
  return op;
}
#define OP(name, ...)                                                                                                  \
  make_op(name, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static struct anas_attr *attr_of(struct anas_op *op, const char *name) {
  int index = anas_op_attr_index(op->def, name);
  assert_true(index >= 0);
  op->attr[index].present = true;
  return &op->attr[index];
}

static void set_ints(struct anas_op *op, const char *name, int count, const int64_t *values) {
  struct anas_attr *attr = attr_of(op, name);
  attr->value.ints = (struct anas_ints){.count = count};
  memcpy(attr->value.ints.value, values, (size_t)count * sizeof *values);
}
#define SET_INTS(op, name, ...)                                                                                        \
  set_ints(op, name, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static double random_value(uint64_t k) {
  uint64_t z = (k + 1) * UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ (z >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
  return (double)(z >> 11) / (double)(UINT64_C(1) << 52) - 1;
}

static MlirContext context;

// One op, lowered and interpreted.
struct execution {
  struct anas_op op;
  struct anas_lowering *lowering;
  int operand[ANAS_MAX_OPERANDS], result[ANAS_MAX_RESULTS];
  struct nest_memory memory;
};

static void execution_init(struct execution *e, struct anas_op op) {
  e->op = op;
  e->lowering = anas_lowering_create();
  for (int i = 0; i < op.num_operands; i++)
    e->operand[i] = anas_lowering_buffer(e->lowering, &op.operand[i]);
  if (anas_lowering_run(e->lowering, &e->op, e->operand, e->result) != ANAS_OK) fail_msg("%s", anas_error_message());
  for (int i = 0; i < e->lowering->num_nests; i++) { // MLIR accepts every kernel function
    struct anas_kernel_function kernel;
    MlirModule module;
    if (anas_kernel_function_print(e->lowering, e->lowering->nests[i], &kernel) != ANAS_OK)
      fail_msg("%s", anas_error_message());
    if (anas_parse(context, kernel.text, strlen(kernel.text), "kernel", &module) != ANAS_OK)
      fail_msg("MLIR rejects\n%s", kernel.text);
    mlirModuleDestroy(module);
    anas_kernel_function_deinit(&kernel);
  }
  nest_memory_init(&e->memory, e->lowering);
}

static union nest_cell *input(struct execution *e, int i) {
  return nest_memory_buffer(&e->memory, e->operand[i]);
}

static union nest_cell *output(struct execution *e, int i) {
  return nest_memory_buffer(&e->memory, e->result[i]);
}

static void execute(struct execution *e) {
  if (nest_interpret_from(&e->memory, 0) != ANAS_OK) fail_msg("%s", anas_error_message());
}

static void execution_deinit(struct execution *e) {
  nest_memory_deinit(&e->memory);
  anas_lowering_destroy(e->lowering);
}

// ---- batch normalisation

// A mean 10^9 times the deviation: the difference of large sums would leave nothing of the variance.
static void batch_statistics_of_distant_values(void **state) {
  (void)state;
  enum { ROWS = 2 * 3 * 4, CHANNELS = 5 };
  struct anas_op op = OP("batch_norm_stats", "2x3x4x5xf32", "5xf32", "5xf32");
  attr_of(&op, "momentum")->value.f = 0.75;
  attr_of(&op, "epsilon")->value.f = 0.5;
  struct execution e;
  execution_init(&e, op);
  double x[ROWS][CHANNELS];
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < CHANNELS; c++) {
      x[r][c] = random_value((uint64_t)(r * CHANNELS + c));
      input(&e, 0)[r * CHANNELS + c].f = x[r][c] + 1e9;
    }
  for (int c = 0; c < CHANNELS; c++) {
    input(&e, 1)[c].f = 10 + c;
    input(&e, 2)[c].f = 20 + c;
  }
  execute(&e);
  for (int c = 0; c < CHANNELS; c++) {
    double mean = 0, variance = 0;
    for (int r = 0; r < ROWS; r++)
      mean += x[r][c] / ROWS;
    for (int r = 0; r < ROWS; r++)
      variance += (x[r][c] - mean) * (x[r][c] - mean) / ROWS;
    assert_near(output(&e, 0)[c].f - 1e9, mean);
    assert_near(output(&e, 1)[c].f, 1 / sqrt(variance + 0.5));
    assert_near(output(&e, 2)[c].f, 0.75 * (10 + c) + 0.25 * (1e9 + mean));
    assert_near(output(&e, 3)[c].f, 0.75 * (20 + c) + 0.25 * variance);
  }
  assert_ptr_equal(input(&e, 1), output(&e, 2)); // the running averages are updated in place
  assert_ptr_equal(input(&e, 2), output(&e, 3));
  execution_deinit(&e);
}

// ---- dropout

static uint32_t mix(uint32_t x) {
  x = (x ^ (x >> 16)) * UINT32_C(0x7feb352d);
  x = (x ^ (x >> 15)) * UINT32_C(0x846ca68b);
  return x ^ (x >> 16);
}

enum { MASK_ELEMENTS = 40 * 25 };

// Fills out with 1 for kept elements; returns how many.
static int run_mask(double rate, int64_t stream, int64_t seed, bool *out) {
  struct anas_op op = OP("dropout_mask", "40x25xf32", "1xi64");
  attr_of(&op, "rate")->value.f = rate;
  attr_of(&op, "stream")->value.i = stream;
  struct execution e;
  int kept = 0;
  execution_init(&e, op);
  input(&e, 1)[0].i = seed;
  for (int k = 0; k < MASK_ELEMENTS; k++)
    input(&e, 0)[k].f = 2 + random_value((uint64_t)k);
  execute(&e);
  for (int k = 0; k < MASK_ELEMENTS; k++) {
    double y = output(&e, 0)[k].f;
    out[k] = y != 0;
    kept += out[k];
    if (out[k]) assert_near(y, (2 + random_value((uint64_t)k)) / (1 - rate));
  }
  execution_deinit(&e);
  return kept;
}

static void dropout_masks(void **state) {
  (void)state;
  static const double rates[] = {0.2, 0.5, 0.875};
  int64_t seed = INT64_C(0x123456789abcdef0);
  bool mask[MASK_ELEMENTS], again[MASK_ELEMENTS], other[MASK_ELEMENTS];
  for (int i = 0; i < 3; i++) {
    double rate = rates[i], deviation = sqrt(MASK_ELEMENTS * rate * (1 - rate));
    int kept = run_mask(rate, 3, seed, mask);
    assert_true(fabs(kept - MASK_ELEMENTS * (1 - rate)) < 4 * deviation);
    uint32_t key = mix(mix((uint32_t)seed ^ 3 * UINT32_C(0x9e3779b9)) ^ (uint32_t)(seed >> 32));
    for (uint32_t k = 0; k < MASK_ELEMENTS; k++)
      assert_int_equal(mask[k], mix(k ^ key) >= (uint32_t)(rate * 4294967296.0));
    run_mask(rate, 3, seed, again);
    assert_memory_equal(mask, again, sizeof mask);
  }
  run_mask(0.5, 3, seed, mask); // another stream, low half or high half of the seed: independent masks
  for (int i = 0; i < 3; i++) {
    int equal = 0;
    run_mask(0.5, i == 0 ? 4 : 3, i == 1 ? seed + 1 : i == 2 ? seed + (INT64_C(1) << 32) : seed, other);
    for (int k = 0; k < MASK_ELEMENTS; k++)
      equal += mask[k] == other[k];
    assert_true(abs(equal - MASK_ELEMENTS / 2) < 4 * sqrt(MASK_ELEMENTS) / 2);
  }
}

// ---- max pooling

// Equal elements: every window names its first element inside the tensor, and the gradient arrives there whole.
static void max_pool_ties(void **state) {
  (void)state;
  struct anas_op forward = OP("max_pool_fwd", "1x5x5x1xf32");
  SET_INTS(&forward, "window", 3, 3);
  SET_INTS(&forward, "strides", 2, 2);
  attr_of(&forward, "padding")->value.i = 0; // SAME: one row and column of padding on each side
  struct execution f, b;
  execution_init(&f, forward);
  for (int k = 0; k < 25; k++)
    input(&f, 0)[k].f = -4;
  execute(&f);
  struct anas_op backward = OP("max_pool_bwd", "1x3x3x1xf32", "1x3x3x1xi32");
  memcpy(backward.attr, forward.attr, 3 * sizeof *backward.attr);
  SET_INTS(&backward, "shape", 1, 5, 5, 1);
  execution_init(&b, backward);
  double want[25] = {0};
  for (int oh = 0; oh < 3; oh++)
    for (int ow = 0; ow < 3; ow++) {
      int first_row = oh ? 0 : 1, first_column = ow ? 0 : 1, o = oh * 3 + ow;
      assert_near(output(&f, 0)[o].f, -4);
      assert_int_equal(output(&f, 1)[o].i, first_row * 3 + first_column);
      input(&b, 0)[o].f = o + 1;
      input(&b, 1)[o].i = output(&f, 1)[o].i;
      want[(oh * 2 - 1 + first_row) * 5 + ow * 2 - 1 + first_column] += o + 1;
    }
  execute(&b);
  for (int k = 0; k < 25; k++)
    assert_near(output(&b, 0)[k].f, want[k]);
  execution_deinit(&f);
  execution_deinit(&b);
}

// ---- messages

static void assert_rejected(struct anas_op op, const char *message) {
  struct anas_shape result[ANAS_MAX_RESULTS];
  assert_int_equal(op.def->shape(&op, result), ANAS_INVALID);
  if (!strstr(anas_error_message(), message)) fail_msg("'%s' lacks '%s'", anas_error_message(), message);
}

static void shape_rules_reject(void **state) {
  (void)state;
  struct anas_op op = OP("avg_pool", "?x4x4x3xf32");
  SET_INTS(&op, "window", 5);
  assert_rejected(op, "dimension 1 of the operand has only 4");
  SET_INTS(&op, "window", 2, 2, 2);
  assert_rejected(op, "'window' of 'anas.avg_pool' has 3 entries");
  SET_INTS(&op, "window", -1);
  assert_rejected(op, "must be between 0");
  SET_INTS(&op, "window", 2);
  SET_INTS(&op, "strides", 0);
  assert_rejected(op, "entry 0 of attribute 'strides'");
  op = OP("max_pool", "?x3xf32");
  SET_INTS(&op, "window", 2);
  assert_rejected(op, "at least one spatial dimension");

  op = OP("softmax", "?x3xf32");
  attr_of(&op, "axis")->value.i = 2;
  assert_rejected(op, "has axes -2 to 1");
  attr_of(&op, "axis")->value.i = 0;
  assert_rejected(op, "the batch");
  op = OP("mean", "?x4x4x3xf32");
  SET_INTS(&op, "axes", 1, -4);
  assert_rejected(op, "the batch");
  op = OP("batch_norm", "?x3xf32");
  attr_of(&op, "epsilon")->value.f = 0;
  assert_rejected(op, "'epsilon'");
  attr_of(&op, "epsilon")->value.f = 1e-5;
  attr_of(&op, "momentum")->value.f = NAN;
  assert_rejected(op, "'momentum'");
  op = OP("dropout", "?x3xf32");
  attr_of(&op, "rate")->value.f = 1;
  assert_rejected(op, "[0, 1)");
  assert_rejected(OP("mul", "?x3xf32", "?x4xf32"), "do not broadcast");
  assert_rejected(OP("add", "?x3xf32", "?x3xi32"), "different element types");
  assert_rejected(OP("flatten", "?x?x3xf32"), "only the batch may be '?'");
}

int main(void) {
  context = anas_context_create(false);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(batch_statistics_of_distant_values),
      cmocka_unit_test(dropout_masks),
      cmocka_unit_test(max_pool_ties),
      cmocka_unit_test(shape_rules_reject),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  mlirContextDestroy(context);
  return failed;
}
