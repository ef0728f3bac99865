//! Rings in a graph of numbered things, without recursion.

/// An order in which everything comes after what it needs, and the rings that were cut to get it.
pub(super) struct Order {
    pub(super) order: Vec<usize>,
    /// Each ring as the things on it, from the one that was reached first.
    pub(super) rings: Vec<Vec<usize>>,
}

/// Walks a graph depth first; `edges[n]` are the things that `n` needs.
pub(super) fn order(edges: &[Vec<usize>]) -> Order {
    let mut state = vec![State::New; edges.len()];
    let mut found = Order { order: Vec::with_capacity(edges.len()), rings: Vec::new() };
    for root in 0..edges.len() {
        if state[root] != State::New {
            continue;
        }
        state[root] = State::Open;
        let mut path = vec![(root, 0usize)];
        while let Some((node, next)) = path.last_mut() {
            let Some(&need) = edges[*node].get(*next) else {
                state[*node] = State::Done;
                found.order.push(*node);
                path.pop();
                continue;
            };
            *next += 1;
            match state.get(need) {
                Some(State::New) => {
                    state[need] = State::Open;
                    path.push((need, 0));
                }
                Some(State::Open) => {
                    let from = path.iter().position(|&(node, _)| node == need).unwrap_or(0);
                    found.rings.push(path[from..].iter().map(|&(node, _)| node).collect());
                }
                Some(State::Done) | None => {}
            }
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn needs_come_first_and_rings_are_found_once() {
        let found = order(&[vec![1], vec![2], vec![1], vec![0]]);
        assert_eq!(found.rings, vec![vec![1, 2]]);
        assert_eq!(found.order, vec![2, 1, 0, 3]);
    }
}
