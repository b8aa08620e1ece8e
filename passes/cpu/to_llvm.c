// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernel functions and entry functions to the LLVM dialect with bare pointers. The body of kernel k becomes the
// internal function k_body; two functions around it make it callable: k, which packs the operand addresses into an
// array and hands them to the thread team, and k_range, which the team calls for some of the iterations. Further parts
// of a kernel are k_body1, k_range1 and so on, which k hands to the team one after the other.
#include "dialect/context.h"
#include "passes/cpu/compiler.h"
#include "passes/pass.h"
#include "runtime/team.h"

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

struct part {
  MlirOperation func;     // valid until the pipeline runs
  int64_t range, leading; // see struct anas_cpu_range
  bool parallel;
};

struct kernel {
  const char *symbol;
  int operands;    // memrefs, without the scratch memory
  int64_t scratch; // bytes; above 0 its address follows the operands
  bool ranged;     // the bodies take begin and end
  int num_parts;
  struct part part[ANAS_KERNEL_PARTS];
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

// Memrefs a body takes.
static int num_memrefs(const struct kernel *kernel) {
  return kernel->operands + (kernel->scratch > 0);
}

// The function is the next part; the first one says how many operands there are.
static anas_status add_part(MlirOperation func, struct kernel *kernel) {
  ANAS_RETURN_IF_ERROR(check_body(func, kernel->symbol));
  MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(func, 0));
  int arguments = (int)mlirBlockGetNumArguments(entry), memrefs = arguments - (kernel->ranged ? 2 : 0);
  if (!kernel->num_parts) kernel->operands = memrefs - (kernel->scratch > 0);
  if (kernel->operands < 1)
    return anas_fail(ANAS_INVALID, "kernel function '%s' has %d arguments, expected at least one memref%s",
                     kernel->symbol, arguments, kernel->ranged ? " and two index values (begin, end)" : "");
  if (kernel->num_parts == ANAS_KERNEL_PARTS || memrefs != num_memrefs(kernel))
    return anas_fail(ANAS_INVALID, "kernel function '%s' has more than %d parts, or parts with unequal operands",
                     kernel->symbol, ANAS_KERNEL_PARTS);
  for (int i = 0; i < arguments; i++) {
    MlirType type = mlirValueGetType(mlirBlockGetArgument(entry, i));
    bool operand = i < memrefs;
    if (operand && !is_plain_memref(type))
      return fail_operand(kernel->symbol, i, type, "a memref of static shape and identity layout");
    if (!operand && !mlirTypeIsAIndex(type)) return fail_operand(kernel->symbol, i, type, "index (begin, end)");
  }
  struct part *part = &kernel->part[kernel->num_parts++];
  *part = (struct part){.func = func, .range = 1};
  if (!kernel->ranged) return ANAS_OK;
  MlirAttribute range = attribute(func, "anas.range"), parallel = attribute(func, "anas.parallel");
  if (mlirAttributeIsNull(range) || !mlirAttributeIsAInteger(range) || mlirIntegerAttrGetValueInt(range) < 0 ||
      mlirAttributeIsNull(parallel) || !(mlirAttributeIsABool(parallel) || mlirAttributeIsAInteger(parallel)))
    return anas_fail(ANAS_INVALID, "kernel function '%s' needs anas.range (iterations) and anas.parallel (i1)",
                     kernel->symbol);
  part->range = mlirIntegerAttrGetValueInt(range);
  MlirAttribute leading = attribute(func, "anas.leading");
  // Scratch memory is shared by everything that runs.
  if (!mlirAttributeIsNull(leading) && mlirAttributeIsAInteger(leading) && !kernel->scratch)
    part->leading = mlirIntegerAttrGetValueInt(leading);
  part->parallel =
      mlirAttributeIsABool(parallel) ? mlirBoolAttrGetValue(parallel) : mlirIntegerAttrGetValueInt(parallel) != 0;
  return ANAS_OK;
}

// "k_body", of further parts "k_body1" and so on.
static const char *part_symbol(struct anas_arena *memory, const struct kernel *kernel, const char *what, int part) {
  return part ? anas_arena_format(memory, "%s_%s%d", kernel->symbol, what, part)
              : anas_arena_format(memory, "%s_%s", kernel->symbol, what);
}

