//! A large evaluation: it starts, ends, and stays readable in pages. `MUSTER_TEST_LONG=1` makes it 10,000 cases × 3 configurations.

use std::time::Instant;

use serde_json::{Value, json};

use super::evaluations::{cells, set_of, started};
use crate::harness::{Muster, asked};

/// So many cases by three configurations.
async fn large(muster: Muster, cases: usize) {
    let us = muster.us.new_key(json!({"requests_per_minute": 0, "in_flight": 0})).await;
    let mut configurations = Vec::new();
    for _ in 0..3 {
        configurations.push(json!({"agent_id": us.agent("demo/scripted-l0").await}));
    }
    let set = set_of(&us, cases).await;
    let begun = Instant::now();
    let path = started(&us, &set, json!(configurations)).await;
    let start = begun.elapsed();
    let begun = Instant::now();
    muster.drain().await;
    let runs = begun.elapsed();
    let begun = Instant::now();
    let ended = loop {
        let seen = us.get(&path).await.ok();
        if seen["terminal"] == true {
            break seen;
        }
        assert_eq!(seen["status"], "judging");
    };
    let settle = begun.elapsed();
    let counts = |configuration: &Value| {
        json!([configuration["counts"]["done"], configuration["attempts"], configuration["correct"]])
    };
    let found: Vec<Value> = ended["configurations"].as_array().unwrap().iter().map(counts).collect();
    assert_eq!(found, vec![json!([cases, cases, 0]); 3]);
    let begun = Instant::now();
    let all = cells(&us, &path, 100).await;
    let pages = begun.elapsed();
    assert_eq!(all.len(), 3 * cases);
    for (index, cell) in all.iter().enumerate() {
        let place = json!([cell["index"], cell["case"], cell["configuration"], cell["verdict"]]);
        assert_eq!(place, json!([index, index / 3, index % 3, "wrong"]));
    }
    let begun = Instant::now();
    let lines = us.get(&format!("{path}/results?format=ndjson")).await.text;
    let streamed = begun.elapsed();
    assert_eq!(lines.lines().count(), 3 * cases);
    let begun = Instant::now();
    let csv = us.get(&format!("{path}/results?format=csv")).await.text;
    let csv_took = begun.elapsed();
    let runs_of = |text: &str| text.lines().skip(1).filter(|line| line.contains(",run_")).count();
    assert_eq!((csv.lines().next().unwrap().split(',').count(), runs_of(&csv)), (12, 3 * cases));
    let begun = Instant::now();
    let junit = us.get(&format!("{path}/results?format=junit")).await.text;
    let junit_took = begun.elapsed();
    let document = roxmltree::Document::parse(&junit).unwrap();
    let suites = || document.root_element().children().filter(|child| child.is_element());
    assert_eq!(suites().count(), 3);
    for (configuration, suite) in suites().enumerate() {
        let tests = suite.children().filter(|child| child.has_tag_name("testcase"));
        let names: Vec<&str> = tests.map(|test| test.attribute("name").unwrap()).collect();
        let expected: Vec<String> = (0..cases).map(|n| format!("case {n}")).collect();
        assert_eq!(names, expected, "of configuration {configuration}");
        assert_eq!(suite.attribute("failures"), Some(cases.to_string().as_str()));
    }
    let begun = Instant::now();
    let html = us.get(&format!("{path}/results?format=html")).await.text;
    let html_took = begun.elapsed();
    assert!(html.contains(&format!("{cases} cases were missed")), "{html}");
    assert_eq!(html.matches("<details").count(), 3 * cases.min(200));
    println!("CSV in {csv_took:?}, JUnit in {junit_took:?}, the page in {html_took:?}");
    let page = pages / u32::try_from((3 * cases).div_ceil(100)).unwrap();
    println!(
        "{cases} cases × 3: accepted in {start:?}, run in {runs:?}, settled in {settle:?}, a page of 100 in {page:?}, all lines in {streamed:?}"
    );
}

/// On one backend: DynamoDB's emulator commits one write at a time. What is read and written there is the same with few cases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_evaluation_ends_and_is_read() {
    let cases = if asked("MUSTER_TEST_LONG").is_some() { 10_000 } else { 300 };
    large(Muster::on_sqlite().await, cases).await;
}
