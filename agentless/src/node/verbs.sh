# What the engine's verbs need of the node's shell, one function a verb.

# network_up NETWORK-JSON NETWORK-LINE TABLE ROUTES: at run time, until network_keep; 82 if that has cut us off twice.
network_up() {
  local tool tried
  for tool in nft ip unshare flock; do
    command -v "$tool" >/dev/null || { echo "$tool is missing"; return 77; }
  done
  cni_dir >/dev/null || { cni_dir; return 77; }
  tried=$(grep -cxFs -- "$(network_try "$2")" /run/berth/network.undone)
  [ "${tried:-0}" -lt 2 ] || return 82
  mkdir -p /etc/berth/node /etc/berth/claims /etc/berth/tenants /run/berth || return
  if [ ! -d /etc/berth/node.before ]; then
    rm -rf /etc/berth/node.copy
    cp -a /etc/berth/node /etc/berth/node.copy && sync && mv /etc/berth/node.copy /etc/berth/node.before || return
  fi
  put /etc/berth/node/network "$2" && put /etc/berth/node/base.nft "$3" && printf '%s' "$4" >/etc/berth/node/routes || return
  net_base && net_routes || return
  # What the prune reflex changed is in the table no more.
  rm -f /run/berth/prune/stamp
  # Routes of an earlier fleet that this one lacks.
  local family range via
  [ -f /etc/berth/node/routes.set ] && while read -r family range via; do
    grep -q "^$family $range " /etc/berth/node/routes || ip "-$family" route del "$range" via "$via" 2>/dev/null
  done </etc/berth/node/routes.set
  cp /etc/berth/node/routes /etc/berth/node/routes.set
  put /etc/berth/node/network.json "$1"
}

# Who tries which network: network_try NETWORK-LINE.
network_try() { printf '%s %s' "$(cksum </run/berth/lock.claim)" "$1"; }

# network_keep: the engine has come in anew, so the change stays.
network_keep() {
  rm -rf /etc/berth/node.before && rm -f /run/berth/network.undone && sync /etc/berth
}

# What was not confirmed by whoever holds the lock goes back when they leave, or are not heard any more; what runs for
# them ends first, or has ten seconds.
network_left() {
  local tries=0
  [ -d /etc/berth/node.before ] && [ -e /proc/self/fd/9 ] || return 0
  while [ -n "$(jobs -pr)" ] && [ "$tries" -lt 50 ]; do
    tries=$((tries + 1))
    sleep 0.2
  done
  [ ! -f /etc/berth/node/network ] || printf '%s\n' "$(network_try "$(cat /etc/berth/node/network)")" >>/run/berth/network.undone
  network_undo >/dev/null 2>&1
}

network_down() {
  local left
  left=$(ls -A /etc/berth/tenants 2>/dev/null)
  [ -z "$left" ] || { printf '%s' "${left//$'\n'/, }"; return 78; }
  nft delete table inet berth_ports 2>/dev/null
  net_unset
  settings_back /dev/null
  rm -rf /etc/berth/node /etc/berth/node.before /etc/berth/node.copy /etc/berth/claims /etc/berth/tenants /run/berth/pods
  rmdir /etc/berth/reflexes /etc/berth/ledger /etc/berth 2>/dev/null
  return 0
}

tenant_up() {
  mkdir -p "/etc/berth/tenants/$1/pods" "/etc/berth/tenants/$1/endpoints" "/var/log/berth/$1" /run/berth
}

# volume_up NAMESPACE ID USER GROUP NOTE: a volume's folder, and what is noted of it; never its data.
volume_up() {
  local root=/var/lib/berth/volumes/$1 folder=/var/lib/berth/volumes/$1/$2
  mkdir -p "$folder" || return
  [ -d "$folder/data" ] || mkdir -m 755 "$folder/data" || return
  chown "$3:$4" "$folder/data" || return
  printf '%s\n' "$5" >"$folder/note.new" && sync "$folder/note.new" || return
  mv -f "$folder/note.new" "$folder/note.json" && sync "$folder" "$root" /var/lib/berth/volumes /var/lib/berth
}

