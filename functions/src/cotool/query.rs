//! What parameters of lists say. Their forms are our own choice.

use schemars::JsonSchema;
use serde::Serialize;
use shared::{
    Error, Result,
    clock::Timestamp,
    run::{Scores, Source},
};

/// A day, in milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What started a run.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceView {
    /// A call on this surface.
    Api,
    Native,
    Cotera,
    Coagent,
    /// A run, as a sub-agent.
    Agent,
    Schedule,
    Trigger,
}

impl From<Source> for SourceView {
    fn from(source: Source) -> Self {
        match source {
            Source::Cotool => Self::Api,
            Source::Native => Self::Native,
            Source::Cotera => Self::Cotera,
            Source::CoAgent => Self::Coagent,
            Source::SubAgent => Self::Agent,
            Source::Schedule => Self::Schedule,
            Source::Trigger => Self::Trigger,
        }
    }
}

impl SourceView {
    const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Native => "native",
            Self::Cotera => "cotera",
            Self::Coagent => "coagent",
            Self::Agent => "agent",
            Self::Schedule => "schedule",
            Self::Trigger => "trigger",
        }
    }

    /// The source that is called so here.
    pub(super) fn named(name: &str) -> Result<Source, String> {
        let known = || Source::ALL.map(|source| Self::from(source).name()).join(", ");
        let found = Source::ALL.into_iter().find(|source| Self::from(*source).name() == name);
        found.ok_or_else(|| format!("must be some of {}", known()))
    }
}

/// Each of the values that have commas between them; none when the parameter is not given.
pub(super) fn each<T>(field: &str, text: Option<&str>, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>> {
    let one = |value: &str| match value.trim() {
        "" => Err(Error::invalid(field, "must not be empty")),
        value => parse(value).map_err(|message| Error::invalid(field, message)),
    };
    text.into_iter().flat_map(|text| text.split(',')).map(one).collect()
}

/// The first and the last moment, as far as they are given.
pub(super) fn moments(from: Option<&str>, to: Option<&str>) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
    let moment = |field: &str, text: &str, of_day: i64| {
        let day = Timestamp::parse_day(text).map(|day| day.plus_ms(of_day));
        let message = "must be a time as in 2026-11-26T18:30:00Z, or a day as in 2026-11-26";
        day.or_else(|| Timestamp::parse_rfc3339(text)).ok_or_else(|| Error::invalid(field, message))
    };
    let from = from.map(|text| moment("dateFrom", text, 0)).transpose()?;
    let to = to.map(|text| moment("dateTo", text, DAY_MS - 1)).transpose()?;
    if from.zip(to).is_some_and(|(from, to)| to < from) {
        return Err(Error::invalid("dateTo", "must not be before dateFrom"));
    }
    Ok((from, to))
}

/// `none`, a score, or two with `-` between them.
pub(super) fn scores(text: &str) -> Result<Scores, String> {
    if text == "none" {
        return Ok(Scores::None);
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let score = |text: &str| text.trim().parse::<f64>().ok().filter(|score| (0.0..=1.0).contains(score));
    match score(from).zip(score(to)) {
        Some((from, to)) if from <= to => Ok(Scores::Range(from, to)),
        _ => Err("must be none, a score from 0 to 1, or two as in 0.5-1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_none_one_or_a_range() {
        assert_eq!(scores("none"), Ok(Scores::None));
        assert_eq!(scores("0.5"), Ok(Scores::Range(0.5, 0.5)));
        assert_eq!(scores("0 - 1"), Ok(Scores::Range(0.0, 1.0)));
        for bad in ["", "-", "low", "-1", "0-2", "0.6-0.5", "0-0.5-1", "NaN", "inf", "50"] {
            assert!(scores(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_is_whole_and_its_end_is_not_before_its_beginning() {
        let (from, to) = moments(Some("2026-11-26"), Some("2026-11-26")).unwrap();
        let shown = [from, to].map(|at| at.unwrap().rfc3339());
        assert_eq!(shown, ["2026-11-26T00:00:00.000Z", "2026-11-26T23:59:59.999Z"]);
        let (from, _) = moments(Some("2026-11-26T01:00:00+01:00"), None).unwrap();
        assert_eq!(from.unwrap().rfc3339(), "2026-11-26T00:00:00.000Z");
        for (from, to) in [("yesterday", ""), ("2026-11-31", ""), ("2026-11-26", "2026-11-25")] {
            assert!(moments(Some(from), Some(to).filter(|to| !to.is_empty())).is_err(), "{from} {to}");
        }
    }

    #[test]
    fn every_value_of_a_list_is_read() {
        let length = |text: &str| each("f", Some(text), |value| Ok(value.len()));
        assert_eq!(length("a, bb,ccc").unwrap(), [1, 2, 3]);
        assert!(length("a,,b").is_err() && length("").is_err());
        assert_eq!(each("f", None, |value| Ok(value.len())).unwrap(), [0_usize; 0]);
        assert_eq!(SourceView::named("api"), Ok(Source::Cotool));
        assert!(SourceView::named("cotool").is_err_and(|message| message.ends_with("trigger")));
    }
}
