#!/usr/bin/env bash
# The backfill example against a real Ethereum node: $ANVIL, which `ci.sh install` fetches.
#
# Mines a chain, backfills it with four worker processes, kills the manager, lets another one go on
# while one worker is killed and one is stopped, and checks every block that came out against the
# node.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${ANVIL:?names the anvil binary; run this as: bash ci.sh anvil}"
BLOCKS=${BLOCKS:-20000}

work=$(mktemp -d)
node=
manager=
cleanup() {
  if [[ -n $manager ]]; then kill -KILL "$manager" 2>/dev/null || true; fi
  if [[ -n $node ]]; then
    # It may stand still.
    kill -TERM "$node" 2>/dev/null || true
    kill -CONT "$node" 2>/dev/null || true
    wait "$node" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT

cargo build --release --example backfill --example node_check
examples=${CARGO_TARGET_DIR:-target}/release/examples

# Mines on request; a block has room for one transfer. Old states are not kept, and later hard forks
# write into a contract for each block, which the node hashes as a whole: with either, mining gets
# slower with every block, and takes minutes instead of seconds.
options=(
  --host 127.0.0.1 --silent --no-mining --gas-limit 42000
  --prune-history --hardfork shanghai
)

# A port that is free now may be taken a moment later: then another one is tried.
for _ in 1 2 3 4 5; do
  # Below the ports that the system gives out by itself.
  port=$((20000 + RANDOM % 12000))
  "$ANVIL" "${options[@]}" --port "$port" >"$work/anvil.log" 2>&1 &
  node=$!
  url=http://127.0.0.1:$port
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    kill -0 "$node" 2>/dev/null || break
    sleep 0.1
  done
  if kill -0 "$node" 2>/dev/null; then break; fi
  node=
done
[[ -n $node ]] || { cat "$work/anvil.log"; echo "FAILED: the node does not start" >&2; exit 1; }

timeout 120 "$examples/node_check" mine "$url" "$BLOCKS"
backfill=("$examples/backfill" --rpc "$url" --range "1..=$BLOCKS" --out "$work/out.jsonl")
backfill+=(--state "$work/state")

# Waits up to a minute.
until_true() {
  for _ in $(seq 3000); do
    if "$@"; then return; fi
    sleep 0.02
  done
  cat "$work/killed.log"
  echo "FAILED: this never came: $*" >&2
  exit 1
}

"${backfill[@]}" >"$work/killed.log" 2>&1 &
manager=$!
until_true test -s "$work/out.jsonl"
# However fast the machine is, it does not end before its state is saved.
kill -STOP "$node"
until_true grep -qs '"done":[1-9]' "$work/state"
kill -KILL "$manager"
kill -CONT "$node"
wait "$manager" 2>/dev/null || true
manager=

timeout 300 "${backfill[@]}" --faults | tee "$work/report"
grep -qE '^of these, [1-9][0-9,]* were done before' "$work/report" \
  || { echo "FAILED: it did not go on where the killed one was" >&2; exit 1; }
# The faults must have struck: otherwise this shows nothing.
grep -qE 'sent again [1-9]' "$work/report" || { echo "FAILED: no attempt was lost" >&2; exit 1; }
timeout 300 "$examples/node_check" verify "$url" "$work/out.jsonl" "$BLOCKS"
