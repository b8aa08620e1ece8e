// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Generated from the op table: for every sample of every architecture op that can be trained, its forward pass against
// the definition (op_references.c) and its gradients against central finite differences. The training ops that forward
// and backward emit are lowered to nests and interpreted in double precision.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dialect/context.h"
#include "dialect/model.h"
#include "passes/train/training_op.h"
#include "test/unit/nest_interpreter.h"
#include "test/unit/op_references.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUTS (ANAS_MAX_OPERANDS + ANAS_MAX_PARAMS)
#define MAX_VALUES 64
#define FORWARD_TOLERANCE 1e-6 // bodies hold constants in f32 precision
#define GRADIENT_TOLERANCE 1e-5
#define STEP 1e-5

static MlirContext context;

// ---- instances

// A sample with its parameters: inputs are operands, then parameters.
struct instance {
  struct anas_op op;
  struct anas_shape result;
  struct anas_param param[ANAS_MAX_PARAMS];
  int num_params, num_inputs;
  struct anas_shape type[MAX_INPUTS];
  double *value[MAX_INPUTS];
};

static double next_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return (double)((z ^ (z >> 31)) >> 11) / (double)(UINT64_C(1) << 52) - 1;
}

static double *random_values(int64_t count, double centre, double spread, uint64_t seed) {
  double *values = anas_calloc((size_t)count, sizeof *values);
  for (int64_t i = 0; i < count; i++)
    values[i] = centre + spread * next_random(&seed);
  return values;
}

// Parses the sample as a module of one op.
static void instance_init(const struct anas_op_def *def, const struct anas_sample *sample, struct instance *out) {
  struct anas_strbuf text = {0};
  int operands = 0;
  anas_strbuf_adds(&text, "func.func @main(");
  for (; operands < ANAS_MAX_OPERANDS && sample->operand[operands]; operands++)
    anas_strbuf_addf(&text, "%s%%a%d: tensor<%s>", operands ? ", " : "", operands, sample->operand[operands]);
  anas_strbuf_addf(&text, ") -> tensor<%s> {\n  %%r = \"anas.%s\"(", sample->result, def->name);
  for (int i = 0; i < operands; i++)
    anas_strbuf_addf(&text, "%s%%a%d", i ? ", " : "", i);
  anas_strbuf_addf(&text, ") %s : (", sample->attrs);
  for (int i = 0; i < operands; i++)
    anas_strbuf_addf(&text, "%stensor<%s>", i ? ", " : "", sample->operand[i]);
  anas_strbuf_addf(&text, ") -> tensor<%s>\n  return %%r : tensor<%s>\n}\n", sample->result, sample->result);
  MlirModule module;
  struct anas_model *model;
  if (anas_parse(context, text.data, text.size, "sample", &module) != ANAS_OK ||
      anas_model_import(module, &model) != ANAS_OK)
    fail_msg("%s\n%s", anas_error_message(), text.data);
  if (anas_model_infer_shapes(model) != ANAS_OK) fail_msg("%s\n%s", anas_error_message(), text.data);
  const struct anas_function *function = &model->functions[0];
  assert_int_equal(function->num_nodes, 1);
  memset(out, 0, sizeof *out);
  out->result = function->nodes[0].result[0];
  if (anas_node_resolve(&function->nodes[0], function->arg, &out->op) != ANAS_OK) fail_msg("%s", anas_error_message());
  anas_model_destroy(model);
  mlirModuleDestroy(module);
  anas_strbuf_deinit(&text);

  for (int i = 0; i < operands; i++)
    out->type[out->num_inputs++] = out->op.operand[i];
  if (def->params) out->num_params = def->params(&out->op, out->param);
  for (int i = 0; i < out->num_params; i++)
    out->type[out->num_inputs++] = out->param[i].shape;
  for (int i = 0; i < out->num_inputs; i++) {
    // What starts as ones (scales, variances) stays positive.
    bool ones = i >= operands && !strcmp(out->param[i - operands].init, "ones");
    out->value[i] = random_values(anas_shape_elements(&out->type[i]), ones ? 1 : 0, ones ? 0.5 : 1, (uint64_t)i + 7);
  }
}

static void instance_deinit(struct instance *instance) {
  for (int i = 0; i < instance->num_inputs; i++)
    free(instance->value[i]);
}

// ---- programs

// The training ops of an instance as nests, and the buffers of what goes in and comes out (-1: none).
struct program {
  struct anas_lowering *lowering;
  MlirBlock block;
  MlirValue known[MAX_VALUES];
  int buffer[MAX_VALUES], num_known;
  int input[MAX_INPUTS], seed, grad_result;
  int result, gradient[MAX_INPUTS], new_state[ANAS_MAX_PARAMS];
};

