//! What came of grading a run against its agent's acceptance criteria.

use serde::{Deserialize, Serialize};

/// The longest explanation that is kept, in characters.
const EXPLANATION_CHARS: usize = 2_000;

/// How a run's result was graded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The part of the criteria that are met, 0.0 to 1.0; `None` when one could not be judged.
    pub score: Option<f64>,
    /// The whole of it in one sentence.
    pub explanation: String,
    /// The verdict on each criterion, in the agent's order.
    pub results: Vec<Criterion>,
}

/// The verdict on one criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criterion {
    /// What the result must meet, as the agent's version says it.
    pub criterion: String,
    /// Whether it does; not met, as far as anybody knows, when it could not be judged.
    pub met: bool,
    /// Why, at most 2,000 characters: the judge's words, or why it could not be judged.
    pub explanation: String,
}

/// What a judge says of a result and a criterion.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) explanation: String,
    pub(crate) met: bool,
}

impl Evaluation {
    /// What these verdicts come to, or why there is none: each with its criterion.
    pub(crate) fn of(verdicts: impl IntoIterator<Item = (String, Result<Verdict, String>)>) -> Self {
        let (mut results, mut unjudged) = (Vec::new(), Vec::new());
        for (criterion, verdict) in verdicts {
            let (met, explanation) = match verdict {
                Ok(Verdict { met, explanation }) => (met, explanation),
                Err(why) => {
                    unjudged.push(why.clone());
                    (false, format!("could not be judged: {why}"))
                }
            };
            let explanation = explanation.chars().take(EXPLANATION_CHARS).collect();
            results.push(Criterion { criterion, met, explanation });
        }
        let (met, all) = (results.iter().filter(|result| result.met).count(), results.len());
        let explanation = match unjudged.first() {
            None => format!("{met} of {all} criteria are met"),
            Some(why) => {
                format!("{} of {all} criteria could not be judged, so there is no score: {why}", unjudged.len())
            }
        };
        let score = unjudged.is_empty().then(|| part(met, all));
        Self { score, explanation: explanation.chars().take(EXPLANATION_CHARS).collect(), results }
    }
}

/// An agent has few criteria, so that both numbers are exact.
#[expect(clippy::cast_precision_loss, reason = "an agent has at most 50 criteria")]
fn part(met: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { met as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(met: bool) -> Result<Verdict, String> {
        Ok(Verdict { met, explanation: "é".repeat(3_000) })
    }

    #[test]
    fn the_score_is_the_part_that_is_met_and_missing_when_a_verdict_is() {
        let of = |verdicts: Vec<Result<Verdict, String>>| {
            Evaluation::of(verdicts.into_iter().enumerate().map(|(n, verdict)| (n.to_string(), verdict)))
        };
        let graded = of(vec![verdict(true), verdict(false), verdict(true), verdict(true)]);
        assert_eq!((graded.score, graded.explanation.as_str()), (Some(0.75), "3 of 4 criteria are met"));
        assert_eq!((graded.results[1].criterion.as_str(), graded.results[1].met), ("1", false));
        assert_eq!(graded.results[0].explanation.chars().count(), EXPLANATION_CHARS);
        let some = of(vec![verdict(true), Err("no model".to_owned())]);
        assert_eq!(some.score, None);
        assert_eq!(some.explanation, "1 of 2 criteria could not be judged, so there is no score: no model");
        assert_eq!(
            (some.results[1].met, some.results[1].explanation.as_str()),
            (false, "could not be judged: no model")
        );
    }
}
