#!/usr/bin/env bash
# Counts the scheduler's instructions for one task (submit, send, reply, finish) with callgrind, and
# fails if they grow with the number of workers or of queued tasks, or beyond the recorded figure.
#
# The figure is in benches/instructions.txt. Where a change makes it larger and is worth it, write
# the new one there and say why in the commit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
RATIO_MAX=1.30
SLACK=1.05
CYCLES=20000

program=$(cargo bench --bench instructions --no-run --message-format=json 2>/dev/null |
  grep -o '"executable":"[^"]*instructions[^"]*"' | tail -n 1 | cut -d'"' -f4)
[[ -x $program ]] || { echo "FAILED: cargo bench --bench instructions --no-run" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

count() {
  valgrind --tool=callgrind --callgrind-out-file="$scratch/out" "$program" "$@" 2>"$scratch/log" ||
    { cat "$scratch/log" >&2; exit 1; }
  awk '/Collected/ { print $NF }' "$scratch/log"
}

lowest= highest=
printf '%8s %8s %s\n' workers queued 'instructions a task'
for case in '4 10' '100 10' '1000 10' '10000 10' '4 100000' '1000 100000'; do
  read -r workers queued <<<"$case"
  short=$(count "$workers" "$queued" 0)
  long=$(count "$workers" "$queued" "$CYCLES")
  each=$(awk -v a="$short" -v b="$long" -v n="$CYCLES" 'BEGIN { printf "%.1f", (b - a) / n }')
  printf '%8s %8s %s\n' "$workers" "$queued" "$each"
  lowest=$(awk -v a="${lowest:-$each}" -v b="$each" 'BEGIN { print (b < a) ? b : a }')
  highest=$(awk -v a="${highest:-$each}" -v b="$each" 'BEGIN { print (b > a) ? b : a }')
done

recorded=$(grep -v '^#' benches/instructions.txt)
awk -v low="$lowest" -v high="$highest" -v ratio="$RATIO_MAX" -v slack="$SLACK" -v was="$recorded" '
  BEGIN {
    printf "dearest to cheapest: %.3f (at most %.2f); dearest: %.1f (recorded: %.1f)\n",
      high / low, ratio, high, was
    if (high / low > ratio) { print "FAILED: the cost is not flat"; exit 1 }
    if (high > was * slack) { print "FAILED: dearer than recorded by more than 5 %"; exit 1 }
  }'
