// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// anas-train-step: from an architecture to @train_step (forward, loss, backward, optimizer) and @infer in training ops.
// Parameters, optimizer state and statistics are arguments; result i of @train_step is the new value of argument i.
#include "dialect/attributes.h"
#include "dialect/context.h"
#include "passes/lower/lower.h"
#include "passes/pass.h"
#include "passes/train/network.h"
#include "passes/train/training_op.h"

#include <mlir-c/BuiltinAttributes.h>
#include <mlir-c/BuiltinTypes.h>
#include <stdlib.h>
#include <string.h>

const char *const anas_program_kind_names[] = {"train", "infer", "synflow", "codes", NULL};

struct tensor { // a parameter, a statistic, or what the optimizer remembers
  const struct anas_param *param;
  int op, index; // parameter 'index' of network op 'op'
  const char *name;
  const char *state; // name of a state of the optimizer, "statistic", null: a parameter
  bool is_optimizer;
  MlirValue value, updated; // in the function being built
};

struct step {
  MlirContext context;
  MlirLocation location;
  const struct anas_network *network;
  enum anas_program_kind program;
  bool training; // the forward pass is that of training
  bool gradients;
  bool is_train_step; // else @infer; it returns every tensor it takes
  struct anas_optimizer optimizer;

  struct tensor *tensors; // trainable parameters, each state of the optimizer in the same order, statistics, scalars of
                          // the optimizer
  int num_tensors, num_trainable;
  struct anas_train_op *ops; // one per network op
  MlirValue *grad;           // per value: gradient so far, null: none
  struct anas_train train;

  MlirAttribute *arg_attrs; // one dictionary per argument
  MlirType *arg_types;
  int num_args;
  struct anas_arena arena;
};

static MlirNamedAttribute named(MlirContext context, const char *name, MlirAttribute value) {
  return mlirNamedAttributeGet(mlirIdentifierGet(context, anas_ref_text(name)), value);
}

static MlirAttribute text_attr(MlirContext context, const char *text) {
  return mlirStringAttrGet(context, anas_ref_text(text));
}

static MlirAttribute int_attr(MlirContext context, int64_t value) {
  return mlirIntegerAttrGet(mlirIntegerTypeGet(context, 64), value);
}

// ---- arguments

static MlirValue add_argument(struct step *s, const struct anas_shape *shape, MlirAttribute attrs) {
  MlirType type = anas_shape_to_type(s->context, shape);
  s->arg_types[s->num_args] = type;
  s->arg_attrs[s->num_args++] = attrs;
  return mlirBlockAddArgument(s->train.block, type, s->location);
}

static MlirAttribute io_attrs(MlirContext context, const char *what) {
  MlirNamedAttribute io = named(context, "anas.io", text_attr(context, what));
  return mlirDictionaryAttrGet(context, 1, &io);
}

static MlirValue add_io(struct step *s, const char *what, const struct anas_shape *shape) {
  return add_argument(s, shape, io_attrs(s->context, what));
}

static MlirAttribute tensor_attrs(MlirContext context, const struct tensor *t) {
  MlirNamedAttribute attrs[5];
  int count = 0;
  attrs[count++] = named(context, "anas.param", text_attr(context, t->name));
  char init[96] = "zeros";
  if (!t->is_optimizer) anas_init_text(&t->param->init, init);
  attrs[count++] = named(context, "anas.init", text_attr(context, init));
  attrs[count++] = named(context, "anas.fan_in", int_attr(context, t->param->fan_in));
  attrs[count++] = named(context, "anas.fan_out", int_attr(context, t->param->fan_out));
  if (t->state) attrs[count++] = named(context, "anas.state", text_attr(context, t->state));
  return mlirDictionaryAttrGet(context, count, attrs);
}

static void add_tensor(struct step *s, struct tensor tensor) {
  s->tensors[s->num_tensors++] = tensor;
}

// The parameters of one kind, in the order of the network. state: what the optimizer remembers of them, null: itself.
static void add_parameters(struct step *s, enum anas_role role, bool decays, const char *state) {
  const struct anas_network *network = s->network;
  for (int o = 0; o < network->num_ops; o++)
    for (int p = 0; p < network->ops[o].num_params; p++) {
      const struct anas_param *param = &network->ops[o].param[p];
      const char *path = network->ops[o].path;
      if (param->role != role || anas_optimizer_decays(&s->optimizer, param) != decays) continue;
      add_tensor(s, (struct tensor){.param = param,
                                    .op = o,
                                    .index = p,
                                    .name = state ? anas_arena_format(&s->arena, "%s/%s:%s", path, param->name, state)
                                                  : anas_arena_format(&s->arena, "%s/%s", path, param->name),
                                    .state = role == ANAS_STATE ? "statistic" : state,
                                    .is_optimizer = state});
    }
}

