// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernel functions and entry functions to the LLVM dialect with bare pointers. The body of kernel k becomes the
// internal function k_body; two functions around it make it callable: k, which packs the operand addresses into an
// array and hands them to the thread team, and k_range, which the team calls for a part of the iterations.
#include "dialect/context.h"
#include "passes/cpu/cpu.h"
#include "passes/pass.h"

#include <mlir-c/AffineMap.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>
#include <string.h>

static const char tuned_pipeline[] =
    "func.func(canonicalize,cse),convert-scf-to-cf,convert-vector-to-llvm,expand-strided-metadata,lower-affine,"
    "convert-math-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,finalize-memref-to-llvm,"
    "convert-func-to-llvm{use-bare-ptr-memref-call-conv=1},convert-cf-to-llvm,convert-ub-to-llvm,"
    "reconcile-unrealized-casts";
static const char reference_pipeline[] =
    "func.func(convert-linalg-to-loops),convert-scf-to-cf,expand-strided-metadata,lower-affine,convert-math-to-llvm,"
    "convert-math-to-libm,convert-arith-to-llvm,convert-index-to-llvm,finalize-memref-to-llvm,"
    "convert-func-to-llvm{use-bare-ptr-memref-call-conv=1},convert-cf-to-llvm,convert-ub-to-llvm,"
    "reconcile-unrealized-casts";

struct kernel {
  MlirOperation func; // valid until the pipeline runs
  const char *symbol;
  int operands; // memrefs
  int64_t range;
  bool parallel;
  bool ranged; // the body takes begin and end
};

struct kernels {
  struct anas_arena memory;
  struct kernel *items;
  size_t count, capacity;
  bool has_callers; // the module defines other functions, which may call kernel functions
};

static bool has_name(MlirOperation op, const char *name) {
  MlirStringRef actual = mlirIdentifierStr(mlirOperationGetName(op));
  return actual.length == strlen(name) && !memcmp(actual.data, name, actual.length);
}

static MlirAttribute attribute(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, anas_ref_text(name));
}

// Parses operations and appends them to the module, except those marked as declarations of what it already has.
static anas_status append_text(MlirModule module, const struct anas_strbuf *text) {
  MlirModule parsed;
  ANAS_RETURN_IF_ERROR(anas_parse(mlirModuleGetContext(module), text->data, text->size, "kernel wrappers", &parsed));
  MlirBlock to = mlirModuleGetBody(module);
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(parsed));
  while (!mlirOperationIsNull(op)) {
    MlirOperation next = mlirOperationGetNextInBlock(op);
    if (mlirAttributeIsNull(attribute(op, "anas.declaration"))) {
      mlirOperationRemoveFromParent(op);
      mlirBlockAppendOwnedOperation(to, op);
    }
    op = next;
  }
  mlirModuleDestroy(parsed);
  return ANAS_OK;
}

static bool is_plain_memref(MlirType type) {
  return mlirTypeIsAMemRef(type) && mlirShapedTypeHasStaticShape(type) &&
         mlirAttributeIsAAffineMap(mlirMemRefTypeGetLayout(type)) &&
         mlirAffineMapIsIdentity(mlirMemRefTypeGetAffineMap(type));
}

// Calls would let a kernel reach itself or code the object does not hold.
static MlirWalkResult find_call(MlirOperation op, void *data) {
  if (!has_name(op, "func.call") && !has_name(op, "func.call_indirect")) return MlirWalkResultAdvance;
  *(MlirOperation *)data = op;
  return MlirWalkResultInterrupt;
}

static anas_status check_body(MlirOperation func, const char *symbol) {
  MlirOperation call = {NULL};
  mlirOperationWalk(func, find_call, &call, MlirWalkPreOrder);
  if (mlirOperationIsNull(call)) return ANAS_OK;
  anas_emit_error(mlirOperationGetLocation(call), "kernel function '%s' calls a function; kernels must be leaves",
                  symbol);
  return anas_fail(ANAS_INVALID, "kernel function '%s' calls a function; kernels must be leaves", symbol);
}

static anas_status fail_operand(const char *symbol, int i, MlirType type, const char *expected) {
  struct anas_strbuf text = {0};
  mlirTypePrint(type, anas_print_to_strbuf, &text);
  anas_status status = anas_fail(ANAS_INVALID, "kernel function '%s': argument %d has type %s, expected %s", symbol, i,
                                 anas_strbuf_text(&text), expected);
  anas_strbuf_deinit(&text);
  return status;
}

