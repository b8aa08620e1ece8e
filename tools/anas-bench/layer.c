// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Layers of a training step: collected from its training ops.
#include "tools/anas-bench/layer.h"

#include "dialect/attributes.h"
#include "dialect/context.h"
#include "dialect/equation.h"
#include "passes/train/training_op.h"
#include "runtime/support/memory.h"

#include <mlir-c/BuiltinAttributes.h>
#include <stdlib.h>
#include <string.h>

void layers_deinit(struct layers *layers) {
  for (int i = 0; i < layers->count; i++) {
    struct layer *layer = &layers->items[i];
    free(layer->op);
    free(layer->kind);
    free(layer->name);
    free(layer->model);
    free(layer->text);
    free(layer->program);
  }
  free(layers->items);
  *layers = (struct layers){0};
}

// ---- convolutions

static const char *conv_class(const struct anas_conv *conv) {
  bool pointwise = true, unit_stride = true, three = true;
  for (int d = 0; d < conv->spatial; d++) {
    pointwise &= conv->dim[d].window == 1;
    unit_stride &= conv->dim[d].stride == 1;
    three &= conv->dim[d].window == 3 && conv->dim[d].dilation == 1;
  }
  if (conv->groups > 1) return anas_conv_narrow(conv) ? "depthwise" : "grouped";
  if (conv->channels < 8) return "stem";
  if (!unit_stride) return "strided";
  return pointwise ? "1x1" : three ? "3x3" : "other";
}

static void describe_conv(const struct anas_op *op, const struct anas_conv *conv, struct layer *layer) {
  struct anas_strbuf text = {0};
  layer->is_conv = true;
  layer->conv = *conv;
  layer->kind = anas_format("%s %s", op->def->name, conv_class(conv));
  double positions = (double)conv->batch, window = 1;
  anas_strbuf_addf(&text, "%lldx", (long long)conv->batch);
  for (int d = 0; d < conv->spatial; d++) {
    anas_strbuf_addf(&text, "%lldx", (long long)conv->dim[d].in);
    positions *= (double)conv->dim[d].out;
    window *= (double)conv->dim[d].window;
  }
  anas_strbuf_addf(&text, "%lld ", (long long)conv->channels);
  for (int d = 0; d < conv->spatial; d++)
    anas_strbuf_addf(&text, "%s%lld", d ? "x" : "", (long long)conv->dim[d].window);
  if (conv->dim[0].stride != 1) anas_strbuf_addf(&text, "/%lld", (long long)conv->dim[0].stride);
  if (conv->dim[0].dilation != 1) anas_strbuf_addf(&text, " dilation %lld", (long long)conv->dim[0].dilation);
  if (conv->groups != 1) anas_strbuf_addf(&text, " groups %lld", (long long)conv->groups);
  anas_strbuf_addf(&text, " -> %lld", (long long)conv->features);
  layer->name = anas_strbuf_detach(&text);
  layer->flops = 2 * positions * window * (double)conv->features * (double)(conv->channels / conv->groups);
}

static anas_status read_conv(const struct anas_op *op, struct layer *layer) {
  struct anas_ints window = {0};
  const struct anas_shape *first = &op->operand[0], *second = &op->operand[1];
  struct anas_shape input = *first;
  int64_t features = second->dim[second->rank - 1];
  layer->pass = !strcmp(op->def->name, "conv_fwd")        ? CONV_FORWARD
                : !strcmp(op->def->name, "conv_bwd_data") ? CONV_BACKWARD_DATA
                                                          : CONV_BACKWARD_FILTER;
  const struct anas_ints *extents = &op->attr[ANAS_CONV_EXTENTS].value.ints;
  window.count = first->rank - 2;
  for (int d = 0; d < window.count; d++)
    window.value[d] = layer->pass == CONV_BACKWARD_FILTER ? anas_ints_at(extents, d) : second->dim[d];
  if (layer->pass == CONV_BACKWARD_DATA) {
    for (int d = 0; d < window.count; d++)
      input.dim[d + 1] = anas_ints_at(extents, d);
    input.dim[input.rank - 1] = second->dim[second->rank - 2] * op->attr[ANAS_CONV_GROUPS].value.i;
  }
  struct anas_conv conv;
  ANAS_RETURN_IF_ERROR(anas_conv_of_train(op, &input, features, &window, &conv));
  describe_conv(op, &conv, layer);
  return ANAS_OK;
}

