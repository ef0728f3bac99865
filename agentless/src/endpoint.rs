//! Endpoints: elements of the base table's maps, swapped in one kernel transaction.
//!
//! An endpoint's port leads (`svc4`, `svc6`) to a chain that draws one of N slots, and (address,
//! protocol, port, slot) leads (`be4`, `be6`) to a backend. Up to 16 backends N is their number;
//! above, the smallest of the larger counts that gives each backend eight slots or more, all of
//! them filled, so that no backend gets over an eighth more than another.
//!
//! Where releases share the traffic, the new one has a part of the slots: never more than its share,
//! and at least nine tenths of it. Among themselves, the replicas of each are as even as above.

use std::fmt::Write as _;

use berth_engine::plan::action::{Backend, Endpoint, Protocol, Write};
use berth_engine::plan::names::{Tenant, WorkloadName};
use berth_engine::run::host::Refusal;

use crate::fault::Fault;
use crate::link::Writer;
use crate::session::quote::Call;

/// The first slot's mark. High, so that it meets nobody's small marks.
pub(crate) const MARK: u32 = 0xbe57_0000;

/// The counts of slots that the base table has chains for.
pub(crate) const SLOTS: [usize; 21] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 256, 512, 1024, 2048, 4096];

/// The most backends that an endpoint may have.
const BACKEND_LIMIT: usize = 4096;

/// Makes the endpoint's address lead to exactly these backends.
pub(crate) async fn swap(
    writer: &Writer<'_>,
    tenant: &Tenant,
    endpoint: &Endpoint,
) -> Result<(), Fault> {
    if endpoint.backends.len() > BACKEND_LIMIT {
        let why = format!("an endpoint has at most {BACKEND_LIMIT} backends");
        return Err(Refusal::Failed { what: "swap an endpoint".to_owned(), why }.into());
    }
    let json = serde_json::to_string(endpoint)
        .map_err(|error| Fault::failed("endpoint", &error.to_string()))?;
    let (adds, deletes) = elements(endpoint);
    let call = Call::new("endpoint_swap")
        .arg(tenant.namespace())
        .arg(endpoint.workload.slug())
        .data(&json)
        .data(&adds)
        .data(&deletes);
    writer.must("swap an endpoint", &call).await.map(drop)
}

/// Takes the endpoint's address away.
pub(crate) async fn remove(
    writer: &Writer<'_>,
    tenant: &Tenant,
    endpoint: &WorkloadName,
) -> Result<(), Fault> {
    let call = Call::new("endpoint_remove").arg(tenant.namespace()).arg(endpoint.slug());
    writer.must("remove an endpoint", &call).await.map(drop)
}

/// Makes the endpoint's files those of another name; what the kernel has stays as it is.
pub(crate) async fn rename(
    writer: &Writer<'_>,
    tenant: &Tenant,
    endpoint: &Endpoint,
    workload: &WorkloadName,
) -> Result<(), Fault> {
    let renamed = Endpoint { workload: workload.clone(), ..endpoint.clone() };
    let json = serde_json::to_string(&renamed)
        .map_err(|error| Fault::failed("endpoint", &error.to_string()))?;
    let namespace = tenant.namespace();
    let call = Call::new("endpoint_rename")
        .arg(&namespace)
        .arg(endpoint.workload.slug())
        .arg(workload.slug())
        .data(&json);
    let other = Write::new("endpoint", format_args!("{namespace}/{}", endpoint.workload));
    writer.also(other).note("endpoint_rename")?;
    let this = writer.also(Write::new("endpoint", format_args!("{namespace}/{workload}")));
    this.must("rename an endpoint", &call).await.map(drop)
}

/// Who gets each slot.
fn slots(endpoint: &Endpoint) -> Vec<&Backend> {
    let all: Vec<&Backend> = endpoint.backends.iter().collect();
    let Some(split) = &endpoint.split else { return even(&all, slots_of(all.len())) };
    let (to, others): (Vec<_>, Vec<_>) = all.iter().partition(|b| split.to.contains(&b.pod));
    if to.is_empty() || others.is_empty() {
        return even(&all, slots_of(all.len()));
    }
    // Hundredths of a percent of a slot.
    let meant = |n: usize| n * split.share as usize;
    let fits = |n: &usize| {
        let new = meant(*n) / ALL;
        let near = new * ALL * 10 >= meant(*n) * 9;
        near && is_even(to.len(), new) && is_even(others.len(), n - new)
    };
    let n = SLOTS.into_iter().find(fits).unwrap_or(BACKEND_LIMIT);
    let mut slots = even(&to, meant(n) / ALL);
    slots.extend(even(&others, n - slots.len()));
    slots
}

/// All of the traffic, in hundredths of a percent.
const ALL: usize = 10_000;

/// Gives slots out in turns.
fn even<'a>(backends: &[&'a Backend], n: usize) -> Vec<&'a Backend> {
    backends.iter().copied().cycle().take(n).collect()
}

/// Whether nobody gets over an eighth more than another.
fn is_even(backends: usize, slots: usize) -> bool {
    slots >= backends * 8 || slots > 0 && slots.is_multiple_of(backends)
}

fn slots_of(backends: usize) -> usize {
    SLOTS.into_iter().find(|n| backends == 0 || is_even(backends, *n)).unwrap_or(BACKEND_LIMIT)
}

