//! KV control: what a connection to the TCP port of voice asks, once, and how it is answered. Bytes on both sides; all numbers are
//! big-endian.
//!
//! Types 0 to 7 are not signed. 16 to 23 are the same commands and, behind the fields, a counter and an Ed25519 signature over all that
//! stands before it, from the type on.

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::UnparsedPublicKey;
use aws_lc_rs::signature::ED25519;

use super::KEY;
use crate::wire::Code;

/// An Ed25519 signature, in bytes.
pub const SIGNATURE: usize = 64;
/// What is added to the type of a command that is signed.
const SIGNED: u32 = 16;
/// Channels that a client reads of one answer, at most.
const CHANNELS: u64 = 1 << 20;

/// What is asked for. A uid or chid that nobody has is no fault of these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// 0: a new channel.
    Create {
        /// Who asks.
        uid: u64,
    },
    /// 1: the end of a channel.
    Delete {
        /// Who asks.
        uid: u64,
        /// The channel.
        chid: u64,
    },
    /// 2: a member more.
    Join {
        /// Who asks.
        uid: u64,
        /// Who becomes a member.
        juid: u64,
        /// The channel.
        chid: u64,
    },
    /// 3: a member less.
    Leave {
        /// Who asks.
        uid: u64,
        /// Who is a member no more.
        luid: u64,
        /// The channel.
        chid: u64,
    },
    /// 4: a new user.
    Register {
        /// Who asks; 0: the user itself.
        auid: u64,
        /// The rights of the new user, as [`super::rights::Rights`] has them.
        rights: u64,
    },
    /// 5: a user less.
    Unregister {
        /// Who asks.
        auid: u64,
        /// Who is none any more.
        uid: u64,
    },
    /// 6: the UDP port of a channel.
    GetPort {
        /// The channel.
        chid: u64,
    },
    /// 7: all channels.
    GetChannels,
}

impl Command {
    /// The type on the wire of the form that is not signed: 0 to 7.
    pub fn number(&self) -> u32 {
        match self {
            Command::Create { .. } => 0,
            Command::Delete { .. } => 1,
            Command::Join { .. } => 2,
            Command::Leave { .. } => 3,
            Command::Register { .. } => 4,
            Command::Unregister { .. } => 5,
            Command::GetPort { .. } => 6,
            Command::GetChannels => 7,
        }
    }

    /// Who asks; None: that is not said, and no right is needed.
    pub fn asker(&self) -> Option<u64> {
        match *self {
            Command::Create { uid }
            | Command::Delete { uid, .. }
            | Command::Join { uid, .. }
            | Command::Leave { uid, .. } => Some(uid),
            Command::Register { auid, .. } | Command::Unregister { auid, .. } => Some(auid),
            Command::GetPort { .. } | Command::GetChannels => None,
        }
    }

    /// The fields, and how many of them count.
    fn fields(&self) -> ([u64; 3], usize) {
        match *self {
            Command::Create { uid } => ([uid, 0, 0], 1),
            Command::Delete { uid, chid } => ([uid, chid, 0], 2),
            Command::Join { uid, juid, chid } => ([uid, juid, chid], 3),
            Command::Leave { uid, luid, chid } => ([uid, luid, chid], 3),
            Command::Register { auid, rights } => ([auid, rights, 0], 2),
            Command::Unregister { auid, uid } => ([auid, uid, 0], 2),
            Command::GetPort { chid } => ([chid, 0, 0], 1),
            Command::GetChannels => ([0; 3], 0),
        }
    }

    fn of(number: u32, [first, second, third]: [u64; 3]) -> Option<Command> {
        Some(match number {
            0 => Command::Create { uid: first },
            1 => Command::Delete { uid: first, chid: second },
            2 => Command::Join { uid: first, juid: second, chid: third },
            3 => Command::Leave { uid: first, luid: second, chid: third },
            4 => Command::Register { auid: first, rights: second },
            5 => Command::Unregister { auid: first, uid: second },
            6 => Command::GetPort { chid: first },
            7 => Command::GetChannels,
            _ => return None,
        })
    }
}

