//! The other servers of the network, as this one knows them, and the handshakes with them.

use super::management;
use super::mesh;
use super::realm;
use super::realm::directory;
use super::realm::links;
use super::Main;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::handshake;
use crate::engine::handshake::Handshakes;
use crate::engine::handshake::Member;
use crate::engine::identity::PublicKey;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::members;
use crate::members::Joined;
use crate::members::Known;
use crate::members::Members;
use crate::members::Stores;
use crate::wire::Fail;

const PORTS: &[PortKey] = &[PortKey::MainMain, PortKey::Realm];

pub const HELLO: Command<Main> = handshake::hello(PORTS);
pub const PROVE: Command<Main> = handshake::prove(PORTS);

/// Management says that a main server has this key, or that it was removed; kept for the next start too.
pub fn set_key(main: &mut Main, ctx: &mut Ctx<Main>, server: &str, key: Option<PublicKey>) {
    let known = key.map(|key| Known { key, volatile: false, capacity: None });
    members::set(main, ctx, RoleName::Main, server, known);
}

impl Joined for Main {
    fn members(&mut self) -> &mut Members {
        &mut self.members
    }
}

impl Member for Main {
    fn handshakes(&mut self) -> &mut Handshakes {
        &mut self.members.shakes
    }

    fn handshakes_ref(&self) -> &Handshakes {
        &self.members.shakes
    }

    fn key_of(&self, server: &str, port: PortKey) -> Option<PublicKey> {
        if port == PortKey::Realm {
            return links::key_of(self, server);
        }
        // A server does not link to itself.
        let other = port == PortKey::MainMain && server != self.members.shakes.own_id();
        let key = |role| self.members.key(role, server);
        key(RoleName::Main).or_else(|| key(RoleName::Realm)).filter(|_| other)
    }

    fn proven(&mut self, ctx: &mut Ctx<Main>, link: LinkId, server: &str, _: PublicKey) {
        match ctx.info(link).map(|info| info.port) {
            Some(PortKey::MainManagement) => match ctx.peer_ref(link) {
                Some(super::Peer::Desk(client)) => super::realm::desk_proven(self, ctx, link, *client),
                _ => management::proven(self, ctx, link),
            },
            Some(PortKey::MainDatamanagement) => self.centre_proven(ctx, link),
            Some(PortKey::MainMain) => mesh::links::proven(self, ctx, link, server),
            Some(PortKey::RealmManagement) => directory::proven(self, ctx, link),
            Some(PortKey::Realm) => links::proven(self, ctx, link, server),
            _ => {}
        }
    }

    fn refused(&mut self, ctx: &mut Ctx<Main>, link: LinkId, why: &Fail) {
        let desk = matches!(ctx.peer_ref(link), Some(super::Peer::Desk(_)));
        if !desk && ctx.info(link).is_some_and(|info| info.port == PortKey::MainManagement) {
            management::refused(self, why);
        }
        if ctx.info(link).is_some_and(|info| info.port == PortKey::RealmManagement) {
            directory::refused(self, why);
        }
    }

    fn name_on(&self, port: PortKey) -> String {
        match port {
            PortKey::Realm => links::own(self).to_owned(),
            _ => self.members.shakes.own_id().to_owned(),
        }
    }

    fn begins_with_hello(&self, ctx: &Ctx<Main>, link: LinkId) -> bool {
        ctx.info(link).is_some_and(|info| info.port == PortKey::Realm) && realm::is_free(ctx, link)
    }

    fn denied(&mut self, ctx: &mut Ctx<Main>, port: PortKey, server: &str) {
        if port == PortKey::Realm {
            directory::doubt(self, ctx, server);
        }
    }
}
