//! Files that mean harm: each is refused with words, or done, by a whole `berth check` in at most 256 MiB.
//!
//! `BERTH_TABLE=1` prints what each takes, with GNU time; `BERTH_BIN` names another build to measure. The
//! numbers of a release build are in `docs/benchmarks/language-limits.md`.

use nix::sys::resource::{UsageWho, getrusage};
use std::fs::File;
use std::io::{BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The most memory that a run may touch, in KiB.
const MEMORY_KIB: i64 = 256 << 10;
/// The most that a run may say, in bytes: nobody reads more.
const WORDS: usize = 256 << 10;
/// No test of speed: only the end of a run that would not end.
const PATIENCE: Duration = Duration::from_secs(120);

const HEAD: &str = "project shop { keeper: n1 }\nnode n1 { host: \"192.0.2.11\" }\n";

/// What a project of one file says after its first two items.
type Text = fn(&mut dyn Write) -> std::io::Result<()>;

/// A project, and what is said of it; `no mistakes` where it is done.
struct Case {
    name: &'static str,
    says: &'static str,
    text: Text,
    /// Another file beside it.
    data: Option<(&'static str, Text)>,
}

fn case(name: &'static str, says: &'static str, text: Text) -> Case {
    Case { name, says, text, data: None }
}

fn data(name: &'static str, says: &'static str, file: &'static str, text: Text) -> Case {
    fn uses(out: &mut dyn Write, file: &str) -> std::io::Result<()> {
        writeln!(out, "use \"./{file}\" as a: {{Str: Int}}")
    }
    let main: Text = match file {
        "a.json" => |out| uses(out, "a.json"),
        "a.toml" => |out| uses(out, "a.toml"),
        _ => |out| uses(out, "a.yaml"),
    };
    Case { name, says, text: main, data: Some((file, text)) }
}

/// Writes a text so many times, without holding it.
fn many(out: &mut dyn Write, text: &str, times: usize) -> std::io::Result<()> {
    (0..times).try_for_each(|_| out.write_all(text.as_bytes()))
}

/// Writes `open` so many times, then `middle`, then `close` as often.
fn nested(
    out: &mut dyn Write,
    open: &str,
    middle: &str,
    close: &str,
    times: usize,
) -> std::io::Result<()> {
    out.write_all(b"let a = ")?;
    many(out, open, times)?;
    out.write_all(middle.as_bytes())?;
    many(out, close, times)?;
    out.write_all(b"\n")
}

/// Writes a first item, and sixty that say each the one before it twice.
fn doubling(
    out: &mut dyn Write,
    first: &str,
    next: fn(&mut dyn Write, usize) -> std::io::Result<()>,
) -> std::io::Result<()> {
    writeln!(out, "{first}")?;
    (1..=60).try_for_each(|index| next(out, index))
}

const DEEP: usize = 10_000;
const TOO_DEEP: &str = "nested more than 96 deep";
const WORK: &str = "too much work to evaluate";

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    vec![
        case("10,000 `[`", TOO_DEEP, |out| nested(out, "[", "", "]", DEEP)),
        case("10,000 `(`", TOO_DEEP, |out| nested(out, "(", "1", ")", DEEP)),
        case("10,000 `{ a:`", TOO_DEEP, |out| nested(out, "{ a: ", "1", " }", DEEP)),
        case("10,000 `f(`", TOO_DEEP, |out| nested(out, "f(", "1", ")", DEEP)),
        case("10,000 `[` that nothing closes", TOO_DEEP, |out| nested(out, "[", "", "", DEEP)),
        case("10,000 `\"${`", TOO_DEEP, |out| nested(out, "\"${", "1", "}\"", DEEP)),
        case("10,000 `if`", TOO_DEEP, |out| nested(out, "if true then ", "1", " else 2", DEEP)),
        case("10,000 `let … in`", TOO_DEEP, |out| nested(out, "let x = 1 in ", "1", "", DEEP)),
        case("10,000 `not`", "a chain of more than 256", |out| {
            nested(out, "not ", "true", "", DEEP)
        }),
        case("10,000 `-`", "a chain of more than 256", |out| nested(out, "- ", "1", "", DEEP)),
        case("3,000,000 `+ 1`", "more than 250000 words", |out| {
            nested(out, "1 + ", "1", "", 3_000_000)
        }),
        case("100,000 `.a`", "a chain of more than 256", |out| {
            nested(out, "", "n1", ".a", 100_000)
        }),
        case("10,000 `?` after a type", "expected the end of the item", |out| {
            out.write_all(b"type A = Int")?;
            many(out, "?", DEEP)
        }),
        case("lists that double", WORK, |out| {
            doubling(out, "let a0 = [1]", |out, i| writeln!(out, "let a{i} = a{0} + a{0}", i - 1))
        }),
        case("texts that double", WORK, |out| {
            doubling(out, "let a0 = \"x\"", |out, i| {
                writeln!(out, "let a{i} = \"${{a{0}}}${{a{0}}}\"", i - 1)
            })
        }),
        case("records that double", "too large to infer", |out| {
            doubling(out, "let a0 = { l: 1 }", |out, i| {
                writeln!(out, "let a{i} = {{ l: a{0}, r: a{0} }}", i - 1)
            })
        }),
        case("calls that double", WORK, |out| {
            doubling(out, "fn f0(n: Int) -> Int = n", |out, i| {
                writeln!(out, "fn f{i}(n: Int) -> Int = f{0}(n) + f{0}(n)", i - 1)
            })?;
            out.write_all(b"let a = f60(1)\n")
        }),
        case("types that double, with defaults", WORK, |out| {
            doubling(out, "type A0 = { x: Int = 1 }", |out, i| {
                writeln!(out, "type A{i} = {{ l: A{0} = {{}}, r: A{0} = {{}} }}", i - 1)
            })?;
            out.write_all(b"let a: A60 = {}\nlet b = a == a\n")
        }),
        case("100,000 types on each other", "more than 32 types stand on each other", |out| {
            out.write_all(b"type A0 = Int\n")?;
            (1..100_000).try_for_each(|i| writeln!(out, "type A{i} = A{}", i - 1))
        }),
        case("5,000 records in each other's types", "no mistakes", |out| {
            out.write_all(b"type A0 = { x: Int? }\n")?;
            (1..5_000).try_for_each(|i| writeln!(out, "type A{i} = {{ a: A{}? }}", i - 1))?;
            out.write_all(b"let a: A4999 = {}\nlet b = a == a\n")
        }),
        case("a range of a billion", WORK, |out| {
            out.write_all(b"let a = [i for i in 1..=1000000000]\n")
        }),
        case("a billion nodes", WORK, |out| {
            out.write_all(b"node m[i] for i in 1..=1000000000 { host: \"10.0.0.1\" }\n")
        }),
        case("a pattern that tries everything", "it repeats too much", |out| {
            out.write_all(b"let a = matches(\"")?;
            many(out, "a", 5_000)?;
            out.write_all(b"\", '(a?){1000}a{1000}')\n")
        }),
        case("a pattern of 10,000 groups", "its groups nest too deep", |out| {
            out.write_all(b"let a = matches(\"a\", '")?;
            many(out, "(", DEEP)?;
            out.write_all(b"a")?;
            many(out, ")", DEEP)?;
            out.write_all(b"')\n")
        }),
        case("a text of 100 MB", "more than 64 MiB of text", |out| {
            nested(out, "\"", "", "", 1)?;
            many(out, "xxxxxxxxxx", 10_000_000)
        }),
        case("a text of 15 MB", "no mistakes", |out| {
            out.write_all(b"let a = \"")?;
            many(out, "xxxxxxxxxx", 1_500_000)?;
            out.write_all(b"\"\n")
        }),
        case("a line of 15 MB of nothing", "expected the end of the item", |out| {
            many(out, "xxxxxxxxxx", 1_500_000)
        }),
        case("a comment of 15 MB", "no mistakes", |out| {
            out.write_all(b"# ")?;
            many(out, "xxxxxxxxxx", 1_500_000)
        }),
        case("bad UTF-8", "this is not UTF-8 text", |out| out.write_all(b"let a = \"\xff\xfe\"\n")),
        case("a NUL byte", "contains a NUL byte", |out| out.write_all(b"let a = \"\0\"\n")),
        case("a mark that turns the direction", "turns the direction of writing", |out| {
            out.write_all("let a = \"\u{202e}\"\n".as_bytes())
        }),
        case("a million items", "more than 250,000 items", |out| {
            (0..1_000_000).try_for_each(|i| writeln!(out, "let a{i}=1"))
        }),
        case("a million items of one name", "more than 250,000 items", |out| {
            many(out, "let a = 1\n", 1_000_000)
        }),
        case("a million mistakes of syntax", "more than 250,000 items", |out| {
            many(out, "x y z\n", 1_000_000)
        }),
        case("100,000 wrong types", "and 99800 more", |out| {
            (0..100_000).try_for_each(|i| writeln!(out, "let a{i}: Int = \"x\""))
        }),
        case("20,000 names that are not there", "and 19800 more", |out| {
            (0..20_000).try_for_each(|i| writeln!(out, "let abcdefgh{i} = abcdefgx{i}"))
        }),
        case("5,000,000 elements", "more than 250000 words", |out| {
            nested(out, "[", "", "", 1)?;
            many(out, "1,", 5_000_000)?;
            out.write_all(b"]\n")
        }),
        case("a million fields", "more than 250000 words", |out| {
            out.write_all(b"let a = {")?;
            (0..1_000_000).try_for_each(|i| write!(out, "a{i}: 1, "))?;
            out.write_all(b"}\n")
        }),
        case("30,000 arms", "more than 256 cases", |out| {
            out.write_all(b"let a = match 1 {")?;
            (0..30_000).try_for_each(|i| write!(out, "{i} -> {i}, "))?;
            out.write_all(b"_ -> 0 }\n")
        }),
        case("100,000 cases", "more than 256 cases", |out| {
            out.write_all(b"enum E {")?;
            (0..100_000).try_for_each(|i| write!(out, "c{i}, "))?;
            out.write_all(b"}\nfn f(e: E) -> Int = match e { c1 -> 1 }\n")
        }),
        case("100,000 overlays on each other", "no mistakes", |out| {
            out.write_all(b"overlay o0 { n1.labels.zone: \"a\" }\n")?;
            (1..100_000).try_for_each(|i| {
                writeln!(out, "overlay o{i} on o{} {{ n1.labels.zone: \"a\" }}", i - 1)
            })
        }),
        case("a ring of 100,000 values", "these items need each other", |out| {
            (0..100_000).try_for_each(|i| writeln!(out, "let a{i} = a{}", (i + 1) % 100_000))
        }),
        case("a ring of 100,000 types", "these types need each other", |out| {
            (0..100_000).try_for_each(|i| writeln!(out, "type A{i} = A{}", (i + 1) % 100_000))
        }),
        case("a number of a million digits", "cannot be kept exactly", |out| {
            nested(out, "", "", "9", 1_000_000)
        }),
        data("deep JSON", "nests more than 96 deep", "a.json", |out| many(out, "[", 100_000)),
        data("deep TOML", "cannot be read", "a.toml", |out| {
            out.write_all(b"a = ")?;
            many(out, "[", 100_000)
        }),
        data("deep YAML", "cannot be read", "a.yaml", |out| many(out, "[", 100_000)),
        data("deep YAML by dashes", "nests more than 96 deep", "a.yaml", |out| {
            many(out, "- ", 100_000)
        }),
        data("anchors that double (a billion laughs)", "an alias", "a.yaml", |out| {
            doubling(out, "a0: &a0 [x, x]", |out, i| {
                writeln!(out, "a{i}: &a{i} [*a{0}, *a{0}]", i - 1)
            })
        }),
        data("2,000,000 values of JSON", "more than 250,000 values", "a.json", |out| {
            out.write_all(b"[1")?;
            many(out, ",1", 2_000_000)?;
            out.write_all(b"]")
        }),
        data("100,000 times one key", "and 99799 more", "a.json", |out| {
            out.write_all(b"{\"k\":1")?;
            many(out, ",\"k\":1", 99_999)?;
            out.write_all(b"}")
        }),
        data("100 MB of JSON", "more than 64 MiB of text", "a.json", |out| {
            many(out, "          ", 10_000_000)
        }),
        data("15 MB of YAML", "larger than 2 MiB", "a.yaml", |out| many(out, "- 1\n", 3_500_000)),
        data("15 MB of TOML", "larger than 2 MiB", "a.toml", |out| {
            (0..1_000_000).try_for_each(|i| writeln!(out, "k{i} = 1"))
        }),
    ]
}

fn write(path: PathBuf, head: &str, text: Text) {
    let mut out = BufWriter::new(File::create(path).expect("a file"));
    out.write_all(head.as_bytes()).expect("writing");
    text(&mut out).expect("writing");
    out.flush().expect("writing");
}

/// Runs `berth check`; gives what it said and its exit code.
fn check(mut command: Command, project: &Path) -> (String, Option<i32>) {
    let mut child = command
        .args(["check", "--project"])
        .arg(project)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let (sender, ended) = mpsc::channel();
    let mut said = child.stderr.take().expect("an output");
    let mut done = child.stdout.take().expect("an output");
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = said.read_to_string(&mut text).and(done.read_to_string(&mut text));
        let _ = sender.send(read.map(|_| text));
    });
    let Ok(text) = ended.recv_timeout(PATIENCE) else {
        let _ = child.kill();
        let _ = child.wait();
        return (format!("it did not end in {PATIENCE:?}"), None);
    };
    let code = child.wait().expect("it ends").code();
    (text.expect("text"), code)
}

