#!/usr/bin/env bash
# Installs what chargehand-bench needs and this machine lacks, from Debian: the servers that it
# compares with, valgrind, and Go with its WebSocket library. Starts none of them.
set -euo pipefail
packages=(nats-server gearman-job-server beanstalkd redis-server libzmq3-dev pkg-config
  golang-go golang-golang-x-net-dev parallel valgrind util-linux)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
((${#missing[@]})) || exit 0
as_root=()
((EUID == 0)) || as_root=(sudo)
"${as_root[@]}" apt-get update
# Debian starts a server when it is installed; a runlevel of 1 tells it not to.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
  apt-get install -y --no-install-recommends "${missing[@]}"
