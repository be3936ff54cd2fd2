//! JMESPath over a session's entries, for expressions that strangers write: what could grow beyond measure is refused before it is evaluated.

use std::thread;

use jmespath::{
    Variable,
    ast::{Ast, KeyValuePair},
};
use serde_json::Value;
use shared::{Error, Result};

use super::part::written;

/// The longest expression, in bytes: the parser goes one call deeper for each of some of them.
pub(super) const LENGTH_LIMIT: usize = 500;
/// The stack on which it is parsed and evaluated: enough for the deepest expression of that length, also without optimisation.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// How many times the entries an answer can be at most, as far as the expression tells, and how many bytes.
const GROWTH_LIMIT: u64 = 100;
const GROWN_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// Expressions with a name: the vendor's presets. What they yield is our own choice.
const PRESETS: [(&str, &str); 5] = [
    ("all", "@"),
    ("log_type_llm_call", "[?event_type=='llm_call' || log_type=='llm_call']"),
    ("log_type_start", "[?event_type=='session_start' || log_type=='run_start']"),
    ("log_type_end", "[?event_type=='session_end' || log_type=='run_end']"),
    (
        "lmmcall_tokens",
        "[?event_type=='llm_response'].{event_id: event_id, timestamp: timestamp, input_tokens: llm_response.input_tokens, \
         output_tokens: llm_response.output_tokens, total_tokens: llm_response.total_tokens}",
    ),
];

/// What the preset or expression yields of the entries, as a JSON list of at most so many bytes: no value is an empty one, another value the
/// only one of its list.
///
/// # Errors
/// [`Error::Invalid`] for `pre`.
pub(super) fn filtered(pre: String, entries: Value, most_bytes: usize) -> Result<Vec<u8>> {
    let deep = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || chosen(&pre, entries, most_bytes));
    let deep = deep.map_err(|error| Error::Internal(error.into()))?;
    deep.join().unwrap_or_else(|_| Err(Error::Internal("evaluating a JMESPath expression panicked".into())))
}

fn chosen(pre: &str, entries: Value, most_bytes: usize) -> Result<Vec<u8>> {
    let invalid = |message: String| Error::invalid("pre", message);
    let preset = PRESETS.iter().find(|(name, _)| *name == pre).map(|(_, expression)| *expression);
    let expression = preset.unwrap_or(pre);
    if preset.is_none() && expression.len() > LENGTH_LIMIT {
        return Err(invalid(format!("must be at most {LENGTH_LIMIT} bytes long")));
    }
    let compiled = jmespath::compile(expression)
        .map_err(|error| invalid(format!("is no preset and no JMESPath expression: {}", error.reason)))?;
    if preset.is_none() {
        check(compiled.as_ast(), &entries).map_err(invalid)?;
    }
    let entries: Variable = entries.try_into().map_err(|error| Error::Internal(Box::new(error)))?;
    let found = compiled.search(entries).map_err(|error| invalid(format!("cannot be evaluated: {}", error.reason)))?;
    let list = match &*found {
        Variable::Null => return Ok(b"[]".to_vec()),
        Variable::Array(_) => written(&found, most_bytes),
        Variable::String(_) | Variable::Bool(_) | Variable::Number(_) | Variable::Object(_) | Variable::Expref(_) => {
            written(&[&found], most_bytes)
        }
    };
    list.ok_or_else(|| invalid(format!("yields more than {most_bytes} bytes")))
}

fn check(ast: &Ast, entries: &Value) -> Result<(), String> {
    let bytes = serde_json::to_string(entries).map_or(u64::MAX, |text| u64::try_from(text.len()).unwrap_or(u64::MAX));
    let most = (GROWN_LIMIT_BYTES / bytes.max(1)).min(GROWTH_LIMIT);
    if growth(ast)? > most {
        return Err(format!("could make more than {most} times as much of these entries"));
    }
    Ok(())
}

