//! `berth secret`: what the text's secrets hold, kept encrypted beside it.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use berth_lang::Program;
use zeroize::Zeroizing;

use super::Ended;
use crate::exit::Exit;
use crate::project::{self, Compiled};
use crate::secrets::{self, Keys, Place, Recipient, Store, StoreError, own_recipient};
use crate::table::{self, Cell, Tone};
use crate::{Global, paint};

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The secrets that the text names, and where they are kept
    Ls,
    /// Say what a secret holds; it is asked for, or comes on standard input, without the line's end
    Set {
        /// The secret, as the text names it
        name: String,
        /// Take it from this file, every byte of it
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// What it held before may not come back, by no revert and no rollback: it has leaked
        #[arg(long)]
        revoke: bool,
    },
    /// Print what a secret holds
    Get {
        /// The secret, as the text names it
        name: String,
    },
    /// Forget what a secret holds
    Rm {
        /// The secret, as the text names it
        name: String,
        /// What it held may not come back, by no revert and no rollback: it has leaked
        #[arg(long)]
        revoke: bool,
    },
    /// Let somebody read the secrets: `age1…`, or the line of an SSH public key
    Allow {
        /// Whom; nobody lists who may
        #[arg(value_name = "RECIPIENT")]
        who: Vec<String>,
        /// Only this file of secrets
        #[arg(long, value_name = "FILE")]
        file: Option<String>,
    },
    /// Encrypt the secrets for somebody no more; what they could read they may have kept, so set it anew
    Deny {
        /// Whom, or a part of their line that nobody else has
        #[arg(value_name = "RECIPIENT")]
        who: String,
        /// Only this file of secrets
        #[arg(long, value_name = "FILE")]
        file: Option<String>,
    },
    /// Show your public key, as others write it to let you read
    Key {
        /// Make a key, in ~/.config/berth/secret.key
        #[arg(long)]
        new: bool,
    },
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Args) -> Ended {
    if let What::Key { new } = &args.what {
        return key(*new);
    }
    let root = project::find(global)?;
    let Compiled { program, snapshot: _ } = project::compile(global)?;
    match &args.what {
        What::Ls => list(&root, &program),
        What::Set { name, from, revoke } => set(&root, &program, name, (from.as_ref(), *revoke)),
        What::Get { name } => get(&root, &program, name),
        What::Rm { name, revoke } => {
            let (path, key) = kept(&program, name)?;
            let mut store = Store::read(&root, &path)?;
            if *revoke && store.revoke(&key) {
                hint!("{REVOKED}");
            }
            if !store.remove(&key) {
                return Err(format!("{path} has no `{key}`").into());
            }
            store.write(&root, &path)?;
            say!("{path} has no `{key}` any more; it is in git's history still");
            Ok(Exit::Done)
        }
        What::Allow { who, file } => allow(&root, &program, who, file.as_deref()),
        What::Deny { who, file } => deny(&root, &program, who, file.as_deref()),
        What::Key { .. } => Ok(Exit::Done),
    }
}

fn key(new: bool) -> Ended {
    if new {
        let (path, public) = secrets::new_key()?;
        hint!("made {}; nobody can open what is encrypted for it without it", path.display());
        say!("{public}");
        return Ok(Exit::Done);
    }
    let public = own_recipient().ok_or(
        "you have no key yet: `berth secret key --new` makes one, or `ssh-keygen -t ed25519` does",
    )?;
    say!("{public}");
    Ok(Exit::Done)
}

fn declared<'a>(
    program: &'a Program,
    name: &str,
) -> Result<&'a berth_lang::Secret, Box<dyn std::error::Error>> {
    program.secrets.iter().find(|secret| secret.name == name).ok_or_else(|| {
        format!(
            "the text names no secret `{name}`: write `secret {name} = age(\"secrets.toml\", key: \"{name}\")` first"
        )
        .into()
    })
}

