// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Module attributes and functions of the kernel stage to a program image and compilation units.
#include "passes/lower/image.h"

#include "dialect/context.h"

#include <limits.h>
#include <mlir-c/BuiltinAttributes.h>
#include <stdlib.h>
#include <string.h>

static MlirAttribute get(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, anas_ref_text(name));
}

static anas_status bad(const char *where, const char *name, const char *expected) {
  return anas_fail(ANAS_INVALID, "kernel-stage module: %s: '%s' must be %s", where, name, expected);
}

static anas_status read_int(MlirAttribute attribute, const char *where, const char *name, int64_t *out) {
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsAInteger(attribute) ||
      mlirIntegerAttrGetValueInt(attribute) < 0)
    return bad(where, name, "a non-negative integer");
  *out = mlirIntegerAttrGetValueInt(attribute);
  return ANAS_OK;
}

static anas_status read_ints(MlirAttribute attribute, const char *where, const char *name, int min, int max,
                             int64_t *out, int *out_count) {
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsADenseI64Array(attribute))
    return bad(where, name, "an array<i64: ...>");
  intptr_t count = mlirDenseArrayGetNumElements(attribute);
  if (count < min || count > max) return bad(where, name, "an array<i64: ...> of the right length");
  for (intptr_t i = 0; i < count; i++) {
    out[i] = mlirDenseI64ArrayGetElement(attribute, i);
    if (out[i] < 0) return bad(where, name, "an array of non-negative numbers");
  }
  if (out_count) *out_count = (int)count;
  return ANAS_OK;
}

static anas_status read_text(MlirAttribute attribute, const char *where, const char *name, struct anas_arena *memory,
                             const char **out) {
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsAString(attribute)) return bad(where, name, "a string");
  MlirStringRef text = mlirStringAttrGetValue(attribute);
  *out = anas_arena_strndup(memory, text.data, text.length);
  return ANAS_OK;
}

static anas_status read_real(MlirAttribute attribute, const char *where, const char *name, double *out) {
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsAFloat(attribute)) return bad(where, name, "a float");
  *out = mlirFloatAttrGetValueDouble(attribute);
  return ANAS_OK;
}

static anas_status read_tensor(MlirAttribute entry, struct anas_arena *memory, struct anas_tensor *out) {
  if (!mlirAttributeIsADictionary(entry)) return bad("anas.tensors", "element", "a dictionary");
#define FIELD(name) mlirDictionaryAttrGetElementByName(entry, anas_ref_text(name))
  ANAS_RETURN_IF_ERROR(read_text(FIELD("name"), "anas.tensors", "name", memory, &out->name));
  const char *role, *where = out->name;
  ANAS_RETURN_IF_ERROR(read_text(FIELD("role"), where, "role", memory, &role));
  if (!strcmp(role, "param"))
    out->role = ANAS_TENSOR_PARAM;
  else if (!strcmp(role, "state"))
    out->role = ANAS_TENSOR_STATE;
  else if (!strcmp(role, "optimizer"))
    out->role = ANAS_TENSOR_OPTIMIZER;
  else
    return bad(where, "role", "\"param\", \"state\" or \"optimizer\"");
  ANAS_RETURN_IF_ERROR(read_text(FIELD("init"), where, "init", memory, &out->init));
  ANAS_RETURN_IF_ERROR(read_int(FIELD("fan_in"), where, "fan_in", &out->fan_in));
  ANAS_RETURN_IF_ERROR(read_int(FIELD("fan_out"), where, "fan_out", &out->fan_out));
  int64_t offset;
  ANAS_RETURN_IF_ERROR(read_int(FIELD("offset"), where, "offset", &offset));
  int max_rank = (int)(sizeof out->dim / sizeof *out->dim);
  ANAS_RETURN_IF_ERROR(read_ints(FIELD("shape"), where, "shape", 0, max_rank, out->dim, &out->rank));
#undef FIELD
  out->offset = (size_t)offset;
  out->count = 1;
  for (int i = 0; i < out->rank; i++)
    if (__builtin_mul_overflow(out->count, (size_t)out->dim[i], &out->count)) return bad(where, "shape", "smaller");
  return ANAS_OK;
}

