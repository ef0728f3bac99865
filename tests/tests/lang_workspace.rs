//! The workspace keeps what did not change, and a snapshot stays as it was taken.

use berth_lang::{CompileRequest, Workspace};

const FILE: &str = "service a { image: \"x:1\" }\nservice b { image: \"x:1\" }\n";

#[test]
fn an_edit_is_seen_and_a_snapshot_is_not_touched_by_it() {
    let mut workspace = Workspace::new();
    workspace.set_file("a.berth", FILE);
    let before = workspace.snapshot();
    let request = CompileRequest::default();
    let digest = |snapshot: &berth_lang::Snapshot| {
        snapshot.compile(&request).program.expect("a program").digest()
    };
    let first = digest(&before);
    // A line above moves every item: places move with it, the digest stays.
    workspace.set_file("a.berth", format!("# moved\n{FILE}"));
    let moved = workspace.snapshot();
    let program = moved.compile(&request).program.expect("a program");
    let line =
        |span: &berth_lang::Span| moved.file(&span.file).map(|file| file.position(span.start).line);
    assert_eq!(line(&program.resources[0].span()), Some(2));
    assert_eq!(program.digest(), first);
    workspace.set_file("a.berth", FILE.replace("x:1", "x:2"));
    assert_ne!(digest(&workspace.snapshot()), first);
    assert_eq!(digest(&before), first);
    workspace.remove_file("a.berth");
    assert_eq!(
        workspace.snapshot().compile(&request).program.expect("a program").resources.len(),
        0
    );
}

#[test]
fn sources_are_what_was_read() {
    let mut workspace = Workspace::new();
    workspace.set_file("b.berth", "let x = 1");
    workspace.set_file("a.berth", "use \"./lib/y.berth\" { y }\nlet z = y");
    workspace.set_file("lib/y.berth", "pub let y = 1");
    workspace.set_file("lib/unused.berth", "this is not read");
    let program =
        workspace.snapshot().compile(&CompileRequest::default()).program.expect("a program");
    let paths: Vec<&str> = program.paths().collect();
    assert_eq!(paths, ["a.berth", "b.berth", "lib/y.berth"]);
}

/// Every fix that is offered, applied, leaves fewer mistakes.
#[test]
fn fixes_mend() {
    let text = "service web { imagee: \"x:1\", replicas: \"3\", grace = 5s }\nservice b { image: \"x:1\" replicas: 1 }\nlet c = 1GB + Protocl.tcp\nservice d { image: \"x:1\", resources: { memory: 64Mi } }\n";
    let mut text = text.to_owned();
    for _ in 0..8 {
        let mut workspace = Workspace::new();
        workspace.set_file("a.berth", text.as_str());
        let found = workspace.snapshot().compile(&CompileRequest::default()).diagnostics;
        let Some(fix) = found.iter().find_map(|diagnostic| diagnostic.fix.as_ref()) else { break };
        text.replace_range(fix.span.start as usize..fix.span.end as usize, &fix.replacement);
    }
    let mut workspace = Workspace::new();
    workspace.set_file("a.berth", text.as_str());
    let found = workspace.snapshot().compile(&CompileRequest::default()).diagnostics;
    let left: Vec<&str> = found.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(left, ["`+` does not take Bytes and Protocol"], "{text}");
}
