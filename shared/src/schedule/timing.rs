//! When a schedule's times are: cron patterns in EventBridge's words or plain five fields, rates, and single moments, in a time zone. Pure.

use std::fmt;

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    Zoned, civil,
    tz::{AmbiguousOffset, TimeZone},
};

use crate::{clock::Timestamp, error::Problem};

/// The longest text that says when, in bytes.
pub const SCHEDULE_LIMIT_BYTES: usize = 256;
/// The time zone unless another is said.
pub const TIMEZONE: &str = "UTC";

/// The years of EventBridge's patterns.
const YEARS: std::ops::RangeInclusive<u32> = 1970..=2199;
/// The most of a unit that a rate may have.
const RATE_LIMIT: i64 = 1_000_000;
/// There are no times from the year 2200 on.
const NEVER_MS: i64 = 7_258_118_400_000;
const MINUTE_MS: i64 = 60_000;

/// When a schedule's times are. Made by [`Timing::parse`] alone.
#[derive(Clone)]
pub struct Timing {
    zone: TimeZone,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Cron(Box<Cron>),
    /// So many milliseconds lie between two times.
    Rate(i64),
    At(Timestamp),
}

impl fmt::Debug for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match &self.form {
            Form::Cron(cron) => cron.as_str().to_owned(),
            Form::Rate(ms) => format!("{ms} ms"),
            Form::At(at) => at.rfc3339(),
        };
        write!(f, "Timing({form}, {})", self.timezone())
    }
}

impl Timing {
    /// Reads when it is: `cron(minute hour day month weekday year)` as EventBridge Scheduler has it, five fields of cron,
    /// `rate(5 minutes)`, or `at(2026-12-01T08:00:00)`, by the clocks of that time zone (a name of the IANA database).
    ///
    /// # Errors
    /// What is wrong, of `schedule` or `timezone`.
    pub fn parse(schedule: &str, timezone: &str) -> Result<Self, Problem> {
        let zone = TimeZone::get(timezone).ok().filter(|zone| zone.iana_name().is_some()).ok_or_else(|| Problem {
            field: "timezone".to_owned(),
            message: "must be a time zone's name, as in Europe/Berlin or UTC".to_owned(),
        })?;
        let form = form(schedule, &zone);
        let form = form.map_err(|message| Problem { field: "schedule".to_owned(), message })?;
        Ok(Self { zone, form })
    }

    /// The time zone's name, as the database spells it.
    #[must_use]
    pub fn timezone(&self) -> &str {
        self.zone.iana_name().unwrap_or(TIMEZONE)
    }

    /// The first time after that moment; `None` when there is none any more. A rate counts from `anchor` on.
    ///
    /// There is none from the year 2200 on. A fixed time that the clocks leave out is the first moment after the gap, and one that they show twice is the first of the two. Where
    /// minutes or hours vary, times follow each other as they do on any day. That is cron's usual rule.
    #[must_use]
    pub fn next(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        let next = match &self.form {
            Form::Cron(cron) => moment(&cron.find_next_occurrence(&self.zoned(after)?, false).ok()?),
            Form::Rate(every_ms) => {
                let passed = after.millis().saturating_sub(anchor.millis()).div_euclid(*every_ms).max(0);
                anchor.plus_ms(passed.saturating_add(1).saturating_mul(*every_ms))
            }
            Form::At(at) => *at,
        };
        Some(next).filter(|next| *next > after && next.millis() < NEVER_MS)
    }

    /// The moment by the clocks of the time zone, as in `2026-12-01T08:00:00+01:00`.
    #[must_use]
    pub fn local(&self, at: Timestamp) -> String {
        let shown = self.zoned(at).and_then(|at| jiff::fmt::strtime::format("%Y-%m-%dT%H:%M:%S%:z", &at).ok());
        shown.unwrap_or_else(|| at.rfc3339_seconds())
    }

    fn zoned(&self, at: Timestamp) -> Option<Zoned> {
        jiff::Timestamp::from_millisecond(at.millis()).ok().map(|at| at.to_zoned(self.zone.clone()))
    }
}

fn moment(zoned: &Zoned) -> Timestamp {
    Timestamp::from_millis(zoned.timestamp().as_millisecond())
}

fn form(schedule: &str, zone: &TimeZone) -> Result<Form, String> {
    let text = schedule.trim();
    if text.len() > SCHEDULE_LIMIT_BYTES || !text.is_ascii() {
        return Err(format!("must be at most {SCHEDULE_LIMIT_BYTES} characters of ASCII"));
    }
    let within = |word: &str| text.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')').map(str::trim);
    if let Some(fields) = within("cron") {
        return eventbridge(fields);
    }
    if let Some(rate) = within("rate") {
        return every(rate).map(Form::Rate);
    }
    if let Some(local) = within("at") {
        return at(local, zone).map(Form::At);
    }
    plain(text)
}

