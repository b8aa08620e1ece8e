// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: copies of a panel of B and of a chunk of A on the stack, in the order in which register tiles read
// them.
//
// They pay where the steps of the reduction are far apart in an operand, as in transposed products and products of
// slices (heads of an attention): cache sets, address translation and prefetching then work against the tile, and a
// copy reads memory in order. A panel of B whose lanes are not neighbours (keys of an attention) has to be copied: it
// is transposed on the way, square block by block.
#include "passes/cpu/contraction.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>

#define MIN_TILES 8 // passes over a panel that make its copy worthwhile
#define MAX_LANES 16
#define PAGE 1024 // elements
#define MAX_PAGES_A 8
#define MIN_APART 256 // elements from step to step of a chunk of A that panels copy
#define MAX_PAGES_B 32

// ---- decisions

bool anas_contraction_transposable(const struct anas_cpu_nest *nest, int a, int b, int lane) {
  int64_t rows = 1;
  int reductions = 0;
  bool contiguous = false;
  for (int l = 0; l < nest->num_loops; l++) {
    if (nest->operand[2].stride[l] == 0) {
      reductions++;
      contiguous = nest->operand[b].stride[l] == 1;
    } else if (nest->operand[b].stride[l] == 0) {
      rows *= nest->extent[l];
    }
  }
  return nest->operand[a].stride[lane] == 0 && reductions == 1 && contiguous && rows >= MIN_TILES;
}

// Pages that an operand touches while a tile goes through the reduction.
static double pages(const struct anas_cpu_nest *nest, const struct anas_cpu_operand *operand, int k) {
  double stride = (double)llabs(operand->stride[k]);
  return (double)nest->extent[k] * (stride < PAGE ? stride / PAGE : 1);
}

bool anas_contraction_steps_apart(const struct anas_contraction *plan) {
  const struct anas_cpu_operand *a = &plan->nest->operand[plan->a];
  return a->stride[plan->row[0]] == 1 && llabs(a->stride[plan->k[plan->num_k - 1]]) >= MIN_APART;
}

void anas_contraction_packing(struct anas_contraction *plan) {
  const struct anas_cpu_nest *nest = plan->nest;
  if (plan->num_k - plan->stream != 1 || plan->spread >= 0) return;
  const struct anas_cpu_operand *a = &nest->operand[plan->a], *b = &nest->operand[plan->b];
  int k = plan->k[plan->num_k - 1];
  double tiles = 1;
  for (int i = 0; i < plan->num_rows; i++)
    tiles *= (double)((nest->extent[plan->row[i]] + plan->tile[plan->row[i]] - 1) / plan->tile[plan->row[i]]);
  bool loose = llabs(b->stride[k]) > 2 * (int64_t)plan->vectors * plan->lanes && pages(nest, b, k) > MAX_PAGES_B;
  plan->pack_b = b->stride[plan->lane] != 1 || plan->panels || (loose && tiles >= MIN_TILES && !plan->stream);
  // Without a batch the same chunk of A would be copied for every column, but for panels, whose columns share the copy.
  if (plan->panels && anas_contraction_steps_apart(plan)) {
    plan->pack_a = true;
    return;
  }
  plan->pack_a = plan->num_batch > 0 && !plan->stream && plan->num_rows == 1 && a->stride[plan->row[0]] == 1 &&
                 pages(nest, a, k) > MAX_PAGES_A && plan->vectors > 1 && tiles > 2;
}

void anas_contraction_packed_sizes(struct anas_contraction *plan) {
  int64_t steps = plan->num_k > 0 ? plan->k_block : 1;
  if (plan->pack_b) plan->b_elements = steps * plan->vectors * plan->lanes;
  if (!plan->pack_a) return;
  // The rows of a tile start at a multiple of vectors, and tile t at t * tile * a_stride.
  int64_t tile = plan->tile[plan->row[0]];
  plan->a_pitch = (tile + plan->lanes - 1) / plan->lanes * plan->lanes;
  int64_t padded = (steps + tile - 1) / tile * tile;
  plan->a_stride = plan->a_pitch * padded / tile;
  plan->a_elements = (plan->chunk_rows + tile - 1) / tile * plan->a_pitch * padded;
}

static MlirValue stack(struct anas_code *code, MlirType element, int64_t elements) {
  MlirType type = mlirMemRefTypeContiguousGet(element, 1, &elements, mlirAttributeGetNull());
  int32_t segments[] = {0, 0};
  MlirNamedAttribute attributes[] = {
      anas_code_attribute(code, "alignment", mlirIntegerAttrGet(mlirIntegerTypeGet(code->context, 64), 64)),
      anas_code_attribute(code, "operandSegmentSizes", mlirDenseI32ArrayGet(code->context, 2, segments)),
  };
  return anas_code_op(code, "memref.alloca", 0, NULL, type, 2, attributes);
}

