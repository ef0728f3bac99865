//! Plans and what came of them, on the twin: markdown in `cases/plan`, a heading a case, stages in
//! the order of the file.
//!
//! ` ```berth web.berth ` sets a file. ` ```world ` does something to the nodes, a line each
//! (`never-ready images/web`, `fails-checks images/web`, `falls-over images/web 5000` in milliseconds, `metric 0.2`, `stop web-0.g1`, `cut n3`, `heal n3`, `pressure n1 high`, `listen n1 80/tcp`,
//! `tenant n2 berth.other.default 80/tcp`, `network n1 berth.other.default 10.88.3.0/24`, `gone n1 berth.other.default`, `taken 10.99.0.1`, `disk n1 40` in GiB, `lose data-0 n1`, `copy data n1 n2`,
//! `crons run`, `crons rest`). ` ```plan ` is the
//! plan's text, ` ```markdown ` the same for a comment; ` ```why web[1] n2 `, ` ```capacity `, both also with `--json`, and ` ```what-if --without n1 ` are what those
//! commands say; ` ```what-if --without n1 --json /blocked ` is a part of that plan's JSON, by its pointer (the whole
//! of it would be pages), read back as a plan first; ` ```graph ` the picture of the text and the plan; ` ```drift ` is what drift finds; ` ```apply ` applies it and lists the steps done, in order, and the outcome;
//! ` ```apply to 6 ` is stopped by hand when so many steps are done.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use berth_engine::plan::action::{NodeNetwork, PeerList};
use berth_engine::plan::body::{Goal, PlanBody};
use berth_engine::plan::capacity;
use berth_engine::plan::drift;
use berth_engine::plan::graph::{Graph, Intake};
use berth_engine::plan::ledger::{Entry, Outcome};
use berth_engine::plan::lower::{self, ImageName};
use berth_engine::plan::names::{ImageDigest, NodeName, VolumeId, WorkloadName};
use berth_engine::plan::observation::{Pressure, Requests};
use berth_engine::plan::overrides::{Override, Subject};
use berth_engine::plan::picture::Picture;
use berth_engine::plan::planner::{EVERYTHING, Inputs};
use berth_engine::plan::render;
use berth_engine::plan::secret::{self, Opened};
use berth_engine::plan::whatif::{self, Suppose};
use berth_engine::plan::why;
use berth_engine::run::apply::{Apply, Planned};
use berth_engine::run::clock::SimulatedClock;
use berth_engine::run::event::Event;
use berth_engine::run::journal::MemoryJournal;
use berth_engine::run::observe::{Survey, survey};
use berth_engine::run::record;
use berth_engine::run::twin::{Behaviour, Twin};
use berth_lang::{CompileRequest, Workspace};
use berth_tests::cases::{Part, run_all};
use berth_tests::drive::simulate;
use ipnet::{Ipv4Net, Ipv6Net};
use serde_json::to_string_pretty;

struct Stage {
    workspace: Workspace,
    twin: Twin,
    nodes: std::collections::BTreeSet<NodeName>,
}

impl Stage {
    fn graph(&mut self) -> Result<Graph, String> {
        let snapshot = self.workspace.snapshot();
        let compiled = snapshot.compile(&CompileRequest::default());
        let plain = |list: &[berth_lang::Diagnostic]| -> String {
            list.iter().map(|d| d.render_plain(&snapshot)).collect()
        };
        let program = compiled.program.ok_or_else(|| plain(&compiled.diagnostics))?;
        let digests: BTreeMap<ImageName, ImageDigest> = lower::images(&program)
            .into_iter()
            .map(|(name, _)| (name.clone(), digest(&name)))
            .collect();
        let graph = lower::lower(&program, "default", &digests, &secret::as_if(&program))
            .map_err(|list| plain(&list))?;
        for name in graph.nodes.keys() {
            if self.nodes.insert(name.clone()) {
                self.twin.world().add_node(name, 2000, 2 << 30);
            }
        }
        Ok(graph)
    }

