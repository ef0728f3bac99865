//! The ledger's words: entries, and the head that they fold to.
//!
//! The ledger is shared truth beyond what labels can hold. It is a chain: each line names the
//! hash of the line before it, so that a lost or altered line is noticed. This module knows the
//! entries and what they mean; [`crate::run::ledger`] reads and appends them.

mod raw;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::body::{Placed, PlanBody};
use super::canon::{digest_of, release_digest};
use super::content::Contents;
use super::graph::{Graph, Workload};
use super::names::{NodeName, PodId, SpecDigest, VolumeId, VolumeName, WorkloadName};
use super::overrides::{Override, Restart, Standing, Subject};

/// The ledger format that this Berth writes; a newer one is refused, an older one is read.
pub const LEDGER_VERSION: u32 = 16;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The format's version.
    pub v: u32,
    /// The hash of the line before; of nothing for the first.
    pub prev: String,
    /// When, in milliseconds since 1970 on the writing engine's clock.
    pub at_ms: u64,
    /// Who wrote it: a login and a machine.
    pub who: String,
    /// What happened.
    pub entry: Entry,
    /// The hash of all the above.
    pub hash: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// An apply begins. Written before its first step; the whole plan is in it.
    Begin {
        /// The plan.
        plan: Box<PlanBody>,
        /// Its digest.
        digest: String,
        /// The commit that it was made from, for people.
        commit: Option<String>,
        /// What each changed workload was before, for people.
        summary: Vec<String>,
        /// Who has signed the text, where that was asked for. Since version 11.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Signed>,
    },
    /// A gate failed, and the workload goes back. Written before the first step of the undo.
    Pin {
        /// Which workload.
        workload: WorkloadName,
        /// The verdict.
        pin: Box<Pin>,
        /// What is in the files of what stands, if a person decided it. Since version 13.
        #[serde(default, skip_serializing_if = "Contents::is_empty")]
        contents: Contents,
    },
    /// Somebody decides something beside the text; it takes the place of what stood about the same
    /// subject. Since version 5.
    Override {
        /// What.
        what: Override,
        /// Why, for people.
        why: String,
        /// When it ends by itself, in milliseconds since 1970; only by hand if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ms: Option<u64>,
    },
    /// An override ends by hand. Since version 5.
    Lift {
        /// Which.
        subject: Subject,
    },
    /// Replicas are to be replaced though nothing has changed. Since version 5.
    Restart {
        /// Of which workload.
        workload: WorkloadName,
        /// Why, for people; empty if nothing was said.
        why: String,
        /// Up to which generation a replica's pods are replaced, by replica (`web-0`).
        up_to: BTreeMap<String, u64>,
    },
    /// A node is gone for good: what was there is not remembered any more. Since version 9.
    Forget {
        /// Which.
        node: NodeName,
        /// Why, for people.
        why: String,
    },
    /// An apply ended.
    Finish {
        /// Of which revision.
        revision: u64,
        /// How.
        outcome: Outcome,
        /// What was reached, for the workloads whose branch ended well.
        reached: BTreeMap<WorkloadName, Option<Box<Workload>>>,
        /// Every pod that is there now, as far as this engine knows.
        placed: BTreeMap<PodId, Placed>,
        /// Those of them that have passed their gate. Since version 2.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        proven: BTreeSet<PodId>,
        /// Every volume that is there now, as far as this engine knows. Since version 4.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        volumes: BTreeMap<VolumeId, Remembered>,
        /// Those pods whose removal was begun, and not seen to end. Since version 12.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        leaving: BTreeSet<PodId>,
    },
    /// Another node keeps the ledger from here on, under a higher epoch. Since version 7.
    Keeper {
        /// Which.
        keeper: NodeName,
        /// The epoch that begins.
        epoch: u64,
        /// Whether lines may be missing before this one: the last keeper was lost, and this is its
        /// newest copy. Generations go on far above all that are known then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        taken_over: bool,
    },
    /// What all lines before came to, in their place: they were folded, or lost. Only ever the first
    /// line. Since version 7.
    Snapshot {
        /// What they came to. Its hash is that of the last of them, which the next line follows; none if
        /// they were lost.
        head: Box<Head>,
        /// Why they are not there, for people.
        why: String,
    },
}

