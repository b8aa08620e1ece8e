// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Composition, containment and union of position sets in closed form.
#include "passes/analysis/progression.h"

#define MAX_BORDER (1 << 16)       // windows looked at on either side
#define LARGEST (INT64_C(1) << 44) // numbers beyond are refused, so that nothing here overflows

static int64_t max(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static int64_t min(int64_t a, int64_t b) {
  return a < b ? a : b;
}

struct anas_progression anas_progression_interval(int64_t first, int64_t last) {
  return (struct anas_progression){
      .quot = 1, .pad = -first, .window = last - first + 1, .step = 1, .low = first, .high = last};
}

struct anas_progression anas_progression_identity(int64_t extent) {
  return (struct anas_progression){.quot = 1, .stride = 1, .window = 1, .step = 1, .high = extent - 1};
}

bool anas_progression_is_constant(const struct anas_progression *set) {
  return set->stride == 0;
}

int64_t anas_progression_values(const struct anas_progression *set, int64_t domain) {
  int64_t values = (domain - 1) / set->quot + 1;
  return set->mod && set->mod < values ? set->mod : values;
}

int64_t anas_progression_at(const struct anas_progression *set, int64_t y, int64_t *out_first) {
  int64_t u = y / set->quot;
  if (set->mod) u %= set->mod;
  int64_t first = u * set->stride - set->pad, last = first + (set->window - 1) * set->step;
  if (first < set->low) first += (set->low - first + set->step - 1) / set->step * set->step;
  if (last > set->high) last -= (last - set->high + set->step - 1) / set->step * set->step;
  *out_first = first;
  return last < first ? 0 : (last - first) / set->step + 1;
}

// Nothing is cut off, whatever y is.
static bool unclipped(const struct anas_progression *set, int64_t domain) {
  int64_t last = (anas_progression_values(set, domain) - 1) * set->stride - set->pad + (set->window - 1) * set->step;
  return -set->pad >= set->low && last <= set->high;
}

bool anas_progression_has_gap(const struct anas_progression *set, int64_t domain) {
  if (unclipped(set, domain)) return false;
  int64_t values = anas_progression_values(set, domain), first;
  if (set->step == 1 || set->stride == 0) // the lowest and the highest window are the ones in danger
    return !anas_progression_at(set, 0, &first) || !anas_progression_at(set, (values - 1) * set->quot, &first);
  // Only windows that reach beyond an end can miss every position: the first few and the last few.
  int64_t lower = min(values, (set->low + set->pad + set->stride - 1) / set->stride);
  int64_t reach = set->high - (set->window - 1) * set->step + set->pad; // of the last window that ends inside
  int64_t upper = reach < 0 ? 0 : min(values, reach / set->stride + 1);
  if (lower > MAX_BORDER || values - upper > MAX_BORDER) return true;
  for (int64_t u = 0; u < lower; u++)
    if (!anas_progression_at(set, u * set->quot, &first)) return true;
  for (int64_t u = upper; u < values; u++)
    if (!anas_progression_at(set, u * set->quot, &first)) return true;
  return false;
}

void anas_progression_normalise(struct anas_progression *set, int64_t domain, int64_t extent) {
  if (set->mod && set->mod >= (domain - 1) / set->quot + 1) set->mod = 0;
  int64_t values = anas_progression_values(set, domain);
  set->low = max(set->low, 0);
  set->high = min(set->high, extent - 1);
  if (values == 1) set->stride = 0;
  if (set->stride == 0) {
    int64_t first, count = anas_progression_at(set, 0, &first);
    set->quot = 1;
    set->mod = 0;
    set->pad = -first;
    set->window = count;
    set->low = 0;
    set->high = extent - 1;
  } else if (set->step == 1) { // what is always cut off on either side does not count
    int64_t spare = (values - 1) * set->stride - set->pad;
    spare = set->low - spare;
    if (spare > 0 && spare < set->window) {
      set->pad -= spare;
      set->window -= spare;
    }
    if (-set->pad + set->window - 1 > set->high && -set->pad <= set->high) set->window = set->high + set->pad + 1;
    if (set->low == 0 && set->high == extent - 1 && set->pad >= (values - 1) * set->stride &&
        set->window - set->pad >= extent)
      *set = anas_progression_interval(0, extent - 1);
  }
  if (set->window == 1) set->step = 1;
}

// inner becomes { z / quot mod mod : z in inner(y) }.
static bool coarsen(struct anas_progression *inner, int64_t domain, int64_t quot, int64_t mod) {
  bool whole = unclipped(inner, domain);
  if (quot > 1) {
    if (inner->stride == 0 && inner->step == 1) {
      int64_t first, count = anas_progression_at(inner, 0, &first);
      *inner = anas_progression_interval(first / quot, (first + count - 1) / quot);
      whole = true;
    } else if (inner->window == 1 && inner->stride == 1 && inner->pad == 0 && whole) {
      if (inner->mod % quot) return false;
      inner->quot *= quot;
      inner->mod /= quot;
      inner->low = 0;
      inner->high /= quot;
    } else if (inner->step == 1 && inner->stride % quot == 0 && inner->pad % quot == 0 && inner->low % quot == 0) {
      inner->stride /= quot;
      inner->pad /= quot;
      inner->window = (inner->window - 1) / quot + 1;
      inner->low /= quot;
      inner->high /= quot;
    } else if (inner->step == 1 && inner->window == inner->stride && quot % inner->stride == 0 && inner->pad == 0 &&
               inner->mod == 0 && whole) {
      inner->quot *= quot / inner->stride;
      inner->stride = inner->window = 1;
      inner->high /= quot;
    } else {
      return false;
    }
  }
  if (!mod) return true;
  int64_t top =
      (anas_progression_values(inner, domain) - 1) * inner->stride - inner->pad + (inner->window - 1) * inner->step;
  if (min(top, inner->high) < mod) return true;
  if (whole && inner->step == 1 && inner->window >= mod) {
    *inner = anas_progression_interval(0, mod - 1);
    return true;
  }
  if (!whole || inner->window != 1 || inner->stride != 1 || inner->pad != 0) return false;
  if (inner->mod % mod) return false;
  inner->mod = mod;
  inner->high = mod - 1;
  return true;
}

bool anas_progression_compose(const struct anas_progression *outer, const struct anas_progression *inner,
                              int64_t domain, struct anas_progression *out) {
  struct anas_progression g = *inner, r = *outer;
  if (outer->stride == 0) { // nothing depends on z
    *out = *outer;
    return true;
  }
  if ((outer->quot > 1 || outer->mod) && !coarsen(&g, domain, outer->quot, outer->mod)) return false;
  if (outer->stride > LARGEST / max(g.stride, 1) || outer->stride > LARGEST / max(g.step, 1) ||
      outer->stride > LARGEST / max(g.window, 1) || outer->stride > LARGEST / max(g.pad < 0 ? -g.pad : g.pad, 1))
    return false;
  bool whole = unclipped(&g, domain);
  r.quot = g.quot;
  r.mod = g.mod;
  r.stride = outer->stride * g.stride;
  r.pad = outer->pad + outer->stride * g.pad;
  if (r.pad > LARGEST || r.pad < -LARGEST || outer->window > LARGEST) return false;
  int64_t apart = outer->stride * g.step; // of the windows of neighbours in inner(y)
  if (g.window == 1 && whole) {
    *out = r;
    return true;
  }
  // Positions of the smallest and of the largest z that is not cut off.
  int64_t low = g.low * outer->stride - outer->pad;
  int64_t high = g.high * outer->stride - outer->pad + (outer->window - 1) * outer->step;
  if (outer->window == 1) {
    r.step = apart;
    r.window = g.window;
    r.low = max(r.low, low);
    r.high = min(r.high, high);
  } else if (g.step == 1 && apart % outer->step == 0 && apart / outer->step <= outer->window &&
             !anas_progression_has_gap(&g, domain)) { // windows join without a gap, also where some are cut off
    r.window = outer->window + apart / outer->step * (g.window - 1);
    r.low = max(r.low, low);
    r.high = min(r.high, high);
  } else if (whole && apart % outer->step == 0 && apart / outer->step <= outer->window) {
    r.window = outer->window + apart / outer->step * (g.window - 1);
  } else if (whole && outer->step % apart == 0 && outer->step / apart <= g.window) {
    r.step = apart;
    r.window = g.window + outer->step / apart * (outer->window - 1);
  } else {
    return false;
  }
  if (r.window > LARGEST || r.step > LARGEST / max(r.window, 1)) return false;
  *out = r;
  return true;
}

bool anas_progression_contains(const struct anas_progression *a, const struct anas_progression *b) {
  if (a->stride == 0 && a->step == 1) { // an interval, whatever y is
    int64_t first, count = anas_progression_at(a, 0, &first);
    if (b->low >= first && b->high < first + count) return true;
  }
  if (a->stride != b->stride || a->quot != b->quot || a->mod != b->mod || a->low > b->low || a->high < b->high)
    return false;
  int64_t ahead = a->pad - b->pad;
  if (ahead < 0 || ahead % a->step || (b->window > 1 && b->step % a->step)) return false;
  return ahead + (b->window - 1) * b->step <= (a->window - 1) * a->step;
}

bool anas_progression_unite(const struct anas_progression *a, const struct anas_progression *b,
                            struct anas_progression *out) {
  if (anas_progression_contains(a, b)) {
    *out = *a;
    return true;
  }
  if (anas_progression_contains(b, a)) {
    *out = *b;
    return true;
  }
  if (a->stride != b->stride || a->quot != b->quot || a->mod != b->mod || a->low != b->low || a->high != b->high ||
      a->step != 1 || b->step != 1)
    return false;
  const struct anas_progression *lower = a->pad > b->pad ? a : b, *upper = lower == a ? b : a;
  if (-upper->pad > -lower->pad + lower->window) return false;
  *out = *lower;
  out->window = max(lower->window, upper->window + lower->pad - upper->pad);
  return true;
}
