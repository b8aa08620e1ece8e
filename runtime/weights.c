// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checkpoints in safetensors format: u64 header size, JSON header {"name": {"dtype", "shape", "data_offsets"}}, data.
#include "runtime/weights.h"

#include "runtime/support/file.h"
#include "runtime/support/memory.h"
#include "runtime/support/strbuf.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER (100u << 20) // limit of the reference implementation

static bool is_saved(const struct anas_tensor *tensor, bool with_optimizer) {
  return with_optimizer || tensor->role != ANAS_TENSOR_OPTIMIZER;
}

static char *header_text(const struct anas_program_image *image, bool with_optimizer, const char *const *metadata) {
  json_t *root = json_object();
  if (metadata) {
    json_t *pairs = json_object();
    for (; metadata[0]; metadata += 2)
      json_object_set_new(pairs, metadata[0], json_string(metadata[1]));
    json_object_set_new(root, "__metadata__", pairs);
  }
  size_t offset = 0;
  for (int t = 0; t < image->num_tensors; t++) {
    const struct anas_tensor *tensor = &image->tensors[t];
    if (!is_saved(tensor, with_optimizer)) continue;
    json_t *shape = json_array();
    for (int d = 0; d < tensor->rank; d++)
      json_array_append_new(shape, json_integer(tensor->dim[d]));
    size_t end = offset + tensor->count * sizeof(float);
    json_object_set_new(root, tensor->name,
                        json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets",
                                  (json_int_t)offset, (json_int_t)end));
    offset = end;
  }
  char *text = json_dumps(root, JSON_COMPACT);
  json_decref(root);
  return text;
}

anas_status anas_weights_save(const char *path, const struct anas_program_image *image, const void *params,
                              bool with_optimizer, const char *const *metadata) {
  char *header = header_text(image, with_optimizer, metadata);
  if (!header)
    return anas_fail(ANAS_INTERNAL, "cannot describe the tensors of '%s' as JSON (a name is not UTF-8)", path);
  size_t padded = (strlen(header) + 7) / 8 * 8; // data starts 8-byte aligned; spaces are allowed after the JSON
  struct anas_strbuf start = {0};
  uint8_t size[8];
  for (int i = 0; i < 8; i++)
    size[i] = (uint8_t)((uint64_t)padded >> (8 * i));
  anas_strbuf_add(&start, (const char *)size, sizeof size);
  anas_strbuf_adds(&start, header);
  while (start.size < sizeof size + padded)
    anas_strbuf_add(&start, " ", 1);
  // Tensors are written from where they are: a copy would double the memory of a large model.
  struct anas_file_part *parts = anas_calloc((size_t)image->num_tensors + 1, sizeof *parts);
  size_t count = 0;
  parts[count++] = (struct anas_file_part){start.data, start.size};
  for (int t = 0; t < image->num_tensors; t++)
    if (is_saved(&image->tensors[t], with_optimizer))
      parts[count++] = (struct anas_file_part){(const char *)params + image->tensors[t].offset,
                                               image->tensors[t].count * sizeof(float)};
  anas_status status = anas_file_write_parts(path, parts, count);
  free(parts);
  anas_strbuf_deinit(&start);
  free(header);
  return status;
}

struct checkpoint {
  char *file;
  json_t *header;
  const char *data;
  size_t data_size;
};

static void checkpoint_deinit(struct checkpoint *checkpoint) {
  json_decref(checkpoint->header);
  free(checkpoint->file);
}

static anas_status checkpoint_init(const char *path, struct checkpoint *out) {
  char *file;
  size_t size;
  ANAS_RETURN_IF_ERROR(anas_file_read(path, &file, &size));
  uint64_t header_size = 0;
  for (size_t i = 0; i < 8 && i < size; i++)
    header_size |= (uint64_t)(uint8_t)file[i] << (8 * i);
  json_t *header = NULL;
  json_error_t error = {.text = "header is larger than the file"};
  if (size >= 8 && header_size <= size - 8 && header_size <= MAX_HEADER)
    header = json_loadb(file + 8, header_size, JSON_REJECT_DUPLICATES, &error);
  if (!header || !json_is_object(header)) {
    json_decref(header);
    free(file);
    return anas_fail(ANAS_CORRUPT, "'%s' is not a safetensors file or is truncated: %s", path, error.text);
  }
  *out = (struct checkpoint){file, header, file + 8 + header_size, size - 8 - (size_t)header_size};
  return ANAS_OK;
}

static void shape_text(struct anas_strbuf *out, const json_t *shape) {
  for (size_t d = 0; d < json_array_size(shape); d++)
    anas_strbuf_addf(out, "%s%lld", d ? "x" : "", (long long)json_integer_value(json_array_get(shape, d)));
}

static bool same_shape(const json_t *shape, const struct anas_tensor *tensor) {
  bool same = json_array_size(shape) == (size_t)tensor->rank;
  for (int d = 0; same && d < tensor->rank; d++)
    same = json_integer_value(json_array_get(shape, (size_t)d)) == tensor->dim[d];
  return same;
}

