//! What data management here and there say to each other: files, and offline messages, of which one is in another realm. This server knows
//! nothing of them. It says which realm asks, as it has proven by the handshake, and hands the command over (GATEWAY, ABROAD, DOFOR).

use super::blocks;
use super::links;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::roles::main::storage;
use crate::roles::main::Main;
use crate::wire::name;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;

/// How long to wait before data management is told again, when it did not take it; milliseconds.
const AGAIN: u64 = 60_000;

/// Another realm asks, for a user of its own.
pub const DO_FOR: Command<Main> = Command {
    name: "DOFOR",
    ports: &[PortKey::Realm],
    args: "username LF command LF data",
    gate: links::from_realm,
    run: do_for,
};

/// Data management asks another realm, for a user here.
pub const ABROAD: Command<Main> = Command {
    name: "ABROAD",
    ports: &[PortKey::MainDatamanagement],
    args: "realm LF username LF command LF data",
    gate: anyone,
    run: abroad,
};

/// Tells data management that other realms are reached over this server, unless it knows.
pub fn introduce(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(link) = main.storage.centre.link() else { return };
    let Some(realm) = &mut main.realm else { return };
    let told = |(to, id): &(LinkId, String)| *to == link && *id == realm.settings.address;
    if realm.settings.directory.is_none()
        || name::check_realm(&realm.settings.address).is_err()
        || realm.gateway.as_ref().is_some_and(told)
    {
        return;
    }
    let (id, patience) = (realm.settings.address.clone(), realm.settings.queue.to_string());
    realm.gateway = Some((link, id.clone()));
    ctx.request(link, "GATEWAY", &[id.as_bytes(), patience.as_bytes()], |_, ctx, answer| {
        if let Err(fail) = answer {
            log::warn!("offline messages and files of other realms are not reached: data management says {fail}");
            ctx.after(AGAIN, |main: &mut Main, _| main.realm.iter_mut().for_each(|realm| realm.gateway = None));
        }
    });
}

fn do_for(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let realm = links::realm_at(ctx, request.link)?;
    let [user, command, data] = request.data().take()?;
    name::check_user(&user.text()?)?;
    let away = || Fail::new(Code::Unavailable, "data management is not reachable; retry later");
    let link = main.storage.centre.link().ok_or_else(away)?;
    let other = main.realm.as_mut().and_then(|own| own.others.get_mut(realm));
    let Some(other) = other else { return Err(Fail::new(Code::SignIn, "not a realm that is known here")) };
    let id = other.id.clone();
    if blocks::is_blocked(main, &id, &user.text()?) {
        return Err(blocks::denied());
    }
    let mut head = Vec::new();
    raw::escape_into(&mut head, id.as_bytes());
    head.extend_from_slice(raw::SEPARATOR);
    let mut later = request.later();
    ctx.weigh(&mut later, storage::weight(command.0, data));
    ctx.request_parts(link, "FOREIGN", &[&head, request.data().0], move |_, ctx, answer| {
        ctx.answer_kept(&later, answer);
    });
    Ok(Answer::Later)
}

fn abroad(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [realm, rest] = request.data().take()?;
    let [_, command, data] = rest.take()?;
    let realm = realm.text()?.into_owned();
    name::check_realm(&realm)?;
    // A message that waits for somebody there, or a question about what is there.
    let recipient = match command.0 {
        b"MAIL" => data.take::<4>().and_then(|[_, recipient, _, _]| Ok(recipient.text()?.into_owned()))?,
        _ => String::new(),
    };
    if blocks::is_blocked(main, &realm, &recipient) {
        return Err(blocks::denied());
    }
    // Not weighed: answers of data management come over this link too, and those of the other realm must not wait for each other. Data
    // management bounds what is under way.
    let later = request.later();
    let (rest, is_mail) = (rest.0.to_vec(), command.0 == b"MAIL");
    let wanted = realm.clone();
    links::with_realm(main, ctx, &wanted, move |main, ctx, known| match known {
        Ok(_) => links::ask(main, ctx, &realm, "DOFOR", rest, move |_, ctx, answer| match answer {
            Ok(data) => ctx.answer_kept(&later, Ok(data)),
            Err(fail) => refuse(ctx, later, fail),
        }),
        // Of what is there nothing is known; who writes to a realm that there is not hears of it.
        Err(fail) if fail.code == Code::NotFound && !is_mail => {
            refuse(ctx, later, Fail::new(Code::Unavailable, "that realm is not in the directory now; retry later"));
        }
        Err(fail) => refuse(ctx, later, fail),
    });
    Ok(Answer::Later)
}

/// Not before the handler has returned.
fn refuse(ctx: &mut Ctx<Main>, later: Later, fail: Fail) {
    ctx.after(0, move |_, ctx| ctx.answer(&later, Err(fail)));
}
