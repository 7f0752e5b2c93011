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
}

impl Graph {
    /// A graph without edges.
    pub fn new(nodes: u16) -> Graph {
        Graph { edges: vec![Vec::new(); usize::from(nodes)] }
    }

    /// Adds the edge between `a` and `b`, once, with its round trip in µs.
    pub fn connect(&mut self, a: u16, b: u16, round_trip: u32) {
        for (from, to) in [(a, b), (b, a)] {
            if let Some(edges) = self.edges.get_mut(usize::from(from)) {
                edges.push((to, round_trip));
            }
        }
    }

    fn of(&self, node: u16) -> &[(u16, u32)] {
        self.edges.get(usize::from(node)).map_or(&[], |edges| edges)
    }

    /// The connected parts: the part of each node, and the nodes of each part.
    fn parts(&self) -> (Vec<usize>, Vec<Vec<u16>>) {
        let mut part_of = vec![usize::MAX; self.edges.len()];
        let mut parts: Vec<Vec<u16>> = Vec::new();
        for start in 0..self.edges.len() {
            if part_of[start] != usize::MAX {
                continue;
            }
            part_of[start] = parts.len();
            let mut part = vec![start as u16];
            let mut done = 0;
            while let Some(&node) = part.get(done) {
                done += 1;
                for (to, _) in self.of(node) {
                    let known = &mut part_of[usize::from(*to)];
                    if *known == usize::MAX {
                        *known = parts.len();
                        part.push(*to);
                    }
                }
            }
            parts.push(part);
        }
        (part_of, parts)
    }
}

/// Plans for one node after another over the same graph.
#[derive(Debug)]
pub struct Planner {
    graph: Graph,
    part_of: Vec<usize>,
    parts: Vec<Vec<u16>>,
    /// Ends of edges in each part.
    ends: Vec<usize>,
    /// How a node was reached in the search that runs.
    found: Vec<Found>,
    layer: Vec<u16>,
    next: Vec<u16>,
    rest: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    hops: u16,
    first: u16,
    cost: u32,
}

const NOT_FOUND: Found = Found { hops: NONE, first: NONE, cost: u32::MAX };

impl Found {
    /// One hop on, to a node that is `hops` from the source.
    fn step(self, to: u16, round_trip: u32, hops: u16) -> Found {
        let first = if hops == 1 { to } else { self.first };
        Found { hops, first, cost: self.cost.saturating_add(round_trip) }
    }

    fn is_better(self, than: Found) -> bool {
        (self.cost, self.first) < (than.cost, than.first)
    }
}

impl Planner {
    /// A planner over `graph`.
    pub fn new(graph: Graph) -> Planner {
        let (part_of, parts) = graph.parts();
        let ends = parts.iter().map(|part| part.iter().map(|node| graph.of(*node).len()).sum()).collect();
        let found = vec![NOT_FOUND; graph.edges.len()];
        Planner { graph, part_of, parts, ends, found, layer: Vec::new(), next: Vec::new(), rest: Vec::new() }
    }

    /// The next hop from `source` to each node, `None` where there is none (as to itself).
    ///
    /// A search by layers, which ends with the layer in which the last node was found. Each layer is found from the one
    /// before, or from those that are still missing, whichever have fewer edges.
    pub fn next_hops(&mut self, source: u16) -> impl Iterator<Item = Option<u16>> + '_ {
        self.search(source);
        self.found.iter().map(|found| Some(found.first).filter(|first| *first != NONE))
    }

    fn search(&mut self, source: u16) {
        self.found.fill(NOT_FOUND);
        let Some(start) = self.found.get_mut(usize::from(source)) else { return };
        *start = Found { hops: 0, first: NONE, cost: 0 };
        let part = self.part_of[usize::from(source)];
        let mut missing = self.parts[part].len() - 1;
        let mut ends = self.ends[part] - self.graph.of(source).len();
        self.rest.clear();
        self.layer.clear();
        self.layer.push(source);
        let mut hops = 0;
        while missing > 0 && !self.layer.is_empty() {
            hops += 1;
            let forward: usize = self.layer.iter().map(|node| self.graph.of(*node).len()).sum();
            self.next.clear();
            match forward <= ends {
                true => self.forward(hops),
                false => self.backward(hops, part),
            }
            missing -= self.next.len();
            ends -= self.next.iter().map(|node| self.graph.of(*node).len()).sum::<usize>();
            std::mem::swap(&mut self.layer, &mut self.next);
        }
    }

    fn forward(&mut self, hops: u16) {
        for node in &self.layer {
            let from = self.found[usize::from(*node)];
            for (to, round_trip) in self.graph.of(*node) {
                let known = &mut self.found[usize::from(*to)];
                if known.hops < hops {
                    continue;
                }
                let found = from.step(*to, *round_trip, hops);
                if known.hops == NONE {
                    self.next.push(*to);
                    *known = found;
                } else if found.is_better(*known) {
                    *known = found;
                }
            }
        }
    }

    fn backward(&mut self, hops: u16, part: usize) {
        if self.rest.is_empty() {
            self.rest.extend_from_slice(&self.parts[part]);
        }
        let Planner { rest, found, .. } = self;
        rest.retain(|node| found[usize::from(*node)].hops == NONE);
        for node in &self.rest {
            let mut best = NOT_FOUND;
            for (from, round_trip) in self.graph.of(*node) {
                let from = self.found[usize::from(*from)];
                if from.hops == hops - 1 {
                    let found = from.step(*node, *round_trip, hops);
                    if best.hops == NONE || found.is_better(best) {
                        best = found;
                    }
                }
            }
            if best.hops != NONE {
                self.found[usize::from(*node)] = best;
                self.next.push(*node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        /// Against the sums over all pairs, computed in the simplest way.
        #[test]
        fn no_way_is_shorter(nodes in 2u16..12, edges in prop::collection::btree_map((0u16..12, 0u16..12), 1u32..9, 0..30)) {
            let mut graph = Graph::new(nodes);
            let n = usize::from(nodes);
            let far = (1_000u32, 0u32);
            let mut best = vec![vec![far; n]; n];
            for ((a, b), cost) in edges.into_iter().filter(|((a, b), _)| a < b && *b < nodes) {
                graph.connect(a, b, cost);
                for (a, b) in [(a, b), (b, a)] {
                    best[usize::from(a)][usize::from(b)] = (1, cost);
                }
            }
            let direct = best.clone();
            (0..n).for_each(|a| best[a][a] = (0, 0));
            for (by, a, b) in (0..n * n * n).map(|i| (i / n / n, i / n % n, i % n)) {
                let sum = (best[a][by].0 + best[by][b].0, best[a][by].1 + best[by][b].1);
                best[a][b] = best[a][b].min(sum);
            }
            let mut planner = Planner::new(graph);
            for a in 0..n {
                for (b, next) in planner.next_hops(a as u16).enumerate() {
                    let over = |c: usize| (direct[a][c].0 + best[c][b].0, direct[a][c].1 + best[c][b].1);
                    let right = (0..n).find(|c| direct[a][*c].0 == 1 && a != b && best[a][b].0 < far.0 && over(*c) == best[a][b]);
                    prop_assert_eq!(next.map(usize::from), right, "from {} to {}", a, b);
                }
            }
        }
    }

    #[test]
    fn a_chain_of_five() {
        let edges = [(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 4, 1)];
        assert_eq!(hops(&edges, 5, 0), [None, Some(1), Some(1), Some(1), Some(1)]);
        assert_eq!(hops(&edges, 5, 2), [Some(1), Some(1), None, Some(3), Some(3)]);
    }
}
