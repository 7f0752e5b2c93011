//! Whom management believes: what is not signed, and what hands out keys.

use convergia::voice::control::Command;
use convergia::wire::Code;

use crate::network::assert_fails;
use crate::voice_kv::key;
use crate::voice_kv::signed;
use crate::voice_kv::value;
use crate::voice_kv::Stage;

const REGISTER: Command = Command::Register { auid: 0, rights: 0 };

#[test]
fn nobody_acts_unsigned_for_a_user_with_an_account() {
    let mut it = Stage::new(71, &["add_channel"]);
    let a = it.a;
    it.net.account("alice");
    it.net.ask("net:admin", "VOICERIGHTS", &["alice", "admin"]).unwrap();
    let alice = key(&mut it.net, "alice");
    let uid = value(it.net.kv(a, false, &signed(REGISTER, 1, &alice)));
    let other = it.register();
    let chid = it.value(Command::Create { uid: other });
    it.ask(Command::Join { uid: other, juid: other, chid }).unwrap();
    for command in [
        Command::Create { uid },
        Command::Join { uid, juid: uid, chid },
        Command::Join { uid, juid: other, chid },
        Command::Leave { uid, luid: other, chid },
        Command::Leave { uid, luid: uid, chid },
        Command::Register { auid: uid, rights: 0 },
        Command::Delete { uid, chid },
        Command::Unregister { auid: uid, uid: other },
        Command::Unregister { auid: uid, uid },
    ] {
        it.fails(command, Code::Denied);
    }
    it.net.kv(a, true, &signed(Command::Join { uid, juid: uid, chid }, 2, &alice)).unwrap();
    it.net.kv(a, true, &signed(Command::Delete { uid, chid }, 3, &alice)).unwrap();
}

#[test]
fn into_a_signed_channel_everybody_goes_for_himself() {
    let mut it = Stage::new(72, &["add_channel", "add_user"]);
    let a = it.a;
    it.net.account("alice");
    it.net.account("bob");
    let (alice, bob) = (key(&mut it.net, "alice"), key(&mut it.net, "bob"));
    let uid = value(it.net.kv(a, false, &signed(REGISTER, 1, &alice)));
    let other = value(it.net.kv(a, false, &signed(REGISTER, 1, &bob)));
    let chid = value(it.net.kv(a, false, &signed(Command::Create { uid }, 2, &alice)));
    let add = signed(Command::Join { uid, juid: other, chid }, 3, &alice);
    assert_fails(it.net.kv(a, false, &add), Code::Denied);
    it.net.kv(a, false, &signed(Command::Join { uid: other, juid: other, chid }, 2, &bob)).unwrap();
    // One that is not signed has no key.
    let alone = it.register();
    let plain = it.value(Command::Create { uid: alone });
    it.net.kv(a, false, &signed(Command::Join { uid, juid: other, chid: plain }, 4, &alice)).unwrap();
}
