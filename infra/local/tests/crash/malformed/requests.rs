//! Requests that no honest client sends: of calls of the OpenAPI document, with something wrong at random.

use serde_json::{Value, json};

use super::values::{METHODS, NOISE, QUERIES, SEGMENTS, WRONG};
use crate::random::Random;

/// How many bytes a body has that is larger than any that is taken.
const LARGE_BYTES: usize = 11_000_000;
/// How deep what is nested too deep is.
const DEEP: usize = 10_000;

/// A request, as it is sent.
pub(super) struct Sent {
    pub(super) bytes: Vec<u8>,
    /// Whether it is no request of HTTP, so that it need not be answered.
    pub(super) broken: bool,
}

/// What is there to be asked about, as the native surface names it.
pub(super) struct Things {
    pub(super) agent: String,
    pub(super) run: String,
    pub(super) batch: String,
    pub(super) file: String,
    pub(super) key: String,
    pub(super) test_set: String,
    pub(super) evaluation: String,
    pub(super) schedule: String,
    pub(super) trigger: String,
    pub(super) webhook: String,
}

/// Every call of the document.
pub(super) struct Calls {
    document: Value,
    all: Vec<(String, String)>,
    key: String,
}

fn below(random: &mut Random, end: usize) -> usize {
    random.between(0, end as u64 - 1) as usize
}

fn any<'a, T: ?Sized>(random: &mut Random, all: &[&'a T]) -> &'a T {
    all[below(random, all.len())]
}

fn happens(random: &mut Random, one_in: usize) -> bool {
    below(random, one_in) == 0
}

