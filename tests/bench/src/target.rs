//! The servers that are measured: how each is started, called and asked.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Outcome,
    client::{Client, text},
    process::{Process, free_address, printed, program},
};

/// Pause between two looks at a batch.
const LOOK: Duration = Duration::from_millis(25);
/// The most items of a batch in one JSON body; more are sent as lines.
const INLINE_LIMIT: usize = 1_000;

/// The embedded host on a folder of its own.
pub(crate) struct Muster {
    pub(crate) process: Process,
    client: Client,
    key: String,
    model: SocketAddr,
    folder: TempDir,
}

/// A folder beside the programs: the system's own may be in memory, where durability costs nothing.
fn folder() -> Outcome<TempDir> {
    let beside = program("muster")?;
    Ok(TempDir::new_in(beside.parent().ok_or("no folder")?)?)
}

/// How long the process took to be ready.
pub(crate) type Ready = Duration;

fn serve(folder: &Path, address: SocketAddr, model: SocketAddr) -> Outcome<(Process, Ready)> {
    let mut command = Command::new(program("muster")?);
    command.arg("serve").arg("--data").arg(folder).arg("--listen").arg(address.to_string());
    command.env("OPENAI_BASE_URL", format!("http://{model}/v1")).env_remove("OPENAI_API_KEY");
    // The tool server is on this machine.
    command.env("MUSTER_ALLOW_CIDRS", "127.0.0.1/32");
    let mut process = Process::start(command.stderr(Stdio::null()), address)?;
    let ready = process.ready()?;
    Ok((process, ready))
}

impl Muster {
    /// On a new folder.
    pub(crate) fn start(model: SocketAddr) -> Outcome<(Self, Ready)> {
        let folder = folder()?;
        let address = free_address()?;
        let (process, ready) = serve(folder.path(), address, model)?;
        Ok((Self { process, client: Client::new(address, ""), key: String::new(), model, folder }, ready))
    }

    /// Makes the key that is used from now on, without limits of requests.
    pub(crate) fn make_key(&mut self) -> Outcome<()> {
        let words = ["key", "create", "--org", "bench", "--requests-per-minute", "0", "--in-flight", "0", "--json"];
        let mut arguments: Vec<&OsStr> = words.map(OsStr::new).to_vec();
        arguments.extend([OsStr::new("--data"), self.folder.path().as_os_str()]);
        let made: Value = serde_json::from_slice(&printed(program("muster")?, &arguments)?)?;
        self.key = text(&made, "/key")?;
        self.client = Client::new(self.process.address(), &self.key);
        Ok(())
    }

    /// As a process that never stopped cleanly finds the folder.
    pub(crate) fn kill_and_start(&mut self) -> Outcome<Ready> {
        self.process.kill()?;
        let (process, ready) = serve(self.folder.path(), self.process.address(), self.model)?;
        self.process = process;
        self.client = Client::new(self.process.address(), &self.key);
        Ok(ready)
    }

    pub(crate) async fn agent(&self, model: &str) -> Outcome<String> {
        self.agent_with(model, json!([])).await
    }

    /// An agent whose model may call the tool at that URL.
    pub(crate) async fn agent_with_tool(&self, model: &str, url: &str) -> Outcome<String> {
        let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let tool = json!({"type": "http", "name": "act", "method": "POST", "url": url, "parameters": parameters});
        self.agent_with(model, json!([tool])).await
    }

    async fn agent_with(&self, model: &str, tools: Value) -> Outcome<String> {
        let prompt = "You are a helpful assistant.";
        let body = json!({"name": "bench", "system_prompt": prompt, "model": model, "tools": tools});
        text(&self.client.post("/v1/agents", &body).await?, "/id")
    }

    /// One run through Cotera's call.
    pub(crate) async fn chat(&self, agent: &str, prompt: &str) -> Outcome<Duration> {
        let started = Instant::now();
        // Cotera's ids have no prefix.
        let path = format!("/api/v1/resource/agent/{}/chat", agent.trim_start_matches("agent_"));
        let answer = self.client.post(&path, &json!({ "message": prompt })).await?;
        text(&answer, "/result")?;
        Ok(started.elapsed())
    }

