//! The application: everything that an operation needs, made once per process.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;

use crate::{
    agent::AgentVersion,
    clock::{Clock, Timestamp},
    config::Config,
    engine::Signals,
    error::Fault,
    file::{Files, Room},
    id::{AgentId, OrgId},
    limit::Limiter,
    model::{
        ModelName,
        catalogue::{Models, UnknownModel},
        settings::SettingsError,
    },
    money::{self, RememberedBudgets},
    net::Guard,
    provider,
    queue::Queue,
    schedule::Timers,
    seal::{Failure, Sealer},
    store::Store,
    tool::lambda::Functions,
    trigger::Buckets,
    webhook::{Outbox, bus::Bus},
};

/// How many agent versions a process remembers: they never change.
const REMEMBERED_VERSIONS: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// Settings that make no application.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The pepper is too short.
    #[error(transparent)]
    Pepper(#[from] Failure),
    /// The models' settings make no sense.
    #[error(transparent)]
    Models(#[from] SettingsError),
    /// The model that shall grade is none.
    #[error("MUSTER_JUDGE_MODEL: {0}")]
    Judge(#[source] UnknownModel),
    /// The model that shall make embeddings is none.
    #[error("MUSTER_EMBEDDING_MODEL: {0}")]
    Embedding(#[source] UnknownModel),
    /// The provider of that model has no embeddings.
    #[error("MUSTER_EMBEDDING_MODEL: the provider of '{0}' has no embeddings")]
    NoEmbeddings(ModelName),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] Fault),
}

/// Everything that an operation needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    config: Config,
    clock: Clock,
    store: Store,
    queue: Queue,
    files: Files,
    room: Room,
    models: Models,
    judge: Option<ModelName>,
    embedding: Option<ModelName>,
    guard: Guard,
    functions: Functions,
    timers: Timers,
    bus: Bus,
    buckets: Buckets,
    sealer: Sealer,
    limiter: Limiter,
    signals: Signals,
    budgets: RememberedBudgets,
    providers: provider::Remembered,
    outbox: Outbox,
    /// What this process calls itself in leases.
    owner: String,
    versions: Mutex<LruCache<(OrgId, AgentId, u32), Arc<AgentVersion>>>,
}

impl App {
    /// The application over this store, queue and place of files.
    ///
    /// # Errors
    /// [`Unusable`] when the settings make no application.
    pub fn new(
        config: Config,
        clock: Clock,
        store: Store,
        queue: Queue,
        files: Files,
        limiter: Limiter,
    ) -> Result<Self, Unusable> {
        let sealer = Sealer::new(&config.pepper)?;
        let models = Models::new(&config.models)?;
        let named = |name: &Option<String>| name.as_deref().map(|name| models.resolve(name)).transpose();
        let judge = named(&config.judge_model).map_err(Unusable::Judge)?.or_else(|| models.keyed_default());
        let embedding = named(&config.embedding_model).map_err(Unusable::Embedding)?;
        if let Some(name) = embedding.as_ref().filter(|name| !models.embeds(name)) {
            return Err(Unusable::NoEmbeddings(name.clone()));
        }
        let embedding = embedding.or_else(|| models.keyed_embedding());
        let guard = Guard::new(&config.allow_cidrs).map_err(Unusable::Tls)?;
        let versions = Mutex::new(LruCache::new(REMEMBERED_VERSIONS));
        let owner = config.sole_epoch.clone().unwrap_or_else(|| crate::id::process(clock.now()));
        let signals = Signals::default();
        let room = Room::new(config.files.shown_bytes);
        Ok(Self {
            parts: Arc::new(Parts {
                config,
                clock,
                store,
                queue,
                files,
                room,
                models,
                judge,
                embedding,
                guard,
                functions: Functions::default(),
                timers: Timers::default(),
                bus: Bus::default(),
                buckets: Buckets::default(),
                sealer,
                limiter,
                signals,
                budgets: money::none_remembered(),
                providers: provider::none_remembered(),
                outbox: Outbox::default(),
                owner,
                versions,
            }),
        })
    }

