// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs a module by interpreting the training ops of each of its ops (test/unit/nest_interpreter.h), in inference mode.
#ifndef ANAS_TEST_FUZZ_EXECUTE_H
#define ANAS_TEST_FUZZ_EXECUTE_H

#include "dialect/model.h"

// Computes the results of a function of static shapes. args[i] has the elements of argument i; out_results are
// malloc'ed. Ends the program if the executed shape of a value is not the inferred one, or a value is not written.
void execute(MlirContext context, const struct anas_model *model, int function, double *const *args,
             double **out_results);

#endif
