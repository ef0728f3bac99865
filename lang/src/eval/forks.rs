//! Many resources at once: every thread has a machine of its own, and takes the next few rows.
//!
//! What a resource is hangs on nothing but the text, so that it does not matter who makes it; a body
//! that others refer to is made once by every machine that follows a reference to it. Words and limits
//! do hang on the order. So what comes of it counts only where nobody has anything to say and the work
//! is far from its limit; otherwise one machine makes everything anew.

use super::machine::Machine;
use super::resources::{Kept, Made, Slot};
use crate::cores;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Resources below which one thread makes all.
const FEW: usize = 256;
/// Rows that a thread takes at once.
const SHARE: usize = 32;

/// Texts of functions' bodies that a thread has for itself: all threads would count the users of the
/// same few, which takes longer than everything else that a copy of one takes.
pub(super) struct Texts {
    /// By the last bits of the original's address: that, and the copy.
    known: Vec<Option<(usize, Arc<str>)>>,
}

impl Texts {
    /// How many it remembers.
    const SLOTS: usize = 256;

    pub(super) fn new() -> Self {
        Self { known: vec![None; Self::SLOTS] }
    }

    /// A copy of a text.
    pub(super) fn own(&mut self, text: &Arc<str>) -> Arc<str> {
        let address = text.as_ptr() as usize;
        let slot = &mut self.known[address / 16 % Self::SLOTS];
        match slot {
            Some((known, copy)) if *known == address && *copy == *text => copy.clone(),
            Some(_) | None => slot.insert((address, Arc::from(&**text))).1.clone(),
        }
    }
}

/// What one thread has made.
struct Part {
    whole: Kept,
    /// Resources of which some instances could not be made, by row, with what is known of them.
    partial: Vec<(usize, Made, Option<Box<Slot>>)>,
    spent: u64,
}

impl Machine<'_, '_> {
    /// Makes the resources of some rows on several threads, and gives those that are not whole, by row;
    /// nothing where they are few or where it has to be done by one.
    pub(super) fn forked(&mut self, rows: &[usize]) -> Option<BTreeMap<usize, Made>> {
        if !self.may_fork || rows.len() < FEW {
            return None;
        }
        let threads = cores::count();
        if threads < 2 {
            return None;
        }
        let each = self.left() / 2 / threads as u64;
        let (next, given_up) = (AtomicUsize::new(0), AtomicBool::new(false));
        let machine = &*self;
        let parts = cores::on_each(threads, || machine.share_of(rows, each, &next, &given_up));
        let parts = parts.into_iter().collect::<Option<Vec<Part>>>()?;
        self.fuel = self.fuel.checked_sub(parts.iter().map(|part| part.spent).sum())?;
        self.has_forked = true;
        let mut all = BTreeMap::new();
        for part in parts {
            self.fresh.absorb(part.whole);
            for (row, made, slot) in part.partial {
                self.slots[row] = slot;
                all.insert(row, made);
            }
        }
        Some(all)
    }

    /// What one thread makes; nothing where there was something to say.
    fn share_of(
        &self,
        rows: &[usize],
        fuel: u64,
        next: &AtomicUsize,
        given_up: &AtomicBool,
    ) -> Option<Part> {
        let mut said = Vec::new();
        let mut fork = self.fork(fuel, &mut said);
        let mut partial = Vec::new();
        loop {
            let from = next.fetch_add(SHARE, Ordering::Relaxed);
            let share = rows.get(from..rows.len().min(from + SHARE)).unwrap_or_default();
            if share.is_empty() {
                let spent = fuel - fork.left();
                return Some(Part { whole: std::mem::take(&mut fork.fresh), partial, spent });
            }
            for &row in share {
                if let Some(made) = fork.make(row) {
                    partial.push((row, made, fork.slots[row].clone()));
                }
                if !fork.diagnostics.is_empty() {
                    given_up.store(true, Ordering::Relaxed);
                }
                if given_up.load(Ordering::Relaxed) {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::prepare;
    use super::super::resources::Kept;
    use crate::check;
    use crate::program::CompileRequest;
    use crate::resolve::{Roots, resolve};
    use crate::workspace::Workspace;
    use std::fmt::Write as _;

    /// What comes of a text on several threads, what on one, and whether threads were of use.
    fn both(text: &str) -> (String, String, bool) {
        let mut workspace = Workspace::new();
        workspace.set_file("a.berth", text);
        let snapshot = workspace.snapshot();
        let (decls, diagnostics) = resolve(&snapshot, Roots::Project);
        let mut forked = false;
        let mut run = |may_fork| {
            let mut said = diagnostics.clone();
            let checked = check::check(&decls, &mut said);
            let kept = Kept::default();
            let request = CompileRequest::default();
            let mut machine = prepare(&decls, &checked, &request, &kept, &mut said);
            machine.may_fork = may_fork;
            let evaluated = machine.run(&request);
            forked |= machine.has_forked;
            let mut out = String::new();
            for resource in &evaluated.resources {
                let origins: Vec<_> = resource.origins().iter().collect();
                let _ = write!(out, "{} {} ", resource.kind.keyword(), resource.name);
                resource.write_json(&mut out);
                let _ = writeln!(out, " {origins:?}");
            }
            let _ =
                writeln!(out, "{} kept, {} judged", evaluated.made.len(), evaluated.judged.len());
            said.iter().for_each(|diagnostic| out.push_str(&format!("{diagnostic:?}\n")));
            out
        };
        let (many, one) = (run(true), run(false));
        (many, one, forked)
    }

    /// Services that call a function, set defaults aside, and look at each other.
    fn services(count: usize) -> String {
        let mut text = "let base = 8000\n\
             fn app(n: Int, image: Image) -> Service = { image: image, replicas: 2,\n\
             \x20 ports: [{ name: \"http\", container: base + n }], env: { N: \"${n}\", \"const\": \"same\" } }\n\
             policy small for s in services { expect s.replicas <= 3 }\n\
             node n[i] for i in 1..=3 { host: \"10.0.0.${i}\" }\n"
            .to_owned();
        for n in 0..count {
            let _ = match n % 5 {
                0 => writeln!(text, "service s{n} {{ image: \"r/a:1\", replicas: 3 }}"),
                1 => writeln!(text, "service s{n} = app({n}, \"r/a:{n}\")"),
                2 => writeln!(text, "service s{n} = s{} with {{ replicas: 1 }}", n - 1),
                3 => writeln!(text, "service s{n} = s{} with {{ grace: {n}s }}", n - 1),
                _ => writeln!(text, "service s{n}[i] for i in 1..=2 {{ image: \"r/a:${{i}}\" }}"),
            };
        }
        text
    }

    #[test]
    fn threads_find_what_one_finds() {
        let (many, one, forked) = both(&services(600));
        assert!(many.contains("s599[2]") && !many.contains("Diagnostic"), "{many}");
        assert_eq!(many, one);
        assert_eq!(forked, crate::cores::count() > 1);
    }

    #[test]
    fn mistakes_are_those_of_one_thread() {
        let wrong = "service bad { image: \"r/a:1\", replicas: 1 + 1000000 }\n\
             service far = ring with { replicas: 1 }\nservice ring = far with { replicas: 2 }\n\
             service more = bad with { grace: 1s }\n";
        let (many, one, forked) = both(&format!("{}{wrong}", services(600)));
        assert!(many.contains("Diagnostic"), "{many}");
        assert_eq!(many, one);
        assert!(!forked);
    }
}
