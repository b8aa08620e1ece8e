#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Training speed of anas and of PyTorch in alternation: anas, PyTorch (NCHW), anas, PyTorch (NHWC), and again. anas-train
# runs as users run it, with data loading and augmentation; PyTorch trains on one batch in memory, under the settings of
# torch_settings.sh. Prints JSON, one line a network: medians, the ratio of anas to PyTorch's better layout, loads.
#   compare_torch.sh --data DIR [--dataset NAME] [--bin DIR] [--input HxWxC] [--classes N] [--batch N] [--threads N]
#                    [--seconds X] [--rounds N] NETWORK...
# Defaults: cifar10, 32x32x3, 10 classes, batch 128, all processors, 10 seconds a run, 3 rounds. --bin: where anas-train and
# anas-zoo are (default: in PATH).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data="" dataset=cifar10 input=32x32x3 classes=10 batch=128 threads=$(nproc) seconds=10 rounds=3
while [ $# -gt 0 ]; do
  case $1 in
  --data) data=$2 ;;
  --dataset) dataset=$2 ;;
  --bin) PATH=$2:$PATH ;;
  --input) input=$2 ;;
  --classes) classes=$2 ;;
  --batch) batch=$2 ;;
  --threads) threads=$2 ;;
  --seconds) seconds=$2 ;;
  --rounds) rounds=$2 ;;
  -*) echo "$0: unknown option $1; the first lines of the script say what there is" >&2; exit 1 ;;
  *) break ;;
  esac
  shift 2
done
[ -n "$data" ] && [ $# -gt 0 ] || { sed -n '3,10s/^# //p' "$0" >&2; exit 1; }
. "$here/torch_settings.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# ours STEPS: the result line of anas-train.
ours() {
  anas-train "$scratch/net.mlir" --dataset "$dataset" --data "$data" --batch "$batch" --threads "$threads" --lr 0.001 \
    --epochs 1000 --validation "$batch" --max-steps "$1" --json | jq -c 'select(.event == "result")'
}

# record NAME RATE: a line for the result, with the load of the moment.
record() {
  jq -n -c --arg side "$1" --argjson rate "$2" --arg load "$(cut -d' ' -f1 /proc/loadavg)" \
    '{side: $side, rate: $rate, load: ($load | tonumber)}' >>"$scratch/runs"
}

for network; do
  anas-zoo "$network" --input "$input" --classes "$classes" -o "$scratch/net.mlir"
  : >"$scratch/runs"
  # Compiles, and tells how many steps fill the time of a run.
  rate=$(ours 3 | jq .images_per_second)
  steps=$(jq -n --argjson rate "$rate" --argjson batch "$batch" --argjson seconds "$seconds" \
    '[4, ($seconds * $rate / $batch | ceil)] | max')
  round=0
  while [ "$round" -lt "$rounds" ]; do
    for layout in nchw nhwc; do
      record anas "$(ours "$steps" | jq .images_per_second)"
      record "$layout" "$(torch_train speed "$scratch/net.mlir" --batch "$batch" --threads "$threads" --layout "$layout" \
        --seconds "$seconds" | jq .images_per_second)"
    done
    round=$((round + 1))
  done
  jq -s -c --arg network "$network" --argjson batch "$batch" --argjson threads "$threads" --arg input "$input" '
    def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
    def of($side): [.[] | select(.side == $side) | .rate];
    (of("anas") | median) as $anas | (of("nchw") | median) as $nchw | (of("nhwc") | median) as $nhwc
    | {bench: "torch", network: $network, input: $input, batch: $batch, threads: $threads,
       anas_images_per_second: $anas, torch_nchw_images_per_second: $nchw, torch_nhwc_images_per_second: $nhwc,
       torch_layout: (if $nchw > $nhwc then "nchw" else "nhwc" end), ratio: ($anas / ([$nchw, $nhwc] | max)),
       runs: {anas: of("anas"), nchw: of("nchw"), nhwc: of("nhwc")}, load: ([.[].load] | {min: min, max: max})}
  ' "$scratch/runs"
done
