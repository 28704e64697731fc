//! The order of a domain's rows. Rows that read, and add to, the same parent row are put side by side, so that its
//! numbers stay in the nearest cache; where they have a second parent too, they are first cut into tiles of its rows
//! that stay in the next cache. The answer does not depend on the order.

use super::graph::{Domain, Graph, Index, IndexInfo, Node, ONE, Op, Value};
use super::index::Rows;
use crate::buffer::Buffer;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Rows below which everything is near anyway.
const FEWEST_ROWS: usize = 4096;

/// Numbers of a parent's column that stay near while rows in any order read and add to them.
const TILE: usize = 32 * 1024;

/// Where a domain's rows belong: the parents by whose sums most numbers are added to, and those that come next.
#[derive(Clone, Copy)]
struct Parents {
    first: Index,
    /// The second index, and how many of its parent's rows make a tile.
    second: Option<(Index, usize)>,
}

impl Graph {
    /// Sorts each domain by tiles of its second largest sums and then by its largest; residuals (`residuals[slot]`, rows x width)
    /// and indices alike. Domains that hold a parameter or one of `outputs` keep the order that the caller knows, and so does
    /// what lies in segments, or in files.
    pub fn sort_rows<R: Copy>(&self, residuals: &mut [Buffer<R>], outputs: &[Value]) {
        for (domain, parents) in self.parents(outputs) {
            if self.is_spilled(domain, residuals) {
                continue;
            }
            let order = self.order(parents);
            if order.is_sorted() {
                continue;
            }
            self.permute_residuals(domain, &order, residuals);
            self.permute_indices(domain, &order);
        }
    }

    fn is_spilled<R>(&self, domain: Domain, residuals: &[Buffer<R>]) -> bool {
        let nodes = self.0.borrow();
        let of_column = |n: &Node| matches!(n.op, Op::Residual(slot) if n.domain == domain && residuals[slot as usize].is_spilled());
        let of_index = |i: &IndexInfo| i.child == domain && i.rows.stored().is_some_and(Buffer::is_spilled);
        nodes.nodes.iter().any(of_column) || nodes.indices.iter().any(of_index)
    }

    /// The indices to sort by, for each domain that may be sorted.
    fn parents(&self, outputs: &[Value]) -> BTreeMap<Domain, Parents> {
        let nodes = self.0.borrow();
        let parameters = nodes.nodes.iter().filter(|n| matches!(n.op, Op::Parameter(_))).map(|n| n.domain);
        let mut fixed: HashSet<Domain> = parameters.chain(outputs.iter().map(|o| nodes.nodes[o.0 as usize].domain)).chain([ONE]).collect();
        fixed.extend((0..nodes.domains.len() as u32).map(Domain).filter(|d| nodes.domains[d.0 as usize].run.is_some()));
        for node in &nodes.nodes {
            if let Op::Segment(_, segments) = node.op {
                let (child, parent) = self.sides(segments);
                fixed.extend([child, parent]);
            }
        }
        // What is computed from the rows of factors knows their order.
        let computed: HashSet<Domain> = nodes.indices.iter().filter(|i| matches!(i.rows, Rows::Cells(_))).map(|i| i.child).collect();
        fixed.extend(nodes.indices.iter().filter(|i| computed.contains(&i.child)).map(|i| i.parent));
        let mut sums: BTreeMap<Domain, BTreeMap<Index, (usize, usize)>> = BTreeMap::new();
        for node in &nodes.nodes {
            let Op::SegmentSum(_, index) = node.op else { continue };
            let child = nodes.indices[index.0 as usize].child;
            if fixed.contains(&child) || nodes.domains[child.0 as usize].rows < FEWEST_ROWS {
                continue;
            }
            let (rows, width) = (nodes.domains[node.domain.0 as usize].rows, node.width as usize);
            let largest = sums.entry(child).or_default().entry(index).or_default();
            *largest = (*largest).max((rows * width, width));
        }
        let by_size = |sums: BTreeMap<Index, (usize, usize)>| {
            let mut sizes: Vec<(Index, (usize, usize))> = sums.into_iter().collect();
            sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
            let second = sizes.get(1).map(|&(index, (_, width))| (index, (TILE / width).max(1)));
            Parents { first: sizes[0].0, second }
        };
        sums.into_iter().map(|(domain, sums)| (domain, by_size(sums))).collect()
    }

    /// Rows by tile, then by parent; those of one parent keep their order.
    fn order(&self, parents: Parents) -> Vec<u32> {
        let nodes = self.0.borrow();
        let of = |index: Index| nodes.indices[index.0 as usize].rows.stored().expect("only the rows of a cross product have other indices");
        let first = of(parents.first);
        let mut order: Vec<u32> = (0..first.len() as u32).collect();
        match parents.second {
            None => order.sort_by_key(|&row| first[row as usize]),
            Some((index, tile)) => {
                let second = of(index);
                order.sort_by_key(|&row| (second[row as usize] / tile as u32, first[row as usize]));
            }
        }
        order
    }

    fn permute_residuals<R: Copy>(&self, domain: Domain, order: &[u32], residuals: &mut [Buffer<R>]) {
        let nodes = self.0.borrow();
        let columns: BTreeSet<(u32, usize)> = nodes
            .nodes
            .iter()
            .filter(|n| n.domain == domain)
            .filter_map(|n| if let Op::Residual(slot) = n.op { Some((slot, n.width as usize)) } else { None })
            .collect();
        for (slot, width) in columns {
            let column = &mut residuals[slot as usize];
            *column = order.iter().flat_map(|&row| &column[row as usize * width..][..width]).copied().collect();
        }
    }

    fn permute_indices(&self, domain: Domain, order: &[u32]) {
        let mut place = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old as usize] = new as u32;
        }
        for index in &mut self.0.borrow_mut().indices {
            // The rows of a cross product may come in any order, and so may those of its factors.
            let Rows::Stored(rows) = &mut index.rows else { continue };
            if index.parent == domain {
                *rows = rows.iter().map(|&row| place[row as usize]).collect();
            }
            if index.child == domain {
                *rows = order.iter().map(|&row| rows[row as usize]).collect();
            }
        }
    }
}