// The order of the parameter buffer. Parameters that decay come first, so that those updated alike are neighbours.
static void collect_tensors(struct step *s) {
  static const struct anas_param scalar = {.shape = {.rank = 1, .element = ANAS_F32, .dim = {1}}, .role = ANAS_STATE};
  enum anas_optimizer_kind kind = s->optimizer.kind;
  int states = anas_optimizer_num_states(kind), scalars = anas_optimizer_num_scalars(kind);
  s->tensors = anas_calloc((size_t)s->network->num_ops * ANAS_MAX_PARAMS * (size_t)(1 + states) + (size_t)scalars,
                           sizeof *s->tensors);
  for (int i = -1; i < states; i++) {
    const char *state = i < 0 ? NULL : anas_optimizer_state_name(kind, i);
    add_parameters(s, ANAS_TRAINABLE, true, state);
    add_parameters(s, ANAS_TRAINABLE, false, state);
    if (i < 0) s->num_trainable = s->num_tensors;
  }
  add_parameters(s, ANAS_STATE, true, NULL);
  add_parameters(s, ANAS_STATE, false, NULL);
  for (int i = 0; i < scalars; i++) {
    const char *name = anas_optimizer_scalar_name(kind, i);
    add_tensor(s, (struct tensor){.param = &scalar,
                                  .op = -1,
                                  .name = anas_arena_format(&s->arena, "optimizer/%s", name),
                                  .state = name,
                                  .is_optimizer = true});
  }
}

// ---- forward

static anas_status run_forward(struct step *s, MlirValue image) {
  const struct anas_network *network = s->network;
  for (int i = 0; i < s->num_tensors; i++)
    if (!s->tensors[i].is_optimizer) s->ops[s->tensors[i].op].param[s->tensors[i].index] = s->tensors[i].value;
  for (int o = 0; o < network->num_ops; o++) {
    const struct anas_network_op *from = &network->ops[o];
    struct anas_train_op *op = &s->ops[o];
    op->op = &from->op;
    op->result_type = from->result;
    op->path = from->path;
    op->training = s->training;
    for (int i = 0; i < from->op.num_operands; i++)
      op->operand[i] = from->operand[i] ? s->ops[from->operand[i] - 1].result : image;
    if (from->node->location.ptr) s->train.location = from->node->location;
    anas_status status = from->op.def->forward(&s->train, op);
    if (status == ANAS_OK) {
      struct anas_shape result = mlirValueIsNull(op->result) ? (struct anas_shape){0} : anas_train_type(op->result);
      if (!anas_shape_equal(&result, &from->result))
        status = anas_fail(ANAS_INTERNAL, "the training form of 'anas.%s' does not produce the type of its result",
                           from->op.def->name);
    }
    if (status != ANAS_OK) return anas_node_error(from->node, status);
  }
  s->train.location = s->location;
  return ANAS_OK;
}

// ---- backward

static anas_status accumulate(struct step *s, int value, MlirValue grad) {
  if (mlirValueIsNull(s->grad[value])) {
    s->grad[value] = grad;
    return ANAS_OK;
  }
  MlirValue in[] = {s->grad[value], grad};
  return anas_train_emit(&s->train, "add_fwd", in, 2, NULL, &s->grad[value]);
}

static anas_status backward_op(struct step *s, int o) {
  const struct anas_network_op *from = &s->network->ops[o];
  struct anas_train_op *op = &s->ops[o];
  op->grad_result = s->grad[o + 1];
  for (int i = 0; i < from->op.num_operands; i++)
    op->need_operand[i] = from->operand[i] > 0 && s->network->ops[from->operand[i] - 1].need_grad;
  ANAS_RETURN_IF_ERROR(from->op.def->backward(&s->train, op));
  for (int i = 0; i < from->op.num_operands; i++) {
    if (!op->need_operand[i] || mlirValueIsNull(op->grad_operand[i])) continue;
    struct anas_shape type = anas_train_type(op->grad_operand[i]);
    if (!anas_shape_equal(&type, &from->op.operand[i]))
      return anas_fail(ANAS_INTERNAL, "the gradient of operand %d of 'anas.%s' has another type than the operand", i,
                       from->op.def->name);
    ANAS_RETURN_IF_ERROR(accumulate(s, from->operand[i], op->grad_operand[i]));
  }
  return ANAS_OK;
}

