// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/train/optimizer.h"

#include "runtime/support/nearest.h"
#include "runtime/support/parse.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

const char *const anas_optimizer_names[] = {"sgd", "adam", "rmsprop", NULL};

static const struct {
  int num_states, num_scalars;
  const char *state[ANAS_OPTIMIZER_MAX_STATES], *scalar[ANAS_OPTIMIZER_MAX_STATES];
} kinds[] = {
    [ANAS_SGD] = {1, 0, {"momentum"}, {0}},
    [ANAS_ADAM] = {2, 2, {"first_moment", "second_moment"}, {"first_weight", "second_weight"}},
    [ANAS_RMSPROP] = {1, 0, {"second_moment"}, {0}},
};

struct anas_optimizer anas_optimizer_unset(void) {
  return (struct anas_optimizer){
      .momentum = -1, .beta1 = -1, .beta2 = -1, .epsilon = -1, .weight_decay = -1, .clip_norm = -1};
}

// Negative: the optimizer has no such constant.
static struct anas_optimizer usual(enum anas_optimizer_kind kind) {
  struct anas_optimizer o = anas_optimizer_unset();
  o.clip_norm = 0;
  switch (kind) {
  case ANAS_SGD:
    o.momentum = 0.9;
    o.weight_decay = 1e-4;
    break;
  case ANAS_ADAM:
    o.beta1 = 0.9;
    o.beta2 = 0.999;
    o.epsilon = 1e-8;
    o.weight_decay = 1e-2;
    break;
  case ANAS_RMSPROP:
    o.beta2 = 0.9;
    o.epsilon = 1e-3;
    o.weight_decay = 1e-5;
    break;
  }
  return o;
}

static const struct constant {
  const char *name;
  size_t offset;
  double low, high;
} constants[] = {
    {"momentum", offsetof(struct anas_optimizer, momentum), 0, 1},
    {"beta1", offsetof(struct anas_optimizer, beta1), 0, 1 - 1e-7}, // a mean that keeps everything never learns
    {"beta2", offsetof(struct anas_optimizer, beta2), 0, 1 - 1e-7},
    {"epsilon", offsetof(struct anas_optimizer, epsilon), 1e-30, 1}, // where no gradient ever came it alone divides
    {"weight-decay", offsetof(struct anas_optimizer, weight_decay), 0, 1},
    {"clip-norm", offsetof(struct anas_optimizer, clip_norm), 0, 1e30},
};
#define NUM_CONSTANTS (sizeof constants / sizeof *constants)

double anas_optimizer_usual_rate(enum anas_optimizer_kind kind) {
  return kind == ANAS_ADAM ? 0.001 : kind == ANAS_RMSPROP ? 0.008 : 0.05;
}

anas_status anas_optimizer_parse(const char *name, enum anas_optimizer_kind *out) {
  struct anas_nearest nearest = anas_nearest_make(name, strlen(name));
  for (int i = 0; anas_optimizer_names[i]; i++) {
    if (!strcmp(anas_optimizer_names[i], name)) {
      *out = (enum anas_optimizer_kind)i;
      return ANAS_OK;
    }
    anas_nearest_offer(&nearest, anas_optimizer_names[i]);
  }
  char hint[128];
  return anas_fail(ANAS_INVALID, "unknown optimizer '%s'; there are sgd, adam and rmsprop%s", name,
                   anas_nearest_hint(&nearest, hint));
}

anas_status anas_optimizer_set(struct anas_optimizer *optimizer, const char *name, const char *text) {
  if (!strcmp(name, "optimizer")) return anas_optimizer_parse(text, &optimizer->kind);
  for (size_t i = 0; i < NUM_CONSTANTS; i++) {
    const struct constant *c = &constants[i];
    if (strcmp(c->name, name) != 0) continue;
    char option[32];
    snprintf(option, sizeof option, "--%s", name);
    return anas_parse_double(option, text, c->low, c->high, (double *)((char *)optimizer + c->offset));
  }
  return anas_fail(ANAS_INTERNAL, "no optimizer has a constant '%s'", name);
}

anas_status anas_optimizer_resolve(struct anas_optimizer *optimizer) {
  const struct anas_optimizer by_default = usual(optimizer->kind);
  for (size_t i = 0; i < NUM_CONSTANTS; i++) {
    const struct constant *c = &constants[i];
    double *value = (double *)((char *)optimizer + c->offset);
    double other = *(const double *)((const char *)&by_default + c->offset);
    if (*value > 0 && other < 0)
      return anas_fail(ANAS_INVALID, "the optimizer %s has no %s", anas_optimizer_names[optimizer->kind], c->name);
    if (*value < 0 || other < 0) *value = other < 0 ? 0 : other;
    if (other >= 0 && !(*value >= c->low && *value <= c->high))
      return anas_fail(ANAS_INVALID, "%s of the optimizer must be between %g and %g, got %g", c->name, c->low, c->high,
                       *value);
  }
  return ANAS_OK;
}

