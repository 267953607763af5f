#!/usr/bin/env bash
# The checks of this repository, by stage: `ci.sh STAGE...`, `ci.sh all`, `ci.sh install`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec </dev/null

# Cheapest failure first.
STAGES=(readme fmt msrv clippy no-std docs semver features deny package bare-metal platforms wasm test sim planted autobahn examples
  status loom fuzz firmware instructions bench backfill anvil)
STAGE_SECONDS_MAX=2400
# Most tests wait for a time to pass, so more of them run at once than there are processors.
TEST_THREADS=${RUST_TEST_THREADS:-6}
# The two commands for a fresh machine. README and CONTRIBUTING name the same.
MAIN_JOB='cargo run --release --example backfill'
TEST='bash ci.sh test'

ANVIL_VERSION=1.7.1
CARGO_HACK_VERSION=0.6.46
LLVM_COV_VERSION=0.9.1
MUTANTS_VERSION=27.1.0
PLAYWRIGHT_VERSION=1.65.1
CARGO_DENY_VERSION=0.20.2
KOSOKU_VERSION=0.1.0
SEMVER_CHECKS_VERSION=0.51.0
# The `rust-version` of Cargo.toml, which Debian has beside a newer one.
MSRV=1.85
MSRV_DEBIAN=1.85.0+dfsg3-1~deb12u3
BARE_METAL_TARGETS=(thumbv6m-none-eabi thumbv7m-none-eabi thumbv7em-none-eabihf)
PLATFORM_TARGETS=(x86_64-pc-windows-msvc aarch64-apple-darwin)
# What is published: the name of each crate, and its folder.
declare -A CRATES=([chargehand]=. [chargehand-core]=core
  [chargehand-sockets]=sockets [chargehand-transport-unix]=transport-unix [chargehand-status]=status [chargehand-otel]=otel
  [chargehand-cli]=cli
  [chargehand-runtime-smol]=runtime-smol [chargehand-runtime-tokio]=runtime-tokio
  [chargehand-transport-serial]=transport-serial [chargehand-transport-tcp]=transport-tcp
  [chargehand-transport-tls]=transport-tls [chargehand-transport-ws]=transport-ws)
# The facade's features that only hand on an adapter.
ADAPTERS=serial,tcp,tls,members,unix,ws,tokio,smol
# The last commit that changed this file has the public API that the stage `semver` compares with.
SEMVER_BASELINE=.ci/semver-baseline

target=${CARGO_TARGET_DIR:-$PWD/target}
anvil_dir=$target/anvil
# The program itself rather than its launcher, so that a script can stop it by its process id.
export ANVIL=${ANVIL:-$anvil_dir/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil}
export PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH

# shellcheck source=.ci/install.sh
. .ci/install.sh

# The commands that the pages name are the ones that are run here, and what they point at is there.
stage_readme() {
  local page
  for page in README.md CONTRIBUTING.md; do
    grep -qxE "$TEST( +#.*)?" "$page" || fail "$page does not name the test command: $TEST"
  done
  grep -qxE "$MAIN_JOB( +#.*)?" README.md || fail "README.md does not name the main job: $MAIN_JOB"
  grep -qx 'bash ci.sh all' .ci/run || fail ".ci/run does not run every stage"
  [[ " ${STAGES[*]} " == *' test '*' backfill '* ]] || fail "not every stage is in \`all\`"
  local tool=(--locked --manifest-path tools/doc-paths/Cargo.toml --target-dir "$target/doc-paths")
  cargo test --quiet "${tool[@]}"
  cargo run --quiet "${tool[@]}" || fail "a page names what is not there"
  python3 tools/keyed_vectors.py docs/PROTOCOL.md || fail "test vectors of links with a key are wrong"
}

stage_fmt() {
  cargo fmt --all --check
  cargo fmt --check --manifest-path tools/no-std-check/Cargo.toml
  cargo fmt --check --manifest-path tools/no-std-facade/Cargo.toml
  cargo fmt --check --manifest-path tools/doc-paths/Cargo.toml
  cargo fmt --check --manifest-path examples/embedded/Cargo.toml
  cargo fmt --check --manifest-path examples/embedded-pool/Cargo.toml
  cargo fmt --check --manifest-path bench/peers/Cargo.toml
  cargo fmt --check --manifest-path fuzz/Cargo.toml
  cargo fmt --check --manifest-path tools/loom/Cargo.toml
}

