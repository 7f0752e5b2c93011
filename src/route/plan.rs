//! Which way: next hops over any undirected graph. Fewest hops, then the lowest sum of round trips, then the neighbour
//! with the lowest number; so every machine that has the same graph plans the same.
//!
//! A next hop is always one hop nearer to its target than the node that uses it, so tables of one plan never loop.

/// No way, or no node.
pub(super) const NONE: u16 = u16::MAX;

/// An undirected graph. Nodes are numbered from 0, and fewer than 65,535.
#[derive(Debug, Default)]
pub struct Graph {
    edges: Vec<Vec<(u16, u32)>>,
    /// How many nodes are in the connected part that a node is in; filled by `measure`.
    reach: Vec<u32>,
}

impl Graph {
    /// A graph without edges.
    pub fn new(nodes: u16) -> Graph {
        Graph { edges: vec![Vec::new(); usize::from(nodes)], reach: Vec::new() }
    }

    /// Adds the edge between `a` and `b`, once, with its round trip in µs.
    pub fn connect(&mut self, a: u16, b: u16, round_trip: u32) {
        for (from, to) in [(a, b), (b, a)] {
            if let Some(edges) = self.edges.get_mut(usize::from(from)) {
                edges.push((to, round_trip));
            }
        }
        self.reach.clear();
    }

    /// How many nodes each node can reach, itself included: so a search ends as soon as it has found them all.
    fn measure(&mut self) {
        self.reach = vec![0; self.edges.len()];
        let mut part = Vec::new();
        for start in 0..self.edges.len() {
            if self.reach[start] > 0 {
                continue;
            }
            part.clear();
            part.push(start);
            self.reach[start] = 1;
            let mut done = 0;
            while let Some(&node) = part.get(done) {
                done += 1;
                for (to, _) in &self.edges[node] {
                    let to = usize::from(*to);
                    if self.reach[to] == 0 {
                        self.reach[to] = 1;
                        part.push(to);
                    }
                }
            }
            for node in &part {
                self.reach[*node] = part.len() as u32;
            }
        }
    }
}

/// Plans for one node after another over the same graph.
#[derive(Debug)]
pub struct Planner {
    graph: Graph,
    /// How a node was reached in the search that runs: hops, sum of round trips, first hop.
    found: Vec<Found>,
    layer: Vec<u16>,
    next: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    hops: u16,
    first: u16,
    cost: u32,
}

const NOT_FOUND: Found = Found { hops: NONE, first: NONE, cost: u32::MAX };

impl Planner {
    /// A planner over `graph`.
    pub fn new(mut graph: Graph) -> Planner {
        graph.measure();
        Planner { found: vec![NOT_FOUND; graph.edges.len()], graph, layer: Vec::new(), next: Vec::new() }
    }

    /// The next hop from `source` to each node, `None` where there is none (as to itself). The costs are those of a
    /// search by layers that ends with the layer in which the last node was found.
    pub fn next_hops(&mut self, source: u16) -> impl Iterator<Item = Option<u16>> + '_ {
        self.search(source);
        self.found.iter().map(|found| Some(found.first).filter(|first| *first != NONE))
    }

    fn search(&mut self, source: u16) {
        self.found.fill(NOT_FOUND);
        let Some(start) = self.found.get_mut(usize::from(source)) else { return };
        *start = Found { hops: 0, first: NONE, cost: 0 };
        let mut missing = self.graph.reach[usize::from(source)] - 1;
        self.layer.clear();
        self.layer.push(source);
        let mut hops = 0;
        while missing > 0 && !self.layer.is_empty() {
            hops += 1;
            self.next.clear();
            for node in &self.layer {
                let from = self.found[usize::from(*node)];
                for (to, round_trip) in &self.graph.edges[usize::from(*node)] {
                    let known = &mut self.found[usize::from(*to)];
                    if known.hops < hops {
                        continue;
                    }
                    let first = if hops == 1 { *to } else { from.first };
                    let cost = from.cost.saturating_add(*round_trip);
                    if known.hops == NONE {
                        missing -= 1;
                        self.next.push(*to);
                    } else if (known.cost, known.first) <= (cost, first) {
                        continue;
                    }
                    *known = Found { hops, first, cost };
                }
            }
            std::mem::swap(&mut self.layer, &mut self.next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(edges: &[(u16, u16, u32)], nodes: u16, source: u16) -> Vec<Option<u16>> {
        let mut graph = Graph::new(nodes);
        edges.iter().for_each(|(a, b, cost)| graph.connect(*a, *b, *cost));
        Planner::new(graph).next_hops(source).collect()
    }

    #[test]
    fn fewest_hops_then_round_trips_then_numbers() {
        // 0–3 directly, though over 1 it were faster; 0–4 over 2, which is faster than over 1; 5 is alone.
        let edges = [(0, 1, 1), (0, 2, 5), (1, 3, 1), (0, 3, 100), (1, 4, 50), (2, 4, 5)];
        assert_eq!(hops(&edges, 6, 0), [None, Some(1), Some(2), Some(3), Some(2), None]);
        assert_eq!(hops(&edges, 6, 5), [None; 6]);
        // Two ways that are equal: the lower number.
        assert_eq!(hops(&[(0, 2, 1), (0, 1, 1), (2, 3, 1), (1, 3, 1)], 4, 0)[3], Some(1));
        // The better way is found after the last node has been found.
        assert_eq!(hops(&[(0, 1, 9), (0, 2, 1), (1, 3, 9), (2, 3, 1)], 4, 0)[3], Some(2));
        // A sum that does not fit is a long way, not a short one.
        assert_eq!(hops(&[(0, 1, u32::MAX), (0, 2, 1), (1, 3, 9), (2, 3, 1)], 4, 0)[3], Some(2));
    }

    #[test]
    fn a_chain_of_five() {
        let edges = [(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 4, 1)];
        assert_eq!(hops(&edges, 5, 0), [None, Some(1), Some(1), Some(1), Some(1)]);
        assert_eq!(hops(&edges, 5, 2), [Some(1), Some(1), None, Some(3), Some(3)]);
    }
}
