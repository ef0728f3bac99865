# shellcheck shell=bash
# How a lab test says what it found: a line a check, and a count at the end. Sourced; needs a folder $WORK.

PASSED=0
FAILED=0

# check WHAT COMMAND...: runs it, and prints what it said if it fails.
check() {
  local what=$1 start=${EPOCHREALTIME/./}
  shift
  if "$@" >"$WORK/checked" 2>&1; then
    PASSED=$((PASSED + 1))
    printf 'ok      %s (%d ms)\n' "$what" $(((${EPOCHREALTIME/./} - start) / 1000))
  else
    FAILED=$((FAILED + 1))
    printf 'FAILED  %s\n' "$what"
    indented "$WORK/checked"
  fi
}
# A file's first lines, set in.
indented() { sed -e 's/^/          /' -e '40{s/.*/          .../;q}' "$1"; }
not() { ! "$@"; }

# Whether a command ends with a certain exit code.
exits() {
  local wanted=$1 got=0
  shift
  "$@" || got=$?
  ((got == wanted)) || {
    printf 'exit code %d, not %d\n' "$got" "$wanted"
    return 1
  }
}

# Waits for a condition, with a deadline in tenths of a second.
wait_until() {
  local tenths=$1
  shift
  while ((tenths-- > 0)); do
    "$@" && return 0
    sleep 0.1
  done
  return 1
}

# Prints the count; ends as a test should.
checked() {
  printf '\n%d passed, %d failed\n' "$PASSED" "$FAILED"
  ((FAILED == 0))
}
