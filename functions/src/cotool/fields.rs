//! Names of fields: what the core calls its own, as this surface writes it.

use shared::{Error, error::Problem};

use crate::camel;

/// Names that are not just the core's in camelCase.
const OTHERS: [(&str, &str); 2] = [("model", "modelAlias"), ("outputSchema", "structuredOutputSchema")];

/// An error of the core with the fields as they are called here.
pub(super) fn named(error: Error) -> Error {
    renamed(camel::fields(error))
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

/// The path with its last name as it is called here; a path below a tool stays.
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
        ] {
            let Error::Invalid(problems) = named(Error::invalid(path, "x")) else { panic!("another error") };
            assert_eq!(problems[0].field, expected);
        }
    }
}
