use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap_or_else(|| panic!("{text}"))
}

/// The next times after that moment, in UTC, without their zeros.
fn times(schedule: &str, timezone: &str, after: &str, count: usize) -> Vec<String> {
    let (timing, anchor) = (Timing::parse(schedule, timezone).unwrap(), at(after));
    let times = std::iter::successors(timing.next(anchor, anchor), |time| timing.next(*time, anchor));
    times.take(count).map(|time| time.rfc3339_seconds().replace(":00Z", "Z")).collect()
}

#[test]
fn patterns_are_what_they_say() {
    let after = "2026-11-27T12:00:00Z";
    for (schedule, expected) in [
        ("*/15 * * * *", ["2026-11-27T12:15Z", "2026-11-27T12:30Z", "2026-11-27T12:45Z"]),
        ("0 9 * * MON-FRI", ["2026-11-30T09:00Z", "2026-12-01T09:00Z", "2026-12-02T09:00Z"]),
        ("0 9 * * 1-5", ["2026-11-30T09:00Z", "2026-12-01T09:00Z", "2026-12-02T09:00Z"]),
        // In plain cron either the day or the weekday will do.
        ("0 0 1 * SUN", ["2026-11-29T00:00Z", "2026-12-01T00:00Z", "2026-12-06T00:00Z"]),
        ("@daily", ["2026-11-28T00:00Z", "2026-11-29T00:00Z", "2026-11-30T00:00Z"]),
        ("0 0 29 2 *", ["2028-02-29T00:00Z", "2032-02-29T00:00Z", "2036-02-29T00:00Z"]),
        ("cron(0/15 * * * ? *)", ["2026-11-27T12:15Z", "2026-11-27T12:30Z", "2026-11-27T12:45Z"]),
        ("cron(0 9 ? * MON-FRI *)", ["2026-11-30T09:00Z", "2026-12-01T09:00Z", "2026-12-02T09:00Z"]),
        // 1 is Sunday there.
        ("cron(0 9 ? * 2-6 *)", ["2026-11-30T09:00Z", "2026-12-01T09:00Z", "2026-12-02T09:00Z"]),
        ("cron(0 9 ? * 1 *)", ["2026-11-29T09:00Z", "2026-12-06T09:00Z", "2026-12-13T09:00Z"]),
        ("cron(0 9 ? * 7 *)", ["2026-11-28T09:00Z", "2026-12-05T09:00Z", "2026-12-12T09:00Z"]),
        ("cron(30 10 L * ? *)", ["2026-11-30T10:30Z", "2026-12-31T10:30Z", "2027-01-31T10:30Z"]),
        ("cron(0 8 1W * ? *)", ["2026-12-01T08:00Z", "2027-01-01T08:00Z", "2027-02-01T08:00Z"]),
        ("cron(0 8 ? * 3#2 *)", ["2026-12-08T08:00Z", "2027-01-12T08:00Z", "2027-02-09T08:00Z"]),
        ("cron(0 8 ? * TUE#2 *)", ["2026-12-08T08:00Z", "2027-01-12T08:00Z", "2027-02-09T08:00Z"]),
        ("cron(0 8 ? * 6L *)", ["2026-12-25T08:00Z", "2027-01-29T08:00Z", "2027-02-26T08:00Z"]),
        ("cron(0 0 1 JAN,jul ? 2026-2027)", ["2027-01-01T00:00Z", "2027-07-01T00:00Z", ""]),
        ("rate(5 minutes)", ["2026-11-27T12:05Z", "2026-11-27T12:10Z", "2026-11-27T12:15Z"]),
        ("rate(1 hour)", ["2026-11-27T13:00Z", "2026-11-27T14:00Z", "2026-11-27T15:00Z"]),
        ("rate(1 day)", ["2026-11-28T12:00Z", "2026-11-29T12:00Z", "2026-11-30T12:00Z"]),
        ("at(2026-12-01T08:00:00)", ["2026-12-01T08:00Z", "", ""]),
    ] {
        let expected: Vec<&str> = expected.into_iter().filter(|time| !time.is_empty()).collect();
        assert_eq!(times(schedule, "UTC", after, 3), expected, "{schedule}");
    }
}

