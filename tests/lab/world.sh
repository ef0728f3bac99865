# shellcheck shell=bash
# Three real nodes, a project in git and two engines for it: what the demo and the lab tests are played on. Sourced.
#
#   world_up NAME [lab up options]   boots the nodes, makes the images and the project
#   berth ...                        the first engine (ana), in the lab's network; `other_berth`: the second one (ben)
#   load_start, load_stop            request loops at the service's endpoint: from outside, and from another node
#   settled DIGEST                   exactly three replicas run that image, and nothing else is on the nodes
#   node_state NODE                  all of a node that Berth could change

LAB_HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
REPO=$(cd "$LAB_HERE/../.." && pwd)
BERTH=${BERTH:-$REPO/target/debug/berth}
LOAD=${LOAD:-$REPO/target/lab/load}
# shellcheck source=tests/lab/checks.sh
source "$LAB_HERE/checks.sh"

NODES=(n1 n2 n3)
NAMESPACE=berth.shop.default
URL=http://10.99.0.1/
# What all request loops together have sent so far, and how many of those failed.
declare -A SENT=([outside]=0 [node]=0) LOST=([outside]=0 [node]=0)

lab() { "$LAB_HERE/lab" --name "$LAB_NAME" "$@"; }
in_net() { nsenter --net="$BERTH_LAB_NETNS" -- "$@"; }

world_up() {
  LAB_NAME=$1
  shift
  [[ $EUID == 0 ]] || {
    echo "needs root: the nodes are booted in namespaces and control groups of their own" >&2
    exit 1
  }
  [[ -x $BERTH && -x $LOAD ]] || {
    echo "needs $BERTH and $LOAD; ./dev test builds them" >&2
    exit 1
  }
  WORK=$(mktemp -d)
  PROJECT=$WORK/shop
  trap world_down EXIT
  trap 'exit 130' INT TERM HUP
  lab up --nodes 3 --release mixed --with $$ "$@" || exit 1
  eval "$(lab env)"
  # Nothing of the caller's own: no keys, no known hosts, no git identity.
  export HOME=$WORK/home USER=ana LOGNAME=ana
  export BERTH_KNOWN_HOSTS=$BERTH_LAB_KNOWN_HOSTS BERTH_IDENTITY=$BERTH_LAB_KEY
  export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=Ana GIT_AUTHOR_EMAIL=ana@shop.test
  export GIT_COMMITTER_NAME=Ana GIT_COMMITTER_EMAIL=ana@shop.test
  unset SSH_AUTH_SOCK
  mkdir "$HOME"
  lab exec ip route add 10.99.0.0/16 via 10.77.0.11
  lab node n2 sh -c 'cat >/run/load && chmod 0755 /run/load' <"$LOAD"
  "$LAB_HERE/images" "$WORK/images"
  cp -r "$REPO/examples/shop" "$PROJECT"
  mkdir "$PROJECT/images"
  cp -r "$WORK/images/"web-{1,2,bad} "$PROJECT/images/"
  printf '.berth/\n' >"$PROJECT/.gitignore"
  git -C "$PROJECT" init --quiet --initial-branch main
}

world_down() {
  load_abort
  cd /
  lab down
  rm -rf "$WORK"
}

# An engine's berth. What it prints goes where the caller's does; it has no terminal to ask on.
engine() {
  local folder=$1
  shift
  (cd "$folder" && exec nsenter --net="$BERTH_LAB_NETNS" -- "$BERTH" "$@") </dev/null
}
berth() { engine "$PROJECT" "$@"; }
other_berth() { USER=ben LOGNAME=ben engine "$WORK/clone" "$@"; }

# Makes the second engine anew: a clone that knows nothing but what git knows.
other_clone() {
  rm -rf "$WORK/clone"
  git clone --quiet "$PROJECT" "$WORK/clone"
}

# Waits until a node's sshd, which was told to read its configuration anew, has done so and answers.
sshd_settles() {
  sleep 1
  wait_until 100 lab ssh "$1" true 2>/dev/null
}

commit() {
  git -C "$PROJECT" add --all
  git -C "$PROJECT" commit --quiet --message "$1"
}

# Whether every replica of a service is of an image, and there are so many.
image_of() {
  local name=$1 count=$2 digest=$3 node found
  found=$(for node in "${NODES[@]}"; do lab node "$node" ctr -n "$NAMESPACE" containers ls; done | awk -v n="^$name-" '$1 ~ n { print $2 }')
  [[ $(grep -c . <<<"$found") == "$count" && $(sort -u <<<"$found") == *"$digest"* && $(sort -u <<<"$found" | wc -l) == 1 ]] || {
    printf '%s\n' "$found"
    return 1
  }
}

