//! How long it takes to change many agents together.

use std::time::Duration;

use crate::{
    Outcome,
    measure::ms,
    model::Model,
    report::{Report, quantile},
    target::Muster,
};

/// How many agents are changed together: as many as may be.
const AGENTS: usize = 200;
/// How long the system prompt of each is, in bytes: that is nearly all that there is of it.
const PROMPT_BYTES: usize = 5_000;
/// How often they are changed in a round.
const CHANGES: usize = 20;
/// The most that it may take, in milliseconds.
const MOST_MS: f64 = 300.0;

pub(crate) async fn together(model: &Model, rounds: usize, report: &mut Report) -> Outcome<()> {
    let (mut muster, _) = Muster::start(model.address())?;
    muster.make_key()?;
    let mut agents = Vec::with_capacity(AGENTS);
    for _ in 0..AGENTS {
        // Cotool's ids have no prefix.
        agents.push(muster.agent("demo/scripted-l0").await?.trim_start_matches("agent_").to_owned());
    }
    let mut took: Vec<Duration> = Vec::new();
    for n in 0..rounds * CHANGES {
        let prompt = format!("{n:06} {}", "Say it again. ".repeat(PROMPT_BYTES / 14));
        took.push(muster.update_agents(&agents, &prompt).await?);
    }
    for (part, name, most) in [(0.5, "p50", None), (0.95, "p95", Some(MOST_MS))] {
        let figure = quantile(took.iter().copied().map(ms).collect(), part);
        report.add(format!("{AGENTS} agents of 5 KB changed together, {name}"), "ms", figure, None, most);
    }
    Ok(())
}
