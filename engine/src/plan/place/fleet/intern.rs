//! An ask into a ticket: its names are resolved once, and counters are kept for what it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{ADDRESSES, Fleet};
use crate::plan::graph::{Fill, Placement, Relation};
use crate::plan::place::ask::Ask;
use crate::plan::place::want::{Domain, Ticket, Tie, Want};

impl Fleet {
    /// Interns an ask.
    pub fn ticket(&mut self, ask: &Ask<'_>) -> Ticket {
        let Ask { workload, requests, volumes_bytes: _, placement, image, stay: _, credit: _ } =
            *ask;
        let number = self.workload(workload);
        if let Some(ticket) = self.tallies[number].ticket
            && self.wants[ticket.0].is(requests, placement, image)
        {
            return ticket;
        }
        // Where one replica's volumes are says nothing of the others.
        let free = (!placement.held.is_empty())
            .then(|| Placement { held: BTreeMap::new(), ..placement.clone() });
        let free = free.as_ref().unwrap_or(placement);
        if self.tallies[number].placement.as_deref() != Some(free) {
            let keep = self.tallies[number].keep;
            self.learn(workload, free, keep);
        }
        match self.fill {
            Fill::Even => {}
            Fill::Dense => self.reckon(),
        }
        let want = self.resolve(ask, number);
        let ticket = Ticket(self.wants.len());
        self.wants.push(Arc::new(want));
        self.tallies[number].ticket = Some(ticket);
        ticket
    }

    fn resolve(&mut self, ask: &Ask<'_>, number: usize) -> Want {
        let Ask { workload, requests, volumes_bytes: _, placement, image, stay: _, credit: _ } =
            *ask;
        let mut needs = self.needs(requests);
        let takes = needs.as_slice().into();
        needs.push((ADDRESSES, 1));
        let spread = match &placement.spread {
            None => Domain::Node,
            Some(label) => Domain::Key(self.label(label)),
        };
        let even: Vec<_> =
            placement.even.iter().map(|even| (self.domain(&even.over), even.skew.max(1))).collect();
        let mut want = Want {
            name: workload.clone(),
            workload: number,
            requests: requests.clone(),
            needs,
            takes,
            priced: self.prices.class_of(requests),
            placement: placement.clone(),
            image: image.cloned(),
            spread,
            even,
            near: Vec::new(),
            apart: Vec::new(),
            lean: Vec::new(),
        };
        let lists = [(&placement.near, true), (&placement.apart, false)];
        for (relations, near) in lists {
            for Relation { workload, over, weight } in relations {
                let (other, over) = (self.workload(workload), self.domain(over));
                let tie = Tie { other, over, theirs: false };
                match weight {
                    None if near => want.near.push(tie),
                    None => want.apart.push(tie),
                    Some(weight) if near => want.lean.push((tie, i64::from(*weight))),
                    Some(weight) => want.lean.push((tie, -i64::from(*weight))),
                }
            }
        }
        for &(other, over) in &self.tallies[number].shunned_by {
            if other != number {
                want.apart.push(Tie { other, over, theirs: true });
            }
        }
        for (over, other) in want.counted() {
            if let Domain::Key(label) = over {
                self.count_by(other, label);
            }
        }
        want
    }
}

impl Want {
    /// Whose replicas are counted over what.
    fn counted(&self) -> BTreeSet<(Domain, usize)> {
        let own = self.even.iter().map(|(over, _)| *over).chain([self.spread]);
        let ties = self.near.iter().chain(&self.apart).chain(self.lean.iter().map(|(tie, _)| tie));
        own.map(|over| (over, self.workload)).chain(ties.map(|tie| (tie.over, tie.other))).collect()
    }
}
