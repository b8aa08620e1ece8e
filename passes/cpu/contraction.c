// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: recognising them.
#include "passes/cpu/contraction.h"

#include <mlir-c/BuiltinTypes.h>
#include <string.h>

// ---- recognition

static bool is_op(MlirOperation op, const char *name) {
  return !mlirOperationIsNull(op) && strcmp(mlirIdentifierStr(mlirOperationGetName(op)).data, name) == 0;
}

static bool has_operands(MlirOperation op, MlirValue a, MlirValue b) {
  MlirValue x = mlirOperationGetOperand(op, 0), y = mlirOperationGetOperand(op, 1);
  return (mlirValueEqual(x, a) && mlirValueEqual(y, b)) || (mlirValueEqual(x, b) && mlirValueEqual(y, a));
}

bool anas_contraction_multiplies(const struct anas_cpu_nest *nest) {
  if (nest->num_in != 2 || nest->num_operands != 3) return false;
  for (int o = 0; o < nest->num_operands; o++)
    if (!mlirTypeIsAF32(nest->operand[o].element)) return false;
  MlirOperation product = mlirBlockGetFirstOperation(nest->body);
  if (!is_op(product, "arith.mulf")) return false;
  MlirOperation sum = mlirOperationGetNextInBlock(product);
  if (!is_op(sum, "arith.addf")) return false;
  MlirOperation yield = mlirOperationGetNextInBlock(sum);
  return is_op(yield, "linalg.yield") &&
         has_operands(product, mlirBlockGetArgument(nest->body, nest->operand[0].argument),
                      mlirBlockGetArgument(nest->body, nest->operand[1].argument)) &&
         has_operands(sum, mlirBlockGetArgument(nest->body, nest->operand[2].argument),
                      mlirOperationGetResult(product, 0)) &&
         mlirValueEqual(mlirOperationGetOperand(yield, 0), mlirOperationGetResult(sum, 0));
}

static bool choose_lane(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  plan->lane = -1;
  for (int l = 0; l < nest->num_loops; l++) {
    int64_t s0 = nest->operand[0].stride[l], s1 = nest->operand[1].stride[l];
    if (nest->operand[2].stride[l] != 1 || s0 * s1 != 0 || s0 + s1 == 0) continue;
    int a = s0 == 0 ? 0 : 1;
    if (s0 + s1 != 1 && !anas_contraction_transposable(nest, a, 1 - a, l)) continue;
    if (plan->lane >= 0 && nest->extent[plan->lane] >= nest->extent[l]) continue;
    plan->lane = l;
    plan->a = a;
    plan->b = 1 - a;
  }
  plan->c = 2;
  return plan->lane >= 0;
}

// Inserts a loop so that strides in operand o fall.
static void insert_by_stride(const struct anas_cpu_nest *nest, int o, int *loops, int *num, int loop) {
  int at = (*num)++;
  for (; at > 0 && nest->operand[o].stride[loops[at - 1]] < nest->operand[o].stride[loop]; at--)
    loops[at] = loops[at - 1];
  loops[at] = loop;
}

static bool classify(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  for (int l = 0; l < nest->num_loops; l++) {
    bool in_a = nest->operand[plan->a].stride[l], in_b = nest->operand[plan->b].stride[l];
    if (nest->operand[plan->c].stride[l] == 0) {
      if (!nest->reduction[l]) return false;
      plan->k[plan->num_k++] = l;
      continue;
    }
    if (!nest->split[l]) return false;
    if (l == plan->lane) continue;
    if (in_a && in_b)
      plan->batch[plan->num_batch++] = l;
    else if (in_a)
      insert_by_stride(nest, plan->a, plan->row, &plan->num_rows, l);
    else if (in_b)
      plan->column[plan->num_columns++] = l;
    else
      return false;
  }
  return true;
}

// ---- planning

bool anas_contraction_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                           struct anas_contraction *out) {
  if (!anas_contraction_multiplies(nest)) return false;
  *out = (struct anas_contraction){.nest = nest, .lanes = target->lanes, .choice = target->choice};
  if (!choose_lane(out) || !classify(out)) return false;
  anas_contraction_tile(out, target);
  anas_contraction_order(out);
  return true;
}

int64_t anas_contraction_range(const struct anas_contraction *plan) {
  int64_t range = 1;
  for (int i = 0; i < plan->num_outer; i++)
    range *= plan->outer[i].count;
  return range;
}

bool anas_cpu_contraction(struct anas_code *code, const struct anas_cpu_nest *nest, MlirValue begin, MlirValue end,
                          struct anas_cpu_range *out) {
  struct anas_contraction plan;
  if (!anas_contraction_plan(nest, code->target, &plan)) return false;
  anas_contraction_emit(code, &plan, begin, end);
  anas_contraction_describe(&plan, out->plan, sizeof out->plan);
  out->iterations = anas_contraction_range(&plan);
  bool cut = plan.num_outer > 0 && plan.outer[0].kind == ANAS_LEVEL_BATCH && plan.outer[0].loop == nest->lead_loop;
  out->leading = cut ? nest->lead_extent : 0;
  out->parallel = out->iterations > 1 && (double)anas_cpu_nest_iterations(nest) > ANAS_PARALLEL_MACS;
  return true;
}
