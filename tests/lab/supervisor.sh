# shellcheck shell=bash
# The one process that holds a lab: PID 1 of its pid namespace, in network, mount, UTS and IPC namespaces of its own.
#
# Every process, mount, bridge and veth of the lab lives in those namespaces, so whatever ends this process (also
# `kill -9`) ends them with it. It is told what to do through files: `node/NAME/want` says `up` or `off`.

supervisor_main() {
  local ties=$1 tie node
  set +e
  # The host's process table stays visible below hostproc: the tie and the pids told to the outside are the host's.
  mkdir -p "$LAB/hostproc"
  mount --bind /proc "$LAB/hostproc"
  mount -t proc proc /proc
  supervisor_host_pid >"$LAB/supervisor.tmp"
  mv "$LAB/supervisor.tmp" "$LAB/supervisor"
  # nspawn keeps locks and sockets by machine name below /run/systemd: labs must not share them, nor leave them.
  mkdir -p /run/systemd
  mount -t tmpfs -o mode=755 berth-lab /run/systemd
  cgroup_enter "$LAB_GROUP/supervisor"

  ip link set lo up
  ip link add br0 type bridge forward_delay 0
  sysctl -qw net.ipv6.conf.br0.accept_dad=0
  ip address add 10.77.0.1/24 dev br0
  ip address add fd77::1/64 dev br0 nodad
  ip link set br0 up
  # A cut is silence: the link stays up, as it does when a switch further on fails. By name, so it outlasts a reboot.
  nft -f - <<'TEXT'
table bridge cut {
  set nodes { type ifname; }
  set pairs { type ifname . ifname; }
  chain in { type filter hook prerouting priority 0; iifname @nodes drop; }
  chain between { type filter hook forward priority 0; iifname . oifname @pairs drop; }
  chain out { type filter hook postrouting priority 0; oifname @nodes drop; }
}
TEXT

  local stop=
  trap 'stop=1' TERM INT HUP
  while read -r node _; do
    supervise_node "$node" &
  done <"$LAB/nodes"

  # The end of this shell is the end of the lab; the kernel does the rest.
  while [[ -z $stop ]]; do
    for tie in $ties; do
      same_process "$LAB/hostproc" "$tie" || exit
    done
    sleep 0.3
  done
}

# Prints the calling shell's pid and start time as the host sees them. No child may open the file: `self` is who opens.
supervisor_host_pid() {
  local -a stat
  read -ra stat <"$LAB/hostproc/self/stat"
  printf '%s:%s\n' "${stat[0]}" "${stat[21]}"
}

# Runs a node for as long as it is wanted: again after a reboot, not after a power off.
supervise_node() {
  local node=$1 dir="$LAB/node/$1" status
  trap - TERM INT HUP
  while true; do
    while [[ $(<"$dir/want") != up ]]; do sleep 0.1; done
    cgroup_remove "$LAB_GROUP/$node"
    (node_boot "$node") </dev/null >>"$LAB/log/$node.console" 2>&1
    status=$?
    rm -f "$dir/nspawn"
    printf '%(%T)T %s: nspawn ended with %d\n' -1 "$node" "$status"
    umount -R "$dir/root" 2>/dev/null
    # 133 is nspawn's word for a reboot; anything else (power off, kill) leaves the node off.
    [[ $status == 133 ]] || echo off >"$dir/want.tmp.$BASHPID"
    [[ ! -e $dir/want.tmp.$BASHPID ]] || mv "$dir/want.tmp.$BASHPID" "$dir/want"
  done
}

# Becomes the node's nspawn.
node_boot() {
  local node=$1 dir="$LAB/node/$1" release
  release=$(<"$dir/release")
  mount -t overlay overlay -o "lowerdir=$(<"$dir/base"),upperdir=$dir/upper,workdir=$dir/work" "$dir/root" || return 1
  cgroup_enter "$LAB_GROUP/$node"
  supervisor_host_pid >"$dir/nspawn.tmp"
  mv "$dir/nspawn.tmp" "$dir/nspawn"

  local -a devices=() legacy=() last=()
  [[ ! -c /dev/net/tun ]] || devices=(--bind=/dev/net/tun)
  # From Debian 13 on, systemd refuses cgroup version 1 unless told twice.
  if [[ $release != bookworm && ! -s /sys/fs/cgroup/cgroup.controllers ]]; then
    legacy=(--setenv=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1)
    last=(SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1)
  fi
  export SYSTEMD_NSPAWN_USE_CGNS=0
  # shellcheck disable=SC2016 # the inner shell expands these
  exec unshare --cgroup --mount --propagation private bash -c '
    set -e
    source "$0/cgroup.sh"
    cgroup_view "$1/cgroup"
    cgroup_view "$1/cgroup-nspawn"
    cgroup_pad "$1/cgroup-nspawn"
    mount --rbind "$1/cgroup-nspawn" /sys/fs/cgroup
    shift
    exec "$@"' "$LAB_CODE" "$dir" \
    systemd-nspawn --quiet --boot --machine="$node" --directory="$dir/root" --network-bridge=br0 \
    --bind="$dir/containerd:/var/lib/containerd" --bind="$dir/cgroup:/sys/fs/cgroup" "${devices[@]}" \
    --capability=all --system-call-filter=@known --resolv-conf=off --link-journal=no --timezone=off \
    --register=no --keep-unit --console=read-only "${legacy[@]}" "${last[@]}"
}