/// The file and the key that a secret is kept under.
fn kept(program: &Program, name: &str) -> Result<(String, String), Box<dyn std::error::Error>> {
    match secrets::place(declared(program, name)?) {
        Place::Store { path, key } => Ok((path, key)),
        Place::File { path } => Err(format!(
            "{path} is a file that age encrypts as a whole: `age -e -R RECIPIENTS -o {path}` writes it. \
             For `berth secret` to keep `{name}`, give the text a key: `age(\"secrets.toml\", key: \"{name}\")`"
        )
        .into()),
        Place::Sops { path, .. } => {
            Err(format!("{path} is a file of sops, which Berth reads and does not write: `sops {path}`").into())
        }
    }
}

fn list(root: &std::path::Path, program: &Program) -> Ended {
    if program.secrets.is_empty() {
        say!("the text names no secrets");
        return Ok(Exit::Done);
    }
    let mut mistakes = Vec::new();
    let vault = secrets::vault(root, program, &mut mistakes);
    let mut rows = Vec::new();
    for secret in &program.secrets {
        let place = match secrets::place(secret) {
            Place::Store { path, key } if key == secret.name => path,
            Place::Store { path, key } => format!("{path}, as {key}"),
            Place::File { path } => path,
            Place::Sops { path, key } => format!("{path}, of sops, as {key}"),
        };
        let print = vault.get(&secret.name).and_then(|sealed| sealed.fingerprint.get(..8));
        let print = match print {
            Some(print) => Cell::from(print),
            None => Cell::toned("not set", Tone::Notice),
        };
        rows.push(vec![Cell::from(&*secret.name), print, Cell::from(place)]);
    }
    table::render(&["SECRET", "FINGERPRINT", "KEPT IN"], &rows).iter().for_each(|l| say!("{l}"));
    Ok(if mistakes.is_empty() { Exit::Done } else { Exit::Mistake })
}

/// What is said of a secret that was revoked.
const REVOKED: &str = "what it held before may not come back once this is applied: plans that would bring it are refused";

fn set(
    root: &std::path::Path,
    program: &Program,
    name: &str,
    (from, revoke): (Option<&PathBuf>, bool),
) -> Ended {
    let (path, key) = kept(program, name)?;
    let mut store = match Store::read(root, &path) {
        Ok(store) => store,
        Err(StoreError::None(_)) => {
            let own = own_recipient().ok_or(
                "there is nobody to encrypt it for: `berth secret key --new` makes a key for you",
            )?;
            hint!("{path} is new, and for you alone: {own}; `berth secret allow` lets others read");
            Store::new(vec![own])
        }
        Err(error) => return Err(error.into()),
    };
    let held = match from {
        Some(file) => read(file)?,
        None => ask(name)?,
    };
    if held.is_empty() {
        return Err(format!("nothing was said, and `{name}` was not changed").into());
    }
    if held.len() > secrets::MOST_BYTES {
        return Err(format!("a secret has at most {} bytes", secrets::MOST_BYTES).into());
    }
    let revoked = revoke && store.revoke(&key);
    if !store.set(&key, &held, &Keys::find())? {
        if revoke {
            return Err(format!(
                "`{name}` holds that already, so it cannot be revoked: say another"
            )
            .into());
        }
        say!("`{name}` held that already");
        return Ok(Exit::Done);
    }
    if revoked {
        hint!("{REVOKED}");
    }
    store.write(root, &path)?;
    say!("{} `{name}` is in {path}; the next apply brings it to who uses it", paint::good("set:"));
    Ok(Exit::Done)
}

fn read(file: &PathBuf) -> Result<Zeroizing<String>, Box<dyn std::error::Error>> {
    let shown = file.display();
    let bytes = std::fs::read(file).map_err(|error| format!("{shown}: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown}: this is not UTF-8 text"))?;
    Ok(Zeroizing::new(text))
}

/// Asks for it on the terminal, twice; or reads standard input.
fn ask(name: &str) -> Result<Zeroizing<String>, Box<dyn std::error::Error>> {
    if std::io::stdin().is_terminal() {
        let once = Zeroizing::new(rpassword::prompt_password(format!("{name}: "))?);
        let again = Zeroizing::new(rpassword::prompt_password("once more: ")?);
        if *once != *again {
            return Err("the two are not the same; nothing was changed".into());
        }
        return Ok(once);
    }
    let mut text = Zeroizing::new(String::with_capacity(2 * secrets::MOST_BYTES));
    let most = secrets::MOST_BYTES as u64 + 2;
    std::io::stdin().lock().take(most).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').map_or(text.len(), str::len);
    text.truncate(line);
    Ok(text)
}

