//! The tools: what they do is counted by the key that comes with a call. Some know a call by its key, and one tells what it did.

use http::{HeaderMap, StatusCode};
use shared::net::{Answer, Failure, Sending};
use url::Url;

use crate::{
    cluster::STEP_MS,
    plan::Tool,
    world::{World, sleep},
};

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answers(u16),
    NotSent,
    /// No answer, and nothing was done.
    LostBefore,
    /// It was done, and the answer is lost.
    LostAfter,
}

/// One request.
pub(crate) async fn request(world: &World, url: &str, sending: &Sending) -> Result<Answer, Failure> {
    let url = Url::parse(url).map_err(|_| Failure::NotSent)?;
    let mut path = url.path_segments().ok_or(Failure::NotSent)?;
    let name = path.next().unwrap_or_default().to_owned();
    if name == "did" {
        let key = path.collect::<Vec<_>>().join("/").replace("%2F", "/");
        return look_up(world, &key).await;
    }
    let tool = Tool::named(&name).ok_or(Failure::NotSent)?;
    let key = sending.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let (end, arrives_ms, takes_ms) = begin(world, &key);
    // Until it arrives it has not happened: whoever dies meanwhile has sent nothing.
    sleep(arrives_ms).await;
    match end {
        End::NotSent => return Err(Failure::NotSent),
        End::LostBefore => {
            sleep(takes_ms).await;
            return Err(Failure::NoAnswer);
        }
        End::Answers(200) | End::LostAfter => arrive(world, tool, &key),
        End::Answers(_) => {}
    }
    sleep(takes_ms).await;
    match end {
        End::Answers(status) => Ok(answer(status)),
        End::NotSent | End::LostBefore | End::LostAfter => Err(Failure::NoAnswer),
    }
}

fn begin(world: &World, key: &str) -> (End, u64, u64) {
    let mut guard = world.state();
    let state = &mut *guard;
    state.counts.tool_requests += 1;
    let mut end = End::Answers(200);
    if state.storm && state.chance.is(world.plan.rates.tool_fails) {
        end = match state.chance.within(0, 9) {
            0..=1 => End::NotSent,
            2..=3 => End::Answers(503),
            4 => End::Answers(400),
            5..=6 => End::LostBefore,
            _ => End::LostAfter,
        };
    }
    let (arrives_ms, takes_ms) = (state.chance.within(1, 20), STEP_MS + state.chance.about(700));
    world.note_in(state, "tool", key, || format!("{end:?} in {takes_ms} ms"));
    (end, arrives_ms, takes_ms)
}

/// The request is there, and something is done, unless the tool knows it already.
fn arrive(world: &World, tool: Tool, key: &str) {
    let mut guard = world.state();
    let (_, effect) = guard.ledger.effects.entry(key.to_owned()).or_insert_with(|| (tool, Default::default()));
    effect.arrived += 1;
    let knows_keys = matches!(tool, Tool::Idempotent | Tool::Verify);
    if !(knows_keys && effect.applied > 0) {
        effect.applied += 1;
    }
    world.note_in(&mut guard, "effect", key, || tool.name().to_owned());
}

async fn look_up(world: &World, key: &str) -> Result<Answer, Failure> {
    let (found, ms) = {
        let mut guard = world.state();
        let state = &mut *guard;
        let fails = state.storm && state.chance.is(world.plan.rates.tool_fails / 2.0);
        let took_place = state.ledger.effects.get(key).is_some_and(|(_, effect)| effect.applied > 0);
        world.note_in(state, "look up", key, || format!("fails {fails}, took place {took_place}"));
        ((!fails).then_some(took_place), state.chance.about(300))
    };
    sleep(ms).await;
    match found {
        Some(took_place) => Ok(answer(if took_place { 200 } else { 404 })),
        None => Err(Failure::NoAnswer),
    }
}

fn answer(status: u16) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    Answer { status, headers: HeaderMap::new(), body: b"done".to_vec(), cut: false }
}
