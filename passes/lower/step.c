// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading an entry function of training ops into nests and buffers, and putting its results in place.
#include "passes/lower/step.h"

#include "dialect/attributes.h"
#include "dialect/context.h"
#include "passes/train/training_op.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const anas_io_names[ANAS_NUM_IO] = {"image", "label", "learning_rate", "seed", "loss", "correct", "logits"};

// ---- attributes of arguments and results

// Attribute 'name' of the dictionary of argument or result i in array attribute 'list'; null if there is none.
static MlirAttribute value_attr(MlirOperation function, const char *list, int i, const char *name) {
  MlirAttribute array = mlirOperationGetAttributeByName(function, anas_ref_text(list));
  if (mlirAttributeIsNull(array) || !mlirAttributeIsAArray(array) || i >= mlirArrayAttrGetNumElements(array))
    return mlirAttributeGetNull();
  return mlirDictionaryAttrGetElementByName(mlirArrayAttrGetElement(array, i), anas_ref_text(name));
}

static const char *text_attr(struct anas_arena *arena, MlirOperation function, const char *list, int i,
                             const char *name) {
  MlirAttribute attribute = value_attr(function, list, i, name);
  if (mlirAttributeIsNull(attribute) || !mlirAttributeIsAString(attribute)) return NULL;
  MlirStringRef text = mlirStringAttrGetValue(attribute);
  return anas_arena_strndup(arena, text.data, text.length);
}

static int64_t int_attr(MlirOperation function, int i, const char *name) {
  MlirAttribute attribute = value_attr(function, "arg_attrs", i, name);
  return mlirAttributeIsNull(attribute) || !mlirAttributeIsAInteger(attribute) ? 0
                                                                               : mlirIntegerAttrGetValueInt(attribute);
}

static int io_index(const char *name) {
  for (int i = 0; i < ANAS_NUM_IO; i++)
    if (!strcmp(anas_io_names[i], name)) return i;
  return -1;
}

static MlirBlock function_body(MlirOperation function) {
  return mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
}

static MlirOperation function_return(MlirOperation function) {
  return mlirBlockGetTerminator(function_body(function));
}

// ---- layout

static anas_status set_io(struct anas_layout *layout, const char *name, MlirType type) {
  int io = name ? io_index(name) : -1;
  if (io < 0) return anas_fail(ANAS_INVALID, "an argument or result of '@train_step' has no anas.param or anas.io");
  return anas_shape_from_type(type, &layout->io_shape[io]);
}

static anas_status read_tensor(MlirOperation function, int i, const char *name, MlirType type,
                               struct anas_layout *layout) {
  struct anas_step_tensor *t = &layout->tensors[layout->num_tensors];
  const char *state = text_attr(&layout->arena, function, "arg_attrs", i, "anas.state");
  t->name = name;
  t->init = text_attr(&layout->arena, function, "arg_attrs", i, "anas.init");
  t->role = !state ? "param" : !strcmp(state, "statistic") ? "state" : "optimizer";
  t->fan_in = int_attr(function, i, "anas.fan_in");
  t->fan_out = int_attr(function, i, "anas.fan_out");
  ANAS_RETURN_IF_ERROR(anas_shape_from_type(type, &t->shape));
  if (!t->init || t->shape.element != ANAS_F32)
    return anas_fail(ANAS_INVALID, "parameter '%s' must be f32 and have an initialiser (anas.init)", name);
  t->offset = layout->params_bytes;
  layout->params_bytes += anas_align(anas_shape_elements(&t->shape) * anas_element_bytes(t->shape.element));
  layout->num_tensors++;
  return ANAS_OK;
}

