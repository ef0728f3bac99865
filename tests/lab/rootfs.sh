# shellcheck shell=bash
# The cached root file systems that the lab's nodes are overlays of.
#
# A recipe (release, packages, customisation) becomes a folder in the cache that is named by the recipe's hash. It is
# built beside its place and renamed into it under a lock, so that a reader never sees half of one and two labs that
# start at once build it once. A cached root is never changed: nodes lie over it as overlays.

# What every node has: what Berth asks of a node, and the few tools that the tests themselves use.
ROOTFS_PACKAGES=(
  systemd systemd-sysv dbus openssh-server containerd runc nftables iproute2
  containernetworking-plugins procps ca-certificates kmod util-linux sudo dnsmasq-base
  curl busybox iputils-ping
)

# Prints the recipe's text for a release: its hash is the cache's key.
rootfs_recipe() {
  local release=$1
  printf '%s\n' "$release" "${BERTH_LAB_MIRROR:-}" "${ROOTFS_PACKAGES[@]}" "${BERTH_LAB_PACKAGES:-}"
  declare -f rootfs_build
}

rootfs_path() {
  local hash
  hash=$(rootfs_recipe "$1" | sha256sum)
  printf '%s/rootfs-%s-%s\n' "$LAB_CACHE" "$1" "${hash:0:16}"
}

# Makes sure that the root of a release is in the cache, and prints its path.
rootfs_ensure() {
  local release=$1 path lock
  path=$(rootfs_path "$release")
  if [[ ! -d $path ]]; then
    mkdir -p "$LAB_CACHE"
    exec {lock}>"$path.lock"
    flock "$lock"
    if [[ ! -d $path ]]; then
      need mmdebstrap mmdebstrap
      say "building a $release root file system (once; some 45 s) in $LAB_CACHE"
      rm -rf --one-file-system "$path".tmp.*
      local tmp="$path.tmp.$$"
      if ! rootfs_build "$release" "$tmp" >"$path.log" 2>&1; then
        tail -n 20 "$path.log" >&2
        rm -rf --one-file-system "$tmp"
        die "mmdebstrap failed for $release; its whole log is $path.log"
      fi
      mv "$tmp" "$path"
    fi
    exec {lock}>&-
  fi
  printf '%s\n' "$path"
}

# Builds the root of a release at a path. Part of the recipe: changing it changes the key.
rootfs_build() {
  local release=$1 path=$2 packages
  packages=$(IFS=,; printf '%s' "${ROOTFS_PACKAGES[*]}")
  [[ -z ${BERTH_LAB_PACKAGES:-} ]] || packages+=",${BERTH_LAB_PACKAGES// /,}"
  mmdebstrap --quiet --variant=minbase --include="$packages" "$release" "$path" ${BERTH_LAB_MIRROR:+"$BERTH_LAB_MIRROR"} ||
    return 1

  # What must differ from node to node, or point out of the machine, is not in the base.
  rm -f "$path"/etc/ssh/ssh_host_* "$path/etc/machine-id" "$path/etc/resolv.conf" "$path/etc/hostname"
  printf '# A lab has no way out, so no resolver.\n' >"$path/etc/resolv.conf"

  # Timers that would wake up 300 nodes' disks for nothing, and a journal that stays small.
  local unit
  for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    dpkg-db-backup.timer getty@tty1.service console-getty.service; do
    ln -sf /dev/null "$path/etc/systemd/system/$unit" || return 1
  done
  mkdir -p "$path/etc/systemd/journald.conf.d" "$path/etc/systemd/network"
  printf '[Journal]\nSystemMaxUse=32M\nRuntimeMaxUse=16M\n' >"$path/etc/systemd/journald.conf.d/lab.conf"
  systemctl --root="$path" --quiet enable systemd-networkd.service || return 1

  # A login that is not root: berth reaches containerd through sudo there.
  chroot "$path" useradd --create-home --shell /bin/bash deploy || return 1
  printf 'deploy ALL=(ALL) NOPASSWD: ALL\n' >"$path/etc/sudoers.d/deploy"
  chmod 0440 "$path/etc/sudoers.d/deploy"
}
