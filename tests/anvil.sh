#!/usr/bin/env bash
# The backfill example against a real Ethereum node: $ANVIL, which `ci.sh install` fetches.
#
# Mines a chain, backfills it with four worker processes of which one is killed and one is stopped
# in the middle, and checks every block that came out against the node.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${ANVIL:?names the anvil binary; run this as: bash ci.sh anvil}"
BLOCKS=${BLOCKS:-20000}

work=$(mktemp -d)
node=
cleanup() {
  if [[ -n $node ]]; then
    kill "$node" 2>/dev/null || true
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
timeout 300 "$examples/backfill" --rpc "$url" --range "1..=$BLOCKS" --faults --out "$work/out.jsonl" \
  | tee "$work/report"
# The faults must have struck: otherwise this shows nothing.
grep -qE 'sent again [1-9]' "$work/report" || { echo "FAILED: no attempt was lost" >&2; exit 1; }
timeout 300 "$examples/node_check" verify "$url" "$work/out.jsonl" "$BLOCKS"
