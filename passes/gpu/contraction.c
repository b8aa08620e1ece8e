// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: recognising them, choosing tiles and splits, and the code around the tile loop. Partial sums of a split
// k go through the workspace and are added in a fixed order, so that results repeat bit by bit.
#include "passes/gpu/contraction.h"

#include <math.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSORS 132           // of a large GPU: what a grid should fill
#define SHARED_BYTES (48 * 1024) // of a block, without asking for more at the launch

// ---- recognising

static const char *name_of(MlirOperation op) {
  return mlirIdentifierStr(mlirOperationGetName(op)).data;
}

static bool is_argument(const struct anas_cpu_nest *nest, MlirValue value, int operand) {
  return mlirValueEqual(value, mlirBlockGetArgument(nest->body, nest->operand[operand].argument));
}

// yield = out + in0 * in1 and nothing else
static bool is_multiply_add(const struct anas_gpu_emit *emit) {
  const struct anas_cpu_nest *nest = &emit->nest;
  if (nest->num_in != 2 || nest->num_operands != 3) return false;
  for (int o = 0; o < 3; o++)
    if (!mlirTypeIsAF32(nest->operand[o].element)) return false;
  const struct anas_combiner *combiner = emit->combiner[2];
  if (!combiner || strcmp(combiner->op, "arith.addf") != 0) return false;
  MlirValue sum = mlirOperationGetOperand(mlirBlockGetTerminator(nest->body), 0);
  MlirOperation add = mlirOpResultGetOwner(sum);
  MlirValue lhs = mlirOperationGetOperand(add, 0), rhs = mlirOperationGetOperand(add, 1);
  MlirValue product = is_argument(nest, lhs, 2) ? rhs : lhs;
  if (!mlirValueIsAOpResult(product)) return false;
  MlirOperation multiply = mlirOpResultGetOwner(product);
  if (strcmp(name_of(multiply), "arith.mulf") != 0) return false;
  MlirValue x = mlirOperationGetOperand(multiply, 0), y = mlirOperationGetOperand(multiply, 1);
  return (is_argument(nest, x, 0) && is_argument(nest, y, 1)) || (is_argument(nest, x, 1) && is_argument(nest, y, 0));
}

static void add_loop(struct anas_gpu_axis *axis, int loop, int64_t extent) {
  axis->loop[axis->num++] = loop;
  axis->extent *= extent;
}

static bool classify(struct anas_gpu_contraction *c) {
  const struct anas_cpu_nest *nest = &c->emit->nest;
  c->b.extent = c->m.extent = c->n.extent = c->k.extent = 1;
  c->a_side.operand = 0;
  c->b_side.operand = 1;
  c->output = 2;
  // B is the operand that moves with the neighbours in C.
  for (int l = 0; l < nest->num_loops; l++)
    if (nest->operand[2].stride[l] == 1 && nest->operand[1].stride[l] == 0 && nest->operand[0].stride[l] != 0) {
      c->a_side.operand = 1;
      c->b_side.operand = 0;
    }
  for (int l = 0; l < nest->num_loops; l++) {
    bool in_a = nest->operand[c->a_side.operand].stride[l] != 0, in_b = nest->operand[c->b_side.operand].stride[l] != 0;
    if (nest->indexed[l]) return false;
    if (nest->operand[2].stride[l] == 0) {
      add_loop(&c->k, l, nest->extent[l]);
      continue;
    }
    if (!nest->split[l]) return false;
    add_loop(in_a && in_b ? &c->b : in_b ? &c->n : &c->m, l, nest->extent[l]);
  }
  return c->m.extent >= 8 && c->n.extent >= 8 && c->k.extent >= 8 && c->b.extent <= 65535;
}

// ---- planning

static int64_t magnitude(int64_t x) {
  return x < 0 ? -x : x;
}

