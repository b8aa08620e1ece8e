// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the files of anas-search report share.
#ifndef ANAS_TOOLS_ANAS_SEARCH_REPORT_H
#define ANAS_TOOLS_ANAS_SEARCH_REPORT_H

#include "tools/anas-search/reading.h"
#include "tools/anas-search/svg.h"

struct report {
  const char *path; // of the study
  struct reading reading;
  int64_t *front, num_front;
};

// The front, the first objective against trials, hypervolume against time (report_plots.c).
void report_plots(const struct report *report, struct anas_strbuf *out);

#endif