static anas_status run_backward(struct step *s, MlirValue grad_logits) {
  const struct anas_network *network = s->network;
  s->grad = anas_calloc((size_t)network->num_ops + 1, sizeof *s->grad);
  s->grad[network->result] = grad_logits;
  for (int o = network->num_ops - 1; o >= 0; o--) {
    if (!network->ops[o].need_grad || mlirValueIsNull(s->grad[o + 1])) continue;
    if (network->ops[o].node->location.ptr) s->train.location = network->ops[o].node->location;
    anas_status status = backward_op(s, o);
    if (status != ANAS_OK) return anas_node_error(network->ops[o].node, status);
  }
  s->train.location = s->location;
  return ANAS_OK;
}

// The gradient of trainable parameter i, null: nothing of the loss depends on it.
static anas_status gradient_of(const struct step *s, int i, MlirValue *out) {
  const struct tensor *t = &s->tensors[i];
  *out = s->ops[t->op].grad_param[t->index];
  if (mlirValueIsNull(*out)) return ANAS_OK;
  struct anas_shape type = anas_train_type(*out);
  if (!anas_shape_equal(&type, &t->param->shape))
    return anas_fail(ANAS_INTERNAL, "the gradient of '%s' has another type than the parameter", t->name);
  return ANAS_OK;
}

static anas_status update_parameters(struct step *s, struct anas_optimizer_step *step) {
  int num_states = anas_optimizer_num_states(s->optimizer.kind);
  for (int i = 0; i < s->num_trainable; i++) {
    MlirValue gradient, values[1 + ANAS_OPTIMIZER_MAX_STATES];
    ANAS_RETURN_IF_ERROR(gradient_of(s, i, &gradient));
    if (mlirValueIsNull(gradient)) continue;
    for (int k = 0; k <= num_states; k++)
      values[k] = s->tensors[i + k * s->num_trainable].value;
    bool decays = anas_optimizer_decays(&s->optimizer, s->tensors[i].param);
    ANAS_RETURN_IF_ERROR(anas_optimizer_update(step, decays, gradient, values));
    for (int k = 0; k <= num_states; k++)
      s->tensors[i + k * s->num_trainable].updated = values[k];
  }
  return ANAS_OK;
}

static anas_status run_optimizer(struct step *s, MlirValue learning_rate) {
  struct anas_optimizer_step step = {.optimizer = &s->optimizer, .train = &s->train, .rate = learning_rate};
  int num_scalars = anas_optimizer_num_scalars(s->optimizer.kind), count = 0;
  struct tensor *scalars = s->tensors + s->num_tensors - num_scalars;
  MlirValue old[ANAS_OPTIMIZER_MAX_STATES];
  for (int i = 0; i < num_scalars; i++)
    old[i] = scalars[i].value;
  MlirValue *gradients = anas_calloc((size_t)s->num_trainable, sizeof *gradients);
  anas_status status = ANAS_OK;
  for (int i = 0; i < s->num_trainable && status == ANAS_OK; i++) {
    status = gradient_of(s, i, &gradients[count]);
    if (!mlirValueIsNull(gradients[count])) count++;
  }
  if (status == ANAS_OK) status = anas_optimizer_begin(&step, old, gradients, count);
  free(gradients);
  if (status == ANAS_OK) status = update_parameters(s, &step);
  ANAS_RETURN_IF_ERROR(status);
  for (int i = 0; i < num_scalars; i++)
    scalars[i].updated = step.scalar[i];
  for (struct tensor *t = s->tensors + s->num_trainable; t < scalars; t++)
    if (!t->is_optimizer && !mlirValueIsNull(s->ops[t->op].new_state[t->index]))
      t->updated = s->ops[t->op].new_state[t->index];
  return ANAS_OK;
}

// ---- codes

