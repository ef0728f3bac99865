# The cron reflex: runs a cron's container when its timer says so, as berth-cron@NAMESPACE:ID.service. While one runs systemd starts no
# other. Bash.
#
# A pod's file `cron`: TIMEOUT RETRIES GRACE SIGNAL PARENT, times in seconds; PARENT is the snapshot that the container's own layer is
# over. What came of it is in the pod's file `runs`, the last twenty: BEGAN ENDED HOW, moments in seconds since 1970. HOW is an exit
# code, `late`, `unstarted`, `cut`, or `-` as long as it runs.

namespace=${1%%:*} id=${1#*:}
folder=/etc/berth/tenants/$namespace/pods/$id
task=/run/containerd/io.containerd.runtime.v2.task/$namespace/$id

say() { printf '<%s>%s/%s: %s\n' "$1" "$namespace" "$id" "$2"; }

# Whether its process is there, and still the container's: its number may be another one's by now.
alive() {
  local line lines=()
  pid=''
  # It has no line's end.
  { read -r pid || [ -n "$pid" ]; } 2>/dev/null <"$task/init.pid"
  [ -n "$pid" ] && { mapfile -t lines <"/proc/$pid/cgroup"; } 2>/dev/null || return 1
  for line in "${lines[@]}"; do [[ $line != *"/$namespace/$id" ]] || return 0; done
  return 1
}

# note HOW: how it is, in the place of what was said of it before.
note() {
  { [ ! -f runs ] || grep -v ' -$' runs | tail -n 19; printf '%s %s %s\n' "$began" "$EPOCHSECONDS" "$1"; } >runs.new && mv -f runs.new runs
}

# Sets HOW it ended.
once() {
  local said status each look=0.1 tries=0
  ctr -n "$namespace" tasks delete "$id" >/dev/null 2>&1
  # Each run begins with the image's files.
  ctr -n "$namespace" snapshots rm "$id" >/dev/null 2>&1
  for each in "/var/lib/berth/scratch/$namespace/$id"/*/; do [ ! -d "$each" ] || find "$each" -mindepth 1 -delete; done
  how=unstarted
  # shellcheck disable=SC2086
  said=$(ctr -n "$namespace" snapshots prepare "$id" $parent 2>&1) &&
    said=$(ctr -n "$namespace" tasks start -d --log-uri "file:///var/log/berth/$namespace/$id.log" "$id" 2>&1) || {
    say 4 "cannot be started: ${said:0:500}"
    return
  }
  how=
  while alive; do
    if [ "$EPOCHSECONDS" -ge "$until" ]; then
      case $how in
        '') kill "-$signal" "$pid" && how=late until=$((EPOCHSECONDS + grace)) ;;
        late) kill -KILL "$pid" ;;
      esac
    fi
    sleep "$look"
    # What takes long may be seen to end a second later.
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || look=1
  done
  # containerd may be starting anew.
  for tries in {1..60}; do
    said=$(ctr -n "$namespace" tasks delete "$id" 2>&1)
    status=$?
    if [[ $said =~ 'exit code '([0-9]+) ]]; then status=${BASH_REMATCH[1]}; fi
    [[ $status != 0 && $said = *'connect'* && $tries -lt 60 ]] || break
    sleep 1
  done
  how=${how:-$status}
}

[ -f "$folder/cron" ] && cd "$folder" && read -r timeout retries grace signal parent <cron || exit 0
if alive; then
  say 4 'runs still, so it is not started'
  exit 0
fi
began=$EPOCHSECONDS until=$((EPOCHSECONDS + timeout)) failed=0
# What did not live to say how it ended was cut short.
[ ! -f runs ] || { sed 's/ -$/ cut/' runs >runs.new && mv -f runs.new runs; }
note -
while once && [ "$how" != 0 ] && [ "$how" != late ] && [ "$failed" -lt "$retries" ]; do
  failed=$((failed + 1)) wait=$((1 << (failed > 6 ? 6 : failed - 1)))
  [ "$wait" -le 60 ] || wait=60
  [ "$((EPOCHSECONDS + wait))" -lt "$until" ] || break
  say 4 "ended with exit code $how; it is started again in $wait s"
  sleep "$wait"
done
note "$how"
case $how in
  0) say 5 "ended well after $((EPOCHSECONDS - began)) s" ;;
  late) say 4 "had not ended after $timeout s, and was ended" ;;
  unstarted) ;;
  *) say 4 "ended with exit code $how after $((EPOCHSECONDS - began)) s" ;;
esac
exit 0
