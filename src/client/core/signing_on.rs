//! Signing on: management is asked, every main server is tried, one is signed on to (contract 5).

use zeroize::Zeroizing;

use super::Core;
use super::Peer;
use super::Secret;
use crate::accounts::keys;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Target;
use crate::engine::Verify;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Main servers that are tried at most, each time.
const CANDIDATES: usize = 64;
/// How long slower servers are waited for once one was reached; milliseconds.
const PATIENCE: u64 = 1_000;

/// A main server that is tried.
pub(super) struct Candidate {
    id: String,
    address: String,
    fingerprint: Fingerprint,
    pub(super) link: LinkId,
    began: u64,
    /// None: not known yet. Some(None): not reachable. Some(Some(ms)): reachable and the right one.
    result: Option<Option<u64>>,
}

impl Core {
    /// Begins, or begins anew, to sign on.
    pub fn begin(&mut self, ctx: &mut Ctx<Core>) {
        self.attempt += 1;
        self.began.get_or_insert(ctx.now());
        self.reported = false;
        let address = &self.options.address;
        let (port, number, peer) = match self.ports {
            // A realm's door is the only one there is.
            _ if address.realm => (PortKey::Realm, address.port, Peer::Management),
            None => (PortKey::PublicManagement, address.port, Peer::Public),
            Some((client_management, _)) => (PortKey::ClientManagement, client_management, Peer::Management),
        };
        let target = Target::Net(address.at(number), address.verify());
        let link = ctx.connect(port, target, peer);
        self.management = Some(link);
    }

    /// Wraps a continuation so that it runs only in the attempt that it belongs to, and fails the attempt on FAIL.
    fn step(
        &self,
        then: impl FnOnce(&mut Core, &mut Ctx<Core>, Raw<'_>) -> Result<(), Fail> + Send + 'static,
    ) -> impl FnOnce(&mut Core, &mut Ctx<Core>, Result<Raw<'_>, Fail>) + Send + 'static {
        let attempt = self.attempt;
        move |core, ctx, answer| {
            if core.attempt != attempt {
                return;
            }
            if let Err(fail) = answer.and_then(|data| then(core, ctx, data)) {
                core.failed(ctx, fail);
            }
        }
    }

    pub(super) fn ask_ports(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        let then = self.step(move |core, ctx, data| {
            let text = data.text()?;
            let find = |key: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('|'));
                let missing = || Fail::new(Code::Unavailable, format!("the server does not tell its port {key}"));
                line.and_then(|port| port.parse::<u16>().ok()).ok_or_else(missing)
            };
            core.ports = Some((find("client_management")?, find("validation")?));
            if let Some(peer) = ctx.peer(link) {
                *peer = Peer::Spent;
            }
            ctx.close(link, "done");
            core.begin(ctx);
            Ok(())
        });
        ctx.request(link, "GETPORTS", &[], then);
    }

    pub(super) fn log_in(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        let user = self.options.user.clone();
        let then = self.step(move |core, ctx, data| {
            core.token = Some(data.text()?.into_owned());
            let address = &core.options.address;
            match address.realm.then(|| address.at(address.port)) {
                Some(realm) => core.signed_on(ctx, link, &realm),
                None => core.list_servers(ctx, link),
            }
            Ok(())
        });
        match (&self.token, &self.options.secret) {
            (Some(token), _) | (None, Secret::Token(token)) => {
                let secret = Zeroizing::new(format!("token:{token}"));
                ctx.request(link, "LOGIN", &[user.as_bytes(), secret.as_bytes()], then);
            }
            (None, Secret::Password(password)) => {
                ctx.request(link, "LOGIN", &[user.as_bytes(), password.as_bytes()], then);
            }
            (None, Secret::Key(seed)) => {
                let seed = seed.clone();
                let prove = self.step(move |core, ctx, data| {
                    let print = ctx.info(link).and_then(|info| info.fingerprint).unwrap_or_default();
                    let text = keys::signed_text(&core.options.user, &hex::encode(&print), &data.text()?);
                    let signature = keys::to_base64(&keys::sign(&seed, &text)?);
                    ctx.request(link, "PROVEKEY", &[signature.as_bytes()], then);
                    Ok(())
                });
                ctx.request(link, "LOGINKEY", &[user.as_bytes()], prove);
            }
        }
    }

