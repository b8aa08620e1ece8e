// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which optimizer a training step has, and how the step calls it.
#ifndef ANAS_PASSES_OPTIMIZER_H
#define ANAS_PASSES_OPTIMIZER_H

#include "dialect/train.h"

#define ANAS_OPTIMIZER_MAX_STATES 2

enum anas_optimizer_kind { ANAS_SGD, ANAS_ADAM, ANAS_RMSPROP };
extern const char *const anas_optimizer_names[]; // "sgd", ...; ends with null

struct anas_optimizer {
  enum anas_optimizer_kind kind;
  double momentum;     // sgd
  double beta1, beta2; // adam; rmsprop has only the second
  double epsilon;      // adam, rmsprop
  double weight_decay; // sgd: added to the gradient; otherwise decoupled and times the learning rate, adam: of kernels
  double clip_norm;    // most that the norm of all gradients together may have; 0: no limit
};

// Help on the flags of anas_optimizer_set, names indented by two, texts at column 23.
#define ANAS_OPTIMIZER_HELP                                                                                            \
  "  --optimizer NAME     sgd (default), adam (decoupled decay of kernels: AdamW) or rmsprop\n"                        \
  "  --momentum X         sgd (default 0.9)\n"                                                                         \
  "  --beta1 X, --beta2 X shares of the old means: adam (default 0.9, 0.999), rmsprop (only --beta2, 0.9)\n"           \
  "  --epsilon X          adam (default 1e-8, added to the root), rmsprop (1e-3, under the root)\n"                    \
  "  --weight-decay X     sgd: times the weight, added to the gradient (default 1e-4); adam (1e-2) and\n"              \
  "                       rmsprop (1e-5): times weight and learning rate, taken off the weight\n"                      \
  "  --clip-norm X        scale gradients down to a common norm of X at most (default: no limit)\n"

// Entries of a table of getopt_long.
#define ANAS_OPTIMIZER_FLAGS(value)                                                                                    \
  {"optimizer", required_argument, NULL, value}, {"momentum", required_argument, NULL, value},                         \
      {"beta1", required_argument, NULL, value}, {"beta2", required_argument, NULL, value},                            \
      {"epsilon", required_argument, NULL, value}, {"weight-decay", required_argument, NULL, value}, {                 \
    "clip-norm", required_argument, NULL, value                                                                        \
  }

// Constants nobody has given are negative.
struct anas_optimizer anas_optimizer_unset(void);
// Sets what --NAME TEXT says: optimizer, momentum, beta1, beta2, epsilon, weight-decay, clip-norm.
anas_status anas_optimizer_set(struct anas_optimizer *optimizer, const char *name, const char *text);
// Gives those the usual values: sgd 0.9, 1e-4; adam 0.9, 0.999, 1e-8, 1e-2; rmsprop 0.9, 1e-3, 1e-5; no clipping.
// ANAS_INVALID naming the first constant that is out of range, or that the optimizer does not have.
anas_status anas_optimizer_resolve(struct anas_optimizer *optimizer);
double anas_optimizer_usual_rate(enum anas_optimizer_kind kind); // 0.05, 0.001, 0.008
// ANAS_INVALID with the nearest name if there is none like that.
anas_status anas_optimizer_parse(const char *name, enum anas_optimizer_kind *out);

// What it remembers of a parameter, in tensors of the parameter's type.
int anas_optimizer_num_states(enum anas_optimizer_kind kind);
const char *anas_optimizer_state_name(enum anas_optimizer_kind kind, int state); // "momentum", "first_moment", ...
// Scalars that it keeps for all parameters together.
int anas_optimizer_num_scalars(enum anas_optimizer_kind kind);
const char *anas_optimizer_scalar_name(enum anas_optimizer_kind kind, int scalar);
bool anas_optimizer_decays(const struct anas_optimizer *optimizer, const struct anas_param *param);

// One step: begin, then one update for every parameter with a gradient.
struct anas_optimizer_step {
  const struct anas_optimizer *optimizer;
  struct anas_train *train;
  MlirValue rate;                              // learning rate
  MlirValue scalar[ANAS_OPTIMIZER_MAX_STATES]; // new values
  MlirValue factor;                            // of every gradient; null: 1
};
// scalars: old values. gradients: of all parameters, for clipping.
anas_status anas_optimizer_begin(struct anas_optimizer_step *step, const MlirValue *scalars, const MlirValue *gradients,
                                 int num_gradients);
// values: the parameter and its states, old and then new.
anas_status anas_optimizer_update(struct anas_optimizer_step *step, bool decays, MlirValue gradient, MlirValue *values);

#endif
