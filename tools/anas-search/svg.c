// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plots: a frame with ticks at round numbers, points, lines.
#include "tools/anas-search/svg.h"

#include "runtime/support/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 720
#define HEIGHT 400
#define LEFT 80
#define RIGHT 16
#define TOP 12
#define BOTTOM 48
#define CELL 2 // pixels: points this close hide each other
#define COLUMNS (WIDTH / CELL)
#define ROWS (HEIGHT / CELL)

// Bytes of the UTF-8 sequence at text that stands for a character of XML; 0 if there is none.
static int sequence(const unsigned char *text) {
  if (text[0] < 0x80) return text[0] >= 0x20 || strchr("\t\n\r", text[0]) ? 1 : 0;
  int size = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
  if (text[0] < 0xc2 || text[0] > 0xf4) return 0;
  uint32_t code = text[0] & (0xffu >> (size + 1));
  for (int i = 1; i < size; i++) {
    if ((text[i] & 0xc0) != 0x80) return 0;
    code = code << 6 | (text[i] & 0x3f);
  }
  static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  bool surrogate = code >= 0xd800 && code <= 0xdfff, none = code == 0xfffe || code == 0xffff;
  return code < smallest[size] || code > 0x10ffff || surrogate || none ? 0 : size;
}

void svg_escape(struct anas_strbuf *out, const char *text) {
  while (*text) {
    const char *name = *text == '&'    ? "&amp;"
                       : *text == '<'  ? "&lt;"
                       : *text == '>'  ? "&gt;"
                       : *text == '"'  ? "&quot;"
                       : *text == '\'' ? "&#39;"
                                       : NULL;
    int size = sequence((const unsigned char *)text);
    if (name)
      anas_strbuf_adds(out, name);
    else if (size)
      anas_strbuf_add(out, text, (size_t)size);
    else
      anas_strbuf_adds(out, "?");
    text += size ? size : 1;
  }
}

static double at_x(const struct plot *p, double value) {
  double x = p->log_x ? log10(value) : value;
  return LEFT + (x - p->x0) / (p->x1 - p->x0) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct plot *p, double y) {
  return HEIGHT - BOTTOM - (y - p->y0) / (p->y1 - p->y0) * (HEIGHT - TOP - BOTTOM);
}

static void widen(double *low, double *high) {
  double margin = 0.04 * (*high - *low);
  if (!(margin > 0)) margin = *low != 0 ? 0.1 * fabs(*low) : 1;
  *low -= margin;
  *high += margin;
}

// 1, 2 or 5 times a power of ten, for about six ticks.
static double tick_step(double low, double high) {
  double rough = (high - low) / 6, power = pow(10, floor(log10(rough))), digit = rough / power;
  return power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
}

static void tick_x(const struct plot *p, double value) {
  double x = at_x(p, value);
  if (x < LEFT || x > WIDTH - RIGHT) return;
  anas_strbuf_addf(p->out, "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>", x, TOP, x,
                   HEIGHT - BOTTOM);
  anas_strbuf_addf(p->out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n", x, HEIGHT - BOTTOM + 16,
                   value);
}

static void ticks_x(const struct plot *p) {
  double step = tick_step(p->x0, p->x1);
  for (double i = ceil(p->x0 / step); !p->log_x && i * step <= p->x1; i++)
    tick_x(p, i * step + 0.0); // no -0
  for (double decade = floor(p->x0); p->log_x && decade <= p->x1; decade++) {
    tick_x(p, pow(10, decade));
    if (p->x1 - p->x0 > 4) continue;
    tick_x(p, 2 * pow(10, decade));
    tick_x(p, 5 * pow(10, decade));
  }
}

static void ticks_y(const struct plot *p) {
  double step = tick_step(p->y0, p->y1);
  for (double i = ceil(p->y0 / step); i * step <= p->y1; i++) {
    anas_strbuf_addf(p->out, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>", LEFT,
                     at_y(p, i * step), WIDTH - RIGHT, at_y(p, i * step));
    anas_strbuf_addf(p->out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n", LEFT - 6,
                     at_y(p, i * step) + 4, i * step + 0.0);
  }
}

void plot_begin(struct plot *p, const char *id, const char *title, const char *x_label, const char *y_label) {
  if (p->log_x) {
    p->x0 = log10(p->x0);
    p->x1 = log10(p->x1);
  }
  widen(&p->x0, &p->x1);
  widen(&p->y0, &p->y1);
  p->taken = anas_calloc(COLUMNS * ROWS, 1);
  anas_strbuf_addf(p->out, "<svg xmlns=\"http://www.w3.org/2000/svg\" id=\"%s\" viewBox=\"0 0 %d %d\" role=\"img\">\n",
                   id, WIDTH, HEIGHT);
  anas_strbuf_adds(p->out, "<title>");
  svg_escape(p->out, title);
  anas_strbuf_adds(p->out, "</title>\n");
  ticks_x(p);
  ticks_y(p);
  anas_strbuf_addf(p->out, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", LEFT, TOP,
                   WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
  anas_strbuf_addf(p->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (WIDTH + LEFT - RIGHT) / 2, HEIGHT - 10);
  svg_escape(p->out, x_label);
  anas_strbuf_addf(p->out, "</text>\n<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">",
                   (HEIGHT + TOP - BOTTOM) / 2);
  svg_escape(p->out, y_label);
  anas_strbuf_adds(p->out, "</text>\n");
}

void plot_point(struct plot *p, double x, double y, const char *class, double radius, const char *title, bool thin) {
  double px = at_x(p, x), py = at_y(p, y);
  int column = (int)(px / CELL), row = (int)(py / CELL);
  if (thin && column >= 0 && column < COLUMNS && row >= 0 && row < ROWS) {
    if (p->taken[row * COLUMNS + column]) return;
    p->taken[row * COLUMNS + column] = 1;
  }
  anas_strbuf_addf(p->out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"", class, px, py, radius);
  if (title) {
    anas_strbuf_adds(p->out, "><title>");
    svg_escape(p->out, title);
    anas_strbuf_adds(p->out, "</title></circle>\n");
  } else {
    anas_strbuf_adds(p->out, "/>\n");
  }
}

void plot_line(struct plot *p, const double *x, const double *y, int64_t count, const char *class, bool steps) {
  if (count < 2) return;
  anas_strbuf_addf(p->out, "<polyline class=\"%s\" points=\"", class);
  for (int64_t i = 0; i < count; i++) {
    if (steps && i) anas_strbuf_addf(p->out, "%.1f,%.1f ", at_x(p, x[i]), at_y(p, y[i - 1]));
    anas_strbuf_addf(p->out, "%.1f,%.1f ", at_x(p, x[i]), at_y(p, y[i]));
  }
  anas_strbuf_adds(p->out, "\"/>\n");
}

void plot_end(struct plot *p) {
  anas_strbuf_adds(p->out, "</svg>\n");
  free(p->taken);
  p->taken = NULL;
}
