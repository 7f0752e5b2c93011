//! Which main server a client is sent to: near, not loaded, and close to those the user talks to most. Pure.

/// A main server that the client has reached, and that takes clients.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The server.
    pub id: &'a str,
    /// As the client measured it; milliseconds.
    pub round_trip: u64,
    /// Sessions there.
    pub clients: u64,
}

/// One more client on a server weighs as much as so much of round trip; microseconds.
const PER_CLIENT: u64 = 10;
/// What it is worth that all whom the user talks to are on a server, in round trip; microseconds. Near or far in one
/// building makes no difference against it, near or far over an ocean does.
const TOGETHER: u64 = 20_000;
/// What a server with more than its share has to be nearer than another to get still more; microseconds.
const OVERLOAD: u64 = 100_000;

/// The number of clients above which a server has more than its share, when `clients` are on `servers`: a fifth above the
/// mean, and 8, so that a few clients are not moved about.
pub fn share(clients: u64, servers: u64) -> u64 {
    (clients.saturating_mul(6) / servers.max(1).saturating_mul(5)).saturating_add(8)
}

/// The best of the candidates; None when there is none. `affinities`: how much the user talks to those who are on a
/// server, by its id, in any unit; servers that are not named there have none. Of two that are as good, the one that comes
/// first in `candidates`.
pub fn choose<'a>(candidates: &[Candidate<'a>], affinities: &[(&str, u64)]) -> Option<&'a str> {
    let clients = candidates.iter().fold(0u64, |sum, one| sum.saturating_add(one.clients));
    let most = share(clients, candidates.len() as u64);
    let talk = affinities.iter().fold(0u64, |sum, (_, weight)| sum.saturating_add(*weight)).max(1);
    let cost = |one: &Candidate<'_>| {
        let near = affinities.iter().filter(|(id, _)| *id == one.id).fold(0u64, |sum, (_, w)| sum.saturating_add(*w));
        // As u128, so that no weight is too large.
        let near = u128::from(near) * u128::from(TOGETHER) / u128::from(talk);
        let overload = if one.clients > most { OVERLOAD } else { 0 };
        let way = u128::from(one.round_trip) * 1_000;
        let load = u128::from(one.clients) * u128::from(PER_CLIENT) + u128::from(overload);
        // What is worth most is added to the others, so that nothing goes below 0.
        way + load + u128::from(TOGETHER) - near
    };
    candidates.iter().min_by_key(|one| cost(one)).map(|one| one.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, round_trip: u64, clients: u64) -> Candidate<'_> {
        Candidate { id, round_trip, clients }
    }

    #[test]
    fn the_near_one_then_the_one_with_fewer() {
        assert_eq!(choose(&[], &[]), None);
        assert_eq!(choose(&[candidate("a", 30, 0), candidate("b", 10, 5)], &[]), Some("b"));
        assert_eq!(choose(&[candidate("a", 10, 6), candidate("b", 10, 5)], &[]), Some("b"));
        assert_eq!(choose(&[candidate("b", 10, 5), candidate("a", 10, 5)], &[]), Some("b"));
        // 2000 clients weigh 20 ms.
        assert_eq!(choose(&[candidate("a", 10, 10_000), candidate("b", 29, 8_001)], &[]), Some("b"));
        assert_eq!(choose(&[candidate("a", 10, 10_000), candidate("b", 31, 8_001)], &[]), Some("a"));
    }

    #[test]
    fn one_with_more_than_its_share_must_be_much_nearer() {
        assert_eq!(share(20, 2), 20);
        assert_eq!(choose(&[candidate("a", 10, 20), candidate("b", 60, 0)], &[]), Some("a"));
        assert_eq!(choose(&[candidate("a", 10, 21), candidate("b", 60, 0)], &[]), Some("b"));
        assert_eq!(choose(&[candidate("a", 10, 21), candidate("b", 130, 0)], &[]), Some("a"));
    }

    #[test]
    fn where_the_others_are() {
        let two = [candidate("a", 10, 5), candidate("b", 20, 5)];
        assert_eq!(choose(&two, &[("b", 3)]), Some("b"));
        assert_eq!(choose(&two, &[("b", 3), ("a", 1)]), Some("a"), "10 ms of 20 in favour of b");
        assert_eq!(choose(&two, &[("c", 3)]), Some("a"), "those who are elsewhere do not count");
        let far = [candidate("a", 10, 5), candidate("b", 40, 5)];
        assert_eq!(choose(&far, &[("b", u64::MAX)]), Some("a"), "not over an ocean");
        assert_eq!(choose(&[candidate("a", u64::MAX, u64::MAX)], &[("a", 7), ("b", u64::MAX)]), Some("a"));
    }
}
