//! LOGIN, LOGINKEY, PROVEKEY: who is at the other end of a link (contract 5).

use super::add_link;
use super::address_of;
use super::behalf;
use super::behalf::client;
use super::Account;
use super::Management;
use super::Peer;
use super::ACCOUNT_PORTS;
use crate::accounts::keyring;
use crate::accounts::keys;
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
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

pub const LOGIN: Command<Management> = Command {
    name: "LOGIN",
    ports: ACCOUNT_PORTS,
    args: "username LF password, or username LF token:TOKEN",
    gate: client,
    run: login,
};

pub const LOGIN_KEY: Command<Management> =
    Command { name: "LOGINKEY", ports: ACCOUNT_PORTS, args: "username", gate: client, run: login_key };

pub const PROVE_KEY: Command<Management> =
    Command { name: "PROVEKEY", ports: ACCOUNT_PORTS, args: "signature", gate: client, run: prove_key };

/// The same words whether there is no such user, or the password, token, or key is wrong.
fn wrong() -> Fail {
    Fail::new(Code::Wrong, "the name or the password is wrong")
}

/// Marks the link as being checked: one try at a time.
fn begin(ctx: &mut Ctx<Management>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer(link) {
        Some(Peer { account: Some(_), .. }) => Err(Fail::new(Code::BadCommand, "this connection is signed on already")),
        Some(Peer { checking: true, .. }) => {
            Err(Fail::new(Code::Busy, "a sign-on is being checked; wait for its answer"))
        }
        Some(peer) => {
            peer.checking = true;
            Ok(())
        }
        None => Err(wrong()),
    }
}

fn end(ctx: &mut Ctx<Management>, later: &Later, result: Result<Vec<u8>, Fail>) {
    if let Some(peer) = ctx.peer(later.link()) {
        peer.checking = false;
    }
    ctx.answer(later, result);
}

/// The link is signed on; `token` is the answer.
fn signed_on(management: &mut Management, ctx: &mut Ctx<Management>, later: &Later, user: &User, token: String) {
    let folded = name::fold(&user.name).into_owned();
    // The account was good when it was looked up; the operator may have been quicker.
    if management.barred.contains(&folded) {
        return end(ctx, later, Err(wrong()));
    }
    if let Some(peer) = ctx.peer(later.link()) {
        peer.account = Some(Account { id: user.id, folded });
        add_link(management, ctx, user.id, later.link());
    }
    ctx.trust(later.link());
    end(ctx, later, Ok(token.into_bytes()));
}

fn login(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, secret] = request.data().take()?;
    let user = user.text()?;
    name::check_user(&user)?;
    let folded = name::fold(&user).into_owned();
    let secret = secret.unescape();
    let later = request.later();
    if let Some(token) = secret.strip_prefix(password::TOKEN_PREFIX) {
        let token = String::from_utf8(token.to_vec()).map_err(|_| wrong())?;
        begin(ctx, request.link)?;
        return Ok(with_token(ctx, later, folded, token));
    }
    let secret = Password::new(&secret)?;
    let addr = address_of(ctx, request.link);
    begin(ctx, request.link)?;
    if let Err(fail) = management.tries.check(&folded, addr, ctx.now()) {
        if let Some(peer) = ctx.peer(request.link) {
            peer.checking = false;
        }
        return Err(fail);
    }
    let account = folded.clone();
    ctx.query(
        move |db| users::find(db, &account),
        move |management, ctx, found| match found {
            Ok(found) => with_password(ctx, later, folded, addr, found, secret),
            Err(fail) => {
                management.tries.cancelled(&folded, addr, ctx.now());
                end(ctx, &later, Err(fail));
            }
        },
    );
    Ok(Answer::Later)
}

fn with_token(ctx: &mut Ctx<Management>, later: Later, folded: String, token: String) -> Answer {
    let now = ctx.now();
    let shown = token.clone();
    ctx.query(
        move |db| tokens::check(db, &folded, &token, now),
        move |management, ctx, found| match found {
            Ok(Some(user)) => {
                let addr = address_of(ctx, later.link());
                management.tries.remember(&name::fold(&user.name), addr, ctx.now());
                signed_on(management, ctx, &later, &user, shown);
            }
            Ok(None) => end(ctx, &later, Err(wrong())),
            Err(fail) => end(ctx, &later, Err(fail)),
        },
    );
    Answer::Later
}

