// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A nest as the text of its kernel function: linalg.fill of filled outputs, then one linalg.generic on memrefs.
#include "passes/lower/lowering.h"
#include "runtime/support/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const element_names[] = {[ANAS_F32] = "f32", [ANAS_I32] = "i32", [ANAS_I64] = "i64"};

void anas_memref_text(const struct anas_shape *shape, struct anas_strbuf *out) {
  char text[128];
  anas_strbuf_addf(out, "memref<%s>", anas_shape_text(shape, text));
}

// ---- simplification

anas_status anas_nest_simplify(const struct anas_lowering *l, struct anas_nest *nest) {
  char name[ANAS_MAX_ACCESSES][16];
  int kept = 0;
  for (int j = 0; j < nest->num_out; j++) {
    nest->out[j].buffer = anas_lowering_canonical(l, nest->out[j].buffer);
    for (int k = 0; k < j; k++)
      if (anas_lowering_overlap(l, nest->out[j].buffer, nest->out[k].buffer))
        return anas_fail(ANAS_INTERNAL, "nest '%s': outputs %d and %d are one buffer", nest->kind, k, j);
  }
  for (int i = 0; i < nest->num_in; i++) {
    struct anas_access access = nest->in[i];
    access.buffer = anas_lowering_canonical(l, access.buffer);
    int rank = anas_lower_shape(l, access.buffer)->rank, same = -1;
    for (int j = 0; j < nest->num_out; j++) {
      if (!anas_lowering_overlap(l, nest->out[j].buffer, access.buffer)) continue;
      if (nest->out[j].buffer != access.buffer || !anas_access_same_index(&nest->out[j], &access, rank) ||
          nest->fill[j] != ANAS_NO_FILL)
        return anas_fail(ANAS_INTERNAL, "nest '%s': input %d is the storage of output %d, read at other places",
                         nest->kind, i, j);
      same = j;
    }
    if (same >= 0) {
      snprintf(name[i], sizeof name[i], "%%o%d", same);
      continue;
    }
    for (int k = 0; k < kept; k++)
      if (nest->in[k].buffer == access.buffer && anas_access_same_index(&nest->in[k], &access, rank)) same = k;
    if (same < 0) {
      nest->in[kept] = access;
      same = kept++;
    }
    snprintf(name[i], sizeof name[i], "%%i%d", same);
  }
  if (kept == nest->num_in) return ANAS_OK;
  struct anas_strbuf body = {0};
  anas_body_rewrite(anas_strbuf_text(&nest->body), name, NULL, 0, NULL, &body);
  anas_strbuf_deinit(&nest->body);
  nest->body = body;
  for (int j = 0; j < nest->num_out; j++)
    if (nest->yield[j][1] == 'i') memcpy(nest->yield[j], name[atoi(nest->yield[j] + 2)], sizeof nest->yield[j]);
  memset(&nest->in[kept], 0, (size_t)(nest->num_in - kept) * sizeof nest->in[0]);
  nest->num_in = kept;
  return ANAS_OK;
}

// ---- printing

struct printer {
  const struct anas_lowering *l;
  const struct anas_nest *nest;
  int loops;                          // with the companion loop, if there is one
  int companion;                      // its number, -1: none
  int shape_loop[ANAS_MAX_LOOPS + 1]; // loops the shape operand bounds
  int shape_rank;
  struct anas_strbuf text;
};

// A single loop that covers only a prefix of the dimension.
static bool is_prefix(const struct anas_nest *nest, const struct anas_linear *index, int64_t extent) {
  int loop = anas_linear_single_loop(index);
  return loop >= 0 && nest->extent[loop] != extent;
}

static const struct anas_access *nest_access(const struct anas_nest *nest, int i) {
  return i < nest->num_in ? &nest->in[i] : &nest->out[i - nest->num_in];
}

