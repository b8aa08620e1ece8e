// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Build step: writes the IRDL definition of the dialect, which mlir-opt --irdl-file reads. Usage: irdl-gen FILE
#include "dialect/context.h"
#include "runtime/support/file.h"

#include <stdio.h>

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: irdl-gen FILE\n");
    return 1;
  }
  struct anas_strbuf text = {0};
  anas_irdl_text(&text);
  anas_status status = anas_file_write(argv[1], text.data, text.size);
  anas_strbuf_deinit(&text);
  if (status) fprintf(stderr, "irdl-gen: error: %s\n", anas_error_message());
  return status ? 1 : 0;
}
