//! The results of an evaluation as CSV, JUnit XML and a page: what they say is what the matrix says, whatever texts are in it.

use roxmltree::{Document, Node};
use serde_json::{Value, json};

use super::evaluations::{cells, set_of, started};
use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(
    csv_has_a_line_for_each_cell,
    junit_has_a_suite_for_each_configuration,
    the_page_has_figures_plot_and_missed_cases,
    accept_says_the_format,
    what_has_not_ended_is_no_junit_and_an_unfinished_page,
    without_verdicts_there_is_no_report,
);

const ODD: &str = "<b>\"x\" & 'y' ]]> 🦀";
const ATTACK: &str = "<script>alert(\"1\")</script> ]]> \u{1}🦀";

/// Four cases, of which the first and the last are missed, with three configurations: a priced one with an odd name, one without an answer,
/// and one without a price.
async fn odd(muster: &Muster) -> String {
    let case = |id: Value, say: &str, expected: &str| {
        json!({"custom_id": id, "message": format!("say {say}"), "validations": [
            {"content_match": {"pattern": "."}}, {"exact": {"expected": expected}},
        ]})
    };
    let cases = [
        case(json!(ODD), ATTACK, "else"),
        case(json!("=1+1"), "=HYPERLINK(\"x\")", "=HYPERLINK(\"x\")"),
        case(json!(null), "-5", "-5"),
        case(json!("last"), "two", "three"),
    ];
    let set = text(&muster.us.post("/v1/test_sets", json!({"name": "odd", "items": cases})).await.status(201), "id");
    let named = json!({"name": format!("Odd {ODD}"), "model": "openai/fake"});
    let agent = text(&muster.us.post("/v1/agents", named).await.status(201), "id");
    let configurations = json!([
        {"agent_id": agent}, {"agent_id": agent, "model": "openai/fake-q"}, {"agent_id": agent, "model": "openai/fake-l1"},
    ]);
    let path = started(&muster.us, &set, configurations).await;
    muster.drain().await;
    assert_eq!(muster.us.get(&path).await.ok()["status"], "done");
    path
}

async fn report(client: &Client, path: &str, format: &str) -> String {
    let answer = client.get(&format!("{path}/results?format={format}")).await;
    assert_eq!((answer.code, answer.header("x-content-type-options")), (200, "nosniff"), "{}", answer.text);
    answer.text
}

/// The records of a CSV text, the names first.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(ToOwned::to_owned).collect()).collect()
}

async fn csv_has_a_line_for_each_cell(muster: Muster) {
    let path = odd(&muster).await;
    let view = muster.us.get(&path).await.ok();
    let cells = cells(&muster.us, &path, 100).await;
    let records = records(&report(&muster.us, &path, "csv").await);
    assert_eq!(
        records[0].join(","),
        "case,custom_id,agent_id,agent_version,model,run_id,verdict,why,cost_micro_usd,judge_cost_micro_usd,run_ms,output"
    );
    assert_eq!(records.len(), 1 + cells.len());
    for (record, cell) in records[1..].iter().zip(&cells) {
        let column = &view["configurations"][usize::try_from(cell["configuration"].as_u64().unwrap()).unwrap()];
        let of =
            |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned).replace("null", "");
        let expected = [
            of(&cell["case"]),
            of(&cell["custom_id"]).replace("=1+1", "'=1+1"),
            of(&column["agent_id"]),
            of(&column["agent_version"]),
            of(&column["model"]),
            of(&cell["run_id"]),
            of(&cell["verdict"]),
        ];
        assert_eq!(record[..7], expected);
        let figures = ["cost_micro_usd", "judge_cost_micro_usd", "run_ms"].map(|name| of(&cell[name]));
        assert_eq!(record[8..11], figures);
        assert_eq!(record[11], of(&cell["output"]).replace("=HYPER", "'=HYPER"));
    }
    assert_eq!(
        (records[1][11].as_str(), records[4][11].as_str()),
        (ATTACK, "'=HYPERLINK(\"x\")"),
        "as the agent said it"
    );
    assert_eq!((records[7][1].as_str(), records[7][11].as_str()), ("", "-5"));
    assert_eq!(records[1][7], "validation 2: the answer is another text");
    assert_eq!((records[2][6].as_str(), records[2][7].as_str()), ("no_answer", text(&cells[1], "error").as_str()));
}

