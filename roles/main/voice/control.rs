//! VOICECONTROL: what KV clients ask over TCP. Management decides, and this server carries out what concerns its UDP ports.

use super::here;
use super::join;
use super::join::Waiting;
use super::may_ask;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::Request;
use crate::roles::main::Main;
use crate::voice::control as kv;
use crate::voice::KEY;
use crate::wire::raw::SEPARATOR;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

pub const VOICE_CONTROL: Command<Main> =
    Command { name: "VOICECONTROL", ports: &[PortKey::VoiceControl], args: "request", gate: anyone, run };

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let bytes = request.data().unescape();
    let decoded = match kv::Request::decode(&bytes) {
        Ok(Some((decoded, _))) => decoded,
        Ok(None) => return Err(Fail::new(Code::TooLong, "too few bytes")),
        Err(_) => return Err(Fail::new(Code::BadCommand, "no such type")),
    };
    let ports = matches!(decoded.command, kv::Command::Join { .. } | kv::Command::GetPort { .. });
    if ports && main.voice.server_key.is_none() {
        return Err(join::no_ports());
    }
    let local = join::is_local(main, ctx, request.link);
    let link = may_ask(main)?;
    here::tell_gone(main, ctx);
    let (later, signs) = (request.later(), decoded.proof.is_some());
    let parts = [if local { b"1" } else { b"0" }, SEPARATOR, request.data().0];
    ctx.request_parts(link, "VOICECONTROL", &parts, move |main, ctx, answer| {
        main.voice.asked = main.voice.asked.saturating_sub(1);
        if let Err(fail) = answer.and_then(|data| carry_out(main, ctx, &later, signs, data)) {
            ctx.answer(&later, Err(fail));
        }
    });
    Ok(Answer::Later)
}

/// `value N`, `join chid|uid|join|signed`, `port chid|signed`, or `list N N …`.
fn carry_out(main: &mut Main, ctx: &mut Ctx<Main>, later: &Later, signs: bool, data: Raw<'_>) -> Result<(), Fail> {
    let text = data.text()?;
    let bad = || Fail::internal("management answers VOICECONTROL in other words than it should");
    let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let number = |text: &str| Raw(text.as_bytes()).number().map_err(|_| bad());
    match word {
        "value" => ctx.answer(later, Ok(kv::Answer::Value(number(rest)?).encode())),
        "list" => {
            let channels: Result<Vec<u64>, Fail> = rest.split_whitespace().map(number).collect();
            ctx.answer(later, Ok(kv::Answer::Channels(channels?).encode()));
        }
        "port" => {
            let (channel, signed) = rest.split_once('|').ok_or_else(bad)?;
            join::open(main, ctx, number(channel)?, signed == "1", Waiting::Port(later.clone()));
        }
        "join" => {
            let grant = join::grant(Raw(rest.as_bytes()))?;
            join::controlled(main, ctx, later, grant, signs)?;
        }
        _ => return Err(bad()),
    }
    Ok(())
}

/// The answer to GET_PORT.
pub fn port(port: u16) -> Vec<u8> {
    kv::Answer::Value(u64::from(port)).encode()
}

/// The answer to JOIN. Who signs gets the key of its datagrams.
pub fn joined(port: u16, key: &[u8; KEY], signs: bool) -> Vec<u8> {
    match signs {
        true => kv::Answer::Joined { port, key: *key }.encode(),
        false => self::port(port),
    }
}
