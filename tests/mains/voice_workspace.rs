//! Who is taken out of a workspace leaves its channel, also when data management is busy, or says so in between.

use convergia::engine::sim::NodeId;
use convergia::wire::Code;

use crate::data::Data;
use crate::network::assert_fails;
use crate::voice::Stage;

fn stage(seed: u64, participants: &[u64]) -> (Stage, NodeId) {
    let mut it = Stage::new(seed, &[]);
    let data = Data::add(&mut it.net);
    it.net.sim.with(data, |data: &mut Data, ctx| data.set(ctx, "team", participants)).unwrap();
    (it, data)
}

fn members(it: &mut Stage) -> String {
    let all = it.ask(it.b, "2", "GETVOICE", &["workspace:team"]).unwrap();
    all.lines().skip(1).map(|line| line.split('|').nth(1).unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn who_is_taken_out_while_it_joins_is_out() {
    let (mut it, data) = stage(91, &[2, 1]);
    let (a, b) = (it.a, it.b);
    it.join(b, "2", "workspace:team");
    let leaving = Some(("team".to_owned(), vec![2]));
    it.net.sim.with(data, |data: &mut Data, _| data.leaving = leaving).unwrap();
    it.join(a, "1", "workspace:team");
    it.told(a);
    assert_eq!(members(&mut it), "bob");
}

#[test]
fn who_is_taken_out_while_nobody_can_be_asked_is_out_later() {
    let (mut it, data) = stage(92, &[2, 1]);
    let (a, b) = (it.a, it.b);
    it.join(b, "2", "workspace:team");
    it.join(a, "1", "workspace:team");
    it.net.sim.with(data, |data: &mut Data, ctx| {
        data.busy = true;
        data.set(ctx, "team", &[2]);
    });
    it.net.sim.run_for(10_000);
    it.net.sim.with(data, |data: &mut Data, _| data.busy = false);
    it.net.sim.run_for(60_000);
    assert_eq!(members(&mut it), "bob");
    // All were asked about, and nobody is any more.
    it.net.sim.with(data, |data: &mut Data, _| data.asked.clear());
    it.net.sim.run_for(200_000);
    assert_eq!(it.net.sim.with(data, |data: &mut Data, _| data.asked.clone()).unwrap(), [0; 0]);
}

#[test]
fn after_a_server_is_back_its_own_members_are_asked_about() {
    let (mut it, data) = stage(93, &[2, 1, 3]);
    let (a, b) = (it.a, it.b);
    it.join(b, "2", "workspace:team");
    let (alice, join, _) = it.join(a, "1", "workspace:team");
    let text = it.ask(b, "2", "GETVOICE", &["workspace:team"]).unwrap();
    let chid = text.split('|').next().unwrap();
    it.net.sim.with(data, |data: &mut Data, _| data.asked.clear());
    it.net.say(a, "VOICEHERE", &[&format!("{chid}|{alice}|{join}|alice")]).unwrap();
    it.told(a);
    assert_eq!(it.net.sim.with(data, |data: &mut Data, _| data.asked.clone()).unwrap(), [1]);
}

#[test]
fn who_takes_no_part_does_not_learn_whether_there_is_a_channel() {
    let (mut it, _) = stage(94, &[2, 1]);
    let (a, b) = (it.a, it.b);
    let all = |it: &mut Stage| {
        let asked = [("DELETEVOICE", &["workspace:team"][..]), ("KICKVOICE", &["workspace:team", "bob"])];
        let asked =
            [&asked[..], &[("LEAVEVOICE", &["workspace:team"][..]), ("GETVOICE", &["workspace:team"])]].concat();
        asked.into_iter().map(|(command, data)| it.ask(a, "3", command, data).unwrap_err()).collect::<Vec<_>>()
    };
    let before = all(&mut it);
    it.join(b, "2", "workspace:team");
    let after = all(&mut it);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            (before.code, &before.text, after.code, &after.text),
            (Code::NotFound, &after.text, Code::NotFound, &before.text)
        );
    }
    assert_fails(it.ask(a, "1", "LEAVEVOICE", &["workspace:team"]), Code::NotFound);
}