fn children<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Vec<Node<'a, 'b>> {
    node.children().filter(|child| child.has_tag_name(name)).collect()
}

fn counted(node: Node<'_, '_>) -> [u64; 3] {
    ["tests", "failures", "errors"].map(|name| node.attribute(name).unwrap().parse().unwrap())
}

async fn junit_has_a_suite_for_each_configuration(muster: Muster) {
    let path = odd(&muster).await;
    let cells = cells(&muster.us, &path, 100).await;
    let answer = muster.us.get(&format!("{path}/results?format=junit")).await;
    assert_eq!(answer.header("content-type"), "application/xml; charset=utf-8");
    let document = Document::parse(&answer.text).unwrap();
    let root = document.root_element();
    assert_eq!((root.tag_name().name(), counted(root)), ("testsuites", [12, 4, 4]));
    let suites = children(root, "testsuite");
    let names: Vec<&str> = suites.iter().map(|suite| suite.attribute("name").unwrap()).collect();
    let name = |model: &str| format!("Odd {ODD} v1 / openai/{model}");
    assert_eq!(names, [name("fake"), name("fake-q"), name("fake-l1")]);
    assert_eq!(suites.iter().map(|suite| counted(*suite)).collect::<Vec<_>>(), [[4, 2, 0], [4, 0, 4], [4, 2, 0]]);
    let mut took = 0;
    for (configuration, suite) in suites.iter().enumerate() {
        let tests = children(*suite, "testcase");
        assert_eq!(
            tests.iter().map(|test| test.attribute("name").unwrap()).collect::<Vec<_>>(),
            [ODD, "=1+1", "case 2", "last"]
        );
        for (case, test) in tests.iter().enumerate() {
            let cell = &cells[case * 3 + configuration];
            let ms = cell["run_ms"].as_u64().unwrap();
            took += ms;
            assert_eq!(test.attribute("time").unwrap(), format!("{}.{:03}", ms / 1_000, ms % 1_000));
            assert_eq!(test.attribute("classname"), suite.attribute("name"));
            let kind = test.first_element_child().map_or("", |child| child.tag_name().name());
            let expected = [("correct", ""), ("wrong", "failure"), ("no_answer", "error")];
            assert!(expected.contains(&(&text(cell, "verdict"), kind)), "{cell} is a {kind}");
        }
    }
    assert_eq!(root.attribute("time").unwrap(), format!("{}.{:03}", took / 1_000, took % 1_000));
    let failure = children(children(suites[0], "testcase")[0], "failure")[0];
    let why = "validation 2: the answer is another text";
    assert_eq!((failure.attribute("message"), failure.attribute("type")), (Some(why), Some("wrong")));
    let said = ATTACK.replace('\u{1}', "\u{fffd}");
    assert_eq!(failure.text().unwrap(), format!("{why}\nanswer: {said}\nrun: {}", text(&cells[0], "run_id")));
    let error = children(children(suites[1], "testcase")[0], "error")[0];
    assert_eq!(error.attribute("message"), Some(text(&cells[1], "error").as_str()));
    let property = |suite: Node<'_, '_>, name: &str| {
        let found = suite.descendants().find(|node| node.attribute("name") == Some(name));
        found.map(|node| node.attribute("value").unwrap().to_owned())
    };
    assert_eq!(property(suites[0], "correct").as_deref(), Some("2"));
    assert_eq!(property(suites[1], "no_price_reason").as_deref(), Some("nothing_correct"));
    assert_eq!(property(suites[2], "price_per_correct_micro_usd"), None);
}

