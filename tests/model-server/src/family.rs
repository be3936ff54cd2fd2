//! A run with two sub-agents, by what their prompts tell the model to call: for longer than six seconds something is sent all the time, with
//! [`MODEL`] and a tool [`TOOL`]. What the servers have seen of it is the oracle of "sends nothing more".

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{Server, Tools};

/// The model that a family's agents have: 80 ms an answer.
pub const MODEL: &str = "openai/fake-l80";
/// The path of the tool `act` of its agents: it is done when the request comes, and answers 300 ms later.
pub const TOOL: &str = "/do/it?rest=300";

/// How many sub-agents the first run calls at once, beside a call of the tool.
const BELOW: usize = 2;
/// How many rounds of a call each of them makes.
const ROUNDS: usize = 17;
/// How often the servers are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A family of that number. Its agents have the tools `act`, whose parameters are the numbers `n` and `round`, and, but for the lowest,
/// `helper`.
#[derive(Debug, Clone, Copy)]
pub struct Family(pub usize);

/// What the servers have seen of a family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Calls of a model.
    pub calls: u64,
    /// Calls of the tool.
    pub effects: usize,
}

impl Family {
    fn act(self, round: usize) -> String {
        format!("call act {}", json!({"n": self.0, "round": round}))
    }

    fn below(self, child: usize) -> String {
        let rounds: Vec<String> = (0..ROUNDS).map(|round| self.act(round)).collect();
        format!("{}\nsay {} {child}", rounds.join("\nthen\n"), self.0)
    }

    /// The message of the run that is at its head.
    #[must_use]
    pub fn message(self) -> String {
        let calls = (0..BELOW).map(|child| format!("call helper {}\n", json!({"message": self.below(child)})));
        format!("{}\n{}then\n{}\nsay {}", self.act(ROUNDS), calls.collect::<String>(), self.act(ROUNDS + 1), self.0)
    }

    /// What the servers have seen of it so far.
    #[must_use]
    pub fn sent(self, models: &Server, tools: &Tools) -> Sent {
        let prompts = std::iter::once(self.message()).chain((0..BELOW).map(|child| self.below(child)));
        let begins = format!("{{\"n\":{},", self.0);
        Sent {
            calls: prompts.map(|prompt| models.calls_with(&prompt)).sum(),
            effects: tools.count(|effect| effect.body.starts_with(&begins)),
        }
    }

    /// Watches the servers for so long, and answers how long something was still sent: at least for this time, and at most for 50 ms more on
    /// an idle machine.
    pub async fn sends_for(self, models: &Server, tools: &Tools, watched: Duration) -> Duration {
        let (begun, mut sent) = (Instant::now(), self.sent(models, tools));
        let (mut looked, mut last) = (Duration::ZERO, Duration::ZERO);
        while looked < watched {
            sleep(LOOK).await;
            let now = self.sent(models, tools);
            if now != sent {
                (sent, last) = (now, looked);
            }
            looked = begun.elapsed();
        }
        last
    }
}
