//! The commands of KV, as management decides them.

use convergia::accounts::keys;
use convergia::engine::sim::NodeId;
use convergia::voice::control::Command;
use convergia::voice::control::Proof;
use convergia::voice::control::Request;
use convergia::wire::Code;

use crate::network::assert_fails;
use crate::network::Network;
use crate::network::Result;

/// A network with one main server, whose clients of KV come from loopback.
pub struct Stage {
    pub net: Network,
    pub a: NodeId,
}

impl Stage {
    pub fn new(seed: u64, rights: &[&str]) -> Stage {
        let mut net = Network::with_rights(seed, rights);
        let a = net.main("a", &[]);
        Stage { net, a }
    }

    #[track_caller]
    pub fn ask(&mut self, command: Command) -> Result {
        self.net.kv(self.a, true, &Request::unsigned(command).encode())
    }

    /// The number of an answer.
    #[track_caller]
    pub fn value(&mut self, command: Command) -> u64 {
        value(self.ask(command))
    }

    #[track_caller]
    pub fn fails(&mut self, command: Command, code: Code) {
        let answer = self.ask(command);
        assert_fails(answer, code);
    }

    #[track_caller]
    pub fn register(&mut self) -> u64 {
        self.value(Command::Register { auid: 0, rights: u64::MAX })
    }

    /// Somebody with these rights.
    #[track_caller]
    pub fn with(&mut self, rights: &str) -> u64 {
        let uid = self.register();
        self.net.ask("net:admin", "VOICERIGHTS", &[&uid.to_string(), rights]).expect("rights");
        uid
    }

    pub fn told(&mut self, command: &str) -> Vec<String> {
        self.net.at(self.a, |fake| fake.told(command).into_iter().map(str::to_owned).collect())
    }
}

