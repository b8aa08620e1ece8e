// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A folder for an object cache that is empty at first and gone at the end.
#include "tools/anas-bench/bench.h"

#include "runtime/support/memory.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

anas_status scratch_create(char **out_path) {
  const char *folder = getenv("TMPDIR");
  char *path = anas_format("%s/anas-bench-XXXXXX", folder && *folder ? folder : "/tmp");
  if (!mkdtemp(path)) {
    anas_status status = anas_fail(ANAS_IO, "cannot create the folder '%s': %s; set TMPDIR", path, strerror(errno));
    free(path);
    return status;
  }
  *out_path = path;
  return ANAS_OK;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *position) {
  (void)status, (void)kind, (void)position;
  return remove(path);
}

void scratch_remove(char *path) {
  if (!path) return;
  nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  free(path);
}
