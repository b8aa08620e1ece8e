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

// Sum of factor[i] * value[i * stride]: the terms of factor 1 or -1 first, then multiply-adds. Null: no terms.
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

struct factors {
  int rows, cols;
  double at[ANAS_WINOGRAD_PATCH][ANAS_WINOGRAD_PATCH];
};

// Whether rows r and r + 1 differ by signs only, in some columns: points a and -a.
static bool is_pair(const struct factors *f, int r) {
  bool differ = false;
  for (int c = 0; c < f->cols; c++) {
    if (r + 1 == f->rows || fabs(f->at[r][c]) != fabs(f->at[r + 1][c])) return false;
    differ = differ || f->at[r][c] != f->at[r + 1][c];
  }
  return differ;
}

// out[r * out_stride] = row r of the factors times the column at in.
static void multiply_column(struct anas_code *code, const struct factors *f, const MlirValue *in, int in_stride,
                            MlirValue *out, int out_stride) {
  for (int r = 0; r < f->rows; r++) {
    if (!is_pair(f, r)) {
      out[r * out_stride] = combine(code, f->cols, f->at[r], in, in_stride);
      continue;
    }
    double same[ANAS_WINOGRAD_PATCH] = {0}, opposite[ANAS_WINOGRAD_PATCH] = {0};
    for (int c = 0; c < f->cols; c++)
      *(f->at[r][c] == f->at[r + 1][c] ? &same[c] : &opposite[c]) = f->at[r][c];
    MlirValue a = combine(code, f->cols, same, in, in_stride), b = combine(code, f->cols, opposite, in, in_stride);
    out[r * out_stride] = anas_code_binary(code, "arith.addf", a, b);
    out[(r + 1) * out_stride] = anas_code_binary(code, "arith.subf", a, b);
    r++;
  }
}

void anas_winograd_transform(struct anas_code *code, const struct anas_winograd_matrix *matrix, bool transposed,
                             const MlirValue *in, MlirValue *out) {
  struct factors f = {transposed ? matrix->cols : matrix->rows, transposed ? matrix->rows : matrix->cols, {{0}}};
  for (int r = 0; r < f.rows; r++)
    for (int c = 0; c < f.cols; c++)
      f.at[r][c] = transposed ? matrix->at[c][r] : matrix->at[r][c];
  MlirValue half[ANAS_WINOGRAD_POINTS]; // M in: rows x cols
  for (int c = 0; c < f.cols; c++)
    multiply_column(code, &f, in + c, f.cols, half + c, f.cols);
  for (int r = 0; r < f.rows; r++)
    multiply_column(code, &f, half + r * f.cols, 1, out + r * f.rows, 1);
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

static void store_tile(struct anas_code *code, const struct anas_winograd_product *p, struct anas_address c,
                       const MlirValue *sum, bool add) {
  int lanes = code->target->lanes;
  MlirType type = anas_code_vector(lanes, code->f32);
  for (int i = 0; i < p->rows * p->vectors; i++) {
    struct anas_address at = anas_address_offset(c, i / p->vectors * p->c_row + (int64_t)(i % p->vectors) * lanes);
    MlirValue value = sum[i];
    if (add) value = anas_code_binary(code, "arith.addf", anas_code_vector_load(code, p->c, at, type, lanes), value);
    anas_code_vector_store(code, value, p->c, at, lanes);
  }
}

void anas_winograd_multiply(struct anas_code *code, const struct anas_winograd_product *p, struct anas_address a,
                            struct anas_address b, struct anas_address c, MlirValue steps) {
  int lanes = code->target->lanes, num = p->rows * p->vectors;
  MlirValue sum[MAX_TILE] = {{0}};
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
  for (int i = 0; i < num; i++)
    sum[i] = anas_code_result(&scope, i);
  if (mlirValueIsNull(p->add)) {
    store_tile(code, p, c, sum, false);
    return;
  }
  struct anas_code_scope branch = anas_code_if(code, p->add, true);
  store_tile(code, p, c, sum, true);
  anas_code_else(code, &branch);
  store_tile(code, p, c, sum, false);
  anas_code_end(code, &branch, 0, NULL);
}
