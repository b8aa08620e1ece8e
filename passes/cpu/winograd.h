// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the Winograd emitters. A 3x3 convolution of stride 1 computes tiles of m x m results from patches of
// (m + 2) x (m + 2) inputs as products of transformed patches and transformed filters, point by point:
//   Y = A^T [ (G g G^T) * (B^T d B) ] A,
// and the sum over channels makes (m + 2)^2 matrix products of it (Lavin and Gray, Fast Algorithms for Convolutional
// Neural Networks, 2015). m = 4 needs 36/144 of the multiplications, m = 2 needs 16/36. In f32 the largest error is
// below 1e-4 of the deviation of the results for m = 4; the direct sum has about 1e-6 (test/unit/test_cpu_winograd.c).
#ifndef ANAS_PASSES_CPU_WINOGRAD_H
#define ANAS_PASSES_CPU_WINOGRAD_H

#include "passes/cpu/nest.h"

#define ANAS_WINOGRAD_PATCH 6 // largest m + 2
#define ANAS_WINOGRAD_POINTS (ANAS_WINOGRAD_PATCH * ANAS_WINOGRAD_PATCH)

// ---- transforms and products (winograd_tile.c)

struct anas_winograd_matrix {
  int rows, cols;
  double at[ANAS_WINOGRAD_PATCH][ANAS_WINOGRAD_PATCH];
};
// m is 2 or 4.
const struct anas_winograd_matrix *anas_winograd_input_matrix(int m);  // B^T
const struct anas_winograd_matrix *anas_winograd_filter_matrix(int m); // G
const struct anas_winograd_matrix *anas_winograd_output_matrix(int m); // A^T

// out = M in M^T, or M^T in M if transposed; in and out row by row, each value a vector.
void anas_winograd_transform(struct anas_code *code, const struct anas_winograd_matrix *matrix, bool transposed,
                             const MlirValue *in, MlirValue *out);

// A register tile C[r][v] = sum over k of A[r][k] * B[k][v]: scalars of A, vectors of B and C.
struct anas_winograd_product {
  int rows, vectors;
  MlirValue a, b, c; // flat memrefs
  int64_t a_row, a_step, b_step, c_row;
  int unroll;    // divides the number of steps
  MlirValue add; // i1: to what is in C; null: never
};
int anas_winograd_rows(const struct anas_cpu_target *target); // of a register tile with two vectors
void anas_winograd_multiply(struct anas_code *code, const struct anas_winograd_product *product, struct anas_address a,
                            struct anas_address b, struct anas_address c, MlirValue steps);

// ---- convolutions (winograd_plan.c)

// y[n][oy][ox][f] = sum of x[n][oy + ky][ox + kx][c] * w[f][c][ky][kx], and of the data gradient with ky, kx reversed.
// Features are tiles of `lane` neighbours in w and y, channels blocks of `block` neighbours in x.
struct anas_winograd_conv {
  int x, w; // operands of the nest; y is the last one
  int64_t examples, height, width, channels, features;
  int64_t lane, block;
  int64_t col_step;                                   // from one tap of a row to the next in x
  int64_t x_offset, x_example, x_row, x_col, x_block; // in elements; of the first position of a window
  int64_t y_offset, y_example, y_row, y_col, y_tile;
  int64_t w_offset, w_tile, w_block, w_row, w_col;
};

// How one is computed. Tiles are numbered over examples, rows and columns.
//   U[feature tile][point][channel][lane]: transformed filters, in the scratch memory
//   V[point][tile][channel]: transformed patches;  M[feature tile][point][tile][lane]: their products
// fused: work items are groups of tiles whose V and the M of one feature tile are on the stack, in the second-level
// cache; U is read for every group. Otherwise V and M of all tiles are in the scratch memory: transforms and products
// are parts of their own, work items of the products are points and feature tiles, and each U is read once.
struct anas_winograd_plan {
  struct anas_winograd_conv conv;
  int lanes; // of a vector
  int m, patch, points, rows;
  int64_t tiles_y, tiles_x, tiles, feature_tiles;
  bool fused;
  int64_t group;                     // tiles of a work item if fused, else all of them; a multiple of rows
  int64_t u_point, v_point, m_point; // elements from one point to the next, with a line in between: powers of two would
                                     // compete for the same cache sets
  int64_t v_at, m_at, scratch;       // in the scratch memory, elements
};

// False unless the nest is such a convolution and its layout is one of whole vectors.
bool anas_winograd_conv_read(const struct anas_cpu_nest *nest, int lanes, struct anas_winograd_conv *out);
// False if the direct computation is expected to be as fast.
bool anas_winograd_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                        struct anas_winograd_plan *out);

#endif
