//! What is measured, and how.

use std::time::Duration;

use crate::{
    Outcome,
    client::Client,
    model::Model,
    report::{Report, median, quantile},
    target::{Floor, Muster},
};

/// The model's latency of sync runs, in milliseconds, and its name.
const SYNC_MS: f64 = 50.0;
const SYNC_MODEL: &str = "fake-l50";
/// The same, asking for a tool before it answers.
const TOOL_MODEL: &str = "fake-l50-t1";
/// The model of streamed runs: its first piece comes after the first of these, the last of ten after the second, in milliseconds.
const STREAM_MS: (f64, f64) = (50.0, 200.0);
const STREAM_MODEL: &str = "fake-l200-f50-c10-o10";
/// The model of fan-outs answers after a second.
const BATCH_MODEL: &str = "fake-l1000";
/// The model of the crash answers when the process has long been killed.
const CRASH_MODEL: &str = "fake-l3000";
const CRASH_RUNS: usize = 10_000;
/// How long a process rests before its memory at rest is read.
const REST: Duration = Duration::from_secs(2);
/// The fan-outs: how many runs, and how many times one run's time they may take.
const BATCHES: [(usize, f64); 3] = [(50, 1.05), (1_000, 1.35), (5_000, 3.0)];

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn prompts(series: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("Say the number {n} of {series} and nothing else, please.")).collect()
}

pub(crate) fn start(model: &Model, rounds: usize, report: &mut Report) -> Outcome<()> {
    let (mut fresh, mut again, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.max(5) {
        let (mut muster, ready) = Muster::start(model.address())?;
        fresh.push(ms(ready));
        again.push(ms(muster.kill_and_start()?));
        floors.push(ms(Floor::start(model.address())?.1));
    }
    let floor = median(floors);
    report.add("start to ready, new folder", "ms", median(fresh), floor, 60.0);
    report.add("start to ready, used folder", "ms", median(again), floor, 60.0);
    let (muster, _) = Muster::start(model.address())?;
    let (floor, _) = Floor::start(model.address())?;
    std::thread::sleep(REST);
    let (ours, floors) = (muster.process.memory_mb("VmRSS")?, floor.process.memory_mb("VmRSS")?);
    report.add("resident at rest", "MB", ours, floors, 30.0);
    Ok(())
}

pub(crate) async fn sync(model: &Model, rounds: usize, runs: usize, report: &mut Report) -> Outcome<()> {
    let (mut muster, _) = Muster::start(model.address())?;
    muster.make_key()?;
    let (floor, _) = Floor::start(model.address())?;
    let agent = muster.agent(&format!("openai/{SYNC_MODEL}")).await?;
    let (mut chats, mut natives, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        for (n, prompt) in prompts(&format!("sync {round}"), runs).iter().enumerate() {
            // Who follows whom changes, so that nobody always comes after the same one's disk write.
            for turn in 0..3 {
                match (n + turn) % 3 {
                    0 => floors.push(ms(floor.run(SYNC_MODEL, prompt).await?) - SYNC_MS),
                    1 => chats.push(ms(muster.chat(&agent, prompt).await?) - SYNC_MS),
                    _ => natives.push(ms(muster.run(&agent, prompt).await?) - SYNC_MS),
                }
            }
        }
    }
    for (part, name, most) in [(0.5, "p50", 5.0), (0.99, "p99", 12.0)] {
        let floor = quantile(floors.clone(), part);
        let line = |call: &str| format!("one sync run adds to the model's {SYNC_MS} ms, {call}, {name}");
        report.add(line("Cotera chat"), "ms", quantile(chats.clone(), part), floor, most);
        report.add(line("native"), "ms", quantile(natives.clone(), part), floor, most);
    }
    Ok(())
}

pub(crate) async fn tools(model: &Model, rounds: usize, runs: usize, report: &mut Report) -> Outcome<()> {
    let (mut muster, _) = Muster::start(model.address())?;
    muster.make_key()?;
    let agent = muster.agent_with_tool(&format!("openai/{TOOL_MODEL}"), &model.tool(SYNC_MS)).await?;
    let kept = Client::new(model.address(), "");
    let (mut whole, mut direct) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for prompt in prompts(&format!("tools {round}"), runs) {
            whole.push(ms(muster.run(&agent, &prompt).await?));
            direct.push(ms(model.direct(&kept, SYNC_MODEL, &prompt, SYNC_MS).await?));
        }
    }
    // What the three calls take by themselves is more than the servers' times: timers are late, and connections are made.
    let calls = median(direct);
    report.add("two model calls and one of a tool, without anything else, p50", "ms", calls, None, None);
    for (part, name, most) in [(0.5, "p50", Some(12.0)), (0.99, "p99", None)] {
        let line = format!("a run with a tool call adds to two model calls and the tool, {name}");
        report.add(line, "ms", quantile(whole.clone(), part) - calls, None, most);
    }
    Ok(())
}

