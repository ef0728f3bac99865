# The live reflex: asks each replica that says how whether it is still well, and ends the process of one that has not been
# for as long as its text says; containerd's restart monitor starts it again. It runs every second while there is such a
# replica. Bash, for its connections.
#
# A replica's file `live`: KIND PORT EVERY TIMEOUT FAILS START GRACE SIGNAL PATH, times in seconds. What is known of it is in
# /run/berth/live: PROCESS NEXT FAILED PASSED SINCE ENDING, moments in seconds since 1970.

# ask KIND ADDRESS PORT TIMEOUT PATH: says why it is not well, if it is not.
ask() {
  local answer status request
  printf -v request 'GET %s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: berth\r\nAccept: */*\r\nConnection: close\r\n\r' "$5" "$2" "$3"
  # In one piece and by another process: bash would write line by line, and die of one that nobody reads any more.
  # shellcheck disable=SC2016
  answer=$(timeout "$4" bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit 1
    [ "$3" = tcp ] || { head -c 65536 <<<"$4" >&3; head -n 1 <&3 | head -c 512; }' bash "$2" "$3" "$1" "$request" 2>/dev/null)
  status=$?
  case $status in
    0) ;;
    124) printf 'no answer in %s s' "$4" && return 1 ;;
    *) printf 'port %s refuses connections' "$3" && return 1 ;;
  esac
  [ "$1" = http ] || return 0
  case $answer in
    'HTTP/1.'?' '[23][0-9][0-9]*) return 0 ;;
    'HTTP/1.'?' '[0-9][0-9][0-9]*) answer=${answer#* } && printf 'HTTP status %s' "${answer:0:3}" ;;
    *) printf 'no HTTP answer' ;;
  esac
  return 1
}

# look NAMESPACE ID FOLDER
look() {
  local kind port every timeout fails start grace signal path ip4 pid='' why
  local process='' next=0 failed=0 passed=0 since=$now ending=0 state=/run/berth/live/$1-$2
  read -r kind port every timeout fails start grace signal path <"$3/live" && read -r ip4 _ <"$3/pod" || return
  # It has no line's end. The number stays when the process has ended, and may be another one's by then.
  { read -r pid || [ -n "$pid" ]; } 2>/dev/null <"/run/containerd/io.containerd.runtime.v2.task/$1/$2/init.pid" &&
    grep -q "/$1/$2\$" "/proc/$pid/cgroup" 2>/dev/null || return
  [ -f "$state" ] && read -r process next failed passed since ending <"$state"
  [ "$process" = "$pid" ] || next=0 failed=0 passed=0 since=$now ending=0
  if [ "$ending" != 0 ]; then
    [ "$((now - ending))" -lt "$grace" ] || kill -KILL "$pid"
    return
  fi
  [ "$now" -ge "$next" ] || return
  next=$((now + every))
  if why=$(ask "$kind" "$ip4" "$port" "$timeout" "$path"); then
    failed=0 passed=1
  elif [ "$passed" = 1 ] || [ "$((now - since))" -ge "$start" ]; then
    failed=$((failed + 1))
    if [ "$failed" -ge "$fails" ]; then
      printf '<4>%s/%s: %s, %s times in a row; its process %s is ended\n' "$1" "$2" "$why" "$failed" "$pid"
      kill "-$signal" "$pid"
      ending=$now
    fi
  fi
  printf '%s\n' "$pid $next $failed $passed $since $ending" >"$state"
}

now=$EPOCHSECONDS
mkdir -p /run/berth/live
for file in /etc/berth/tenants/*/pods/*/live; do
  [ -f "$file" ] || continue
  folder=${file%/live}
  namespace=${folder%/pods/*} namespace=${namespace##*/} id=${folder##*/}
  # Most are not to be asked yet: that must cost no process.
  next=0 ending=0
  [ -f "/run/berth/live/$namespace-$id" ] && read -r _ next _ _ _ ending <"/run/berth/live/$namespace-$id"
  [ "$ending" = 0 ] && [ "$now" -lt "$next" ] && continue
  look "$namespace" "$id" "$folder" &
done
wait
