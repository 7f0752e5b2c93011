//! What is signed: each command, and everything that is wrong with a signature.

use crate::beside;
use crate::grant;
use crate::kv;
use crate::kv::channels;
use crate::kv::error;
use crate::kv::number;
use crate::kv::send;
use crate::kv::user;
use crate::kv::Key;
use crate::kv::ACCESS;
use crate::kv::CREATE;
use crate::kv::DELETE;
use crate::kv::GET_CHANNELS;
use crate::kv::GET_PORT;
use crate::kv::JOIN;
use crate::kv::LEAVE;
use crate::kv::REGISTER;
use crate::kv::SIGNED;
use crate::kv::TOO_FEW;
use crate::kv::UNREGISTER;
use crate::kv::VALUE;
use crate::server;

#[test]
fn all_commands_by_an_account() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let (mut key, mut others) = (Key::of(&server, "alice"), Key::of(&server, "bob"));
    let alice = key.register(at);
    // Once more: the same user. A second key of the account is as good, and counts on with it.
    assert_eq!(key.register(at), alice);
    let mut second = Key::of(&server, "alice2");
    second.register(at);
    let bob = others.register(at);
    assert_ne!(alice, bob);
    // Rights that are asked for count for nothing.
    assert_eq!(number(&send(at, &key.sign(REGISTER, &[0, 0x7FFF_FFFF]))), alice);
    assert_eq!(error(&send(at, &key.sign(REGISTER, &[alice, 0]))), ACCESS);
    assert_eq!(error(&send(at, &key.sign(UNREGISTER, &[alice, bob]))), ACCESS);
    let chid = number(&send(at, &key.sign(CREATE, &[alice])));
    assert_eq!(channels(at), [chid]);
    assert_eq!(send(at, &key.sign(GET_CHANNELS, &[])), [1, chid, 0].map(u64::to_be_bytes).concat());
    let port = number(&send(at, &key.sign(GET_PORT, &[chid])));
    let joined = send(at, &key.sign(JOIN, &[alice, alice, chid]));
    assert_eq!((joined.len(), number(&joined[..8])), (40, port));
    let again = send(at, &key.sign(JOIN, &[alice, alice, chid]));
    assert_ne!(joined[8..], again[8..], "each join has a key of its own");
    for (kind, fields) in [(JOIN, [alice, bob, chid]), (LEAVE, [bob, alice, chid])] {
        let signer = if kind == JOIN { &mut key } else { &mut others };
        assert_eq!(error(&send(at, &signer.sign(kind, &fields))), ACCESS);
    }
    grant(&server, alice, "add_user,kick_user,delete_user,add_channel");
    assert_eq!(error(&send(at, &key.sign(JOIN, &[alice, bob, chid]))), ACCESS, "his key is for him");
    assert_eq!(send(at, &others.sign(JOIN, &[bob, bob, chid])).len(), 40);
    assert_eq!(number(&send(at, &key.sign(LEAVE, &[alice, bob, chid]))), 1);
    assert_eq!(error(&send(at, &key.sign(LEAVE, &[alice, bob, chid]))), VALUE);
    assert_eq!(number(&send(at, &key.sign(LEAVE, &[alice, alice, chid]))), 1);
    assert_eq!(error(&send(at, &others.sign(DELETE, &[bob, chid]))), ACCESS);
    for (kind, fields) in [
        (DELETE, vec![alice, 7]),
        (JOIN, vec![alice, alice, 7]),
        (JOIN, vec![alice, 7, chid]),
        (LEAVE, vec![alice, alice, 7]),
        (UNREGISTER, vec![alice, 7]),
        (GET_PORT, vec![7]),
        (CREATE, vec![7]),
    ] {
        assert_eq!(error(&send(at, &key.sign(kind, &fields))), VALUE, "{kind} {fields:?}");
    }
    assert_eq!(number(&send(at, &key.sign(DELETE, &[alice, chid]))), chid);
    assert_eq!(number(&send(at, &key.sign(UNREGISTER, &[alice, bob]))), bob);
    // Bob's account is as it was: it has another voice user now.
    let anew = others.register(at);
    assert!(anew != bob && anew != alice);
    assert_eq!(number(&send(at, &others.sign(UNREGISTER, &[anew, anew]))), anew);
}