# volume_down NAMESPACE ID: first it is no volume any more, then its data goes.
volume_down() {
  local root=/var/lib/berth/volumes/$1 gone=/var/lib/berth/volumes/$1/.gone-$2
  if [ -e "$root/$2" ]; then
    rm -rf "$gone" && mv "$root/$2" "$gone" || return
  fi
  rm -rf "$gone" || return
  rmdir "$root" /var/lib/berth/volumes /var/lib/berth 2>/dev/null
  return 0
}

# Everything of a tenant that has no containers any more, wiring that was cut off half-way included.
tenant_down() {
  local left group
  for left in "/etc/berth/tenants/$1"/pods/*; do
    [ -d "$left" ] && pod_down "$1" "${left##*/}"
  done
  for left in "/etc/berth/tenants/$1"/endpoints/*.out; do
    [ -f "$left" ] && nft -f "$left" 2>/dev/null
  done
  rm -rf "/etc/berth/tenants/$1" "/var/log/berth/$1"
  rmdir /var/log/berth 2>/dev/null
  for group in /sys/fs/cgroup/"$1" /sys/fs/cgroup/*/"$1"; do
    [ -d "$group" ] && rmdir "$group" 2>/dev/null
  done
  return 0
}

# claim NAME HOLDER: takes an address or a port of the node; 79 and the holder if another has it.
claim() {
  local holder
  (set -C; printf '%s\n' "$2" >"/etc/berth/claims/$1") 2>/dev/null && return 0
  read -r holder <"/etc/berth/claims/$1" || { echo 'the network of this node is not set up'; return 1; }
  [ "$holder" = "$2" ] || { printf '%s' "$holder"; return 79; }
}

