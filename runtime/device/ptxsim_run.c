// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running decoded PTX: warps of a block one after the other, each up to its next barrier. The lanes of a warp go
// together while they are at the same instruction; after a branch that splits them, the lanes that are furthest behind
// go first, which brings them together again where the paths meet.
#include "runtime/device/ptxsim_run.h"
#include "runtime/team.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ptx_fault(struct block *block, const struct ptx_instruction *instruction, int thread, const char *what) {
  struct launch *launch = block->launch;
  pthread_mutex_lock(&launch->lock);
  if (!launch->message)
    launch->message = anas_format("ptxsim: %s, line %d, block %lld, thread %d: %s", launch->function->name,
                                  instruction->line, (long long)block->number, thread, what);
  pthread_mutex_unlock(&launch->lock);
  atomic_store(&launch->failed, true);
}

// ---- arithmetic

#if defined __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

#define LANES(type, statement)                                                                                         \
  do {                                                                                                                 \
    type *d = (type *)(r + in->destination[0]);                                                                        \
    const type *a = (const type *)(r + in->source[0]), *b = (const type *)(r + in->source[1]),                         \
               *c = (const type *)(r + in->source[2]);                                                                 \
    (void)a, (void)b, (void)c;                                                                                         \
    if (mask == EVERYONE) {                                                                                            \
      INDEPENDENT for (int i = 0; i < PTX_LANES; i++) {                                                                \
        statement;                                                                                                     \
      }                                                                                                                \
    } else {                                                                                                           \
      for (int i = 0; i < PTX_LANES; i++)                                                                              \
        if (mask >> i & 1) {                                                                                           \
          statement;                                                                                                   \
        }                                                                                                              \
    }                                                                                                                  \
  } while (0)

// As the instruction: of a number and NaN, the number.
static bool run_real(word *r, const struct ptx_instruction *in, uint32_t mask) {
  switch (in->op) {
  case PTX_MOV: LANES(word, d[i] = a[i]); return true;
  case PTX_ADD: LANES(real, d[i] = a[i] + b[i]); return true;
  case PTX_SUB: LANES(real, d[i] = a[i] - b[i]); return true;
  case PTX_MUL: LANES(real, d[i] = a[i] * b[i]); return true;
  case PTX_FMA: LANES(real, d[i] = fmaf(a[i], b[i], c[i])); return true;
  case PTX_MIN: LANES(real, d[i] = fminf(a[i], b[i])); return true;
  case PTX_MAX: LANES(real, d[i] = fmaxf(a[i], b[i])); return true;
  case PTX_NEG: LANES(word, d[i] = a[i] ^ 0x80000000u); return true;
  case PTX_ABS: LANES(word, d[i] = a[i] & 0x7fffffffu); return true;
  case PTX_DIV: LANES(real, d[i] = a[i] / b[i]); return true;
  case PTX_SQRT: LANES(real, d[i] = sqrtf(a[i])); return true;
  case PTX_RCP: LANES(real, d[i] = 1.0f / a[i]); return true;
  default: return false;
  }
}

static uint32_t extract_bits(uint32_t value, uint32_t position, uint32_t length, bool is_signed) {
  position &= 255;
  length &= 255;
  if (!length) return 0;
  uint64_t extended = is_signed ? (uint64_t)(int64_t)(int32_t)value : value;
  uint64_t shifted = position > 63 ? (is_signed && (int32_t)value < 0 ? UINT64_MAX : 0)
                     : is_signed   ? (uint64_t)((int64_t)extended >> position)
                                   : extended >> position;
  if (length >= 32) return (uint32_t)shifted;
  uint32_t field = (uint32_t)shifted & ((1u << length) - 1);
  return is_signed && field >> (length - 1) ? field | ~((1u << length) - 1) : field;
}

