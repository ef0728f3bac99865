# The backoff reflex: containers that end soon after they start, time and again, are started again ever less often. It runs
# every two seconds. Bash.
#
# containerd's restart monitor starts what has died, at once and for ever. After the fifth time within a minute of its start
# a container is held: the label that the monitor goes by is taken away, and `explicitly-stopped` says that it was not a
# person who did. When its time has come, 10 s after it ended, then 20, and so on up to 300, the monitor has its
# label back. What runs for a minute, or longer than it had to wait, is well again.
#
# What is known is in a pod's folder, so that it outlives a boot: PROCESS SINCE CRASHES HELD DUE, moments in seconds since
# 1970, HELD is 0, 1, or 2 when it may start again.

# label STATUS STOPPED: of the container; the monitor's.
label() {
  ctr -n "$namespace" containers label "$container" "containerd.io/restart.status=$1" "containerd.io/restart.explicitly-stopped=$2" >/dev/null
}

# Lets the monitor have a container again that was held; not one that an engine is taking away, which has no such label any more.
release() {
  ctr -n "$namespace" containers info "$container" | grep -q '"containerd.io/restart.explicitly-stopped": "true"' && label running ''
}

# Whether the process is there, and still the container's: its number may be another one's by now.
runs() {
  local line lines=()
  [ -n "$pid" ] && { mapfile -t lines <"/proc/$pid/cgroup"; } 2>/dev/null || return 1
  for line in "${lines[@]}"; do [[ $line != *"/$namespace/$container" ]] || return 0; done
  return 1
}

# How long a container that has ended so often has to wait, in seconds.
wait_of() {
  waits=$((crashes < 5 ? 0 : 10 << (crashes > 10 ? 5 : crashes - 5)))
  [ "$waits" -le 300 ] || waits=300
}

# look FILE: at one container; the file has what is known of it.
look() {
  local pid='' process='' since=$now crashes=0 held=0 due=0 waits was
  # It has no line's end.
  { read -r pid || [ -n "$pid" ]; } 2>/dev/null <"/run/containerd/io.containerd.runtime.v2.task/$namespace/$container/init.pid"
  [ -f "$1" ] && read -r process since crashes held due <"$1"
  # Nearly always.
  [ "$pid" = "$process" ] && [ "$crashes" = 0 ] && [ "$held" = 0 ] && return
  was="$process $since $crashes $held $due"
  if [ -n "$pid" ] && [ "$pid" != "$process" ]; then
    # One that had run for long enough is not counted any more.
    [ -z "$process" ] || crashes=$((crashes + 1))
    process=$pid since=$now due=0
    [ "$held" != 2 ] || held=0
  fi
  wait_of
  if [ "$held" = 0 ] && [ "$crashes" -ge 5 ]; then label '' true && held=1; fi
  if [ "$crashes" != 0 ] && runs; then
    if [ "$((now - since))" -ge "$((waits > 60 ? waits : 60))" ]; then
      if [ "$held" = 0 ] || release; then
        [ "$held" = 0 ] || printf '<5>%s/%s: has run for %s s; it is started at once again when it ends\n' "$namespace" "$container" "$((now - since))"
        crashes=0 held=0
      fi
    fi
  elif [ "$held" = 1 ]; then
    # A clock may have been set.
    if [ "$due" = 0 ] || [ "$due" -gt "$((now + 300))" ]; then
      due=$((now + waits))
      printf '<4>%s/%s: has ended %s times soon after it started; it is started again in %s s\n' "$namespace" "$container" "$crashes" "$waits"
    elif [ "$now" -ge "$due" ] && release; then
      held=2
    fi
  fi
  [ "$was" = "$process $since $crashes $held $due" ] || printf '%s\n' "$process $since $crashes $held $due" >"$1"
}

now=$EPOCHSECONDS
for folder in /etc/berth/tenants/*/pods/*/; do
  # What a timer runs, nothing else starts.
  [ -f "${folder}pod" ] && [ ! -f "${folder}cron" ] || continue
  namespace=${folder%/pods/*} namespace=${namespace##*/} pod=${folder%/} pod=${pod##*/}
  container=$pod
  look "${folder}restarts"
  for container in "/run/containerd/io.containerd.runtime.v2.task/$namespace/$pod".*/ "${folder}restarts".*; do
    # A sidecar's, from its task or from what is known of it.
    case $container in
      *'*'*) continue ;;
      */restarts.*) container=$pod.${container##*/restarts.} ;;
      *) container=${container%/} container=${container##*/} ;;
    esac
    look "${folder}restarts.${container#"$pod".}"
  done
done
