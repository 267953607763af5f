# What `ci.sh` needs and a machine lacks: `ci.sh` reads this, and has the versions.
# shellcheck shell=bash

install() {
  install_test
  install_msrv
  local packages=()
  have npm || packages+=(nodejs npm)
  have python3 || packages+=(python3)
  [[ -x /usr/bin/rustc && -x /usr/bin/cargo && -d /usr/lib/rustlib/src ]] ||
    packages+=(rustc-web cargo-web rust-web-src)
  [[ -x /usr/bin/cargo-clippy ]] || packages+=(rust-web-clippy)
  have ld.lld-22 || packages+=(lld-22)
  have qemu-system-arm || packages+=(qemu-system-arm)
  have c++ || packages+=(g++)
  have x86_64-w64-mingw32-dlltool || packages+=(binutils-mingw-w64-x86-64)
  install_packages "${packages[@]}"
  bash bench/install.sh
  have cargo-hack || install_tool "cargo-hack@$CARGO_HACK_VERSION"
  have cargo-deny || install_tool "cargo-deny@$CARGO_DENY_VERSION"
  have cargo-semver-checks || install_tool "cargo-semver-checks@$SEMVER_CHECKS_VERSION"
  if [[ ! -x $ANVIL ]]; then
    npm install --no-audit --no-fund --ignore-scripts --prefix "$anvil_dir" \
      "@foundry-rs/anvil@$ANVIL_VERSION"
  fi
}

# What the tests need beside Rust: Go and its WebSocket library, OpenSSL, Python and Node for real peers, `ip`, and a
# terminal.
install_test() {
  local packages=()
  have cc || packages+=(gcc libc6-dev)
  have ip || packages+=(iproute2)
  have node || packages+=(nodejs)
  have openssl || packages+=(openssl)
  have python3 || packages+=(python3)
  have stunnel || packages+=(stunnel4)
  have tmux || packages+=(tmux)
  have go || packages+=(golang-go)
  [[ -d /usr/share/gocode/src/golang.org/x/net/websocket ]] || packages+=(golang-golang-x-net-dev)
  install_packages "${packages[@]}"
}

# A browser, what drives it, and Prometheus with its tool for rules.
install_status() {
  local packages=()
  have chromium || packages+=(chromium)
  have prometheus || packages+=(prometheus)
  have node || packages+=(nodejs)
  have npm || packages+=(npm)
  install_packages "${packages[@]}"
  [[ -f $target/playwright/node_modules/playwright-core/index.mjs ]] ||
    npm install --no-audit --no-fund --ignore-scripts --prefix "$target/playwright" "playwright-core@$PLAYWRIGHT_VERSION"
}

# In a place of its own, whatever Python packages there are.
install_autobahn() {
  local dir=$target/autobahn
  [[ ! -x $dir/bin/kosoku ]] || return 0
  python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
  python3 -m venv "$dir"
  "$dir/bin/pip" install --quiet "kosoku==$KOSOKU_VERSION"
}

# Debian's Rust of that version, unpacked into the build directory: the newer one stays installed.
install_msrv() {
  local dir=$target/rust-$MSRV
  [[ ! -x $dir/usr/bin/cargo ]] || return 0
  local package packages=()
  for package in libllvm19 libhttp-parser2.9 libpcre3; do
    dpkg-query -W "$package" >/dev/null 2>&1 || packages+=("$package")
  done
  install_packages "${packages[@]}"
  rm -rf "$dir.part"
  mkdir -p "$dir.part/debs"
  for package in rustc-web cargo-web libstd-rust-web-dev "libstd-rust-web-$MSRV"; do
    packages+=("$package=$MSRV_DEBIAN")
  done
  download() { (cd "$dir.part/debs" && apt-get download "$@"); }
  local rust=("${packages[@]: -4}")
  download "${rust[@]}" || { as_root apt-get update && download "${rust[@]}"; }
  for package in "$dir.part"/debs/*.deb; do dpkg -x "$package" "$dir.part"; done
  rm -rf "$dir.part/debs" "$dir"
  mv "$dir.part" "$dir"
}

# Lightly optimized: building them is most of what a fresh machine does before the first stage, and each runs for
# seconds.
install_tool() {
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_DEBUG=0 cargo install --locked "$@"
}

install_packages() {
  (($#)) || return 0
  as_root apt-get update
  as_root apt-get install -y --no-install-recommends "$@"
}

have() {
  command -v "$1" >/dev/null
}

as_root() {
  if ((EUID == 0)); then DEBIAN_FRONTEND=noninteractive "$@"; else sudo "$@"; fi
}
