#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# anas-search compare: its numbers are those of the databases, computed here in another way; what cannot be compared is
# refused.
set -eu
rm -rf ./*
fail() {
  echo "FAIL: $*" >&2
  exit 1
}
fails() { # fails PATTERN COMMAND...: exit code 1 and a message
  pattern=$1 code=0
  shift
  "$@" >out.txt 2>error.txt || code=$?
  test $code = 1 && grep -q -e "$pattern" error.txt || fail "no '$pattern' with exit code 1 ($code): $* $(cat error.txt)"
}
search() { anas-search --model cnn --evaluator simulated:crash=0.1 --quiet "$@" >/dev/null; }
for seed in 1 2 3 4; do
  search --strategy nsga2 --seed $seed --trials 20 --study "e$seed"
  search --strategy random --seed $seed --trials 24 --study "r$seed"
done
groups='--group evolution=e1,e2,e3,e4 --group random=r1,r2,r3,r4'
anas-search compare $groups --points 4 --json >all.json

# The common units: means of all results of the seed model.
for s in e1 e2 e3 e4 r1 r2 r3 r4; do sqlite3 $s/study.db 'select accuracy, params from trials where number = 0'; done |
  awk -F'|' '{ a += $1; p += $2 } END { printf "%.10g %.10g\n", a / NR, p / NR }' >units.txt
jq -e --arg a "$(cut -d' ' -f1 units.txt)" --arg p "$(cut -d' ' -f2 units.txt)" \
  '(.units.accuracy / ($a | tonumber) - 1 | fabs) < 1e-8 and (.units.params / ($p | tonumber) - 1 | fabs) < 1e-8' \
  all.json >/dev/null || fail "units: $(cat units.txt), $(jq -c .units all.json)"

# Hypervolume of the trials below a number: a sum of rectangles, from the fewest parameters on.
volume() { # volume STUDY NUMBER
  sqlite3 "$1/study.db" "select params, accuracy from trials where state = 'COMPLETE' and number < $2 order by params, accuracy" |
    awk -F'|' -v units="$(cat units.txt)" 'BEGIN { split(units, unit, " ") }
      { x = 2 - $1 / unit[2]; y = $2 / unit[1]; if (x > 0 && y > best) { sum += x * (y - best); best = y } }
      END { printf "%.10g\n", sum }'
}
jq -e '.axis == "trials" and .points == [5, 10, 15, 20]' all.json >/dev/null || fail "points: $(jq -c .points all.json)"
for s in e1 e3 r2; do
  trials=$(sqlite3 $s/study.db 'select count(*) from trials')
  { for n in 5 10 15 20 "$trials"; do volume $s $n; done; } | jq -sc . >expected.json
  jq --arg s $s '.studies[] | select(.study == $s) | .curve.hypervolume + [.hypervolume]' all.json |
    jq -e --slurpfile expected expected.json '[., $expected[0]] | transpose | all((.[0] - .[1] | fabs) < 1e-6)' >/dev/null ||
    fail "hypervolumes of $s: $(cat expected.json)"
  jq --arg s $s '.studies[] | select(.study == $s)' all.json >study.json
  test "$(jq .states.CRASHED study.json)" = "$(sqlite3 $s/study.db "select count(*) from trials where state = 'CRASHED'")"
  test "$(jq .best.params study.json)" = "$(sqlite3 $s/study.db "select cast(min(params) as int) from trials where state = 'COMPLETE'")"
  test "$(jq .epochs study.json)" = "$(sqlite3 $s/study.db "select count(*) from trials where state = 'COMPLETE'")"
  test "$(jq .front study.json)" = "$(anas-search pareto $s --json | jq length)"
done

# Groups: mean and deviation of their studies; the test has one line a measure.
jq -e '[.studies[] | select(.group == "evolution") | .hypervolume] as $v | ($v | add / length) as $mean
  | .groups[0].hypervolume | .studies == 4 and (.mean - $mean | fabs) < 1e-12
  and (.deviation - (($v | map(. - $mean | . * .) | add) / 3 | sqrt) | fabs) < 1e-12' all.json >/dev/null || fail "groups"
jq -e '[.studies[] | select(.group == "evolution") | .hypervolume] as $e | [.studies[] | select(.group == "random") | .hypervolume] as $r
  | ([$e[] as $x | $r[] as $y | if $x > $y then 1 elif $x == $y then 0.5 else 0 end] | add / 16) as $share
  | (.tests | map(.measure)) == ["hypervolume", "accuracy", "params"]
  and .tests[0].superiority == $share and (.tests[0].smallest_p - 2 / 70 | fabs) < 1e-9
  and all(.tests[]; .p >= 0.028 and .p <= 1)' all.json >/dev/null || fail "tests: $(jq -c .tests all.json)"
jq -e '.settings == {strategy: .settings.strategy, trials: .settings.trials} and .settings.strategy.r3 == "random"' all.json >/dev/null ||
  fail "settings: $(jq -c .settings all.json)"

# The tables have the same numbers; two seeds are too few for a test.
anas-search compare $groups >all.txt
grep -q '^study  *COMPLETE  *CRASHED  *epochs' all.txt
grep -q "^evolution (4)  *$(jq -r .groups[0].hypervolume.mean all.json | cut -c1-5)" all.txt || fail "no mean in: $(cat all.txt)"
anas-search compare --group a=e1,e2 --group b=r1,r2 | grep -q 'too few studies: p cannot be below 0.33' || fail "2 and 2"
anas-search compare e1 r1 e2 --by seconds >/dev/null
anas-search compare e1 r1 --by macs --json | jq -e '.points[4] > 0 and (.points[4] - ([.studies[].macs] | min) | fabs) < 1' >/dev/null
test "$(anas-search compare e1 r1 --by macs --json | jq -c '.axis, .groups, .tests' | tr '\n' ' ')" = '"macs" [] [] '

search --trials 3 --objective accuracy:max --objective macs:min --study macs
anas-search --model resnet18 --evaluator simulated --quiet --trials 1 --study resnet >/dev/null
search --trials 3 --validation 100 --study short
search --trials 3 --dataset cifar10 --model resnet18 --study cifar
fails "'e1' and 'macs' cannot be compared: their objectives are accuracy:max params:min and accuracy:max macs:min" anas-search compare e1 macs
fails "'e1' and 'resnet' cannot be compared: they start from different networks, cnn and resnet18" anas-search compare e1 resnet
fails "'e1' and 'short' cannot be compared: --validation is -1 and 100" anas-search compare e1 r1 short
fails "cannot be compared" anas-search compare e1 cifar
fails "at least two studies" anas-search compare e1
fails "'e1' is given twice" anas-search compare e1 e1
fails "no study in 'absent'" anas-search compare e1 absent
fails "NAME=STUDY" anas-search compare --group e1,e2
fails "two groups are called 'a'" anas-search compare --group a=e1 --group a=e2
fails "by is trials, epochs" anas-search compare e1 e2 --by hours