# Builds what is published with the oldest Rust that it is said to need. What only the repository
# needs (tests, examples, benchmarks) may want a newer one. So does the command, by what draws its terminal; no Rust of
# its version is at hand, so that is shown by what its dependencies say, and by clippy, which knows since when what of the
# standard library is there.
stage_msrv() {
  grep -qx "rust-version = \"$MSRV\"" Cargo.toml || fail "rust-version is not $MSRV, which is built here"
  install_msrv
  local packages=(-p chargehand -p chargehand-core)
  msrv build --locked --target-dir "$target/msrv" "${packages[@]}" --all-features
  msrv build --locked --target-dir "$target/msrv" "${packages[@]}"
  msrv build --locked --target-dir "$target/msrv" -p chargehand --no-default-features --features alloc
  cargo metadata --locked --all-features --filter-platform x86_64-unknown-linux-gnu --format-version 1 |
    python3 tools/rust_versions.py chargehand-cli
  cargo clippy -p chargehand-cli -- -D clippy::incompatible_msrv
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
    [[ $name != no-std-check ]] || cargo build --release "${tool[@]}" --features sealed
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
  # One profile for both workspaces, so that Rust's own core is built once a target; that it builds is all that matters.
  export CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_OPT_LEVEL=0
  at_once for_bare_metal "${BARE_METAL_TARGETS[@]}"
}

