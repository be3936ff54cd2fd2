//! The page of an evaluation: one file that needs no network and no script. Every text of others is escaped where it is written.

use bytes::Bytes;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use shared::evaluation::{Cell, Verdict};

use super::{
    super::evaluation_views::{ConfigurationView, EvaluationView, IntervalView},
    cases::{Missed, SHOWN},
    plot::plot,
    text::{cost, percent, printable, seconds, usd},
    words::{name, why},
};

/// What the browser may load for the page: nothing; its style is in it.
pub(in super::super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Ours, and without a character that ends a style element.
const STYLE: &str = include_str!("page.css");

/// The page. While the evaluation runs, figures are left out.
pub(in super::super) fn page(report: &EvaluationView, missed: &Missed) -> Bytes {
    let title = format!("Evaluation {}", report.id);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(report, &title))
                h2 { "Configurations" }
                (configurations(report))
                @if report.terminal { (prices(report)) }
                (cases(report, missed))
            }
        }
    };
    page.into_string().into()
}

fn head(report: &EvaluationView, title: &str) -> Markup {
    html! {
        h1 { (title) }
        p class="faint" {
            (report.cases) " cases of test set " code { (report.test_set_id) } " × " (report.configurations.len()) " configurations. Started "
            (report.created_at)
            @if let Some(ended_at) = &report.ended_at { ", ended " (ended_at) }
            "."
        }
        p class="faint" { "Cost " (cost(report.cost_micro_usd)) ", the judge's besides it " (cost(report.judge_cost_micro_usd)) "." }
        @if !report.terminal {
            p class="notice" { strong { "Not finished" } ": it is " (report.status) ". Counts and costs are those of this moment; figures come when it has ended." }
        }
    }
}

fn configurations(report: &EvaluationView) -> Markup {
    html! {
        div class="wide" {
            table {
                thead {
                    tr {
                        th class="n" { "№" }
                        th { "Agent" }
                        th { "Model" }
                        th class="n" { "Correct" }
                        th class="n" { "Price per correct" }
                        th class="n" { "Cost" }
                        th class="n" { "Model calls" }
                        th class="n" { "Time" }
                    }
                }
                tbody {
                    @for (number, column) in (1..).zip(&report.configurations) { (configuration(report, number, column)) }
                }
            }
        }
        p class="faint" {
            "Below correctness and price: their 95 % intervals. The two intervals of a configuration are one: the price follows from how many are correct. "
            "Errors are misses, and every model call counts, also failed and retried ones. Time: half of the runs took at most that, and 95 of a hundred the p95."
        }
    }
}

fn configuration(report: &EvaluationView, number: usize, column: &ConfigurationView) -> Markup {
    let between = |interval: Option<IntervalView>, write: fn(f64) -> String| {
        interval.map(|IntervalView { low, high }| format!("{} to {}", write(low), write(high)))
    };
    let failed = column.counts.error.saturating_add(column.counts.interrupted);
    html! {
        tr class=[(column.unbeaten == Some(true)).then_some("unbeaten")] {
            td class="n" { (number) }
            td class="name" {
                (printable(&column.agent_name))
                small { "version " (column.agent_version) }
                @if column.unbeaten == Some(true) { small class="best" { "not beaten" } }
            }
            td class="name" { (printable(&column.model)) }
            td class="n" {
                @match (column.correct, column.correctness) {
                    (Some(correct), Some(share)) => { (percent(share)) small { (correct) " of " (report.cases) } }
                    _ => { "–" small { (column.counts.done.saturating_add(failed)) " of " (report.cases) " ended" } }
                }
                @if let Some(between) = between(column.correctness_interval, percent) { small { (between) } }
                @if failed > 0 { small { (failed) " without an answer" } }
            }
            td class="n" {
                (column.price_per_correct_micro_usd.map_or_else(|| "–".to_owned(), usd))
                @if let Some(between) = between(column.price_per_correct_interval, usd) { small { (between) } }
                @if let Some(reason) = column.no_price_reason { small { (why_not(reason)) } }
            }
            td class="n" { (cost(column.cost_micro_usd)) small { "judge: " (cost(column.judge_cost_micro_usd)) } }
            td class="n" { (column.attempts) }
            td class="n" {
                @match (column.p50_ms, column.p95_ms) {
                    (Some(p50), Some(p95)) => { (seconds(p50)) " s" small { "p95: " (seconds(p95)) " s" } }
                    _ => "–",
                }
            }
        }
    }
}

fn why_not(reason: &str) -> &str {
    match reason {
        "unknown_price" => "a price is not known",
        "nothing_correct" => "nothing is correct",
        "not_ended" => "not ended yet",
        "test_set_deleted" => "the test set was deleted",
        other => other,
    }
}

