// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Scalar bodies of nests as text: renaming of their values, and counting what they compute.
#include "passes/lower/lowering.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Reads the digits at *text and moves past them.
static int take_number(const char **text) {
  char *end;
  long value = strtol(*text, &end, 10);
  *text = end;
  return (int)value;
}

bool anas_body_rewrite(const char *body, const char (*in)[16], const char (*out)[16], int first_local, const int *loop,
                       struct anas_strbuf *out_text) {
  static const char index_op[] = "linalg.index ";
  bool ok = true;
  for (const char *p = body; *p;) {
    if (p[0] == '%' && (p[1] == 'i' || p[1] == 'o' || p[1] == 'v') && isdigit((unsigned char)p[2])) {
      char kind = p[1];
      p += 2;
      int number = take_number(&p);
      if (kind == 'i' && in)
        anas_strbuf_adds(out_text, in[number]);
      else if (kind == 'o' && out)
        anas_strbuf_adds(out_text, out[number]);
      else
        anas_strbuf_addf(out_text, "%%%c%d", kind, kind == 'v' ? number + first_local : number);
    } else if (loop && !strncmp(p, index_op, sizeof index_op - 1)) {
      p += sizeof index_op - 1;
      int number = loop[take_number(&p)];
      if (number < 0) ok = false;
      anas_strbuf_addf(out_text, "%s%d", index_op, number);
    } else {
      anas_strbuf_add(out_text, p++, 1);
    }
  }
  return ok;
}

bool anas_nest_uses_output(const struct anas_nest *nest, int output) {
  char name[16];
  int length = snprintf(name, sizeof name, "%%o%d", output);
  for (int j = 0; j < nest->num_out; j++)
    if (!strcmp(nest->yield[j], name)) return true;
  for (const char *p = anas_strbuf_text(&nest->body); (p = strstr(p, name)); p += length)
    if (!isdigit((unsigned char)p[length])) return true;
  return false;
}

double anas_body_flops(const char *body) {
  static const struct {
    const char *op;
    int flops;
  } costs[] = {{"arith.addf", 1},    {"arith.subf", 1},    {"arith.mulf", 1}, {"arith.divf", 1}, {"arith.negf", 1},
               {"arith.maxnumf", 1}, {"arith.minnumf", 1}, {"math.fma", 2},   {"math.", 1}};
  int flops = 0;
  for (const char *line = body; line && *line; line = strchr(line, '\n')) {
    while (*line == '\n')
      line++;
    const char *op = strstr(line, " = ");
    if (!op) break;
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++)
      if (!strncmp(op + 3, costs[i].op, strlen(costs[i].op))) {
        flops += costs[i].flops;
        break;
      }
  }
  return flops;
}
