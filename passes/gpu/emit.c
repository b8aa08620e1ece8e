// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions of a gpu.module: the shell, index arithmetic in 32 bits, loads and stores.
#include "passes/gpu/emit.h"

#include "dialect/context.h"
#include "runtime/support/memory.h"

#include <inttypes.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- functions

static void add_parameter(struct anas_strbuf *text, int i, int64_t elements, MlirType element) {
  anas_strbuf_addf(text, "%s%%p%d: memref<%" PRId64 "x", i ? ", " : "", i, elements);
  mlirTypePrint(element, anas_print_to_strbuf, text);
  anas_strbuf_adds(text, "> {llvm.noalias}");
}

static void shell_text(const struct anas_gpu_emit *emit, const struct anas_gpu_shape *shape, const char *symbol,
                       MlirType f32, struct anas_strbuf *text) {
  const struct anas_cpu_nest *nest = &emit->nest;
  anas_strbuf_adds(text, "gpu.module @shell { ");
  if (shape->shared)
    anas_strbuf_addf(text, "memref.global \"private\" @%s_shared : memref<%" PRId64 "xf32, 3> {alignment = 16 : i64} ",
                     symbol, shape->shared);
  anas_strbuf_addf(text, "gpu.func @%s(", symbol);
  for (int o = 0; o < nest->num_operands; o++)
    add_parameter(text, o, nest->operand[o].elements, nest->operand[o].element);
  if (shape->workspace) add_parameter(text, nest->num_operands, shape->workspace, f32);
  anas_strbuf_adds(text, ")");
  anas_strbuf_addf(text, " kernel attributes {known_block_size = array<i32: %d, 1, 1>", ANAS_GPU_BLOCK);
  if (shape->min_blocks) anas_strbuf_addf(text, ", nvvm.minctasm = %d : i32", shape->min_blocks);
  anas_strbuf_adds(text, "} { ");
  if (shape->shared)
    anas_strbuf_addf(text, "%%0 = memref.get_global @%s_shared : memref<%" PRId64 "xf32, 3> ", symbol, shape->shared);
  anas_strbuf_adds(text, "gpu.return } }");
}

static MlirValue read_id(struct anas_code *code, const char *name, int dimension) {
  static const char *const text[] = {"#gpu<dim x>", "#gpu<dim y>", "#gpu<dim z>"};
  MlirNamedAttribute attribute =
      anas_code_attribute(code, "dimension", mlirAttributeParseGet(code->context, anas_ref_text(text[dimension])));
  MlirValue id = anas_code_op(code, name, 0, NULL, code->index, 1, &attribute);
  return anas_code_unary(code, "arith.index_cast", id, code->i32);
}

static MlirBlock gpu_module_body(MlirModule module) {
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  return mlirRegionGetFirstBlock(mlirOperationGetRegion(op, 0));
}

anas_status anas_gpu_begin(struct anas_gpu_emit *emit, const struct anas_gpu_shape *shape,
                           struct anas_gpu_function *out) {
  struct anas_gpu_code *to = emit->out;
  const struct anas_cpu_nest *nest = &emit->nest;
  if (to->num_launches == ANAS_GPU_MAX_LAUNCHES || nest->num_operands + 1 > ANAS_GPU_MAX_ARGUMENTS)
    return anas_fail(ANAS_UNSUPPORTED, "kernel function: too many launches or arguments for a GPU kernel");
  struct anas_gpu_launch *launch = &to->launch[to->num_launches++];
  *launch = (struct anas_gpu_launch){.block = ANAS_GPU_BLOCK};
  snprintf(launch->symbol, sizeof launch->symbol, "%s%s", to->symbol, shape->suffix);
  memcpy(launch->grid, shape->grid, sizeof launch->grid);
  for (int o = 0; o < nest->num_operands; o++)
    launch->argument[launch->num_arguments++] = (int)mlirBlockArgumentGetArgNumber(nest->operand[o].memref);
  if (shape->workspace) launch->argument[launch->num_arguments++] = ANAS_GPU_WORKSPACE;
  if (shape->workspace * 4 > to->workspace) to->workspace = shape->workspace * 4;

  MlirContext context = mlirModuleGetContext(to->module);
  struct anas_strbuf text = {0};
  shell_text(emit, shape, launch->symbol, mlirF32TypeGet(context), &text);
  MlirModule shell;
  anas_status status = anas_parse(context, text.data, text.size, "GPU kernel shell", &shell);
  anas_strbuf_deinit(&text);
  if (status != ANAS_OK) return status;
  MlirOperation function = {0};
  for (MlirOperation op; !mlirOperationIsNull(op = mlirBlockGetFirstOperation(gpu_module_body(shell)));) {
    mlirOperationRemoveFromParent(op);
    mlirBlockAppendOwnedOperation(gpu_module_body(to->module), op);
    function = op;
  }
  mlirModuleDestroy(shell);

  MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  mlirOperationDestroy(mlirBlockGetTerminator(entry)); // anas_gpu_end puts it back
  // Emitters of passes/cpu read the vector width here: any but 4 means that there is a fused multiply-add.
  static const struct anas_cpu_target cpu = {.lanes = 8, .registers = 32};
  *out = (struct anas_gpu_function){.emit = emit, .launch = launch};
  anas_code_init(&out->code, entry, &cpu);
  int num = nest->num_operands;
  for (int o = 0; o < num; o++)
    out->operand[o] = mlirBlockGetArgument(entry, o);
  if (shape->workspace) out->workspace = mlirBlockGetArgument(entry, num);
  if (shape->shared) out->shared = mlirOperationGetResult(mlirBlockGetFirstOperation(entry), 0);
  out->thread = read_id(&out->code, "gpu.thread_id", 0);
  for (int d = 0; d < 3; d++)
    out->block[d] = shape->grid[d] > 1 ? read_id(&out->code, "gpu.block_id", d) : (MlirValue){0};
  return ANAS_OK;
}