// The sum over all relus of their kernel matrices, (batch, batch).
static anas_status compare_codes(struct step *s, MlirValue *out) {
  MlirValue sum = {0};
  for (int o = 0; o < s->network->num_ops; o++) {
    if (strcmp(s->network->ops[o].op.def->name, "relu") != 0) continue;
    MlirValue in[2] = {s->ops[o].result}, kernel;
    ANAS_RETURN_IF_ERROR(anas_train_emit(&s->train, "relu_code_kernel", in, 1, NULL, &kernel));
    in[0] = sum;
    in[1] = kernel;
    if (mlirValueIsNull(sum))
      sum = kernel;
    else
      ANAS_RETURN_IF_ERROR(anas_train_emit(&s->train, "add_fwd", in, 2, NULL, &sum));
  }
  if (mlirValueIsNull(sum))
    return anas_fail(ANAS_UNSUPPORTED, "the network has no relu, whose results would be binary codes of the images");
  *out = sum;
  return ANAS_OK;
}

// ---- functions

// Training ops are pure: those nobody reads go, last first.
static void remove_unused(MlirBlock block) {
  int count = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    count++;
  MlirOperation *ops = anas_calloc((size_t)count, sizeof *ops);
  count = 0;
  for (MlirOperation op = mlirBlockGetFirstOperation(block); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op))
    ops[count++] = op;
  for (int i = count - 2; i >= 0; i--) { // not the terminator
    bool used = false;
    for (intptr_t r = 0; r < mlirOperationGetNumResults(ops[i]); r++)
      used |= !mlirOpOperandIsNull(mlirValueGetFirstUse(mlirOperationGetResult(ops[i], r)));
    if (!used) mlirOperationDestroy(ops[i]);
  }
  free(ops);
}

// Appends the return and wraps block (owned by region) into a function.
static MlirOperation finish_function(struct step *s, const char *name, MlirRegion region, const MlirValue *results,
                                     const MlirAttribute *result_attrs, int num_results) {
  MlirContext context = s->context;
  MlirOperationState ret = mlirOperationStateGet(anas_ref_text("func.return"), s->location);
  mlirOperationStateAddOperands(&ret, num_results, results);
  mlirBlockAppendOwnedOperation(s->train.block, mlirOperationCreate(&ret));
  remove_unused(s->train.block);
  MlirType *types = anas_calloc((size_t)num_results, sizeof *types);
  for (int i = 0; i < num_results; i++)
    types[i] = mlirValueGetType(results[i]);
  MlirType type = mlirFunctionTypeGet(context, s->num_args, s->arg_types, num_results, types);
  MlirNamedAttribute attrs[] = {
      named(context, "sym_name", text_attr(context, name)),
      named(context, "function_type", mlirTypeAttrGet(type)),
      named(context, "arg_attrs", mlirArrayAttrGet(context, s->num_args, s->arg_attrs)),
      named(context, "res_attrs", mlirArrayAttrGet(context, num_results, result_attrs)),
  };
  MlirOperationState state = mlirOperationStateGet(anas_ref_text("func.func"), s->location);
  mlirOperationStateAddAttributes(&state, 4, attrs);
  mlirOperationStateAddOwnedRegions(&state, 1, &region);
  free(types);
  return mlirOperationCreate(&state);
}

// Fills the block; on success results (with attributes) are written.
static anas_status build_body(struct step *s, MlirValue *results, MlirAttribute *result_attrs, int *out_num_results) {
  const struct anas_network *network = s->network;
  const struct anas_shape label_type = {.rank = 1, .element = ANAS_I32, .dim = {network->image.dim[0]}};
  const struct anas_shape rate_type = {.rank = 1, .element = ANAS_F32, .dim = {1}};
  const struct anas_shape seed_type = {.rank = 1, .element = ANAS_I64, .dim = {1}};
  for (int i = 0; i < s->num_tensors; i++)
    if (s->gradients || !s->tensors[i].is_optimizer)
      s->tensors[i].value = s->tensors[i].updated =
          add_argument(s, &s->tensors[i].param->shape, tensor_attrs(s->context, &s->tensors[i]));
  MlirValue image = add_io(s, "image", &network->image), label = add_io(s, "label", &label_type), rate = {0};
  if (s->gradients) {
    rate = add_io(s, "learning_rate", &rate_type);
    s->train.seed = add_io(s, "seed", &seed_type);
  }
  ANAS_RETURN_IF_ERROR(run_forward(s, image));
  MlirValue logits = network->result ? s->ops[network->result - 1].result : image;
  MlirValue loss_in[] = {logits, label}, loss[ANAS_MAX_RESULTS] = {0};
  const char *loss_op = s->program == ANAS_PROGRAM_SYNFLOW ? "sum_of_logits" : "softmax_cross_entropy";
  ANAS_RETURN_IF_ERROR(anas_train_emit(&s->train, loss_op, loss_in, 2, NULL, loss));
  if (s->gradients) ANAS_RETURN_IF_ERROR(run_backward(s, loss[2]));
  if (s->training) ANAS_RETURN_IF_ERROR(run_optimizer(s, rate));
  if (s->program == ANAS_PROGRAM_CODES) ANAS_RETURN_IF_ERROR(compare_codes(s, &logits));
  int count = 0;
  for (int i = 0; i < s->num_tensors && s->is_train_step; i++) {
    if (mlirValueIsNull(s->tensors[i].value)) continue; // the optimizer's, without training
    results[count] = s->tensors[i].updated;
    result_attrs[count++] = mlirDictionaryAttrGet(s->context, 0, NULL);
  }
  static const char *const names[] = {"loss", "correct", "logits"};
  const MlirValue values[] = {loss[0], loss[1], logits};
  for (int i = 0; i < 3; i++) {
    results[count] = values[i];
    result_attrs[count++] = io_attrs(s->context, names[i]);
  }
  *out_num_results = count;
  return ANAS_OK;
}