    fn list_servers(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        let then = self.step(|core, ctx, data| {
            let none = || Fail::new(Code::Unavailable, "no main server is up; retry later");
            let text = data.text()?;
            for line in text.lines().take(CANDIDATES) {
                let [id, _, address, print, _] = line.split('|').collect::<Vec<_>>()[..] else { continue };
                let Some(fingerprint) = hex::decode_32(print) else { continue };
                let (index, began) = (core.candidates.len(), ctx.now());
                let target = Target::Net(address.to_owned(), Verify::Any);
                let link = ctx.connect(PortKey::ClientMain, target, Peer::Main(index));
                let (id, address) = (id.to_owned(), address.to_owned());
                core.candidates.push(Candidate { id, address, fingerprint, link, began, result: None });
            }
            if core.candidates.is_empty() {
                return Err(none());
            }
            if let Some((_, validation)) = core.ports {
                let address = &core.options.address;
                let target = Target::Net(address.at(validation), address.verify());
                core.validation = Some(ctx.connect(PortKey::Validation, target, Peer::Validation));
            }
            Ok(())
        });
        ctx.request(link, "LISTSERVERS", &[], then);
    }

    /// Asks management about the certificates of the servers that were reached and are not checked yet.
    pub(super) fn validate_keys(&mut self, ctx: &mut Ctx<Core>) {
        let Some(validation) = self.validation.filter(|link| ctx.is_open(*link)) else { return };
        for index in 0..self.candidates.len() {
            let Some(candidate) = self.candidates.get(index).filter(|c| c.result.is_none() && ctx.is_open(c.link))
            else {
                continue;
            };
            let Some(print) = ctx.info(candidate.link).and_then(|info| info.fingerprint) else { continue };
            let millis = ctx.now().saturating_sub(candidate.began);
            if print != candidate.fingerprint {
                log::warn!("{} shows another certificate than management lists", candidate.address);
                self.candidate_done(ctx, index, None);
                continue;
            }
            let (attempt, print) = (self.attempt, hex::encode(&print));
            let id = candidate.id.clone();
            ctx.request(validation, "VALIDATEKEY", &[id.as_bytes(), print.as_bytes()], move |core, ctx, answer| {
                if core.attempt == attempt {
                    core.candidate_done(ctx, index, answer.is_ok().then_some(millis));
                }
            });
        }
    }

    pub(super) fn candidate_done(&mut self, ctx: &mut Ctx<Core>, index: usize, millis: Option<u64>) {
        let Some(candidate) = self.candidates.get_mut(index).filter(|candidate| candidate.result.is_none()) else {
            return;
        };
        candidate.result = Some(millis);
        let first =
            millis.is_some() && self.candidates.iter().filter(|c| matches!(c.result, Some(Some(_)))).count() == 1;
        if self.candidates.iter().all(|candidate| candidate.result.is_some()) {
            self.report_servers(ctx);
        } else if first {
            let attempt = self.attempt;
            ctx.after(PATIENCE, move |core, ctx| {
                if core.attempt == attempt {
                    core.report_servers(ctx);
                }
            });
        }
    }

    fn report_servers(&mut self, ctx: &mut Ctx<Core>) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let line = |candidate: &Candidate| match candidate.result {
            Some(Some(millis)) => format!("{}|yes|{millis}", candidate.id),
            _ => format!("{}|no|0", candidate.id),
        };
        let lines: Vec<String> = self.candidates.iter().map(line).collect();
        let then = self.step(|core, ctx, data| {
            let [id, ticket] = data.take()?;
            let (id, ticket) = (id.text()?.into_owned(), ticket.unescape());
            let chosen = core.candidates.iter().find(|candidate| candidate.id == id).map(|candidate| candidate.link);
            let link =
                chosen.ok_or_else(|| Fail::new(Code::Unavailable, "management names a server that it did not list"))?;
            let user = core.options.user.clone();
            let then = core.step(move |core, ctx, _| {
                core.signed_on(ctx, link, &id);
                Ok(())
            });
            ctx.request(link, "SIGNON", &[user.as_bytes(), &ticket], then);
            Ok(())
        });
        let Some(management) = self.management else { return };
        ctx.request(management, "REPORTSERVERS", &[lines.join("\n").as_bytes()], then);
    }
}
