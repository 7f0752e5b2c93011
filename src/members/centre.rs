//! The link to data management, of main servers (64481) and of data servers (64479): opened again, later and later, whenever it
//! breaks. Management tells where it is (DATAMANAGEMENT); when management is away the last word stands.

use crate::config::PortKey;
use crate::engine::handshake;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Target;
use crate::wire::Fail;

use super::uplink;
use super::uplink::Place;
use super::Joined;

/// What is known of the link.
#[derive(Debug, Default)]
pub struct Centre {
    local: bool,
    place: Option<Place>,
    dialled: Option<LinkId>,
    link: Option<LinkId>,
    tries: u32,
    waiting: bool,
}

/// A role that has this link.
pub trait Stores: Joined {
    /// The port of data management for this role.
    const CENTRE: PortKey;

    /// Its link.
    fn centre(&mut self) -> &mut Centre;

    /// What the role remembers of that link.
    fn centre_peer() -> Self::Peer;

    /// The link is proven. The role says on it who it is, and then calls [`Centre::up`].
    fn centre_proven(&mut self, ctx: &mut Ctx<Self>, link: LinkId);

    /// The link was up, and is gone.
    fn centre_gone(&mut self, ctx: &mut Ctx<Self>);
}

impl Centre {
    /// Not connected. `local`: data management is in this process.
    pub fn new(local: bool) -> Centre {
        Centre { local, ..Centre::default() }
    }

    /// The link, while it is up.
    pub fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// Data management took this server's introduction.
    pub fn up(&mut self, link: LinkId) {
        if self.dialled == Some(link) {
            self.link = Some(link);
            self.tries = 0;
        }
    }

    /// Opens the link when data management is in this process; else management says where it is.
    pub fn start<R: Stores>(role: &mut R, ctx: &mut Ctx<R>) {
        if role.centre().local {
            dial(role, ctx);
        }
    }

    /// The DATA of DATAMANAGEMENT.
    ///
    /// # Errors
    /// BADARGS.
    pub fn told<R: Stores>(role: &mut R, ctx: &mut Ctx<R>, text: &str) -> Result<(), Fail> {
        let place = uplink::address_of(text)?;
        let centre = role.centre();
        // Away from management is not away from here.
        if place.is_none() || centre.local {
            return Ok(());
        }
        let changed = centre.place != place;
        centre.place = place;
        match (changed, centre.dialled) {
            (true, Some(link)) => {
                // `closed` dials the new one.
                centre.tries = 0;
                ctx.close(link, "data management is elsewhere now");
            }
            (_, None) => dial(role, ctx),
            (false, Some(_)) => {}
        }
        Ok(())
    }

    /// The link is open.
    pub fn opened<R: Stores>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId) {
        let (name, key) = match &role.centre().place {
            Some(place) => (place.server.clone(), Some(place.key)),
            None => ("data management".to_owned(), None),
        };
        handshake::open(role, ctx, link, &name, key);
    }

    /// The link is gone, or could not be made.
    pub fn closed<R: Stores>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId, why: &str) {
        let centre = role.centre();
        if centre.dialled != Some(link) {
            return;
        }
        centre.dialled = None;
        let was_up = centre.link.take().is_some();
        if was_up && !ctx.is_stopping() {
            log::warn!("data management is not reachable: {why}");
        }
        if was_up {
            role.centre_gone(ctx);
        }
        if ctx.is_stopping() || std::mem::replace(&mut role.centre().waiting, true) {
            return;
        }
        log::debug!("data management: {why}");
        let centre = role.centre();
        let wait = uplink::back_off(ctx, centre.tries);
        centre.tries = centre.tries.saturating_add(1);
        ctx.after(wait, |role: &mut R, ctx| {
            role.centre().waiting = false;
            dial(role, ctx);
        });
    }
}

fn dial<R: Stores>(role: &mut R, ctx: &mut Ctx<R>) {
    let centre = role.centre();
    let target = match (&centre.place, centre.local) {
        (_, true) => Target::Local(R::CENTRE),
        (Some(place), false) => place.target(),
        (None, false) => return,
    };
    if ctx.is_stopping() || centre.dialled.is_some() {
        return;
    }
    role.centre().dialled = Some(ctx.connect(R::CENTRE, target, R::centre_peer()));
}