// ---- products

static void set_product(const struct anas_op *op, struct product product, struct layer *layer) {
  double items = 1;
  struct anas_strbuf text = {0};
  for (int i = 0; i < product.num_loops; i++)
    items *= (double)product.loop[i].extent;
  if (items > 1) anas_strbuf_addf(&text, "%.0f x ", items);
  anas_strbuf_addf(&text, "%lldx%lldx%lld%s%s", (long long)product.m, (long long)product.n, (long long)product.k,
                   product.transpose_a ? " transposed a" : "", product.transpose_b ? " transposed b" : "");
  layer->is_product = true;
  layer->product = product;
  layer->kind = anas_strdup(op->def->name);
  layer->name = anas_strbuf_detach(&text);
  layer->flops = 2 * items * (double)product.m * (double)product.n * (double)product.k;
}

static anas_status read_dense(const struct anas_op *op, struct layer *layer) {
  const struct anas_shape *a = &op->operand[0], *b = &op->operand[1];
  int64_t width = a->dim[a->rank - 1], rows = anas_shape_elements(a) / width;
  struct product p = {.m = rows, .n = b->dim[1], .k = width, .lda = width, .ldb = b->dim[1], .ldc = b->dim[1]};
  if (!strcmp(op->def->name, "dense_bwd_filter")) { // x^T dy
    int64_t features = b->dim[b->rank - 1];
    p = (struct product){.m = width, .n = features, .k = rows, .lda = width, .ldb = features, .ldc = features};
    p.transpose_a = true;
  } else if (!strcmp(op->def->name, "dense_bwd_data")) { // dy w^T
    p = (struct product){.m = rows, .n = b->dim[0], .k = width, .lda = width, .ldb = width, .ldc = b->dim[0]};
    p.transpose_b = true;
  }
  p.elements[0] = anas_shape_elements(a);
  p.elements[1] = anas_shape_elements(b);
  p.elements[2] = p.m * p.n;
  set_product(op, p, layer);
  return ANAS_OK;
}

// Elements from one index of a label to the next in a term; 0 if the term lacks it.
static int64_t label_stride(const struct anas_equation *e, int term, int label) {
  int at = anas_equation_find(e, term, label);
  if (at < 0) return 0;
  int64_t stride = 1;
  for (int d = at + 1; d < e->rank[term]; d++)
    stride *= e->extent[e->label[term][d]];
  return stride;
}

static int64_t term_elements(const struct anas_equation *e, int term) {
  int64_t count = 1;
  for (int d = 0; d < e->rank[term]; d++)
    count *= e->extent[e->label[term][d]];
  return count;
}

