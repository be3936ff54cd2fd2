//! One of each thing that an organisation has, and which fields hold its id.

use std::collections::BTreeMap;

use functions::Surface;
use serde_json::json;

use crate::harness::{Client, text};

/// What an id is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Agent,
    /// A chat is named by its first run.
    Run,
    Batch,
    Key,
    File,
    TestSet,
    Evaluation,
    Webhook,
    Schedule,
    Trigger,
    /// A secret's name is its organisation's own choice.
    Secret,
    /// So is a provider's id.
    Provider,
    /// The number of an agent's version.
    Version,
}

/// What the field of this name, or one whose place ends so, holds the id of; of one call alone where its name stands before the place.
const KINDS: &[(&str, Kind)] = &[
    ("coagent_get_testset_run path.run_id", Kind::Evaluation),
    ("agent_id", Kind::Agent),
    ("agentId", Kind::Agent),
    ("agentIdFilter", Kind::Agent),
    ("body.items[].id", Kind::Agent),
    ("run_id", Kind::Run),
    ("runId", Kind::Run),
    ("parent_run_id", Kind::Run),
    ("chat_id", Kind::Run),
    ("chatId", Kind::Run),
    ("batch_id", Kind::Batch),
    ("key_id", Kind::Key),
    ("file_id", Kind::File),
    ("fileId", Kind::File),
    ("test_set_id", Kind::TestSet),
    ("testset_id", Kind::TestSet),
    ("evaluation_id", Kind::Evaluation),
    ("webhook_id", Kind::Webhook),
    ("schedule_id", Kind::Schedule),
    ("trigger_id", Kind::Trigger),
    ("path.name", Kind::Secret),
    ("path.provider_id", Kind::Provider),
    ("path.version", Kind::Version),
];

/// Fields that look like ids and are none of ours to look up, and why; of one call alone where its name stands before the place.
const NOT_LOOKED_UP: &[(&str, &str)] = &[
    ("approval_id", "names a call within the run of the path"),
    ("chatEventId", "names a message within the run of the path"),
    ("custom_id", "is the caller's own"),
    ("path.source", "is a word"),
    ("coagent_complete body.run_id", "is the caller's own: a session"),
    ("model_ref.provider_id", "is a part of a model's name"),
    ("coagent_create_provider body.id", "is the caller's own"),
    ("coagent_update_provider body.id", "is that of the path"),
    ("cases[].id", "is the caller's own"),
    ("session_id", "is the caller's own: a session that nobody has is an empty one"),
    ("redeliver_webhook body.event_id", "names an event within the webhook of the path"),
    ("event_id", "is the caller's own"),
    ("contextDocs[].id", "is another service's"),
    ("allowedChannels[].id", "is another service's"),
    ("skillId", "is another service's"),
    ("skillVersionId", "is another service's"),
    ("tinesStoryImportId", "is another service's"),
];

impl Kind {
    pub(super) const ALL: [Self; 13] = [
        Self::Agent,
        Self::Run,
        Self::Batch,
        Self::Key,
        Self::File,
        Self::TestSet,
        Self::Evaluation,
        Self::Webhook,
        Self::Schedule,
        Self::Trigger,
        Self::Secret,
        Self::Provider,
        Self::Version,
    ];

    /// What stands in this place of a call, unless it is nothing to look up.
    pub(super) fn of(call: &str, place: &str) -> Option<Self> {
        let is =
            |end: &str| place.ends_with(end) && place[..place.len() - end.len()].ends_with(['.', ']']) || place == end;
        let here = format!("{call} {place}");
        if NOT_LOOKED_UP.iter().any(|(end, _)| is(end) || *end == here) {
            return None;
        }
        let found = KINDS.iter().find(|(end, _)| is(end) || *end == here);
        Some(found.unwrap_or_else(|| panic!("{call}: what is {place} the id of? Say it in things.rs")).1)
    }

    /// What stands for an id of this kind in a request.
    pub(super) fn token(self) -> String {
        format!("<<{self:?}>>")
    }

    /// Whether one can be taken away, so that its id is unknown afterwards.
    pub(super) const fn deletable(self) -> bool {
        matches!(
            self,
            Self::Agent
                | Self::File
                | Self::TestSet
                | Self::Webhook
                | Self::Schedule
                | Self::Trigger
                | Self::Secret
                | Self::Provider
        )
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Agent => "agent_",
            Self::Run => "run_",
            Self::Batch => "batch_",
            Self::Key => "key_",
            Self::File => "file_",
            Self::TestSet => "ts_",
            Self::Evaluation => "eval_",
            Self::Webhook => "wh_",
            Self::Schedule => "sched_",
            Self::Trigger => "trig_",
            Self::Secret | Self::Provider | Self::Version => "",
        }
    }

    /// One of this kind that nobody has.
    pub(super) fn unknown(self, surface: Surface) -> String {
        match self {
            Self::Secret | Self::Provider => "NOBODY_HAS_THIS".to_owned(),
            Self::Version => "99".to_owned(),
            Self::Agent
            | Self::Run
            | Self::Batch
            | Self::Key
            | Self::File
            | Self::TestSet
            | Self::Evaluation
            | Self::Webhook
            | Self::Schedule
            | Self::Trigger => self.written(&uuid::Uuid::now_v7().to_string(), surface),
        }
    }

    /// What is no id of this kind, as it may stand in a path.
    pub(super) fn malformed(self, surface: Surface) -> Vec<String> {
        let id = uuid::Uuid::now_v7().to_string();
        let other = if self == Self::Agent { Self::Run } else { Self::Agent };
        let odd = if surface == Surface::Native { id } else { self.prefix().to_owned() + &id };
        let mut all = vec!["x".to_owned(), "%00".to_owned(), "9".repeat(300), self.prefix().to_owned() + "x", odd];
        if surface == Surface::Native {
            all.push(other.written(&uuid::Uuid::now_v7().to_string(), surface));
        }
        all
    }

    fn written(self, id: &str, surface: Surface) -> String {
        if surface == Surface::Native { self.prefix().to_owned() + id } else { id.to_owned() }
    }
}