# pod_up NAMESPACE ID IP4 IP6 REPLICA PORTS FOLDERS LIVE: 79 and the holder if the address is claimed; 81, the port
# and its holder if one of the node's ports is. PORTS are PROTOCOL:PORT:TARGET, separated by commas; FOLDERS is how many
# it has that go when it goes; LIVE is what the live reflex reads, if anything.
pod_up() {
  local dir=/etc/berth/tenants/$1/pods/$2 port said resolv=/etc/resolv.conf folder=0
  claim "$3" "$1/$2" || return
  for port in ${6//,/ }; do
    port=${port%:*}
    said=$(claim "${port/:/-}" "$1/$2") && continue
    [ $? = 79 ] && { printf '%s/%s %s' "${port#*:}" "${port%:*}" "$said"; return 81; }
    printf '%s' "$said"
    return 1
  done
  mkdir -p "$dir" "/var/log/berth/$1" || return
  grep -qs '^nameserver 127\.0\.0\.53' $resolv && resolv=/run/systemd/resolve/resolv.conf
  printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n%s %s\n%s %s\n' "$3" "$5" "$4" "$5" >"$dir/hosts"
  printf '%s\n' "$5" >"$dir/hostname"
  { [ -r $resolv ] && printf '%s\n' "$(<$resolv)"; } >"$dir/resolv.conf"
  chmod 644 "$dir/hosts" "$dir/hostname" "$dir/resolv.conf"
  printf '%s\n' "$3 $4" >"$dir/pod" || return
  while [ "$folder" -lt "$7" ]; do
    mkdir -p "/var/lib/berth/scratch/$1/$2/$folder" && chmod 1777 "/var/lib/berth/scratch/$1/$2/$folder" || return
    folder=$((folder + 1))
  done
  pod_wire "$1" "$2" || return
  [ -z "$6" ] || { printf '%s\n' "$6" | tr ',:' '\n ' >"$dir/ports" && ports_set || return; }
  [ -z "$8" ] || { put "$dir/live" "$8" && live_timer; }
}

# files_up NAMESPACE ID (NAME MODE USER:GROUP SUM BASE64)...: files of the text for a pod's containers, and what is in
# them by its sum, for `observe`.
files_up() {
  local dir=/etc/berth/tenants/$1/pods/$2
  shift 2
  rm -rf "$dir/files" && mkdir -p "$dir/files" && : >"$dir/sums" || return
  while [ $# -ge 5 ]; do
    printf '%s' "$5" | base64 -d >"$dir/files/$1" && chown "$3" "$dir/files/$1" && chmod "$2" "$dir/files/$1" || return
    printf '%s  %s\n' "$4" "$dir/files/$1" >>"$dir/sums"
    shift 5
  done
  sha256sum -c --quiet "$dir/sums" && sync "$dir"/files/* "$dir/sums"
}

# secrets_up NAMESPACE ID (NAME MODE USER:GROUP sealed|memory SUM BASE64)...: secrets of the text for a pod's containers. They
# are in memory; those that may be there again after a boot are kept encrypted with the node's own key.
secrets_up() {
  (
    umask 077
    dir=/etc/berth/tenants/$1/pods/$2 run=/run/berth/secrets/$1/$2
    shift 2
    rm -rf "$run" "$dir/sealed" "$dir/secrets" && mkdir -p "$run" "$dir/sealed" && : >"$run/.sums" || return
    while [ $# -ge 6 ]; do
      if [ "$4" = sealed ]; then
        command -v systemd-creds >/dev/null || {
          printf 'it has no systemd-creds (systemd 250 or later) to keep a secret sealed with; say `at_rest: memory`, and it comes with each apply after a boot'
          return 1
        }
        printf '%s' "$6" | base64 -d | systemd-creds encrypt --name=berth - "$dir/sealed/$1" || return
      fi
      printf '%s' "$6" | base64 -d >"$run/$1" && chown "$3" "$run/$1" && chmod "$2" "$run/$1" || return
      printf '%s  %s\n' "$5" "$run/$1" >>"$run/.sums"
      printf '%s %s %s %s\n' "$1" "$2" "$3" "$4" >>"$dir/secrets"
      shift 6
    done
    sha256sum -c --quiet "$run/.sums" && sync "$dir/secrets" "$dir/sealed" "$dir" || return
    for run in "$dir"/sealed/*; do [ ! -f "$run" ] || sync "$run" || return; done
  )
}

# pod_down NAMESPACE ID: all that pod_up made; the log stays for `berth logs`.
pod_down() {
  local claim holder
  if [ -f "/etc/berth/tenants/$1/pods/$2/ports" ]; then
    rm -f "/etc/berth/tenants/$1/pods/$2/ports"
    ports_set || return
  fi
  cron_down "$1" "$2" || return
  pod_unwire "$1" "$2"
  for claim in /etc/berth/claims/*; do
    [ -f "$claim" ] && read -r holder <"$claim" && [ "$holder" = "$1/$2" ] && rm -f "$claim"
  done
  if [ -f "/etc/berth/tenants/$1/pods/$2/live" ]; then
    rm -f "/etc/berth/tenants/$1/pods/$2/live" "/run/berth/live/$1-$2"
    live_timer || return
  fi
  rm -rf "/etc/berth/tenants/$1/pods/$2" "/run/berth/secrets/$1/$2"
  rmdir "/run/berth/secrets/$1" /run/berth/secrets 2>/dev/null
  if [ -d "/var/lib/berth/scratch/$1/$2" ]; then
    rm -rf "/var/lib/berth/scratch/$1/$2" || return
    rmdir "/var/lib/berth/scratch/$1" /var/lib/berth/scratch /var/lib/berth 2>/dev/null
  fi
  logs_trim "$1"
}

# cron_up NAMESPACE ID CONF CATCH_UP CALENDAR…: its node runs a pod whenever a calendar event of systemd comes; CONF is what the cron reflex
# reads. A run that is under way goes on.
cron_up() {
  local dir=/etc/berth/tenants/$1/pods/$2 unit=berth-cron@$1:$2.timer conf=$3 again=$4 one said
  local text="[Unit]
Description=Berth: when $2 runs

[Timer]
AccuracySec=1s
Persistent=$again"
  shift 4
  for one in "$@"; do
    said=$(systemd-analyze calendar "$one" 2>&1) || { printf '%s: %s' "$one" "$said"; return 1; }
    text=$text$'\n'OnCalendar=$one
  done
  put "/etc/systemd/system/$unit" "$text"$'\n\n[Install]\nWantedBy=timers.target' && put "$dir/cron" "$conf" &&
    mkdir -p /etc/systemd/system/timers.target.wants && ln -sf "../$unit" "/etc/systemd/system/timers.target.wants/$unit" &&
    systemctl daemon-reload && systemctl start "$unit"
}

# cron_on NAMESPACE ID: whether its node runs a pod when it is time.
cron_on() {
  [ -f "/etc/berth/tenants/$1/pods/$2/cron" ] && systemctl is-active --quiet "berth-cron@$1:$2.timer"
}

# cron_down NAMESPACE ID: its node starts a pod no more; a process of it that runs goes on.
cron_down() {
  local unit=berth-cron@$1:$2
  [ -f "/etc/systemd/system/$unit.timer" ] || return 0
  systemctl stop "$unit.timer" "$unit.service" 2>/dev/null
  rm -f "/etc/systemd/system/timers.target.wants/$unit.timer" "/etc/systemd/system/$unit.timer" "/var/lib/systemd/timers/stamp-$unit.timer"
  systemctl daemon-reload || return
  systemctl reset-failed "$unit.timer" "$unit.service" 2>/dev/null
  return 0
}

# The live reflex's timer runs while there is something to ask.
live_timer() {
  (
    # Two pods, one that comes and one that goes, must not each do what the other one undoes.
    flock 9
    if compgen -G '/etc/berth/tenants/*/pods/*/live' >/dev/null; then
      systemctl start berth-live.timer
    else
      systemctl stop berth-live.timer && rm -rf /run/berth/live
    fi
  ) 9<"/etc/berth/node/network"
}

# Keeps the logs of the last ten pods that are gone, each with its past.
logs_trim() {
  local log kept=0
  find "/var/log/berth/$1" -type f -name '*.log' -printf '%T@ %f\n' 2>/dev/null | sort -rn | while read -r _ log; do
    log=${log%.log}
    # One beside a pod's own is named after the pod: web-0.g1.proxy.
    [ -d "/etc/berth/tenants/$1/pods/$log" ] || [ -d "/etc/berth/tenants/$1/pods/${log%.*}" ] && continue
    kept=$((kept + 1))
    [ "$kept" -le 10 ] || rm -f "/var/log/berth/$1/$log.log" "/var/log/berth/$1/$log.log".*
  done
}

# endpoint_swap NAMESPACE NAME JSON ADDS DELETES: one transaction that takes the earlier elements
# out and puts these in. If kernel and files have parted, everything is loaded from the files.
endpoint_swap() {
  # The prune reflex must not change in between what this reads, nor this what it does.
  (flock 9 && endpoint_put "$@") 9>/run/berth/endpoints.lock
}

endpoint_put() {
  local at=/etc/berth/tenants/$1/endpoints/$2 said
  if said=$({ [ -f "$at.out" ] && cat "$at.out"; printf '%s\n' "$4"; } | nft -f - 2>&1); then
    put "$at.nft" "$4" && put "$at.out" "$5" && put "$at.json" "$3"
  else
    [ -f "$at.nft" ] && cp "$at.nft" "$at.was"
    put "$at.nft" "$4"
    if said=$said$'\n'$(net_base 2>&1); then
      rm -f "$at.was"
      put "$at.out" "$5" && put "$at.json" "$3"
    else
      if [ -f "$at.was" ]; then mv -f "$at.was" "$at.nft"; else rm -f "$at.nft"; fi
      printf '%s' "$said"
      return 1
    fi
  fi
}

endpoint_remove() {
  [ -f "/etc/berth/tenants/$1/endpoints/$2.out" ] || return 0
  (flock 9 && endpoint_drop "$@") 9>/run/berth/endpoints.lock
}

# endpoint_rename NAMESPACE OLD NEW JSON: the files of an endpoint under another name. JSON is what says that there
# is one, so the new one comes last of the new files, and the old one goes last of the old.
endpoint_rename() {
  (flock 9 && endpoint_move "$@") 9>/run/berth/endpoints.lock
}

endpoint_move() {
  local old=/etc/berth/tenants/$1/endpoints/$2 new=/etc/berth/tenants/$1/endpoints/$3 kind
  [ -f "$old.json" ] || return 0
  if [ -f "$new.json" ]; then
    # It was moved, or there is one of each: what is left of the old one goes.
    [ -f "$old.out" ] || { rm -f "$old.json"; return; }
    rm -f "$old.nft" "$old.out" "$old.json"
    net_base
    return
  fi
  for kind in nft out; do
    [ -f "$old.$kind" ] && { mv -f "$old.$kind" "$new.$kind" || return; }
  done
  put "$new.json" "$4" && rm -f "$old.json"
}

endpoint_drop() {
  local at=/etc/berth/tenants/$1/endpoints/$2
  if nft -f "$at.out" 2>/dev/null; then
    rm -f "$at.nft" "$at.out" "$at.json"
  else
    rm -f "$at.nft" "$at.out" "$at.json"
    [ -f /etc/berth/node/network ] && net_base
  fi
}

# ledger_append NAMESPACE LENGTH HASH BASE64: 80 if the ledger has another length, or does not end with the
# line of that hash. What follows without a line's end was being written when the node lost power.
ledger_append() {
  local file=/etc/berth/ledger/$1.log size=0
  mkdir -p /etc/berth/ledger || return
  [ -f "$file" ] && size=$(stat -c %s "$file")
  if [ "$size" -gt "$2" ] && [ "$(tail -c "+$(($2 + 1))" "$file" | wc -l)" = 0 ]; then
    truncate -s "$2" "$file" && size=$2
  fi
  [ "$size" = "$2" ] || { printf '%s' "$size"; return 80; }
  [ "$2" = 0 ] || [ "$(tail -c 67 "$file")" = "$3\"}" ] || return 80
  printf '%s' "$4" | base64 -d | dd of="$file" bs=1M iflag=fullblock oflag=append conv=notrunc,fsync status=none || {
    # A half-written record would make the next append refuse for ever.
    truncate -s "$2" "$file"
    return 1
  }
  [ "$2" != 0 ] || sync /etc/berth /etc/berth/ledger
}

# ledger_replace NAMESPACE BASE64: the whole of it, at once.
ledger_replace() {
  local file=/etc/berth/ledger/$1.log
  mkdir -p /etc/berth/ledger || return
  printf '%s' "$2" | base64 -d >"$file.new" && sync "$file.new" && mv -f "$file.new" "$file" && sync /etc/berth /etc/berth/ledger
}

ledger_remove() {
  rm -f "/etc/berth/ledger/$1.log" "/etc/berth/ledger/$1.mark" "/etc/berth/ledger/$1.ask"
  tidy
}

# ledger_read NAMESPACE FROM BYTES: a part of it.
ledger_read() {
  [ -f "/etc/berth/ledger/$1.log" ] || return 0
  tail -c "+$(($2 + 1))" "/etc/berth/ledger/$1.log" | head -c "$3" | base64 -w 0
}

# ledger_ask NAMESPACE BASE64: a word for whoever holds the lock, from somebody who does not; the last one counts.
ledger_ask() {
  local file=/etc/berth/ledger/$1.ask
  [ -f "/etc/berth/ledger/$1.log" ] || return 0
  printf '%s' "$2" | base64 -d >"$file.$$" && mv -f "$file.$$" "$file" || { rm -f "$file.$$"; return 1; }
}

# ledger_asked NAMESPACE: that word.
ledger_asked() {
  [ ! -f "/etc/berth/ledger/$1.ask" ] || head -c 16384 "/etc/berth/ledger/$1.ask" | base64 -w 0
}

# pod_log NAMESPACE ID LIMIT: the end of a log, as base64.
pod_log() {
  local log=/var/log/berth/$1/$2.log
  [ -f "$log" ] || return 2
  { [ -f "$log.1" ] && [ "$(stat -c %s "$log")" -lt "$3" ] && cat "$log.1"; cat "$log"; } | tail -c "$3" | base64 -w 0
}

# pod_connections NAMESPACE ID: the pod's own connection tables.
pod_connections() {
  [ -e "/run/netns/$1-$2" ] || return 2
  nsenter "--net=/run/netns/$1-$2" sh -c 'head -c 4000000 /proc/self/net/tcp; head -c 4000000 /proc/self/net/tcp6' |
    while read -r _ local _ state _; do
      case $state in 01 | 03 | 0A) printf '%s %s\n' "$state" "${local##*:}" ;; esac
    done
}

# reflex_up NAME VERSION; the units and scripts come as FILE TEXT pairs after that.
reflex_up() {
  local name=$1 version=$2 file
  mkdir -p "/etc/berth/reflexes/$name" || return
  shift 2
  while [ $# -gt 1 ]; do
    file=$1
    [ "${file#/}" = "$file" ] && file=/etc/berth/reflexes/$name/$file
    put "$file" "$2" || return
    shift 2
  done
  chmod 755 "/etc/berth/reflexes" "/etc/berth/reflexes/$name"
  # What `systemctl enable` does, without its three reloads of the manager.
  for file in $(reflex_wants "$name"); do
    mkdir -p "/etc/systemd/system/${file%/*}" || return
    ln -sf "../${file##*/}" "/etc/systemd/system/$file" || return
  done
  systemctl daemon-reload || return
  # The drain unit acts when it stops, so it has to be up now; a changed timer has to start anew.
  case $name in
    boot) systemctl start --no-block berth-net.service berth-routes.service berth-drain.service ;;
    rotate | prune | backoff) systemctl restart --no-block "berth-$name.timer" ;;
    live) live_timer ;;
    cron) ;;
  esac || return
  put "/etc/berth/reflexes/$name/version" "$version"
}

