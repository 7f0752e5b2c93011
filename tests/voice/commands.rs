//! What is not signed: each command, done and refused.

use crate::beside;
use crate::grant;
use crate::kv;
use crate::kv::channels;
use crate::kv::done;
use crate::kv::fails;
use crate::kv::failure;
use crate::kv::padded;
use crate::kv::request;
use crate::kv::send;
use crate::kv::user;
use crate::kv::Key;
use crate::kv::ACCESS;
use crate::kv::CREATE;
use crate::kv::DELETE;
use crate::kv::FIELDS;
use crate::kv::GET_PORT;
use crate::kv::JOIN;
use crate::kv::LEAVE;
use crate::kv::NOT_IMPLEMENTED;
use crate::kv::REGISTER;
use crate::kv::UNREGISTER;
use crate::kv::VALUE;
use crate::server;
use crate::support::Server;

/// Nobody's numbers.
const NOBODY: [u64; 5] = [0, 1, u32::MAX as u64, 1 << 63, u64::MAX];

#[test]
fn a_channel_is_made_and_deleted_by_those_who_may() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let (owner, other) = (user(at), user(at));
    for nobody in NOBODY {
        assert_eq!(fails(at, CREATE, &[nobody]), VALUE);
        assert_eq!(fails(at, DELETE, &[owner, nobody]), VALUE);
        assert_eq!(fails(at, GET_PORT, &[nobody]), VALUE);
    }
    // None, one, many: a count, the ids, one zero.
    assert_eq!(send(at, &padded(kv::GET_CHANNELS, &[])), [0; 16]);
    let first = done(at, CREATE, &[owner]);
    let list = [1, first, 0].map(u64::to_be_bytes).concat();
    assert_eq!(send(at, &padded(kv::GET_CHANNELS, &[])), list);
    let mut all = vec![first];
    all.extend((0..40).map(|_| done(at, CREATE, &[owner])));
    assert_eq!(channels(at), all);
    // Each has a port of its own, a number that is one.
    let ports: Vec<u64> = all[..5].iter().map(|chid| done(at, GET_PORT, &[*chid])).collect();
    assert!(ports.iter().all(|port| (1..=65_535).contains(port)), "{ports:?}");
    assert!((1..5).all(|n| !ports[..n].contains(&ports[n])), "{ports:?}");
    // The owner, and who has rm_channel.
    for nobody in NOBODY {
        assert_eq!(fails(at, DELETE, &[nobody, first]), VALUE);
    }
    assert_eq!(fails(at, DELETE, &[other, first]), ACCESS);
    assert_eq!(done(at, DELETE, &[owner, first]), first);
    assert_eq!(fails(at, DELETE, &[owner, first]), VALUE);
    assert_eq!(fails(at, GET_PORT, &[first]), VALUE);
    grant(&server, other, "rm_channel");
    assert_eq!(done(at, DELETE, &[other, all[1]]), all[1]);
    assert_eq!(channels(at), all[2..]);
    // And now the other may make none.
    assert_eq!(fails(at, CREATE, &[other]), ACCESS);
}

#[test]
fn members_come_and_go_as_they_may() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let (owner, member, helper) = (user(at), user(at), user(at));
    let chid = done(at, CREATE, &[owner]);
    for nobody in NOBODY {
        assert_eq!(fails(at, JOIN, &[nobody, nobody, chid]), VALUE);
        assert_eq!(fails(at, JOIN, &[member, member, nobody]), VALUE);
        assert_eq!(fails(at, LEAVE, &[nobody, nobody, chid]), VALUE);
        assert_eq!(fails(at, LEAVE, &[member, member, nobody]), VALUE);
    }
    assert_eq!(fails(at, LEAVE, &[member, member, chid]), VALUE, "no member");
    // For itself; again: it joins anew.
    let port = done(at, JOIN, &[member, member, chid]);
    assert_eq!(port, done(at, GET_PORT, &[chid]));
    assert_eq!(done(at, JOIN, &[member, member, chid]), port);
    // For another: add_user; away: kick_user, which the owner has not by itself.
    assert_eq!(fails(at, JOIN, &[owner, helper, chid]), ACCESS);
    assert_eq!(fails(at, LEAVE, &[owner, member, chid]), ACCESS);
    grant(&server, helper, "add_user");
    assert_eq!(fails(at, LEAVE, &[helper, member, chid]), ACCESS);
    assert_eq!(done(at, JOIN, &[helper, owner, chid]), port);
    for nobody in NOBODY {
        assert_eq!(fails(at, JOIN, &[helper, nobody, chid]), VALUE);
    }
    grant(&server, helper, "kick_user");
    assert_eq!(fails(at, JOIN, &[helper, owner, chid]), ACCESS);
    assert_eq!(done(at, LEAVE, &[helper, member, chid]), 1);
    assert_eq!(fails(at, LEAVE, &[helper, member, chid]), VALUE);
    for nobody in NOBODY {
        assert_eq!(fails(at, LEAVE, &[helper, nobody, chid]), VALUE);
    }
    assert_eq!(done(at, LEAVE, &[owner, owner, chid]), 1);
    // A kick is no ban.
    assert_eq!(done(at, JOIN, &[member, member, chid]), port);
}

