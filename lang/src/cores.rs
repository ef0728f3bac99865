//! Work on every core. Who does what never shows: results come back in the order of what was asked.

use std::sync::{LazyLock, Mutex};
use std::thread;

/// Threads at most, however many cores there are.
const MOST: usize = 8;
/// Evaluation nests as deep here as anywhere: the stack of a program's first thread. Only what is used of
/// it takes memory.
const STACK: usize = 8 << 20;

/// How many threads are worth starting. The system is asked once: it reads several files to answer.
pub(crate) fn count() -> usize {
    static COUNT: LazyLock<usize> =
        LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from).min(MOST));
    *COUNT
}

/// Does the same on so many threads, of which the calling one is the first; fewer if there are no more.
pub(crate) fn on_each<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let start = || thread::Builder::new().stack_size(STACK).spawn_scoped(scope, &work);
        let others: Vec<_> = (1..threads).filter_map(|_| start().ok()).collect();
        let own = work();
        let joined = others.into_iter().map(|thread| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(own).chain(joined).collect()
    })
}

/// Maps every element, `share` of them at a time.
pub(crate) fn map<T: Send, U: Send>(
    all: Vec<T>,
    share: usize,
    map: impl Fn(T) -> U + Sync,
) -> Vec<U> {
    let threads = count().min(all.len() / share.max(1));
    if threads < 2 {
        return all.into_iter().map(map).collect();
    }
    let length = all.len();
    let rest = Mutex::new(all.into_iter().enumerate());
    let parts = on_each(threads, || {
        let mut made = Vec::new();
        loop {
            let taken: Vec<(usize, T)> = match rest.lock() {
                Ok(mut rest) => rest.by_ref().take(share).collect(),
                Err(_) => Vec::new(),
            };
            let Some((first, _)) = taken.first() else { return made };
            let first = *first;
            made.push((first, taken.into_iter().map(|(_, one)| map(one)).collect::<Vec<U>>()));
        }
    });
    let mut shares: Vec<(usize, Vec<U>)> = parts.into_iter().flatten().collect();
    shares.sort_unstable_by_key(|(first, _)| *first);
    let mut mapped = Vec::with_capacity(length);
    mapped.extend(shares.into_iter().flat_map(|(_, share)| share));
    mapped
}

/// Makes a text of every element on all cores, and hands the texts over in order, some elements' at a
/// time: neither more than a few of them nor the whole is ever held.
///
/// # Errors
///
/// The first that `write` gives; nothing is made or written after it.
pub fn write_in_order<T: Sync, E>(
    all: &[T],
    make: impl Fn(&mut String, usize, &T) + Sync,
    mut write: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let shares: Vec<(usize, &[T])> =
        all.chunks(TEXTS).enumerate().map(|(share, part)| (share * TEXTS, part)).collect();
    for round in shares.chunks(count()) {
        let texts = map(round.to_vec(), 1, |(first, part)| {
            let mut text = String::new();
            for (index, one) in part.iter().enumerate() {
                make(&mut text, first + index, one);
            }
            text
        });
        texts.iter().try_for_each(|text| write(text))?;
    }
    Ok(())
}

/// Elements whose text one thread makes at once.
const TEXTS: usize = 256;

#[cfg(test)]
mod tests {
    #[test]
    fn the_order_stays() {
        let doubled = super::map((0..1000).collect(), 7, |n: i32| n * 2);
        assert_eq!(doubled, (0..1000).map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(super::on_each(3, || 1), [1, 1, 1]);
        let (all, mut texts) = ((0..1000).collect::<Vec<_>>(), String::new());
        let make = |text: &mut String, index: usize, n: &i32| *text += &format!("{index}:{n} ");
        let write = |text: &str| {
            texts += text;
            Ok::<(), i32>(())
        };
        assert_eq!(super::write_in_order(&all, make, write), Ok(()));
        assert!(texts.starts_with("0:0 1:1 ") && texts.ends_with("998:998 999:999 "));
        assert_eq!(super::write_in_order(&all, make, |_| Err(1)), Err(1));
    }
}
