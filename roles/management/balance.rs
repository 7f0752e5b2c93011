//! After a main server has come: those with more than their share of clients are told to move some towards it.

use super::choose;
use super::Management;
use crate::engine::Ctx;

/// How long after a server came the counts are looked at; milliseconds. Whoever came back by itself is settled by then.
const SETTLE: u64 = 5_000;
/// The least time between two looks; milliseconds.
const PACE: u64 = 30_000;
/// Clients that one server is asked to move to another at a time.
const MOST: u64 = 500;
/// Looks after one server came, until all have their share: clients may refuse, and then it is never so.
const ROUNDS: u32 = 10;

/// When counts are looked at next.
#[derive(Debug, Default)]
pub struct Balance {
    /// A look is due.
    timer: bool,
    last: Option<u64>,
    rounds: u32,
}

/// A main server came.
pub fn server_came(management: &mut Management, ctx: &mut Ctx<Management>) {
    management.balance.rounds = ROUNDS;
    schedule(management, ctx);
}

fn schedule(management: &mut Management, ctx: &mut Ctx<Management>) {
    if management.balance.rounds == 0 || std::mem::replace(&mut management.balance.timer, true) {
        return;
    }
    let pace = management.balance.last.map_or(0, |last| last.saturating_add(PACE).saturating_sub(ctx.now()));
    ctx.after(pace.max(SETTLE), look);
}

fn look(management: &mut Management, ctx: &mut Ctx<Management>) {
    management.balance.timer = false;
    if ctx.is_stopping() {
        return;
    }
    management.balance.rounds = management.balance.rounds.saturating_sub(1);
    let counts: Vec<(&str, u64)> = management
        .mains
        .iter()
        .filter(|(_, main)| !main.draining)
        .map(|(id, _)| (id.as_str(), management.online.clients(id)))
        .collect();
    let moves: Vec<(String, String, u64)> =
        plan(&counts).into_iter().map(|(from, to, count)| (from.to_owned(), to.to_owned(), count)).collect();
    if moves.is_empty() {
        management.balance.rounds = 0;
        return;
    }
    management.balance.last = Some(ctx.now());
    for (from, to, count) in moves {
        let Some(main) = management.mains.get(&from) else { continue };
        log::info!("main server {from} shall move {count} clients to {to}");
        ctx.request(main.link, "MOVECLIENTS", &[count.to_string().as_bytes(), to.as_bytes()], move |_, _, answer| {
            if let Err(fail) = answer {
                log::warn!("main server {from} moves no clients: {fail}");
            }
        });
    }
    schedule(management, ctx);
}

/// Who moves how many to whom: from those above their share down to the mean, to those below the mean up to it.
fn plan<'a>(counts: &[(&'a str, u64)]) -> Vec<(&'a str, &'a str, u64)> {
    let clients = counts.iter().fold(0u64, |sum, (_, clients)| sum.saturating_add(*clients));
    let servers = counts.len() as u64;
    let (mean, most) = (clients / servers.max(1), choose::share(clients, servers));
    let mut below: Vec<(&str, u64)> =
        counts.iter().filter(|(_, clients)| *clients < mean).map(|(id, clients)| (*id, mean - clients)).collect();
    let mut moves = Vec::new();
    for (from, clients) in counts.iter().filter(|(_, clients)| *clients > most) {
        let mut surplus = clients - mean;
        for (to, room) in &mut below {
            let count = surplus.min(*room).min(MOST);
            if count > 0 {
                moves.push((*from, *to, count));
                surplus -= count;
                *room -= count;
            }
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_server_gets_its_share() {
        assert_eq!(plan(&[("a", 100), ("b", 0)]), [("a", "b", 50)]);
        assert_eq!(plan(&[("a", 90), ("b", 90), ("c", 0)]), [("a", "c", 30), ("b", "c", 30)]);
        assert_eq!(plan(&[("a", 130), ("b", 10), ("c", 10)]), [("a", "b", 40), ("a", "c", 40)]);
    }

    #[test]
    fn a_few_more_are_let_be() {
        for counts in [vec![], vec![("a", 1_000)], vec![("a", 20), ("b", 0)], vec![("a", 110), ("b", 90)]] {
            assert_eq!(plan(&counts), [], "{counts:?}");
        }
    }

    #[test]
    fn not_all_at_once() {
        assert_eq!(plan(&[("a", 100_000), ("b", 0)]), [("a", "b", MOST)]);
    }
}
