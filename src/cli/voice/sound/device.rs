//! The default microphone and loudspeaker. The sound system calls back on threads of its own, which must not wait: they share a buffer
//! with the task, locked for a copy, and nudge it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;

use cpal::traits::DeviceTrait;
use cpal::traits::HostTrait;
use cpal::traits::StreamTrait;
use cpal::BufferSize;
use cpal::Device;
use cpal::Error;
use cpal::ErrorKind;
use cpal::FromSample;
use cpal::SampleFormat;
use cpal::SizedSample;
use cpal::Stream;
use cpal::StreamConfig;
use cpal::SupportedBufferSize;
use cpal::SupportedStreamConfigRange;

use crate::client::voice::mix::Mix;
use crate::client::voice::rate::Rate;
use crate::client::voice::taken::Taken;
use crate::client::voice::taken::PIECES;
use crate::client::voice::toc::RATE;
use crate::client::voice::Nudge;

/// Rates that are taken, in samples a second.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=384_000;

/// Formats of samples, the best first.
const FORMATS: [SampleFormat; 5] =
    [SampleFormat::F32, SampleFormat::I32, SampleFormat::I16, SampleFormat::U16, SampleFormat::U8];

pub type Shared<T> = Arc<Mutex<T>>;

/// Nobody panics while he holds one; if he does, what he left is still only sound.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A device that is on, until this is dropped.
pub struct On {
    _stream: Stream,
    /// In samples a second.
    pub rate: u32,
    trouble: Shared<Option<String>>,
}

impl On {
    /// Why it is no use any more.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }
}

/// A device's way of working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Choice {
    config: StreamConfig,
    format: SampleFormat,
}

/// The nearest to 48 kHz, to so many channels, and to the best format.
fn choose(ranges: impl Iterator<Item = SupportedStreamConfigRange>, channels: u16) -> Option<Choice> {
    let fits = ranges.filter_map(|range| {
        let format = FORMATS.iter().position(|format| *format == range.sample_format())?;
        let rate = RATE.min(range.max_sample_rate()).max(range.min_sample_rate());
        let rank = (rate.abs_diff(RATE), range.channels().abs_diff(channels), format);
        let buffer_size = match *range.buffer_size() {
            SupportedBufferSize::Range { min, max } if (min..=max).contains(&(rate / PIECES)) => {
                BufferSize::Fixed(rate / PIECES)
            }
            _ => BufferSize::Default,
        };
        let config = StreamConfig { channels: range.channels(), sample_rate: rate, buffer_size };
        let good = RATES.contains(&rate) && config.channels > 0;
        good.then_some((rank, Choice { config, format: range.sample_format() }))
    });
    fits.min_by_key(|(rank, _)| *rank).map(|(_, choice)| choice)
}

fn words(error: &Error) -> String {
    match error.kind() {
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => "none was found".to_owned(),
        _ => error.to_string().trim_end_matches('.').to_owned(),
    }
}

fn on(stream: Stream, rate: u32, trouble: Shared<Option<String>>) -> Result<On, Error> {
    stream.play()?;
    Ok(On { _stream: stream, rate, trouble })
}

/// What a device says that has gone wrong.
fn complain(trouble: &Shared<Option<String>>, nudge: &Nudge) -> impl FnMut(Error) + Send + 'static {
    let (trouble, nudge) = (Arc::clone(trouble), nudge.clone());
    move |error| {
        // It goes on after these.
        if matches!(error.kind(), ErrorKind::Xrun | ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged) {
            return log::debug!("sound: {error}");
        }
        lock(&trouble).get_or_insert_with(|| error.to_string());
        nudge.nudge();
    }
}

/// On a thread of its own, as sound systems like to write to the terminal, and this keeps that of ALSA from one thread.
fn quietly(open: impl FnOnce() -> Result<On, String> + Send + 'static) -> Result<On, String> {
    let opened = thread::spawn(move || {
        #[cfg(target_os = "linux")]
        let _words = alsa::Output::local_error_handler();
        open()
    });
    opened.join().unwrap_or_else(|_| Err("the sound system does not work".to_owned()))
}

/// Tries the choice, and then the same with pieces of the device's own length.
fn either(choice: Choice, build: impl Fn(StreamConfig) -> Result<On, Error>) -> Result<On, String> {
    let built = build(choice.config);
    let built = built.or_else(|_| build(StreamConfig { buffer_size: BufferSize::Default, ..choice.config }));
    built.map_err(|error| words(&error))
}