fn with_password(
    ctx: &mut Ctx<Management>,
    later: Later,
    folded: String,
    addr: std::net::IpAddr,
    found: Option<User>,
    secret: Password,
) {
    // An unknown user costs the same time as a known one.
    let phc = found.as_ref().map_or_else(|| password::dummy().to_owned(), |user| user.password.clone());
    ctx.heavy(
        move || Ok(password::verify(&phc, secret.bytes())),
        move |management, ctx, verified| {
            let now = ctx.now();
            match (verified, found) {
                (Ok(true), Some(user)) => {
                    management.tries.succeeded(&folded, addr, now);
                    with_new_token(management, ctx, later, user);
                }
                (Ok(_), _) => {
                    management.tries.failed(&folded, addr, now);
                    end(ctx, &later, Err(wrong()));
                }
                (Err(fail), _) => {
                    management.tries.cancelled(&folded, addr, now);
                    end(ctx, &later, Err(fail));
                }
            }
        },
    );
}

/// The user proved who it is; a token stands in for the password at the next sign-on.
fn with_new_token(management: &mut Management, ctx: &mut Ctx<Management>, later: Later, user: User) {
    if user.state != State::Active {
        return end(ctx, &later, Err(Fail::new(Code::Denied, "this account is disabled; ask the operator")));
    }
    let (now, days) = (ctx.now(), management.settings.token_days);
    let mut bytes = [0u8; 32];
    rand::Rng::fill_bytes(ctx.rng(), &mut bytes);
    let (id, password) = (user.id, user.password.clone());
    ctx.store(
        move |db| {
            // Disabled, deleted, or given another password while this one was checked: then all tokens were voided, and
            // this must not be the first of the new ones.
            let same = |user: &User| user.state == State::Active && user.password == password;
            users::get(db, id)?.filter(same).ok_or_else(wrong)?;
            tokens::issue_as(db, id, &bytes, now, days)
        },
        move |management, ctx, token| match token {
            Ok(token) => signed_on(management, ctx, &later, &user, token),
            Err(fail) => end(ctx, &later, Err(fail)),
        },
    );
}

fn login_key(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let user = request.data().text()?;
    name::check_user(&user)?;
    let challenge = keys::challenge(ctx.rng());
    let Some(peer) = ctx.peer(request.link).filter(|peer| peer.account.is_none() && !peer.checking) else {
        return Err(Fail::new(Code::BadCommand, "this connection is signed on already"));
    };
    // An unknown user gets a challenge too: nobody learns here who has an account.
    peer.challenge = Some((user.into_owned(), challenge.clone()));
    Ok(Answer::Data(challenge.into_bytes()))
}

fn prove_key(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let signature = keys::parse_signature(&request.data().text()?)?;
    let challenge = ctx.peer(request.link).and_then(|peer| peer.challenge.take());
    let (user, challenge) = challenge.ok_or_else(|| Fail::new(Code::BadCommand, "send LOGINKEY first"))?;
    begin(ctx, request.link)?;
    let later = request.later();
    let seen = behalf::behalf(ctx, request.link).map_or(management.settings.fingerprint, |behalf| behalf.fingerprint);
    let text = keys::signed_text(&user, &hex::encode(&seen), &challenge);
    ctx.query(
        move |db| {
            let Some(user) = users::find(db, &user)? else { return Ok(None) };
            let held = keyring::list(db, user.id)?;
            Ok(held.iter().any(|key| keys::verify(&key.public, &text, &signature)).then_some(user))
        },
        move |management, ctx, found| match found {
            Ok(Some(user)) => {
                let addr = address_of(ctx, later.link());
                management.tries.remember(&name::fold(&user.name), addr, ctx.now());
                with_new_token(management, ctx, later, user);
            }
            Ok(None) => end(ctx, &later, Err(wrong())),
            Err(fail) => end(ctx, &later, Err(fail)),
        },
    );
    Ok(Answer::Later)
}
