//! The table of commands: a row for each, on the ports of clients and servers.

use super::disconnect;
use super::drain;
use super::fetch;
use super::get_keys;
use super::get_server_map;
use super::handover;
use super::members;
use super::mesh;
use super::operator;
use super::realm;
use super::report;
use super::routes;
use super::send_message;
use super::set_status;
use super::sign_off;
use super::sign_on;
use super::standby;
use super::storage;
use super::voice;
use super::Main;
use crate::engine::command::joined;
use crate::engine::Command;
use crate::session;

/// Every command of its own, on the ports of clients and servers.
const OWN: [Command<Main>; 29] = [
    send_message::SEND_MESSAGE,
    sign_on::SIGN_ON,
    sign_off::SIGN_OFF,
    get_server_map::GET_SERVER_MAP,
    get_keys::GET_KEYS,
    set_status::SET_STATUS,
    disconnect::DISCONNECT,
    get_server_map::MAP_CHANGED,
    members::HELLO,
    members::PROVE,
    mesh::relay::RELAY,
    mesh::relayed::RELAYED,
    mesh::links::PROBE_COMMAND,
    routes::SERVERS,
    routes::ROUTES,
    fetch::KEEPERS,
    drain::DRAIN,
    drain::MOVE_CLIENTS,
    handover::HANDOVER,
    standby::STANDBY,
    standby::ATTACH,
    standby::TAKE_OVER,
    storage::DATA_MANAGEMENT,
    storage::TELL,
    operator::OPERATOR,
    operator::GET_ACCOUNT,
    report::SESSIONS,
    report::NOTICE,
    realm::blocks::BLOCKED,
];

/// These, and those of a realm's doors.
const WITH_DOORS: [Command<Main>; OWN.len() + realm::COMMANDS.len()] = joined(&OWN, &realm::COMMANDS);

/// These, and those of voice.
const WITH_VOICE: [Command<Main>; WITH_DOORS.len() + voice::COMMANDS.len()] = joined(&WITH_DOORS, &voice::COMMANDS);

/// These, and those that are passed on to data management.
pub const COMMANDS: &[Command<Main>] =
    &joined::<_, _, _, { WITH_VOICE.len() + session::COUNT }>(&WITH_VOICE, &storage::ROWS);
