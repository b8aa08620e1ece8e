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
# None of them became a parent.
test "$(sqlite3 s/study.db 'select count(*) from trials where parent between 1 and 5')" = 0

# A seed model that cannot be trained ends the search with the reason.
refused env ANAS_TEST_FAULT=crash:0 anas-search --model cnn --evaluator simulated --trials 8 --study t >t.txt 2>error.txt
grep -q 'error: the seed model cannot be trained: CRASHED' error.txt
