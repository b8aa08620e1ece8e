// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Bundle files: a device program as text. The first line is "anas-bundle VERSION HASH", the hash being that of all that
// follows; then one record a line, numbers in decimal, names last on their line:
//   chip NAME                                  model BATCH HEIGHT WIDTH CHANNELS CLASSES
//   memory ARENA PARAMS WORKSPACE              region NAME OFFSET BYTES
//   tensor ROLE INIT FAN_IN FAN_OUT OFFSET RANK DIM... NAME
//   kernel CALLS FLOPS BYTES KIND SYMBOL       module SIZE, then SIZE bytes of PTX and a newline
//   function MODULE KIND SYMBOL
//   launch ENTRY FUNCTION GX GY GZ BLOCK N BASE:OFFSET...
//   fill ENTRY VALUE COUNT BASE:OFFSET
//   end
// BASE is 0 arena, 1 parameters, 2 workspace; ENTRY is 0 train_step, 1 infer.
#include "runtime/device/program.h"
#include "runtime/support/file.h"
#include "runtime/support/strbuf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1

static const char *const role_names[] = {"param", "state", "optimizer"};

struct named_region {
  const char *name;
  size_t offset; // in struct anas_program_image
};
static const struct named_region regions[] = {
    {"image", offsetof(struct anas_program_image, image)},
    {"label", offsetof(struct anas_program_image, label)},
    {"learning_rate", offsetof(struct anas_program_image, learning_rate)},
    {"seed", offsetof(struct anas_program_image, seed)},
    {"loss", offsetof(struct anas_program_image, loss)},
    {"correct", offsetof(struct anas_program_image, correct)},
    {"logits", offsetof(struct anas_program_image, logits)},
};
enum { NUM_REGIONS = sizeof regions / sizeof *regions };

static struct anas_region *region_at(const struct anas_program_image *image, int i) {
  return (struct anas_region *)((char *)image + regions[i].offset);
}

// ---- writing

static void write_image(const struct anas_device_program *program, struct anas_strbuf *out) {
  const struct anas_program_image *image = &program->image;
  anas_strbuf_addf(out, "chip %s\nmodel %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", program->chip,
                   image->batch, image->height, image->width, image->channels, image->classes);
  anas_strbuf_addf(out, "memory %zu %zu %zu\n", image->arena_bytes, image->params_bytes, program->workspace_bytes);
  for (int i = 0; i < NUM_REGIONS; i++)
    anas_strbuf_addf(out, "region %s %zu %zu\n", regions[i].name, region_at(image, i)->offset,
                     region_at(image, i)->bytes);
  for (int t = 0; t < image->num_tensors; t++) {
    const struct anas_tensor *tensor = &image->tensors[t];
    anas_strbuf_addf(out, "tensor %s %s %" PRId64 " %" PRId64 " %zu %d", role_names[tensor->role], tensor->init,
                     tensor->fan_in, tensor->fan_out, tensor->offset, tensor->rank);
    for (int d = 0; d < tensor->rank; d++)
      anas_strbuf_addf(out, " %" PRId64, tensor->dim[d]);
    anas_strbuf_addf(out, " %s\n", tensor->name);
  }
  for (int k = 0; k < image->num_kernels; k++)
    anas_strbuf_addf(out, "kernel %d %.17g %.17g %s %s\n", image->kernels[k].calls, image->kernels[k].flops,
                     image->kernels[k].bytes, image->kernels[k].kind, image->kernels[k].symbol);
}

static void write_launch(const struct anas_device_launch *launch, int entry, struct anas_strbuf *out) {
  if (launch->function < 0)
    anas_strbuf_addf(out, "fill %d %" PRIu32 " %" PRIu64, entry, launch->value, launch->count);
  else
    anas_strbuf_addf(out, "launch %d %d %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %d", entry, launch->function,
                     launch->grid[0], launch->grid[1], launch->grid[2], launch->block, launch->num_arguments);
  for (int i = 0; i < launch->num_arguments; i++)
    anas_strbuf_addf(out, " %d:%" PRIu64, launch->argument[i].base, launch->argument[i].offset);
  anas_strbuf_adds(out, "\n");
}