/// How many times what it is given an expression can yield at most: a list or hash of n expressions that many times, a value written as a
/// string twice (its quotes are escaped), all below each other multiplied. What else there is yields a part of what it is given.
fn growth(ast: &Ast) -> Result<u64, String> {
    let product = |parts: &[&Ast]| parts.iter().try_fold(1_u64, |all, part| Ok(all.saturating_mul(growth(part)?)));
    match ast {
        Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Slice { .. } | Ast::Literal { .. } => Ok(1),
        Ast::Expref { ast: node, .. }
        | Ast::Flatten { node, .. }
        | Ast::Not { node, .. }
        | Ast::ObjectValues { node, .. } => growth(node),
        Ast::Condition { predicate, then, .. } => product(&[predicate, then]),
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => product(&[lhs, rhs]),
        Ast::MultiList { elements, .. } => several(elements.iter()),
        Ast::MultiHash { elements, .. } => several(elements.iter().map(|KeyValuePair { value, .. }| value)),
        Ast::Function { name, args, .. } => {
            if name == "join" && !matches!(args.first(), Some(Ast::Literal { .. })) {
                return Err("must join with a literal".to_owned());
            }
            let written: u64 = if name == "to_string" { 2 } else { 1 };
            Ok(product(&args.iter().collect::<Vec<_>>())?.saturating_mul(written))
        }
    }
}

fn several<'a>(elements: impl Iterator<Item = &'a Ast>) -> Result<u64, String> {
    let (mut count, mut all) = (0_u64, 1_u64);
    for element in elements {
        count = count.saturating_add(1);
        all = all.saturating_mul(growth(element)?);
    }
    Ok(all.saturating_mul(count.max(1)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ENOUGH: usize = 100_000;

    fn yields(pre: &str, entries: Value) -> Result<Value> {
        filtered(pre.to_owned(), entries, ENOUGH).map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    fn entries() -> Value {
        json!([
            {"event_type": "session_start", "event_id": "1", "prompt": "hi"},
            {"event_type": "llm_call", "event_id": "2"},
            {"event_type": "llm_response", "event_id": "3", "timestamp": 5,
             "llm_response": {"response": "yes", "input_tokens": 7, "output_tokens": 1, "total_tokens": 8}},
            {"event_type": "session_end", "event_id": "4"},
            {"log_type": "llm_call", "run_id": "r", "prompt": "old"},
        ])
    }

    #[test]
    fn presets_and_expressions_choose() {
        for (pre, expected) in [
            ("all", entries()),
            ("log_type_start", json!([{"event_type": "session_start", "event_id": "1", "prompt": "hi"}])),
            ("log_type_end", json!([{"event_type": "session_end", "event_id": "4"}])),
            (
                "log_type_llm_call",
                json!([{"event_type": "llm_call", "event_id": "2"}, {"log_type": "llm_call", "run_id": "r", "prompt": "old"}]),
            ),
            (
                "lmmcall_tokens",
                json!([{"event_id": "3", "timestamp": 5, "input_tokens": 7, "output_tokens": 1, "total_tokens": 8}]),
            ),
            ("[?event_id=='4'].event_type", json!(["session_end"])),
            ("length(@)", json!([5])),
            ("nothing", json!([])),
        ] {
            assert_eq!(yields(pre, entries()).unwrap(), expected, "{pre}");
        }
    }

    #[test]
    fn an_expression_that_makes_no_sense_is_refused() {
        for pre in ["", "[?", "nobody(@)", "length(`1`)", "sum(@)"] {
            let Err(Error::Invalid(problems)) = yields(pre, entries()) else { panic!("{pre} is accepted") };
            assert_eq!(problems[0].field, "pre");
        }
    }

    #[test]
    fn an_expression_that_could_grow_beyond_measure_is_refused() {
        let doubled = vec!["[@,@][]"; 60].join("|");
        let written = format!("{}@{}", "to_string(".repeat(40), ")".repeat(40));
        assert!(filtered("[@,@,@]".to_owned(), entries(), 200).is_err());
        for pre in [&doubled, &written, "join(to_string(@), [*].event_id)", &"x".repeat(LENGTH_LIMIT + 1)] {
            assert!(matches!(yields(pre, entries()), Err(Error::Invalid(_))), "{pre}");
        }
        assert!(yields("[*].[event_id, event_type, prompt]", entries()).is_ok());
        assert!(yields("join(',', [*].event_id || `[]`)", json!([{"event_id": "a"}])).is_ok());
    }

    #[test]
    fn an_expression_as_deep_as_may_be_is_read() {
        for deep in [
            "!".repeat(LENGTH_LIMIT),
            "(".repeat(LENGTH_LIMIT),
            "[".repeat(LENGTH_LIMIT),
            format!("{}@{}", "(".repeat(249), ")".repeat(249)),
            format!("{}@", "!".repeat(LENGTH_LIMIT - 1)),
            format!("a{}", ".a".repeat(249)),
            format!("@{}", "[*]".repeat(166)),
            format!("{}@{}", "[".repeat(249), "]".repeat(249)),
            format!("a{}", "||a".repeat(166)),
        ] {
            let _ = filtered(deep, entries(), ENOUGH);
        }
    }
}
