#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every command's --help has a purpose, its flags and examples; every example does what it says when pasted; misspelt
# commands, flags and names are answered with the nearest.
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
examples() { sed -n '/^Examples:/,/^$/s/^  //p' | sed -e ':a' -e '/\\$/N; s/\\\n//; ta'; } # a command a line
commands=$(anas-search --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
for command in status top pareto show compare report proxies replay worker fsck gc; do
  case " $(echo $commands) " in *" $command "*) ;; *) fail "'$command' is not in --help" ;; esac
done

# The search itself: with made-up results, since its examples are about days of training.
anas-zoo cnn >net.mlir
anas-search --help | examples >search.examples
count=0
while read -r line; do
  case $line in
  *postgresql:*) continue ;; # below
  *--resume*) line="${line%%#*} --trials 6" ;;
  "anas-search -"* | "anas-search net.mlir "*) line="${line%%#*} --trials 4 --evaluator simulated" ;;
  esac
  sh -euc "$line" >out.txt 2>&1 || fail "'$line' of anas-search --help: $(cat out.txt)"
  count=$((count + 1))
done <search.examples
test $count -ge 6 || fail "anas-search --help has $count examples"

# The commands, on studies with several states, mutations and a front. Those that compare take further seeds.
for seed in 2 3 4; do
  anas-search --model cnn --evaluator simulated:crash=0.1 --seed $seed --trials 20 --study s$seed-help >/dev/null
done
for command in $commands; do
  anas-search "$command" --help >help.txt
  head -1 help.txt | grep -q "^usage: anas-search $command " || fail "$command: no usage"
  sed -n 2p help.txt | grep -q '^[A-Z].*\.$' || fail "$command: no purpose"
  grep -q '^  --help ' help.txt || fail "$command: no flags"
  examples <help.txt >list.txt
  test -s list.txt || fail "$command: no examples"
  test "$command" != worker || continue # needs a server: search_postgres.sh
  while read -r line; do
    sh -euc "$line" >out.txt 2>&1 </dev/null || fail "'$line' of $command --help: $(cat out.txt)"
  done <list.txt
  fails "$command: unknown argument '--quuxx'; see anas-search $command --help" anas-search "$command" s1 --quuxx
done
test -s net.mlir && anas-opt net.mlir -o /dev/null # what 'show' was told to write
test -s rebuilt/0003.mlir && test -s front.csv

fails "no sub-command and no model file 'statsu'; did you mean 'status'" anas-search statsu s1
fails "did you mean 'pareto'" anas-search parteo s1
fails "status: unknown argument '--jsn'; did you mean 'json'" anas-search status s1 --jsn
fails "top: --by needs a value: METRIC" anas-search top s1 --by
fails "status: --json takes no value" anas-search status s1 --json=1
fails "--by: there is no metric 'parms'; did you mean 'params'" anas-search top s1 --by parms
fails "--against: there is no metric 'acuracy'; did you mean 'accuracy'" anas-search proxies s1 --against acuracy
fails "which study" anas-search top
fails "which trial" anas-search show s1
fails "unexpected argument 's2'" anas-search status s1 s2
fails "worker: unexpected argument 's1'" anas-search worker s1
fails "worker: unknown argument '--worker'; did you mean 'workers'" anas-search worker --worker 2
search="anas-search --model cnn --evaluator simulated --study none"
fails "'--objectve'; did you mean 'objective'" $search --objectve accuracy
fails "did you mean 'accuracy'" $search --objective acuracy:max
fails "did you mean 'nsga2'" $search --strategy nsga
fails "did you mean 'halving'" $search --pruner halfing
fails "did you mean 'simulated'" anas-search --model cnn --study none --evaluator simulatd
fails "did you mean 'snip'" anas-search --model cnn --study none --metrics snop
fails "did you mean" $search --preset cifar
fails "did you mean 'resnet18'" anas-search --model resnet81 --evaluator simulated --study none
fails "did you mean 'fashion-mnist'" anas-search --model cnn --dataset fashon-mnist --study none
test ! -e none
