//! Writes that can meet rows which are not due.

use std::collections::{BTreeMap, BTreeSet};

use rds_iam::query::Query;
use rds_iam::{Error, ErrorKind};
use squawk_syntax::SyntaxKind::{INSERT, MERGE, UPDATE};

use super::formula::{Literal, Way};
use super::rows::{Compared, Level, Rows};
use super::scope::{Origin, TARGET};
use super::statement::Write;

pub(super) fn check(query: &Query, write: &Write) -> Option<Error> {
    if write.node.kind() == INSERT {
        return None;
    }
    let rows = Rows::of(write);
    if rows.meets_other_tables() {
        return Some(other_tables(query, write));
    }
    let missing = rows.checked_once();
    (!missing.is_empty()).then(|| renewed(query, write, &missing, rows.repeats_any(&missing)))
}

/// A row's address is unique in one table only: rows of other partitions, and of tables that inherit, have the
/// same ones.
fn other_tables(query: &Query, write: &Write) -> Error {
    let name = write.table.path.join(".");
    let (does, verb) = match write.node.kind() {
        UPDATE => ("change", format!("UPDATE {name} SET …")),
        MERGE => ("change", format!("MERGE INTO {name} …, or DELETE FROM {name}")),
        _ => ("delete", format!("DELETE FROM {name}")),
    };
    let what = format!("query {} can {does} rows that it did not select", query.name);
    let error = Error::new(ErrorKind::QueryInvalid, what).because(format!(
        "it finds them by ctid without tableoid, and every partition and child of {name} has rows with the same ctid"
    ));
    error.remedy(format!(
        "Write: WITH due AS MATERIALIZED (SELECT tableoid AS o, ctid AS c, … FROM {name} WHERE … LIMIT …) {verb} \
         WHERE (tableoid, ctid) IN (SELECT o, c FROM due) AND the condition again; docs/jobs.md has a whole one"
    ))
}

/// When PostgreSQL has waited for a row that another session changed, it checks the conditions on the target
/// only: a row that was renewed meanwhile is due no more, and goes all the same.
///
/// <https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED>
fn renewed(query: &Query, write: &Write, missing: &BTreeSet<&str>, is_weaker: bool) -> Error {
    let name = write.table.path.join(".");
    let does = if write.node.kind() == UPDATE { "change" } else { "delete" };
    let missing = missing.iter().copied().collect::<Vec<_>>().join(" and ");
    let what = format!("query {} can {does} rows that are not due any more", query.name);
    let error = Error::new(ErrorKind::QueryInvalid, what).because(if is_weaker {
        format!("its condition on {missing} lets more rows of {name} through than the one on a second reading of {name}; for a row that another session is changing, PostgreSQL checks only the former again")
    } else {
        format!("its condition on {missing} is on a second reading of {name} only; PostgreSQL does not check it again for a row that another session is changing")
    });
    error.remedy(format!(
        "Repeat the condition on {missing} for the rows of {name} themselves, or lock the rows where they are chosen: FOR UPDATE SKIP LOCKED; see docs/jobs.md"
    ))
}

impl Rows {
    /// Whether addresses are compared without their tables, and may be another table's.
    fn meets_other_tables(&self) -> bool {
        let target = &self.relations[TARGET].table;
        let is_same = |(relation, _): &Origin| {
            let table = &self.relations[*relation].table;
            table.only && table.is(target)
        };
        let alone = target.only && self.addresses.iter().all(is_same);
        !alone && self.levels.iter().any(Level::mixes_tables)
    }

    /// The columns whose conditions are checked once, where the rows are chosen. In each way in which a row can
    /// be taken, its own conditions must be those of some way.
    fn checked_once(&self) -> BTreeSet<&str> {
        let groups = self.groups();
        let again: Vec<usize> = (1..self.relations.len())
            .filter(|relation| !self.relations[*relation].locked)
            .filter(|relation| self.reads_same_rows(*relation, &groups))
            .collect();
        if again.is_empty() {
            return BTreeSet::new();
        }
        let ways = self.formula().ways();
        let lacks = |way: &Way, other: &Way| {
            let lacks = other.iter().flat_map(|literal| self.lacks(way, *literal, &again));
            lacks.collect::<BTreeSet<&str>>()
        };
        let is_checked = |way: &&Way| {
            ways.iter().any(|other| {
                let is_known =
                    |literal: &Literal| way.contains(literal) || self.is_on_any(*literal, &again);
                other.iter().all(is_known) && lacks(way, other).is_empty()
            })
        };
        let unchecked = ways.iter().filter(|way| !is_checked(way));
        unchecked.flat_map(|way| lacks(way, way)).collect()
    }

