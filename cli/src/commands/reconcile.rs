//! `berth apply --watch`: an engine that stays, and applies whatever there is to apply.
//!
//! Each look is a `berth apply --yes` of its own: the text is read anew, every node is connected to anew, so
//! that nothing can be stale but what is written on the nodes. When to look is
//! [`berth_engine::run::reconcile`]'s to say. While the text has mistakes, the last one without goes on.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use berth_agentless::SshHost;
use berth_engine::plan::body::Goal;
use berth_engine::plan::render;
use berth_engine::run::reconcile::{Came, Event, Next, Pace, wakes};

use super::apply::{Made, carry_out, homeless};
use super::{Ended, plan};
use crate::exit::{Exit, report};
use crate::pins::Pins;
use crate::project::{Project, find};
use crate::provenance::places;
use crate::telling::Form;
use crate::watch::{Follower, settle};
use crate::{Global, fleet, paint};

/// What was said last: of the text's diagnostics, of its being refused, and of the fleet.
#[derive(Default)]
struct Told {
    diagnostics: Option<String>,
    text: Said,
    fleet: Said,
}

/// What was said last, so that it is not said at every look.
#[derive(Default)]
struct Said(String);

impl Said {
    /// Whether it is news.
    fn is_new(&mut self, words: &str) -> bool {
        let new = self.0 != words;
        words.clone_into(&mut self.0);
        new
    }
}

/// Looks and applies until somebody ends it; `partial` goes on with what has a place.
pub(crate) fn run(global: &Global, every: Duration, partial: bool) -> Ended {
    let (sender, events) = channel();
    let changes = sender.clone();
    let mut follower = Follower::new(&find(global)?, move || {
        // Whoever listened is gone only when the program ends.
        let _ = changes.send(Event::Changed);
    })?;
    stop_on_signal(sender)?;
    let (mut pace, mut told, mut whole) = (Pace::new(every), Told::default(), None);
    let mut event = Event::Began;
    loop {
        match pace.next(event, fleet::now_ms(), chance()) {
            Next::End => return Ok(Exit::Done),
            Next::Look => {
                follower.refresh()?;
                // What has happened until now is looked at.
                if events.try_iter().any(|event| event == Event::Stop) {
                    return Ok(Exit::Done);
                }
                event = Event::Looked(look(global, partial, &mut whole, &mut told));
            }
            Next::Wait(wait) => {
                event = match events.recv_timeout(wait) {
                    Ok(Event::Changed) => {
                        settle(&events, &Event::Changed).unwrap_or(Event::Changed)
                    }
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Event::Due,
                };
            }
        }
    }
}

/// Reads the text, and looks with it; with the last one without mistakes, if it has some.
fn look(global: &Global, partial: bool, whole: &mut Option<Project>, told: &mut Told) -> Came {
    let Told { diagnostics, text, fleet: said } = told;
    match Project::load_again(global, Pins::Keep, diagnostics) {
        Ok(project) => {
            text.0.clear();
            *whole = Some(project);
        }
        Err(error) => {
            let goes_on = if whole.is_some() {
                "; the text that was there before goes on meanwhile"
            } else {
                ""
            };
            let words = format!("{error}{goes_on}");
            if text.is_new(&words) {
                hint!("{} {} {words}", paint::time(fleet::now_ms()), paint::error("error:"));
            }
        }
    }
    let Some(project) = whole else { return Came::Failed };
    let looked = fleet::block_on(async {
        let host = fleet::host(project, global);
        let looked = look_with(&host, project, partial, said).await;
        host.close().await;
        looked
    });
    let looked = looked.map_err(Into::into).and_then(|looked| looked);
    looked.unwrap_or_else(|error| {
        if said.is_new(&error.to_string()) {
            hint!("{}", paint::time(fleet::now_ms()));
            report(&*error);
        }
        match Exit::of(&*error) {
            Exit::Refused => Came::Busy,
            _ => Came::Failed,
        }
    })
}

async fn look_with(
    host: &SshHost,
    project: &Project,
    partial: bool,
    said: &mut Said,
) -> Result<Came, Box<dyn std::error::Error>> {
    let (seen, body) = plan::make(host, project, Goal::Converge, &BTreeSet::new()).await?;
    let made = Made { observation: seen.observation, head: seen.ledger.head, body };
    let blocked = &made.body.blocked;
    let goes_on = blocked.is_empty() || partial && blocked.iter().all(homeless);
    if !goes_on || made.body.is_empty() && made.head.in_flight.is_none() {
        let text =
            render::text_with_places(&made.body, &made.observation, &places(project, &made.body));
        // The first line names the plan, which is another one each time.
        let words = text.split_once('\n').map_or("", |(_, words)| words);
        if said.is_new(words) {
            say!("{}", paint::time(fleet::now_ms()));
            put!("{}", paint::plan(words));
        }
        let now_ms = made.body.now_ms;
        return Ok(Came::Settled { wakes_ms: wakes(&project.graph, &made.head, now_ms) });
    }
    said.0.clear();
    say!("{}", paint::time(fleet::now_ms()));
    made.show(project);
    carry_out(host, project, &project.graph, &made, Form::Words).await?;
    Ok(Came::Done)
}

/// Some number, for pauses of which no two are alike.
fn chance() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(fleet::now_ms())
}

/// The first signal ends the loop after what runs; an apply that runs ends as it does by itself.
fn stop_on_signal(sender: Sender<Event>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            super::apply::signal().await;
            let _ = sender.send(Event::Stop);
        });
    })?;
    Ok(())
}