static anas_status describe_kernel(MlirOperation func, bool reference, struct kernel *kernel) {
  ANAS_RETURN_IF_ERROR(check_body(func, kernel->symbol));
  MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(func, 0));
  int arguments = (int)mlirBlockGetNumArguments(entry);
  kernel->ranged = !reference;
  kernel->operands = reference ? arguments : arguments - 2;
  kernel->range = 1;
  if (kernel->operands < 1)
    return anas_fail(ANAS_INVALID, "kernel function '%s' has %d arguments, expected at least one memref%s",
                     kernel->symbol, arguments, reference ? "" : " and two index values (begin, end)");
  for (int i = 0; i < arguments; i++) {
    MlirType type = mlirValueGetType(mlirBlockGetArgument(entry, i));
    bool operand = i < kernel->operands;
    if (operand && !is_plain_memref(type))
      return fail_operand(kernel->symbol, i, type, "a memref of static shape and identity layout");
    if (!operand && !mlirTypeIsAIndex(type)) return fail_operand(kernel->symbol, i, type, "index (begin, end)");
  }
  if (reference) return ANAS_OK;
  MlirAttribute range = attribute(func, "anas.range"), parallel = attribute(func, "anas.parallel");
  if (mlirAttributeIsNull(range) || !mlirAttributeIsAInteger(range) || mlirIntegerAttrGetValueInt(range) < 0 ||
      mlirAttributeIsNull(parallel) || !(mlirAttributeIsABool(parallel) || mlirAttributeIsAInteger(parallel)))
    return anas_fail(ANAS_INVALID, "kernel function '%s' needs anas.range (iterations) and anas.parallel (i1)",
                     kernel->symbol);
  kernel->range = mlirIntegerAttrGetValueInt(range);
  kernel->parallel =
      mlirAttributeIsABool(parallel) ? mlirBoolAttrGetValue(parallel) : mlirIntegerAttrGetValueInt(parallel) != 0;
  return ANAS_OK;
}

// Names the body k_body, keeps it inside the object, and tells LLVM what the kernel stage promises: distinct buffers.
static void prepare_body(MlirOperation func, const struct kernel *kernel, struct anas_arena *memory) {
  MlirContext context = mlirOperationGetContext(func);
  const char *body = anas_arena_format(memory, "%s_body", kernel->symbol);
  mlirOperationSetAttributeByName(func, anas_ref_text("sym_name"), mlirStringAttrGet(context, anas_ref_text(body)));
  mlirOperationSetAttributeByName(func, anas_ref_text("llvm.linkage"),
                                  mlirAttributeParseGet(context, anas_ref_text("#llvm.linkage<internal>")));
  MlirAttribute unit = mlirUnitAttrGet(context);
  MlirNamedAttribute noalias = mlirNamedAttributeGet(mlirIdentifierGet(context, anas_ref_text("llvm.noalias")), unit);
  MlirAttribute dictionary = mlirDictionaryAttrGet(context, 1, &noalias),
                empty = mlirDictionaryAttrGet(context, 0, NULL);
  int arguments = kernel->operands + (kernel->ranged ? 2 : 0);
  MlirAttribute *attributes = anas_calloc((size_t)arguments, sizeof *attributes);
  for (int i = 0; i < arguments; i++)
    attributes[i] = i < kernel->operands ? dictionary : empty;
  mlirOperationSetAttributeByName(func, anas_ref_text("arg_attrs"), mlirArrayAttrGet(context, arguments, attributes));
  free(attributes);
}

static bool is_declaration(MlirOperation func) {
  return mlirBlockIsNull(mlirRegionGetFirstBlock(mlirOperationGetRegion(func, 0)));
}

// Functions of the module that call kernel functions keep calling the name k, which the wrapper will define: until then
// a declaration with the operands of the kernel stands for it.
static anas_status declare_kernels(MlirModule module, const struct kernels *kernels) {
  struct anas_strbuf text = {0};
  for (size_t i = 0; i < kernels->count; i++) {
    MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(kernels->items[i].func, 0));
    anas_strbuf_addf(&text, "func.func private @%s(", kernels->items[i].symbol);
    for (int j = 0; j < kernels->items[i].operands; j++) {
      if (j) anas_strbuf_adds(&text, ", ");
      mlirTypePrint(mlirValueGetType(mlirBlockGetArgument(entry, j)), anas_print_to_strbuf, &text);
    }
    anas_strbuf_adds(&text, ")\n");
  }
  anas_status status = append_text(module, &text);
  anas_strbuf_deinit(&text);
  return status;
}

static void erase_declarations(MlirModule module, const struct kernels *kernels) {
  MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module));
  while (!mlirOperationIsNull(op)) {
    MlirOperation next = mlirOperationGetNextInBlock(op);
    if (has_name(op, "llvm.func") && is_declaration(op)) {
      MlirStringRef name = mlirStringAttrGetValue(attribute(op, "sym_name"));
      for (size_t i = 0; i < kernels->count; i++) {
        if (!mlirStringRefEqual(name, anas_ref_text(kernels->items[i].symbol))) continue;
        mlirOperationDestroy(op);
        break;
      }
    }
    op = next;
  }
}

