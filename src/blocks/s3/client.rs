//! The few requests that are made of an object store: signed by rusty-s3, sent by a blocking client.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use rusty_s3::actions::ListObjectsV2;
use rusty_s3::Bucket;
use rusty_s3::Credentials;
use rusty_s3::S3Action;
use rusty_s3::UrlStyle;
use ureq::http::Response;
use ureq::tls::parse_pem;
use ureq::tls::PemItem;
use ureq::tls::RootCerts;
use ureq::tls::TlsConfig;
use ureq::Agent;
use ureq::Body;
use zeroize::Zeroizing;

use crate::blocks::Error;
use crate::blocks::Hash;
use crate::config::Config;

/// How long a connection may take to be there, and a request all together.
const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(30);
/// How long a signature is good.
const SIGNED: Duration = Duration::from_secs(300);
/// A page of a list has at most 1,000 names of at most 1 KiB, with some more around each.
const MAX_PAGE: usize = 4 << 20;
/// What is read of an error, in bytes.
const MAX_ERROR: usize = 16 << 10;
/// How often a request is sent if the connection breaks, or the store says that it is busy.
const TRIES: usize = 2;

/// Where the objects are, and with which right.
pub struct Place {
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    /// What every name begins with.
    pub prefix: String,
    pub access_key: String,
    pub secret: Zeroizing<String>,
    /// Certificates (PEM) that are trusted in place of the public CAs.
    pub ca: Option<Vec<u8>>,
}

impl Place {
    /// From the configuration; reads the files of the secret and of the CA.
    ///
    /// # Errors
    /// In words.
    pub fn of(config: &Config) -> Result<Place, String> {
        let s3 = &config.data.s3;
        let path = s3.secret_key_file.as_deref().ok_or("data.s3_secret_key_file is empty")?;
        let fail = |error: std::io::Error| format!("{}: {error}", path.display());
        let mode = fs::metadata(path).map_err(fail)?.mode();
        if mode & 0o077 != 0 {
            return Err(format!("{}: others may read it: chmod 600", path.display()));
        }
        let text = fs::read_to_string(path).map(Zeroizing::new).map_err(fail)?;
        let secret = Zeroizing::new(text.trim().to_owned());
        if secret.is_empty() || secret.contains(char::is_whitespace) {
            return Err(format!("{}: must hold the secret in one line", path.display()));
        }
        let ca = s3.ca_file.as_deref().map(|path| {
            let pem = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            roots(&pem).map_err(|words| format!("{}: {words}", path.display()))?;
            Ok::<_, String>(pem)
        });
        Ok(Place {
            endpoint: s3.endpoint.clone(),
            bucket: s3.bucket.clone(),
            region: s3.region.clone(),
            prefix: s3.prefix.clone(),
            access_key: s3.access_key.clone(),
            secret,
            ca: ca.transpose()?,
        })
    }

    /// For messages.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.endpoint.trim_end_matches('/'), self.bucket, self.prefix)
    }
}

/// The certificates in a PEM text.
fn roots(pem: &[u8]) -> Result<RootCerts, String> {
    let items = parse_pem(pem).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let certificates = items.into_iter().filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    match certificates.is_empty() {
        true => Err("there is no certificate in it (PEM)".to_owned()),
        false => Ok(RootCerts::new_with_certs(&certificates)),
    }
}

/// Names of objects, without the prefix.
pub struct Key;

impl Key {
    /// The object that tells a block's seq.
    pub fn seq(hash: &Hash, seq: u64) -> String {
        format!("{hash}.{seq:016x}")
    }

    /// The block that an object is of, and the seq if it tells that. None: it is not ours.
    pub fn parse(key: &str) -> Option<(Hash, Option<u64>)> {
        let Some((hash, seq)) = key.split_once('.') else { return Some((Hash::parse(key)?, None)) };
        let (hash, number) = (Hash::parse(hash)?, u64::from_str_radix(seq, 16).ok()?);
        (Key::seq(&hash, number) == key).then_some((hash, Some(number)))
    }
}

/// A page of a list.
pub struct Page {
    /// Names without the prefix, and sizes.
    pub entries: Vec<(String, u64)>,
    /// Whether another page follows.
    pub more: bool,
}

/// Sends requests.
pub struct Client {
    agent: Agent,
    bucket: Bucket,
    credentials: Credentials,
    prefix: String,
}

