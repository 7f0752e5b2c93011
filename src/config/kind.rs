//! What a key's value may be, and the check of it.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use toml::de::DeValue;

use super::names::PortKey;
use super::names::RoleName;
use crate::wire::name;

/// What is allowed. Every range includes both ends.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Names of roles.
    Roles,
    /// A name as the wire has it.
    Name,
    /// A path, or empty.
    Path,
    /// Printable ASCII without spaces, at most 255 bytes, or empty.
    Word,
    /// Text for people of at most so many bytes, in one line, without `|`; or empty.
    Line(usize),
    /// A `convergia://` address, or empty.
    Join,
    /// `address:port`.
    Listen(PortKey),
    /// `host:port`, or empty.
    Advertise(PortKey),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any of these words.
    Words(&'static [&'static str]),
    /// A whole number.
    Count(u64, u64),
    /// Bytes.
    Size(u64, u64),
    Bool,
    /// true, false, or the word auto.
    BoolOrAuto,
    /// A filter of the log.
    Log,
}

/// A value that passed its check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(u64),
    Bool(bool),
    Words(Vec<String>),
    Address(SocketAddr),
    Roles(Vec<RoleName>),
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    Text(String),
    /// None: it does not fit.
    Integer(Option<u64>),
    Bool(bool),
    /// None: something in it is not text.
    List(Option<Vec<String>>),
    /// What no key takes: a table, a date, a fraction.
    Other,
}

impl Raw {
    /// From TOML.
    pub fn from_toml(value: &DeValue<'_>) -> Raw {
        match value {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Boolean(value) => Raw::Bool(*value),
            DeValue::Integer(number) => Raw::Integer(u64::from_str_radix(number.as_str(), number.radix()).ok()),
            DeValue::Array(list) => {
                let text = |item: &toml::Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
                Raw::List(list.iter().map(text).collect())
            }
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => Raw::Other,
        }
    }
}

impl Kind {
    /// What is allowed, to follow "must be".
    pub fn allowed(self) -> String {
        match self {
            Kind::Roles => format!("a list, for example [\"main\"], of {}", role_names(RoleName::ALL)),
            Kind::Name => format!(
                "a name (not . or ..) of 1 to {} bytes, in Unicode form NFC, without control characters or any of | / : in it",
                name::MAX_NAME
            ),
            Kind::Path => "a path, or \"\"".to_owned(),
            Kind::Word => "letters, digits and signs of ASCII without spaces, at most 255, or \"\"".to_owned(),
            Kind::Line(most) => format!("one line of text without | in it, of at most {most} bytes, or \"\""),
            Kind::Join => "\"convergia://HOST:PORT#FINGERPRINT\", or \"\"".to_owned(),
            Kind::Listen(port) => {
                let port = port.default_port();
                format!(
                    "\"address:port\", for example \"127.0.0.1:{port}\" or \"[::1]:{port}\"; port 0 is any free port"
                )
            }
            Kind::Advertise(port) => {
                format!("\"host:port\", for example \"chat.example:{}\", or \"\"", port.default_port())
            }
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Words(words) => {
                format!("a list, for example [{:?}], of {}", words.first().unwrap_or(&""), words.join(", "))
            },
            Kind::Count(low, high) => format!("a whole number from {low} to {high}"),
            Kind::Size(low, high) => {
                format!(
                    "a size from {} to {}: bytes, or text like \"4 KiB\" or \"2 GiB\"",
                    size_text(low),
                    size_text(high)
                )
            }
            Kind::Bool => "true or false".to_owned(),
            Kind::BoolOrAuto => "true, false or \"auto\"".to_owned(),
            Kind::Log => {
                "off, error, warn, info, debug or trace, or a list like \"info,convergia::roles=debug\"".to_owned()
            }
        }
    }

    /// Whether a value that is given on the command line without quotes is text, whatever it looks like.
    pub fn is_text(self) -> bool {
        matches!(
            self,
            Kind::Name
                | Kind::Path
                | Kind::Word
                | Kind::Line(_)
                | Kind::Join
                | Kind::Listen(_)
                | Kind::Advertise(_)
                | Kind::Choice(_)
                | Kind::Log
        )
    }

    /// Whether it is a list, which may be given on the command line with commas.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Roles | Kind::Words(_))
    }

    /// Checks a value.
    ///
    /// # Errors
    /// What is wrong, to follow "KEY = VALUE: ".
    pub fn check(self, raw: &Raw) -> Result<Value, String> {
        if let (Kind::Roles, Raw::List(Some(names))) = (self, raw) {
            return roles(names).map(Value::Roles);
        }
        self.value(raw).ok_or_else(|| format!("must be {}", self.allowed()))
    }

    fn value(self, raw: &Raw) -> Option<Value> {
        match (self, raw) {
            (Kind::Listen(_), Raw::Text(text)) => text.parse().ok().map(Value::Address),
            (Kind::Count(low, high), Raw::Integer(Some(number))) => within(*number, low, high),
            (Kind::Size(low, high), Raw::Integer(Some(number))) => within(*number, low, high),
            (Kind::Size(low, high), Raw::Text(text)) => within(size(text)?, low, high),
            (Kind::Bool | Kind::BoolOrAuto, Raw::Bool(value)) => Some(Value::Bool(*value)),
            (Kind::Words(words), Raw::List(Some(list))) => {
                list.iter().all(|word| words.contains(&word.as_str())).then(|| Value::Words(list.clone()))
            }
            (kind, Raw::Text(text)) => kind.allows_text(text).then(|| Value::Text(text.clone())),
            _ => None,
        }
    }

    fn allows_text(self, text: &str) -> bool {
        match self {
            Kind::Name => name::check(text).is_ok(),
            Kind::Path => !text.contains('\0'),
            Kind::Word => text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic()),
            Kind::Line(most) => text.len() <= most && !text.chars().any(|c| c.is_control() || c == '|'),
            Kind::Join => text.is_empty() || is_join(text),
            Kind::Advertise(_) => text.is_empty() || is_host_and_port(text),
            Kind::Choice(words) => words.contains(&text),
            Kind::BoolOrAuto => text == "auto",
            Kind::Log => text.split(',').all(is_log_filter),
            Kind::Roles | Kind::Listen(_) | Kind::Words(_) | Kind::Count(..) | Kind::Size(..) | Kind::Bool => false,
        }
    }
}

