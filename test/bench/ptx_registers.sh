#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Assembles the PTX of every kernel function of networks of the zoo and prints registers and spills as a table. Needs
# ptxas of a CUDA toolkit, which nothing else does.
#
#   test/bench/ptx_registers.sh [-p "f32 tf32 bf16"] [-a "sm_80 sm_90 sm_100"] [NETWORK...]
#
# PTX is generated for sm_80 and assembled for each architecture. Contractions are the functions named *_tile.
set -eu
precisions="f32 tf32 bf16"
architectures="sm_80 sm_90 sm_100"
while getopts p:a: option; do
  case $option in
  p) precisions=$OPTARG ;;
  a) architectures=$OPTARG ;;
  *) exit 1 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- cnn resnet18 resnet50 b0 vit-ti/16
ptxas=$(command -v ptxas || echo "${CUDA_HOME:-/usr/local/cuda}/bin/ptxas")
[ -x "$ptxas" ] || {
  echo "no ptxas here: nothing is assembled"
  exit 0
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# summary FILE: functions, contractions, their registers, most registers of the others, functions that spill
summary() {
  awk '
    /Compiling entry function/ { tile = /_tile/; functions++; tiles += tile }
    /spill stores/ && !/ 0 bytes spill stores/ { if (tile) tile_spills++; else spills++ }
    /Used [0-9]+ registers/ {
      for (i = 1; i < NF; i++) if ($i == "Used") used = $(i + 1) + 0
      if (!tile) { if (used > others) others = used }
      else { if (!low || used < low) low = used; if (used > high) high = used }
    }
    END { printf "%d | %d | %d to %d | %d | %d | %d\n", functions, tiles, low, high, tile_spills, others, spills }' "$1"
}

echo "| network | precision | architecture | functions | contractions | their registers | of these spill | most registers of others | of these spill |"
echo "|---|---|---|---|---|---|---|---|---|"
for network in "$@"; do
  anas-zoo "$network" -o "$scratch/net.mlir"
  for precision in $precisions; do
    rm -rf "$scratch/ptx" "$scratch/all.ptx"
    anas-export "$scratch/net.mlir" --to cuda-bundle --batch 32 --chip sm_80 --precision "$precision" \
      -o "$scratch/bundle" --ptx "$scratch/ptx" 2>"$scratch/err" || {
      cat "$scratch/err" >&2
      exit 1
    }
    # One file, one header: a ptxas run for every kernel function would mostly be start-up.
    for file in "$scratch"/ptx/*.ptx; do
      if [ -s "$scratch/all.ptx" ]; then sed '/^\.version\|^\.target\|^\.address_size/d' "$file"; else cat "$file"; fi \
        >>"$scratch/all.ptx"
    done
    for architecture in $architectures; do
      "$ptxas" -arch="$architecture" -v "$scratch/all.ptx" -o "$scratch/cubin" 2>"$scratch/err" || {
        head -n 5 "$scratch/err" >&2
        exit 1
      }
      printf '| %s | %s | %s | %s |\n' "$network" "$precision" "$architecture" "$(summary "$scratch/err")"
    done
  done
done
