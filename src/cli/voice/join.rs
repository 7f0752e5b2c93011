//! `convergia voice join`: being in a channel until it is over.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use argh::FromArgs;
use async_signal::Signal;
use async_signal::Signals;

use super::channel_name;
use super::play::Player;
use super::play::Source;
use super::record::Recorder;
use super::refused;
use super::show::Show;
#[cfg(feature = "sound-card")]
use super::sound::Sound;
use crate::cli::outcome::Stop;
use crate::cli::session;
use crate::cli::session::Stay;
use crate::cli::session::Target;
use crate::cli::text;
use crate::cli::work::placed;
use crate::cli::work::Place;
use crate::client::voice::jitter;
use crate::client::voice::jitter::Count;
use crate::client::voice::Frame;
use crate::client::voice::Jitter;
use crate::client::voice::Nudge;
use crate::client::voice::Person;
use crate::client::voice::Told;
use crate::client::voice::Voice;
use crate::client::Event;
use crate::engine::rt;

placed! {
    /// Be in a channel: see who is there, who comes, leaves and speaks. Ctrl-C leaves.
    #[argh(
        subcommand,
        name = "join",
        example = "{command_name} standup",
        example = "{command_name} standup --play hello.opus\n  ends when the file does",
        example = "{command_name} standup --record talk.opus --for 60",
        example = "{command_name} standup --play music.opus --loop",
        example = "arecord -q -f dat | opusenc --quiet --bitrate 64 --max-delay 0 - - | {command_name} standup --play -\n  your microphone",
        note = "--record: talk.opus has who spoke first, talk-NAME.opus each other speaker; all begin at the same moment, and silence and \
                what got lost take their time in them, so that played at once they are the conversation. Nothing is overwritten.\nOnly Ogg \
                Opus of one or two channels is played, in packets of at most 472 bytes: `opusenc --bitrate 64 sound.wav sound.opus` \
                makes such a file. The channel is joined by UDP; where that does not get through, or with --link, over the \
                connection to the server."
    )]
    #[cfg_attr(
        feature = "sound-card",
        argh(
            example = "{command_name} standup --mute\n  you hear the others; your microphone is off",
            note = "Your microphone is on unless you --play something, and the others come from your loudspeaker unless you --record them; \
                    what this machine does not have is left out."
        )
    )]
    pub struct Join {
        /// the channel
        #[argh(positional)]
        channel: String,
        /// play this Ogg Opus file to the others (-: standard input)
        #[argh(option, arg_name = "FILE")]
        play: Option<String>,
        /// record what others say (-: the first speaker to standard output)
        #[argh(option, arg_name = "FILE")]
        record: Option<String>,
        /// play the file again and again
        #[argh(switch, long = "loop")]
        again: bool,
        /// leave after so many seconds, also when the file ends before
        #[argh(option, long = "for", arg_name = "SECONDS")]
        seconds: Option<f64>,
        /// not by UDP
        #[argh(switch)]
        link: bool,
        /// leave your microphone off
        #[cfg(feature = "sound-card")]
        #[argh(switch)]
        mute: bool,
        /// leave your loudspeaker off
        #[cfg(feature = "sound-card")]
        #[argh(switch)]
        deaf: bool,
    }
}

/// Who says nothing for so long is silent.
const SILENT: Duration = Duration::from_millis(500);
/// So long others may still have to hear of what was played.
const LAST: Duration = Duration::from_millis(500);
/// The longest `--for`: a year.
const LONGEST: f64 = 31_536_000.0;

/// Somebody who has said something.
struct Speaker {
    person: Person,
    jitter: Jitter,
    /// When something came last; None: silent.
    heard: Option<Instant>,
    /// Something came that is no Opus in a frame.
    foreign: bool,
}

