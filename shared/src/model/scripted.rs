//! `demo/scripted`: a model for a first run on a machine without a key. Deterministic, no network, and it says so in every answer.

use std::time::Duration;

use futures_util::future::BoxFuture;

use tokio::time::Instant;

use super::{Answer, Deltas, FaultKind, Finish, ModelFault, Provider, Request, Tokens, Turn, lookup, sample, script};

/// What stands before every answer, so that nobody takes it for a language model's.
const DISCLAIMER: &str = "[scripted answer: no model was asked]";
/// The bytes of a token: a common rule of thumb for English text. Tokens are bytes divided by it, rounded up.
const TOKEN_BYTES: usize = 4;
/// What an image counts as, in bytes: providers make some hundred to some thousand tokens of one, whatever its size.
const IMAGE_BYTES: usize = 10_000;
/// How much of each tool's answer is repeated, in bytes.
const RESULT_BYTES: usize = 200;
/// The shortest latency, and by how much it varies with the prompt, in milliseconds: long enough to see progress.
const LATENCY_MS: (u64, u64) = (400, 800);

/// The scripted model. The answer, its tokens and its latency depend on nothing but the request. The model's name may choose the
/// latency: `demo/scripted-l0` answers at once, `demo/scripted-l250` after 250 ms.
///
/// It calls tools when it is offered some and the user's last message tells it to, by lines of its own:
/// ```text
/// call get_weather {"city": "Oslo"}
/// call get_weather {"city": "Rome"}
/// then
/// call send_mail {"to": "a@example.com"}
/// ```
/// Lines that follow each other are called at once; `then` on a line of its own parts what is called after the answers have come. The
/// arguments are sent as they are written, whether they are JSON or not, and no tool needs to have that name. When all is answered, it
/// repeats the beginning of each answer since the user's message. With an `output_schema` its text is the smallest JSON value that
/// satisfies the schema, and nothing else. It takes no notice of the tool mode.
///
/// `demo/scripted-lookup` (and `demo/scripted-lookup-l0`) differs in one thing: to a message that calls no tools it answers with the
/// sentence of the system prompt that has most of the message's rare words, or says that its instructions do not say (see `lookup`).
/// So what it gets right, and what that costs, is up to the system prompt: something to evaluate without a key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scripted;

impl Scripted {
    /// Whether that is a name of it, without the `demo/`.
    #[must_use]
    pub fn knows(model: &str) -> bool {
        Variant::of(model).is_some()
    }
}

/// What a name says of the scripted model.
#[derive(Debug, Clone, Copy, Default)]
struct Variant {
    /// It answers from its system prompt.
    looks_up: bool,
    /// How long it takes; `None` when that depends on the prompt.
    latency_ms: Option<u64>,
}

impl Variant {
    /// That of a name without the `demo/`: `scripted`, then `-lookup` or not, then `-l<milliseconds>` or not.
    fn of(model: &str) -> Option<Self> {
        let rest = model.strip_prefix("scripted")?;
        let (looks_up, rest) = rest.strip_prefix("-lookup").map_or((false, rest), |rest| (true, rest));
        if rest.is_empty() {
            return Some(Self { looks_up, latency_ms: None });
        }
        let latency_ms = rest.strip_prefix("-l")?.parse().ok()?;
        Some(Self { looks_up, latency_ms: Some(latency_ms) })
    }

    fn asked(request: &Request) -> Self {
        request.model.as_str().strip_prefix("demo/").and_then(Self::of).unwrap_or_default()
    }
}

impl Provider for Scripted {
    fn call<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, ModelFault>> {
        Box::pin(async move {
            let latency_ms = latency_ms(request);
            if latency_ms > request.timeout_ms {
                tokio::time::sleep(Duration::from_millis(request.timeout_ms)).await;
                let message = format!("the model did not answer within {} ms", request.timeout_ms);
                return Err(ModelFault::new(FaultKind::Lost, message));
            }
            let (answer, started) = (answer(request), Instant::now());
            if let Some(deltas) = &request.deltas {
                give(deltas, &answer.text, latency_ms, started).await;
            }
            tokio::time::sleep_until(started + Duration::from_millis(latency_ms)).await;
            Ok(answer)
        })
    }
}

