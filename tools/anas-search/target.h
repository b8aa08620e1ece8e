// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// --target: a condition on the metrics of a trained trial; when one meets it, the search is over.
#ifndef ANAS_TOOLS_ANAS_SEARCH_TARGET_H
#define ANAS_TOOLS_ANAS_SEARCH_TARGET_H

#include "tools/anas-search/search.h"

struct target; // null: none

// text: METRIC=VALUE, "at least" or "at most" as is usual for the metric, or a condition of expression.h; null: none.
anas_status target_create(const char *text, struct target **out);
void target_destroy(struct target *target);
anas_status target_check(const char *text);
// Whether one of the first 'visible' trials meets it. Depends on what a decision may look at, not on what happens to
// have ended. visible must not fall from call to call.
bool target_met(struct target *target, const struct search *search, int64_t visible);

#endif
