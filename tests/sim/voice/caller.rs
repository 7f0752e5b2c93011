//! A client that signs on at the server that a test names, asks what it wants, and remembers what it is told.

use std::collections::HashMap;

use convergia::config::PortKey;
use convergia::engine::anyone;
use convergia::engine::rt::channel;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::engine::Verify;
use convergia::wire::raw;
use convergia::wire::Fail;

use crate::network::token;

type Waiter = channel::Sender<Result<Vec<u8>, Fail>>;

#[derive(Default)]
pub struct Caller {
    user: String,
    server: String,
    /// It is signed on here.
    pub link: Option<LinkId>,
    /// Where it goes on, when it is redirected.
    next: Option<(LinkId, [String; 3])>,
    /// What it asks as a client of KV, once the link is open.
    controls: HashMap<LinkId, (Vec<u8>, Waiter)>,
    /// Commands of the server and their DATA, oldest first.
    pub told: Vec<(String, Vec<u8>)>,
}

impl Caller {
    pub fn new(user: &str, server: &str) -> Caller {
        Caller { user: user.to_owned(), server: server.to_owned(), ..Caller::default() }
    }

    fn connect(ctx: &mut Ctx<Caller>, port: PortKey, address: &str) -> LinkId {
        ctx.connect(port, Target::Net(address.to_owned(), Verify::Any), ())
    }

    /// Asks on the link that it is signed on to.
    pub fn ask(
        &mut self,
        ctx: &mut Ctx<Caller>,
        command: &str,
        fields: &[&str],
    ) -> channel::Receiver<Result<String, Fail>> {
        let (send, answer) = channel::bounded(1);
        let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        ctx.request(self.link.expect("signed on"), command, &fields, move |_, _, result| {
            let _ = send.try_send(result.map(|data| String::from_utf8_lossy(&data.unescape()).into_owned()));
        });
        answer
    }

    /// What a client of KV asks at a server: one request, on a link of its own. The answer's bytes.
    pub fn control(
        &mut self,
        ctx: &mut Ctx<Caller>,
        server: &str,
        request: &[u8],
    ) -> channel::Receiver<Result<Vec<u8>, Fail>> {
        let (send, answer) = channel::bounded(1);
        let link = Caller::connect(ctx, PortKey::VoiceControl, &format!("{server}:84"));
        self.controls.insert(link, (request.to_vec(), send));
        answer
    }

    /// Says something in a channel.
    pub fn say(&mut self, ctx: &mut Ctx<Caller>, channel: &str, data: &[u8]) {
        let mut escaped = Vec::new();
        raw::escape_into(&mut escaped, data);
        let link = self.link.expect("signed on");
        ctx.put_parts(link, &[b"VOICE ", channel.as_bytes(), raw::SEPARATOR, &escaped]).expect("room");
    }

    pub fn leave(&mut self, ctx: &mut Ctx<Caller>) {
        ctx.abort(self.link.take().expect("signed on"), "enough");
    }

    fn sign_on(&mut self, ctx: &mut Ctx<Caller>, link: LinkId, ticket: &str) {
        let fields = [self.user.as_bytes(), ticket.as_bytes()];
        ctx.request(link, "SIGNON", &fields, move |caller, _, answer| {
            answer.expect("signed on");
            caller.link = Some(link);
        });
    }
}

fn told(caller: &mut Caller, _: &mut Ctx<Caller>, request: &Request<'_>) -> Result<Answer, Fail> {
    let command = String::from_utf8_lossy(request.packet.command).into_owned();
    caller.told.push((command, request.data().unescape().into_owned()));
    Ok(Answer::None)
}

fn redirect(caller: &mut Caller, ctx: &mut Ctx<Caller>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, _, address, _, _, secret] = request.data().take()?;
    let link = Caller::connect(ctx, PortKey::ClientMain, &address.text()?);
    let words = [id.text()?.into_owned(), caller.user.clone(), secret.text()?.into_owned()];
    caller.next = Some((link, words));
    Ok(Answer::None)
}

const fn row(
    name: &'static str,
    run: fn(&mut Caller, &mut Ctx<Caller>, &Request<'_>) -> Result<Answer, Fail>,
) -> Command<Caller> {
    Command { name, ports: &[PortKey::ClientMain], args: "any", gate: anyone, run }
}

impl Role for Caller {
    type Peer = ();
    const NAME: &'static str = "caller";

    fn commands() -> &'static [Command<Caller>] {
        const {
            &[
                row("VOICE", told),
                row("VOICECAME", told),
                row("VOICELEFT", told),
                row("VOICEENDED", told),
                row("REDIRECT", redirect),
            ]
        }
    }

    fn start(&mut self, ctx: &mut Ctx<Caller>) {
        Caller::connect(ctx, PortKey::ClientManagement, "net:75");
    }

    fn opened(&mut self, ctx: &mut Ctx<Caller>, link: LinkId) {
        if let Some((request, send)) = self.controls.remove(&link) {
            return ctx.request(link, "VOICECONTROL", &[&request], move |_, ctx, answer| {
                let _ = send.try_send(answer.map(|data| data.unescape().into_owned()));
                ctx.close(link, "answered");
            });
        }
        if ctx.info(link).expect("a link").port == PortKey::ClientManagement {
            let secret = format!("token:{}", token(&self.user));
            let fields = [self.user.as_bytes(), secret.as_bytes()];
            return ctx.request(link, "LOGIN", &fields, move |caller, ctx, answer| {
                answer.expect("known");
                caller.ask_ticket(ctx, link);
            });
        }
        let Some((next, words)) = self.next.take_if(|(next, _)| *next == link) else { return };
        let fields = words.each_ref().map(|word| word.as_bytes());
        ctx.request(next, "HANDOVER", &fields, move |caller, ctx, answer| {
            answer.expect("moved");
            let old = caller.link.replace(next).expect("it was signed on");
            ctx.request(old, "SIGNOFF", &[], |_, _, _| {});
        });
    }

    fn closed(&mut self, _: &mut Ctx<Caller>, link: LinkId, _: Gone<()>) {
        if self.link == Some(link) {
            self.link = None;
        }
    }
}

impl Caller {
    fn ask_ticket(&mut self, ctx: &mut Ctx<Caller>, link: LinkId) {
        let line = format!("{}|yes|1", self.server);
        ctx.request(link, "REPORTSERVERS", &[line.as_bytes()], move |caller, ctx, answer| {
            let words = answer.expect("a ticket").text().expect("text").into_owned();
            let (_, ticket) = words.split_once('\n').expect("a ticket");
            ctx.close(link, "done");
            let link = Caller::connect(ctx, PortKey::ClientMain, &format!("{}:73", caller.server));
            caller.after_open(ctx, link, ticket);
        });
    }

    /// Signs on as soon as the link is open.
    fn after_open(&mut self, ctx: &mut Ctx<Caller>, link: LinkId, ticket: &str) {
        let ticket = ticket.to_owned();
        match ctx.is_open(link) {
            true => self.sign_on(ctx, link, &ticket),
            false => ctx.after(5, move |caller, ctx| caller.after_open(ctx, link, &ticket)),
        }
    }
}