/// What a node remembers of a tenant's ledger since it was last locked: a floor for whoever reads one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The epoch that it was locked under.
    pub epoch: u64,
    /// How many lines the ledger had then at least.
    pub lines: u64,
    /// Who kept it.
    pub keeper: NodeName,
    /// How many bytes of the ledger the node itself has, as its keeper or as a copy; 0 if not one whole
    /// line, since a first one that was being written when the node lost power never counted.
    pub bytes: u64,
}

/// Where a volume was when an apply ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// On which node.
    pub node: NodeName,
    /// Whether it is not known that it was there: the step that makes it, or that removes it, was
    /// begun and not seen to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsure: bool,
}

/// How an apply ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Every step is done.
    Done,
    /// A gate failed, and the workloads named were put back.
    Reverted {
        /// Each with its reason.
        workloads: BTreeMap<WorkloadName, String>,
    },
    /// Some steps are not done; a new plan goes on from there.
    Partial {
        /// One line a problem.
        problems: Vec<String>,
    },
}

/// An override: a workload stands at what it was, until its release changes in the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The release that was turned down.
    pub rejected: SpecDigest,
    /// What stands instead; nothing if there was nothing before.
    pub stands: Option<Box<Workload>>,
    /// Why, for people.
    pub why: String,
    /// The revision that turned it down.
    pub revision: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who decided it; a gate did if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

/// What the ledger says now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last revision that began; 0 if none.
    pub revision: u64,
    /// The hash of the last line; empty if none.
    pub hash: String,
    /// How many lines came to it, folded ones included.
    #[serde(default)]
    pub lines: u64,
    /// The ledger's epoch; raised whenever another node keeps it.
    pub epoch: u64,
    /// The node that keeps it, if it was ever moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<NodeName>,
    /// A generation above which every new one is; more than 0 only after lines may have been lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub least_generation: u64,
    /// Claimed addresses.
    pub claims: Claims,
    /// Workloads that stand at an earlier release.
    pub pins: BTreeMap<WorkloadName, Pin>,
    /// What else people decided beside the text, in the order of what it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Standing>,
    /// Whose replicas are to be replaced though nothing has changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<WorkloadName, Restart>,
    /// Whether the next text has to be signed, since the last one was and asked for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    /// Fingerprints of secrets that may not come back, whatever a later text says.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub revoked: BTreeSet<String>,
    /// Since when, in milliseconds since 1970, nodes are silent that have what may be replaced, as applies
    /// found them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub silent: BTreeMap<NodeName, u64>,
    /// The apply that began and has not ended, if any.
    pub in_flight: Option<InFlight>,
    /// What each workload last reached.
    pub reached: BTreeMap<WorkloadName, Workload>,
    /// What is in the files of what is reached, of what stands in the place of the text's, and of the plan in
    /// flight.
    #[serde(default, skip_serializing_if = "Contents::is_empty")]
    pub contents: Contents,
    /// Every pod that was there when the last apply ended.
    pub placed: BTreeMap<PodId, Placed>,
    /// Those of them that had passed their gate: what no endpoint's table can say of a workload
    /// without ports, nor of a pod on a node that is silent.
    pub proven: BTreeSet<PodId>,
    /// Every volume that was there when the last apply ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<VolumeId, Remembered>,
    /// Those pods whose removal was begun, and not seen to end: they may be gone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub leaving: BTreeSet<PodId>,
    /// What workloads are called now, by their names before; a name that was given anew means itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<WorkloadName, WorkloadName>,
    /// What the folders of renamed volumes are called, by the volumes' names in the text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stored: BTreeMap<VolumeName, VolumeName>,
    /// The highest generation that any plan has named, by replica (`web-0`).
    pub generations: BTreeMap<String, u64>,
}

