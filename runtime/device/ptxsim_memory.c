// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory of the PTX interpreter: bounds, alignment, and what is known of each word of shared memory.
#include "runtime/device/ptxsim_run.h"

#include "runtime/support/memory.h"

#include <string.h>

static char *global_at(struct block *block, uint64_t address, uint64_t bytes) {
  const struct ptx_allocation *item = block->last;
  if (item && address - (uint64_t)(uintptr_t)item->data < item->bytes &&
      bytes <= item->bytes - (address - (uint64_t)(uintptr_t)item->data))
    return (char *)(uintptr_t)address;
  const struct ptx_memory *memory = block->launch->memory;
  for (size_t i = 0; i < memory->count; i++) {
    uint64_t base = (uint64_t)(uintptr_t)memory->items[i].data, size = memory->items[i].bytes;
    if (address < base || address - base >= size || bytes > size - (address - base)) continue;
    block->last = &memory->items[i];
    return (char *)(uintptr_t)address;
  }
  return NULL;
}

// Notes an access of one word of shared memory; the fault it is, or null.
static const char *touch(struct block *block, struct cell *cell, int thread, bool load) {
  uint16_t id = (uint16_t)(thread + 1);
  if (cell->awaited) return "touches shared memory that a copy is under way to, which was not waited for";
  if (load && !cell->writer) return "shared memory is read before it was written";
  if (cell->writer && cell->write_epoch == block->epoch && cell->writer != id)
    return load ? "reads shared memory that another thread wrote since the last barrier"
                : "writes shared memory that another thread wrote since the last barrier";
  if (load) {
    cell->reader = cell->read_epoch == block->epoch && cell->reader != id ? MANY : id;
    cell->read_epoch = block->epoch;
    return NULL;
  }
  if (cell->read_epoch == block->epoch && cell->reader != id)
    return "writes shared memory that another thread read since the last barrier";
  cell->writer = id;
  cell->write_epoch = block->epoch;
  return NULL;
}

static char *shared_at(struct block *block, const struct ptx_instruction *instruction, uint32_t address, uint32_t bytes,
                       int thread) {
  int64_t size = block->launch->function->shared_bytes;
  if (address > size || bytes > size - address) {
    ptx_fault(block, instruction, thread, "an access outside of shared memory");
    return NULL;
  }
  for (uint32_t at = address; at < address + bytes; at += 4) {
    const char *what =
        touch(block, &block->cells[at / 4], thread, instruction->op == PTX_LD || instruction->op == PTX_LDMATRIX);
    if (!what) continue;
    ptx_fault(block, instruction, thread, what);
    return NULL;
  }
  return block->shared + address;
}

void ptx_access(struct block *block, struct warp *warp, const struct ptx_instruction *in, uint32_t mask) {
  word *r = warp->file;
  bool wide = in->type == PTX_U64 || in->type == PTX_S64;
  uint32_t element = wide ? 8 : in->type == PTX_U16 || in->type == PTX_S16 ? 2 : 4, bytes = element * in->count;
  for (int lane = 0; lane < PTX_LANES; lane++) {
    if (!(mask >> lane & 1)) continue;
    uint64_t address = in->shared ? (uint32_t)(r[in->source[0] + lane] + (uint32_t)in->offset)
                                  : ((quad *)(r + in->source[0]))[lane] + (uint64_t)in->offset;
    if (address % bytes) {
      ptx_fault(block, in, warp->first + lane, "an access off its alignment");
      return;
    }
    char *at = in->shared ? shared_at(block, in, (uint32_t)address, bytes, warp->first + lane)
                          : global_at(block, address, bytes);
    if (!at) {
      ptx_fault(block, in, warp->first + lane, "an access outside of every allocation");
      return;
    }
    for (int i = 0; i < in->count; i++, at += element) {
      word *one = r + (in->op == PTX_LD ? in->destination[i] : in->source[i + 1]) + (wide ? 2 * lane : lane);
      if (in->op == PTX_ST)
        memcpy(at, one, element);
      else if (element == 2) {
        uint16_t half;
        memcpy(&half, at, 2);
        *one = half;
      } else
        memcpy(one, at, element);
    }
  }
}

