# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Examples of the documentation. In the documents listed below, a block ```mlir whose first line is `// NAME.mlir` is
# that file; in a block ```console, every line that starts with "$ " is a command (continued while lines end in "\") and
# what follows is exactly what it prints.
set -eu
docs=$(cd "$(dirname "$0")/../../docs" && pwd)

for doc in guide properties mutation synthesis; do
  rm -rf "$doc"
  mkdir "$doc"
  cd "$doc"
  # NAME.mlir files; N.sh and N.expected for command number N, with the line it stands at in N.line.
  awk '
    /^```/ && !block { block = substr($0, 4); first = 1; name = ""; next }
    /^```/ { block = ""; next }
    block == "mlir" && first { first = 0; if ($1 == "//" && $2 ~ /\.mlir$/) name = $2 }
    block == "mlir" && name != "" { print > name }
    block == "console" && /^\$ / {
      n++; print substr($0, 3) > (n ".sh"); print FNR > (n ".line"); printf "" > (n ".expected"); more = /\\$/; next
    }
    block == "console" && more { print > (n ".sh"); more = /\\$/; next }
    block == "console" && n { print > (n ".expected") }
    END { print n + 0 > "count" }
  ' "$docs/$doc.md"
  count=$(cat count)
  if [ "$count" -eq 0 ]; then
    echo "docs/$doc.md has no examples"
    exit 1
  fi
  i=1
  while [ "$i" -le "$count" ]; do
    sh "./$i.sh" > "$i.actual" 2>&1 || true
    if ! diff -u "$i.expected" "$i.actual"; then
      echo "docs/$doc.md, line $(cat "$i.line"): the command prints something else"
      exit 1
    fi
    i=$((i + 1))
  done
  cd ..
done

# The reference pages say what the tables say.
for page in ops:dialect passes:passes; do
  anas-opt "--list-${page%:*}=markdown" | diff -u "$docs/${page#*:}.md" - ||
    { echo "docs/${page#*:}.md is out of date: run 'make docs'"; exit 1; }
done