fn get(root: &std::path::Path, program: &Program, name: &str) -> Ended {
    declared(program, name)?;
    let mut mistakes = Vec::new();
    let vault = secrets::vault(root, program, &mut mistakes);
    let Some(sealed) = vault.get(name) else {
        let mistake = mistakes.iter().find(|one| one.message.contains(&format!("`{name}`")));
        return Err(mistake.map_or("it is not set", |one| &one.message).into());
    };
    let held = Keys::find().open(sealed).map_err(|why| format!("`{name}` stays closed: {why}"))?;
    put!("{}", *held);
    if std::io::stdout().is_terminal() {
        say!("");
    }
    Ok(Exit::Done)
}

/// The files of secrets that a command is about, as they are.
fn stores(
    root: &std::path::Path,
    program: &Program,
    only: Option<&str>,
) -> Result<Vec<(String, Store)>, Box<dyn std::error::Error>> {
    let places = program.secrets.iter().map(secrets::place);
    let files = places.filter_map(|place| match place {
        Place::Store { path, .. } => Some(path),
        Place::File { .. } | Place::Sops { .. } => None,
    });
    let mut files: Vec<String> = match only {
        Some(only) => vec![only.to_owned()],
        None => files.collect(),
    };
    files.sort();
    files.dedup();
    if files.is_empty() {
        return Err("the text names no file of Berth's secrets".into());
    }
    let read = |path: String| Ok((path.clone(), Store::read(root, &path)?));
    files.into_iter().map(read).collect()
}

fn allow(root: &std::path::Path, program: &Program, who: &[String], only: Option<&str>) -> Ended {
    let mut all = stores(root, program, only)?;
    if who.is_empty() {
        for (path, store) in &all {
            say!("{path}: {}", counted(store));
            store.recipients.iter().for_each(|one| say!("  {one}"));
        }
        return Ok(Exit::Done);
    }
    for one in who {
        Recipient::parse(one)?;
    }
    let keys = Keys::find();
    for (path, store) in &mut all {
        for one in who.iter().map(|one| one.trim().to_owned()) {
            if !store.recipients.contains(&one) {
                store.recipients.push(one);
            }
        }
        store.recipients.sort();
        store.share(&keys).map_err(|why| format!("{path} was not changed: {why}"))?;
    }
    for (path, store) in &all {
        store.write(root, path)?;
        say!("{path}: {}, for {}", counted(store), people(store.recipients.len()));
    }
    Ok(Exit::Done)
}

fn deny(root: &std::path::Path, program: &Program, who: &str, only: Option<&str>) -> Ended {
    let mut all = stores(root, program, only)?;
    let keys = Keys::find();
    let mut found = false;
    for (path, store) in &mut all {
        let these: Vec<String> =
            store.recipients.iter().filter(|one| one.contains(who)).cloned().collect();
        match &these[..] {
            [] => continue,
            [_] if store.recipients.len() == 1 => {
                return Err(
                    format!("{path} would be for nobody; let somebody else read first").into()
                );
            }
            [one] => store.recipients.retain(|other| other != one),
            _ => {
                return Err(
                    format!("`{who}` is several who may read {path}; write more of it").into()
                );
            }
        }
        found = true;
        store.share(&keys).map_err(|why| format!("{path} was not changed: {why}"))?;
    }
    if !found {
        return Err(
            format!("nobody who may read is `{who}`; `berth secret allow` lists them").into()
        );
    }
    for (path, store) in &all {
        store.write(root, path)?;
        say!("{path}: {}, for {}", counted(store), people(store.recipients.len()));
    }
    hint!("what they could read they may have kept: `berth secret set` each of these anew");
    Ok(Exit::Done)
}

fn counted(store: &Store) -> String {
    match store.keys().count() {
        1 => "1 secret".to_owned(),
        count => format!("{count} secrets"),
    }
}

fn people(count: usize) -> String {
    if count == 1 { "1 key".to_owned() } else { format!("{count} keys") }
}
