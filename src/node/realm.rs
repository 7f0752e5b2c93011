//! What the node knows of its realm: its settings, and where people find it.

use super::Node;
use crate::client::Address;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::roles::main::realm;

impl Node {
    /// The realm's settings; None: this process plays no realm.
    pub(super) fn realm_settings(&self) -> Option<realm::Settings> {
        let config = &self.config;
        // One that stands alone has data management of its own, which gives that to all.
        let own_quota = Some(config.realm.quota).filter(|_| config.realm.quota_is_own && !config.is_realm_alone());
        config.roles.contains(&RoleName::Realm).then(|| realm::Settings {
            name: config.realm.name.clone(),
            address: String::new(),
            registration: config.realm.registration,
            user_cap: config.realm.user_cap,
            quota: match config.is_realm_alone() {
                true => config.realm.quota,
                false => own_quota.unwrap_or(config.data_management.quota),
            },
            own_quota,
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

    /// Where the page is, for a browser on this machine; None: there is none.
    pub(super) fn page(&self) -> Option<String> {
        let bound = self.listen.get(&PortKey::Web)?;
        Some(match bound.ip() {
            ip if ip.is_loopback() || ip.is_unspecified() => format!("http://127.0.0.1:{}", bound.port()),
            _ => format!("https://{bound}"),
        })
    }
}
