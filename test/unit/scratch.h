// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Scratch folders for tests, under $TMPDIR.
#ifndef ANAS_TEST_SCRATCH_H
#define ANAS_TEST_SCRATCH_H

#include "runtime/support/memory.h"

#include <stdlib.h>

// Creates an empty folder; malloc'ed path. Null if that fails.
static inline char *scratch_create(void) {
  const char *parent = getenv("TMPDIR");
  char *path = anas_format("%s/anas-test-XXXXXX", parent && *parent ? parent : "/tmp");
  if (mkdtemp(path)) return path;
  free(path);
  return NULL;
}

// Removes the folder with everything in it and frees the path; 0 on success.
static inline int scratch_destroy(char *path) {
  char *command = anas_format("rm -r '%s'", path);
  int rc = system(command);
  free(command);
  free(path);
  return rc;
}

#endif
