//! A deterministic, very cheap stand-in for language-model providers: the *upstream* of tests and benchmarks.
//!
//! It answers every request after a configured delay, with text that depends only on the request, and counts what it saw. It holds
//! thousands of waiting requests at the cost of one timer and one socket each. It is not a model and checks no keys.
//!
//! # Endpoints
//! | method, path                             | what                                                            |
//! |------------------------------------------|-----------------------------------------------------------------|
//! | `POST /v1/chat/completions`              | OpenAI chat completions (Mistral, OpenRouter), streamed or not   |
//! | `POST /v1/messages`                      | Anthropic messages, streamed or not                              |
//! | `POST /v1beta/models/{m}:generateContent`| Gemini; `:streamGenerateContent` streams                         |
//! | `POST /api/chat`                         | Ollama, streamed or not                                          |
//! | `POST /model/{m}/converse`               | Bedrock Converse; `converse-stream` streams                      |
//! | `POST /v1/embeddings`                    | OpenAI embeddings (Mistral, OpenRouter): they count words        |
//! | `GET  /v1/models`                        | a list with one model                                            |
//! | `GET  /health`                           | `ok`                                                             |
//! | `GET  /stats`                            | counters as JSON                                                 |
//! | `POST /reset`                            | sets the counters to zero, answers the old ones                  |
//!
//! # Behaviour is chosen by the model's name
//! The name is `fake` followed by `-KEYVALUE` parts, in any order (a prefix such as `openai/` or `openai:` is ignored):
//!
//! | part   | meaning                                                                 | default     |
//! |--------|-------------------------------------------------------------------------|-------------|
//! | `l500` | total latency of one call, ms                                           | the server's |
//! | `j100` | extra latency of 0..=100 ms, drawn from the prompt's hash                | 0           |
//! | `f80`  | streaming: ms until the first chunk (the rest is spread evenly)          | latency / 4 |
//! | `c20`  | streaming: number of content chunks                                      | 8           |
//! | `o64`  | words in the answer, fewer when the request's most tokens are fewer      | 12          |
//! | `h30`  | tokens of the prompt that are said to be cached                          | 0           |
//! | `t2`   | tool rounds: so many answers since the last user message are tool calls           | 0           |
//! | `p3`   | parallel tool calls in each such answer                                  | 1           |
//! | `e1`   | the first N attempts of each distinct request fail                       | 0           |
//! | `x429` | status of those failures                                                 | 500         |
//! | `a2`   | those failures carry `Retry-After: 2`                                    | none        |
//! | `q`    | those failures are 429 `insufficient_quota`; every attempt without `e`   | off         |
//! | `r1`   | the first N attempts: the connection is cut after the request was read   | 0           |
//! | `g1`   | the first N attempts are answered 200 with a body that is no JSON        | 0           |
//! | `k1`   | the first N attempts: the last call's arguments end half-way, for length | 0           |
//! | `n`    | the reason for which an answer ends is always the one of a finished text | off         |
//! | `u`    | bills the most: a token for each byte of text, and the most tokens of the answer | off |
//! | `y`    | a judge: see below                                                       | off         |
//! | `s1`   | the first N attempts: the connection is cut half-way through a stream    | 0           |
//! | `z1`   | the first N attempts: a stream ends half-way as if it were complete      | 0           |
//! | `i1`   | the first N attempts: half-way through a stream nothing comes any more   | 0           |
//! | `m1`   | the first N attempts: an event nobody can read, half-way                 | 0           |
//! | `v1`   | the first N attempts: an error event, half-way                           | 0           |
//!
//! Example: `fake-l1000-t1` takes 1 s a call and asks for one tool round before it answers. A tool call is only made if the request
//! offers tools; its arguments are filled from the tool's JSON schema (required properties only).
//!
//! # A prompt may say what is called
//! When a request offers tools and the last message of its user has lines `call NAME {json}`, these calls are asked for, all of them
//! at once; `then` on a line of its own parts what is asked for after the answers have come. `call NAME` alone calls a tool that is
//! offered, with `{}`. The arguments are sent as they are written, whether they are JSON or not, and no tool needs to have that name.
//! When all is answered, the answer is text: what follows `say ` at the beginning of a line, when there is one;
//! in the OpenAI format also in the system prompt, which holds whenever the user's last message says nothing of the kind.
//!
//! # A judge
//! With `y`, a last message of its user that is a JSON object with the texts `result` and `criterion` is answered with whether the result
//! contains the criterion, as `{"explanation": …, "met": …}`; or with what the criterion has after `say `, when it begins with that. With
//! `criteria` in the place of `criterion` it is answered with a score, as `{"explanation": …, "score": …}`: the number that they begin
//! with, or else 10 when the result contains them, and 1 when not.

mod answer;
mod embed;
pub mod family;
mod format;
mod judge;
mod reply;
mod script;
mod serve;
mod spec;
mod stats;
mod stream;
mod tools;

pub use format::Format;
pub use serve::{Options, Recorded, Server};
pub use stats::Counts;
pub use tools::{Effect, Tools};