for_bare_metal() {
  local t=$1 dir=$target/bare-metal/$1 log=$target/bare-metal/$1/with-alloc.log
  local check=(--release --locked --target "$t" -Zbuild-std=core --target-dir "$dir"
    --manifest-path tools/no-std-check/Cargo.toml)
  local library=(--release --locked --target "$t" -Zbuild-std=core,alloc --target-dir "$dir")
  bare_metal build "${check[@]}"
  bare_metal build "${check[@]}" --features sealed
  if bare_metal build "${check[@]}" --features alloc >"$log" 2>&1; then
    fail "core with alloc builds for $t where there is no alloc, so the build checks nothing"
  fi
  grep -q "can't find crate for \`alloc\`" "$log" || { cat "$log"; fail "alloc: another reason"; }
  bare_metal build "${library[@]}" -p chargehand-core --features alloc
  [[ $t == thumbv6m-* ]] || bare_metal build "${library[@]}" -p chargehand \
    --no-default-features --features alloc,json,keyed
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

# The second time as docs.rs does it, with the features that each item needs.
stage_docs() {
  RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features
  RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS='--cfg docsrs -D warnings' cargo doc --workspace \
    --exclude chargehand-bench --exclude chargehand-sim --no-deps --all-features --target-dir "$target/docsrs"
  local feature
  for feature in blocking json keyed record testing; do
    grep -rqE "crate feature[^.]*<code>$feature</code>" "$target/docsrs/doc/chargehand" ||
      fail "no item says that it needs the feature $feature"
  done
}

# Compares the public API with the baseline's: what breaks users fails, unless the version says so.
stage_semver() {
  git diff --quiet HEAD -- "$SEMVER_BASELINE" || {
    echo "the baseline is being renewed: commit $SEMVER_BASELINE with the change"
    return
  }
  [[ $(git rev-parse --is-shallow-repository) == false ]] || fail "needs the whole history: git fetch --unshallow"
  local dir=$target/semver base crate name
  base=$(git log -1 --format=%H -- "$SEMVER_BASELINE")
  [[ -n $base ]] || fail "no commit has $SEMVER_BASELINE"
  rm -rf "$dir/base"
  mkdir -p "$dir/base"
  git archive "$base" | tar x -C "$dir/base"
  api_of "$dir/base" "$dir/old"
  api_of . "$dir/new"
  for crate in "${!CRATES[@]}"; do
    name=${crate//-/_}.json
    echo "--- $crate, since ${base:0:10}"
    # A crate that the baseline has not has nothing to break.
    [[ ! -f $dir/old/$name ]] || cargo semver-checks --baseline-rustdoc "$dir/old/$name" \
      --current-rustdoc "$dir/new/$name" || fail "$crate breaks its users. Raise the version, or, before
the first release, say so in CHANGELOG.md and renew the baseline: bash ci.sh semver-baseline"
  done
}

# Writes the public API of the published crates in $1 as JSON into the folder $2.
api_of() {
  local flags='-Zunstable-options --output-format=json --document-hidden-items --cap-lints=allow'
  # Where the stage `docs` has built what they depend on. Cargo takes crates of the same name for the same, wherever
  # they are.
  rm -rf "$2" "$target"/docsrs/doc/*.json "$target"/docsrs/debug/.fingerprint/chargehand*
  (cd "$1" && RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS=$flags cargo doc --lib --workspace \
    --exclude chargehand-cli --exclude chargehand-bench --exclude chargehand-sim --no-deps --all-features --target-dir "$target/docsrs")
  mkdir -p "$2"
  mv "$target"/docsrs/doc/*.json "$2"
}

# Makes the present API the one to compare with, from the commit on that has the file.
semver-baseline() {
  echo "Renewed at $(date -u +%FT%TZ), after $(git log -1 --format='%h (%s)')." >"$SEMVER_BASELINE"
  echo "commit $SEMVER_BASELINE together with the change to the API"
}

# What is unused in one combination only fails, as clippy's findings do in the stage of that name. Of core's features up
# to three together; of the facade's each pair of those that have code of their own, and each of those that only hand on
# an adapter. It needs `std` or `alloc`, and says so where it has neither. One crate after the other keeps one processor
# busy, so there are two halves, each with a folder of its own.
stage_features() {
  local feature
  at_once half_of_features 1 2
  ! grep -hB20 '^warning: `chargehand' "$target"/half_of_features-[12].log || fail "features: warnings"
  cat "$target"/half_of_features-[12].log | grep -c '^info: running'
  cargo clippy -p chargehand-core --all-features -- -D warnings
  cargo clippy -p chargehand-core --features defmt -- -D warnings
  for feature in ${ADAPTERS//,/ }; do
    # But for what a doc test or a target is about, and the WebSocket listener of the JSON dialect.
    ! grep -rlE "feature = \"$feature\"" src | grep -vxE 'src/(lib|payload/json_heights)\.rs' ||
      fail "$feature has code in the facade: it belongs among the pairs"
  done
  local log=$target/bare-facade.log
  if cargo check -p chargehand --no-default-features >"$log" 2>&1; then
    fail "chargehand builds without std and without alloc"
  fi
  grep -q '^error: chargehand needs its feature `std`' "$log" || { cat "$log"; fail "another reason"; }
}

# `defmt` adds derives and nothing else, so once with all others will do: it would double their number.
half_of_features() {
  local hack=(cargo hack check --partition "$1/2")
  # What they say is looked at.
  export CARGO_TERM_COLOR=never
  [[ $1 == 1 ]] || export CARGO_TARGET_DIR=$target/features
  "${hack[@]}" -p chargehand-core --feature-powerset --depth 3 --exclude-features defmt
  "${hack[@]}" -p chargehand --feature-powerset --depth 2 --at-least-one-of std,alloc \
    --exclude-features "$ADAPTERS,default"
  "${hack[@]}" -p chargehand --each-feature --include-features "$ADAPTERS"
}

stage_deny() {
  # Of every crate of the workspace, not of the root package alone.
  cargo deny --workspace --all-features check bans licenses sources
  # What each dependency was when it was taken in: its checksum, its unsafe code, what of it runs as it is built.
  python3 tools/supply.py check supply.txt
}

# Takes the present dependencies into the record, once somebody has looked at what changes in it.
supply-record() {
  python3 tools/supply.py record supply.txt
  git --no-pager diff --stat -- supply.txt
}

# What each published crate is made of, for its release, and the sums of the packages.
release-lists() {
  local out=$target/release-lists crate
  python3 tools/supply.py sbom "$out"
  for crate in "${!CRATES[@]}"; do
    (cd "$target/package" && sha256sum "$crate"-[0-9]*.crate)
  done | sort -k2 >"$out/SHA256SUMS"
  cat "$out/SHA256SUMS"
}

# What is published can be packaged, has what a registry shows and nothing else, is as small as
# CONTRIBUTING.md says, and can be built and tested outside the tree, the packages on each other.
stage_package() {
  # Without cargo's own check, which is a weaker one than what follows, and takes a package of an earlier
  # run for that of today, since the version is the same.
  local package=(cargo package --workspace --exclude chargehand-bench --exclude chargehand-sim
    --exclude chargehand-http-examples --allow-dirty --no-verify)
  "${package[@]}"
  # Twice, and both are the same, byte for byte: so whoever has the sources can see that a package is made of them.
  "${package[@]}" --target-dir "$target/packaged-again"
  local name
  for name in "${!CRATES[@]}"; do
    cmp "$target/package/$name"-[0-9]*.crate "$target/packaged-again/package/$name"-[0-9]*.crate ||
      fail "the package of $name differs from one making to the next"
  done
  local out crate file unpacked
  out=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$out'" EXIT
  {
    echo '[workspace]'
    echo 'members = ["*"]'
    echo 'resolver = "3"'
    # The same profiles, without which tests of what is calculated take several times as long.
    sed -n '/^\[profile\.dev/,/^$/p' Cargo.toml
    echo '[patch.crates-io]'
  } >"$out/Cargo.toml"
  for crate in "${!CRATES[@]}"; do
    file=$(echo "$target/package/$crate"-[0-9]*.crate)
    check_package "$crate" "$file"
    # As new: cargo would take what an earlier run built for it otherwise.
    tar xzmf "$file" -C "$out"
    unpacked=$(basename "$file" .crate)
    echo "$crate = { path = \"$unpacked\" }" >>"$out/Cargo.toml"
  done
  cp Cargo.lock "$out"
  (
    cd "$out"
    # Where the other stages find what these have in common with the workspace.
    export CARGO_TARGET_DIR=$target
    RUST_TEST_THREADS=$TEST_THREADS cargo test --workspace --all-features --no-fail-fast
    cargo build --workspace --all-features --examples
  )
}

# The limit of each package is in CONTRIBUTING.md's table, in KiB.
check_package() {
  local crate=$1 file=$2 limit bytes extra key
  limit=$(sed -nE "s/^\| \`$crate\` \| ([0-9]+) KiB \|$/\1/p" CONTRIBUTING.md)
  [[ -n $limit ]] || fail "CONTRIBUTING.md has no limit for the size of $crate"
  bytes=$(stat -c %s "$file")
  echo "$crate: $((bytes / 1024)) KiB of $limit"
  ((bytes <= limit * 1024)) || fail "$crate has grown beyond $limit KiB"
  extra=$(tar tzf "$file" | grep -vE '/(src|examples)/.*\.rs$|/top/recorded\.json$|/page/[a-z]+\.(html|css|js|svg)$|/(dashboards|alerts)/chargehand\.[a-z.]+$|/docs/(FROM_GO|PORTING|TESTING)\.md$' |
    grep -vE '/(README\.md|CHANGELOG\.md|LICENSE-(APACHE|MIT)|Cargo\.(toml(\.orig)?|lock)|\.cargo_vcs_info\.json)$' || true)
  [[ -z $extra ]] || fail "$crate has in its package what users do not need: $extra"
  for key in README.md LICENSE-APACHE LICENSE-MIT 'src/(lib|main).rs'; do
    tar tzf "$file" | grep -E "/$key$" >/dev/null || fail "$crate has no $key in its package"
  done
  local manifest
  manifest=$(tar xzOf "$file" --wildcards '*/Cargo.toml')
  for key in description documentation readme repository license rust-version 'keywords' categories; do
    grep -E "^$key = ." <<<"$manifest" >/dev/null || fail "$crate has no $key"
  done
  grep -A1 -xF '[package.metadata.docs.rs]' <<<"$manifest" | grep -x 'all-features = true' >/dev/null ||
    fail "$crate does not show all features on docs.rs"
}

# The libraries, with all features that the system has (Unix domain sockets are for Unix) and that need no C
# compiler for it (the crypto provider of `members` does), and the examples
# that are not made for Unix, on systems that this machine is not. The main job is: its signals, terminal and locks are those of Unix.
stage_platforms() {
  at_once platform "${PLATFORM_TARGETS[@]}"
}

platform() {
  local t=$1 features=blocking,json,keyed,record,serial,smol,std,tcp,testing,tls,tokio,tracing,ws
  local examples=(--example quickstart_tokio --example quickstart_smol --example custom_runtime --example worker)
  local check=(--locked --target "$t" -Zbuild-std --target-dir "$target/platforms/$t")
  [[ $t == *windows* ]] || features+=,unix
  bare_metal check "${check[@]}" --all-features -p chargehand-core
  bare_metal check "${check[@]}" --features "$features" -p chargehand --lib "${examples[@]}"
}

# Not part of `all`: it fetches the advisory database, and its answer changes without any commit.
stage_advisories() {
  cargo deny --workspace --all-features check advisories
}

# With what the tests need, so that this is the only command on a fresh machine.
stage_test() {
  install_test
  export RUST_TEST_THREADS=$TEST_THREADS STRESS_SECONDS=${STRESS_SECONDS:-60}
  local tests=(cargo test --workspace --all-features --no-fail-fast) long=the_engine_does_what_the_naive_model_does
  "${tests[@]}" --no-run
  # It calculates for a minute, most of the others wait for a time to pass: so it goes on beside them and gives way.
  nice -n 19 "${tests[@]}" --test equals_model -- "$long" >"$target/equals-model.log" 2>&1 &
  local model=$! failed=
  "${tests[@]}" -- --skip "$long" || failed=yes
  wait "$model" || failed=yes
  cat "$target/equals-model.log"
  grep -q '^test result: ok. 1 passed' "$target/equals-model.log" || fail "the engine beside its model"
  [[ -z $failed ]] || fail "tests"
}

# What must hold whatever the bytes: over the inputs that are kept, and over new ones for $FUZZ_SECONDS (10)
# a target. The flags are those of cargo-fuzz, without its sanitizer: there is no `unsafe` to watch.
stage_fuzz() {
  local manifest=(--locked --manifest-path fuzz/Cargo.toml --target-dir "$target/fuzz")
  cargo test "${manifest[@]}"
  FUZZ_TRIPLE=$(rustc -vV | sed -n 's/^host: //p')
  RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares' \
    cargo build --release --features fuzzer --bins --target "$FUZZ_TRIPLE" "${manifest[@]}"
  export FUZZ_TRIPLE target
  export -f fuzz_target fail
  # Each keeps one processor busy.
  find fuzz/corpus -mindepth 1 -maxdepth 1 -printf '%f\n' | sort |
    xargs -P "$(nproc)" -I{} bash -c 'fuzz_target {}' || fail "a target of fuzzing"
}

fuzz_target() {
  # What is new goes there, and what fails stays there.
  local name=$1 found=$target/fuzz/found/$1
  mkdir -p "$found"
  "$target/fuzz/$FUZZ_TRIPLE/release/$name" -max_total_time="${FUZZ_SECONDS:-10}" -max_len=600 -timeout=20 \
    -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 -artifact_prefix="$found-" "$found" "fuzz/corpus/$name" \
    >"$found.log" 2>&1 || {
    tail -40 "$found.log"
    fail "$name: keep the input in fuzz/corpus/$name, and mend what it shows"
  }
  echo "$name: $(grep -oP 'executed_units: +\K\d+' "$found.log") inputs, nothing found"
}

# Every order in which threads can wake a driver, and in which callers and it can leave things for each other, on
# the library's own files; steps in the wrong order are found.
stage_loom() {
  RUSTFLAGS='--cfg loom' cargo test --locked --manifest-path tools/loom/Cargo.toml --target-dir "$target/loom"
}

# Not part of `all`: what the tests do anyway, for longer and with more seeds.
stage_soak() {
  # One at a time: each has the machine to itself, and shows what it did.
  CHAOS_SECONDS=60 cargo test --all-features --test trials chaos -- --nocapture --test-threads=1
  KILLS=50 cargo test --all-features --test trials kills -- --nocapture --test-threads=1
  STORM_WORKERS=1000 STORM_SECONDS=10 cargo test --all-features --test trials storms -- \
    --nocapture --test-threads=1
  WORLDS=10000 RUNS=30000 cargo test --release -p chargehand-core --all-features \
    --test simulation --test equals_model
  WORLDS=10000 cargo test --release --all-features --test random_ranges
  STATES=3000000 cargo test --release -p chargehand-core --all-features --lib all_states -- \
    --nocapture --test-threads=1
  STRESS_SECONDS=600 cargo test --release --all-features --test stress -- --nocapture
  FUZZ_SECONDS=600 stage_fuzz
  # As many again each time, and the figures add up.
  local state=$target/sim-soak
  cargo run --release -p chargehand-sim -- --seeds 1000000000 --seconds 300 --state "$state"
}

# The scheduler alone beside its model; then whole pools under faults: every seed that ever failed and was mended, both
# with judgement of workers and, as some of them failed, without; the first 9,000; and for $FRESH_SECONDS (60) those that
# nobody has run before. It prints the first of these and, where one fails, what happens in the least of it that does, and
# the command that runs that again. Its own tests are in the stage `test`.
stage_sim() {
  simulator
  "$target/simulator" --core --seeds 5000 --jobs 2
  "$target/simulator" --file sim/seeds.txt --seeds 0 --plain --any --jobs 2
  "$target/simulator" --file sim/seeds.txt --seeds 9000 --jobs 2
  "$target/simulator" --seconds "${FRESH_SECONDS:-60}" --jobs 2
}

# Builds the simulator for this stage and the next one: it can make mistakes, and makes none unless it is told to. The
# flag is for our own crates only, so that nothing else is built once more.
simulator() {
  local crate flag=(-Zprofile-rustflags)
  for crate in chargehand chargehand-core chargehand-sim; do
    flag+=(--config "profile.release.package.$crate.rustflags=['--cfg', 'chargehand_planted']")
  done
  RUSTC_BOOTSTRAP=1 cargo build --release -p chargehand-sim "${flag[@]}"
  cp "$target/release/chargehand-sim" "$target/simulator"
}

# Small mistakes in core, one at a time, each of which some test must find: days for all of them. So it goes on where
# it was stopped, and `MUTANTS_SHARD=0/8` does one part in eight. `.cargo/mutants.toml` says which files, and which
# mistakes no test can find. `MUTANTS_OF=core/src/backoff.rs` makes those of which that is a part of the name.
stage_mutants() {
  have cargo-mutants || install_tool "cargo-mutants@$MUTANTS_VERSION"
  local some=()
  [[ -z ${MUTANTS_SHARD:-} ]] || some+=(--shard "$MUTANTS_SHARD")
  [[ -z ${MUTANTS_OF:-} ]] || some+=(--re "$MUTANTS_OF")
  mkdir -p "$target/mutants"
  # Fewer runs at random than by themselves: what they are to find is found in the first few, or by a test of its own.
  RUNS=400 WORLDS=60 CARGO_PROFILE_DEV_DEBUG=0 cargo mutants --package chargehand-core \
    --iterate --output "$target/mutants" --no-shuffle "${some[@]}"
}

# Which lines the tests come by: of core at least 95 in 100, of the facade 90. It builds everything once more.
# rustc writes what an LLVM of its own version reads, which Debian has as a package.
stage_coverage() {
  have cargo-llvm-cov || install_tool "cargo-llvm-cov@$LLVM_COV_VERSION"
  local version bin out=$target/coverage crate least
  version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  bin=/usr/lib/llvm-$version/bin
  [[ -x $bin/llvm-cov ]] || install_packages "llvm-$version"
  export LLVM_COV=$bin/llvm-cov LLVM_PROFDATA=$bin/llvm-profdata CARGO_LLVM_COV_TARGET_DIR=$out
  for crate in chargehand-core:95 chargehand:90; do
    IFS=: read -r crate least <<<"$crate"
    # Each on its own, so that what is said of core is what its own tests do.
    cargo llvm-cov clean --workspace
    cargo llvm-cov --package "$crate" --all-features --no-report
    cargo llvm-cov report --package "$crate" --json --summary-only --output-path "$out/$crate.json"
    python3 tools/coverage.py "$out/$crate.json" "${CRATES[$crate]}/src" "$least"
  done
}

# Real faults of networks between real processes, in namespaces of their own: 35 s. Not part of `all`: it needs root.
stage_network() {
  cargo test --all-features --test real_network
}

# Autobahn's cases against both ends of WebSocket, in both dialects, played by a Python package of that name.
stage_autobahn() {
  install_autobahn
  AUTOBAHN_PYTHON=$target/autobahn/bin/python cargo test --workspace --all-features --test autobahn
}

# Each mistake that is planted in the scheduler and the driver, one at a time in one build, makes the
# simulator fail within a minute: most within a second.
stage_planted() {
  simulator
  local sim=$target/simulator name names count=0 code
  "$sim" --seeds 2000 --any >/dev/null || fail "the simulator fails where nothing is planted"
  names=$(grep -rhoE 'planted\("[^"]*"\)' core/src src | sed -E 's/.*"(.*)".*/\1/' | sort -u)
  while read -r name; do
    code=0
    CHARGEHAND_PLANTED=$name timeout 60 "$sim" --seeds 20000 --any --first >"$target/planted.log" || code=$?
    ((code == 1)) || fail "not found: $name (exit code $code)"
    echo "found: $name ($(grep '^failed' "$target/planted.log"))"
    count=$((count + 1))
  done <<<"$names"
  ((count >= 12)) || fail "only $count mistakes are planted"
}

# The short ones. Without standard input, the worker stops as soon as it serves.
stage_examples() {
  local example
  for example in quickstart_tokio quickstart_smol custom_runtime worker; do
    timeout 120 cargo run --example "$example"
  done
  timeout 120 cargo run --example members --features members
  # Their dependencies are no business of the library's, so they are a package of their own.
  for example in axum_route hyper_route; do
    timeout 120 cargo run -p chargehand-http-examples --bin "$example"
  done
  # As the tests have built them.
  cargo build --workspace --all-features --example page --example metrics --example systemd
  for example in page metrics systemd; do
    timeout 120 "$target/debug/examples/$example"
  done
}

# The page in Chromium, and metrics, dashboard and rules with Prometheus. The screenshots are there to be looked at.
stage_status() {
  install_status
  # Of the whole workspace, so that nothing is built that the stage `test` has not.
  cargo test --workspace --all-features --test browser --test prometheus -- --nocapture
  ls -l "$target"/status-screenshots/*.png
}

# The firmware's warnings and sizes, its manager against the host's, its workers in pools of ours, and
# a pool with its workers in one firmware, in QEMU.
stage_firmware() {
  local dir=$target/firmware elf=$target/firmware/thumbv7m-none-eabi/release
  # Beside the rest, since each is linked as a whole, by one processor.
  CARGO_TARGET_DIR=$target examples/embedded/sizes.sh check >"$target/sizes.log" 2>&1 &
  local sizes=$!
  # shellcheck disable=SC2064
  trap "kill $sizes 2>/dev/null || true" EXIT
  # In their folders, where their configuration is.
  (cd examples/embedded && bare_metal_clippy --target-dir "$dir" --features paint-stack,sealed)
  (cd examples/embedded-pool && bare_metal_clippy --target-dir "$target/firmware-pool")
  (cd examples/embedded && bare_metal build --release --locked --target-dir "$dir" --features sealed)
  (cd examples/embedded-pool && bare_metal build --release --locked --target-dir "$target/firmware-pool")
  wait "$sizes" || { cat "$target/sizes.log"; fail "sizes"; }
  cat "$target/sizes.log"
  trap - EXIT
  cargo run --example firmware_traces >"$dir/host.txt"
  in_qemu "$elf/manager" >"$dir/firmware.txt"
  diff "$dir/host.txt" "$dir/firmware.txt" || fail "a manager on a Cortex-M3 decides otherwise"
  [[ $(wc -l <"$dir/firmware.txt") == 100 ]] || fail "the firmware did not run 100 worlds"
  cargo run --example firmware_worker -- "$elf/worker"
  cargo run --example firmware_worker -- --keyed "$elf/keyed-worker"
  cargo run --example firmware_heartbeat -- --watchful "$elf/embassy" \
    "$elf/worker" "$elf/interrupts" "$elf/embassy"
  # It checks itself.
  in_qemu "$target/firmware-pool/thumbv7m-none-eabi/release/firmware-pool" mps2-an385
}

stage_instructions() {
  cargo run --release -p chargehand-bench -- instructions --check
}

# That everything can be measured, not how fast it is: CI machines are too busy for that. The clients
# of other systems are no part of the workspace, so that nobody else builds or audits them.
stage_bench() {
  cargo clippy --manifest-path bench/peers/Cargo.toml --target-dir "$target" -- -D warnings
  # As `peers` builds them.
  cargo test --release --manifest-path bench/peers/Cargo.toml --target-dir "$target"
  local short=(--rounds 1 --seconds 0.1)
  cargo run --release -p chargehand-bench -- throughput --only 4x64 "${short[@]}"
  cargo run --release -p chargehand-bench -- latency --only 'one core each' "${short[@]}"
  cargo run --release -p chargehand-bench -- peers "${short[@]}"
  cargo run --release -p chargehand-bench -- scale "${short[@]}"
  # A range by window, by choice, and by dask.distributed and Celery.
  cargo run --release -p chargehand-bench -- mixed --only 'a range, one of 8' "${short[@]}"
  cargo run --release -p chargehand-bench -- tls --only 'come back' "${short[@]}"
  # As the tests have built it.
  CHARGEHAND=$target/debug/chargehand bash bench/cli.sh 200 20000 1
}

stage_backfill() {
  $MAIN_JOB
}

stage_anvil() {
  bash tests/anvil.sh
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

# Cargo and rustc of the oldest version.
msrv() {
  local bin=$target/rust-$MSRV/usr/bin
  LD_LIBRARY_PATH=$target/rust-$MSRV/usr/lib/x86_64-linux-gnu RUSTC=$bin/rustc RUSTDOC=$bin/rustdoc \
    "$bin/cargo" "$@"
}

# Clippy of the same version. Not as `cargo clippy`, which would find another one first.
bare_metal_clippy() {
  CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo-clippy clippy \
    --release --locked "$@" -- -D warnings
}

# Runs a function of ours once for each argument, all at the same time, and shows what those said that failed.
at_once() {
  local run=$1 argument pids=() failed=()
  mkdir -p "$target"
  shift
  for argument; do
    "$run" "$argument" >"$target/$run-$argument.log" 2>&1 &
    pids+=($!)
  done
  for argument; do
    wait "${pids[0]}" || failed+=("$argument")
    pids=("${pids[@]:1}")
  done
  for argument in "${failed[@]}"; do cat "$target/$run-$argument.log"; done
  ((${#failed[@]} == 0)) || fail "$run: ${failed[*]}"
}

# Runs firmware that ends by itself, on a machine of that name.
in_qemu() {
  timeout 120 qemu-system-arm -M "${2:-lm3s6965evb}" -cpu cortex-m3 -nographic \
    -semihosting-config enable=on,target=native -kernel "$1"
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

(($#)) || fail "usage: ci.sh install | all | semver-baseline | supply-record | release-lists | STAGE..., where STAGE is one of: ${STAGES[*]} advisories soak network mutants coverage"
for stage in "$@"; do
  case " install all semver-baseline supply-record release-lists advisories soak network mutants coverage ${STAGES[*]} " in
    *" $stage "*) ;;
    *) fail "no such stage: $stage" ;;
  esac
  case $stage in
    install | all | semver-baseline | supply-record | release-lists) "$stage" ;;
    *) "stage_$stage" ;;
  esac
done
