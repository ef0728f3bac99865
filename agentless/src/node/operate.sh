# What operators look at: logs, usage, what listens; and debug containers. Nothing here needs the lock.

# logs_seen NAMESPACE: the node's time, then "SIZE TIME FILE" for each log and each log's past.
logs_seen() {
  printf 'now %s\n' "$EPOCHSECONDS"
  cd "/var/log/berth/$1" 2>/dev/null || return 0
  stat -c 'file %s %.3Y %n' -- *.log *.log.1 2>/dev/null
  return 0
}

# log_start NAMESPACE POD AGO TAIL: "FILE POSITION LEFT-OUT", where the last TAIL lines begin of those that came in
# the last AGO seconds; each may be "all". FILE is "past", or else the present turn (see logs_read). The rotate reflex notes each minute how long the
# log was: it begins at the last such note before, so that nothing is missing and at most a minute is too much.
log_start() {
  local log=/var/log/berth/$1/$2.log past=0 turn=0 size=0 written=0 from=0 at=0 left=0 after time position lines
  [ -f "$log" ] || return 2
  read -r size written < <(stat -c '%s %Y' "$log")
  [ -f "$log.1" ] && read -r turn past < <(stat -c '%.3Y %s' "$log.1")
  if [ "$3" != all ]; then
    after=$((EPOCHSECONDS - $3))
    [ -f "$log.1.times" ] && while read -r time position; do
      [ "$time" -gt "$after" ] || [ "$position" -gt "$past" ] || from=$position
    done <"$log.1.times"
    [ -f "$log.times" ] && while read -r time position; do
      [ "$time" -gt "$after" ] || [ "$position" -gt "$size" ] || from=$((past + position))
    done <"$log.times"
    [ "$written" -ge "$after" ] || from=$((past + size))
  fi
  if [ "$4" != all ]; then
    lines=$(head -c "$size" "$log" | wc -l)
    if [ "$lines" -ge "$4" ]; then
      at=$((past + size - $(head -c "$size" "$log" | tail -n "$4" | wc -c)))
    elif [ "$past" -gt 0 ]; then
      at=$((past - $(tail -n $(($4 - lines)) "$log.1" | wc -c)))
    fi
  fi
  [ "$at" -gt "$from" ] && from=$at left=1
  if [ "$from" -lt "$past" ]; then
    printf 'past %s %s' "$from" "$left"
  else
    printf '%s %s %s' "$turn" "$((from - past))" "$left"
  fi
}

# logs_read NAMESPACE LIMIT [POD TURN POSITION]...: "POD TURN PAST BASE64", what came after a position. A turn is when
# the log was last put away as the past, 0 if never; in another turn than the present one the position is in the past,
# and the log follows it. One that is being put away just now is left for the next time.
logs_read() {
  local limit=$2 turn past
  cd "/var/log/berth/$1" 2>/dev/null || return 0
  shift 2
  while [ $# -ge 3 ]; do
    turn=0 past=0
    [ -f "$1.log.1" ] && read -r turn past < <(stat -c '%.3Y %s' -- "$1.log.1")
    if [ "$turn" = "$2" ]; then
      printf '%s %s %s %s\n' "$1" "$turn" "$past" "$(tail -c "+$(($3 + 1))" -- "$1.log" 2>/dev/null | head -c "$limit" | base64 -w 0)"
    elif [ $((EPOCHSECONDS - ${turn%.*})) -lt 0 ] || [ $((EPOCHSECONDS - ${turn%.*})) -gt 1 ]; then
      printf '%s %s %s %s\n' "$1" "$turn" "$past" \
        "$({ tail -c "+$(($3 + 1))" -- "$1.log.1"; cat -- "$1.log"; } 2>/dev/null | head -c "$limit" | base64 -w 0)"
    fi
    shift 3
  done
}

# process_signal NAME PID: only to a process that runc is.
process_signal() {
  local name
  read -r name 2>/dev/null <"/proc/$2/comm" || return 2
  case $name in runc | runc:* | crun | sh) kill -s "$1" "$2" ;; *) return 2 ;; esac
}

# pod_listens NETNS ADDRESS PORT: where within the pod that port can be reached, if anywhere.
pod_listens() {
  local port local state at='' any='' six=''
  port=$(printf '%04X' "$3")
  while read -r _ local _ state _; do
    [ "$state" = 0A ] && [ "${local##*:}" = "$port" ] || continue
    case ${local%:*} in
      00000000 | 0100007F) any=127.0.0.1 ;;
      00000000000000000000000000000000) any=127.0.0.1 ;;
      00000000000000000000000001000000) six=::1 ;;
      *) at=$2 ;;
    esac
  done < <(nsenter "--net=/run/netns/$1" sh -c 'head -c 4000000 /proc/self/net/tcp; head -c 4000000 /proc/self/net/tcp6' 2>/dev/null)
  at=${any:-${six:-$at}}
  [ -n "$at" ] && printf '%s' "$at"
}