fn within(number: u64, low: u64, high: u64) -> Option<Value> {
    (low..=high).contains(&number).then_some(Value::Number(number))
}

fn role_names(roles: &[RoleName]) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    names.join(", ")
}

/// Roles by their names, each once.
///
/// # Errors
/// A name that is no role, or a role that this version cannot play.
pub fn roles(names: &[String]) -> Result<Vec<RoleName>, String> {
    let mut roles = Vec::new();
    for name in names {
        let Some(role) = RoleName::parse(name) else {
            return Err(format!("there is no role {name:?}; the roles are {}", role_names(RoleName::ALL)));
        };
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    Ok(roles)
}

const UNITS: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("PiB", 1 << 50)];

/// Bytes from `4096`, `4 KiB`, `4KiB`.
pub fn size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim();
    let factor = if unit.is_empty() { 1 } else { UNITS.iter().find(|(name, _)| *name == unit)?.1 };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// The largest unit that leaves a whole number.
fn size_text(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor));
    let (name, factor) = unit.copied().unwrap_or(("B", 1));
    format!("{} {name}", bytes / factor)
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    is_host(host) && digits && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_join(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("convergia://") else { return false };
    let (place, print) = rest.split_once('#').map_or((rest, None), |(place, print)| (place, Some(print)));
    let good_print = print.is_none_or(|p| p.len() == 64 && p.bytes().all(|b| b.is_ascii_hexdigit()));
    let place = place.strip_suffix('/').unwrap_or(place);
    good_print && (is_host(place) || is_host_and_port(place))
}

/// `level` or `module::path=level`.
fn is_log_filter(text: &str) -> bool {
    let (module, level) = text.split_once('=').map_or((None, text), |(module, level)| (Some(module), level));
    let is_module = |m: &str| !m.is_empty() && m.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:".contains(&b));
    ["off", "error", "warn", "info", "debug", "trace"].contains(&level) && module.is_none_or(is_module)
}

/// An address for every listener; an IPv6 address may stand in brackets.
pub fn bind_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("4 KiB", 4096), ("4KiB", 4096), ("100 MiB", 100 << 20), ("5 GiB", 5 << 30)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in
            ["", " ", "KiB", "-1", "1.5 GiB", "4 kb", "4 KiB x", "99999999999 PiB", "٤ KiB", "18446744073709551616"]
        {
            assert_eq!(size(bad), None, "{bad}");
        }
        assert_eq!(size_text(4096), "4 KiB");
        assert_eq!(size_text(4097), "4097 B");
        assert_eq!(size_text(0), "0 B");
    }

    #[test]
    fn hosts_and_ports() {
        for good in ["chat.example:1", "127.0.0.1:65535", "[::1]:5", "a-b.c_d:80", "localhost:64473", "chat.example.:1"]
        {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in
            ["", ":", "h", "h:", ":1", "h:0", "h:65536", "::1:5", "[::1]", "[h]:1", "h h:1", "h:+1", "a..b:1", "h|x:1"]
        {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_to_join() {
        let print = "ab".repeat(32);
        for good in
            [format!("convergia://h:1#{print}"), "convergia://h".to_owned(), format!("convergia://[::1]:5/#{print}")]
        {
            assert!(is_join(&good), "{good}");
        }
        for bad in ["h:1", "convergia://", "convergia://h:1#12", "https://h:1", "convergia://h:x"] {
            assert!(!is_join(bad), "{bad}");
        }
    }

    #[test]
    fn filters_of_the_log() {
        for good in ["info", "off", "warn,convergia::engine=trace"] {
            assert!(Kind::Log.check(&Raw::Text(good.into())).is_ok(), "{good}");
        }
        for bad in ["", "loud", "info,", "=info", "a b=info", "convergia="] {
            assert!(Kind::Log.check(&Raw::Text(bad.into())).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_to_bind() {
        assert_eq!(bind_address("::1"), bind_address("[::1]"));
        assert_eq!(bind_address("0.0.0.0"), Some(IpAddr::from([0, 0, 0, 0])));
        for bad in ["", "localhost", "[127.0.0.1]", "1.2.3.4:5", "[::1]:5"] {
            assert_eq!(bind_address(bad), None, "{bad}");
        }
    }
}
