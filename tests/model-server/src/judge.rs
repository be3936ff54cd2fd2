//! Verdicts on results that are given as JSON.

use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Judged {
    result: String,
    criterion: String,
}

/// Whether the result contains the criterion, or what the criterion tells to say; `None` when the prompt has nothing to judge.
pub(crate) fn verdict(prompt: &str) -> Option<String> {
    let Judged { result, criterion } = serde_json::from_str(prompt).ok()?;
    if let Some(told) = criterion.strip_prefix("say ") {
        return Some(told.to_owned());
    }
    let met = result.contains(&criterion);
    let explanation = format!("it {} \"{criterion}\"", if met { "contains" } else { "does not contain" });
    Some(json!({"explanation": explanation, "met": met}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_criterion_is_met_when_the_result_contains_it() {
        let verdict = |criterion: &str| verdict(&json!({"result": "to Oslo", "criterion": criterion}).to_string());
        assert_eq!(verdict("Oslo").unwrap(), r#"{"explanation":"it contains \"Oslo\"","met":true}"#);
        assert!(verdict("Rome").unwrap().ends_with(r#""met":false}"#));
        assert_eq!(verdict("say no").unwrap(), "no");
        assert_eq!(super::verdict("Oslo"), None);
    }
}