/// More generations than lost lines may have named: a plan names each replica's next, and its next
/// but one if it may go back.
pub(super) const LOST_GENERATIONS: u64 = 1000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Addresses, claimed once and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Which slice of the pod pools is a node's, counted from 0.
    pub ranges: BTreeMap<NodeName, u32>,
    /// Which address of the endpoint pools is a workload's, counted from 1.
    pub endpoints: BTreeMap<WorkloadName, u32>,
    /// A node's own addresses, as last seen.
    pub nodes: BTreeMap<NodeName, NodeAddresses>,
}

impl Claims {
    fn forget(&mut self, node: &NodeName) {
        self.ranges.remove(node);
        self.nodes.remove(node);
    }
}

/// A node's own addresses and identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// Its IPv4 address between nodes.
    pub address4: Option<Ipv4Addr>,
    /// Its IPv6 address between nodes.
    pub address6: Option<Ipv6Addr>,
}

/// An apply that began and has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Its revision.
    pub revision: u64,
    /// Its plan's digest.
    pub digest: String,
    /// Who.
    pub who: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// The plan, so that any engine knows what was under way.
    pub plan: Box<PlanBody>,
}

/// A ledger that cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A line is not what any Berth writes.
    #[error("line {line} of the ledger cannot be read: {why}")]
    Unreadable {
        /// Counted from 1.
        line: usize,
        /// The parser's words.
        why: String,
    },
    /// A line does not follow from the one before it.
    #[error(
        "line {line} of the ledger does not follow from the one before: a line was lost or altered"
    )]
    Broken {
        /// Counted from 1.
        line: usize,
    },
    /// A newer Berth wrote it.
    #[error(
        "the ledger is of version {found}, and this Berth knows {LEDGER_VERSION}: use a newer Berth"
    )]
    Newer {
        /// The version found.
        found: u32,
    },
}

/// The commit that a plan was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its name, for people.
    pub id: String,
    /// Who has signed it, where that was asked for.
    pub signed: Option<Signed>,
}

/// Whose signature a text had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Whose: as the allowed signers name them.
    pub by: String,
    /// Whether the text asks for signatures still: then the next has to be signed, too.
    pub wanted: bool,
}

impl Line {
    /// Makes the line that follows `prev`.
    pub fn new(prev: &str, at_ms: u64, who: &str, entry: Entry) -> Self {
        let mut line = Self {
            v: LEDGER_VERSION,
            prev: prev.to_owned(),
            at_ms,
            who: who.to_owned(),
            entry,
            hash: String::new(),
        };
        line.hash = line.compute_hash();
        line
    }

    /// The line as it stands in a ledger's file, with its end.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    fn compute_hash(&self) -> String {
        digest_of(raw::LABEL, &(self.v, &self.prev, self.at_ms, &self.who, &self.entry))
    }
}

/// Reads a whole ledger, believing nothing.
///
/// # Errors
/// The first line that cannot be read or does not follow. A last line without its newline was
/// being written when its engine died: it was never acknowledged, and is left out with `torn`.
pub fn parse(bytes: &[u8]) -> Result<Ledger, LedgerError> {
    let mut ledger = Ledger { length: bytes.len() as u64, ..Ledger::default() };
    let mut prev = String::new();
    for (index, raw) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let line = index + 1;
        let Some(raw) = raw.strip_suffix(b"\n") else {
            // A line that is whole but for its line end was not torn: that byte was damaged.
            let whole = raw.split_last().and_then(|(_, rest)| serde_json::from_slice(rest).ok());
            if whole.is_some_and(|line: Line| line.hash == line.compute_hash()) {
                return Err(LedgerError::Broken { line });
            }
            ledger.length -= raw.len() as u64;
            ledger.torn = true;
            break;
        };
        let parsed = match raw::read(raw) {
            Some(parsed) => parsed,
            None => slowly(raw, line)?,
        };
        let folded = matches!(parsed.entry, Entry::Snapshot { .. });
        let follows = if folded { index == 0 } else { parsed.prev == prev };
        if !follows {
            return Err(LedgerError::Broken { line });
        }
        ledger.head.advance(&parsed);
        prev.clone_from(&ledger.head.hash);
        ledger.lines.push(parsed);
    }
    Ok(ledger)
}

