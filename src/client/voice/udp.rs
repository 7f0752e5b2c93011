//! A member's UDP socket: what it sends, when it says that it is still there, and whether the server hears it.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;
use std::time::Instant;

use super::call::Inbox;
use super::datagram::Heard;
use super::datagram::Member;
use crate::engine::rt;
use crate::engine::rt::channel;
use crate::voice::PACKET;

/// A server that has not acknowledged a keepalive for so long is not reached.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a keepalive is sent that is not acknowledged: a datagram may get lost.
const AGAIN: Duration = Duration::from_millis(400);
/// How often a server that is reached is told that this member is still there. One that is silent for 60 s is none any more.
const PERIOD: Duration = Duration::from_secs(15);
/// The same of a server that was reached: a network that stands still for a moment is waited for.
const STANDSTILL: Duration = Duration::from_secs(8);
/// How often the reading task looks whether anybody still wants what it reads.
const LOOK: Duration = Duration::from_secs(1);

/// Whether the server hears this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Not known yet.
    Trying,
    /// It does.
    Good,
    /// It does not, or not any more.
    None,
}

/// See the module.
pub struct Udp {
    socket: Arc<rt::UdpSocket>,
    member: Member,
    reached: bool,
    /// The number of the keepalive that is not acknowledged yet, and since when.
    asked: Option<(u32, Instant)>,
    ackid: u32,
    /// When the next keepalive goes out.
    next: Instant,
}

impl Udp {
    /// A socket that talks to the server's address alone; what comes goes to `inbox`, with `round`.
    ///
    /// # Errors
    /// This machine gives none.
    pub async fn open(
        server: SocketAddr,
        member: Member,
        inbox: channel::Sender<Inbox>,
        round: u64,
    ) -> io::Result<Udp> {
        let any = match server.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = rt::UdpSocket::bind(SocketAddr::new(any, 0)).await?;
        // From now on the system drops what comes from elsewhere.
        socket.connect(server).await?;
        let socket = Arc::new(socket);
        rt::spawn(read(Arc::downgrade(&socket), inbox, round));
        let ackid = rand::random_range(1..=u32::MAX / 2);
        Ok(Udp { socket, member, reached: false, asked: None, ackid, next: Instant::now() })
    }

    async fn send(&self, packet: [u8; PACKET]) {
        // What could not be sent is lost, like what gets lost on its way.
        let _ = self.socket.send(&packet).await;
    }

    /// Sends data to all others.
    pub async fn say(&mut self, data: &[u8]) {
        let packet = self.member.data(data);
        self.send(packet).await;
    }

    /// Reads what came; a challenge is answered.
    pub async fn take<'a>(&mut self, datagram: &'a [u8]) -> Option<Heard<'a>> {
        let heard = self.member.heard(datagram)?;
        match heard {
            Heard::Acknowledge(ackid) if self.asked.is_some_and(|(asked, _)| asked == ackid) => {
                (self.reached, self.asked) = (true, None);
                self.next = Instant::now() + PERIOD;
            }
            Heard::Challenge(ackid) => {
                let packet = self.member.keepalive(ackid);
                self.send(packet).await;
            }
            _ => {}
        }
        Some(heard)
    }

    /// When `tick` has something to do.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// Says that the member is still there, when it is time for that.
    pub async fn tick(&mut self) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let (ackid, _) = *self.asked.get_or_insert_with(|| {
            self.ackid = self.ackid.wrapping_add(1).max(1);
            (self.ackid, now)
        });
        self.next = now + AGAIN;
        let packet = self.member.keepalive(ackid);
        self.send(packet).await;
    }

    /// Whether the server hears this member.
    pub fn reach(&self) -> Reach {
        let most = if self.reached { STANDSTILL } else { PATIENCE };
        match self.asked {
            Some((_, since)) if since.elapsed() >= most => Reach::None,
            _ if self.reached => Reach::Good,
            _ => Reach::Trying,
        }
    }
}

/// Reads until nobody has the socket any more.
async fn read(socket: Weak<rt::UdpSocket>, inbox: channel::Sender<Inbox>, round: u64) {
    // One byte more shows what is too long.
    let mut buffer = [0; PACKET + 1];
    loop {
        let Some(socket) = socket.upgrade() else { return };
        match rt::timeout(LOOK, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                let datagram = buffer.get(..length).unwrap_or_default().to_vec();
                // Who does not keep up loses some.
                if inbox.try_send(Inbox::Datagram(round, datagram)).is_err_and(|error| error.is_closed()) {
                    return;
                }
            }
            // Nobody listens there, says the other machine: keepalives show whether that lasts.
            Ok(Err(_)) => rt::sleep(AGAIN).await,
            Err(_) => {}
        }
    }
}
