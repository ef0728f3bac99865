//! The real agentless over nodes in this process: at every call something goes wrong, and the next engine goes on from there.

use std::collections::BTreeSet;
use std::time::Duration;

use berth_engine::plan::action::NodeNetwork;
use berth_engine::plan::body::Goal;
use berth_engine::plan::canon::sha256;
use berth_engine::plan::content::{AtRest, File};
use berth_engine::plan::graph::{Graph, Intake, Strategy, Workload};
use berth_engine::plan::ledger::Outcome;
use berth_engine::plan::names::{ImageDigest, WorkloadName};
use berth_engine::plan::render;
use berth_engine::plan::secret::Opened;
use berth_engine::run::apply::{Applied, ApplyError};
use berth_engine::run::observe::survey;
use berth_tests::drive::{agreed, apply_by, tell};
use berth_tests::fake::{Behaviour, Cut, FastClock, Fleet, Mishap, State};
use berth_tests::project::{ROLLING, cron, fleet, job, secret_file, sidecar, web, with};

/// Runs a future on a runtime of its own, with real time.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let ended = tokio::time::timeout(Duration::from_secs(600), future).await;
        ended.expect("an end within ten minutes")
    })
}

/// Surveys, plans and applies with an engine of its own; nothing was to be done if there is no outcome.
async fn turn(fleet: &Fleet, graph: &Graph, goal: Goal) -> Result<Option<Applied>, String> {
    let host = fleet.host();
    let turned = async {
        let seen = survey(&host, graph).await.map_err(|error| error.to_string())?;
        let body = agreed(&seen, graph, goal);
        if body.is_empty() {
            return Ok(None);
        }
        tell(|| render::text(&body, &seen.observation));
        let applied = apply_by(&FastClock::default(), &host, graph, &seen, &body).await;
        applied.map(Some).map_err(|error| said(&error))
    };
    let turned = turned.await;
    host.close().await;
    tell(|| format!("-- {:?}", turned.as_ref().map(|one| one.as_ref().map(|one| &one.outcome))));
    turned
}

fn said(error: &ApplyError) -> String {
    format!("{error}: {error:?}")
}

/// The jobs that the ledger holds, and what is after them.
async fn held(fleet: &Fleet, graph: &Graph) -> BTreeSet<WorkloadName> {
    let Ok(seen) = survey(&fleet.host(), graph).await else { return BTreeSet::new() };
    let pinned = |name: &WorkloadName| seen.ledger.head.pins.contains_key(name);
    let job = |name: &WorkloadName| graph.workloads.get(name).is_some_and(|it| it.once.is_some());
    let stays = |(name, it): &(&WorkloadName, &Workload)| {
        pinned(name) && job(name) || it.after.iter().any(&pinned)
    };
    graph.workloads.iter().filter(stays).map(|(name, _)| name.clone()).collect()
}

/// Applies until there is nothing left to do.
async fn settle(fleet: &Fleet, graph: &Graph, goal: Goal) -> Result<(), String> {
    let mut how = Vec::new();
    for _ in 0..5 {
        match turn(fleet, graph, goal).await {
            Ok(None) => return Ok(()),
            // After a destroy there is no ledger that could say that nothing is to be done.
            Ok(Some(applied)) => {
                how.push(format!("{:?} {:?}", applied.outcome, applied.report.problems))
            }
            Err(error) => how.push(error),
        }
    }
    Err(format!("it did not settle: {how:#?}"))
}