static anas_status layout_read(MlirOperation function, struct anas_layout *layout) {
  MlirBlock body = function_body(function);
  int num_args = (int)mlirBlockGetNumArguments(body);
  layout->tensors = anas_calloc((size_t)num_args, sizeof *layout->tensors);
  for (int i = 0; i < num_args; i++) {
    MlirType type = mlirValueGetType(mlirBlockGetArgument(body, i));
    const char *param = text_attr(&layout->arena, function, "arg_attrs", i, "anas.param");
    if (param)
      ANAS_RETURN_IF_ERROR(read_tensor(function, i, param, type, layout));
    else
      ANAS_RETURN_IF_ERROR(set_io(layout, text_attr(&layout->arena, function, "arg_attrs", i, "anas.io"), type));
  }
  if (!layout->params_bytes) layout->params_bytes = ANAS_ALIGNMENT; // a network without parameters has a buffer, too
  MlirOperation ret = function_return(function);
  for (int i = layout->num_tensors; i < (int)mlirOperationGetNumOperands(ret); i++)
    ANAS_RETURN_IF_ERROR(set_io(layout, text_attr(&layout->arena, function, "res_attrs", i, "anas.io"),
                                mlirValueGetType(mlirOperationGetOperand(ret, i))));
  for (int io = 0; io < ANAS_NUM_IO; io++) {
    const struct anas_shape *shape = &layout->io_shape[io];
    layout->io_offset[io] = layout->io_end;
    layout->io_bytes[io] = shape->rank ? anas_shape_elements(shape) * anas_element_bytes(shape->element) : 0;
    layout->io_end += anas_align(layout->io_bytes[io]);
  }
  return ANAS_OK;
}

anas_status anas_layout_read(MlirOperation train_step, struct anas_layout *out) {
  struct anas_layout layout = {0};
  anas_status status = layout_read(train_step, &layout);
  if (status == ANAS_OK)
    *out = layout;
  else
    anas_layout_deinit(&layout);
  return status;
}

void anas_layout_deinit(struct anas_layout *layout) {
  free(layout->tensors);
  anas_arena_deinit(&layout->arena);
  *layout = (struct anas_layout){0};
}

// ---- reading

struct reader {
  struct anas_step *step;
  const struct anas_layout *layout;
  MlirOperation *ops;               // training ops so far
  int (*results)[ANAS_MAX_RESULTS]; // their buffers
  int num_ops;
  int *args;                   // handle per argument
  struct anas_touches touches; // once all ops are read
  struct anas_arena arena;
};

static int value_buffer(const struct reader *r, MlirValue value) {
  if (mlirValueIsABlockArgument(value)) return r->args[mlirBlockArgumentGetArgNumber(value)];
  MlirOperation owner = mlirOpResultGetOwner(value);
  for (int i = r->num_ops - 1; i >= 0; i--)
    if (mlirOperationEqual(r->ops[i], owner)) return r->results[i][mlirOpResultGetResultNumber(value)];
  return -1;
}

static int fixed_buffer(struct anas_step *step, const struct anas_layout *layout, int io) {
  if (step->io[io] < 0) {
    step->io[io] = anas_lowering_buffer(step->lowering, &layout->io_shape[io]);
    step->lowering->buffers[step->io[io]]->place = ANAS_PLACE_FIXED;
    step->lowering->buffers[step->io[io]]->address = layout->io_offset[io];
  }
  return step->io[io];
}

static anas_status read_argument(struct reader *r, MlirOperation function, int i, MlirType type) {
  struct anas_lowering *l = r->step->lowering;
  const char *param = text_attr(&r->arena, function, "arg_attrs", i, "anas.param");
  const char *io = text_attr(&r->arena, function, "arg_attrs", i, "anas.io");
  struct anas_shape shape;
  ANAS_RETURN_IF_ERROR(anas_shape_from_type(type, &shape));
  if (io && io_index(io) >= 0 && anas_shape_equal(&shape, &r->layout->io_shape[io_index(io)])) {
    r->args[i] = fixed_buffer(r->step, r->layout, io_index(io));
    return ANAS_OK;
  }
  for (int t = 0; t < r->layout->num_tensors && param; t++) {
    const struct anas_step_tensor *tensor = &r->layout->tensors[t];
    if (strcmp(tensor->name, param) != 0 || !anas_shape_equal(&tensor->shape, &shape)) continue;
    r->args[i] = anas_lowering_buffer(l, &shape);
    anas_lowering_alias(l, r->args[i], r->step->params, tensor->offset);
    return ANAS_OK;
  }
  return anas_fail(ANAS_INVALID, "argument %d has neither the anas.param of a tensor of '@train_step' nor an anas.io",
                   i);
}

