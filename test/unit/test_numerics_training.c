// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training ops that belong to no architecture op: loss and optimizer, against their formulas. And the samples of every
// training op: they lower, and their nests become kernel functions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dialect/context.h"
#include "passes/train/training_op.h"
#include "test/unit/nest_interpreter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-6 // bodies hold constants in f32 precision

static MlirContext context;

// Reads a sample of a training op through MLIR text.
static void read_sample(const struct anas_op_def *def, const struct anas_sample *sample, struct anas_op *out) {
  struct anas_strbuf text = {0};
  int operands = 0, results = def->num_results ? def->num_results : 1;
  anas_strbuf_adds(&text, "func.func @f(");
  for (; operands < ANAS_MAX_OPERANDS && sample->operand[operands]; operands++)
    anas_strbuf_addf(&text, "%s%%a%d: tensor<%s>", operands ? ", " : "", operands, sample->operand[operands]);
  anas_strbuf_addf(&text, ") {\n  %%r:%d = \"anas.%s\"(", results, def->name);
  for (int i = 0; i < operands; i++)
    anas_strbuf_addf(&text, "%s%%a%d", i ? ", " : "", i);
  anas_strbuf_addf(&text, ") %s : (", sample->attrs);
  for (int i = 0; i < operands; i++)
    anas_strbuf_addf(&text, "%stensor<%s>", i ? ", " : "", sample->operand[i]);
  anas_strbuf_adds(&text, ") -> (");
  for (int i = 0; i < results; i++) // only the first type is checked here
    anas_strbuf_addf(&text, "%stensor<%s>", i ? ", " : "", sample->result);
  anas_strbuf_adds(&text, ")\n  return\n}\n");
  MlirModule module;
  if (anas_parse(context, text.data, text.size, "sample", &module) != ANAS_OK)
    fail_msg("%s\n%s", anas_error_message(), text.data);
  MlirOperation function = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  if (anas_training_op_read(mlirBlockGetFirstOperation(body), out) != ANAS_OK)
    fail_msg("%s\n%s", anas_error_message(), text.data);
  mlirModuleDestroy(module);
  anas_strbuf_deinit(&text);
}

static void samples_lower(void **state) {
  (void)state;
  int count, checked = 0;
  const struct anas_op_def *const *defs = anas_op_table(&count);
  for (int d = 0; d < count; d++)
    for (int i = 0; defs[d]->level == ANAS_TRAINING && i < defs[d]->num_samples; i++, checked++) {
      struct anas_op op;
      struct anas_lowering *l = anas_lowering_create();
      int operands[ANAS_MAX_OPERANDS], results[ANAS_MAX_RESULTS];
      char text[128];
      read_sample(defs[d], &defs[d]->samples[i], &op);
      for (int k = 0; k < op.num_operands; k++)
        operands[k] = anas_lowering_buffer(l, &op.operand[k]);
      if (anas_lowering_run(l, &op, operands, results) != ANAS_OK)
        fail_msg("'anas.%s', sample %d: %s", op.def->name, i, anas_error_message());
      assert_string_equal(anas_shape_text(anas_lower_shape(l, results[0]), text), defs[d]->samples[i].result);
      for (int k = 0; k < l->num_nests; k++) {
        struct anas_kernel_function kernel;
        if (anas_kernel_function_print(l, l->nests[k], &kernel) != ANAS_OK) fail_msg("%s", anas_error_message());
        MlirModule module; // linalg's own verifier accepts the kernel function
        if (anas_parse(context, kernel.text, strlen(kernel.text), "kernel", &module) != ANAS_OK)
          fail_msg("%s\n%s", anas_error_message(), kernel.text);
        mlirModuleDestroy(module);
        anas_kernel_function_deinit(&kernel);
      }
      anas_lowering_destroy(l);
    }
  assert_true(checked >= 30);
}

// ---- running one op on given values