    /// One run through our own call.
    pub(crate) async fn run(&self, agent: &str, prompt: &str) -> Outcome<Duration> {
        let started = Instant::now();
        let path = format!("/v1/agents/{agent}/runs?wait=25");
        let answer = self.client.post(&path, &json!({ "message": prompt })).await?;
        text(&answer, "/result")?;
        Ok(started.elapsed())
    }

    /// One streamed run: when the first piece of its answer came, and when it had ended.
    pub(crate) async fn stream(&self, agent: &str, prompt: &str) -> Outcome<(Duration, Duration)> {
        let started = Instant::now();
        let path = format!("/v1/agents/{agent}/runs/stream");
        let [first, end] =
            self.client.follow(&path, &json!({ "message": prompt }), ["message.delta", "run.done"]).await?;
        Ok((first.duration_since(started), end.duration_since(started)))
    }

    /// Gives these agents, all of them together, another system prompt.
    pub(crate) async fn update_agents(&self, agents: &[String], prompt: &str) -> Outcome<Duration> {
        let items: Vec<Value> = agents.iter().map(|id| json!({ "id": id, "systemPrompt": prompt })).collect();
        let body = json!({ "items": items });
        let started = Instant::now();
        let answer = self.client.put("/api/agents/batch", &body).await?;
        let took = started.elapsed();
        let changed = answer.pointer("/agents").and_then(Value::as_array).map_or(0, Vec::len);
        if changed == agents.len() { Ok(took) } else { Err(format!("only {changed} are changed").into()) }
    }

    pub(crate) async fn start_batch(&self, agent: &str, prompts: &[String]) -> Outcome<String> {
        let items: Vec<Value> = prompts.iter().map(|prompt| json!({ "message": prompt })).collect();
        let path = format!("/v1/agents/{agent}/batches");
        let answer = if items.len() > INLINE_LIMIT {
            self.client.post_lines(&path, &items).await?
        } else {
            self.client.post(&path, &json!({ "items": items })).await?
        };
        text(&answer, "/id")
    }

    /// Waits for the end of the batch and answers how many items ended well.
    pub(crate) async fn end_of_batch(&self, id: &str) -> Outcome<u64> {
        loop {
            let batch = self.client.get(&format!("/v1/batches/{id}")).await?;
            if batch.pointer("/terminal") == Some(&Value::Bool(true)) {
                return Ok(batch.pointer("/counts/done").and_then(Value::as_u64).unwrap_or(0));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A batch from its request to the look that finds it ended.
    pub(crate) async fn batch(&self, agent: &str, prompts: &[String]) -> Outcome<Duration> {
        let started = Instant::now();
        let id = self.start_batch(agent, prompts).await?;
        let done = self.end_of_batch(&id).await?;
        let took = started.elapsed();
        if done == u64::try_from(prompts.len())? { Ok(took) } else { Err(format!("only {done} ended well").into()) }
    }
}

/// The durable floor.
pub(crate) struct Floor {
    pub(crate) process: Process,
    client: Client,
    _folder: TempDir,
}

impl Floor {
    pub(crate) fn start(model: SocketAddr) -> Outcome<(Self, Ready)> {
        let folder = folder()?;
        let address = free_address()?;
        let mut command = Command::new(program("floor")?);
        command.arg(address.to_string()).arg(format!("http://{model}/v1/chat/completions"));
        let mut process = Process::start(command.arg(folder.path().join("log")), address)?;
        let ready = process.ready()?;
        Ok((Self { process, client: Client::new(address, ""), _folder: folder }, ready))
    }

    pub(crate) async fn run(&self, model: &str, prompt: &str) -> Outcome<Duration> {
        let started = Instant::now();
        let answer = self.client.post("/runs/wait", &json!({"model": model, "prompt": prompt})).await?;
        text(&answer, "/output")?;
        Ok(started.elapsed())
    }

    pub(crate) async fn batch(&self, model: &str, prompts: &[String]) -> Outcome<Duration> {
        let started = Instant::now();
        let made = self.client.post("/batch", &json!({"model": model, "prompts": prompts})).await?;
        let path = format!("/batch/{}", text(&made, "/id")?);
        while self.client.get(&path).await?.pointer("/open").and_then(Value::as_u64) != Some(0) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(started.elapsed())
    }
}