MlirValue anas_contraction_stack(struct anas_code *code, int64_t elements) {
  return stack(code, code->f32, elements);
}

MlirValue anas_contraction_counter(struct anas_code *code) {
  return stack(code, code->index, 1);
}

// ---- transposing

// Exchanges bit h of the row number with bit h of the lane number in a square of vectors.
static void exchange_bit(struct anas_code *code, int lanes, int h, MlirValue *row) {
  int64_t low[MAX_LANES], high[MAX_LANES];
  for (int c = 0; c < lanes; c++) {
    low[c] = c & h ? lanes + (c ^ h) : c;
    high[c] = c & h ? lanes + c : c | h;
  }
  MlirNamedAttribute mask[] = {
      anas_code_attribute(code, "mask", mlirDenseI64ArrayGet(code->context, lanes, low)),
      anas_code_attribute(code, "mask", mlirDenseI64ArrayGet(code->context, lanes, high)),
  };
  MlirType type = anas_code_vector(lanes, code->f32);
  for (int i = 0; i < lanes; i++) {
    if (i & h) continue;
    MlirValue pair[] = {row[i], row[i | h]};
    row[i] = anas_code_op(code, "vector.shuffle", 2, pair, type, 1, &mask[0]);
    row[i | h] = anas_code_op(code, "vector.shuffle", 2, pair, type, 1, &mask[1]);
  }
}

// `lanes` lanes of B, of which `active` exist, for `steps` steps: contiguous in the source along the steps.
static void transpose_block(struct anas_code *code, const struct anas_contraction *plan, MlirValue source,
                            struct anas_address from, MlirValue to, struct anas_address at, int active, int steps,
                            int64_t width) {
  int lanes = plan->lanes;
  MlirType type = anas_code_vector(lanes, code->f32);
  MlirValue row[MAX_LANES];
  int64_t stride = plan->nest->operand[plan->b].stride[plan->lane];
  for (int j = 0; j < lanes; j++)
    row[j] = j < active ? anas_code_vector_load(code, source, anas_address_offset(from, j * stride), type, steps)
                        : anas_code_splat_f32(code, lanes, 0);
  for (int h = lanes / 2; h > 0; h /= 2)
    exchange_bit(code, lanes, h, row);
  for (int s = 0; s < steps; s++)
    anas_code_vector_store(code, row[s], to, anas_address_offset(at, s * width), lanes);
}

// One vector of lanes for all steps; null count: static_steps of them.
static void transpose_lanes(struct anas_code *code, const struct anas_contraction *plan, MlirValue source,
                            struct anas_address from, MlirValue to, struct anas_address at, int active,
                            int64_t static_steps, MlirValue count, int64_t width) {
  int lanes = plan->lanes;
  int64_t whole = static_steps - static_steps % lanes;
  MlirValue upper = anas_code_index(code, whole);
  if (!mlirValueIsNull(count)) {
    MlirValue rest = anas_code_binary(code, "arith.remui", count, anas_code_index(code, lanes));
    upper = anas_code_binary(code, "arith.subi", count, rest);
  }
  if (whole > 0 || !mlirValueIsNull(count)) {
    struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, upper, lanes, 0, NULL);
    transpose_block(code, plan, source, anas_address_step(code, from, scope.iv, 1), to,
                    anas_address_step(code, at, scope.iv, width), active, lanes, width);
    anas_code_end(code, &scope, 0, NULL);
  }
  if (mlirValueIsNull(count)) {
    if (whole < static_steps)
      transpose_block(code, plan, source, anas_address_offset(from, whole), to, anas_address_offset(at, whole * width),
                      active, (int)(static_steps - whole), width);
    return;
  }
  struct anas_code_scope scope = anas_code_for(code, upper, count, 1, 0, NULL);
  from = anas_address_step(code, from, scope.iv, 1);
  at = anas_address_step(code, at, scope.iv, width);
  int64_t stride = plan->nest->operand[plan->b].stride[plan->lane];
  for (int j = 0; j < active; j++)
    anas_code_store(code, anas_code_load(code, source, anas_address_offset(from, j * stride)), to,
                    anas_address_offset(at, j));
  anas_code_end(code, &scope, 0, NULL);
}

// ---- copies