static struct anas_op op_named(const char *name) {
  struct anas_op op = {.def = anas_op_find(name, strlen(name))};
  assert_non_null(op.def);
  for (int i = 0; i < op.def->num_attrs; i++)
    op.attr[i] = op.def->attrs[i].fallback;
  op.num_operands = op.def->num_operands;
  return op;
}

struct execution {
  struct anas_lowering *lowering;
  struct nest_memory memory;
  int result[ANAS_MAX_RESULTS];
};

static void execute(const struct anas_op *op, const double *const *values, struct execution *out) {
  int operands[ANAS_MAX_OPERANDS];
  out->lowering = anas_lowering_create();
  for (int i = 0; i < op->num_operands; i++)
    operands[i] = anas_lowering_buffer(out->lowering, &op->operand[i]);
  if (anas_lowering_run(out->lowering, op, operands, out->result) != ANAS_OK) fail_msg("%s", anas_error_message());
  nest_memory_init(&out->memory, out->lowering);
  for (int i = 0; i < op->num_operands; i++) {
    union nest_cell *data = nest_memory_buffer(&out->memory, operands[i]);
    for (int64_t k = 0; k < anas_shape_elements(&op->operand[i]); k++)
      data[k] = op->operand[i].element == ANAS_F32 ? (union nest_cell){.f = values[i][k]}
                                                   : (union nest_cell){.i = (int64_t)values[i][k]};
  }
  if (nest_interpret_from(&out->memory, 0) != ANAS_OK) fail_msg("%s", anas_error_message());
}

static union nest_cell result_of(struct execution *e, int result, int64_t element) {
  return nest_memory_buffer(&e->memory, e->result[result])[element];
}

static void finish(struct execution *e) {
  nest_memory_deinit(&e->memory);
  anas_lowering_destroy(e->lowering);
}

static void assert_close(double have, double want) {
  if (!(fabs(have - want) <= TOLERANCE * fmax(1, fabs(want)))) fail_msg("%.12g, not %.12g", have, want);
}

// ---- loss

enum { BATCH = 6, CLASSES = 5 };

static double reference_loss(const double *logits, const double *label) {
  double loss = 0;
  for (int n = 0; n < BATCH; n++) {
    double sum = 0;
    for (int c = 0; c < CLASSES; c++)
      sum += exp(logits[n * CLASSES + c]);
    if (label[n] >= 0) loss += (log(sum) - logits[n * CLASSES + (int)label[n]]) / BATCH;
  }
  return loss;
}

static void cross_entropy(void **state) {
  (void)state;
  // The first row has two largest logits, of which the first counts; the last row has no label.
  double logits[BATCH * CLASSES] = {1, 2, 2, 0, -1,   3,   -2, 0.5, 0, 1,  -4, -3, -2.5, -6, -5,
                                    0, 0, 0, 0, 0.01, 200, 10, 20,  0, 90, 1,  2,  3,    4,  5};
  const double label[BATCH] = {1, 0, 4, 4, 0, -1};
  struct anas_op op = op_named("softmax_cross_entropy");
  op.operand[0] = (struct anas_shape){.rank = 2, .element = ANAS_F32, .dim = {BATCH, CLASSES}};
  op.operand[1] = (struct anas_shape){.rank = 1, .element = ANAS_I32, .dim = {BATCH}};
  struct execution e;
  execute(&op, (const double *[]){logits, label}, &e);
  assert_close(result_of(&e, 0, 0).f, reference_loss(logits, label));
  assert_int_equal(result_of(&e, 1, 0).i, 4); // all but the third row, which is wrong, and the last
  for (int i = 0; i < BATCH * CLASSES; i++) {
    double kept = logits[i], step = 1e-5, up, down;
    logits[i] = kept + step;
    up = reference_loss(logits, label);
    logits[i] = kept - step;
    down = reference_loss(logits, label);
    logits[i] = kept;
    assert_close(result_of(&e, 2, i).f, (up - down) / (2 * step));
  }
  finish(&e);
}

