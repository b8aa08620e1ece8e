// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Relocatable objects in memory to callable code, by LLVM's ORC.
#ifndef ANAS_RUNTIME_JIT_H
#define ANAS_RUNTIME_JIT_H

#include "runtime/program.h"

struct anas_jit;

// Adds the objects (borrowed: they must outlive the jit). Code may call what group.h offers and whatever the process
// exports (libc, libm), and use the largest scratch_bytes of the objects at scratch (else null). Linking happens at the
// first look-up.
anas_status anas_jit_create(const struct anas_object *objects, int num_objects, void *scratch, struct anas_jit **out);
void anas_jit_destroy(struct anas_jit *jit); // unloads the code
// ANAS_NOT_FOUND names the symbol, and the undefined ones if it does not link.
anas_status anas_jit_lookup(struct anas_jit *jit, const char *symbol, void **out_address);

#endif
