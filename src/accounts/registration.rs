//! Registrations that were begun and not yet confirmed (contract 4).

use crate::wire::hex;
use std::net::IpAddr;

use rand::CryptoRng;

use super::net::Net;
use super::one_use::OneUse;
use super::one_use::Taken;
use super::password::Password;
use super::secret;
use crate::wire::Code;
use crate::wire::Fail;

/// How long a person has to answer, in ms.
pub const LIFETIME: u64 = 60_000;
/// Registrations pending at once: with the longest passwords about 15 MB.
pub const MAX: usize = 10_000;
/// Registrations pending at once from one network.
pub const MAX_PER_NET: usize = 256;
/// The same from this machine, where many users share one address, and so does a proxy in front of us.
pub const MAX_LOOPBACK: usize = 4096;

/// A registration that was begun.
#[derive(Debug)]
pub struct Pending {
    /// The name asked for, as typed.
    pub name: String,
    /// The password asked for; wiped when this is dropped.
    pub password: Password,
    /// What the picture says; empty where the policy asks for no picture, or until it is drawn.
    pub answer: String,
    /// Where the request came from.
    pub addr: IpAddr,
}

/// All registrations pending.
pub struct Registrations {
    pending: OneUse<Net, Pending>,
}

impl Default for Registrations {
    fn default() -> Registrations {
        Registrations::new()
    }
}

impl Registrations {
    /// None yet.
    pub fn new() -> Registrations {
        Registrations { pending: OneUse::new(MAX, LIFETIME) }
    }

    /// Whether one more could begin: LIMIT when this network has too many pending, BUSY when all have together.
    pub fn room(&mut self, addr: IpAddr, now: u64) -> Result<(), Fail> {
        self.pending.sweep(now);
        let net = Net::of(addr);
        let max = if net == Net::Loopback { MAX_LOOPBACK } else { MAX_PER_NET };
        if self.pending.owned(&net) >= max {
            return Err(Fail::new(Code::Limit, "too many registrations from your network; retry in a minute"));
        }
        if self.pending.len() >= MAX {
            return Err(Fail::new(Code::Busy, "too many registrations at once; retry in a minute"));
        }
        Ok(())
    }

    /// Begins a registration: its request id, 64 hexadecimal digits. FAIL LIMIT or BUSY as [`Registrations::room`].
    /// To be called before the picture is drawn, which costs more than everything here: what is being drawn counts.
    pub fn begin(&mut self, rng: &mut (impl CryptoRng + ?Sized), pending: Pending, now: u64) -> Result<String, Fail> {
        self.room(pending.addr, now)?;
        let id = secret::random(rng);
        self.pending.put(id, Net::of(pending.addr), pending, now);
        Ok(hex::encode(&id))
    }

    /// The picture is drawn. BUSY when that took longer than the registration lives.
    pub fn drawn(&mut self, request_id: &str, answer: String, now: u64) -> Result<(), Fail> {
        let pending = hex::decode_32(request_id).and_then(|id| self.pending.get_mut(&id, now));
        match pending {
            Some(pending) => {
                pending.answer = answer;
                Ok(())
            }
            None => Err(Fail::new(Code::Busy, "the picture took too long; retry later")),
        }
    }

    /// Takes the registration back, for its one answer: void afterwards, whatever that is.
    /// FAIL EXPIRED over 60 s, WRONG for an id that is not pending.
    pub fn confirm(&mut self, request_id: &str, now: u64) -> Result<Pending, Fail> {
        let wrong = || Fail::new(Code::Wrong, "no such registration is pending; begin again");
        let id = hex::decode_32(request_id).ok_or_else(wrong)?;
        match self.pending.take(&id, now) {
            Taken::Live(pending) => Ok(pending),
            Taken::Late => Err(Fail::new(Code::Expired, "the answer came after 60 s; begin again")),
            Taken::Unknown => Err(wrong()),
        }
    }

