// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Interpretation of a module, op by op.
#include "test/fuzz/execute.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/unit/op_program.h"

static double *copy(const double *values, int64_t count) {
  return memcpy(anas_calloc((size_t)count, sizeof *values), values, (size_t)count * sizeof *values);
}

static double *run_op(MlirContext context, const struct anas_op *op, const struct anas_shape *result,
                      double *const *operands, uint64_t seed) {
  struct instance instance = {.op = *op, .result = *result};
  struct program program;
  struct nest_memory memory;
  for (int q = 0; q < op->num_operands; q++)
    instance.type[instance.num_inputs++] = op->operand[q];
  if (op->def->params) instance.num_params = op->def->params(op, instance.param);
  for (int p = 0; p < instance.num_params; p++)
    instance.type[instance.num_inputs++] = instance.param[p].shape;
  for (int i = 0; i < instance.num_inputs; i++) {
    int param = i - op->num_operands;
    bool ones =
        param >= 0 && instance.param[param].init.kind == ANAS_INIT_CONSTANT && instance.param[param].init.value == 1;
    int64_t count = anas_shape_elements(&instance.type[i]);
    // A value through which nothing is learned counts as constant, whatever it is: dependencies are derivatives.
    bool given = param < 0 && op->def->backward;
    instance.value[i] =
        given ? copy(operands[i], count) : random_values(count, ones ? 1 : 0, ones ? 0.5 : 1, seed + (uint64_t)i);
  }
  program_init(context, &instance, false, false, &program);
  program_run(&program, &instance, NULL, 1, &memory);

  const struct anas_shape *executed = anas_lower_shape(program.lowering, program.result);
  char a[128], b[128];
  if (!anas_shape_equal(executed, result))
    fail_msg("'anas.%s' was inferred as %s and executed as %s", op->def->name, anas_shape_text(result, a),
             anas_shape_text(executed, b));
  int64_t count = anas_shape_elements(result);
  double *values = anas_calloc((size_t)count, sizeof *values);
  for (int64_t i = 0; i < count; i++) {
    values[i] = nest_memory_buffer(&memory, program.result)[i].f;
    if (isnan(values[i]))
      fail_msg("'anas.%s' left element %lld of %lld unwritten", op->def->name, (long long)i, (long long)count);
  }
  nest_memory_deinit(&memory);
  program_deinit(&program);
  instance_deinit(&instance);
  return values;
}

void execute(MlirContext context, const struct anas_model *model, int index, double *const *args,
             double **out_results) {
  const struct anas_function *function = &model->functions[index];
  double *(*values)[ANAS_MAX_RESULTS] = anas_calloc((size_t)function->num_nodes + 1, sizeof *values);
  for (int n = 0; n < function->num_nodes; n++) {
    const struct anas_node *node = &function->nodes[n];
    double *operands[ANAS_MAX_OPERANDS];
    struct anas_shape types[ANAS_MAX_OPERANDS];
    for (int q = 0; q < node->num_operands; q++) {
      struct anas_ref ref = node->operand[q];
      operands[q] = ref.node == ANAS_ARGUMENT ? args[ref.index] : values[ref.node][ref.index];
      types[q] = *anas_value_type(function, ref);
    }
    if (!node->def) {
      execute(context, model, node->callee, operands, values[n]);
      continue;
    }
    struct anas_op op;
    if (anas_node_resolve(node, types, &op) != ANAS_OK) fail_msg("%s", anas_error_message());
    values[n][0] = run_op(context, &op, &node->result[0], operands, (uint64_t)(index * 1000 + n));
  }
  for (int r = 0; r < function->num_results; r++) {
    struct anas_ref ref = function->result[r];
    const double *from = ref.node == ANAS_ARGUMENT ? args[ref.index] : values[ref.node][ref.index];
    out_results[r] = copy(from, anas_shape_elements(&function->result_type[r]));
  }
  for (int n = 0; n < function->num_nodes; n++)
    for (int r = 0; r < ANAS_MAX_RESULTS; r++)
      free(values[n][r]);
  free(values);
}