// Slowest first by the stride in an operand; `last` (a loop or -1) goes to the end.
static void order(const struct anas_cpu_nest *nest, struct anas_gpu_axis *axis, int operand, int last) {
  for (int i = 1; i < axis->num; i++)
    for (int j = i; j > 0; j--) {
      int a = axis->loop[j - 1], b = axis->loop[j];
      int64_t x = a == last ? -1 : magnitude(nest->operand[operand].stride[a]),
              y = b == last ? -1 : magnitude(nest->operand[operand].stride[b]);
      if (x >= y) break;
      axis->loop[j - 1] = b;
      axis->loop[j] = a;
    }
}

static int aligned_loop(const struct anas_cpu_nest *nest, const struct anas_gpu_axis *axis, int operand) {
  for (int i = 0; i < axis->num; i++)
    if (anas_gpu_aligned(nest, operand, axis->loop[i])) return axis->loop[i];
  return -1;
}

static int64_t fastest_stride(const struct anas_cpu_nest *nest, const struct anas_gpu_axis *axis, int operand) {
  int64_t stride = axis->num ? magnitude(nest->operand[operand].stride[axis->loop[axis->num - 1]]) : 0;
  return stride ? stride : INT64_MAX;
}

static void choose_access(struct anas_gpu_contraction *c, struct anas_gpu_side *side, int x_last, int k_last) {
  const struct anas_cpu_nest *nest = &c->emit->nest;
  side->access = ANAS_GPU_SINGLE;
  if (x_last >= 0 && anas_gpu_aligned(nest, side->operand, x_last))
    side->access = ANAS_GPU_ALONG_X;
  else if (k_last >= 0 && anas_gpu_aligned(nest, side->operand, k_last))
    side->access = ANAS_GPU_ALONG_K;
  side->x_fastest = fastest_stride(nest, side->x, side->operand) <= fastest_stride(nest, &c->k, side->operand);
}

static void choose_order(struct anas_gpu_contraction *c) {
  const struct anas_cpu_nest *nest = &c->emit->nest;
  int a = c->a_side.operand, b = c->b_side.operand;
  int m_last = aligned_loop(nest, &c->m, a), n_last = aligned_loop(nest, &c->n, b);
  int k_last = m_last < 0 ? aligned_loop(nest, &c->k, a) : -1;
  if (k_last < 0 && n_last < 0) k_last = aligned_loop(nest, &c->k, b);
  order(nest, &c->b, c->output, -1);
  order(nest, &c->m, c->output, m_last);
  order(nest, &c->n, c->output, n_last);
  order(nest, &c->k, a, k_last);
  choose_access(c, &c->a_side, m_last, k_last);
  choose_access(c, &c->b_side, n_last, k_last);
  int fastest = c->n.num ? c->n.loop[c->n.num - 1] : -1;
  c->vector_store = fastest >= 0 && anas_gpu_aligned(nest, c->output, fastest);
}

static int64_t blocks_of(int64_t extent, int64_t tile) {
  return (extent + tile - 1) / tile;
}

// Layout of a tile in shared memory, with rows padded so that threads hit different banks. Fused multiply-adds read
// neighbours in x. Tensor cores take rows in either direction (ldmatrix), but for tf32 only those along k; rows are
// what is fetched as a vector. Returns the words of the tile.
static int64_t place_tile(const struct anas_gpu_contraction *c, struct anas_gpu_side *side) {
  bool bf16 = c->packed == 2;
  side->rows_along_k =
      c->tensor_cores && (side->access == ANAS_GPU_ALONG_K || (bf16 && side->access == ANAS_GPU_SINGLE));
  if (side->rows_along_k) {
    side->row = c->step / c->packed + 4;
    return side->tile * side->row;
  }
  side->row = side->tile / c->packed + (c->tensor_cores && !bf16 ? 8 : 4);
  return c->step * side->row;
}

