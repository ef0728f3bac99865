//! Random histories: texts that change, decisions, faults and cuts, and an engine after the other.
//!
//! A seed tells all of one. The engines may have a bug planted in them, to see that it is caught.

mod texts;

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::plan::body::{Blocked, Branch, Goal, PlanBody};
use berth_engine::plan::canon::{release_digest, template_digest};
use berth_engine::plan::content::Contents;
use berth_engine::plan::graph::{Graph, Intake, Workload};
use berth_engine::plan::ledger::{Entry, Head, Pin};
use berth_engine::plan::moved;
use berth_engine::plan::names::{ImageDigest, NodeName, PodId, WorkloadName};
use berth_engine::plan::observation::{NodeObservation, NodeSpec, PodStatus};
use berth_engine::plan::overrides::{self, Override, Subject};
use berth_engine::plan::render;
use berth_engine::plan::rollout::is_done;
use berth_engine::run::clock::SimulatedClock;
use berth_engine::run::host::{Ask, Host as _};
use berth_engine::run::ledger;
use berth_engine::run::observe::{Survey, survey};
use berth_engine::run::record;
use berth_engine::run::relocate::{Wish, relocate};
use berth_engine::run::twin::{Behaviour, Fault, Twin};

use self::texts::{
    Lineages, after_jobs, has_jobs, is_fenced, is_renamed, is_replaced, is_switched_off, renamed,
    retiring, waits, with_cron, with_jobs,
};
pub use self::texts::{canary, shop_by, text};
use crate::drive::{agreed, apply, apply_by, plan, tell, turn};
use crate::planted::{Bug, Engine};
use crate::project::{image, world};

/// What goes wrong at a call.
pub const FAULTS: [Fault; 6] = [
    Fault::Paused,
    Fault::Refused,
    Fault::AnswerLost,
    Fault::SessionEnds,
    Fault::KilledBefore,
    Fault::KilledAfter,
];

/// What goes wrong at a call in some of the histories, in the place of another.
pub const OTHER_FAULTS: [(Fault, Fault); 5] = [
    (Fault::KilledBefore, Fault::KilledHalfway),
    (Fault::Refused, Fault::DiskFull),
    (Fault::Paused, Fault::Reboots),
    (Fault::KilledAfter, Fault::Torn),
    (Fault::AnswerLost, Fault::ContainerdRestarts),
];

/// By how many milliseconds a clock is wrong, or is set in the midst of an apply: minutes, a time zone, ten years.
const WRONG: [i64; 6] = [90_000, -90_000, 7_200_000, -7_200_000, 315_360_000_000, -315_360_000_000];

/// The clock of an engine's machine, in some of the histories a wrong one that is set meanwhile, too.
fn clock(seed: Option<u64>, dice: u64) -> SimulatedClock {
    let right = 1_700_000_000_000;
    if seed.is_none_or(|seed| seed % 11 != 5) {
        return SimulatedClock::starting_at(right);
    }
    // Without a roll, so that seeds go on to tell what they told.
    let wrong = |at: u64| WRONG[(dice.rotate_left(u32::try_from(at).unwrap_or(0)) % 6) as usize];
    SimulatedClock::starting_at(right.saturating_add_signed(wrong(7)))
        .set_after(dice % 40_000, wrong(21))
}

fn has_other_faults(seed: u64) -> bool {
    [3, 7].contains(&(seed % 9))
}

/// The fault of a history in the place of one that was rolled: no roll more, so that seeds go on to tell
/// what they told.
fn other(seed: u64, fault: Fault) -> Fault {
    let other = OTHER_FAULTS.into_iter().find(|(usual, _)| *usual == fault);
    let other = other.filter(|_| has_other_faults(seed));
    other.map_or(fault, |(_, other)| other)
}

/// A stream of numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    /// One of a list, which is not empty.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.roll(from.len() as u64) as usize;
        from[index].clone()
    }
}

/// One is never ready, one falls over after a while, one fails what is run in it.
pub fn behave(twin: &Twin) {
    let mut world = twin.world();
    world.set_behaviour(&image('f'), Behaviour::NeverReady);
    world.set_behaviour(&image('e'), Behaviour::FallsOver(300, 15_000));
    world.set_behaviour(&image('d'), Behaviour::FailsChecks);
}

