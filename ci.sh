#!/usr/bin/env bash
# The checks of this repository, by stage: `ci.sh STAGE...`, `ci.sh all`, `ci.sh install`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec </dev/null

# Cheapest failure first.
STAGES=(readme fmt clippy no-std docs features deny bare-metal wasm test examples firmware instructions bench backfill anvil)
STAGE_SECONDS_MAX=1200
# The one test command. The README names the same.
TEST='cargo test --workspace --all-features'

ANVIL_VERSION=1.7.1
CARGO_HACK_VERSION=0.6.46
CARGO_DENY_VERSION=0.20.2
BARE_METAL_TARGETS=(thumbv6m-none-eabi thumbv7m-none-eabi thumbv7em-none-eabihf)

target=${CARGO_TARGET_DIR:-$PWD/target}
anvil_dir=$target/anvil
# The program itself rather than its launcher, so that a script can stop it by its process id.
export ANVIL=${ANVIL:-$anvil_dir/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil}
export PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH

# The README's test command is the one that is run here.
stage_readme() {
  grep -qF "$TEST" README.md || fail "README.md does not name the test command: $TEST"
}

stage_fmt() {
  cargo fmt --all --check
  cargo fmt --check --manifest-path tools/no-std-check/Cargo.toml
  cargo fmt --check --manifest-path tools/no-std-facade/Cargo.toml
  cargo fmt --check --manifest-path examples/embedded/Cargo.toml
  cargo fmt --check --manifest-path examples/embedded-pool/Cargo.toml
  cargo fmt --check --manifest-path bench/peers/Cargo.toml
}

stage_clippy() {
  cargo clippy --workspace --all-targets --all-features -- -D warnings
  cargo clippy -p chargehand-core -- -D warnings
}

# Links core, without features, into a program that has a panic handler of its own and no
# allocator: were std or alloc linked, this would not build. Likewise the pool and the worker, with
# alloc, into one that has an allocator of its own. That neither builds with std is checked too.
stage_no-std() {
  local name
  for name in no-std-check no-std-facade; do
    local tool=(--locked --manifest-path "tools/$name/Cargo.toml" --target-dir "$target/$name")
    cargo clippy --release "${tool[@]}" -- -D warnings
    cargo build --release "${tool[@]}"
    local log="$target/$name/with-std.log"
    if cargo check --release --features std "${tool[@]}" >"$log" 2>&1; then
      fail "$name passes with std linked, so it checks nothing"
    fi
    grep -q 'panic_impl' "$log" || { cat "$log"; fail "$name: std was refused for another reason"; }
  done
}

# Core for the targets that matter: one without compare-and-swap, one without and one with an FPU.
# Without features not even alloc is there to be linked; with the feature alloc it is, and std never.
# The pool and the worker, with alloc, for those that have compare-and-swap.
stage_bare-metal() {
  local dir=$target/bare-metal log=$target/bare-metal/with-alloc.log t
  local check=(--release --locked -Zbuild-std=core --target-dir "$dir/no-heap"
    --manifest-path tools/no-std-check/Cargo.toml)
  for t in "${BARE_METAL_TARGETS[@]}"; do
    bare_metal build --target "$t" "${check[@]}"
    bare_metal build --release --locked --target "$t" -Zbuild-std=core,alloc \
      -p chargehand-core --features alloc --target-dir "$dir/alloc"
    [[ $t == thumbv6m-* ]] || bare_metal build --release --locked --target "$t" \
      -Zbuild-std=core,alloc -p chargehand --no-default-features --features alloc,json \
      --target-dir "$dir/alloc"
  done
  if bare_metal build --target "$t" "${check[@]}" --features alloc >"$log" 2>&1; then
    fail "core with alloc builds for $t where there is no alloc, so the build checks nothing"
  fi
  grep -q "can't find crate for \`alloc\`" "$log" || { cat "$log"; fail "alloc: another reason"; }
}

# What runs in a browser: the facade with std and the transports that need no system, and one error for
# the one that does.
stage_wasm() {
  local check=(check --locked --target wasm32-unknown-unknown -Zbuild-std=std,panic_abort
    --target-dir "$target/wasm" -p chargehand --no-default-features)
  local log=$target/wasm/ws.log
  bare_metal "${check[@]}" --features std,json,tcp,serial
  if bare_metal "${check[@]}" --features std,ws >"$log" 2>&1; then
    fail "ws builds for WebAssembly, where it cannot work"
  fi
  grep -q "implement.*over the browser's own" "$log" || { cat "$log"; fail "ws: another reason"; }
  [[ $(grep -c '^error' "$log") == 2 ]] || { cat "$log"; fail "ws: more than one error"; }
}

stage_docs() {
  RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features
}

# Clippy rather than check: it also finds what is unused in one combination only. All
# combinations of core; for the facade, which has 500, each feature alone and each pair.
stage_features() {
  cargo hack clippy -p chargehand-core --feature-powerset -- -D warnings
  cargo hack clippy -p chargehand --feature-powerset --depth 2 -- -D warnings
}

stage_deny() {
  cargo deny --all-features check bans licenses sources
}

# Not part of `all`: it fetches the advisory database, and its answer changes without any commit.
stage_advisories() {
  cargo deny --all-features check advisories
}

stage_test() {
  $TEST
}

# Not part of `all`: what the tests do anyway, for longer and with more seeds.
stage_soak() {
  # One at a time: each has the machine to itself, and shows what it did.
  CHAOS_SECONDS=60 cargo test --all-features --test trials chaos -- --nocapture --test-threads=1
  WORLDS=10000 RUNS=30000 cargo test --release -p chargehand-core --all-features \
    --test simulation --test equals_model
  WORLDS=10000 cargo test --release --all-features --test random_ranges
}