static void choose_tile(struct anas_gpu_contraction *c) {
  static const struct {
    int64_t m, n, rows, columns, warp_rows, warp_columns;
    double rate; // of the arithmetic, relative to the largest tile
  } tiles[] = {{128, 128, 8, 8, 64, 32, 1.0},
               {128, 64, 8, 4, 32, 32, 0.85},
               {64, 64, 4, 4, 32, 16, 0.6},
               {128, 32, 4, 4, 16, 32, 0.5}};
  double best = 0;
  for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
    int64_t grid_m = blocks_of(c->m.extent, tiles[i].m), grid_n = blocks_of(c->n.extent, tiles[i].n);
    double used =
        (double)c->m.extent / (double)(grid_m * tiles[i].m) * (double)c->n.extent / (double)(grid_n * tiles[i].n);
    if (used * tiles[i].rate <= best) continue;
    best = used * tiles[i].rate;
    c->a_side.tile = tiles[i].m;
    c->b_side.tile = tiles[i].n;
    c->rows = c->tensor_cores ? tiles[i].warp_rows : tiles[i].rows;
    c->columns = c->tensor_cores ? tiles[i].warp_columns : tiles[i].columns;
  }
  int64_t size_a = place_tile(c, &c->a_side), size_b = place_tile(c, &c->b_side);
  c->a_side.first = 0;
  c->b_side.first = size_a;
  c->buffer = size_a + size_b;
  c->stages = 2;
  while (c->async && c->stages < 4 && (c->stages + 1) * c->buffer * 4 <= SHARED_BYTES)
    c->stages++;
}

static bool choose_splits(struct anas_gpu_contraction *c) {
  int64_t blocks = blocks_of(c->m.extent, c->a_side.tile) * blocks_of(c->n.extent, c->b_side.tile) * c->b.extent;
  int64_t steps = blocks_of(c->k.extent, c->step), most = c->k.extent / 128; // a split has at least as many elements
  // In rounds of whole products: the rounds of all blocks, a second launch, and the traffic of the partial sums.
  double slots = 2 * PROCESSORS, k = (double)c->k.extent, best = ceil((double)blocks / slots);
  c->splits = 1;
  for (int64_t splits = 2; splits <= most && splits * blocks <= 4 * PROCESSORS; splits++) {
    double number = (double)splits;
    double cost = ceil((double)blocks * number / slots) / number + 45 / k + number * (200 / k) * (double)blocks / slots;
    if (cost >= best) continue;
    best = cost;
    c->splits = splits;
  }
  int64_t steps_of_split = blocks_of(steps, c->splits);
  c->splits = blocks_of(steps, steps_of_split);
  c->k_split = steps_of_split * c->step;
  c->n_padded = (c->n.extent + 3) / 4 * 4;
  double partial = (double)c->splits * (double)c->b.extent * (double)c->m.extent * (double)c->n_padded;
  return partial < INT32_MAX && c->splits * c->b.extent <= 65535 && blocks_of(c->n.extent, c->b_side.tile) <= 65535;
}

// ---- axes

void anas_gpu_axis_digits(struct anas_gpu_contraction *c, const struct anas_gpu_axis *axis, MlirValue number,
                          MlirValue *digit) {
  if (!mlirValueIsNull(number)) anas_gpu_digits(&c->f, number, &c->emit->nest, axis->loop, axis->num, digit);
}

MlirValue anas_gpu_axis_address(struct anas_gpu_contraction *c, const struct anas_gpu_axis *axis, int operand,
                                MlirValue number) {
  MlirValue digit[ANAS_CPU_LOOPS] = {{0}}, sum = {0};
  anas_gpu_axis_digits(c, axis, number, digit);
  for (int i = 0; i < axis->num; i++)
    sum = anas_gpu_add(
        &c->f, sum, anas_gpu_scale(&c->f, digit[axis->loop[i]], c->emit->nest.operand[operand].stride[axis->loop[i]]));
  return sum;
}

// ---- storing