anas_status anas_bundle_write(const char *path, const struct anas_device_program *program) {
  struct anas_strbuf body = {0}, file = {0};
  write_image(program, &body);
  for (int m = 0; m < program->num_modules; m++) {
    anas_strbuf_addf(&body, "module %zu\n", program->modules[m].size);
    anas_strbuf_add(&body, program->modules[m].ptx, program->modules[m].size);
    anas_strbuf_adds(&body, "\n");
  }
  for (int f = 0; f < program->num_functions; f++)
    anas_strbuf_addf(&body, "function %d %s %s\n", program->functions[f].module, program->functions[f].kind,
                     program->functions[f].symbol);
  for (int entry = 0; entry < ANAS_NUM_ENTRIES; entry++)
    for (size_t i = 0; i < program->num_launches[entry]; i++)
      write_launch(&program->launches[entry][i], entry, &body);
  anas_strbuf_adds(&body, "end\n");
  char hash[33];
  anas_hash_hex(body.data, body.size, hash);
  anas_strbuf_addf(&file, "anas-bundle %d %s\n", VERSION, hash);
  anas_strbuf_add(&file, body.data, body.size);
  anas_status status = anas_file_write(path, file.data, file.size);
  anas_strbuf_deinit(&body);
  anas_strbuf_deinit(&file);
  return status;
}

// ---- reading

struct reader {
  char *at, *end; // the text; lines are cut in place
  struct anas_device_program *program;
  size_t capacity_tensors, capacity_kernels, capacity_modules, capacity_functions, capacity_launches[ANAS_NUM_ENTRIES];
  struct anas_tensor *tensors; // grow here, move to the image's memory at the end
  struct anas_kernel *kernels;
};

static bool next_number(char **text, uint64_t max, uint64_t *out) {
  char *end;
  if (**text < '0' || **text > '9') return false;
  unsigned long long value = strtoull(*text, &end, 10);
  if (value > max || (*end != '\0' && *end != ' ' && *end != ':')) return false;
  *text = *end ? end + 1 : end;
  *out = value;
  return true;
}

static char *next_word(char **text) {
  char *word = *text, *space = strchr(word, ' ');
  if (space) *space = '\0';
  *text = space ? space + 1 : word + strlen(word);
  return word;
}

static bool next_numbers(char **text, int64_t *out, int num) {
  for (int i = 0; i < num; i++) {
    uint64_t value;
    if (!next_number(text, INT64_MAX, &value)) return false;
    out[i] = (int64_t)value;
  }
  return true;
}

static bool read_tensor(struct reader *reader, char *text) {
  struct anas_program_image *image = &reader->program->image;
  struct anas_tensor tensor = {0};
  char *role = next_word(&text), *init = next_word(&text);
  int64_t number[4];
  int r = 0;
  while (r < 3 && strcmp(role, role_names[r]) != 0)
    r++;
  if (r == 3 || !next_numbers(&text, number, 4) || number[3] > 8 || !next_numbers(&text, tensor.dim, (int)number[3]))
    return false;
  tensor.role = (enum anas_tensor_role)r;
  tensor.init = anas_arena_strdup(&image->memory, init);
  tensor.fan_in = number[0];
  tensor.fan_out = number[1];
  tensor.offset = (size_t)number[2];
  tensor.rank = (int)number[3];
  tensor.count = 1;
  for (int d = 0; d < tensor.rank; d++)
    if (__builtin_mul_overflow(tensor.count, (size_t)tensor.dim[d], &tensor.count)) return false;
  tensor.name = anas_arena_strdup(&image->memory, text);
  reader->tensors = anas_grow(reader->tensors, (size_t)image->num_tensors, &reader->capacity_tensors, sizeof tensor);
  reader->tensors[image->num_tensors++] = tensor;
  return *text != '\0';
}

