// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checkpoints in safetensors format (an 8-byte header length, a JSON header, raw little-endian data).
#ifndef ANAS_RUNTIME_WEIGHTS_H
#define ANAS_RUNTIME_WEIGHTS_H

#include "runtime/program.h"

// Saves every tensor (optimizer state too if with_optimizer) atomically. metadata: NULL or a null-terminated list
// key, value, key, value, ...
anas_status anas_weights_save(const char *path, const struct anas_program_image *image, const void *params,
                              bool with_optimizer, const char *const *metadata);
// Loads tensors by name. Missing parameters or other shapes are errors that name the tensor and both shapes; optimizer
// state may be missing (*out_optimizer false). params is untouched on failure.
anas_status anas_weights_load(const char *path, const struct anas_program_image *image, void *params,
                              bool *out_optimizer);
// Loads the parameters and statistics that the file holds under the same name with the same shape, and leaves the
// others alone. out_loaded: one flag a tensor of the image.
anas_status anas_weights_load_matching(const char *path, const struct anas_program_image *image, void *params,
                                       bool *out_loaded);
// Value of a metadata key of the file, malloc'ed; null if absent.
anas_status anas_weights_metadata(const char *path, const char *key, char **out_value);

#endif
