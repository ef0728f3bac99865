# The boot reflex. It runs after wiring.sh, in one file: boot.sh net|routes|drain. POSIX sh.

# Brings the network and every pod's namespaces back, before containerd starts the pods.
boot_net() {
  network_undo
  [ -f /etc/berth/node/network ] || return 0
  net_base
  for pod in /etc/berth/tenants/*/pods/*/pod; do
    [ -f "$pod" ] || continue
    id=${pod%/pod} namespace=${pod%/pods/*}
    [ -e "/run/netns/${namespace##*/}-${id##*/}" ] || pod_wire "${namespace##*/}" "${id##*/}"
    [ ! -f "$id/secrets" ] || secrets_open "$id" "/run/berth/secrets/${namespace##*/}/${id##*/}"
  done
  ports_set
}

# secrets_open POD FOLDER: opens what the node has sealed of a pod's secrets, into memory. What it keeps in memory only, and
# what cannot be opened, is not there until the next apply.
secrets_open() {
  (
    umask 077
    mkdir -p "$2" && : >"$2/.sums" || return
    while read -r name mode owner rest; do
      [ "$rest" = sealed ] || continue
      if systemd-creds decrypt --name=berth "$1/sealed/$name" "$2/$name"; then
        chown "$owner" "$2/$name" && chmod "$mode" "$2/$name" && sha256sum "$2/$name" >>"$2/.sums"
      else
        rm -f "$2/$name"
      fi
    done <"$1/secrets"
  )
}

# Sets routes to the other nodes' pods, once the network between them is up; a minute at most.
boot_routes() {
  tries=0
  until net_routes; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || return 1
    sleep 1
  done
}

# Ends pods when the system stops, after containerd did: systemd itself would wait 90 s for
# processes in foreign PID namespaces.
boot_drain() {
  [ "$(systemctl is-system-running)" = stopping ] || return 0
  tasks=/run/containerd/io.containerd.runtime.v2.task
  set -- "$tasks"/berth.*/*/init.pid
  for file in "$@"; do [ -f "$file" ] && kill -TERM "$(cat "$file")" 2>/dev/null; done
  tries=0 left=1
  while [ "$left" = 1 ] && [ "$tries" -lt 50 ]; do
    left=0
    for file in "$@"; do [ -f "$file" ] && kill -0 "$(cat "$file")" 2>/dev/null && left=1; done
    tries=$((tries + 1))
    sleep 0.2
  done
  for file in "$@"; do [ -f "$file" ] && kill -KILL "$(cat "$file")" 2>/dev/null; done
  for file in "$tasks"/berth.*/*/shim.pid; do
    [ -f "$file" ] && kill -KILL "$(cat "$file")" 2>/dev/null
  done
  return 0
}

case $1 in
  net) boot_net ;;
  routes) boot_routes ;;
  drain) boot_drain ;;
esac
