# The guarded session: a framed loop that the engine talks to over one SSH channel. bash reads
# with a time-out, which POSIX sh can't; nothing else here needs it.
#
# In:  "beat"                      the engine lives
#      "ID LENGTH [LINE]"          a command: LINE if LENGTH is 0, else LENGTH bytes after this line
#      "lock ID EPOCH LINES KEEPER NAMESPACE CLAIM"  see take_lock; all are quoted
#      "unlock ID"                 "bye"
# Out: "ID + TEXT"                 output, at most 3000 bytes a line, \n and \\ escaped
#      "ID * TEXT"                 the same in base64, for what is long
#      "ID = STATUS"               the end
umask 077
mkdir -p /run/berth

emit() {
  local text=$2 chunk
  # bash would take a time for it that grows with the square of its length. awk writes a line at once, so that the lines of
  # two answers do not mix.
  if [ "${#text}" -gt 24000 ]; then
    printf '%s' "$text" | base64 -w 2996 | awk -v id="$1" '{ print id " * " $0; fflush() }'
    text=
  fi
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

# take_lock EPOCH LINES KEEPER NAMESPACE CLAIM: 75 and the holder's claim in $answer if it is taken, 76 and
# the epoch and keeper that the node knows if ours is a lower epoch, or another keeper's. It runs in the
# loop itself, so that every command inherits descriptor 9.
take_lock() {
  local epoch='' lines='' keeper='' mark=/etc/berth/ledger/$4.mark
  answer=
  exec 9>>/run/berth/lock
  if ! flock -n 9; then
    exec 9>&-
    answer=$(head -c 4096 /run/berth/lock.claim 2>/dev/null)
    return 75
  fi
  [ -r "$mark" ] && read -r epoch lines keeper <"$mark"
  # A mark that was torn is none.
  case $epoch,$lines in , | *,  | ,* | *[!0-9,]*) epoch=0 lines=0 keeper= ;; esac
  # A first apply that was killed before its first line left nothing that another keeper could lack.
  [ "$epoch $lines" != '0 0' ] || keeper=
  if [ "$1" -lt "$epoch" ] || { [ "$1" = "$epoch" ] && [ -n "$keeper" ] && [ "$3" != "$keeper" ]; }; then
    exec 9>&-
    answer="$epoch $keeper"
    return 76
  fi
  if [ -z "$keeper" ] || [ "$1" -gt "$epoch" ] || [ "$2" -gt "$lines" ]; then
    # Who cannot remember it does not take part.
    answer=$(put_mark "$mark" "$1 $2 $3" 2>&1) || {
      rm -f "$mark.new"
      exec 9>&-
      return 1
    }
  fi
  printf '%s' "$5" >/run/berth/lock.claim
}

put_mark() {
  mkdir -p /etc/berth/ledger && printf '%s\n' "$2" >"$1.new" && sync "$1.new" && mv -f "$1.new" "$1"
}

give_lock() {
  network_left
  offers_left
  tidy
  rm -f /run/berth/lock.claim /run/berth/network.undone
  exec 9>&-
}

# What is known of a first keeper's ledger is no reason to keep /etc/berth, if its tenant has nothing here.
tidy() {
  local mark name epoch
  for mark in /etc/berth/ledger/*.mark; do
    [ -f "$mark" ] && read -r epoch _ <"$mark" || continue
    name=${mark##*/} name=${name%.mark}
    [ "$epoch" != 0 ] || [ -e "/etc/berth/tenants/$name" ] || [ -e "/etc/berth/ledger/$name.log" ] || rm -f "$mark"
  done
  rmdir /etc/berth/ledger /etc/berth 2>/dev/null
  return 0
}

# Ends the SSH session that this shell belongs to, and with it the forwarded containerd socket:
# the engine was not heard for too long, and a late call of its must not arrive.
abandon() {
  local pid=$$ key value name
  network_left
  offers_left
  while [ "$pid" -gt 1 ]; do
    # A parent that ended meanwhile has no file, and no parent.
    value=1
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
  local id length rest script heard reached
  read -r _ _ reached _ <<<"${BERTH_REACHED-}"
  printf 'hello %s %s\n' "$(uname -m)" "$reached"
  while :; do
    IFS=' ' read -r -t 15 id length rest
    heard=$?
    # Above 128 is a time-out; anything else is the engine's end of the channel.
    [ "$heard" -gt 128 ] && abandon
    [ "$heard" -eq 0 ] || id=bye
    case $id in
      beat) ;;
      bye)
        network_left
        offers_left
        exit 0
        ;;
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
