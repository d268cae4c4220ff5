#!/usr/bin/env bash
# arm64_sysroot.sh FOLDER PACKAGES: unpacks Debian's aarch64 packages into FOLDER, for the cross build to link with.
#
# Why not `dpkg --add-architecture arm64`: it needs root, changes the whole machine, and apt refuses libc6:arm64
# unless it is of exactly the installed libc6's version. Here apt keeps its lists inside FOLDER and installs nothing.
set -euo pipefail

folder="$1"
read -r -a packages <<<"$(tr '\n' ' ' <<<"$2")"
stamp="$folder/.packages"

[[ "$(cat "$stamp" 2>/dev/null || true)" != "${packages[*]}" ]] || exit 0
command -v apt-get >/dev/null || {
  echo "arm64_sysroot: apt-get is needed to fetch ${packages[*]}" >&2
  exit 1
}

rm -rf "$folder"
mkdir -p "$folder"/apt/{lists,cache/archives}/partial "$folder/apt/deb"
: >"$folder/apt/status"
apt_options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64
  -o "Dir::State::lists=$folder/apt/lists" -o "Dir::State::status=$folder/apt/status"
  -o "Dir::Cache=$folder/apt/cache" -o APT::Sandbox::User=)
apt-get "${apt_options[@]}" update
(cd "$folder/apt/deb" && apt-get "${apt_options[@]}" download "${packages[@]}")
for deb in "$folder"/apt/deb/*.deb; do
  dpkg-deb --extract "$deb" "$folder"
done
rm -rf "$folder/apt"
echo "${packages[*]}" >"$stamp"
