// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Networks to start from (spec 6), built for any image size and number of classes.
#ifndef ANAS_DIALECT_ZOO_H
#define ANAS_DIALECT_ZOO_H

#include "dialect/model.h"

// A network is built for images of one size and a number of classes.
struct anas_zoo_size {
  int64_t height, width, channels, classes;
};

struct zoo;
struct anas_zoo_entry {
  const char *name;
  const char *summary;
  int64_t params;                 // trainable, for the reference size
  struct anas_zoo_size reference; // what it is usually built for
  void (*build)(struct zoo *zoo, const struct anas_zoo_entry *entry, const struct anas_zoo_size *size);
  int variant; // meaning known to build
};

// All networks, in the order of --list.
const struct anas_zoo_entry *const *anas_zoo_table(int *out_count);
// Null-terminated names of all networks.
const char *const *anas_zoo_names(void);

// ANAS_NOT_FOUND names the nearest network.
anas_status anas_zoo_find(const char *name, const struct anas_zoo_entry **out_entry);

// A network with shapes inferred, verified; ANAS_NOT_FOUND names the nearest network, ANAS_INVALID says which layer
// does not fit the image.
anas_status anas_zoo_build(const char *name, int64_t height, int64_t width, int64_t channels, int64_t classes,
                           struct anas_model **out);

#endif
