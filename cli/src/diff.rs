//! Two texts into the lines that differ, with three lines around them, as `diff -u` prints them.
//!
//! The lines are matched by E. W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986).
//! Texts that differ in more than [`LIMIT`] lines are shown as one replacement.

use std::fmt::Write as _;

/// The most lines that are told apart one by one.
const LIMIT: usize = 2_000;
/// Lines of context.
const CONTEXT: usize = 3;

/// A line of both, of the old text, or of the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// Renders the difference under a file's name; nothing if there is none.
pub(crate) fn unified(name: &str, old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let edits = edits(&old, &new);
    let mut out = String::new();
    let shown: Vec<bool> = (0..edits.len())
        .map(|index| {
            let from = index.saturating_sub(CONTEXT);
            let to = (index + CONTEXT + 1).min(edits.len());
            edits.get(from..to).unwrap_or_default().iter().any(|edit| *edit != Edit::Keep)
        })
        .collect();
    let (mut at_old, mut at_new) = (0, 0);
    let mut index = 0;
    while index < edits.len() {
        let length = shown.iter().skip(index).take_while(|shown| **shown).count();
        if length == 0 {
            (at_old, at_new, index) = (at_old + 1, at_new + 1, index + 1);
            continue;
        }
        let hunk = edits.get(index..index + length).unwrap_or_default();
        let count = |skipped: Edit| hunk.iter().filter(|edit| **edit != skipped).count();
        if out.is_empty() {
            let _ = writeln!(out, "--- {name}\n+++ {name}");
        }
        let (removed, added) = (count(Edit::Add), count(Edit::Remove));
        let _ = writeln!(out, "@@ -{},{removed} +{},{added} @@", at_old + 1, at_new + 1);
        for edit in hunk {
            let (mark, line) = match edit {
                Edit::Keep => (' ', old.get(at_old)),
                Edit::Remove => ('-', old.get(at_old)),
                Edit::Add => ('+', new.get(at_new)),
            };
            let _ = writeln!(out, "{mark}{}", line.unwrap_or(&""));
            at_old += usize::from(*edit != Edit::Add);
            at_new += usize::from(*edit != Edit::Remove);
        }
        index += length;
    }
    out
}

fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same..], &new[same..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let mut edits = vec![Edit::Keep; same];
    edits.extend(shortest(old, new).unwrap_or_else(|| {
        let removed = std::iter::repeat_n(Edit::Remove, old.len());
        removed.chain(std::iter::repeat_n(Edit::Add, new.len())).collect()
    }));
    edits.extend(std::iter::repeat_n(Edit::Keep, end));
    edits
}

/// The shortest way from one to the other; nothing if it is too long.
fn shortest(old: &[&str], new: &[&str]) -> Option<Vec<Edit>> {
    let most = (old.len() + new.len()).min(LIMIT);
    let origin = most + 1;
    let mut furthest = vec![0usize; 2 * most + 3];
    let mut steps: Vec<Vec<usize>> = Vec::new();
    for distance in 0..=most {
        steps.push(furthest.get(origin - distance..=origin + distance)?.to_vec());
        for diagonal in (origin - distance..=origin + distance).step_by(2) {
            let (below, above) = (furthest[diagonal - 1], furthest[diagonal + 1]);
            let down =
                diagonal == origin - distance || diagonal != origin + distance && below < above;
            let mut x = if down { above } else { below + 1 };
            while let (Some(a), Some(b)) =
                (old.get(x), new.get((x + origin).wrapping_sub(diagonal)))
            {
                if a != b {
                    break;
                }
                x += 1;
            }
            furthest[diagonal] = x;
            if x >= old.len() && (x + origin).wrapping_sub(diagonal) >= new.len() {
                return Some(walk_back(&steps, old.len(), new.len()));
            }
        }
    }
    None
}

/// Reads the way from its end; `steps[d]` holds how far each diagonal had come before step `d`.
fn walk_back(steps: &[Vec<usize>], mut x: usize, mut y: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (distance, before) in steps.iter().enumerate().rev() {
        if distance == 0 {
            break;
        }
        // `before[i]` belongs to diagonal `i - distance`.
        let diagonal = x + distance - y;
        let reach = |diagonal: usize| before.get(diagonal).copied().unwrap_or(0);
        let down =
            diagonal == 0 || diagonal != 2 * distance && reach(diagonal - 1) < reach(diagonal + 1);
        let from = if down { diagonal + 1 } else { diagonal - 1 };
        let (start_x, start_y) = (reach(from), reach(from) + distance - from);
        let (to_x, to_y) = if down { (start_x, start_y + 1) } else { (start_x + 1, start_y) };
        while x > to_x && y > to_y {
            edits.push(Edit::Keep);
            (x, y) = (x - 1, y - 1);
        }
        edits.push(if down { Edit::Add } else { Edit::Remove });
        (x, y) = (start_x, start_y);
    }
    edits.extend(std::iter::repeat_n(Edit::Keep, x));
    edits.reverse();
    edits
}

#[cfg(test)]
mod tests {
    use super::{Edit, edits, unified};

    #[test]
    fn hunks_have_context_and_nothing_is_lost() {
        let old: Vec<String> = (0..20).map(|line| line.to_string()).collect();
        let mut new = old.clone();
        new[3] = "three".into();
        new.remove(15);
        new.insert(0, "first".into());
        let shown = unified("a", &(old.join("\n") + "\n"), &(new.join("\n") + "\n"));
        assert_eq!(
            shown,
            "--- a\n+++ a\n@@ -1,7 +1,8 @@\n+first\n 0\n 1\n 2\n-3\n+three\n 4\n 5\n 6\n@@ -13,7 +14,6 @@\n 12\n 13\n 14\n-15\n 16\n 17\n 18\n"
        );
        assert_eq!(unified("a", "x\n", "x\n"), "");
    }

    #[test]
    fn edits_lead_from_one_to_the_other() {
        let texts = ["", "a b c d", "b d e", "a a b c c d", "d c b a", "a x c y d", "c"];
        for old in texts {
            for new in texts {
                let (a, b): (Vec<_>, Vec<_>) =
                    (old.split_whitespace().collect(), new.split_whitespace().collect());
                let (mut x, mut made) = (0, Vec::new());
                for edit in edits(&a, &b) {
                    match edit {
                        Edit::Keep => {
                            assert_eq!(a[x], b[made.len()]);
                            made.push(a[x]);
                            x += 1;
                        }
                        Edit::Remove => x += 1,
                        Edit::Add => made.push(b[made.len()]),
                    }
                }
                assert_eq!((x, made), (a.len(), b), "{old} to {new}");
            }
        }
    }
}