    async fn plan(&mut self) -> Result<(Graph, Survey, PlanBody), String> {
        let graph = self.graph()?;
        let seen = survey(&self.twin, &graph).await.map_err(|fault| format!("{fault}\n"))?;
        let body = seen
            .plan(&graph, "program", Goal::Converge, EVERYTHING, 0)
            .map_err(|violations| format!("turned down: {violations:?}\n"))?;
        Ok((graph, seen, body))
    }

    async fn look(
        &mut self,
        look: impl FnOnce(&Inputs<'_>, &PlanBody) -> String,
    ) -> Result<String, String> {
        let (graph, seen, body) = self.plan().await?;
        let inputs = Inputs {
            graph: &graph,
            program: "program",
            observation: &seen.observation,
            head: &seen.ledger.head,
            goal: Goal::Converge,
            only: EVERYTHING,
            now_ms: 0,
        };
        Ok(look(&inputs, &body))
    }

    /// `what-if --without n1 --add 8/32GiB --scale web=3`, also with `--json POINTER` at the end.
    async fn what_if(&mut self, info: &str) -> Result<String, String> {
        let (graph, mut seen, _) = self.plan().await?;
        let mut suppose = Suppose::default();
        let (info, pointer) =
            info.split_once(" --json ").map_or((info, None), |(i, p)| (i, Some(p)));
        let words: Vec<_> = info.split(' ').skip(1).collect();
        for pair in words.chunks(2) {
            match *pair {
                ["--without", node] => suppose.without.push(NodeName::new(node)),
                ["--add", shape] => suppose.add.push(whatif::shape(shape).expect("a shape")),
                ["--scale", text] => suppose.scale.extend([whatif::scale(text).expect("a scale")]),
                _ => panic!("no what-if is `{pair:?}`"),
            }
        }
        let (graph, observation) =
            suppose.apply(&graph, &seen.observation).map_err(|error| format!("{error}\n"))?;
        seen.observation = observation;
        suppose.forget(&mut seen.ledger.head);
        let body = seen
            .plan(&graph, "program", Goal::Converge, EVERYTHING, 0)
            .map_err(|violations| format!("turned down: {violations:?}\n"))?;
        let Some(pointer) = pointer else { return Ok(render::text(&body, &seen.observation)) };
        let written = serde_json::to_value(&body).expect("JSON");
        let read: PlanBody = serde_json::from_value(written.clone()).expect("a plan");
        assert_eq!(read, body, "a plan that was read is the plan that was written");
        let part = written.pointer(pointer).unwrap_or_else(|| panic!("no part is `{pointer}`"));
        Ok(json(to_string_pretty(part)))
    }

    async fn apply(&mut self, most: usize) -> Result<String, String> {
        let (graph, seen, body) = self.plan().await?;
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (clock, stop) = (SimulatedClock::starting_at(0), AtomicBool::new(false));
        let watch = |event: Event| {
            let line = match event {
                Event::Done { step, .. } => step.work.title(&step.node),
                Event::GateFailed { pod, why, .. } => format!("gate failed: {pod}: {why}"),
                Event::Asked { workload, why } => format!("abort of {workload}: {why}"),
                Event::Undo { workload, .. } => format!("undo {workload}"),
                Event::Failed { step, why } => {
                    format!("failed: {}: {why}", step.work.title(&step.node))
                }
                Event::GivenUp(step) => format!("given up: {}", step.work.title(&step.node)),
                Event::Started(_) | Event::Waiting { .. } => return,
            };
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line);
            stop.fetch_or(lines.len() >= most, Ordering::Relaxed);
        };
        let apply = Apply {
            host: &self.twin,
            clock: &clock,
            who: "case",
            secrets: &Opened::as_if(&body),
            watch: &watch,
            stop: &stop,
        };
        let (observation, head) = (&seen.observation, &seen.ledger.head);
        let planned = Planned { body: &body, graph: &graph, observation, head, commit: None };
        let applied = apply.apply(planned, &mut MemoryJournal::default()).await;
        let applied = applied.map_err(|error| format!("{error}\n"))?;
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lines.push(match applied.outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Reverted { workloads } => {
                let late = workloads
                    .iter()
                    .filter(|(name, _)| !applied.report.reverted.contains_key(*name));
                let late = late.map(|(name, why)| format!("; {name} {why}")).collect::<String>();
                format!("taken back{late}")
            }
            Outcome::Partial { problems } => format!("partly: {}", problems.join("; ")),
        });
        Ok(lines.join("\n") + "\n")
    }

    /// `cordon n1`, `drain n1`, `pause web`, `replicas web 3`, `restart web`, `lift …`, each with
    /// `for 2` (milliseconds from 0) at its end if it is to end by itself.
    async fn decide(&mut self, line: &str) {
        let graph = self.graph().expect("a graph");
        let seen = survey(&self.twin, &graph).await.expect("a ledger");
        let (line, until_ms) = match line.split_once(" for ") {
            Some((line, ms)) => (line, Some(ms.parse().expect("milliseconds"))),
            None => (line, None),
        };
        let node = |name: &str| NodeName::new(name);
        let workload = |name: &str| WorkloadName::new(name);
        let close = |name: &str, intake| Override::Intake { node: node(name), intake };
        let what = match line.split(' ').collect::<Vec<_>>()[..] {
            ["cordon", name] => close(name, Intake::Cordoned),
            ["drain", name] => close(name, Intake::Drained),
            ["pause", name] => Override::Pause { workload: workload(name) },
            ["replicas", name, count] => {
                let replicas = count.parse().expect("a number");
                Override::Replicas { workload: workload(name), replicas }
            }
            ["lift", kind, name] => {
                let subject = match kind {
                    "node" => Subject::Intake(node(name)),
                    "pause" => Subject::Pause(workload(name)),
                    "replicas" => Subject::Replicas(workload(name)),
                    "pin" => Subject::Pin(workload(name)),
                    _ => panic!("nothing is lifted from `{kind}`"),
                };
                return self.write(&graph, &seen, Entry::Lift { subject }).await;
            }
            ["restart", name] => {
                let highest = seen.ledger.head.generations.clone();
                let (workload, why) = (workload(name), "new keys".to_owned());
                let up_to = highest
                    .into_iter()
                    .filter(|(id, _)| id.starts_with(&workload.slug()))
                    .collect();
                return self.write(&graph, &seen, Entry::Restart { workload, why, up_to }).await;
            }
            _ => panic!("nobody decides `{line}`"),
        };
        let why = "a disk fails".to_owned();
        self.write(&graph, &seen, Entry::Override { what, why, until_ms }).await;
    }

    async fn write(&self, graph: &Graph, seen: &Survey, entry: Entry) {
        let lines = record::lines(&seen.ledger, 0, "ana@desk", vec![entry]);
        record::record(&self.twin, graph, seen, &lines).await.expect("recorded");
    }

    fn disturb(&mut self, line: &str) {
        // The nodes that it is about come with the text.
        let _ = self.graph();
        let mut world = self.twin.world();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["never-ready", path] => {
                let image = digest(&ImageName::Layout(path.to_owned()));
                world.set_behaviour(&image, Behaviour::NeverReady);
            }
            ["fails-checks", path] => {
                let image = digest(&ImageName::Layout(path.to_owned()));
                world.set_behaviour(&image, Behaviour::FailsChecks);
            }
            ["falls-over", path, after] => {
                let image = digest(&ImageName::Layout(path.to_owned()));
                let after = after.parse().expect("milliseconds");
                world.set_behaviour(&image, Behaviour::FallsOver(300, after));
            }
            ["metric", value] => world.set_metric(value),
            ["stop", pod] => {
                let pod = pod.parse().expect("a pod id");
                let running = world.running();
                let (node, _) = running.iter().find(|(_, id)| *id == pod).expect("a running pod");
                world.stop_by_hand(node, &pod);
            }
            ["pressure", node, "high"] => {
                world.set_pressure(&NodeName::new(node), Pressure::High);
            }
            ["listen", node, port] => {
                let port = port.to_owned().try_into().expect("a port such as 80/tcp");
                world.listen(&NodeName::new(node), port);
            }
            ["tenant", node, namespace, port] => {
                let port = port.to_owned().try_into().expect("a port such as 80/tcp");
                let asks = Requests { ports: [port].into(), ..Requests::default() };
                world.add_tenant(&NodeName::new(node), namespace, &asks);
            }
            ["network", node, owner, range] => {
                let range4: Ipv4Net = range.parse().expect("a range such as 10.88.3.0/24");
                let index = u128::from(range4.network().octets()[2]);
                let base6: Ipv6Addr = "fd00:88::".parse().expect("an address");
                let range6 = Ipv6Addr::from(u128::from(base6) + (index << 64));
                world.set_network(
                    &NodeName::new(node),
                    NodeNetwork {
                        range4,
                        range6: Ipv6Net::new(range6, 64).expect("a range"),
                        pods4: Ipv4Net::new(range4.supernet().expect("one").network(), 16)
                            .expect("a range")
                            .trunc(),
                        pods6: "fd00:88::/48".parse().expect("a range"),
                        endpoints4: "10.99.0.0/16".parse().expect("a range"),
                        endpoints6: "fd00:99::/64".parse().expect("a range"),
                        peers: PeerList::Listed(Vec::new()),
                        owner: Some(owner.to_owned()),
                    },
                );
            }
            ["gone", node, owner] => world.remove_tenant(&NodeName::new(node), owner),
            ["taken", address] => world.take_endpoint(address.parse().expect("an address")),
            ["cut", node] => world.set_cut(&NodeName::new(node), true),
            ["lose", volume, node] => {
                world.lose_volume(&NodeName::new(node), &VolumeId::new(volume));
            }
            ["copy", volume, from, to] => {
                world.copy_volume(&NodeName::new(from), &VolumeId::new(volume), &NodeName::new(to));
            }
            ["disk", node, gib] => {
                let gib: u64 = gib.parse().expect("GiB");
                world.set_disk(&NodeName::new(node), gib << 30);
            }
            ["crons", "run"] => world.run_crons(true),
            ["crons", "rest"] => world.run_crons(false),
            ["heal", node] => world.set_cut(&NodeName::new(node), false),
            _ => panic!("the world does not know `{line}`"),
        }
    }
}

