//! Any bytes, as text: nothing panics, and a text that came to be by edits means what it means at once.
#![no_main]

use berth_fuzz::{compile, said, sound};
use berth_lang::{CompileRequest, Workspace};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let request = CompileRequest::default();
    let whole = compile(&text, &request);
    sound(&text, &whole);
    // The same text by way of its first half, and as data of each form.
    let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let mut workspace = Workspace::new();
    workspace.set_file("main.berth", &text[..half]);
    workspace.snapshot().compile(&request);
    workspace.set_file("main.berth", &*text);
    assert_eq!(said(&workspace.snapshot().compile(&request)), said(&whole));
    // One form of data each, chosen by what the text is.
    let names = ["data.json", "data.toml", "data.yaml", "data.txt"];
    if let Some(name) = names.get(text.len() % names.len()) {
        let mut workspace = Workspace::new();
        workspace.set_file(name, &*text);
        workspace.set_file("main.berth", format!("use \"./{name}\" as d: {{Str: [Int]}}\nlet x = d"));
        workspace.snapshot().compile(&request);
    }
});
