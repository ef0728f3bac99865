//! Laying out changes nothing but white space and commas, whatever the text: the compiled program and
//! the mistakes stay, every comment stays, and a second time changes nothing.

use berth_lang::{CompileRequest, Workspace};
use berth_tests::cases::{Part, parts};
use proptest::prelude::*;
use std::path::Path;

/// What a text means: the program's digest, or its mistakes.
fn meaning(text: &str) -> Result<[u8; 32], Vec<(&'static str, String)>> {
    let mut workspace = Workspace::new();
    workspace.set_file("a.berth", text);
    let compiled = workspace.snapshot().compile(&CompileRequest::default());
    compiled.program.map(|program| program.digest()).ok_or_else(|| {
        let mut found: Vec<_> =
            compiled.diagnostics.into_iter().map(|d| (d.code, d.message)).collect();
        found.sort();
        found
    })
}

fn comments(text: &str) -> usize {
    text.matches("#!").count()
}

fn hold(text: &str) {
    let once = berth_lang::format(text).text;
    let twice = berth_lang::format(&once).text;
    assert_eq!(twice, once, "laying out twice changes something; the text:\n{text}");
    assert_eq!(meaning(&once), meaning(text), "the meaning changed:\n{text}\nto:\n{once}");
    assert_eq!(comments(&once), comments(text), "a comment was lost:\n{text}\nto:\n{once}");
    assert!(!once.contains("\n\n\n") || text.contains("\n\n\n"), "{once}");
}

/// Every `berth` fence of the cases and of the pages of the codes, and the standard library.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![
        std::fs::read_to_string(root.join("../stdlib/prelude.berth")).expect("the prelude"),
        std::fs::read_to_string(root.join("../examples/shop/web.berth")).expect("an example"),
    ];
    for folder in ["cases/lang", "cases/fmt", "../lang/explain"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder") {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
            for part in parts(&text) {
                let Part::Fence(fence) = part else { continue };
                if fence.info.starts_with("berth") {
                    texts.push(fence.body);
                }
            }
        }
    }
    assert!(texts.len() > 60, "the corpus is there");
    texts
}

#[test]
fn the_corpus_keeps_its_meaning() {
    for text in corpus() {
        hold(&text);
    }
}

#[test]
fn what_ships_is_in_the_style() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for path in ["examples/shop/web.berth", "examples/shop/fleet.berth"] {
        let text = std::fs::read_to_string(root.join(path)).expect("a file");
        assert_eq!(berth_lang::format(&text).text, text, "{path}");
    }
}

#[test]
fn no_prefix_loses_anything() {
    for text in corpus() {
        for end in (0..text.len()).step_by(7).filter(|&end| text.is_char_boundary(end)) {
            let once = berth_lang::format(&text[..end]).text;
            assert_eq!(berth_lang::format(&once).text, once, "{}", &text[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Other white space and more comments between the tokens of texts that are right: the same layout rules hold.
    #[test]
    fn white_space_and_comments_move_freely(pick in any::<prop::sample::Index>(), seeds in prop::collection::vec(0u8..8, 64)) {
        let corpus = corpus();
        let text = pick.get(&corpus);
        let mut out = String::new();
        let mut quoted = false;
        for (index, c) in text.chars().enumerate() {
            quoted ^= c == '"';
            match (c, seeds[index % seeds.len()]) {
                ('\n', 0) if !quoted => out.push_str(" #! more\n"),
                ('\n', 1) if !quoted => out.push_str("\n\n\n    "),
                ('\n', 2) if !quoted => out.push_str("\n  #! own\n"),
                (' ', 3) if !quoted => out.push_str("   "),
                (c, _) => out.push(c),
            }
        }
        hold(&out);
    }

    /// A damaged text.
    #[test]
    fn damage_is_laid_out_too(pick in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in 1u8..0x7F) {
        let corpus = corpus();
        let text = pick.get(&corpus);
        let mut bytes = text.clone().into_bytes();
        if bytes.is_empty() { return Ok(()); }
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            hold(&text);
        }
    }

    /// Any text at all.
    #[test]
    fn any_text_is_taken(text in "[\\PC\n\"{}()#,:]{0,200}") {
        hold(&text);
    }
}