static void learn(struct program *p, MlirValue value, int buffer) {
  assert_true(p->num_known < MAX_VALUES);
  p->known[p->num_known] = value;
  p->buffer[p->num_known++] = buffer;
}

static int buffer_of(const struct program *p, MlirValue value) {
  if (mlirValueIsNull(value)) return -1;
  for (int i = 0; i < p->num_known; i++)
    if (mlirValueEqual(p->known[i], value)) return p->buffer[i];
  fail_msg("a value comes from nowhere");
  return -1;
}

static MlirValue add_argument(struct program *p, const struct anas_shape *type, int *out_buffer) {
  MlirValue value = mlirBlockAddArgument(p->block, anas_tensor_type(context, type), mlirLocationUnknownGet(context));
  *out_buffer = anas_lowering_buffer(p->lowering, type);
  learn(p, value, *out_buffer);
  return value;
}

static bool differentiable(const struct instance *instance, int input) {
  int param = input - instance->op.num_operands;
  return param < 0 || instance->param[param].role == ANAS_TRAINABLE;
}

static void check(anas_status status, const struct instance *instance, const char *what) {
  if (status != ANAS_OK) fail_msg("%s of 'anas.%s': %s", what, instance->op.def->name, anas_error_message());
}

static void program_init(const struct instance *instance, bool training, bool backward, struct program *p) {
  const struct anas_op *op = &instance->op;
  memset(p, 0, sizeof *p);
  p->lowering = anas_lowering_create();
  p->block = mlirBlockCreate(0, NULL, NULL);
  struct anas_train train = {.context = context, .block = p->block, .location = mlirLocationUnknownGet(context)};
  struct anas_train_op t = {.op = op, .result_type = instance->result, .path = "main/op", .training = training};
  for (int i = 0; i < instance->num_inputs; i++) {
    MlirValue value = add_argument(p, &instance->type[i], &p->input[i]);
    *(i < op->num_operands ? &t.operand[i] : &t.param[i - op->num_operands]) = value;
  }
  for (int i = 0; i < op->num_operands; i++)
    t.need_operand[i] = true;
  struct anas_shape seed = {.rank = 1, .element = ANAS_I64, .dim = {1}};
  train.seed = add_argument(p, &seed, &p->seed);
  t.grad_result = add_argument(p, &instance->result, &p->grad_result);
  check(op->def->forward(&train, &t), instance, "forward");
  if (backward) check(op->def->backward(&train, &t), instance, "backward");

  MlirOperation operation = mlirBlockGetFirstOperation(p->block);
  for (; !mlirOperationIsNull(operation); operation = mlirOperationGetNextInBlock(operation)) {
    struct anas_op training_op;
    int operands[ANAS_MAX_OPERANDS], results[ANAS_MAX_RESULTS];
    check(anas_training_op_read(operation, &training_op), instance, "reading a training op");
    for (int i = 0; i < training_op.num_operands; i++)
      operands[i] = buffer_of(p, mlirOperationGetOperand(operation, i));
    check(anas_lowering_run(p->lowering, &training_op, operands, results), instance, "lowering");
    for (int i = 0; i < anas_lowering_num_results(&training_op); i++)
      learn(p, mlirOperationGetResult(operation, i), results[i]);
  }
  p->result = buffer_of(p, t.result);
  for (int i = 0; i < instance->num_inputs; i++)
    p->gradient[i] = buffer_of(p, i < op->num_operands ? t.grad_operand[i] : t.grad_param[i - op->num_operands]);
  for (int i = 0; i < instance->num_params; i++)
    p->new_state[i] = buffer_of(p, t.new_state[i]);
}

static void program_deinit(struct program *p) {
  mlirBlockDestroy(p->block);
  anas_lowering_destroy(p->lowering);
}

static void write_buffer(struct nest_memory *memory, int buffer, const double *values) {
  union nest_cell *data = nest_memory_buffer(memory, buffer);
  for (int64_t i = 0; i < anas_shape_elements(anas_lower_shape(memory->lowering, buffer)); i++)
    data[i].f = values[i];
}

// Runs the program; the caller reads buffers and releases the memory.
static void program_run(const struct program *p, const struct instance *instance, const double *grad_result,
                        int64_t seed, struct nest_memory *memory) {
  nest_memory_init(memory, p->lowering);
  for (int i = 0; i < instance->num_inputs; i++)
    write_buffer(memory, p->input[i], instance->value[i]);
  nest_memory_buffer(memory, p->seed)[0].i = seed;
  if (grad_result) write_buffer(memory, p->grad_result, grad_result);
  check(nest_interpret_from(memory, 0), instance, "interpreting");
}

