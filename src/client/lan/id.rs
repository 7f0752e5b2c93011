//! User ids on the local network: `network::name`.

use std::fmt;

use crate::client::Address;
use crate::wire::hex;
use crate::wire::name;

/// The longest `network`, in bytes: a host name and a port.
const LONGEST: usize = 262;

/// A user, and the network that the account is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    network: String,
    name: String,
}

impl Id {
    /// The id of a user of the servers at `address`. None: the name cannot be one.
    pub fn new(address: &Address, name: &str) -> Option<Id> {
        let network = match address.fingerprint {
            Some(print) if !address.realm => hex::encode(&print),
            _ => address.at(address.port),
        };
        Id::parse(&format!("{network}::{name}"))
    }

    /// From `network::name`. None for anything else.
    pub fn parse(text: &str) -> Option<Id> {
        let (network, name) = text.rsplit_once("::")?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if network.is_empty() || network.len() > LONGEST || !network.bytes().all(fits) {
            return None;
        }
        name::check_user(name).ok()?;
        Some(Id { network: network.to_owned(), name: name.to_owned() })
    }

    /// What the client knows its servers by.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The user's name, as its client writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's name, as names are compared.
    pub fn folded(&self) -> String {
        name::fold(&self.name).into_owned()
    }

    /// Whether it is the same user of the same network.
    pub fn is(&self, other: &Id) -> bool {
        self.network == other.network && name::fold(&self.name) == name::fold(&other.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.network, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["host:1::bob", "[::1]:5::bob", "ab12::Å", "h::b"] {
            assert_eq!(Id::parse(good).map(|id| id.to_string()).as_deref(), Some(good));
        }
        for bad in ["", "bob", "::bob", "h::", "h\n::bob", "h|::b", "h::a b", "h::a/b", "h::a\u{1b}b", "é::b"] {
            assert_eq!(Id::parse(bad), None, "{bad:?}");
        }
        let print = "ab".repeat(32);
        let id = |address: &str| Id::new(&address.parse().unwrap(), "bob").unwrap().to_string();
        assert_eq!(id(&format!("convergia://h:1#{print}")), format!("{print}::bob"));
        assert_eq!(id("convergia://h:1"), "h:1::bob");
        assert_eq!(id(&format!("realm://h:1#{print}")), "h:1::bob");
        assert!(Id::parse("h::Bob").unwrap().is(&Id::parse("h::bOB").unwrap()));
    }
}