    /// Drops what is over, and wipes its passwords. To be called now and then, as nobody else may ever call.
    pub fn sweep(&mut self, now: u64) {
        self.pending.sweep(now);
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::SeedableRng;

    use super::*;

    fn pending(addr: &str) -> Pending {
        Pending {
            name: "Alice".into(),
            password: Password::new(b"secret").unwrap(),
            answer: "XK3P9".into(),
            addr: addr.parse().unwrap(),
        }
    }

    #[test]
    fn one_answer() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut regs = Registrations::new();
        let id = regs.begin(&mut rng, pending("192.0.2.1"), 0).unwrap();
        assert_eq!(id.len(), 64);
        let got = regs.confirm(&id, 59_999).unwrap();
        assert_eq!((got.name.as_str(), got.answer.as_str()), ("Alice", "XK3P9"));
        assert_eq!(got.password.bytes(), b"secret");
        assert_eq!(regs.confirm(&id, 59_999).unwrap_err().code, Code::Wrong);
        assert!(!format!("{got:?}").contains("secret"));
    }

    #[test]
    fn what_is_being_drawn_counts() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut regs = Registrations::new();
        let begin = |regs: &mut Registrations, rng: &mut StdRng| {
            regs.begin(rng, Pending { answer: String::new(), ..pending("192.0.2.1") }, 0)
        };
        let ids: Vec<_> = (0..MAX_PER_NET).map(|_| begin(&mut regs, &mut rng).unwrap()).collect();
        assert_eq!(begin(&mut regs, &mut rng).unwrap_err().code, Code::Limit);
        regs.drawn(&ids[0], "ACEK3".into(), 1).unwrap();
        assert_eq!(regs.confirm(&ids[0], 2).unwrap().answer, "ACEK3");
        assert_eq!(regs.drawn(&ids[1], "ACEK3".into(), LIFETIME).unwrap_err().code, Code::Busy);
    }

    #[test]
    fn late_and_unknown() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut regs = Registrations::new();
        let id = regs.begin(&mut rng, pending("192.0.2.1"), 0).unwrap();
        assert_eq!(regs.confirm(&id, 60_000).unwrap_err().code, Code::Expired);
        assert_eq!(regs.confirm(&id, 119_999).unwrap_err().code, Code::Expired);
        assert_eq!(regs.confirm(&id, 120_000).unwrap_err().code, Code::Wrong);
        for bad in ["", "17", &"f".repeat(64)] {
            assert_eq!(regs.confirm(bad, 0).unwrap_err().code, Code::Wrong);
        }
    }

    #[test]
    fn bounds() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut regs = Registrations::new();
        for _ in 0..MAX_PER_NET {
            regs.begin(&mut rng, pending("192.0.2.1"), 0).unwrap();
        }
        assert_eq!(regs.begin(&mut rng, pending("192.0.2.1"), 0).unwrap_err().code, Code::Limit);
        assert!(regs.begin(&mut rng, pending("192.0.2.2"), 0).is_ok());
        let mut begun = MAX_PER_NET + 1;
        let mut last = Ok(String::new());
        for n in 0u32.. {
            let addr = format!("198.51.{}.{}", n / 200 / 250, n / 200 % 250);
            last = regs.begin(&mut rng, pending(&addr), 0);
            if last.is_err() {
                break;
            }
            begun += 1;
        }
        assert_eq!(last.unwrap_err().code, Code::Busy);
        assert_eq!(begun, MAX);
        assert!(regs.begin(&mut rng, pending("192.0.2.1"), LIFETIME).is_ok(), "the old ones are over");
    }

    #[test]
    fn a_confirmed_one_makes_room() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut regs = Registrations::new();
        for _ in 0..4 * MAX_PER_NET {
            let id = regs.begin(&mut rng, pending("2001:db8::7"), 0).unwrap();
            regs.confirm(&id, 1).unwrap();
        }
    }
}
