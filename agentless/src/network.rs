//! A node's network: forwarding, addresses, the base table, routes to the other nodes' pods.
//!
//! Pods are wired by CNI's `ptp`, so that all of their traffic is routed by the node: endpoint
//! addresses are then translated for pods of the same node, too, with no help of bridge
//! netfilter. The rules of the table are constant; services are elements of its maps (see
//! [`crate::endpoint`]). Endpoint addresses are local to every node (an AnyIP route), which gives
//! the node's own connections a route before they are translated, for both families.
//!
//! A range that covers the way back to us would cut us off. So a change is made at run time first, and kept once another
//! connection has come in since; if none does, or nothing is heard any more, the node takes it back by itself, also when it
//! boots (`network_undo` in `agentless/src/node/wiring.sh`).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use berth_engine::plan::action::{NodeNetwork, Peer};
use berth_engine::plan::peers::named;
use berth_engine::run::host::Refusal;
use russh::Disconnect;

use crate::endpoint::{MARK, SLOTS};
use crate::fault::Fault;
use crate::link::{Writer, said};
use crate::session::quote::Call;

/// The mark of a connection that goes back to where it came from, between two of our chains.
const HAIRPIN: u32 = MARK + 0xffff;

/// Makes the node's network what it should be, and writes the files that boot rebuilds it from.
///
/// # Errors
/// Refused if `peers` are not those that the network names.
pub(crate) async fn ensure(
    writer: &Writer<'_>,
    network: &NodeNetwork,
    peers: &[Peer],
) -> Result<(), Fault> {
    if network.peers != named(peers) {
        return Err(Fault::failed("network", "the plan's nodes are not those that it names"));
    }
    let json = serde_json::to_string(network)
        .map_err(|error| Fault::failed("network", &error.to_string()))?;
    let call = Call::new("network_up")
        .arg(json)
        .arg(line(network))
        .data(&table(network))
        .arg(routes(network, peers));
    let output = writer.run(&call).await?;
    match output.status {
        0 => confirm(writer).await,
        82 => Err(Fault::failed(
            "set up the network",
            "with that change the node could not hear this machine any more, twice, and took it back; does a range of `network` cover this machine's address, or one on the way?",
        )),
        77 => Err(Refusal::Missing {
            what: output.text.split(" is missing").next().unwrap_or_default().to_owned(),
            mend: "apt-get install nftables iproute2 util-linux containernetworking-plugins"
                .to_owned(),
        }
        .into()),
        status => Err(Fault::failed("set up the network", &said(status, &output.text))),
    }
}

/// Comes in anew, and has the change kept; or taken back, if the door is shut.
async fn confirm(writer: &Writer<'_>) -> Result<(), Fault> {
    match writer.link.dial().await {
        Ok(dialed) => {
            let _ = dialed.handle.disconnect(Disconnect::ByApplication, "", "en").await;
            writer.must("keep the network", &Call::new("network_keep")).await.map(drop)
        }
        Err(fault) => {
            let why = match fault {
                Fault::Unreachable { layer, why } => format!("{layer}: {why}"),
                other => other.at(writer.link.node()).to_string(),
            };
            writer.must("take the network back", &Call::new("network_undo")).await?;
            let words = format!(
                "after that change the node could not be reached anew, so it was taken back: {why}"
            );
            Err(Fault::failed("set up the network", &words))
        }
    }
}

/// Undoes it, and gives back the settings that were found.
pub(crate) async fn remove(writer: &Writer<'_>) -> Result<(), Fault> {
    let output = writer.run(&Call::new("network_down")).await?;
    match output.status {
        0 => Ok(()),
        78 => Err(Refusal::InUse(format!("tenants are left on the node: {}", output.text)).into()),
        status => Err(Fault::failed("remove the network", &said(status, &output.text))),
    }
}

/// The first address of each pod range: what pods use as their gateway.
fn gateways(network: &NodeNetwork) -> (Ipv4Addr, Ipv6Addr) {
    (
        Ipv4Addr::from(u32::from(network.range4.network()) | 1),
        Ipv6Addr::from(u128::from(network.range6.network()) | 1),
    )
}