// Decides on companion loop and shape operand (see lowering.h).
static void bound_loops(struct printer *p) {
  const struct anas_nest *nest = p->nest;
  bool bounded[ANAS_MAX_LOOPS + 1] = {false};
  p->loops = nest->num_loops;
  p->companion = -1;
  for (int i = 0; i < nest->num_in + nest->num_out; i++) {
    const struct anas_access *access = nest_access(nest, i);
    const struct anas_shape *shape = anas_lower_shape(p->l, access->buffer);
    for (int d = 0; d < shape->rank; d++) {
      int loop = anas_linear_single_loop(&access->index[d]);
      if (loop < 0 || access->border[d]) continue;
      if (is_prefix(nest, &access->index[d], shape->dim[d]))
        p->companion = nest->num_loops;
      else
        bounded[loop] = true;
    }
  }
  if (p->companion >= 0) p->loops++;
  for (int k = 0; k < p->loops; k++)
    if (!bounded[k]) p->shape_loop[p->shape_rank++] = k;
}

static void print_index(struct printer *p, const struct anas_linear *index, int64_t extent) {
  anas_linear_text(p->nest, index, &p->text);
  if (is_prefix(p->nest, index, extent)) anas_strbuf_addf(&p->text, " + d%d", p->companion);
}

static void print_map_head(struct printer *p) {
  anas_strbuf_adds(&p->text, "affine_map<(");
  for (int k = 0; k < p->loops; k++)
    anas_strbuf_addf(&p->text, "%sd%d", k ? ", " : "", k);
  anas_strbuf_adds(&p->text, ") -> (");
}

static void print_maps(struct printer *p) {
  const struct anas_nest *nest = p->nest;
  anas_strbuf_adds(&p->text, "  linalg.generic {indexing_maps = [");
  for (int i = 0; i < nest->num_in + nest->num_out; i++) {
    if (i == nest->num_in && p->shape_rank) {
      print_map_head(p);
      for (int s = 0; s < p->shape_rank; s++)
        anas_strbuf_addf(&p->text, "%sd%d", s ? ", " : "", p->shape_loop[s]);
      anas_strbuf_adds(&p->text, ")>, ");
    }
    const struct anas_access *access = nest_access(nest, i);
    const struct anas_shape *shape = anas_lower_shape(p->l, access->buffer);
    print_map_head(p);
    for (int d = 0; d < shape->rank; d++) {
      if (d) anas_strbuf_adds(&p->text, ", ");
      if (access->border[d])
        anas_border_index(nest, access, d, shape->dim[d], &p->text);
      else
        print_index(p, &access->index[d], shape->dim[d]);
    }
    anas_strbuf_adds(&p->text, i + 1 < nest->num_in + nest->num_out ? ")>, " : ")>");
  }
  anas_strbuf_adds(&p->text, "], iterator_types = [");
  for (int k = 0; k < p->loops; k++)
    anas_strbuf_addf(&p->text, "%s\"%s\"", k ? ", " : "",
                     k < nest->num_loops && nest->reduction[k] ? "reduction" : "parallel");
  anas_strbuf_adds(&p->text, "]}\n");
}

// "ins(%a0, %a1 : memref<...>, memref<...>)" from the operands first..first+count of the accesses.
static void print_list(struct printer *p, const char *word, int first, int count, const int *operand,
                       const struct anas_shape *shape_operand, int shape_name) {
  anas_strbuf_addf(&p->text, "%s(", word);
  for (int i = 0; i < count; i++)
    anas_strbuf_addf(&p->text, "%s%%a%d", i ? ", " : "", operand[first + i]);
  if (shape_operand) anas_strbuf_addf(&p->text, "%s%%a%d", count ? ", " : "", shape_name);
  anas_strbuf_adds(&p->text, " : ");
  for (int i = 0; i < count; i++) {
    if (i) anas_strbuf_adds(&p->text, ", ");
    anas_memref_text(anas_lower_shape(p->l, nest_access(p->nest, first + i)->buffer), &p->text);
  }
  if (shape_operand) {
    if (count) anas_strbuf_adds(&p->text, ", ");
    anas_memref_text(shape_operand, &p->text);
  }
  anas_strbuf_adds(&p->text, ")");
}

