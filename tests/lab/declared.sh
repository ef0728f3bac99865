# shellcheck shell=bash
# Whether what an apply wrote to the nodes is what its plan declares. Sourced, after story.sh or world.sh.

# The writes that a plan's steps declare: a line "node write" each, as Action::writes names them.
# shellcheck disable=SC2016 # jq expands these
DECLARED='def ns: "berth.\(.project).\(.environment)";
  .body.steps[] | .node as $node | .work.act? // empty
  | if .do == "ensure_network" or .do == "remove_network" then "network:node"
    elif .do == "install_reflex" or .do == "remove_reflex" then "reflex:\(.reflex)"
    elif .do == "ensure_tenant" or .do == "remove_tenant" then "tenant:\(.tenant | ns)"
    elif .do == "ensure_image" or .do == "remove_image" then "image:\(.tenant | ns)/\(.image)"
    elif .do == "ensure_volume" or .do == "remove_volume" then "volume:\(.tenant | ns)/\(.volume)"
    elif .do == "ensure_pod" then "pod:\(.pod.tenant | ns)/\(.pod.id)"
    elif .do == "rename_endpoint" then "endpoint:\(.tenant | ns)/\(.endpoint.workload, .workload)"
    elif .do == "remove_pod" or .do == "rename_pod" then "pod:\(.tenant | ns)/\(.pod)"
    elif .do == "swap_endpoint" then "endpoint:\(.tenant | ns)/\(.endpoint.workload)"
    elif .do == "remove_endpoint" then "endpoint:\(.tenant | ns)/\(.endpoint)"
    else "an action that this test does not know: \(.do)" end
  | "\($node) \(.)"'

# Whether what was recorded is what was declared. The lock and the ledger are bookkeeping of every apply.
as_declared() {
  [[ -s $WORK/plan.json && -s $WORK/record ]] || {
    echo "there is no plan or no record"
    return 1
  }
  diff <(jq -r "$DECLARED" "$WORK/plan.json" | sort -u) \
    <(jq -r '"\(.node) \(.write)"' "$WORK/record" | grep -vE ' (lock|ledger):' | sort -u)
}
count_writes() { jq -r "$DECLARED" "$WORK/plan.json" | sort -u | wc -l; }

planned_and_recorded() {
  local what=$1
  berth plan --json >"$WORK/plan.json"
  check "$what" berth apply --yes --record "$WORK/record"
  check "$what: $(wc -l <"$WORK/record") recorded calls are the $(count_writes) writes that the plan declares" as_declared
}