void anas_contraction_pack_b(struct anas_code *code, const struct anas_contraction *plan, MlirValue source,
                             struct anas_address from, MlirValue to, int vectors, int last_lanes, MlirValue count) {
  const struct anas_cpu_operand *b = &plan->nest->operand[plan->b];
  int lanes = plan->lanes;
  int64_t width = (int64_t)vectors * lanes;
  struct anas_address at = {{0}, 0};
  if (b->stride[plan->lane] != 1) {
    int whole = last_lanes == lanes ? vectors : vectors - 1;
    int64_t reach = b->stride[plan->lane] * lanes;
    if (whole > 0) {
      struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, anas_code_index(code, whole), 1, 0, NULL);
      transpose_lanes(code, plan, source, anas_address_step(code, from, scope.iv, reach), to,
                      anas_address_step(code, at, scope.iv, lanes), lanes, plan->k_block, count, width);
      anas_code_end(code, &scope, 0, NULL);
    }
    if (whole < vectors)
      transpose_lanes(code, plan, source, anas_address_offset(from, whole * reach), to,
                      anas_address_offset(at, (int64_t)whole * lanes), last_lanes, plan->k_block, count, width);
    return;
  }
  MlirType type = anas_code_vector(lanes, code->f32);
  if (mlirValueIsNull(count)) count = anas_code_index(code, plan->k_block);
  struct anas_code_scope scope = anas_code_for(code, (MlirValue){0}, count, 1, 0, NULL);
  from = anas_address_step(code, from, scope.iv, b->stride[plan->k[plan->k_split]]);
  at = anas_address_step(code, at, scope.iv, width);
  for (int v = 0; v < vectors; v++) {
    MlirValue value = anas_code_vector_load(code, source, anas_address_offset(from, (int64_t)v * lanes), type,
                                            v == vectors - 1 ? last_lanes : lanes);
    anas_code_vector_store(code, value, to, anas_address_offset(at, (int64_t)v * lanes), lanes);
  }
  anas_code_end(code, &scope, 0, NULL);
}

static void copy_rows(struct anas_code *code, const struct anas_contraction *plan, MlirValue source,
                      struct anas_address from, MlirValue to, struct anas_address at, int64_t rows) {
  MlirType type = anas_code_vector(plan->lanes, code->f32);
  for (int64_t r = 0; r < rows; r += plan->lanes) {
    int64_t left = rows - r;
    MlirValue value = anas_code_vector_load(code, source, anas_address_offset(from, r), type,
                                            (int)(left < plan->lanes ? left : plan->lanes));
    anas_code_vector_store(code, value, to, anas_address_offset(at, r), plan->lanes);
  }
}

void anas_contraction_pack_a(struct anas_code *code, const struct anas_contraction *plan, MlirValue source,
                             struct anas_address from, MlirValue to, MlirValue chunk_lower, MlirValue count) {
  int row = plan->row[0];
  int64_t extent = plan->nest->extent[row], tile = plan->tile[row], whole = extent - extent % tile;
  bool cut = !mlirValueIsNull(chunk_lower);
  // Rows of the chunk, counted from its first.
  MlirValue tiles_end = anas_code_index(code, whole), chunk_end = {0};
  if (cut) {
    chunk_end = anas_code_add_const(code, chunk_lower, plan->chunk_rows);
    tiles_end = anas_code_binary(code, "arith.subi", anas_code_min(code, chunk_end, tiles_end), chunk_lower);
    from = anas_address_step(code, from, chunk_lower, 1);
  }
  if (mlirValueIsNull(count)) count = anas_code_index(code, plan->k_block);
  struct anas_code_scope steps = anas_code_for(code, (MlirValue){0}, count, 1, 0, NULL);
  struct anas_address at = {{0}, 0};
  from = anas_address_step(code, from, steps.iv, plan->nest->operand[plan->a].stride[plan->k[plan->k_split]]);
  at = anas_address_step(code, at, steps.iv, plan->a_pitch);
  if (whole > 0) {
    struct anas_code_scope tiles = anas_code_for(code, (MlirValue){0}, tiles_end, tile, 0, NULL);
    copy_rows(code, plan, source, anas_address_step(code, from, tiles.iv, 1), to,
              anas_address_step(code, at, tiles.iv, plan->a_stride), tile);
    anas_code_end(code, &tiles, 0, NULL);
  }
  if (whole < extent) {
    struct anas_code_scope branch = {0};
    if (cut) {
      MlirValue last = anas_code_compare(code, false, ANAS_CMPI_SGE, chunk_end, anas_code_index(code, extent));
      branch = anas_code_if(code, last, false);
    }
    copy_rows(code, plan, source, anas_address_step(code, from, tiles_end, 1), to,
              anas_address_step(code, at, tiles_end, plan->a_stride), extent - whole);
    if (cut) anas_code_end(code, &branch, 0, NULL);
  }
  anas_code_end(code, &steps, 0, NULL);
}
