#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How the driver of anas-search scales: a study of N finished trials is made up, then opened and continued by M trials
# with each strategy. Prints a JSON object for opening and one a strategy: milliseconds a decision, wall and processor
# time, memory. usage: search_scale.sh BIN [N [M [STRATEGY...]]]
set -eu
PATH=$1:$PATH
n=${2:-100000}
m=${3:-200}
test $# -lt 4 || shift 3
test $# -ge 1 && test "$1" != "${PATH%%:*}" || set -- alphanas regularized nsga2 mu-plus-lambda local mutation random
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sh "$here/made_up_study.sh" "$work/s" "$n"
timed() { /usr/bin/time -f '{"seconds": %e, "cpu_seconds": %U, "system_seconds": %S, "kb": %M}' -o "$work/time" "$@"; }
timed anas-search status "$work/s" --json >/dev/null
jq -c --argjson n "$n" '{trials: $n, status_seconds: .seconds, cpu_seconds, system_seconds, peak_mb: (.kb / 1024)}' "$work/time"
for strategy; do
  sqlite3 "$work/s/study.db" "update settings set value = json_set(value, '\$.strategy', '$strategy') where key = 'options'"
  from=$(sqlite3 "$work/s/study.db" 'select count(*) from trials')
  timed anas-search --study "$work/s" --resume --trials $((from + m)) --json >"$work/out"
  tail -n 1 "$work/out" | jq -c --arg strategy "$strategy" --argjson from "$from" --slurpfile t "$work/time" \
    '{trials: $from, $strategy, decision_ms_median, decision_ms_p99, decision_cpu_ms_median, decision_cpu_ms_p99,
      peak_mb: ($t[0].kb / 1024)}'
done
