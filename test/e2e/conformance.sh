# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every test that docs/conformance.md names exists, and a unit test is one that its program runs.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
grep -o '`\(test_[a-z_0-9]*\|lit\|fuzz\|e2e\): [a-z_0-9./-]*`' "$root/docs/conformance.md" | tr -d '`:' >names
test "$(wc -l <names)" -gt 50
while read -r program name; do
  case $program in
  lit | fuzz | e2e) test -f "$root/test/$program/$name" || { echo "no test/$program/$name"; exit 1; } ;;
  *)
    grep -q "cmocka_unit_test[a-z_]*($name[,)]" "$root/test/unit/$program.c" || { echo "no $name in $program.c"; exit 1; }
    ;;
  esac
done <names