#[test]
fn users_are_made_and_deleted_by_those_who_may() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    // What an own registration asks for does not count.
    let plain = done(at, REGISTER, &[0, 0x7FFF_FFFF]);
    assert_eq!(fails(at, REGISTER, &[plain, 0]), ACCESS);
    let other = user(at);
    assert_eq!(fails(at, UNREGISTER, &[plain, other]), ACCESS);
    for nobody in &NOBODY[1..] {
        assert_eq!(fails(at, REGISTER, &[*nobody, 0]), VALUE);
    }
    for nobody in NOBODY {
        assert_eq!(fails(at, UNREGISTER, &[nobody, other]), VALUE);
        assert_eq!(fails(at, UNREGISTER, &[nobody, nobody]), VALUE);
    }
    // No right that it lacks.
    grant(&server, plain, "register_user,add_user");
    for beyond in [4, 8, 16, 64, 2 | 8, 0x7FFF_FFFF, 1 << 31, 1 << 40, u64::MAX] {
        assert_eq!(fails(at, REGISTER, &[plain, beyond]), ACCESS, "{beyond}");
    }
    let (some, none) = (done(at, REGISTER, &[plain, 2 | 32]), done(at, REGISTER, &[plain, 0]));
    assert_eq!(fails(at, CREATE, &[none]), ACCESS, "the rights that were asked for, and not the default");
    let third = done(at, REGISTER, &[some, 2]);
    assert_eq!(fails(at, REGISTER, &[third, 32]), ACCESS);
    // Itself, and whom delete_user lets it.
    assert_eq!(done(at, UNREGISTER, &[third, third]), third);
    assert_eq!(fails(at, UNREGISTER, &[third, third]), VALUE);
    grant(&server, plain, "delete_user");
    assert_eq!(done(at, UNREGISTER, &[plain, some]), some);
    assert_eq!(fails(at, UNREGISTER, &[plain, some]), VALUE);
    for gone in [some, third] {
        assert_eq!(fails(at, CREATE, &[gone]), VALUE);
        assert_eq!(fails(at, REGISTER, &[gone, 0]), VALUE);
    }
    // An admin may all; also make one.
    grant(&server, other, "admin");
    let admin = done(at, REGISTER, &[other, 0x7FFF_FFFF]);
    assert_eq!(done(at, UNREGISTER, &[admin, other]), other);
    let chid = done(at, CREATE, &[admin]);
    done(at, JOIN, &[admin, none, chid]);
    assert_eq!(done(at, LEAVE, &[admin, none, chid]), 1);
    // Neither half of an id is all ones, and none comes twice.
    let mut ids: Vec<u64> = (0..100).map(|_| user(at)).collect();
    ids.extend([plain, other, some, none, third, admin]);
    for uid in &ids {
        assert!(uid >> 32 != 0xFFFF_FFFF && uid & 0xFFFF_FFFF != 0xFFFF_FFFF, "{uid:x}");
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

/// Each type, with whatever a stranger has.
#[track_caller]
fn types_that_are_none(server: &Server) {
    let at = &server.addr("voice_control");
    let kinds = (8..16).chain(24..40).chain([255, 256, 0x1000_0000, 0x8000_0000, u32::MAX, 0x0700_0000]);
    for kind in kinds {
        assert_eq!(send(at, &padded(kind, &[1, 2, 3])), failure(NOT_IMPLEMENTED), "{kind}");
        // It is known as soon as the type is.
        assert_eq!(send(at, &request(kind, &[])), failure(NOT_IMPLEMENTED), "{kind}");
    }
}

#[test]
fn what_there_is_not_is_said_to_be_not_implemented() {
    let _beside = beside();
    let server = server();
    types_that_are_none(&server);
    // Exactly as many bytes as the type needs are enough.
    let at = &server.addr("voice_control");
    for (kind, count) in (0..8).zip(FIELDS) {
        let answer = send(at, &request(kind, &vec![u64::MAX; count]));
        match kind {
            kv::GET_CHANNELS => assert_eq!(answer, [0; 16]),
            _ => assert_eq!(answer, failure(VALUE), "{kind}"),
        }
    }
}

#[test]
fn a_signed_channel_is_closed_to_what_is_not_signed() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let mut key = Key::of(&server, "alice");
    let alice = key.register(at);
    let chid = kv::number(&send(at, &key.sign(CREATE, &[alice])));
    let stranger = user(at);
    grant(&server, stranger, "admin");
    for (uid, juid) in [(alice, alice), (stranger, stranger), (stranger, alice)] {
        assert_eq!(fails(at, JOIN, &[uid, juid, chid]), ACCESS);
    }
    assert_eq!(done(at, GET_PORT, &[chid]), kv::number(&send(at, &key.sign(GET_PORT, &[chid]))));
    // A signed join of a channel that is not signed: a key that nothing needs comes with it.
    let plain = done(at, CREATE, &[stranger]);
    let answer = send(at, &key.sign(JOIN, &[alice, alice, plain]));
    assert_eq!((answer.len(), kv::number(&answer[..8])), (40, done(at, GET_PORT, &[plain])));
}