/// `minute hour day month weekday year`, with `?` in exactly one of day and weekday, and 1 to 7 for Sunday to Saturday.
fn eventbridge(text: &str) -> Result<Form, String> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday, year] = fields[..] else {
        return Err("cron(…) must have 6 fields: minute, hour, day of month, month, day of week, year".to_owned());
    };
    if (day == "?") == (weekday == "?") {
        return Err("cron(…) must have ? as its day of month or as its day of week, and not as both".to_owned());
    }
    check_letters([minute, hour, day, month, weekday, year])?;
    let numbers = year.split([',', '-']).filter_map(|part| part.split('/').next()?.parse::<u32>().ok());
    if numbers.into_iter().any(|year| !YEARS.contains(&year)) {
        return Err(format!("cron(…) must have years from {} to {}", YEARS.start(), YEARS.end()));
    }
    if weekday.split(['#', 'L', 'l']).next().is_some_and(|part| part.split([',', '-', '/']).any(|part| part == "0")) {
        return Err("cron(…) must have days of week from 1 (Sunday) to 7".to_owned());
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .alternative_weekdays(true)
        .sloppy_ranges(true)
        .dom_and_dow(true)
        .build();
    pattern(&parser, &format!("0 {}", fields.join(" ")))
}

/// The five fields of cron, or `@daily` and the like.
fn plain(text: &str) -> Result<Form, String> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    match fields[..] {
        [name] if name.starts_with('@') => {}
        [minute, hour, day, month, weekday] => {
            check_letters([minute, hour, day, month, weekday, "*"])?;
            if day.contains('?') || weekday.contains('?') {
                return Err("has ? only within cron(…), which has 6 fields".to_owned());
            }
        }
        _ => {
            return Err(
                "must be cron(…), rate(…), at(…), or the 5 fields of cron: minute, hour, day of month, month, \
                        day of week"
                    .to_owned(),
            );
        }
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    pattern(&parser, text)
}

/// Refuses letters where no names are: the parser would put numbers in their place everywhere.
fn check_letters(fields: [&str; 6]) -> Result<(), String> {
    let allowed = |index: usize, byte: u8| match index {
        2 => matches!(byte, b'L' | b'W' | b'l' | b'w' | b'?'),
        3 => byte.is_ascii_alphabetic(),
        4 => byte.is_ascii_alphabetic() || matches!(byte, b'#' | b'?'),
        _ => false,
    };
    let usual = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'*' | b',' | b'-' | b'/');
    // The parser passes over empty parts: a field of nothing else would never be.
    if let Some(field) = fields.iter().find(|field| field.split(',').any(str::is_empty)) {
        return Err(format!("has a field that cannot be: {field}"));
    }
    let odd = fields.iter().enumerate().find(|(index, field)| !field.bytes().all(|b| usual(b) || allowed(*index, b)));
    match odd {
        None => Ok(()),
        Some((_, field)) => Err(format!("has a field that cannot be: {field}")),
    }
}

fn pattern(parser: &CronParser, text: &str) -> Result<Form, String> {
    let cron = parser.parse(text).map_err(|error| format!("is no pattern of cron: {error}"))?;
    Ok(Form::Cron(Box::new(cron)))
}

/// `1 hour` or `5 minutes`, in milliseconds.
fn every(text: &str) -> Result<i64, String> {
    let wrong =
        || "rate(…) must have a whole number and minute(s), hour(s) or day(s), as in rate(5 minutes)".to_owned();
    let (number, unit) = text.split_once(' ').ok_or_else(wrong)?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
    if !(1..=RATE_LIMIT).contains(&number) {
        return Err(format!("rate(…) must have a number from 1 to {RATE_LIMIT}"));
    }
    let minutes = match (unit.trim(), number) {
        ("minute", 1) | ("minutes", 2..) => 1,
        ("hour", 1) | ("hours", 2..) => 60,
        ("day", 1) | ("days", 2..) => 24 * 60,
        _ => return Err(wrong()),
    };
    Ok(number.saturating_mul(minutes).saturating_mul(MINUTE_MS))
}

/// A moment by the clocks there: the first moment after a gap that it is in, and the first of two.
fn at(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    let wrong = || "at(…) must have a time without a zone, as in at(2026-12-01T08:00:00)".to_owned();
    let shaped = text.len() == 19 && text.as_bytes().get(10) == Some(&b'T');
    let local: civil::DateTime = text.parse().ok().filter(|_| shaped).ok_or_else(wrong)?;
    let ambiguous = zone.to_ambiguous_zoned(local);
    let gap = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
    let moment_of = ambiguous.compatible().map_err(|_| wrong())?.timestamp();
    let second = jiff::SignedDuration::from_secs(1);
    let changed = gap.then(|| zone.preceding(moment_of.checked_add(second).ok()?).next()).flatten();
    let moment_of = changed.map_or(moment_of, |change| change.timestamp());
    Ok(Timestamp::from_millis(moment_of.as_millisecond()))
}

#[cfg(test)]
#[path = "timing_tests.rs"]
mod tests;
