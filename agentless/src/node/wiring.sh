# Wiring: how a node's network and its pods' namespaces come to be, from the files that the engine
# wrote. The engine's session and the boot reflex run the same functions. POSIX sh.

# The folder of the CNI plugins.
cni_dir() {
  for cni in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    [ -x "$cni/ptp" ] && printf '%s' "$cni" && return 0
  done
  echo 'the CNI plugin ptp is missing; apt-get install containernetworking-plugins'
  return 1
}

# Writes a file at once or not at all: put FILE TEXT.
put() {
  printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"
}

# Sets a kernel setting, after noting what it was: setting FILE VALUE.
setting() {
  read -r was <"$1" || return 0
  [ "$was" = "$2" ] && return 0
  grep -q "^$1 " "/etc/berth/node/found" 2>/dev/null || printf '%s %s\n' "$1" "$was" >>"/etc/berth/node/found"
  printf '%s' "$2" >"$1"
}

# Forwarding, the gateway's addresses, endpoint addresses, unreachable for pods that are not there,
# and every endpoint's table in one transaction.
net_base() {
  read -r gateway4 gateway6 range4 range6 endpoints4 endpoints6 <"/etc/berth/node/network" || return 1
  # A kernel that forwards IPv6 drops its default route from router advertisements unless
  # accept_ra is 2; without this, enabling it could cut the node off.
  for ra in /proc/sys/net/ipv6/conf/*/accept_ra; do
    read -r value <"$ra"
    case $ra in
      */all/* | */default/* | */lo/* | */veth*) ;;
      *) [ "$value" = 1 ] && setting "$ra" 2 ;;
    esac
  done
  setting /proc/sys/net/ipv4/ip_forward 1
  setting /proc/sys/net/ipv6/conf/all/forwarding 1
  ip -batch - <<EOF || return 1
addr replace $gateway4/32 dev lo
addr replace $gateway6/128 dev lo nodad
route replace local $endpoints4 dev lo src $gateway4
route replace local $endpoints6 dev lo src $gateway6
route replace unreachable $range4
route replace unreachable $range6
EOF
  cat "/etc/berth/node/base.nft" /etc/berth/tenants/*/endpoints/*.nft 2>/dev/null | nft -f -
}

# The node's own ports that lead to pods, as those pods' files say: a table made anew in one
# transaction, which established connections do not notice; no table where no pod has a port.
ports_set() {
  (
    # Two pods that come at once must not each load what the other one lacks.
    flock 9
    to4='' to6=''
    for ports in /etc/berth/tenants/*/pods/*/ports; do
      [ -f "$ports" ] || continue
      read -r ip4 ip6 <"${ports%/ports}/pod" || continue
      while read -r protocol port target; do
        to4="$to4${to4:+, }$protocol . $port : $ip4 . $target"
        to6="$to6${to6:+, }$protocol . $port : $ip6 . $target"
      done <"$ports"
    done
    { printf 'table inet berth_ports\ndelete table inet berth_ports\n'; [ -z "$to4" ] || ports_table "$to4" "$to6"; } | nft -f -
  ) 9<"/etc/berth/node/network"
}

# The table's text: ports_table ELEMENTS4 ELEMENTS6. Any address of the node will do but loopback and
# those of endpoints, which are local too. What leads back to where it came from must seem to come
# from the node, or the pod would answer to itself.
ports_table() {
  read -r _ _ range4 range6 endpoints4 endpoints6 <"/etc/berth/node/network"
  cat <<EOF
table inet berth_ports {
 map to4 { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { $1 }; }
 map to6 { type inet_proto . inet_service : ipv6_addr . inet_service; elements = { $2 }; }
 chain to {
  ip daddr { 127.0.0.0/8, $endpoints4 } return
  ip6 daddr { ::1, $endpoints6 } return
  meta nfproto ipv4 dnat ip to meta l4proto . th dport map @to4
  meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @to6
 }
 chain pre { type nat hook prerouting priority dstnat + 1; policy accept; fib daddr type local goto to; }
 chain out { type nat hook output priority -99; policy accept; fib daddr type local goto to; }
 chain hairpin { type filter hook prerouting priority dstnat + 6; policy accept;
  ct state new ct status dnat ip daddr $range4 ct original ip daddr != $endpoints4 fib daddr . iif oif exists meta mark set 0xbe57fffe
  ct state new ct status dnat ip6 daddr $range6 ct original ip6 daddr != $endpoints6 fib daddr . iif oif exists meta mark set 0xbe57fffe
 }
 chain post { type nat hook postrouting priority srcnat - 1; policy accept; meta mark 0xbe57fffe masquerade; }
}
EOF
}

# Routes to other nodes' pods. A next hop must be on a network of this node.
net_routes() {
  lost=0
  while read -r family range via; do
    dev=$(ip "-$family" route get "$via" 2>/dev/null | sed -n '1{/ via /!s/.* dev \([^ ]*\).*/\1/p}')
    if [ -z "$dev" ]; then
      echo "$via is not on a network of this node, so $range can't be routed to it"
      lost=1
    else
      ip "-$family" route replace "$range" via "$via" dev "$dev" onlink || lost=1
    fi
  done <"/etc/berth/node/routes"
  return "$lost"
}

