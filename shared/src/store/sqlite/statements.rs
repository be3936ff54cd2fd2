//! The SQL of each table, as constants, so that a connection prepares each once. Knows nothing of connections.

use crate::store::row::{Index, Table};

/// What is asked of one table.
pub(super) struct Statements {
    /// Makes the table and its sparse indexes.
    pub(super) create: &'static str,
    /// `partition, sort` → the row.
    pub(super) get: &'static str,
    /// As `get`, but with NULL for a body of more than 32 KiB, whose pages are then not read.
    pub(super) get_small: &'static str,
    /// `partition, sort` → its revision.
    pub(super) rev: &'static str,
    /// The nine columns, in the order of `get`.
    pub(super) put: &'static str,
    /// `partition, sort`.
    pub(super) delete: &'static str,
    /// `now in seconds, at most`: deletes rows whose time has passed.
    pub(super) sweep: &'static str,
    primary: Along,
    listed: Along,
    due: Along,
}

/// What is read along the table's keys or an index: rows, or sort keys alone, for which the index is enough.
struct Along {
    rows: Directions,
    keys: Directions,
}

/// `partition, least sort, sort to stop before, at most` → what there is.
struct Directions {
    ascending: &'static str,
    descending: &'static str,
}

macro_rules! columns {
    () => {
        columns!("body")
    };
    ($body:literal) => {
        concat!("partition, sort, rev, expires_at_s, listed_partition, listed_sort, due_partition, due_sort, ", $body)
    };
}

macro_rules! directions {
    ($columns:expr, $table:literal, $partition:literal, $sort:literal) => {
        Directions {
            ascending: directions!($columns, $table, $partition, $sort, " ASC"),
            descending: directions!($columns, $table, $partition, $sort, " DESC"),
        }
    };
    ($columns:expr, $table:literal, $partition:literal, $sort:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM ",
            $table,
            " WHERE ",
            $partition,
            " = ?1 AND ",
            $sort,
            " >= ?2 AND ",
            $sort,
            " < ?3 ORDER BY ",
            $sort,
            $order,
            " LIMIT ?4"
        )
    };
}

macro_rules! along {
    ($table:literal, $partition:literal, $sort:literal) => {
        Along {
            rows: directions!(columns!(), $table, $partition, $sort),
            keys: directions!($sort, $table, $partition, $sort),
        }
    };
}

// The body is the last column, so that reading a revision does not walk through the pages of a large body; and the table
// has a rowid, because a search through a table without one reads the bodies of all rows that it compares.
macro_rules! statements {
    ($table:literal) => {
        Statements {
            create: concat!(
                "CREATE TABLE ",
                $table,
                " (partition TEXT NOT NULL, sort TEXT NOT NULL, rev INTEGER NOT NULL, ",
                "expires_at_s INTEGER, listed_partition TEXT, listed_sort TEXT, due_partition TEXT, due_sort TEXT, ",
                "body TEXT NOT NULL, PRIMARY KEY (partition, sort)) STRICT;",
                "CREATE INDEX ",
                $table,
                "_listed ON ",
                $table,
                " (listed_partition, listed_sort) ",
                "WHERE listed_partition IS NOT NULL;",
                "CREATE INDEX ",
                $table,
                "_due ON ",
                $table,
                " (due_partition, due_sort) ",
                "WHERE due_partition IS NOT NULL;",
                "CREATE INDEX ",
                $table,
                "_expires ON ",
                $table,
                " (expires_at_s) WHERE expires_at_s IS NOT NULL;"
            ),
            get: concat!("SELECT ", columns!(), " FROM ", $table, " WHERE partition = ?1 AND sort = ?2"),
            get_small: concat!(
                "SELECT ",
                columns!("CASE WHEN octet_length(body) <= 32768 THEN body END"),
                " FROM ",
                $table,
                " WHERE partition = ?1 AND sort = ?2"
            ),
            rev: concat!("SELECT rev FROM ", $table, " WHERE partition = ?1 AND sort = ?2"),
            put: concat!(
                "INSERT INTO ", $table, " (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ",
                "ON CONFLICT (partition, sort) DO UPDATE SET rev = excluded.rev, expires_at_s = excluded.expires_at_s, ",
                "listed_partition = excluded.listed_partition, listed_sort = excluded.listed_sort, ",
                "due_partition = excluded.due_partition, due_sort = excluded.due_sort, body = excluded.body"
            ),
            delete: concat!("DELETE FROM ", $table, " WHERE partition = ?1 AND sort = ?2"),
            sweep: concat!(
                "DELETE FROM ", $table, " WHERE rowid IN ",
                "(SELECT rowid FROM ", $table, " WHERE expires_at_s < ?1 ORDER BY expires_at_s LIMIT ?2)"
            ),
            primary: along!($table, "partition", "sort"),
            listed: along!($table, "listed_partition", "listed_sort"),
            due: along!($table, "due_partition", "due_sort"),
        }
    };
}

static AGENTS: Statements = statements!("agents");
static API_KEYS: Statements = statements!("api_keys");
static RUNS: Statements = statements!("runs");
static MESSAGES: Statements = statements!("messages");

impl Statements {
    /// Those of a table.
    pub(super) const fn of(table: Table) -> &'static Self {
        match table {
            Table::Agents => &AGENTS,
            Table::ApiKeys => &API_KEYS,
            Table::Runs => &RUNS,
            Table::Messages => &MESSAGES,
        }
    }

    /// The one that reads rows along an index.
    pub(super) const fn query(&self, index: Index, descending: bool) -> &'static str {
        self.along(index).rows.that_way(descending)
    }

    /// The one that reads sort keys along an index.
    pub(super) const fn keys(&self, index: Index, descending: bool) -> &'static str {
        self.along(index).keys.that_way(descending)
    }

    const fn along(&self, index: Index) -> &Along {
        match index {
            Index::Primary => &self.primary,
            Index::Listed => &self.listed,
            Index::Due => &self.due,
        }
    }
}

impl Directions {
    const fn that_way(&self, descending: bool) -> &'static str {
        if descending { self.descending } else { self.ascending }
    }
}
