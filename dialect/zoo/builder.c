// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Building networks in code, and the table of networks.
#include "dialect/zoo/builder.h"

#include "dialect/attributes.h"
#include "runtime/support/nearest.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct anas_ref nothing = {ANAS_ARGUMENT, 0};

static struct anas_function *current(struct zoo *zoo) {
  return &zoo->model->functions[zoo->function];
}

struct anas_ref zoo_begin(struct zoo *zoo, const char *name, const char *block, const struct anas_shape *type) {
  struct anas_function *function = anas_model_add_function(zoo->model, name);
  zoo->function = zoo->model->num_functions - 1;
  function->block = anas_model_strdup(zoo->model, block);
  function->is_private = block != NULL;
  function->num_args = function->num_results = 1;
  if (type) function->arg[0] = *type;
  return nothing;
}

void zoo_return(struct zoo *zoo, struct anas_ref result) {
  current(zoo)->result[0] = result;
}

// ---- attributes as text

static anas_status read_integers(const char *text, struct anas_ints *out) {
  struct anas_ints ints = {0};
  for (const char *at = text;;) {
    char *end;
    int64_t value = strtoll(at, &end, 10);
    if (end == at || ints.count == ANAS_MAX_RANK || (*end && *end != ','))
      return anas_fail(ANAS_INTERNAL, "'%s' is not a list of integers", text);
    ints.value[ints.count++] = value;
    if (!*end) break;
    at = end + 1;
  }
  *out = ints;
  return ANAS_OK;
}

// "B,-1,S:-1%3"
static anas_status read_extents(const char *text, struct anas_ints *out) {
  struct anas_ints dims = {0};
  for (const char *at = text;; at++) {
    size_t length = strcspn(at, ",");
    if (dims.count == ANAS_MAX_RANK) return anas_fail(ANAS_INTERNAL, "'%s' has too many extents", text);
    ANAS_RETURN_IF_ERROR(anas_dims_parse_entry(at, length, dims.count == 0, &dims.value[dims.count]));
    dims.count++;
    at += length;
    if (!*at) break;
  }
  *out = dims;
  return ANAS_OK;
}

static anas_status read_value(const struct anas_attr_def *def, const char *text, struct anas_attr *out) {
  struct anas_attr attr = {.present = true};
  struct anas_ints ints;
  char *end;
  switch (def->kind) {
  case ANAS_ATTR_INT:
    ANAS_RETURN_IF_ERROR(read_integers(text, &ints));
    attr.value.i = ints.value[0];
    break;
  case ANAS_ATTR_INTS: ANAS_RETURN_IF_ERROR(read_integers(text, &attr.value.ints)); break;
  case ANAS_ATTR_FLOAT:
    attr.value.f = strtod(text, &end);
    if (end == text || *end) return anas_fail(ANAS_INTERNAL, "'%s' is not a number", text);
    break;
  case ANAS_ATTR_BOOL: attr.value.b = !strcmp(text, "true"); break;
  case ANAS_ATTR_TEXT:
    if (strlen(text) >= sizeof attr.value.text) return anas_fail(ANAS_INTERNAL, "'%s' is too long", text);
    strcpy(attr.value.text, text);
    break;
  case ANAS_ATTR_DIM: ANAS_RETURN_IF_ERROR(anas_dim_parse(text, strlen(text), &attr.value.dim)); break;
  case ANAS_ATTR_DIMS: ANAS_RETURN_IF_ERROR(read_extents(text, &attr.value.ints)); break;
  case ANAS_ATTR_INIT: ANAS_RETURN_IF_ERROR(anas_init_parse(text, strlen(text), &attr.value.init)); break;
  case ANAS_ATTR_ENUM:
    while (def->choices[attr.value.i] && strcmp(def->choices[attr.value.i], text) != 0)
      attr.value.i++;
    if (!def->choices[attr.value.i]) return anas_fail(ANAS_INTERNAL, "'%s' is no choice of %s", text, def->name);
    break;
  }
  *out = attr;
  return ANAS_OK;
}

// words is written to: "key=value key=value".
static anas_status read_words(struct anas_node *node, char *words) {
  char *rest = NULL;
  for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
    char *value = strchr(word, '=');
    if (!value) return anas_fail(ANAS_INTERNAL, "attribute '%s' has no value", word);
    *value++ = '\0';
    int index = anas_op_attr_index(node->def, word);
    if (index < 0) return anas_fail(ANAS_INTERNAL, "'anas.%s' has no attribute '%s'", node->def->name, word);
    ANAS_RETURN_IF_ERROR(read_value(&node->def->attrs[index], value, &node->attr[index]));
  }
  return ANAS_OK;
}

// ---- operations

static struct anas_node *add_node(struct zoo *zoo, const char *op, const char *name, struct anas_ref input) {
  const struct anas_op_def *def = anas_op_find(op, strlen(op));
  if (!def) {
    if (!zoo->status) zoo->status = anas_fail(ANAS_UNSUPPORTED, "this build has no operation 'anas.%s'", op);
    return NULL;
  }
  struct anas_node *node = anas_function_add_node(current(zoo), def);
  node->name = anas_model_strdup(zoo->model, name);
  node->operand[0] = input;
  return node;
}

