// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// IRDL definition of the dialect, generated from the op table. IRDL requires every attribute it declares, so only
// required attributes are declared; the optional ones are checked by our own verifier (model_import.c).
#include "dialect/context.h"
#include "dialect/op.h"

static const char *attr_constraint(enum anas_attr_kind kind) {
  switch (kind) {
  case ANAS_ATTR_INT:
  case ANAS_ATTR_BOOL: return "integer";
  case ANAS_ATTR_FLOAT: return "float";
  case ANAS_ATTR_INTS: return "ints";
  case ANAS_ATTR_ENUM:
  case ANAS_ATTR_TEXT: return "string";
  case ANAS_ATTR_DIM: return "dim";
  case ANAS_ATTR_DIMS: return "dims";
  case ANAS_ATTR_INIT: return "string";
  }
  return "any";
}

// One variable per operand and result: IRDL forces equal types on everything that shares a variable.
static void add_value_types(struct anas_strbuf *out, const char *prefix, int count) {
  for (int i = 0; i < count; i++)
    anas_strbuf_addf(out,
                     "    %%%s_ranked%d = irdl.base \"!builtin.tensor\"\n"
                     "    %%%s_unranked%d = irdl.base \"!builtin.unranked_tensor\"\n"
                     "    %%%s%d = irdl.any_of(%%%s_ranked%d, %%%s_unranked%d)\n",
                     prefix, i, prefix, i, prefix, i, prefix, i, prefix, i);
}

static void add_attributes(struct anas_strbuf *out, const struct anas_op_def *def) {
  bool any = false;
  for (int i = 0; i < def->num_attrs; i++) {
    if (!def->attrs[i].required) continue;
    switch (def->attrs[i].kind) {
    case ANAS_ATTR_INTS:
      anas_strbuf_addf(out,
                       "    %%ints%d_array = irdl.base \"#builtin.dense_array\"\n"
                       "    %%ints%d_list = irdl.base \"#builtin.array\"\n"
                       "    %%ints%d_one = irdl.base \"#builtin.integer\"\n"
                       "    %%ints%d = irdl.any_of(%%ints%d_array, %%ints%d_list, %%ints%d_one)\n",
                       i, i, i, i, i, i, i);
      break;
    case ANAS_ATTR_FLOAT: // 2 : i64 is a number too
      anas_strbuf_addf(out,
                       "    %%float%d_number = irdl.base \"#builtin.float\"\n"
                       "    %%float%d_whole = irdl.base \"#builtin.integer\"\n"
                       "    %%float%d = irdl.any_of(%%float%d_number, %%float%d_whole)\n",
                       i, i, i, i, i);
      break;
    case ANAS_ATTR_DIM:
      anas_strbuf_addf(out,
                       "    %%dim%d_constant = irdl.base \"#builtin.integer\"\n"
                       "    %%dim%d_map = irdl.base \"#builtin.affine_map\"\n"
                       "    %%dim%d_text = irdl.base \"#builtin.string\"\n"
                       "    %%dim%d = irdl.any_of(%%dim%d_constant, %%dim%d_map, %%dim%d_text)\n",
                       i, i, i, i, i, i, i);
      break;
    case ANAS_ATTR_DIMS:
      anas_strbuf_addf(out,
                       "    %%dims%d_list = irdl.base \"#builtin.array\"\n"
                       "    %%dims%d_array = irdl.base \"#builtin.dense_array\"\n"
                       "    %%dims%d_one = irdl.base \"#builtin.integer\"\n"
                       "    %%dims%d_map = irdl.base \"#builtin.affine_map\"\n"
                       "    %%dims%d = irdl.any_of(%%dims%d_list, %%dims%d_array, %%dims%d_one, %%dims%d_map)\n",
                       i, i, i, i, i, i, i, i, i);
      break;
    default:
      anas_strbuf_addf(out, "    %%%s%d = irdl.base \"#builtin.%s\"\n", attr_constraint(def->attrs[i].kind), i,
                       attr_constraint(def->attrs[i].kind));
    }
    any = true;
  }
  if (!any) return;
  anas_strbuf_adds(out, "    irdl.attributes {");
  const char *separator = " ";
  for (int i = 0; i < def->num_attrs; i++)
    if (def->attrs[i].required) {
      anas_strbuf_addf(out, "%s\"%s\" = %%%s%d", separator, def->attrs[i].name, attr_constraint(def->attrs[i].kind), i);
      separator = ", ";
    }
  anas_strbuf_adds(out, " }\n");
}

void anas_irdl_text(struct anas_strbuf *out) {
  int count;
  const struct anas_op_def *const *defs = anas_op_table(&count);
  anas_strbuf_adds(out, "// Generated from the op table: the anas dialect for mlir-opt --irdl-file.\n"
                        "irdl.dialect @anas {\n");
  for (int d = 0; d < count; d++) {
    const struct anas_op_def *def = defs[d];
    int operands = def->num_operands, results = def->num_results ? def->num_results : 1;
    anas_strbuf_addf(out, "  // %s\n  irdl.operation @%s {\n", def->summary, def->name);
    add_value_types(out, "operand", operands + def->variadic);
    add_value_types(out, "result", results);
    add_attributes(out, def);
    if (operands + def->variadic) {
      anas_strbuf_adds(out, "    irdl.operands(");
      for (int i = 0; i < operands; i++)
        anas_strbuf_addf(out, "%soperand%d: %%operand%d", i ? ", " : "", i, i);
      if (def->variadic) anas_strbuf_addf(out, "%srest: variadic %%operand%d", operands ? ", " : "", operands);
      anas_strbuf_adds(out, ")\n");
    }
    anas_strbuf_adds(out, "    irdl.results(");
    for (int i = 0; i < results; i++)
      anas_strbuf_addf(out, "%sresult%d: %%result%d", i ? ", " : "", i, i);
    anas_strbuf_adds(out, ")\n  }\n");
  }
  anas_strbuf_adds(out, "}\n");
}
