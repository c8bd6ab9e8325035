#!/usr/bin/env bash
# Makes FOLDER/curl, a curl that knows WebSockets, where this machine's does not: Debian 12's does not,
# that of its backports does. It is unpacked, not installed: nothing outside FOLDER is changed.
set -euo pipefail
folder=$(realpath -m "$1")

knows_ws() { "$1" --version 2>/dev/null | grep -q '^Protocols:.* ws\b'; }

if knows_ws curl || knows_ws "$folder/curl"; then exit; fi
if ! command -v apt-get dpkg >/dev/null; then
  echo "curl knows no ws here, and there is no apt-get to get another with" >&2
  exit 1
fi

mkdir -p "$folder"/{lists,cache,unpacked}
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
archive=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | sed -n "s/^$release //p" | head -n 1)
echo "deb $archive $release-backports main" >"$folder/sources.list"

apt() {
  apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder/cache" "$@"
}
apt update
(cd "$folder/cache" && apt download curl libcurl4)
for package in "$folder"/cache/*.deb; do dpkg --extract "$package" "$folder/unpacked"; done

library=$(dirname "$(find "$folder/unpacked" -name 'libcurl.so.4' | head -n 1)")
cat >"$folder/curl" <<END
#!/bin/sh
LD_LIBRARY_PATH='$library' exec '$folder/unpacked/usr/bin/curl' "\$@"
END
chmod +x "$folder/curl"
knows_ws "$folder/curl"
