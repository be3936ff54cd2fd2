//! Which tools a run's models asked for, for lists.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::PendingCall;
use crate::tool::TOOLS_LIMIT;

/// The longest name that is kept, in bytes: longer ones are no tool's, and a model made them up.
const NAME_BYTES: usize = 256;

/// The tools that a run's models asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// Their names: at most as many as an agent has tools.
    pub names: BTreeSet<String>,
    /// How many calls were asked for, refused ones among them.
    pub calls: u32,
}

impl Called {
    pub(crate) fn is_empty(&self) -> bool {
        self.calls == 0
    }

    /// Counts the calls of an answer.
    pub(super) fn add(&mut self, calls: &[PendingCall]) {
        self.calls = self.calls.saturating_add(u32::try_from(calls.len()).unwrap_or(u32::MAX));
        for call in calls.iter().filter(|call| call.tool.len() <= NAME_BYTES) {
            if self.names.len() < TOOLS_LIMIT && !self.names.contains(&call.tool) {
                self.names.insert(call.tool.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::CallState;

    fn calls(names: impl IntoIterator<Item = String>) -> Vec<PendingCall> {
        names.into_iter().map(|name| PendingCall::new(&name, CallState::Ready)).collect()
    }

    #[test]
    fn every_call_counts_and_each_name_is_kept_once() {
        let mut called = Called::default();
        assert!(called.is_empty());
        called.add(&calls(["b", "a", "b"].map(str::to_owned)));
        called.add(&calls(["a".to_owned()]));
        assert_eq!((called.calls, called.names.iter().map(String::as_str).collect::<Vec<_>>()), (4, vec!["a", "b"]));
    }

    #[test]
    fn names_that_a_model_makes_up_do_not_make_the_row_large() {
        let mut called = Called::default();
        called.add(&calls((0..1_000).map(|n| format!("tool {n}"))));
        called.add(&calls(["x".repeat(NAME_BYTES + 1)]));
        assert_eq!((called.calls, called.names.len()), (1_001, TOOLS_LIMIT));
    }
}