static bool run_word(word *r, const struct ptx_instruction *in, uint32_t mask) {
  bool is_signed = in->type == PTX_S32;
  switch (in->op) {
  case PTX_MOV: LANES(word, d[i] = a[i]); return true;
  case PTX_ADD: LANES(word, d[i] = a[i] + b[i]); return true;
  case PTX_SUB: LANES(word, d[i] = a[i] - b[i]); return true;
  case PTX_MUL: LANES(word, d[i] = a[i] * b[i]); return true;
  case PTX_MAD: LANES(word, d[i] = a[i] * b[i] + c[i]); return true;
  case PTX_MUL_HIGH:
    if (is_signed)
      LANES(word, d[i] = (uint32_t)(((int64_t)(int32_t)a[i] * (int32_t)b[i]) >> 32));
    else
      LANES(word, d[i] = (uint32_t)(((uint64_t)a[i] * b[i]) >> 32));
    return true;
  case PTX_MUL_WIDE: {
    quad *d = (quad *)(r + in->destination[0]);
    const word *a = r + in->source[0], *b = r + in->source[1];
    for (int i = 0; i < PTX_LANES; i++)
      if (mask >> i & 1) d[i] = is_signed ? (uint64_t)((int64_t)(int32_t)a[i] * (int32_t)b[i]) : (uint64_t)a[i] * b[i];
    return true;
  }
  case PTX_MIN:
    if (is_signed)
      LANES(sword, d[i] = a[i] < b[i] ? a[i] : b[i]);
    else
      LANES(word, d[i] = a[i] < b[i] ? a[i] : b[i]);
    return true;
  case PTX_MAX:
    if (is_signed)
      LANES(sword, d[i] = a[i] > b[i] ? a[i] : b[i]);
    else
      LANES(word, d[i] = a[i] > b[i] ? a[i] : b[i]);
    return true;
  case PTX_NEG: LANES(word, d[i] = 0u - a[i]); return true;
  case PTX_AND: LANES(word, d[i] = a[i] & b[i]); return true;
  case PTX_OR: LANES(word, d[i] = a[i] | b[i]); return true;
  case PTX_XOR: LANES(word, d[i] = a[i] ^ b[i]); return true;
  case PTX_NOT: LANES(word, d[i] = ~a[i]); return true;
  case PTX_SHL: LANES(word, d[i] = b[i] > 31 ? 0 : a[i] << b[i]); return true;
  case PTX_SHR:
    if (is_signed)
      LANES(word, d[i] = (uint32_t)((int32_t)a[i] >> (b[i] > 31 ? 31 : b[i])));
    else
      LANES(word, d[i] = b[i] > 31 ? 0 : a[i] >> b[i]);
    return true;
  case PTX_BFE: LANES(word, d[i] = extract_bits(a[i], b[i], c[i], is_signed)); return true;
  case PTX_DIV: LANES(word, d[i] = b[i] ? a[i] / b[i] : UINT32_MAX); return !is_signed;
  case PTX_REM: LANES(word, d[i] = b[i] ? a[i] % b[i] : a[i]); return !is_signed;
  default: return false;
  }
}

static bool run_half(word *r, const struct ptx_instruction *in, uint32_t mask) {
  bool is_signed = in->type == PTX_S16;
  switch (in->op) {
  case PTX_MOV: LANES(word, d[i] = a[i]); return true;
  case PTX_ADD: LANES(word, d[i] = (a[i] + b[i]) & 0xffff); return true;
  case PTX_SUB: LANES(word, d[i] = (a[i] - b[i]) & 0xffff); return true;
  case PTX_MUL: LANES(word, d[i] = (a[i] * b[i]) & 0xffff); return true;
  case PTX_MAD: LANES(word, d[i] = (a[i] * b[i] + c[i]) & 0xffff); return true;
  case PTX_MIN: LANES(word, d[i] = a[i] < b[i] ? a[i] : b[i]); return !is_signed;
  case PTX_MAX: LANES(word, d[i] = a[i] > b[i] ? a[i] : b[i]); return !is_signed;
  case PTX_MUL_HIGH: LANES(word, d[i] = (a[i] * b[i]) >> 16); return !is_signed;
  case PTX_MUL_WIDE:
    if (is_signed)
      LANES(word, d[i] = (uint32_t)((int32_t)(int16_t)a[i] * (int16_t)b[i]));
    else
      LANES(word, d[i] = a[i] * b[i]);
    return true;
  case PTX_AND: LANES(word, d[i] = a[i] & b[i]); return true;
  case PTX_OR: LANES(word, d[i] = a[i] | b[i]); return true;
  case PTX_XOR: LANES(word, d[i] = a[i] ^ b[i]); return true;
  case PTX_SHL: LANES(word, d[i] = b[i] > 15 ? 0 : a[i] << b[i] & 0xffff); return true;
  case PTX_SHR: LANES(word, d[i] = b[i] > 15 ? 0 : a[i] >> b[i]); return !is_signed;
  default: return false;
  }
}

