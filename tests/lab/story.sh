# shellcheck shell=bash
# The whole story of a service on three servers, as steps. The demo plays them aloud ($ALOUD set: each berth command
# with its real output), test-story plays them as checks. Sourced, after which `world_up` boots the nodes.

# shellcheck source=tests/lab/world.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/world.sh"

ALOUD=${ALOUD:-}
TOOK_MS=0

chapter() { printf '\n%s== %s%s\n' "${BOLD:-}" "$*" "${PLAIN:-}"; }

# run EXIT COMMAND...: runs a command that has to end with that exit code; what it prints is kept in $WORK/said.
run() {
  local wanted=$1 got start prompt='$'
  shift
  local shown="$*"
  if [[ $1 == other_berth ]]; then
    prompt='ben$'
    shown="berth ${*:2}"
  fi
  [[ -z $ALOUD ]] || printf '\n%s%s %s%s\n' "${BOLD:-}" "$prompt" "$shown" "${PLAIN:-}"
  start=${EPOCHREALTIME/./}
  if [[ -n $ALOUD ]]; then
    "$@" 2>&1 | tee "$WORK/said"
    got=${PIPESTATUS[0]}
  else
    "$@" >"$WORK/said" 2>&1
    got=$?
  fi
  TOOK_MS=$(((${EPOCHREALTIME/./} - start) / 1000))
  if ((got == wanted)); then
    PASSED=$((PASSED + 1))
    [[ -n $ALOUD ]] || printf 'ok      %s %s: exit code %d (%d ms)\n' "$prompt" "$shown" "$got" "$TOOK_MS"
  else
    FAILED=$((FAILED + 1))
    printf 'FAILED  %s %s: exit code %d, not %d\n' "$prompt" "$shown" "$got" "$wanted"
    [[ -n $ALOUD ]] || indented "$WORK/said"
  fi
}

# Shows a command that is not berth's and has to work.
shell() {
  [[ -z $ALOUD ]] || printf '\n%s$ %s%s\n' "${BOLD:-}" "$*" "${PLAIN:-}"
  (cd "$PROJECT" && "$@") || FAILED=$((FAILED + 1))
}

said() { grep -qE -- "$1" "$WORK/said" || {
  printf 'it did not say: %s\n' "$1"
  return 1
}; }

# Stops a replica so that containerd's restart monitor does not start it again: it knows only those that have its
# label. (`restart.explicitly-stopped` means nothing to it where the policy is to restart always.)
stop_by_hand() {
  local node=$1 pod=$2
  lab node "$node" sh -ec "
    ctr -n $NAMESPACE containers label $pod containerd.io/restart.status= >/dev/null
    ctr -n $NAMESPACE tasks kill -s KILL $pod
    for try in \$(seq 50); do ctr -n $NAMESPACE tasks ls | grep -q STOPPED && exit 0; sleep 0.1; done; exit 1"
}
pod_on() { lab node "$1" ctr -n "$NAMESPACE" containers ls -q; }

story_create() {
  chapter "A fleet of three nodes, one web service, three replicas"
  fleet_state "$WORK/before"
  run 0 berth plan
  commit "A web service on three servers"
  run 0 berth apply --yes
  check "three replicas run the image" settled "$(digest_of web-1)"
  check "the endpoint answers from outside" load_briefly
  run 0 berth status
}
load_briefly() {
  in_net "$LOAD" --url "$URL" --count 300 --for 10
}

story_nothing_to_do() {
  chapter "A second plan is empty"
  run 0 berth plan --exit-code
  check "it says so" said 'Nothing to do'
  # The first start of a program reads it from the disk; the quickest of five is what the program itself takes.
  local start took times=5
  NOOP_MS=$TOOK_MS
  while ((times-- > 0)); do
    start=${EPOCHREALTIME/./}
    berth plan >/dev/null
    took=$(((${EPOCHREALTIME/./} - start) / 1000))
    ((took >= NOOP_MS)) || NOOP_MS=$took
  done
  check "an empty plan takes $NOOP_MS ms (under 300, unless a compiler runs beside)" test "$NOOP_MS" -lt 600
}

story_roll() {
  chapter "A new image rolls out one by one, while requests come from outside and from another node"
  edit web-2
  shell git diff --unified=0 web.berth
  run 0 berth plan
  check "it says where the text changed" said 'image +[0-9a-f]+ .* → .*  web\.berth:[0-9]+$'
  run 0 berth plan --markdown
  check "so does the comment for a change" said 'image +[0-9a-f]+ .*web\.berth:[0-9]+'
  commit "The second version"
  load_start --workers 4
  run 0 berth apply --yes
  check "no request failed" load_stop
  heard
  check "three replicas run the new image" settled "$(digest_of web-2)"
}

# Shows what the loops saw, which the check before it printed.
heard() { [[ -z $ALOUD ]] || sed 's/^/          /' "$WORK/checked"; }

# story_bad DEADLINE: how long the rollout waits for a replica, as the text says it.
story_bad() {
  local deadline=$1
  chapter "A bad image is undone by itself, and stays undone"
  edit web-bad --deadline "$deadline"
  berth plan >"$WORK/said" 2>&1
  commit "A third version, which never gets ready"
  load_start --workers 4
  run 5 berth apply --yes
  check "it was taken back" said 'was taken back'
  check "no request failed" load_stop
  heard
  check "the version before it runs" settled "$(digest_of web-2)"
  run 0 berth apply --yes
  check "it is held" said 'HELD since revision'
  run 0 berth status
}

story_revert() {
  chapter "git revert brings the earlier digests back; a second engine is kept out meanwhile"
  shell git revert --no-edit HEAD~2..HEAD
  other_clone
  [[ -z $ALOUD ]] || printf '\n%s$ berth apply --yes &%s\n' "${BOLD:-}" "${PLAIN:-}"
  berth apply --yes >"$WORK/first" 2>&1 &
  local first=$!
  check "the first engine is at work" wait_until 100 begun "$WORK/first"
  run 4 other_berth apply --yes
  check "it says who holds the lock" said 'locked by ana@'
  wait "$first"
  local ended=$?
  [[ -z $ALOUD ]] || sed 's/^/    /' "$WORK/first"
  check "the first engine is done" exits 0 test "$ended" = 0
  check "the earlier digests run" settled "$(digest_of web-1)"
  run 0 other_berth plan --exit-code
  check "the second engine sees the same world" said 'Nothing to do'
}
# Whether an apply has finished its first step.
begun() { grep -qE '^ +[0-9.]+s  ' "$1"; }

story_drift() {
  local pod
  chapter "A container is stopped by hand"
  pod=$(pod_on n1)
  [[ -z $ALOUD ]] || printf '\n%sn1# ctr tasks kill %s%s\n' "${BOLD:-}" "$pod" "${PLAIN:-}"
  check "$pod is stopped" stop_by_hand n1 "$pod"
  run 2 berth drift
  check "drift names it" said "^$pod@n1 +EXTERNAL"
  run 0 berth apply --yes
  check "it was healed" settled "$(digest_of web-1)"
  run 0 berth drift
  check "no drift is left" said 'no drift'
}

story_history() {
  chapter "What was done, when, by whom, from which commit"
  run 0 berth history
  check "it knows what was taken back" said 'REVERTED'
}

story_destroy() {
  chapter "Everything leaves, and the nodes are as they were"
  run 0 berth destroy --yes
  fleet_state "$WORK/after"
  check "every node is as it was before the first apply" same_state "$WORK/before" "$WORK/after"
}