static anas_status read_tensors(MlirOperation op, struct anas_program_image *image) {
  MlirAttribute list = get(op, "anas.tensors");
  if (mlirAttributeIsNull(list) || !mlirAttributeIsAArray(list)) return bad("module", "anas.tensors", "an array");
  int count = (int)mlirArrayAttrGetNumElements(list);
  image->tensors = anas_arena_alloc(&image->memory, (size_t)count * sizeof *image->tensors);
  for (int i = 0; i < count; i++)
    ANAS_RETURN_IF_ERROR(read_tensor(mlirArrayAttrGetElement(list, i), &image->memory, &image->tensors[i]));
  image->num_tensors = count;
  return ANAS_OK;
}

static anas_status read_io(MlirOperation op, struct anas_program_image *image) {
  MlirAttribute io = get(op, "anas.io");
  if (mlirAttributeIsNull(io) || !mlirAttributeIsADictionary(io)) return bad("module", "anas.io", "a dictionary");
  const struct {
    const char *name;
    struct anas_region *region;
  } fields[] = {
      {"image", &image->image},   {"label", &image->label}, {"learning_rate", &image->learning_rate},
      {"seed", &image->seed},     {"loss", &image->loss},   {"correct", &image->correct},
      {"logits", &image->logits},
  };
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    int64_t pair[2];
    ANAS_RETURN_IF_ERROR(read_ints(mlirDictionaryAttrGetElementByName(io, anas_ref_text(fields[i].name)), "anas.io",
                                   fields[i].name, 2, 2, pair, NULL));
    *fields[i].region = (struct anas_region){(size_t)pair[0], (size_t)pair[1]};
  }
  return ANAS_OK;
}

static anas_status read_header(MlirOperation op, struct anas_program_image *image) {
  int64_t size[3], arena, params;
  ANAS_RETURN_IF_ERROR(read_int(get(op, "anas.batch"), "module", "anas.batch", &image->batch));
  ANAS_RETURN_IF_ERROR(read_int(get(op, "anas.classes"), "module", "anas.classes", &image->classes));
  ANAS_RETURN_IF_ERROR(read_ints(get(op, "anas.image"), "module", "anas.image", 3, 3, size, NULL));
  ANAS_RETURN_IF_ERROR(read_int(get(op, "anas.arena_bytes"), "module", "anas.arena_bytes", &arena));
  ANAS_RETURN_IF_ERROR(read_int(get(op, "anas.params_bytes"), "module", "anas.params_bytes", &params));
  image->height = size[0];
  image->width = size[1];
  image->channels = size[2];
  image->arena_bytes = (size_t)arena;
  image->params_bytes = (size_t)params;
  return ANAS_OK;
}

// ---- functions

static bool is_op(MlirOperation op, const char *name) {
  return mlirStringRefEqual(mlirIdentifierStr(mlirOperationGetName(op)), anas_ref_text(name));
}

static bool is_func(MlirOperation op) {
  return is_op(op, "func.func");
}

struct reader {
  struct anas_program_image *image;
  int *by_name; // kernels sorted by symbol
};

static int compare_symbols(const void *a, const void *b, void *image) {
  const struct anas_kernel *kernels = ((const struct anas_program_image *)image)->kernels;
  return strcmp(kernels[*(const int *)a].symbol, kernels[*(const int *)b].symbol);
}