/// What is not as the graph says, one line each.
fn wrong(fleet: &Fleet, graph: &Graph) -> Vec<String> {
    let mut wrong = fleet.breaches();
    let space = graph.tenant.namespace();
    let images: BTreeSet<&ImageDigest> =
        graph.workloads.values().map(|workload| &workload.template.image).collect();
    let mut running = 0;
    for (name, node) in &fleet.nodes {
        let state = node.state();
        if state.lock.is_some() {
            wrong.push(format!("{name}: the lock is held"));
        }
        if state.files.before.is_some() {
            wrong.push(format!("{name}: a network that nobody confirmed"));
        }
        let Some(here) = state.namespaces.get(&space) else { continue };
        let own =
            here.containers.values().filter(|one| !one.labels.contains_key("berth.dev/beside"));
        for container in own {
            running += 1;
            let wired = state.wired.contains(&format!("{space}-{}", container.id));
            let files = &state.files.tenants[&space].pods;
            // A node that boots forgets how a job has ended.
            let is_job = container.labels.contains_key("berth.dev/ends");
            let timers = &state.files.tenants[&space].timers;
            let is_cron = timers.contains(&container.id);
            let runs = here.tasks.contains_key(&container.id) || is_job || is_cron;
            if !runs || !wired || !files.contains(&container.id) {
                wrong.push(format!("{name}: {} is half there", container.id));
            }
            let written = state.files.tenants[&space].written.get(&container.id);
            let written: BTreeSet<String> =
                written.into_iter().flat_map(|all| all.values()).cloned().collect();
            if !files_of(graph).contains(&written) {
                wrong.push(format!("{name}: {} has the files {written:?}", container.id));
            }
            let image = ImageDigest::new(container.labels["berth.dev/image"].clone());
            if !images.contains(&image) {
                wrong.push(format!("{name}: {} is of another release", container.id));
            }
        }
        let tenant = state.files.tenants.get(&space);
        let pods = tenant.map_or(0, |tenant| tenant.pods.len());
        let claims = state.files.claims.len();
        let own = here
            .containers
            .values()
            .filter(|one| !one.labels.contains_key("berth.dev/beside"))
            .count();
        if (pods, claims) != (own, own) {
            wrong.push(format!("{name}: {own} pods, {pods} with files, {claims} claims"));
        }
        let layers = here.snapshots.values().filter(|(_, committed)| !committed).count();
        let leased = here
            .leases
            .values()
            .flatten()
            .filter(|what| here.snapshots.contains_key(*what))
            .count();
        let forgotten = here.containers.values().filter(|one| {
            let has = |label| one.labels.contains_key(label);
            (has("berth.dev/ends") || has("berth.dev/cron")) && !here.tasks.contains_key(&one.id)
        });
        let tasks = here.tasks.len() + forgotten.count();
        if tasks != here.containers.len() || layers > here.containers.len() + leased {
            wrong.push(format!(
                "{name}: {} containers, {} tasks, {layers} layers",
                here.containers.len(),
                here.tasks.len()
            ));
        }
        for (id, container) in &here.containers {
            if !here.images.contains_key(&container.image) {
                wrong.push(format!("{name}: {id} has no image"));
            }
        }
    }
    let wanted: u32 = graph.workloads.values().map(|workload| workload.replicas).sum();
    if running != wanted {
        wrong.push(format!("{running} replicas, and {wanted} are wanted"));
    }
    wrong
}

/// The texts of the jobs that have run, and how often on each node.
fn ran(fleet: &Fleet) -> Vec<(String, u32)> {
    let mut ran = Vec::new();
    for node in fleet.nodes.values() {
        let state = node.state();
        ran.extend(state.namespaces.values().flat_map(|space| space.ran.clone()));
    }
    ran
}

/// The jobs that ran more than once, one line each. A node that boots before anybody saw that a job has ended there lets
/// it run once more: of those that may have been under way then, `ended` says that they had been seen to end.
fn ran_again(fleet: &Fleet, booted: bool, ended: &BTreeSet<String>) -> Vec<String> {
    let too_often =
        |(job, times): &(String, u32)| *times > 1 + u32::from(booted && !ended.contains(job));
    let again = ran(fleet).into_iter().filter(too_often);
    again.map(|(job, times)| format!("a job of {job} ran {times} times")).collect()
}

/// The files of each workload's pods, as the fake node notes them, with the sum of what is in them.
fn files_of(graph: &Graph) -> BTreeSet<BTreeSet<String>> {
    let of = |workload: &Workload| {
        let beside = workload.template.companions.iter().flat_map(|one| one.files.values());
        let files = workload.template.files.values().chain(beside);
        let words = |file: &File| {
            let File { content, mode, user, group, sealed, at_rest } = file;
            let text = graph.contents.get(content).expect("it is in the graph");
            let sum = if sealed.is_empty() {
                content.to_string()
            } else {
                let opened = Opened::stand_in(sealed);
                sha256(opened.fill(text).expect("all of them").as_bytes())
            };
            let kept = match at_rest {
                None => "",
                Some(AtRest::Sealed) => " secret sealed",
                Some(AtRest::Memory) => " secret memory",
            };
            format!("{mode:03o} {user}:{group} {sum}{kept}")
        };
        files.map(words).collect()
    };
    graph.workloads.values().map(of).collect()
}

