// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which nests touch a storage: passes ask it of every nest, so that a search through all nests each time would cost the
// square of the network's length.
#include "passes/lower/step.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct anas_touch_list {
  struct anas_touch *touches; // count of them, ascending, between two ends
  int count;
  size_t capacity;
};

static struct anas_touch_list *list_of(struct anas_touches *touches, int storage) {
  while (touches->num_lists <= storage) {
    touches->lists =
        anas_grow(touches->lists, (size_t)touches->num_lists, &touches->capacity_lists, sizeof *touches->lists);
    touches->lists[touches->num_lists++] = (struct anas_touch_list){0};
  }
  return &touches->lists[storage];
}

// The first entry after n: the end at least.
static int first_after(const struct anas_touch_list *list, int n) {
  int low = 1, high = list->count + 1;
  if (list->count && list->touches[list->count].nest <= n) return high;
  while (low < high) {
    int middle = low + (high - low) / 2;
    if (list->touches[middle].nest > n)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

static void make_ends(struct anas_touch_list *list) {
  for (size_t end = 0; end < 2; end++) {
    list->touches = anas_grow(list->touches, end, &list->capacity, sizeof *list->touches);
    list->touches[end] = (struct anas_touch){.nest = end ? INT_MAX : -1};
  }
}

void anas_touches_add(struct anas_touches *touches, int storage, int nest, bool writes) {
  struct anas_touch_list *list = list_of(touches, storage);
  if (!list->touches) make_ends(list);
  int at = first_after(list, nest);
  if (list->touches[at - 1].nest == nest) {
    list->touches[at - 1].writes |= writes;
    return;
  }
  list->touches = anas_grow(list->touches, (size_t)list->count + 2, &list->capacity, sizeof *list->touches);
  memmove(list->touches + at + 1, list->touches + at, sizeof *list->touches * (size_t)(list->count + 2 - at));
  list->touches[at] = (struct anas_touch){.nest = nest, .writes = writes};
  list->count++;
}

void anas_touches_add_nest(struct anas_touches *touches, const struct anas_lowering *l, int n) {
  const struct anas_nest *nest = l->nests[n];
  for (int a = 0; a < anas_nest_num_accesses(nest); a++)
    anas_touches_add(touches, anas_lowering_storage(l, anas_nest_access(nest, a)->buffer), n, a >= nest->num_in);
}

void anas_touches_init(struct anas_touches *touches, const struct anas_lowering *l) {
  for (int storage = 0; storage < touches->num_lists; storage++) {
    struct anas_touch_list *list = &touches->lists[storage];
    if (!list->touches) continue;
    list->count = 0;
    list->touches[1].nest = INT_MAX;
  }
  for (int n = 0; n < l->num_nests; n++)
    anas_touches_add_nest(touches, l, n);
}

void anas_touches_deinit(struct anas_touches *touches) {
  for (int storage = 0; storage < touches->num_lists; storage++)
    free(touches->lists[storage].touches);
  free(touches->lists);
  *touches = (struct anas_touches){0};
}

void anas_touches_merge(struct anas_touches *touches, int from, int into) {
  const struct anas_touch_list list = *list_of(touches, from);
  for (int t = 1; t <= list.count; t++)
    anas_touches_add(touches, into, list.touches[t].nest, list.touches[t].writes);
}

static const struct anas_touch no_touches[] = {{.nest = -1}, {.nest = INT_MAX}};

const struct anas_touch *anas_touches_after(const struct anas_touches *touches, int storage, int n) {
  if (storage >= touches->num_lists || !touches->lists[storage].touches) return &no_touches[1];
  const struct anas_touch_list *list = &touches->lists[storage];
  return &list->touches[first_after(list, n)];
}

const struct anas_touch *anas_touches_before(const struct anas_touches *touches, int storage, int n) {
  return anas_touches_after(touches, storage, n - 1) - 1;
}
