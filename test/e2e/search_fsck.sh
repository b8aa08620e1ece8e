#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# fsck finds every kind of damage and changes nothing; gc removes what nobody needs and nothing else.
set -eu
rm -rf ./*
finds() { # finds 'what it must say' STUDY
  if anas-search fsck "$2" >out.txt 2>&1; then echo "should have found: $1" >&2; exit 1; fi
  grep -qF -- "$1" out.txt || { echo "expected '$1', got:" >&2; cat out.txt >&2; exit 1; }
}
damaged() { rm -rf bad; cp -r good bad; }

anas-search --model cnn --evaluator simulated --trials 12 --seed 3 --study good >good.txt
anas-search fsck good | grep -q '^study good: 12 trials, 12 files; 0 problems$'

damaged; echo '// more' >>bad/trials/0003/candidate.mlir
finds 'trial 3: candidate.mlir has ' bad
damaged; sed -i '1s/trial/trail/' bad/trials/0003/candidate.mlir
finds 'trial 3: candidate.mlir has other content than was written' bad
damaged; rm bad/trials/0004/candidate.mlir
finds "trial 4: cannot open 'bad/trials/0004/candidate.mlir'" bad
damaged; cp bad/trials/0005/candidate.mlir bad/trials/0006/candidate.mlir
finds 'trial 6: candidate.mlir holds architecture ' bad
damaged; sqlite3 bad/study.db 'update trials set accuracy = null where number = 2'
finds 'trial 2: COMPLETE without an accuracy' bad
damaged; sqlite3 bad/study.db 'update trials set parent = 9 where number = 2'
finds 'trial 2: its parent is trial 9' bad
damaged; sqlite3 bad/study.db 'update trials set hash = (select hash from trials where number = 5) where number = 8'
finds 'trial 8: the architecture of trial 5 again' bad
damaged; sqlite3 bad/study.db 'delete from trials where number = 2'
finds 'trial 2 is missing' bad
damaged; dd if=/dev/zero of=bad/study.db bs=1 seek=4200 count=3000 conv=notrunc 2>/dev/null
finds 'damaged' bad

# Lost candidates come back.
damaged; rm bad/trials/0004/candidate.mlir
anas-search replay bad -o rebuilt >replay.txt || true
cmp rebuilt/0004.mlir good/trials/0004/candidate.mlir

# A study of schema version 1 (no record of files) is brought up to date by the next writer.
damaged; sqlite3 bad/study.db 'drop table artefacts; drop table curves; pragma user_version=1'
anas-search status bad | grep -q '12 of 12 trials'
anas-search --study bad --resume --trials 13 >resumed.txt
test "$(sqlite3 bad/study.db 'pragma user_version')" = 5
anas-search fsck bad | grep -q '13 trials, 1 files; 0 problems'

damaged
on=$(anas-search pareto bad --json | jq '.[0].trial')
off=$(sqlite3 bad/study.db 'select number from trials order by accuracy, -params limit 1')
for n in "$on" "$off"; do : >"bad/trials/$(printf %04d "$n")/weights.safetensors"; done
: >"bad/trials/$(printf %04d "$on")/checkpoint.safetensors"
mkdir bad/trials/0077; : >bad/trials/0077/candidate.mlir
anas-search gc bad --dry-run | grep -q '^3 files, 0.0 MB would be removed$'
anas-search gc bad | grep -q '^3 files, 0.0 MB removed$'
test -e "bad/trials/$(printf %04d "$on")/weights.safetensors"
test ! -e "bad/trials/$(printf %04d "$on")/checkpoint.safetensors"
test ! -e "bad/trials/$(printf %04d "$off")/weights.safetensors"
test ! -e bad/trials/0077
anas-search fsck bad >out.txt
anas-search gc bad | grep -q '^0 files'

if anas-search fsck absent 2>err.txt; then exit 1; fi
grep -q "there is no study in 'absent'" err.txt
