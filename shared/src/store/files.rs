//! Files in the store: a row each, in one partition of an organisation, so that they are listed in the order in which they were made;
//! counters of those that are ready; and notes of bytes that no row names, in one partition, the oldest first.

use serde::Deserialize;

use super::{
    Result, Store, Versioned,
    row::{Add, Index, Key, Query, Rev, Table, When, Write},
};
use crate::{
    clock::Timestamp,
    file::{File, Limits, Status, Unclaimed},
    id::{FileId, OrgId},
    tenant::Tenant,
};

/// How long the row of a file whose bytes did not come, or were others, is kept after they could have come, in milliseconds.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// The partition of notes.
const NOTES: &str = "UNCLAIMED";
/// The number in a counter.
const KEPT: &str = "kept";

fn partition(org: OrgId) -> String {
    format!("O#{org}#FILES")
}

fn key(org: OrgId, id: FileId) -> Key {
    Key::new(Table::Messages, partition(org), id.to_string())
}

/// The counters of an organisation: of files, and of their bytes.
fn counters(org: OrgId) -> [Key; 2] {
    ["FILES", "BYTES"].map(|of| Key::new(Table::Messages, format!("O#{org}#KEPT"), of))
}

/// What a counter is at.
#[derive(Debug, Deserialize)]
struct Counted {
    kept: i64,
}

/// A note of bytes that no row names, as it was written or read.
#[derive(Debug)]
pub(crate) struct Note {
    key: Key,
    rev: Rev,
}

/// Why a file's row was not written.
#[derive(Debug)]
pub(crate) enum Unsaved {
    /// The organisation has no room for it.
    Full,
    /// The row is not as it was seen, what goes with it is another's, or the bytes were swept.
    Changed,
    /// Anything else.
    Failed(super::Error),
}

impl Store {
    pub(crate) async fn file(&self, tenant: Tenant, id: FileId) -> Result<Option<Versioned<File>>> {
        self.get(&key(tenant.org(), id)).await
    }

    /// A page of the organisation's files, newest first, and where the next begins.
    pub(crate) async fn files(
        &self,
        tenant: Tenant,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<File>, Option<String>)> {
        self.page(&Query::newest_first(Table::Messages, Index::Primary, partition(tenant.org()), before, limit)).await
    }

    /// How many files of the organisation are ready, and how many bytes they have.
    pub(crate) async fn files_kept(&self, tenant: Tenant) -> Result<(u64, u64)> {
        let found = self.batch_get::<Counted>(&counters(tenant.org())).await?;
        let mut counted =
            found.into_iter().map(|found| u64::try_from(found.map_or(0, |found| found.value.kept)).unwrap_or(0));
        Ok((counted.next().unwrap_or(0), counted.next().unwrap_or(0)))
    }

    /// Writes the file's row, if it is as it was seen (`None`: if it is new), takes the note of its bytes away, and writes `other`.
    /// A file that is ready is counted.
    pub(crate) async fn save_file(
        &self,
        file: &File,
        seen: Option<Rev>,
        note: Option<Note>,
        limits: &Limits,
        other: Option<Write>,
    ) -> std::result::Result<(), Unsaved> {
        let mut row = super::row(key(file.org, file.id), file).map_err(Unsaved::Failed)?;
        let gone = (file.status != Status::Ready).then(|| file.created_at.plus_ms(crate::file::UPLOAD_MS + KEPT_MS));
        row.expires_at_s = gone.map(Timestamp::seconds_ceil);
        let mut writes = vec![Write::Put(row, seen.map_or(When::Absent, When::Rev))];
        if file.status == Status::Ready {
            writes.extend(counted(file, 1, Some(limits)));
        }
        let counters = 1..writes.len();
        writes.extend(note.map(|note| Write::Delete(note.key, When::Rev(note.rev))));
        writes.extend(other);
        self.backend.transact(writes).await.map_err(|error| match error {
            super::Error::Conflict { index } if counters.contains(&index) => Unsaved::Full,
            super::Error::Conflict { .. } => Unsaved::Changed,
            super::Error::Unavailable(_) | super::Error::TooLarge(_) | super::Error::Broken(_) => {
                Unsaved::Failed(error)
            }
        })
    }

    /// Deletes the file's row, if it is as it was seen, and notes its bytes, if it has some. One that was ready is not counted any more.
    pub(crate) async fn delete_file(&self, file: &File, seen: Rev, now: Timestamp) -> Result<Option<Note>> {
        let mut writes = vec![Write::Delete(key(file.org, file.id), When::Rev(seen))];
        if file.status == Status::Ready {
            writes.extend(counted(file, -1, None));
        }
        let mut noted = None;
        if let Some(unclaimed) = Unclaimed::of(file) {
            let (write, note) = new_note(&unclaimed, now)?;
            writes.push(write);
            noted = Some(note);
        }
        self.backend.transact(writes).await.map(|()| noted)
    }

    /// Notes that bytes will be there that no row names.
    pub(crate) async fn note(&self, unclaimed: &Unclaimed, now: Timestamp) -> Result<Note> {
        let (write, note) = new_note(unclaimed, now)?;
        self.backend.transact(vec![write]).await.map(|()| note)
    }

    /// The oldest notes from before that moment.
    pub(crate) async fn notes(&self, before: Timestamp, limit: usize) -> Result<Vec<(Note, Unclaimed)>> {
        let query = Query {
            table: Table::Messages,
            index: Index::Primary,
            partition: NOTES.to_owned(),
            after: None,
            before: Some(format!("{:013}", before.millis())),
            descending: false,
            limit,
        };
        let rows = self.backend.query(&query).await?.rows;
        rows.iter().map(|row| Ok((Note { key: row.key.clone(), rev: row.rev }, super::read(row)?.value))).collect()
    }

    /// Writes the note anew, if it is as it was seen: whoever was to take it away with a file's row cannot any more.
    pub(crate) async fn take_note(&self, note: Note, unclaimed: &Unclaimed) -> Result<Note> {
        let row = super::row(note.key, unclaimed)?;
        let taken = Note { key: row.key.clone(), rev: row.rev };
        self.backend.transact(vec![Write::Put(row, When::Rev(note.rev))]).await.map(|()| taken)
    }

    /// Takes a note away whose bytes are gone or named.
    pub(crate) async fn forget_note(&self, note: Note) -> Result<()> {
        self.backend.transact(vec![Write::Delete(note.key, When::Any)]).await
    }
}

fn new_note(unclaimed: &Unclaimed, now: Timestamp) -> Result<(Write, Note)> {
    let sort = format!("{:013}#{}#{:016x}", now.millis(), unclaimed.id, Rev::fresh().0);
    let row = super::row(Key::new(Table::Messages, NOTES, sort), unclaimed)?;
    let note = Note { key: row.key.clone(), rev: row.rev };
    Ok((Write::Put(row, When::Absent), note))
}

/// What so many times this file changes in its organisation's counters, within these limits.
fn counted(file: &File, times: i64, limits: Option<&Limits>) -> [Write; 2] {
    let [files, bytes] = counters(file.org);
    let most = |most: fn(&Limits) -> u64| limits.map(|limits| (KEPT, i64::try_from(most(limits)).unwrap_or(i64::MAX)));
    let add = |key, amount: i64, at_most| {
        Write::Add(Add { key, amounts: vec![(KEPT, amount.saturating_mul(times))], at_most, expires_at_s: None })
    };
    let size = i64::try_from(file.bytes).unwrap_or(i64::MAX);
    [add(files, 1, most(|limits| limits.files)), add(bytes, size, most(|limits| limits.bytes))]
}