/// What the commands print with `--json`.
fn json(text: serde_json::Result<String>) -> String {
    text.expect("JSON") + "\n"
}

fn digest(name: &ImageName) -> ImageDigest {
    let name = name.to_string();
    ImageDigest::new(format!("sha256:{}", berth_engine::plan::canon::digest_of("case", &name)))
}

fn run(case: &mut [Part]) -> Vec<String> {
    simulate(async {
        let mut stage =
            Stage { workspace: Workspace::new(), twin: Twin::new(), nodes: Default::default() };
        stage.twin.world().run_crons(false);
        let mut wrong = Vec::new();
        for part in case {
            let Part::Fence(fence) = part else { continue };
            let found = match fence.info.as_str() {
                "world" => {
                    fence.body.lines().for_each(|line| stage.disturb(line));
                    continue;
                }
                "decide" => {
                    for line in fence.body.lines() {
                        stage.decide(line).await;
                    }
                    continue;
                }
                "plan" => match stage.plan().await {
                    Ok((_, seen, body)) => render::text(&body, &seen.observation),
                    Err(why) => why,
                },
                "markdown" => match stage.plan().await {
                    Ok((_, seen, body)) => {
                        render::markdown(&body, &seen.observation, &render::Places::new())
                    }
                    Err(why) => why,
                },
                "drift" => stage
                    .look(|inputs, _| {
                        let line = |finding: drift::Finding| {
                            let drift::Finding { kind, subject, words } = finding;
                            format!("{}  {subject}  {words}\n", kind.word())
                        };
                        drift::drift(inputs).into_iter().map(line).collect()
                    })
                    .await
                    .unwrap_or_else(|why| why),
                "graph" => stage
                    .look(|inputs, body| Picture::of(inputs.graph, Some(body)).dot())
                    .await
                    .unwrap_or_else(|text| text),
                "capacity" => stage
                    .look(|inputs, body| capacity::text(&capacity::capacity(inputs, body)))
                    .await
                    .unwrap_or_else(|why| why),
                "capacity --json" => stage
                    .look(|inputs, body| json(to_string_pretty(&capacity::capacity(inputs, body))))
                    .await
                    .unwrap_or_else(|why| why),
                info if info.starts_with("why ") => {
                    let mut words: Vec<_> = info.split(' ').collect();
                    let as_json = words.pop_if(|word| *word == "--json").is_some();
                    let (name, ordinal) = why::replica(words[1]).expect("a replica");
                    let node = words.get(2).map(|node| NodeName::new(*node));
                    let found = stage.look(|inputs, body| {
                        match why::why(inputs, body, (&name, ordinal), node.as_ref()) {
                            Ok(why) if as_json => json(to_string_pretty(&why)),
                            Ok(why) => why::text(&why, node.as_ref()),
                            Err(error) => format!("{error}\n"),
                        }
                    });
                    found.await.unwrap_or_else(|why| why)
                }
                info if info.starts_with("what-if ") => {
                    stage.what_if(info).await.unwrap_or_else(|why| why)
                }
                info if info.starts_with("apply") => {
                    let most = info.strip_prefix("apply to ");
                    let most = most.map_or(usize::MAX, |most| most.parse().expect("a number"));
                    stage.apply(most).await.unwrap_or_else(|why| why)
                }
                info => {
                    let path = info.strip_prefix("berth ").expect("a stage that is known");
                    stage.workspace.set_file(path, fence.body.as_str());
                    continue;
                }
            };
            if found != fence.body {
                wrong.push(format!("expected {}:\n{}found:\n{found}", fence.info, fence.body));
                fence.body = found;
            }
        }
        wrong
    })
}

