// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mma.sync of the PTX interpreter: fragments as the PTX ISA lays them out over the lanes of a warp. Sums are taken in
// double precision and rounded once; tensor cores round and truncate in a way of their own.
#include "runtime/device/ptxsim.h"

#include <string.h>

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t ptx_round_to_bf16(uint32_t bits) {
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

// Element `index` of a register of A or B.
static float element(uint32_t bits, bool bf16, int index) {
  if (!bf16) return from_bits(bits & 0xffffe000u); // tf32: the instruction ignores the other bits
  return from_bits(index ? bits & 0xffff0000u : bits << 16);
}

// Lane 4g + t. tf32: A rows g, g + 8 and columns t, t + 4; B rows t, t + 4 and column g. bf16, two elements a register,
// the first in the lower half: A columns and B rows 2t, 2t + 1 and 2t + 8, 2t + 9. C rows g, g + 8 and columns 2t,
// 2t + 1.
void ptx_multiply(uint32_t *file, const struct ptx_instruction *in) {
  bool bf16 = in->op == PTX_MMA_BF16;
  int width = bf16 ? 2 : 1, depth = 8 * width;
  float a[16][16], b[16][8], sum[PTX_LANES][4];
  for (int lane = 0; lane < PTX_LANES; lane++) {
    int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 6; i++)
      for (int e = 0; e < width; e++) {
        float value = element(file[in->source[i] + lane], bf16, e);
        if (i < 4)
          a[g + i % 2 * 8][(t + i / 2 * 4) * width + e] = value;
        else
          b[(t + (i - 4) * 4) * width + e][g] = value;
      }
  }
  for (int lane = 0; lane < PTX_LANES; lane++)
    for (int i = 0; i < 4; i++) {
      int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double total = from_bits(file[in->source[6 + i] + lane]);
      for (int k = 0; k < depth; k++)
        total += (double)a[row][k] * b[k][column];
      sum[lane][i] = (float)total;
    }
  for (int lane = 0; lane < PTX_LANES; lane++)
    for (int i = 0; i < 4; i++)
      memcpy(&file[in->destination[i] + lane], &sum[lane][i], sizeof(float));
}