/// Being in a channel.
struct Call {
    voice: Voice,
    show: Show,
    name: String,
    began: Instant,
    /// By uid.
    speakers: BTreeMap<u64, Speaker>,
    members: BTreeMap<u64, String>,
    recorder: Option<Recorder>,
    /// How long what comes waits for what is late; milliseconds.
    wait: u64,
    sent: u64,
    unsent: u64,
    /// Whether the microphone and the loudspeaker are to be turned on; None: that was done.
    #[cfg(feature = "sound-card")]
    wanted: Option<(bool, bool)>,
    #[cfg(feature = "sound-card")]
    sound: Sound,
}

impl Join {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self, before: &Place) -> Result<(), Stop> {
        let Place { server, user, password_file, json } = self.place().or(before);
        let name = channel_name(&self.channel)?;
        if self.again && self.play.is_none() {
            return Err(Stop::Usage("--loop needs --play FILE".to_owned()));
        }
        let wait = match self.seconds {
            Some(seconds) if !(0.0..=LONGEST).contains(&seconds) => {
                return Err(Stop::Usage(format!("--for is a number of seconds from 0 to {LONGEST}")));
            }
            seconds => seconds.map(Duration::from_secs_f64),
        };
        let source = self.play.as_deref().map(|file| Source::new(file, self.again)).transpose()?;
        let target = Target { server, user, password_file };
        let show = Show { json, aside: self.record.as_deref() == Some("-") };
        rt::block_on(async {
            let session = session::sign_on(&target, Stay::Work).await?;
            let client = Arc::clone(&session.client);
            let voice = match Voice::join(Arc::clone(&client), &name, !self.link).await {
                Ok(voice) => voice,
                Err(fail) => {
                    client.sign_off().await;
                    return Err(refused(&name, &fail));
                }
            };
            let recorder = self.record.as_deref().map(Recorder::new).transpose();
            let patient = self.record.as_deref().is_some_and(|file| file != "-");
            let (began, speakers, members) = (Instant::now(), BTreeMap::new(), BTreeMap::new());
            let call = recorder.and_then(|recorder| {
                let call = Call {
                    voice,
                    show,
                    name,
                    began,
                    speakers,
                    members,
                    recorder,
                    wait: if patient { jitter::PATIENT } else { jitter::START },
                    sent: 0,
                    unsent: 0,
                    #[cfg(feature = "sound-card")]
                    wanted: Some((!self.mute && self.play.is_none(), !self.deaf && self.record.is_none())),
                    #[cfg(feature = "sound-card")]
                    sound: Sound::default(),
                };
                call.fits(source.as_ref()).map(|()| call)
            });
            let done = match call {
                Ok(call) => call.run(source, wait).await,
                Err(stop) => Err(stop),
            };
            if client.is_on() {
                client.sign_off().await;
            }
            done
        })
    }
}

/// Ctrl-C, and being told to end: the first time it is done in good order.
fn catch(nudge: Nudge) -> Arc<AtomicBool> {
    let caught = Arc::new(AtomicBool::new(false));
    if let Ok(mut signals) = Signals::new([Signal::Int, Signal::Term, Signal::Hup]) {
        let caught = Arc::clone(&caught);
        rt::spawn(async move {
            while let Some(Ok(_)) = rt::StreamExt::next(&mut signals).await {
                if caught.swap(true, Ordering::Relaxed) {
                    std::process::exit(1);
                }
                nudge.nudge();
            }
        });
    }
    caught
}

impl Call {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the channel's datagrams carry what the file has.
    fn fits(&self, source: Option<&Source>) -> Result<(), Stop> {
        let room = self.voice.room();
        Self::fit(source.map_or(0, |source| source.longest), room)
    }

    fn fit(longest: usize, room: usize) -> Result<(), Stop> {
        match longest {
            longest if longest > room => Err(Stop::Refused(format!(
                "--play: the file has packets of {longest} bytes, and one of this channel carries {room}.\nEncode it with \
                 less, `opusenc --bitrate 64 sound.wav sound.opus` for example."
            ))),
            _ => Ok(()),
        }
    }

