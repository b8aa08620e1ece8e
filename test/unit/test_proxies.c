// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Proxies of a small network against a naive reference in double precision, whose gradients are finite differences.
#include "tools/anas-search/proxies/proxies.h"

#include "dialect/context.h"
#include "passes/lower/compile.h"
#include "runtime/init.h"
#include "runtime/support/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 6, INPUTS = 5, HIDDEN = 23, CLASSES = 3 };

// dropout is off in synflow and naswot; its rate here is 0 so that the gradients of a training step can be compared.
static const char network_text[] =
    "func.func @main(%x: tensor<?x5xf32>) -> tensor<?x3xf32> {\n"
    "%0 = \"anas.dense\"(%x) {anas.name = \"a\", features = 23 : i64} : (tensor<?x5xf32>) -> tensor<?x23xf32>\n"
    "%1 = \"anas.batch_norm\"(%0) {anas.name = \"bn\"} : (tensor<?x23xf32>) -> tensor<?x23xf32>\n"
    "%2 = \"anas.relu\"(%1) : (tensor<?x23xf32>) -> tensor<?x23xf32>\n"
    "%d = \"anas.dropout\"(%2) {rate = RATE : f32} : (tensor<?x23xf32>) -> tensor<?x23xf32>\n"
    "%3 = \"anas.dense\"(%d) {anas.name = \"b\", features = 3 : i64} : (tensor<?x23xf32>) -> tensor<?x3xf32>\n"
    "return %3 : tensor<?x3xf32>\n}\n";

enum { KERNEL_A, BIAS_A, SCALE, OFFSET, KERNEL_B, BIAS_B, NUM_TENSORS };
static const char *const names[NUM_TENSORS] = {"main/a/kernel",  "main/a/bias",   "main/bn/scale",
                                               "main/bn/offset", "main/b/kernel", "main/b/bias"};
static const size_t counts[NUM_TENSORS] = {INPUTS * HIDDEN, HIDDEN, HIDDEN, HIDDEN, HIDDEN *CLASSES, CLASSES};

struct network {
  MlirContext context;
  struct anas_program *program;
  double w[NUM_TENSORS][INPUTS * HIDDEN], x[BATCH][INPUTS];
  int label[BATCH];
};

static void expect_ok(anas_status status) {
  if (status != ANAS_OK) fail_msg("%s: %s", anas_status_name(status), anas_error_message());
}

static float *tensor(struct anas_program *program, const char *name) {
  const struct anas_program_image *info = anas_program_info(program);
  for (int t = 0; t < info->num_tensors; t++)
    if (!strcmp(info->tensors[t].name, name))
      return (float *)((char *)anas_program_params(program) + info->tensors[t].offset);
  return NULL;
}

static anas_status compile(MlirContext context, const char *text, enum anas_program_kind kind, int64_t batch,
                           struct anas_program **out) {
  MlirModule module;
  expect_ok(anas_parse(context, text, strlen(text), "network", &module));
  struct anas_compile_options options = {.batch = batch, .program = kind, .no_cache = true, .threads = 2};
  struct anas_program_image image;
  anas_status status = anas_compile(module, &options, &image);
  mlirModuleDestroy(module);
  if (status == ANAS_OK) expect_ok(anas_program_load(&image, out));
  return status;
}

static void setup(enum anas_program_kind kind, const char *rate, int64_t batch, struct network *out) {
  out->context = anas_context_create(false);
  char text[sizeof network_text + 16];
  const char *at = strstr(network_text, "RATE");
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - network_text), network_text, rate, at + 4);
  expect_ok(compile(out->context, text, kind, batch, &out->program));
  const struct anas_program_image *info = anas_program_info(out->program);
  expect_ok(anas_init_params(info, 4, anas_program_params(out->program)));
  struct anas_rng rng = anas_rng_make(8);
  for (int t = 0; t < NUM_TENSORS; t++) {
    float *values = tensor(out->program, names[t]);
    for (size_t i = 0; i < counts[t]; i++) {
      out->w[t][i] = (float)anas_rng_normal(&rng); // biases too
      if (values) values[i] = (float)out->w[t][i];
    }
  }
  char *arena = anas_program_arena(out->program);
  for (int b = 0; b < batch; b++) {
    out->label[b] = b % CLASSES;
    ((int32_t *)(arena + info->label.offset))[b] = out->label[b];
    for (int i = 0; i < INPUTS; i++) {
      out->x[b][i] = (float)anas_rng_normal(&rng);
      ((float *)(arena + info->image.offset))[b * INPUTS + i] = (float)out->x[b][i];
    }
  }
}

