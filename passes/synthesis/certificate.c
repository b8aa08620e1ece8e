// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Certificates of synthesised functions:
//
//   anas.certificate = {required = {shape, depth, mixing}, actual = {shape, depth, mixing}, distance = array<f64: ...>}
//
// 'required' are the targets of the synthesis; depth and mixing only if they were demanded. 'actual' is what the
// analysis of the whole function finds, not what the synthesiser carried along. 'distance' starts with the empty chain
// and has one entry behind every op; the last is 0, and -1 means that the target is infeasible from there by the rule
// for shapes. features = "prime" is added where distances were taken on that scale.
#include "passes/synthesis/certificate.h"

#include "dialect/context.h"
#include "passes/synthesis/internal.h"

#include <math.h>
#include <mlir-c/BuiltinAttributes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISTANCE_ERROR 1e-9 // of decimal numbers in files

static void use_scale(struct anas_target *target, enum anas_feature_distance scale) {
  if (scale != ANAS_FEATURES_PRIME) return;
  int missing =
      anas_missing_factors(target->input.dim[target->input.rank - 1], target->output.dim[target->output.rank - 1]);
  target->feature_steps = missing ? missing : 1;
}

// Distance of the empty chain and behind every op; returns how many, 0 if the body is not a chain that type-checks.
static int chain_distances(const struct anas_function *function, const struct anas_target *target,
                           double out[ANAS_MAX_CHAIN + 1]) {
  struct anas_prefix prefix;
  anas_prefix_start(target, &prefix);
  if (function->num_nodes > ANAS_MAX_CHAIN || function->result[0].node != function->num_nodes - 1) return 0;
  for (int n = 0; n <= function->num_nodes; n++) {
    double distance = anas_prefix_distance(target, 1, &prefix);
    out[n] = distance < 0 ? -1 : distance;
    if (n == function->num_nodes) break;
    const struct anas_node *node = &function->nodes[n];
    if (!node->def || node->num_operands != 1 || node->operand[0].node != n - 1) return 0;
    if (!anas_prefix_append(target, 1, &prefix, node, &prefix)) return 0;
  }
  return function->num_nodes + 1;
}

// Names the first property of the function that is not as required; null if all are.
static const char *unsatisfied(const struct anas_function *function, const struct anas_target *target,
                               const struct anas_properties *properties) {
  if (!target->any_shape && !anas_shape_equal(&target->output, &function->result_type[0])) return "shape";
  if (target->require_depth && properties->depth[0][0] < target->depth) return "depth";
  if (target->require_mixing && anas_mixing_distance(&target->mixing, &properties->mixing[0][0]) != 0) return "mixing";
  return NULL;
}

