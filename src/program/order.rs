//! The order of a domain's rows. Rows that read, and add to, the same parent row are put side by side,
//! so that its numbers stay in the nearest cache; the answer does not depend on the order.

use super::graph::{Domain, Graph, Index, ONE, Op, Value};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Rows below which everything is near anyway.
const FEWEST_ROWS: usize = 4096;

impl Graph {
    /// Sorts each domain by the index whose sums are the largest, residuals (`residuals[slot]`, rows x width) and
    /// indices alike. Domains that hold a parameter or one of `outputs` keep the order that the caller knows.
    pub fn sort_rows<R: Copy>(&self, residuals: &mut [Vec<R>], outputs: &[Value]) {
        for (domain, index) in self.largest_sums(outputs) {
            let order = order(&self.0.borrow().indices[index.0 as usize].rows);
            if order.is_sorted() {
                continue;
            }
            self.permute_residuals(domain, &order, residuals);
            self.permute_indices(domain, &order);
        }
    }

    /// For each domain that may be sorted, the index by which most numbers are added to.
    fn largest_sums(&self, outputs: &[Value]) -> BTreeMap<Domain, Index> {
        let nodes = self.0.borrow();
        let parameters = nodes.nodes.iter().filter(|n| matches!(n.op, Op::Parameter(_))).map(|n| n.domain);
        let fixed: HashSet<Domain> = parameters.chain(outputs.iter().map(|o| nodes.nodes[o.0 as usize].domain)).chain([ONE]).collect();
        let mut largest: BTreeMap<Domain, (usize, Index)> = BTreeMap::new();
        for node in &nodes.nodes {
            let Op::SegmentSum(_, index) = node.op else { continue };
            let child = nodes.indices[index.0 as usize].child;
            let numbers = nodes.domains[node.domain.0 as usize].rows * node.width as usize;
            if fixed.contains(&child) || nodes.domains[child.0 as usize].rows < FEWEST_ROWS {
                continue;
            }
            let best = largest.entry(child).or_insert((numbers, index));
            if numbers > best.0 {
                *best = (numbers, index);
            }
        }
        largest.into_iter().map(|(domain, (_, index))| (domain, index)).collect()
    }

    fn permute_residuals<R: Copy>(&self, domain: Domain, order: &[u32], residuals: &mut [Vec<R>]) {
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
            if index.parent == domain {
                index.rows = index.rows.iter().map(|&row| place[row as usize]).collect();
            }
            if index.child == domain {
                index.rows = order.iter().map(|&row| index.rows[row as usize]).collect();
            }
        }
    }
}

/// Child rows by parent row; those of one parent keep their order.
fn order(parents: &[u32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..parents.len() as u32).collect();
    order.sort_by_key(|&row| parents[row as usize]);
    order
}
