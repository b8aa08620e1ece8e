// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: the plan in a few words, as in "tile 8x2 of 16 lanes, reduction blocks of 288, 4 chunks of 56 rows".
#include "passes/cpu/contraction.h"

#include "runtime/support/strbuf.h"

#include <stdio.h>

static int64_t block_steps(const struct anas_contraction *plan) {
  int64_t steps = plan->num_k > plan->stream ? plan->k_block : 1;
  for (int i = plan->k_split + 1; i < plan->num_k; i++)
    steps *= plan->nest->extent[plan->k[i]];
  return steps;
}

void anas_contraction_describe(const struct anas_contraction *plan, char *out, size_t size) {
  struct anas_strbuf text = {0};
  int64_t rows = 1;
  for (int i = 0; i < plan->num_rows; i++)
    rows *= plan->tile[plan->row[i]];
  anas_strbuf_addf(&text, "tile %lldx%d of %d lanes, reduction blocks of %lld", (long long)rows, plan->vectors,
                   plan->lanes, (long long)block_steps(plan));
  if (plan->stream) anas_strbuf_adds(&text, plan->panels ? ", panels streamed" : ", streamed");
  for (int i = 0; i < plan->num_outer; i++)
    if (plan->outer[i].kind == ANAS_LEVEL_CHUNK)
      anas_strbuf_addf(&text, ", %lld chunks of %lld rows", (long long)plan->outer[i].count,
                       (long long)plan->chunk_rows);
  if (plan->num_outer && (plan->outer[0].kind == ANAS_LEVEL_COLUMN || plan->outer[0].kind == ANAS_LEVEL_LANE))
    anas_strbuf_adds(&text, ", columns outside");
  if (plan->pack_a || plan->pack_b)
    anas_strbuf_addf(&text, ", copies%s%s", plan->pack_a ? " A" : "", plan->pack_b ? " B" : "");
  snprintf(out, size, "%s", anas_strbuf_text(&text));
  anas_strbuf_deinit(&text);
}
