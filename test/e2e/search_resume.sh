#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# kill -9 of a search, then --resume: nothing finished is lost or repeated, and the result is that of an uninterrupted run.
set -eu
rm -rf ./*
refused() { if "$@"; then echo "should have failed: $*" >&2; exit 1; fi; } # set -e ignores a plain "!"
flags="--model cnn --evaluator simulated --trials 8 --seed 5" # not a function: $! must be the search, not a shell
decisions() { sqlite3 "$1/study.db" 'select number, parent, state, hash, accuracy, decision from trials order by number'; }
state() { sqlite3 "$1/study.db" "select state from trials where number = $2" 2>/dev/null || true; }
wait_for() { # wait_for STUDY TRIAL STATE
  for _ in $(seq 600); do
    test "$(state "$1" "$2")" = "$3" && return 0
    sleep 0.1
  done
  echo "trial $2 of $1 never became $3" >&2
  exit 1
}

anas-search $flags --study whole >whole.txt

# Killed while trial 3 runs (it sleeps): the driver and its child die.
ANAS_TEST_FAULT=hang:3 anas-search $flags --study killed >killed.txt &
driver=$!
wait_for killed 3 RUNNING
child=$(pgrep -P $driver)
kill -9 $driver
wait $driver 2>/dev/null || true
sqlite3 killed/study.db "select number, hash, accuracy, finished from trials where state = 'COMPLETE'" >before.log
test "$(wc -l <before.log)" = 3
anas-search status killed | grep -q RUNNING

anas-search --study killed --resume >resumed.txt
grep -q '1 unfinished trial of the last run starts again' resumed.txt
sqlite3 killed/study.db "select number, hash, accuracy, finished from trials where number < 3" >after.log
cmp before.log after.log
decisions whole >whole.log
decisions killed >killed.log
cmp whole.log killed.log
test "$(sqlite3 killed/study.db 'select group_concat(attempts) from (select attempts from trials order by number)')" = 1,1,1,2,1,1,1,1

# The hanging child died with its parent.
if grep -q "^State:[[:space:]]*[RSDT]" "/proc/$child/status" 2>/dev/null; then exit 1; fi # a zombie may wait for init

# More trials on resume; flags of the study cannot be changed.
anas-search --study killed --resume --trials 10 >more.txt
test "$(sqlite3 killed/study.db 'select count(*) from trials')" = 10
refused anas-search --study killed --resume --epochs 3 2>error.txt
grep -q -e '--epochs belongs to the study' error.txt

# One writer at a time, and readers do not disturb it.
ANAS_TEST_FAULT=hang:2 anas-search $flags --study busy >busy.txt &
driver=$!
wait_for busy 2 RUNNING
refused anas-search --study busy --resume 2>error.txt
grep -q "study 'busy' is in use by process $driver" error.txt
anas-search status busy | grep -q RUNNING

# Ctrl-C once waits for the running trial, twice stops it; on resume it runs again.
kill -INT $driver
sleep 0.5
test "$(state busy 2)" = RUNNING
kill -INT $driver
wait $driver && code=0 || code=$?
test $code = 130
test "$(state busy 2)" = INTERRUPTED
anas-search --study busy --resume >busy2.txt
decisions busy >busy.log
cmp whole.log busy.log

# Ctrl-C once: the running trial is finished and recorded, no new one starts.
ANAS_TEST_FAULT=slow:1 anas-search $flags --study drained >drained.txt &
driver=$!
wait_for drained 1 RUNNING
kill -INT $driver
wait $driver
test "$(state drained 1)" = COMPLETE
test "$(sqlite3 drained/study.db 'select count(*) from trials')" = 2
grep -q 'go on with: anas-search --study drained --resume' drained.txt