// value plus what C held before: its fill, or its old content.
static MlirValue with_initial(struct anas_gpu_contraction *c, MlirValue value, MlirValue address, int lanes) {
  struct anas_gpu_function *f = &c->f;
  const struct anas_cpu_operand *output = &c->emit->nest.operand[c->output];
  MlirValue initial;
  if (!output->filled)
    initial = anas_gpu_load(f, f->operand[c->output], address, lanes);
  else if (mlirFloatAttrGetValueDouble(output->fill) == 0)
    return value;
  else
    initial = anas_gpu_fill_vector(f, output, lanes);
  return anas_code_binary(&f->code, "arith.addf", initial, value);
}

static void store_output(struct anas_gpu_contraction *c, MlirValue value, MlirValue address) {
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(value), 0);
  anas_gpu_store(&c->f, with_initial(c, value, address, lanes), c->f.operand[c->output], address);
}

static MlirValue both(struct anas_gpu_function *f, MlirValue a, MlirValue b) {
  return mlirValueIsNull(a) ? b : mlirValueIsNull(b) ? a : anas_code_binary(&f->code, "arith.andi", a, b);
}

// Stores `lanes` results at n, n + 1, ... of C, one by one, each if it exists.
static void store_singles(struct anas_gpu_contraction *c, MlirValue value, MlirValue n, MlirValue row_address) {
  struct anas_gpu_function *f = &c->f;
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(value), 0);
  for (int i = 0; i < lanes; i++) {
    MlirValue column = anas_gpu_offset(f, n, i);
    struct anas_code_scope guard = anas_code_if(&f->code, anas_gpu_less(f, column, c->n.extent), false);
    MlirValue address = anas_gpu_add(f, row_address, anas_gpu_axis_address(c, &c->n, c->output, column));
    store_output(c, anas_gpu_splat(f, anas_gpu_extract(f, value, i), 1), address);
    anas_code_end(&f->code, &guard, 0, NULL);
  }
}

// One fragment to the workspace (split k) or to C.
static void store_fragment(struct anas_gpu_contraction *c, const struct anas_gpu_fragment *fragment, MlirValue m0,
                           MlirValue n0, MlirValue b, MlirValue slice) {
  struct anas_gpu_function *f = &c->f;
  MlirValue m = anas_gpu_add(f, m0, fragment->row), n = anas_gpu_add(f, n0, fragment->column), inside = {0};
  if (c->m.extent % c->a_side.tile) inside = anas_gpu_less(f, m, c->m.extent);
  if (c->n.extent % c->b_side.tile) inside = both(f, inside, anas_gpu_less(f, n, c->n.extent));
  struct anas_code_scope guard = {.iv = {0}};
  if (!mlirValueIsNull(inside)) guard = anas_code_if(&f->code, inside, false);
  if (c->splits > 1) {
    // Rows of the workspace are padded to whole vectors: what lies behind n is never read.
    MlirValue row = anas_gpu_add(f, anas_gpu_scale(f, slice, c->m.extent), m);
    anas_gpu_store(f, fragment->value, f->workspace, anas_gpu_add(f, anas_gpu_scale(f, row, c->n_padded), n));
  } else {
    MlirValue row =
        anas_gpu_add(f, anas_gpu_axis_address(c, &c->b, c->output, b), anas_gpu_axis_address(c, &c->m, c->output, m));
    row = anas_gpu_offset(f, row, c->emit->nest.operand[c->output].offset);
    if (c->vector_store)
      store_output(c, fragment->value, anas_gpu_add(f, row, anas_gpu_axis_address(c, &c->n, c->output, n)));
    else
      store_singles(c, fragment->value, n, row);
  }
  if (!mlirValueIsNull(inside)) anas_code_end(&f->code, &guard, 0, NULL);
}

// ---- the kernel

struct k_range { // of a block
  MlirValue begin, end;
};