# Which target or service starts which unit.
reflex_wants() {
  case $1 in
    boot)
      printf '%s\n' containerd.service.wants/berth-net.service multi-user.target.wants/berth-routes.service \
        containerd.service.wants/berth-drain.service
      ;;
    rotate | live | prune | backoff) echo "timers.target.wants/berth-$1.timer" ;;
  esac
}

reflex_down() {
  local want
  # The drain unit stops pods only while the whole system stops, so stopping it now stops none.
  for want in $(reflex_wants "$1"); do
    systemctl stop "${want##*/}" 2>/dev/null
    rm -f "/etc/systemd/system/$want" "/etc/systemd/system/${want##*/}"
    rmdir "/etc/systemd/system/${want%/*}" 2>/dev/null
  done
  # One that looks just now would leave behind what it knows; stopped in its midst, it has failed.
  systemctl stop "berth-$1.service" 2>/dev/null
  rm -f "/etc/systemd/system/berth-$1.service" "/etc/systemd/system/berth-$1@.service"
  [ "$1" != prune ] || rm -rf /run/berth/prune /run/berth/endpoints.lock
  rm -rf "/etc/berth/reflexes/$1"
  rmdir /etc/berth/reflexes 2>/dev/null
  systemctl daemon-reload || return
  systemctl reset-failed "berth-$1.service" 2>/dev/null
  return 0
}