// Logits whose exponentials overflow even a double.
static void cross_entropy_of_large_logits(void **state) {
  (void)state;
  const double logits[] = {2000, 1000, -2000, -2000}, label[] = {1, 0};
  struct anas_op op = op_named("softmax_cross_entropy");
  op.operand[0] = (struct anas_shape){.rank = 2, .element = ANAS_F32, .dim = {2, 2}};
  op.operand[1] = (struct anas_shape){.rank = 1, .element = ANAS_I32, .dim = {2}};
  struct execution e;
  execute(&op, (const double *[]){logits, label}, &e);
  assert_close(result_of(&e, 0, 0).f, (1000 + log(2)) / 2);
  assert_close(result_of(&e, 2, 0).f, 0.5);
  assert_close(result_of(&e, 2, 1).f, -0.5);
  finish(&e);
}

// ---- optimizer

static void sgd_steps(void **state) {
  (void)state;
  const double param[] = {1, -2, 3}, velocity[] = {0.5, 0.25, -1}, gradient[] = {0.125, -4, 2}, rate[] = {0.5};
  struct anas_op op = op_named("sgd");
  for (int i = 0; i < 3; i++)
    op.operand[i] = (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {3}};
  op.operand[3] = (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {1}};
  op.attr[anas_op_attr_index(op.def, "momentum")] = (struct anas_attr)ANAS_FLOAT(0.75);
  op.attr[anas_op_attr_index(op.def, "weight_decay")] = (struct anas_attr)ANAS_FLOAT(0.0625);
  struct execution e;
  execute(&op, (const double *[]){param, velocity, gradient, rate}, &e);
  for (int i = 0; i < 3; i++) { // all numbers are exact in f32
    double v = 0.75 * velocity[i] + gradient[i] + 0.0625 * param[i];
    assert_true(result_of(&e, 1, i).f == v);
    assert_true(result_of(&e, 0, i).f == param[i] - 0.5 * v);
  }
  finish(&e);
}

enum { N = 3 };

static void set_float(struct anas_op *op, const char *name, double value) {
  op->attr[anas_op_attr_index(op->def, name)] = (struct anas_attr)ANAS_FLOAT(value);
}

static void set_operands(struct anas_op *op, int vectors, int scalars) {
  op->num_operands = vectors + scalars;
  for (int i = 0; i < op->num_operands; i++)
    op->operand[i] = (struct anas_shape){.rank = 1, .element = ANAS_F32, .dim = {i < vectors ? N : 1}};
}

// Twenty steps by the paper, with the powers of the betas: weights of the means come from mean_weight. factor: of the
// gradient, 1 leaves the operand out.
static void adam_steps(double factor) {
  const double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0.1, rate[] = {0.01}, scale[] = {factor};
  double param[N] = {1, -2, 3}, first[N] = {0}, second[N] = {0}, weight[2] = {0};
  double want[N] = {1, -2, 3}, m[N] = {0}, v[N] = {0};
  for (int step = 1; step <= 20; step++) {
    const double gradient[N] = {sin(step), 1e-3 * cos(step), step % 2 ? 0 : -5};
    for (int k = 0; k < 2; k++) {
      struct anas_op op = op_named("mean_weight");
      set_float(&op, "beta", k ? beta2 : beta1);
      set_operands(&op, 0, 1);
      struct execution e;
      execute(&op, (const double *[]){&weight[k]}, &e);
      weight[k] = result_of(&e, 0, 0).f;
      assert_true(fabs(weight[k] / (1 - pow(k ? beta2 : beta1, step)) - 1) < 1e-6);
      finish(&e);
    }
    struct anas_op op = op_named("adam");
    set_float(&op, "beta2", beta2);
    set_float(&op, "weight_decay", decay);
    set_operands(&op, 4, factor == 1 ? 3 : 4);
    struct execution e;
    execute(&op, (const double *[]){param, first, second, gradient, rate, &weight[0], &weight[1], scale}, &e);
    for (int i = 0; i < N; i++) {
      double g = factor * gradient[i];
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      double mean = m[i] / (1 - pow(beta1, step)), square = v[i] / (1 - pow(beta2, step));
      want[i] -= rate[0] * (mean / (sqrt(square) + epsilon) + decay * want[i]);
      param[i] = result_of(&e, 0, i).f;
      first[i] = result_of(&e, 1, i).f;
      second[i] = result_of(&e, 2, i).f;
      assert_close(param[i], want[i]);
      assert_close(first[i], m[i]);
      assert_close(second[i], v[i]);
    }
    finish(&e);
  }
}