// True if the equation is one matrix product per batch item, with one label each for rows, columns and the sum.
static bool product_of_equation(const struct anas_equation *e, struct product *out) {
  int role[3] = {-1, -1, -1}; // label of m, n, k
  struct product p = {0};
  for (int l = 0; l < e->num_labels; l++) {
    bool a = anas_equation_find(e, 0, l) >= 0, b = anas_equation_find(e, 1, l) >= 0;
    bool c = anas_equation_find(e, ANAS_EQUATION_RESULT, l) >= 0;
    if (e->extent[l] == 1) continue;
    if (a && b && c) {
      if (p.num_loops == MAX_PRODUCT_LOOPS) return false;
      p.loop[p.num_loops].extent = e->extent[l];
      p.loop[p.num_loops].a = label_stride(e, 0, l);
      p.loop[p.num_loops].b = label_stride(e, 1, l);
      p.loop[p.num_loops++].c = label_stride(e, ANAS_EQUATION_RESULT, l);
      continue;
    }
    int which = a && c ? 0 : b && c ? 1 : a && b ? 2 : -1;
    if (which < 0 || role[which] >= 0) return false;
    role[which] = l;
  }
  if (role[0] < 0 || role[1] < 0 || role[2] < 0) return false;
  int left = 0, right = 1;
  if (label_stride(e, ANAS_EQUATION_RESULT, role[1]) != 1) { // the transposed product has rows that are contiguous
    left = 1, right = 0;
    int rows = role[0];
    role[0] = role[1];
    role[1] = rows;
    for (int i = 0; i < p.num_loops; i++) {
      int64_t a = p.loop[i].a;
      p.loop[i].a = p.loop[i].b;
      p.loop[i].b = a;
    }
  }
  int64_t am = label_stride(e, left, role[0]), ak = label_stride(e, left, role[2]);
  int64_t bk = label_stride(e, right, role[2]), bn = label_stride(e, right, role[1]);
  if ((am != 1 && ak != 1) || (bk != 1 && bn != 1) || label_stride(e, ANAS_EQUATION_RESULT, role[1]) != 1) return false;
  p.m = e->extent[role[0]];
  p.n = e->extent[role[1]];
  p.k = e->extent[role[2]];
  p.transpose_a = ak != 1;
  p.transpose_b = bn != 1;
  p.lda = p.transpose_a ? ak : am;
  p.ldb = p.transpose_b ? bn : bk;
  p.ldc = label_stride(e, ANAS_EQUATION_RESULT, role[0]);
  p.elements[0] = term_elements(e, left);
  p.elements[1] = term_elements(e, right);
  p.elements[2] = term_elements(e, ANAS_EQUATION_RESULT);
  *out = p;
  return true;
}

static anas_status read_contraction(const struct anas_op *op, const struct anas_shape *result, struct layer *layer) {
  struct anas_equation equation;
  struct product product;
  ANAS_RETURN_IF_ERROR(anas_equation_bind(op, op->attr[0].value.text, result, &equation));
  if (product_of_equation(&equation, &product)) {
    set_product(op, product, layer);
    return ANAS_OK;
  }
  char a[128], b[128];
  layer->kind = anas_strdup(op->def->name);
  layer->name = anas_format("%s of %s and %s", op->attr[0].value.text, anas_shape_text(&op->operand[0], a),
                            anas_shape_text(&op->operand[1], b));
  layer->flops = 2;
  for (int l = 0; l < equation.num_labels; l++)
    layer->flops *= (double)equation.extent[l];
  return ANAS_OK;
}

// ---- programs

static void add_type(struct anas_strbuf *text, MlirType type) {
  mlirTypePrint(type, anas_print_to_strbuf, text);
}

// "anas.conv_fwd"(%x, %w) {...} : (...) -> ... : without a bias, which belongs to no other library's product.
static void add_op(struct anas_strbuf *text, MlirOperation op) {
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  anas_strbuf_addf(text, "\"%.*s\"(%%x, %%w) {", (int)name.length, name.data);
  for (intptr_t i = 0; i < mlirOperationGetNumAttributes(op); i++) {
    MlirNamedAttribute attribute = mlirOperationGetAttribute(op, i);
    MlirStringRef key = mlirIdentifierStr(attribute.name);
    anas_strbuf_addf(text, "%s%.*s = ", i ? ", " : "", (int)key.length, key.data);
    mlirAttributePrint(attribute.attribute, anas_print_to_strbuf, text);
  }
  anas_strbuf_adds(text, "} : (");
  add_type(text, mlirValueGetType(mlirOperationGetOperand(op, 0)));
  anas_strbuf_adds(text, ", ");
  add_type(text, mlirValueGetType(mlirOperationGetOperand(op, 1)));
  anas_strbuf_adds(text, ") -> ");
  add_type(text, mlirValueGetType(mlirOperationGetResult(op, 0)));
}

