#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How many trials run at the same time where nobody says so: decided once from the plan of the seed model, shown first,
# kept in the study. ANAS_NUM_THREADS stands for the processors of a machine.
set -eu
rm -rf ./*
refused() { if "$@"; then echo "should have failed: $*" >&2; exit 1; fi; } # set -e ignores a plain "!"
workers() { sqlite3 "$1/study.db" "select json_extract(value, '\$.workers') from settings where key = 'options'"; }
cat >net.mlir <<'EOT'
func.func @main(%x: tensor<?x28x28x1xf32>) -> tensor<?x10xf32> {
  %0 = "anas.conv"(%x) {anas.name = "stem", features = 8 : i64, kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>} : (tensor<?x28x28x1xf32>) -> tensor<?x14x14x8xf32>
  %1 = call @block0(%0) : (tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32>
  %2 = "anas.mean"(%1) {axes = array<i64: 1, 2>} : (tensor<?x14x14x8xf32>) -> tensor<?x8xf32>
  %3 = "anas.dense"(%2) {anas.name = "head", features = 10 : i64} : (tensor<?x8xf32>) -> tensor<?x10xf32>
  return %3 : tensor<?x10xf32>
}
func.func private @block0(%x: tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32> attributes {anas.block = "block"} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c)>, kernel = array<i64: 3, 3>} : (tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32>
  %1 = "anas.relu"(%0) : (tensor<?x14x14x8xf32>) -> tensor<?x14x14x8xf32>
  return %1 : tensor<?x14x14x8xf32>
}
EOT
export ANAS_NUM_THREADS=4
search() { anas-search net.mlir --dataset fashion-mnist --limit 128 --validation 64 --batch 8 --max-steps 2 --seed 1 "$@"; }

# Steps of some microseconds gain nothing by threads: four trials of one thread each.
search --in-flight 8 --trials 5 --study auto >out.txt
head -n 1 out.txt | grep -q '^-- 4 trials at a time, 1 thread each (automatic: 4 processors would train the seed model [0-3]\.[0-9]* times'
test "$(workers auto)" = 4
test "$(sqlite3 auto/study.db "select count(*) from trials where state = 'COMPLETE'")" -ge 2

# Resuming and replaying keep the number, on any machine; a word of the user changes it.
ANAS_NUM_THREADS=2 anas-search --study auto --resume --trials 6 --json >out.txt
head -n 1 out.txt | jq -e '.event == "workers" and .workers == 4 and .threads == 1 and .automatic == false' >/dev/null
anas-search replay auto >replay.txt
anas-search --study auto --resume --trials 7 --workers 2 --threads 1 >out.txt
head -n 1 out.txt | grep -q '^-- 2 trials at a time, 1 thread each$'
test "$(workers auto)" = 2
ANAS_NUM_THREADS=3 anas-search --study auto --resume --trials 8 --workers auto --json >out.txt
head -n 1 out.txt | jq -e '.workers == 3 and .automatic and .processors == 3 and .planned_bytes > 0' >/dev/null
test "$(workers auto)" = 3

# What was said wins; the rest follows: threads of a trial, one trial while tuning, few of a short search, generations.
first() { rm -rf s; search --trials 1 --study s --json "$@" | head -n 1 | jq -r '"\(.workers) \(.threads) \(.automatic)"'; }
test "$(first --workers 3)" = '3 1 false'
test "$(first --workers 1)" = '1 4 false'
test "$(first --workers 1 --threads 2)" = '1 2 false'
test "$(first --in-flight 9 --threads 2)" = '2 2 true'
test "$(first)" = '1 4 false' # one trial in all
test "$(first --synchronous 3)" = '3 1 true'
test "$(ANAS_NUM_THREADS=1 first --synchronous 3)" = '1 1 false'
refused search --workers many --study x 2>error.txt
grep -q "^anas-search: error: auto or a number: --workers" error.txt

# A seed model that cannot be compiled is the first trial's affair, which tells why.
refused search --cpu nehalemm --study x 2>error.txt
grep -q "did you mean 'nehalem'" error.txt

# Nothing is known of simulated trials.
anas-search --model cnn --evaluator simulated --trials 20 --study simulated --quiet >out.txt
test "$(workers simulated)" = 1
test "$(anas-search --model cnn --study x --print-config | jq -r .workers)" = auto
