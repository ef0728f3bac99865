# The guarded session: a framed loop that the engine talks to over one SSH channel. bash reads
# with a time-out, which POSIX sh can't; nothing else here needs it.
#
# In:  "beat"                      the engine lives
#      "ID LENGTH [LINE]"          a command: LINE if LENGTH is 0, else LENGTH bytes after this line
#      "lock ID EPOCH CLAIM"       see take_lock; CLAIM is quoted
#      "unlock ID"                 "bye"
# Out: "ID + TEXT"                 output, at most 3000 bytes a line, \n and \\ escaped
#      "ID = STATUS"               the end
umask 077
mkdir -p /run/berth

emit() {
  local text=$2 chunk
  while [ -n "$text" ]; do
    chunk=${text:0:3000} text=${text:3000}
    chunk=${chunk//\\/\\\\}
    printf '%s + %s\n' "$1" "${chunk//$'\n'/\\n}"
  done
  printf '%s = %s\n' "$1" "$3"
}

# Runs a command beside the loop; it inherits the lock, so that even an orphan keeps it.
run() {
  local out
  out=$(eval "$2" 2>&1 </dev/null)
  emit "$1" "$out" "$?"
}

# take_lock EPOCH CLAIM: 75 and the holder's claim in $answer if it is taken, 76 and the node's
# epoch if ours is lower. It runs in the loop itself, so that every command inherits descriptor 9.
take_lock() {
  local known=0
  answer=
  exec 9>>/run/berth/lock
  if ! flock -n 9; then
    exec 9>&-
    answer=$(head -c 4096 /run/berth/lock.claim 2>/dev/null)
    return 75
  fi
  [ -r /etc/berth/epoch ] && read -r known </etc/berth/epoch
  if [ "$1" -lt "$known" ]; then
    exec 9>&-
    answer=$known
    return 76
  fi
  printf '%s' "$2" >/run/berth/lock.claim
  if [ "$1" -gt "$known" ]; then
    mkdir -p /etc/berth
    printf '%s\n' "$1" >/etc/berth/epoch.new && mv -f /etc/berth/epoch.new /etc/berth/epoch
  fi
}

give_lock() {
  tidy
  rm -f /run/berth/lock.claim
  exec 9>&-
}

# An epoch alone is no reason to keep /etc/berth.
tidy() {
  local left
  left=$(ls -A /etc/berth 2>/dev/null)
  if [ -z "$left" ] || [ "$left" = epoch ]; then rm -rf /etc/berth; fi
}

# Ends the SSH session that this shell belongs to, and with it the forwarded containerd socket:
# the engine was not heard for too long, and a late call of its must not arrive.
abandon() {
  local pid=$$ key value name
  while [ "$pid" -gt 1 ]; do
    while read -r key value; do [ "$key" = PPid: ] && break; done <"/proc/$pid/status"
    pid=$value
    read -r name <"/proc/$pid/comm"
    case $name in sshd | sshd-session)
      kill "$pid"
      sleep 1
      kill -9 "$pid"
      exit 75
      ;;
    esac
  done
  exit 75
}

serve() {
  local id length rest script heard
  printf 'hello %s\n' "$(uname -m)"
  while :; do
    IFS=' ' read -r -t 15 id length rest
    heard=$?
    # Above 128 is a time-out; anything else is the engine's end of the channel.
    [ "$heard" -gt 128 ] && abandon
    [ "$heard" -eq 0 ] || exit 0
    case $id in
      beat) ;;
      bye) exit 0 ;;
      lock)
        eval "take_lock $rest"
        emit "$length" "$answer" "$?"
        ;;
      unlock)
        give_lock
        emit "$length" '' 0
        ;;
      *)
        if [ "$length" = 0 ]; then
          script=$rest
        else
          script=$(timeout 15 head -c "$length") || abandon
        fi
        run "$id" "$script" &
        ;;
    esac
  done
}