#[test]
#[expect(clippy::print_stdout, reason = "a table, where it is asked for")]
fn hostile_files_are_refused_within_bounds() {
    let binary =
        std::env::var_os("BERTH_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_berth").into());
    let table = std::env::var_os("BERTH_TABLE").is_some();
    let mut wrong = String::new();
    for Case { name, says, text, data } in cases() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path().join("a.berth"), HEAD, text);
        if let Some((file, text)) = data {
            write(folder.path().join(file), "", text);
        }
        let measured = folder.path().join("measured");
        let command = if table {
            let mut command = Command::new("/usr/bin/time");
            command.args(["-q", "-f", "%e %M", "-o"]).arg(&measured).arg(&binary);
            command
        } else {
            Command::new(&binary)
        };
        let (said, code) = check(command, folder.path());
        if table {
            let numbers = std::fs::read_to_string(&measured).unwrap_or_default();
            let (seconds, kib) = numbers.trim().split_once(' ').unwrap_or(("?", "?"));
            let mib = kib.parse::<u32>().map_or(0, |kib| kib.div_ceil(1024));
            println!("| {name} | {says} | {seconds} s | {mib} MiB |");
        }
        let expected = if says == "no mistakes" { Some(0) } else { Some(1) };
        if code != expected || !said.contains(says) || said.len() > WORDS {
            let (length, start) = (said.len(), said.chars().take(600).collect::<String>());
            wrong.push_str(&format!("{name}: {code:?}, {length} bytes, not `{says}`:\n{start}\n"));
        }
        // The most of all children so far; this process itself stays small.
        let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage").max_rss();
        if peak > MEMORY_KIB {
            wrong.push_str(&format!("{name}: {peak} KiB\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
