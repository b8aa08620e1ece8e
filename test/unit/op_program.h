// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// For tests generated from the op table: a sample of an architecture op with values for its inputs, and its training
// ops as nests that can be interpreted. Failures end the cmocka test.
#ifndef ANAS_TEST_OP_PROGRAM_H
#define ANAS_TEST_OP_PROGRAM_H

#include "passes/train/training_op.h"
#include "test/unit/nest_interpreter.h"

#define MAX_INPUTS (ANAS_MAX_OPERANDS + ANAS_MAX_PARAMS)
#define MAX_VALUES 64

// A sample with its parameters: inputs are operands, then parameters.
struct instance {
  struct anas_op op;
  struct anas_shape result;
  struct anas_param param[ANAS_MAX_PARAMS];
  int num_params, num_inputs;
  struct anas_shape type[MAX_INPUTS];
  double *value[MAX_INPUTS];
  bool tied; // operand 1 is the value of operand 0; set by the test
};

double next_random(uint64_t *state); // in [-1, 1)
double *random_values(int64_t count, double centre, double spread, uint64_t seed);

// Parses the sample as a module of one op.
void instance_init(MlirContext context, const struct anas_op_def *def, const struct anas_sample *sample,
                   struct instance *out);
void instance_deinit(struct instance *instance);
bool differentiable(const struct instance *instance, int input); // not a state parameter

// The training ops of an instance as nests, and the buffers of what goes in and comes out (-1: none).
struct program {
  MlirContext context;
  struct anas_lowering *lowering;
  MlirBlock block;
  MlirValue known[MAX_VALUES];
  int buffer[MAX_VALUES], num_known;
  int input[MAX_INPUTS], seed, grad_result;
  int result, gradient[MAX_INPUTS], new_state[ANAS_MAX_PARAMS];
};

void program_init(MlirContext context, const struct instance *instance, bool training, bool backward,
                  struct program *out);
void program_deinit(struct program *program);
// Runs the program with the instance's values; the caller reads buffers and releases the memory. grad_result may be
// null in programs without a backward pass.
void program_run(const struct program *program, const struct instance *instance, const double *grad_result,
                 int64_t seed, struct nest_memory *memory);

#endif
