#!/usr/bin/env bash
# Makes stand-ins for the base images out of Debian's packages, under the same tags, where no image can be pulled:
#
#   tests/compose/stand_ins.sh FOLDER      as root; needs debootstrap and a Docker engine; some 700 MB stay in FOLDER
#
# What they cannot show: that the real images hold the same commands at the same places.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"

# system SUITE PACKAGES: a minimal system, made once. It trusts whom this machine trusts, so pip reaches its index.
system() {
    local root="$folder/$1"
    [ ! -e "$root/made" ] || return 0
    rm -rf "$root"
    debootstrap --variant=minbase --include="$2" "$1" "$root" >"$root.log"
    install -D --mode=644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    find "$root/usr/lib" -name EXTERNALLY-MANAGED -delete
    [ ! -e "$root/usr/bin/python3" ] || ln -sf python3 "$root/usr/bin/python"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    install --directory --owner=65534 --group=65534 "$root/prometheus"
    [ ! -e "$root/usr/bin/redis-server" ] || chroot "$root" install --directory --owner=redis --group=redis /data
    touch "$root/made"
}

# image TAG SUITE CHANGES…: each change is a line of a Dockerfile.
image() {
    local tag="$1" root="$folder/$2" changes=()
    shift 2
    for change; do changes+=(--change "$change"); done
    tar --create --numeric-owner --one-file-system --directory "$root" --exclude=./proc/* --exclude=./sys/* . |
        docker import "${changes[@]}" - "$tag" >/dev/null
    echo "$tag: $(docker run --rm --network none --entrypoint /bin/sh "$tag" -c "$version_of")"
}

folder="$(cd "$1" && pwd)"
system trixie python3,python3-pip,python3-venv,redis-server,ca-certificates
system sid nginx,prometheus,wget # a load balancer with `server … resolve` is newer than trixie

version_of='python --version' image python:3.13-slim trixie 'CMD ["python"]'
version_of='redis-server --version' image redis:8 trixie 'WORKDIR /data' 'VOLUME /data' 'CMD ["redis-server"]'
version_of='nginx -v 2>&1' image nginx:1.28-alpine sid 'CMD ["nginx"]'
version_of='prometheus --version | head -1' image prom/prometheus:v3.5.3 sid \
    'ENTRYPOINT ["/usr/bin/prometheus"]' 'USER 65534' 'WORKDIR /prometheus' 'VOLUME /prometheus'