/// A service of three replicas, with a container beside each, and a file for both; and a job that comes before.
fn shop(
    image: &ImageDigest,
    (beside, done): (&ImageDigest, &ImageDigest),
    name: &str,
    replicas: u32,
    strategy: Strategy,
) -> Graph {
    let mut workload = web(image.clone(), replicas, strategy);
    workload.template.source =
        berth_engine::plan::action::ImageSource::Layout(format!("images/{name}"));
    let mut companion = sidecar(beside.clone());
    companion.source = berth_engine::plan::action::ImageSource::Layout("images/beside".to_owned());
    workload.template.grace_ms = 200;
    let mut graph = fleet(3);
    let path = "/etc/web.toml".to_owned();
    let content = graph.contents.add(format!("release = \"{name}\"\n"));
    let file = File { mode: 0o440, user: 1000, group: 1000, ..File::of(content) };
    companion.files.insert(path.clone(), file);
    let content = graph.contents.add(format!("it's {name}\n"));
    workload.template.files.insert(path, File::of(content));
    // The later release has one that a boot forgets.
    let at_rest = if name == "a" { AtRest::Sealed } else { AtRest::Memory };
    let own = secret_file(&mut graph.contents, at_rest, "3f2a91cc");
    workload.template.files.insert("/run/secrets/db".to_owned(), own);
    let beside = secret_file(&mut graph.contents, AtRest::Sealed, "3f2a91cc");
    companion.files.insert("/run/secrets/db".to_owned(), beside);
    workload.template.companions.push(companion);
    workload.after.insert(WorkloadName::new("migrate"));
    let mut migrate = job(done.clone(), 1, 0);
    migrate.template.env.insert("RELEASE".to_owned(), name.to_owned());
    migrate.template.grace_ms = 200;
    migrate.template.source =
        berth_engine::plan::action::ImageSource::Layout("images/done".to_owned());
    let mut nightly = cron(done.clone());
    nightly.template.env.insert("RELEASE".to_owned(), name.to_owned());
    nightly.template.source.clone_from(&migrate.template.source);
    with(with(with(graph, "web", workload), "migrate", migrate), "nightly", nightly)
}

/// How many texts there are.
const CHAPTERS: usize = 4;

/// A fleet, and the texts that are applied to it one after the other: a release, the next one, another name, nothing.
struct Story {
    fleet: Fleet,
    texts: [(Graph, Goal); CHAPTERS],
}

impl Story {
    async fn new() -> Self {
        let fleet = Fleet::start(&fleet(3)).await;
        let a = fleet.image("a", Behaviour::GOOD);
        let b = fleet.image("b", Behaviour::GOOD);
        let beside = fleet.image("beside", Behaviour::GOOD);
        let done = fleet.image("done", Behaviour { ready: false, ends: Some(0) });
        let also = (&beside, &done);
        let first = shop(&a, also, "a", 3, ROLLING);
        let second = shop(&b, also, "b", 4, ROLLING);
        let mut renamed = second.clone();
        let (web, api) = (WorkloadName::new("web"), WorkloadName::new("api"));
        let workload = renamed.workloads.remove(&web).expect("web");
        renamed.workloads.insert(api.clone(), workload);
        renamed.moved.workloads.insert(api, web);
        let texts = [
            (first, Goal::Converge),
            (second, Goal::Converge),
            (renamed.clone(), Goal::Converge),
            (renamed, Goal::Destroy),
        ];
        Self { fleet, texts }
    }

    /// Applies the texts before one.
    async fn until(&self, chapter: usize) {
        for (graph, goal) in self.texts.iter().take(chapter) {
            settle(&self.fleet, graph, *goal).await.expect("the story before");
        }
    }

