//! A plan in a file: the body with all that it was made from, so that it can be made again.
//!
//! `apply FILE` compiles the text and plans from the file's own observation; the bytes must be the
//! file's. A plan that was tampered with, or that belongs to another text, is thus refused with no
//! key; one that was applied is refused since the ledger has moved on.

use std::path::Path;

use berth_engine::plan::body::{Goal, PlanBody};
use berth_engine::plan::canon::digest_of;
use berth_engine::plan::ledger::{Head, Ledger};
use berth_engine::plan::names::Tenant;
use berth_engine::plan::observation::Observation;
use berth_engine::plan::planner::{Inputs, plan};
use berth_engine::run::observe::Survey;
use serde::{Deserialize, Serialize};

use crate::project::Project;

/// The format's version.
const VERSION: u32 = 6;
/// How long a saved plan may be applied, in milliseconds: a day.
const LIFETIME_MS: u64 = 24 * 3600 * 1000;
/// The largest plan file that is read, in bytes.
const SIZE_LIMIT: u64 = 256 << 20;

/// A plan and its envelope.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    version: u32,
    /// The body's digest.
    pub(crate) digest: String,
    /// The plan.
    pub(crate) body: PlanBody,
    /// What it read of the nodes.
    pub(crate) observation: Observation,
    /// What it read of the ledger.
    pub(crate) head: Head,
    /// The commit that it was made from; information only.
    pub(crate) commit: Option<String>,
    /// Who made it; information only.
    pub(crate) who: String,
    expires_ms: u64,
    /// The digest of all the above: a file that was damaged on its way is refused, whichever part of it
    /// that is.
    seal: String,
}

/// Why a saved plan is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SavedError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// The system's words.
        error: std::io::Error,
    },
    /// It is not a plan file.
    #[error(
        "{path} is not a plan file of this Berth ({why}); save one with `berth plan --out FILE`"
    )]
    Unreadable {
        /// Which.
        path: String,
        /// The parser's words.
        why: String,
    },
    /// It is about other pods.
    #[error("this plan file is of {file}, and the text is of {text}; choose with `-e`")]
    Another {
        /// Whose the file is.
        file: Tenant,
        /// Whose the text is.
        text: Tenant,
    },
    /// It is too old.
    #[error("this plan expired at {0}; plan again")]
    Expired(String),
    /// Planning again gives something else.
    #[error("this is not the plan that Berth makes from this text: {0}; plan again")]
    Differs(&'static str),
}

impl Saved {
    /// Puts a plan into its envelope.
    pub(crate) fn new(
        body: PlanBody,
        observation: Observation,
        head: Head,
        commit: Option<String>,
        who: String,
    ) -> Self {
        let (digest, expires_ms) = (body.digest(), body.now_ms.saturating_add(LIFETIME_MS));
        let (version, seal) = (VERSION, String::new());
        let mut saved =
            Self { version, digest, body, observation, head, commit, who, expires_ms, seal };
        saved.seal = saved.sealed();
        saved
    }

    /// What the seal must be.
    fn sealed(&self) -> String {
        let Self { version, digest, body, observation, head, commit, who, expires_ms, seal: _ } =
            self;
        let all = (version, digest, body, observation, head, commit, who, expires_ms);
        digest_of("berth-plan-file/3", &all)
    }