#[track_caller]
pub fn value(answer: Result) -> u64 {
    let answer = answer.expect("done");
    answer.strip_prefix("value ").and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn every_command_is_done() {
    let mut it = Stage::new(41, &["add_channel"]);
    let uid = it.register();
    assert!(uid >> 32 == 1 && uid & 0xFFFF_FFFF != 0xFFFF_FFFF, "{uid:x}");
    let chid = it.value(Command::Create { uid });
    let second = it.value(Command::Create { uid });
    assert_eq!(it.ask(Command::GetPort { chid }).unwrap(), format!("port {chid}|0"));
    assert_eq!(it.ask(Command::GetChannels).unwrap(), format!("list {chid} {second}"));
    let joined = it.ask(Command::Join { uid, juid: uid, chid }).unwrap();
    let [id, member, join, signed] = joined.strip_prefix("join ").unwrap().split('|').collect::<Vec<_>>()[..] else {
        panic!("{joined}");
    };
    assert_eq!((id, member, signed), (&*chid.to_string(), &*uid.to_string(), "0"));
    // It was told before the answer.
    assert_eq!(it.told("VOICEMEMBERS"), [format!("{chid}|0\na|{uid}|{join}|")]);
    assert_eq!(it.value(Command::Leave { uid, luid: uid, chid }), 1);
    assert_eq!(it.told("VOICELEFT"), [format!("{chid}|a|{uid}|{join}|left")]);
    it.fails(Command::Leave { uid, luid: uid, chid }, Code::NotFound);
    it.ask(Command::Join { uid, juid: uid, chid: second }).unwrap();
    assert_eq!(it.value(Command::Delete { uid, chid }), chid);
    assert_eq!(it.told("VOICEENDED"), [chid.to_string()]);
    assert_eq!(it.ask(Command::GetChannels).unwrap(), format!("list {second}"));
    assert_eq!(it.value(Command::Unregister { auid: uid, uid }), uid);
    assert_eq!(it.told("VOICELEFT").len(), 2, "it was in the second channel");
    assert_eq!(it.ask(Command::GetChannels).unwrap(), format!("list {second}"), "its channel stays");
    it.fails(Command::Create { uid }, Code::NotFound);
}

#[test]
fn each_right_and_its_absence() {
    let mut it = Stage::new(42, &[]);
    let (nobody, admin) = (it.register(), it.with("admin"));
    let chid = it.value(Command::Create { uid: admin });
    let some = |it: &mut Stage, right: &str| (it.with(right), it.register());

    let (may, other) = some(&mut it, "add_channel");
    it.fails(Command::Create { uid: nobody }, Code::Denied);
    let own = it.value(Command::Create { uid: may });
    let (remover, _) = some(&mut it, "rm_channel");
    it.fails(Command::Delete { uid: other, chid: own }, Code::Denied);
    it.value(Command::Delete { uid: remover, chid: own });
    let own = it.value(Command::Create { uid: may });
    it.value(Command::Delete { uid: may, chid: own });

    let (adder, added) = some(&mut it, "add_user");
    it.fails(Command::Join { uid: nobody, juid: added, chid }, Code::Denied);
    it.ask(Command::Join { uid: adder, juid: added, chid }).unwrap();
    it.ask(Command::Join { uid: nobody, juid: nobody, chid }).unwrap();
    let (kicker, _) = some(&mut it, "kick_user");
    it.fails(Command::Leave { uid: nobody, luid: added, chid }, Code::Denied);
    it.fails(Command::Leave { uid: adder, luid: added, chid }, Code::Denied);
    it.value(Command::Leave { uid: kicker, luid: added, chid });

    let (registrar, _) = some(&mut it, "register_user,add_channel");
    it.fails(Command::Register { auid: nobody, rights: 0 }, Code::Denied);
    let fresh = it.value(Command::Register { auid: registrar, rights: 8 });
    it.value(Command::Create { uid: fresh });
    for rights in [16, 0x7FFF_FFFF, 0x8000_0000, u64::MAX] {
        it.fails(Command::Register { auid: registrar, rights }, Code::Denied);
    }
    it.fails(Command::Register { auid: admin, rights: 1 << 31 }, Code::Denied);
    it.value(Command::Register { auid: admin, rights: 0x7FFF_FFFF });
    let (deleter, _) = some(&mut it, "delete_user");
    it.fails(Command::Unregister { auid: nobody, uid: fresh }, Code::Denied);
    it.value(Command::Unregister { auid: deleter, uid: fresh });
    // A regular registration gets what the configuration says, whatever it asks for.
    it.fails(Command::Create { uid: nobody }, Code::Denied);
}

#[test]
fn what_is_not_there_is_refused() {
    let mut it = Stage::new(43, &["add_channel"]);
    let uid = it.register();
    let chid = it.value(Command::Create { uid });
    for no in [0, 1, uid + 1, uid ^ 1 << 32, u64::MAX] {
        it.fails(Command::Create { uid: no }, Code::NotFound);
        it.fails(Command::Join { uid: no, juid: no, chid }, Code::NotFound);
        it.fails(Command::Unregister { auid: no, uid }, Code::NotFound);
        it.fails(Command::Unregister { auid: uid, uid: no }, Code::NotFound);
        it.fails(Command::Delete { uid, chid: no ^ chid ^ uid }, Code::NotFound);
        it.fails(Command::GetPort { chid: no ^ chid ^ uid }, Code::NotFound);
        it.fails(Command::Join { uid, juid: uid, chid: no ^ chid ^ uid }, Code::NotFound);
        if no != 0 {
            it.fails(Command::Register { auid: no, rights: 0 }, Code::NotFound);
        }
    }
    let admin = it.with("admin");
    it.fails(Command::Join { uid: admin, juid: 7, chid }, Code::NotFound);
    it.fails(Command::Leave { uid: admin, luid: uid, chid }, Code::NotFound);
    let bytes = Request::unsigned(Command::Create { uid }).encode();
    let a = it.a;
    assert_fails(it.net.kv(a, false, &bytes), Code::Denied);
    for short in [0, 3, 4, bytes.len() - 1] {
        assert_fails(it.net.kv(a, true, &bytes[..short]), Code::BadPacket);
    }
    for unknown in [8, 15, 24, u32::MAX] {
        assert_fails(it.net.kv(a, true, &[&unknown.to_be_bytes()[..], &[0; 100]].concat()), Code::BadCommand);
    }
    assert_fails(it.net.say(a, "VOICECONTROL", &["2", "x"]), Code::BadArgs);
    // What the old client sends besides.
    value(it.net.kv(a, true, &[&bytes[..], &[7; 24]].concat()));
}

#[test]
fn no_id_is_given_twice_over_a_restart() {
    let mut it = Stage::new(44, &["add_channel"]);
    let first = it.register();
    let chid = it.value(Command::Create { uid: first });
    it.value(Command::Delete { uid: first, chid });
    it.value(Command::Unregister { auid: first, uid: first });
    let management = it.net.management;
    it.net.sim.crash(management);
    it.net.sim.start(management);
    let a = it.a;
    it.net.until(a, |fake| fake.link.is_none());
    it.net.until(a, |fake| fake.loaded);
    let second = it.register();
    assert_eq!(second >> 32, 2);
    assert_eq!(it.value(Command::Create { uid: second }) >> 32, 2);
}

/// An account's key.
pub fn key(net: &mut Network, user: &str) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..user.len()].copy_from_slice(user.as_bytes());
    let public = keys::to_base64(&keys::public_of(&seed).unwrap());
    net.as_user(user, "ADDKEY", &["laptop", &public]).expect("a key");
    seed
}

