#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Results from elsewhere than training: a table by architecture hash; simulated durations and failures.
set -eu
rm -rf ./*
fails() { # fails 'what stderr must contain' command...
  expected=$1
  shift
  if "$@" >out.txt 2>err.txt; then echo "should have failed: $*" >&2; exit 1; fi
  grep -qF -- "$expected" err.txt || { echo "expected '$expected', got:" >&2; cat err.txt >&2; exit 1; }
}
search() { anas-search --model cnn --trials 8 --seed 3 "$@"; }

# A table of what the simulated evaluator says gives the same search.
search --evaluator simulated --study simulated >simulated.txt
sqlite3 -csv -header simulated/study.db \
  "select printf('%!.17g', accuracy) accuracy, hash, printf('%!.17g', loss) loss from trials" >results.csv
search --evaluator table:results.csv --study table >table.txt
for s in simulated table; do
  sqlite3 $s/study.db 'select number, parent, state, hash, accuracy, loss, decision from trials order by number' >$s.log
done
cmp simulated.log table.log

# What is not in the table ends the trial, not the search.
sed 4,5d results.csv >less.csv
search --evaluator table:less.csv --study less >less.txt
test "$(sqlite3 less/study.db "select count(*) from trials where state = 'INVALID' and reason like '''less.csv'' has no architecture with hash %'")" -ge 1
test "$(sqlite3 less/study.db 'select count(*) from trials')" = 8

fails "cannot open 'absent.csv'" search --evaluator table:absent.csv --study x
fails 'table needs a file' search --evaluator table --study x
echo 'name,accuracy' >bad.csv
fails 'bad.csv:1: the first line of a table must name its columns' search --evaluator table:bad.csv --study x
printf 'hash,accuracy\nabc,high\n' >bad.csv
fails "bad.csv:2: accuracy 'high' is not a number" search --evaluator table:bad.csv --study x
fails "got 'simulate'; did you mean 'simulated'?" search --evaluator simulate --study x
fails "got 'secs=1'" search --evaluator simulated:secs=1 --study x
fails 'crash' search --evaluator simulated:crsh=0.5 --study x
fails '--evaluator simulated' search --evaluator simulated:crash=2 --study x
test ! -e x

# Failures at given rates: the trials that fail depend on the seed alone, and the search goes on.
for s in one two; do
  search --evaluator simulated:crash=0.3,diverge=0.3,hang=0.2 --trial-timeout 0.5 --workers 4 --trials 16 --study $s >$s.txt
  sqlite3 $s/study.db 'select number, state, hash from trials order by number' >$s.log
  grep -q CRASHED $s.log
  grep -q DIVERGED $s.log
  grep -q TIMEOUT $s.log
done
cmp one.log two.log
