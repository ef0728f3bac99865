# shellcheck shell=bash
# shellcheck disable=SC2034 # those who source this tell KIND and wait for FIRST
# What the long proofs share: texts that change, an engine in the background, and the next one that goes on. Sourced.

# shellcheck source=tests/lab/world.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/world.sh"

TURN=0 IMAGE=web-1 KIND=''

# A text that differs from the last one: two good images in turns, and now and then one that never gets ready.
next_text() {
  TURN=$((TURN + 1))
  if ((RANDOM % 5 == 0)); then
    edit web-bad --deadline 2s --more "env: { TRY: \"$TURN\" }"
    KIND=undo
    return
  fi
  if [[ $IMAGE == web-1 ]]; then IMAGE=web-2; else IMAGE=web-1; fi
  edit "$IMAGE"
  KIND=roll
}

# Applies until it is through: a lock is free a moment after its holder is gone.
goes_on() {
  local who=$1 got tries=120 since=$SECONDS
  : >"$WORK/refused"
  while ((tries-- > 0)); do
    got=0
    "$who" apply --yes >"$WORK/again" 2>&1 || got=$?
    ((got == 4 || got == 3)) || break
    { date +%T && cat "$WORK/again"; } >>"$WORK/refused"
    sleep 0.3
  done
  # Longer than the 15 s after which a node ends the session of an engine that is gone: that is told.
  if ((SECONDS - since > 25)); then
    printf 'shut out for %d s:\n' $((SECONDS - since))
    tail -40 "$WORK/refused"
    return 1
  fi
  ((got == 0 || got == 5)) || {
    printf 'exit code %d\n' "$got"
    cat "$WORK/again"
    return 1
  }
}

# The engine's own process, which the one that set its network up becomes.
begin() {
  (cd "$PROJECT" && exec nsenter --net="$BERTH_LAB_NETNS" -- "$BERTH" apply --yes) </dev/null >"$WORK/first" 2>&1 &
  FIRST=$!
}
# Sleeps for some milliseconds.
wait_ms() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }

settled_or_told() {
  settled "$1" || {
    tail -n 30 "$WORK/first" "$WORK/again"
    return 1
  }
}