// Names the body of the last part, keeps it inside the object, and tells LLVM what the kernel stage promises: distinct
// buffers.
static void prepare_body(const struct kernel *kernel, struct anas_arena *memory) {
  MlirOperation func = kernel->part[kernel->num_parts - 1].func;
  MlirContext context = mlirOperationGetContext(func);
  const char *body = part_symbol(memory, kernel, "body", kernel->num_parts - 1);
  mlirOperationSetAttributeByName(func, anas_ref_text("sym_name"), mlirStringAttrGet(context, anas_ref_text(body)));
  mlirOperationSetAttributeByName(func, anas_ref_text("llvm.linkage"),
                                  mlirAttributeParseGet(context, anas_ref_text("#llvm.linkage<internal>")));
  MlirAttribute unit = mlirUnitAttrGet(context);
  MlirNamedAttribute noalias = mlirNamedAttributeGet(mlirIdentifierGet(context, anas_ref_text("llvm.noalias")), unit);
  MlirAttribute dictionary = mlirDictionaryAttrGet(context, 1, &noalias),
                empty = mlirDictionaryAttrGet(context, 0, NULL);
  int memrefs = num_memrefs(kernel), arguments = memrefs + (kernel->ranged ? 2 : 0);
  MlirAttribute *attributes = anas_calloc((size_t)arguments, sizeof *attributes);
  for (int i = 0; i < arguments; i++)
    attributes[i] = i < memrefs ? dictionary : empty;
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
    MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(kernels->items[i].part[0].func, 0));
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
    bool further = !mlirAttributeIsNull(attribute(op, "anas.part")) && out->count;
    if (mlirAttributeIsNull(attribute(op, "anas.kernel")) && !further) {
      out->has_callers = true;
      continue;
    }
    if (!further) {
      MlirStringRef name = mlirStringAttrGetValue(attribute(op, "sym_name"));
      MlirAttribute scratch = attribute(op, "anas.scratch");
      out->items = anas_grow(out->items, out->count, &out->capacity, sizeof *out->items);
      out->items[out->count++] = (struct kernel){
          .symbol = anas_arena_strndup(&out->memory, name.data, name.length),
          .scratch = mlirAttributeIsNull(scratch) ? 0 : mlirIntegerAttrGetValueInt(scratch),
          .ranged = !reference,
      };
    }
    ANAS_RETURN_IF_ERROR(add_part(op, &out->items[out->count - 1]));
    prepare_body(&out->items[out->count - 1], &out->memory);
  }
  return ANAS_OK;
}

static void add_pointers(struct anas_strbuf *text, int count) {
  for (int i = 0; i < count; i++)
    anas_strbuf_addf(text, "%s!llvm.ptr", i ? ", " : "");
}

// k_range of one part, and a declaration of the body it calls.
static void add_range(struct anas_strbuf *text, const struct kernel *kernel, const char *range, const char *body) {
  int n = num_memrefs(kernel);
  anas_strbuf_addf(text, "llvm.func @%s(", body);
  add_pointers(text, n);
  anas_strbuf_addf(text, "%s) attributes {anas.declaration}\n", kernel->ranged ? ", i64, i64" : "");

  anas_strbuf_addf(text, "llvm.func @%s(%%operands: !llvm.ptr, %%begin: i64, %%end: i64) {\n", range);
  for (int i = 0; i < n; i++)
    anas_strbuf_addf(text,
                     "  %%a%d = llvm.getelementptr inbounds %%operands[%d] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr\n"
                     "  %%p%d = llvm.load %%a%d : !llvm.ptr -> !llvm.ptr\n",
                     i, i, i, i);
  anas_strbuf_addf(text, "  llvm.call @%s(", body);
  for (int i = 0; i < n; i++)
    anas_strbuf_addf(text, "%s%%p%d", i ? ", " : "", i);
  anas_strbuf_addf(text, "%s) : (", kernel->ranged ? ", %begin, %end" : "");
  add_pointers(text, n);
  anas_strbuf_addf(text, "%s) -> ()\n  llvm.return\n}\n", kernel->ranged ? ", i64, i64" : "");
}

