// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Parameter initialisers.
#ifndef ANAS_RUNTIME_INIT_H
#define ANAS_RUNTIME_INIT_H

#include "runtime/program.h"

#include <stdint.h>

// Fills every tensor of the parameter buffer. Each tensor has its own random stream derived from seed and its name, so
// a parameter that survives a mutation starts from the same values. Initialisers are spelled as in
// support/initializer.h; ANAS_INVALID names an unknown one.
anas_status anas_init_params(const struct anas_program_image *image, uint64_t seed, void *params);

#endif
