# The rotate reflex: a pod's log is at most 10 MiB, and one more of the past. POSIX sh. A shim
# writes with O_APPEND, so that truncating in place loses at most what came during the copy.
# It notes how long each log is by now, which is how `berth logs --since` finds a moment in it.
now=$(date +%s)
find /var/log/berth -name '*.log' -printf '%s %p\n' | while read -r size log; do
  last=0
  [ -f "$log.times" ] && last=$(tail -n 1 "$log.times") && last=${last#* }
  if [ "$size" != "$last" ]; then
    printf '%s %s\n' "$now" "$size" >>"$log.times"
    # A log that grows slowly is never put away: its latest notes are enough.
    [ "$(wc -c <"$log.times")" -le 262144 ] ||
      { tail -c 131072 "$log.times" | tail -n +2 >"$log.times.new" && mv -f "$log.times.new" "$log.times"; }
  fi
  [ "$size" -gt 10485760 ] || continue
  # In one step, so that a reader never sees half of the past.
  cp "$log" "$log.new" && mv -f "$log.new" "$log.1" && : >"$log" && mv -f "$log.times" "$log.1.times"
done
