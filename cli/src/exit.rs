//! Exit codes, and how an error is said.

use std::error::Error;
use std::process::ExitCode;

use berth_engine::run::apply::ApplyError;
use berth_engine::run::host::HostError;
use berth_engine::run::ledger::LedgerFault;
use berth_engine::run::record::RecordError;
use berth_engine::run::relocate::MoveError;

use crate::commands::ledger::written;
use crate::replicas::ChoiceError;
use crate::saved::SavedError;

/// What `berth --help` says of exit codes.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done, or nothing to do
  1  a mistake in the text, the command line or the environment
  2  drift was found; or, with `plan --exit-code`, there is something to do;
     or `fmt --check` found a file that is not in the style
  3  partly done, blocked, or a node could not be reached
  4  refused: locked by somebody else, or the world has changed since the plan
  5  a gate failed, and the release was taken back
`berth exec` ends with the command's own code; 125 if it could not be run, 126 or 127 if the replica cannot
start such a program";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// A mistake in the text, the command line or the environment.
    Mistake,
    /// Drift was found, or there is something to do.
    Differs,
    /// Partly done, blocked, or unreachable.
    Partial,
    /// Locked, or stale.
    Refused,
    /// Taken back.
    Reverted,
    /// The code of a command that was run for somebody.
    Code(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Exit {
    /// The code itself.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Mistake => 1,
            Self::Differs => 2,
            Self::Partial => 3,
            Self::Refused => 4,
            Self::Reverted => 5,
            Self::Code(code) => code,
        }
    }

    /// The code that an error ends with.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(apply) = error.downcast_ref::<ApplyError>() {
                return match apply {
                    ApplyError::Stale { .. } | ApplyError::Overtaken(_) => Self::Refused,
                    ApplyError::Lock(host) => Self::of_host(host),
                    ApplyError::Ledger(_)
                    | ApplyError::Uncopied { .. }
                    | ApplyError::Journal(_) => Self::Partial,
                };
            }
            if let Some(ChoiceError::Unseen(..) | ChoiceError::NotRunning(..)) =
                error.downcast_ref()
            {
                return Self::Partial;
            }
            if let Some(record) = error.downcast_ref::<RecordError>() {
                return match record {
                    RecordError::Moved(_) => Self::Refused,
                    RecordError::Lock(host) => Self::of_host(host),
                    RecordError::Ledger(_) => Self::Partial,
                };
            }
            if let Some(host) = error.downcast_ref::<HostError>() {
                return Self::of_host(host);
            }
            if error.is::<LedgerFault>() {
                return Self::Partial;
            }
            if let Some(moving) = error.downcast_ref::<MoveError>() {
                return match moving {
                    MoveError::Lock(host) => Self::of_host(host),
                    MoveError::Here(_)
                    | MoveError::Nothing(_)
                    | MoveError::KeeperThere(_)
                    | MoveError::Newer { .. } => Self::Refused,
                    MoveError::KeeperLost { .. }
                    | MoveError::Named { .. }
                    | MoveError::TooFew { .. }
                    | MoveError::Unknown(_)
                    | MoveError::NoCopy
                    | MoveError::Ledger(_) => Self::Partial,
                };
            }
            if let Some(saved) = error.downcast_ref::<SavedError>() {
                return match saved {
                    SavedError::File { .. }
                    | SavedError::Unreadable { .. }
                    | SavedError::Another { .. } => Self::Mistake,
                    SavedError::Expired(_) | SavedError::Differs(_) => Self::Refused,
                };
            }
            cause = error.source();
        }
        Self::Mistake
    }

    fn of_host(error: &HostError) -> Self {
        match error {
            HostError::Locked { .. } | HostError::Fenced { .. } => Self::Refused,
            HostError::Unreachable { .. } | HostError::Lost { .. } | HostError::Refused { .. } => {
                Self::Partial
            }
        }
    }
}

