# What a server has and lacks of what Berth needs, one fact a line: "KEY VALUE…". POSIX sh, and nothing that is not
# looked for first: the server may be anything that has sshd. It reads, and writes nothing.
# "$@": addresses of the other nodes.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
has() { command -v "$1" >/dev/null 2>&1; }
say() { printf '%s\n' "$*"; }

say user "$(id -u)"
say os "$(. /etc/os-release 2>/dev/null && printf '%s' "$PRETTY_NAME")"
say kernel "$(uname -r)"
say machine "$(uname -m)"
say init "$(cat /proc/1/comm 2>/dev/null)"
say id "$(cat /etc/machine-id 2>/dev/null)"
for name in apt-get dnf apk; do has "$name" && say packages "$name" && break; done
for name in bash containerd ctr runc nft ip ss unshare nsenter flock systemctl tac find tail head mktemp timeout sync stat perl nproc; do
  has "$name" && say tool "$name"
done
for name in ptp static; do
  for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    [ -x "$folder/$name" ] && say cni "$name" && break
  done
done
has containerd && say containerd "$(containerd --version 2>/dev/null | cut -d' ' -f3)"
if has containerd; then
  containerd config dump 2>/dev/null | awk '
    /^ *\[plugins\..io\.containerd\.internal\.v1\.restart.\]/ { on = 1; next }
    /^ *\[/ { on = 0 }
    on && $1 == "interval" { print "restart", substr($3, 2, length($3) - 2) }'
  if [ ! -e /etc/containerd/config.toml ]; then
    say config none
  elif grep -q 'internal\.v1\.restart' /etc/containerd/config.toml; then
    say config own
  else
    say config "$(sed -n 's/^ *version *= *\([0-9]*\).*/\1/p' /etc/containerd/config.toml | head -n 1)"
  fi
fi
has systemctl && say service "$(systemctl is-active containerd 2>/dev/null)" "$(systemctl is-enabled containerd 2>/dev/null)"
[ -S /run/containerd/containerd.sock ] && say socket
if grep -q overlay /proc/filesystems 2>/dev/null || { has modprobe && modprobe -nq overlay; }; then say overlay; fi
say cgroup "$(stat -fc %T /sys/fs/cgroup 2>/dev/null)"
if has nft; then
  answer=$(nft -c -f - 2>&1 <<'EOF'
table inet berth_doctor {
 map to { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }
 chain pick { meta mark set numgen random mod 4 offset 3; dnat ip to ip daddr . meta l4proto . th dport . meta mark map @to; }
 chain pre { type nat hook prerouting priority dstnat; policy accept; ip daddr 192.0.2.0/24 goto pick; }
 chain post { type nat hook postrouting priority srcnat; policy accept; ct original ip daddr 192.0.2.0/24 masquerade; }
 chain hairpin { type filter hook prerouting priority dstnat + 5; policy accept; ct state new fib daddr . iif oif exists meta mark set 1; }
}
EOF
  ) && say nft ok || say nft "$(printf '%s' "$answer" | head -n 1)"
  nft list ruleset 2>/dev/null | awk '
    $1 == "table" { table = $2 " " $3 }
    $1 == "chain" { chain = $2 }
    /hook forward/ && /policy drop/ { print "drops " table " " chain }'
  [ "$(systemctl is-enabled nftables 2>/dev/null)" = enabled ] && grep -q '^[[:space:]]*flush ruleset' /etc/nftables.conf 2>/dev/null && say flushes
fi
folder=/var/lib/containerd
[ -d "$folder" ] || folder=/var/lib
df -Pk "$folder" 2>/dev/null | awk 'NR == 2 { print "disk", $4, $2 }'
df -Pi "$folder" 2>/dev/null | awk 'NR == 2 && $2 > 0 { print "inodes", $4, $2 }'
awk '$1 == "MemTotal:" { print "memory", $2 }' /proc/meminfo 2>/dev/null
has timedatectl && say ntp "$(timedatectl show -p NTPSynchronized --value 2>/dev/null)"
has getenforce && say selinux "$(getenforce 2>/dev/null)"
has sshd && sshd -T 2>/dev/null | awk '$1 ~ /^(maxsessions|maxstartups|allowtcpforwarding|allowstreamlocalforwarding|disableforwarding)$/ { print "sshd", $1, $2 }'
if has ip; then
  for address; do
    case $(ip route get "$address" 2>/dev/null | head -n 1) in
      '') say route "$address" none ;;
      *' via '*) say route "$address" via ;;
      *) say route "$address" direct ;;
    esac
  done
  # Once Berth is here, its own ranges are on the routes.
  [ -d /etc/berth/node ] || { ip -4 route show; ip -6 route show; } 2>/dev/null | awk '$1 ~ "/" { for (i = 2; i < NF; i++) if ($i == "dev") print "range", $1, $(i + 1) }'
fi
say now "$(date +%s)"
say end
