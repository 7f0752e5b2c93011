//! What a data server says to data management (64479): that it is there, how much room it has, and what has rotted.

use std::sync::Arc;

use super::Data;
use crate::blocks::Hash;
use crate::blocks::Usage;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::wire::hex;
use crate::wire::Fail;

/// How long upkeep rests between two of its steps; milliseconds.
const STEP: u64 = 20;

/// Says that this server is there; the answer is the key of its tickets.
pub fn introduce(data: &mut Data, ctx: &mut Ctx<Data>, link: LinkId) {
    let store = Arc::clone(&data.store);
    ctx.heavy(
        move || Ok(store.usage()),
        move |data, ctx, usage| {
            let usage = usage.unwrap_or_default();
            let print = hex::encode(&data.settings.fingerprint);
            let (capacity, used, blocks) = numbers(usage);
            let boot = data.uplink.boot.to_string();
            let own = data.settings.server_id.clone();
            let fields = [&own, &data.settings.address, &print, &capacity, &used, &blocks, &boot];
            let fields = fields.map(|field| field.as_bytes());
            ctx.request(link, "DATASERVER", &fields, move |data, ctx, answer| {
                let key = answer.and_then(|key| {
                    hex::decode_32(&key.text()?).ok_or_else(|| Fail::bad_args("a key is 64 hexadecimal digits"))
                });
                match key {
                    Ok(key) => {
                        data.copies.key = Some(key);
                        data.told = Some(usage);
                        data.centre.up(link);
                        log::info!("data management knows this server");
                        data.check_ready();
                    }
                    Err(fail) => ctx.close(link, &format!("data management refuses this server: {fail}")),
                }
            });
        },
    );
}

fn numbers(usage: Usage) -> (String, String, String) {
    (usage.capacity.to_string(), usage.used.to_string(), usage.blocks.to_string())
}

/// Once a second: how much room there is, when that has changed, and a step of upkeep.
pub fn tick(data: &mut Data, ctx: &mut Ctx<Data>) {
    if ctx.is_stopping() {
        return;
    }
    tend(data, ctx);
    if data.centre.link().is_none() || std::mem::replace(&mut data.measuring, true) {
        return;
    }
    let store = Arc::clone(&data.store);
    ctx.heavy(
        move || Ok(store.usage()),
        |data, ctx, usage| {
            data.measuring = false;
            let (Some(link), Ok(usage)) = (data.centre.link(), usage) else { return };
            if data.told != Some(usage) {
                data.told = Some(usage);
                let (capacity, used, blocks) = numbers(usage);
                let fields = [&capacity, &used, &blocks].map(|field| field.as_bytes());
                ctx.request(link, "SPACE", &fields, |_, _, _| {});
            }
        },
    );
}

/// Upkeep, a bounded step at a time, until there is nothing more to do.
fn tend(data: &mut Data, ctx: &mut Ctx<Data>) {
    if ctx.is_stopping() || std::mem::replace(&mut data.tending, true) {
        return;
    }
    let store = Arc::clone(&data.store);
    ctx.heavy(
        move || store.tend().map_err(Fail::from),
        |data, ctx, more| {
            data.tending = false;
            if more == Ok(true) {
                ctx.after(STEP, tend);
            }
        },
    );
}

/// The bytes of a block are not those of its name: data management has it made anew from another copy.
pub fn rotten(data: &mut Data, ctx: &mut Ctx<Data>, hash: &Hash) {
    log::error!("the block {hash} has rotted on the disk");
    if let Some(link) = data.centre.link() {
        ctx.request(link, "ROTTEN", &[hash.to_string().as_bytes()], |_, _, _| {});
    }
}
