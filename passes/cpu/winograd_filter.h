// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to passes/cpu: the filter gradient of a 3x3 convolution by Winograd's F(m x m, 3x3).
//
//   dW = G' [ sum over tiles of (B' x B) (.) (A dy A') ] G
//
// A tile is m x m positions of dy and the (m + 2) x (m + 2) positions of x that they meet. Both are transformed to
// (m + 2)^2 points a channel; for each of them, the sum over the tiles is a product of matrices, channels by tiles by
// features: 36 multiply-adds a tile instead of 144 for m = 4, and 16 instead of 36 for m = 2, for the smallest images.
#ifndef ANAS_PASSES_CPU_WINOGRAD_FILTER_H
#define ANAS_PASSES_CPU_WINOGRAD_FILTER_H

#include "passes/cpu/nest.h"

#define ANAS_PANEL 16 // channels of a packed block

struct anas_winograd_dim {
  int64_t extent; // of the result
  int64_t tiles;
  int64_t last; // positions of the last tile that exist
};

// Channels and features are cut into blocks; a work item computes the products of one block of each for a share of the
// tiles, step by step: it transforms some rows of tiles, then adds their products to its sums. What it needs lies in
// a slot of the scratch memory, small enough for the second-level cache.
struct anas_winograd_filter {
  const struct anas_cpu_nest *nest;
  int x, dy, dw;         // operands
  int m, window, points; // positions of a tile in each dimension, m + 2, and its square
  int64_t batch, channels, features;
  struct anas_winograd_dim dim[2];
  // Strides, in elements: per example, row, column, and block of ANAS_PANEL channels.
  struct anas_filter_strides {
    int64_t example, dim[2], panel;
  } x_stride, dy_stride;
  int64_t tap_stride[2], channel_stride; // of dw

  int64_t channel_block, feature_block;
  int64_t blocks;   // pairs of a channel block and a feature block
  int64_t parts;    // shares of the tiles; above 1 a second part of the kernel adds them up
  int64_t slots;    // work items; item i takes blocks i, i + slots, ... if there is one share, else one block
  int64_t unit;     // rows of tiles in a step
  int64_t sum_step; // elements from the sums of a point to those of the next
  int64_t step;     // elements from the values of a point in a panel to those of the next
  int64_t slot_elements;
};

// Where things are in a slot: sums, then panels of transformed x, then panels of transformed dy.
int64_t anas_winograd_filter_panel(const struct anas_winograd_filter *plan); // elements of a panel
int64_t anas_winograd_filter_x(const struct anas_winograd_filter *plan);
int64_t anas_winograd_filter_dy(const struct anas_winograd_filter *plan);
int64_t anas_winograd_filter_rows(const struct anas_winograd_filter *plan); // rows of tiles, of all examples

// False if the nest is no such gradient, or the direct sum is as fast.
bool anas_winograd_filter_plan(const struct anas_cpu_nest *nest, const struct anas_cpu_target *target,
                               struct anas_winograd_filter *out);
void anas_winograd_filter_items(struct anas_code *code, const struct anas_winograd_filter *plan,
                                const struct anas_cpu_part *part);
// The second part, over the blocks.
void anas_winograd_filter_sums(struct anas_code *code, const struct anas_winograd_filter *plan,
                               const struct anas_cpu_part *part);

#endif
