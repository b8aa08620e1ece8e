#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What successive halving saves: the same search on Fashion-MNIST with every trial trained in full, in generations of 12,
# and with --pruner halving and as many trials in generations of 18; one thread, one worker. Fronts are compared after
# retraining their networks in full with other seeds, on the test images, which no search has seen: the best accuracy of
# a network no larger than the seed, and the hypervolume of accuracy above 0.5 times log2 of how much smaller than twice
# the seed. 'prefix' is the search in full cut off when it has used as much compute as halving. Compute: training
# multiply-accumulates, 3 x MACs an image. 'anytime' is both, by the validation accuracies that the search saw, when it
# had used 5, 10, 15, ... % of the compute of the search in full: trials by number, though those of a generation of
# halving end together.
# Prints a JSON object a line, the last one with means and their standard errors over the seeds.
# usage: halving.sh BIN [SEEDS [TRIALS]]
set -euo pipefail
bin=$(realpath "$1")
seeds=${2:-3} count=${3:-36}
epochs=9 batch=64 limit=${LIMIT:-1536} validation=1000 lr=0.05 retrainings=2
export ANAS_NUM_THREADS=1
work=${WORK:-$(mktemp -d)}
test -n "${WORK:-}" || trap 'rm -rf "$work"' EXIT
mkdir -p "$work"
cd "$work"

# CifarNet with a quarter of the channels.
"$bin/anas-zoo" cnn --input 28x28x1 --classes 10 |
  sed 's/x32xf32/x8xf32/g; s/x64xf32/x16xf32/g; s/x128xf32/x32xf32/g; s/x6272xf32/x1568xf32/g; s/x256xf32/x64xf32/g
    s/features = 32 : i64/features = 8 : i64/; s/features = 256 : i64/features = 64 : i64/' >seed.mlir
training=(--dataset fashion-mnist --limit $limit --validation $validation --epochs $epochs --batch $batch --lr $lr)

search() { # search STUDY SEED TRIALS GENERATION flags: seconds of processor time are left in STUDY.time
  local study=$1 seed=$2 trials=$3 generation=$4
  test ! -s "$study.time" || return 0
  shift 4
  rm -rf "$study"
  /usr/bin/time -f '%U %S' -o "$study.time" "$bin/anas-search" seed.mlir "${training[@]}" --study "$study" --seed "$seed" \
    --trials "$trials" --synchronous $generation --constraint 'params < 1.5*seed.params and macs < 1.5*seed.macs' \
    --keep-weights none "$@" >"$study.txt"
}
trials() { # of a study, as a JSON list
  sqlite3 -json "$1/study.db" "select number, state, accuracy, params, macs, steps * $batch * macs * 3 as compute
    from trials order by number"
}
front='def front: map(select(.state == "COMPLETE")) | . as $all | map(select(. as $t | $all | all(
    (.accuracy <= $t.accuracy or .params > $t.params) and (.accuracy < $t.accuracy or .params >= $t.params))));'
front+='def hypervolume($size): . as $front | [range(length) | . as $i
    | ([$front[$i].accuracy - 0.5, 0] | max) * (([$front[$i + 1].params // (2 * $size), 2 * $size] | min | log2)
      - ([$front[$i].params, 2 * $size] | min | log2))] | add // 0;
  def anytime($full): . as $all | .[0].params as $size | [range(5; 101; 5) | . as $percent
    | $all | reduce .[] as $t ({sum: 0, list: []}; .sum += $t.compute
      | if .sum <= $full * $percent / 100 then .list += [$t] else . end)
    | .list | front | sort_by(.params) | {percent: $percent, best: (map(select(.params <= $size) | .accuracy) | max),
      hypervolume: hypervolume($size)}];'
retrain() { # retrain STUDY TRIAL: mean accuracy on the test images, kept in a file
  local file=retrained/$1-$2
  mkdir -p retrained
  if ! test -s "$file"; then
    for r in $(seq $retrainings); do
      "$bin/anas-train" "$1/trials/$(printf %04d "$2")/candidate.mlir" "${training[@]}" --seed $((1000 + r)) --json | tail -n 1
    done | jq -s 'map(.test_accuracy) | add / length' >"$file"
  fi
  cat "$file"
}
report() { # report SEED ARM STUDY SECONDS COMPUTE_OF_FULL, trials on standard input
  local list
  list=$(cat)
  for t in $(jq "$front front[].number" <<<"$list"); do
    echo "{\"number\": $t, \"retrained\": $(retrain "$3" "$t")}"
  done | jq -sc --argjson list "$list" --arg arm "$2" --argjson seed "$1" --argjson seconds "$4" --argjson full "$5" "$front"'
    . as $retrained | ($list[0].params) as $size
    | ($list | front | map(. as $t | . + ($retrained[] | select(.number == $t.number)))) as $front
    | ($front | map({accuracy: .retrained, params, state, number}) | front | sort_by(.params)) as $again
    | {seed: $seed, arm: $arm, anytime: ($list | anytime($full)), trials: ($list | length), complete: ($list | map(select(.state == "COMPLETE")) | length),
       compute_gmac: ($list | map(.compute) | add / 1e9), cpu_seconds: $seconds,
       best: ($front | map(select(.params <= $size) | .retrained) | max),
       hypervolume: ($again | hypervolume($size)),
       front: ($front | map({number, params, accuracy, retrained}))}'
}
used() { awk '{ print $1 + $2 }' "$1.time"; }

for seed in $(seq "$seeds"); do
  search "full$seed" "$seed" "$count" 12
  search "halving$seed" "$seed" "$count" 18 --pruner halving --reduction-factor 2 --min-epochs 1.125
  full=$(trials "full$seed" | jq 'map(.compute) | add')
  compute=$(trials "halving$seed" | jq 'map(.compute) | add')
  trials "full$seed" | report "$seed" full "full$seed" "$(used "full$seed")" "$full"
  trials "halving$seed" | report "$seed" halving "halving$seed" "$(used "halving$seed")" "$full"
  trials "full$seed" | jq --argjson most "$compute" \
    'reduce .[] as $t ({sum: 0, list: []}; .sum += $t.compute | if .sum <= $most then .list += [$t] else . end) | .list' |
    report "$seed" prefix "full$seed" null "$full"
done | tee results.json
jq -sc 'def mean: map(. // 0) | add / length;
  def error: mean as $m | length as $n | if $n < 2 then null else (map((. // 0) - $m | . * .) | add / ($n - 1) / $n | sqrt) end;
  def both: [mean, error];
  (map(select(.arm == "full")) | map(.compute_gmac) | mean) as $full
  | group_by(.arm) | map({key: .[0].arm, value: {compute_gmac: (map(.compute_gmac) | mean),
      compute_ratio: ((map(.compute_gmac) | mean) / $full), cpu_seconds: (map(.cpu_seconds) | mean),
      complete: (map(.complete) | mean), best: (map(.best) | both), hypervolume: (map(.hypervolume) | both),
      anytime: ([.[].anytime] | transpose | map({percent: .[0].percent, best: (map(.best) | both),
        hypervolume: (map(.hypervolume) | both)}))}}) | from_entries' results.json
