//! Verdicts on results that are given as JSON: whether a criterion is met, or a score by criteria.

use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Judged {
    result: String,
    #[serde(flatten)]
    by: By,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    Criterion(String),
    Criteria(String),
}

/// Whether the result contains the criterion, or the score that the criteria begin with, else 10 when the result contains them and 1 when
/// not; or what either tells to say. `None` when the prompt has nothing to judge.
pub(crate) fn verdict(prompt: &str) -> Option<String> {
    let Judged { result, by } = serde_json::from_str(prompt).ok()?;
    let (By::Criterion(text) | By::Criteria(text)) = &by;
    if let Some(told) = text.strip_prefix("say ") {
        return Some(told.to_owned());
    }
    let holds = result.contains(text);
    let explanation = format!("it {} \"{text}\"", if holds { "contains" } else { "does not contain" });
    let verdict = match &by {
        By::Criterion(_) => json!({"explanation": explanation, "met": holds}),
        By::Criteria(text) => {
            let given = text.split(' ').next().and_then(|first| first.parse::<i64>().ok());
            json!({"explanation": explanation, "score": given.unwrap_or(if holds { 10 } else { 1 })})
        }
    };
    Some(verdict.to_string())
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

    #[test]
    fn a_score_is_what_the_criteria_begin_with_or_whether_the_result_contains_them() {
        let verdict =
            |criteria: &str| verdict(&json!({"result": "to Oslo", "criteria": criteria}).to_string()).unwrap();
        assert_eq!(verdict("Oslo"), r#"{"explanation":"it contains \"Oslo\"","score":10}"#);
        for (criteria, score) in [("Rome", 1), ("6 of it", 6), ("-1", -1)] {
            assert!(verdict(criteria).ends_with(&format!(r#""score":{score}}}"#)), "{criteria}");
        }
        assert_eq!(verdict("say no"), "no");
    }
}
