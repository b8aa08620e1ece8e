#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Candidates that crash, hang, exhaust memory, diverge or vanish: each is recorded with its reason, the search goes on.
set -eu
rm -rf ./*
refused() { if "$@"; then echo "should have failed: $*" >&2; exit 1; fi; } # set -e ignores a plain "!"
ANAS_TEST_FAULT=crash:1,hang:2,oom:3,diverge:4,exit:5 anas-search --model cnn --evaluator simulated --trials 8 --seed 3 \
  --trial-timeout 6 --memory-limit 400M --study s >out.txt
state() { sqlite3 s/study.db "select state from trials where number = $1"; }
reason() { sqlite3 s/study.db "select reason from trials where number = $1"; }
test "$(state 0)" = COMPLETE
test "$(state 1)" = CRASHED
reason 1 | grep -q 'killed by signal 6 (Aborted)'
test "$(state 2)" = TIMEOUT
reason 2 | grep -q -e 'longer than --trial-timeout (6 s)'
test "$(state 3)" = OOM
reason 3 | grep -q 'memory'
test "$(state 4)" = DIVERGED
reason 4 | grep -q 'the loss is nan at step 1'
test "$(state 5)" = CRASHED
reason 5 | grep -q 'exited with code 7 without a result'
test "$(state 6)" = COMPLETE
test "$(state 7)" = COMPLETE
grep -q 'trial    2  TIMEOUT' out.txt
anas-search status s | grep -q 'trial 4 DIVERGED: the loss is nan'
# Processes, the network and the disk are out of bounds; the trial ends, the search does not.
ANAS_TEST_FAULT=segfault:1,fork:2,network:3,disk:4,file:5 anas-search --model cnn --evaluator simulated --trials 7 --seed 3 \
  --disk-limit 30M --study d >d.txt
of() { sqlite3 d/study.db "select $1 from trials where number = $2"; }
for n in 1 2 3 4 5; do test "$(of state $n)" = CRASHED; done
of reason 1 | grep -q 'killed by signal 11'
for n in 2 3; do of reason $n | grep -q 'exited with code 8 '; done # 8: it was refused
for n in 4 5; do of reason $n | grep -q -e 'wrote more than --disk-limit (30 MiB)'; done
test "$(of state 6)" = COMPLETE
# A training trial, with all its threads and the compiler, stays within these bounds: e2e/search_train.

# None of them became a parent.
test "$(sqlite3 s/study.db 'select count(*) from trials where parent between 1 and 5')" = 0

# A seed model that cannot be trained ends the search with the reason.
refused env ANAS_TEST_FAULT=crash:0 anas-search --model cnn --evaluator simulated --trials 8 --study t >t.txt 2>error.txt
grep -q 'error: the seed model cannot be trained: CRASHED' error.txt
