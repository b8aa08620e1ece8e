// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads a kernel function (fills, then one linalg.generic over identity-layout memrefs) into loops and strides.
#include "dialect/context.h"
#include "passes/cpu/nest.h"

#include <mlir-c/AffineExpr.h>
#include <mlir-c/AffineMap.h>
#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <string.h>

#define MAX_DIMS 64
#define MAX_RANK 16

struct linear {
  int64_t constant, coef[MAX_DIMS];
};

// Adds scale * expr to out; false if the expression is not linear.
static bool add_linear(MlirAffineExpr expr, int64_t scale, struct linear *out) {
  if (mlirAffineExprIsAConstant(expr)) {
    out->constant += scale * mlirAffineConstantExprGetValue(expr);
    return true;
  }
  if (mlirAffineExprIsADim(expr)) {
    intptr_t position = mlirAffineDimExprGetPosition(expr);
    if (position >= MAX_DIMS) return false;
    out->coef[position] += scale;
    return true;
  }
  if (!mlirAffineExprIsABinary(expr)) return false;
  MlirAffineExpr lhs = mlirAffineBinaryOpExprGetLHS(expr), rhs = mlirAffineBinaryOpExprGetRHS(expr);
  if (mlirAffineExprIsAAdd(expr)) return add_linear(lhs, scale, out) && add_linear(rhs, scale, out);
  if (!mlirAffineExprIsAMul(expr)) return false;
  if (mlirAffineExprIsAConstant(lhs)) return add_linear(rhs, scale * mlirAffineConstantExprGetValue(lhs), out);
  if (mlirAffineExprIsAConstant(rhs)) return add_linear(lhs, scale * mlirAffineConstantExprGetValue(rhs), out);
  return false;
}

static const char *name_of(MlirOperation op) {
  return mlirIdentifierStr(mlirOperationGetName(op)).data;
}

static MlirAttribute attribute_of(MlirOperation op, const char *name) {
  return mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(name));
}

// The loop with the largest coefficient if the loops of an index are the digits of a number, so that different
// iterations give different indices (block * 16 + channel, but not position * 2 + tap of three); else -1.
static int distinct_digits(const struct linear *linear, int num_dims, const int64_t *extents) {
  bool done[MAX_DIMS] = {false};
  int slowest = -1;
  for (int64_t span = 1;;) {
    int next = -1;
    for (int l = 0; l < num_dims; l++) {
      if (done[l] || linear->coef[l] == 0 || extents[l] <= 1) continue;
      if (linear->coef[l] < 0) return -1;
      if (next < 0 || linear->coef[l] < linear->coef[next]) next = l;
    }
    if (next < 0) return slowest;
    if (linear->coef[next] < span) return -1;
    span += linear->coef[next] * (extents[next] - 1);
    done[next] = true;
    slowest = next;
  }
}

// Dimensions of extent 1 have no loop.
static anas_status read_border(struct anas_cpu_operand *operand, MlirAffineExpr index, int64_t weight, int num_dims,
                               const int64_t *extents, bool *indexed) {
  if (operand->output || operand->num_borders == ANAS_CPU_BORDERS)
    return anas_fail(ANAS_UNSUPPORTED,
                     "kernel function: an indexing map of an output, or more than %d indices of an "
                     "input, are not linear in the loops",
                     ANAS_CPU_BORDERS);
  struct anas_cpu_border *border = &operand->border[operand->num_borders++];
  *border = (struct anas_cpu_border){.index = index, .weight = weight};
  for (int l = 0; l < num_dims; l++)
    if (extents[l] > 1 && mlirAffineExprIsFunctionOfDim(index, l)) border->loop[l] = indexed[l] = true;
  return ANAS_OK;
}

