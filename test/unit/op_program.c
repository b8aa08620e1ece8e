// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Samples of architecture ops as interpreted programs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dialect/attributes.h"
#include "dialect/context.h"
#include "dialect/model.h"
#include "test/unit/op_program.h"

#include <stdlib.h>
#include <string.h>

// ---- instances

double next_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return (double)((z ^ (z >> 31)) >> 11) / (double)(UINT64_C(1) << 52) - 1;
}

double *random_values(int64_t count, double centre, double spread, uint64_t seed) {
  double *values = anas_calloc((size_t)count, sizeof *values);
  for (int64_t i = 0; i < count; i++)
    values[i] = centre + spread * next_random(&seed);
  return values;
}

void instance_init(MlirContext context, const struct anas_op_def *def, const struct anas_sample *sample,
                   struct instance *out) {
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
  struct anas_model *model = NULL;
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
    bool ones = i >= operands && out->param[i - operands].init.value == 1 &&
                out->param[i - operands].init.kind == ANAS_INIT_CONSTANT;
    out->value[i] = random_values(anas_shape_elements(&out->type[i]), ones ? 1 : 0, ones ? 0.5 : 1, (uint64_t)i + 7);
  }
}

void instance_deinit(struct instance *instance) {
  for (int i = 0; i < instance->num_inputs; i++)
    free(instance->value[i]);
}

// ---- programs

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
  MlirValue value =
      mlirBlockAddArgument(p->block, anas_shape_to_type(p->context, type), mlirLocationUnknownGet(p->context));
  *out_buffer = anas_lowering_buffer(p->lowering, type);
  learn(p, value, *out_buffer);
  return value;
}

bool differentiable(const struct instance *instance, int input) {
  int param = input - instance->op.num_operands;
  return param < 0 || instance->param[param].role == ANAS_TRAINABLE;
}

static void check(anas_status status, const struct instance *instance, const char *what) {
  if (status != ANAS_OK) fail_msg("%s of 'anas.%s': %s", what, instance->op.def->name, anas_error_message());
}

// Every nest has a kernel function, and MLIR accepts it: the interpreter is more lenient about bodies.
static void check_kernels(const struct program *p, const struct instance *instance) {
  for (int i = 0; i < p->lowering->num_nests; i++) {
    struct anas_kernel_function kernel;
    MlirModule module;
    check(anas_kernel_function_print(p->lowering, p->lowering->nests[i], &kernel), instance, "printing a kernel");
    if (anas_parse(p->context, kernel.text, strlen(kernel.text), "kernel", &module) != ANAS_OK)
      fail_msg("'anas.%s': MLIR rejects\n%s", instance->op.def->name, kernel.text);
    mlirModuleDestroy(module);
    anas_kernel_function_deinit(&kernel);
  }
}

void program_init(MlirContext context, const struct instance *instance, bool training, bool backward,
                  struct program *p) {
  const struct anas_op *op = &instance->op;
  memset(p, 0, sizeof *p);
  p->context = context;
  p->lowering = anas_lowering_create();
  p->block = mlirBlockCreate(0, NULL, NULL);
  struct anas_train train = {.context = context, .block = p->block, .location = mlirLocationUnknownGet(context)};
  struct anas_train_op t = {.op = op, .result_type = instance->result, .path = "main/op", .training = training};
  for (int i = 0; i < instance->num_inputs; i++) {
    MlirValue value = add_argument(p, &instance->type[i], &p->input[i]);
    *(i < op->num_operands ? &t.operand[i] : &t.param[i - op->num_operands]) = value;
  }
  if (instance->tied) t.operand[1] = t.operand[0];
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
  check_kernels(p, instance);
  p->result = buffer_of(p, t.result);
  for (int i = 0; i < instance->num_inputs; i++)
    p->gradient[i] = buffer_of(p, i < op->num_operands ? t.grad_operand[i] : t.grad_param[i - op->num_operands]);
  for (int i = 0; i < instance->num_params; i++)
    p->new_state[i] = buffer_of(p, t.new_state[i]);
}

void program_deinit(struct program *p) {
  mlirBlockDestroy(p->block);
  anas_lowering_destroy(p->lowering);
}

static void write_buffer(struct nest_memory *memory, int buffer, const double *values) {
  union nest_cell *data = nest_memory_buffer(memory, buffer);
  for (int64_t i = 0; i < anas_shape_elements(anas_lower_shape(memory->lowering, buffer)); i++)
    data[i].f = values[i];
}

void program_run(const struct program *p, const struct instance *instance, const double *grad_result, int64_t seed,
                 struct nest_memory *memory) {
  nest_memory_init(memory, p->lowering);
  for (int i = 0; i < instance->num_inputs; i++)
    write_buffer(memory, p->input[i], instance->value[i]);
  nest_memory_buffer(memory, p->seed)[0].i = seed;
  if (grad_result) write_buffer(memory, p->grad_result, grad_result);
  check(nest_interpret_from(memory, 0), instance, "interpreting");
}
