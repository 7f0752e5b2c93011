//! Data management that is none: it knows who takes part in which workspace, and nothing else.

use std::collections::BTreeMap;

use convergia::config::PortKey;
use convergia::engine::anyone;
use convergia::engine::identity::ServerKey;
use convergia::engine::limits::Limits;
use convergia::engine::sim::NodeId;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::wire::Code;
use convergia::wire::Fail;

use crate::network::Network;

#[derive(Default)]
pub struct Data {
    /// By workspace: who takes part; the first is the creator.
    pub workspaces: BTreeMap<String, Vec<u64>>,
    pub known: bool,
    /// It is busy, whoever asks.
    pub busy: bool,
    /// Who asks whether this one takes part is told so, and then it is not so any more: the workspace, and its participants from then on.
    pub leaving: Option<(String, Vec<u64>)>,
    /// The accounts that it was asked about.
    pub asked: Vec<u64>,
    link: LinkId,
}

impl Data {
    pub fn add(net: &mut Network) -> NodeId {
        let node = net.sim.add(None, Limits::default(), [3; 32], &[], Data::default).expect("data management");
        let until = net.sim.now() + 10_000;
        let known = net.sim.run(until, |sim| sim.with(node, |data: &mut Data, _| data.known) == Some(true));
        assert!(known, "management does not know it");
        node
    }
}

impl Data {
    /// The workspace has these participants now, and management hears that they are others.
    pub fn set(&mut self, ctx: &mut Ctx<Data>, workspace: &str, participants: &[u64]) {
        self.workspaces.insert(workspace.to_owned(), participants.to_vec());
        ctx.push(self.link, "PARTICIPANTS", &[workspace.as_bytes()]).unwrap();
    }
}

fn takes_part(data: &mut Data, ctx: &mut Ctx<Data>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [account, workspace] = request.data().take()?;
    let (account, workspace) = (account.number()?, workspace.text()?);
    data.asked.push(account);
    if data.busy {
        return Err(Fail::new(Code::Busy, "later"));
    }
    let accounts = data.workspaces.get(&*workspace).filter(|accounts| accounts.contains(&account));
    let creator = accounts.and_then(|accounts| accounts.first()).ok_or_else(|| Fail::new(Code::NotFound, "none"))?;
    let creator = creator.to_string();
    if let Some((workspace, participants)) = data.leaving.take() {
        data.set(ctx, &workspace, &participants);
    }
    Ok(Answer::Data(creator.into_bytes()))
}

fn told(_: &mut Data, _: &mut Ctx<Data>, _: &Request<'_>) -> Result<Answer, Fail> {
    Ok(Answer::None)
}

const PORTS: &[PortKey] = &[PortKey::DatamanagementManagement];

impl Role for Data {
    type Peer = ();
    const NAME: &'static str = "fake data management";

    fn commands() -> &'static [Command<Data>] {
        const {
            &[
                Command {
                    name: "TAKESPART",
                    ports: PORTS,
                    args: "account LF workspace",
                    gate: anyone,
                    run: takes_part,
                },
                Command { name: "MEMBERS", ports: PORTS, args: "lines", gate: anyone, run: told },
                Command { name: "USERREMOVED", ports: PORTS, args: "account", gate: anyone, run: told },
            ]
        }
    }

    fn start(&mut self, ctx: &mut Ctx<Data>) {
        let port = PortKey::DatamanagementManagement;
        ctx.connect(port, Target::Local(port), ());
    }

    fn opened(&mut self, ctx: &mut Ctx<Data>, link: LinkId) {
        self.link = link;
        let (key, print) = (ServerKey::from_bytes(&[8; 32]).public().to_string(), "0b".repeat(32));
        let fields = ["data-management", "dm", "dm:81|dm:79", &print, &key, "1"].map(str::as_bytes);
        ctx.request(link, "STORAGESERVER", &fields, |data, _, answer| data.known = answer.is_ok());
    }

    fn closed(&mut self, _: &mut Ctx<Data>, _: LinkId, _: Gone<()>) {
        self.known = false;
    }
}
