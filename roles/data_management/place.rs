//! Which data servers get a block. Pure.
//!
//! One copy on a server that keeps what it has; where there is none with room, `VOLATILE_COPIES` on servers that may lose it. Among equals
//! by chance, the more often the more room they have.

use rand::RngExt;

use crate::storage::copies::VOLATILE_COPIES;
use crate::storage::ServerNo;

/// A server that is up.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its number.
    pub server: ServerNo,
    /// It may lose what it has.
    pub volatile: bool,
    /// Bytes that are free there.
    pub room: u64,
}

/// What a server keeps free, in bytes: blocks take more there than their bytes, and what is under way is not counted yet.
const MARGIN: u64 = 64 << 10;

/// The servers that a block of `size` bytes is sent to next, when volatile servers have or get `have` copies already. `avoid`: those that
/// have it, get it, or have failed. Empty: there are not enough; with `part`, those that there are count.
pub fn choose(
    rng: &mut impl rand::Rng,
    candidates: &[Candidate],
    size: u64,
    have: usize,
    avoid: impl Fn(ServerNo) -> bool,
    part: bool,
) -> Vec<ServerNo> {
    let fits = |one: &&Candidate| one.room >= size.saturating_add(MARGIN) && !avoid(one.server);
    let mut stable: Vec<Candidate> = candidates.iter().filter(|one| !one.volatile).filter(fits).copied().collect();
    if let Some(one) = take(rng, &mut stable) {
        return vec![one];
    }
    let mut volatile: Vec<Candidate> = candidates.iter().filter(|one| one.volatile).filter(fits).copied().collect();
    let need = VOLATILE_COPIES.saturating_sub(have);
    if volatile.len() < need && !part {
        return Vec::new();
    }
    (0..need).filter_map(|_| take(rng, &mut volatile)).collect()
}

/// Takes one of them, by chance.
fn take(rng: &mut impl rand::Rng, from: &mut Vec<Candidate>) -> Option<ServerNo> {
    let all: u128 = from.iter().map(|one| u128::from(one.room)).sum();
    if all == 0 {
        return None;
    }
    let mut left = rng.random_range(0..all);
    let at = from.iter().position(|one| match left.checked_sub(u128::from(one.room)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })?;
    Some(from.swap_remove(at).server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::SeedableRng;
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;

    fn server(server: ServerNo, volatile: bool, room: u64) -> Candidate {
        Candidate { server, volatile, room }
    }

    #[test]
    fn a_server_that_keeps_what_it_has_comes_first() {
        let mut rng = StdRng::seed_from_u64(1);
        let all =
            [server(1, true, 1 << 40), server(2, true, 1 << 40), server(3, true, 1 << 40), server(4, false, 1 << 30)];
        for _ in 0..100 {
            assert_eq!(choose(&mut rng, &all, 1 << 20, 0, |_| false, false), [4]);
        }
        let three = choose(&mut rng, &all, 1 << 20, 0, |server| server == 4, false);
        assert_eq!(three.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2, 3]));
        // Too full.
        let full = [all[0], all[1], all[2], server(4, false, 1 << 20)];
        assert_eq!(choose(&mut rng, &full, 1 << 20, 0, |_| false, false).len(), 3);
    }

    #[test]
    fn fewer_than_three_are_none_unless_a_part_is_wanted() {
        let mut rng = StdRng::seed_from_u64(2);
        let two = [server(1, true, 1 << 40), server(2, true, 1 << 40)];
        assert!(choose(&mut rng, &two, 1, 0, |_| false, false).is_empty());
        assert_eq!(choose(&mut rng, &two, 1, 0, |_| false, true).len(), 2);
        assert_eq!(choose(&mut rng, &two, 1, 1, |_| false, false).len(), 2);
        assert_eq!(choose(&mut rng, &two, 1, 2, |server| server == 1, false), [2]);
        assert!(choose(&mut rng, &two, 1, 3, |_| false, false).is_empty());
        assert!(choose(&mut rng, &[], 1, 0, |_| false, true).is_empty());
    }

    #[test]
    fn who_has_more_room_gets_more() {
        let mut rng = StdRng::seed_from_u64(3);
        let two = [server(1, false, 1 << 30), server(2, false, 3 << 30)];
        let mut count: BTreeMap<ServerNo, usize> = BTreeMap::new();
        for _ in 0..4_000 {
            *count.entry(choose(&mut rng, &two, 1, 0, |_| false, false)[0]).or_default() += 1;
        }
        assert!((800..1_200).contains(&count[&1]), "{count:?}");
    }
}
