//! What is not signed, from an address that is not this machine's own: nobody's.

use crate::beside;
use crate::kv;
use crate::kv::done;
use crate::kv::error;
use crate::kv::number;
use crate::kv::padded;
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
use crate::kv::UNREGISTER;
use crate::support::sites;
use crate::support::Cluster;
use crate::support::Topology;
use crate::udp;
use crate::udp::socket;
use crate::udp::Member;

#[test]
fn a_stranger_acts_for_nobody() {
    if !sites::available() {
        return;
    }
    let _beside = beside();
    let cluster = Cluster::in_sites(Topology::sites(&["a"]), &["a"]);
    // The same server, as the world and as its own machine sees it.
    let outside = &cluster.server("a").addr("voice_control");
    let inside = &format!("127.0.0.1:{}", outside.rsplit_once(':').expect("a port").1);
    cluster.within("a", || {
        let (owner, other) = (user(inside), user(inside));
        cluster.admin(&["voice-rights", &owner.to_string(), "admin"]);
        let chid = done(inside, CREATE, &[owner]);
        done(inside, JOIN, &[other, other, chid]);
        for (kind, fields) in [
            (CREATE, vec![owner]),
            (DELETE, vec![owner, chid]),
            (JOIN, vec![owner, owner, chid]),
            (LEAVE, vec![owner, other, chid]),
            (LEAVE, vec![other, other, chid]),
            (REGISTER, vec![0, 0]),
            (REGISTER, vec![owner, 0x7FFF_FFFF]),
            (UNREGISTER, vec![owner, other]),
            (GET_PORT, vec![chid]),
            (GET_CHANNELS, vec![]),
        ] {
            assert_eq!(error(&send(outside, &padded(kind, &fields))), ACCESS, "{kind} {fields:?}");
        }
        assert_eq!(kv::channels(inside), [chid]);
        // By keys it is the same from everywhere.
        let mut key = Key::of(cluster.management(), "alice");
        let alice = key.register(outside);
        assert_eq!(error(&send(outside, &Key::new().sign(CREATE, &[alice]))), ACCESS);
        assert_eq!(error(&send(outside, &padded(CREATE, &[alice]))), ACCESS);
        cluster.admin(&["voice-rights", "alice", "add_channel"]);
        let signed = number(&send(outside, &key.sign(CREATE, &[alice])));
        assert_eq!(number(&send(outside, &key.sign(GET_PORT, &[signed]))), done(inside, GET_PORT, &[signed]));
        let mut bob_key = Key::of(cluster.management(), "bob");
        let bob = bob_key.register(outside);
        let mut alice_there = Member::join_signed(outside, &mut key, alice, signed);
        let bob_there = Member::join_signed(outside, &mut bob_key, bob, signed);
        let packet = alice_there.say(b"from afar");
        bob_there.hears(&packet);
        // Datagrams that are not signed count from this machine alone: a stranger takes no place that nobody has taken yet.
        let mut one = Member::join(inside, owner, chid);
        let mut free = Member::unbound(inside, user(inside), chid);
        let thief = socket("10.77.1.2");
        let there = udp::at(outside, u64::from(one.to.port()));
        for uid in [free.uid, one.uid, other] {
            thief.send_to(&udp::user(uid, b"I am free"), there).expect("sent");
            thief.send_to(&udp::system(udp::KEEPALIVE, uid, 1), there).expect("sent");
        }
        free.acknowledged(2);
        let packet = free.say(b"and I am");
        one.hears(&packet);
        let packet = one.say(b"you are");
        free.hears(&packet);
        thief.set_nonblocking(true).expect("does not wait");
        assert!(thief.recv(&mut [0; 600]).is_err(), "a stranger was answered");
    });
    cluster.stop();
}