/// What a history came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The ledger's last hash.
    pub hash: String,
    /// How many calls reached nodes.
    pub calls: u64,
    /// Which calls were met by which fault, or by none.
    pub met: BTreeSet<(&'static str, Option<Fault>)>,
}

/// One random history; the seed tells it all. Gives what it came to, to compare.
///
/// # Errors
/// What went wrong.
///
/// # Panics
/// If the checker turns a plan down.
pub async fn history(seed: u64, bug: Option<Bug>) -> Result<Ended, String> {
    let mut dice = Dice(seed);
    let mut graph = waits(seed, retiring(&mut dice));
    graph = with_cron(seed, with_jobs(seed, graph, &dice), &dice);
    let twin = world(&graph);
    if is_replaced(seed) {
        ["web", "api", "www"]
            .iter()
            .for_each(|name| twin.world().let_double(&WorkloadName::new(*name)));
    }
    behave(&twin);
    twin.world().set_metric("0.01");
    // It is asked each time, and fails.
    twin.world().set_most(&image('d'), 0);
    let nodes: Vec<_> = graph.nodes.keys().cloned().collect();
    twin.world().add_foreign(&nodes[1], "redis-test");
    let (mut is_gone, mut lost, mut before) = (false, false, BTreeSet::new());
    let mut lineages = Lineages::default();
    if is_renamed(seed) {
        lineages.begin(&twin, &graph);
    }
    for _ in 0..2 + dice.roll(6) {
        match dice.roll(8) {
            0 | 1 => {
                let next =
                    waits(seed, Graph { keeper: graph.keeper.clone(), ..retiring(&mut dice) });
                let next = with_cron(seed, with_jobs(seed, next, &dice), &dice);
                graph = if is_renamed(seed) {
                    lineages.renamed(&twin, &graph, renamed(&graph, next, &dice))
                } else {
                    next
                };
            }
            4 | 5 if seed % 5 == 3 => {
                before.insert(graph.keeper.clone());
                let dice = (&mut dice, &mut lost);
                is_gone |= move_ledger(&twin, &mut graph, dice, bug).await;
            }
            6 | 7 => decide(&twin, &graph, &mut dice).await,
            2 => {
                let running: Vec<_> = twin.world().running().into_iter().collect();
                if !running.is_empty() {
                    let (node, pod) = dice.pick(&running);
                    tell(|| format!("{pod} is stopped by hand\n"));
                    twin.world().stop_by_hand(&node, &pod);
                }
            }
            3 => {
                // The keeper too: then there is no ledger to read, and no plan.
                let node = dice.pick(&nodes);
                let cut = dice.roll(2) == 0;
                tell(|| format!("{node} is {}\n", if cut { "cut off" } else { "there again" }));
                if is_switched_off(seed) {
                    switch(&twin, &graph, &node, !cut).await;
                } else if is_fenced(seed) && !cut {
                    twin.world().set_power(&node, true);
                } else {
                    twin.world().set_cut(&node, cut);
                }
            }
            _ => {}
        }
        for _ in 0..dice.roll(3) {
            let fault = other(seed, dice.pick(&FAULTS));
            let at = dice.roll(120);
            tell(|| format!("{fault:?} in {at} calls\n"));
            twin.world().fault_in(at, fault);
        }
        // What is rarely called would hardly ever be met.
        let rare = [(is_fenced(seed), "fence"), (is_asked(seed), "ask"), (has_jobs(seed), "pod")];
        for (is_one, what) in rare {
            if is_one && dice.0.rotate_left(9).is_multiple_of(2) {
                let fault = FAULTS[(dice.0.rotate_left(13) % 6) as usize];
                twin.world().fault_next(what, other(seed, fault));
            }
        }
        let engine = Engine::new(twin.another_engine(), bug);
        let clock = clock(Some(seed), dice.0);
        let asks = async {
            if is_asked(seed) {
                let after = Dice(dice.0).roll(60_000);
                tokio::time::sleep(std::time::Duration::from_millis(after)).await;
                ask(&twin, &graph, "ben@laptop", "too slow").await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            _ = take_turn(&engine, &graph, true, &clock) => {}
            () = engine.killed() => {}
            () = asks => {}
        }
        twin.world().plan_floors(BTreeMap::new());
        twin.world().clear_faults();
    }
    for node in &nodes {
        if is_switched_off(seed) {
            switch(&twin, &graph, node, true).await;
        } else if is_fenced(seed) {
            twin.world().set_power(node, true);
        } else {
            twin.world().set_cut(node, false);
        }
    }
    // Whatever starts anew has done so.
    if has_other_faults(seed) {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    }
    // Somebody whose text still names the keeper before.
    for keeper in before.into_iter().filter(|before| *before != graph.keeper) {
        tell(|| format!("an older text, which names {keeper}\n"));
        let engine = Engine::new(twin.another_engine(), bug);
        attempt(&engine, &Graph { keeper, ..graph.clone() }).await;
        twin.world().plan_floors(BTreeMap::new());
    }
    find_ledger(&twin, &graph, is_gone).await?;
    reopen(&twin, &graph, &mut dice).await?;
    take_back(&twin, &mut graph).await?;
    mend_names(&twin, &mut graph).await?;
    settle(&twin, &graph, bug).await?;
    ends_well(&twin, &graph).await?;
    let seen = survey(&twin, &graph).await.map_err(|fault| fault.to_string())?;
    let (hash, world) = (seen.ledger.head.hash, twin.world());
    Ok(Ended { hash, calls: world.calls(), met: world.met().clone() })
}

/// Opens a retired node again whose data or ledger keeps Berth there, as somebody does who reads that.
async fn take_back(twin: &Twin, graph: &mut Graph) -> Result<(), String> {
    let seen = survey(twin, graph).await.map_err(|fault| fault.to_string())?;
    for (name, node) in &mut graph.nodes {
        let data = seen.observation.seen(name).is_some_and(|seen| !seen.spec.volumes.is_empty());
        let keeps = data || graph.keeper == *name;
        if node.intake == Intake::Retired && keeps {
            node.intake = Intake::Open;
        }
    }
    Ok(())
}

/// Gives names that a plan can do with, as somebody does who reads why it cannot.
async fn mend_names(twin: &Twin, graph: &mut Graph) -> Result<(), String> {
    let seen = survey(twin, graph).await.map_err(|fault| fault.to_string())?;
    for blocked in agreed(&seen, graph, Goal::Converge).blocked {
        match blocked {
            Blocked::Moved { resource, from: _ } => {
                tell(|| format!("{resource} says its name before no more\n"));
                graph.moved.workloads.retain(|new, _| resource != format!("service/{new}"));
                graph.moved.volumes.retain(|new, _| resource != format!("volume/{new}"));
            }
            Blocked::NameTaken { volume, by } => {
                tell(|| format!("{volume} is to be {by} again\n"));
                let Some(there) = graph.volumes.remove(&volume) else { continue };
                graph.volumes.insert(by.clone(), there);
                let mounts = graph.workloads.values_mut();
                let mounts = mounts.flat_map(|w| w.template.mounts.values_mut());
                mounts.filter(|m| m.volume == volume).for_each(|m| m.volume = by.clone());
            }
            _ => {}
        }
    }
    Ok(())
}

/// In which histories somebody asks for what is rolled out to be taken back.
fn is_asked(seed: u64) -> bool {
    seed % 13 == 10
}

/// Asks whoever applies to take back all that is rolled out, as another engine does; whether anybody applies.
pub async fn ask(twin: &Twin, graph: &Graph, who: &str, why: &str) -> bool {
    let other = twin.another_engine();
    let Ok(now) = ledger::read(&other, &graph.keeper, &graph.tenant).await else { return false };
    let begins = now.lines.iter().rfind(|line| matches!(line.entry, Entry::Begin { .. }));
    let (Some(begins), Some(flight)) = (begins, &now.head.in_flight) else { return false };
    let workloads: BTreeSet<_> = flight.plan.branches.keys().cloned().collect();
    tell(|| format!("{who} asks for {workloads:?} to be taken back\n"));
    let (apply, who, why) = (begins.hash.clone(), who.to_owned(), why.to_owned());
    other.ask(&graph.keeper, &graph.tenant, &Ask { apply, workloads, who, why }).await.is_ok()
}

/// One random history of two engines at once, each with a text of its own: the second begins while the first is at work,
/// and whatever hits, hits either. In the end one of them goes on alone.
///
/// # Errors
/// What went wrong.
///
/// # Panics
/// If the checker turns a plan down.
pub async fn duel(seed: u64, bug: Option<Bug>) -> Result<Ended, String> {
    let mut dice = Dice(seed);
    let mut texts = [text(&mut dice), text(&mut dice)];
    let twin = world(&texts[0]);
    behave(&twin);
    twin.world().set_metric("0.01");
    twin.world().set_most(&image('d'), 0);
    let nodes: Vec<_> = texts[0].nodes.keys().cloned().collect();
    twin.world().add_foreign(&nodes[1], "redis-test");
    for _ in 0..1 + dice.roll(4) {
        for _ in 0..dice.roll(3) {
            let fault = dice.pick(&FAULTS);
            let at = dice.roll(160);
            tell(|| format!("{fault:?} in {at} calls\n"));
            twin.world().fault_in(at, fault);
        }
        let late = [0, dice.roll(40_000)].map(std::time::Duration::from_millis);
        let [first, second] = [0, 1].map(|who| {
            let (engine, text) = (Engine::new(twin.another_engine(), bug), &texts[who]);
            async move {
                tokio::time::sleep(late[who]).await;
                tokio::select! {
                    biased;
                    _ = unwatched(&engine, text) => {}
                    () = engine.killed() => {}
                }
            }
        });
        tokio::join!(first, second);
        twin.world().clear_faults();
        let whose = dice.roll(4) as usize;
        if let Some(one) = texts.get_mut(whose) {
            *one = text(&mut dice);
        }
    }
    settle(&twin, &texts[0], bug).await?;
    ends_well(&twin, &texts[0]).await?;
    let seen = survey(&twin, &texts[0]).await.map_err(|fault| fault.to_string())?;
    let (hash, world) = (seen.ledger.head.hash, twin.world());
    Ok(Ended { hash, calls: world.calls(), met: world.met().clone() })
}

/// A node is switched off, and then a person says so; or it is switched on, which nobody says.
async fn switch(twin: &Twin, graph: &Graph, node: &NodeName, on: bool) {
    twin.world().set_power(node, on);
    let engine = twin.another_engine();
    let Ok(seen) = survey(&engine, graph).await else { return };
    if !on {
        let what = Override::Fenced { node: node.clone(), by_plan: false };
        let entry = Entry::Override { what, why: "no power".to_owned(), until_ms: None };
        write(&engine, graph, &seen, entry).await;
    }
}

/// The ledger goes to the next node: since the text says so, since its keeper is cut off, since it lost
/// its disk, or since all copies are gone too: then it says so.
async fn move_ledger(
    twin: &Twin,
    graph: &mut Graph,
    (dice, lost): (&mut Dice, &mut bool),
    bug: Option<Bug>,
) -> bool {
    let nodes: Vec<_> = graph.nodes.keys().cloned().collect();
    let old = graph.keeper.clone();
    let at = nodes.iter().position(|node| *node == old).unwrap_or(0);
    // Without a roll, so that seeds go on to tell what they told.
    let mut how = dice.0 % 8;
    // What was turned down, or is watched still, is what only a ledger knows.
    let is_bad = |workload: &Workload| {
        [image('d'), image('e'), image('f')].contains(&workload.template.image)
    };
    let seen = survey(twin, graph).await;
    let is_in_doubt = |head: &Head| head.in_flight.is_some() || !head.pins.is_empty();
    if graph.workloads.values().any(is_bad) || !seen.is_ok_and(|s| !is_in_doubt(&s.ledger.head)) {
        how = how.min(6);
        // Nor is the last copy lost then.
        if how == 6 && twin.world().ledgers().len() < 2 {
            how = 5;
        }
    }
    if how < 6 {
        graph.keeper = nodes[(at + 1) % nodes.len()].clone();
    }
    // A line that had no copy yet was nothing that anything was done on.
    // Nor has one a copy where all other nodes were left, or do not answer.
    let few = graph.nodes.values().any(|node| node.intake == Intake::Retired);
    let alone = few || *lost || twin.world().running().is_empty();
    let alone = twin.world().ledgers().len() < 2 && alone;
    *lost |= how == 6;
    tell(|| format!("the ledger is to go from {old} to {}, in way {how}\n", graph.keeper));
    match how {
        0..3 => {}
        3..6 => twin.world().set_cut(&old, true),
        6 => twin.world().lose_ledger(&old),
        _ => {
            nodes.iter().for_each(|node| twin.world().lose_ledger(node));
            twin.world().forget_gone();
        }
    }
    if dice.0.is_multiple_of(3) {
        twin.world().fault_in(dice.0 % 29, FAULTS[dice.0 as usize % FAULTS.len()]);
    }
    // A copy may lack how the last apply ended, and with all of them it is lost that a job was done.
    if how >= 3 {
        twin.world().forget_done();
    }
    let wish = Wish { who: "sim@test".to_owned(), at_ms: 1, ..Wish::default() };
    let wish = Wish { take_over: how >= 3, rebuild: how == 7, ..wish };
    let engine = Engine::new(twin.another_engine(), bug);
    tokio::select! {
        biased;
        moved = relocate(&engine, graph, &wish) => tell(|| format!("→ {moved:?}\n")),
        () = engine.killed() => {}
    }
    twin.world().clear_faults();
    how == 7 || how == 6 && alone
}

/// Says again what was interrupted: the ledger goes where the text says.
async fn find_ledger(twin: &Twin, graph: &Graph, is_gone: bool) -> Result<(), String> {
    for (take_over, rebuild) in [(false, false), (true, false), (true, is_gone)] {
        let Err(fault) = survey(twin, graph).await else { return Ok(()) };
        tell(|| format!("{fault}\n"));
        let wish =
            Wish { who: "sim@test".to_owned(), at_ms: 1, take_over, rebuild, ..Wish::default() };
        let moved = relocate(&twin.another_engine(), graph, &wish).await;
        tell(|| format!("→ {moved:?}\n"));
    }
    survey(twin, graph).await.map(drop).map_err(|fault| format!("no ledger: {fault}"))
}

/// Turns until there is nothing to do, as a new engine on the same world.
///
/// # Errors
/// If it never is.
pub async fn settle(twin: &Twin, graph: &Graph, bug: Option<Bug>) -> Result<usize, String> {
    for turns in 0..6 {
        // What runs just now is left to its end.
        let left = twin.world().rest_of_runs();
        tokio::time::sleep(left).await;
        let engine = Engine::new(twin.another_engine(), bug);
        let body = attempt(&engine, graph).await;
        twin.world().plan_floors(BTreeMap::new());
        if body.is_some_and(|body| body.is_empty()) {
            return Ok(turns);
        }
    }
    let (survey, body) = plan(twin, graph, Goal::Converge).await;
    Err(format!("never settles:\n{}", render::text(&body, &survey.observation)))
}

/// A decision beside the text, by another engine that no fault meets.
async fn decide(twin: &Twin, graph: &Graph, dice: &mut Dice) {
    let engine = twin.another_engine();
    let Ok(seen) = survey(&engine, graph).await else { return };
    let head = &seen.ledger.head;
    let reached: Vec<_> = head.reached.keys().cloned().collect();
    let workload = if reached.is_empty() { WorkloadName::new("web") } else { dice.pick(&reached) };
    let nodes: Vec<_> = graph.nodes.keys().cloned().collect();
    let (pause, replicas) = (Subject::Pause(workload.clone()), Subject::Replicas(workload.clone()));
    let what = match dice.roll(6) {
        0 => {
            let intake = dice.pick(&[Intake::Cordoned, Intake::Drained]);
            // One node stays open.
            Override::Intake { node: dice.pick(&nodes[..2]), intake }
        }
        1 => Override::Pause { workload },
        2 => {
            let replicas = u32::try_from(dice.roll(5)).unwrap_or(0);
            Override::Replicas { workload, replicas }
        }
        3 => {
            let subject = dice.pick(&[
                Subject::Intake(nodes[0].clone()),
                Subject::Intake(nodes[1].clone()),
                pause,
                replicas,
                Subject::Pin(workload),
            ]);
            return write(&engine, graph, &seen, Entry::Lift { subject }).await;
        }
        4 => {
            let placed = head.placed.iter().filter(|(_, placed)| placed.workload == workload);
            let up_to: BTreeMap<String, u64> = placed
                .map(|(id, _)| (id.replica(), head.generations.get(&id.replica()).copied()))
                .filter_map(|(replica, highest)| Some((replica, highest?)))
                .collect();
            twin.world().let_run_again(&workload);
            let entry = Entry::Restart { workload, why: String::new(), up_to };
            return write(&engine, graph, &seen, entry).await;
        }
        _ => {
            let (Some(text), Some(stands)) =
                (graph.workloads.get(&workload), earlier(&seen, &workload))
            else {
                return;
            };
            let rejected = release_digest(text);
            let (why, who) = ("a bad day".to_owned(), Some("sim@test".to_owned()));
            let (stands, revision) = (Some(Box::new(stands)), head.revision);
            let pin = Box::new(Pin { rejected, stands, why, revision, at_ms: 1, who });
            let contents = contents_ever(&seen);
            return write(&engine, graph, &seen, Entry::Pin { workload, pin, contents }).await;
        }
    };
    let entry = Entry::Override { what, why: "a test".to_owned(), until_ms: None };
    write(&engine, graph, &seen, entry).await;
}

/// The release that a workload had before the one that it has.
fn earlier(seen: &Survey, workload: &WorkloadName) -> Option<Workload> {
    let mut head = Head::default();
    let mut releases: Vec<Workload> = Vec::new();
    for line in &seen.ledger.lines {
        head.advance(line);
        let reached = head.reached.get(workload);
        let now = reached.filter(|now| releases.last() != Some(*now));
        releases.extend(now.cloned());
    }
    releases.len().checked_sub(2).and_then(|index| releases.get(index).cloned())
}

/// What was in files that the ledger knew at any time.
fn contents_ever(seen: &Survey) -> Contents {
    let (mut head, mut contents) = (Head::default(), Contents::default());
    for line in &seen.ledger.lines {
        head.advance(line);
        contents.extend(&head.contents);
    }
    contents
}

async fn write(engine: &Twin, graph: &Graph, seen: &Survey, entry: Entry) {
    tell(|| format!("decided: {entry:?}\n"));
    let lines = record::lines(&seen.ledger, 1, "sim@test", vec![entry]);
    let written = record::record(engine, graph, seen, &lines).await;
    tell(|| format!("→ {:?}\n", written.err()));
}

/// Nodes that a volume's user needs are opened again, and half of the times pauses end.
async fn reopen(twin: &Twin, graph: &Graph, dice: &mut Dice) -> Result<(), String> {
    let all = dice.roll(2) == 0;
    let seen = survey(twin, graph).await.map_err(|fault| fault.to_string())?;
    let tied = !graph.volumes.is_empty() || !seen.ledger.head.volumes().is_empty();
    let subjects = seen.ledger.head.overrides.iter().map(|standing| standing.what.subject());
    let lifted = subjects.filter(|subject| match subject {
        Subject::Intake(_) => all || tied,
        // What falls over, and was paused before that was told, is nobody's to mend but a person's.
        Subject::Pause(name) => {
            let text = graph.workloads.get(name);
            all || text.is_some_and(|text| text.template.image == image('e'))
        }
        Subject::Replicas(_) | Subject::Pin(_) | Subject::Fence(_) => false,
    });
    let entries = lifted.map(|subject| Entry::Lift { subject }).collect();
    let lines = record::lines(&seen.ledger, 1, "sim@test", entries);
    let written = record::record(twin, graph, &seen, &lines).await;
    written.map(|_| ()).map_err(|error| error.to_string())
}

/// An engine's turn that may fail in any honest way; gives the plan, if it came to one.
async fn attempt(engine: &Engine, graph: &Graph) -> Option<PlanBody> {
    take_turn(engine, graph, true, &clock(None, 0)).await
}

/// The same beside another engine, whose plan promises other floors.
async fn unwatched(engine: &Engine, graph: &Graph) -> Option<PlanBody> {
    take_turn(engine, graph, false, &clock(None, 0)).await
}

async fn take_turn(
    engine: &Engine,
    graph: &Graph,
    floors: bool,
    clock: &SimulatedClock,
) -> Option<PlanBody> {
    engine.follow(&graph.keeper);
    let mut seen = survey(engine, graph).await.ok()?;
    tell_jobs(engine.twin(), graph, &seen.ledger.head);
    engine.distort_seen(&mut seen);
    let mut body = agreed(&seen, graph, Goal::Converge);
    tell(|| render::text(&body, &seen.observation));
    if !body.is_empty() && body.blocked.is_empty() {
        let floor =
            |(name, branch): (&WorkloadName, &Branch)| (name.clone(), branch.floor as usize);
        if floors {
            engine.twin().world().plan_floors(body.branches.iter().map(floor).collect());
        }
        engine.distort_plan(&mut body);
        let applied = apply_by(clock, engine, graph, &seen, &body).await;
        tell(|| format!("→ {:?}\n", applied.map(|applied| applied.outcome)));
    }
    Some(body)
}

/// Tells the world which jobs are done, by the ledger, what is after those that are not, and which crons there are.
fn tell_jobs(twin: &Twin, graph: &Graph, head: &Head) {
    let jobs = head.reached.iter().filter(|(_, reached)| reached.once.is_some());
    let done = jobs.map(|(name, reached)| {
        (name.clone(), (template_digest(&reached.template), reached.replicas))
    });
    twin.world().set_done(done.collect());
    twin.world().set_after(after_jobs(graph, head));
    let crons = graph.workloads.iter().filter(|(_, text)| text.template.cron.is_some());
    twin.world().set_crons(crons.map(|(name, _)| name.clone()).collect());
}

/// Whether a workload of the text stands back for a job that is not done.
fn stands_back(name: &WorkloadName, graph: &Graph, head: &Head) -> bool {
    let Some(text) = graph.workloads.get(name) else { return false };
    let is_new = match head.reached.get(name) {
        Some(reached) if text.once.is_some() => !is_done(Some(reached), text),
        Some(reached) => release_digest(reached) != release_digest(text),
        None => true,
    };
    let undone = |job: &WorkloadName| {
        graph.workloads.get(job).is_none_or(|text| !is_done(head.reached.get(job), text))
    };
    is_new && text.after.iter().any(undone)
}

/// Every job is done, or is held, paused or stopped, or stands back; nothing of any runs. Gives how many pods of them there are.
fn jobs_end_well(graph: &Graph, head: &Head, seen: &[&NodeObservation]) -> Result<usize, String> {
    for (name, text) in graph.workloads.iter().filter(|(_, text)| text.once.is_some()) {
        let excused = head.held(name, text).is_some()
            || overrides::pause(&head.overrides, name, 1).is_some()
            || text.replicas == 0
            || stands_back(name, graph, head);
        if !excused && !is_done(head.reached.get(name), text) {
            return Err(format!("{name} is not done"));
        }
        if !excused && [image('d'), image('f')].contains(&text.template.image) {
            return Err(format!("{name} cannot have ended well"));
        }
    }
    let mut count = 0;
    for seen in seen {
        for (id, _) in seen.spec.pods.iter().filter(|(_, pod)| pod.ends) {
            count += 1;
            if matches!(seen.status.pods.get(id), Some(PodStatus::Running { .. })) {
                return Err(format!("{id} runs, and nobody waits for it"));
            }
        }
    }
    Ok(count)
}

/// Every service has its replicas, one of each ordinal, of one sound template; nothing else of
/// ours is there; and the foreign container still is.
async fn ends_well(twin: &Twin, graph: &Graph) -> Result<(), String> {
    let violations = twin.world().take_violations();
    if !violations.is_empty() {
        return Err(violations.join("; "));
    }
    let (survey, body) = plan(twin, graph, Goal::Converge).await;
    if !body.is_empty() {
        return Err("a further plan is not empty".to_owned());
    }
    // Every node has answered, so all has the names of now; the ledger may be told of others still.
    let view = moved::view(graph, &survey.observation, &survey.ledger.head, Goal::Converge);
    let (graph, head) = (&*view.graph, &*view.head);
    let seen: Vec<_> = graph.nodes.keys().filter_map(|n| survey.observation.seen(n)).collect();
    let foreign: usize = seen.iter().map(|seen| seen.spec.foreign.len()).sum();
    if foreign != 1 {
        return Err("the foreign container was touched".to_owned());
    }
    let (mut expected, mut beside) = (0, 0);
    let graph = overrides::in_force(graph, &head.overrides, 1);
    for (name, node) in graph.nodes.iter().filter(|(_, node)| node.intake >= Intake::Drained) {
        if survey.observation.seen(name).is_some_and(|seen| !seen.spec.pods.is_empty()) {
            return Err(format!("{name} at {} is drained and has pods", node.host));
        }
        let left = |seen: &NodeObservation| {
            let NodeSpec { network, reflexes, tenant, endpoints, images, volumes, .. } = &seen.spec;
            !volumes.is_empty()
                || network.is_none()
                    && reflexes.is_empty()
                    && !tenant
                    && endpoints.is_empty()
                    && images.is_empty()
                    && seen.ledger.is_none()
        };
        let retired = node.intake == Intake::Retired && graph.keeper != *name;
        if retired && survey.observation.seen(name).is_some_and(|seen| !left(seen)) {
            return Err(format!("{name} at {} is retired, and not left", node.host));
        }
    }
    let paused = |name| overrides::pause(&head.overrides, name, 1).zip(head.reached.get(name));
    let gone = head.reached.iter().filter(|(name, _)| !graph.workloads.contains_key(*name));
    let gone = gone.filter(|(name, _)| paused(name).is_some());
    let of_jobs = jobs_end_well(&graph, head, &seen)?;
    for (name, workload) in graph.workloads.iter().chain(gone) {
        if workload.once.is_some() {
            continue;
        }
        let stands = match (head.held(name, workload), paused(name)) {
            // A rollback waits, too.
            (Some(pin), Some((_, stands))) if pin.stands.is_some() => Some(&stands.template.image),
            (Some(pin), _) => pin.stands.as_ref().map(|stands| &stands.template.image),
            (None, Some((_, stands))) => Some(&stands.template.image),
            (None, None) if stands_back(name, &graph, head) => {
                head.reached.get(name).map(|reached| &reached.template.image)
            }
            (None, None) => Some(&workload.template.image),
        };
        let Some(image) = stands else { continue };
        if workload.replicas > 0
            && [self::image('d'), self::image('e'), self::image('f')].contains(image)
        {
            return Err(format!("{name} has a release that was to be turned down"));
        }
        // A rollout may be paused in its midst, with both releases beside one another.
        let back = head.held(name, workload).and_then(|pin| pin.stands.as_deref());
        let also = paused(name).map(|_| &back.unwrap_or(workload).template.image);
        let pods =
            || seen.iter().flat_map(|s| &s.spec.pods).filter(|(_, pod)| &pod.workload == name);
        let ordinals: BTreeSet<u32> = pods()
            .filter(|(_, pod)| &pod.image == image || Some(&pod.image) == also)
            .map(|(id, _)| id.ordinal)
            .collect();
        if ordinals != (0..workload.replicas).collect() {
            return Err(format!("{name} has {ordinals:?} of {}", workload.replicas));
        }
        expected += workload.replicas as usize;
        let two = pods().count().saturating_sub(workload.replicas as usize);
        beside += if also.is_some() { two } else { 0 };
        let up_to = head.restarts.get(name).map(|restart| &restart.up_to);
        let old = |id: &PodId| up_to?.get(&id.replica()).filter(|up_to| id.generation <= **up_to);
        if let Some((id, _)) = pods().find(|(id, _)| old(id).is_some()) {
            return Err(format!("{id} was to be restarted"));
        }
    }
    let all: usize = seen.iter().map(|seen| seen.spec.pods.len()).sum::<usize>() - of_jobs;
    let runs = twin.world().running().len();
    if runs != all {
        return Err(format!("{runs} of {all} pods run"));
    }
    if all != expected + beside {
        return Err(format!("{all} pods, {expected} expected"));
    }
    Ok(())
}

/// From one release to another with one fault; the world must end with three of `ends`.
///
/// # Errors
/// What went wrong.
///
/// # Panics
/// If the checker turns a plan down.
pub async fn one_fault(
    (from, to): (&Graph, &Graph),
    ends: &ImageDigest,
    at: u64,
    fault: Fault,
    bug: Option<Bug>,
) -> Result<bool, String> {
    let twin = world(from);
    behave(&twin);
    turn(&twin, from, Goal::Converge).await;
    twin.world().set_floor(&WorkloadName::new("web"), 3);
    twin.world().set_most(&image('e'), 1000);
    let engine = Engine::new(twin.another_engine(), bug);
    let (mut survey, mut body) = plan(&engine, to, Goal::Converge).await;
    engine.distort_seen(&mut survey);
    engine.distort_plan(&mut body);
    let before = twin.world().calls();
    twin.world().fault_in(at, fault);
    let hit = tokio::select! {
        biased;
        _ = apply(&engine, to, &survey, &body) => twin.world().calls() - before > at,
        () = engine.killed() => true,
    };
    twin.world().clear_faults();
    settle(&twin, to, bug).await?;
    let violations = twin.world().take_violations();
    if !violations.is_empty() {
        return Err(violations.join("; "));
    }
    let (survey, _) = plan(&twin, to, Goal::Converge).await;
    let pods: Vec<_> = from
        .nodes
        .keys()
        .filter_map(|node| survey.observation.seen(node))
        .flat_map(|seen| seen.spec.pods.values())
        .collect();
    let right = pods.iter().filter(|pod| &pod.image == ends).count();
    if right != 3 || pods.len() != 3 {
        return Err(format!("{right} of 3 right, {} in all", pods.len()));
    }
    Ok(hit)
}