// Reads an operand: strides per dimension of the generic, and for outputs which dimensions split it.
static anas_status read_operand(struct anas_cpu_operand *operand, MlirAffineMap map, int num_dims,
                                const int64_t *extents, bool *split /* [num_dims], cleared where unsafe */,
                                bool *indexed) {
  MlirType type = mlirValueGetType(operand->memref);
  if (!mlirTypeIsAMemRef(type) || !mlirShapedTypeHasStaticShape(type) ||
      !mlirAffineMapIsIdentity(mlirMemRefTypeGetAffineMap(type)))
    return anas_fail(ANAS_UNSUPPORTED,
                     "kernel function: an operand is not a memref of static shape and identity layout");
  operand->element = mlirShapedTypeGetElementType(type);
  int rank = (int)mlirShapedTypeGetRank(type);
  if (rank > MAX_RANK || mlirAffineMapGetNumResults(map) != rank)
    return anas_fail(ANAS_INVALID, "kernel function: an indexing map does not match the rank of its memref");
  int64_t weight[MAX_RANK + 1];
  weight[rank] = 1;
  for (int d = rank - 1; d >= 0; d--)
    weight[d] = weight[d + 1] * mlirShapedTypeGetDimSize(type, d);
  operand->elements = weight[0];
  bool plain[MAX_DIMS] = {false};
  bool outermost = true;
  for (int d = 0; d < rank; d++) {
    struct linear linear = {0};
    if (!add_linear(mlirAffineMapGetResult(map, d), 1, &linear)) {
      ANAS_RETURN_IF_ERROR(
          read_border(operand, mlirAffineMapGetResult(map, d), weight[d + 1], num_dims, extents, indexed));
      continue;
    }
    operand->offset += linear.constant * weight[d + 1];
    for (int l = 0; l < num_dims; l++)
      operand->stride[l] += linear.coef[l] * weight[d + 1];
    int slowest = distinct_digits(&linear, num_dims, extents);
    if (slowest >= 0)
      for (int l = 0; l < num_dims; l++)
        if (linear.coef[l] && extents[l] > 1) plain[l] = true;
    if (outermost && mlirShapedTypeGetDimSize(type, d) > 1) {
      outermost = false;
      if (slowest >= 0) {
        operand->slab[slowest] = true;
        operand->slab_offset = linear.constant * weight[d + 1];
      }
    }
  }
  if (operand->output)
    for (int l = 0; l < num_dims; l++)
      split[l] = split[l] && plain[l];
  return ANAS_OK;
}

static void drop_loop(struct anas_cpu_nest *nest, int loop, int replacement) {
  int last = nest->num_loops - 1;
  for (int l = loop; l < last; l++) {
    nest->extent[l] = nest->extent[l + 1];
    nest->reduction[l] = nest->reduction[l + 1];
    nest->split[l] = nest->split[l + 1];
    nest->indexed[l] = nest->indexed[l + 1];
    for (int o = 0; o < nest->num_operands; o++) {
      nest->operand[o].stride[l] = nest->operand[o].stride[l + 1];
      nest->operand[o].slab[l] = nest->operand[o].slab[l + 1];
      for (int b = 0; b < nest->operand[o].num_borders; b++)
        nest->operand[o].border[b].loop[l] = nest->operand[o].border[b].loop[l + 1];
    }
  }
  for (int o = 0; o < nest->num_operands; o++) {
    nest->operand[o].stride[last] = nest->operand[o].slab[last] = 0;
    for (int b = 0; b < nest->operand[o].num_borders; b++)
      nest->operand[o].border[b].loop[last] = false;
  }
  for (int d = 0; d < MAX_DIMS; d++) {
    int *position = &nest->loop_of_dim[d];
    if (*position == loop) *position = replacement;
    if (*position > loop) --*position;
  }
  if (nest->lead_loop == loop) nest->lead_loop = replacement;
  if (nest->lead_loop > loop) nest->lead_loop--;
  nest->num_loops--;
}

static bool mergeable(const struct anas_cpu_nest *nest, int outer, int inner) {
  if (nest->reduction[outer] != nest->reduction[inner] || nest->split[outer] != nest->split[inner] ||
      nest->indexed[outer] || nest->indexed[inner])
    return false;
  for (int o = 0; o < nest->num_operands; o++)
    if (nest->operand[o].stride[outer] != nest->operand[o].stride[inner] * nest->extent[inner]) return false;
  return true;
}