#[test]
fn clocks_that_change_leave_nothing_out_and_repeat_nothing() {
    let daily = "30 2 * * *";
    // (schedule, time zone, after, times)
    let table: &[(&str, &str, &str, &[&str])] = &[
        // 02:00 to 03:00 is left out on 29 March 2026 in Berlin: the first moment after it.
        (
            daily,
            "Europe/Berlin",
            "2026-03-27T12:00:00Z",
            &["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"],
        ),
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00Z", "2026-03-30T00:30Z"]),
        // And is there twice on 25 October: once.
        (daily, "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:15:00Z",
            &["2026-03-29T00:30Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z"],
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:45:00Z",
            &["2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z"],
        ),
        (daily, "America/New_York", "2026-03-07T12:00:00Z", &["2026-03-08T07:00Z", "2026-03-09T06:30Z"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", &["2026-11-01T05:30Z", "2026-11-02T06:30Z"]),
        // Half an hour: 02:00 is 02:30 on 4 October 2026, and 02:00 is 01:30 on 5 April.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", &["2026-10-03T15:30Z", "2026-10-04T15:15Z"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", &["2026-04-04T14:45Z", "2026-04-05T15:15Z"]),
        // A rate is of time that passes.
        ("rate(1 day)", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T12:00Z", "2026-03-30T12:00Z"]),
        ("at(2026-03-29T02:30:00)", "Europe/Berlin", "2026-01-01T00:00:00Z", &["2026-03-29T01:00Z"]),
        ("at(2026-03-29T02:00:00)", "Europe/Berlin", "2026-01-01T00:00:00Z", &["2026-03-29T01:00Z"]),
        ("at(2026-10-25T02:30:00)", "Europe/Berlin", "2026-01-01T00:00:00Z", &["2026-10-25T00:30Z"]),
        ("at(2026-10-04T02:15:00)", "Australia/Lord_Howe", "2026-01-01T00:00:00Z", &["2026-10-03T15:30Z"]),
    ];
    for (schedule, timezone, after, expected) in table {
        assert_eq!(times(schedule, timezone, after, expected.len()), *expected, "{schedule} {timezone}");
    }
    // Whoever looks between the two halves of an hour that is there twice does not run a fixed time again.
    assert_eq!(times(daily, "Europe/Berlin", "2026-10-25T01:10:00Z", 1), ["2026-10-26T01:30Z"]);
}

#[test]
fn a_rate_counts_from_its_anchor_on() {
    let timing = Timing::parse("rate(10 minutes)", "UTC").unwrap();
    let anchor = at("2026-11-27T12:03:07.123Z");
    for (after, next) in [
        ("2026-11-27T11:00:00Z", "2026-11-27T12:13:07.123Z"),
        ("2026-11-27T12:03:07.123Z", "2026-11-27T12:13:07.123Z"),
        ("2026-11-27T12:13:07.122Z", "2026-11-27T12:13:07.123Z"),
        ("2026-11-27T12:13:07.123Z", "2026-11-27T12:23:07.123Z"),
        ("2027-11-27T12:13:07.123Z", "2027-11-27T12:23:07.123Z"),
    ] {
        assert_eq!(timing.next(at(after), anchor), Some(at(next)), "{after}");
    }
}

#[test]
fn a_moment_is_shown_by_the_clocks_there() {
    let timing = Timing::parse("@daily", "europe/berlin").unwrap();
    assert_eq!(timing.timezone(), "Europe/Berlin");
    assert_eq!(timing.local(at("2026-03-29T01:00:00Z")), "2026-03-29T03:00:00+02:00");
    assert_eq!(Timing::parse("@daily", "UTC").unwrap().local(at("2026-03-29T01:00:00Z")), "2026-03-29T01:00:00+00:00");
}

#[test]
fn what_is_no_time_is_refused() {
    for schedule in [
        "",
        "now",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        ", * * * *",
        "0,,5 * * * *",
        "* 24 * * *",
        "0 0 32 * *",
        "0 0 * 13 *",
        "0 0 ? * *",
        "JAN * * * *",
        "0 0 * * +MON",
        "@sometimes",
        "@daily\n@hourly",
        "cron()",
        "cron(0 9 * * *)",
        "cron(0 9 * * * *)",
        "cron(0 9 ? * ? *)",
        "cron(0 9 ? * 0 *)",
        "cron(0 9 ? * 8 *)",
        "cron(0 9 ? * MON-0 *)",
        "cron(0 9 1 * ? 1969)",
        "cron(0 9 1 * ? 2200)",
        "cron(0 9 1 * ? 2026-2300)",
        "cron(0 0 9 1 * ? 2026)",
        "cron(MON 9 1 * ? *)",
        "rate(5)",
        "rate(0 minutes)",
        "rate(1 minutes)",
        "rate(5 minute)",
        "rate(-5 minutes)",
        "rate(+5 minutes)",
        "rate(5 seconds)",
        "rate(1.5 hours)",
        "rate(9999999999 days)",
        "at(2026-12-01)",
        "at(2026-12-01T08:00:00Z)",
        "at(2026-12-01 08:00:00)",
        "at(2026-02-30T08:00:00)",
        "at(2026-12-01T08:00:00+01:00)",
        "täglich",
        &"1,".repeat(200),
    ] {
        let refused = Timing::parse(schedule, "UTC");
        assert_eq!(refused.map_err(|problem| problem.field).unwrap_err(), "schedule", "{schedule}");
    }
    for timezone in ["", "Berlin", "Europe/Nowhere", "+01:00", "../UTC", "local"] {
        let refused = Timing::parse("@daily", timezone);
        assert_eq!(refused.map_err(|problem| problem.field).unwrap_err(), "timezone", "{timezone}");
    }
}

#[test]
fn what_never_happens_has_no_time() {
    let now = at("2026-11-27T12:00:00Z");
    for schedule in [
        "0 0 30 2 *",
        "cron(0 0 31 4 ? *)",
        "cron(0 0 1 1 ? 2025)",
        "at(2026-11-27T12:00:00)",
        "at(2200-01-01T00:00:00)",
        "rate(100000 days)",
    ] {
        assert_eq!(Timing::parse(schedule, "UTC").unwrap().next(now, now), None, "{schedule}");
    }
}

/// Words of patterns, so that many are nearly right.
fn nearly_a_schedule() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "*",
        "?",
        "0",
        "5",
        "29",
        "30",
        "31",
        "L",
        "1W",
        "LW",
        "FRI#5",
        "2#1",
        "6L",
        "MON-FRI",
        "FEB",
        "2,12",
        "1-5",
        "0/7",
        "*/13",
        "2027",
        "2026-2030",
        "+1",
        "-",
        "/",
        "99999999999999999999",
        "cron(",
        ")",
        "rate(",
        "at(",
        "@daily",
        "hours",
        "é",
    ]);
    prop::collection::vec(part, 1..8).prop_flat_map(|parts| {
        let fields = parts.join(" ");
        prop::sample::select(vec![
            fields.clone(),
            format!("cron({fields})"),
            format!("rate({fields})"),
            format!("at({fields})"),
        ])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_is_too_odd(
        schedule in prop_oneof![nearly_a_schedule(), ".{0,40}"],
        timezone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "x"]),
        after in prop_oneof![0_i64..4_102_444_800_000, any::<i64>()],
    ) {
        let after = Timestamp::from_millis(after);
        if let Ok(timing) = Timing::parse(&schedule, timezone)
            && let Some(next) = timing.next(after, after)
        {
            prop_assert!(next > after, "{schedule} {timezone}: {next:?}");
        }
    }

    /// Times go on, and none lies between one and the next.
    #[test]
    fn times_follow_each_other(
        minute in 0_u32..60, hour in 0_u32..24, every in prop::sample::select(vec!["*", "*/2", "H"]),
        timezone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
        begin in 1_767_225_600_000_i64..1_798_761_600_000,
    ) {
        let hours = every.replace('H', &hour.to_string());
        let timing = Timing::parse(&format!("{minute} {hours} * * *"), timezone).unwrap();
        let after = Timestamp::from_millis(begin);
        let next = timing.next(after, after).unwrap();
        let longest = if every == "H" { 25 * 60 + 60 } else { 3 * 60 };
        prop_assert!(next.since_ms(after) <= longest * 60_000);
        for between in [1, next.since_ms(after) / 2, next.since_ms(after) - 1] {
            let between = after.plus_ms(i64::try_from(between).unwrap());
            if between < next {
                prop_assert_eq!(timing.next(between, after), Some(next));
            }
        }
    }
}