static bool run_quad(word *r, const struct ptx_instruction *in, uint32_t mask) {
  const word *shift = r + in->source[1];
  bool is_signed = in->type == PTX_S64;
  switch (in->op) {
  case PTX_MOV: LANES(quad, d[i] = a[i]); return true;
  case PTX_ADD: LANES(quad, d[i] = a[i] + b[i]); return true;
  case PTX_SUB: LANES(quad, d[i] = a[i] - b[i]); return true;
  case PTX_MUL: LANES(quad, d[i] = a[i] * b[i]); return true;
  case PTX_MAD: LANES(quad, d[i] = a[i] * b[i] + c[i]); return true;
  case PTX_MIN: LANES(quad, d[i] = a[i] < b[i] ? a[i] : b[i]); return !is_signed;
  case PTX_MAX: LANES(quad, d[i] = a[i] > b[i] ? a[i] : b[i]); return !is_signed;
  case PTX_AND: LANES(quad, d[i] = a[i] & b[i]); return true;
  case PTX_OR: LANES(quad, d[i] = a[i] | b[i]); return true;
  case PTX_XOR: LANES(quad, d[i] = a[i] ^ b[i]); return true;
  case PTX_SHL: LANES(quad, d[i] = shift[i] > 63 ? 0 : a[i] << shift[i]); return true;
  case PTX_SHR:
    if (is_signed)
      LANES(quad, d[i] = (uint64_t)((int64_t)a[i] >> (shift[i] > 63 ? 63 : shift[i])));
    else
      LANES(quad, d[i] = shift[i] > 63 ? 0 : a[i] >> shift[i]);
    return true;
  default: return false;
  }
}

static bool run_predicate(word *r, const struct ptx_instruction *in, uint32_t mask) {
  switch (in->op) {
  case PTX_MOV: LANES(word, d[i] = a[i]); return true;
  case PTX_AND: LANES(word, d[i] = a[i] & b[i]); return true;
  case PTX_OR: LANES(word, d[i] = a[i] | b[i]); return true;
  case PTX_XOR: LANES(word, d[i] = a[i] ^ b[i]); return true;
  case PTX_NOT: LANES(word, d[i] = !a[i]); return true;
  default: return false;
  }
}

#define COMPARE(a, b)                                                                                                  \
  (op == PTX_EQ || op == PTX_EQU   ? (a) == (b)                                                                        \
   : op == PTX_NE || op == PTX_NEU ? (a) != (b)                                                                        \
   : op == PTX_LT || op == PTX_LTU ? (a) < (b)                                                                         \
   : op == PTX_LE || op == PTX_LEU ? (a) <= (b)                                                                        \
   : op == PTX_GT || op == PTX_GTU ? (a) > (b)                                                                         \
                                   : (a) >= (b))

static void compare(word *r, const struct ptx_instruction *in, uint32_t mask) {
  int op = in->compare;
  word *d = r + in->destination[0];
  const word *a = r + in->source[0], *b = r + in->source[1];
  for (int i = 0; i < PTX_LANES; i++) {
    if (!(mask >> i & 1)) continue;
    switch (in->type) {
    case PTX_F32: {
      float x = ((const real *)a)[i], y = ((const real *)b)[i];
      d[i] = isunordered(x, y) ? op >= PTX_EQU : COMPARE(x, y);
      break;
    }
    case PTX_S16: d[i] = COMPARE((int16_t)a[i], (int16_t)b[i]); break;
    case PTX_S32: d[i] = COMPARE((int32_t)a[i], (int32_t)b[i]); break;
    case PTX_S64: d[i] = COMPARE((int64_t)((const quad *)a)[i], (int64_t)((const quad *)b)[i]); break;
    case PTX_U64: d[i] = COMPARE(((const quad *)a)[i], ((const quad *)b)[i]); break;
    default: d[i] = COMPARE(a[i], b[i]);
    }
  }
}