# Writes the text anew with one image; `edit web-bad --deadline 2s`, `edit web-1 --more 'env: { TRY: "1" }'`.
edit() {
  local image=$1 deadline=20s more=''
  shift
  while (($#)); do
    case $1 in
    --deadline) deadline=$2 ;;
    --more) more=$2 ;;
    esac
    shift 2
  done
  sed -e "s,images/web-1,images/$image," -e "s/deadline: 20s/deadline: $deadline/" \
    "$REPO/examples/shop/web.berth" >"$PROJECT/web.berth"
  [[ -z $more ]] || sed -i "s/^  replicas: 3$/&\n  $more/" "$PROJECT/web.berth"
}

digest_of() { jq -r '.manifests[0].digest' "$WORK/images/$1/index.json"; }

# Starts both loops; `load_start --rate 50` for gentle ones.
load_start() {
  rm -f "$WORK/load.stop"
  lab node n2 rm -f /run/load.stop
  in_net "$LOAD" --url "$URL" --until-file "$WORK/load.stop" "$@" >"$WORK/load.outside" &
  LOAD_PIDS=($!)
  lab node n2 /run/load --url "$URL" --until-file /run/load.stop "$@" >"$WORK/load.node" &
  LOAD_PIDS+=($!)
}

# Ends them, says what each saw, and fails if one request did.
load_stop() {
  local from line whole=0
  touch "$WORK/load.stop"
  lab node n2 touch /run/load.stop
  wait "${LOAD_PIDS[@]}" 2>/dev/null
  LOAD_PIDS=()
  for from in outside node; do
    line=$(<"$WORK/load.$from")
    [[ -n $line ]] || {
      printf '%-8s said nothing\n' "$from"
      whole=1
      continue
    }
    SENT[$from]=$((SENT[$from] + $(jq -r .sent <<<"$line")))
    LOST[$from]=$((LOST[$from] + $(jq -r .failed <<<"$line")))
    [[ $(jq -r .failed <<<"$line") == 0 && $(jq -r .sent <<<"$line") != 0 ]] || whole=1
    printf '%-8s %s\n' "$from" "$(jq -r '"\(.sent) requests, \(.failed) failed, slowest \(.slowest_ms) ms, \(.bodies | to_entries
      | map("\(.value) answered \(.key)") | join(", "))", .reasons[]' <<<"$line")"
  done
  return $whole
}
load_abort() {
  [[ -n ${LOAD_PIDS[*]-} ]] || return 0
  kill "${LOAD_PIDS[@]}" 2>/dev/null
  wait "${LOAD_PIDS[@]}" 2>/dev/null
}

# Prints what of the project is on a node: a line a thing.
node_facts() {
  lab node "$1" bash -s "$NAMESPACE" <<'TEXT'
ns=$1
ctr -n "$ns" containers ls -q | while read -r id; do
  image=$(ctr -n "$ns" containers info "$id" | sed -n 's/.*"berth.dev\/image": "\(.*\)".*/\1/p')
  state=$(ctr -n "$ns" tasks ls | awk -v id="$id" '$1 == id { print $3 }')
  printf 'pod %s %s %s\n' "$id" "$image" "${state:-none}"
done
printf 'task %s\n' $(ctr -n "$ns" tasks ls -q)
printf 'snapshot %s\n' $(ctr -n "$ns" snapshots ls | awk '$NF == "Active" && $1 !~ /^berth-[0-9]+-sha256:/ { print $1 }')
printf 'netns %s\n' $(ls /run/netns 2>/dev/null | sed "s/^$ns-//")
printf 'pinned %s\n' $(ls /run/berth/pods 2>/dev/null | sed "s/^$ns-//")
printf 'kept %s\n' $(ls "/etc/berth/tenants/$ns/pods" 2>/dev/null)
printf 'claim %s\n' $(ls /etc/berth/claims 2>/dev/null)
printf 'link %s\n' $(ip -brief link show type veth | awk '$1 !~ /^host0/ { print $1 }')
# A push that was killed leaves a lease and what it unpacked; containerd drops both when the lease's time is over.
printf 'lease %s\n' $(ctr -n "$ns" leases ls | awk 'NR > 1 && !/gc.expire/ { print $1 }')
printf 'half %s\n' $(find /etc/berth /etc/systemd/system -name '*.tmp*' -o -name '*.new' 2>/dev/null)
TEXT
}

# Whether all that a node has of the project runs, as it does some moments after a boot: who plans before that, and applies after
# it, is told that the world has changed.
# shellcheck disable=SC2016
all_run() {
  lab node "$1" sh -c '[ "$(ctr -n "$0" containers ls -q | wc -l)" = "$(ctr -n "$0" tasks ls | grep -c RUNNING)" ]' "$NAMESPACE"
}

