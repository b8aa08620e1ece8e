#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What a search shows while it runs: a live table on a terminal, plain lines elsewhere, the same numbers as JSON; and the
# hypervolume, against the definition.
set -eu
rm -rf ./*
set -- --model cnn --evaluator simulated:seconds=0.3 --seed 5 --workers 2 --epochs 2 --trials 10
anas-search "$@" --study a >a.txt
anas-search "$@" --study b --json >b.json
# Lines: one a trial, no escapes, a summary.
test "$(grep -c '^trial ' a.txt)" = 10
if grep -q "$(printf '\033')" a.txt; then exit 1; fi
grep -q '^[0-9]* trials an hour; hypervolume [0-9.]*; [0-9]* duplicates$' a.txt
# The same numbers.
volume=$(jq -s '.[-1].hypervolume' b.json)
grep -q "hypervolume $(printf %.4f "$volume");" a.txt
jq -es '.[-1].best as $b | map(select(.event == "ended" and .state == "COMPLETE")) | max_by(.accuracy).trial == $b' b.json >/dev/null
jq -es 'map(select(.event == "ended")) | length == 10 and all(.trials_per_hour > 0 and .duplicates >= 0)' b.json >/dev/null
# By the definition: accuracy in units of the seed's above 0, parameters below 2, swept by falling accuracy.
sqlite3 -separator ' ' b/study.db "select a.accuracy / s.accuracy, 2 - a.params / s.params from trials a, trials s
  where s.number = 0 and a.state = 'COMPLETE' and a.params < 2 * s.params order by a.accuracy desc" |
  awk -v got="$volume" '{ x[NR] = $1; y[NR] = $2 } END {
    for (i = 1; i <= NR; i++) { if (y[i] > best) best = y[i]; sum += (x[i] - x[i + 1]) * best }
    if ((got - sum) ^ 2 > 1e-12) { print "hypervolume " got ", expected " sum; exit 1 } }'

# On a terminal: a heading, a line a running trial, the state of the search.
TERM=xterm script -qec "stty cols 150; anas-search --study a --resume --trials 14" /dev/null >terminal.txt
grep -q 'trial  state  *epoch  accuracy .* elapsed  *eta' terminal.txt
grep -q 'compiling\|training' terminal.txt
grep -q '[0-9]*/14 trials, [0-9]* an hour, eta .*best: trial [0-9]*, accuracy .*; hypervolume [0-9.]*; [0-9]* duplicates' terminal.txt

# Ctrl-C once, typed there: what runs is finished (signals: search_resume.sh). exec: else a shell that does not exec the last
# command of -c by itself gets the signal, too, and passes it on.
running() { sqlite3 once/study.db "select count(*) from trials where state = 'RUNNING'" 2>/dev/null || echo 0; }
{ until test "$(running)" -ge 1; do sleep 0.1; done; sleep 0.2; printf '\003'; sleep 3; } |
  TERM=xterm script -qec "exec anas-search --model cnn --evaluator simulated:seconds=1 --workers 2 --trials 50 --study once" /dev/null >once.txt
grep -q 'finishing the running trials; Ctrl-C again stops them' once.txt
test "$(sqlite3 once/study.db "select count(*) from trials where state <> 'COMPLETE'")" = 0
test "$(sqlite3 once/study.db "select count(*) from trials")" -le 3