/// What a signed request has behind its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The new user's Ed25519 key: of REGISTER, and of nothing else.
    pub key: Option<[u8; KEY]>,
    /// Strictly rising for each uid.
    pub counter: u64,
    /// Over everything before.
    pub signature: [u8; SIGNATURE],
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub command: Command,
    /// Of the types 16 to 23.
    pub proof: Option<Proof>,
}

/// Bytes of a whole request of this type, the type included; None: there is no such type.
pub fn length(number: u32) -> Option<usize> {
    let plain = Command::of(number % SIGNED, [0; 3])?;
    let fields = 4 + 8 * plain.fields().1;
    match number / SIGNED {
        0 => Some(fields),
        1 => Some(fields + if number % SIGNED == 4 { KEY } else { 0 } + 8 + SIGNATURE),
        _ => None,
    }
}

impl Request {
    /// A request that is not signed.
    pub fn unsigned(command: Command) -> Request {
        Request { command, proof: None }
    }

    /// A request signed with `pair`. REGISTER carries its public key.
    pub fn signed(command: Command, counter: u64, pair: &Ed25519KeyPair) -> Request {
        use aws_lc_rs::signature::KeyPair;
        let key = matches!(command, Command::Register { .. }).then(|| pair.public_key().as_ref());
        let key = key.and_then(|key| <[u8; KEY]>::try_from(key).ok());
        let mut request = Request { command, proof: Some(Proof { key, counter, signature: [0; SIGNATURE] }) };
        let signature = pair.sign(&request.before_signature());
        if let (Some(proof), Ok(made)) = (&mut request.proof, <[u8; SIGNATURE]>::try_from(signature.as_ref())) {
            proof.signature = made;
        }
        request
    }

    /// Reads the request that `bytes` begin with, and how long it is; what follows it is not looked at. Ok(None): more bytes are needed.
    ///
    /// # Errors
    /// [`Error::NotImplemented`]: the type is unknown.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Request, usize)>, Error> {
        let Some((number, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let number = u32::from_be_bytes(*number);
        let length = length(number).ok_or(Error::NotImplemented)?;
        if bytes.len() < length {
            return Ok(None);
        }
        let mut fields = [0; 3];
        let plain = Command::of(number % SIGNED, fields).ok_or(Error::NotImplemented)?;
        let mut rest = rest;
        for field in fields.iter_mut().take(plain.fields().1) {
            let Some(value) = take_u64(&mut rest) else { return Ok(None) };
            *field = value;
        }
        let Some(command) = Command::of(plain.number(), fields) else { return Ok(None) };
        if number < SIGNED {
            return Ok(Some((Request { command, proof: None }, length)));
        }
        let key = match command {
            Command::Register { .. } => take::<KEY>(&mut rest),
            _ => None,
        };
        let (Some(counter), Some(signature)) = (take_u64(&mut rest), take::<SIGNATURE>(&mut rest)) else {
            return Ok(None);
        };
        Ok(Some((Request { command, proof: Some(Proof { key, counter, signature }) }, length)))
    }

    /// As it goes over the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.before_signature();
        if let Some(proof) = &self.proof {
            bytes.extend_from_slice(&proof.signature);
        }
        bytes
    }

    /// Whether the request is signed with this public key. It says nothing about the counter.
    pub fn is_signed_by(&self, key: &[u8]) -> bool {
        let Some(proof) = &self.proof else { return false };
        UnparsedPublicKey::new(&ED25519, key).verify(&self.before_signature(), &proof.signature).is_ok()
    }

    fn before_signature(&self) -> Vec<u8> {
        let (fields, count) = self.command.fields();
        let signed = if self.proof.is_some() { SIGNED } else { 0 };
        let mut bytes = (self.command.number() + signed).to_be_bytes().to_vec();
        for field in fields.iter().take(count) {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        if let Some(proof) = &self.proof {
            if matches!(self.command, Command::Register { .. }) {
                bytes.extend_from_slice(&proof.key.unwrap_or_default());
            }
            bytes.extend_from_slice(&proof.counter.to_be_bytes());
        }
        bytes
    }
}

/// Why a request was refused: the number behind the zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// 1: a fault of the server, or one of its limits.
    Server,
    /// 2: no such user or channel.
    Value,
    /// 3: too few bytes.
    TooFew,
    /// 4: not allowed.
    Access,
    /// 5: no such type.
    NotImplemented,
}

