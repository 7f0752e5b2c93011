//! REGISTERACCOUNT and CONFIRMREGISTERACCOUNT: a new account, after a captcha, an invite, or nothing, as the policy says.

use rand::rngs::StdRng;
use rand::SeedableRng;

use super::address_of;
use super::behalf::behalf;
use super::behalf::client;
use super::map;
use super::Management;
use crate::accounts::captcha;
use crate::accounts::invites;
use crate::accounts::password;
use crate::accounts::password::Password;
use crate::accounts::registration::Pending;
use crate::accounts::users;
use crate::config::Policy;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Anyone, and links on which a realm speaks for a client.
const PORTS: &[PortKey] = &[PortKey::PublicManagement, PortKey::MainManagement];

pub const REGISTER_ACCOUNT: Command<Management> =
    Command { name: "REGISTERACCOUNT", ports: PORTS, args: "username LF password", gate: client, run: register };

pub const CONFIRM_REGISTER_ACCOUNT: Command<Management> =
    Command { name: "CONFIRMREGISTERACCOUNT", ports: PORTS, args: "request-id LF text", gate: client, run: confirm };

/// Who may register: as the realm says that passes it on.
fn open(management: &Management, ctx: &Ctx<Management>, link: LinkId) -> Result<Policy, Fail> {
    match behalf(ctx, link).map_or(management.settings.registration, |behalf| behalf.policy) {
        Policy::Closed => Err(Fail::new(Code::Refused, "this server takes no registrations; ask its operator")),
        policy => Ok(policy),
    }
}

fn register(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, secret] = request.data().take()?;
    let policy = open(management, ctx, request.link)?;
    let user = user.text()?.into_owned();
    name::check_user(&user)?;
    let secret = Password::chosen(&secret.unescape())?;
    let addr = address_of(ctx, request.link);
    management.registrations.room(addr, ctx.now())?;
    let later = request.later();
    let wanted = user.clone();
    let cap = behalf(ctx, request.link).and_then(|behalf| behalf.cap);
    ctx.query(
        move |db| room(db, cap).and_then(|()| users::find(db, &wanted)),
        move |management, ctx, found| {
            let taken = || Fail::new(Code::Exists, "this name is taken");
            if let Err(fail) = found.and_then(|found| found.map_or(Ok(()), |_| Err(taken()))) {
                return ctx.answer(&later, Err(fail));
            }
            let (now, pending) = (ctx.now(), Pending { name: user, password: secret, answer: String::new(), addr });
            // It has its place from now on: of what is drawn, there is never more than may be pending.
            let id = match management.registrations.begin(ctx.rng(), pending, now) {
                Ok(id) => id,
                Err(fail) => return ctx.answer(&later, Err(fail)),
            };
            if policy != Policy::Captcha {
                return ctx.answer(&later, Ok(begun(&id, &[])));
            }
            let mut seed = [0; 32];
            rand::Rng::fill_bytes(ctx.rng(), &mut seed);
            ctx.heavy(
                move || captcha::draw(&mut StdRng::from_seed(seed)),
                move |management, ctx, drawn| {
                    #[cfg(feature = "test-hooks")]
                    drawn.iter().for_each(captcha::tell_the_test);
                    let answer = drawn.and_then(|drawn| {
                        management.registrations.drawn(&id, drawn.answer, ctx.now())?;
                        Ok(begun(&id, &drawn.png))
                    });
                    if answer.is_err() {
                        // Makes room.
                        let _ = management.registrations.confirm(&id, ctx.now());
                    }
                    ctx.answer(&later, answer);
                },
            );
        },
    );
    Ok(Answer::Later)
}

fn room(db: &rusqlite::Connection, cap: Option<u64>) -> Result<(), Fail> {
    match cap {
        Some(cap) if users::count(db)? >= cap => {
            Err(Fail::new(Code::Refused, "this realm has as many users as it takes; ask its operator"))
        }
        _ => Ok(()),
    }
}

fn begun(id: &str, png: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b"\n", png].concat()
}

fn confirm(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, text] = request.data().take()?;
    let (id, text) = (id.text()?, text.text()?.into_owned());
    let policy = open(management, ctx, request.link)?;
    let pending = management.registrations.confirm(&id, ctx.now())?;
    if policy == Policy::Captcha && !captcha::matches(&pending.answer, &text) {
        return Err(Fail::new(Code::Wrong, "that is not what the picture says; begin anew"));
    }
    let later = request.later();
    let invite = (policy == Policy::Invite).then_some(text);
    let now = ctx.now();
    let code = invite.clone();
    let (cap, quota) = behalf(ctx, request.link).map_or((None, None), |behalf| (behalf.cap, behalf.quota));
    // A wrong code is found out before the password is hashed, which costs.
    ctx.query(
        move |db| code.map_or(Ok(()), |code| invites::check(db, &code, now)),
        move |_, ctx, checked| match checked {
            Ok(()) => create(ctx, later, pending, invite, (cap, quota)),
            Err(fail) => ctx.answer(&later, Err(fail)),
        },
    );
    Ok(Answer::Later)
}

/// `cap`: as many accounts there may be; `quota`: bytes that this one may store. None: as all.
fn create(
    ctx: &mut Ctx<Management>,
    later: Later,
    pending: Pending,
    invite: Option<String>,
    (cap, quota): (Option<u64>, Option<u64>),
) {
    let Pending { name, password: secret, addr, .. } = pending;
    let hash = move || password::hash(secret.bytes());
    ctx.heavy(hash, move |_, ctx, hashed| {
        let hashed = match hashed {
            Ok(hashed) => hashed,
            Err(fail) => return ctx.answer(&later, Err(fail)),
        };
        let now = ctx.now();
        let user = name.clone();
        let store = move |db: &rusqlite::Connection| {
            room(db, cap)?;
            let id = users::create(db, &user, &hashed, now)?;
            if quota.is_some() {
                users::set_quota(db, id, quota)?;
            }
            if let Some(code) = invite {
                invites::redeem(db, &code, id, now)?;
            }
            Ok(id)
        };
        ctx.store(store, move |management, ctx, created| {
            if let Ok(id) = &created {
                log::info!("{name} registered");
                management.tries.remember(&name::fold(&name), addr, ctx.now());
                map::registered(management, ctx, *id, &name);
            }
            ctx.answer(&later, created.map(|_| Vec::new()));
        });
    });
}