static void move_halves(word *r, const struct ptx_instruction *in, uint32_t mask) {
  bool wide = in->type == PTX_U64;
  for (int i = 0; i < PTX_LANES; i++) {
    if (!(mask >> i & 1)) continue;
    if (in->op == PTX_PACK && wide) {
      ((quad *)(r + in->destination[0]))[i] = (uint64_t)r[in->source[1] + i] << 32 | r[in->source[0] + i];
    } else if (in->op == PTX_PACK) {
      r[in->destination[0] + i] = (r[in->source[0] + i] & 0xffff) | r[in->source[1] + i] << 16;
    } else {
      uint64_t value = wide ? ((quad *)(r + in->source[0]))[i] : r[in->source[0] + i];
      r[in->destination[0] + i] = wide ? (uint32_t)value : (uint32_t)value & 0xffff;
      r[in->destination[1] + i] = wide ? (uint32_t)(value >> 32) : (uint32_t)value >> 16;
    }
  }
}

static void convert(word *r, const struct ptx_instruction *in, uint32_t mask) {
  for (int i = 0; i < PTX_LANES; i++) {
    if (!(mask >> i & 1)) continue;
    const word *a = r + in->source[0];
    int64_t value;
    switch (in->count) {
    case PTX_U16: value = (uint16_t)a[i]; break;
    case PTX_S16: value = (int16_t)a[i]; break;
    case PTX_U32: value = a[i]; break;
    case PTX_S32: value = (int32_t)a[i]; break;
    case PTX_F32: {
      float x = ((const real *)a)[i];
      value = x != x ? 0 : x >= 9e18f ? INT64_MAX : x <= -9e18f ? INT64_MIN : (int64_t)x;
      int64_t low = in->type == PTX_S32 ? INT32_MIN : 0, high = in->type == PTX_S32 ? INT32_MAX : UINT32_MAX;
      if (in->type == PTX_S32 || in->type == PTX_U32) value = value < low ? low : value > high ? high : value;
      break;
    }
    default: value = (int64_t)((const quad *)a)[i];
    }
    if (in->type == PTX_F32)
      ((real *)(r + in->destination[0]))[i] = in->count == PTX_U64 ? (float)(uint64_t)value : (float)value;
    else if (in->type == PTX_U64 || in->type == PTX_S64)
      ((quad *)(r + in->destination[0]))[i] = (uint64_t)value;
    else
      r[in->destination[0] + i] = in->type == PTX_U16 || in->type == PTX_S16 ? (uint16_t)value : (uint32_t)value;
  }
}

// One number to the low half of a word, or the first of two to its high half.
static void convert_to_bf16(word *r, const struct ptx_instruction *in, uint32_t mask) {
  const word *a = r + in->source[0], *b = r + in->source[1];
  for (int i = 0; i < PTX_LANES; i++) {
    if (!(mask >> i & 1)) continue;
    word first = ptx_round_to_bf16(a[i]);
    r[in->destination[0] + i] = in->count == 2 ? first << 16 | ptx_round_to_bf16(b[i]) : first;
  }
}

