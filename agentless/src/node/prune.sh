# The prune reflex: leads the traffic of endpoints past servers that do not answer, and back when their replicas take
# connections again. It runs every two seconds. Bash, for its connections.
#
# Whether a server answers is asked of the kernel's neighbour table: ARP and neighbour discovery pass any firewall, and cost
# no process a server. One that there is no way to does not answer either. A link that was down for a moment may have lost its
# routes: those to pods come back with the servers. Nothing is led past the last backend of an endpoint. What is known is in /run/berth/prune: in `away`
# the address of a server, since when it does not answer, and since when it does again or 0, in seconds since 1970; in `dead`
# the addresses of backends that get no traffic; in `pruned` the elements of the tables that differ from the files.

# endpoints: their files; the first argument is a program of awk's, the others are its own.
endpoints() {
  local program=$1 file files=()
  shift
  for file in /etc/berth/tenants/*/endpoints/*.nft; do [ -f "$file" ] && files+=("$file"); done
  [ "${#files[@]}" = 0 ] || awk "$program" "$@" "${files[@]}"
}

# Every backend's address, port and protocol.
# shellcheck disable=SC2016
BACKENDS='/ inet berth be[46] / {
  n = split(substr($0, index($0, "{ ") + 2, length($0) - index($0, "{ ") - 3), pairs, ", ")
  for (i = 1; i <= n; i++) {
    split(pairs[i], pair, " : "); split(pair[1], key, " . "); split(pair[2], to, " . ")
    print to[1], to[2], key[2]
  }
}'

# What the tables have to be told, and in `changed` what differs from the files then. An endpoint and port whose backends
# are all dead keeps them.
# shellcheck disable=SC2016
ELEMENTS='
FILENAME == dead { is_dead[$1] = 1; next }
FILENAME == pruned { was[$0] = 1; next }
/ inet berth be[46] / {
  split("", number); split("", live); out = ""; into = ""
  n = split(substr($0, index($0, "{ ") + 2, length($0) - index($0, "{ ") - 3), pairs, ", ")
  for (i = 1; i <= n; i++) {
    split(pairs[i], pair, " : "); split(pair[1], key, " . "); split(pair[2], to, " . ")
    of[i] = key[1] " " key[2] " " key[3]; slot[i] = pair[1]; leads[i] = pair[2]; dies[i] = to[1] in is_dead
    if (!dies[i]) live[of[i] " " number[of[i]]++] = pair[2]
  }
  for (i = 1; i <= n; i++) {
    to_others = dies[i] && number[of[i]] > 0
    if (to_others) {
      leads[i] = live[of[i] " " (turn[of[i]]++ + offset) % number[of[i]]]
      print $5, slot[i] > changed
    }
    if (to_others || ($5 " " slot[i]) in was) {
      out = out (out == "" ? "" : ", ") slot[i]
      into = into (into == "" ? "" : ", ") slot[i] " : " leads[i]
    }
  }
  if (out != "") printf "delete element inet berth %s { %s }\nadd element inet berth %s { %s }\n", $5, out, $5, into
}'

# lead FAMILY RANGE VIA: the route to a server's pods, if it is on a network of this node.
lead() {
  local way
  way=$(ip -o "-$1" route get "$3" 2>/dev/null)
  [[ $way == *' via '* || $way != *' dev '* ]] && return
  way=${way#* dev }
  ip "-$1" route replace "$2" via "$3" dev "${way%% *}" onlink
}

# Which servers answer, and which do not: sets `since` and `back`. A change of it is said.
look() {
  local family range via device rest ask=''
  declare -A known=() state=() at=()
  while read -r family range via; do known[$via]="$family $range"; done <"/etc/berth/node/routes"
  while read -r via _ device rest; do
    [ -n "${known[$via]:-}" ] && [ "${state[$via]:-}" != REACHABLE ] && state[$via]=${rest##* } at[$via]=$device
  done < <(ip neigh show)
  for via in "${!since[@]}"; do [ -n "${known[$via]:-}" ] || unset "since[$via]" "back[$via]"; done
  for via in "${!known[@]}"; do
    case ${state[$via]:-} in
      REACHABLE | STALE | DELAY) ask+="neigh change $via dev ${at[$via]} nud probe"$'\n' ;;
      PROBE | PERMANENT | NOARP) ;;
      *)
        # shellcheck disable=SC2086
        [ -n "${state[$via]:-}" ] || lead ${known[$via]} "$via"
        # A packet makes the kernel ask; there is nobody at that port.
        { printf . >"/dev/udp/$via/9"; } 2>/dev/null || state[$via]=FAILED
        ;;
    esac
    case ${state[$via]:-} in
      REACHABLE | PERMANENT | NOARP)
        if [ "${back[$via]:-}" = 0 ]; then
          printf '<5>%s answers again after %s s\n' "$via" "$((now - since[$via]))"
          back[$via]=$now
          # shellcheck disable=SC2086
          lead ${known[$via]} "$via"
        fi
        ;;
      FAILED)
        if [ "${back[$via]:-1}" != 0 ]; then
          printf '<4>%s does not answer: endpoints lead past its replicas\n' "$via"
          since[$via]=$now back[$via]=0
        fi
        ;;
    esac
  done
  [ -z "$ask" ] || ip -force -batch - <<<"${ask%?}" 2>/dev/null
}

# takes ADDRESS PORT: says the address if it takes connections.
# shellcheck disable=SC2016
takes() { timeout 1 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>/dev/null && printf '%s\n' "$1"; }

# Which backends are dead: those of servers that do not answer, and those of servers that do again until they take
# connections, for a minute at most.
judge() {
  local address port protocol rest via range asked=() again=''
  declare -A via_of=() was=() dead=() waits=()
  # A server's pods differ in the last of what `.` or `:` divides.
  while read -r _ range via; do via_of[${range%[.:]*}]=$via; done <"/etc/berth/node/routes"
  [ -f dead ] && while read -r address; do was[$address]=1; done <dead
  while read -r address port protocol; do
    via=${via_of[${address%[.:]*}]:-}
    [[ -n $via && -n ${since[$via]:-} ]] || continue
    if [ "${back[$via]}" = 0 ]; then
      dead[$address]=1
    elif [ -n "${was[$address]:-}" ] && [ "$protocol" = tcp ] && [ "$((now - back[$via]))" -lt 60 ]; then
      dead[$address]=1
      asked+=("$address $port")
    fi
  done <backends
  [ "${#asked[@]}" = 0 ] || again=$(for rest in "${asked[@]}"; do takes "${rest% *}" "${rest#* }" & done; wait)
  for address in $again; do unset "dead[$address]"; done
  printf '%s\n' "${!dead[@]}" | sed '/^$/d' >dead.new
  for address in "${!dead[@]}"; do waits[${via_of[${address%[.:]*}]}]=1; done
  for via in "${!since[@]}"; do
    [ "${back[$via]}" = 0 ] || [ -n "${waits[$via]:-}" ] || unset "since[$via]" "back[$via]"
  done
}

# Whether a file of an endpoint, or of the network, was written since the tables were last told.
newer() {
  local file
  for file in /etc/berth/node/network /etc/berth/tenants/*/endpoints/*.nft; do
    [ stamp -nt "$file" ] || return 0
  done
  return 1
}

[ -s /etc/berth/node/routes ] && mkdir -p /run/berth/prune && cd /run/berth/prune || exit 0
now=$EPOCHSECONDS
declare -A since=() back=()
[ -f away ] && while read -r via at_first again; do since[$via]=$at_first back[$via]=$again; done <away
before="${since[*]} ${back[*]}"
look
if [ "${#since[@]}" != 0 ] || [ -s pruned ]; then
  returning=0
  for via in "${!back[@]}"; do [ "${back[$via]}" = 0 ] || returning=1; done
  if [ "$before" != "${since[*]} ${back[*]}" ] || [ "$returning" = 1 ] || newer; then
    : >stamp
    endpoints "$BACKENDS" | sort -u >backends
    judge
    (
      # An engine that changes a table must not find it changed in between.
      flock 9
      read -r gateway _ </etc/berth/node/network
      gateway=${gateway%.*} && touch pruned && : >changed
      endpoints "$ELEMENTS" dead=dead.new pruned=pruned changed=changed "offset=${gateway##*.}" dead.new pruned >told
      if [ ! -s told ] || nft -f told; then
        mv -f dead.new dead && mv -f changed pruned
      fi
    ) 9>/run/berth/endpoints.lock
  fi
fi
for via in "${!since[@]}"; do printf '%s %s %s\n' "$via" "${since[$via]}" "${back[$via]}"; done >away