static anas_status build_function(MlirContext context, MlirLocation location, const struct anas_network *network,
                                  bool is_train_step, const struct anas_train_step_options *options,
                                  MlirOperation *out) {
  struct step s = {.context = context,
                   .location = location,
                   .network = network,
                   .program = options->program,
                   .training = is_train_step && options->program != ANAS_PROGRAM_INFER,
                   .gradients = is_train_step &&
                                (options->program == ANAS_PROGRAM_TRAIN || options->program == ANAS_PROGRAM_SYNFLOW),
                   .is_train_step = is_train_step,
                   .optimizer = options->optimizer};
  collect_tensors(&s);
  size_t most = (size_t)s.num_tensors + 4;
  s.ops = anas_calloc((size_t)network->num_ops, sizeof *s.ops);
  s.arg_attrs = anas_calloc(most, sizeof *s.arg_attrs);
  s.arg_types = anas_calloc(most, sizeof *s.arg_types);
  MlirValue *results = anas_calloc(most, sizeof *results);
  MlirAttribute *result_attrs = anas_calloc(most, sizeof *result_attrs);
  MlirRegion region = mlirRegionCreate();
  MlirBlock block = mlirBlockCreate(0, NULL, NULL);
  mlirRegionAppendOwnedBlock(region, block);
  s.train = (struct anas_train){.context = context, .block = block, .location = location};
  int num_results = 0;
  anas_status status = build_body(&s, results, result_attrs, &num_results);
  if (status == ANAS_OK)
    *out = finish_function(&s, is_train_step ? "train_step" : "infer", region, results, result_attrs, num_results);
  else
    mlirRegionDestroy(region);
  free(results);
  free(result_attrs);
  free(s.arg_types);
  free(s.arg_attrs);
  free(s.ops);
  free(s.grad);
  free(s.tensors);
  anas_arena_deinit(&s.arena);
  return status;
}

// ---- the pass

static void replace_functions(MlirModule module, const struct anas_network *network, MlirOperation step,
                              MlirOperation infer) {
  MlirContext context = mlirModuleGetContext(module);
  MlirBlock body = mlirModuleGetBody(module);
  for (MlirOperation op = mlirBlockGetFirstOperation(body), next; !mlirOperationIsNull(op); op = next) {
    next = mlirOperationGetNextInBlock(op);
    mlirOperationDestroy(op);
  }
  mlirBlockAppendOwnedOperation(body, step);
  mlirBlockAppendOwnedOperation(body, infer);
  // (height, width, channels), ones in front where the image has fewer dimensions
  int64_t image[3] = {1, 1, 1};
  for (int d = 1; d < network->image.rank; d++)
    image[3 - network->image.rank + d] = network->image.dim[d];
  MlirOperation op = mlirModuleGetOperation(module);
  mlirOperationSetDiscardableAttributeByName(op, anas_ref_text("anas.batch"), int_attr(context, network->image.dim[0]));
  mlirOperationSetDiscardableAttributeByName(op, anas_ref_text("anas.classes"), int_attr(context, network->classes));
  mlirOperationSetDiscardableAttributeByName(op, anas_ref_text("anas.image"), mlirDenseI64ArrayGet(context, 3, image));
}

