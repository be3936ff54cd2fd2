//! Queries along the table's keys or one of its indexes.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Dynamo, broken, failed,
    item::{self, Item, Stored, keys_of, string, text},
};
use crate::store::row::{Entry, Found, FoundKeys, Index, KEYS_LIMIT, Key, Query, Result, Row};

/// After so many bytes of bodies a page ends, although more rows were asked for.
const PAGE_BYTES: usize = 8 << 20;

impl Dynamo {
    pub(crate) async fn query(&self, query: &Query) -> Result<Found> {
        let (mut items, mut more) = self.along(query).await?;
        let (_, _, sort) = keys_of(query.index);
        more |= items.len() > query.limit;
        items.truncate(query.limit);
        let last = items.last().and_then(|item| string(item, sort)).map(str::to_owned);
        let (rows, cut) = match query.index {
            Index::Primary => self.rows(query, items).await?,
            Index::Listed | Index::Due => (self.confirmed(query, &items).await?, None),
        };
        let next = if cut.is_some() { cut } else { last.filter(|_| more) };
        Ok(Found { rows, next })
    }

    pub(crate) async fn query_keys(&self, query: &Query) -> Result<FoundKeys> {
        let query = Query { limit: query.limit.min(KEYS_LIMIT), ..query.clone() };
        let (mut items, mut more) = self.along(&query).await?;
        let (_, _, sort) = keys_of(query.index);
        more |= items.len() > query.limit;
        items.truncate(query.limit);
        let sorts: Vec<String> = items.iter().filter_map(|item| string(item, sort)).map(str::to_owned).collect();
        let next = sorts.last().filter(|_| more).cloned();
        Ok(FoundKeys { sorts, next })
    }

    /// The items in order, up to one more than the limit, and whether there are more behind them.
    async fn along(&self, query: &Query) -> Result<(Vec<Item>, bool)> {
        let mut items: Vec<Item> = Vec::new();
        let Some(range) = Range::of(query) else { return Ok((items, false)) };
        let (_, _, sort) = keys_of(query.index);
        let (mut start, mut bytes) = (None, 0);
        loop {
            // One more shows whether anything is behind; the ends of a range with two ends are dropped.
            let wanted = query.limit.saturating_sub(items.len()).saturating_add(1 + range.ends());
            let call = self.page_of(query, &range).set_exclusive_start_key(start);
            let answer = call.limit(i32::try_from(wanted).unwrap_or(i32::MAX)).send().await;
            let answer = answer.map_err(|error| failed("Query", &error))?;
            let page = answer.items.unwrap_or_default().into_iter();
            let page: Vec<Item> =
                page.filter(|item| string(item, sort).is_some_and(|sort| range.holds(sort))).collect();
            bytes += page.iter().map(item::size).sum::<usize>();
            items.extend(page);
            start = answer.last_evaluated_key;
            if start.is_none() || items.len() > query.limit || (bytes > PAGE_BYTES && !items.is_empty()) {
                return Ok((items, start.is_some()));
            }
        }
    }

    fn page_of(&self, query: &Query, range: &Range<'_>) -> QueryFluentBuilder {
        let (index, partition, sort) = keys_of(query.index);
        let mut call = self
            .client
            .query()
            .table_name(self.table(query.table))
            .set_index_name(index.map(str::to_owned))
            .consistent_read(query.index == Index::Primary)
            .scan_index_forward(!query.descending)
            .key_condition_expression(range.expression())
            .expression_attribute_names("#partition", partition)
            .expression_attribute_values(":partition", text(&query.partition));
        if range.after.is_some() || range.before.is_some() {
            call = call.expression_attribute_names("#sort", sort);
        }
        for (name, end) in [(":after", range.after), (":before", range.before)] {
            if let Some(end) = end {
                call = call.expression_attribute_values(name, text(end));
            }
        }
        call
    }

    /// The rows of these items with their bodies joined; and where to go on when they became too many bytes.
    async fn rows(&self, query: &Query, items: Vec<Item>) -> Result<(Vec<Row>, Option<String>)> {
        let stored = items.into_iter().map(|item| item::stored(query.table, item)).collect::<Result<Vec<_>>>()?;
        let count = stored.len();
        let mut last = None;
        let (mut rows, mut seen, mut bytes) = (Vec::with_capacity(count), 0, 0);
        // Few at a time: one body can be 6 MiB.
        let stored: Vec<_> = stored.into_iter().map(|stored| self.placed(stored)).collect();
        let mut joined = stream::iter(stored).buffered(2);
        while let Some((sort, row)) = joined.try_next().await? {
            seen += 1;
            last = Some(sort);
            bytes += row.as_ref().map_or(0, |row| row.body.len());
            rows.extend(row);
            if bytes > PAGE_BYTES {
                break;
            }
        }
        Ok((rows, last.filter(|_| seen < count)))
    }

    async fn placed(&self, stored: Stored) -> Result<(String, Option<Row>)> {
        let sort = stored.row.key.sort.clone();
        Ok((sort, self.joined(stored).await?))
    }

    /// The rows that the index names, without those that are gone or are no longer at that place of it.
    async fn confirmed(&self, query: &Query, items: &[Item]) -> Result<Vec<Row>> {
        let (_, _, sort) = keys_of(query.index);
        let keys = items.iter().map(|item| item::key(query.table, item)).collect::<Result<Vec<Key>>>()?;
        let rows = self.batch_get(&keys).await?;
        let mut confirmed = Vec::with_capacity(rows.len());
        for (row, item) in rows.into_iter().zip(items) {
            let sort = string(item, sort).ok_or_else(|| broken("Query", "an index entry has no key"))?;
            let is_there = |entry: &Entry| entry.partition == query.partition && entry.sort == sort;
            confirmed.extend(row.filter(|row| entry_of(row, query.index).is_some_and(is_there)));
        }
        Ok(confirmed)
    }
}

fn entry_of(row: &Row, index: Index) -> Option<&Entry> {
    match index {
        Index::Listed => row.listed.as_ref(),
        Index::Due => row.due.as_ref(),
        Index::Primary => None,
    }
}

/// The part of a partition that is asked for. DynamoDB takes one condition on a sort key, and no empty text.
struct Range<'a> {
    after: Option<&'a str>,
    before: Option<&'a str>,
}

impl<'a> Range<'a> {
    /// `None` when nothing can lie in it.
    fn of(query: &'a Query) -> Option<Self> {
        let after = query.after.as_deref().filter(|after| !after.is_empty());
        let before = query.before.as_deref();
        let empty = query.limit == 0
            || query.partition.is_empty()
            || before == Some("")
            || after.zip(before).is_some_and(|(after, before)| after >= before);
        (!empty).then_some(Self { after, before })
    }

    const fn expression(&self) -> &'static str {
        match (self.after.is_some(), self.before.is_some()) {
            (false, false) => "#partition = :partition",
            (true, false) => "#partition = :partition AND #sort > :after",
            (false, true) => "#partition = :partition AND #sort < :before",
            (true, true) => "#partition = :partition AND #sort BETWEEN :after AND :before",
        }
    }

    /// How many rows the expression may yield that do not lie in the range.
    const fn ends(&self) -> usize {
        if self.after.is_some() && self.before.is_some() { 2 } else { 0 }
    }

    fn holds(&self, sort: &str) -> bool {
        self.after.is_none_or(|after| sort > after) && self.before.is_none_or(|before| sort < before)
    }
}