/// The commands that add the endpoint's elements, and those that take them out again.
pub(crate) fn elements(endpoint: &Endpoint) -> (String, String) {
    let (mut adds, mut deletes) = (String::new(), String::new());
    let slots = slots(endpoint);
    let n = slots.len();
    if endpoint.backends.is_empty() {
        return (adds, deletes);
    }
    let (a4, a6) = (endpoint.address4, endpoint.address6);
    // Services come after their backends, and leave before them.
    for (map, family) in [("be", 4), ("be", 6), ("svc", 4), ("svc", 6)] {
        let (mut pairs, mut keys) = (Vec::new(), Vec::new());
        for port in &endpoint.ports {
            let protocol = match port.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            let address = if family == 4 { a4.to_string() } else { a6.to_string() };
            let key = format!("{address} . {protocol} . {}", port.port);
            if map == "svc" {
                pairs.push(format!("{key} : goto s{n}"));
                keys.push(key);
                continue;
            }
            for (slot, backend) in slots.iter().enumerate() {
                let mark = MARK + u32::try_from(slot).unwrap_or(0);
                let to =
                    if family == 4 { backend.ip4.to_string() } else { backend.ip6.to_string() };
                pairs.push(format!("{key} . {mark:#x} : {to} . {}", port.target));
                keys.push(format!("{key} . {mark:#x}"));
            }
        }
        if !pairs.is_empty() {
            let _ =
                writeln!(adds, "add element inet berth {map}{family} {{ {} }}", pairs.join(", "));
            let delete =
                format!("delete element inet berth {map}{family} {{ {} }}\n", keys.join(", "));
            deletes.insert_str(0, &delete);
        }
    }
    (adds.trim_end().to_owned(), deletes.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_engine::plan::action::{EndpointPort, Split};
    use berth_engine::plan::names::PodId;
    use std::collections::BTreeMap;

    fn endpoint(backends: u16) -> Endpoint {
        Endpoint {
            workload: WorkloadName::new("web"),
            address4: "10.99.0.1".parse().expect("address"),
            address6: "fd00:99::1".parse().expect("address"),
            ports: vec![EndpointPort { protocol: Protocol::Tcp, port: 80, target: 8080 }],
            split: None,
            backends: (0..backends)
                .map(|i| Backend {
                    pod: PodId { workload: "web".into(), ordinal: i.into(), generation: 1 },
                    ip4: std::net::Ipv4Addr::from(0x0a58_0100 + u32::from(i)),
                    ip6: std::net::Ipv6Addr::from(0xfd00 + u128::from(i)),
                })
                .collect(),
        }
    }

    #[test]
    fn one_backend() {
        let (adds, deletes) = elements(&endpoint(1));
        assert_eq!(
            adds.lines().next().expect("line"),
            "add element inet berth be4 { 10.99.0.1 . tcp . 80 . 0xbe570000 : 10.88.1.0 . 8080 }"
        );
        assert!(adds.ends_with("svc6 { fd00:99::1 . tcp . 80 : goto s1 }"));
        assert!(deletes.starts_with("delete element inet berth svc6 { fd00:99::1 . tcp . 80 }"));
    }

    #[test]
    fn no_backend_leaves_nothing() {
        assert_eq!(elements(&endpoint(0)), (String::new(), String::new()));
    }

    #[test]
    fn any_number_of_backends_is_balanced() {
        for backends in [1_usize, 2, 3, 16, 17, 100, 500] {
            let n = slots_of(backends);
            assert!(SLOTS.contains(&n) && n >= backends);
            let (adds, _) = elements(&endpoint(u16::try_from(backends).expect("small")));
            let mut share = BTreeMap::new();
            for pair in adds.lines().next().expect("be4").split(", ") {
                let to = pair.trim_end_matches(" }").split(" : ").nth(1).map(str::to_owned);
                *share.entry(to).or_insert(0) += 1;
            }
            let (least, most) = (share.values().min(), share.values().max());
            let (least, most) = (least.expect("some"), most.expect("some"));
            assert!((most - least) * 8 <= *most || most == least, "{backends}: {least} to {most}");
        }
    }

    #[test]
    fn a_share_is_never_more_than_it_says_and_hardly_less() {
        for (all, new) in [(2_u16, 1_u16), (4, 1), (6, 5), (12, 6), (33, 3), (200, 20), (600, 7)] {
            for share in [10_u32, 100, 500, 1000, 2500, 3333, 5000, 9000, 9999] {
                let mut endpoint = endpoint(all);
                let to = endpoint.backends.iter().take(new.into()).map(|b| b.pod.clone()).collect();
                let split = Split { to, share };
                endpoint.split = Some(split.clone());
                let slots = slots(&endpoint);
                assert!(SLOTS.contains(&slots.len()));
                let mut count: BTreeMap<_, usize> = BTreeMap::new();
                slots.iter().for_each(|b| *count.entry(&b.pod).or_default() += 1);
                let got: usize =
                    count.iter().filter(|(p, _)| split.to.contains(**p)).map(|(_, n)| n).sum();
                let meant = slots.len() * share as usize;
                let of = format!("{new} of {all} with {share}: {got} of {}", slots.len());
                assert!(got * ALL <= meant, "{of}");
                assert!(got * ALL * 10 >= meant * 9, "{of}");
                // Everybody has a slot, unless a share has too few for all.
                let least = slots.len().min(got).min(new.into());
                assert!(count.keys().filter(|p| split.to.contains(**p)).count() >= least, "{of}");
            }
        }
    }
}
