//! `convergia://HOST:PORT#FINGERPRINT`: where a network's management is, and how it is known (contract 2). `realm://…` is the same for the
//! door of a realm.

use crate::wire::hex;
use std::fmt;
use std::str::FromStr;

use crate::engine::ctx::Fingerprint;
use crate::engine::Verify;

/// Where a network's management is: its `public_management` port. Or where a realm is: its `realm` port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A host name, or an IP address without brackets.
    pub host: String,
    /// Of `public_management`, or `realm`.
    pub port: u16,
    /// Of management's certificate; None: a public CA signed it.
    pub fingerprint: Option<Fingerprint>,
    /// It is a realm's.
    pub realm: bool,
}

/// What an address begins with, and its port unless it names one.
const MANAGEMENT: (&str, u16) = ("convergia://", 64474);
const REALM: (&str, u16) = ("realm://", 63745);

impl Address {
    /// How management's certificate is checked.
    pub fn verify(&self) -> Verify {
        self.fingerprint.map_or(Verify::PublicCa, Verify::Pinned)
    }

    /// `host:port` of another port of the same host.
    pub fn at(&self, port: u16) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{port}", self.host),
            false => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, _) = if self.realm { REALM } else { MANAGEMENT };
        write!(f, "{scheme}{}", self.at(self.port))?;
        match &self.fingerprint {
            Some(print) => write!(f, "#{}", hex::encode(print)),
            None => Ok(()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let form =
            || format!("{text}: an address is convergia://HOST:PORT#FINGERPRINT, or realm://HOST:PORT#FINGERPRINT");
        let rest = |(scheme, port)| text.trim().strip_prefix(scheme).map(|rest| (rest, port));
        let (rest, default_port) = rest(MANAGEMENT).or_else(|| rest(REALM)).ok_or_else(form)?;
        let realm = default_port == REALM.1;
        let (place, print) = match rest.split_once('#') {
            Some((place, print)) => {
                let print = hex::decode_32(print).ok_or("a fingerprint is 64 hexadecimal digits".to_owned())?;
                (place, Some(print))
            }
            None => (rest, None),
        };
        let place = place.trim_end_matches('/');
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| form())?),
            _ => (place, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(form());
        }
        Ok(Address { host: host.to_owned(), port, fingerprint: print, realm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        let print = "ab".repeat(32);
        for text in [
            format!("convergia://127.0.0.1:64474#{print}"),
            format!("convergia://[::1]:5#{print}"),
            "convergia://chat.example:1".to_owned(),
            format!("realm://chat.example:1#{print}"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("realm://h".parse::<Address>().unwrap().port, 63745);
        assert_eq!("convergia://h".parse::<Address>().unwrap().port, 64474);
        for bad in ["", "http://x", "convergia://", "convergia://h:x", "convergia://h#12"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
