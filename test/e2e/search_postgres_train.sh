#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A worker that trains is killed after it has kept a checkpoint in the database: another one goes on from there, to the
# result of an undisturbed training, bit for bit.
set -eu
rm -rf ./*
if test "${ANAS_SANITIZED:-0}" = 1; then
  echo "skipped: training takes too long under sanitizers"
  exit 0
fi
. "$(dirname "$0")/postgres.inc"

flags="--model cnn --dataset fashion-mnist --limit 500 --validation 100 --trials 1 --epochs 6 --seed 3 --synchronous 1"
anas-search $flags --study alone --quiet >alone.txt
begin driver.txt anas-search $flags --study "$uri" --workers 0 --lease 2s
driver=$new
begin worker1.txt anas-search worker --study "$uri" --idle-timeout 60s
first=$new
wait_for "exists(select from pg_tables where schemaname = 'anas' and tablename = 'artefacts')"
wait_for "exists(select from anas.artefacts where file = 'checkpoint.safetensors')"
kill -9 "$first"
counts RUNNING 'select state from anas.trials' # it had more to do
begin worker2.txt anas-search worker --study "$uri"
wait "$new" || fail "the second worker failed"
wait "$driver" || fail "the driver failed"
counts 'COMPLETE|2' 'select state, attempts from anas.trials'
says '^going on after step' anas-search show "$uri" 0 --output
values="accuracy, loss, train_loss"
sqlite3 alone/study.db "select printf('%.9f|%.9f|%.9f', $values) from trials" >alone.log
sql "select to_char(accuracy, 'FM0.000000000'), to_char(loss, 'FM0.000000000'), to_char(train_loss, 'FM0.000000000') from anas.trials" >shared.log
cmp alone.log shared.log || fail "another result: $(cat alone.log shared.log)"
counts 'candidate.mlir|output.txt|weights.safetensors' "select string_agg(file, '|' order by file) from anas.artefacts"
says '1 trials, 3 files; 0 problems$' anas-search fsck "$uri"
