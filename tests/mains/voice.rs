//! Voice for sessions: what they may do, channels of workspaces, and who is told what.

use convergia::engine::sim::NodeId;
use convergia::wire::Code;

use crate::data::Data;
use crate::network::assert_fails;
use crate::network::Network;
use crate::network::Result;

/// Two main servers; alice (1) and carol (3) are signed on at `a`, bob (2) at `b`, dave (4) nowhere.
pub struct Stage {
    pub net: Network,
    pub a: NodeId,
    pub b: NodeId,
}

impl Stage {
    pub fn new(seed: u64, rights: &[&str]) -> Stage {
        let mut net = Network::with_rights(seed, rights);
        let a = net.main("a", &[]);
        let b = net.main("b", &[]);
        for user in ["alice", "bob", "carol", "dave"] {
            net.account(user);
        }
        net.sign_on(a, "alice");
        net.sign_on(b, "bob");
        net.sign_on(a, "carol");
        Stage { net, a, b }
    }

    /// A session's command.
    #[track_caller]
    pub fn ask(&mut self, node: NodeId, account: &str, command: &str, data: &[&str]) -> Result {
        self.net.say(node, "VOICEFOR", &[account, command, &data.join("\n")])
    }

    /// JOINVOICE: uid, join, and the lines of members.
    #[track_caller]
    pub fn join(&mut self, node: NodeId, account: &str, channel: &str) -> (String, String, Vec<String>) {
        let answer = self.ask(node, account, "JOINVOICE", &[channel, "link"]).expect("joined");
        let mut lines = answer.lines();
        let [id, uid, join, signed] = lines.next().unwrap().split('|').collect::<Vec<_>>()[..] else {
            panic!("{answer}");
        };
        assert!(signed == "1" && (channel == id || channel.parse::<u64>().is_err()), "{answer}");
        (uid.to_owned(), join.to_owned(), lines.map(str::to_owned).collect())
    }

    /// What a server was told of voice since the last time, in order.
    pub fn told(&mut self, node: NodeId) -> Vec<String> {
        // What is on its way arrives.
        self.net.sim.run_for(500);
        self.net.at(node, |fake| {
            let all = std::mem::take(&mut fake.told).into_iter();
            let voice = all.filter(|(command, _)| command.starts_with("VOICE"));
            voice.map(|(command, data)| format!("{} {data}", &command[5..])).collect()
        })
    }
}