static anas_status print_fills(struct printer *p, const int *operand) {
  const struct anas_nest *nest = p->nest;
  for (int j = 0; j < nest->num_out; j++) {
    if (nest->fill[j] == ANAS_NO_FILL) continue;
    const struct anas_shape *shape = anas_lower_shape(p->l, nest->out[j].buffer);
    const char *element = element_names[shape->element], *value;
    bool is_float = shape->element == ANAS_F32;
    switch (nest->fill[j]) {
    case ANAS_FILL_ZERO: value = is_float ? "0.0" : "0"; break;
    case ANAS_FILL_ONE: value = is_float ? "1.0" : "1"; break;
    default:
      if (!is_float) return anas_fail(ANAS_INTERNAL, "nest '%s': integers have no infinity to fill with", nest->kind);
      value = "0xFF800000";
    }
    anas_strbuf_addf(&p->text, "  %%f%d = arith.constant %s : %s\n  linalg.fill ins(%%f%d : %s) outs(%%a%d : ", j,
                     value, element, j, element, operand[nest->num_in + j]);
    anas_memref_text(shape, &p->text);
    anas_strbuf_adds(&p->text, ")\n");
  }
  return ANAS_OK;
}

static void print_block(struct printer *p) {
  const struct anas_nest *nest = p->nest;
  anas_strbuf_adds(&p->text, "   {\n  ^bb0(");
  for (int i = 0; i < nest->num_in; i++)
    anas_strbuf_addf(&p->text, "%%i%d: %s, ", i, element_names[anas_lower_shape(p->l, nest->in[i].buffer)->element]);
  if (p->shape_rank) anas_strbuf_adds(&p->text, "%shape: f32, ");
  for (int j = 0; j < nest->num_out; j++)
    anas_strbuf_addf(&p->text, "%s%%o%d: %s", j ? ", " : "", j,
                     element_names[anas_lower_shape(p->l, nest->out[j].buffer)->element]);
  anas_strbuf_adds(&p->text, "):\n");
  anas_strbuf_adds(&p->text, anas_strbuf_text(&nest->body));
  anas_strbuf_adds(&p->text, "    linalg.yield ");
  for (int j = 0; j < nest->num_out; j++)
    anas_strbuf_addf(&p->text, "%s%s", j ? ", " : "", nest->yield[j]);
  anas_strbuf_adds(&p->text, " : ");
  for (int j = 0; j < nest->num_out; j++)
    anas_strbuf_addf(&p->text, "%s%s", j ? ", " : "",
                     element_names[anas_lower_shape(p->l, nest->out[j].buffer)->element]);
  anas_strbuf_adds(&p->text, "\n  }\n  return\n}\n");
}

// Distinct operands in order: inputs, the shape operand, outputs; operand[access] is the number of its operand.
static void number_operands(struct printer *p, struct anas_kernel_function *kernel, int *operand) {
  const struct anas_nest *nest = p->nest;
  for (int i = 0; i < nest->num_in + nest->num_out; i++) {
    if (i == nest->num_in) {
      if (p->shape_rank) kernel->buffer[kernel->num_operands++] = ANAS_SHAPE_OPERAND;
      kernel->num_inputs = kernel->num_operands;
    }
    int buffer = nest_access(nest, i)->buffer, found = -1;
    for (int k = 0; k < kernel->num_operands; k++)
      if (kernel->buffer[k] == buffer) found = k;
    if (found < 0) {
      found = kernel->num_operands;
      kernel->buffer[kernel->num_operands++] = buffer;
    }
    operand[i] = found;
  }
  kernel->shape = (struct anas_shape){.rank = p->shape_rank, .element = ANAS_F32};
  for (int s = 0; s < p->shape_rank; s++)
    kernel->shape.dim[s] = p->shape_loop[s] == p->companion ? 1 : nest->extent[p->shape_loop[s]];
}