static void run_one(struct block *block, struct warp *warp, const struct ptx_instruction *in, uint32_t mask) {
  word *r = warp->file;
  bool known = true;
  switch (in->op) {
  case PTX_LD:
  case PTX_ST: ptx_access(block, warp, in, mask); return;
  case PTX_COPY: ptx_copy_start(block, warp, in, mask); return;
  case PTX_COMMIT: ptx_copy_commit(warp, mask); return;
  case PTX_WAIT: ptx_copy_wait(block, warp, in, mask); return;
  case PTX_SETP: compare(r, in, mask); return;
  case PTX_CVT: convert(r, in, mask); return;
  case PTX_CVT_TF32:
    LANES(word, d[i] = (a[i] & 0x7f800000u) == 0x7f800000u ? a[i] : (a[i] + 0x1000u) & 0xffffe000u);
    return;
  case PTX_CVT_BF16: convert_to_bf16(r, in, mask); return;
  case PTX_PACK:
  case PTX_UNPACK: move_halves(r, in, mask); return;
  case PTX_LDMATRIX:
  case PTX_MMA_TF32:
  case PTX_MMA_BF16:
    if (mask != EVERYONE)
      ptx_fault(block, in, warp->first, "an instruction of the whole warp without all of its lanes");
    else if (in->op == PTX_LDMATRIX)
      ptx_load_matrices(block, warp, in);
    else
      ptx_multiply(r, in);
    return;
  case PTX_SELP: {
    const word *p = r + in->source[2];
    if (in->type == PTX_U64 || in->type == PTX_S64)
      LANES(quad, d[i] = p[i] ? a[i] : b[i]);
    else
      LANES(word, d[i] = p[i] ? a[i] : b[i]);
    return;
  }
  default: break;
  }
  switch (in->type) {
  case PTX_F32: known = run_real(r, in, mask); break;
  case PTX_U32:
  case PTX_S32: known = run_word(r, in, mask); break;
  case PTX_U16:
  case PTX_S16: known = run_half(r, in, mask); break;
  case PTX_PRED: known = run_predicate(r, in, mask); break;
  default: known = run_quad(r, in, mask);
  }
  if (!known) ptx_fault(block, in, warp->first, "an operation on a type it is not interpreted for");
}

// ---- control

static uint32_t guarded(const struct warp *warp, const struct ptx_instruction *in, uint32_t mask) {
  if (in->guard < 0) return mask;
  uint32_t taken = 0;
  const word *p = warp->file + in->guard;
  for (int i = 0; i < PTX_LANES; i++)
    taken |= (uint32_t)(p[i] != 0) << i;
  return mask & (in->guard_negated ? ~taken : taken);
}

static void set_pc(struct warp *warp, uint32_t mask, int pc) {
  for (int i = 0; i < PTX_LANES; i++)
    if (mask >> i & 1) warp->pc[i] = pc;
}

// The lanes that are furthest behind, and where they are.
static uint32_t next_lanes(const struct warp *warp, int *out_pc) {
  int pc = INT32_MAX;
  uint32_t mask = 0;
  for (int i = 0; i < PTX_LANES; i++) {
    if (!(warp->alive >> i & 1) || warp->pc[i] > pc) continue;
    if (warp->pc[i] < pc) mask = 0;
    pc = warp->pc[i];
    mask |= 1u << i;
  }
  *out_pc = pc;
  return mask;
}

// Runs to the next barrier or to the end.
static void run_warp(struct block *block, struct warp *warp) {
  const struct ptx_function *f = block->launch->function;
  int pc;
  uint32_t mask = next_lanes(warp, &pc);
  while (warp->alive) {
    if (pc >= (int)f->num_instructions) {
      warp->alive &= ~mask;
      mask = next_lanes(warp, &pc);
      continue;
    }
    const struct ptx_instruction *in = &f->instructions[pc];
    if (in->op == PTX_BAR) {
      if (mask != warp->alive) {
        ptx_fault(block, in, warp->first, "a barrier that only a part of the warp reaches");
        return;
      }
      set_pc(warp, mask, pc + 1);
      warp->waits = true;
      return;
    }
    if (in->op == PTX_BRA || in->op == PTX_RET) {
      uint32_t taken = guarded(warp, in, mask);
      set_pc(warp, mask & ~taken, pc + 1);
      if (in->op == PTX_RET)
        warp->alive &= ~taken;
      else
        set_pc(warp, taken, in->target);
      if (atomic_load_explicit(&block->launch->failed, memory_order_relaxed)) return;
      mask = next_lanes(warp, &pc);
      continue;
    }
    uint32_t active = guarded(warp, in, mask);
    if (active) run_one(block, warp, in, active);
    pc++;
    if (mask == warp->alive) continue;
    set_pc(warp, mask, pc);
    mask = next_lanes(warp, &pc);
  }
}

static void run_block(struct block *block, struct warp *warps, int num_warps) {
  for (;;) {
    int waiting = 0, running = 0;
    for (int w = 0; w < num_warps; w++) {
      warps[w].waits = false;
      run_warp(block, &warps[w]);
      if (atomic_load(&block->launch->failed)) return;
      waiting += warps[w].waits;
      running += warps[w].alive != 0;
    }
    if (!running) return;
    bool whole = true;
    for (int w = 0; w < num_warps; w++)
      whole = whole && warps[w].waits && warps[w].alive == EVERYONE;
    if (!whole) {
      struct ptx_instruction end = {.line = 0};
      ptx_fault(block, &end, 0, waiting ? "a barrier that only a part of the block reaches" : "no end");
      return;
    }
    block->epoch++;
  }
}