impl Calls {
    pub(super) fn of(document: Value, key: &str) -> Self {
        let paths = document["paths"].as_object().unwrap().iter();
        let all = paths
            .flat_map(|(path, calls)| calls.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())));
        Self { all: all.collect(), document: document.clone(), key: key.to_owned() }
    }

    pub(super) fn request(&self, random: &mut Random, things: &Things) -> Sent {
        if happens(random, 20) {
            return Sent { bytes: self.noise(random), broken: true };
        }
        let (path, method) = &self.all[below(random, self.all.len())];
        let call = &self.document["paths"][path][method];
        let mut target = filled(random, path, things);
        target.push_str(&query(random, call));
        let method = if happens(random, 15) { any(random, METHODS).to_owned() } else { method.to_uppercase() };
        let body = match call.pointer("/requestBody/content/application~1json/schema") {
            _ if happens(random, 6) => raw(random),
            None => Vec::new(),
            Some(schema) => {
                let mut text = Vec::new();
                self.write(random, schema, 8, &mut text);
                text
            }
        };
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n").into_bytes();
        let flooded = self.headers(random, &mut bytes);
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(&body);
        // Of what is too long the rest is not read, and the connection is closed with it.
        let broken = flooded || method == "CONNECT" || target.len() > 50_000;
        Sent { bytes, broken }
    }

    fn noise(&self, random: &mut Random) -> Vec<u8> {
        if happens(random, 2) {
            return any(random, NOISE).to_vec();
        }
        (0..below(random, 3_000)).map(|_| below(random, 256) as u8).collect()
    }

    /// Headers, of which some mean something; whether there are so many that the request need not be answered.
    fn headers(&self, random: &mut Random, bytes: &mut Vec<u8>) -> bool {
        let mut put = |name: &str, value: &[u8]| bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        match below(random, 20) {
            0 => {}
            1 => put("authorization", b"Bearer ag_live_x"),
            2 => put("authorization", &[b'B', b'e', 0xff, 0xfe]),
            _ => put("authorization", format!("Bearer {}", self.key).as_bytes()),
        }
        match below(random, 12) {
            0 => put("idempotency-key", any(random, &[&b""[..], b"\xff", b"a", &[b'k'; 300]])),
            1 => put("x-org-id", any(random, &[&b""[..], b"x", b"\xff\xfe", b"019a2b3c-4d5e-7f60-8123-456789abcdef"])),
            2 => put("last-event-id", any(random, &[&b"-1"[..], b"99999999999999999999", b"\xff", b"x", b""])),
            3 => put(
                "content-type",
                any(random, &[&b"application/x-ndjson"[..], b"text/csv", b"\xff", b"multipart/form-data"]),
            ),
            4 => put("accept", any(random, &[&b"text/event-stream"[..], b"*/*;q=x", b"\xff", b"application/xml"])),
            5 => put("x-request-id", any(random, &[&b"\xff"[..], b"a b", &[b'r'; 1_000]])),
            6 => put("expect", any(random, &[&b"100-continue"[..], b"nothing"])),
            _ => {}
        }
        match below(random, 60) {
            0 => (0..below(random, 400)).for_each(|n| put(&format!("x-{n}"), b"y")),
            1 => put("x-long", &vec![b'y'; below(random, 900_000)]),
            _ => return false,
        }
        true
    }

    /// Writes a value of this schema, with something else at random in its place or in a part of it.
    fn write(&self, random: &mut Random, schema: &Value, depth: usize, text: &mut Vec<u8>) {
        if depth == 0 || happens(random, 10) {
            return text.extend_from_slice(&wrong(random));
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let found = self.document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            return self.write(random, found, depth, text);
        }
        if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
            return text.extend_from_slice(value.to_string().as_bytes());
        }
        let choices = ["oneOf", "anyOf"].iter().find_map(|word| schema[*word].as_array());
        if let Some(choices) = choices {
            let choice = &choices[below(random, choices.len())];
            return self.write(random, choice, depth, text);
        }
        let named = if schema["type"].is_array() { &schema["type"][0] } else { &schema["type"] };
        match named.as_str().unwrap_or_default() {
            "object" => self.write_object(random, schema, depth, text),
            "array" => self.write_array(random, &schema["items"], depth, text),
            "integer" | "number" => text.extend_from_slice(any(random, &["1", "2", "0", "1000000"]).as_bytes()),
            "boolean" => text.extend_from_slice(any(random, &["true", "false"]).as_bytes()),
            "string" => text.extend_from_slice(any(random, &["\"hello\"", "\"demo/scripted-l0\"", "\"a\""]).as_bytes()),
            _ => text.extend_from_slice(&wrong(random)),
        }
    }

    fn write_object(&self, random: &mut Random, schema: &Value, depth: usize, text: &mut Vec<u8>) {
        text.push(b'{');
        let (nothing, none) = (serde_json::Map::new(), json!([]));
        let required = schema.get("required").unwrap_or(&none).as_array().unwrap();
        for (name, field) in schema["properties"].as_object().unwrap_or(&nothing) {
            let must = required.iter().any(|found| found == name);
            // Now and then a field is missing that must be there, or there twice.
            let times = match (must, below(random, 20)) {
                (true, 1..) => 1,
                (false, 0..6) => 1,
                (_, 0) => below(random, 2) * 2,
                _ => 0,
            };
            for _ in 0..times {
                text.extend_from_slice(
                    format!("{}{}:", if text.ends_with(b"{") { "" } else { "," }, json!(name)).as_bytes(),
                );
                self.write(random, field, depth - 1, text);
            }
        }
        if happens(random, 15) {
            text.extend_from_slice(if text.ends_with(b"{") { b"\"colour\":1" } else { b",\"colour\":1" });
        }
        text.push(b'}');
    }

    fn write_array(&self, random: &mut Random, items: &Value, depth: usize, text: &mut Vec<u8>) {
        text.push(b'[');
        for n in 0..below(random, 4) {
            text.extend_from_slice(if n == 0 { b"" } else { b"," });
            self.write(random, items, depth - 1, text);
        }
        text.push(b']');
    }
}

/// The id of a provider that is there.
pub(super) const PROVIDER: &str = "acme";