/// Reads a line that is not as this Berth writes it: of a newer one, or damaged.
fn slowly(raw: &[u8], line: usize) -> Result<Line, LedgerError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let unreadable =
        |error: serde_json::Error| LedgerError::Unreadable { line, why: error.to_string() };
    let Version { v } = serde_json::from_slice(raw).map_err(unreadable)?;
    if v > LEDGER_VERSION {
        return Err(LedgerError::Newer { found: v });
    }
    let parsed: Line = serde_json::from_slice(raw).map_err(unreadable)?;
    if parsed.hash != parsed.compute_hash() {
        return Err(LedgerError::Broken { line });
    }
    Ok(parsed)
}

/// A ledger that was read and believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Its lines.
    pub lines: Vec<Line>,
    /// What they fold to.
    pub head: Head,
    /// The length in bytes of what is believed.
    pub length: u64,
    /// Whether an unfinished line follows, which the next append cuts off.
    pub torn: bool,
}

impl Ledger {
    /// The file that it is, as this Berth writes it.
    pub fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(Line::bytes).collect()
    }
}

impl Head {
    /// Takes the next line in.
    pub fn advance(&mut self, line: &Line) {
        self.hash.clone_from(&line.hash);
        self.lines += 1;
        match &line.entry {
            Entry::Keeper { keeper, epoch, taken_over } => {
                self.keeper = Some(keeper.clone());
                self.epoch = *epoch;
                if *taken_over {
                    let known = self.generations.values().copied().max().unwrap_or(0);
                    self.least_generation = known.max(self.least_generation) + LOST_GENERATIONS;
                }
            }
            Entry::Snapshot { head, why: _ } => {
                *self = (**head).clone();
                if self.hash.is_empty() {
                    self.hash.clone_from(&line.hash);
                    self.lines += 1;
                }
            }
            Entry::Begin { plan, digest, commit: _, summary: _, signed } => {
                self.signed = signed.as_ref().is_some_and(|signed| signed.wanted);
                self.revision = plan.revision;
                self.rename(&plan.moved);
                for (old, new) in &plan.moved {
                    self.moved.insert(old.clone(), new.clone());
                    self.moved.entry(new.clone()).and_modify(|now| now.clone_from(new));
                }
                // A name that is given anew means what has it now.
                let anew = |old: &WorkloadName| {
                    let comes = plan.branches.get(old).is_some_and(|b| b.release.is_some());
                    comes || matches!(plan.reaches.get(old), Some(Some(_)))
                };
                for (old, new) in self.moved.iter_mut().filter(|(old, _)| anew(old)) {
                    new.clone_from(old);
                }
                self.stored.clone_from(&plan.stored);
                self.contents.extend(&plan.contents);
                self.claims = plan.claims.clone();
                self.revoked.extend(plan.revoked.iter().cloned());
                for (replica, generation) in plan.generations() {
                    let highest = self.generations.entry(replica).or_default();
                    *highest = (*highest).max(generation);
                }
                self.overrides.retain(|standing| match &standing.what {
                    Override::Fenced { node, by_plan: _ } => !plan.unfenced.contains(node),
                    Override::Intake { .. }
                    | Override::Pause { .. }
                    | Override::Replicas { .. } => true,
                });
                for workload in &plan.unpinned {
                    self.pins.remove(workload);
                }
                self.overrides.retain(|standing| standing.counts_at(line.at_ms));
                if let Some(silent) = &plan.silent {
                    self.silent.clone_from(silent);
                }
                self.in_flight = Some(InFlight {
                    revision: plan.revision,
                    digest: digest.clone(),
                    who: line.who.clone(),
                    since_ms: line.at_ms,
                    plan: plan.clone(),
                });
            }
            Entry::Pin { workload, pin, contents } => {
                self.contents.extend(contents);
                self.pins.insert(workload.clone(), (**pin).clone());
            }
            Entry::Override { what, why, until_ms } => {
                let subject = what.subject();
                self.overrides.retain(|standing| standing.what.subject() != subject);
                self.overrides.push(Standing {
                    what: what.clone(),
                    who: line.who.clone(),
                    why: why.clone(),
                    since_ms: line.at_ms,
                    until_ms: *until_ms,
                });
                self.overrides.sort_by_key(|standing| standing.what.subject());
            }
            Entry::Lift { subject: Subject::Pin(workload) } => {
                self.pins.remove(workload);
            }
            Entry::Lift { subject } => {
                self.overrides.retain(|standing| &standing.what.subject() != subject);
            }
            Entry::Restart { workload, why, up_to } => {
                let (who, why, up_to) = (line.who.clone(), why.clone(), up_to.clone());
                self.restarts.insert(workload.clone(), Restart { who, why, up_to });
            }
            Entry::Forget { node, why: _ } => self.forget(node),
            Entry::Finish {
                revision: _,
                outcome: _,
                reached,
                placed,
                proven,
                volumes,
                leaving,
            } => {
                self.in_flight = None;
                self.placed.clone_from(placed);
                self.proven.clone_from(proven);
                self.volumes.clone_from(volumes);
                self.leaving.clone_from(leaving);
                for (name, workload) in reached {
                    match workload {
                        Some(workload) => self.reached.insert(name.clone(), (**workload).clone()),
                        None => self.reached.remove(name),
                    };
                }
                self.forget_restarts();
                self.forget_contents();
            }
        }
    }