const NONE: &str = "none was found";
const OTHER: &str = "it has no format that can be used";

/// Turns the default microphone on.
///
/// # Errors
/// In words: there is none, or it does not work.
pub fn microphone(taken: &Shared<Taken>, nudge: &Nudge) -> Result<On, String> {
    let (taken, nudge) = (Arc::clone(taken), nudge.clone());
    quietly(move || {
        let device = cpal::default_host().default_input_device().ok_or(NONE)?;
        let ranges = device.supported_input_configs().map_err(|error| words(&error))?;
        let choice = choose(ranges, 1).ok_or(OTHER)?;
        either(choice, |config| match choice.format {
            SampleFormat::F32 => listen::<f32>(&device, config, &taken, &nudge),
            SampleFormat::I32 => listen::<i32>(&device, config, &taken, &nudge),
            SampleFormat::I16 => listen::<i16>(&device, config, &taken, &nudge),
            SampleFormat::U16 => listen::<u16>(&device, config, &taken, &nudge),
            _ => listen::<u8>(&device, config, &taken, &nudge),
        })
    })
}

fn listen<T>(device: &Device, config: StreamConfig, taken: &Shared<Taken>, nudge: &Nudge) -> Result<On, Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let trouble = Shared::default();
    let complain = complain(&trouble, nudge);
    let (taken, nudge, rate) = (Arc::clone(taken), nudge.clone(), config.sample_rate);
    let channels = usize::from(config.channels.max(1));
    let mut piece: Vec<f32> = Vec::new();
    let heard = move |data: &[T], _: &cpal::InputCallbackInfo| {
        let one = |frame: &[T]| frame.iter().map(|sample| f32::from_sample_(*sample)).sum::<f32>() / channels as f32;
        piece.clear();
        piece.extend(data.chunks_exact(channels).map(one));
        if lock(&taken).put(&piece, rate) {
            nudge.nudge();
        }
    };
    on(device.build_input_stream(config, heard, complain, None)?, rate, trouble)
}

/// Turns the default loudspeaker on.
///
/// # Errors
/// In words: there is none, or it does not work.
pub fn loudspeaker(mix: &Shared<Mix>, nudge: &Nudge) -> Result<On, String> {
    let (mix, nudge) = (Arc::clone(mix), nudge.clone());
    quietly(move || {
        let device = cpal::default_host().default_output_device().ok_or(NONE)?;
        let ranges = device.supported_output_configs().map_err(|error| words(&error))?;
        let choice = choose(ranges, 2).ok_or(OTHER)?;
        either(choice, |config| match choice.format {
            SampleFormat::F32 => sound::<f32>(&device, config, &mix, &nudge),
            SampleFormat::I32 => sound::<i32>(&device, config, &mix, &nudge),
            SampleFormat::I16 => sound::<i16>(&device, config, &mix, &nudge),
            SampleFormat::U16 => sound::<u16>(&device, config, &mix, &nudge),
            _ => sound::<u8>(&device, config, &mix, &nudge),
        })
    })
}

fn sound<T>(device: &Device, config: StreamConfig, mix: &Shared<Mix>, nudge: &Nudge) -> Result<On, Error>
where
    T: SizedSample + FromSample<f32>,
{
    let trouble = Shared::default();
    let complain = complain(&trouble, nudge);
    let mix = Arc::clone(mix);
    let channels = usize::from(config.channels.max(1));
    let mut rate = Rate::new(RATE, config.sample_rate);
    let (mut piece, mut ready) = (Vec::new(), VecDeque::new());
    let wanted = move |data: &mut [T], _: &cpal::OutputCallbackInfo| {
        let missing = (data.len() / channels).saturating_sub(ready.len());
        piece.resize(rate.needs(missing), 0.0);
        lock(&mix).take(&mut piece);
        piece.iter().for_each(|sample| rate.feed(*sample, |sample| ready.push_back(sample)));
        for frame in data.chunks_mut(channels) {
            frame.fill(T::from_sample_(ready.pop_front().unwrap_or_default()));
        }
    };
    on(device.build_output_stream(config, wanted, complain, None)?, config.sample_rate, trouble)
}