/// The path with ids in it, mostly of what is there.
fn filled(random: &mut Random, path: &str, things: &Things) -> String {
    let Things { agent, run, batch, file, key, test_set, evaluation, schedule, trigger, webhook } = things;
    let mut target = path.to_owned();
    let all = [
        ("agent_id", agent),
        ("run_id", run),
        ("chat_id", run),
        ("batch_id", batch),
        ("file_id", file),
        ("key_id", key),
        ("test_set_id", test_set),
        ("testset_id", test_set),
        ("evaluation_id", evaluation),
        ("schedule_id", schedule),
        ("trigger_id", trigger),
        ("webhook_id", webhook),
        // A session may be called what a run is called.
        ("session_id", run),
    ];
    let known = |name: &str| {
        ["version", "name", "provider_id", "source"].contains(&name) || all.iter().any(|(known, _)| *known == name)
    };
    let mut names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    assert!(names.all(known), "what is meant by {path}?");
    for (name, id) in all {
        let plain = id.split_once('_').unwrap().1;
        let id: &str = if path.starts_with("/v1/") { id } else { plain };
        let id = if happens(random, 4) { any(random, SEGMENTS) } else { id };
        target = target.replace(&format!("{{{name}}}"), id);
    }
    target = target.replace("{version}", any(random, &["1", "0", "-1", "99999999999", "x"]));
    target = target.replace("{name}", any(random, &["A", "a b", "%00", "x%2fy"]).replace(' ', "%20").as_str());
    target = target.replace("{source}", any(random, &["webhook", "slack", "cron", "%00"]));
    target = target.replace("{provider_id}", any(random, &[PROVIDER, "openai", "nobody", "%00"]));
    match below(random, 40) {
        0 => target.push_str(any(random, &["/", "//", "/x", "%00", ";x", "/..", "/%2e%2e/%2e%2e"])),
        1 => target = target.replace('/', "//"),
        2 => target.push_str(&"/a".repeat(below(random, 4_000))),
        3 => target = target.to_uppercase(),
        4 => target = format!("http://elsewhere{target}"),
        _ => {}
    }
    target
}

/// Parameters of the call, or others.
fn query(random: &mut Random, call: &Value) -> String {
    let known = call["parameters"].as_array().into_iter().flatten().filter(|known| known["in"] == "query");
    let names: Vec<&str> = known.filter_map(|known| known["name"].as_str()).collect();
    let mut pairs = Vec::new();
    for name in &names {
        if happens(random, 3) {
            pairs.push(format!("{name}={}", any(random, QUERIES)));
        }
    }
    match below(random, 20) {
        0 => pairs.push("colour=1".to_owned()),
        1 => pairs.push("&&=&?#".to_owned()),
        2 => pairs.extend(names.first().map(|name| format!("{name}=1&{name}=2"))),
        3 => pairs.push(format!("x={}", "y".repeat(below(random, 60_000)))),
        _ => {}
    }
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// What stands where something else should.
fn wrong(random: &mut Random) -> Vec<u8> {
    match below(random, 30) {
        0 => b"\"\xff\xfe\"".to_vec(),
        1 => [vec![b'['; 200], vec![b']'; 200]].concat(),
        2 => [b"\"".to_vec(), vec![b'x'; below(random, 300_000)], b"\"".to_vec()].concat(),
        3 => vec![b'9'; 1 + below(random, 2_000)],
        _ => any(random, WRONG).as_bytes().to_vec(),
    }
}

/// A body that has nothing to do with any schema.
fn raw(random: &mut Random) -> Vec<u8> {
    match below(random, 14) {
        0 => vec![b'['; DEEP],
        1 => [vec![b'['; DEEP], vec![b']'; DEEP]].concat(),
        2 => [b"{\"a\":".repeat(DEEP), b"1".to_vec(), vec![b'}'; DEEP]].concat(),
        3 if happens(random, 8) => [b"{\"message\":\"".to_vec(), vec![b'a'; LARGE_BYTES], b"\"}".to_vec()].concat(),
        4 => b"\xef\xbb\xbf{\"message\":\"hello\"}".to_vec(),
        5 => b"{\"message\":\"\xc3\x28\"}".to_vec(),
        6 => b"{\"message\":\"hello\"} {}".to_vec(),
        7 => b"{\"message\":\"hello\"".to_vec(),
        8 => vec![b' '; below(random, 100_000)],
        9 => b"message=hello".to_vec(),
        10 => [b"{\"inputs\":{".to_vec(), b"\"k\":1,".repeat(5_000), b"\"k\":1}}".to_vec()].concat(),
        11 => [b"[".to_vec(), b"{},".repeat(60_000), b"{}]".to_vec()].concat(),
        _ => wrong(random),
    }
}