    /// Forgets a node, in what an apply that has not ended was to do too.
    fn forget(&mut self, node: &NodeName) {
        self.forget_pods(node);
        self.volumes.retain(|_, home| &home.node != node);
        self.silent.remove(node);
        self.claims.forget(node);
        self.overrides.retain(|standing| match &standing.what {
            Override::Intake { node: about, intake: _ }
            | Override::Fenced { node: about, by_plan: _ } => about != node,
            Override::Pause { .. } | Override::Replicas { .. } => true,
        });
        if let Some(flight) = &mut self.in_flight {
            flight.plan.volumes.retain(|_, home| &home.node != node);
        }
    }

    /// Forgets what ran on a node, and not where data was.
    pub(super) fn forget_pods(&mut self, node: &NodeName) {
        self.placed.retain(|_, placed| &placed.node != node);
        self.proven.retain(|pod| self.placed.contains_key(pod));
        if let Some(flight) = &mut self.in_flight {
            flight.plan.forget_pods(node);
        }
    }

    /// Calls workloads what they are called now, by their names before.
    pub(super) fn rename(&mut self, moved: &BTreeMap<WorkloadName, WorkloadName>) {
        fn rename<T>(
            map: &mut BTreeMap<WorkloadName, T>,
            (old, new): (&WorkloadName, &WorkloadName),
        ) {
            if let Some(value) = map.remove(old) {
                map.insert(new.clone(), value);
            }
        }
        for pair in moved {
            rename(&mut self.reached, pair);
            rename(&mut self.pins, pair);
            rename(&mut self.restarts, pair);
            rename(&mut self.claims.endpoints, pair);
        }
        // What comes under the new name is newer than what came under the old one.
        for (old, new) in moved {
            let (old, new) = (old.slug(), new.slug());
            let of_old = self.generations.iter().filter_map(|(replica, generation)| {
                let (slug, ordinal) = replica.rsplit_once('-')?;
                (slug == old).then(|| (format!("{new}-{ordinal}"), *generation))
            });
            for (replica, generation) in of_old.collect::<Vec<_>>() {
                let highest = self.generations.entry(replica).or_default();
                *highest = (*highest).max(generation);
            }
        }
        for standing in &mut self.overrides {
            match &mut standing.what {
                Override::Pause { workload } | Override::Replicas { workload, replicas: _ } => {
                    if let Some(new) = moved.get(workload) {
                        workload.clone_from(new);
                    }
                }
                Override::Intake { .. } | Override::Fenced { .. } => {}
            }
        }
        // Of two about one subject, the later one counts.
        self.overrides.sort_by_key(|standing| (standing.what.subject(), standing.since_ms));
        self.overrides.reverse();
        self.overrides.dedup_by_key(|standing| standing.what.subject());
        self.overrides.reverse();
        let flight = self.in_flight.iter_mut().flat_map(|flight| flight.plan.placed_mut());
        for placed in self.placed.values_mut().chain(flight) {
            if let Some(new) = moved.get(&placed.workload) {
                placed.workload.clone_from(new);
            }
        }
    }