/// Gives the text word by word, spread over the time that the answer takes.
async fn give(deltas: &Deltas, text: &str, latency_ms: u64, started: Instant) {
    let count = u64::try_from(text.split_inclusive(' ').count()).unwrap_or(u64::MAX);
    for (number, word) in (1_u64..).zip(text.split_inclusive(' ')) {
        let due_ms = latency_ms.saturating_mul(number).checked_div(count.saturating_add(1)).unwrap_or(0);
        tokio::time::sleep_until(started + Duration::from_millis(due_ms)).await;
        deltas.give(word);
    }
}

fn answer(request: &Request) -> Answer {
    let tool_calls = script::due(request);
    let said = match &request.output_schema {
        _ if !tool_calls.is_empty() => String::new(),
        Some(schema) => sample::of(schema).to_string(),
        None => said(request),
    };
    let (text, reason) = cut(said, request.max_tokens);
    let finish = if tool_calls.is_empty() { reason } else { Finish::ToolCalls };
    let written = tool_calls.iter().map(|call| call.name.len().saturating_add(call.arguments.len()));
    let output = written.fold(text.len(), usize::saturating_add);
    let shown = request.images().saturating_mul(IMAGE_BYTES);
    let tokens =
        Tokens { input: tokens(request.bytes().saturating_add(shown)), cached_input: 0, output: tokens(output) };
    Answer { text, tool_calls, finish, tokens: Some(tokens) }
}

fn said(request: &Request) -> String {
    let results = script::results(request);
    if !results.is_empty() {
        let told = results.iter().map(|(name, content)| format!("{name} said \"{}\"", beginning(content)));
        let told = told.collect::<Vec<_>>().join("; ");
        return format!("{DISCLAIMER} {} answered: {told}", counted(results.len(), "tool"));
    }
    let prompt = script::prompt(request);
    if Variant::asked(request).looks_up {
        let found = lookup::answer(&request.system, prompt).unwrap_or("My instructions do not say.");
        return format!("{DISCLAIMER} {found}");
    }
    let images = request.turns.iter().rev().find_map(|turn| match turn {
        Turn::User { images, .. } => Some(images.len()),
        Turn::Assistant { .. } | Turn::Tool { .. } => None,
    });
    let words = prompt.split_whitespace().count();
    if words == 0 && images.unwrap_or(0) == 0 {
        return format!("{DISCLAIMER} Your message is empty.");
    }
    let first: Vec<&str> = prompt.split_whitespace().take(12).collect();
    let more = if words > first.len() { " …" } else { "" };
    let (are, lines) = (counted(words, "word"), counted(prompt.lines().count(), "line"));
    let shown = images
        .filter(|images| *images > 0)
        .map_or_else(String::new, |images| format!(", {}", counted(images, "image")));
    format!("{DISCLAIMER} Your message has {are} in {lines}{shown} and begins: \"{}{more}\"", first.join(" "))
}

/// As much of a tool's answer as is repeated.
fn beginning(content: &str) -> String {
    let cut = content.floor_char_boundary(RESULT_BYTES.min(content.len()));
    let more = if cut < content.len() { "…" } else { "" };
    format!("{}{more}", content.get(..cut).unwrap_or_default())
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

pub(super) fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u64::MAX)
}

fn latency_ms(request: &Request) -> u64 {
    Variant::asked(request).latency_ms.unwrap_or_else(|| {
        let texts = request.turns.iter().map(Turn::text);
        let hash = std::iter::once(request.system.as_str()).chain(texts).fold(FNV_OFFSET, fnv1a);
        LATENCY_MS.0.saturating_add(hash.checked_rem(LATENCY_MS.1.saturating_add(1)).unwrap_or(0))
    })
}