    /// What is not as it should be once a chapter has been settled, or the one before if it was taken back.
    fn wrong(&self, chapter: usize, reverted: &BTreeSet<WorkloadName>) -> Vec<String> {
        let (graph, goal) = &self.texts[chapter];
        if *goal == Goal::Converge {
            // What is taken back is the release; how many there are is the text's.
            let mut expected = graph.clone();
            if !reverted.is_empty() {
                let before =
                    self.texts[..chapter].last().map(|(before, _)| before.workloads.clone());
                // What a job has done it has done.
                let is_service =
                    |name| graph.workloads.get(name).is_some_and(|it| it.kind() == "service");
                let service = reverted.iter().any(is_service);
                expected.workloads.retain(|name, _| !reverted.contains(name));
                let before = before.unwrap_or_default();
                self.texts[..chapter]
                    .iter()
                    .for_each(|(b, _)| expected.contents.extend(&b.contents));
                let back = before.into_iter().filter(|(name, it)| match it.kind() {
                    "cron" => reverted.contains(name),
                    kind => kind == "service" && service,
                });
                expected.workloads.extend(back);
                let mut services = graph.workloads.values().filter(|it| it.kind() == "service");
                let count = services.next().map(|service| service.replicas);
                let services = expected.workloads.values_mut();
                for workload in services.filter(|w| w.kind() == "service") {
                    workload.replicas = count.unwrap_or(0);
                }
            }
            return wrong(&self.fleet, &expected);
        }
        let mut wrong = self.fleet.breaches();
        for (name, node) in &self.fleet.nodes {
            let state = node.state();
            let State { files, namespaces, wired, lock, .. } = &*state;
            if *files != Default::default()
                || !namespaces.is_empty()
                || !wired.is_empty()
                || lock.is_some()
            {
                wrong.push(format!("{name}: {files:?} {namespaces:?} {wired:?} {lock:?}"));
            }
        }
        wrong
    }
}

/// Applies a chapter while something goes wrong at a call; the next engines go on. How many calls there were if it did not
/// come to that one.
async fn mishap_at(chapter: usize, at: u64, mishap: Mishap) -> Option<u64> {
    let story = Story::new().await;
    story.until(chapter).await;
    let (graph, goal) = &story.texts[chapter];
    let script = &story.fleet.script;
    let ended = ran(&story.fleet).into_iter().map(|(job, _)| job).collect();
    script.plan(at, mishap);
    let mut reverted: BTreeSet<WorkloadName> = tokio::select! {
        biased;
        () = script.killed() => BTreeSet::new(),
        turned = turn(&story.fleet, graph, *goal) => {
            let outcome = turned.ok().flatten().map(|applied| applied.outcome);
            match outcome {
                Some(Outcome::Reverted { workloads }) => workloads.into_keys().collect(),
                Some(Outcome::Done | Outcome::Partial { .. }) | None => BTreeSet::new(),
            }
        }
    };
    story.fleet.sever();
    script.over();
    let calls = script.calls();
    let struck = script.struck();
    let settled = settle(&story.fleet, graph, *goal).await;
    let booted = matches!(mishap, Mishap::RebootBefore | Mishap::RebootAfter);
    // A job that a boot cut short has failed, and is tried no more; then what is after it is held with it, by whichever engine
    // finds that, and that one may not live to say so.
    if booted && *goal == Goal::Converge {
        reverted.extend(held(&story.fleet, graph).await);
    }
    let mut wrong = story.wrong(chapter, &reverted);
    wrong.extend(ran_again(&story.fleet, booted, &ended));
    wrong.extend(settled.err());
    assert!(wrong.is_empty(), "chapter {chapter}, {mishap:?} at {struck:?}: {wrong:#?}");
    struck.is_none().then_some(calls)
}

#[test]
fn a_retired_node_is_left_as_it_was() {
    run(async {
        let story = Story::new().await;
        story.until(1).await;
        let (mut graph, _) = story.texts[0].clone();
        let last = berth_tests::project::node(3);
        graph.nodes.get_mut(&last).expect("a node").intake = Intake::Retired;
        settle(&story.fleet, &graph, Goal::Converge).await.expect("settled");
        assert_eq!(wrong(&story.fleet, &graph), Vec::<String>::new());
        let state = story.fleet.nodes[&last].state();
        let State { files, namespaces, wired, .. } = &*state;
        assert_eq!(*files, Default::default());
        assert!(namespaces.is_empty() && wired.is_empty(), "{namespaces:?} {wired:?}");
    });
}

/// The addresses of the endpoints that a tenant has on a node.
fn endpoints(state: &State, graph: &Graph) -> BTreeSet<String> {
    let tenant = state.files.tenants.get(&graph.tenant.namespace());
    let endpoints = tenant.into_iter().flat_map(|tenant| tenant.endpoints.values());
    let address = |endpoint: &String| {
        let said: serde_json::Value = serde_json::from_str(endpoint).expect("JSON");
        said["address4"].as_str().expect("an address").to_owned()
    };
    endpoints.map(address).collect()
}