# usage NAMESPACE: counters of the node and of each pod, "KEY VALUE…" a line; two such make a rate.
usage() {
  local line name value dir pod part
  printf 'now %s\n' "${EPOCHREALTIME/[.,]/}"
  read -r line </proc/stat && printf 'stat %s\n' "${line#cpu }"
  printf 'cpus %s\n' "$(nproc)"
  while read -r name value _; do
    case $name in MemTotal: | MemAvailable:) printf 'mem %s %s\n' "${name%:}" "$value" ;; esac
  done </proc/meminfo
  read -r line </proc/loadavg && printf 'load %s\n' "${line%% *}"
  for name in cpu memory io; do
    { read -r _ value _ </proc/pressure/$name && printf 'pressure %s %s\n' "$name" "${value#avg10=}"; } 2>/dev/null
  done
  for dir in "/etc/berth/tenants/$1"/pods/*; do
    [ -d "$dir" ] || continue
    pod=${dir##*/}
    printf 'pod %s\n' "$pod"
    # Those beside its own are web-0.g1.proxy.
    if [ -f "/sys/fs/cgroup/$1/$pod/cpu.stat" ]; then
      for part in "/sys/fs/cgroup/$1/$pod" "/sys/fs/cgroup/$1/$pod".*; do
        [ -d "$part" ] && usage_v2 "$part"
      done
    else
      for part in "/sys/fs/cgroup/memory/$1/$pod" "/sys/fs/cgroup/memory/$1/$pod".*; do
        [ -d "$part" ] && usage_v1 "$1/${part##*/}"
      done
    fi
  done
  printf 'end\n'
}

usage_v2() {
  local name value sum line
  while read -r name value; do [ "$name" = usage_usec ] && printf 'cpu %s\n' "$value"; done <"$1/cpu.stat"
  { read -r value <"$1/memory.current" && printf 'memory %s\n' "$value"
    read -r value <"$1/memory.max" && printf 'limit %s\n' "$value"
    while read -r name value; do [ "$name" = inactive_file ] && printf 'cache %s\n' "$value"; done <"$1/memory.stat"
    while read -r name value; do [ "$name" = oom_kill ] && printf 'oom %s\n' "$value"; done <"$1/memory.events"
    while read -r line; do
      for sum in $line; do
        case $sum in rbytes=*) printf 'read %s\n' "${sum#*=}" ;; wbytes=*) printf 'write %s\n' "${sum#*=}" ;; esac
      done
    done <"$1/io.stat"
    read -r value <"$1/pids.current" && printf 'pids %s\n' "$value"
    usage_psi "$1"; } 2>/dev/null
  return 0
}

usage_psi() {
  local name value
  for name in cpu memory io; do
    read -r _ value _ <"$1/$name.pressure" && printf 'psi %s %s\n' "$name" "${value#avg10=}"
  done
}

usage_v1() {
  local g=/sys/fs/cgroup name value kind
  { for name in cpuacct cpu,cpuacct; do
      read -r value <"$g/$name/$1/cpuacct.usage" && printf 'cpu %s\n' "$((value / 1000))" && break
    done
    read -r value <"$g/memory/$1/memory.usage_in_bytes" && printf 'memory %s\n' "$value"
    read -r value <"$g/memory/$1/memory.limit_in_bytes" && printf 'limit %s\n' "$value"
    while read -r name value; do [ "$name" = total_inactive_file ] && printf 'cache %s\n' "$value"; done <"$g/memory/$1/memory.stat"
    while read -r name value; do [ "$name" = oom_kill ] && printf 'oom %s\n' "$value"; done <"$g/memory/$1/memory.oom_control"
    while read -r _ kind value; do
      case $kind in Read) printf 'read %s\n' "$value" ;; Write) printf 'write %s\n' "$value" ;; esac
    done <"$g/blkio/$1/blkio.throttle.io_service_bytes"
    read -r value <"$g/pids/$1/pids.current" && printf 'pids %s\n' "$value"
    # Beside the controllers of version 1, the kernel keeps the pressure in the hierarchy of version 2.
    usage_psi "$g/unified/$1"; } 2>/dev/null
  return 0
}

# visit_up NAME TYPE SOURCE OPTIONS CONFIG: the folder of a debug container, with its root mounted. Those that nobody ended,
# and that run no more, go first.
visit_up() {
  local at=/run/berth/debug/$1 old
  mkdir -p "$at/rootfs" && chmod 700 /run/berth/debug || return
  find /run/berth/debug -mindepth 1 -maxdepth 1 -mmin +10 2>/dev/null | while read -r old; do
    runc --root /run/berth/debug.runc state "${old##*/}" 2>/dev/null | grep -q '"status": "running"' || visit_down "${old##*/}"
  done
  mount -t "$2" -o "$4" "$3" "$at/rootfs" && put "$at/config.json" "$5"
}

# visit_down NAME: all that visit_up made, and what runs in it.
visit_down() {
  local at=/run/berth/debug/$1
  runc --root /run/berth/debug.runc delete --force "$1" 2>/dev/null
  umount "$at/rootfs" 2>/dev/null || umount -l "$at/rootfs" 2>/dev/null
  mountpoint -q "$at/rootfs" || rm -rf "$at"
  rmdir /run/berth/debug /run/berth/debug.runc 2>/dev/null
  return 0
}

# cron_run NAMESPACE ID: starts a cron's container now, as its timer would; 84 if it runs just now.
cron_run() {
  local unit=berth-cron@$1:$2
  cron_on "$1" "$2" || { printf 'its node has no timer for it'; return 1; }
  case $(systemctl is-active "$unit.service") in active | activating) return 84 ;; esac
  systemctl start --no-block "$unit.service"
}
