//! What a model call costs this process: CPU and memory of so many calls that wait at the same time.
//!
//! `cargo run --release -p shared --example model_calls -- http://127.0.0.1:9099 [calls] [model] [rounds] [streamed]` against a model
//! server.
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::{error::Error, sync::Arc, time::Instant};

use shared::model::{Deltas, Request, ToolMode, Turn, catalogue::Models, settings::Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let base_url = arguments.next().ok_or("the base URL of a model server is needed")?;
    let calls: u32 = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let model = arguments.next().unwrap_or_else(|| "openai/fake-l1000".to_owned());
    let rounds: u32 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let streamed = arguments.next().is_some_and(|text| text == "streamed");

    let lookup = |name: &str| match name {
        "OPENAI_API_KEY" | "ANTHROPIC_API_KEY" | "GEMINI_API_KEY" => Some("none".to_owned()),
        _ if name.ends_with("_BASE_URL") => Some(base_url.clone()),
        _ => None,
    };
    let models = Arc::new(Models::new(&Settings::from_lookup(lookup))?);
    let model = models.resolve(&model)?;
    let before = memory_kib("VmRSS");
    println!("round  calls  failed  wall ms  CPU ms/call  peak KiB/call");
    for round in 1..=rounds {
        let (cpu_ms, started) = (cpu_ms(), Instant::now());
        let running: Vec<_> = (0..calls)
            .map(|number| {
                let (models, request) = (models.clone(), request(&model, number, streamed));
                tokio::spawn(succeeds(models, request))
            })
            .collect();
        let mut failed = 0_u32;
        for call in running {
            failed = failed.saturating_add(u32::from(!call.await?));
        }
        let spent_ms = self::cpu_ms() - cpu_ms;
        println!(
            "{round:>5}  {calls:>5}  {failed:>6}  {:>7}  {:>11.3}  {:>13.1}",
            started.elapsed().as_millis(),
            spent_ms / f64::from(calls),
            (memory_kib("VmHWM") - before) / f64::from(calls),
        );
    }
    Ok(())
}

async fn succeeds(models: Arc<Models>, request: Request) -> bool {
    models.call(&request).await.is_ok()
}

fn request(model: &shared::model::ModelName, number: u32, streamed: bool) -> Request {
    let text = format!("Prompt {number}: {}", "describe this product in one sentence. ".repeat(10));
    Request {
        model: model.clone(),
        system: "You are terse.".to_owned(),
        turns: vec![Turn::user(text)],
        tools: Vec::new(),
        tool_mode: ToolMode::Native,
        output_schema: None,
        deltas: streamed.then(|| Deltas::new(|_| {})),
        max_tokens: 200,
        temperature: None,
        timeout_ms: 60_000,
    }
}

/// User and system time of this process: `/proc/self/stat` counts in hundredths of a second on Linux.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * 10.0
}

/// That line of `/proc/self/status`, in KiB.
fn memory_kib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}
