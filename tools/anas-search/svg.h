// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plots as SVG inside XHTML, for reports. Colours are the page's (classes).
#ifndef ANAS_TOOLS_ANAS_SEARCH_SVG_H
#define ANAS_TOOLS_ANAS_SEARCH_SVG_H

#include "runtime/support/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

// Any bytes as text of an XML document: markup is escaped, what is no UTF-8 or no character of XML becomes '?'.
void svg_escape(struct anas_strbuf *out, const char *text);

struct plot {
  struct anas_strbuf *out;
  double x0, x1, y0, y1; // ranges of the data; become somewhat wider
  bool log_x;            // values to the right are above 0, and their logarithms are drawn
  uint8_t *taken;        // cells of the area where a thinned point was drawn
};
// Opens the drawing, with a frame, ticks and labels. Values that are drawn are finite.
void plot_begin(struct plot *plot, const char *id, const char *title, const char *x_label, const char *y_label);
// title: what a pointer shows, may be null. thin: draw only one of those that hide each other.
void plot_point(struct plot *plot, double x, double y, const char *class, double radius, const char *title, bool thin);
// steps: y is kept until the next x.
void plot_line(struct plot *plot, const double *x, const double *y, int64_t count, const char *class, bool steps);
void plot_end(struct plot *plot);

#endif
