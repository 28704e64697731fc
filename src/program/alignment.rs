//! Domains whose rows come in the order of another's rows, their spine: the rows of a segment after those of the segment before.
//! A range of the spine's rows and the rows that belong to them can be taken through several passes at once.

use super::graph::{Domain, Graph, Index, ONE, Op, Value};
use super::segment::Segments;
use std::collections::{BTreeMap, BTreeSet};

/// Rows of a spine from which they can be shared out among threads.
const SHORTEST_SPINE: usize = 64;

/// For each domain that follows another, the index by which it does.
#[derive(Debug, Default)]
pub(super) struct Alignment {
    homes: BTreeMap<Domain, (Index, Domain)>,
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
        let rows = |domain: Domain| nodes.domains[domain.0 as usize].rows;
        let fits = |index: Index| {
            let info = &nodes.indices[index.0 as usize];
            let is_spine = info.parent != ONE && rows(info.parent) >= SHORTEST_SPINE && rows(info.parent) <= rows(info.child);
            is_spine && info.rows.is_sorted()
        };
        let used: BTreeSet<(usize, Index)> = used.collect();
        let mut candidates: Vec<(usize, usize, Index)> = used
            .into_iter()
            .filter(|(_, index)| fits(*index))
            .map(|(kind, index)| (usize::MAX - rows(nodes.indices[index.0 as usize].child), kind, index))
            .collect();
        // The longest domains first: a spine follows no other.
        candidates.sort();
        let mut homes = BTreeMap::new();
        let mut spines = BTreeSet::new();
        for (.., index) in candidates {
            let info = &nodes.indices[index.0 as usize];
            let free = !homes.contains_key(&info.child) && !spines.contains(&info.child) && !homes.contains_key(&info.parent);
            if free && info.child != info.parent {
                homes.insert(info.child, (index, info.parent));
                spines.insert(info.parent);
            }
        }
        Self { homes }
    }

    /// The domain whose order a domain follows, which may be its own.
    pub fn spine(&self, domain: Domain) -> Domain {
        self.homes.get(&domain).map_or(domain, |home| home.1)
    }

    /// The index by which a domain follows its spine.
    pub fn home(&self, domain: Domain) -> Option<Index> {
        self.homes.get(&domain).map(|home| home.0)
    }

    /// Whether rows that are joined by this index lie within one range of the spine.
    pub fn follows(&self, graph: &Graph, index: Index) -> bool {
        self.home(graph.ends(index).0) == Some(index)
    }
}
