//! `berth secret` with the real binary: what it keeps can be opened by who may, by nobody else, and not once it was changed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const TEXT: &str = r#"project shop {}
node n1 { host: "192.0.2.11" }
secret db = age("secrets.toml", key: "db")
secret tls = age("secrets.toml", key: "tls")
"#;

struct Said {
    code: i32,
    out: String,
    error: String,
}

/// Runs berth in a folder, with the keys of somebody.
fn berth(folder: &Path, who: &str, words: &[&str], input: &[u8]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(words)
        .current_dir(folder.join("shop"))
        .env("NO_COLOR", "1")
        .env("HOME", folder.join(who))
        .env("XDG_CONFIG_HOME", folder.join(who))
        .env_remove("BERTH_SECRET_KEY")
        .env_remove("BERTH_SECRET_KEY_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // It may end before it has read all.
    let _ = child.stdin.take().expect("its input").write_all(input);
    let output = child.wait_with_output().expect("an end");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("no signal");
    Said { code, out: text(output.stdout), error: text(output.stderr) }
}

/// Runs it as Ana, and it goes well.
fn well(folder: &Path, words: &[&str], input: &str) -> String {
    let said = berth(folder, "ana", words, input.as_bytes());
    assert_eq!(said.code, 0, "{words:?}: {}", said.error);
    said.out
}

/// Runs it, and it says why not.
fn not(folder: &Path, who: &str, words: &[&str], why: &str) {
    let said = berth(folder, who, words, b"something");
    assert_eq!(said.code, 1, "{words:?}: {}", said.out);
    assert!(said.error.contains(why), "{words:?}: {}", said.error);
    assert!(!said.error.contains("hush"), "{}", said.error);
}

/// A project whose secret is set, and its file of secrets.
fn project() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["shop", "ana", "ben"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    write(folder.path(), "shop.berth", TEXT);
    well(folder.path(), &["secret", "key", "--new"], "");
    well(folder.path(), &["secret", "set", "db"], "hush\n");
    let kept = read(folder.path());
    (folder, kept)
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join("shop").join(name), text).expect("written");
}

fn read(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("shop/secrets.toml")).expect("it is there")
}

/// The line of a file of secrets that begins so.
fn line<'a>(kept: &'a str, begins: &str) -> &'a str {
    kept.lines().find(|line| line.starts_with(begins)).expect("such a line")
}

#[test]
fn what_is_set_is_had_again() {
    let (folder, kept) = project();
    let folder = folder.path();
    assert!(!kept.contains("hush") && kept.contains("age1"), "{kept}");
    assert_eq!(well(folder, &["secret", "get", "db"], ""), "hush");
    // The same again changes nothing; another one changes its fingerprint.
    well(folder, &["secret", "set", "db"], "hush");
    assert_eq!(read(folder), kept);
    well(folder, &["secret", "set", "db"], "hush two\n\n");
    assert_ne!(line(&read(folder), "fingerprint"), line(&kept, "fingerprint"));
    assert_eq!(well(folder, &["secret", "get", "db"], ""), "hush two\n");
    write(folder, "key.pem", "-----BEGIN\nhush\n-----END\n");
    well(folder, &["secret", "set", "tls", "--from", "key.pem"], "");
    assert_eq!(well(folder, &["secret", "get", "tls"], ""), "-----BEGIN\nhush\n-----END\n");
    well(folder, &["check"], "");
    well(folder, &["secret", "rm", "tls"], "");
    not(folder, "ana", &["check"], "`berth secret set tls`");
}