    /// The same application with these functions for tools: to be said before it is shared, for nothing comes of it later.
    #[must_use]
    pub fn with_functions(self, functions: Functions) -> Self {
        self.with(|parts| parts.functions = functions)
    }

    /// The same application with these timers of schedules: to be said as [`App::with_functions`].
    #[must_use]
    pub fn with_timers(self, timers: Timers) -> Self {
        self.with(|parts| parts.timers = timers)
    }

    /// The same application with this event bus: to be said as [`App::with_functions`].
    #[must_use]
    pub fn with_bus(self, bus: Bus) -> Self {
        self.with(|parts| parts.bus = bus)
    }

    /// The same application with these buckets for triggers: to be said as [`App::with_functions`].
    #[must_use]
    pub fn with_buckets(self, buckets: Buckets) -> Self {
        self.with(|parts| parts.buckets = buckets)
    }

    fn with(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        if let Some(parts) = Arc::get_mut(&mut self.parts) {
            change(parts);
        }
        self
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.parts.config
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.parts.queue
    }

    /// Where the bytes of files are.
    #[must_use]
    pub(crate) fn files(&self) -> &Files {
        &self.parts.files
    }

    /// The memory that this process has for files that models are shown.
    #[must_use]
    pub(crate) fn room(&self) -> &Room {
        &self.parts.room
    }

    /// The models that this deployment can call.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.parts.models
    }

    /// The model that grades what a run of that model said: the operator's choice, the deployment's default model, or the run's own where
    /// the only default is the scripted model. That one judges nothing, unless the operator chose it: with no other there is none.
    pub(crate) fn judge_model(&self, own: &ModelName) -> Option<ModelName> {
        self.parts.judge.as_ref().or_else(|| Some(own).filter(|own| !self.models().is_scripted(own))).cloned()
    }

    /// The model whose embeddings say how alike texts are, where the answers are of a run of that model: the operator's choice, or the deployment's
    /// default one. The scripted model compares its own answers alone, unless the operator chose it: with no other there is none.
    pub(crate) fn embedding_model(&self, own: &ModelName) -> Option<ModelName> {
        self.parts.embedding.as_ref().or_else(|| Some(own).filter(|own| self.models().is_scripted(own))).cloned()
    }

    /// Through which everything goes that users name: tools, webhooks, files.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.parts.guard
    }

    /// The Lambda functions that tools may be.
    #[must_use]
    pub fn functions(&self) -> &Functions {
        &self.parts.functions
    }

    /// Who says that a schedule's time has come.
    pub(crate) fn timers(&self) -> &Timers {
        &self.parts.timers
    }

    /// Where what happens is put, beside who is told otherwise.
    pub(crate) fn bus(&self) -> &Bus {
        &self.parts.bus
    }

    /// The buckets whose objects triggers may read.
    pub(crate) fn buckets(&self) -> &Buckets {
        &self.parts.buckets
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.parts.sealer
    }

    /// What this process calls itself in leases.
    pub(crate) fn owner(&self) -> String {
        self.parts.owner.clone()
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.parts.signals
    }

    pub(crate) fn remembered_budgets(&self) -> &RememberedBudgets {
        &self.parts.budgets
    }

    pub(crate) fn remembered_providers(&self) -> &provider::Remembered {
        &self.parts.providers
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.parts.outbox
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.parts.limiter
    }

    pub(crate) fn remembered_version(&self, org: OrgId, agent: AgentId, version: u32) -> Option<Arc<AgentVersion>> {
        let mut versions = self.parts.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(&(org, agent, version)).cloned()
    }

    pub(crate) fn remember_version(&self, org: OrgId, version: Arc<AgentVersion>) {
        let mut versions = self.parts.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.put((org, version.agent_id, version.number), version);
    }
}