impl Error {
    /// The number on the wire.
    pub fn number(self) -> u32 {
        match self {
            Error::Server => 1,
            Error::Value => 2,
            Error::TooFew => 3,
            Error::Access => 4,
            Error::NotImplemented => 5,
        }
    }

    /// The error of a number; an unknown one is a fault of the server.
    pub fn of(number: u32) -> Error {
        match number {
            2 => Error::Value,
            3 => Error::TooFew,
            4 => Error::Access,
            5 => Error::NotImplemented,
            _ => Error::Server,
        }
    }

    /// What a FAIL becomes.
    pub fn of_code(code: Code) -> Error {
        match code {
            Code::BadArgs | Code::NotFound => Error::Value,
            Code::TooLong | Code::BadPacket => Error::TooFew,
            Code::Denied => Error::Access,
            Code::BadCommand => Error::NotImplemented,
            _ => Error::Server,
        }
    }
}

/// What a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done: an id, a port, or 1. Never 0.
    Value(u64),
    /// Of a signed JOIN: the port, and the uid's key in the channel.
    Joined {
        /// The channel's UDP port.
        port: u16,
        /// For the tags of packets.
        key: [u8; KEY],
    },
    /// Of GET_CHANNELS.
    Channels(Vec<u64>),
    /// Refused.
    Failed(Error),
}

impl Answer {
    /// As it goes over the wire. A `Value(0)` would say that the request failed, without why: it becomes an error of the server.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Answer::Value(0) => Answer::Failed(Error::Server).encode(),
            Answer::Value(value) => value.to_be_bytes().to_vec(),
            Answer::Joined { port, key } => [&u64::from(*port).to_be_bytes()[..], key].concat(),
            Answer::Channels(channels) => {
                let count = [channels.len() as u64];
                count.iter().chain(channels).chain(&[0]).flat_map(|number| number.to_be_bytes()).collect()
            }
            Answer::Failed(error) => [&[0; 8][..], &error.number().to_be_bytes()].concat(),
        }
    }

    /// Reads the answer to `request` that `bytes` begin with. Ok(None): more bytes are needed.
    ///
    /// # Errors
    /// These bytes are no answer, or list over a million channels.
    pub fn decode(request: &Request, bytes: &[u8]) -> Result<Option<Answer>, NoAnswer> {
        let mut rest = bytes;
        let Some(first) = take_u64(&mut rest) else { return Ok(None) };
        let lists = request.command == Command::GetChannels;
        if first == 0 {
            let Some(error) = rest.first_chunk::<4>() else { return Ok(None) };
            return match (u32::from_be_bytes(*error), lists) {
                // No channel: the count, and the zero at the end.
                (0, true) => Ok((rest.len() >= 8).then(|| Answer::Channels(Vec::new()))),
                (0, false) => Err(NoAnswer),
                (error, _) => Ok(Some(Answer::Failed(Error::of(error)))),
            };
        }
        match request.command {
            Command::GetChannels if first > CHANNELS => Err(NoAnswer),
            Command::GetChannels => {
                let mut channels = Vec::new();
                for _ in 0..first {
                    let Some(channel) = take_u64(&mut rest) else { return Ok(None) };
                    channels.push(channel);
                }
                match take_u64(&mut rest) {
                    Some(0) => Ok(Some(Answer::Channels(channels))),
                    Some(_) => Err(NoAnswer),
                    None => Ok(None),
                }
            }
            Command::Join { .. } if request.proof.is_some() => {
                let port = u16::try_from(first).map_err(|_| NoAnswer)?;
                Ok(take::<KEY>(&mut rest).map(|key| Answer::Joined { port, key }))
            }
            _ => Ok(Some(Answer::Value(first))),
        }
    }
}

/// Bytes that are no answer to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take::<8>(bytes).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests;