    async fn run(mut self, source: Option<Source>, wait: Option<Duration>) -> Result<(), Stop> {
        let caught = catch(self.voice.nudge());
        let end = wait.map(|wait| self.began + wait);
        let mut player = source.map(|source| source.start(self.voice.nudge()));
        let done = self.talk(player.as_mut(), end, &caught).await;
        let Call { voice, show, mut speakers, mut recorder, sent, unsent, .. } = self;
        voice.leave().await;
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut kept = Ok(());
        for speaker in speakers.values_mut() {
            while let (Some(sound), Ok(())) = (speaker.jitter.rest(), &kept) {
                if let Some(recorder) = &mut recorder {
                    kept = recorder.write(now, &speaker.person.name(), &sound).map(drop);
                }
            }
        }
        if let Some(recorder) = recorder {
            match recorder.end() {
                Ok(all) if all.is_empty() => show.warn("nobody spoke: nothing was recorded"),
                Ok(all) => all.iter().for_each(|done| show.recorded(done)),
                Err(stop) => kept = kept.and(Err(stop)),
            }
        }
        let counts: Vec<(String, Count)> =
            speakers.values().map(|speaker| (speaker.person.name(), speaker.jitter.count())).collect();
        show.ended(sent, unsent, &counts);
        done.and(kept)
    }

    /// Until it is over.
    async fn talk(
        &mut self,
        mut player: Option<&mut Player>,
        end: Option<Instant>,
        caught: &AtomicBool,
    ) -> Result<(), Stop> {
        loop {
            // When the file ends, so does this, unless it was told how long.
            let last = player.as_ref().filter(|_| end.is_none()).and_then(|player| player.end()).map(|at| at + LAST);
            let now = Instant::now();
            if caught.load(Ordering::Relaxed) || end.or(last).is_some_and(|at| at <= now) {
                return Ok(());
            }
            let playing = match &mut player {
                Some(player) => player.due()?,
                None => None,
            };
            let sounding = self.speakers.values().filter_map(|speaker| speaker.jitter.due(self.now())).min();
            let sounding = sounding.map(|at| self.began + Duration::from_millis(at));
            let silent = self.speakers.values().filter_map(|speaker| speaker.heard).min().map(|at| at + SILENT);
            let until = [end.or(last), playing, sounding, silent].into_iter().flatten().min();
            if let Some(told) = self.voice.next(until).await {
                self.told(told)?;
            }
            if let Some(player) = &mut player {
                while let Some((heard, timestamp)) = player.take()? {
                    // What comes by standard input was not looked through.
                    Self::fit(heard.opus.len(), self.voice.room())?;
                    match self.voice.say(&heard.opus, timestamp).await {
                        true => self.sent += 1,
                        false => self.unsent += 1,
                    }
                }
            }
            #[cfg(feature = "sound-card")]
            self.speak().await;
            self.sound()?;
        }
    }

    /// What the microphone heard.
    #[cfg(feature = "sound-card")]
    async fn speak(&mut self) {
        if let Some(words) = self.sound.trouble() {
            self.show.warn(&words);
        }
        while let Some((opus, timestamp)) = self.sound.take() {
            match self.voice.say(&opus, timestamp).await {
                true => self.sent += 1,
                false => self.unsent += 1,
            }
        }
    }

    /// Turns the devices on, the first time.
    #[cfg(feature = "sound-card")]
    fn turn_on(&mut self) {
        let Some((microphone, loudspeaker)) = self.wanted.take() else { return };
        let (sound, missing) = Sound::open(microphone, loudspeaker, &self.voice.nudge());
        self.sound = sound;
        missing.iter().for_each(|words| self.show.warn(words));
        let (microphone, loudspeaker) = self.sound.is_on();
        self.show.sound(microphone, loudspeaker);
    }

