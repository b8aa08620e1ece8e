// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Launching kernel functions, alone or as a group. The calls between group_begin and group_end are carried out slab by
// slab: the first part of every kernel, then the second part of every kernel, and so on, so that what one leaves for
// the next is still in the cache. The compiler promises that no part of a kernel needs a later part of another one
// (passes/lower/group.c).
#ifndef ANAS_RUNTIME_GROUP_H
#define ANAS_RUNTIME_GROUP_H

#include "runtime/team.h"

// Called by generated code. A range of count iterations is cut into `leading` equal parts that are the
// iterations of the kernel function's first loop; 0: it is not cut like that. Kernels whose leading is no multiple of
// slabs are run on their own, in their place.
void anas_launch(anas_kernel_range body, void **operands, int32_t num_operands, int64_t count, int64_t leading,
                 int32_t parallel);
// A group belongs to the thread that begins it.
void anas_group_begin(int64_t slabs);
void anas_group_end(void);

#endif