fn prices(report: &EvaluationView) -> Markup {
    let unpriced: Vec<(usize, &ConfigurationView)> =
        (1..).zip(&report.configurations).filter(|(_, column)| column.price_per_correct_micro_usd.is_none()).collect();
    html! {
        h2 { "Price per correct answer against correctness" }
        @match plot(report) {
            Some(plot) => figure { (plot) (legend()) },
            None => p { "No configuration has a price per correct answer." },
        }
        @if !unpriced.is_empty() {
            p { "Without a price per correct answer:" }
            ul {
                @for (number, column) in unpriced {
                    li {
                        (number) ": " (printable(&name(column))) ": " (why_not(column.no_price_reason.unwrap_or("not known")))
                        @if let Some(share) = column.correctness { " (" (percent(share)) " correct)" }
                    }
                }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        figcaption {
            span { svg width="16" height="14" { circle class="point unbeaten" cx="8" cy="7" r="5" {} } "beaten by no other on both" }
            span { svg width="16" height="14" { circle class="point" cx="8" cy="7" r="5" {} } "beaten" }
            span { svg width="28" height="14" { path class="front" d="M0 7H28" {} } "the best for each price" }
            span { svg width="28" height="14" { path class="bar" d="M2 7H26M2 3v8M26 3v8" {} } "95 % interval" }
            span { "Numbers as in the table. Up and to the left is better." }
        }
    }
}

fn cases(report: &EvaluationView, missed: &Missed) -> Markup {
    html! {
        h2 { "Cases that were missed" }
        @if missed.number == 0 {
            p { @if report.terminal { "None." } @else { "None yet." } }
        } @else {
            p class="faint" {
                (missed.number) " cases were missed by at least one configuration"
                @if missed.number > SHOWN { "; the first " (SHOWN) " of them are here, all are in the CSV" }
                "."
            }
            div class="wide" {
                table {
                    thead {
                        tr {
                            th { "Case" }
                            @for (number, column) in (1..).zip(&report.configurations) { th title=(printable(&name(column))) { (number) } }
                        }
                    }
                    tbody {
                        @for case in &missed.cases {
                            tr {
                                td class="name" { (named(case)) }
                                @for cell in case { td { (verdict(cell)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn named(case: &[Cell]) -> Markup {
    let Some(first) = case.first() else { return html! {} };
    html! {
        @match &first.custom_id {
            Some(id) => { (printable(id)) small { "case " (first.case) } }
            None => { "case " (first.case) }
        }
    }
}

fn verdict(cell: &Cell) -> Markup {
    let class = cell.verdict.name();
    let words = match cell.verdict {
        Verdict::Correct => "✓ correct",
        Verdict::Wrong(_) => "✗ wrong",
        Verdict::NoAnswer => "✗ no answer",
        Verdict::Pending => "… pending",
    };
    let Some(why) = why(cell) else { return html! { span class=(class) { (words) } } };
    html! {
        details class=(class) {
            summary { (words) }
            p { (printable(&why)) }
            @if let Some(output) = &cell.output { pre { (printable(output)) } }
            p { code { (cell.run_id.prefixed()) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    fn text(report: &EvaluationView, cells: Vec<Cell>) -> String {
        let mut missed = Missed::default();
        cells.into_iter().for_each(|cell| missed.take(cell));
        String::from_utf8(page(report, &missed.all()).to_vec()).unwrap()
    }

    #[test]
    fn a_page_needs_nothing_else() {
        let text = text(&samples::report(20), vec![samples::cell(0, 0, Verdict::NoAnswer)]);
        assert!(text.starts_with("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">"), "{text}");
        for outside in ["<script", "<link", "<img", "<iframe", "src=", "href=", "url(", "@import", "NaN"] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert_eq!(text.matches("<style>").count(), 1);
        assert!(text.ends_with("</body></html>"));
    }

    #[test]
    fn the_words_of_others_are_escaped_wherever_they_stand() {
        let odd = "</td></svg><script>alert(\"1\")</script>&amp;\u{0}🦀";
        let mut report = samples::of(&[(Some(1.0), 5), (None, 0)]);
        for column in &mut report.configurations {
            column.agent_name = odd.to_owned();
            column.model = odd.to_owned();
        }
        let cell = |configuration| Cell {
            custom_id: Some(odd.to_owned()),
            output: Some(odd.to_owned()),
            ..samples::cell(0, configuration, samples::wrong(&[odd]))
        };
        let text = text(&report, vec![cell(0), cell(1)]);
        assert!(!text.contains("<script") && !text.contains("alert(\"") && !text.contains('\u{0}'), "{text}");
        assert_eq!(text.matches("</svg>").count(), 5);
        let escaped = "&lt;/td&gt;&lt;/svg&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;amp;\u{fffd}🦀";
        assert!(text.matches(escaped).count() >= 10, "{text}");
    }

    #[test]
    fn figures_reasons_and_missed_cases_are_told() {
        let report = samples::of(&[(Some(120.0), 7), (None, 0)]);
        let cells = vec![samples::cell(0, 0, Verdict::Correct), samples::cell(0, 1, samples::wrong(&["no"]))];
        let text = text(&report, cells);
        let told = [
            "70.0 %",
            "7 of 10",
            "39.7 % to 89.2 %",
            "1 without an answer",
            "$0.00012",
            "a price is not known",
            "1.500",
            "61.000",
            "not beaten",
        ];
        for told in told.into_iter().chain(["✓ correct", "✗ wrong", "validation 1: no", samples::RUN, "case-0"]) {
            assert!(text.contains(told), "{told}: {text}");
        }
        assert!(!text.contains("Not finished"));
    }

    #[test]
    fn an_evaluation_that_runs_says_so_and_has_no_plot() {
        let mut report = samples::of(&[(None, 0)]);
        (report.terminal, report.status, report.ended_at) = (false, "running", None);
        let column = &mut report.configurations[0];
        (column.correct, column.correctness, column.no_price_reason) = (None, None, Some("not_ended"));
        let text = text(&report, vec![]);
        assert!(
            text.contains("Not finished") && text.contains("10 of 10 ended") && text.contains("None yet."),
            "{text}"
        );
        assert!(!text.contains("<svg"));
    }

    #[test]
    fn so_many_cases_are_shown() {
        let cells = (0..300).map(|case| samples::cell(case, 0, Verdict::NoAnswer)).collect();
        let text = text(&samples::report(1), cells);
        assert!(text.contains("300 cases were missed") && text.contains("the first 200"));
        assert_eq!(text.matches("<details").count(), 200);
    }
}
