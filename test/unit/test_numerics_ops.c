// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Generated from the op table: for every sample of every architecture op that can be trained, its forward pass against
// the definition (op_references.c), its gradients against central finite differences, and its dependencies against what
// execution reads. The training ops that forward and backward emit are lowered to nests and interpreted in double
// precision.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dialect/context.h"
#include "test/unit/op_program.h"
#include "test/unit/op_references.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORWARD_TOLERANCE 1e-6 // bodies hold constants in f32 precision
#define GRADIENT_TOLERANCE 1e-5
#define STEP 1e-5

static MlirContext context;
static const char *only; // test this op and nothing else; null: every op

static bool is_wanted(const struct anas_op_def *def) {
  return def->level == ANAS_ARCHITECTURE && (!only || !strcmp(only, def->name));
}

// ---- forward

// The training form draws random numbers.
static bool is_random(const struct program *program) {
  for (int i = 0; i < program->lowering->num_nests; i++)
    for (int k = 0; k < program->lowering->nests[i]->num_in; k++)
      if (program->lowering->nests[i]->in[k].buffer == program->seed) return true;
  return false;
}

static void check_forward(const struct anas_op_def *def, const struct anas_sample *sample, bool training) {
  struct instance instance;
  struct program program;
  struct nest_memory memory;
  op_reference reference = op_reference_find(def->name);
  instance_init(context, def, sample, &instance);
  program_init(context, &instance, training, false, &program);
  if (is_random(&program)) { // dropout_masks and examples_are_dropped look at those
    program_deinit(&program);
    instance_deinit(&instance);
    return;
  }
  program_run(&program, &instance, NULL, 1, &memory);
  char text[128];
  assert_string_equal(anas_shape_text(anas_lower_shape(program.lowering, program.result), text), sample->result);
  int64_t count = anas_shape_elements(&instance.result);
  double *want = anas_calloc((size_t)count, sizeof *want);
  reference(&instance.op, &instance.result, training, (const double *const *)instance.value,
            (const double *const *)instance.value + instance.op.num_operands, want);
  const union nest_cell *have = nest_memory_buffer(&memory, program.result);
  for (int64_t i = 0; i < count; i++)
    if (!(fabs(have[i].f - want[i]) <= FORWARD_TOLERANCE * fmax(1, fabs(want[i]))))
      fail_msg("'anas.%s' %s of %s, element %lld: %.12g, not %.12g", def->name, sample->attrs, sample->operand[0],
               (long long)i, have[i].f, want[i]);
  free(want);
  nest_memory_deinit(&memory);
  program_deinit(&program);
  instance_deinit(&instance);
}

static void forward_equals_definition(void **state) {
  (void)state;
  int count, checked = 0;
  const struct anas_op_def *const *defs = anas_op_table(&count);
  for (int d = 0; d < count; d++) {
    if (!is_wanted(defs[d]) || !defs[d]->forward) continue;
    if (!op_reference_find(defs[d]->name)) {
      print_message("no definition of 'anas.%s' to compare with\n", defs[d]->name);
      continue;
    }
    for (int i = 0; i < defs[d]->num_samples; i++, checked++) {
      check_forward(defs[d], &defs[d]->samples[i], true);
      check_forward(defs[d], &defs[d]->samples[i], false);
    }
  }
  assert_true(checked >= (only ? 1 : 20));
}

// ---- gradients

// sum(result * weights) as the inputs are.
static double loss(const struct program *forward, const struct instance *instance, const double *weights) {
  struct nest_memory memory;
  double sum = 0;
  program_run(forward, instance, NULL, 1, &memory);
  const union nest_cell *result = nest_memory_buffer(&memory, forward->result);
  for (int64_t i = 0; i < anas_shape_elements(&instance->result); i++)
    sum += result[i].f * weights[i];
  nest_memory_deinit(&memory);
  return sum;
}

// Derivative of the loss along a direction of one input, by central differences.
static double slope(const struct program *forward, const struct instance *instance, const double *weights, int input,
                    const double *direction) {
  double *value = instance->value[input], side[2];
  int64_t count = anas_shape_elements(&instance->type[input]);
  double *original = anas_calloc((size_t)count, sizeof *original);
  memcpy(original, value, (size_t)count * sizeof *value);
  for (int s = 0; s < 2; s++) {
    for (int64_t i = 0; i < count; i++)
      value[i] = original[i] + (s ? -STEP : STEP) * direction[i];
    side[s] = loss(forward, instance, weights);
  }
  memcpy(value, original, (size_t)count * sizeof *value);
  free(original);
  return (side[0] - side[1]) / (2 * STEP);
}

