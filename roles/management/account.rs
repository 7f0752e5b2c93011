//! CHANGEPASSWORD and REVOKETOKENS.

use super::account_of;
use super::address_of;
use super::sign_out;
use super::signed_on;
use super::Account;
use super::Management;
use super::ACCOUNT_PORTS;
use crate::accounts::password;
use crate::accounts::password::Password;
use crate::accounts::tokens;
use crate::accounts::users;
use crate::accounts::users::State;
use crate::accounts::users::User;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::Request;
use crate::wire::Code;
use crate::wire::Fail;

pub const CHANGE_PASSWORD: Command<Management> =
    Command { name: "CHANGEPASSWORD", ports: ACCOUNT_PORTS, args: "old LF new", gate: signed_on, run: change_password };

pub const REVOKE_TOKENS: Command<Management> =
    Command { name: "REVOKETOKENS", ports: ACCOUNT_PORTS, args: "", gate: signed_on, run: revoke };

fn change_password(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    request: &Request<'_>,
) -> Result<Answer, Fail> {
    let [old, new] = request.data().take()?;
    let (old, new) = (Password::new(&old.unescape())?, Password::chosen(&new.unescape())?);
    let (account, addr) = (account_of(ctx, request.link)?, address_of(ctx, request.link));
    management.tries.check(&account.folded, addr, ctx.now())?;
    let later = request.later();
    let id = account.id;
    ctx.query(
        move |db| users::get(db, id),
        move |management, ctx, found| {
            let user = match found.and_then(|user| user.ok_or_else(|| Fail::new(Code::NotFound, "the account is gone")))
            {
                Ok(user) => user,
                Err(fail) => {
                    management.tries.cancelled(&account.folded, addr, ctx.now());
                    return ctx.answer(&later, Err(fail));
                }
            };
            // The new one is hashed in the same job, so that a wrong old one takes no shorter.
            let checked = user.password.clone();
            let work = move || {
                let right = password::verify(&user.password, old.bytes());
                Ok((right, password::hash(new.bytes())?))
            };
            ctx.heavy(work, move |management, ctx, done| {
                let now = ctx.now();
                match done {
                    Ok((true, hashed)) => {
                        management.tries.succeeded(&account.folded, addr, now);
                        replace(management, ctx, later, account, checked, hashed);
                    }
                    Ok((false, _)) => {
                        management.tries.failed(&account.folded, addr, now);
                        ctx.answer(&later, Err(Fail::new(Code::Wrong, "the old password is wrong")));
                    }
                    Err(fail) => {
                        management.tries.cancelled(&account.folded, addr, now);
                        ctx.answer(&later, Err(fail));
                    }
                }
            });
        },
    );
    Ok(Answer::Later)
}

/// Whoever had a token of the old password has none now, and no link to management; the answer is a fresh token.
fn replace(
    management: &Management,
    ctx: &mut Ctx<Management>,
    later: Later,
    account: Account,
    checked: String,
    hashed: String,
) {
    let (now, days) = (ctx.now(), management.settings.token_days);
    let mut bytes = [0u8; 32];
    rand::Rng::fill_bytes(ctx.rng(), &mut bytes);
    ctx.store(
        move |db| {
            // The operator may have set another one meanwhile, or disabled the account.
            let same = |user: &User| user.state == State::Active && user.password == checked;
            let changed = || Fail::new(Code::Wrong, "the account was changed meanwhile");
            users::get(db, account.id)?.filter(same).ok_or_else(changed)?;
            users::set_password(db, account.id, &hashed)?;
            tokens::revoke(db, account.id)?;
            tokens::issue_as(db, account.id, &bytes, now, days)
        },
        move |management, ctx, token| {
            if token.is_ok() {
                sign_out(management, ctx, account.id, Some(later.link()));
            }
            ctx.answer(&later, token.map(String::into_bytes));
        },
    );
}

fn revoke(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let (account, later) = (account_of(ctx, request.link)?, request.later());
    ctx.store(
        move |db| tokens::revoke(db, account.id),
        move |management, ctx, done| {
            if done.is_ok() {
                sign_out(management, ctx, account.id, Some(later.link()));
            }
            ctx.answer(&later, done.map(|_| Vec::new()));
        },
    );
    Ok(Answer::Later)
}
