//! The local network in a conversation.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::screen::Note;
use super::screen::Screen;
use crate::cli::courier::Way;
use crate::cli::lan;
use crate::cli::session::Session;
use crate::client::lan::Event;
use crate::client::lan::Lan;
use crate::client::lan::Person;
use crate::client::lan::Trust;
use crate::engine::rt;

/// The user is to be found there.
#[derive(Clone)]
pub struct Near {
    /// What looks, and says so.
    pub lan: Arc<Lan>,
}

impl Near {
    /// Begins; messages are shown as they come, and who comes. None: it cannot be, which is shown.
    pub async fn start(session: &Session, screen: &Screen) -> Option<Near> {
        let (lan, device) = match lan::start(session, true).await {
            Ok(started) => started,
            Err(words) => {
                screen.show(Note::Warning(format!("not on the local network: {words}")));
                return None;
            }
        };
        let (watched, screen) = (Arc::clone(&lan), screen.clone());
        // Whom the user was told of.
        let mut told = Told::default();
        rt::spawn(lan::pump(Arc::clone(&lan), device, Some(Arc::clone(&session.client)), move |event| match event {
            Event::Message { sender, sent_at, body } => {
                screen.show(Note::Message { sender, sent_at, body, way: Way::Lan });
            }
            Event::Changed => {
                let people = watched.people();
                let fresh = told.news(&people);
                if !fresh.is_empty() {
                    screen.show(Note::Lan(fresh));
                }
            }
            Event::Vouch(_) => {}
        }));
        Some(Near { lan })
    }

    /// Shows who is there.
    pub fn show(&self, screen: &Screen) {
        let people = self.lan.people();
        match people.is_empty() {
            true => screen.show(Note::Info("Nobody lets themselves be found on the local network.".to_owned())),
            false => screen.show(Note::Lan(people)),
        }
    }
}

/// Names that the user is warned of, at most: anybody can announce as many as they like.
const WARNINGS: usize = 16;

/// Whom the user was told of.
#[derive(Default)]
struct Told {
    verified: BTreeSet<[u8; 32]>,
    warned: BTreeSet<String>,
}

impl Told {
    /// Those who came: whom to believe, and, once for each name, that somebody is not to be believed.
    fn news(&mut self, people: &[Person]) -> Vec<Person> {
        self.verified.retain(|public| people.iter().any(|person| person.public == *public));
        let fresh = people.iter().filter(|person| match person.trust {
            Trust::Verified => self.verified.insert(person.public),
            Trust::Unverified => self.warned.len() < WARNINGS && self.warned.insert(person.id.folded()),
            Trust::Foreign | Trust::Unknown => false,
        });
        fresh.cloned().collect()
    }
}
