//! An instance as an integer program: how many replicas of each job are on each node.
//!
//! Nothing of placement is in here: no order, no search, only what must hold in the end.

use good_lp::solvers::microlp::microlp;
use good_lp::{
    Constraint, Expression, ProblemVariables, ResolutionError, Solution, SolverModel, Variable,
    constraint, variable, variables,
};

use crate::instance::{Counts, Domain, Instance, Job};

/// Finds a place for everybody; nothing if there is none.
///
/// # Panics
/// If the solver gives up.
pub(crate) fn solve(instance: &Instance) -> Option<Counts> {
    let mut program = Program::of(instance);
    program.rooms();
    (0..instance.jobs.len()).for_each(|job| program.job(job));
    let Program { variables, on, constraints, .. } = program;
    let mut model = variables.minimise(Expression::default()).using(microlp);
    for constraint in constraints {
        model.add_constraint(constraint);
    }
    match model.solve() {
        Ok(solution) => {
            let count = |one: &Variable| solution.value(*one).round() as u32;
            Some(on.iter().map(|on| on.iter().map(count).collect()).collect())
        }
        Err(ResolutionError::Infeasible) => None,
        Err(error) => panic!("the solver gave up: {error}: {instance:?}"),
    }
}

struct Program<'a> {
    instance: &'a Instance,
    variables: ProblemVariables,
    /// Replicas by job and node.
    on: Vec<Vec<Variable>>,
    constraints: Vec<Constraint>,
}

impl<'a> Program<'a> {
    fn of(instance: &'a Instance) -> Self {
        let mut variables = variables!();
        let mut count = |job: usize, node: usize| {
            let most = if instance.may(job, node) { instance.jobs[job].replicas } else { 0 };
            variables.add(variable().integer().min(0).max(most))
        };
        let mut on = Vec::new();
        for job in 0..instance.jobs.len() {
            on.push((0..instance.nodes.len()).map(|node| count(job, node)).collect());
        }
        Self { instance, variables, on, constraints: Vec::new() }
    }

    /// What a node has is enough, and so is the quota.
    fn rooms(&mut self) {
        let Self { instance, on, constraints, .. } = self;
        let jobs = || instance.jobs.iter().zip(on.iter());
        for (node, there) in instance.nodes.iter().enumerate() {
            let mut most = |of: &dyn Fn(&Job) -> u32, room: u32| {
                let sum: Expression = jobs().map(|(job, on)| f64::from(of(job)) * on[node]).sum();
                constraints.push(constraint!(sum <= room));
            };
            most(&|job| job.cpu, there.room());
            most(&|job| job.memory, there.memory);
            most(&|job| job.gpus, there.gpus);
            most(&|job| u32::from(job.host == Some(8000)), 1);
            most(&|job| u32::from(job.host == Some(8001)), 1);
        }
        if let Some(quota) = instance.quota {
            let all: Expression =
                jobs().map(|(job, on)| on.iter().sum::<Expression>() * f64::from(job.cpu)).sum();
            constraints.push(constraint!(all <= quota));
        }
    }

    /// All replicas of a job are somewhere, and where they may be beside each other and others.
    fn job(&mut self, number: usize) {
        let Job { replicas, even, apart, near, .. } = &self.instance.jobs[number];
        let all: Expression = self.on[number].iter().sum();
        self.constraints.push(constraint!(all == *replicas));
        for (over, skew) in even {
            self.none_without_domain(number, *over);
            let least = self.variables.add(variable().integer().min(0).max(*replicas));
            for domain in self.instance.domains(number, *over) {
                let here = self.within(number, *over, domain);
                self.constraints.push(constraint!(here.clone() >= least));
                self.constraints.push(constraint!(here <= least + *skew));
            }
        }
        for (other, over) in apart {
            for domain in self.instance.domains(number, *over) {
                let here = self.within(number, *over, domain);
                if *other == number {
                    self.constraints.push(constraint!(here <= 1));
                    continue;
                }
                // Either of the two, not both.
                let mine = self.variables.add(variable().binary());
                let theirs = self.within(*other, *over, domain);
                let most = self.instance.jobs[*other].replicas;
                self.constraints.push(constraint!(here <= f64::from(*replicas) * mine));
                self.constraints.push(constraint!(theirs <= f64::from(most) * (1 - mine)));
            }
        }
        for (other, over) in near {
            self.none_without_domain(number, *over);
            let mut chosen = Expression::default();
            for domain in self.instance.domains(number, *over) {
                let here = self.within(number, *over, domain);
                let beside = if *other == number {
                    // All in one domain.
                    let here = self.variables.add(variable().binary());
                    chosen += here;
                    here.into()
                } else {
                    self.within(*other, *over, domain)
                };
                self.constraints.push(constraint!(here <= f64::from(*replicas) * beside));
            }
            if *other == number {
                self.constraints.push(constraint!(chosen <= 1));
            }
        }
    }

    /// The replicas of a job in a domain.
    fn within(&self, job: usize, over: Domain, domain: u32) -> Expression {
        let nodes = self.on[job].iter().enumerate();
        let nodes = nodes.filter(|(node, _)| self.instance.domain(over, *node) == Some(domain));
        nodes.map(|(_, on)| *on).sum()
    }

    fn none_without_domain(&mut self, job: usize, over: Domain) {
        let nodes = self.on[job].iter().enumerate();
        let without = nodes.filter(|(node, _)| self.instance.domain(over, *node).is_none());
        let without: Expression = without.map(|(_, on)| *on).sum();
        self.constraints.push(constraint!(without <= 0));
    }
}