static void teardown(struct network *n) {
  anas_program_destroy(n->program);
  mlirContextDestroy(n->context);
}

// ---- reference

static void forward(const struct network *n, int batch, bool normalise, double hidden[BATCH][HIDDEN],
                    double logits[BATCH][CLASSES]) {
  for (int h = 0; h < HIDDEN; h++) {
    double mean = 0, variance = 0, z[BATCH];
    for (int b = 0; b < batch; b++) {
      z[b] = n->w[BIAS_A][h];
      for (int i = 0; i < INPUTS; i++)
        z[b] += n->x[b][i] * n->w[KERNEL_A][i * HIDDEN + h];
      mean += z[b] / batch;
    }
    for (int b = 0; b < batch; b++)
      variance += (z[b] - mean) * (z[b] - mean) / batch;
    for (int b = 0; b < batch; b++) {
      if (normalise) z[b] = (z[b] - mean) / sqrt(variance + 1e-5) * n->w[SCALE][h] + n->w[OFFSET][h];
      hidden[b][h] = z[b] > 0 ? z[b] : 0;
    }
  }
  for (int b = 0; b < batch; b++)
    for (int c = 0; c < CLASSES; c++) {
      logits[b][c] = n->w[BIAS_B][c];
      for (int h = 0; h < HIDDEN; h++)
        logits[b][c] += hidden[b][h] * n->w[KERNEL_B][h * CLASSES + c];
    }
}

static double cross_entropy(const struct network *n) {
  double hidden[BATCH][HIDDEN], logits[BATCH][CLASSES], loss = 0;
  forward(n, BATCH, true, hidden, logits);
  for (int b = 0; b < BATCH; b++) {
    double sum = 0;
    for (int c = 0; c < CLASSES; c++)
      sum += exp(logits[b][c]);
    loss += (log(sum) - logits[b][n->label[b]]) / BATCH;
  }
  return loss;
}

static double sum_of_logits(const struct network *n) {
  double hidden[BATCH][HIDDEN], logits[BATCH][CLASSES], sum = 0;
  forward(n, 1, false, hidden, logits);
  for (int c = 0; c < CLASSES; c++)
    sum += logits[0][c];
  return sum;
}

static void reference_gradients(struct network *n, double (*loss)(const struct network *), double *out_norm,
                                double *out_snip) {
  *out_norm = *out_snip = 0;
  for (int t = 0; t < NUM_TENSORS; t++) {
    double squares = 0;
    for (size_t i = 0; i < counts[t]; i++) {
      double w = n->w[t][i], step = 1e-6;
      n->w[t][i] = w + step;
      double above = loss(n);
      n->w[t][i] = w - step;
      double gradient = (above - loss(n)) / (2 * step);
      n->w[t][i] = w;
      squares += gradient * gradient;
      *out_snip += fabs(gradient * w);
    }
    *out_norm += sqrt(squares);
  }
}

static void expect_near(double got, double expected) {
  if (!(fabs(got - expected) <= 1e-4 * fabs(expected))) fail_msg("got %.9g, expected %.9g", got, expected);
}

// ---- tests

static void gradients_of_the_loss(void **state) {
  (void)state;
  struct network n;
  setup(ANAS_PROGRAM_TRAIN, "0.0", BATCH, &n);
  double norm, snip, expected_norm, expected_snip;
  expect_ok(proxy_gradients(n.program, &norm, &snip));
  reference_gradients(&n, cross_entropy, &expected_norm, &expected_snip);
  expect_near(norm, expected_norm);
  expect_near(snip, expected_snip);
  teardown(&n);
}