/// What somebody has.
#[derive(Debug, Clone, Default)]
pub(super) struct Things(BTreeMap<Kind, String>);

impl Things {
    /// One of each kind, made for the client's organisation. `name` is the secret's, and the provider's id.
    pub(super) async fn made(client: &Client, name: &str) -> Self {
        let agent = client.agent("demo/scripted-l0").await;
        let run = client.run(&agent, "hello").await;
        let batch = json!({"items": [{"message": "hello"}]});
        let batch = text(&client.post(&format!("/v1/agents/{agent}/batches"), batch).await.status(202), "id");
        // Whoever manages keys may rotate it.
        let key = json!({"scopes": ["keys:manage"]});
        let key = text(&client.post("/v1/keys", key).await.status(201), "id");
        let file = json!({"name": "a.txt", "media_type": "text/plain", "data": "aGVsbG8="});
        let file = text(&client.post("/v1/files", file).await.status(201), "id");
        let case = json!({"message": "hello", "validations": [{"exact": {"expected": "x"}}]});
        let set = json!({"name": "set", "items": [case]});
        let set = text(&client.post("/v1/test_sets", set).await.status(201), "id");
        let evaluation = json!({"configurations": [{"agent_id": agent}]});
        let evaluation = client.post(&format!("/v1/test_sets/{set}/evaluations"), evaluation).await.status(202);
        let evaluation = text(&evaluation, "id");
        let webhook = json!({"url": "https://hooks.example.com/", "events": ["run.done"]});
        let webhook = text(&client.post("/v1/webhooks", webhook).await.status(201), "id");
        let schedule =
            json!({"agent_id": agent, "name": "daily", "schedule": "rate(1 day)", "message": "hello", "paused": true});
        let schedule = text(&client.post("/v1/schedules", schedule).await.status(201), "id");
        let trigger = json!({"agent_id": agent, "name": "x", "source": "token", "message": "{{ body }}"});
        let trigger = text(&client.post("/v1/triggers", trigger).await.status(201), "id");
        client.put(&format!("/v1/secrets/{name}"), json!({"value": "x"})).await.ok();
        client.post("/api/v1/providers", json!({"name": "x", "type": "openai", "id": name})).await.status(201);
        let all = [
            (Kind::Agent, agent),
            (Kind::Run, run),
            (Kind::Batch, batch),
            (Kind::Key, key),
            (Kind::File, file),
            (Kind::TestSet, set),
            (Kind::Evaluation, evaluation),
            (Kind::Webhook, webhook),
            (Kind::Schedule, schedule),
            (Kind::Trigger, trigger),
        ];
        let mut things = Self::default();
        for (kind, id) in all {
            things.0.insert(kind, id.strip_prefix(kind.prefix()).unwrap().to_owned());
        }
        let named = [(Kind::Secret, name), (Kind::Provider, name), (Kind::Version, "1")];
        things.0.extend(named.map(|(kind, text)| (kind, text.to_owned())));
        things
    }

    /// The same of those that can be deleted, deleted.
    pub(super) async fn deleted(client: &Client, name: &str) -> Self {
        let mut things = Self::made(client, name).await;
        for (kind, path) in [
            (Kind::Agent, "/v1/agents"),
            (Kind::File, "/v1/files"),
            (Kind::TestSet, "/v1/test_sets"),
            (Kind::Webhook, "/v1/webhooks"),
            (Kind::Schedule, "/v1/schedules"),
            (Kind::Trigger, "/v1/triggers"),
            (Kind::Secret, "/v1/secrets"),
            (Kind::Provider, "/api/v1/providers"),
        ] {
            let id = things.text(kind, Surface::Native).unwrap();
            client.delete(&format!("{path}/{id}")).await.status(204);
        }
        things.0.retain(|kind, _| kind.deletable());
        things
    }

    /// The id, as the surface writes it.
    pub(super) fn text(&self, kind: Kind, surface: Surface) -> Option<String> {
        self.0.get(&kind).map(|id| kind.written(id, surface))
    }
}
