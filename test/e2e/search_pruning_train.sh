#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Training in stages: a trial that was stopped at rungs, within an epoch too, and went on is the same, bit for bit, as one
# that was never stopped; the schedule of the learning rate is that of the full budget.
set -eu
rm -rf ./*
cat >net.mlir <<'EOT'
func.func @main(%x: tensor<?x28x28x1xf32>) -> tensor<?x10xf32> {
  %0 = "anas.conv"(%x) {anas.name = "stem", features = 8 : i64, kernel = array<i64: 3, 3>, strides = array<i64: 4, 4>} : (tensor<?x28x28x1xf32>) -> tensor<?x7x7x8xf32>
  %1 = call @block0(%0) : (tensor<?x7x7x8xf32>) -> tensor<?x7x7x8xf32>
  %2 = "anas.dropout"(%1) {rate = 0.1 : f64} : (tensor<?x7x7x8xf32>) -> tensor<?x7x7x8xf32>
  %3 = "anas.mean"(%2) {axes = array<i64: 1, 2>} : (tensor<?x7x7x8xf32>) -> tensor<?x8xf32>
  %4 = "anas.dense"(%3) {anas.name = "head", features = 10 : i64} : (tensor<?x8xf32>) -> tensor<?x10xf32>
  return %4 : tensor<?x10xf32>
}
func.func private @block0(%x: tensor<?x7x7x8xf32>) -> tensor<?x7x7x8xf32> attributes {anas.block = "block"} {
  %0 = "anas.conv"(%x) {anas.name = "conv", features = affine_map<(n, h, w, c) -> (c)>, kernel = array<i64: 3, 3>} : (tensor<?x7x7x8xf32>) -> tensor<?x7x7x8xf32>
  %1 = "anas.batch_norm"(%0) {anas.name = "bn"} : (tensor<?x7x7x8xf32>) -> tensor<?x7x7x8xf32>
  %2 = "anas.relu"(%1) : (tensor<?x7x7x8xf32>) -> tensor<?x7x7x8xf32>
  return %2 : tensor<?x7x7x8xf32>
}
EOT
flags="net.mlir --dataset fashion-mnist --limit 640 --validation 256 --batch 64 --epochs 3 --trials 4 --synchronous 4 --seed 2
  --keep-weights all" # not a function: $! must be the search, not a shell
query() { sqlite3 "$1/study.db" "$2"; }

anas-search $flags --study whole >whole.txt
anas-search $flags --study staged --pruner halving --reduction-factor 2 >staged.txt # rungs after 0.75 and 1.5 epochs of 10 steps
query staged 'select distinct steps from curves where rung order by 1' | tr '\n' ' ' | grep -q '^8 15 $'
survivor=$(query staged "select number from trials where state = 'COMPLETE' and number > 0")
test "$(query staged "select attempts from trials where number = $survivor")" = 3
grep -q 'going on after step 15' "staged/trials/000$survivor/output.txt"
for trial in 0 "$survivor"; do
  result="select hash, accuracy, loss, train_loss, steps from trials where number = $trial"
  query whole "$result" >whole.log
  query staged "$result" | cmp - whole.log
  cmp "whole/trials/000$trial/weights.safetensors" "staged/trials/000$trial/weights.safetensors"
  curve="select steps, epochs, accuracy, loss from curves where trial = $trial and epochs in (1, 2, 3)"
  query whole "$curve" >whole.log
  query staged "$curve" | cmp - whole.log
done

# Those that were stopped left no weights and no state; their curve is the beginning of the whole one.
test "$(query staged "select count(*) from trials where state = 'PRUNED'")" = 2
for trial in $(query staged "select number from trials where state = 'PRUNED'"); do
  test ! -e "staged/trials/000$trial/weights.safetensors"
  test ! -e "staged/trials/000$trial/checkpoint.safetensors"
done
test ! -e "staged/trials/000$survivor/checkpoint.safetensors"
anas-search replay staged | grep -q '^4 trials decided again: 0 differ$'

# A lost checkpoint costs time, not the result.
anas-search $flags --study lost --pruner halving --reduction-factor 2 >lost.txt &
driver=$!
until test -s lost/study.db && test "$(query lost "select count(*) from curves where verdict = 'on'" 2>/dev/null)" -ge 1; do
  kill -0 $driver 2>/dev/null || break
done
kill -9 $driver 2>/dev/null || true
wait $driver 2>/dev/null || true
rm -f lost/trials/*/checkpoint.safetensors
anas-search --study lost --resume >lost.txt
log='select number, state, hash, accuracy, loss, train_loss, steps from trials order by number; select * from curves'
query staged "$log" >staged.log
query lost "$log" | cmp - staged.log
