// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal to the PTX interpreter: functions decoded from PTX text, and running a grid of one.
#ifndef ANAS_RUNTIME_PTXSIM_H
#define ANAS_RUNTIME_PTXSIM_H

#include "runtime/support/memory.h"
#include "runtime/support/status.h"

#include <stdbool.h>
#include <stdint.h>

#define PTX_LANES 32

enum ptx_op {
  PTX_MOV,
  PTX_ADD,
  PTX_SUB,
  PTX_MUL,      // floats, and the low half of integers
  PTX_MUL_HIGH, // upper half
  PTX_MUL_WIDE, // twice the width
  PTX_MAD,      // low half
  PTX_FMA,
  PTX_MIN,
  PTX_MAX,
  PTX_NEG,
  PTX_ABS,
  PTX_AND,
  PTX_OR,
  PTX_XOR,
  PTX_NOT,
  PTX_SHL,
  PTX_SHR,
  PTX_BFE,
  PTX_DIV,
  PTX_REM,
  PTX_SQRT,
  PTX_RCP,
  PTX_SETP,
  PTX_SELP,
  PTX_CVT, // count: type of the source
  PTX_CVT_TF32,
  PTX_CVT_BF16, // count: 1, or 2: source[0] to the upper half
  PTX_PACK,     // two registers into one of twice the width, whose type this is
  PTX_UNPACK,   // the other way
  PTX_LD,
  PTX_ST,
  PTX_LDMATRIX, // four 8x8 matrices of 16 bits; count: 1 if transposed
  PTX_COPY,     // cp.async of count bytes from source[1] + from_offset; source[2], if not negative: bytes to read
  PTX_COMMIT,
  PTX_WAIT,     // until at most `offset` groups are under way; negative: also what is not committed
  PTX_MMA_TF32, // m16n8k8
  PTX_MMA_BF16, // m16n8k16
  PTX_BRA,
  PTX_BAR,
  PTX_RET,
};
enum ptx_type { PTX_U16, PTX_S16, PTX_U32, PTX_S32, PTX_U64, PTX_S64, PTX_F32, PTX_PRED };
enum ptx_compare {
  PTX_EQ,
  PTX_NE,
  PTX_LT,
  PTX_LE,
  PTX_GT,
  PTX_GE,
  PTX_EQU,
  PTX_NEU,
  PTX_LTU,
  PTX_LEU,
  PTX_GTU,
  PTX_GEU
};

struct ptx_instruction {
  uint8_t op, type, compare, count; // count: elements of a vector access
  bool shared;                      // memory: shared, else global
  bool guard_negated;
  int guard; // predicate register, -1: none
  int destination[4], source[10];
  int64_t offset, from_offset; // of an address
  int target;                  // instruction
  int line;                    // of the text
};

// Registers are word offsets into the register file of a warp; one register is 32 words (64 if it has 64 bits), a lane
// after the other. Immediates and parameters are registers, too.
struct ptx_constant {
  int reg;
  bool wide;
  uint64_t value;
};
struct ptx_function {
  char *name;
  struct ptx_instruction *instructions;
  size_t num_instructions;
  int num_words; // of the register file
  struct ptx_constant *constants;
  size_t num_constants;
  int parameter[32], num_parameters;
  int thread, block[3]; // registers of %tid.x and %ctaid
  int threads;          // .maxntid
  int64_t shared_bytes;
};
struct ptx_module {
  struct ptx_function *functions;
  size_t num_functions;
};

// ANAS_UNSUPPORTED names the line and what is not interpreted; ANAS_INVALID what is malformed.
anas_status ptx_parse(const char *text, struct ptx_module *out);
void ptx_module_deinit(struct ptx_module *module);

// mma.sync of a whole warp, whose registers are at `file` (ptxsim_mma.c).
void ptx_multiply(uint32_t *file, const struct ptx_instruction *instruction);
uint32_t ptx_round_to_bf16(uint32_t f32_bits); // the nearest, ties to even; NaN becomes 0x7fff

struct ptx_allocation {
  char *data; // its address is the device address
  size_t bytes;
};
struct ptx_memory {
  struct ptx_allocation *items;
  size_t count, capacity;
};
// Runs all blocks on the thread team. ANAS_INTERNAL describes the first fault found: an access outside of every
// allocation or off its alignment, shared memory read before it was written, two threads at one word of shared memory
// with no barrier between, one that a copy is still under way to, a barrier that not all threads reach.
anas_status ptx_launch(const struct ptx_function *function, const struct ptx_memory *memory, const uint32_t grid[3],
                       uint32_t block, void **arguments);

#endif