// Finds a tensor's data; *out_data is null if the file does not have it.
static anas_status find_tensor(const struct checkpoint *checkpoint, const char *path, const struct anas_tensor *tensor,
                               const char **out_data) {
  *out_data = NULL;
  const json_t *entry = json_object_get(checkpoint->header, tensor->name);
  if (!entry) return ANAS_OK;
  const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
  const char *dtype = json_string_value(json_object_get(entry, "dtype"));
  if (!dtype || strcmp(dtype, "F32"))
    return anas_fail(ANAS_INVALID, "'%s': tensor '%s' has type %s; only F32 is read", path, tensor->name,
                     dtype ? dtype : "unknown");
  if (!same_shape(shape, tensor)) {
    struct anas_strbuf theirs = {0}, ours = {0};
    shape_text(&theirs, shape);
    for (int d = 0; d < tensor->rank; d++)
      anas_strbuf_addf(&ours, "%s%lld", d ? "x" : "", (long long)tensor->dim[d]);
    anas_status status = anas_fail(ANAS_INVALID, "'%s': tensor '%s' has shape %s, the model needs %s", path,
                                   tensor->name, anas_strbuf_text(&theirs), anas_strbuf_text(&ours));
    anas_strbuf_deinit(&theirs);
    anas_strbuf_deinit(&ours);
    return status;
  }
  json_int_t begin = json_integer_value(json_array_get(offsets, 0)),
             end = json_integer_value(json_array_get(offsets, 1));
  if (begin < 0 || end < begin || (size_t)end > checkpoint->data_size ||
      (size_t)(end - begin) != tensor->count * sizeof(float))
    return anas_fail(ANAS_CORRUPT, "'%s' is truncated: the data of tensor '%s' (bytes %lld to %lld) is not all there",
                     path, tensor->name, (long long)begin, (long long)end);
  *out_data = checkpoint->data + begin;
  return ANAS_OK;
}

// Into params; null: only looks whether everything is there.
static anas_status load_tensors(const struct checkpoint *checkpoint, const char *path,
                                const struct anas_program_image *image, char *params, bool *out_optimizer) {
  bool has_optimizer = true;
  for (int t = 0; t < image->num_tensors; t++) {
    const struct anas_tensor *tensor = &image->tensors[t];
    const char *data;
    ANAS_RETURN_IF_ERROR(find_tensor(checkpoint, path, tensor, &data));
    if (!data && tensor->role != ANAS_TENSOR_OPTIMIZER)
      return anas_fail(ANAS_INVALID, "'%s' has no tensor '%s', which the model needs", path, tensor->name);
    has_optimizer &= data != NULL;
    if (data && params) memcpy(params + tensor->offset, data, tensor->count * sizeof(float));
  }
  *out_optimizer = has_optimizer;
  return ANAS_OK;
}

anas_status anas_weights_load(const char *path, const struct anas_program_image *image, void *params,
                              bool *out_optimizer) {
  struct checkpoint checkpoint;
  bool has_optimizer = false;
  ANAS_RETURN_IF_ERROR(checkpoint_init(path, &checkpoint));
  // Checked first, so that a damaged file leaves params as they are.
  anas_status status = load_tensors(&checkpoint, path, image, NULL, &has_optimizer);
  if (status == ANAS_OK) status = load_tensors(&checkpoint, path, image, params, out_optimizer);
  checkpoint_deinit(&checkpoint);
  return status;
}

anas_status anas_weights_load_matching(const char *path, const struct anas_program_image *image, void *params,
                                       bool *out_loaded) {
  struct checkpoint checkpoint;
  ANAS_RETURN_IF_ERROR(checkpoint_init(path, &checkpoint));
  anas_status status = ANAS_OK;
  const char **data = anas_calloc((size_t)image->num_tensors + 1, sizeof *data);
  for (int t = 0; t < image->num_tensors && status == ANAS_OK; t++) {
    const struct anas_tensor *tensor = &image->tensors[t];
    const json_t *entry = json_object_get(checkpoint.header, tensor->name);
    if (tensor->role != ANAS_TENSOR_OPTIMIZER && entry && same_shape(json_object_get(entry, "shape"), tensor))
      status = find_tensor(&checkpoint, path, tensor, &data[t]);
  }
  for (int t = 0; t < image->num_tensors && status == ANAS_OK; t++) { // a damaged file leaves params as they are
    out_loaded[t] = data[t] != NULL;
    if (data[t]) memcpy((char *)params + image->tensors[t].offset, data[t], image->tensors[t].count * sizeof(float));
  }
  free(data);
  checkpoint_deinit(&checkpoint);
  return status;
}

anas_status anas_weights_metadata(const char *path, const char *key, char **out_value) {
  struct checkpoint checkpoint;
  ANAS_RETURN_IF_ERROR(checkpoint_init(path, &checkpoint));
  const char *value = json_string_value(json_object_get(json_object_get(checkpoint.header, "__metadata__"), key));
  *out_value = value ? strdup(value) : NULL;
  checkpoint_deinit(&checkpoint);
  return ANAS_OK;
}
