#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A search with the simulated evaluator: same seed, same decisions; other seed, others; outputs are usable.
set -eu
rm -rf ./*
refused() { if "$@"; then echo "should have failed: $*" >&2; exit 1; fi; } # set -e ignores a plain "!"
search() { anas-search --model cnn --evaluator simulated --trials 10 "$@"; }
decisions() { sqlite3 "$1/study.db" 'select number, parent, state, hash, accuracy, decision from trials order by number'; }

search --study a --seed 1 >a.txt
search --study b --seed 1 >b.txt
search --study c --seed 2 >c.txt
decisions a >a.log
decisions b >b.log
decisions c >c.log
cmp a.log b.log
refused cmp -s a.log c.log
test "$(wc -l <a.log)" = 10

# Two workers: other decisions than one, but the same every time, whichever worker is faster.
ANAS_TEST_FAULT=slow:3 search --study d --seed 1 --workers 2 >d.txt
ANAS_TEST_FAULT=slow:4 search --study e --seed 1 --workers 2 >e.txt
decisions d >d.log
decisions e >e.log
cmp d.log e.log

# No two trials have the same canonical hash.
test "$(sqlite3 a/study.db 'select count(*) from trials')" = "$(sqlite3 a/study.db 'select count(distinct hash) from trials')"

# The front: files parse, tell their lineage, and the table agrees with the sub-command and with brute force.
grep -q '^front (' a.txt
for f in a/front/*.mlir; do
  anas-opt "$f" --anas-infer-shapes -o /dev/null
  head -n 1 "$f" | grep -q '^// trial '
  grep -q '^// trial 0 .*the seed model' "$f"
done
sqlite3 a/study.db 'select a.number from trials a where not exists (select 1 from trials b where b.accuracy >= a.accuracy
  and b.params <= a.params and (b.accuracy > a.accuracy or b.params < a.params)) order by a.number' >front.expected
anas-search pareto a --json | jq '.[].trial' | sort -n >front.listed
cmp front.expected front.listed
ls a/front | sed 's/^0*\([0-9]\)/\1/;s/.mlir//' | sort -n >front.files
cmp front.expected front.files

# Sub-commands.
anas-search status a | grep -q '10 of 10 trials'
test "$(anas-search status a --json | jq .states.COMPLETE)" = 10
anas-search top a -n 3 --by params --json | jq -e '.[0].params <= .[1].params and (length == 3)' >/dev/null
anas-search show a 4 | grep -q '^  trial 4, child of '
anas-search show a 4 --json | jq -r .architecture >four.mlir
anas-opt four.mlir -o /dev/null
anas-search pareto a --csv | head -n 1 | grep -q '^trial,parent,accuracy'

# JSON events: one object a line, the last is the summary.
search --study f --seed 1 --json >f.json
jq -es 'length == 21 and (.[-1] | .event == "done" and .trials == 10)' f.json >/dev/null

# A constraint is kept by every candidate but the seed.
search --study g --seed 1 --constraint 'params<1800000' >g.txt
test "$(sqlite3 g/study.db "select count(*) from trials where params >= 1800000 and number > 0")" = 0

# The baseline strategy.
search --study h --seed 1 --strategy random >h.txt
test "$(sqlite3 h/study.db "select count(*) from trials where state = 'COMPLETE'")" = 10
