//! A pod's connection table, as `pod_connections` in `agentless/src/node/verbs.sh` prints it.
//!
//! Each line is a state and a local port, as the kernel's `/proc/net/tcp` has them: `01` is
//! established, `03` being opened by a peer, `0A` listening. An established connection on a port
//! that the pod listens on came from outside; the others are the pod's own.

use std::collections::BTreeSet;

/// Counts connections that came from outside.
pub(crate) fn count(text: &str) -> u32 {
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let listening: BTreeSet<&str> =
        lines.iter().filter(|(state, _)| *state == "0A").map(|(_, port)| *port).collect();
    let served = lines
        .iter()
        .filter(|(state, port)| *state == "03" || (*state == "01" && listening.contains(port)));
    u32::try_from(served.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_from_outside_counts() {
        assert_eq!(count("0A 1F90\n01 1F90\n03 1F90\n01 C350\n"), 2);
        assert_eq!(count("nonsense\n01\n"), 0);
    }
}
