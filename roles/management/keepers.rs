//! KEEPS (64478): which main servers keep messages for a user's next sign-on. Management names them to the servers where the user
//! is signed on, and these fetch what is kept: from no other server they would take it. In memory: main servers say it again
//! whenever they introduce themselves.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;

use super::introduced;
use super::refused;
use super::server_of;
use super::Management;
use crate::accounts::users::UserId;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Users that one server keeps something for, at most; and all servers together.
const OF_ONE: usize = 262_144;
/// See `OF_ONE`.
const ALL: usize = 1_048_576;

pub const KEEPS: Command<Management> = Command {
    name: "KEEPS",
    ports: &[PortKey::MainManagement],
    args: "username LF account LF receipt",
    gate: introduced,
    run: keeps,
};

/// Who keeps for whom.
#[derive(Debug, Default)]
pub struct Keepers {
    accounts: HashMap<UserId, BTreeSet<Box<str>>>,
    servers: HashMap<Box<str>, HashSet<UserId>>,
    count: usize,
}

impl Keepers {
    /// False: there is no room.
    fn add(&mut self, server: &str, account: UserId) -> bool {
        let of_one = self.servers.entry(Box::from(server)).or_default();
        if of_one.contains(&account) {
            return true;
        }
        if of_one.len() >= OF_ONE || self.count >= ALL {
            return false;
        }
        of_one.insert(account);
        self.count += 1;
        self.accounts.entry(account).or_default().insert(Box::from(server))
    }

    fn remove(&mut self, server: &str, account: UserId) {
        if !self.servers.get_mut(server).is_some_and(|of_one| of_one.remove(&account)) {
            return;
        }
        self.count -= 1;
        if let Some(servers) = self.accounts.get_mut(&account) {
            servers.remove(server);
            if servers.is_empty() {
                self.accounts.remove(&account);
            }
        }
    }

    /// The operator removed the server, or it has come anew: then it says again what it keeps.
    pub fn server_gone(&mut self, server: &str) {
        for account in self.servers.get(server).cloned().unwrap_or_default() {
            self.remove(server, account);
        }
        self.servers.remove(server);
    }
}

/// The servers that keep messages for an account and are up, for the server `to`: `server-id|server-id…`.
pub fn of(management: &Management, account: UserId, to: &str) -> String {
    let all = management.keepers.accounts.get(&account).into_iter().flatten();
    let up = all.filter(|server| ***server != *to && management.mains.contains_key(&***server));
    up.map(|server| &**server).collect::<Vec<_>>().join("|")
}

fn keeps(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let server = server_of(ctx, request.link)?;
    let [user, account, receipt] = request.data().take()?;
    let (user, account, receipt) = (user.text()?, account.number()?, receipt.text()?);
    name::check_user(&user)?;
    let user = name::fold(&user).into_owned();
    let id = UserId(account.try_into().map_err(|_| Fail::bad_args("no number of an account"))?);
    if receipt.is_empty() {
        management.keepers.remove(&server, id);
        return Ok(Answer::Ok);
    }
    let good = management.receipts.check(&receipt, &user, id);
    if !good.is_some_and(|good| good.is_fresh(ctx.now())) {
        return Err(refused(&server, "KEEPS", "this user was never signed on there"));
    }
    if !management.keepers.add(&server, id) {
        return Err(Fail::new(Code::Limit, "too many users have messages kept"));
    }
    let Some(presence) = management.online.get(&user).filter(|presence| presence.who.id == id) else {
        return Ok(Answer::Ok);
    };
    let fields = [presence.who.name.as_bytes(), account.to_string().as_bytes(), server.as_bytes()].map(<[u8]>::to_vec);
    let others = presence.servers.keys().filter(|other| ***other != *server);
    for link in others.filter_map(|other| management.mains.get(&**other)).map(|main| main.link) {
        // Who does not even read this is closed for other reasons; it asks when it has come back.
        let _ = ctx.push(link, "KEEPERS", &fields.each_ref().map(Vec::as_slice));
    }
    Ok(Answer::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_and_what_goes_leaves_nothing() {
        let mut keepers = Keepers::default();
        assert!((0..OF_ONE as i64).all(|n| keepers.add("a", UserId(n))));
        assert!(!keepers.add("a", UserId(-1)) && keepers.add("a", UserId(1)) && keepers.add("b", UserId(-1)));
        keepers.remove("b", UserId(7));
        keepers.remove("b", UserId(-1));
        keepers.server_gone("a");
        keepers.server_gone("c");
        assert!(keepers.accounts.is_empty() && keepers.count == 0);
    }
}
