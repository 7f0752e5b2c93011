//! What is there after a restart, and after a power cut.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::beside;
use crate::grant;
use crate::kv;
use crate::kv::channels;
use crate::kv::done;
use crate::kv::error;
use crate::kv::fails;
use crate::kv::number;
use crate::kv::send;
use crate::kv::user;
use crate::kv::Key;
use crate::kv::ACCESS;
use crate::kv::CREATE;
use crate::kv::DELETE;
use crate::kv::JOIN;
use crate::kv::LEAVE;
use crate::kv::REGISTER;
use crate::kv::UNREGISTER;
use crate::kv::VALUE;
use crate::server;
use crate::udp::Member;

#[test]
fn users_channels_rights_and_counters_stay_and_no_id_comes_again() {
    let _beside = beside();
    let mut server = server();
    let mut at = server.addr("voice_control");
    let mut key = Key::of(&server, "alice");
    let alice = key.register(&at);
    let (owner, kicker) = (user(&at), user(&at));
    grant(&server, kicker, "kick_user");
    let mut kept = vec![done(&at, CREATE, &[owner]), number(&send(&at, &key.sign(CREATE, &[alice])))];
    let mut ids: BTreeSet<u64> = [alice, owner, kicker].into();
    let mut channel_ids: BTreeSet<u64> = kept.iter().copied().collect();
    for round in 0..3 {
        // The last of all is deleted: its number is free, and must not be used again.
        let (uid, chid) = (user(&at), done(&at, CREATE, &[owner]));
        assert!(ids.insert(uid) && channel_ids.insert(chid), "round {round}: {uid} {chid}");
        assert_eq!(done(&at, UNREGISTER, &[uid, uid]), uid);
        assert_eq!(done(&at, DELETE, &[owner, chid]), chid);
        let signed = key.sign(CREATE, &[alice]);
        let made = number(&send(&at, &signed));
        assert!(channel_ids.insert(made));
        kept.push(made);
        match round {
            0 => server.kill(),
            1 => assert!(server.terminate().success()),
            _ => server.signal(Signal::KILL),
        }
        server.restart();
        at = server.addr("voice_control");
        assert_eq!(channels(&at), kept);
        for gone in [fails(&at, CREATE, &[uid]), fails(&at, DELETE, &[owner, chid])] {
            assert_eq!(gone, VALUE);
        }
        assert_eq!(error(&send(&at, &signed)), ACCESS, "a replay after the restart");
        assert_eq!(key.register(&at), alice);
        assert_eq!(fails(&at, DELETE, &[kicker, kept[0]]), ACCESS);
        // Rights are as they were; nobody is a member any more who is not told so.
        done(&at, JOIN, &[owner, owner, kept[0]]);
        assert_eq!(done(&at, LEAVE, &[kicker, owner, kept[0]]), 1);
        assert_eq!(fails(&at, CREATE, &[kicker]), ACCESS);
        assert_eq!(fails(&at, REGISTER, &[kicker, 0]), ACCESS);
        // And they talk.
        let mut alice_there = Member::join_signed(&at, &mut key, alice, kept[1]);
        alice_there.acknowledged(7);
        let (mut one, other) = (Member::join(&at, owner, kept[0]), Member::join(&at, kicker, kept[0]));
        let packet = one.say(b"still here");
        other.hears(&packet);
    }
    assert_eq!(kv::channels(&at), kept);
}