static int find_kernel(const struct reader *reader, MlirStringRef name) {
  int low = 0, high = reader->image->num_kernels;
  while (low < high) {
    int middle = (low + high) / 2, kernel = reader->by_name[middle];
    const char *symbol = reader->image->kernels[kernel].symbol;
    int order = strncmp(symbol, name.data, name.length);
    if (!order && symbol[name.length]) order = 1;
    if (!order) return kernel;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return -1;
}

// An operand of a call: memref.view of an argument of the entry function at a constant.
static anas_status read_argument(MlirValue value, struct anas_call_argument *out) {
  MlirOperation view = mlirValueIsAOpResult(value) ? mlirOpResultGetOwner(value) : (MlirOperation){0};
  if (!mlirOperationIsNull(view) && is_op(view, "memref.view")) {
    MlirValue base = mlirOperationGetOperand(view, 0), shift = mlirOperationGetOperand(view, 1);
    if (mlirValueIsABlockArgument(base) && mlirValueIsAOpResult(shift) &&
        is_op(mlirOpResultGetOwner(shift), "arith.constant")) {
      out->in_params = mlirBlockArgumentGetArgNumber(base) == 1;
      out->offset = (size_t)mlirIntegerAttrGetValueInt(get(mlirOpResultGetOwner(shift), "value"));
      return ANAS_OK;
    }
  }
  return anas_fail(ANAS_INVALID,
                   "kernel-stage module: an operand of a call is not a view of an entry function's argument at a "
                   "constant");
}

static anas_status read_call(MlirOperation op, const struct reader *reader, struct anas_call_list *list) {
  MlirStringRef callee = mlirFlatSymbolRefAttrGetValue(get(op, "callee"));
  struct anas_call *call = &list->calls[list->num_calls];
  *call = (struct anas_call){.kernel = find_kernel(reader, callee),
                             .first_argument = list->num_arguments,
                             .num_arguments = (int)mlirOperationGetNumOperands(op)};
  if (call->kernel < 0)
    return anas_fail(ANAS_INVALID, "kernel-stage module: an entry function calls '%.*s', which is no kernel function",
                     (int)callee.length, callee.data);
  MlirAttribute group = get(op, "anas.group");
  if (!mlirAttributeIsNull(group)) {
    int64_t pair[2];
    ANAS_RETURN_IF_ERROR(read_ints(group, "call", "anas.group", 2, 2, pair, NULL));
    if (pair[0] < 1 || pair[0] > INT_MAX || pair[1] < 1) return bad("call", "anas.group", "two positive numbers");
    call->group = (int)pair[0];
    call->slabs = pair[1];
  }
  for (int i = 0; i < call->num_arguments; i++)
    ANAS_RETURN_IF_ERROR(read_argument(mlirOperationGetOperand(op, i), &list->arguments[list->num_arguments++]));
  list->num_calls++;
  return ANAS_OK;
}

static anas_status read_entry(MlirOperation func, const struct reader *reader, struct anas_call_list *list) {
  MlirOperation first = mlirBlockGetFirstOperation(mlirRegionGetFirstBlock(mlirOperationGetRegion(func, 0)));
  size_t calls = 0, arguments = 0;
  for (MlirOperation op = first; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op))
    if (is_op(op, "func.call")) {
      calls++;
      arguments += (size_t)mlirOperationGetNumOperands(op);
    }
  struct anas_arena *memory = &reader->image->memory;
  list->calls = anas_arena_alloc(memory, calls * sizeof *list->calls);
  list->arguments = anas_arena_alloc(memory, arguments * sizeof *list->arguments);
  for (MlirOperation op = first; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (is_op(op, "func.call")) {
      ANAS_RETURN_IF_ERROR(read_call(op, reader, list));
    } else if (!is_op(op, "memref.view") && !is_op(op, "arith.constant") && !is_op(op, "func.return")) {
      MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
      return anas_fail(ANAS_INVALID, "kernel-stage module: an entry function holds '%.*s'; it may only call kernels",
                       (int)name.length, name.data);
    }
  }
  return ANAS_OK;
}

static void set_text(struct anas_unit *unit, struct anas_strbuf *text) {
  unit->size = text->size;
  unit->text = anas_strbuf_detach(text);
}

