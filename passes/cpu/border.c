// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Indices that wrap around or skip: their values, and code for them.
#include "passes/cpu/nest.h"

bool anas_cpu_moves(const struct anas_cpu_nest *nest, int operand, int loop) {
  const struct anas_cpu_operand *o = &nest->operand[operand];
  bool moves = o->stride[loop] != 0;
  for (int b = 0; b < o->num_borders; b++)
    moves = moves || o->border[b].loop[loop];
  return moves;
}

bool anas_cpu_has_border(const struct anas_cpu_nest *nest, int loop) {
  for (int o = 0; o < nest->num_in; o++)
    for (int b = 0; b < nest->operand[o].num_borders; b++)
      if (nest->operand[o].border[b].loop[loop]) return true;
  return false;
}

static int64_t floor_div(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

static int64_t evaluate(const struct anas_cpu_nest *nest, MlirAffineExpr e, const int64_t *iteration) {
  if (mlirAffineExprIsAConstant(e)) return mlirAffineConstantExprGetValue(e);
  if (mlirAffineExprIsADim(e)) {
    int loop = nest->loop_of_dim[mlirAffineDimExprGetPosition(e)];
    return loop < 0 ? 0 : iteration[loop];
  }
  int64_t a = evaluate(nest, mlirAffineBinaryOpExprGetLHS(e), iteration);
  int64_t b = evaluate(nest, mlirAffineBinaryOpExprGetRHS(e), iteration);
  if (mlirAffineExprIsAAdd(e)) return a + b;
  if (mlirAffineExprIsAMul(e)) return a * b;
  if (mlirAffineExprIsAFloorDiv(e)) return floor_div(a, b);
  if (mlirAffineExprIsACeilDiv(e)) return -floor_div(-a, b);
  return a - floor_div(a, b) * b;
}

int64_t anas_cpu_border_at(const struct anas_cpu_nest *nest, const struct anas_cpu_border *border,
                           const int64_t *iteration) {
  return evaluate(nest, border->index, iteration);
}

// Bounds of the expression over all iterations.
static void range(const struct anas_cpu_nest *nest, MlirAffineExpr e, int64_t *low, int64_t *high) {
  if (mlirAffineExprIsAConstant(e)) {
    *low = *high = mlirAffineConstantExprGetValue(e);
  } else if (mlirAffineExprIsADim(e)) {
    int loop = nest->loop_of_dim[mlirAffineDimExprGetPosition(e)];
    *low = 0;
    *high = loop < 0 ? 0 : nest->extent[loop] - 1;
  } else {
    int64_t a[2], b[2];
    range(nest, mlirAffineBinaryOpExprGetLHS(e), &a[0], &a[1]);
    range(nest, mlirAffineBinaryOpExprGetRHS(e), &b[0], &b[1]); // a constant, but for sums
    int first = b[0] < 0;
    if (mlirAffineExprIsAAdd(e)) {
      *low = a[0] + b[0];
      *high = a[1] + b[1];
    } else if (mlirAffineExprIsAMul(e)) {
      *low = a[first] * b[0];
      *high = a[1 - first] * b[0];
    } else if (mlirAffineExprIsAMod(e)) {
      *low = 0;
      *high = b[0] - 1;
    } else {
      *low = floor_div(a[0], b[0]);
      *high = floor_div(a[1], b[0]) + 1;
    }
  }
}

// Divisions are of numbers without sign, so dividends are lifted by a multiple of the divisor first.
static MlirValue expression(struct anas_code *code, const struct anas_cpu_nest *nest, MlirAffineExpr e,
                            const MlirValue *iv) {
  if (mlirAffineExprIsAConstant(e)) return anas_code_index(code, mlirAffineConstantExprGetValue(e));
  if (mlirAffineExprIsADim(e)) {
    int loop = nest->loop_of_dim[mlirAffineDimExprGetPosition(e)];
    return loop < 0 ? (MlirValue){0} : iv[loop];
  }
  MlirAffineExpr left = mlirAffineBinaryOpExprGetLHS(e), right = mlirAffineBinaryOpExprGetRHS(e);
  MlirValue a = expression(code, nest, left, iv);
  if (mlirAffineExprIsAAdd(e)) return anas_code_add(code, a, expression(code, nest, right, iv));
  int64_t b = mlirAffineConstantExprGetValue(right), low, high;
  if (mlirAffineExprIsAMul(e)) return anas_code_mul_const(code, a, b);
  range(nest, left, &low, &high);
  int64_t up = mlirAffineExprIsACeilDiv(e) ? b - 1 : 0;
  int64_t rounds = low + up < 0 ? -floor_div(low + up, b) : 0;
  a = anas_code_add_const(code, a, rounds * b + up);
  MlirValue divisor = anas_code_index(code, b);
  if (mlirAffineExprIsAMod(e)) return anas_code_binary(code, "arith.remui", a, divisor);
  return anas_code_add_const(code, anas_code_binary(code, "arith.divui", a, divisor), -rounds);
}

MlirValue anas_cpu_border_address(struct anas_code *code, const struct anas_cpu_nest *nest,
                                  const struct anas_cpu_border *border, const MlirValue *iv) {
  return anas_code_mul_const(code, expression(code, nest, border->index, iv), border->weight);
}
