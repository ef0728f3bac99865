//! Expressions in lets, services, overlays and policies: evaluating ends, and prints one JSON however it is asked.
#![no_main]

use berth_fuzz::{Sentence, compile, sound};
use berth_lang::CompileRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = Sentence::new(bytes).program();
    let request = CompileRequest { environment: Some("o".into()), ..CompileRequest::default() };
    let compiled = compile(&text, &request);
    sound(&text, &compiled);
    for resource in compiled.program.iter().flat_map(|program| &program.resources) {
        let mut streamed = String::new();
        resource.write_json(&mut streamed);
        assert_eq!(streamed, resource.value().to_json());
        assert!(resource.origins().iter().count() > 0);
    }
});
