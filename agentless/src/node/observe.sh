# What the kernel and our files know, one fact a line: "KEY VALUE…". The engine reads it without
# the lock; nothing here writes.
observe() {
  local line key value file name fields spoilt=
  read -r value </etc/machine-id && printf 'machine %s\n' "$value"
  while read -r key value _; do [ "$key" = MemTotal: ] && printf 'memory %s\n' "$value" && break; done </proc/meminfo
  printf 'cpus %s\n' "$(nproc)"
  while IFS= read -r line; do case $line in PRETTY_NAME=*) printf 'os %s\n' "${line#*=}" ;; esac; done </etc/os-release
  printf 'now %s\n' "$(($(date +%s%N) / 1000000))"
  printf 'disk %s\n' "$(stat -f -c '%a %S' /var/lib/containerd 2>/dev/null || stat -f -c '%a %S' /)"
  printf 'disktotal %s\n' "$(stat -f -c '%b %S' /var/lib/containerd 2>/dev/null || stat -f -c '%b %S' /)"
  for name in cpu memory io; do
    { read -r _ _ value _ </proc/pressure/$name && printf 'pressure %s\n' "${value#avg60=}"; } 2>/dev/null
  done
  ip -o addr show scope global 2>/dev/null | while read -r _ name fields value _; do printf 'addr %s %s %s\n' "$name" "$fields" "$value"; done | head -n 256
  ss -Hltun 2>/dev/null | while read -r name _ _ _ value _; do printf 'listens %s %s\n' "$name" "$value"; done | sort -u | head -n 512
  for name in nft ip runc flock unshare nsenter systemctl; do command -v "$name" >/dev/null || printf 'missing %s\n' "$name"; done
  command -v systemd-creds >/dev/null || printf 'missing systemd-creds\n'
  for name in ptp static; do
    [ -x /usr/lib/cni/$name ] || [ -x /opt/cni/bin/$name ] || [ -x /usr/libexec/cni/$name ] || printf 'missing cni-%s\n' "$name"
  done
  ledger_mark "$1"
  [ -r /etc/berth/node/network.json ] && IFS= read -r line </etc/berth/node/network.json && printf 'network %s\n' "$line"
  for file in /etc/berth/reflexes/*/version; do
    [ -r "$file" ] || continue
    read -r value <"$file"
    name=${file%/version}
    printf 'reflex %s %s\n' "${name##*/}" "$value"
  done
  for file in /etc/berth/claims/*; do [ -f "$file" ] && printf 'claim %s\n' "${file##*/}"; done
  [ -d "/etc/berth/tenants/$1" ] && printf 'tenant\n'
  for file in /etc/berth/tenants/*; do
    name=${file##*/}
    [ -d "$file" ] && [ "$name" != "$1" ] || continue
    printf 'other %s\n' "$name"
    for value in "$file"/endpoints/*.json; do
      [ -r "$value" ] && IFS= read -r line <"$value" || continue
      line=${line#*'"address4":"'}
      printf 'taken %s\n' "${line%%'"'*}"
    done
  done
  for file in "/etc/berth/tenants/$1"/endpoints/*.json; do
    [ -r "$file" ] && IFS= read -r line <"$file" && printf 'endpoint %s\n' "$line"
  done
  # The files of pods that are not what the text said any more.
  { compgen -G "/etc/berth/tenants/$1/pods/*/sums" || compgen -G "/run/berth/secrets/$1/*/.sums"; } >/dev/null &&
    spoilt=$(cat "/etc/berth/tenants/$1"/pods/*/sums "/run/berth/secrets/$1"/*/.sums 2>/dev/null | sha256sum -c --quiet 2>/dev/null)
  for file in "/etc/berth/tenants/$1"/pods/*; do
    name=${file##*/}
    [ -d "$file" ] || continue
    key="/run/berth/secrets/$1/$name"
    [ ! -f "$file/secrets" ] || while read -r value _; do [ -e "$key/$value" ] || spoilt="$spoilt $key/"; done <"$file/secrets"
    fields=${spoilt#*"$file/files/"}
    [ ! -f "$file/runs" ] || { while read -r line; do value=$line; done <"$file/runs"; printf 'run %s %s\n' "$name" "$value"; }
    if [ -e "/run/netns/$1-$name" ] && [ "${fields#*"$key/"}" = "$spoilt" ]; then printf 'wired %s\n' "$name"; else printf 'unwired %s\n' "$name"; fi
  done
  compgen -G "/etc/berth/tenants/$1/pods/*/cron" >/dev/null && timers "$1"
  for file in /var/lib/berth/volumes/*/*/note.json; do
    [ -r "$file" ] && IFS= read -r line <"$file" || continue
    name=${file#/var/lib/berth/volumes/}
    name=${name%/note.json}
    printf 'volume %s %s %s\n' "${name%%/*}" "${name#*/}" "$line"
  done
  stat -c 'started %.3Y %n' /run/containerd/io.containerd.runtime.v2.task/"$1"/*/init.pid 2>/dev/null
  printf 'end\n'
}

# timers NAMESPACE: which pods their node runs when it is time, when that is next, in seconds since 1970, and which are being run.
timers() {
  local key value id='' state='' next=''
  { TZ=UTC systemctl show -p Id -p ActiveState -p NextElapseUSecRealtime "berth-cron@$1:*.timer" "berth-cron@$1:*.service" 2>/dev/null; echo; } |
    while IFS='=' read -r key value; do
      case $key in
        Id) id=$value ;;
        ActiveState) state=$value ;;
        NextElapseUSecRealtime) next=$value ;;
        '')
          value=${id#*:}
          case $id/$state in
            *.timer/active) printf 'timer %s %s\n' "${value%.timer}" "$(date -u -d "${next:-@0}" +%s 2>/dev/null || echo 0)" ;;
            *.service/activ*) printf 'busy %s\n' "${value%.service}" ;;
          esac
          id='' state='' next=''
          ;;
      esac
    done
}

# ledger_mark NAMESPACE: what is remembered of the ledger, as `observe` says it.
ledger_mark() {
  local file=/etc/berth/ledger/$1 value size
  [ -r "$file.mark" ] && read -r value <"$file.mark" || return 0
  size=$(stat -c %s "$file.log" 2>/dev/null || echo 0)
  # A first line that was being written when the node lost power never counted.
  case $value in *' 0 '*) [ "$(head -n 1 "$file.log" 2>/dev/null | wc -l)" != 0 ] || size=0 ;; esac
  printf 'mark %s %s\n' "$size" "$value"
}