pub fn signed(command: Command, counter: u64, seed: &[u8; 32]) -> Vec<u8> {
    let key = matches!(command, Command::Register { .. }).then(|| keys::public_of(seed).unwrap());
    let bytes = Request { command, proof: Some(Proof { key, counter, signature: [0; 64] }) }.encode();
    let before = &bytes[..bytes.len() - 64];
    [before, &keys::sign(seed, before).unwrap()].concat()
}

#[test]
fn signed_commands_prove_themselves() {
    let mut it = Stage::new(45, &["add_channel"]);
    let a = it.a;
    it.net.account("alice");
    it.net.account("bob");
    let (alice, bob) = (key(&mut it.net, "alice"), key(&mut it.net, "bob"));
    let ask = |it: &mut Stage, command: Command, counter: u64, seed: &[u8; 32]| {
        it.net.kv(a, false, &signed(command, counter, seed))
    };
    let register = Command::Register { auid: 0, rights: u64::MAX };
    let uid = value(ask(&mut it, register, 5, &alice));
    assert_eq!(value(ask(&mut it, register, 6, &alice)), uid, "the same account");
    assert_fails(ask(&mut it, register, 6, &alice), Code::Denied);
    assert_fails(ask(&mut it, register, 1, &[9; 32]), Code::Denied);
    assert_fails(ask(&mut it, Command::Register { auid: uid, rights: 0 }, 9, &alice), Code::Denied);
    let other = value(ask(&mut it, register, 1, &bob));
    assert_ne!(uid, other);

    let create = Command::Create { uid };
    let chid = value(ask(&mut it, create, 7, &alice));
    assert_eq!(it.ask(Command::GetPort { chid }).unwrap(), format!("port {chid}|1"));
    // Replayed, older, somebody else's, nobody's, or changed.
    assert_fails(ask(&mut it, create, 7, &alice), Code::Denied);
    assert_fails(ask(&mut it, create, 1, &alice), Code::Denied);
    assert_fails(ask(&mut it, create, 8, &bob), Code::Denied);
    assert_fails(ask(&mut it, Command::Create { uid: other }, 8, &alice), Code::Denied);
    assert_fails(ask(&mut it, Command::Create { uid: uid + 1 }, 8, &alice), Code::NotFound);
    assert_fails(ask(&mut it, create, 8, &[9; 32]), Code::Denied);
    let mut bytes = signed(create, 8, &alice);
    for at in [12, 19, 20, bytes.len() - 1] {
        bytes[at] ^= 1;
        assert_fails(it.net.kv(a, false, &bytes), Code::Denied);
        bytes[at] ^= 1;
    }
    value(it.net.kv(a, false, &bytes));
    // A refusal takes its counter too: nobody repeats it when it would be allowed.
    assert_fails(ask(&mut it, Command::Unregister { auid: uid, uid: other }, 9, &alice), Code::Denied);
    it.net.ask("net:admin", "VOICERIGHTS", &["alice", "admin"]).unwrap();
    assert_fails(ask(&mut it, Command::Unregister { auid: uid, uid: other }, 9, &alice), Code::Denied);

    // In a signed channel nothing is unsigned; a signed join of another one is good.
    it.fails(Command::Join { uid, juid: uid, chid }, Code::Denied);
    let joined = ask(&mut it, Command::Join { uid, juid: uid, chid }, 10, &alice).unwrap();
    assert!(joined.starts_with(&format!("join {chid}|{uid}|")) && joined.ends_with("|1"), "{joined}");
    let stranger = it.register();
    let plain = it.value(Command::Create { uid: stranger });
    assert!(ask(&mut it, Command::Join { uid, juid: uid, chid: plain }, 11, &alice).unwrap().ends_with("|0"));
    assert_eq!(it.told("VOICEMEMBERS").last().unwrap().rsplit('|').next(), Some("alice"));
    // These name nobody.
    assert_eq!(ask(&mut it, Command::GetPort { chid }, 0, &[9; 32]).unwrap(), format!("port {chid}|1"));
    assert!(ask(&mut it, Command::GetChannels, 0, &[9; 32]).unwrap().starts_with("list "));
    // One without an account has no key.
    let alone = it.register();
    assert_fails(ask(&mut it, Command::Create { uid: alone }, 1, &alice), Code::Denied);
    // The counter is good over a restart, and a key that was removed signs nothing.
    let management = it.net.management;
    it.net.sim.crash(management);
    it.net.sim.start(management);
    it.net.until(a, |fake| fake.link.is_none());
    it.net.until(a, |fake| fake.loaded);
    assert_fails(ask(&mut it, create, 11, &alice), Code::Denied);
    value(ask(&mut it, create, 12, &alice));
    it.net.as_user("alice", "REMOVEKEY", &["laptop"]).unwrap();
    assert_fails(ask(&mut it, create, 13, &alice), Code::Denied);
    // Nobody becomes another by naming his key: it is of who named it first.
    let public = keys::to_base64(&keys::public_of(&bob).unwrap());
    it.net.as_user("alice", "ADDKEY", &["stolen", &public]).unwrap();
    assert_eq!(value(ask(&mut it, register, 2, &bob)), other);
}

