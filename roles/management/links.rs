//! LINKS (64478): which other main servers a main server is linked to. A link counts when both ends report it.

use std::collections::BTreeMap;

use super::introduced;
use super::map;
use super::refused;
use super::routes;
use super::server_of;
use super::Management;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Fail;

/// What each main server that is up has reported: to whom, and the round trip in µs.
#[derive(Debug, Default)]
pub struct Links {
    reported: BTreeMap<String, BTreeMap<String, u32>>,
}

impl Links {
    /// The servers that both this server and they themselves say are linked, with the lower of the two round trips in µs, as noise only adds.
    pub fn of<'a>(&'a self, server: &'a str) -> impl Iterator<Item = (&'a str, u32)> + 'a {
        self.reported.get(server).into_iter().flatten().filter_map(move |(other, one)| {
            let two = self.reported.get(other)?.get(server)?;
            Some((other.as_str(), (*one).min(*two)))
        })
    }

    /// Every link once.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        self.reported.keys().flat_map(|one| {
            self.of(one)
                .filter(move |(other, _)| one.as_str() < *other)
                .map(move |(other, trip)| (one.as_str(), other, trip))
        })
    }

    /// Takes a report; tells who is linked to the server now or was before, and is not both.
    fn set(&mut self, server: &str, links: BTreeMap<String, u32>) -> Vec<String> {
        let before: Vec<String> = self.of(server).map(|(other, _)| other.to_owned()).collect();
        self.reported.insert(server.to_owned(), links);
        let after: Vec<String> = self.of(server).map(|(other, _)| other.to_owned()).collect();
        let lost = before.iter().filter(|other| !after.contains(other));
        lost.chain(after.iter().filter(|other| !before.contains(other))).cloned().collect()
    }

    /// A server's link is gone. Returns whom it was linked to.
    pub fn forget(&mut self, server: &str) -> Vec<String> {
        let before = self.of(server).map(|(other, _)| other.to_owned()).collect();
        self.reported.remove(server);
        before
    }
}

pub const LINKS: Command<Management> =
    Command { name: "LINKS", ports: &[PortKey::MainManagement], args: "lines", gate: introduced, run: links };

fn links(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let server = server_of(ctx, request.link)?;
    let text = request.data().text()?;
    let mut links = BTreeMap::new();
    for line in text.lines() {
        let bad = || Fail::bad_args("a line is server-id|round trip in µs");
        let (other, trip) = line.split_once('|').ok_or_else(bad)?;
        let trip: u64 = trip.parse().map_err(|_| bad())?;
        if other == server {
            return Err(refused(&server, "LINKS", "it names itself"));
        }
        // The main server of management's own process is not added by the operator, and may come after those linked to it.
        if !management.directory.knows(other) && other != management.network.shakes.own_id() {
            return Err(refused(&server, "LINKS", "it names a server that there is not"));
        }
        links.insert(other.to_owned(), u32::try_from(trip).unwrap_or(u32::MAX));
    }
    routes::links_changed(management, ctx, &server, &links)
        .map_err(|_| refused(&server, "LINKS", "the table does not take it"))?;
    let changed = management.links.set(&server, links);
    if !changed.is_empty() {
        map::server_changed(management, ctx, &server);
        changed.iter().for_each(|other| map::server_changed(management, ctx, other));
    }
    Ok(Answer::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(links: &mut Links, server: &str, others: &[(&str, u32)]) -> Vec<String> {
        links.set(server, others.iter().map(|(other, trip)| ((*other).to_owned(), *trip)).collect())
    }

    #[test]
    fn a_link_has_two_ends() {
        let mut links = Links::default();
        assert!(report(&mut links, "b", &[("a", 900), ("c", 5)]).is_empty());
        assert_eq!(links.of("b").count() + links.all().count(), 0);
        assert_eq!(report(&mut links, "a", &[("b", 700)]), ["b"]);
        assert_eq!(report(&mut links, "c", &[("b", 10)]), ["b"]);
        assert_eq!(links.all().collect::<Vec<_>>(), [("a", "b", 700), ("b", "c", 5)]);
        assert_eq!(report(&mut links, "b", &[("c", 6)]), ["a"]);
        assert_eq!(links.forget("c"), ["b"]);
        assert_eq!(links.all().count(), 0);
    }
}