static anas_status read_op(struct reader *r, MlirOperation operation) {
  struct anas_op op;
  ANAS_RETURN_IF_ERROR(anas_training_op_read(operation, &op));
  int operands[ANAS_MAX_OPERANDS];
  for (int i = 0; i < op.num_operands; i++)
    operands[i] = value_buffer(r, mlirOperationGetOperand(operation, i));
  struct anas_step *step = r->step;
  int number = step->lowering->num_ops;
  step->op_defs = anas_grow(step->op_defs, (size_t)number, &step->capacity_op_defs, sizeof *step->op_defs);
  step->op_defs[number] = op.def;
  r->ops[r->num_ops] = operation;
  ANAS_RETURN_IF_ERROR(anas_lowering_run(step->lowering, &op, operands, r->results[r->num_ops]));
  if (mlirOperationGetNumResults(operation) != anas_lowering_num_results(&op))
    return anas_fail(ANAS_INVALID, "'anas.%s' has %d results", op.def->name, anas_lowering_num_results(&op));
  r->num_ops++;
  return ANAS_OK;
}

// ---- results

int anas_step_append_copy(struct anas_step *step, int source, int result) {
  struct anas_nest *nest = anas_lower_map(step->lowering, "copy", &source, 1, result);
  anas_nest_yield(nest, 0, "%%i0");
  return step->lowering->num_nests - 1;
}

// Makes 'value' and 'place' one buffer, if value has storage of its own and nobody needs what was in place before.
static bool move_into_place(struct anas_step *step, struct anas_touches *touches, int value, int place) {
  struct anas_lowering *l = step->lowering;
  struct anas_buffer *buffer = l->buffers[value];
  if (buffer->alias >= 0 || buffer->place != ANAS_PLACE_ARENA) return false;
  int storage = anas_lowering_storage(l, place);
  const struct anas_touch *first = anas_touches_after(touches, value, -1);
  while (first->nest < l->num_nests && !anas_nest_writes(l, l->nests[first->nest], value))
    first++;
  for (const struct anas_touch *t = anas_touches_after(touches, storage, first->nest - 1); t->nest < l->num_nests;
       t++) {
    int n = t->nest;
    if (anas_nest_writes(l, l->nests[n], place) || anas_nest_reads(l, l->nests[n], place)) {
      // The nest that computes the new value from the old may stay if it reads each element before writing it.
      const struct anas_nest *nest = l->nests[n];
      bool elementwise = n == first->nest && !anas_nest_writes(l, nest, place) &&
                         anas_shape_equal(&buffer->shape, &l->buffers[place]->shape);
      int output = -1;
      for (int j = 0; j < nest->num_out && elementwise; j++)
        if (anas_lowering_overlap(l, nest->out[j].buffer, value)) output = j;
      for (int i = 0; i < nest->num_in && elementwise && output >= 0; i++)
        if (anas_lowering_overlap(l, nest->in[i].buffer, place))
          elementwise = anas_lowering_same(l, nest->in[i].buffer, place) && nest->fill[output] == ANAS_NO_FILL &&
                        anas_lowering_same(l, nest->out[output].buffer, value) &&
                        anas_access_same_index(&nest->in[i], &nest->out[output], buffer->shape.rank) &&
                        anas_access_bijective(l, nest, &nest->out[output]);
      for (int k = 0; k < nest->num_loops && elementwise; k++)
        elementwise = !nest->reduction[k] || nest->extent[k] == 1;
      if (!elementwise || output < 0) return false;
    }
  }
  anas_lowering_alias(l, value, place, 0);
  anas_touches_merge(touches, value, storage);
  return true;
}

static anas_status place_result(struct anas_step *step, struct anas_touches *touches, int value, int place) {
  struct anas_lowering *l = step->lowering;
  int64_t at, wanted;
  int storage = anas_lowering_locate(l, value, &at), target = anas_lowering_locate(l, place, &wanted);
  if (anas_lowering_bytes(l, value) != anas_lowering_bytes(l, place))
    return anas_fail(ANAS_INVALID, "a result of the step has another type than its place");
  if (storage == target && at == wanted) return ANAS_OK;
  if (storage == target) return anas_fail(ANAS_UNSUPPORTED, "a step that exchanges the values of two parameters");
  if (at == 0 && anas_lowering_bytes(l, storage) == anas_lowering_bytes(l, place) &&
      move_into_place(step, touches, storage, place))
    return ANAS_OK;
  anas_touches_add_nest(touches, l, anas_step_append_copy(step, value, place));
  return ANAS_OK;
}