void anas_gpu_end(struct anas_gpu_function *f) {
  f->code.block = f->code.entry;
  anas_code_op(&f->code, "gpu.return", 0, NULL, (MlirType){0}, 0, NULL);
}

static bool fill_bits(const struct anas_cpu_operand *output, uint32_t *out) {
  if (mlirAttributeIsAFloat(output->fill) && mlirTypeIsAF32(output->element)) {
    float value = (float)mlirFloatAttrGetValueDouble(output->fill);
    memcpy(out, &value, sizeof value);
    return true;
  }
  if (!mlirAttributeIsAInteger(output->fill) || !mlirTypeIsAInteger(output->element) ||
      mlirIntegerTypeGetWidth(output->element) != 32)
    return false;
  *out = (uint32_t)mlirIntegerAttrGetValueInt(output->fill);
  return true;
}

anas_status anas_gpu_fill(struct anas_gpu_emit *emit, const bool *in_memory) {
  const struct anas_cpu_nest *nest = &emit->nest;
  for (int o = nest->num_in; o < nest->num_operands; o++) {
    const struct anas_cpu_operand *output = &nest->operand[o];
    if (!output->filled || (output->covered && !in_memory[o])) continue;
    struct anas_gpu_launch fill = {.fill = true,
                                   .fill_argument = (int)mlirBlockArgumentGetArgNumber(output->memref),
                                   .fill_count = output->elements};
    if (emit->out->num_launches == ANAS_GPU_MAX_LAUNCHES || !fill_bits(output, &fill.fill_value))
      return anas_fail(ANAS_UNSUPPORTED, "kernel function: only a few outputs of 32-bit elements can be filled");
    emit->out->launch[emit->out->num_launches++] = fill;
  }
  return ANAS_OK;
}

// ---- arithmetic

MlirValue anas_gpu_i32(struct anas_gpu_function *f, int64_t value) {
  return anas_code_constant(&f->code, f->code.i32, mlirIntegerAttrGet(f->code.i32, value));
}

MlirValue anas_gpu_add(struct anas_gpu_function *f, MlirValue a, MlirValue b) {
  if (mlirValueIsNull(a)) return b;
  return mlirValueIsNull(b) ? a : anas_code_binary(&f->code, "arith.addi", a, b);
}

static MlirValue not_null(struct anas_gpu_function *f, MlirValue a) {
  return mlirValueIsNull(a) ? anas_gpu_i32(f, 0) : a;
}

MlirValue anas_gpu_sub(struct anas_gpu_function *f, MlirValue a, MlirValue b) {
  return mlirValueIsNull(b) ? a : anas_code_binary(&f->code, "arith.subi", not_null(f, a), b);
}

MlirValue anas_gpu_scale(struct anas_gpu_function *f, MlirValue a, int64_t factor) {
  if (mlirValueIsNull(a) || factor == 0) return (MlirValue){0};
  return factor == 1 ? a : anas_code_binary(&f->code, "arith.muli", a, anas_gpu_i32(f, factor));
}

MlirValue anas_gpu_offset(struct anas_gpu_function *f, MlirValue a, int64_t offset) {
  return offset == 0 ? a : anas_gpu_add(f, a, anas_gpu_i32(f, offset));
}

