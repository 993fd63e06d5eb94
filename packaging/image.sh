#!/usr/bin/env bash
# Builds the image and tries what it promises, with Docker or with buildah:
#   packaging/image.sh build     builds it
#   packaging/image.sh try       analyzes in it, captures in it, and looks at what it may do
# ENGINE=docker|buildah (what there is), IMAGE=swarmtap, BASE=… as in the Dockerfile; BASE=trixie makes one with
# mmdebstrap. WHEELS=1 has wheels downloaded here, where the build itself may not reach an index.
# `try` captures on a pair of virtual interfaces, so it needs root, and ip, tcpreplay and curl. Storage of buildah is
# configured as ever (STORAGE_DRIVER=vfs where there is no overlay).
set -euo pipefail
cd "$(dirname "$0")/.."
ENGINE=${ENGINE:-$(command -v docker >/dev/null && echo docker || echo buildah)}
IMAGE=${IMAGE:-swarmtap}
PORT=${PORT:-19768}
SPARE=$(mktemp -d)
AWAY=swt-a HERE=swt-b
WATCHING=""
MADE=""

say() { printf '\n== %s\n' "$*"; }

clean() {
  [ -z "$WATCHING" ] || kill "$WATCHING" 2>/dev/null || true
  ip link del "$AWAY" 2>/dev/null || true
  [ -z "$MADE" ] || buildah rm "$MADE" >/dev/null
  rm -rf "$SPARE" wheels
}
trap clean EXIT

base() {
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates trixie "$SPARE/base.tar"
  if [ "$ENGINE" = docker ]; then
    docker import "$SPARE/base.tar" swarmtap-base
  else
    local made
    made=$(buildah from scratch)
    buildah add --quiet "$made" "$SPARE/base.tar" /
    buildah commit --quiet --rm "$made" swarmtap-base
  fi
}

wheels() {
  python3 - >"$SPARE/needed" <<'PYTHON'
import tomllib
read = tomllib.load(open("pyproject.toml", "rb"))
print(*read["build-system"]["requires"], *read["project"]["dependencies"], sep="\n")
PYTHON
  python3 -m pip download --quiet --dest wheels --only-binary=:all: --python-version "${PYTHON_VERSION:-3.13}" \
    --platform "manylinux_2_28_$(uname -m)" --platform "manylinux_2_17_$(uname -m)" -r "$SPARE/needed"
}

build() {
  local with=()
  if [ "${BASE:-}" = trixie ]; then
    base
    BASE=swarmtap-base
    [ "$ENGINE" = docker ] || BASE=localhost/swarmtap-base
  fi
  [ -z "${BASE:-}" ] || with+=(--build-arg "BASE=$BASE")
  if [ -n "${WHEELS:-}" ]; then
    wheels
    with+=(--build-arg PIP_NO_INDEX=1)
  fi
  if [ "$ENGINE" = docker ]; then
    docker build "${with[@]}" --tag "$IMAGE" .
  else
    # OCI's format has no health check.
    buildah build --format docker --isolation chroot "${with[@]}" --tag "$IMAGE" .
  fi
}

# run CAPABILITY COMMAND…: a command in the image, with that capability or with none.
run() {
  local may=() capability=$1
  shift
  [ "$capability" = none ] || may=(--cap-add "$capability")
  if [ "$ENGINE" = docker ]; then
    docker run --rm --network host --cap-drop ALL "${may[@]}" --read-only --tmpfs /tmp -v "$PWD/pcaps:/data:ro" \
      --entrypoint "$1" "$IMAGE" "${@:2}"
  else
    [ -n "$MADE" ] || MADE=$(buildah from "$IMAGE")
    # Here ALL would take back what is added, so what it gives by itself is named.
    for each in CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETPCAP SYS_CHROOT; do
      may+=(--cap-drop "CAP_$each")
    done
    buildah run --isolation chroot "${may[@]}" -v "$PWD/pcaps:/data:ro" "$MADE" -- "$@"
  fi
}

asked() { curl -fsS --max-time 5 "http://127.0.0.1:$PORT$1"; }

try() {
  say 'who it is, and what it may do'
  run none sh -c 'id; swarmtap --version; tshark --version | head -1; tshark -G protocols | grep -i "delivery optimization"'
  say 'analyze, without any capability'
  run none swarmtap analyze /data/office-week.pcap -p /data/office.yaml -o /tmp/case
  say 'every rule and its cases'
  run none swarmtap check
  say 'watch without NET_RAW: one sentence, and exit code 2'
  ip link add "$AWAY" type veth peer name "$HERE"
  for each in "$AWAY" "$HERE"; do
    sysctl -qw "net.ipv6.conf.$each.disable_ipv6=1"
    ip link set "$each" up
  done
  local code=0
  run none swarmtap watch -i "$HERE" --listen "127.0.0.1:$PORT" || code=$?
  [ "$code" = 2 ]
  say 'watch with NET_RAW: what is sent is counted'
  run CAP_NET_RAW timeout --preserve-status 300 swarmtap watch -i "$HERE" -p /data/office.yaml --listen "127.0.0.1:$PORT" &
  WATCHING=$!
  for _ in $(seq 300); do
    asked /-/ready >/dev/null 2>&1 && break
    sleep 0.3
  done
  asked /-/ready
  tcpreplay --quiet -i "$AWAY" --mbps 50 pcaps/off-window.pcap >/dev/null
  local sent=0
  sent=$(python3 -c 'import struct,sys
data, at, count = open(sys.argv[1], "rb").read(), 24, 0
while at < len(data):
    at, count = at + 16 + struct.unpack_from("<I", data, at + 8)[0], count + 1
print(count)' pcaps/off-window.pcap)
  sleep 2
  asked /metrics | grep -E '^swarmtap_(capture_(packets|kernel_drops)_total|capture_up|build_info)'
  asked /metrics | grep -q "^swarmtap_capture_packets_total{interface=\"$HERE\"} $sent.0\$"
  say 'SIGTERM: it ends by itself, with 0'
  kill -TERM "$(ss -Hltnp "sport = :$PORT" | grep -o 'pid=[0-9]*' | head -1 | cut -d= -f2)"
  wait "$WATCHING"
  WATCHING=""
  say "done: $sent packets sent, $sent captured"
}

"${1:?build or try}"
