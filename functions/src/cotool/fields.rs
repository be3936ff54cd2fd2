//! Names of fields: what the core calls its own, as this surface writes it.

use shared::{Error, error::Problem};

use crate::camel;

/// Names that are not just the core's in camelCase.
const OTHERS: [(&str, &str); 2] = [("model", "modelAlias"), ("outputSchema", "structuredOutputSchema")];

/// What an agent has of the native surface, and the field here that decides whether it may be so.
const NATIVE: [(&str, &str); 3] =
    [("tools", "toolNames"), ("fallback_models", "modelAlias"), ("budget_micro_usd", "modelAlias")];

/// An error of the core with the fields as they are called here.
pub(super) fn named(error: Error) -> Error {
    let Error::Invalid(problems) = error else { return renamed(error) };
    let here = |problem: Problem| match of_native(&problem) {
        Some(named) => named,
        None => Problem { field: other_name(&camel::field(&problem.field)), ..problem },
    };
    Error::Invalid(problems.into_iter().map(here).collect())
}

/// What is wrong with something that only the native surface names: `tools[2].agent_id` is of `toolNames[2]`.
fn of_native(Problem { field, message }: &Problem) -> Option<Problem> {
    let begin = if field.starts_with("items[") { field.find("].")?.saturating_add(2) } else { 0 };
    let (before, path) = field.split_at_checked(begin)?;
    let (name, here) = NATIVE
        .into_iter()
        .find(|(name, _)| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('[')))?;
    if name != "tools" {
        return Some(Problem { field: format!("{before}{here}"), message: format!("the agent's {path}: {message}") });
    }
    let (tool, below) = path.split_once("].").map_or((path, None), |(tool, below)| (tool, Some(below)));
    let index = tool.strip_prefix(name)?;
    let (close, message) = match below {
        Some(below) => ("]", format!("the tool's {below}: {message}")),
        None => ("", message.clone()),
    };
    Some(Problem { field: format!("{before}{here}{index}{close}"), message })
}

/// The same for a run: names of its inputs are the caller's own and stay as they are.
pub(super) fn named_in_run(error: Error) -> Error {
    let Error::Invalid(problems) = error else { return renamed(error) };
    let (own, ours) = problems.into_iter().partition(|problem: &Problem| problem.field.starts_with("inputs."));
    let Error::Invalid(ours) = named(Error::Invalid(ours)) else { return Error::Invalid(own) };
    Error::Invalid(own.into_iter().chain(ours).collect())
}

fn renamed(error: Error) -> Error {
    error.with_fields(other_name)
}

/// The path with its last name as it is called here.
fn other_name(path: &str) -> String {
    for (ours, theirs) in OTHERS {
        if let Some(before) = path.strip_suffix(ours).filter(|before| before.is_empty() || before.ends_with("].")) {
            return format!("{before}{theirs}");
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_called_as_here() {
        for (path, expected) in [
            ("model", "modelAlias"),
            ("items[3].model", "items[3].modelAlias"),
            ("items[3].output_schema", "items[3].structuredOutputSchema"),
            ("system_prompt", "systemPrompt"),
            ("skills[0].skill_id", "skills[0].skillId"),
            ("tools", "toolNames"),
            ("tools[2].agent_id", "toolNames[2]"),
            ("items[3].tools[2].parameters", "items[3].toolNames[2]"),
            ("items[3].fallback_models[0]", "items[3].modelAlias"),
            ("budget_micro_usd", "modelAlias"),
        ] {
            let Error::Invalid(problems) = named(Error::invalid(path, "x")) else { panic!("another error") };
            assert_eq!(problems[0].field, expected);
        }
    }
}