    fn told(&mut self, told: Told) -> Result<(), Stop> {
        match told {
            Told::Joined { udp, instead, members } => {
                if let Some(why) = instead {
                    let words = format!("not by UDP ({}): going over the connection to the server", text::clean(&why));
                    self.show.warn(&words);
                }
                self.members = members.iter().map(|person| (person.uid, person.user.clone())).collect();
                self.show.joined(&self.name, self.voice.channel(), self.voice.uid(), udp, &members);
                #[cfg(feature = "sound-card")]
                self.turn_on();
            }
            Told::Came(person) => {
                self.members.insert(person.uid, person.user.clone());
                self.show.person("came", &person);
            }
            Told::Left(person) => {
                self.members.remove(&person.uid);
                self.quiet(person.uid);
                self.show.person("left", &person);
            }
            Told::Heard { uid, data } => self.heard(uid, &data),
            Told::Away(why) => self.show.away(&why),
            Told::Over(why) => return Err(self.over(&why)),
            Told::Failed(fail) => return Err(refused(&self.name, &fail)),
            Told::Nudged => {}
            Told::Event(event) => self.event(event),
        }
        Ok(())
    }

    fn over(&self, why: &str) -> Stop {
        let words = match why {
            "kicked" => "you were removed from the channel",
            "deleted" => "the channel was deleted",
            "elsewhere" => "you are in it at another place now",
            "left" => "you have left it at another place",
            why => &format!("the server has ended it: {}", text::clean(why)),
        };
        Stop::Refused(format!("{}: {words}", text::clean(&self.name)))
    }

    /// What others write is not lost because somebody talks.
    fn event(&self, event: Event) {
        match event {
            Event::Message { sender, body, .. } => {
                let body = text::clean_body(&body, "  ");
                self.show.warn(&format!("a message of {}: {body}", text::clean(&sender)));
            }
            Event::Notice { text, .. } => {
                self.show.warn(&format!("the operator says: {}", text::clean_body(text.as_bytes(), "  ")));
            }
            _ => {}
        }
    }

    fn heard(&mut self, uid: u64, data: &[u8]) {
        let now = self.now();
        let speaker = self.speakers.entry(uid).or_insert_with(|| Speaker {
            person: Person { uid, user: self.members.get(&uid).cloned().unwrap_or_default() },
            jitter: Jitter::waiting(self.wait),
            heard: None,
            foreign: false,
        });
        match Frame::parse(data) {
            Some(frame) => speaker.jitter.push(now, frame),
            None if std::mem::replace(&mut speaker.foreign, true) => {}
            None if self.recorder.is_some() => {
                let name = text::clean(&speaker.person.name());
                self.show.warn(&format!("what {name} sends is in the format of another client, and is not recorded"));
            }
            None => {}
        }
        if speaker.heard.replace(Instant::now()).is_none() {
            self.show.person("speaks", &speaker.person);
        }
    }

    fn quiet(&mut self, uid: u64) {
        if let Some(speaker) = self.speakers.get_mut(&uid).filter(|speaker| speaker.heard.is_some()) {
            speaker.heard = None;
            #[cfg(feature = "sound-card")]
            self.sound.quiet(uid);
            self.show.person("silent", &speaker.person);
        }
    }

    /// What sounds now, and who is silent now.
    fn sound(&mut self) -> Result<(), Stop> {
        let now = self.now();
        for speaker in self.speakers.values_mut() {
            while let Some(sound) = speaker.jitter.pop(now) {
                #[cfg(feature = "sound-card")]
                self.sound.hear(speaker.person.uid, &sound);
                let Some(recorder) = &mut self.recorder else { continue };
                if let Some(why) = recorder.write(now, &speaker.person.name(), &sound)? {
                    let name = text::clean(&speaker.person.name());
                    self.show.warn(&format!("{name} is not recorded: {why}"));
                }
            }
        }
        let over = |speaker: &&Speaker| speaker.heard.is_some_and(|heard| heard.elapsed() >= SILENT);
        let over: Vec<u64> = self.speakers.values().filter(over).map(|speaker| speaker.person.uid).collect();
        over.into_iter().for_each(|uid| self.quiet(uid));
        Ok(())
    }
}
