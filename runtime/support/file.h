// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Whole-file reads, atomic writes, directories and content hashes.
#ifndef ANAS_RUNTIME_SUPPORT_FILE_H
#define ANAS_RUNTIME_SUPPORT_FILE_H

#include "runtime/support/status.h"

#include <stddef.h>
#include <stdint.h>

// Reads a whole file; "-" is standard input. *out_data is malloc'ed and NUL-terminated (NUL not counted in *out_size).
anas_status anas_file_read(const char *path, char **out_data, size_t *out_size);
// Writes path by way of a temporary file in the same directory and rename(2): readers see the old or the new content,
// never a part. "-" is standard output; devices and pipes are written to as they are.
anas_status anas_file_write(const char *path, const void *data, size_t size);
// The same for pieces of memory, one after the other, without a copy of them all.
struct anas_file_part {
  const void *data;
  size_t size;
};
anas_status anas_file_write_parts(const char *path, const struct anas_file_part *parts, size_t count);
// Creates a directory and its parents (mode 0777 & ~umask); fine if it exists.
anas_status anas_make_directories(const char *path);
// $ANAS_CACHE_DIR, else $XDG_CACHE_HOME/anas, else $HOME/.cache/anas; created. malloc'ed.
anas_status anas_cache_directory(char **out_path);

// 128-bit content hash (xxh3), as 32 lower-case hexadecimal digits and NUL.
void anas_hash_hex(const void *data, size_t size, char out_hex[33]);
uint64_t anas_hash64(const void *data, size_t size, uint64_t seed);

double anas_now(void);         // monotonic seconds
double anas_thread_time(void); // processor seconds of the calling thread

#endif
