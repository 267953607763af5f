#!/usr/bin/env bash
# Measures what chargehand takes of a Cortex-M3: `sizes.sh write` puts the table into
# docs/EMBEDDED.md, `sizes.sh check` fails where a figure is more than 5 % above that table, or above
# what that page aims at.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PAGE=../../docs/EMBEDDED.md
GROWTH_PERCENT_MAX=5
PROGRAMS=(
  'size-empty|nothing: vector table and start'
  'size-backoff|backoff alone'
  'size-worker|worker: session, messages, serial frames, polled UART'
  'size-keyed-worker|worker that proves a key: the same, and HMAC-SHA-256'
  'size-sealed-worker|worker that encrypts, too: the same, and ChaCha20-Poly1305'
  'size-scheduler-16-4|scheduler, `Inline<16, 4>`'
  'size-scheduler-256-16|scheduler, `Inline<256, 16>`'
  'size-scheduler-full|scheduler with everything: `Inline<16, 4>`, 4 queues, keys, choice, second attempts, a heap'
)
target=${CARGO_TARGET_DIR:-$PWD/../../target}/sizes

# One row of the table: the program, flash, static RAM, how much of that is lent memory, and stack.
row() {
  local name=$1 text=$2 elf=$target/elf/$1 stack=-
  if [[ $name == size-*worker ]]; then stack=$(stack "${name/size/stack}"); fi
  size -A "$elf" | awk -v text="$text" -v lent="$(lent "$elf")" -v stack="$stack" '
    $1 == ".vector_table" || $1 == ".text" || $1 == ".rodata" { flash += $2 }
    $1 == ".data" { flash += $2; ram += $2 }
    $1 == ".bss" || $1 == ".uninit" { ram += $2 }
    END { printf "| %s | %d | %d | %d | %s |\n", text, flash, ram, lent, stack }'
}

# The bytes of the buffers or slots that a program lends.
lent() {
  nm -S "$1" | awk '/(BUFFERS|SLOTS|HEAP_MEM)$/ { print $2 }' | { sum=0; while read -r hex; do sum=$((sum + 16#$hex)); done; echo "$sum"; }
}

# The bytes of stack that a worker took in QEMU. The program fails where it did not do its work.
stack() {
  local said
  said=$(timeout 60 qemu-system-arm -M lm3s6965evb -cpu cortex-m3 -nographic \
    -semihosting-config enable=on,target=native \
    -kernel "$target/elf/$1") ||
    { echo "FAILED: $1 did not do what it was asked: $said" >&2; exit 1; }
  echo "${said%% *}"
}

table() {
  local program
  for program in "${PROGRAMS[@]}"; do row "${program%%|*}" "${program#*|}"; done
}

build() {
  local bins=() program feature
  mkdir -p "$target/elf"
  for program in "${PROGRAMS[@]}"; do
    program=${program%%|*}
    [[ $program == size-keyed-worker || $program == size-sealed-worker || $program == size-scheduler-full ]] ||
      bins+=("$program")
  done
  firmware --target-dir "$target" "${bins[@]/#/--bin=}"
  for program in "${bins[@]}"; do keep "$target" "$program" "$program"; done
  # Apart, because every program would be painted with it.
  firmware --target-dir "$target/painted" --features paint-stack --bin stack-worker
  keep "$target/painted" stack-worker stack-worker
  # With features that the small schedulers have not.
  firmware -Zbuild-std=core,alloc --target-dir "$target" --features full --bin size-scheduler-full
  keep "$target" size-scheduler-full size-scheduler-full
  # The same programs with one feature and with both: last, so that the first ones have neither.
  for feature in keyed sealed; do
    firmware --target-dir "$target" --features "$feature" --bin size-keyed-worker
    keep "$target" size-keyed-worker "size-$feature-worker"
    firmware --target-dir "$target/painted" --features "paint-stack,$feature" --bin stack-keyed-worker
    keep "$target/painted" stack-keyed-worker "stack-$feature-worker"
  done
}

# Keeps a program from being built over: from that target directory, under that name.
keep() {
  cp "$1/thumbv7m-none-eabi/release/$2" "$target/elf/$3"
}

# A panic is a trap, without a text.
firmware() {
  RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo build --release --locked \
    -Zpanic-immediate-abort --config 'profile.release.panic="immediate-abort"' "$@"
}

recorded() {
  sed -n '/^<!-- sizes -->$/,/^<!-- end of sizes -->$/p' "$PAGE" | grep -E '^\| .* \| [0-9]' || true
}

write() {
  local new
  new=$(table)
  awk -v new="$new" '
    /^<!-- sizes -->$/ { print; inside = 1; next }
    inside && /^<!-- end of sizes -->$/ {
      print "| program | flash | static RAM | of it buffers, slots or heap | stack |"
      print "|---|---:|---:|---:|---:|"
      print new
      inside = 0
    }
    !inside { print }' "$PAGE" >"$target/page.md"
  cp "$target/page.md" "$PAGE"
}

check() {
  local now
  now=$(table)
  echo "$now"
  { recorded; echo '--'; echo "$now"; } | awk -F ' *[|] *' -v percent="$GROWTH_PERCENT_MAX" '
    /^--$/ { second = 1; next }
    !second { for (c = 3; c <= 6; c++) old[$2, c] = $c; known[$2] = 1; next }
    !($2 in known) { print "not in the table: " $2; bad = 1; next }
    # The aims: the worker is in 8 KiB and 1 KiB beside its buffers, with a key in 12, encrypted in 16, both
    # with 2.5 KiB; the small scheduler in 18 and 1.75, that with everything in 64 and 2 beside slots and heap.
    $2 ~ /^worker:/ && ($3 > 8192 || $4 - $5 + $6 > 1024) { print $2 ": above its aim"; bad = 1 }
    $2 ~ /^worker that proves/ && $3 > 12288 { print $2 ": above its aim"; bad = 1 }
    $2 ~ /^worker that encrypts/ && $3 > 16384 { print $2 ": above its aim"; bad = 1 }
    $2 ~ /^worker that/ && $4 - $5 + $6 > 2560 { print $2 ": above its aim"; bad = 1 }
    $2 ~ /^scheduler, .*<16, 4>/ && ($3 > 18432 || $4 > 1792) { print $2 ": above its aim"; bad = 1 }
    $2 ~ /^scheduler with everything/ && ($3 > 65536 || $4 - $5 > 2048) { print $2 ": above its aim"; bad = 1 }
    { seen++; for (c = 3; c <= 6; c++) if ($c * 100 > old[$2, c] * (100 + percent)) {
        print $2 ": " $c " bytes, " old[$2, c] " in the table"; bad = 1 } }
    END { if (!seen) { print "nothing was measured"; bad = 1 }; exit bad }' ||
    { echo "FAILED: it grew; see docs/EMBEDDED.md, and sizes.sh write where it has to" >&2; exit 1; }
}

# A Cortex-M3 divides 64 bits, and does all of floating point, in software: the small schedulers do not. That with
# everything divides for rates.
no_slow_arithmetic() {
  local program
  for program in size-scheduler-16-4 size-scheduler-256-16; do
    if nm "$target/elf/$program" | grep -E ' (__aeabi_(u?ldivmod|[fd].*))$'; then
      echo "FAILED: $program divides 64 bits or uses floating point" >&2
      exit 1
    fi
  done
}

case ${1-} in
  write | check) build; no_slow_arithmetic; "$1" ;;
  *) echo "usage: sizes.sh write | check" >&2; exit 1 ;;
esac