async fn the_page_has_figures_plot_and_missed_cases(muster: Muster) {
    let path = odd(&muster).await;
    let answer = muster.us.get(&format!("{path}/results?format=html")).await;
    assert_eq!((answer.code, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(answer.header("content-security-policy"), "default-src 'none'; style-src 'unsafe-inline'");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let page = answer.text;
    assert!(!page.contains("<script") && !page.contains('\u{1}') && !page.contains("<b>"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; ]]&gt; \u{fffd}🦀"), "{page}");
    let plot = page.split_once("<svg class=\"plot\"").unwrap().1.split_once("</svg>").unwrap().0;
    assert_eq!(plot.matches("<circle class=\"point unbeaten\"").count(), 1, "one has a price: {plot}");
    assert_eq!(plot.matches("<circle").count(), 1);
    for told in
        ["50.0 %", "2 of 4", "4 without an answer", "a price is not known", "nothing is correct", "4 cases were missed"]
    {
        assert!(page.contains(told), "{told}: {page}");
    }
    // The second configuration has no answer to any case, so all are there: 4 of its own, and two of each of the others.
    assert_eq!(page.matches("<details").count(), 8);
}

async fn accept_says_the_format(muster: Muster) {
    let path = odd(&muster).await;
    let results = format!("{path}/results");
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (accept, media) in [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/xml", "application/xml; charset=utf-8"),
        ("application/xml", "application/xml; charset=utf-8"),
        (browser, "text/html; charset=utf-8"),
    ] {
        let us = muster.us.with("accept", accept);
        assert_eq!(us.get(&results).await.header("content-type"), media, "{accept}");
        let json = us.get(&format!("{results}?format=json")).await;
        assert_eq!(json.header("content-type"), "application/json", "what is asked for by name goes before {accept}");
    }
    assert_eq!(muster.us.get(&format!("{results}?format=xml")).await.param(), "format");
}

async fn what_has_not_ended_is_no_junit_and_an_unfinished_page(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let set = set_of(&muster.us, 3).await;
    let path = started(&muster.us, &set, json!([{"agent_id": agent}])).await;
    let refused = muster.us.get(&format!("{path}/results?format=junit")).await;
    assert!(refused.text.contains("the evaluation is running"), "{}", refused.text);
    assert_eq!(refused.code_of(409), "conflict");
    let page = report(&muster.us, &path, "html").await;
    assert!(page.contains("Not finished") && page.contains("0 of 3 ended") && !page.contains("<svg"), "{page}");
    let records = records(&report(&muster.us, &path, "csv").await);
    assert_eq!(records[1..].iter().map(|record| record[6].as_str()).collect::<Vec<_>>(), ["pending"; 3]);
    muster.drain().await;
    assert!(report(&muster.us, &path, "junit").await.contains("tests=\"3\" failures=\"0\" errors=\"0\""));
    assert!(!report(&muster.us, &path, "html").await.contains("Not finished"));
}

async fn without_verdicts_there_is_no_report(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let set = set_of(&muster.us, 2).await;
    let path = started(&muster.us, &set, json!([{"agent_id": agent}])).await;
    muster.us.send("DELETE", &format!("/v1/test_sets/{set}"), "").await;
    muster.drain().await;
    assert_eq!(muster.us.get(&path).await.ok()["status"], "done");
    for format in ["csv", "junit", "html", "ndjson"] {
        let refused = muster.us.get(&format!("{path}/results?format={format}")).await;
        assert!(refused.text.contains("the test set was deleted"), "{format}: {}", refused.text);
        assert_eq!(refused.code_of(409), "conflict");
    }
    let nobody = muster.them.get(&format!("{path}/results?format=html")).await;
    assert_eq!(nobody.code_of(404), "not_found");
}
