// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What convolution and dense layers share: attributes, the multiply-add body, bias.
#ifndef ANAS_DIALECT_OPS_CONTRACT_H
#define ANAS_DIALECT_OPS_CONTRACT_H

#include "dialect/kernel.h"

#define ANAS_MAX_FEATURES (1 << 24) // keeps products with other extents far from overflow
#define ANAS_LANE_TILE 32           // output features of one packed weight tile: two AVX-512 registers

// Attributes of every layer with a kernel and a bias, as entries of its attribute table.
#define ANAS_USE_BIAS_ATTR(of)                                                                                         \
  { .name = "use_bias", .kind = ANAS_ATTR_BOOL, .fallback = ANAS_BOOL(true), .doc = "add a trained offset to " of }
#define ANAS_KERNEL_INIT_ATTR(of)                                                                                      \
  {                                                                                                                    \
    .name = "kernel_init", .kind = ANAS_ATTR_INIT, .fallback = ANAS_INIT_OF(ANAS_LECUN_NORMAL),                        \
    .doc = "initialiser of the " of                                                                                    \
  }
#define ANAS_BIAS_INIT_ATTR(of)                                                                                        \
  { .name = "bias_init", .kind = ANAS_ATTR_INIT, .fallback = ANAS_INIT_OF(ANAS_ZEROS), .doc = "initialiser of the " of }

// Loops of extent 1 are left out of a nest; their number is -1 and indexing with it adds nothing.
int anas_contract_loop(struct anas_nest *nest, int64_t extent, bool reduction);
void anas_contract_index(struct anas_access *access, int dim, int loop, int64_t coef);

// Body %o0 + %i0 * %i1, the form that the code generators recognise as a contraction.
void anas_contract_body(struct anas_nest *nest);

// result[..., f] += bias[f], in place.
void anas_contract_bias(struct anas_lowering *l, int bias, int result);

// A stretch of channels that one nest handles: 'blocks' blocks of 'width' channels from channel 'start' on. Channels
// are cut into blocks of a given size; what remains is a stretch of one narrower block.
struct anas_stretch {
  int64_t start, blocks, width;
};
// Moves to the next stretch of 'channels' ({0} before the first); false after the last.
bool anas_stretch_next(struct anas_stretch *stretch, int64_t channels, int64_t block);

#endif
