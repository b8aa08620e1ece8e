// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A module of the kernel stage to a device program: one PTX module per kernel function, and the entry functions, which
// only call, as lists of launches.
#include "dialect/context.h"
#include "passes/gpu/gpu.h"
#include "passes/lower/image.h"
#include "passes/lower/lower.h"
#include "runtime/support/file.h"
#include "runtime/support/memory.h"

#include <mlir-c/BuiltinAttributes.h>
#include <stdlib.h>
#include <string.h>

struct builder {
  struct anas_device_program program;
  struct anas_gpu_code *codes; // per kernel of the image; modules already destroyed
  int *first_function;         // per kernel
  size_t capacity[ANAS_NUM_ENTRIES];
};

static bool has_name(MlirOperation op, const char *name) {
  MlirStringRef actual = mlirIdentifierStr(mlirOperationGetName(op));
  return actual.length == strlen(name) && !memcmp(actual.data, name, actual.length);
}

static MlirAttribute get(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, anas_ref_text(name));
}

static int find_kernel(const struct anas_program_image *image, MlirStringRef name) {
  for (int k = 0; k < image->num_kernels; k++)
    if (strlen(image->kernels[k].symbol) == name.length && !memcmp(image->kernels[k].symbol, name.data, name.length))
      return k;
  return -1;
}

static anas_status compile_kernel(MlirOperation function, const struct anas_gpu_target *target,
                                  struct builder *builder) {
  struct anas_device_program *program = &builder->program;
  int k = find_kernel(&program->image, mlirStringAttrGetValue(get(function, "sym_name")));
  struct anas_gpu_code code;
  ANAS_RETURN_IF_ERROR(anas_gpu_codegen(function, target, &code));
  struct anas_device_module *module = &program->modules[program->num_modules];
  anas_status status = anas_gpu_to_nvvm(code.module);
  if (status == ANAS_OK) status = anas_gpu_emit_ptx(code.module, target, &module->ptx);
  mlirModuleDestroy(code.module);
  code.module = (MlirModule){0};
  if (status != ANAS_OK) return anas_fail_context(status, "%s (%s): ", code.symbol, program->image.kernels[k].kind);
  module->size = strlen(module->ptx);
  builder->codes[k] = code;
  builder->first_function[k] = program->num_functions;
  for (int i = 0; i < code.num_launches; i++) {
    if (code.launch[i].fill) continue;
    program->functions[program->num_functions++] =
        (struct anas_device_function){.symbol = anas_arena_strdup(&program->image.memory, code.launch[i].symbol),
                                      .kind = program->image.kernels[k].kind,
                                      .module = program->num_modules};
  }
  program->num_modules++;
  if ((size_t)code.workspace > program->workspace_bytes) program->workspace_bytes = (size_t)code.workspace;
  return ANAS_OK;
}

// An operand of a call: memref.view of an argument of the entry function at a constant.
static anas_status read_pointer(MlirValue value, struct anas_device_pointer *out) {
  MlirOperation view = mlirValueIsAOpResult(value) ? mlirOpResultGetOwner(value) : (MlirOperation){0};
  if (!mlirOperationIsNull(view) && has_name(view, "memref.view")) {
    MlirValue base = mlirOperationGetOperand(view, 0), shift = mlirOperationGetOperand(view, 1);
    if (mlirValueIsABlockArgument(base) && mlirValueIsAOpResult(shift) &&
        has_name(mlirOpResultGetOwner(shift), "arith.constant")) {
      MlirAttribute offset = get(mlirOpResultGetOwner(shift), "value");
      out->base = mlirBlockArgumentGetArgNumber(base) ? ANAS_BASE_PARAMS : ANAS_BASE_ARENA;
      out->offset = (uint64_t)mlirIntegerAttrGetValueInt(offset);
      return ANAS_OK;
    }
  }
  return anas_fail(ANAS_INVALID, "entry function: an operand of a call is not a view of an argument at a constant");
}

static anas_status add_launch(struct builder *builder, int entry, const struct anas_gpu_launch *launch, int function,
                              const struct anas_device_pointer *operands, int num_operands) {
  struct anas_device_launch to = {.function = -1, .block = (uint32_t)launch->block};
  const int *arguments = launch->argument;
  if (launch->fill) {
    to.value = launch->fill_value;
    to.count = (uint64_t)launch->fill_count;
    to.num_arguments = 1;
    arguments = &launch->fill_argument;
  } else {
    to.function = function;
    to.num_arguments = launch->num_arguments;
    for (int d = 0; d < 3; d++)
      to.grid[d] = (uint32_t)launch->grid[d];
  }
  for (int i = 0; i < to.num_arguments; i++) {
    if (arguments[i] >= num_operands)
      return anas_fail(ANAS_INVALID, "entry function: a call of %s has too few operands", launch->symbol);
    to.argument[i] = arguments[i] < 0 ? (struct anas_device_pointer){ANAS_BASE_WORKSPACE, 0} : operands[arguments[i]];
  }
  struct anas_device_program *program = &builder->program;
  program->launches[entry] =
      anas_grow(program->launches[entry], program->num_launches[entry], &builder->capacity[entry], sizeof to);
  program->launches[entry][program->num_launches[entry]++] = to;
  return ANAS_OK;
}

