//! `demo/scripted`: a model for a first run on a machine without a key. Deterministic, no network, and it says so in every answer.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Answer, FaultKind, Finish, ModelFault, Provider, Request, Tokens, Turn};

/// What stands before every answer, so that nobody takes it for a language model's.
const DISCLAIMER: &str = "[scripted answer: no model was asked]";
/// The bytes of a token: a common rule of thumb for English text. Tokens are bytes divided by it, rounded up.
const TOKEN_BYTES: usize = 4;
/// The shortest latency, and by how much it varies with the prompt, in milliseconds: long enough to see progress.
const LATENCY_MS: (u64, u64) = (400, 800);

/// The scripted model. The answer, its tokens and its latency depend on nothing but the request. The model's name may choose the
/// latency: `demo/scripted-l0` answers at once, `demo/scripted-l250` after 250 ms.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scripted;

impl Scripted {
    /// Whether that is a name of it, without the `demo/`.
    #[must_use]
    pub fn knows(model: &str) -> bool {
        model == "scripted" || model.strip_prefix("scripted-").is_some_and(|rest| latency_part(rest).is_some())
    }
}

impl Provider for Scripted {
    fn call<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelFault>> {
        Box::pin(async move {
            let latency_ms = latency_ms(request);
            tokio::time::sleep(Duration::from_millis(latency_ms.min(request.timeout_ms))).await;
            if latency_ms > request.timeout_ms {
                let message = format!("the model did not answer within {} ms", request.timeout_ms);
                return Err(ModelFault { kind: FaultKind::Lost, status: None, retry_after_ms: None, message });
            }
            Ok(answer(request))
        })
    }
}

fn answer(request: &Request) -> Answer {
    let prompt = request.turns.iter().rev().find(|turn| matches!(turn, Turn::User { .. })).map_or("", Turn::text);
    let words = prompt.split_whitespace().count();
    let said = if words == 0 {
        format!("{DISCLAIMER} Your message is empty.")
    } else {
        let first: Vec<&str> = prompt.split_whitespace().take(12).collect();
        let more = if words > first.len() { " …" } else { "" };
        let (are, lines) = (counted(words, "word"), counted(prompt.lines().count(), "line"));
        format!("{DISCLAIMER} Your message has {are} in {lines} and begins: \"{}{more}\"", first.join(" "))
    };
    let (text, finish) = cut(said, request.max_tokens);
    let input = request.turns.iter().map(Turn::bytes).fold(request.system.len(), usize::saturating_add);
    let tokens = Tokens { input: tokens(input), cached_input: 0, output: tokens(text.len()) };
    Answer { text, tool_calls: Vec::new(), finish, tokens: Some(tokens) }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The text within so many tokens, and why it ends.
fn cut(mut text: String, max_tokens: u32) -> (String, Finish) {
    let most = usize::try_from(max_tokens).unwrap_or(usize::MAX).saturating_mul(TOKEN_BYTES);
    if text.len() <= most {
        return (text, Finish::Stop);
    }
    text.truncate(text.floor_char_boundary(most));
    (text, Finish::Length)
}

fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u64::MAX)
}

fn latency_ms(request: &Request) -> u64 {
    let chosen = request.model.as_str().rsplit_once("scripted-").and_then(|(_, parts)| latency_part(parts));
    chosen.unwrap_or_else(|| {
        let texts = request.turns.iter().map(Turn::text);
        let hash = std::iter::once(request.system.as_str()).chain(texts).fold(FNV_OFFSET, fnv1a);
        LATENCY_MS.0.saturating_add(hash.checked_rem(LATENCY_MS.1.saturating_add(1)).unwrap_or(0))
    })
}

/// The milliseconds of `l<milliseconds>`.
fn latency_part(part: &str) -> Option<u64> {
    part.strip_prefix('l')?.parse().ok()
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: the same in every process and version, unlike the standard library's hasher.
fn fnv1a(seed: u64, text: &str) -> u64 {
    text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelName;

    fn request(model: &str, text: &str) -> Request {
        Request {
            model: ModelName(model.to_owned()),
            system: "Be brief.".to_owned(),
            turns: vec![Turn::User { text: text.to_owned() }],
            tools: Vec::new(),
            max_tokens: 1_000,
            temperature: None,
            timeout_ms: 60_000,
        }
    }

    #[test]
    fn an_answer_says_that_it_is_scripted_and_depends_only_on_the_prompt() {
        let said = answer(&request("demo/scripted", "How many roads must a man walk down?"));
        assert_eq!(
            said.text,
            "[scripted answer: no model was asked] Your message has 8 words in 1 line and begins: \
             \"How many roads must a man walk down?\""
        );
        assert_eq!(
            said.tokens,
            Some(Tokens { input: 12, cached_input: 0, output: (said.text.len() as u64).div_ceil(4) })
        );
        assert_eq!(said, answer(&request("demo/scripted-l0", "How many roads must a man walk down?")));
        assert_ne!(said, answer(&request("demo/scripted", "Why?")));
    }

    #[test]
    fn an_answer_is_cut_at_the_most_tokens() {
        let mut long = request("demo/scripted", &"ü".repeat(400));
        for max_tokens in 0..40 {
            long.max_tokens = max_tokens;
            let said = answer(&long);
            assert_eq!(said.finish, Finish::Length);
            assert!(said.text.len() <= max_tokens as usize * 4);
        }
    }

    #[test]
    fn the_latency_comes_from_the_name_or_the_prompt() {
        assert_eq!(latency_ms(&request("demo/scripted-l0", "a")), 0);
        let seen: Vec<u64> = (0..200).map(|n| latency_ms(&request("demo/scripted", &format!("prompt {n}")))).collect();
        assert!(seen.iter().all(|ms| (400..=1_200).contains(ms)));
        assert!(seen.iter().any(|ms| *ms < 600) && seen.iter().any(|ms| *ms > 1_000));
        assert!(Scripted::knows("scripted-l5") && !Scripted::knows("scripted-x") && !Scripted::knows("other"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_keeps_to_the_timeout() {
        let mut slow = request("demo/scripted-l5000", "a");
        slow.timeout_ms = 100;
        let started = tokio::time::Instant::now();
        assert_eq!(Scripted.call(&slow).await.unwrap_err().kind, FaultKind::Lost);
        assert_eq!(started.elapsed().as_millis(), 100);
    }
}