static bool read_kernel(struct reader *reader, char *text) {
  struct anas_program_image *image = &reader->program->image;
  int64_t calls;
  if (!next_numbers(&text, &calls, 1)) return false;
  char *flops = next_word(&text), *bytes = next_word(&text), *kind = next_word(&text);
  struct anas_kernel kernel = {.symbol = anas_arena_strdup(&image->memory, text),
                               .kind = anas_arena_strdup(&image->memory, kind),
                               .flops = strtod(flops, NULL),
                               .bytes = strtod(bytes, NULL),
                               .calls = (int)calls};
  reader->kernels = anas_grow(reader->kernels, (size_t)image->num_kernels, &reader->capacity_kernels, sizeof kernel);
  reader->kernels[image->num_kernels++] = kernel;
  return *text != '\0';
}

static bool read_module(struct reader *reader, char *text) {
  struct anas_device_program *program = reader->program;
  int64_t size;
  if (!next_numbers(&text, &size, 1) || size > reader->end - reader->at - 1 || reader->at[size] != '\n') return false;
  struct anas_device_module module = {anas_alloc((size_t)size + 1), (size_t)size};
  memcpy(module.ptx, reader->at, (size_t)size);
  reader->at += size + 1;
  program->modules =
      anas_grow(program->modules, (size_t)program->num_modules, &reader->capacity_modules, sizeof module);
  program->modules[program->num_modules++] = module;
  return true;
}

static bool read_function(struct reader *reader, char *text) {
  struct anas_device_program *program = reader->program;
  uint64_t module;
  if (!next_number(&text, INT32_MAX, &module)) return false;
  char *kind = next_word(&text);
  struct anas_device_function function = {.symbol = anas_arena_strdup(&program->image.memory, text),
                                          .kind = anas_arena_strdup(&program->image.memory, kind),
                                          .module = (int)module};
  program->functions =
      anas_grow(program->functions, (size_t)program->num_functions, &reader->capacity_functions, sizeof function);
  program->functions[program->num_functions++] = function;
  return *text != '\0';
}

static bool read_launch(struct reader *reader, char *text, bool fill) {
  struct anas_device_program *program = reader->program;
  struct anas_device_launch launch = {.function = -1, .num_arguments = 1};
  uint64_t entry, number[6];
  if (!next_number(&text, ANAS_NUM_ENTRIES - 1, &entry)) return false;
  if (fill) {
    if (!next_number(&text, UINT32_MAX, &number[0]) || !next_number(&text, INT64_MAX, &launch.count)) return false;
    launch.value = (uint32_t)number[0];
  } else {
    for (int i = 0; i < 6; i++)
      if (!next_number(&text, INT32_MAX, &number[i])) return false;
    launch.function = (int)number[0];
    for (int d = 0; d < 3; d++)
      launch.grid[d] = (uint32_t)number[d + 1];
    launch.block = (uint32_t)number[4];
    if (number[5] > ANAS_DEVICE_MAX_ARGUMENTS) return false;
    launch.num_arguments = (int)number[5];
  }
  for (int i = 0; i < launch.num_arguments; i++) {
    uint64_t base;
    if (!next_number(&text, ANAS_BASE_WORKSPACE, &base) || !next_number(&text, INT64_MAX, &launch.argument[i].offset))
      return false;
    launch.argument[i].base = (enum anas_device_base)base;
  }
  program->launches[entry] = anas_grow(program->launches[entry], program->num_launches[entry],
                                       &reader->capacity_launches[entry], sizeof launch);
  program->launches[entry][program->num_launches[entry]++] = launch;
  return *text == '\0';
}