static anas_status read_call(MlirOperation call, int entry, struct builder *builder) {
  MlirStringRef callee = mlirFlatSymbolRefAttrGetValue(get(call, "callee"));
  int k = find_kernel(&builder->program.image, callee), num = (int)mlirOperationGetNumOperands(call);
  struct anas_device_pointer operands[ANAS_DEVICE_MAX_ARGUMENTS];
  if (k < 0 || num > ANAS_DEVICE_MAX_ARGUMENTS)
    return anas_fail(ANAS_INVALID, "entry function: call of '%.*s', which is no kernel function, or too many operands",
                     (int)callee.length, callee.data);
  for (int i = 0; i < num; i++)
    ANAS_RETURN_IF_ERROR(read_pointer(mlirOperationGetOperand(call, i), &operands[i]));
  const struct anas_gpu_code *code = &builder->codes[k];
  int function = builder->first_function[k];
  for (int i = 0; i < code->num_launches; i++) {
    ANAS_RETURN_IF_ERROR(add_launch(builder, entry, &code->launch[i], function, operands, num));
    function += !code->launch[i].fill;
  }
  return ANAS_OK;
}

static anas_status read_entry(MlirOperation function, struct builder *builder) {
  MlirStringRef name = mlirStringAttrGetValue(get(function, "sym_name"));
  int entry = mlirStringRefEqual(name, anas_ref_text("infer")) ? ANAS_ENTRY_INFER : ANAS_ENTRY_TRAIN_STEP;
  MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    if (has_name(op, "func.call")) ANAS_RETURN_IF_ERROR(read_call(op, entry, builder));
  return ANAS_OK;
}

static anas_status build(MlirModule module, const struct anas_gpu_target *target, struct builder *builder) {
  struct anas_device_program *program = &builder->program;
  memcpy(program->chip, target->chip, sizeof program->chip);
  size_t count = (size_t)program->image.num_kernels;
  program->modules = anas_calloc(count, sizeof *program->modules);
  program->functions = anas_calloc(count * ANAS_GPU_MAX_LAUNCHES, sizeof *program->functions);
  MlirOperation first = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  for (MlirOperation op = first; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (has_name(op, "func.func") && !mlirAttributeIsNull(get(op, "anas.kernel")))
      ANAS_RETURN_IF_ERROR(compile_kernel(op, target, builder));
  for (MlirOperation op = first; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (has_name(op, "func.func") && !mlirAttributeIsNull(get(op, "anas.entry")))
      ANAS_RETURN_IF_ERROR(read_entry(op, builder));
  return anas_device_program_check(program);
}

anas_status anas_gpu_compile_kernels(MlirModule kernels, const struct anas_gpu_target *target,
                                     struct anas_device_program *out) {
  double start = anas_now();
  struct builder builder = {0};
  struct anas_unit *units;
  int num_units;
  ANAS_RETURN_IF_ERROR(anas_image_from_module(kernels, &builder.program.image, &units, &num_units));
  anas_units_destroy(units, num_units);
  size_t count = (size_t)builder.program.image.num_kernels;
  builder.codes = anas_calloc(count, sizeof *builder.codes);
  builder.first_function = anas_calloc(count, sizeof *builder.first_function);
  anas_status status = build(kernels, target, &builder);
  free(builder.codes);
  free(builder.first_function);
  if (status != ANAS_OK) {
    anas_device_program_deinit(&builder.program);
    return status;
  }
  builder.program.image.compile_seconds = anas_now() - start;
  *out = builder.program;
  return ANAS_OK;
}

anas_status anas_gpu_compile(MlirModule architecture, int64_t batch, const struct anas_optimizer *optimizer,
                             const struct anas_gpu_target *target, struct anas_device_program *out) {
  double start = anas_now();
  MlirModule module = mlirModuleFromOperation(mlirOperationClone(mlirModuleGetOperation(architecture)));
  anas_status status =
      anas_build_train_step_with(module, &(struct anas_train_step_options){.batch = batch, .optimizer = *optimizer});
  if (status == ANAS_OK) status = anas_lower_to_kernels(module);
  if (status == ANAS_OK) status = anas_gpu_compile_kernels(module, target, out);
  mlirModuleDestroy(module);
  if (status == ANAS_OK) out->image.compile_seconds = anas_now() - start;
  return status;
}