/// The network as the node's shell reads it.
fn line(network: &NodeNetwork) -> String {
    let (gateway4, gateway6) = gateways(network);
    let NodeNetwork { range4, range6, endpoints4, endpoints6, .. } = network;
    format!("{gateway4} {gateway6} {range4} {range6} {endpoints4} {endpoints6}")
}

/// Routes to every other node's pods.
fn routes(network: &NodeNetwork, peers: &[Peer]) -> String {
    let mut out = String::new();
    for peer in peers.iter().filter(|peer| peer.range4 != network.range4) {
        if let Some(via) = peer.address4 {
            let _ = writeln!(out, "4 {} {via}", peer.range4);
        }
        if let Some(via) = peer.address6 {
            let _ = writeln!(out, "6 {} {via}", peer.range6);
        }
    }
    out
}

/// The base table. It replaces itself in one transaction, so that established connections never
/// see a moment without it.
fn table(network: &NodeNetwork) -> String {
    let NodeNetwork { range4, range6, pods4, pods6, endpoints4: e4, endpoints6: e6, .. } = network;
    let mut slots = String::new();
    for n in SLOTS {
        let _ = match n {
            1 => writeln!(slots, " chain s1 {{ meta mark set {MARK:#x}; goto to; }}"),
            n => writeln!(
                slots,
                " chain s{n} {{ meta mark set numgen random mod {n} offset {MARK:#x}; goto to; }}"
            ),
        };
    }
    // A connection from a pod to an endpoint that leads back to itself must seem to come from the
    // node, or the pod would answer to itself: `fib daddr . iif` finds the way back. Other
    // packets lose the mark that chose their slot, so that nobody's rules see it.
    format!(
        "table inet berth
delete table inet berth
table inet berth {{
 map svc4 {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
 map svc6 {{ type ipv6_addr . inet_proto . inet_service : verdict; }}
 map be4 {{ type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }}
 map be6 {{ type ipv6_addr . inet_proto . inet_service . mark : ipv6_addr . inet_service; }}
 chain to4 {{ dnat ip to ip daddr . meta l4proto . th dport . meta mark map @be4; }}
 chain to6 {{ dnat ip6 to ip6 daddr . meta l4proto . th dport . meta mark map @be6; }}
 chain to {{ meta nfproto ipv4 goto to4; goto to6; }}
{slots} chain balance {{
  ip daddr . meta l4proto . th dport vmap @svc4
  ip6 daddr . meta l4proto . th dport vmap @svc6
 }}
 chain pre {{ type nat hook prerouting priority dstnat; policy accept;
  ip daddr {e4} goto balance
  ip6 daddr {e6} goto balance
 }}
 chain out {{ type nat hook output priority -100; policy accept;
  ip daddr {e4} goto balance
  ip6 daddr {e6} goto balance
 }}
 chain hairpin {{ type filter hook prerouting priority dstnat + 5; policy accept;
  ct state new ct original ip daddr {e4} meta mark set 0
  ct state new ct original ip6 daddr {e6} meta mark set 0
  ct state new ct original ip daddr {e4} fib daddr . iif oif exists meta mark set {HAIRPIN:#x}
  ct state new ct original ip6 daddr {e6} fib daddr . iif oif exists meta mark set {HAIRPIN:#x}
 }}
 chain post {{ type nat hook postrouting priority srcnat; policy accept;
  meta mark {HAIRPIN:#x} masquerade
  ct original ip daddr {e4} ip saddr != {pods4} ip daddr != {range4} masquerade
  ct original ip6 daddr {e6} ip6 saddr != {pods6} ip6 daddr != {range6} masquerade
  ip saddr {range4} ip daddr != {pods4} masquerade
  ip6 saddr {range6} ip6 daddr != {pods6} masquerade
 }}
 chain shut {{ meta l4proto tcp reject with tcp reset; reject; }}
 chain shut_in {{ type filter hook input priority filter; policy accept;
  ip daddr {e4} goto shut
  ip6 daddr {e6} goto shut
 }}
 chain shut_fwd {{ type filter hook forward priority filter; policy accept;
  ip daddr {e4} goto shut
  ip6 daddr {e6} goto shut
 }}
 chain shut_out {{ type filter hook output priority filter; policy accept;
  ip daddr {e4} goto shut
  ip6 daddr {e6} goto shut
 }}
}}"
    )
}
