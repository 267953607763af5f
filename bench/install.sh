#!/usr/bin/env bash
# Installs what chargehand-bench needs and this machine lacks: from Debian the servers that it compares with, valgrind,
# and Go with its WebSocket library; from PyPI, in an environment of their own, dask.distributed and Celery. Starts none
# of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=(nats-server gearman-job-server beanstalkd redis-server libzmq3-dev pkg-config
  golang-go golang-golang-x-net-dev parallel valgrind util-linux)
schedulers=(distributed==2026.8.0 celery==5.7.0 redis==8.1.0)
environment=${CARGO_TARGET_DIR:-$PWD/target}/schedulers

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if ((${#missing[@]})); then
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  "${as_root[@]}" apt-get update
  # Debian starts a server when it is installed; a runlevel of 1 tells it not to.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y --no-install-recommends "${missing[@]}"
fi
if ! "$environment/bin/python" -c 'import celery, distributed, redis' 2>/dev/null; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet "${schedulers[@]}"
fi
