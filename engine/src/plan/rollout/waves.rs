//! Waves: in which order a strategy replaces replicas, what it watches in between, and who waits.
//!
//! It orders moves that were decided already; places are found after that, wave by wave.

use crate::plan::body::{Bake, Move, Wave};
use crate::plan::graph::{CanaryStep, Check, Rollout, Strategy};

/// How far a rollout has come in which two releases share the traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The new release has taken no traffic.
    #[default]
    Begins,
    /// It has so much, in hundredths of a percent.
    At(u32),
    /// It is weighed no more.
    Passed,
}

/// The moves of a rollout, by what they are for.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Whoever makes room for others, or is of neither release: first of all.
    pub(super) yields: Vec<Move>,
    /// New replicas that are there beside those that they stand in for: a rollout that shares the
    /// traffic had begun.
    pub(super) begun: Vec<Move>,
    /// Replicas that stand in for nobody who is available.
    pub(super) fills: Vec<Move>,
    /// Replicas that stand in for others.
    pub(super) replacements: Vec<Move>,
    /// Those that leave.
    pub(super) removals: Vec<Move>,
    /// Whether some of those are of the release before, and serve.
    pub(super) old_serves: bool,
    /// How many new replicas are there, and nobody beside them.
    pub(super) done: usize,
    /// How far it has come.
    pub(super) stage: Stage,
}

/// Orders moves. `spare` is how many may be replaced at once; `is_new` says that it is another release
/// than what stands, `beside` that both run side by side, and `weighs` that there is traffic to share.
pub(super) fn waves(
    rollout: &Rollout,
    replicas: u32,
    spare: usize,
    (is_new, beside, weighs): (bool, bool, bool),
    moves: Moves,
) -> Vec<Wave> {
    let order = Order { rollout, replicas, spare, is_new };
    let both = !moves.replacements.is_empty()
        || !moves.begun.is_empty()
        || moves.old_serves && moves.done > 0;
    let share = match (&rollout.strategy, moves.stage) {
        (Strategy::Canary { .. } | Strategy::BlueGreen, Stage::Begins) if beside && both => Some(0),
        (Strategy::BlueGreen, Stage::Passed) if beside && both => Some(10_000),
        (_, Stage::At(share)) => Some(share),
        (_, Stage::Begins | Stage::Passed) => None,
    };
    let yields = Wave { share, ..Wave::of(moves.yields.clone()) };
    let mut waves = Vec::from_iter((!yields.moves.is_empty()).then_some(yields));
    waves.extend(match &rollout.strategy {
        Strategy::Recreate => order.at_once(moves),
        Strategy::Ordered => order.one_by_one(moves),
        Strategy::Canary { steps, surge: _ } if beside && both && moves.stage != Stage::Passed => {
            order.canary(steps, moves)
        }
        Strategy::BlueGreen if beside && both => order.blue_green(moves),
        Strategy::Rolling { .. } | Strategy::Canary { .. } | Strategy::BlueGreen => {
            order.rolling(moves)
        }
    });
    if !weighs {
        waves.iter_mut().for_each(|wave| wave.share = None);
    }
    settled(waves)
}

/// Leaves out what does nothing, and names the wave in which those leave that were held.
fn settled(waves: Vec<Wave>) -> Vec<Wave> {
    let mut share = None;
    let mut settled: Vec<Wave> = Vec::with_capacity(waves.len());
    for wave in waves {
        let releases = settled.iter().any(|earlier| earlier.held_until == Some(HELD))
            && wave.held_until.is_none()
            && wave.share.is_none();
        if wave.moves.is_empty() && wave.bake.is_none() && wave.share == share && !releases {
            continue;
        }
        share = wave.share;
        if releases {
            let number = u32::try_from(settled.len()).unwrap_or(u32::MAX);
            let held = settled.iter_mut().filter(|earlier| earlier.held_until == Some(HELD));
            held.for_each(|earlier| earlier.held_until = Some(number));
        }
        settled.push(wave);
    }
    settled
}

/// Held until a wave that is not numbered yet: the next one without a share.
const HELD: u32 = u32::MAX;

/// Leaves out the waves in which nobody found a place, and what would be watched if there is nobody of
/// the new release; whoever was held leaves in the same wave. `is_begun` says that some are there.
pub(super) fn without_empty(mut waves: Vec<Wave>, is_begun: bool) -> Vec<Wave> {
    let mut share = None;
    let mut is_begun = is_begun;
    for wave in &mut waves {
        is_begun |= wave.moves.iter().any(|one| one.into.is_some());
        if !is_begun {
            (wave.share, wave.bake) = (None, None);
        }
    }
    let keeps: Vec<bool> = waves
        .iter()
        .enumerate()
        .map(|(number, wave)| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let releases = waves
                .iter()
                .any(|earlier| earlier.held_until == Some(number) && !earlier.moves.is_empty());
            let keeps =
                !wave.moves.is_empty() || wave.bake.is_some() || wave.share != share || releases;
            share = wave.share;
            keeps
        })
        .collect();
    let numbers: Vec<u32> = keeps
        .iter()
        .scan(0, |next, keeps| {
            let number = *next;
            *next += u32::from(*keeps);
            Some(number)
        })
        .collect();
    let kept = waves.into_iter().zip(&keeps).filter(|(_, keeps)| **keeps).map(|(wave, _)| wave);
    let mut kept: Vec<Wave> = kept.collect();
    for wave in &mut kept {
        wave.held_until = wave.held_until.and_then(|until| numbers.get(until as usize).copied());
    }
    kept
}

