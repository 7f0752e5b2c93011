//! The ports of voice: KV over TCP, and UDP for what is said.

use super::Node;
use super::Running;
use crate::config::PortKey;
use crate::engine::net;
use crate::roles::main::Main;

impl Node {
    /// Starts the thread of voice and opens its TCP port, if this process plays a role that has it. In the ready file `voice_udp` is what was
    /// configured: a port is opened when a channel needs it.
    pub(super) fn listen_voice(&mut self, running: &Running<Main>) -> Result<(), String> {
        let at = |port| self.config.listen.get(&port).copied().filter(|_| self.config.opens(port));
        let (Some(control), Some(udp)) = (at(PortKey::VoiceControl), at(PortKey::VoiceUdp)) else { return Ok(()) };
        let voice = &self.config.voice;
        let seed = self.key.voice_seed().ok_or("no key for voice can be derived from the server's")?;
        let public = running.handle.serve_voice(udp, voice.udp_ports, voice.allow_unsigned, &seed)?;
        let everywhere = voice.allow_unsigned;
        let told = self.config.advertise.get(&PortKey::VoiceUdp).and_then(|told| told.rsplit(':').next()?.parse().ok());
        running.handle.with(|main, _| {
            main.serve_voice(&public, everywhere);
            main.advertise_voice(udp.port(), told.unwrap_or(udp.port()));
        });
        let (bound, task) = net::listen_kv(&running.handle, control)?;
        self.listen.extend([(PortKey::VoiceControl, bound), (PortKey::VoiceUdp, udp)]);
        self.listeners.push(task);
        Ok(())
    }
}
