//! A mark on every user in the table: whether a message needs more than an outbox of this server. 0: it does not, and
//! nothing else is looked at.

use super::Main;
use super::Session;
use crate::engine::LinkId;
use crate::wire::name;

/// The user is signed on at another server.
pub const ELSEWHERE: u64 = 1;
/// Messages to the user are held.
pub const HELD: u64 = 2;
/// A session of the user here takes messages, but not into its outbox yet; or each is copied to another server.
pub const SPECIAL: u64 = 4;

/// Sets the mark anew, after something it tells has changed.
pub fn renew(main: &mut Main, user: &str) {
    let Some(found) = main.table.find(user) else { return };
    let own = main.own;
    let Some(entry) = main.table.get(found) else { return };
    let mut mark = 0;
    if entry.at.iter().any(|server| *server != own) {
        mark |= ELSEWHERE;
    }
    if main.holds.is_held(&name::fold(user)) {
        mark |= HELD;
    }
    let special = |link: &LinkId| {
        let index = main.by_link.get(link).copied();
        index.and_then(|index| main.session(index)).is_some_and(Session::is_special)
    };
    if entry.here.iter().any(special) {
        mark |= SPECIAL;
    }
    if let Some(entry) = main.table.get_mut(found) {
        entry.mark = mark;
    }
}