// k_range of every part, and k.
static void add_wrappers(struct anas_strbuf *text, const struct kernel *kernel, struct anas_arena *memory) {
  int n = num_memrefs(kernel);
  for (int p = 0; p < kernel->num_parts; p++)
    add_range(text, kernel, part_symbol(memory, kernel, "range", p), part_symbol(memory, kernel, "body", p));

  anas_strbuf_addf(text, "llvm.func @%s(", kernel->symbol);
  for (int i = 0; i < kernel->operands; i++)
    anas_strbuf_addf(text, "%s%%p%d: !llvm.ptr", i ? ", " : "", i);
  anas_strbuf_addf(text,
                   ") {\n  %%n = llvm.mlir.constant(%d : i64) : i64\n"
                   "  %%operands = llvm.alloca %%n x !llvm.ptr : (i64) -> !llvm.ptr\n",
                   n);
  if (kernel->scratch > 0)
    anas_strbuf_addf(text, "  %%p%d = llvm.mlir.addressof @anas_scratch : !llvm.ptr\n", kernel->operands);
  for (int i = 0; i < n; i++)
    anas_strbuf_addf(text,
                     "  %%a%d = llvm.getelementptr inbounds %%operands[%d] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr\n"
                     "  llvm.store %%p%d, %%a%d : !llvm.ptr, !llvm.ptr\n",
                     i, i, i, i);
  for (int p = 0; p < kernel->num_parts; p++)
    anas_strbuf_addf(text,
                     "  %%range%d = llvm.mlir.addressof @%s : !llvm.ptr\n"
                     "  %%num%d = llvm.mlir.constant(%d : i32) : i32\n"
                     "  %%count%d = llvm.mlir.constant(%lld : i64) : i64\n"
                     "  %%leading%d = llvm.mlir.constant(%lld : i64) : i64\n"
                     "  %%parallel%d = llvm.mlir.constant(%d : i32) : i32\n"
                     "  llvm.call @anas_launch(%%range%d, %%operands, %%num%d, %%count%d, %%leading%d, %%parallel%d) : "
                     "(!llvm.ptr, !llvm.ptr, i32, i64, i64, i32) -> ()\n",
                     p, part_symbol(memory, kernel, "range", p), p, n, p, (long long)kernel->part[p].range, p,
                     (long long)(kernel->num_parts == 1 ? kernel->part[p].leading : 0), p, kernel->part[p].parallel, p,
                     p, p, p, p);
  anas_strbuf_adds(text, "  llvm.return\n}\n");
}

static void note(MlirModule module, const char *name, int64_t value) {
  MlirAttribute number = mlirIntegerAttrGet(mlirIntegerTypeGet(mlirModuleGetContext(module), 64), value);
  mlirOperationSetAttributeByName(mlirModuleGetOperation(module), anas_ref_text(name), number);
}

// Also notes on the module how much scratch memory its kernels need, and among how many items of work the part with
// most of them is split.
static anas_status append_wrappers(MlirModule module, struct kernels *kernels) {
  if (!kernels->count) return ANAS_OK;
  int64_t scratch = 0, items = 1;
  for (size_t i = 0; i < kernels->count; i++) {
    const struct kernel *kernel = &kernels->items[i];
    if (kernel->scratch > scratch) scratch = kernel->scratch;
    for (int p = 0; p < kernel->num_parts; p++)
      if (kernel->part[p].parallel && kernel->part[p].range > items) items = kernel->part[p].range;
  }
  note(module, "anas.items", items);
  struct anas_strbuf text = {0};
  anas_strbuf_adds(&text, "llvm.func @anas_launch(!llvm.ptr, !llvm.ptr, i32, i64, i64, i32)\n");
  if (scratch > 0) {
    anas_strbuf_adds(&text, "llvm.mlir.global external @anas_scratch() : i8\n");
    note(module, "anas.scratch", scratch);
  }
  for (size_t i = 0; i < kernels->count; i++)
    add_wrappers(&text, &kernels->items[i], &kernels->memory);
  anas_status status = append_text(module, &text);
  anas_strbuf_deinit(&text);
  return status;
}

const char *anas_cpu_lowering_text(bool reference) {
  return reference ? reference_pipeline : tuned_pipeline;
}

anas_status anas_cpu_lower(MlirModule module, bool reference, struct anas_pipeline *pipeline) {
  struct kernels kernels = {0};
  anas_status status = collect_kernels(module, reference, &kernels);
  if (status == ANAS_OK && kernels.count && kernels.has_callers) status = declare_kernels(module, &kernels);
  if (status == ANAS_OK) status = anas_pipeline_apply(pipeline, module);
  if (status == ANAS_OK && kernels.has_callers) erase_declarations(module, &kernels);
  if (status == ANAS_OK) status = append_wrappers(module, &kernels);
  anas_arena_deinit(&kernels.memory);
  free(kernels.items);
  return status;
}

static anas_status lower_once(MlirModule module, bool reference) {
  struct anas_pipeline *pipeline;
  ANAS_RETURN_IF_ERROR(
      anas_pipeline_create(mlirModuleGetContext(module), anas_cpu_lowering_text(reference), &pipeline));
  anas_status status = anas_cpu_lower(module, reference, pipeline);
  anas_pipeline_destroy(pipeline);
  return status;
}

anas_status anas_cpu_to_llvm(MlirModule module) {
  return lower_once(module, false);
}

anas_status anas_cpu_reference_to_llvm(MlirModule module) {
  return lower_once(module, true);
}