/// Says an error and its causes, one line each, without saying anything twice.
pub(crate) fn report(error: &(dyn Error + 'static)) {
    let first = error.to_string();
    hint!("{} {first}", crate::paint::error("error:"));
    let mut said = first;
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !said.contains(&words) {
            hint!("  because {words}");
            said = words;
        }
        cause = error.source();
    }
    if let Some(ApplyError::Stale { changes }) = error.downcast_ref::<ApplyError>() {
        for change in changes {
            hint!("  {change}");
        }
        hint!("  plan again to see what to do now");
    }
    if let Some(ApplyError::Uncopied { behind }) = error.downcast_ref::<ApplyError>() {
        behind.iter().for_each(|line| hint!("  {line}"));
        hint!("  apply again when one of those nodes can be written to");
    }
    if let Some(mend) = mend(error) {
        hint!("  {mend}");
    }
    let locked = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(ApplyError::Lock(locked)), _) | (_, Some(RecordError::Lock(locked))) => Some(locked),
        _ => None,
    };
    if let Some(HostError::Locked { claim, .. }) = locked {
        hint!(
            "  since {}; it is free when that apply ends, or 15 s after its engine is gone; `berth abort` takes back what it rolls out",
            crate::paint::time(claim.since_ms)
        );
    }
}

/// What to do about a ledger that is not where it should be.
fn mend(error: &(dyn Error + 'static)) -> Option<String> {
    let fault = match (error.downcast_ref(), error.downcast_ref(), error.downcast_ref()) {
        (Some(fault), _, _)
        | (_, Some(ApplyError::Ledger(fault)), _)
        | (_, _, Some(RecordError::Ledger(fault))) => Some(fault),
        _ => None,
    };
    match fault {
        Some(LedgerFault::Elsewhere { named, keeper, .. }) => {
            return Some(format!(
                "`berth ledger move` brings it to {named}; {} in the text leaves it there",
                written(keeper)
            ));
        }
        Some(LedgerFault::Behind { .. } | LedgerFault::Unfinished { .. }) => {
            return Some("`berth ledger move --take-over` goes on with the newest copy".to_owned());
        }
        Some(LedgerFault::Gone { .. }) => {
            return Some(
                "`berth state rebuild` begins one with what this folder and the nodes know"
                    .to_owned(),
            );
        }
        Some(LedgerFault::Unseen { .. }) => {
            return Some(
                "a first apply needs more than half of the nodes; take those out of the text that are not there yet"
                    .to_owned(),
            );
        }
        Some(LedgerFault::Keeper(HostError::Unreachable { node, .. })) => {
            return Some(format!(
                "if {node} is lost for good, name another keeper in the text, then `berth ledger move --take-over`"
            ));
        }
        Some(LedgerFault::Copy(_)) => {
            return Some("everything else is gone; `berth destroy` goes on with this".to_owned());
        }
        Some(LedgerFault::Keeper(_) | LedgerFault::Content(_)) | None => {}
    }
    Some(match error.downcast_ref::<MoveError>()? {
        MoveError::KeeperLost { .. } => {
            "if it is lost for good, `berth ledger move --take-over` goes on with the newest copy"
                .to_owned()
        }
        MoveError::KeeperThere(keeper) => format!(
            "`berth ledger move` brings the ledger from it; nothing is taken over while {keeper} answers"
        ),
        MoveError::TooFew { .. } | MoveError::Unknown(_) => {
            "name those that are switched off for certain: `--fenced NODE`".to_owned()
        }
        MoveError::NoCopy => {
            "`berth state rebuild` begins one with what this folder and the nodes know".to_owned()
        }
        MoveError::Named { .. } => "name a keeper that answers in the text".to_owned(),
        MoveError::Newer { .. } => {
            "`berth ledger move --take-over` goes on with that one".to_owned()
        }
        MoveError::Here(_) | MoveError::Nothing(_) | MoveError::Lock(_) | MoveError::Ledger(_) => {
            return None;
        }
    })
}