// Derivatives by single elements, at most about 'probes' of them, and along random directions through all.
static void check_input(const struct program *forward, const struct instance *instance, const double *weights,
                        int input, const union nest_cell *gradient, const struct anas_sample *sample, int64_t probes) {
  int64_t count = anas_shape_elements(&instance->type[input]), stride = count / probes + 1;
  double *direction = anas_calloc((size_t)count, sizeof *direction);
  uint64_t seed = (uint64_t)input + 99;
  for (int64_t probe = -3; probe * stride < count; probe++) {
    double product = 0, difference;
    for (int64_t i = 0; i < count; i++) {
      direction[i] = probe < 0 ? next_random(&seed) : i == probe * stride;
      product += direction[i] * gradient[i].f;
    }
    difference = slope(forward, instance, weights, input, direction);
    if (!(fabs(product - difference) <= GRADIENT_TOLERANCE * fmax(1, fabs(difference))))
      fail_msg(
          "'anas.%s' %s of %s: gradient of input %d along direction %lld is %.12g but finite differences give %.12g",
          instance->op.def->name, sample->attrs, sample->operand[0], input, (long long)probe, product, difference);
  }
  free(direction);
}

static void check_gradients(const struct anas_op_def *def, const struct anas_sample *sample, int64_t probes) {
  struct instance instance;
  struct program forward, both;
  struct nest_memory memory;
  instance_init(context, def, sample, &instance);
  program_init(context, &instance, true, false, &forward);
  program_init(context, &instance, true, true, &both);
  double *weights = random_values(anas_shape_elements(&instance.result), 0, 1, 4242);
  program_run(&both, &instance, weights, 1, &memory);
  for (int i = 0; i < instance.num_inputs; i++) {
    if (!differentiable(&instance, i)) continue;
    if (both.gradient[i] < 0) fail_msg("'anas.%s' gives no gradient of input %d", def->name, i);
    assert_true(anas_shape_equal(anas_lower_shape(both.lowering, both.gradient[i]), &instance.type[i]));
    check_input(&forward, &instance, weights, i, nest_memory_buffer(&memory, both.gradient[i]), sample, probes);
  }
  nest_memory_deinit(&memory);
  free(weights);
  program_deinit(&forward);
  program_deinit(&both);
  instance_deinit(&instance);
}

static void gradients_equal_finite_differences(void **state) {
  (void)state;
  int count, checked = 0;
  const struct anas_op_def *const *defs = anas_op_table(&count);
  for (int d = 0; d < count; d++) {
    if (!is_wanted(defs[d]) || !defs[d]->backward) continue;
    for (int i = 0; i < defs[d]->num_samples; i++, checked++)
      check_gradients(defs[d], &defs[d]->samples[i], 40);
  }
  assert_true(checked >= (only ? 1 : 20));
}

// Binary ops whose operands have one type, applied to one value: both gradients together are its gradient.
static void check_tied(const struct anas_op_def *def, const struct anas_sample *sample) {
  struct instance instance;
  struct program forward, both;
  struct nest_memory memory;
  instance_init(context, def, sample, &instance);
  instance.tied = true;
  program_init(context, &instance, true, false, &forward);
  program_init(context, &instance, true, true, &both);
  double *weights = random_values(anas_shape_elements(&instance.result), 0, 1, 77);
  program_run(&both, &instance, weights, 1, &memory);
  int64_t count = anas_shape_elements(&instance.type[0]);
  union nest_cell *sum = anas_calloc((size_t)count, sizeof *sum);
  for (int k = 0; k < 2; k++)
    for (int64_t i = 0; i < count; i++)
      sum[i].f += nest_memory_buffer(&memory, both.gradient[k])[i].f;
  check_input(&forward, &instance, weights, 0, sum, sample, 10);
  free(sum);
  nest_memory_deinit(&memory);
  free(weights);
  program_deinit(&forward);
  program_deinit(&both);
  instance_deinit(&instance);
}