pub(crate) async fn streams(model: &Model, rounds: usize, runs: usize, report: &mut Report) -> Outcome<()> {
    let (mut muster, _) = Muster::start(model.address())?;
    muster.make_key()?;
    let agent = muster.agent(&format!("openai/{STREAM_MODEL}")).await?;
    let (mut firsts, mut wholes) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for prompt in prompts(&format!("stream {round}"), runs) {
            let (first, whole) = muster.stream(&agent, &prompt).await?;
            firsts.push(ms(first) - STREAM_MS.0);
            wholes.push(ms(whole) - STREAM_MS.1);
        }
    }
    for (part, name, most) in [(0.5, "p50", Some(10.0)), (0.99, "p99", None)] {
        report.add(
            format!("first piece of a streamed answer after the model's, {name}"),
            "ms",
            quantile(firsts.clone(), part),
            None,
            most,
        );
        let line = format!("a streamed run adds to the model's {} ms, {name}", STREAM_MS.1);
        report.add(line, "ms", quantile(wholes.clone(), part), None, None);
    }
    Ok(())
}

pub(crate) async fn batches(model: &Model, rounds: usize, report: &mut Report) -> Outcome<()> {
    let mut singles = Vec::new();
    let (mut cpu, mut floor_cpu) = (Vec::new(), Vec::new());
    let (mut memory, mut floor_memory) = (Vec::new(), Vec::new());
    let mut walls = BATCHES.map(|(runs, most)| (runs, most, Vec::new(), Vec::new()));
    for round in 0..rounds {
        for (runs, _, ours, floors) in &mut walls {
            // Each on a new process: the most memory is this batch's, and the connections are new.
            let (mut muster, _) = Muster::start(model.address())?;
            muster.make_key()?;
            let agent = muster.agent(&format!("openai/{BATCH_MODEL}")).await?;
            singles.push(ms(muster.run(&agent, &format!("warm up {round}")).await?));
            let (floor, _) = Floor::start(model.address())?;
            floor.run(BATCH_MODEL, "warm up").await?;
            let prompts = prompts(&format!("batch {round}"), *runs);
            let before = (muster.process.cpu_ms()?, floor.process.cpu_ms()?);
            floors.push(ms(floor.batch(BATCH_MODEL, &prompts).await?));
            ours.push(ms(muster.batch(&agent, &prompts).await?));
            if *runs == 1_000 {
                cpu.push((muster.process.cpu_ms()? - before.0) / 1000.0);
                floor_cpu.push((floor.process.cpu_ms()? - before.1) / 1000.0);
                memory.push(muster.process.memory_mb("VmHWM")?);
                floor_memory.push(floor.process.memory_mb("VmHWM")?);
            }
        }
    }
    let single = median(singles);
    report.add("one run at 1 s of model latency", "ms", single, None, None);
    for (runs, most, ours, floors) in walls {
        let name = format!("{runs} runs in one batch");
        let (ours, floors) = (median(ours), median(floors));
        report.add(name.clone(), "ms", ours, floors, None);
        report.add(name, "times one run", ours / single, floors / single, most);
    }
    report.add("processor time of a run in a batch of 1,000", "ms", median(cpu), median(floor_cpu), 0.8);
    report.add("resident at 1,000 waiting runs, peak", "MB", median(memory), median(floor_memory), 90.0);
    Ok(())
}

pub(crate) async fn crash(model: &Model, rounds: usize, report: &mut Report) -> Outcome<()> {
    let (mut readies, mut ends, mut lost, mut extra) = (Vec::new(), Vec::new(), 0.0, 0.0_f64);
    for round in 0..rounds {
        let (mut muster, _) = Muster::start(model.address())?;
        muster.make_key()?;
        let agent = muster.agent(&format!("openai/{CRASH_MODEL}")).await?;
        model.reset();
        let prompts = prompts(&format!("crash {round}"), CRASH_RUNS);
        let id = muster.start_batch(&agent, &prompts).await?;
        readies.push(ms(muster.kill_and_start()?));
        let started = std::time::Instant::now();
        let done = muster.end_of_batch(&id).await?;
        ends.push(ms(started.elapsed()));
        let (calls, distinct) = model.calls();
        lost += (CRASH_RUNS as f64 - done as f64).max(CRASH_RUNS as f64 - distinct as f64);
        extra = extra.max(calls as f64 - CRASH_RUNS as f64);
    }
    report.add("10,000 accepted runs, kill -9, start: lost", "runs", lost, None, 0.0);
    report.add("… start to ready", "ms", median(readies), None, 60.0);
    report.add("… ready to all ended, the model taking 3 s", "ms", median(ends), None, None);
    report.add("… model calls made twice, at most", "calls", extra, None, None);
    Ok(())
}