static void step(struct anas_gpu_contraction *c, MlirValue buffer, MlirValue *accumulator) {
  (c->tensor_cores ? anas_gpu_mma_step : anas_gpu_simt_step)(c, buffer, accumulator);
}

// Two buffers: the next tile is in registers while the one in shared memory is multiplied. accumulator: in and out.
static void emit_through_registers(struct anas_gpu_contraction *c, struct anas_gpu_fetch *fetch, struct k_range range,
                                   int num, MlirValue *accumulator) {
  struct anas_gpu_function *f = &c->f;
  for (int i = 0; i < 2; i++)
    anas_gpu_fetch_load(c, &fetch[i], range.begin);
  for (int i = 0; i < 2; i++)
    anas_gpu_fetch_store(c, &fetch[i], (MlirValue){0});
  anas_gpu_barrier(f);
  accumulator[num] = anas_gpu_i32(f, 0); // start of the buffer that holds the tile
  struct anas_code_scope loop = anas_gpu_for(f, range.begin, range.end, c->step, num + 1, accumulator);
  for (int i = 0; i <= num; i++)
    accumulator[i] = anas_code_iter(&loop, i);
  MlirValue next = anas_gpu_offset(f, loop.iv, c->step),
            other = anas_gpu_sub(f, anas_gpu_i32(f, c->buffer), accumulator[num]);
  for (int i = 0; i < 2; i++)
    anas_gpu_fetch_load(c, &fetch[i], next);
  step(c, accumulator[num], accumulator);
  for (int i = 0; i < 2; i++)
    anas_gpu_fetch_store(c, &fetch[i], other);
  anas_gpu_barrier(f);
  accumulator[num] = other;
  anas_code_end(&f->code, &loop, num + 1, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_result(&loop, i);
}

static void copy_if_inside(struct anas_gpu_contraction *c, const struct anas_gpu_fetch *fetch, MlirValue k0,
                           MlirValue end, MlirValue buffer) {
  struct anas_gpu_function *f = &c->f;
  struct anas_code_scope guard = anas_code_if(&f->code, anas_gpu_less_value(f, k0, end), false);
  for (int i = 0; i < 2; i++)
    anas_gpu_fetch_copy(c, &fetch[i], k0, buffer);
  anas_code_end(&f->code, &guard, 0, NULL);
  anas_gpu_fetch_commit(c); // also of nothing: so the number of groups tells the tile
}

// A ring of buffers: stages - 1 tiles are on their way or waiting. One barrier a tile: behind it the tile is visible to
// all threads, and all are done with the one before, whose buffer is the next to be filled.
static void emit_ring(struct anas_gpu_contraction *c, struct anas_gpu_fetch *fetch, struct k_range range, int num,
                      MlirValue *accumulator) {
  struct anas_gpu_function *f = &c->f;
  for (int64_t s = 0; s < c->stages - 1; s++)
    copy_if_inside(c, fetch, anas_gpu_offset(f, range.begin, s * c->step), range.end, anas_gpu_i32(f, s * c->buffer));
  accumulator[num] = anas_gpu_i32(f, 0);                               // start of the buffer to read
  accumulator[num + 1] = anas_gpu_i32(f, (c->stages - 1) * c->buffer); // and of that to fill
  struct anas_code_scope loop = anas_gpu_for(f, range.begin, range.end, c->step, num + 2, accumulator);
  for (int i = 0; i < num + 2; i++)
    accumulator[i] = anas_code_iter(&loop, i);
  MlirValue current = accumulator[num], last = anas_gpu_i32(f, (c->stages - 1) * c->buffer);
  anas_gpu_fetch_wait(c, c->stages - 2);
  anas_gpu_barrier(f);
  copy_if_inside(c, fetch, anas_gpu_offset(f, loop.iv, (c->stages - 1) * c->step), range.end, accumulator[num + 1]);
  step(c, current, accumulator);
  MlirValue wraps = anas_code_compare(&f->code, false, ANAS_CMPI_EQ, current, last);
  accumulator[num] = anas_code_select(&f->code, wraps, anas_gpu_i32(f, 0), anas_gpu_offset(f, current, c->buffer));
  accumulator[num + 1] = current;
  anas_code_end(&f->code, &loop, num + 2, accumulator);
  for (int i = 0; i < num; i++)
    accumulator[i] = anas_code_result(&loop, i);
}

static void emit_tiles(struct anas_gpu_contraction *c, MlirValue m0, MlirValue n0, MlirValue b, MlirValue split,
                       MlirValue *accumulator) {
  struct anas_gpu_function *f = &c->f;
  int num = c->tensor_cores ? anas_gpu_mma_count(c) : anas_gpu_simt_count(c);
  struct anas_gpu_fetch fetch[2];
  anas_gpu_fetch_init(c, &c->a_side, m0, b, &fetch[0]);
  anas_gpu_fetch_init(c, &c->b_side, n0, b, &fetch[1]);
  struct k_range range = {anas_gpu_scale(f, split, c->k_split), anas_gpu_i32(f, c->k.extent)};
  if (c->splits > 1) range.end = anas_gpu_min(f, anas_gpu_offset(f, range.begin, c->k_split), c->k.extent);
  if (mlirValueIsNull(range.begin)) range.begin = anas_gpu_i32(f, 0);
  MlirValue zero = c->tensor_cores ? anas_gpu_mma_zero(c) : anas_gpu_simt_zero(c);
  for (int i = 0; i < num; i++)
    accumulator[i] = zero;
  (c->async ? emit_ring : emit_through_registers)(c, fetch, range, num, accumulator);
}

// Two blocks hide each other's waits. Before sm_90 the assembler needs a few more than half of the registers for the
// largest tile of fused multiply-adds, and would spill them.
static int resident_blocks(const struct anas_gpu_contraction *c) {
  bool before_sm_90 = strncmp(c->emit->target->chip, "sm_8", 4) == 0;
  return before_sm_90 && !c->tensor_cores && c->rows * c->columns >= 64 ? 1 : 2;
}

static anas_status emit_main(struct anas_gpu_contraction *c) {
  struct anas_gpu_shape shape = {
      .suffix = "_tile",
      .grid = {blocks_of(c->m.extent, c->a_side.tile), blocks_of(c->n.extent, c->b_side.tile), c->splits * c->b.extent},
      .shared = c->stages * c->buffer,
      .workspace = c->splits > 1 ? c->splits * c->b.extent * c->m.extent * c->n_padded : 0,
      .min_blocks = resident_blocks(c),
  };
  ANAS_RETURN_IF_ERROR(anas_gpu_begin(c->emit, &shape, &c->f));
  struct anas_gpu_function *f = &c->f;
  MlirValue m0 = anas_gpu_scale(f, f->block[0], c->a_side.tile), n0 = anas_gpu_scale(f, f->block[1], c->b_side.tile);
  MlirValue split = {0}, b = {0};
  if (c->splits > 1) split = anas_gpu_rem(f, f->block[2], c->splits);
  if (c->b.extent > 1) b = anas_gpu_div(f, f->block[2], c->splits);
  MlirValue accumulator[ANAS_GPU_MAX_ACCUMULATORS + 2];
  emit_tiles(c, m0, n0, b, split, accumulator);
  struct anas_gpu_fragment fragments[ANAS_GPU_MAX_ACCUMULATORS];
  int num = (c->tensor_cores ? anas_gpu_mma_fragments : anas_gpu_simt_fragments)(c, accumulator, fragments);
  MlirValue slice = anas_gpu_add(f, anas_gpu_scale(f, split, c->b.extent), b);
  for (int i = 0; i < num; i++)
    store_fragment(c, &fragments[i], m0, n0, b, slice);
  anas_gpu_end(f);
  return ANAS_OK;
}

// Adds the partial sums: one thread four neighbours in n.
static anas_status emit_sum(struct anas_gpu_contraction *c) {
  int64_t vectors = c->n_padded / 4, threads = c->b.extent * c->m.extent * vectors,
          slice = c->b.extent * c->m.extent * c->n_padded;
  struct anas_gpu_shape shape = {
      .suffix = "_sum", .grid = {blocks_of(threads, ANAS_GPU_BLOCK), 1, 1}, .workspace = c->splits * slice};
  ANAS_RETURN_IF_ERROR(anas_gpu_begin(c->emit, &shape, &c->f));
  struct anas_gpu_function *f = &c->f;
  MlirValue number = anas_gpu_add(f, anas_gpu_scale(f, f->block[0], ANAS_GPU_BLOCK), f->thread);
  struct anas_code_scope guard = anas_code_if(&f->code, anas_gpu_less(f, number, threads), false);
  MlirValue n = anas_gpu_scale(f, anas_gpu_rem(f, number, vectors), 4), row = anas_gpu_div(f, number, vectors);
  MlirValue m = anas_gpu_rem(f, row, c->m.extent), b = {0};
  if (c->b.extent > 1) b = anas_gpu_div(f, row, c->m.extent);
  MlirValue at = anas_gpu_scale(f, number, 4), zero = anas_gpu_zero(f, 4, f->code.f32);
  struct anas_code_scope loop = anas_gpu_for(f, anas_gpu_i32(f, 0), anas_gpu_i32(f, c->splits), 1, 1, &zero);
  MlirValue part = anas_gpu_load(f, f->workspace, anas_gpu_add(f, at, anas_gpu_scale(f, loop.iv, slice)), 4);
  MlirValue sum = anas_code_binary(&f->code, "arith.addf", anas_code_iter(&loop, 0), part);
  anas_code_end(&f->code, &loop, 1, &sum);
  sum = anas_code_result(&loop, 0);
  MlirValue address =
      anas_gpu_add(f, anas_gpu_axis_address(c, &c->b, c->output, b), anas_gpu_axis_address(c, &c->m, c->output, m));
  address = anas_gpu_offset(f, address, c->emit->nest.operand[c->output].offset);
  if (c->vector_store)
    store_output(c, sum, anas_gpu_add(f, address, anas_gpu_axis_address(c, &c->n, c->output, n)));
  else
    store_singles(c, sum, n, address);
  anas_code_end(&f->code, &guard, 0, NULL);
  anas_gpu_end(f);
  return ANAS_OK;
}

anas_status anas_gpu_contraction(struct anas_gpu_emit *emit, bool *out_done) {
  struct anas_gpu_contraction *c = calloc(1, sizeof *c);
  if (!c) return anas_fail(ANAS_NO_MEMORY, "no memory for the plan of a contraction");
  c->emit = emit;
  c->tensor_cores = emit->target->precision != ANAS_GPU_F32;
  c->packed = emit->target->precision == ANAS_GPU_BF16 ? 2 : 1;
  c->async = emit->target->precision == ANAS_GPU_TF32;
  c->step = c->tensor_cores ? 16 * c->packed : 8;
  c->a_side.x = &c->m;
  c->b_side.x = &c->n;
  anas_status status = ANAS_OK;
  *out_done = is_multiply_add(emit) && classify(c);
  if (*out_done) {
    choose_order(c);
    choose_tile(c);
    *out_done = choose_splits(c);
  }
  if (*out_done) {
    static const bool in_registers[ANAS_CPU_OPERANDS];
    static const char *const forms[] = {"contraction", "contraction, tensor cores", "contraction, tensor cores bf16"};
    emit->out->form = forms[emit->target->precision];
    status = anas_gpu_fill(emit, in_registers);
    if (status == ANAS_OK) status = emit_main(c);
    if (status == ANAS_OK && c->splits > 1) status = emit_sum(c);
  }
  free(c);
  return status;
}