#[test]
fn a_signature_is_good_once_for_one_request_of_one_user() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let (mut key, mut others, mut unknown) = (Key::of(&server, "alice"), Key::of(&server, "bob"), Key::new());
    let (alice, bob, plain) = (key.register(at), others.register(at), user(at));
    // Nobody's key; another's key; a key for a user without one.
    assert_eq!(error(&send(at, &unknown.sign(REGISTER, &[0, 0]))), ACCESS);
    unknown.counter = 1 << 40;
    for signer in [&mut unknown, &mut others] {
        assert_eq!(error(&send(at, &signer.sign(CREATE, &[alice]))), ACCESS);
        assert_eq!(error(&send(at, &signer.sign(CREATE, &[plain]))), ACCESS);
    }
    // Any bit that is another one. The type is the first four bytes: without what says that it is signed, another command would be asked.
    let good = key.sign(CREATE, &[alice]);
    for at_byte in 12..good.len() {
        let mut bad = good.clone();
        bad[at_byte] ^= 1 << (at_byte % 8);
        assert_eq!(error(&send(at, &bad)), ACCESS, "byte {at_byte}");
    }
    for at_byte in 4..12 {
        let mut bad = good.clone();
        bad[at_byte] ^= 1 << (at_byte % 8);
        assert_eq!(error(&send(at, &bad)), VALUE, "byte {at_byte}: no such user");
    }
    let mut as_bob = good.clone();
    as_bob[4..12].copy_from_slice(&bob.to_be_bytes());
    assert_eq!(error(&send(at, &as_bob)), ACCESS);
    // A signature of one command under another of the same form.
    let mut other_type = key.sign(DELETE, &[alice, alice]);
    other_type[3] = u8::try_from(SIGNED + UNREGISTER).expect("a byte");
    assert_eq!(error(&send(at, &other_type)), ACCESS);
    // None of all that has used up the counter: the good one is still good, and only once.
    assert!(channels(at).is_empty());
    let chid = number(&send(at, &good));
    for _ in 0..3 {
        assert_eq!(error(&send(at, &good)), ACCESS, "a replay");
    }
    assert_eq!(channels(at), [chid]);
    // A counter that does not rise.
    let last = u64::from_be_bytes(good[12..20].try_into().expect("eight bytes"));
    for stale in [0, last - 2, last - 1] {
        key.counter = stale;
        assert_eq!(error(&send(at, &key.sign(CREATE, &[alice]))), ACCESS);
    }
    // One that jumps to the end; nothing can follow it.
    key.counter = u64::MAX - 1;
    number(&send(at, &key.sign(CREATE, &[alice])));
    key.counter = u64::MAX - 1;
    assert_eq!(error(&send(at, &key.sign(CREATE, &[alice]))), ACCESS);
    // One user's counter is nothing to another.
    number(&send(at, &others.sign(CREATE, &[bob])));
    // What was refused counts too: it is not good later.
    grant(&server, bob, "none");
    let refused = others.sign(CREATE, &[bob]);
    assert_eq!(error(&send(at, &refused)), ACCESS);
    grant(&server, bob, "add_channel");
    assert_eq!(error(&send(at, &refused)), ACCESS);
}

#[test]
fn what_names_nobody_needs_no_key() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let owner = user(at);
    let chid = kv::done(at, CREATE, &[owner]);
    let mut unknown = Key::new();
    assert_eq!(number(&send(at, &unknown.sign(GET_PORT, &[chid]))), kv::done(at, GET_PORT, &[chid]));
    let list = unknown.sign(GET_CHANNELS, &[]);
    assert_eq!(send(at, &list), [1, chid, 0].map(u64::to_be_bytes).concat());
    // But counter and signature must be there.
    assert_eq!(error(&kv::send_and_end(at, &list[..list.len() - 1])), TOO_FEW);
}

#[test]
fn a_disabled_account_and_a_removed_key_are_nobody() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let (mut key, mut others) = (Key::of(&server, "alice"), Key::of(&server, "bob"));
    let (alice, bob) = (key.register(at), others.register(at));
    let mut link = crate::support::sign_on::login_link(&server, "bob", crate::support::sign_on::PASSWORD).0;
    link.ask("REMOVEKEY", &["voice"]).ok();
    assert_eq!(error(&send(at, &others.sign(CREATE, &[bob]))), ACCESS);
    assert_eq!(error(&send(at, &others.sign(REGISTER, &[0, 0]))), ACCESS);
    crate::support::admin(&server, &["user", "disable", "alice"]);
    assert_eq!(error(&send(at, &key.sign(CREATE, &[alice]))), ACCESS);
    assert_eq!(error(&send(at, &key.sign(REGISTER, &[0, 0]))), ACCESS);
    assert_eq!(kv::fails(at, CREATE, &[alice]), ACCESS, "not unsigned either");
    crate::support::admin(&server, &["user", "enable", "alice"]);
    assert_eq!(kv::fails(at, CREATE, &[alice]), ACCESS, "who has an account signs");
    number(&send(at, &key.sign(CREATE, &[alice])));
}
