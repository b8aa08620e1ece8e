// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Module attributes and functions of the kernel stage to a program image and compilation units.
#include "passes/lower/image.h"

#include "dialect/context.h"

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

static bool is_func(MlirOperation op) {
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  return name.length == 9 && !memcmp(name.data, "func.func", 9);
}

struct reader {
  struct anas_program_image *image;
  MlirOperation *functions; // kernel functions, in the order of image->kernels
  const char *calling;      // entry function being read
  bool count_calls;
  bool *called; // by the entry function being read
};

static int find_kernel(const struct reader *reader, MlirStringRef name) {
  for (int i = 0; i < reader->image->num_kernels; i++) {
    const char *symbol = reader->image->kernels[i].symbol;
    if (strlen(symbol) == name.length && !memcmp(symbol, name.data, name.length)) return i;
  }
  return -1;
}

static MlirWalkResult note_call(MlirOperation op, void *data) {
  struct reader *reader = data;
  MlirAttribute callee = get(op, "callee");
  if (mlirAttributeIsNull(callee) || !mlirAttributeIsAFlatSymbolRef(callee)) return MlirWalkResultAdvance;
  int kernel = find_kernel(reader, mlirFlatSymbolRefAttrGetValue(callee));
  if (kernel < 0) return MlirWalkResultAdvance; // the verifier has seen a declaration; linking names what is missing
  reader->called[kernel] = true;
  if (reader->count_calls) reader->image->kernels[kernel].calls++;
  return MlirWalkResultAdvance;
}

static void set_text(struct anas_unit *unit, struct anas_strbuf *text) {
  unit->size = text->size;
  unit->text = anas_strbuf_detach(text);
}

// "func.func private @k(memref<...>, ...)", so that the entry function's module verifies.
static void declare_kernel(MlirOperation func, const char *symbol, struct anas_strbuf *text) {
  MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(func, 0));
  anas_strbuf_addf(text, "func.func private @%s(", symbol);
  for (intptr_t i = 0; i < mlirBlockGetNumArguments(entry); i++) {
    if (i) anas_strbuf_adds(text, ", ");
    mlirTypePrint(mlirValueGetType(mlirBlockGetArgument(entry, i)), anas_print_to_strbuf, text);
  }
  anas_strbuf_adds(text, ")\n");
}

static void read_entry(MlirOperation func, const char *symbol, struct reader *reader, struct anas_unit *unit) {
  int num_kernels = reader->image->num_kernels;
  reader->count_calls = !strcmp(symbol, "train_step");
  memset(reader->called, 0, (size_t)num_kernels * sizeof *reader->called);
  mlirOperationWalk(func, note_call, reader, MlirWalkPreOrder);
  struct anas_strbuf text = {0};
  for (int i = 0; i < num_kernels; i++)
    if (reader->called[i]) declare_kernel(reader->functions[i], reader->image->kernels[i].symbol, &text);
  anas_operation_text(func, &text);
  set_text(unit, &text);
  unit->symbol = anas_strdup(symbol);
  unit->kind = anas_strdup("entry");
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

static anas_status read_functions(MlirModule module, struct reader *reader, struct anas_unit *units,
                                  int *out_num_units) {
  MlirOperation first = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  int count = 0;
  for (MlirOperation op = first; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (!is_func(op) || mlirAttributeIsNull(get(op, "anas.kernel"))) continue;
    reader->functions[reader->image->num_kernels] = op;
    anas_status status = read_kernel(op, reader->image, &units[count]);
    if (status != ANAS_OK) return status;
    *out_num_units = ++count;
  }
  for (MlirOperation op = first; !mlirOperationIsNull(op); op = mlirOperationGetNextInBlock(op)) {
    if (!is_func(op) || mlirAttributeIsNull(get(op, "anas.entry"))) continue;
    const char *symbol;
    ANAS_RETURN_IF_ERROR(read_text(get(op, "sym_name"), "function", "sym_name", &reader->image->memory, &symbol));
    read_entry(op, symbol, reader, &units[count]);
    *out_num_units = ++count;
  }
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
  int num_units = 0;
  image.kernels = anas_arena_alloc(&image.memory, functions * sizeof *image.kernels);
  struct reader reader = {.image = &image,
                          .functions = anas_calloc(functions, sizeof *reader.functions),
                          .called = anas_calloc(functions, sizeof *reader.called)};
  anas_status status = read_header(op, &image);
  if (status == ANAS_OK) status = read_tensors(op, &image);
  if (status == ANAS_OK) status = read_io(op, &image);
  if (status == ANAS_OK) status = read_functions(module, &reader, units, &num_units);
  free(reader.functions);
  free(reader.called);
  if (status != ANAS_OK) {
    anas_units_destroy(units, num_units);
    anas_program_image_deinit(&image);
    return status;
  }
  *out_image = image;
  *out_units = units;
  *out_num_units = num_units;
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
