//! Any text laid out: a second time changes nothing, and the meaning stays.
#![no_main]

use berth_fuzz::compile;
use berth_lang::CompileRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let once = berth_lang::format(&text).text;
    assert_eq!(berth_lang::format(&once).text, once, "laying out twice changes something");
    let meaning = |text: &str| {
        let compiled = compile(text, &CompileRequest::default());
        compiled.program.map(|program| program.digest()).ok_or_else(|| {
            let found = compiled.diagnostics.into_iter();
            let mut found: Vec<_> = found.map(|found| (found.code, found.message)).collect();
            found.sort();
            found
        })
    };
    assert_eq!(meaning(&once), meaning(&text), "the meaning changed");
});