static anas_status place_results(struct reader *r, MlirOperation function) {
  MlirOperation ret = function_return(function);
  for (int i = 0; i < (int)mlirOperationGetNumOperands(ret); i++) {
    int value = value_buffer(r, mlirOperationGetOperand(ret, i)), place = r->args[i];
    const char *io = text_attr(&r->arena, function, "res_attrs", i, "anas.io");
    if (io) {
      if (io_index(io) < 0) return anas_fail(ANAS_INVALID, "result %d has an unknown anas.io \"%s\"", i, io);
      if (!anas_shape_equal(anas_lower_shape(r->step->lowering, value), &r->layout->io_shape[io_index(io)]))
        return anas_fail(ANAS_INVALID, "result %d does not have the type of '%s' of '@train_step'", i, io);
      place = fixed_buffer(r->step, r->layout, io_index(io));
    } else if (i >= (int)mlirBlockGetNumArguments(function_body(function)) ||
               !anas_shape_equal(anas_lower_shape(r->step->lowering, value),
                                 anas_lower_shape(r->step->lowering, place))) {
      return anas_fail(ANAS_INVALID, "result %d is neither the new value of argument %d nor has it an anas.io", i, i);
    }
    ANAS_RETURN_IF_ERROR(place_result(r->step, &r->touches, value, place));
  }
  return ANAS_OK;
}

static anas_status read_function(struct reader *r, MlirOperation function) {
  MlirBlock body = function_body(function);
  int num_args = (int)mlirBlockGetNumArguments(body), num_ops = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    num_ops++;
  r->args = anas_arena_alloc(&r->arena, sizeof(int) * (size_t)(num_args + num_ops + ANAS_NUM_IO));
  r->ops = anas_arena_alloc(&r->arena, sizeof *r->ops * (size_t)num_ops);
  r->results = anas_arena_alloc(&r->arena, sizeof *r->results * (size_t)num_ops);
  for (int i = 0; i < num_args; i++)
    ANAS_RETURN_IF_ERROR(read_argument(r, function, i, mlirValueGetType(mlirBlockGetArgument(body, i))));
  MlirOperation ret = function_return(function);
  for (MlirOperation op = mlirBlockGetFirstOperation(body); !mlirOperationEqual(op, ret);
       op = mlirOperationGetNextInBlock(op)) {
    anas_status status = read_op(r, op);
    if (status == ANAS_OK) continue;
    anas_emit_error(mlirOperationGetLocation(op), "%s", anas_error_message());
    return status;
  }
  anas_touches_init(&r->touches, r->step->lowering);
  return place_results(r, function);
}

anas_status anas_step_read(MlirOperation function, const struct anas_layout *layout, struct anas_step *out) {
  struct anas_step step = {.lowering = anas_lowering_create()};
  for (int i = 0; i < ANAS_NUM_IO; i++)
    step.io[i] = -1;
  struct anas_shape whole = {.rank = 1, .element = ANAS_F32, .dim = {layout->params_bytes / 4}};
  step.params = anas_lowering_buffer(step.lowering, &whole);
  step.lowering->buffers[step.params]->place = ANAS_PLACE_PARAMS;
  struct reader r = {.step = &step, .layout = layout};
  anas_status status = read_function(&r, function);
  anas_touches_deinit(&r.touches);
  anas_arena_deinit(&r.arena);
  if (status == ANAS_OK)
    *out = step;
  else
    anas_step_deinit(&step);
  return status;
}

void anas_step_deinit(struct anas_step *step) {
  anas_lowering_destroy(step->lowering);
  free(step->op_defs);
  free(step->groups);
  free(step->first_use);
  free(step->last_use);
  *step = (struct anas_step){0};
}