static bool read_record(struct reader *reader, const char *key, char *text) {
  struct anas_device_program *program = reader->program;
  struct anas_program_image *image = &program->image;
  int64_t number[5];
  if (!strcmp(key, "chip")) return snprintf(program->chip, sizeof program->chip, "%s", text) > 0;
  if (!strcmp(key, "model")) {
    if (!next_numbers(&text, number, 5)) return false;
    image->batch = number[0];
    image->height = number[1];
    image->width = number[2];
    image->channels = number[3];
    image->classes = number[4];
    return image->batch > 0;
  }
  if (!strcmp(key, "memory")) {
    if (!next_numbers(&text, number, 3)) return false;
    image->arena_bytes = (size_t)number[0];
    image->params_bytes = (size_t)number[1];
    program->workspace_bytes = (size_t)number[2];
    return true;
  }
  if (!strcmp(key, "region")) {
    char *name = next_word(&text);
    for (int i = 0; i < NUM_REGIONS; i++) {
      if (strcmp(name, regions[i].name) != 0) continue;
      if (!next_numbers(&text, number, 2)) return false;
      *region_at(image, i) = (struct anas_region){(size_t)number[0], (size_t)number[1]};
      return true;
    }
    return false;
  }
  if (!strcmp(key, "tensor")) return read_tensor(reader, text);
  if (!strcmp(key, "kernel")) return read_kernel(reader, text);
  if (!strcmp(key, "module")) return read_module(reader, text);
  if (!strcmp(key, "function")) return read_function(reader, text);
  return (!strcmp(key, "launch") || !strcmp(key, "fill")) && read_launch(reader, text, key[0] == 'f');
}

static anas_status read_body(struct reader *reader) {
  for (int line = 2; reader->at < reader->end; line++) {
    char *text = reader->at, *newline = memchr(text, '\n', (size_t)(reader->end - text));
    if (!newline) break;
    *newline = '\0';
    reader->at = newline + 1;
    char *key = next_word(&text);
    if (!strcmp(key, "end")) return ANAS_OK;
    if (!read_record(reader, key, text))
      return anas_fail(ANAS_CORRUPT, "record %d ('%.16s') is not one of a bundle", line, key);
  }
  return anas_fail(ANAS_CORRUPT, "the file ends before its last record");
}

static anas_status read_header(struct reader *reader) {
  int version, length = 0;
  char hash[33], actual[33];
  if (sscanf(reader->at, "anas-bundle %d %32[0-9a-f]%n", &version, hash, &length) != 2 || reader->at[length] != '\n')
    return anas_fail(ANAS_CORRUPT, "it is not a bundle of anas-export");
  if (version != VERSION)
    return anas_fail(ANAS_UNSUPPORTED, "bundle version %d; this program reads version %d", version, VERSION);
  reader->at += length + 1;
  anas_hash_hex(reader->at, (size_t)(reader->end - reader->at), actual);
  return strcmp(hash, actual) ? anas_fail(ANAS_CORRUPT, "the content does not match its checksum") : ANAS_OK;
}

static void *keep(struct anas_arena *memory, void *items, size_t bytes) {
  void *kept = bytes ? memcpy(anas_arena_alloc(memory, bytes), items, bytes) : NULL;
  free(items);
  return kept;
}

anas_status anas_bundle_read(const char *path, struct anas_device_program *out) {
  char *data;
  size_t size;
  ANAS_RETURN_IF_ERROR(anas_file_read(path, &data, &size));
  struct anas_device_program program = {0};
  struct reader reader = {.at = data, .end = data + size, .program = &program};
  anas_status status = read_header(&reader);
  if (status == ANAS_OK) status = read_body(&reader);
  struct anas_program_image *image = &program.image;
  image->tensors = keep(&image->memory, reader.tensors, (size_t)image->num_tensors * sizeof *reader.tensors);
  image->kernels = keep(&image->memory, reader.kernels, (size_t)image->num_kernels * sizeof *reader.kernels);
  if (status == ANAS_OK) status = anas_device_program_check(&program);
  free(data);
  if (status != ANAS_OK) {
    anas_device_program_deinit(&program);
    return anas_fail_context(status, "bundle '%s': ", path);
  }
  *out = program;
  return ANAS_OK;
}