/// Two environments and another project on the same nodes: none touches what is another's, and what belongs to a node as
/// a whole goes over to who is left.
#[test]
fn tenants_share_a_fleet() {
    run(async {
        let story = Story::new().await;
        let fleet = &story.fleet;
        let (shop, _) = story.texts[0].clone();
        let (mut stage, _) = story.texts[1].clone();
        stage.tenant.environment = "stage".to_owned();
        let mut blog = stage.clone();
        blog.tenant.project = "blog".to_owned();
        let all = [&shop, &stage, &blog];
        for graph in all {
            settle(fleet, graph, Goal::Converge).await.expect("settled");
        }
        for graph in all {
            let nothing = turn(fleet, graph, Goal::Converge).await.expect("a plan").is_none();
            assert!(nothing, "{} has something to do", graph.tenant);
        }
        let owner = |state: &State| {
            let network = state.files.network.as_ref().expect("a network");
            let network: NodeNetwork = serde_json::from_str(network).expect("a network");
            network.owner.expect("an owner")
        };
        let mut pods = BTreeSet::new();
        for node in fleet.nodes.values() {
            let state = node.state();
            assert_eq!(owner(&state), "berth.shop.default");
            let addresses = all.map(|graph| endpoints(&state, graph));
            let apart: BTreeSet<&String> = addresses.iter().flatten().collect();
            assert_eq!(apart.len(), 3, "{addresses:?}");
            pods.extend(state.files.claims.iter().map(|(ip, by)| (by.clone(), ip.clone())));
        }
        let addresses: BTreeSet<&String> = pods.iter().map(|(_, ip)| ip).collect();
        assert_eq!((pods.len(), addresses.len()), (17, 17), "{pods:?}");
        // Who set the fleet up leaves; another one takes it over, and nothing of anybody's is touched.
        settle(fleet, &shop, Goal::Destroy).await.expect("destroyed");
        settle(fleet, &stage, Goal::Converge).await.expect("settled");
        let nothing = turn(fleet, &blog, Goal::Converge).await.expect("a plan").is_none();
        assert!(nothing, "{} has something to do", blog.tenant);
        for node in fleet.nodes.values() {
            let state = node.state();
            assert_eq!(owner(&state), "berth.shop.stage");
            let claims = &state.files.claims;
            let left = pods.iter().filter(|(by, _)| !by.starts_with("berth.shop.default"));
            let here: BTreeSet<_> =
                claims.iter().map(|(ip, by)| (by.clone(), ip.clone())).collect();
            assert!(here.iter().all(|one| left.clone().any(|l| l == one)), "{here:?}");
        }
        for graph in [&blog, &stage] {
            settle(fleet, graph, Goal::Destroy).await.expect("destroyed");
        }
        for (name, node) in &fleet.nodes {
            let state = node.state();
            assert_eq!(state.files, Default::default(), "{name}");
            assert!(state.namespaces.is_empty() && state.wired.is_empty(), "{name}");
        }
        assert_eq!(fleet.breaches(), Vec::<String>::new());
    });
}

#[test]
fn a_story_is_applied_over_the_wire() {
    run(async {
        let story = Story::new().await;
        for chapter in 0..CHAPTERS {
            let (graph, goal) = &story.texts[chapter];
            let applied =
                turn(&story.fleet, graph, *goal).await.expect("applied").expect("something to do");
            assert_eq!(applied.outcome, Outcome::Done, "{:?}", applied.report.problems);
            assert_eq!(
                story.wrong(chapter, &BTreeSet::new()),
                Vec::<String>::new(),
                "chapter {chapter}"
            );
            assert_eq!(ran_again(&story.fleet, false, &BTreeSet::new()), Vec::<String>::new());
            assert!(
                turn(&story.fleet, graph, *goal).await.expect("a plan").is_none(),
                "chapter {chapter}"
            );
        }
    });
}

/// Every so many calls something goes wrong, and which of them first. All of them if `BERTH_CALLS` is 1; a single one if
/// `BERTH_CALL` is `CHAPTER MISHAP NUMBER`.
fn stride() -> u64 {
    std::env::var("BERTH_CALLS").ok().and_then(|every| every.parse().ok()).unwrap_or(23)
}

