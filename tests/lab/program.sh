# shellcheck shell=bash
# Programs of Debian packages that tests run and that are not installed: no service of theirs is started. Sourced.
#
#   debian_program PACKAGE PATH   prints where the program is that the package has at a path; fetched once

CACHE=${CACHE:-${BERTH_LAB_CACHE:-/var/cache/berth-lab}}

debian_program() {
  local package=$1 path=$2 program=$CACHE/$1/${2##*/} lock tmp
  if [[ ! -x $program ]]; then
    mkdir -p "$CACHE"
    exec {lock}>"$CACHE/$package.lock"
    flock "$lock"
    if [[ ! -x $program ]]; then
      tmp=$(mktemp -d "$CACHE/$package.XXXXXX")
      chmod 0755 "$tmp"
      chown _apt "$tmp" 2>/dev/null || true
      (cd "$tmp" && { apt-get download -qq "$package" || { apt-get update -qq && apt-get download -qq "$package"; }; }) >&2 || return 1
      dpkg-deb -x "$tmp"/*.deb "$tmp/root"
      mkdir "$tmp/done"
      mv "$tmp/root$path" "$tmp/done/"
      mv -T "$tmp/done" "$CACHE/$package"
      rm -rf "$tmp"
    fi
    exec {lock}>&-
  fi
  printf '%s\n' "$program"
}
