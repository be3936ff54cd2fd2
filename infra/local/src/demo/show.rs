//! What the demo prints: where it serves, how far it is, a table of what came of it. Results go to the standard output, the
//! rest to the standard error.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::Path,
};

use super::client::{Batch, Item};
use crate::Host;

/// How many characters of an answer the table shows.
const ANSWER_CHARS: usize = 90;
/// How many items the table shows of a large batch: as many from each end.
const ENDS: usize = 30;

pub(super) fn opening(host: &Host, data: &Path, model: &str, items: usize) {
    eprintln!("serving http://{} from {}", host.address, data.display());
    if model.starts_with("demo/") {
        eprintln!("model {model}: scripted, no network and no charge; its prices are nominal.");
        eprintln!("Set OPENAI_API_KEY, ANTHROPIC_API_KEY … or OPENAI_BASE_URL for a real one.");
    } else {
        eprintln!("model {model}");
    }
    eprintln!("{items} prompts, one batch\n");
}

/// One line that is written over as long as the batch goes on; lines of their own where nobody sees them move.
pub(super) fn progress(batch: &Batch, live: bool) {
    let Batch { counts, items, wall_ms, .. } = batch;
    let ended = counts.done.saturating_add(counts.error).saturating_add(counts.interrupted);
    let open = counts.queued.saturating_add(counts.running).saturating_add(counts.waiting);
    if !live && !batch.terminal {
        return;
    }
    let filled = usize::try_from(ended.saturating_mul(30) / (*items).max(1)).unwrap_or(30).min(30);
    let bar = format!("{}{}", "#".repeat(filled), "-".repeat(30_usize.saturating_sub(filled)));
    let end = if batch.terminal { "\n" } else { "" };
    let lead = if live { "\r" } else { "" };
    eprint!("{lead}[{bar}] {ended}/{items} ended, {open} open, {} errors, {}{end}", counts.error, seconds(*wall_ms));
    let _ = io::stderr().flush();
}

pub(super) fn table(batch: &Batch, results: &[Item]) {
    println!("\n{:>5}  {:<11}  {:>7}  {:>13}  {:>12}  answer", "item", "status", "time", "tokens in/out", "cost");
    let skipped = results.len().saturating_sub(2 * ENDS);
    for (position, item) in results.iter().enumerate() {
        if skipped > 0 && position == ENDS {
            println!("    …  {skipped} more: GET /v1/batches/{{id}}/results");
        }
        if skipped == 0 || position < ENDS || position >= ENDS.saturating_add(skipped) {
            row(item);
        }
    }
    let counts = &batch.counts;
    println!(
        "\n{} done, {} error, {} interrupted; {} tokens in, {} out; cost {}",
        counts.done,
        counts.error,
        counts.interrupted,
        batch.usage.input_tokens,
        batch.usage.output_tokens,
        dollars(batch.cost_micro_usd)
    );
}

fn row(item: &Item) {
    let said = item.result.as_deref().or(item.error.as_deref()).unwrap_or_default();
    let mut said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ANSWER_CHARS + 1).collect();
    if said.chars().count() > ANSWER_CHARS {
        said = said.chars().take(ANSWER_CHARS).chain(['…']).collect();
    }
    let tokens = format!("{}/{}", item.usage.input_tokens, item.usage.output_tokens);
    let status = item.reason.as_ref().map_or_else(|| item.status.clone(), |reason| format!("{} {reason}", item.status));
    let cost = dollars(item.cost_micro_usd);
    println!("{:>5}  {status:<11}  {:>7}  {tokens:>13}  {cost:>12}  {said}", item.index, seconds(item.run_ms));
}

/// Prints the times, and tells whether every item ended well.
pub(super) fn summary(batch: &Batch) -> bool {
    let times = batch.sum_run_ms.saturating_mul(10).checked_div(batch.wall_ms).unwrap_or(0);
    println!(
        "batch {} on the wall, {} of runs one after the other: {}.{} times as fast",
        seconds(batch.wall_ms),
        seconds(batch.sum_run_ms),
        times / 10,
        times % 10
    );
    batch.counts.done == batch.items
}

pub(super) fn next_steps(address: SocketAddr, key: &str, agent: &str, batch: &str) {
    println!("\nServing on http://{address} until Ctrl-C. Try:\n");
    println!("  export KEY={key}");
    println!("  curl -s http://{address}/v1/agents/{agent}/runs?wait=25 -H \"Authorization: Bearer $KEY\" \\");
    println!("    -H 'Content-Type: application/json' -d '{{\"message\":\"What is a muster?\"}}'");
    println!("  curl -s http://{address}/v1/batches/{batch} -H \"Authorization: Bearer $KEY\"");
    println!("  curl -s http://{address}/v1/batches/{batch}/results?format=csv -H \"Authorization: Bearer $KEY\"");
}

fn seconds(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10)
}

/// Micro-USD as dollars with all six digits.
fn dollars(micro_usd: Option<u64>) -> String {
    micro_usd.map_or_else(|| "unknown".to_owned(), |cost| format!("${}.{:06}", cost / 1_000_000, cost % 1_000_000))
}