/// The FNV-1a hash of the text.
pub(super) fn hash(text: &str) -> u64 {
    fnv1a(FNV_OFFSET, text)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: the same in every process and version, unlike the standard library's hasher.
fn fnv1a(seed: u64, text: &str) -> u64 {
    text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::model::{Offer, call_id::tests};

    fn request(model: &str, text: &str) -> Request {
        tests::request(model, vec![Turn::user(text)])
    }

    #[test]
    fn it_calls_tools_and_tells_what_they_said() {
        let tool = Offer { name: "add".to_owned(), description: String::new(), parameters: json!({}) };
        let mut request =
            Request { tools: vec![tool], ..request("demo/scripted-l0", "call add {\"a\": 1}\ncall add {}") };
        let first = answer(&request);
        assert_eq!((first.text.as_str(), first.finish, first.tool_calls.len()), ("", Finish::ToolCalls, 2));
        request.turns.push(Turn::Assistant { text: first.text, tool_calls: first.tool_calls });
        for (id, content) in [("call_0", "3".to_owned()), ("call_1", "é".repeat(150))] {
            request.turns.push(Turn::Tool { call_id: id.to_owned(), name: "add".to_owned(), content });
        }
        let last = answer(&request);
        let told = format!("{DISCLAIMER} 2 tools answered: add said \"3\"; add said \"{}…\"", "é".repeat(100));
        assert_eq!((last.text, last.finish, last.tool_calls.len()), (told, Finish::Stop, 0));
    }

    #[test]
    fn with_a_schema_it_answers_with_a_value_and_nothing_else() {
        let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
        let request = Request { output_schema: Some(schema), ..request("demo/scripted-l0", "count") };
        assert_eq!(answer(&request).text, r#"{"n":0}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn its_words_come_one_by_one_and_make_the_answer() {
        let heard: Arc<Mutex<Vec<(u128, String)>>> = Arc::default();
        let (writer, started) = (Arc::clone(&heard), Instant::now());
        let deltas =
            Deltas::new(move |word| writer.lock().unwrap().push((started.elapsed().as_millis(), word.to_owned())));
        let request = Request { deltas: Some(deltas), ..request("demo/scripted-l1000", "one two three") };
        let said = Scripted.call(&request).await.unwrap();
        let heard = heard.lock().unwrap();
        assert_eq!(heard.iter().map(|(_, word)| word.as_str()).collect::<String>(), said.text);
        assert!(heard.len() > 10 && heard[0].0 < 200 && heard.last().unwrap().0 < 1_000);
        assert_eq!(started.elapsed().as_millis(), 1_000);
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
        assert_eq!(latency_ms(&request("demo/scripted-lookup-l7", "a")), 7);
        for name in ["scripted", "scripted-l5", "scripted-lookup", "scripted-lookup-l0"] {
            assert!(Scripted::knows(name), "{name}");
        }
        for name in [
            "other",
            "scripted-",
            "scripted-x",
            "scripted-l",
            "scripted-l5-lookup",
            "scripted-lookup-",
            "scripted-lookups",
        ] {
            assert!(!Scripted::knows(name), "{name}");
        }
    }

    #[test]
    fn the_one_that_looks_up_answers_from_its_system_prompt_and_says_that_it_is_scripted() {
        let said = |system: &str| {
            let asked = request("demo/scripted-lookup-l0", "What is the capital of Norway?");
            answer(&Request { system: system.to_owned(), ..asked })
        };
        let found = said("Be brief. The capital of Norway is Oslo.");
        assert_eq!(found.text, format!("{DISCLAIMER} The capital of Norway is Oslo."));
        assert_eq!(found.tokens, Some(Tokens { input: 18, cached_input: 0, output: 17 }));
        assert_eq!(said("Be brief.").text, format!("{DISCLAIMER} My instructions do not say."));
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