static void synaptic_flow(void **state) {
  (void)state;
  struct network n;
  setup(ANAS_PROGRAM_SYNFLOW, "0.5", 1, &n);
  assert_null(tensor(n.program, "main/bn/scale")); // normalisations are gone
  double flow, norm, expected;
  expect_ok(proxy_synflow(n.program, &flow));
  for (int i = 0; i < INPUTS; i++)
    n.x[0][i] = 1;
  for (int t = 0; t < NUM_TENSORS; t++)
    for (size_t i = 0; i < counts[t]; i++)
      n.w[t][i] = fabs(n.w[t][i]);
  reference_gradients(&n, sum_of_logits, &norm, &expected);
  expect_near(flow, expected);
  // Without biases, every layer carries all of the flow R.
  for (int i = 0; i < HIDDEN; i++)
    tensor(n.program, names[BIAS_A])[i] = 0;
  for (int i = 0; i < CLASSES; i++)
    tensor(n.program, names[BIAS_B])[i] = 0;
  memset(n.w[BIAS_A], 0, sizeof n.w[BIAS_A]);
  memset(n.w[BIAS_B], 0, sizeof n.w[BIAS_B]);
  expect_ok(anas_init_params(anas_program_info(n.program), 4, anas_program_params(n.program)));
  for (size_t i = 0; i < counts[KERNEL_A]; i++)
    tensor(n.program, names[KERNEL_A])[i] = (float)n.w[KERNEL_A][i];
  for (size_t i = 0; i < counts[KERNEL_B]; i++)
    tensor(n.program, names[KERNEL_B])[i] = (float)n.w[KERNEL_B][i];
  expect_ok(proxy_synflow(n.program, &flow));
  expect_near(flow, 2 * sum_of_logits(&n));
  // Too large for single precision: said, not returned.
  for (size_t i = 0; i < counts[KERNEL_A]; i++)
    tensor(n.program, names[KERNEL_A])[i] = 3e38f;
  assert_int_equal(proxy_synflow(n.program, &flow), ANAS_UNSUPPORTED);
  teardown(&n);
}

static void codes(void **state) {
  (void)state;
  struct network n;
  setup(ANAS_PROGRAM_CODES, "0.5", BATCH, &n);
  double got, hidden[BATCH][HIDDEN], logits[BATCH][CLASSES], k[BATCH][BATCH];
  anas_status status = proxy_naswot(n.program, &got);
  forward(&n, BATCH, true, hidden, logits);
  for (int i = 0; i < BATCH; i++)
    for (int j = 0; j < BATCH; j++) {
      int agree = 0;
      for (int h = 0; h < HIDDEN; h++)
        agree += (hidden[i][h] > 0) == (hidden[j][h] > 0);
      k[i][j] = agree;
    }
  // The kernel itself is exact.
  const struct anas_program_image *info = anas_program_info(n.program);
  const float *logit = (const float *)((char *)anas_program_arena(n.program) + info->logits.offset);
  for (int i = 0; i < BATCH * BATCH; i++)
    assert_true(0.5 * (HIDDEN + (double)logit[i]) == (&k[0][0])[i]);
  // Gaussian elimination with the largest pivot.
  double expected = 0;
  for (int c = 0; c < BATCH; c++) {
    int best = c;
    for (int r = c; r < BATCH; r++)
      if (fabs(k[r][c]) > fabs(k[best][c])) best = r;
    for (int j = 0; j < BATCH; j++) {
      double swap = k[c][j];
      k[c][j] = k[best][j];
      k[best][j] = swap;
    }
    expected += log(fabs(k[c][c]));
    for (int r = c + 1; r < BATCH; r++)
      for (int j = BATCH - 1; j >= c; j--)
        k[r][j] -= k[r][c] / k[c][c] * k[c][j];
  }
  expect_ok(status);
  expect_near(got, expected);
  teardown(&n);
}

static void determinants(void **state) {
  (void)state;
  double definite[] = {4, 2, 2, 3}, singular[] = {2, 2, 2, 2};
  expect_near(proxy_log_determinant(definite, 2), log(8));
  assert_true(isinf(proxy_log_determinant(singular, 2)));
}

static void no_relu(void **state) {
  (void)state;
  static const char text[] =
      "func.func @main(%x: tensor<?x5xf32>) -> tensor<?x3xf32> {\n"
      "%0 = \"anas.dense\"(%x) {anas.name = \"a\", features = 3 : i64} : (tensor<?x5xf32>) -> tensor<?x3xf32>\n"
      "return %0 : tensor<?x3xf32>\n}\n";
  MlirContext context = anas_context_create(false);
  struct anas_program *program;
  assert_int_equal(compile(context, text, ANAS_PROGRAM_CODES, 4, &program), ANAS_UNSUPPORTED);
  assert_non_null(strstr(anas_error_message(), "the network has no relu"));
  mlirContextDestroy(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_of_the_loss), cmocka_unit_test(synaptic_flow), cmocka_unit_test(codes),
      cmocka_unit_test(determinants),          cmocka_unit_test(no_relu),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
