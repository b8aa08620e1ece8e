#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What can be wrong before a search starts: damaged studies, bad flags, models that do not fit.
set -eu
rm -rf ./*
anas-search --model cnn --evaluator simulated --trials 4 --study good >/dev/null
fails() { # fails PATTERN COMMAND...: exit code 1 and a message
  pattern=$1
  shift
  code=0
  "$@" >out.txt 2>error.txt || code=$?
  if test $code != 1 || ! grep -q -e "$pattern" error.txt; then
    echo "expected exit code 1 and '$pattern', got $code and:" >&2
    cat error.txt >&2
    exit 1
  fi
}

# Damaged in the header, in the middle, truncated, replaced.
for damage in header middle short text; do
  rm -rf bad
  cp -r good bad
  sqlite3 bad/study.db 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
  rm -f bad/study.db-wal bad/study.db-shm
  case $damage in
  header) printf 'garbage garbage' | dd of=bad/study.db conv=notrunc status=none ;;
  middle) head -c 9000 /dev/urandom | dd of=bad/study.db bs=1 seek=4096 conv=notrunc status=none ;;
  short) truncate -s 6000 bad/study.db ;;
  text) echo 'not a database at all' >bad/study.db ;;
  esac
  fails "study database 'bad/study.db' is damaged" anas-search status bad
  fails "study database 'bad/study.db' is damaged" anas-search --study bad --resume
done

rm -rf bad && mkdir bad && sqlite3 bad/study.db 'create table t(x)'
fails "'bad/study.db' is a database, but not a study of anas" anas-search status bad
rm -rf bad && cp -r good bad && sqlite3 bad/study.db 'PRAGMA user_version=99'
fails "schema version 99; this anas-search reads versions 1 to 5" anas-search --study bad --resume
fails "there is no study in 'absent'" anas-search status absent
fails "there is no study in 'absent'" anas-search --study absent --resume
fails "'good' already holds a study; continue it with --resume" anas-search --model cnn --evaluator simulated --study good
fails "trials 0 to 3, not 17" anas-search show good 17
fails "there is no metric 'size'" anas-search top good --by size

fails "unknown argument '--trails'; did you mean 'trials'?" anas-search --model cnn --study x --trails 3
fails "--trials" anas-search --model cnn --study x --trials many
fails "--study DIR is required" anas-search --model cnn
fails "nothing to start from" anas-search --study x
fails "--cpu: unknown processor 'haswel'; did you mean 'haswell'?" anas-search --model cnn --study x --cpu haswel
fails "unknown strategy 'alpha'; there are: alphanas, regularized, nsga2, mu-plus-lambda, local, mutation, random" anas-search --model cnn --study x --strategy alpha
fails "--objective is METRIC:max or METRIC:min" anas-search --model cnn --study x --objective speed:max
fails "got 'acuracy:max'; did you mean 'accuracy'?" anas-search --model cnn --study x --objective acuracy:max
constraint() { fails "$1" anas-search --model cnn --study x --constraint "$2"; } # constraint PATTERN EXPRESSION
constraint "column 1: there is no metric 'parms'; did you mean 'params'?" 'parms<3'
constraint "column 15: there is no metric 'para'; did you mean 'params'?" 'macs > 1*seed.para'
constraint "column 8: expected a number, a metric or '('" 'params<'
constraint "column 1: a condition is needed here" 'params + 1'
constraint "column 11: unknown unit" 'params < 3MB'
constraint "column 12: expected an operator" 'params < 3 4'
constraint "column 14: a number or a metric is needed here" 'params < 2 * (macs < 1)'
constraint "column 16: a condition is needed here" 'params < 1 and macs'
fails "planned_bytes is measured on compiled programs" anas-search --model cnn --study x --evaluator simulated --constraint 'planned_bytes<1'
fails "accuracy is only known after training" anas-search --model cnn --study x --constraint 'accuracy>0.5'
fails "cannot open 'absent.mlir'" anas-search absent.mlir --evaluator simulated --study x
fails "resnet" anas-search --model resnet19 --evaluator simulated --study x

cat >broken.mlir <<'EOF'
func.func @main(%x: tensor<?x28x28x1xf32>) -> tensor<?x10xf32> {
  %0 = "anas.flaten"(%x) : (tensor<?x28x28x1xf32>) -> tensor<?x10xf32>
  return %0 : tensor<?x10xf32>
}
EOF
fails "broken.mlir:2:8: error: .*anas.flaten" anas-search broken.mlir --evaluator simulated --study x
test ! -e x # nothing was created on the way
fails "there is no metric 'snop'; did you mean 'snip'?" anas-search --model cnn --study x --metrics naswot,snop
fails "naswot is measured on compiled programs" anas-search --model cnn --study x --evaluator simulated --metrics naswot