static anas_status collect_kernels(MlirModule module, bool reference, struct kernels *out) {
  MlirBlock body = mlirModuleGetBody(module);
  for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (!has_name(op, "func.func")) continue;
    // The C interface wrapper would use descriptors; callers pass bare pointers.
    mlirOperationRemoveAttributeByName(op, anas_ref_text("llvm.emit_c_interface"));
    if (is_declaration(op)) continue;
    if (mlirAttributeIsNull(attribute(op, "anas.kernel"))) {
      out->has_callers = true;
      continue;
    }
    MlirStringRef name = mlirStringAttrGetValue(attribute(op, "sym_name"));
    struct kernel kernel = {.func = op, .symbol = anas_arena_strndup(&out->memory, name.data, name.length)};
    ANAS_RETURN_IF_ERROR(describe_kernel(op, reference, &kernel));
    prepare_body(op, &kernel, &out->memory);
    out->items = anas_grow(out->items, out->count, &out->capacity, sizeof *out->items);
    out->items[out->count++] = kernel;
  }
  return ANAS_OK;
}

static void add_pointers(struct anas_strbuf *text, int count) {
  for (int i = 0; i < count; i++)
    anas_strbuf_addf(text, "%s!llvm.ptr", i ? ", " : "");
}

// A module of k_range and k, and of declarations of what they call.
static void add_wrappers(struct anas_strbuf *text, const struct kernel *kernel) {
  const char *symbol = kernel->symbol;
  int n = kernel->operands;
  anas_strbuf_addf(text, "llvm.func @%s_body(", symbol);
  add_pointers(text, n);
  anas_strbuf_addf(text, "%s) attributes {anas.declaration}\n", kernel->ranged ? ", i64, i64" : "");

  anas_strbuf_addf(text, "llvm.func @%s_range(%%operands: !llvm.ptr, %%begin: i64, %%end: i64) {\n", symbol);
  for (int i = 0; i < n; i++)
    anas_strbuf_addf(text,
                     "  %%a%d = llvm.getelementptr inbounds %%operands[%d] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr\n"
                     "  %%p%d = llvm.load %%a%d : !llvm.ptr -> !llvm.ptr\n",
                     i, i, i, i);
  anas_strbuf_addf(text, "  llvm.call @%s_body(", symbol);
  for (int i = 0; i < n; i++)
    anas_strbuf_addf(text, "%s%%p%d", i ? ", " : "", i);
  anas_strbuf_addf(text, "%s) : (", kernel->ranged ? ", %begin, %end" : "");
  add_pointers(text, n);
  anas_strbuf_addf(text, "%s) -> ()\n  llvm.return\n}\n", kernel->ranged ? ", i64, i64" : "");

  anas_strbuf_addf(text, "llvm.func @%s(", symbol);
  for (int i = 0; i < n; i++)
    anas_strbuf_addf(text, "%s%%p%d: !llvm.ptr", i ? ", " : "", i);
  anas_strbuf_addf(text,
                   ") {\n  %%n = llvm.mlir.constant(%d : i64) : i64\n"
                   "  %%operands = llvm.alloca %%n x !llvm.ptr : (i64) -> !llvm.ptr\n",
                   n);
  for (int i = 0; i < n; i++)
    anas_strbuf_addf(text,
                     "  %%a%d = llvm.getelementptr inbounds %%operands[%d] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr\n"
                     "  llvm.store %%p%d, %%a%d : !llvm.ptr, !llvm.ptr\n",
                     i, i, i, i);
  anas_strbuf_addf(text,
                   "  %%range = llvm.mlir.addressof @%s_range : !llvm.ptr\n"
                   "  %%count = llvm.mlir.constant(%lld : i64) : i64\n"
                   "  %%parallel = llvm.mlir.constant(%d : i32) : i32\n"
                   "  llvm.call @anas_parallel_for(%%range, %%operands, %%count, %%parallel) : "
                   "(!llvm.ptr, !llvm.ptr, i64, i32) -> ()\n  llvm.return\n}\n",
                   symbol, (long long)kernel->range, kernel->parallel);
}

static anas_status append_wrappers(MlirModule module, const struct kernels *kernels) {
  if (!kernels->count) return ANAS_OK;
  struct anas_strbuf text = {0};
  anas_strbuf_adds(&text, "llvm.func @anas_parallel_for(!llvm.ptr, !llvm.ptr, i64, i32)\n");
  for (size_t i = 0; i < kernels->count; i++)
    add_wrappers(&text, &kernels->items[i]);
  anas_status status = append_text(module, &text);
  anas_strbuf_deinit(&text);
  return status;
}

static anas_status lower(MlirModule module, bool reference) {
  struct kernels kernels = {0};
  anas_status status = collect_kernels(module, reference, &kernels);
  if (status == ANAS_OK && kernels.count && kernels.has_callers) status = declare_kernels(module, &kernels);
  if (status == ANAS_OK) status = anas_pipeline_run(module, reference ? reference_pipeline : tuned_pipeline);
  if (status == ANAS_OK && kernels.has_callers) erase_declarations(module, &kernels);
  if (status == ANAS_OK) status = append_wrappers(module, &kernels);
  anas_arena_deinit(&kernels.memory);
  free(kernels.items);
  return status;
}

anas_status anas_cpu_to_llvm(MlirModule module) {
  return lower(module, false);
}

anas_status anas_cpu_reference_to_llvm(MlirModule module) {
  return lower(module, true);
}