impl Client {
    /// A client for that place; sends nothing yet.
    ///
    /// # Errors
    /// In words: the endpoint or the bucket's name is no good.
    pub fn new(place: &Place) -> Result<Client, String> {
        let Ok(endpoint) = place.endpoint.parse() else {
            return Err(format!("data.s3_endpoint {:?} is no URL", place.endpoint));
        };
        let bucket = Bucket::new(endpoint, UrlStyle::Path, place.bucket.clone(), place.region.clone());
        let bucket = bucket.map_err(|error| format!("data.s3_bucket {:?}: {error}", place.bucket))?;
        let trusted = place.ca.as_deref().map_or(Ok(RootCerts::WebPki), roots)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(REQUEST))
            .tls_config(TlsConfig::builder().root_certs(trusted).unversioned_rustls_crypto_provider(provider).build())
            .build();
        let credentials = Credentials::new(place.access_key.clone(), place.secret.as_str());
        Ok(Client { agent: config.into(), bucket, credentials, prefix: place.prefix.clone() })
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Sends until there is an answer that counts.
    fn send(
        &self,
        what: fmt::Arguments<'_>,
        request: impl Fn() -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, Error> {
        let mut tries: usize = 0;
        loop {
            tries = tries.saturating_add(1);
            match request() {
                Ok(answer) if answer.status().is_server_error() && tries < TRIES => (),
                Ok(answer) => return Ok(answer),
                Err(ureq::Error::Io(_)) if tries < TRIES => (),
                Err(error) => return Err(Error::Io(format!("object store: {what}: {error}"))),
            }
        }
    }

    /// A status that is not as it should be, with what the store says of it.
    fn refused(what: fmt::Arguments<'_>, mut answer: Response<Body>) -> Error {
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MAX_ERROR as u64).read_to_vec().unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        let tag = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let (inner, _) = rest.split_once("</")?;
            Some(inner.chars().filter(|c| !c.is_control()).take(200).collect::<String>())
        };
        let why = [tag("Code"), tag("Message")].into_iter().flatten().collect::<Vec<_>>().join(": ");
        Error::Io(format!("object store: {what}: status {status} {why}").trim_end().to_owned())
    }

    fn body(what: fmt::Arguments<'_>, mut answer: Response<Body>, limit: usize) -> Result<Vec<u8>, Error> {
        // One more than allowed, to tell what is too long from what just fits.
        let limit = (limit as u64).saturating_add(1);
        let read = answer.body_mut().with_config().limit(limit).read_to_vec();
        read.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => Error::Rotten,
            error => Error::Io(format!("object store: {what}: {error}")),
        })
    }

    /// Stores an object; it is durable then.
    ///
    /// # Errors
    /// `Io`.
    pub fn put(&self, key: &str, data: &[u8]) -> Result<(), Error> {
        let name = self.name(key);
        let what = format_args!("storing {name}");
        let url = self.bucket.put_object(Some(&self.credentials), &name).sign(SIGNED);
        let answer = self.send(what, || {
            // Some stores want to be told that there is nothing, too.
            self.agent.put(url.as_str()).header("content-length", data.len().to_string()).send(data)
        })?;
        if answer.status().as_u16() == 200 {
            Ok(())
        } else {
            Err(Client::refused(what, answer))
        }
    }

    /// Reads an object of at most `limit` bytes; none: there is none.
    ///
    /// # Errors
    /// `Rotten`: it is longer. `Io`.
    pub fn get(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let name = self.name(key);
        let what = format_args!("reading {name}");
        let url = self.bucket.get_object(Some(&self.credentials), &name).sign(SIGNED);
        let answer = self.send(what, || self.agent.get(url.as_str()).call())?;
        match answer.status().as_u16() {
            200 => Client::body(what, answer, limit).map(Some),
            404 => {
                let error = Client::refused(what, answer);
                // A bucket that is not there is no block that is not there.
                if matches!(&error, Error::Io(words) if words.contains("NoSuchBucket")) {
                    Err(error)
                } else {
                    Ok(None)
                }
            }
            _ => Err(Client::refused(what, answer)),
        }
    }

    /// The bytes of an object; none: there is none.
    ///
    /// # Errors
    /// `Io`.
    pub fn size(&self, key: &str) -> Result<Option<u64>, Error> {
        let name = self.name(key);
        let what = format_args!("looking for {name}");
        let url = self.bucket.head_object(Some(&self.credentials), &name).sign(SIGNED);
        let answer = self.send(what, || self.agent.head(url.as_str()).call())?;
        let length = answer.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
        match answer.status().as_u16() {
            200 => Ok(length),
            404 => Ok(None),
            _ => Err(Client::refused(what, answer)),
        }
    }

    /// Deletes an object; it may be gone already.
    ///
    /// # Errors
    /// `Io`.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        let name = self.name(key);
        let what = format_args!("deleting {name}");
        let url = self.bucket.delete_object(Some(&self.credentials), &name).sign(SIGNED);
        let answer = self.send(what, || self.agent.delete(url.as_str()).call())?;
        match answer.status().as_u16() {
            200 | 204 | 404 => Ok(()),
            _ => Err(Client::refused(what, answer)),
        }
    }

    /// A page of the objects whose names begin so, from the first after `after`.
    ///
    /// # Errors
    /// `Io`.
    pub fn list(&self, begin: &str, after: Option<&str>) -> Result<Page, Error> {
        let what = format_args!("listing");
        let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
        action.with_prefix(self.name(begin));
        if let Some(after) = after {
            action.with_start_after(self.name(after));
        }
        let url = action.sign(SIGNED);
        let answer = self.send(what, || self.agent.get(url.as_str()).call())?;
        if answer.status().as_u16() != 200 {
            return Err(Client::refused(what, answer));
        }
        let bytes = Client::body(what, answer, MAX_PAGE)?;
        let text = String::from_utf8_lossy(&bytes);
        let page = ListObjectsV2::parse_response(&text)
            .map_err(|error| Error::Io(format!("object store: a list that cannot be read: {error}")))?;
        let entries = page.contents.into_iter().filter_map(|entry| {
            let key = entry.key.strip_prefix(&self.prefix)?.to_owned();
            Some((key, entry.size.unwrap_or(0)))
        });
        Ok(Page { entries: entries.collect(), more: page.next_continuation_token.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects() {
        let hash = Hash::of(b"x");
        assert_eq!(Key::parse(&hash.to_string()), Some((hash, None)));
        assert_eq!(Key::parse(&Key::seq(&hash, 77)), Some((hash, Some(77))));
        for other in
            ["seq-limit", "", ".", &format!("{hash}."), &format!("{hash}.4d"), &format!("{hash}.+00000000000004d")]
        {
            assert_eq!(Key::parse(other), None, "{other}");
        }
        assert_eq!(Key::parse(&hash.to_string().to_uppercase()), None);
    }
}