// ---- forward

static void check_forward(const struct anas_op_def *def, int sample, bool training) {
  struct instance instance;
  struct program program;
  struct nest_memory memory;
  op_reference reference = op_reference_find(def->name);
  instance_init(def, &def->samples[sample], &instance);
  program_init(&instance, training, false, &program);
  program_run(&program, &instance, NULL, 1, &memory);
  char text[128];
  assert_string_equal(anas_shape_text(anas_lower_shape(program.lowering, program.result), text),
                      def->samples[sample].result);
  int64_t count = anas_shape_elements(&instance.result);
  double *want = anas_calloc((size_t)count, sizeof *want);
  reference(&instance.op, &instance.result, training, (const double *const *)instance.value,
            (const double *const *)instance.value + instance.op.num_operands, want);
  const union nest_cell *have = nest_memory_buffer(&memory, program.result);
  for (int64_t i = 0; i < count; i++)
    if (!(fabs(have[i].f - want[i]) <= FORWARD_TOLERANCE * fmax(1, fabs(want[i]))))
      fail_msg("'anas.%s' %s, sample %d, element %lld: %.12g, not %.12g", def->name, def->samples[sample].attrs, sample,
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
    if (defs[d]->level != ANAS_ARCHITECTURE || !defs[d]->forward) continue;
    if (!op_reference_find(defs[d]->name)) {
      print_message("no definition of 'anas.%s' to compare with\n", defs[d]->name);
      continue;
    }
    for (int i = 0; i < defs[d]->num_samples; i++, checked++) {
      check_forward(defs[d], i, true);
      check_forward(defs[d], i, false);
    }
  }
  assert_true(checked >= 20);
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

// Every element of a small tensor, a few of a large one, and random directions through all of them.
static void check_input(const struct program *forward, const struct instance *instance, const double *weights,
                        int input, const union nest_cell *gradient, int sample) {
  int64_t count = anas_shape_elements(&instance->type[input]), stride = count / 40 + 1;
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
          "'anas.%s' %s, sample %d: gradient of input %d along direction %lld is %.12g but finite differences give "
          "%.12g",
          instance->op.def->name, instance->op.def->samples[sample].attrs, sample, input, (long long)probe, product,
          difference);
  }
  free(direction);
}

static void check_gradients(const struct anas_op_def *def, int sample) {
  struct instance instance;
  struct program forward, both;
  struct nest_memory memory;
  instance_init(def, &def->samples[sample], &instance);
  program_init(&instance, true, false, &forward);
  program_init(&instance, true, true, &both);
  double *weights = random_values(anas_shape_elements(&instance.result), 0, 1, 4242);
  program_run(&both, &instance, weights, 1, &memory);
  for (int i = 0; i < instance.num_inputs; i++) {
    if (!differentiable(&instance, i)) continue;
    if (both.gradient[i] < 0) fail_msg("'anas.%s' gives no gradient of input %d", def->name, i);
    assert_true(anas_shape_equal(anas_lower_shape(both.lowering, both.gradient[i]), &instance.type[i]));
    check_input(&forward, &instance, weights, i, nest_memory_buffer(&memory, both.gradient[i]), sample);
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
    if (defs[d]->level != ANAS_ARCHITECTURE || !defs[d]->backward) continue;
    for (int i = 0; i < defs[d]->num_samples; i++, checked++)
      check_gradients(defs[d], i);
  }
  assert_true(checked >= 20);
}

// ---- samples

// Every op has samples whose results the shape rule gives, at both levels.
static void samples_are_well_typed(void **state) {
  (void)state;
  int count;
  const struct anas_op_def *const *defs = anas_op_table(&count);
  for (int d = 0; d < count; d++) {
    if (defs[d]->level == ANAS_ARCHITECTURE && !defs[d]->num_samples)
      fail_msg("'anas.%s' has no samples", defs[d]->name);
    if (defs[d]->level != ANAS_ARCHITECTURE) continue;
    for (int i = 0; i < defs[d]->num_samples; i++) {
      struct instance instance;
      char text[128];
      instance_init(defs[d], &defs[d]->samples[i], &instance);
      assert_string_equal(anas_shape_text(&instance.result, text), defs[d]->samples[i].result);
      instance_deinit(&instance);
    }
  }
}

int main(void) {
  context = anas_context_create(false);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(samples_are_well_typed),
      cmocka_unit_test(forward_equals_definition),
      cmocka_unit_test(gradients_equal_finite_differences),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  mlirContextDestroy(context);
  return failed;
}
