// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops as short text for people.
#include "dialect/attributes.h"
#include "passes/mutate/internal.h"

static void describe_size(const struct anas_dim_expr *dim, struct anas_strbuf *out) {
  if (!dim->relative) {
    anas_strbuf_addf(out, "%lld", (long long)dim->constant);
    return;
  }
  if (dim->axis == -1)
    anas_strbuf_adds(out, "c");
  else
    anas_strbuf_addf(out, "d%d", dim->axis);
  if (dim->div != 1) anas_strbuf_addf(out, "/%lld", (long long)dim->div);
  if (dim->mul != 1) anas_strbuf_addf(out, "*%lld", (long long)dim->mul);
}

static void describe_value(const struct anas_attr_def *def, const struct anas_attr *attr, struct anas_strbuf *out) {
  switch (def->kind) {
  case ANAS_ATTR_INT: anas_strbuf_addf(out, "%lld", (long long)attr->value.i); break;
  case ANAS_ATTR_FLOAT: anas_strbuf_addf(out, "%g", attr->value.f); break;
  case ANAS_ATTR_BOOL: anas_strbuf_adds(out, attr->value.b ? "true" : "false"); break;
  case ANAS_ATTR_ENUM: anas_strbuf_adds(out, def->choices[attr->value.i]); break;
  case ANAS_ATTR_TEXT: anas_strbuf_adds(out, attr->value.text); break;
  case ANAS_ATTR_DIMS: anas_attr_print(def, attr, 0, out); break;
  case ANAS_ATTR_INIT: {
    char text[96];
    anas_init_text(&attr->value.init, text);
    anas_strbuf_adds(out, text);
    break;
  }
  case ANAS_ATTR_DIM: describe_size(&attr->value.dim, out); break;
  case ANAS_ATTR_INTS:
    for (int i = 0; i < attr->value.ints.count; i++) {
      bool uniform = i > 0;
      for (int k = 1; k < attr->value.ints.count; k++)
        uniform = uniform && attr->value.ints.value[k] == attr->value.ints.value[0];
      if (uniform) break; // 3x3 reads as 3
      anas_strbuf_addf(out, "%s%lld", i ? "x" : "", (long long)attr->value.ints.value[i]);
    }
    break;
  }
}

static bool is_default(const struct anas_attr_def *def, const struct anas_attr *attr) {
  if (!attr->present) return true;
  if (!def->fallback.present) return false;
  struct anas_strbuf a = {0}, b = {0};
  describe_value(def, attr, &a);
  describe_value(def, &def->fallback, &b);
  bool same = a.size == b.size && (a.size == 0 || !__builtin_memcmp(a.data, b.data, a.size));
  anas_strbuf_deinit(&a);
  anas_strbuf_deinit(&b);
  return same;
}

void anas_describe_op(const struct anas_node *node, struct anas_strbuf *out) {
  anas_strbuf_adds(out, node->def->name);
  const char *separator = "(";
  for (int a = 0; a < node->def->num_attrs; a++) {
    const struct anas_attr_def *def = &node->def->attrs[a];
    if (is_default(def, &node->attr[a])) continue;
    anas_strbuf_addf(out, "%s%s=", separator, def->name);
    describe_value(def, &node->attr[a], out);
    separator = " ";
  }
  if (separator[0] == ' ') anas_strbuf_adds(out, ")");
}
