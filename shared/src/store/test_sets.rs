//! Test sets in the store: a row each, in one partition of an organisation, and rows of cases, a row for some that came together. A row of
//! cases is written once; how many it has is in its key, so that pages are found by keys alone.

use serde::{Deserialize, Serialize};

use super::{
    Result, Store, Versioned,
    row::{Index, Key, Query, Rev, TRANSACTION_LIMIT, Table, When, Write},
};
use crate::{
    id::{OrgId, TestSetId},
    store::chunk,
    tenant::Tenant,
    test_set::{Case, TestSet},
};

/// Before and behind the keys of all rows of cases.
const FIRST: &str = "C#";
const BEHIND: &str = "D";

/// Cases that came together.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cases {
    /// The first one's number in its set.
    pub(crate) first: usize,
    pub(crate) cases: Vec<Case>,
}

/// A row of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    sort: String,
    first: usize,
    count: usize,
    /// How many bytes the cases have.
    pub(crate) bytes: usize,
}

impl Place {
    fn new(first: usize, count: usize, bytes: usize) -> Self {
        Self { sort: format!("{FIRST}{first:05}#{count}#{bytes}"), first, count, bytes }
    }

    fn read(sort: &str) -> Option<Self> {
        let mut numbers = sort.strip_prefix(FIRST)?.split('#').map(|number| number.parse().ok());
        let mut number = || numbers.next().flatten();
        Some(Self::new(number()?, number()?, number()?))
    }

    fn end(&self) -> usize {
        self.first.saturating_add(self.count)
    }
}

fn set_key(org: OrgId, id: TestSetId) -> Key {
    Key::new(Table::Messages, sets_partition(org), id.to_string())
}

fn sets_partition(org: OrgId) -> String {
    format!("O#{org}#TESTSETS")
}

fn cases_partition(org: OrgId, id: TestSetId) -> String {
    format!("O#{org}#TESTSET#{id}")
}

impl Store {
    pub(crate) async fn test_set(&self, tenant: Tenant, id: TestSetId) -> Result<Option<Versioned<TestSet>>> {
        self.get(&set_key(tenant.org(), id)).await
    }

    /// A page of the organisation's test sets, newest first, and where the next begins.
    pub(crate) async fn test_sets(
        &self,
        tenant: Tenant,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<TestSet>, Option<String>)> {
        let partition = sets_partition(tenant.org());
        self.page(&Query::newest_first(Table::Messages, Index::Primary, partition, before, limit)).await
    }

    /// Writes the set's row, if it is as it was seen (`None`: if it is new), with rows of new cases, each with how many bytes they have, and
    /// a claim. A conflict's index is 0 for the set's row.
    pub(crate) async fn save_test_set(
        &self,
        set: &TestSet,
        seen: Option<Rev>,
        new: &[(Cases, usize)],
        claim: Option<Write>,
    ) -> Result<()> {
        let row = super::row(set_key(set.org, set.id), set)?;
        let mut writes = vec![Write::Put(row, seen.map_or(When::Absent, When::Rev))];
        for (cases, bytes) in new {
            let sort = Place::new(cases.first, cases.cases.len(), *bytes).sort;
            let key = Key::new(Table::Messages, cases_partition(set.org, set.id), sort);
            writes.push(Write::Put(super::row(key, cases)?, When::Absent));
        }
        writes.extend(claim);
        self.backend.transact(writes).await
    }

    /// The rows that have the cases from `from` to before `end`, in order.
    pub(crate) async fn case_places(
        &self,
        tenant: Tenant,
        id: TestSetId,
        from: usize,
        end: usize,
    ) -> Result<Vec<Place>> {
        // A row that has `from` begins at most so many before it.
        let begin = from.saturating_sub(chunk::MOST);
        let (after, before) = (format!("{FIRST}{begin:05}"), format!("{FIRST}{end:05}"));
        let partition = cases_partition(tenant.org(), id);
        let sorts = self.sorts_between(Table::Messages, &partition, &after, &before).await?;
        Ok(sorts.iter().filter_map(|sort| Place::read(sort)).filter(|place| place.end() > from).collect())
    }

    /// The cases in these rows, with their numbers.
    pub(crate) async fn cases(&self, tenant: Tenant, id: TestSetId, places: &[Place]) -> Result<Vec<(usize, Case)>> {
        let partition = cases_partition(tenant.org(), id);
        let keys: Vec<Key> = places.iter().map(|place| Key::new(Table::Messages, &*partition, &*place.sort)).collect();
        let found = self.batch_get::<Cases>(&keys).await?.into_iter().flatten();
        Ok(found.flat_map(|Versioned { value, .. }| (value.first..).zip(value.cases)).collect())
    }

    /// Takes the set's cases away, and then its row if it is as it was seen.
    pub(crate) async fn delete_test_set(&self, tenant: Tenant, id: TestSetId, seen: Rev) -> Result<()> {
        let partition = cases_partition(tenant.org(), id);
        let sorts = self.sorts_between(Table::Messages, &partition, FIRST, BEHIND).await?;
        for sorts in sorts.chunks(TRANSACTION_LIMIT) {
            let delete = |sort: &String| Write::Delete(Key::new(Table::Messages, &*partition, &**sort), When::Any);
            self.backend.transact(sorts.iter().map(delete).collect()).await?;
        }
        self.backend.transact(vec![Write::Delete(set_key(tenant.org(), id), When::Rev(seen))]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_cases_is_known_by_its_key() {
        for (first, count, bytes) in [(0, 1, 2), (9_999, 1, 3_000_000), (100, 100, 200_000)] {
            let place = Place::new(first, count, bytes);
            assert_eq!(Place::read(&place.sort), Some(place));
        }
        assert_eq!(Place::read("C#1#2"), None);
    }
}