#[test]
fn a_channel_from_its_making_to_its_end() {
    let mut it = Stage::new(51, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(a, "1", "CREATEVOICE", &["Hall"]).unwrap();
    assert_fails(it.ask(b, "2", "CREATEVOICE", &["hALL"]), Code::Exists);
    assert_fails(it.ask(b, "2", "CREATEVOICE", &["12"]), Code::BadArgs);
    assert_eq!(it.ask(b, "2", "LISTVOICE", &[]).unwrap(), format!("{hall}|Hall|alice|1|0"));
    let (alice, first, members) = it.join(a, "1", "hall");
    assert_eq!(members, [format!("{alice}|alice")]);
    let (bob, second, members) = it.join(b, "2", &hall);
    assert_eq!(members, [format!("{alice}|alice"), format!("{bob}|bob")]);
    let (carol, third, _) = it.join(a, "3", "Hall");
    assert!(first.parse::<u64>().unwrap() < second.parse().unwrap());
    assert!(second.parse::<u64>().unwrap() < third.parse().unwrap());
    assert_eq!(it.ask(b, "2", "GETVOICE", &["Hall"]).unwrap().lines().next().unwrap(), format!("{hall}|Hall|1"));
    assert_eq!(it.ask(b, "2", "GETVOICE", &["Hall"]).unwrap().lines().count(), 4);
    let came = |server: &str, uid: &str, join: &str, user: &str| format!("CAME {hall}|{server}|{uid}|{join}|{user}");
    assert_eq!(
        it.told(a),
        [
            format!("MEMBERS {hall}|1\na|{alice}|{first}|alice"),
            came("b", &bob, &second, "bob"),
            came("a", &carol, &third, "carol")
        ]
    );
    assert_eq!(
        it.told(b),
        [
            format!("MEMBERS {hall}|1\na|{alice}|{first}|alice\nb|{bob}|{second}|bob"),
            came("a", &carol, &third, "carol")
        ]
    );
    // Another's channel, another's member.
    assert_fails(it.ask(b, "2", "KICKVOICE", &["Hall", "alice"]), Code::Denied);
    assert_fails(it.ask(b, "2", "DELETEVOICE", &["Hall"]), Code::Denied);
    it.ask(a, "1", "KICKVOICE", &["Hall", "BOB"]).unwrap();
    let left = |server: &str, uid: &str, join: &str, why: &str| format!("LEFT {hall}|{server}|{uid}|{join}|{why}");
    assert_eq!((it.told(a), it.told(b)), (vec![left("b", &bob, &second, "")], vec![left("b", &bob, &second, "")]));
    assert_fails(it.ask(a, "1", "KICKVOICE", &["Hall", "bob"]), Code::NotFound);
    it.ask(a, "3", "LEAVEVOICE", &["Hall"]).unwrap();
    assert_fails(it.ask(a, "3", "LEAVEVOICE", &["Hall"]), Code::NotFound);
    // Bob has no member there any more, and is told nothing.
    assert_eq!((it.told(a), it.told(b)), (vec![left("a", &carol, &third, "left")], vec![]));
    // Who may kick anywhere, and by the uid.
    it.net.ask("net:admin", "VOICERIGHTS", &["bob", "kick_user,rm_channel"]).unwrap();
    it.ask(b, "2", "KICKVOICE", &["Hall", &alice]).unwrap();
    it.join(a, "1", "Hall");
    it.told(a);
    assert_eq!(it.ask(b, "2", "DELETEVOICE", &["Hall"]).unwrap(), "");
    assert_eq!((it.told(a), it.told(b)), (vec![format!("ENDED {hall}")], vec![format!("ENDED {hall}")]));
    for command in ["DELETEVOICE", "GETVOICE", "LEAVEVOICE"] {
        assert_fails(it.ask(a, "1", command, &[&hall]), Code::NotFound);
        assert_fails(it.ask(a, "1", command, &["a|b"]), Code::BadArgs);
    }
    assert_fails(it.ask(a, "1", "JOINVOICE", &[&hall, "udp"]), Code::NotFound);
    assert_fails(it.ask(a, "1", "JOINVOICE", &[&hall, "mail"]), Code::BadArgs);
    assert_fails(it.ask(a, "1", "JOINVOICE", &[&hall]), Code::BadArgs);
    assert_fails(it.ask(a, "1", "LISTVOICE", &["x"]), Code::BadArgs);
    assert_fails(it.ask(a, "1", "VOICE", &[]), Code::BadCommand);
}

#[test]
fn a_main_server_speaks_for_its_own_users_alone() {
    let mut it = Stage::new(52, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(a, "1", "CREATEVOICE", &["Hall"]).unwrap();
    assert_fails(it.ask(b, "1", "JOINVOICE", &[&hall, "link"]), Code::Unavailable);
    assert_fails(it.ask(a, "4", "JOINVOICE", &[&hall, "link"]), Code::Unavailable);
    assert_fails(it.ask(a, "99", "LISTVOICE", &[]), Code::Denied);
    assert_fails(it.ask(a, "x", "LISTVOICE", &[]), Code::BadArgs);
    // Nor does it end what is at another, or came later.
    let (alice, first, _) = it.join(a, "1", &hall);
    for (node, line) in
        [(b, format!("{hall}|{alice}|{first}")), (a, format!("{hall}|{alice}|1")), (a, "1|2".to_owned())]
    {
        let link = it.net.at(node, |fake| fake.link.unwrap());
        it.net.sim.with(node, |_: &mut crate::fake::Fake, ctx| ctx.push(link, "VOICEGONE", &[line.as_bytes()]));
    }
    assert!(it.ask(b, "2", "GETVOICE", &[&hall]).unwrap().contains("|alice"));
    let link = it.net.at(a, |fake| fake.link.unwrap());
    let line = format!("{hall}|{alice}|{first}|more");
    it.net.sim.with(a, |_: &mut crate::fake::Fake, ctx| ctx.push(link, "VOICEGONE", &[line.as_bytes()]));
    it.net.until(a, |fake| !fake.told("VOICELEFT").is_empty());
    assert!(!it.ask(b, "2", "GETVOICE", &[&hall]).unwrap().contains("|alice"));
    // It says nothing, though the user is not signed on any more: that is seen.
    it.join(b, "2", &hall);
    it.net.presence(b, "bob", 0, false).unwrap();
    it.net.until(b, |fake| !fake.told("VOICELEFT").is_empty());
    // Who is disabled is out at once.
    it.join(a, "3", &hall);
    it.told(a);
    it.net.ask("net:admin", "USERSTATE", &["carol", "disabled"]).unwrap();
    assert_eq!(it.told(a).len(), 1);
    assert_fails(it.ask(a, "3", "JOINVOICE", &[&hall, "link"]), Code::Denied);
}

#[test]
fn a_user_is_in_one_place() {
    let mut it = Stage::new(53, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    it.net.sign_on(b, "alice");
    let hall = it.ask(a, "1", "CREATEVOICE", &["Hall"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    it.told(a);
    let (same, second, members) = it.join(b, "1", &hall);
    assert_eq!((&same, members), (&alice, vec![format!("{alice}|alice")]));
    assert_eq!(it.told(a), [format!("LEFT {hall}|a|{alice}|{first}|elsewhere")]);
    assert_eq!(it.told(b), [format!("MEMBERS {hall}|1\nb|{alice}|{second}|alice")]);
    // At the same server, with others there.
    let (bob, ..) = it.join(b, "2", &hall);
    let (_, third, _) = it.join(b, "1", &hall);
    let told = it.told(b);
    assert_eq!(
        told[1..],
        [format!("LEFT {hall}|b|{alice}|{second}|elsewhere"), format!("CAME {hall}|b|{alice}|{third}|alice")]
    );
    assert!(told[0].starts_with(&format!("CAME {hall}|b|{bob}|")));
    // It may be in two channels.
    let other = it.ask(a, "1", "CREATEVOICE", &["Other"]).unwrap();
    it.join(a, "1", &other);
    let lines = it.ask(a, "1", "LISTVOICE", &[]).unwrap();
    assert_eq!(lines, format!("{hall}|Hall|alice|1|2\n{other}|Other|alice|1|1"));
}

#[test]
fn who_takes_part_no_more_is_a_member_no_more() {
    let mut it = Stage::new(55, &[]);
    let (a, b) = (it.a, it.b);
    let data = Data::add(&mut it.net);
    let set = |it: &mut Stage, workspace: &str, participants: &[u64]| {
        it.net.sim.with(data, |data: &mut Data, ctx| data.set(ctx, workspace, participants)).unwrap();
    };
    set(&mut it, "team", &[2, 1]);
    set(&mut it, "other", &[1]);
    let (alice, join, _) = it.join(a, "1", "workspace:team");
    it.join(b, "2", "workspace:team");
    it.join(a, "1", "workspace:other");
    it.told(b);
    set(&mut it, "other", &[1, 3]);
    set(&mut it, "team", &[2, 1, 3]);
    assert_eq!(it.told(b), [""; 0], "nobody has left");
    set(&mut it, "team", &[2, 3]);
    let told = it.told(b);
    assert!(matches!(&told[..], [left] if left.contains(&format!("|{alice}|{join}|"))), "{told:?}");
    assert_fails(it.ask(a, "1", "GETVOICE", &["workspace:team"]), Code::NotFound);
    assert!(it.ask(a, "1", "LISTVOICE", &[]).unwrap().contains("workspace:other"), "that one is still joined");
}

#[test]
fn the_channel_of_a_workspace_is_for_who_takes_part() {
    let mut it = Stage::new(54, &[]);
    let (a, b) = (it.a, it.b);
    assert_fails(it.ask(a, "1", "JOINVOICE", &["workspace:team", "link"]), Code::Unavailable);
    let data = Data::add(&mut it.net);
    it.net.sim.with(data, |data: &mut Data, _| data.workspaces.insert("team".to_owned(), vec![2, 1])).unwrap();
    assert_fails(it.ask(a, "1", "GETVOICE", &["workspace:team"]), Code::NotFound);
    // It is made when it is needed; it belongs to the creator, who has not come yet.
    let (alice, ..) = it.join(a, "1", "workspace:team");
    let text = it.ask(b, "2", "GETVOICE", &["workspace:team"]).unwrap();
    let id = text.split('|').next().unwrap().to_owned();
    assert_eq!(text, format!("{id}|workspace:team|1\n{alice}|alice"));
    for (command, fields) in
        [("JOINVOICE", &[&*id, "udp"][..]), ("GETVOICE", &[&*id]), ("GETVOICE", &["workspace:team"])]
    {
        assert_fails(it.ask(a, "3", command, fields), Code::NotFound);
    }
    assert_fails(it.ask(a, "3", "JOINVOICE", &["workspace:other", "link"]), Code::NotFound);
    assert_eq!(it.ask(a, "3", "LISTVOICE", &[]).unwrap(), "");
    assert_eq!(it.ask(a, "1", "LISTVOICE", &[]).unwrap(), format!("{id}|workspace:team|bob|1|1"));
    assert_fails(it.ask(a, "1", "DELETEVOICE", &["workspace:team"]), Code::NotFound);
    let (bob, ..) = it.join(b, "2", &id);
    it.ask(b, "2", "KICKVOICE", &["workspace:team", "alice"]).unwrap();
    it.ask(b, "2", "DELETEVOICE", &["workspace:team"]).unwrap();
    assert_fails(it.ask(b, "2", "GETVOICE", &["workspace:team"]), Code::NotFound);
    let (again, ..) = it.join(b, "2", "workspace:team");
    let text = it.ask(b, "2", "GETVOICE", &["workspace:team"]).unwrap();
    assert!(again == bob && !text.starts_with(&id), "{text}");
    // By KV as well: an admin adds nobody who takes no part.
    let chid = text.split('|').next().unwrap().parse().unwrap();
    let admin = it.net.kv(a, true, &[&[0, 0, 0, 4][..], &[0; 16]].concat()).unwrap();
    let admin: u64 = admin.strip_prefix("value ").unwrap().parse().unwrap();
    it.net.ask("net:admin", "VOICERIGHTS", &[&admin.to_string(), "admin"]).unwrap();
    let join = |juid: u64| {
        convergia::voice::control::Request::unsigned(convergia::voice::control::Command::Join {
            uid: admin,
            juid,
            chid,
        })
    };
    assert_fails(it.net.kv(a, true, &join(admin).encode()), Code::Denied);
    // The creator is another now.
    it.net.sim.with(data, |data: &mut Data, _| data.workspaces.insert("team".to_owned(), vec![1, 3])).unwrap();
    it.join(a, "3", "workspace:team");
    assert_fails(it.ask(b, "2", "DELETEVOICE", &[text.split('|').next().unwrap()]), Code::NotFound);
    it.ask(a, "1", "DELETEVOICE", &["workspace:team"]).unwrap();
    // Data management is away: who is in stays in.
    it.join(a, "1", "workspace:team");
    it.net.sim.crash(data);
    it.net.sim.run_for(5_000);
    assert_fails(it.ask(a, "3", "JOINVOICE", &["workspace:team", "link"]), Code::Unavailable);
    assert!(it.ask(a, "1", "LISTVOICE", &[]).unwrap().ends_with("|workspace:team|alice|1|1"));
}
