// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Winograd: the matrices for interpolation points 0, 1, -1, (2, -2,) infinity, transforms of vectors, and the register
// tile of the products.
#include "passes/cpu/winograd.h"

#include <math.h>

static const struct anas_winograd_matrix input_2 = {4, 4, {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}}};
static const struct anas_winograd_matrix filter_2 = {4, 3, {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}}};
static const struct anas_winograd_matrix output_2 = {2, 4, {{1, 1, 1, 0}, {0, 1, -1, -1}}};

static const struct anas_winograd_matrix input_4 = {6,
                                                    6,
                                                    {{4, 0, -5, 0, 1, 0},
                                                     {0, -4, -4, 1, 1, 0},
                                                     {0, 4, -4, -1, 1, 0},
                                                     {0, -2, -1, 2, 1, 0},
                                                     {0, 2, -1, -2, 1, 0},
                                                     {0, 4, 0, -5, 0, 1}}};
static const struct anas_winograd_matrix filter_4 = {6,
                                                     3,
                                                     {{1.0 / 4, 0, 0},
                                                      {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                                      {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                                      {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                                      {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                                      {0, 0, 1}}};
static const struct anas_winograd_matrix output_4 = {
    4, 6, {{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}}};

const struct anas_winograd_matrix *anas_winograd_input_matrix(int m) {
  return m == 2 ? &input_2 : &input_4;
}

const struct anas_winograd_matrix *anas_winograd_filter_matrix(int m) {
  return m == 2 ? &filter_2 : &filter_4;
}

const struct anas_winograd_matrix *anas_winograd_output_matrix(int m) {
  return m == 2 ? &output_2 : &output_4;
}

// ---- transforms

static MlirValue scale(struct anas_code *code, MlirValue value, double factor) {
  int lanes = (int)code->target->lanes;
  return anas_code_binary(code, "arith.mulf", value, anas_code_splat_f32(code, lanes, factor));
}

// Sum of factor[i] * value[i * stride]: the terms of factor 1 or -1 first, then multiply-adds.
static MlirValue combine(struct anas_code *code, int num, const double *factor, const MlirValue *value, int stride) {
  MlirValue sum = {0}, negative = {0};
  for (int i = 0; i < num; i++) {
    MlirValue *to = factor[i] == 1 ? &sum : factor[i] == -1 ? &negative : NULL;
    if (!to) continue;
    *to = mlirValueIsNull(*to) ? value[i * stride] : anas_code_binary(code, "arith.addf", *to, value[i * stride]);
  }
  bool subtract = !mlirValueIsNull(sum) && !mlirValueIsNull(negative);
  if (subtract) sum = anas_code_binary(code, "arith.subf", sum, negative);
  if (mlirValueIsNull(sum) && !mlirValueIsNull(negative)) sum = scale(code, negative, -1);
  for (int i = 0; i < num; i++) {
    if (factor[i] == 0 || fabs(factor[i]) == 1) continue;
    sum = mlirValueIsNull(sum)
              ? scale(code, value[i * stride], factor[i])
              : anas_code_fma(code, value[i * stride], anas_code_splat_f32(code, code->target->lanes, factor[i]), sum);
  }
  return sum;
}

void anas_winograd_transform(struct anas_code *code, const struct anas_winograd_matrix *matrix, bool transposed,
                             const MlirValue *in, MlirValue *out) {
  int rows = transposed ? matrix->cols : matrix->rows, cols = transposed ? matrix->rows : matrix->cols;
  double factor[ANAS_WINOGRAD_PATCH][ANAS_WINOGRAD_PATCH];
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < cols; c++)
      factor[r][c] = transposed ? matrix->at[c][r] : matrix->at[r][c];
  MlirValue half[ANAS_WINOGRAD_POINTS]; // M in: rows x cols
  for (int c = 0; c < cols; c++)
    for (int r = 0; r < rows; r++)
      half[r * cols + c] = combine(code, cols, factor[r], in + c, cols);
  for (int r = 0; r < rows; r++)
    for (int s = 0; s < rows; s++)
      out[r * rows + s] = combine(code, cols, factor[s], half + r * cols, 1);
}

// ---- products

#define MAX_TILE 64

int anas_winograd_rows(const struct anas_cpu_target *target) {
  if (target->registers == 32) return 12;
  return target->lanes == 8 ? 6 : 4; // without fused multiply-add a product needs a register
}

static void multiply_step(struct anas_code *code, const struct anas_winograd_product *p, struct anas_address a,
                          struct anas_address b, MlirValue *sum) {
  int lanes = code->target->lanes;
  MlirType type = anas_code_vector(lanes, code->f32);
  MlirValue vector[MAX_TILE];
  for (int v = 0; v < p->vectors; v++)
    vector[v] = anas_code_vector_load(code, p->b, anas_address_offset(b, (int64_t)v * lanes), type, lanes);
  for (int r = 0; r < p->rows; r++) {
    MlirValue scalar = anas_code_load(code, p->a, anas_address_offset(a, r * p->a_row));
    MlirValue wide = anas_code_broadcast(code, scalar, lanes);
    for (int v = 0; v < p->vectors; v++)
      sum[r * p->vectors + v] = anas_code_fma(code, wide, vector[v], sum[r * p->vectors + v]);
  }
}

void anas_winograd_multiply(struct anas_code *code, const struct anas_winograd_product *p, struct anas_address a,
                            struct anas_address b, struct anas_address c, MlirValue steps) {
  int lanes = code->target->lanes, num = p->rows * p->vectors;
  MlirType type = anas_code_vector(lanes, code->f32);
  MlirValue sum[MAX_TILE];
  for (int i = 0; i < num; i++)
    sum[i] = anas_code_splat_f32(code, lanes, 0);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, steps, p->unroll, num, sum);
  for (int i = 0; i < num; i++)
    sum[i] = anas_code_iter(&scope, i);
  struct anas_address at_a = anas_address_step(code, a, scope.iv, p->a_step);
  struct anas_address at_b = anas_address_step(code, b, scope.iv, p->b_step);
  for (int u = 0; u < p->unroll; u++)
    multiply_step(code, p, anas_address_offset(at_a, u * p->a_step), anas_address_offset(at_b, u * p->b_step), sum);
  anas_code_end(code, &scope, num, sum);
  for (int r = 0; r < p->rows; r++)
    for (int v = 0; v < p->vectors; v++) {
      struct anas_address at = anas_address_offset(c, r * p->c_row + (int64_t)v * lanes);
      MlirValue result = anas_code_result(&scope, r * p->vectors + v);
      if (p->add)
        result = anas_code_binary(code, "arith.addf", anas_code_vector_load(code, p->c, at, type, lanes), result);
      anas_code_vector_store(code, result, p->c, at, lanes);
    }
}
