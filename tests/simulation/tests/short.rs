//! The short form of `tests/simulate.sh`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use simulation::{experiments, mutation::Mutation, plan::Plan, seed::simulate};

/// Seeds that have found mistakes of the core, and some more.
const KEPT: [u64; 8] = [13, 136, 366, 2_399, 36_788, 55_504, 66_524, 86_939];

fn holds(seed: u64) {
    let outcome = simulate(Plan::of_seed(seed), false);
    assert!(outcome.violations.is_empty(), "SEED={seed} {:#?}", outcome.violations);
}

#[test]
fn nothing_is_wrong_in_any_seed() {
    std::thread::scope(|scope| {
        scope.spawn(|| (1..=100).for_each(holds));
        scope.spawn(|| (101..=200).for_each(holds));
    });
}

#[test]
fn seeds_that_found_mistakes_find_none_any_more() {
    KEPT.into_iter().for_each(holds);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 1..=10 {
        let [one, two] = [(); 2].map(|()| simulate(Plan::of_seed(seed), false));
        assert_eq!(one.trace, two.trace, "SEED={seed}");
    }
    assert_ne!(simulate(Plan::of_seed(1), false).trace, simulate(Plan::of_seed(2), false).trace);
}

#[test]
fn each_guard_that_is_switched_off_is_missed() {
    for (name, mutation) in Mutation::ALL {
        assert!(mutation.caught(1, 300).is_some(), "{name}");
    }
}

#[test]
fn the_experiments_come_out_as_designed() {
    for (name, experiment) in experiments::ALL {
        let line = experiment(1);
        assert!(line.violations.is_empty(), "{name}: {} {:#?}", line.result, line.violations);
    }
}
