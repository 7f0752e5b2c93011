//! ONBEHALF, ASACCOUNT, COUNTACCOUNTS (64478): a realm passes on what its clients ask of accounts. One link for each of them: what is true
//! of a link that the client itself would have opened is true of it.

use std::net::IpAddr;

use super::main_server;
use super::network;
use super::refused;
use super::Account;
use super::Management;
use crate::accounts::users;
use crate::config::Policy;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// For whom a realm speaks on a link.
#[derive(Clone, Debug)]
pub struct Behalf {
    /// The client's address: tries are counted for it.
    pub addr: IpAddr,
    /// Who may register there.
    pub policy: Policy,
    /// Accounts that may be there before one more is made; none: any number.
    pub cap: Option<u64>,
    /// Of the certificate that the client sees: what it signs with its key.
    pub fingerprint: Fingerprint,
    /// Bytes that who registers there may store; none: what all may.
    pub quota: Option<u64>,
}

pub const ON_BEHALF: Command<Management> = Command {
    name: "ONBEHALF",
    ports: &[PortKey::MainManagement],
    args: "address LF policy LF user cap LF fingerprint LF quota or nothing",
    gate: main_server,
    run: on_behalf,
};

pub const AS_ACCOUNT: Command<Management> = Command {
    name: "ASACCOUNT",
    ports: &[PortKey::MainManagement],
    args: "username LF account LF receipt",
    gate: main_server,
    run: as_account,
};

pub const COUNT_ACCOUNTS: Command<Management> =
    Command { name: "COUNTACCOUNTS", ports: &[PortKey::MainManagement], args: "", gate: main_server, run: count };

/// The gate of what clients ask before they have signed on: their own links, and those on which a realm speaks for one.
pub fn client(_: &Management, ctx: &Ctx<Management>, link: LinkId) -> Result<(), Fail> {
    let own = ctx.info(link).is_some_and(|info| info.port != PortKey::MainManagement);
    match own || behalf(ctx, link).is_some() {
        true => Ok(()),
        false => Err(Fail::new(Code::SignIn, "ONBEHALF comes first")),
    }
}

/// For whom a realm speaks on this link; None: it is a client's own.
pub fn behalf(ctx: &Ctx<Management>, link: LinkId) -> Option<&Behalf> {
    ctx.peer_ref(link)?.behalf.as_deref()
}

fn on_behalf(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    // It names the address that tries are counted for, and the policy: no main server may.
    if !network::is_realm(management, ctx, request.link) {
        let server = management.network.shakes.server(request.link).unwrap_or_default();
        return Err(refused(server, "ONBEHALF", "only a realm speaks for its clients"));
    }
    let [addr, policy, cap, print, quota] = request.data().take()?;
    let addr = addr.text()?.parse().map_err(|_| Fail::bad_args("that is no address"))?;
    let policy = policy.text()?;
    let policy = Policy::ALL.iter().copied().find(|known| known.name() == policy);
    let policy = policy.ok_or_else(|| Fail::bad_args("a policy is captcha, open, invite or closed"))?;
    let cap = Some(cap.number()?).filter(|cap| *cap > 0);
    let fingerprint =
        hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
    let quota = if quota.is_empty() { None } else { Some(quota.number()?) };
    match ctx.peer(request.link) {
        Some(peer) if peer.server.is_none() && peer.behalf.is_none() => {
            peer.behalf = Some(Box::new(Behalf { addr, policy, cap, fingerprint, quota }));
            Ok(Answer::Ok)
        }
        _ => Err(Fail::new(Code::BadCommand, "this link is something else already")),
    }
}

/// The realm has the user signed on, and shows the receipt: the link is signed on to the account.
fn as_account(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, account, receipt] = request.data().take()?;
    let (user, account, receipt) = (user.text()?, account.number()?, receipt.text()?);
    let folded = name::fold(&user).into_owned();
    let wrong = || Fail::new(Code::Wrong, "this user is not signed on there");
    let id = match management.online.get(&folded) {
        Some(presence) if u64::try_from(presence.who.id.0) == Ok(account) => presence.who.id,
        _ => return Err(wrong()),
    };
    let shown = management.receipts.check(&receipt, &folded, id).ok_or_else(wrong)?;
    network::check_id(management, ctx, request.link, shown.server)?;
    let here = management.online.get(&folded).is_some_and(|presence| presence.servers.contains_key(shown.server));
    if !here || management.barred.contains(&folded) {
        return Err(wrong());
    }
    let free = |peer: &&mut super::Peer| peer.behalf.is_some() && peer.account.is_none() && !peer.checking;
    let Some(peer) = ctx.peer(request.link).filter(free) else {
        return Err(Fail::new(Code::BadCommand, "ONBEHALF comes first, and one account only"));
    };
    peer.account = Some(Account { id, folded });
    super::add_link(management, ctx, id, request.link);
    Ok(Answer::Ok)
}

fn count(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let later = request.later();
    ctx.query(users::count, move |_, ctx, count| {
        ctx.answer(&later, count.map(|count| count.to_string().into_bytes()));
    });
    Ok(Answer::Later)
}