#[test]
fn plans_hold() {
    run_all("cases/plan", run);
}

/// However much a plan does, its comment is no longer than a comment may be, and names what is destroyed.
#[test]
fn a_comment_is_never_too_long() {
    simulate(async {
        let mut stage =
            Stage { workspace: Workspace::new(), twin: Twin::new(), nodes: Default::default() };
        let fleet = "project shop {}\nnode n1 { host: \"10.0.0.1\" }\n";
        let service = |n: usize| {
            format!(
                "service s{n} {{ image: local(layout: \"images/a\"), replicas: 1, resources: {{ cpu: 1m, memory: 1MiB }} }}\n"
            )
        };
        let many: String = (0..150).map(service).collect();
        stage.workspace.set_file("fleet.berth", format!("{fleet}{many}"));
        let (_, seen, body) = stage.plan().await.expect("a plan");
        let comment = render::markdown(&body, &seen.observation, &render::Places::new());
        assert!(comment.chars().count() <= render::MARKDOWN_LIMIT, "{}", comment.chars().count());
        assert!(comment.contains("too long") && comment.contains("+ service/s0"), "{comment}");
        stage.apply(usize::MAX).await.expect("applied");
        stage.workspace.set_file("fleet.berth", fleet);
        let (_, seen, body) = stage.plan().await.expect("a plan");
        let comment = render::markdown(&body, &seen.observation, &render::Places::new());
        assert!(comment.chars().count() <= render::MARKDOWN_LIMIT, "{}", comment.chars().count());
        for n in 0..150 {
            assert!(comment.contains(&format!("> - `service/s{n}`\n")), "s{n}");
        }
    });
}
