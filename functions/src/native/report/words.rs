//! What configurations are called, and why cases were missed.

use shared::evaluation::{Cell, Verdict};

use super::super::evaluation_views::ConfigurationView;

/// The configuration in one line: agent, version and model.
pub(super) fn name(column: &ConfigurationView) -> String {
    format!("{} v{} / {}", column.agent_name, column.agent_version, column.model)
}

/// Why the case was not passed, for a person; nothing when it was, or when that is not known yet.
pub(super) fn why(cell: &Cell) -> Option<String> {
    match &cell.verdict {
        Verdict::Pending | Verdict::Correct => None,
        Verdict::NoAnswer => Some(cell.error.clone().unwrap_or_else(|| "the run did not end well".to_owned())),
        Verdict::Wrong(findings) => {
            let failed = (1_u32..).zip(findings).filter(|(_, finding)| !finding.holds);
            let told = failed.map(|(number, finding)| {
                format!("validation {number}: {}", finding.why_not.as_deref().unwrap_or("does not hold"))
            });
            Some(told.collect::<Vec<_>>().join("; "))
        }
    }
}