static anas_status read_kernel(MlirOperation func, struct anas_program_image *image, struct anas_unit *unit) {
  struct anas_kernel *kernel = &image->kernels[image->num_kernels];
  const char *symbol;
  ANAS_RETURN_IF_ERROR(read_text(get(func, "sym_name"), "function", "sym_name", &image->memory, &symbol));
  kernel->symbol = symbol;
  ANAS_RETURN_IF_ERROR(read_text(get(func, "anas.kernel"), symbol, "anas.kernel", &image->memory, &kernel->kind));
  ANAS_RETURN_IF_ERROR(read_real(get(func, "anas.flops"), symbol, "anas.flops", &kernel->flops));
  ANAS_RETURN_IF_ERROR(read_real(get(func, "anas.bytes"), symbol, "anas.bytes", &kernel->bytes));
  image->num_kernels++;
  struct anas_strbuf text = {0};
  anas_operation_text(func, &text);
  set_text(unit, &text);
  unit->symbol = anas_strdup(symbol);
  unit->kind = anas_strdup(kernel->kind);
  return ANAS_OK;
}

static anas_status read_kernels(MlirModule module, struct anas_program_image *image, struct anas_unit *units) {
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    if (is_func(op) && !mlirAttributeIsNull(get(op, "anas.kernel")))
      ANAS_RETURN_IF_ERROR(read_kernel(op, image, &units[image->num_kernels]));
  return ANAS_OK;
}

static anas_status read_entries(MlirModule module, const struct reader *reader) {
  struct anas_program_image *image = reader->image;
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (!is_func(op) || mlirAttributeIsNull(get(op, "anas.entry"))) continue;
    MlirStringRef symbol = mlirStringAttrGetValue(get(op, "sym_name"));
    bool train = mlirStringRefEqual(symbol, anas_ref_text("train_step"));
    if (!train && !mlirStringRefEqual(symbol, anas_ref_text("infer")))
      return anas_fail(ANAS_INVALID, "kernel-stage module: entry function '%.*s' is neither train_step nor infer",
                       (int)symbol.length, symbol.data);
    ANAS_RETURN_IF_ERROR(read_entry(op, reader, train ? &image->train_step : &image->infer));
  }
  for (int i = 0; i < image->train_step.num_calls; i++)
    image->kernels[image->train_step.calls[i].kernel].calls++;
  return ANAS_OK;
}

static int count_functions(MlirModule module) {
  int count = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    count += is_func(op);
  return count;
}

anas_status anas_image_from_module(MlirModule module, struct anas_program_image *out_image,
                                   struct anas_unit **out_units, int *out_num_units) {
  MlirOperation op = mlirModuleGetOperation(module);
  struct anas_program_image image = {0};
  size_t functions = (size_t)count_functions(module);
  struct anas_unit *units = anas_calloc(functions, sizeof *units);
  image.kernels = anas_arena_alloc(&image.memory, functions * sizeof *image.kernels);
  struct reader reader = {.image = &image, .by_name = anas_calloc(functions, sizeof *reader.by_name)};
  anas_status status = read_header(op, &image);
  if (status == ANAS_OK) status = read_tensors(op, &image);
  if (status == ANAS_OK) status = read_io(op, &image);
  if (status == ANAS_OK) status = read_kernels(module, &image, units);
  for (int i = 0; i < image.num_kernels; i++)
    reader.by_name[i] = i;
  qsort_r(reader.by_name, (size_t)image.num_kernels, sizeof *reader.by_name, compare_symbols, &image);
  if (status == ANAS_OK) status = read_entries(module, &reader);
  free(reader.by_name);
  if (status != ANAS_OK) {
    anas_units_destroy(units, (int)functions);
    anas_program_image_deinit(&image);
    return status;
  }
  *out_units = units;
  *out_num_units = image.num_kernels;
  *out_image = image;
  return ANAS_OK;
}

void anas_units_destroy(struct anas_unit *units, int num_units) {
  for (int i = 0; i < num_units; i++) {
    free(units[i].symbol);
    free(units[i].kind);
    free(units[i].text);
    free(units[i].object.data);
  }
  free(units);
}
