//! The thread with real sockets on loopback, under a role that does nothing but report.

#[path = "tests/bounds/tests.rs"]
mod bounds;
#[path = "tests/figures/tests.rs"]
mod figures;
#[path = "tests/members/tests.rs"]
mod members;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::sync::mpsc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::engine::limits::Limits;
use crate::engine::net::Registry;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::voice::packet;
use crate::voice::packet::Datagram;
use crate::voice::packet::Operation;
use crate::voice::Event;
use crate::voice::Terms;
use crate::voice::PACKET;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CHANNEL: u64 = 7_000;

/// Reports what the thread tells.
struct Radio(mpsc::Sender<Event>);

impl Role for Radio {
    type Peer = ();
    const NAME: &'static str = "radio";

    fn commands() -> &'static [Command<Radio>] {
        &[]
    }

    fn voice(&mut self, _: &mut Ctx<Radio>, events: Vec<Event>) {
        for event in events {
            let _ = self.0.send(event);
        }
    }
}

struct Server {
    handle: Handle<Radio>,
    events: mpsc::Receiver<Event>,
    key: [u8; KEY],
}

impl Server {
    fn new(ports: u16) -> Server {
        let (sender, events) = mpsc::channel();
        let handle = Handle::new(Radio(sender), Limits::default(), 1, None, &Arc::new(Registry::default())).unwrap();
        let key = handle.serve_voice((LOOPBACK, 0).into(), ports, false, &[4; KEY]).unwrap();
        Server { handle, events, key }
    }

    fn order(&self, order: Order) {
        self.handle.with(|_, ctx| ctx.voice(order));
    }

    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    fn try_open(&self, channel: u64, signed: bool) -> Result<u16, String> {
        self.order(Order::Open { channel, signed });
        match self.event() {
            Event::Opened { channel: opened, port } if opened == channel => port,
            other => panic!("{other:?}"),
        }
    }

    fn open(&self, signed: bool) -> u16 {
        self.try_open(CHANNEL, signed).unwrap()
    }

    fn join(&self, uid: u64, signed: bool) {
        self.order(Order::Join { channel: CHANNEL, uid, join: 1, terms: terms(uid, signed), proven: None });
    }
}

/// Each uid has a key of its own.
fn key(uid: u64) -> [u8; KEY] {
    *blake3::hash(&uid.to_le_bytes()).as_bytes()
}

fn terms(uid: u64, signed: bool) -> Terms {
    match signed {
        true => Terms::Signed(Zeroizing::new(key(uid))),
        false => Terms::Unsigned,
    }
}

/// A member's end.
struct Phone {
    socket: UdpSocket,
    uid: u64,
    signed: bool,
    counter: u64,
}

impl Phone {
    /// Of a member that joins now, and whose packets are known to have arrived once.
    fn join(server: &Server, port: u16, uid: u64, signed: bool) -> Phone {
        server.join(uid, signed);
        let mut phone = Phone::new(port, uid, signed);
        phone.settle();
        phone
    }

    fn new(port: u16, uid: u64, signed: bool) -> Phone {
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect((LOOPBACK, port)).unwrap();
        Phone { socket, uid, signed, counter: 0 }
    }

    fn finish(&mut self, mut packet: [u8; PACKET]) -> [u8; PACKET] {
        if self.signed {
            self.counter += 1;
            packet::seal(&mut packet, &key(self.uid), self.counter);
        }
        packet
    }

    fn sound(&mut self, words: &[u8]) -> [u8; PACKET] {
        self.finish(packet::user(self.uid, words))
    }

    fn say(&mut self, words: &[u8]) -> [u8; PACKET] {
        let packet = self.sound(words);
        self.socket.send(&packet).unwrap();
        packet
    }

    /// A keepalive, and its acknowledgement.
    fn settle(&mut self) -> [u8; PACKET] {
        let packet = self.finish(packet::system(Operation::Keepalive, self.uid, 5));
        self.socket.send(&packet).unwrap();
        let told = self.hear();
        let operation = Some(Operation::Acknowledge);
        assert_eq!(packet::parse(&told), Some(Datagram::System { operation, uid: self.uid, ackid: 5 }));
        told
    }

    /// The next datagram.
    fn hear(&self) -> [u8; PACKET] {
        let mut packet = [0; PACKET + 1];
        let length = self.socket.recv(&mut packet).unwrap();
        packet[..length].try_into().unwrap()
    }

    /// There is nothing to hear.
    fn hears_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let error = self.socket.recv(&mut [0; PACKET]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).unwrap();
    }
}