# The short ones. Without standard input, the worker stops as soon as it serves.
stage_examples() {
  local example
  for example in quickstart_tokio quickstart_smol custom_runtime worker; do
    timeout 120 cargo run --example "$example"
  done
  # Their dependencies are no business of the library's, so they are a package of their own.
  for example in axum_route hyper_route; do
    timeout 120 cargo run -p chargehand-http-examples --bin "$example"
  done
}

# The firmware's warnings and sizes, its manager against the host's, its workers in pools of ours, and
# a pool with its workers in one firmware, in QEMU.
stage_firmware() {
  local dir=$target/firmware elf=$target/firmware/thumbv7m-none-eabi/release
  (cd examples/embedded && bare_metal_clippy --target-dir "$dir" --features paint-stack)
  (cd examples/embedded-pool && bare_metal_clippy --target-dir "$target/firmware-pool")
  CARGO_TARGET_DIR=$target examples/embedded/sizes.sh check
  # In its folder, where its configuration is.
  (cd examples/embedded && bare_metal build --release --locked --target-dir "$dir")
  cargo run --example firmware_traces >"$dir/host.txt"
  in_qemu "$elf/manager" >"$dir/firmware.txt"
  diff "$dir/host.txt" "$dir/firmware.txt" || fail "a manager on a Cortex-M3 decides otherwise"
  [[ $(wc -l <"$dir/firmware.txt") == 100 ]] || fail "the firmware did not run 100 worlds"
  cargo run --example firmware_worker -- "$elf/worker"
  cargo run --example firmware_heartbeat -- --watchful "$elf/embassy" \
    "$elf/worker" "$elf/interrupts" "$elf/embassy"
  # Likewise in its folder; it checks itself.
  (cd examples/embedded-pool && bare_metal build --release --locked --target-dir "$target/firmware-pool")
  in_qemu "$target/firmware-pool/thumbv7m-none-eabi/release/firmware-pool"
}

stage_instructions() {
  cargo run --release -p chargehand-bench -- instructions --check
}

# That everything can be measured, not how fast it is: CI machines are too busy for that. The clients
# of other systems are no part of the workspace, so that nobody else builds or audits them.
stage_bench() {
  cargo clippy --manifest-path bench/peers/Cargo.toml --target-dir "$target" -- -D warnings
  cargo test --manifest-path bench/peers/Cargo.toml --target-dir "$target"
  local short=(--rounds 1 --seconds 0.1)
  cargo run --release -p chargehand-bench -- throughput --only 4x64 "${short[@]}"
  cargo run --release -p chargehand-bench -- latency --only 'one core each' "${short[@]}"
  cargo run --release -p chargehand-bench -- peers "${short[@]}"
  cargo run --release -p chargehand-bench -- scale "${short[@]}"
  cargo run --release -p chargehand-bench -- mixed --only 'a range' "${short[@]}"
}

stage_backfill() {
  cargo run --release --example backfill
}

stage_anvil() {
  bash tests/anvil.sh
}

install() {
  local packages=()
  have ip || packages+=(iproute2)
  have npm || packages+=(nodejs npm)
  [[ -x /usr/bin/rustc && -x /usr/bin/cargo && -d /usr/lib/rustlib/src ]] ||
    packages+=(rustc-web cargo-web rust-web-src)
  [[ -x /usr/bin/cargo-clippy ]] || packages+=(rust-web-clippy)
  have ld.lld-22 || packages+=(lld-22)
  have qemu-system-arm || packages+=(qemu-system-arm)
  if ((${#packages[@]})); then
    as_root apt-get update
    as_root apt-get install -y --no-install-recommends "${packages[@]}"
  fi
  bash bench/install.sh
  have cargo-hack || cargo install --locked "cargo-hack@$CARGO_HACK_VERSION"
  have cargo-deny || cargo install --locked "cargo-deny@$CARGO_DENY_VERSION"
  if [[ ! -x $ANVIL ]]; then
    npm install --no-audit --no-fund --ignore-scripts --prefix "$anvil_dir" \
      "@foundry-rs/anvil@$ANVIL_VERSION"
  fi
}

# Each stage in a process of its own, so that one that hangs ends.
all() {
  local stage started
  for stage in "${STAGES[@]}"; do
    echo "=== $stage"
    started=$SECONDS
    timeout "$STAGE_SECONDS_MAX" bash ci.sh "$stage" || fail "stage $stage"
    echo "=== $stage: $((SECONDS - started)) s"
  done
  echo "=== all stages passed in $SECONDS s"
}

# Debian's cargo, which comes with the source of the library and so builds it for any target.
bare_metal() {
  RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 /usr/bin/cargo "$@"
}

# Clippy of the same version. Not as `cargo clippy`, which would find another one first.
bare_metal_clippy() {
  CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo-clippy clippy \
    --release --locked "$@" -- -D warnings
}

# Runs firmware that ends by itself.
in_qemu() {
  timeout 120 qemu-system-arm -M lm3s6965evb -cpu cortex-m3 -nographic \
    -semihosting-config enable=on,target=native -kernel "$1"
}

have() {
  command -v "$1" >/dev/null
}

as_root() {
  if ((EUID == 0)); then DEBIAN_FRONTEND=noninteractive "$@"; else sudo "$@"; fi
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

(($#)) || fail "usage: ci.sh install | all | STAGE..., where STAGE is one of: ${STAGES[*]} advisories soak"
for stage in "$@"; do
  case " install all advisories soak ${STAGES[*]} " in
    *" $stage "*) ;;
    *) fail "no such stage: $stage" ;;
  esac
  case $stage in
    install | all) "$stage" ;;
    *) "stage_$stage" ;;
  esac
done
