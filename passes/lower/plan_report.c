// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The memory plan of a step as JSON:
//   {"step":"train_step", "nests":N, "recomputed":N, "io_bytes":N, "arena_bytes":N, "live_bytes":N, "peak":{"nest":N,
//   "kind":"conv_fwd"},
//    "largest":[{"bytes":N, "address":N, "first":N, "last":N, "kind":"conv_fwd", "type":"memref<...>"}, ...]}
// recomputed nests compute again what was computed before (--memory-limit). live_bytes is what no plan can go below.
// "largest" are the largest temporaries that live at the peak; first and last are the nests that touch them, and kind
// is the kind of the first.
#include "dialect/attributes.h"
#include "passes/lower/step.h"

#include <inttypes.h>
#include <stdlib.h>

#define LISTED 24

// The next largest temporary at the peak after 'previous' (-1: the largest of all); -1 if there is none.
static int next_largest(const struct anas_step *step, int previous) {
  const struct anas_lowering *l = step->lowering;
  int64_t limit = previous >= 0 ? anas_lowering_bytes(l, previous) : INT64_MAX, bytes = -1;
  int found = -1;
  for (int b = 0; b < l->num_buffers; b++) {
    if (!anas_step_is_temporary(step, b) || step->first_use[b] > step->peak || step->last_use[b] < step->peak) continue;
    int64_t size = anas_lowering_bytes(l, b);
    if (size > limit || (size == limit && b <= previous) || size <= bytes) continue;
    found = b;
    bytes = size;
  }
  return found;
}

static void report_buffer(const struct anas_step *step, int buffer, struct anas_strbuf *out) {
  const struct anas_lowering *l = step->lowering;
  anas_strbuf_addf(out,
                   "{\"bytes\":%" PRId64 ",\"address\":%" PRId64 ",\"first\":%d,\"last\":%d,\"kind\":", //
                   anas_lowering_bytes(l, buffer), l->buffers[buffer]->address, step->first_use[buffer],
                   step->last_use[buffer]);
  anas_print_quoted(l->nests[step->first_use[buffer]]->kind, out);
  anas_strbuf_adds(out, ",\"type\":\"");
  anas_memref_text(&l->buffers[buffer]->shape, out);
  anas_strbuf_adds(out, "\"}");
}

void anas_step_report(const struct anas_step *step, const struct anas_layout *layout, const char *name,
                      struct anas_strbuf *out) {
  const struct anas_lowering *l = step->lowering;
  anas_strbuf_addf(out,
                   "{\"step\":\"%s\",\"nests\":%d,\"recomputed\":%d,\"io_bytes\":%" PRId64 ",\"arena_bytes\":%" PRId64
                   ",\"live_bytes\":%" PRId64,
                   name, l->num_nests, step->recomputed, layout->io_end, step->arena_bytes, step->live_bytes);
  if (l->num_nests) {
    anas_strbuf_addf(out, ",\"peak\":{\"nest\":%d,\"kind\":", step->peak);
    anas_print_quoted(l->nests[step->peak]->kind, out);
    anas_strbuf_adds(out, "}");
  }
  anas_strbuf_adds(out, ",\"largest\":[");
  int buffer = next_largest(step, -1);
  for (int i = 0; i < LISTED && buffer >= 0; i++) {
    if (i) anas_strbuf_adds(out, ",");
    report_buffer(step, buffer, out);
    buffer = next_largest(step, buffer);
  }
  anas_strbuf_adds(out, "]}");
}