# pod_hook NAMESPACE ID SECONDS PROGRAM…: runs a program in a pod.
pod_hook() {
  local root=/run/containerd/runc/$1 id=$2 limit=$3
  shift 3
  timeout -k 1 "$limit" runc --root "$root" --log /dev/null exec "$id" "$@" 2>&1 </dev/null | tail -c 2000
  return "${PIPESTATUS[0]}"
}

# devices_find PATH…: "KIND MAJOR MINOR PATH" of those that are devices; numbers are hexadecimal.
devices_find() {
  local path kind
  for path in "$@"; do
    if [ -c "$path" ]; then kind=c; elif [ -b "$path" ]; then kind=b; else continue; fi
    printf '%s %s %s\n' "$kind" "$(stat -L -c '%t %T' "$path")" "$path"
  done
}

# cdi_find: "PATH BASE64" of the files in which vendors say what their devices take; what goes before others comes last.
cdi_find() {
  local file
  for file in /etc/cdi/*.json /etc/cdi/*.yaml /var/run/cdi/*.json /var/run/cdi/*.yaml; do
    [ ! -f "$file" ] || printf '%s %s\n' "$file" "$(head -c 1000000 "$file" | base64 -w 0)"
  done
}

# disks_find: "MAJOR MINOR" of the disks that containers and volumes are on, whole ones in the place of their parts; fails where
# containers are on none that the kernel can limit.
disks_find() {
  local folder at
  for folder in /var/lib/containerd /var/lib/berth; do
    [ -d "$folder" ] || continue
    at=$(findmnt -n -o MAJ:MIN -T "$folder" | tr -d ' ')
    case $at in
      '' | 0:*)
        [ "$folder" != /var/lib/containerd ] && continue
        findmnt -n -o FSTYPE -T "$folder"
        return 1
        ;;
    esac
    [ ! -e "/sys/dev/block/$at/partition" ] || read -r at <"/sys/dev/block/$at/../dev"
    printf '%s %s\n' "${at%:*}" "${at#*:}"
  done
}

# user_find USER[:GROUP] LAYER…: numeric ids from the topmost passwd and group files of an image, and of a user that is
# named without a group the other groups that it is in.
user_find() {
  local user=${1%%:*} group='' dir uid='' gid='' name number rest passwd='' groups='' more=''
  case $1 in *:*) group=${1#*:} ;; esac
  shift
  for dir in "$@"; do
    [ -z "$passwd" ] && [ -f "$dir/etc/passwd" ] && [ ! -L "$dir/etc/passwd" ] && passwd=$dir/etc/passwd
    [ -z "$groups" ] && [ -f "$dir/etc/group" ] && [ ! -L "$dir/etc/group" ] && groups=$dir/etc/group
  done
  while IFS=: read -r name _ number rest; do
    [ "$name" = "$user" ] || [ "$number" = "$user" ] || continue
    uid=$number gid=${rest%%:*}
    break
  done < <(head -c 1000000 "${passwd:-/dev/null}")
  case $user in *[!0-9]*) ;; *) uid=$user gid=${gid:-0} ;; esac
  case $group in
    '')
      while IFS=: read -r name _ number rest; do
        case ,$rest, in *",$user,"*) more="$more $number" ;; esac
      done < <(head -c 1000000 "${groups:-/dev/null}")
      ;;
    *[!0-9]*)
      gid=''
      while IFS=: read -r name _ number _; do
        [ "$name" = "$group" ] && gid=$number && break
      done < <(head -c 1000000 "${groups:-/dev/null}")
      ;;
    *) gid=$group ;;
  esac
  if [ -z "$uid" ] || [ -z "$gid" ]; then
    echo 'its passwd and group files do not know it'
    return 1
  fi
  printf '%s %s%s\n' "$uid" "$gid" "$more"
}

# probe_tcp ADDRESS PORT SECONDS [REQUEST]: opens a connection, and prints the answer's beginning.
probe_tcp() {
  # In one piece and by another process: bash would write line by line, and die of one that nobody reads any more.
  # shellcheck disable=SC2016
  timeout "$3" bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit 1
    [ $# -lt 3 ] || { head -c 65536 <<<"${3%$'"'\\n'"'}" >&3; head -n 1 <&3 | head -c 512; }' bash "$1" "$2" "${@:4}" 2>/dev/null
}

# containerd_state: why its socket can't be reached.
containerd_state() {
  if [ -S /run/containerd/containerd.sock ]; then
    if systemctl is-active --quiet containerd; then echo denied; else echo stopped; fi
  elif command -v containerd >/dev/null; then
    echo stopped
  else
    echo absent
  fi
}

# blob_offer HEX ADDRESS TOKEN: a blob of this node for whoever says the token, for a quarter of an hour at most; prints the port
# and the process that `blob_end` ends.
blob_offer() {
  local file=/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/$1 address=$2 port tries=0
  command -v systemd-socket-activate >/dev/null && [ -f "$file" ] || return 1
  case $address in *:*) address="[$address]" ;; esac
  while [ "$tries" -lt 8 ]; do
    tries=$((tries + 1)) port=$((20000 + RANDOM % 12000))
    # The token is in nobody's arguments. The lock is not kept by what nobody ends.
    # shellcheck disable=SC2016
    BERTH_TOKEN=$3 BERTH_BLOB=$file timeout 900 systemd-socket-activate -a --inetd -E BERTH_TOKEN -E BERTH_BLOB -E PATH -l "$address:$port" \
      bash -c 'read -r -t 10 said && [ "$said" = "$BERTH_TOKEN" ] && exec cat "$BERTH_BLOB"' </dev/null >/dev/null 2>&1 9>&- &
    : >"/run/berth/offer.$$.$!"
    sleep 0.1
    if kill -0 $! 2>/dev/null; then
      printf '%s %s' "$port" $!
      return 0
    fi
    rm -f "/run/berth/offer.$$.$!"
  done
  return 1
}

# blob_end PID: ends an offer of this session's.
blob_end() {
  [ ! -e "/run/berth/offer.$$.$1" ] || kill "$1" 2>/dev/null
  rm -f "/run/berth/offer.$$.$1"
}

# Ends what an engine offered that leaves, or is not heard any more: what other sessions offer is theirs.
offers_left() {
  local offer
  for offer in "/run/berth/offer.$$".*; do
    [ ! -e "$offer" ] || blob_end "${offer##*.}"
  done
}

# blob_take NAMESPACE DIGEST SIZE ADDRESS PORT TOKEN: a blob from a node that offers it; it is what it should be, or not taken. 83 if
# that node does not answer there.
blob_take() {
  command -v ctr >/dev/null || return 127
  # A firewall that drops would have us wait for minutes.
  # shellcheck disable=SC2016
  timeout 5 bash -c ': <>"/dev/tcp/$1/$2"' bash "$4" "$5" 2>/dev/null || return 83
  (
    exec 9>&- 3<>"/dev/tcp/$4/$5" && printf '%s\n' "$6" >&3 &&
      timeout -k 5 900 ctr -n "$1" content ingest --expected-size "$3" --expected-digest "$2" "berth-take-$2" <&3 2>&1
  )
}

# image_pull NAMESPACE NAME PLATFORM HOSTS CERTIFICATES: an image's blobs from its registry, read as HOSTS says
# (containerd's hosts.toml; @FOLDER@ in it is where that is). The lock is not kept by a pull that nobody waits for any more.
image_pull() {
  local folder status
  command -v ctr >/dev/null || return 127
  # What a pull left that was killed, an hour and more ago.
  find /run/berth -maxdepth 1 -name 'pull.*' -mmin +70 -exec rm -rf {} + 2>/dev/null
  mkdir -p /run/berth && folder=$(mktemp -d /run/berth/pull.XXXXXX) || return
  mkdir "$folder/_default" && printf '%s' "$5" >"$folder/ca" && printf '%s' "${4//@FOLDER@/"$folder"}" >"$folder/_default/hosts.toml" &&
    timeout -k 5 3600 ctr -n "$1" content fetch --hosts-dir "$folder" --platform "$3" "$2" 9>&- 2>&1 >/dev/null | tail -c 2000
  status=${PIPESTATUS[0]}
  rm -rf "$folder"
  return "$status"
}