int anas_optimizer_num_states(enum anas_optimizer_kind kind) {
  return kinds[kind].num_states;
}

const char *anas_optimizer_state_name(enum anas_optimizer_kind kind, int state) {
  return kinds[kind].state[state];
}

int anas_optimizer_num_scalars(enum anas_optimizer_kind kind) {
  return kinds[kind].num_scalars;
}

const char *anas_optimizer_scalar_name(enum anas_optimizer_kind kind, int scalar) {
  return kinds[kind].scalar[scalar];
}

bool anas_optimizer_decays(const struct anas_optimizer *optimizer, const struct anas_param *param) {
  return optimizer->kind != ANAS_ADAM || strstr(param->name, "kernel");
}

// ---- the step

static anas_status set(const struct anas_op_def *op, struct anas_attr *attrs, const char *name, double value) {
  int i = anas_op_attr_index(op, name);
  if (i < 0) return anas_fail(ANAS_INTERNAL, "'anas.%s' has no attribute %s", op->name, name);
  attrs[i] = (struct anas_attr)ANAS_FLOAT(value);
  return ANAS_OK;
}

// factor = min(1, clip_norm / norm of all gradients)
static anas_status clip(struct anas_optimizer_step *step, const MlirValue *gradients, int count) {
  MlirValue total = {0};
  for (int i = 0; i < count; i++) {
    MlirValue in[2] = {gradients[i]}, square;
    ANAS_RETURN_IF_ERROR(anas_train_emit(step->train, "squared_norm", in, 1, NULL, &square));
    in[0] = total;
    in[1] = square;
    if (mlirValueIsNull(total))
      total = square;
    else
      ANAS_RETURN_IF_ERROR(anas_train_emit(step->train, "add_fwd", in, 2, NULL, &total));
  }
  if (mlirValueIsNull(total)) return ANAS_OK;
  const struct anas_attr most[] = {ANAS_FLOAT(step->optimizer->clip_norm)};
  return anas_train_emit(step->train, "clip_factor", &total, 1, most, &step->factor);
}

anas_status anas_optimizer_begin(struct anas_optimizer_step *step, const MlirValue *scalars, const MlirValue *gradients,
                                 int num_gradients) {
  const struct anas_optimizer *optimizer = step->optimizer;
  for (int i = 0; i < kinds[optimizer->kind].num_scalars; i++) {
    const struct anas_attr beta[] = {ANAS_FLOAT(i ? optimizer->beta2 : optimizer->beta1)};
    ANAS_RETURN_IF_ERROR(anas_train_emit(step->train, "mean_weight", &scalars[i], 1, beta, &step->scalar[i]));
  }
  return optimizer->clip_norm > 0 ? clip(step, gradients, num_gradients) : ANAS_OK;
}

anas_status anas_optimizer_update(struct anas_optimizer_step *step, bool decays, MlirValue gradient,
                                  MlirValue *values) {
  const struct anas_optimizer *optimizer = step->optimizer;
  const char *name = anas_optimizer_names[optimizer->kind];
  const struct anas_op_def *op = anas_op_find(name, strlen(name));
  if (!op) return anas_fail(ANAS_INTERNAL, "the op table has no 'anas.%s'", name);
  struct anas_attr attrs[ANAS_MAX_ATTRS] = {0};
  anas_status status = set(op, attrs, "weight_decay", decays ? optimizer->weight_decay : 0);
  if (status == ANAS_OK && optimizer->kind == ANAS_SGD) status = set(op, attrs, "momentum", optimizer->momentum);
  if (status == ANAS_OK && optimizer->kind == ANAS_ADAM) status = set(op, attrs, "beta1", optimizer->beta1);
  if (status == ANAS_OK && optimizer->kind != ANAS_SGD) {
    status = set(op, attrs, "beta2", optimizer->beta2);
    if (status == ANAS_OK) status = set(op, attrs, "epsilon", optimizer->epsilon);
  }
  ANAS_RETURN_IF_ERROR(status);
  MlirValue in[ANAS_MAX_OPERANDS];
  int count = 0;
  for (int i = 0; i <= kinds[optimizer->kind].num_states; i++)
    in[count++] = values[i];
  in[count++] = gradient;
  in[count++] = step->rate;
  for (int i = 0; i < kinds[optimizer->kind].num_scalars; i++)
    in[count++] = step->scalar[i];
  if (!mlirValueIsNull(step->factor)) in[count++] = step->factor;
  return anas_train_emit(step->train, name, in, count, attrs, values);
}