MlirValue anas_gpu_div(struct anas_gpu_function *f, MlirValue a, int64_t divisor) {
  if (mlirValueIsNull(a) || divisor == 1) return a;
  return anas_code_binary(&f->code, "arith.divui", a, anas_gpu_i32(f, divisor));
}

MlirValue anas_gpu_rem(struct anas_gpu_function *f, MlirValue a, int64_t divisor) {
  if (mlirValueIsNull(a) || divisor == 1) return (MlirValue){0};
  return anas_code_binary(&f->code, "arith.remui", a, anas_gpu_i32(f, divisor));
}

MlirValue anas_gpu_min(struct anas_gpu_function *f, MlirValue a, int64_t limit) {
  return mlirValueIsNull(a) ? a : anas_code_binary(&f->code, "arith.minsi", a, anas_gpu_i32(f, limit));
}

MlirValue anas_gpu_less_value(struct anas_gpu_function *f, MlirValue a, MlirValue b) {
  return anas_code_compare(&f->code, false, ANAS_CMPI_SLT, not_null(f, a), not_null(f, b));
}

MlirValue anas_gpu_less(struct anas_gpu_function *f, MlirValue a, int64_t limit) {
  return anas_gpu_less_value(f, a, anas_gpu_i32(f, limit));
}

MlirValue anas_gpu_index(struct anas_gpu_function *f, MlirValue a) {
  return anas_code_unary(&f->code, "arith.index_castui", not_null(f, a), f->code.index);
}

void anas_gpu_digits(struct anas_gpu_function *f, MlirValue linear, const struct anas_cpu_nest *nest, const int *loops,
                     int num, MlirValue *digit) {
  for (int i = num - 1; i >= 0; i--) {
    int64_t extent = nest->extent[loops[i]];
    digit[loops[i]] = i ? anas_gpu_rem(f, linear, extent) : linear;
    if (i) linear = anas_gpu_div(f, linear, extent);
  }
}

// Index arithmetic of a border is that of passes/cpu.
static MlirValue border_address(struct anas_gpu_function *f, const struct anas_cpu_border *border,
                                const MlirValue *digit) {
  const struct anas_cpu_nest *nest = &f->emit->nest;
  MlirValue iv[ANAS_CPU_LOOPS] = {{0}};
  for (int l = 0; l < nest->num_loops; l++)
    if (border->loop[l]) iv[l] = anas_gpu_index(f, digit[l]);
  MlirValue address = anas_cpu_border_address(&f->code, nest, border, iv);
  return mlirValueIsNull(address) ? address : anas_code_unary(&f->code, "arith.index_cast", address, f->code.i32);
}

MlirValue anas_gpu_address(struct anas_gpu_function *f, const struct anas_cpu_operand *operand, const MlirValue *digit,
                           int num_loops) {
  MlirValue sum = {0};
  for (int b = 0; b < operand->num_borders; b++)
    sum = anas_gpu_add(f, sum, border_address(f, &operand->border[b], digit));
  for (int l = 0; l < num_loops; l++)
    sum = anas_gpu_add(f, sum, anas_gpu_scale(f, digit[l], operand->stride[l]));
  return anas_gpu_offset(f, sum, operand->offset);
}

struct anas_code_scope anas_gpu_for(struct anas_gpu_function *f, MlirValue lower, MlirValue upper, int64_t step,
                                    int num, const MlirValue *inits) {
  struct anas_code *code = &f->code;
  struct anas_code_scope scope = {.parent = code->block};
  MlirValue bounds[] = {not_null(f, lower), not_null(f, upper), anas_gpu_i32(f, step)};
  MlirOperationState state = mlirOperationStateGet(anas_ref_text("scf.for"), code->location);
  mlirOperationStateAddOperands(&state, 3, bounds);
  mlirOperationStateAddOperands(&state, num, inits);
  MlirType *types = anas_calloc((size_t)num + 1, sizeof *types);
  MlirLocation *locations = anas_calloc((size_t)num + 1, sizeof *locations);
  types[0] = code->i32;
  locations[0] = code->location;
  for (int i = 0; i < num; i++) {
    types[i + 1] = mlirValueGetType(inits[i]);
    locations[i + 1] = code->location;
  }
  mlirOperationStateAddResults(&state, num, types + 1);
  scope.body = mlirBlockCreate(num + 1, types, locations);
  free(types);
  free(locations);
  MlirRegion region = mlirRegionCreate();
  mlirRegionAppendOwnedBlock(region, scope.body);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  scope.op = mlirOperationCreate(&state);
  mlirBlockAppendOwnedOperation(code->block, scope.op);
  scope.iv = mlirBlockGetArgument(scope.body, 0);
  code->block = scope.body;
  return scope;
}

