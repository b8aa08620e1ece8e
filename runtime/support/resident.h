// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Resident memory of the process.
#ifndef ANAS_RUNTIME_SUPPORT_RESIDENT_H
#define ANAS_RUNTIME_SUPPORT_RESIDENT_H

// Gives back what compilation leaves resident and nobody uses: freed heap pages, and the pages of large libraries' code
// and constants (more than 100 MB after compiling with LLVM and MLIR), which come back one by one when they are used.
// To be called before large buffers are touched, so that the peaks of the two phases do not add up.
void anas_resident_drop(void);

#endif
