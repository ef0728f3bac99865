# shellcheck shell=bash
# Debian's docker-registry on the lab's own network: what tests of images from registries are played on. Sourced after world.sh.
#
#   registry_up NAME ADDRESS [http-lines]   serves $WORK/NAME there; each line of YAML goes below `http:` or, as `auth:...`, beside it
#   registry_put NAME LAYOUT IMAGE TAG      puts an OCI layout's image there, without asking the registry
#   registry_log NAME PATTERN               how many requests it answered whose log line has it

# shellcheck source=tests/lab/program.sh
source "$LAB_HERE/program.sh"
declare -A REGISTRIES=()

registry_up() {
  local name=$1 address=$2 program line
  shift 2
  program=$(debian_program docker-registry /usr/bin/docker-registry) || return 1
  mkdir -p "$WORK/$name"
  {
    printf 'version: 0.1\nlog: { level: warn, accesslog: { disabled: false } }\n'
    printf 'storage: { filesystem: { rootdirectory: %s } }\n' "$WORK/$name"
    for line; do [[ $line != auth:* ]] || printf '%s\n' "$line"; done
    printf 'http:\n  addr: %s\n' "$address"
    for line; do [[ $line == auth:* ]] || printf '  %s\n' "$line"; done
  } >"$WORK/$name.yml"
  in_net env OTEL_TRACES_EXPORTER=none "$program" serve "$WORK/$name.yml" >>"$WORK/$name.log" 2>&1 &
  REGISTRIES[$name]=$!
  wait_until 100 in_net bash -c "exec 3<>/dev/tcp/${address%:*}/${address##*:}" 2>/dev/null
}

registry_down() {
  local name
  for name; do
    kill "${REGISTRIES[$name]}" 2>/dev/null
    wait "${REGISTRIES[$name]}" 2>/dev/null
    unset "REGISTRIES[$name]"
  done
}

# The layout of its storage is that of distribution 2.x: blobs by digest, and a link for each that a repository has.
registry_put() {
  local v2=$WORK/$1/docker/registry/v2 layout=$2 image=$3 tag=$4 blob hex top
  for blob in "$layout"/blobs/sha256/*; do
    hex=${blob##*/}
    mkdir -p "$v2/blobs/sha256/${hex:0:2}/$hex" "$v2/repositories/$image/_layers/sha256/$hex" \
      "$v2/repositories/$image/_manifests/revisions/sha256/$hex"
    cp "$blob" "$v2/blobs/sha256/${hex:0:2}/$hex/data"
    printf 'sha256:%s' "$hex" | tee "$v2/repositories/$image/_layers/sha256/$hex/link" \
      >"$v2/repositories/$image/_manifests/revisions/sha256/$hex/link"
  done
  top=$(jq -r '.manifests[0].digest' "$layout/index.json")
  mkdir -p "$v2/repositories/$image/_manifests/tags/$tag/current"
  printf '%s' "$top" >"$v2/repositories/$image/_manifests/tags/$tag/current/link"
}

registry_log() { grep -cE -- "$2" "$WORK/$1.log"; }
