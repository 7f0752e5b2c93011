//! What the node knows of its realm: its settings, and where people find it.

use std::sync::Arc;

use super::Node;
use super::Running;
use crate::client::Address;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::net;
use crate::engine::net::Assets;
use crate::engine::tls;
use crate::engine::Target;
use crate::roles::main::realm;
use crate::roles::main::realm::assets;
use crate::roles::main::Main;

impl Node {
    /// The realm's settings; None: this process plays no realm.
    pub(super) fn realm_settings(&self) -> Result<Option<realm::Settings>, String> {
        let config = &self.config;
        if !config.roles.contains(&RoleName::Realm) {
            return Ok(None);
        }
        // One that stands alone has data management of its own, which gives that to all.
        let own_quota = Some(config.realm.quota).filter(|_| config.realm.own_quota && !config.is_realm_alone());
        Ok(Some(realm::Settings {
            name: config.realm.name.clone(),
            description: config.realm.description.clone(),
            directory: self.realm_directory()?,
            queue: config.realm.queue_seconds.saturating_mul(1_000),
            address: String::new(),
            registration: config.realm.registration,
            user_cap: config.realm.user_cap,
            quota: match config.is_realm_alone() {
                true => config.realm.quota,
                false => own_quota.unwrap_or(config.data_management.quota),
            },
            own_quota,
        }))
    }

    /// Where the directory of realms is: at the management that the realm is attached to, or that `join` names. None: there is none.
    fn realm_directory(&self) -> Result<Option<realm::Where>, String> {
        let named = self.config.join.as_ref().map(|address| address.parse::<Address>());
        let named = named.transpose().map_err(|error| format!("join: {error}"))?;
        Ok(match named {
            Some(address) if self.config.is_realm_alone() || self.management.is_none() => {
                let at = |port| Target::Net(address.at(port), address.verify());
                Some(realm::Where { public: Some(at(address.port)), management: at(0) })
            }
            None | Some(_) if self.config.is_realm_alone() => None,
            None | Some(_) => Some(realm::Where { public: None, management: Target::Local(PortKey::RealmManagement) }),
        })
    }

    /// `realm://HOST:PORT#FINGERPRINT` of the realm's door.
    pub(super) fn realm_address(&self) -> Result<Address, String> {
        let (main, bound) = match (&self.main, self.listen.get(&PortKey::Realm)) {
            (Some(main), Some(bound)) => (main, *bound),
            _ => return Err("the realm listens nowhere".to_owned()),
        };
        let fingerprint = Some(main.identity.fingerprint());
        if let Some(told) = self.config.advertise.get(&PortKey::Realm) {
            let address: Address = format!("realm://{told}").parse()?;
            return Ok(Address { fingerprint, ..address });
        }
        let host = if bound.ip().is_unspecified() { "127.0.0.1".to_owned() } else { bound.ip().to_string() };
        Ok(Address { host, port: bound.port(), fingerprint, realm: true })
    }

    /// Opens the web port, if this process plays a realm.
    pub(super) fn listen_web(&mut self, running: &Running<Main>) -> Result<(), String> {
        let Some(address) = self.config.listen.get(&PortKey::Web).filter(|_| self.config.opens(PortKey::Web)) else {
            return Ok(());
        };
        let (tls, files) = (tls::server(&running.identity)?, Arc::new(Assets::new(assets::FILES)));
        let (bound, task) = net::listen_web(&running.handle, *address, &tls, &running.identity, files)?;
        self.listen.insert(PortKey::Web, bound);
        self.listeners.push(task);
        Ok(())
    }

    /// Where the page is, for a browser on this machine; None: there is none.
    pub(super) fn page(&self) -> Option<String> {
        let bound = self.listen.get(&PortKey::Web)?;
        Some(match bound.ip() {
            ip if ip.is_loopback() || ip.is_unspecified() => format!("http://127.0.0.1:{}", bound.port()),
            _ => format!("https://{bound}"),
        })
    }
}