#[test]
fn something_goes_wrong_at_every_call() {
    if let Ok(one) = std::env::var("BERTH_CALL") {
        let words: Vec<&str> = one.split(' ').collect();
        let mishap = Mishap::ALL.into_iter().find(|mishap| format!("{mishap:?}") == words[1]);
        let at = mishap_at(
            words[0].parse().expect("a chapter"),
            words[2].parse().expect("a number"),
            mishap.expect("a mishap"),
        );
        run(at);
        return;
    }
    let stride = stride();
    let work = (0..CHAPTERS).flat_map(|chapter| Mishap::ALL.map(|mishap| (chapter, mishap)));
    let work = std::sync::Mutex::new(work.enumerate());
    let failed = std::sync::Mutex::new(Vec::new());
    let runs = std::sync::atomic::AtomicU64::new(0);
    let one = || {
        loop {
            let next = work.lock().expect("work").next();
            let Some((number, (chapter, mishap))) = next else { break };
            let mut at = number as u64 * 5 % stride;
            loop {
                runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                match std::panic::catch_unwind(|| run(mishap_at(chapter, at, mishap))) {
                    Ok(None) => {}
                    Ok(Some(_)) => break,
                    Err(_) => {
                        failed.lock().expect("failures").push(format!("{chapter} {mishap:?} {at}"))
                    }
                }
                at += stride;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(one);
        }
    });
    let failed = failed.into_inner().expect("failures");
    tell(|| format!("{} runs", runs.load(std::sync::atomic::Ordering::Relaxed)));
    assert!(failed.is_empty(), "{} went wrong: {failed:#?}", failed.len());
}

/// Applies a chapter while one node's connection is cut once so many bytes have passed; the next engine goes on. After how
/// long somebody connected to that node again, and how many bytes passed over that connection if the cut never came.
async fn cut_at(chapter: usize, at: u64, cut: Cut) -> Result<Duration, u64> {
    let story = Story::new().await;
    story.until(chapter).await;
    let (graph, goal) = &story.texts[chapter];
    let node = &story.fleet.nodes[&berth_tests::project::node(1)];
    node.cut_next(at, cut);
    let first = turn(&story.fleet, graph, *goal).await;
    let settled = settle(&story.fleet, graph, *goal).await;
    let mut wrong = story.wrong(chapter, &BTreeSet::new());
    wrong.extend(ran_again(&story.fleet, false, &BTreeSet::new()));
    wrong.extend(settled.err());
    assert!(wrong.is_empty(), "chapter {chapter}, {cut:?} at {at}: {wrong:#?} after {first:?}");
    if node.was_cut() {
        Ok(node.noticed_after().expect("somebody came again"))
    } else {
        Err(node.passed())
    }
}

/// How many offsets a connection is cut at, of each kind: 500 by hand, as `BERTH_CUTS`.
fn cuts() -> u64 {
    std::env::var("BERTH_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(12)
}

/// Where the last cuts are, in bytes: an apply of this story's second text passes some 150 kB over a connection.
const LAST_CUT: u64 = 140_000;

#[test]
fn a_connection_is_cut_at_any_byte() {
    let cuts = cuts();
    let longest = run(async {
        let mut all = tokio::task::JoinSet::new();
        let room = std::sync::Arc::new(tokio::sync::Semaphore::new(256));
        for number in 0..cuts * 3 {
            let cut = [Cut::Reset, Cut::Fin, Cut::BlackHole][(number % 3) as usize];
            // The handshake's 3 kB as often as all that follows.
            let part = number / 6;
            let at =
                if number / 3 % 2 == 0 { part * 6_000 / cuts } else { part * LAST_CUT * 2 / cuts };
            let room = room.clone();
            all.spawn(async move {
                let _room = room.acquire_owned().await;
                (cut, at, cut_at(1, at, cut).await)
            });
        }
        let mut longest = Duration::ZERO;
        while let Some(done) = all.join_next().await {
            let (cut, at, noticed) = done.expect("well");
            tell(|| format!("{cut:?} at {at}: {noticed:?}"));
            longest = longest.max(
                noticed
                    .unwrap_or_else(|passed| panic!("{passed} bytes passed, and no cut at {at}")),
            );
        }
        longest
    });
    assert!(longest <= Duration::from_secs(20), "noticed only after {longest:?}");
}
