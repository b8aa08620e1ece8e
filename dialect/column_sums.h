// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums over the dimensions between the first ones and the last one: (examples..., positions..., channels) to
// (examples..., channels). Long columns are summed in two nests: blocks of consecutive positions, then the blocks. So
// memory is read in its order, and the blocks of one column can go to different threads.
#ifndef ANAS_DIALECT_COLUMN_SUMS_H
#define ANAS_DIALECT_COLUMN_SUMS_H

#include "dialect/kernel.h"

struct anas_column_sums {
  struct anas_shape x;
  int keep;          // leading dimensions that stay
  int cut;           // dimension in two loops, blocks and positions of a block; -1: none
  int64_t positions; // of a block, in that dimension
  int first;         // dimensions from here to the channels are summed by the first nest, one before by the second
  bool two;          // there is a second nest
  int partial[ANAS_MAX_RESULTS];
};

void anas_column_sums_init(struct anas_column_sums *sums, const struct anas_shape *x, int keep);
// The first nest, without inputs and body. Result k is summed into %o<k>; buffers are (kept..., 1..., channels).
struct anas_nest *anas_column_sums_begin(struct anas_column_sums *sums, struct anas_lowering *l, const char *kind,
                                         const int *results, int num_results);
// Indices of inputs of the first nest: the tensor itself, its dimensions but the channel, the kept ones, the channel.
void anas_column_sums_whole(const struct anas_column_sums *sums, struct anas_access *access);
void anas_column_sums_position(const struct anas_column_sums *sums, struct anas_access *access);
void anas_column_sums_channel(const struct anas_column_sums *sums, struct anas_access *access, int dim);
void anas_column_sums_kept(const struct anas_column_sums *sums, struct anas_access *access);
// After the body of the first nest: the second one, if it is needed.
void anas_column_sums_end(struct anas_column_sums *sums, struct anas_lowering *l, const int *results, int num_results);

#endif