anas_status anas_build_train_step(MlirModule module, int64_t batch, double momentum, double weight_decay) {
  return anas_build_train_step_with(
      module, &(struct anas_train_step_options){.batch = batch,
                                                .optimizer = {.momentum = momentum, .weight_decay = weight_decay}});
}

anas_status anas_build_train_step_with(MlirModule module, const struct anas_train_step_options *options) {
  struct anas_model *model;
  ANAS_RETURN_IF_ERROR(anas_model_import(module, &model));
  struct anas_network network = {0};
  MlirContext context = mlirModuleGetContext(module);
  MlirOperation step = {0}, infer = {0};
  anas_status status = anas_model_infer_shapes(model);
  if (status == ANAS_OK) status = anas_network_init(model, options->batch, &network);
  if (status == ANAS_OK && options->program >= ANAS_PROGRAM_SYNFLOW) anas_network_remove_noise(&network);
  if (status == ANAS_OK && options->program == ANAS_PROGRAM_SYNFLOW) anas_network_remove_normalisations(&network);
  if (status == ANAS_OK) {
    MlirLocation location = model->functions[anas_model_entry(model)].location;
    if (!location.ptr) location = mlirLocationUnknownGet(context);
    status = build_function(context, location, &network, true, options, &step);
    if (status == ANAS_OK) {
      status = build_function(context, location, &network, false, options, &infer);
      if (status != ANAS_OK) mlirOperationDestroy(step);
    }
    if (status == ANAS_OK) replace_functions(module, &network, step, infer);
    anas_network_deinit(&network);
  }
  anas_model_destroy(model);
  return status;
}

static anas_status run(MlirModule module, const struct anas_pass_options *options) {
  enum anas_optimizer_kind optimizer;
  ANAS_RETURN_IF_ERROR(anas_optimizer_parse(anas_option_string(options, "optimizer"), &optimizer));
  const char *program = anas_option_string(options, "program");
  int kind = 0;
  while (anas_program_kind_names[kind] && strcmp(anas_program_kind_names[kind], program))
    kind++;
  if (!anas_program_kind_names[kind])
    return anas_fail(ANAS_UNSUPPORTED, "unknown program '%s'; there are train, infer, synflow and codes", program);
  struct anas_train_step_options step = {.batch = anas_option_int(options, "batch"),
                                         .optimizer = {.kind = optimizer,
                                                       .momentum = anas_option_float(options, "momentum"),
                                                       .beta1 = anas_option_float(options, "beta1"),
                                                       .beta2 = anas_option_float(options, "beta2"),
                                                       .epsilon = anas_option_float(options, "epsilon"),
                                                       .weight_decay = anas_option_float(options, "weight-decay"),
                                                       .clip_norm = anas_option_float(options, "clip-norm")},
                                         .program = (enum anas_program_kind)kind};
  ANAS_RETURN_IF_ERROR(anas_optimizer_resolve(&step.optimizer));
  return anas_build_train_step_with(module, &step);
}

static const struct anas_pass_option step_options[] = {
    {"batch", ANAS_OPTION_INT, "128", "examples in a step"},
    {"optimizer", ANAS_OPTION_STRING, "sgd", "sgd, adam or rmsprop"},
    {"momentum", ANAS_OPTION_FLOAT, "-1", "sgd; -1, here and below: the usual constant of the optimizer"},
    {"beta1", ANAS_OPTION_FLOAT, "-1", "share of the old mean of the gradient: adam"},
    {"beta2", ANAS_OPTION_FLOAT, "-1", "share of the old mean square of the gradient: adam, rmsprop"},
    {"epsilon", ANAS_OPTION_FLOAT, "-1", "added to the root mean square (adam) or the mean square (rmsprop)"},
    {"weight-decay", ANAS_OPTION_FLOAT, "-1", "sgd: L2 penalty; adam (kernels), rmsprop: decoupled"},
    {"clip-norm", ANAS_OPTION_FLOAT, "0", "most that the norm of all gradients together may have; 0: no limit"},
    {"program", ANAS_OPTION_STRING, "train",
     "train; infer: @train_step is inference, too; synflow, codes: for measures of untrained networks"},
    {0},
};

const struct anas_pass_def anas_pass_train_step = {
    .argument = "anas-train-step",
    .summary = "build the training step and the inference function of a network from training ops",
    .options = step_options,
    .run = run,
};