void anas_gpu_barrier(struct anas_gpu_function *f) {
  anas_code_op(&f->code, "gpu.barrier", 0, NULL, (MlirType){0}, 0, NULL);
}

// ---- memory

MlirValue anas_gpu_load(struct anas_gpu_function *f, MlirValue memory, MlirValue address, int lanes) {
  MlirType element = mlirShapedTypeGetElementType(mlirValueGetType(memory));
  MlirValue operands[] = {memory, anas_gpu_index(f, address)};
  if (lanes == 1) {
    MlirValue scalar = anas_code_op(&f->code, "memref.load", 2, operands, element, 0, NULL);
    return anas_gpu_splat(f, scalar, 1);
  }
  MlirNamedAttribute alignment = anas_code_attribute(
      &f->code, "alignment", mlirIntegerAttrGet(mlirIntegerTypeGet(f->code.context, 64), 4 * lanes));
  return anas_code_op(&f->code, "vector.load", 2, operands, anas_code_vector(lanes, element), 1, &alignment);
}

void anas_gpu_store(struct anas_gpu_function *f, MlirValue vector, MlirValue memory, MlirValue address) {
  int lanes = (int)mlirShapedTypeGetDimSize(mlirValueGetType(vector), 0);
  MlirValue index = anas_gpu_index(f, address);
  if (lanes == 1) {
    MlirValue operands[] = {anas_gpu_extract(f, vector, 0), memory, index};
    anas_code_op(&f->code, "memref.store", 3, operands, (MlirType){0}, 0, NULL);
    return;
  }
  MlirNamedAttribute alignment = anas_code_attribute(
      &f->code, "alignment", mlirIntegerAttrGet(mlirIntegerTypeGet(f->code.context, 64), 4 * lanes));
  MlirValue operands[] = {vector, memory, index};
  anas_code_op(&f->code, "vector.store", 3, operands, (MlirType){0}, 1, &alignment);
}

MlirValue anas_gpu_shared_pointer(struct anas_gpu_function *f, MlirValue address) {
  struct anas_code *code = &f->code;
  MlirValue base = anas_code_unary(code, "memref.extract_aligned_pointer_as_index", f->shared, code->index);
  base = anas_code_unary(code, "arith.index_cast", base, code->i32); // these addresses have 32 bits
  MlirValue bytes = anas_gpu_add(f, base, anas_gpu_scale(f, address, 4));
  return anas_code_unary(code, "llvm.inttoptr", bytes, mlirTypeParseGet(code->context, anas_ref_text("!llvm.ptr<3>")));
}

MlirValue anas_gpu_zero(struct anas_gpu_function *f, int lanes, MlirType element) {
  MlirAttribute zero =
      mlirTypeIsAF32(element) ? mlirFloatAttrDoubleGet(f->code.context, element, 0.0) : mlirIntegerAttrGet(element, 0);
  return anas_code_splat(&f->code, anas_code_vector(lanes, element), zero);
}

MlirValue anas_gpu_fill_vector(struct anas_gpu_function *f, const struct anas_cpu_operand *output, int lanes) {
  return anas_code_splat(&f->code, anas_code_vector(lanes, output->element), output->fill);
}

MlirValue anas_gpu_extract(struct anas_gpu_function *f, MlirValue vector, int lane) {
  int64_t position = lane;
  MlirNamedAttribute attribute =
      anas_code_attribute(&f->code, "static_position", mlirDenseI64ArrayGet(f->code.context, 1, &position));
  return anas_code_op(&f->code, "vector.extract", 1, &vector, mlirShapedTypeGetElementType(mlirValueGetType(vector)), 1,
                      &attribute);
}

MlirValue anas_gpu_splat(struct anas_gpu_function *f, MlirValue scalar, int lanes) {
  return anas_code_broadcast(&f->code, scalar, lanes);
}

// ---- what emitters ask about a nest

bool anas_gpu_reads(const struct anas_cpu_nest *nest, int operand) {
  MlirValue argument = mlirBlockGetArgument(nest->body, nest->operand[operand].argument);
  return !mlirOpOperandIsNull(mlirValueGetFirstUse(argument));
}

bool anas_gpu_aligned(const struct anas_cpu_nest *nest, int operand, int loop) {
  const struct anas_cpu_operand *o = &nest->operand[operand];
  if (o->stride[loop] != 1 || nest->extent[loop] % 4 != 0 || o->offset % 4 != 0 || o->elements % 4 != 0) return false;
  for (int l = 0; l < nest->num_loops; l++)
    if (l != loop && o->stride[l] % 4 != 0) return false;
  return true;
}