// A step whose parameters are operands and result of the op; the parameter buffer then holds all three.
static char *print_program(MlirOperation op, const char *op_text) {
  struct anas_strbuf text = {0};
  const char *const names[] = {"x", "w", "y"};
  MlirType types[] = {mlirValueGetType(mlirOperationGetOperand(op, 0)),
                      mlirValueGetType(mlirOperationGetOperand(op, 1)),
                      mlirValueGetType(mlirOperationGetResult(op, 0))};
  anas_strbuf_adds(&text, "module attributes {anas.batch = 1 : i64, anas.classes = 1 : i64, "
                          "anas.image = array<i64: 1, 1, 1>} {\nfunc.func @train_step(");
  for (int i = 0; i < 3; i++) {
    anas_strbuf_addf(&text, "%s%%%s: ", i ? ", " : "", names[i]);
    add_type(&text, types[i]);
    anas_strbuf_addf(&text,
                     " {anas.param = \"%s\", anas.init = \"zeros\", anas.fan_in = 1 : i64, "
                     "anas.fan_out = 1 : i64}",
                     names[i]);
  }
  struct anas_strbuf list = {0};
  for (int i = 0; i < 3; i++) {
    if (i) anas_strbuf_adds(&list, ", ");
    add_type(&list, types[i]);
  }
  anas_strbuf_addf(&text,
                   ") -> (%s) {\n  %%r = %s\n  return %%x, %%w, %%r : %s\n}\nfunc.func @infer() {\n  return\n}\n}\n",
                   list.data, op_text, list.data);
  anas_strbuf_deinit(&list);
  return anas_strbuf_detach(&text);
}

// ---- collecting

static bool is_layer(MlirOperation op) {
  static const char *const names[] = {"anas.conv_fwd",        "anas.conv_bwd_data", "anas.conv_bwd_filter",
                                      "anas.contraction",     "anas.dense_fwd",     "anas.dense_bwd_data",
                                      "anas.dense_bwd_filter"};
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (mlirStringRefEqual(name, anas_ref_text(names[i]))) return true;
  return false;
}

static anas_status add_layer(struct layers *layers, MlirOperation operation, const char *model) {
  struct anas_strbuf text = {0};
  add_op(&text, operation);
  for (int i = 0; i < layers->count; i++)
    if (!strcmp(layers->items[i].text, text.data)) {
      layers->items[i].uses++;
      anas_strbuf_deinit(&text);
      return ANAS_OK;
    }
  struct anas_op op;
  struct anas_shape result;
  struct layer layer = {.uses = 1};
  anas_status status = anas_training_op_read(operation, &op);
  if (status == ANAS_OK) status = anas_shape_from_type(mlirValueGetType(mlirOperationGetResult(operation, 0)), &result);
  if (status == ANAS_OK)
    status = !strncmp(op.def->name, "conv", 4) && strcmp(op.def->name, "contraction") ? read_conv(&op, &layer)
             : !strncmp(op.def->name, "dense", 5)                                     ? read_dense(&op, &layer)
                                                  : read_contraction(&op, &result, &layer);
  if (status != ANAS_OK) {
    anas_strbuf_deinit(&text);
    return status;
  }
  layer.op = anas_strdup(op.def->name);
  layer.model = anas_strdup(model);
  layer.program = print_program(operation, text.data);
  layer.text = anas_strbuf_detach(&text);
  layers->items = anas_grow(layers->items, (size_t)layers->count, &layers->capacity, sizeof *layers->items);
  layers->items[layers->count++] = layer;
  return ANAS_OK;
}

anas_status layers_collect(struct layers *layers, MlirModule train_step, const char *model) {
  MlirOperation function = mlirBlockGetFirstOperation(mlirModuleGetBody(train_step)); // @train_step; @infer follows
  MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
  for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    if (is_layer(op)) ANAS_RETURN_IF_ERROR(add_layer(layers, op, model));
  return ANAS_OK;
}