    /// Reads what a file holds, or gives words why that is no plan.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if version != VERSION {
            return Err(format!("its version is {version}"));
        }
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }

    /// Whether it is what was written.
    fn is_whole(&self) -> bool {
        self.seal == self.sealed()
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), SavedError> {
        let file = |error| SavedError::File { path: path.display().to_string(), error };
        let bytes = serde_json::to_vec(self).map_err(|e| file(e.into()))?;
        let mut draft = path.as_os_str().to_owned();
        draft.push(".part");
        std::fs::write(&draft, bytes).map_err(file)?;
        std::fs::rename(&draft, path).map_err(file)
    }

    /// What a file's plan was made from, to plan another text on it. It says nothing of what the nodes
    /// are now.
    pub(crate) fn seen(path: &Path, tenant: &Tenant) -> Result<Survey, SavedError> {
        let Self { body, observation, head, .. } = Self::open(path)?;
        if &body.tenant != tenant {
            return Err(SavedError::Another { file: body.tenant, text: tenant.clone() });
        }
        Ok(Survey { observation, ledger: Ledger { head, ..Ledger::default() } })
    }

    /// Reads a file that is as it was written.
    fn open(path: &Path) -> Result<Self, SavedError> {
        let name = path.display().to_string();
        let file = |error| SavedError::File { path: name.clone(), error };
        let size = std::fs::metadata(path).map_err(file)?.len();
        let unreadable = |why: String| SavedError::Unreadable { path: name.clone(), why };
        if size > SIZE_LIMIT {
            return Err(unreadable("it is larger than 256 MiB".to_owned()));
        }
        let bytes = std::fs::read(path).map_err(file)?;
        let saved = Self::parse(&bytes).map_err(unreadable)?;
        if !saved.is_whole() {
            return Err(SavedError::Differs("the file was damaged or altered"));
        }
        Ok(saved)
    }

    /// Reads a file, and makes sure that it is what this text gives.
    pub(crate) fn read(path: &Path, project: &Project, now_ms: u64) -> Result<Self, SavedError> {
        let saved = Self::open(path)?;
        if now_ms > saved.expires_ms {
            return Err(SavedError::Expired(crate::paint::time(saved.expires_ms)));
        }
        if saved.body.program != project.program {
            return Err(SavedError::Differs(
                "the text, its inputs or berth.lock have changed since",
            ));
        }
        let again = plan(&Inputs {
            graph: &project.graph,
            program: &project.program,
            observation: &saved.observation,
            head: &saved.head,
            goal: saved.body.goal,
            only: &saved.body.only,
            now_ms: saved.body.now_ms,
        });
        if again != saved.body || again.digest() != saved.digest {
            return Err(SavedError::Differs("the file was altered, or another Berth made it"));
        }
        match saved.body.goal {
            Goal::Converge => Ok(saved),
            Goal::Destroy => Err(SavedError::Differs("it destroys, which is not done from a file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Saved;
    use berth_engine::plan::body::Goal;
    use berth_engine::plan::graph::Strategy;
    use berth_tests::{drive, project};

    /// A file with a real plan in it.
    fn file() -> (Saved, Vec<u8>) {
        let rolling = Strategy::Rolling { surge: 1, unavailable: 0 };
        let web = project::web(project::image('a'), 2, rolling);
        let graph = project::with(project::fleet(2), "web", web);
        let saved = drive::simulate(async {
            let twin = project::world(&graph);
            let (seen, body) = drive::plan(&twin, &graph, Goal::Converge).await;
            let commit = Some("0123abc".to_owned());
            Saved::new(body, seen.observation, seen.ledger.head, commit, "ana@desk".to_owned())
        });
        let bytes = serde_json::to_vec(&saved).expect("JSON");
        (saved, bytes)
    }

    /// Another text is planned on what a file's plan was made from; one of another project is not.
    #[test]
    fn a_file_tells_what_was_seen() {
        let (saved, bytes) = file();
        let path = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(path.path(), bytes).expect("written");
        let seen = Saved::seen(path.path(), &saved.body.tenant).expect("a survey");
        assert_eq!((seen.observation, seen.ledger.head), (saved.observation, saved.head));
        let mut other = saved.body.tenant.clone();
        other.environment = "prod".to_owned();
        let refused = Saved::seen(path.path(), &other).expect_err("another tenant");
        assert!(refused.to_string().contains("is of shop/default"), "{refused}");
    }

    /// Whatever happens to a file on its way, it is read as it was written or refused.
    #[test]
    fn a_damaged_file_is_refused() {
        let (saved, bytes) = file();
        let read = |bytes: &[u8]| Saved::parse(bytes).ok().filter(Saved::is_whole);
        let believed = |bytes: &[u8]| read(bytes).is_some_and(|found| found != saved);
        assert_eq!(read(&bytes).as_ref(), Some(&saved));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_none(), "cut after {end} of {}", bytes.len());
        }
        let mut damaged = bytes.clone();
        // Every bit by hand (BERTH_BITS=8), one of each byte in every run.
        let bits = std::env::var("BERTH_BITS").ok().and_then(|bits| bits.parse().ok()).unwrap_or(1);
        for at in 0..bytes.len() {
            for bit in 0..bits {
                let flip = 1 << ((at + bit) % 8);
                damaged[at] ^= flip;
                assert!(!believed(&damaged), "byte {at}, bits {flip:08b}");
                damaged[at] ^= flip;
            }
        }
    }
}