static void gradients_of_one_value_twice(void **state) {
  (void)state;
  int count, checked = 0;
  const struct anas_op_def *const *defs = anas_op_table(&count);
  for (int d = 0; d < count; d++) {
    if (!is_wanted(defs[d]) || !defs[d]->backward || defs[d]->num_operands != 2) continue;
    for (int i = 0; i < defs[d]->num_samples; i++) {
      const struct anas_sample *sample = &defs[d]->samples[i];
      if (strcmp(sample->operand[0], sample->operand[1]) != 0) continue;
      check_tied(defs[d], sample);
      checked++;
    }
  }
  assert_true(checked >= (only ? 0 : 3));
}

// ---- pooling over many shapes

// False if the window does not fit.
static bool pool_sample(const char *name, const int64_t *extent, const int64_t *window, const int64_t *stride,
                        bool same) {
  int64_t out[2];
  for (int d = 0; d < 2; d++) {
    int64_t reach = window[d] ? window[d] : extent[d];
    if (!same && reach > extent[d]) return false;
    out[d] = same ? (extent[d] + stride[d] - 1) / stride[d] : (extent[d] - reach) / stride[d] + 1;
  }
  char operand[64], result[64], attrs[160];
  snprintf(operand, sizeof operand, "2x%lldx%lldx2xf32", (long long)extent[0], (long long)extent[1]);
  snprintf(result, sizeof result, "2x%lldx%lldx2xf32", (long long)out[0], (long long)out[1]);
  snprintf(attrs, sizeof attrs, "{window = array<i64: %lld, %lld>, strides = array<i64: %lld, %lld>, padding = \"%s\"}",
           (long long)window[0], (long long)window[1], (long long)stride[0], (long long)stride[1],
           same ? "SAME" : "VALID");
  struct anas_sample sample = {.operand = {operand}, .attrs = attrs, .result = result};
  const struct anas_op_def *def = anas_op_find(name, strlen(name));
  assert_non_null(def);
  check_forward(def, &sample, true);
  check_gradients(def, &sample, 3);
  return true;
}

static void every_pooling_geometry(void **state) {
  (void)state;
  int checked = 0;
  for (int64_t extent = 1; extent <= 9; extent++)
    for (int64_t window = 0; window <= 3; window++)
      for (int64_t stride = 1; stride <= 3; stride++)
        for (int same = 0; same < 2; same++) {
          int64_t extents[] = {extent, 10 - extent}, windows[] = {window, (window + extent) % 4};
          int64_t strides[] = {stride, 1 + (stride + extent) % 3};
          checked += pool_sample("avg_pool", extents, windows, strides, same);
          checked += pool_sample("max_pool", extents, windows, strides, same);
        }
  assert_true(checked > 300);
}

// ---- sums over so many positions that they take two nests (dialect/column_sums.h)