static void prepare_warp(struct warp *warp, const struct launch *launch, int64_t number) {
  const struct ptx_function *f = launch->function;
  warp->alive = EVERYONE;
  warp->num_copies = 0; // copies that the block before did not wait for
  memset(warp->groups, 0, sizeof warp->groups);
  memset(warp->pc, 0, sizeof warp->pc);
  for (int i = 0; i < PTX_LANES; i++)
    warp->file[f->thread + i] = (uint32_t)(warp->first + i);
  for (int d = 0; d < 3; d++, number /= launch->grid[d - 1])
    for (int i = 0; i < PTX_LANES; i++)
      warp->file[f->block[d] + i] = (uint32_t)(number % launch->grid[d]);
}

// Registers that never change: immediates and parameters.
static void fill_constants(struct warp *warp, const struct launch *launch) {
  const struct ptx_function *f = launch->function;
  for (int i = 0; i < PTX_LANES; i++) {
    for (size_t c = 0; c < f->num_constants; c++) {
      const struct ptx_constant *constant = &f->constants[c];
      if (constant->wide)
        ((quad *)(warp->file + constant->reg))[i] = constant->value;
      else
        warp->file[constant->reg + i] = (uint32_t)constant->value;
    }
    for (int p = 0; p < f->num_parameters; p++)
      memcpy(&((quad *)(warp->file + f->parameter[p]))[i], launch->arguments[p], sizeof(uint64_t));
  }
}

static void run_blocks(void **operands, int64_t begin, int64_t end) {
  struct launch *launch = (struct launch *)operands;
  const struct ptx_function *f = launch->function;
  int num_warps = (int)launch->block / PTX_LANES;
  size_t file = ((size_t)f->num_words + 15) / 16 * 16, cells = (size_t)f->shared_bytes / 4 + 1;
  word *registers = anas_calloc(file * (size_t)num_warps, sizeof *registers);
  struct warp *warps = anas_calloc((size_t)num_warps, sizeof *warps);
  struct block block = {.launch = launch, .shared = anas_alloc((size_t)f->shared_bytes + 16)};
  block.cells = anas_calloc(cells, sizeof *block.cells);
  for (int w = 0; w < num_warps; w++) {
    warps[w].file = registers + file * (size_t)w;
    warps[w].first = w * PTX_LANES;
    fill_constants(&warps[w], launch);
  }
  for (int64_t number = begin; number < end && !atomic_load(&launch->failed); number++) {
    block.number = number;
    block.epoch = 1;
    memset(block.cells, 0, cells * sizeof *block.cells);
    for (int w = 0; w < num_warps; w++)
      prepare_warp(&warps[w], launch, number);
    run_block(&block, warps, num_warps);
  }
  for (int w = 0; w < num_warps; w++)
    free(warps[w].copies);
  free(block.cells);
  free(block.shared);
  free(warps);
  free(registers);
}

anas_status ptx_launch(const struct ptx_function *function, const struct ptx_memory *memory, const uint32_t grid[3],
                       uint32_t block, void **arguments) {
  if (block % PTX_LANES || (function->threads && (int)block > function->threads))
    return anas_fail(ANAS_INVALID, "ptxsim: %s: a block of %u threads", function->name, block);
  struct launch launch = {.function = function,
                          .memory = memory,
                          .grid = {grid[0], grid[1], grid[2]},
                          .block = block,
                          .arguments = arguments};
  atomic_init(&launch.failed, false);
  pthread_mutex_init(&launch.lock, NULL);
  anas_parallel_for(run_blocks, (void **)&launch, (int64_t)grid[0] * grid[1] * grid[2], 1);
  pthread_mutex_destroy(&launch.lock);
  anas_status status = launch.message ? anas_fail(ANAS_INTERNAL, "%s", launch.message) : ANAS_OK;
  free(launch.message);
  return status;
}