static void merge_loops(struct anas_cpu_nest *nest) {
  for (bool changed = true; changed;) {
    changed = false;
    for (int outer = 0; outer < nest->num_loops && !changed; outer++)
      for (int inner = 0; inner < nest->num_loops && !changed; inner++) {
        if (outer == inner || !mergeable(nest, outer, inner)) continue;
        nest->extent[inner] *= nest->extent[outer];
        if (nest->lead_loop == inner) nest->lead_loop = -1;
        for (int o = 0; o < nest->num_operands; o++)
          nest->operand[o].slab[inner] = nest->operand[o].slab[outer];
        drop_loop(nest, outer, inner);
        changed = true;
      }
  }
}

// Whether the parallel loops enumerate every element of an output once: distinct mixed-radix digits, and as many
// iterations as elements.
static bool covers(const struct anas_cpu_nest *nest, const struct anas_cpu_operand *output) {
  int64_t iterations = 1, span = 1;
  bool done[ANAS_CPU_LOOPS] = {false};
  for (;;) {
    int next = -1;
    for (int l = 0; l < nest->num_loops; l++) {
      if (done[l] || output->stride[l] == 0) continue;
      if (output->stride[l] < 0 || nest->reduction[l]) return false;
      if (next < 0 || output->stride[l] < output->stride[next]) next = l;
    }
    if (next < 0) break;
    if (output->stride[next] < span) return false;
    span += output->stride[next] * (nest->extent[next] - 1);
    iterations *= nest->extent[next];
    done[next] = true;
  }
  return iterations == output->elements;
}

static void find_indexed(MlirBlock body, struct anas_cpu_nest *nest) {
  for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (strcmp(name_of(op), "linalg.index") != 0) continue;
    int64_t dim = mlirIntegerAttrGetValueInt(attribute_of(op, "dim"));
    if (dim >= 0 && dim < MAX_DIMS && nest->loop_of_dim[dim] >= 0) nest->indexed[nest->loop_of_dim[dim]] = true;
  }
}

static anas_status read_generic(MlirOperation generic, struct anas_cpu_nest *nest) {
  MlirAttribute segments = attribute_of(generic, "operandSegmentSizes");
  MlirAttribute maps = attribute_of(generic, "indexing_maps");
  MlirAttribute iterators = attribute_of(generic, "iterator_types");
  int num_dims = (int)mlirArrayAttrGetNumElements(iterators);
  nest->num_in = mlirDenseI32ArrayGetElement(segments, 0);
  nest->num_operands = nest->num_in + mlirDenseI32ArrayGetElement(segments, 1);
  if (num_dims > ANAS_CPU_LOOPS || nest->num_operands > ANAS_CPU_OPERANDS)
    return anas_fail(ANAS_UNSUPPORTED, "kernel function: %d loops and %d operands; the emitter takes %d and %d",
                     num_dims, nest->num_operands, ANAS_CPU_LOOPS, ANAS_CPU_OPERANDS);
  // A loop's extent is the size of a dimension it indexes alone; linalg verifies that there is one.
  for (int l = 0; l < num_dims; l++) {
    nest->extent[l] = -1;
    nest->loop_of_dim[l] = l;
    struct anas_strbuf text = {0};
    mlirAttributePrint(mlirArrayAttrGetElement(iterators, l), anas_print_to_strbuf, &text);
    nest->reduction[l] = strstr(anas_strbuf_text(&text), "reduction") != NULL;
    anas_strbuf_deinit(&text);
  }
  for (int o = 0; o < nest->num_operands; o++) {
    MlirAffineMap map = mlirAffineMapAttrGetValue(mlirArrayAttrGetElement(maps, o));
    MlirType type = mlirValueGetType(mlirOperationGetOperand(generic, o));
    for (int d = 0; d < mlirAffineMapGetNumResults(map); d++) {
      MlirAffineExpr expr = mlirAffineMapGetResult(map, d);
      if (!mlirAffineExprIsADim(expr)) continue;
      int64_t *extent = &nest->extent[mlirAffineDimExprGetPosition(expr)];
      int64_t size = mlirShapedTypeGetDimSize(type, d);
      if (*extent < 0) *extent = size;
    }
  }
  nest->num_loops = num_dims;
  nest->lead_loop = num_dims > 0 && !nest->reduction[0] ? 0 : -1;
  nest->lead_extent = num_dims > 0 ? nest->extent[0] : 0;
  for (int l = 0; l < num_dims; l++) {
    if (nest->extent[l] < 0)
      return anas_fail(ANAS_INVALID,
                       "kernel function: loop %d of the nest indexes no dimension alone, its extent is unknown", l);
    nest->split[l] = !nest->reduction[l];
  }
  for (int o = 0; o < nest->num_operands; o++) {
    nest->operand[o].memref = mlirOperationGetOperand(generic, o);
    nest->operand[o].output = o >= nest->num_in;
    MlirAffineMap map = mlirAffineMapAttrGetValue(mlirArrayAttrGetElement(maps, o));
    ANAS_RETURN_IF_ERROR(read_operand(&nest->operand[o], map, num_dims, nest->extent, nest->split, nest->indexed));
  }
  nest->body = mlirRegionGetFirstBlock(mlirOperationGetRegion(generic, 0));
  int kept = 0, inputs = 0;
  for (int o = 0; o < nest->num_operands; o++) {
    MlirValue argument = mlirBlockGetArgument(nest->body, o);
    if (o < nest->num_in && mlirOpOperandIsNull(mlirValueGetFirstUse(argument))) continue;
    inputs += o < nest->num_in;
    nest->operand[kept] = nest->operand[o];
    nest->operand[kept++].argument = o;
  }
  nest->num_in = inputs;
  nest->num_operands = kept;
  return ANAS_OK;
}