#[test]
fn an_account_that_is_disabled_or_deleted_says_nothing_more() {
    let mut it = Stage::new(46, &["add_channel"]);
    let a = it.a;
    it.net.account("alice");
    let seed = key(&mut it.net, "alice");
    let register = Command::Register { auid: 0, rights: 0 };
    let uid = value(it.net.kv(a, false, &signed(register, 1, &seed)));
    let join = |it: &mut Stage, chid: u64, counter: u64| {
        it.net.kv(a, false, &signed(Command::Join { uid, juid: uid, chid }, counter, &seed))
    };
    let chid = value(it.net.kv(a, false, &signed(Command::Create { uid }, 2, &seed)));
    join(&mut it, chid, 3).unwrap();
    it.net.ask("net:admin", "USERSTATE", &["alice", "disabled"]).unwrap();
    it.net.until(a, |fake| fake.told("VOICELEFT").len() == 1);
    assert_fails(join(&mut it, chid, 4), Code::Denied);
    assert_fails(it.net.kv(a, false, &signed(Command::Create { uid }, 5, &seed)), Code::Denied);
    assert_fails(it.net.kv(a, false, &signed(register, 6, &seed)), Code::Denied);
    let admin = it.with("admin");
    let plain = it.value(Command::Create { uid: admin });
    it.fails(Command::Join { uid: admin, juid: uid, chid: plain }, Code::Denied);
    it.net.ask("net:admin", "USERSTATE", &["alice", "active"]).unwrap();
    join(&mut it, chid, 7).unwrap();
    it.net.ask("net:admin", "USERDELETE", &["alice"]).unwrap();
    it.net.until(a, |fake| fake.told("VOICELEFT").len() == 2);
    it.fails(Command::Create { uid }, Code::NotFound);
    assert_fails(it.net.kv(a, false, &signed(register, 8, &seed)), Code::Denied);
    // The name is free, but the voice user is not another's.
    it.net.account("alice");
    let lines = it.net.ask("net:admin", "VOICEUSERS", &["", "100"]).unwrap();
    assert_eq!(lines, format!("{admin}||admin|0"));
}

#[test]
fn who_unregisters_gets_no_other_rights_by_it() {
    let mut it = Stage::new(47, &["add_channel"]);
    let a = it.a;
    it.net.account("alice");
    let seed = key(&mut it.net, "alice");
    it.net.ask("net:admin", "VOICERIGHTS", &["alice", "none"]).unwrap();
    let register = Command::Register { auid: 0, rights: 0 };
    let uid = value(it.net.kv(a, false, &signed(register, 1, &seed)));
    assert_fails(it.net.kv(a, false, &signed(Command::Create { uid }, 2, &seed)), Code::Denied);
    value(it.net.kv(a, false, &signed(Command::Unregister { auid: uid, uid }, 3, &seed)));
    let again = value(it.net.kv(a, false, &signed(register, 4, &seed)));
    assert_ne!(uid, again);
    assert_fails(it.net.kv(a, false, &signed(Command::Create { uid: again }, 5, &seed)), Code::Denied);
    for (whom, rights, code) in [
        ("nobody", "none", Code::NotFound),
        ("7", "none", Code::NotFound),
        ("alice", "all", Code::BadArgs),
        ("alice", "add_channel|", Code::BadArgs),
    ] {
        assert_fails(it.net.ask("net:admin", "VOICERIGHTS", &[whom, rights]), code);
    }
    let told = it.net.ask("net:admin", "VOICERIGHTS", &["ALICE", "kick_user,add_user"]).unwrap();
    assert_eq!(told, again.to_string());
    let lines = it.net.ask("net:admin", "VOICEUSERS", &["", "100"]).unwrap();
    assert_eq!(lines, format!("{again}|alice|add_user,kick_user|0"));
    assert_eq!(it.net.ask("net:admin", "VOICEUSERS", &[&again.to_string(), "100"]).unwrap(), "");
}