    /// Forgets the wishes for new replicas that were carried out.
    fn forget_restarts(&mut self) {
        let placed = &self.placed;
        self.restarts.retain(|workload, restart| {
            placed.iter().any(|(pod, at)| {
                let up_to = restart.up_to.get(&pod.replica());
                &at.workload == workload && up_to.is_some_and(|up_to| pod.generation <= *up_to)
            })
        });
    }

    /// Forgets what was in files that nothing has any more.
    fn forget_contents(&mut self) {
        if self.contents.is_empty() {
            return;
        }
        let stands = self.pins.values().filter_map(|pin| pin.stands.as_deref());
        let workloads = self.reached.values().chain(stands);
        let named = workloads.flat_map(|workload| workload.template.contents()).cloned().collect();
        self.contents.keep(&named);
    }

    /// Where volumes were when the last apply ended, or when the one that has not ended began.
    pub fn volumes(&self) -> &BTreeMap<VolumeId, Remembered> {
        match &self.in_flight {
            Some(flight) => &flight.plan.volumes,
            None => &self.volumes,
        }
    }

    /// Lists every pod that may be there: those that were when the last apply ended, and all that
    /// one which has not ended was to make, keep or remove.
    pub fn may_be_there(&self) -> BTreeMap<&PodId, &Placed> {
        let flight = self.in_flight.iter();
        let moves = flight.clone().flat_map(|flight| flight.plan.branches.values());
        let moves = moves.flat_map(|branch| &branch.waves).flat_map(|wave| &wave.moves);
        let out = moves.flat_map(|one| &one.out).map(|(id, placed)| (id, placed));
        let expected = flight.flat_map(|flight| &flight.plan.expected);
        out.chain(expected).chain(&self.placed).collect()
    }

    /// The graph as it was last applied, on the nodes and with the volumes that the text has now; what
    /// a pin holds back is as the text has it, so that it stays held.
    pub fn as_applied(&self, graph: &Graph) -> Graph {
        let mut workloads = self.reached.clone();
        let pinned = graph.workloads.iter().filter(|(name, text)| self.held(name, text).is_some());
        workloads.extend(pinned.map(|(name, text)| (name.clone(), text.clone())));
        Graph { workloads, ..graph.clone() }
    }

    /// Says whether a workload, as the text has it, is held back by a pin.
    pub fn held(&self, name: &WorkloadName, workload: &Workload) -> Option<&Pin> {
        self.pins.get(name).filter(|pin| pin.rejected == release_digest(workload))
    }
}