anas_status anas_cpu_nest_read(MlirOperation function, struct anas_cpu_nest *out) {
  struct anas_cpu_nest nest;
  memset(&nest, 0, sizeof nest);
  memset(nest.loop_of_dim, -1, sizeof nest.loop_of_dim);
  MlirBlock entry = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  MlirOperation generic = {0};
  for (MlirOperation op = mlirBlockGetFirstOperation(entry); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    const char *name = name_of(op);
    if (strcmp(name, "linalg.generic") == 0) {
      if (!mlirOperationIsNull(generic))
        return anas_fail(ANAS_UNSUPPORTED, "kernel function: more than one linalg.generic");
      generic = op;
    } else if (strcmp(name, "linalg.fill") != 0 && strcmp(name, "arith.constant") != 0 &&
               strcmp(name, "func.return") != 0) {
      return anas_fail(ANAS_UNSUPPORTED, "kernel function: '%s' beside fills and one linalg.generic", name);
    }
  }
  if (mlirOperationIsNull(generic)) return anas_fail(ANAS_UNSUPPORTED, "kernel function: no linalg.generic");
  ANAS_RETURN_IF_ERROR(read_generic(generic, &nest));
  for (MlirOperation op = mlirBlockGetFirstOperation(entry); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    if (strcmp(name_of(op), "linalg.fill") != 0) continue;
    MlirValue value = mlirOperationGetOperand(op, 0), memref = mlirOperationGetOperand(op, 1);
    struct anas_cpu_operand *filled = NULL;
    for (int o = nest.num_in; o < nest.num_operands; o++)
      if (mlirValueEqual(nest.operand[o].memref, memref)) filled = &nest.operand[o];
    if (!filled || !mlirValueIsAOpResult(value) || strcmp(name_of(mlirOpResultGetOwner(value)), "arith.constant") != 0)
      return anas_fail(ANAS_UNSUPPORTED, "kernel function: a linalg.fill must put a constant into an output");
    filled->filled = true;
    filled->fill = attribute_of(mlirOpResultGetOwner(value), "value");
  }
  find_indexed(nest.body, &nest);
  for (int l = nest.num_loops - 1; l >= 0; l--)
    if (nest.extent[l] == 1) drop_loop(&nest, l, -1);
  merge_loops(&nest);
  for (int o = nest.num_in; o < nest.num_operands; o++)
    nest.operand[o].covered = covers(&nest, &nest.operand[o]);
  *out = nest;
  return ANAS_OK;
}

int64_t anas_cpu_nest_iterations(const struct anas_cpu_nest *nest) {
  int64_t iterations = 1;
  for (int l = 0; l < nest->num_loops; l++)
    iterations *= nest->extent[l];
  return iterations;
}