#[test]
fn it_is_for_whom_it_is_for() {
    let (folder, kept) = project();
    let folder = folder.path();
    not(folder, "ben", &["secret", "get", "db"], "there is no key");
    let ben = berth(folder, "ben", &["secret", "key", "--new"], b"").out;
    not(folder, "ben", &["secret", "get", "db"], "not for any of your keys");
    not(folder, "ben", &["secret", "allow", ben.trim()], "cannot be opened");
    assert_eq!(read(folder), kept);
    // Who cannot read it may set another one.
    assert_eq!(berth(folder, "ben", &["secret", "set", "tls"], b"hush").code, 0);
    let kept = read(folder);
    well(folder, &["secret", "allow", ben.trim()], "");
    assert_eq!(berth(folder, "ben", &["secret", "get", "db"], b"").out, "hush");
    assert_eq!(line(&read(folder), "fingerprint"), line(&kept, "fingerprint"));
    well(folder, &["secret", "deny", ben.trim()], "");
    not(folder, "ben", &["secret", "get", "db"], "not for any of your keys");
    not(folder, "ana", &["secret", "deny", "age1"], "would be for nobody");
    not(folder, "ana", &["secret", "allow", "ben"], "is nobody that secrets can be encrypted for");
}

#[test]
fn what_was_changed_is_not_believed() {
    let (folder, kept) = project();
    let folder = folder.path();
    let sealed = line(&kept, "sealed").split('"').nth(1).expect("a text");
    // Every byte of what is encrypted, with one bit flipped.
    for at in (0..sealed.len()).step_by(7) {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("text");
        write(folder, "secrets.toml", &kept.replace(sealed, &changed));
        let said = berth(folder, "ana", &["secret", "get", "db"], b"");
        assert_ne!(said.code, 0, "at {at}: {}", said.out);
    }
    let print = line(&kept, "fingerprint").split('"').nth(1).expect("a fingerprint");
    write(folder, "secrets.toml", &kept.replace(print, &"0".repeat(32)));
    not(folder, "ana", &["secret", "get", "db"], "not what its fingerprint says");
    write(folder, "secrets.toml", &format!("<<<<<<< ours\n{kept}"));
    not(folder, "ana", &["check"], "settle a merge's conflict");
    write(folder, "secrets.toml", &kept.replace("version = 1", "version = 9"));
    not(folder, "ana", &["check"], "version 9");
    std::fs::write(folder.join("shop/secrets.toml"), [0xff; 64]).expect("written");
    not(folder, "ana", &["check"], "cannot be used");
}

#[test]
fn nothing_outside_the_project_is_read() {
    let (folder, _) = project();
    let folder = folder.path();
    std::fs::copy(folder.join("shop/secrets.toml"), folder.join("out.toml")).expect("copied");
    std::os::unix::fs::symlink("../out.toml", folder.join("shop/link.toml")).expect("a link");
    for path in ["../out.toml", "/etc/passwd", "link.toml", ""] {
        let text = TEXT.replace("secrets.toml", path);
        write(folder, "shop.berth", &text);
        not(folder, "ana", &["check"], "is not in the project's folder");
        not(folder, "ana", &["secret", "set", "db"], "is not in the project's folder");
    }
    write(folder, "shop.berth", &TEXT.replace("secrets.toml", "/dev/zero"));
    not(folder, "ana", &["check"], "is not in the project's folder");
}

#[test]
fn what_has_leaked_is_revoked() {
    let (folder, kept) = project();
    let folder = folder.path();
    let print = line(&kept, "fingerprint").split('"').nth(1).expect("a fingerprint");
    let said = berth(folder, "ana", &["secret", "set", "db", "--revoke"], b"hush");
    assert!(said.code == 1 && said.error.contains("say another"), "{}", said.error);
    assert_eq!(read(folder), kept);
    well(folder, &["secret", "set", "db", "--revoke"], "hush two");
    let kept = read(folder);
    assert!(kept.contains(&format!("revoked = [\"{print}\"]")), "{kept}");
    well(folder, &["secret", "set", "db"], "hush");
    assert!(!read(folder).contains(&format!("fingerprint = \"{print}\"")), "{kept}");
    well(folder, &["secret", "rm", "db", "--revoke"], "");
    let kept = read(folder);
    assert!(kept.contains(print) && !kept.contains("fingerprint"), "{kept}");
}
