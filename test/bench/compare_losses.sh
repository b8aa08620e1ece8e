#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Trains networks from the same weights on the same batches with anas and with PyTorch and compares the losses step by
# step: CIFAR-10 in its order, no augmentation, no dropout, a constant learning rate, SGD with momentum 0.9 and weight
# decay 1e-4 or another optimizer with its usual constants (Adam and RMSProp divide by small numbers where gradients are
# small: they amplify roundings from the first steps on). Prints JSON, one line a network; exit code 1 if a loss differs
# by more than the tolerance.
#   compare_losses.sh --data DIR [--bin DIR] [--batch N] [--steps N] [--lr X] [--tolerance X] [--pretrain N] [--draw-zeros]
#                     [--double] [--precision NAME] [--optimizer NAME] [--clip-norm X] [--verbose] NETWORK...
# DIR holds CIFAR-10's binary files; --bin: where anas-train and anas-zoo are (default: in PATH). Weights are anas's initial
# ones; with --draw-zeros, those that start as zeros (last layers, scales of residual branches) are drawn, so that every
# part of a network has a gradient from the first step. --pretrain N: the weights after N ordinary steps of anas-train; deep
# networks with batch normalisation amplify every rounding in their first steps, in PyTorch as here. --double trains a third time, in
# PyTorch's double precision: how far both are from it shows whether a difference is more than rounding that training has
# amplified. --precision bf16-always: anas so, PyTorch with autocast to bf16, which rounds results, too.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data="" batch=64 steps=50 lr=0.001 tolerance=1e-3 pretrain=0 verbose="" double="" draw="" precision=f32 autocast="" optimizer=sgd clip_norm=0
while [ $# -gt 0 ]; do
  case $1 in
  --data) data=$2 ;;
  --bin) PATH=$2:$PATH ;;
  --batch) batch=$2 ;;
  --steps) steps=$2 ;;
  --lr) lr=$2 ;;
  --pretrain) pretrain=$2 ;;
  --tolerance) tolerance=$2 ;;
  --precision)
    precision=$2
    [ "$2" = f32 ] || autocast=--autocast
    ;;
  --optimizer) optimizer=$2 ;;
  --clip-norm) clip_norm=$2 ;;
  --verbose) verbose=1; shift; continue ;;
  --draw-zeros) draw=--draw-zeros; shift; continue ;;
  --double) double=--double; shift; continue ;;
  -*) echo "$0: unknown option $1; the first lines of the script say what there is" >&2; exit 1 ;;
  *) break ;;
  esac
  shift 2
done
[ -n "$data" ] && [ $# -gt 0 ] || { sed -n '3,15s/^# //p' "$0" >&2; exit 1; }
. "$here/torch_settings.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
# Enough images for all steps in one epoch, and few to validate on.
common="--dataset cifar10 --data $data --batch $batch --no-augment --no-shuffle --schedule constant --warmup 0
  --limit $((batch * steps)) --validation $batch --json"
for network; do
  # Rates of dropout and stochastic depth become zero in the text itself.
  anas-zoo "$network" --input 32x32x3 --classes 10 |
    sed -E 's/(layer_drop_)?rate = [0-9.e-]+ : f64/\1rate = 0.0 : f64/g' >"$scratch/net.mlir"
  # A step with learning rate 0 leaves anas's initial weights in a file.
  if [ "$pretrain" = 0 ]; then
    # shellcheck disable=SC2086
    anas-train "$scratch/net.mlir" $common --lr 0 --max-steps 1 --save "$scratch/initial.safetensors" >"$scratch/log"
  else
    anas-train "$scratch/net.mlir" --dataset cifar10 --data "$data" --batch "$batch" --validation "$batch" --lr 0.02 \
      --schedule constant --max-steps "$pretrain" --save "$scratch/initial.safetensors" --json >"$scratch/log"
  fi
  torch_train start "$scratch/initial.safetensors" "$scratch/start.safetensors" $draw
  # shellcheck disable=SC2086
  anas-train "$scratch/net.mlir" $common --lr "$lr" --max-steps "$steps" --precision "$precision" \
    --weights "$scratch/start.safetensors" --optimizer "$optimizer" --clip-norm "$clip_norm" |
    jq -s '[.[] | select(.event == "step" or .event == "epoch") | .loss]' >"$scratch/ours"
  if [ -n "$double" ]; then # the momentum after one step is the gradient, plus the weight decay
    # shellcheck disable=SC2086
    anas-train "$scratch/net.mlir" $common --lr 0 --max-steps 1 --weights "$scratch/start.safetensors" \
      --save "$scratch/gradient.safetensors" >"$scratch/log"
    torch_train gradient "$scratch/net.mlir" --weights "$scratch/start.safetensors" --data "$data" --batch "$batch" \
      --limit $((batch * steps)) --validation "$batch" --gradient "$scratch/gradient.safetensors" >"$scratch/gradient"
  else
    echo null >"$scratch/gradient"
  fi
  for side in "$autocast" $double; do
    torch_train losses "$scratch/net.mlir" --weights "$scratch/start.safetensors" --data "$data" --batch "$batch" \
      --steps "$steps" --lr "$lr" --limit $((batch * steps)) --validation "$batch" \
      --optimizer "$optimizer" --clip-norm "$clip_norm" $side >"$scratch/torch${side#--autocast}"
  done
  [ -n "$double" ] || echo null >"$scratch/torch--double"
  jq -n -c --arg network "$network" --argjson tolerance "$tolerance" --arg verbose "$verbose" \
    --slurpfile a "$scratch/ours" --slurpfile b "$scratch/torch" --slurpfile c "$scratch/torch--double" --slurpfile g "$scratch/gradient" '
    [range($b[0] | length) | {step: (. + 1), ours: $a[0][.], torch: $b[0][.]} | .difference = (.ours - .torch | fabs)] as $steps
    | ($steps | max_by(.difference)) as $worst
    | {bench: "losses", network: $network, steps: ($steps | length), first: $steps[0].ours, last: $steps[-1].ours,
       first_difference: $steps[0].difference, last_difference: $steps[-1].difference,
       largest_difference: $worst.difference, at_step: $worst.step,
       agree: (($a[0] | length) == ($b[0] | length) and $worst.difference <= $tolerance)}
    | def farthest($x): [range($x[0] | length) | ($x[0][.] - $c[0][.] | fabs)] | max;
      if $c[0] then . + {from_double: {ours: farthest($a), torch: farthest($b)}, gradient: $g[0]} else . end
    | if $verbose != "" then . + {losses: $steps} else . end' >"$scratch/result"
  cat "$scratch/result"
  [ "$(jq .agree "$scratch/result")" = true ] || failed=1
done
exit $failed