anas_status anas_certificate_attach(struct anas_model *model, int f, const struct anas_target *target,
                                    enum anas_feature_distance scale, const struct anas_properties *properties) {
  struct anas_function *function = &model->functions[f];
  const char *property = unsatisfied(function, target, &properties[f]);
  if (property)
    return anas_fail(ANAS_INFEASIBLE, "the %s of '@%s' is not as required in the analysis of the whole function",
                     property, function->name);
  struct anas_target scaled = *target;
  use_scale(&scaled, scale);
  double distance[ANAS_MAX_CHAIN + 1];
  int count = chain_distances(function, &scaled, distance);
  struct anas_strbuf text = {0};
  anas_strbuf_adds(&text, "{required = ");
  anas_properties_text(&target->output, target->require_depth ? &target->depth : NULL,
                       target->require_mixing ? &target->mixing : NULL, &text);
  anas_strbuf_adds(&text, ", actual = ");
  anas_properties_text(&function->result_type[0], &properties[f].depth[0][0], &properties[f].mixing[0][0], &text);
  anas_strbuf_adds(&text, ", distance = array<f64");
  for (int i = 0; i < count; i++)
    anas_strbuf_addf(&text, "%s%.16e", i ? ", " : ": ", distance[i]);
  anas_strbuf_adds(&text, ">");
  if (scale == ANAS_FEATURES_PRIME) anas_strbuf_adds(&text, ", features = \"prime\"");
  anas_strbuf_adds(&text, "}");
  anas_function_set_extra(model, function, "anas.certificate", anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
  return ANAS_OK;
}

// ---- checking

static anas_status fails(const struct anas_function *function, const char *reason) {
  return anas_fail(ANAS_INVALID, "the certificate of '@%s' does not hold: %s", function->name, reason);
}

static MlirAttribute entry(MlirAttribute dictionary, const char *name) {
  if (mlirAttributeIsNull(dictionary) || !mlirAttributeIsADictionary(dictionary)) return mlirAttributeGetNull();
  return mlirDictionaryAttrGetElementByName(dictionary, anas_ref_text(name));
}

static void print_attribute(MlirAttribute attribute, struct anas_strbuf *out) {
  if (mlirAttributeIsNull(attribute))
    anas_strbuf_adds(out, "nothing");
  else
    mlirAttributePrint(attribute, anas_print_to_strbuf, out);
}

// Are the entries of both dictionaries the same?
static anas_status compare_entries(const struct anas_function *function, MlirAttribute stated, MlirAttribute found,
                                   const char *what) {
  static const char *const names[] = {"shape", "depth", "mixing"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    MlirAttribute a = entry(stated, names[i]), b = entry(found, names[i]);
    if (mlirAttributeIsNull(a) ? mlirAttributeIsNull(b) : !mlirAttributeIsNull(b) && mlirAttributeEqual(a, b)) continue;
    struct anas_strbuf text = {0};
    anas_strbuf_addf(&text, "%s %s is ", what, names[i]);
    print_attribute(b, &text);
    anas_strbuf_adds(&text, ", it states ");
    print_attribute(a, &text);
    anas_status status = fails(function, anas_strbuf_text(&text));
    anas_strbuf_deinit(&text);
    return status;
  }
  return ANAS_OK;
}

static MlirAttribute properties_attribute(MlirContext context, const struct anas_shape *shape, const int64_t *depth,
                                          const struct anas_mixing *mixing) {
  struct anas_strbuf text = {0};
  anas_properties_text(shape, depth, mixing, &text);
  MlirAttribute attribute = mlirAttributeParseGet(context, anas_ref_text(anas_strbuf_text(&text)));
  anas_strbuf_deinit(&text);
  return attribute;
}

static anas_status compare_distances(const struct anas_function *function, const struct anas_target *target,
                                     MlirAttribute stated) {
  double distance[ANAS_MAX_CHAIN + 1];
  int count = chain_distances(function, target, distance);
  if (mlirAttributeIsNull(stated) || !mlirAttributeIsADenseF64Array(stated))
    return fails(function, "it has no distance = array<f64: ...>");
  char text[160];
  if (mlirDenseArrayGetNumElements(stated) != count) {
    snprintf(text, sizeof text, "%s has %d ops, it states distances of %lld", count ? "the chain" : "the body",
             function->num_nodes, (long long)mlirDenseArrayGetNumElements(stated) - 1);
    return fails(function, text);
  }
  for (int i = 0; i < count; i++) {
    double value = mlirDenseF64ArrayGetElement(stated, i);
    if (fabs(value - distance[i]) < DISTANCE_ERROR) continue;
    snprintf(text, sizeof text, "the distance behind %d ops is %.6g, it states %.6g", i, distance[i], value);
    return fails(function, text);
  }
  return ANAS_OK;
}

anas_status anas_certificate_check(const struct anas_model *model, MlirContext context, int f,
                                   const struct anas_properties *properties) {
  const struct anas_function *function = &model->functions[f];
  MlirAttribute certificate =
      mlirAttributeParseGet(context, anas_ref_text(anas_function_extra(function, "anas.certificate")));
  MlirAttribute required = entry(certificate, "required"), actual = entry(certificate, "actual");
  if (mlirAttributeIsNull(required) || mlirAttributeIsNull(actual))
    return fails(function, "it is not a dictionary with 'required' and 'actual'");
  struct anas_target target;
  ANAS_RETURN_IF_ERROR(anas_target_parse(function, "anas.certificate: ", entry(required, "shape"),
                                         entry(required, "depth"), entry(required, "mixing"), &target));
  if (anas_function_has_targets(function)) {
    struct anas_target wanted;
    ANAS_RETURN_IF_ERROR(anas_target_read(context, function, &wanted));
    MlirAttribute attribute = properties_attribute(context, &wanted.output, wanted.require_depth ? &wanted.depth : NULL,
                                                   wanted.require_mixing ? &wanted.mixing : NULL);
    ANAS_RETURN_IF_ERROR(compare_entries(function, required, attribute, "the target"));
  }
  MlirAttribute found =
      properties_attribute(context, &function->result_type[0], &properties[f].depth[0][0], &properties[f].mixing[0][0]);
  ANAS_RETURN_IF_ERROR(compare_entries(function, actual, found, "the"));
  const char *property = unsatisfied(function, &target, &properties[f]);
  if (property) {
    char text[64];
    snprintf(text, sizeof text, "the %s is not as required", property);
    return fails(function, text);
  }
  MlirAttribute scale = entry(certificate, "features");
  use_scale(&target, mlirAttributeIsNull(scale) ? ANAS_FEATURES_MATCH : ANAS_FEATURES_PRIME);
  return compare_distances(function, &target, entry(certificate, "distance"));
}
