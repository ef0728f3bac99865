//! Whether the text is what an allowed signer has signed, where the text asks for that: `project { signed: true }`.
//!
//! git judges the commit's signature, by the keys that `gpg.ssh.allowedSignersFile` of this machine's git names: trust
//! never comes from the folder that is judged. What was read is compared with that commit byte by byte, so that
//! nothing beside it counts. Once a revision was signed, the ledger says so, and the next has to be, too: the
//! text that asks for it no more is the last one that has to be signed.
//!
//! Deliberately absent: OpenPGP, whose trust is spread over a keyring; and decisions beside the text (`scale`, `pause`),
//! which are not in any commit. Who has root on a node needs no signature for anything.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use berth_engine::plan::ledger::{Head, Signed};

use crate::git::{git, said};
use crate::project::Project;

/// Why what was read may not be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignerError {
    /// There is no commit.
    #[error("the text has to be signed, and {0} is in no git repository with a commit")]
    NoCommit(PathBuf),
    /// Nobody is allowed.
    #[error(
        "the text has to be signed, and git knows no allowed signers here\n  write a line each, `ana@example.com ssh-ed25519 AAAA…`, and say `git config --global gpg.ssh.allowedSignersFile PATH`"
    )]
    NoSigners,
    /// The keys are in the hands of whoever writes the text.
    #[error(
        "{0} is part of what it should judge: whoever changes the text could change it\n  keep the file elsewhere, and say `git config --global gpg.ssh.allowedSignersFile PATH`"
    )]
    Inside(PathBuf),
    /// The commit is not signed, or by somebody else.
    #[error(
        "commit {commit} is not signed by an allowed signer: {why}\n  sign it with `git commit --amend -S`, with git's gpg.format set to ssh"
    )]
    Unsigned {
        /// Which.
        commit: String,
        /// What git says.
        why: String,
    },
    /// The text was changed since.
    #[error(
        "`{file}` is not as commit {commit} has it, and only that is signed\n  commit it, signed, or take it away"
    )]
    Changed {
        /// Which file.
        file: String,
        /// Which commit.
        commit: String,
    },
    /// git could not be asked.
    #[error("git could not be asked: {0}")]
    Git(#[from] std::io::Error),
}

/// Judges what was read, if the text or the ledger asks for it; says who has signed it.
pub(crate) fn judge(project: &Project, head: &Head) -> Result<Option<Signed>, SignerError> {
    let wanted = project.signed;
    if !wanted && !head.signed {
        return Ok(None);
    }
    let lock = project.root.join("berth.lock");
    let lock = std::fs::read(lock).ok().map(|bytes| ("berth.lock".to_owned(), bytes));
    // A package elsewhere is pinned in berth.lock, every file of it.
    let inside = project.files.iter().filter(|name| !name.starts_with("../"));
    let texts = inside.filter_map(|name| {
        let file = project.snapshot.file(name)?;
        Some((name.clone(), file.text().as_bytes().to_vec()))
    });
    let by = signer(&project.root, texts.chain(lock))?;
    Ok(Some(Signed { by, wanted }))
}

/// Who has signed the commit that a folder is at, of which every one of some files must be as it is there.
fn signer(
    root: &Path,
    files: impl Iterator<Item = (String, Vec<u8>)>,
) -> Result<String, SignerError> {
    let id = said(root, &["rev-parse", "--verify", "HEAD^{commit}"])?;
    let id = id.ok_or_else(|| SignerError::NoCommit(root.to_owned()))?;
    let commit = id.get(..8).unwrap_or(&id).to_owned();
    let path = said(root, &["config", "--type=path", "--get", "gpg.ssh.allowedSignersFile"])?;
    let path = path.filter(|path| !path.is_empty()).ok_or(SignerError::NoSigners)?;
    // A relative path begins where git works: at the top.
    let top = said(root, &["rev-parse", "--show-toplevel"])?;
    let top = top.map_or_else(|| root.to_owned(), PathBuf::from);
    let path = top.join(path);
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (at, top) = (real(&path), real(&top));
    if at.starts_with(&top) && !at.starts_with(top.join(".git")) {
        return Err(SignerError::Inside(path));
    }
    let verified = git(root, &["verify-commit", &id]).output()?;
    let words = String::from_utf8_lossy(&verified.stderr).into_owned();
    let good = words.lines().find_map(|line| {
        let (by, _) = line.strip_prefix("Good \"git\" signature for ")?.rsplit_once(" with ")?;
        Some(by.to_owned())
    });
    let Some(by) = good.filter(|_| verified.status.success()) else {
        let why = words.lines().next_back().unwrap_or("it has no signature").to_owned();
        return Err(SignerError::Unsigned { commit, why });
    };
    let mut files: Vec<_> = files.collect();
    files.sort();
    if let Some(file) = changed(root, &id, &files)? {
        return Err(SignerError::Changed { file, commit });
    }
    Ok(by)
}