# Whether exactly three replicas of an image run, one an ordinal, with what belongs to them once each and nothing more.
settled() {
  local digest=$1 node id image state thing names count wrong=0
  local -a ordinals=()
  for node in "${NODES[@]}"; do
    node_facts "$node" >"$WORK/facts"
    while read -r _ id image state; do
      ordinals+=("${id%.g*}")
      [[ $image == "$digest" && $state == RUNNING ]] || {
        printf '%s on %s: %s, %s; wanted %s\n' "$id" "$node" "$state" "$image" "$digest"
        wrong=1
      }
    done < <(grep '^pod ' "$WORK/facts")
    names=$(awk '$1 == "pod" { print $2 }' "$WORK/facts" | sort)
    for thing in task snapshot netns pinned kept; do
      diff <(printf '%s\n' "$names") <(awk -v thing="$thing" '$1 == thing { print $2 }' "$WORK/facts" | sort) || {
        printf '%s: a %s too many or too few, beside the pods (left)\n' "$node" "$thing"
        wrong=1
      }
    done
    for thing in claim link; do
      count=$(awk -v thing="$thing" '$1 == thing && NF == 2' "$WORK/facts" | wc -l)
      ((count == $(wc -w <<<"$names"))) || {
        printf '%s: %d of %s\n' "$node" "$count" "$thing"
        wrong=1
      }
    done
    if grep -E '^(lease|half) .' "$WORK/facts"; then wrong=1; fi
  done
  [[ $(printf '%s\n' "${ordinals[@]}" | sort | xargs) == "web-0 web-1 web-2" ]] || {
    printf 'replicas: %s\n' "${ordinals[*]}"
    wrong=1
  }
  return $wrong
}

# Whether there is nothing to do, and nothing drifted.
quiet() {
  "$1" plan --exit-code || return 1
  "$1" drift
}

# Prints all of a node that Berth could change. Two things stay: the empty lock file below /run, which must not be
# removed while another engine may be waiting on it, and the folder of named namespaces, which `ip netns` mounts.
node_state() {
  lab node "$1" bash -s <<'TEXT'
say() { printf '\n## %s\n' "$1"; }
say nft; nft list ruleset
say routes
# Not link-local ones: they appear a second or two after their link, by themselves.
{ ip rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all; } | grep -v -e ff00 -e multicast -e anycast -e fe80
say links; ip -brief link | awk '{ print $1 }'; ip -brief address | awk '{ $2 = ""; gsub(/fe80:[^ ]*/, ""); print }'
say namespaces; ip netns; ls /run/netns 2>/dev/null
say containerd
for ns in $(ctr namespaces ls -q); do
  printf '%s\n' "$ns"
  for what in containers tasks images leases content; do ctr -n "$ns" "$what" ls -q | sed "s/^/$what /"; done
  ctr -n "$ns" snapshots ls
done
say files
# The notes of when a log was how long come with the minute, those of when a container started with the second; they go with its folder.
find /etc /usr/local /opt /root /var/lib/cni /var/lib/berth* /var/log/berth* /run/berth* -xdev -printf '%M %U %p %l\n' 2>/dev/null |
  grep -v -e ' /run/berth $' -e ' /run/berth/lock $' -e '\.log\.times $' -e '/pods/[^/]*/restarts[^/]* $' | sort
find /etc -xdev -type f -not -path '*/pods/*/restarts*' -exec sha256sum {} + | sort -k 2
say settings
sysctl -a 2>/dev/null | grep -E '^(net\.(ipv[46]|bridge|netfilter)|fs\.inotify)' |
  grep -vE 'nf_conntrack_(count|buckets|max|expect_max)|ip_local_port|\.(neigh|stable_secret)|tcp_|udp_' | sort
say units
systemctl list-unit-files --no-legend --no-pager --type service,timer,socket,path,target | awk '{ print $1, $2 }'
systemctl list-units --no-legend --plain --no-pager --type timer,socket,path --all | awk '{ print $1, $3 }'
systemctl list-units --no-legend --plain --no-pager --state active,failed --type service |
  awk '{ print $1, $3 }' | grep -v -e '^user' -e '^systemd-'
say mounts
awk '{ print $5 }' /proc/self/mountinfo | grep -vx /run/netns | sort
say processes
# A reflex runs for a moment each minute, or each second, and so does what it calls.
node_processes() {
  ps -eo unit:48,user:16,args --no-headers | grep -vE '^berth-(rotate|live|prune|backoff)\.service ' | sed 's/^[^ ]* *//' |
    grep -vE ' (ps|bash -s|bash /|\(bash\)|sort|grep|sed) ?|systemd|\[|sshd: |/etc/berth/reflexes/|/var/log/berth/' | sort
}
node_processes
TEXT
}
# fleet_state FOLDER [NODE...]: that of each node into a file of the folder.
fleet_state() {
  local into=$1 node
  shift
  (($#)) || set -- "${NODES[@]}"
  mkdir -p "$into"
  for node; do node_state "$node" >"$into/$node"; done
}
same_state() { diff -r "$1" "$2"; }
