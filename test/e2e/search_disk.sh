#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A full disk and a file system that became read-only: the search ends with exit code 1 and a message that names the file
# and what to do, the study is whole, and --resume goes on when there is room again. Needs mounts in a name space of its
# own.
set -eu
if test "${1:-}" != inside; then
  rm -rf ./*
  mkdir disk
  if ! unshare -m sh -c 'mount -t tmpfs -o size=64k tmpfs disk' 2>error.txt; then
    echo "skipped: no mounts in a name space of our own: $(cat error.txt)"
    exit 0
  fi
  exec unshare -m sh "$0" inside
fi

finished() { sqlite3 "$1/study.db" "select number, state, accuracy, finished from trials where state not in
  ('WAITING', 'RUNNING', 'INTERRUPTED', 'PAUSED') order by number"; }
search() { anas-search --model cnn --evaluator simulated --workers 1 --trials 40 --seed 5 "$@"; }
fails() { # fails 'what it says' COMMAND...: with exit code 1
  local what=$1 code=0
  shift
  "$@" >out.txt 2>error.txt || code=$?
  test $code = 1 || { echo "exit code $code: $*" >&2; cat error.txt >&2; exit 1; }
  grep -q '^anas-search: error: ' error.txt && grep -qF -- "$what" error.txt ||
    { echo "expected '$what', got:" >&2; cat error.txt >&2; exit 1; }
}
# What had ended stays as it was, and the search becomes the undisturbed one.
goes_on() {
  finished "$1" >before.txt
  anas-search fsck "$1" >fsck.txt || { cat fsck.txt >&2; exit 1; }
  anas-search --study "$1" --resume --trials 40 >resumed.txt
  finished "$1" | sort >after.txt
  sort before.txt | comm -23 - after.txt >lost.txt
  test ! -s lost.txt
  sqlite3 "$1/study.db" 'select number, parent, state, hash, accuracy from trials order by number' | cmp - decisions.txt
}

search --study undisturbed >undisturbed.txt
sqlite3 undisturbed/study.db 'select number, parent, state, hash, accuracy from trials order by number' >decisions.txt
mount -t tmpfs -o size=64m,nr_inodes=10000 tmpfs disk

# The disk fills up at different moments: what is written when there is no room depends on how much there was.
for kib in 40 300 1000; do
  rm -rf disk/*
  mount -o remount,size=64m disk
  search --study disk/s --trials 3 >start.txt
  mount -o remount,size=$(($(df -k --output=used disk | tail -n 1) + kib))k disk
  fails "disk/s" anas-search --study disk/s --resume --trials 40
  grep -q 'no space left\|No space left' error.txt || { cat error.txt >&2; exit 1; }
  grep -q 'free some' error.txt || { echo "$kib KiB: no hint:" >&2; cat error.txt >&2; exit 1; }
  # Reading needs no space, and there is still none.
  anas-search status disk/s >status.txt
  mount -o remount,size=64m disk
  goes_on disk/s
  echo "$kib KiB: $(wc -l <before.txt) trials had ended; $(sed 's/^anas-search: error: //' error.txt)"
done
# There is room in the files that exist, and for no more of them: candidates, output and the front cannot be written.
for files in 1 2 3 7; do
  rm -rf disk/*
  mount -o remount,size=64m,nr_inodes=10000 disk
  search --study disk/s --trials 3 >start.txt
  mount -o remount,nr_inodes=$(($(df --output=iused disk | tail -n 1) + 3 + files)) disk # 3: the log, its index, lock
  fails 'disk/s/' anas-search --study disk/s --resume --trials 40
  grep -qi 'no space left.*; free some and use --resume$' error.txt || { cat error.txt >&2; exit 1; }
  mount -o remount,nr_inodes=10000 disk
  goes_on disk/s
  echo "$files files: $(wc -l <before.txt) trials had ended; $(sed 's/^anas-search: error: //' error.txt)"
done
# A trial has no room for its weights: that is not its fault.
rm -rf disk/*
mount -o remount,size=$(($(df -k --output=used disk | tail -n 1) + 1500))k disk
fails 'trial 0: ' anas-search --model cnn --dataset fashion-mnist --limit 200 --validation 100 --epochs 1 --trials 2 --study disk/t
grep -qi 'no space left.*; free some and use --resume$' error.txt || { cat error.txt >&2; exit 1; }
test "$(sqlite3 disk/t/study.db 'select state from trials')" = INTERRUPTED
mount -o remount,size=64m disk
anas-search --study disk/t --resume | grep -q '^front (. trials)'
anas-search fsck disk/t >fsck.txt
# No room for a study at all.
mount -o remount,size=$(($(df -k --output=used disk | tail -n 1) + 12))k disk
fails 'disk/new' search --study disk/new
mount -o remount,size=64m disk

# Read-only: the file system, the database alone. Who only reads needs no more.
rm -rf disk/*
search --study disk/s --trials 5 >start.txt
mount -o remount,ro disk
fails "cannot write 'disk/s/lock': Read-only file system; a search needs" anas-search --study disk/s --resume --trials 40
anas-search status disk/s | grep -q '5 of 5 trials'
fails "Read-only file system" search --study disk/new
mount -o remount,rw disk
mount --bind disk/s/study.db disk/s/study.db
mount -o remount,bind,ro disk/s/study.db
fails "cannot write 'disk/s/study.db': " anas-search --study disk/s --resume --trials 40
umount disk/s/study.db
goes_on disk/s