// Register i of lane l: word l % 4 of row l / 4 of matrix i, whose rows are at the addresses of lanes 8i to 8i + 7. A
// row is 16 bytes; transposed, the elements (l % 4) * 2 and + 1 of column l / 4.
void ptx_load_matrices(struct block *block, struct warp *warp, const struct ptx_instruction *in) {
  const word *addresses = (const word *)warp->file + in->source[0];
  char rows[PTX_LANES][16];
  for (int lane = 0; lane < PTX_LANES; lane++) {
    uint32_t address = addresses[lane] + (uint32_t)in->offset;
    if (address % 16) {
      ptx_fault(block, in, warp->first + lane, "an access off its alignment");
      return;
    }
    const char *at = shared_at(block, in, address, 16, warp->first + lane);
    if (!at) return;
    memcpy(rows[lane], at, 16);
  }
  for (int i = 0; i < 4; i++)
    for (int lane = 0; lane < PTX_LANES; lane++)
      for (int half = 0; half < 2; half++) {
        int row = lane / 4, column = lane % 4 * 2 + half;
        const char *from = in->count ? rows[8 * i + column] + 2 * row : rows[8 * i + row] + 2 * column;
        memcpy((char *)&warp->file[in->destination[i] + lane] + 2 * half, from, 2);
      }
}

// ---- copies

void ptx_copy_start(struct block *block, struct warp *warp, const struct ptx_instruction *in, uint32_t mask) {
  word *r = warp->file;
  for (int lane = 0; lane < PTX_LANES; lane++) {
    if (!(mask >> lane & 1)) continue;
    int thread = warp->first + lane;
    uint32_t bytes = in->count, present = in->source[2] < 0 ? bytes : r[in->source[2] + lane];
    struct copy copy = {.lane = lane,
                        .group = warp->groups[lane],
                        .to = r[in->source[0] + lane] + (uint32_t)in->offset,
                        .bytes = bytes};
    uint64_t from = ((quad *)(r + in->source[1]))[lane] + (uint64_t)in->from_offset;
    if (present > bytes || copy.to % bytes || from % bytes) {
      ptx_fault(block, in, thread, "an access off its alignment");
      return;
    }
    const char *data = present ? global_at(block, from, present) : "";
    if (!data) {
      ptx_fault(block, in, thread, "an access outside of every allocation");
      return;
    }
    if (!shared_at(block, in, copy.to, bytes, thread)) return;
    memcpy(copy.data, data, present);
    for (uint32_t at = 0; at < bytes; at += 4)
      block->cells[(copy.to + at) / 4].awaited = true;
    warp->copies = anas_grow(warp->copies, warp->num_copies, &warp->capacity, sizeof copy);
    warp->copies[warp->num_copies++] = copy;
  }
}

void ptx_copy_commit(struct warp *warp, uint32_t mask) {
  for (int lane = 0; lane < PTX_LANES; lane++)
    warp->groups[lane] += mask >> lane & 1;
}

void ptx_copy_wait(struct block *block, struct warp *warp, const struct ptx_instruction *in, uint32_t mask) {
  size_t kept = 0;
  for (size_t i = 0; i < warp->num_copies; i++) {
    struct copy *copy = &warp->copies[i];
    bool done = in->offset < 0 || (int64_t)copy->group + in->offset < (int64_t)warp->groups[copy->lane];
    if (!(mask >> copy->lane & 1) || !done) {
      warp->copies[kept++] = *copy;
      continue;
    }
    for (uint32_t at = 0; at < copy->bytes; at += 4) {
      struct cell *cell = &block->cells[(copy->to + at) / 4];
      cell->awaited = false;
      cell->writer = (uint16_t)(warp->first + copy->lane + 1);
      cell->write_epoch = block->epoch;
    }
    memcpy(block->shared + copy->to, copy->data, copy->bytes);
  }
  warp->num_copies = kept;
}
