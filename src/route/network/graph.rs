//! Who reaches whom, and the plan that comes of it.

use super::Network;
use super::State;
use crate::route::entry;
use crate::route::plan::Graph;
use crate::route::plan::Planner;
use crate::route::plan::NONE;
use crate::route::SERVERS;
use crate::wire::Fail;

/// A round trip that has changed by less than this, in µs, or by less than a quarter, is the same: noise must not
/// turn routes around.
const NOISE: u32 = 500;

impl Network {
    /// What a server is linked to now, all of it, with round trips in µs. An edge counts when both ends report it.
    ///
    /// # Errors
    /// DENIED: it is not up. BADARGS: it names itself, a server twice, or one that nobody knows. Nothing is changed then.
    pub fn links<'a>(&mut self, id: &str, links: impl IntoIterator<Item = (&'a str, u32)>) -> Result<(), Fail> {
        let number = self.known_up(id)?;
        let mut new = Vec::new();
        for (to, round_trip) in links {
            let to = self.known(to)?;
            if to == number || self.servers[to].state == State::Removed || new.len() >= SERVERS {
                return Err(Fail::bad_args("a link to itself, or to a server that is not of this network"));
            }
            new.push((to as u16, round_trip));
        }
        new.sort_unstable();
        if new.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Fail::bad_args("two links to one server"));
        }
        let old = &mut self.servers[number].links;
        for (to, round_trip) in &mut new {
            let Ok(known) = old.binary_search_by_key(to, |(to, _)| *to) else { continue };
            let known = old[known].1;
            if round_trip.abs_diff(known) <= NOISE.max(known / 4) {
                *round_trip = known;
            }
        }
        if *old != new {
            *old = new;
            self.plan_due = true;
        }
        Ok(())
    }

    /// Plans anew, if that is due: after servers have come or gone, or links have changed. To be called when a burst of
    /// such events is over. Tells whether any next hop has changed.
    pub fn replan(&mut self) -> bool {
        if !std::mem::take(&mut self.plan_due) {
            return false;
        }
        let mut planner = Planner::new(self.graph());
        let mut changed = false;
        for number in 0..self.servers.len() {
            if self.servers[number].state == State::Up {
                let mut column = std::mem::take(&mut self.servers[number].column);
                column.resize(self.servers.len(), NONE);
                for (target, next) in planner.next_hops(number as u16).enumerate() {
                    let next = next.unwrap_or(NONE);
                    if column[target] != next {
                        changed = true;
                        self.reroute(number, target, std::mem::replace(&mut column[target], next), next);
                    }
                }
                let server = &mut self.servers[number];
                server.column = column;
                // Some may still wait since the last plan.
                server.pending.sort_unstable();
                server.pending.dedup();
            }
        }
        changed
    }

    /// Whether `replan` would plan.
    pub fn plan_due(&self) -> bool {
        self.plan_due
    }

    fn reroute(&mut self, number: usize, target: usize, old: u16, new: u16) {
        let id = |number: u16| self.servers.get(usize::from(number)).map(|server| &*server.id);
        let hash = |next| entry::route_hash(&self.servers[target].id, id(next));
        let difference = hash(new).wrapping_sub(hash(old));
        let server = &mut self.servers[number];
        server.routes_sum = server.routes_sum.wrapping_add(difference);
        if server.listens {
            server.pending.push(target as u16);
        }
    }

    /// Edges that both ends report; the lower round trip, as noise only adds.
    fn graph(&self) -> Graph {
        let mut graph = Graph::new(self.servers.len() as u16);
        for (number, server) in self.servers.iter().enumerate() {
            for (to, round_trip) in server.links.iter().filter(|(to, _)| usize::from(*to) > number) {
                let back = &self.servers[usize::from(*to)].links;
                if let Ok(back) = back.binary_search_by_key(&(number as u16), |(to, _)| *to) {
                    graph.connect(number as u16, *to, (*round_trip).min(self.servers[usize::from(*to)].links[back].1));
                }
            }
        }
        graph
    }
}
