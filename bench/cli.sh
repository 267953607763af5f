#!/usr/bin/env bash
# The command `chargehand` beside xargs, GNU parallel and, where its Python package installs, HyperQueue, in one run, in
# turns: a process for each line, and lines through a process that lives. Prints the medians, and what they are to each
# other.
#
# bench/cli.sh [PROCESSES [LINES [ROUNDS]]], 10000, 1000000 and 3 where nothing is said. parallel and HyperQueue get a tenth
# of the processes: their rate is what counts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
processes=${1:-10000} lines=${2:-1000000} rounds=${3:-3}
chargehand=${CHARGEHAND:-${CARGO_TARGET_DIR:-$PWD/target}/release/chargehand}
hyperqueue=${CARGO_TARGET_DIR:-$PWD/target}/hyperqueue
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[[ -n ${CHARGEHAND:-} ]] || cargo build --release --quiet -p chargehand-cli
# Without it the others are measured all the same, and its row is left out.
if ! [[ -x $hyperqueue/bin/python ]] || ! "$hyperqueue/bin/python" -c 'import hyperqueue' 2>/dev/null; then
  python3 -m venv "$hyperqueue" && "$hyperqueue/bin/pip" install --quiet hyperqueue==0.27.0 ||
    echo "HyperQueue does not install here: it is left out" >&2
fi
has_hyperqueue() { "$hyperqueue/bin/python" -c 'import hyperqueue' 2>/dev/null; }
seq "$processes" >"$work/tasks"
seq $((processes / 10)) >"$work/few"
seq "$lines" >"$work/lines"
cat >"$work/echo.py" <<'PYTHON'
import json
import sys
for line in sys.stdin:
    task = json.loads(line)
    sys.stdout.write(json.dumps({"id": task["id"], "result": task["task"]}) + "\n")
    sys.stdout.flush()
PYTHON

# Runs a command and keeps how many tasks a second that were, under a name.
measure() {
  local name=$1 count=$2 begun=$EPOCHREALTIME
  shift 2
  "$@" >"$work/out" 2>"$work/err" || {
    cat "$work/err" >&2
    exit 1
  }
  awk -v n="$count" -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { print n / (b - a) }' >>"$work/$name"
}

median() { sort -g "$work/$1" | awk '{ at[NR] = $1 } END { print at[int((NR + 1) / 2)] }'; }

with_xargs() { xargs -P2 -n1 true <"$work/tasks"; }
with_run() { "$chargehand" run --quiet --tasks "$work/tasks" --local 2 --exec true; }
with_parallel() { parallel -j2 --will-cite true :::: "$work/few"; }
with_serve() {
  "$chargehand" run --quiet --tasks "$work/lines" --local 2 --serve "python3 $work/echo.py" --concurrency 256
}

for ((round = 0; round < rounds; round++)); do
  measure xargs "$processes" with_xargs
  measure run "$processes" with_run
  measure parallel $((processes / 10)) with_parallel
  if has_hyperqueue; then
    "$hyperqueue/bin/python" bench/hq.py $((processes / 10)) 2>"$work/err" | awk '/^rate/ { print $2 }' >>"$work/hq"
  fi
  measure serve "$lines" with_serve
  [[ $(wc -l <"$work/out") == "$lines" ]] || { echo "lines are missing" >&2; exit 1; }
done

touch "$work/hq"
awk -v h="$(median hq)" -v x="$(median xargs)" -v r="$(median run)" -v p="$(median parallel)" -v s="$(median serve)" 'BEGIN {
  print "| what | tasks/s |"
  print "|---|---|"
  printf "| `xargs -P2 -n1 true` | %.0f |\n| `chargehand run --local 2 --exec true` | %.0f |\n", x, r
  printf "| `parallel -j2 true` | %.0f |\n| `chargehand run --local 2 --serve`, Python, 256 in flight | %.0f |\n", p, s
  if (h) printf "| HyperQueue 0.27, a job on a worker of 2 cores, each task `true` | %.0f |\n", h
  printf "\nprocesses: %.2f times the time of xargs; lines: %.0f times the rate of parallel\n", x / r, s / p
  if (h) printf "processes: %.1f times the rate of HyperQueue\n", r / h
}'
