// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Conditions on metrics, as in --constraint 'params < 0.5*seed.params and latency_p50 < 2ms'.
//   condition   or      := and {"or" and}             and := not {"and" not}        not := ["not"] comparison
//               comparison := sum [("<" | "<=" | ">" | ">=" | "==" | "!=") sum]
//   sum         product {("+" | "-") product}         product := sign {("*" | "/") sign}    sign := ["-"] primary
//   primary     NUMBER[UNIT] | METRIC | seed.METRIC | "(" or ")"
// Units: KiB, MiB, GiB; us, ms, s. The metrics of the seed model are those it has before training.
#ifndef ANAS_TOOLS_ANAS_SEARCH_EXPRESSION_H
#define ANAS_TOOLS_ANAS_SEARCH_EXPRESSION_H

#include "runtime/support/strbuf.h"
#include "tools/anas-search/study.h"

struct expression;

// ANAS_INVALID with the column and the nearest name; the text must be a condition. what: of messages, "--constraint".
anas_status expression_parse(const char *what, const char *text, struct expression **out);
// Likewise, of a trained trial: all metrics are known.
anas_status expression_parse_trained(const char *what, const char *text, struct expression **out);
void expression_destroy(struct expression *expression);
const char *expression_text(const struct expression *expression);
// Whether a metric occurs, of the trial or (seed) of the seed model.
bool expression_uses(const struct expression *expression, enum study_metric metric, bool seed);
// METRIC_NUM values each. No comparison with an unknown value (NaN) is true.
bool expression_holds(const struct expression *expression, const double *trial, const double *seed);
// "params = 1700874, seed.params = 1000": the metrics that occur, for messages.
void expression_explain(const struct expression *expression, const double *trial, const double *seed,
                        struct anas_strbuf *out);

#endif
