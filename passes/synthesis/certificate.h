// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Targets of functions as attributes, and certificates: what was required of a function, what its body has according to
// the analysis of the whole function, and the distance behind each of its ops.
#ifndef ANAS_PASSES_SYNTHESIS_CERTIFICATE_H
#define ANAS_PASSES_SYNTHESIS_CERTIFICATE_H

#include "passes/synthesis/synthesis.h"

// Does the function carry anas.target_*?
bool anas_function_has_targets(const struct anas_function *function);
// Reads them; the function must have exactly one input and one output.
anas_status anas_target_read(MlirContext context, const struct anas_function *function, struct anas_target *out);
// The same from attributes under any names; null attributes: not required. 'prefix' is for messages.
anas_status anas_target_parse(const struct anas_function *function, const char *prefix, MlirAttribute shape,
                              MlirAttribute depth, MlirAttribute mixing, struct anas_target *out);
// "{shape = array<i64: ...>, depth = 2 : i64, mixing = dense<...>}"; null leaves an entry out.
void anas_properties_text(const struct anas_shape *shape, const int64_t *depth, const struct anas_mixing *mixing,
                          struct anas_strbuf *out);

// Writes anas.certificate on function f, from properties[f] of the whole model. ANAS_INFEASIBLE, naming the property,
// if they do not satisfy the target.
anas_status anas_certificate_attach(struct anas_model *model, int f, const struct anas_target *target,
                                    enum anas_feature_distance scale, const struct anas_properties *properties);
// Does the certificate of function f still describe its body? ANAS_INVALID with the first difference if not.
anas_status anas_certificate_check(const struct anas_model *model, MlirContext context, int f,
                                   const struct anas_properties *properties);

#endif