    fn is_on_any(&self, literal: Literal, relations: &[usize]) -> bool {
        let mut columns = self.conditions[literal.condition].columns.iter();
        columns.any(|(of, _)| relations.contains(of))
    }

    /// The columns of a second reading's condition for which a way has no condition on the target that is as
    /// strict.
    fn lacks(&self, way: &Way, literal: Literal, again: &[usize]) -> Vec<&str> {
        let columns = self.conditions[literal.condition].columns.iter();
        let columns =
            columns.filter(|(of, _)| again.contains(of)).map(|(_, column)| column.as_str());
        let repeated = |column: &&str| {
            let is_strict =
                |own: &&Literal| self.names(**own, column) && !self.is_weaker(**own, literal);
            matches!(*column, "ctid" | "tableoid") || way.iter().any(|own| is_strict(&own))
        };
        columns.filter(|column| !repeated(column)).collect()
    }

    /// Whether a condition on the target names the column, or the JSON column that it is a member of.
    fn names(&self, literal: Literal, column: &str) -> bool {
        let whole = column.split(['-', '#', '@', '?', '<']).next().unwrap_or(column);
        let columns = &self.conditions[literal.condition].columns;
        [column, whole].iter().any(|name| columns.contains(&(TARGET, (*name).to_owned())))
    }

    fn is_weaker(&self, own: Literal, other: Literal) -> bool {
        let bound = |literal: Literal| {
            let bound = self.conditions[literal.condition].bound.as_ref()?;
            Some(if literal.negated { bound.opposite() } else { bound.clone() })
        };
        matches!((bound(own), bound(other)), (Some(own), Some(other)) if own.is_weaker_than(&other))
    }

    /// Whether a condition on the target names one of the columns, though not as strictly or in an OR.
    fn repeats_any(&self, columns: &BTreeSet<&str>) -> bool {
        let mut literals =
            (0..self.conditions.len()).map(|condition| Literal { condition, negated: false });
        literals.any(|literal| columns.iter().any(|column| self.names(literal, column)))
    }

    /// Whether a relation is the target read a second time, and joined with it row by row.
    fn reads_same_rows(&self, relation: usize, groups: &BTreeMap<Origin, usize>) -> bool {
        let is_same_table =
            self.relations[relation].table.shares_rows_with(&self.relations[TARGET].table);
        let differs = self.unequal.iter().any(|(left, right)| {
            left.1 == right.1
                && [(left.0, right.0), (right.0, left.0)].contains(&(TARGET, relation))
        });
        let mut columns = groups.keys().filter(|(of, _)| *of == relation);
        !differs
            && columns.any(|own| {
                let target = (TARGET, own.1.clone());
                (is_same_table || own.1 == "ctid") && groups.get(&target) == groups.get(own)
            })
    }

    /// Columns that are compared for equality, also through others, have the same number.
    fn groups(&self) -> BTreeMap<Origin, usize> {
        let mut groups = BTreeMap::new();
        let naturally =
            self.natural.iter().flat_map(|(one, other)| self.shared_columns(*one, *other));
        let equal = self.equal.iter().cloned().chain(naturally);
        for (number, (left, right)) in equal.enumerate() {
            let known = [groups.get(&left).copied(), groups.get(&right).copied()];
            groups.extend([(left, number), (right, number)]);
            for (_, group) in groups.iter_mut().filter(|(_, group)| known.contains(&Some(**group)))
            {
                *group = number;
            }
        }
        groups
    }

    /// Of a table that is joined with itself by all columns, those that something is compared with.
    fn shared_columns(&self, one: usize, other: usize) -> Vec<(Origin, Origin)> {
        let sides = self.equal.iter().flat_map(|(left, right)| [left, right]);
        let named = sides.filter(|(of, _)| [one, other].contains(of));
        named.map(|(_, column)| ((one, column.clone()), (other, column.clone()))).collect()
    }
}

impl Level {
    /// Two sub-selects that are not joined let each address meet each table.
    fn mixes_tables(&self) -> bool {
        self.ctid.is_some() && !self.together && self.tableoid != Some(Compared::Value)
    }
}