# Takes out of the kernel what net_base and net_routes have set, as the files say.
net_unset() {
  nft delete table inet berth 2>/dev/null
  [ -f /etc/berth/node/routes ] && while read -r family range via; do
    ip "-$family" route del "$range" via "$via" 2>/dev/null
  done </etc/berth/node/routes
  [ -f /etc/berth/node/network ] || return 0
  read -r gateway4 gateway6 range4 range6 endpoints4 endpoints6 </etc/berth/node/network
  ip -force -batch - 2>/dev/null <<EOF
route del local $endpoints4 dev lo
route del local $endpoints6 dev lo
route del unreachable $range4
route del unreachable $range6
addr del $gateway4/32 dev lo
addr del $gateway6/128 dev lo
EOF
  return 0
}

# Gives back the settings that were found, but those that another file notes as well: the last one first.
settings_back() {
  [ -f /etc/berth/node/found ] && tac /etc/berth/node/found | while read -r file value; do
    [ -e "$file" ] && ! grep -qs "^$file " "$1" && printf '%s' "$value" >"$file"
  done
  return 0
}

# Takes back a change of the network that nobody confirmed: what was before it is beside it until then.
network_undo() {
  [ -d /etc/berth/node.before ] || return 0
  net_unset
  settings_back /etc/berth/node.before/found
  rm -rf /etc/berth/node && mv /etc/berth/node.before /etc/berth/node || return
  if [ -f /etc/berth/node/network ]; then
    net_base
    net_routes
    ports_set
  else
    rm -rf /etc/berth/node
  fi
}

# Pins a pod's network, IPC and host-name namespaces, and wires the first: pod_wire NAMESPACE ID.
# Its runtime specification sets the host name.
pod_wire() {
  name="$1-$2"
  # What an attempt that was cut off left.
  [ ! -e "/run/netns/$name" ] || pod_unwire "$1" "$2"
  read -r ip4 ip6 <"/etc/berth/tenants/$1/pods/$2/pod" || return 1
  read -r gateway4 gateway6 range4 range6 _ <"/etc/berth/node/network" || return 1
  cni=$(cni_dir) || { printf '%s\n' "$cni"; return 1; }
  pins=/run/berth/pods/$name
  [ -d /run/netns ] || ip netns add berth-first && ip netns del berth-first 2>/dev/null
  mkdir -p "$pins" && : >"/run/netns/$name" && : >"$pins/ipc" && : >"$pins/uts" || return 1
  # Duplicate address detection would hold IPv6 back for a second or two, on addresses that the
  # planner gave out.
  unshare "--net=/run/netns/$name" "--ipc=$pins/ipc" "--uts=$pins/uts" sh -c '
    echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
    echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
    ip link set lo up' || return 1
  result=$(cni_conf "$ip4" "$ip6" | CNI_COMMAND=ADD CNI_CONTAINERID="$name" CNI_NETNS="/run/netns/$name" \
    CNI_IFNAME=eth0 CNI_PATH="$cni" "$cni/ptp") || { printf '%s\n' "$result"; return 1; }
  veth=${result#*\"veth} veth=veth${veth%%\"*}
  ip -batch - <<EOF
addr del $gateway6/128 dev $veth
addr add $gateway6/128 dev $veth nodad
EOF
}

cni_conf() {
  printf '{"cniVersion":"0.4.0","name":"berth","type":"ptp","ipMasq":false,"ipam":{"type":"static","addresses":[{"address":"%s/%s","gateway":"%s"},{"address":"%s/%s","gateway":"%s"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}}' \
    "$1" "${range4##*/}" "$gateway4" "$2" "${range6##*/}" "$gateway6"
}

# Undoes pod_wire, whatever of it is there: pod_unwire NAMESPACE ID.
pod_unwire() {
  name="$1-$2"
  pins=/run/berth/pods/$name
  if [ -e "/run/netns/$name" ]; then
    if cni=$(cni_dir) && read -r gateway4 gateway6 range4 range6 _ <"/etc/berth/node/network" 2>/dev/null &&
      read -r ip4 ip6 <"/etc/berth/tenants/$1/pods/$2/pod" 2>/dev/null; then
      cni_conf "$ip4" "$ip6" | CNI_COMMAND=DEL CNI_CONTAINERID="$name" CNI_NETNS="/run/netns/$name" \
        CNI_IFNAME=eth0 CNI_PATH="$cni" "$cni/ptp" >/dev/null 2>&1
    fi
    umount -l "/run/netns/$name" 2>/dev/null
    rm -f "/run/netns/$name"
  fi
  if [ -d "$pins" ]; then
    umount -l "$pins/ipc" "$pins/uts" 2>/dev/null
    rm -rf "$pins"
  fi
}