/// The first of some files that is not the same in a commit.
fn changed(
    root: &Path,
    id: &str,
    files: &[(String, Vec<u8>)],
) -> Result<Option<String>, SignerError> {
    // git takes a line each.
    let odd = files.iter().find(|(name, _)| name.contains('\n'));
    if let Some((name, _)) = odd {
        return Ok(Some(name.clone()));
    }
    let mut child = git(root, &["cat-file", "--batch"]).stdin(Stdio::piped()).spawn()?;
    let asks: String = files.iter().map(|(name, _)| format!("{id}:./{name}\n")).collect();
    let mut stdin = child.stdin.take();
    // It answers while it is asked.
    let asking = std::thread::spawn(move || match &mut stdin {
        Some(stdin) => stdin.write_all(asks.as_bytes()),
        None => Ok(()),
    });
    let output = child.wait_with_output()?;
    let _ = asking.join();
    let mut rest = output.stdout.as_slice();
    for (name, bytes) in files {
        // `ID blob SIZE`, the bytes, and a line's end; or `NAME missing`.
        let head = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(head).into_owned();
        rest = rest.get(head.len() + 1..).unwrap_or_default();
        let size = line.rsplit_once(" blob ").and_then(|(_, size)| size.parse::<usize>().ok());
        let same = size == Some(bytes.len()) && rest.starts_with(bytes);
        if !same {
            return Ok(Some(name.clone()));
        }
        rest = rest.get(bytes.len() + 1..).unwrap_or_default();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A repository with a text, and the keys of two people beside it.
    struct Made {
        folder: tempfile::TempDir,
    }

    impl Made {
        fn new() -> Self {
            let made = Self { folder: tempfile::tempdir().expect("a folder") };
            made.run(
                "ssh-keygen -q -t ed25519 -N '' -C ana -f ana && ssh-keygen -q -t ed25519 -N '' -C eve -f eve &&
                 printf 'ana@shop.test namespaces=\"git\" %s\\n' \"$(cat ana.pub)\" >allowed &&
                 mkdir shop && cd shop && git init -q -b main && git config user.name Ana &&
                 git config user.email ana@shop.test && git config gpg.format ssh &&
                 git config gpg.ssh.allowedSignersFile ../allowed && mkdir sub &&
                 printf 'service web {}\\n' >web.berth && printf 'pub let a = 1\\n' >sub/more.berth && git add . ",
            );
            made
        }

        fn run(&self, script: &str) {
            let mut shell = Command::new("sh");
            shell.current_dir(&self.folder).env("GIT_CONFIG_GLOBAL", "/dev/null");
            let output = shell.args(["-ec", script]).output().expect("sh");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }

        fn judged(&self, files: &[(&str, &str)]) -> Result<String, SignerError> {
            let files =
                files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
            signer(&self.folder.path().join("shop"), files)
        }
    }

    const TEXT: [(&str, &str); 2] =
        [("web.berth", "service web {}\n"), ("sub/more.berth", "pub let a = 1\n")];

    fn refused(found: Result<String, SignerError>, word: &str) {
        let why = found.expect_err(word).to_string();
        assert!(why.contains(word), "{why}");
    }

    #[test]
    fn only_what_an_allowed_signer_committed_passes() {
        let made = Made::new();
        refused(made.judged(&TEXT), "in no git repository with a commit");
        made.run("cd shop && git commit -q -m first");
        refused(made.judged(&TEXT), "it has no signature");
        made.run("cd shop && git -c user.signingKey=../eve commit -q --amend -S -m first");
        refused(made.judged(&TEXT), "is not signed by an allowed signer: ");
        made.run("cd shop && git -c user.signingKey=../ana commit -q --amend -S -m first");
        assert_eq!(made.judged(&TEXT).expect("signed"), "ana@shop.test");
        made.run("cd shop && git config gpg.ssh.allowedSignersFile ''");
        refused(made.judged(&TEXT), "git knows no allowed signers here");
    }

    #[test]
    fn what_is_not_in_the_commit_is_named() {
        let made = Made::new();
        made.run("cd shop && git -c user.signingKey=../ana commit -q -S -m first");
        let with = |name: &'static str, text: &'static str| {
            let mut files = TEXT.to_vec();
            files.push((name, text));
            made.judged(&files)
        };
        refused(with("new.berth", "service eve {}\n"), "`new.berth` is not as commit");
        refused(with("sub/a b.berth", ""), "`sub/a b.berth`");
        refused(with("a\nb.berth", ""), "b.berth`");
        refused(with("web.berth", "service eve {}\n"), "`web.berth`");
        refused(with("sub", "pub let a = 1\n"), "`sub`");
        refused(made.judged(&[("web.berth", "service web {}")]), "`web.berth`");
        refused(made.judged(&[("web.berth", "service web {}\n\n")]), "`web.berth`");
        assert!(made.judged(&TEXT[1..]).is_ok(), "what the text does not have is not asked for");
    }

    #[test]
    fn a_folder_does_not_bring_its_own_keys() {
        let made = Made::new();
        made.run(
            "cp allowed shop/keys && cd shop && git add keys && git config gpg.ssh.allowedSignersFile keys &&
             git -c user.signingKey=../ana commit -q -S -m first",
        );
        refused(made.judged(&TEXT), "is part of what it should judge");
        made.run("cd shop && ln -s ../shop/keys ../outside && git config gpg.ssh.allowedSignersFile ../outside");
        refused(made.judged(&TEXT), "is part of what it should judge");
        made.run("cd shop/sub && printf 'service web {}\\n' >inner.berth && git config gpg.ssh.allowedSignersFile ../allowed &&
             git add . && git -c user.signingKey=\"$(realpath ../../ana)\" commit -q -S -m second");
        let inner = [("inner.berth".to_owned(), b"service web {}\n".to_vec())];
        let by = signer(&made.folder.path().join("shop/sub"), inner.into_iter());
        assert_eq!(by.expect("relative to the top"), "ana@shop.test");
        made.run("cd shop && mv keys .git/keys && git config gpg.ssh.allowedSignersFile .git/keys");
        assert!(made.judged(&TEXT).is_ok(), "git's own folder is not in any commit");
    }
}
