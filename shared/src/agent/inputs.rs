//! Inputs that an agent declares: what may be declared, whether a run is given just these, and the system prompt that takes them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Problem;

/// Inputs of a run by name.
pub type Inputs = Map<String, Value>;

/// The most inputs that an agent may declare.
pub const INPUTS_LIMIT: usize = 50;
/// The longest system prompt with its inputs in it, in bytes.
const FILLED_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// The longest name, and the longest description, in characters.
const NAME_LIMIT: usize = 64;
const DESCRIPTION_LIMIT: usize = 2_000;

/// An input that an agent declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// 1 to 64 of `A-Z a-z 0-9 _`, different within an agent. `{{name}}` in the system prompt takes its value.
    pub name: String,
    /// What it is, for who calls the agent: at most 2,000 characters.
    pub description: String,
    /// Whether each run must be given it.
    pub required: bool,
    /// What its values are.
    #[serde(rename = "type")]
    pub kind: InputType,
}

/// What the values of an input are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they say what they are")]
pub enum InputType {
    #[default]
    String,
    Number,
    Boolean,
    Integer,
    Array,
    Object,
}

impl InputType {
    /// With its article.
    const fn name(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => {
                value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
            }
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// Adds what is wrong with what an agent declares.
pub(super) fn check(inputs: &[Input], problems: &mut Vec<Problem>) {
    if inputs.len() > INPUTS_LIMIT {
        let message = format!("must have at most {INPUTS_LIMIT} entries");
        problems.push(Problem { field: "inputs".to_owned(), message });
        return;
    }
    let mut names = BTreeSet::new();
    for (index, input) in inputs.iter().enumerate() {
        let mut refuse = |field: &str, message: String| {
            problems.push(Problem { field: format!("inputs[{index}].{field}"), message });
        };
        if !(1..=NAME_LIMIT).contains(&input.name.len()) || !input.name.bytes().all(in_name) {
            refuse("name", format!("must be 1 to {NAME_LIMIT} characters of A-Z, a-z, 0-9 and _"));
        } else if !names.insert(input.name.as_str()) {
            refuse("name", format!("'{}' is the name of another input too", input.name));
        }
        if input.description.chars().count() > DESCRIPTION_LIMIT {
            refuse("description", format!("must be at most {DESCRIPTION_LIMIT} characters long"));
        }
    }
}

const fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What is wrong with the inputs of a run; `field` is where they came from. Without a declaration everything is right.
pub(crate) fn problems(declared: &[Input], given: &Inputs, field: &str) -> Vec<Problem> {
    if declared.is_empty() {
        return Vec::new();
    }
    let problem = |name: &str, message: String| Problem { field: format!("{field}.{name}"), message };
    let wrong = declared.iter().filter_map(|input| match given.get(&input.name) {
        None if input.required => Some(problem(&input.name, format!("is required: {}", input.kind.name()))),
        Some(value) if !input.kind.fits(value) => Some(problem(&input.name, format!("must be {}", input.kind.name()))),
        None | Some(_) => None,
    });
    let known = |name: &str| declared.iter().any(|input| input.name == name);
    let unknown = given
        .keys()
        .filter(|name| !known(name))
        .map(|name| problem(name, format!("is no input of the agent; its inputs are {}", names(declared))));
    wrong.chain(unknown).collect()
}

/// The names of what is declared, for a message.
pub(crate) fn names(declared: &[Input]) -> String {
    declared.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether the system prompt with these inputs in it is too long: then the limit, in bytes.
pub(crate) fn too_long(template: &str, declared: &[Input], given: &Inputs) -> Option<usize> {
    let mut length: usize = 0;
    fill(template, declared, given, |piece| length = length.saturating_add(piece.len()));
    (length > FILLED_LIMIT_BYTES).then_some(FILLED_LIMIT_BYTES)
}

/// The system prompt with a value in the place of each `{{name}}` that is declared: a string as it is, another value as JSON, and
/// nothing for an input that is not given. Values are not looked into, and all other braces stay.
pub(crate) fn filled(template: &str, declared: &[Input], given: Option<&Inputs>) -> String {
    if declared.is_empty() {
        return template.to_owned();
    }
    let mut text = String::with_capacity(template.len());
    fill(template, declared, given.unwrap_or(&Inputs::new()), |piece| text.push_str(piece));
    text
}

fn fill(template: &str, declared: &[Input], given: &Inputs, mut push: impl FnMut(&str)) {
    let values: BTreeMap<&str, Cow<str>> =
        declared.iter().map(|input| (input.name.as_str(), text_of(given.get(&input.name)))).collect();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        push(before);
        if let Some((value, behind)) = name_at(after).and_then(|(name, behind)| Some((values.get(name)?, behind))) {
            push(value);
            rest = behind;
        } else {
            // The second brace may be the first of a name's.
            push("{");
            rest = rest.get(before.len().saturating_add(1)..).unwrap_or_default();
        }
    }
    push(rest);
}

/// The name that ends at the first braces, and what follows them.
fn name_at(text: &str) -> Option<(&str, &str)> {
    let length = text.bytes().take(NAME_LIMIT).take_while(|byte| in_name(*byte)).count();
    let (name, behind) = text.split_at_checked(length)?;
    Some((name, behind.strip_prefix("}}")?))
}

fn text_of(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None => Cow::Borrowed(""),
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(name: &str, kind: InputType, required: bool) -> Input {
        Input { name: name.to_owned(), description: String::new(), required, kind }
    }

    fn given(value: Value) -> Inputs {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn only_what_is_declared_is_replaced_and_only_once() {
        let declared = [input("a", InputType::String, true), input("b", InputType::Object, false)];
        let given = given(json!({"a": "{{b}}", "b": {"x": 1}}));
        for (template, expected) in [
            ("{{a}}", "{{b}}"),
            ("{{b}}{{a}}", r#"{"x":1}{{b}}"#),
            ("{{{a}}}", "{{{b}}}"),
            ("{{{{a}}}}", "{{{{b}}}}"),
            ("{{c}} {{ a }} {{a} {a}} {{", "{{c}} {{ a }} {{a} {a}} {{"),
            ("é{{a}}é", "é{{b}}é"),
        ] {
            assert_eq!(filled(template, &declared, Some(&given)), expected, "{template}");
        }
        assert_eq!(filled("[{{a}}{{b}}]", &declared, None), "[]");
        assert_eq!(filled("{{a}}", &[], Some(&given)), "{{a}}");
    }

    #[test]
    fn a_prompt_that_takes_a_long_value_often_is_too_long() {
        let declared = [input("a", InputType::String, true)];
        let long = given(json!({"a": "x".repeat(1024 * 1024)}));
        assert_eq!(too_long(&"{{a}}".repeat(4), &declared, &long), None);
        assert_eq!(too_long(&"{{a}}".repeat(30_000), &declared, &long), Some(FILLED_LIMIT_BYTES));
        assert_eq!(too_long(&"{{{{{".repeat(40_000), &declared, &long), None);
    }

    #[test]
    fn a_value_is_of_the_type_that_is_declared() {
        for (kind, right, wrong) in [
            (InputType::String, json!(""), json!(1)),
            (InputType::Number, json!(1.5), json!("1")),
            (InputType::Integer, json!(2.0), json!(1.5)),
            (InputType::Integer, json!(u64::MAX), json!(null)),
            (InputType::Boolean, json!(false), json!(0)),
            (InputType::Array, json!([]), json!({})),
            (InputType::Object, json!({}), json!([])),
        ] {
            let declared = [input("a", kind, false)];
            assert_eq!(problems(&declared, &given(json!({"a": right})), "inputs"), [], "{kind:?}");
            let found = problems(&declared, &given(json!({"a": wrong})), "inputs");
            assert_eq!(found.len(), 1, "{kind:?}");
            assert_eq!(found[0].field, "inputs.a");
        }
    }
}