static struct anas_ref last_value(struct zoo *zoo) {
  return (struct anas_ref){current(zoo)->num_nodes - 1, 0};
}

// Parses printf-style attributes into the last node.
static void add_attrs(struct zoo *zoo, const char *format, va_list args) {
  char *words = NULL;
  int length = vasprintf(&words, format, args);
  zoo->status = length < 0 ? anas_fail(ANAS_NO_MEMORY, "no memory for attributes")
                           : read_words(&current(zoo)->nodes[current(zoo)->num_nodes - 1], words);
  if (length >= 0) free(words);
}

struct anas_ref zoo_op(struct zoo *zoo, const char *op, const char *name, struct anas_ref input, const char *attrs,
                       ...) {
  if (zoo->status || !add_node(zoo, op, name, input)) return nothing;
  va_list args;
  va_start(args, attrs);
  add_attrs(zoo, attrs, args);
  va_end(args);
  return last_value(zoo);
}

struct anas_ref zoo_binary(struct zoo *zoo, const char *op, struct anas_ref a, struct anas_ref b, const char *attrs,
                           ...) {
  struct anas_node *node = zoo->status ? NULL : add_node(zoo, op, NULL, a);
  if (!node) return nothing;
  node->operand[1] = b;
  va_list args;
  va_start(args, attrs);
  add_attrs(zoo, attrs, args);
  va_end(args);
  return last_value(zoo);
}

struct anas_ref zoo_call(struct zoo *zoo, const char *function, struct anas_ref input) {
  if (zoo->status) return nothing;
  struct anas_node *node = anas_function_add_node(current(zoo), NULL);
  node->callee = anas_model_find(zoo->model, function);
  node->num_operands = 1;
  node->operand[0] = input;
  if (node->callee < 0) zoo->status = anas_fail(ANAS_INTERNAL, "there is no block function '%s'", function);
  return last_value(zoo);
}

// ---- the table

#define MAX_NETWORKS 64

static const struct anas_zoo_entry *const *const families[] = {zoo_cnn, zoo_resnet, zoo_efficientnet, zoo_vit};
static const struct anas_zoo_entry *table[MAX_NETWORKS];
static const char *names[MAX_NETWORKS + 1];
static int table_size;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void build_table(void) {
  for (size_t f = 0; f < sizeof families / sizeof *families; f++)
    for (int i = 0; families[f][i] && table_size < MAX_NETWORKS; i++) {
      names[table_size] = families[f][i]->name;
      table[table_size++] = families[f][i];
    }
}

const struct anas_zoo_entry *const *anas_zoo_table(int *out_count) {
  pthread_once(&table_once, build_table);
  *out_count = table_size;
  return table;
}

const char *const *anas_zoo_names(void) {
  pthread_once(&table_once, build_table);
  return names;
}

anas_status anas_zoo_find(const char *name, const struct anas_zoo_entry **out_entry) {
  int count;
  const struct anas_zoo_entry *const *entries = anas_zoo_table(&count);
  struct anas_nearest nearest = anas_nearest_make(name, strlen(name));
  for (int i = 0; i < count; i++) {
    if (!strcmp(entries[i]->name, name)) {
      *out_entry = entries[i];
      return ANAS_OK;
    }
    anas_nearest_offer(&nearest, entries[i]->name);
  }
  char hint[128];
  anas_nearest_hint(&nearest, hint);
  return anas_fail(ANAS_NOT_FOUND, "there is no network '%s' in the zoo%s", name,
                   hint[0] ? hint : "; anas-zoo --list shows what there is");
}

anas_status anas_zoo_build(const char *name, int64_t height, int64_t width, int64_t channels, int64_t classes,
                           struct anas_model **out) {
  const struct anas_zoo_entry *entry = NULL;
  ANAS_RETURN_IF_ERROR(anas_zoo_find(name, &entry));
  const struct anas_zoo_size size = {height, width, channels, classes};
  const int64_t limit = 1 << 20;
  if (height < 1 || width < 1 || channels < 1 || classes < 1 || height > limit || width > limit || channels > limit ||
      classes > limit)
    return anas_fail(ANAS_INVALID, "%lldx%lldx%lld images in %lld classes: every number must lie between 1 and %lld",
                     (long long)height, (long long)width, (long long)channels, (long long)classes, (long long)limit);
  struct zoo zoo = {.model = anas_model_create()};
  zoo.model->quiet = true;
  entry->build(&zoo, entry, &size);
  anas_status status = zoo.status;
  if (!status) status = anas_model_infer_shapes(zoo.model);
  if (!status) status = anas_model_verify(zoo.model);
  if (status) {
    anas_model_destroy(zoo.model);
    return anas_fail_context(status, "network '%s' for %lldx%lldx%lld images: ", name, (long long)height,
                             (long long)width, (long long)channels);
  }
  zoo.model->quiet = false;
  *out = zoo.model;
  return ANAS_OK;
}