static void long_columns(void **state) {
  (void)state;
  static const struct {
    const char *op;
    struct anas_sample sample;
  } cases[] = {
      {"batch_norm", {{"66x5x2x3xf32"}, "{}", "66x5x2x3xf32"}},
      {"batch_norm", {{"300x2xf32"}, "{}", "300x2xf32"}}, // part of a dimension
      {"batch_norm", {{"2x3x140x2xf32"}, "{}", "2x3x140x2xf32"}},
      {"batch_norm", {{"1x1x257x2xf32"}, "{}", "1x1x257x2xf32"}},
      {"layer_norm", {{"7x43x6xf32"}, "{}", "7x43x6xf32"}},
      {"layer_norm", {{"5x4x26x5xf32"}, "{}", "5x4x26x5xf32"}},
      {"group_norm", {{"2x16x17x4xf32"}, "{num_groups = 2 : i64}", "2x16x17x4xf32"}},
      {"group_norm", {{"3x300x4xf32"}, "{num_groups = 1 : i64}", "3x300x4xf32"}},
      {"group_norm", {{"70x2x2x6xf32"}, "{group_size = 2 : i64}", "70x2x2x6xf32"}},
      {"dense", {{"9x32x2xf32"}, "{features = 3 : i64}", "9x32x3xf32"}},
      {"conv", {{"3x9x11x2xf32"}, "{features = 3 : i64, kernel = 1 : i64}", "3x9x11x3xf32"}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const struct anas_op_def *def = anas_op_find(cases[i].op, strlen(cases[i].op));
    check_forward(def, &cases[i].sample, true);
    check_forward(def, &cases[i].sample, false);
    check_gradients(def, &cases[i].sample, 5);
  }
}

// ---- what the definitions leave out

// Training dropout keeps an element, grown, or drops it; seeds and instances draw different masks, one seed the same.
static void dropout_masks(void **state) {
  (void)state;
  static const struct anas_sample sample = {{"8x16x16x4xf32"}, "{rate = 0.25 : f64}", "8x16x16x4xf32"};
  struct instance instance;
  struct program program;
  struct nest_memory memory;
  instance_init(context, anas_op_find("dropout", 7), &sample, &instance);
  program_init(context, &instance, true, false, &program);
  int64_t count = anas_shape_elements(&instance.result);
  bool *mask = anas_calloc((size_t)(3 * count), sizeof *mask);
  static const int64_t seeds[] = {1, 2, 1};
  for (int run = 0; run < 3; run++) {
    int64_t kept = 0;
    program_run(&program, &instance, NULL, seeds[run], &memory);
    const union nest_cell *y = nest_memory_buffer(&memory, program.result);
    for (int64_t i = 0; i < count; i++) {
      mask[run * count + i] = y[i].f != 0;
      kept += y[i].f != 0;
      if (y[i].f != 0) assert_true(fabs(y[i].f - instance.value[0][i] / 0.75) < 1e-6);
    }
    // Binomial with 8192 draws: five standard deviations are 0.024.
    assert_true(fabs((double)kept / (double)count - 0.75) < 0.024);
    nest_memory_deinit(&memory);
  }
  int64_t differ = 0;
  for (int64_t i = 0; i < count; i++)
    differ += mask[i] != mask[count + i];
  assert_true(fabs((double)differ / (double)count - 2 * 0.25 * 0.75) < 0.03); // independent masks
  assert_memory_equal(mask, mask + 2 * count, (size_t)count * sizeof *mask);
  free(mask);
  program_deinit(&program);
  program_init(context, &instance, false, false, &program);
  assert_int_equal(program.result, program.input[0]); // nothing happens at inference
  program_deinit(&program);
  instance_deinit(&instance);
}

// Whole examples are kept, grown, or dropped; at inference nothing happens. op: "add" adds operand 1 to it.
static void check_dropped_examples(const char *op, const struct anas_sample *sample) {
  enum { EXAMPLES = 4096, SIZE = 6 };
  struct instance instance;
  struct program program;
  struct nest_memory memory;
  instance_init(context, anas_op_find(op, strlen(op)), sample, &instance);
  program_init(context, &instance, true, false, &program);
  int kept[2] = {0}, same = 0;
  bool mask[2][EXAMPLES];
  for (int run = 0; run < 2; run++) {
    program_run(&program, &instance, NULL, run, &memory);
    const union nest_cell *y = nest_memory_buffer(&memory, program.result);
    for (int n = 0; n < EXAMPLES; n++) {
      const double *x = instance.value[0] + n * SIZE, *z = instance.op.num_operands > 1 ? instance.value[1] : NULL;
      mask[run][n] = fabs(y[n * SIZE].f - (z ? z[n * SIZE] : 0) - x[0] / 0.75) < 1e-6;
      kept[run] += mask[run][n];
      for (int i = 0; i < SIZE; i++) {
        double want = (mask[run][n] ? x[i] / 0.75 : 0) + (z ? z[n * SIZE + i] : 0);
        assert_true(fabs(y[n * SIZE + i].f - want) < 1e-6);
      }
    }
    nest_memory_deinit(&memory);
  }
  // Binomial with 4096 draws: five standard deviations are 0.034.
  for (int run = 0; run < 2; run++)
    assert_true(fabs((double)kept[run] / EXAMPLES - 0.75) < 0.034);
  for (int n = 0; n < EXAMPLES; n++)
    same += mask[0][n] == mask[1][n];
  assert_true(fabs((double)same / EXAMPLES - (0.75 * 0.75 + 0.25 * 0.25)) < 0.04); // independent of each other
  program_deinit(&program);
  program_init(context, &instance, false, false, &program);
  assert_false(is_random(&program));
  program_deinit(&program);
  instance_deinit(&instance);
}

static void examples_are_dropped(void **state) {
  (void)state;
  static const struct anas_sample one = {{"4096x2x3xf32"}, "{rate = 0.25 : f32}", "4096x2x3xf32"};
  static const struct anas_sample two = {
      {"4096x2x3xf32", "4096x2x3xf32"}, "{layer_drop_rate = 0.25 : f32}", "4096x2x3xf32"};
  check_dropped_examples("stoch_depth", &one);
  check_dropped_examples("add", &two);
}

static void batch_norm_averages(void **state) {
  (void)state;
  static const struct anas_sample sample = {{"5x3x2x7xf32"}, "{momentum = 0.75 : f64}", "5x3x2x7xf32"};
  struct instance instance;
  struct program program;
  struct nest_memory memory;
  instance_init(context, anas_op_find("batch_norm", 10), &sample, &instance);
  program_init(context, &instance, true, false, &program);
  assert_true(program.new_state[2] >= 0 && program.new_state[3] >= 0);
  program_run(&program, &instance, NULL, 1, &memory);
  const double *x = instance.value[0];
  for (int c = 0; c < 7; c++) {
    double mean = 0, variance = 0;
    for (int r = 0; r < 30; r++)
      mean += x[r * 7 + c] / 30;
    for (int r = 0; r < 30; r++)
      variance += (x[r * 7 + c] - mean) * (x[r * 7 + c] - mean) / 30;
    double new_mean = 0.75 * instance.value[3][c] + 0.25 * mean;
    double new_variance = 0.75 * instance.value[4][c] + 0.25 * variance;
    assert_true(fabs(nest_memory_buffer(&memory, program.new_state[2])[c].f - new_mean) < 1e-6);
    assert_true(fabs(nest_memory_buffer(&memory, program.new_state[3])[c].f - new_variance) < 1e-6);
  }
  nest_memory_deinit(&memory);
  program_deinit(&program);
  program_init(context, &instance, false, false, &program);
  for (int i = 0; i < instance.num_params; i++)
    assert_int_equal(program.new_state[i], -1); // inference changes no state
  program_deinit(&program);
  instance_deinit(&instance);
}

// ---- dependencies

// The definition of enum anas_dep_kind: does result element y read position p of an operand dimension?
static bool reads(const struct anas_dep *dep, int64_t extent, const struct anas_shape *result, const int64_t *y,
                  int64_t p) {
  int64_t at = y[dep->out_dim];
  for (int j = dep->out_dim + 1; dep->kind == ANAS_DEP_LINEAR && j <= dep->out_last; j++)
    at = at * result->dim[j] + y[j];
  switch (dep->kind) {
  case ANAS_DEP_NONE: return false;
  case ANAS_DEP_ALL: return true;
  case ANAS_DEP_FIRST: return p == 0;
  case ANAS_DEP_LINEAR:
  case ANAS_DEP_DIVMOD: return p == at / dep->div % extent;
  case ANAS_DEP_GROUP: return p / dep->in_group == at / dep->out_group;
  case ANAS_DEP_WINDOW:
    for (int64_t t = 0; t < dep->window; t++)
      if (p == at * dep->stride - dep->pad + t * dep->dilation) return true;
  }
  return false;
}

static void claimed_dependencies(const struct instance *instance, int operand, struct anas_dep *out) {
  const struct anas_shape *x = &instance->type[operand];
  if (instance->op.def->deps) {
    instance->op.def->deps(&instance->op, operand, &instance->result, out);
    return;
  }
  for (int d = 0; d < x->rank; d++) { // numpy broadcasting
    int aligned = instance->result.rank - x->rank + d;
    out[d] = (struct anas_dep){.kind = ANAS_DEP_WINDOW, .out_dim = aligned, .window = 1, .stride = 1, .dilation = 1};
    if (x->dim[d] == 1) out[d] = (struct anas_dep){.kind = ANAS_DEP_FIRST};
  }
}

static void split(const struct anas_shape *shape, int64_t element, int64_t *out) {
  for (int d = shape->rank - 1; d >= 0; d--) {
    out[d] = element % shape->dim[d];
    element /= shape->dim[d];
  }
}

// A large new value of one element must change exactly the result elements that claim to read it.
static void check_dependencies(const struct anas_op_def *def, int sample) {
  struct instance instance;
  struct program program;
  struct nest_memory before, after;
  instance_init(context, def, &def->samples[sample], &instance);
  program_init(context, &instance, false, false, &program);
  program_run(&program, &instance, NULL, 1, &before);
  for (int input = 0; input < instance.op.num_operands; input++) {
    struct anas_dep deps[ANAS_MAX_RANK] = {0};
    const struct anas_shape *type = &instance.type[input];
    claimed_dependencies(&instance, input, deps);
    if (deps[0].kind == ANAS_DEP_NONE) { // the value passes, but nothing may be learned through it
      assert_null(def->backward);
      continue;
    }
    for (int64_t e = 0; e < anas_shape_elements(type); e++) {
      int64_t x[ANAS_MAX_RANK], y[ANAS_MAX_RANK];
      double saved = instance.value[input][e];
      instance.value[input][e] = 20;
      program_run(&program, &instance, NULL, 1, &after);
      instance.value[input][e] = saved;
      split(type, e, x);
      for (int64_t r = 0; r < anas_shape_elements(&instance.result); r++) {
        bool claimed = true;
        split(&instance.result, r, y);
        for (int d = 0; d < type->rank; d++)
          claimed = claimed && reads(&deps[d], type->dim[d], &instance.result, y, x[d]);
        bool changed =
            nest_memory_buffer(&before, program.result)[r].f != nest_memory_buffer(&after, program.result)[r].f;
        if (changed != claimed)
          fail_msg(
              "'anas.%s' %s: result element %lld %s element %lld of operand %d, but its dependencies say otherwise",
              def->name, def->samples[sample].attrs, (long long)r, changed ? "reads" : "does not read", (long long)e,
              input);
      }
      nest_memory_deinit(&after);
    }
  }
  nest_memory_deinit(&before);
  program_deinit(&program);
  instance_deinit(&instance);
}

static void dependencies_equal_execution(void **state) {
  (void)state;
  int count, checked = 0;
  const struct anas_op_def *const *defs = anas_op_table(&count);
  for (int d = 0; d < count; d++) {
    if (!is_wanted(defs[d]) || !defs[d]->forward) continue;
    for (int i = 0; i < defs[d]->num_samples; i++, checked++)
      check_dependencies(defs[d], i);
  }
  assert_true(checked >= (only ? 1 : 20));
}

// ---- samples

// Every architecture op has samples, and the shape rule gives their results.
static void samples_are_well_typed(void **state) {
  (void)state;
  int count;
  const struct anas_op_def *const *defs = anas_op_table(&count);
  for (int d = 0; d < count; d++) {
    if (!is_wanted(defs[d])) continue;
    if (!defs[d]->num_samples) fail_msg("'anas.%s' has no samples", defs[d]->name);
    for (int i = 0; i < defs[d]->num_samples; i++) {
      struct instance instance;
      char text[128];
      instance_init(context, defs[d], &defs[d]->samples[i], &instance);
      assert_string_equal(anas_shape_text(&instance.result, text), defs[d]->samples[i].result);
      instance_deinit(&instance);
    }
  }
}

// Argument: name of the only op to test.
int main(int argc, char **argv) {
  if (argc > 1) only = argv[1];
  context = anas_context_create(false);
  const struct CMUnitTest generated[] = {
      cmocka_unit_test(samples_are_well_typed),
      cmocka_unit_test(forward_equals_definition),
      cmocka_unit_test(gradients_equal_finite_differences),
      cmocka_unit_test(gradients_of_one_value_twice),
      cmocka_unit_test(dependencies_equal_execution),
  };
  const struct CMUnitTest written[] = {
      cmocka_unit_test(every_pooling_geometry), cmocka_unit_test(long_columns),        cmocka_unit_test(dropout_masks),
      cmocka_unit_test(examples_are_dropped),   cmocka_unit_test(batch_norm_averages),
  };
  int failed = cmocka_run_group_tests(generated, NULL, NULL);
  if (!only) failed += cmocka_run_group_tests(written, NULL, NULL);
  mlirContextDestroy(context);
  return failed;
}
