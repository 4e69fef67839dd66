#!/usr/bin/env bash
# Install a Debian package that some tests need, unless one of the programs is there already:
#     tests/install.sh PACKAGE PROGRAM...
# Quiet, safe to repeat, and never fails: where apt or the rights to use it are not to be had, those
# tests skip and say so.
set -u
package=$1
shift

for name in "$@"; do
    command -v "$name" >/dev/null && exit 0
done

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || { echo "no $package, and no root to install it"; exit 0; }
    as_root=(sudo -n)
fi
command -v apt-get >/dev/null || { echo "no $package, and no apt-get to install it"; exit 0; }

log=$(mktemp)
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq "$@" >>"$log" 2>&1
}
# A list of packages that is too old names files that are gone; one that fails may still do.
apt update
apt install -y --no-install-recommends "$package" || {
    echo "$package could not be installed:"
    tail -n 3 "$log"
}
rm -f "$log"
exit 0