// Every operand once, an output that is updated twice.
static double nest_bytes(const struct printer *p, const struct anas_kernel_function *kernel) {
  double bytes = 0;
  for (int k = 0; k < kernel->num_operands; k++)
    if (kernel->buffer[k] != ANAS_SHAPE_OPERAND) bytes += (double)anas_lowering_bytes(p->l, kernel->buffer[k]);
  for (int j = 0; j < p->nest->num_out; j++)
    if (p->nest->fill[j] == ANAS_NO_FILL && anas_nest_uses_output(p->nest, j))
      bytes += (double)anas_lowering_bytes(p->l, p->nest->out[j].buffer);
  return bytes;
}

static anas_status print_kernel(struct printer *p, struct anas_kernel_function *kernel) {
  const struct anas_nest *nest = p->nest;
  int operand[ANAS_MAX_ACCESSES + ANAS_MAX_RESULTS];
  bound_loops(p);
  if (p->shape_rank > ANAS_MAX_RANK)
    return anas_fail(ANAS_UNSUPPORTED, "nest '%s' has %d loops that no operand bounds; at most %d are possible",
                     nest->kind, p->shape_rank, ANAS_MAX_RANK);
  number_operands(p, kernel, operand);
  kernel->bytes = nest_bytes(p, kernel);
  kernel->flops = anas_body_flops(anas_strbuf_text(&nest->body));
  for (int k = 0; k < nest->num_loops; k++)
    kernel->flops *= (double)nest->extent[k];

  anas_strbuf_adds(&p->text, "(");
  for (int k = 0; k < kernel->num_operands; k++) {
    int buffer = kernel->buffer[k];
    anas_strbuf_addf(&p->text, "%s%%a%d: ", k ? ", " : "", k);
    anas_memref_text(buffer == ANAS_SHAPE_OPERAND ? &kernel->shape : anas_lower_shape(p->l, buffer), &p->text);
  }
  anas_strbuf_addf(&p->text,
                   ") attributes {anas.bytes = %.15e : f64, anas.flops = %.15e : f64, anas.kernel = \"%s\"} {\n",
                   kernel->bytes, kernel->flops, nest->kind);
  ANAS_RETURN_IF_ERROR(print_fills(p, operand));
  print_maps(p);
  if (nest->num_in || p->shape_rank) {
    anas_strbuf_adds(&p->text, "    ");
    int shape_name = kernel->num_inputs - 1;
    print_list(p, "ins", 0, nest->num_in, operand, p->shape_rank ? &kernel->shape : NULL, shape_name);
    anas_strbuf_adds(&p->text, "\n");
  }
  anas_strbuf_adds(&p->text, "    ");
  print_list(p, "outs", nest->num_in, nest->num_out, operand, NULL, 0);
  print_block(p);
  return ANAS_OK;
}

anas_status anas_kernel_function_print(const struct anas_lowering *l, const struct anas_nest *nest,
                                       struct anas_kernel_function *out) {
  struct anas_nest copy = *nest;
  copy.body = (struct anas_strbuf){0};
  anas_strbuf_adds(&copy.body, anas_strbuf_text(&nest->body));
  struct printer p = {.l = l, .nest = &copy};
  struct anas_kernel_function kernel = {0};
  anas_status status = anas_nest_simplify(l, &copy);
  if (status == ANAS_OK) anas_nest_body_with_borders(l, &copy);
  if (status == ANAS_OK) status = print_kernel(&p, &kernel);
  if (status == ANAS_OK) {
    memcpy(kernel.name, "k_", 2);
    anas_hash_hex(p.text.data, p.text.size, kernel.name + 2);
    kernel.text = anas_format("func.func private @%s%s", kernel.name, p.text.data);
    *out = kernel;
  }
  anas_strbuf_deinit(&p.text);
  anas_strbuf_deinit(&copy.body);
  return status;
}

void anas_kernel_function_deinit(struct anas_kernel_function *kernel) {
  free(kernel->text);
  *kernel = (struct anas_kernel_function){0};
}
