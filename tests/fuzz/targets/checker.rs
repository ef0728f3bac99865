//! Sentences of every kind of item: checking neither panics nor says different things of one text.
#![no_main]

use berth_fuzz::{Sentence, compile, said, sound};
use berth_lang::CompileRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = Sentence::new(bytes).project();
    let request = CompileRequest { environment: Some("a".into()), ..CompileRequest::default() };
    let compiled = compile(&text, &request);
    sound(&text, &compiled);
    assert_eq!(said(&compile(&text, &request)), said(&compiled));
});