static void adam_by_the_paper(void **state) {
  (void)state;
  adam_steps(1);
}

static void adam_of_clipped_gradients(void **state) {
  (void)state;
  adam_steps(0.25);
}

static void rmsprop_step(void **state) {
  (void)state;
  const double param[N] = {1, -2, 3}, second[N] = {0.5, 0.25, 0}, gradient[N] = {0.125, -4, 2}, rate[] = {0.5};
  const double factor[] = {0.5};
  for (int clipped = 0; clipped < 2; clipped++) {
    struct anas_op op = op_named("rmsprop");
    set_float(&op, "epsilon", 1e-3);
    set_float(&op, "weight_decay", 0.0625);
    set_operands(&op, 3, 1 + clipped);
    struct execution e;
    execute(&op, (const double *[]){param, second, gradient, rate, factor}, &e);
    for (int i = 0; i < N; i++) {
      double g = gradient[i] * (clipped ? factor[0] : 1), v = 0.9 * second[i] + 0.1 * g * g;
      assert_close(result_of(&e, 1, i).f, v);
      assert_close(result_of(&e, 0, i).f, param[i] - rate[0] * (g / sqrt(v + 1e-3) + 0.0625 * param[i]));
    }
    finish(&e);
  }
}

// By long sums in one nest, in two, and of a vector.
static void squared_norms(void **state) {
  (void)state;
  static const struct anas_shape shapes[] = {{.rank = 1, .element = ANAS_F32, .dim = {37}},
                                             {.rank = 2, .element = ANAS_F32, .dim = {5, 7}},
                                             {.rank = 4, .element = ANAS_F32, .dim = {3, 3, 65, 18}}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    struct anas_op op = op_named("squared_norm");
    op.operand[0] = shapes[s];
    int64_t count = anas_shape_elements(&shapes[s]);
    double *values = anas_calloc((size_t)count, sizeof *values), want = 0;
    for (int64_t i = 0; i < count; i++) {
      values[i] = sin((double)i);
      want += values[i] * values[i];
    }
    struct execution e;
    execute(&op, (const double *[]){values}, &e);
    assert_close(result_of(&e, 0, 0).f, want);
    finish(&e);
    free(values);
  }
}

static void clip_factors(void **state) {
  (void)state;
  const double squares[] = {0, 1, 4, 6.25, 1e20}, want[] = {1, 1, 1, 0.8, 2e-10};
  for (int i = 0; i < 5; i++) {
    struct anas_op op = op_named("clip_factor");
    set_float(&op, "norm", 2);
    set_operands(&op, 0, 1);
    struct execution e;
    execute(&op, (const double *[]){&squares[i]}, &e);
    assert_true(fabs(result_of(&e, 0, 0).f / want[i] - 1) < 1e-6);
    finish(&e);
  }
}

int main(void) {
  context = anas_context_create(false);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(samples_lower),
      cmocka_unit_test(cross_entropy),
      cmocka_unit_test(cross_entropy_of_large_logits),
      cmocka_unit_test(sgd_steps),
      cmocka_unit_test(adam_by_the_paper),
      cmocka_unit_test(adam_of_clipped_gradients),
      cmocka_unit_test(rmsprop_step),
      cmocka_unit_test(squared_norms),
      cmocka_unit_test(clip_factors),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  mlirContextDestroy(context);
  return failed;
}
