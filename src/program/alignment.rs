//! Domains whose rows come in the order of another's rows: the rows of a segment after those of the segment before. At the
//! root of such domains is their spine: a range of its rows, and the rows that belong to them, can be taken through several
//! passes at once.

use super::graph::{Domain, Graph, Index, ONE, Op, Value};
use super::segment::Segments;
use std::collections::{BTreeMap, BTreeSet};

/// Rows that belong to one of the spine, on average, up to which they can be shared out among threads. A cross product has too
/// many rows to insist on it.
const LONGEST_SEGMENT: usize = 16 * 1024;

/// For each domain that follows another, the index by which it does, and the other.
#[derive(Debug, Default)]
pub(super) struct Alignment {
    homes: BTreeMap<Domain, (Index, Domain)>,
    /// Indices that join rows of one range of a spine: homes, and homes of homes.
    following: BTreeSet<Index>,
}

impl Alignment {
    /// Of the indices that these values use, one for each domain: that of a whole-segment operation, if there is one.
    pub fn of(graph: &Graph, needed: &BTreeSet<Value>) -> Self {
        let used = needed.iter().filter_map(|v| match graph.node(*v).op {
            Op::Segment(_, Segments::Of(index)) => Some((0, index)),
            Op::SegmentSum(_, index) => Some((1, index)),
            Op::Gather(_, index) => Some((2, index)),
            _ => None,
        });
        let nodes = graph.0.borrow();
        let composed: BTreeMap<Index, (Index, Index)> = nodes.composed.iter().map(|(parts, index)| (*index, *parts)).collect();
        // A domain follows another by way of those between them.
        let parts = |(kind, index): (usize, Index)| match composed.get(&index) {
            Some((before, after)) => vec![(kind, *before), (kind, *after)],
            None => vec![(kind, index)],
        };
        let used: BTreeSet<(usize, Index)> = used.flat_map(parts).collect();
        let rows = |domain: Domain| nodes.domains[domain.0 as usize].rows;
        let is_product = |domain: Domain| nodes.domains[domain.0 as usize].run.is_some();
        let mut alignment = Self::default();
        for (_, index) in used {
            let info = &nodes.indices[index.0 as usize];
            let is_short = rows(info.child) <= LONGEST_SEGMENT * rows(info.parent);
            let is_spine = info.parent != ONE && (is_short || is_product(info.child));
            let fits = is_spine && rows(info.parent) <= rows(info.child) && info.rows.is_sorted();
            if fits && !alignment.homes.contains_key(&info.child) && alignment.spine(info.parent) != info.child {
                alignment.homes.insert(info.child, (index, info.parent));
            }
        }
        alignment.following = alignment.homes.values().map(|home| home.0).collect();
        for (index, (before, after)) in composed {
            if [before, after].iter().all(|part| alignment.following.contains(part)) {
                alignment.following.insert(index);
            }
        }
        alignment
    }

    /// The domain at the root of those that a domain follows, which may be itself.
    pub fn spine(&self, domain: Domain) -> Domain {
        self.homes.get(&domain).map_or(domain, |home| self.spine(home.1))
    }

    /// Where the rows of a domain begin that belong to each row of its spine, and where the last ones end; `None` for a spine.
    pub fn starts(&self, graph: &Graph, domain: Domain) -> Option<Vec<u32>> {
        let (index, parent) = *self.homes.get(&domain)?;
        let starts = graph.0.borrow().indices[index.0 as usize].rows.starts(graph.rows(parent));
        Some(match self.starts(graph, parent) {
            Some(outer) => outer.into_iter().map(|row| starts[row as usize]).collect(),
            None => starts,
        })
    }

    /// Whether rows that are joined by this index lie within one range of the spine.
    pub fn follows(&self, index: Index) -> bool {
        self.following.contains(&index)
    }
}