struct Order<'a> {
    rollout: &'a Rollout,
    replicas: u32,
    spare: usize,
    is_new: bool,
}

impl Order<'_> {
    /// What is watched for so long, if it is a new release and there is something to watch.
    fn bake(&self, for_ms: u64) -> Option<Bake> {
        let metrics: Vec<_> =
            self.rollout.checks.iter().filter_map(Check::metric).cloned().collect();
        (self.is_new && (for_ms > 0 || !metrics.is_empty())).then_some(Bake { for_ms, metrics })
    }

    /// A wave with what is watched after it: a wave of its own, so that it fails after the other is
    /// done.
    fn baked(&self, wave: Wave, for_ms: u64) -> impl Iterator<Item = Wave> + use<> {
        let (share, held_until) = (wave.share, wave.held_until);
        let bake = self.bake(for_ms).filter(|_| !wave.moves.is_empty() || share.is_some());
        let bake = bake.map(|bake| Wave { moves: Vec::new(), share, bake: Some(bake), held_until });
        std::iter::once(wave).chain(bake)
    }

    /// What came before the engine stopped is watched first: it may not have been to the end.
    fn there(&self, done: usize) -> Vec<Wave> {
        let bake = self.bake(self.rollout.bake_ms).filter(|_| done > 0);
        let wave = bake.map(|bake| Wave { bake: Some(bake), ..Wave::of(Vec::new()) });
        Vec::from_iter(wave)
    }

    fn at_once(&self, moves: Moves) -> Vec<Wave> {
        let Moves { yields: _, begun, fills, replacements, removals, done, .. } = moves;
        let all: Vec<Move> = begun.into_iter().chain(fills).chain(replacements).collect();
        // One bake is enough for all.
        let mut waves = if all.is_empty() { self.there(done) } else { Vec::new() };
        waves.extend(self.baked(Wave::of(all), self.rollout.bake_ms));
        waves.push(Wave::of(removals));
        waves
    }

    fn rolling(&self, moves: Moves) -> Vec<Wave> {
        let Moves { yields: _, begun, fills, replacements, removals, done, .. } = moves;
        let for_ms = self.rollout.bake_ms;
        let mut waves = self.there(done);
        waves.extend(self.baked(Wave::of(fills), for_ms));
        let all: Vec<Move> = begun.into_iter().chain(replacements).collect();
        for chunk in all.chunks(self.spare.max(1)) {
            waves.extend(self.baked(Wave::of(chunk.to_vec()), for_ms));
        }
        waves.push(Wave::of(removals));
        waves
    }

    /// New ones from the first on; replacements, and those that leave, from the last on.
    fn one_by_one(&self, moves: Moves) -> Vec<Wave> {
        let Moves { yields: _, begun, mut fills, replacements, mut removals, done, .. } = moves;
        fills.sort_by_key(|one| one.ordinal);
        let mut others: Vec<Move> = begun.into_iter().chain(replacements).collect();
        others.sort_by_key(|one| std::cmp::Reverse(one.ordinal));
        removals.sort_by_key(|one| std::cmp::Reverse(one.ordinal));
        let mut waves = self.there(done);
        for one in fills.into_iter().chain(others) {
            waves.extend(self.baked(Wave::of(vec![one]), self.rollout.bake_ms));
        }
        waves.extend(removals.into_iter().map(|one| Wave::of(vec![one])));
        waves
    }

    fn canary(&self, steps: &[CanaryStep], moves: Moves) -> Vec<Wave> {
        let Moves { yields: _, begun, fills, replacements, removals, done, stage, .. } = moves;
        let mut first: Vec<Move> = begun.into_iter().chain(fills).collect();
        let mut rest = replacements.into_iter();
        let mut waves = Vec::new();
        for step in steps {
            let share = u64::from(self.replicas) * u64::from(step.weight);
            let wanted = usize::try_from(share.div_ceil(10_000)).unwrap_or(usize::MAX).max(1);
            // A step that was passed before the engine stopped is not taken again.
            if let Stage::At(share) = stage
                && step.weight < share
            {
                continue;
            }
            let mut moves = std::mem::take(&mut first);
            let more = wanted.saturating_sub(done + moves.len());
            moves.extend(rest.by_ref().take(more));
            let (share, held_until) = (Some(step.weight), Some(HELD));
            let wave = Wave { moves, share, bake: None, held_until };
            waves.extend(self.baked(wave, step.bake_ms));
        }
        waves.push(Wave::of(first));
        let rest: Vec<Move> = rest.collect();
        for chunk in rest.chunks(self.spare.max(1)) {
            waves.extend(self.baked(Wave::of(chunk.to_vec()), self.rollout.bake_ms));
        }
        waves.push(Wave::of(removals));
        waves
    }

    fn blue_green(&self, moves: Moves) -> Vec<Wave> {
        let Moves { yields: _, begun, fills, replacements, removals, stage, .. } = moves;
        let all: Vec<Move> = begun.into_iter().chain(fills).chain(replacements).collect();
        let over = stage == Stage::Passed;
        let wave = |moves, share| Wave { moves, share, bake: None, held_until: Some(HELD) };
        // What has gone over does not go back to be begun again.
        let mut waves = vec![wave(all, Some(if over { 10_000 } else { 0 }))];
        waves.extend(self.baked(wave(Vec::new(), Some(10_000)), self.rollout.bake_ms));
        waves.push(Wave::of(removals));
        waves
    }
}
