//! The object store, against a real server: moto, from PyPI. Without it these are not run, and fail where CI is set.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use convergia::blocks::s3::Place;
use convergia::blocks::s3::S3;
use convergia::blocks::BlockStore;
use convergia::blocks::Error;
use convergia::blocks::Hash;
use convergia::blocks::Stored;
use convergia::config;
use convergia::config::Overrides;

use super::all;
use super::content;
use super::support::Random;
use super::support::TempDir;

const MOST: usize = 5000;
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// moto, on a port of its own, with one bucket.
struct Moto {
    child: Child,
    address: String,
}

impl Moto {
    fn start() -> Option<Moto> {
        let moto = Moto::start_with(&[])?;
        assert!(moto.raw("PUT", "/kept", b"").starts_with("HTTP/1.1 200"));
        Some(moto)
    }

    fn start_with(arguments: &[&str]) -> Option<Moto> {
        let started = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", "0"])
            .args(arguments)
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "CI must have moto_server: {error}");
                println!("NOT RUN: no moto_server (pip install 'moto[server]'): {error}");
                return None;
            }
        };
        let mut lines = BufReader::new(child.stderr.take().expect("its words")).lines();
        let address = loop {
            let line = lines.next().expect("it says where it listens").expect("a line");
            if let Some((_, address)) = line.split_once("Running on http").and_then(|(_, url)| url.split_once("://")) {
                break address.trim().to_owned();
            }
        };
        // It says a line for each request, and must not wait for someone to read it.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Moto { child, address })
    }

    /// A request of our own: this server looks at no signature, but wants one.
    fn raw(&self, method: &str, path: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("moto");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {SIGNED}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn place(&self, prefix: &str) -> Place {
        Place {
            endpoint: format!("http://{}", self.address),
            bucket: "kept".to_owned(),
            region: "eu-central-1".to_owned(),
            prefix: prefix.to_owned(),
            access_key: "somebody".to_owned(),
            secret: "secret".to_owned().into(),
            ca: None,
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn put(store: &S3, data: &[u8]) -> Stored {
    store.put(&[data]).remove(0).expect("put")
}

#[test]
fn a_bucket_keeps_blocks() {
    let Some(moto) = Moto::start() else { return };
    let place = moto.place("a/b ü+&/");
    let mut store = S3::open(&place, 1 << 30).expect("the store");
    let mut random = Random::seeded();
    let mut model: BTreeMap<Hash, (u64, u64)> = BTreeMap::new();
    let mut last = 0;
    for _ in 0..60 {
        match random.below(8) {
            0..4 => {
                let numbers: Vec<u64> = (0..1 + random.below(12)).map(|_| random.below(30)).collect();
                let blocks: Vec<Vec<u8>> = numbers.iter().map(|n| content(*n, MOST)).collect();
                let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
                for (n, stored) in numbers.iter().zip(store.put(&blocks)) {
                    let stored = stored.expect("put");
                    assert!(stored.seq > last, "seq {} after {last}", stored.seq);
                    last = stored.seq;
                    model.insert(stored.hash, (stored.seq, *n));
                }
            }
            4..7 => {
                let some: Vec<(Hash, u64)> = model.iter().map(|(hash, (seq, _))| (*hash, *seq)).collect();
                let some: Vec<(Hash, u64)> = some.into_iter().filter(|_| random.below(4) == 0).collect();
                // One with the seq of an earlier put stays.
                let stale = model.iter().find(|(hash, _)| !some.iter().any(|(other, _)| other == *hash));
                let asked: Vec<(Hash, u64)> =
                    some.iter().copied().chain(stale.map(|(hash, (seq, _))| (*hash, seq - 1))).collect();
                let gone = store.delete(&asked).expect("deleting");
                assert_eq!(gone, some.iter().map(|(hash, _)| *hash).collect::<Vec<Hash>>());
                model.retain(|hash, _| !gone.contains(hash));
            }
            _ => {
                drop(store);
                store = S3::open(&place, 1 << 30).expect("the store again");
            }
        }
        let listed: Vec<(Hash, u64)> = all(&store, 7).iter().map(|listed| (listed.hash, listed.seq)).collect();
        assert_eq!(listed, model.iter().map(|(hash, (seq, _))| (*hash, *seq)).collect::<Vec<(Hash, u64)>>());
        let sizes = model.values().map(|(_, n)| content(*n, MOST).len() as u64);
        assert_eq!((store.usage().blocks, store.usage().used), (model.len() as u64, sizes.sum()));
    }
    for (hash, (_, n)) in &model {
        assert_eq!(store.get(hash).as_deref(), Ok(content(*n, MOST).as_slice()));
    }
    assert_eq!(store.get(&Hash([1; 32])), Err(Error::NotFound));
    assert_eq!(store.tend(), Ok(false));
}

#[test]
fn what_a_crash_or_somebody_else_leaves() {
    let Some(moto) = Moto::start() else { return };
    let place = moto.place("p/");
    let store = S3::open(&place, 100_000).expect("the store");
    let kept = put(&store, b"kept");
    let object = |name: &str| format!("/kept/p/{name}");
    // Cut off between the block and its seq, and between the two when it was deleted; objects of others.
    let half = Hash::of(b"half");
    moto.raw("PUT", &object(&half.to_string()), b"half");
    moto.raw("PUT", &object(&format!("{}.{:016x}", Hash::of(b"gone"), 77)), b"");
    moto.raw("PUT", &object("zzz"), b"other");
    moto.raw("PUT", "/kept/other", b"other");
    drop(store);
    let store = S3::open(&place, 100_000).expect("the store again");
    let listed: BTreeMap<Hash, u64> = all(&store, 1).iter().map(|listed| (listed.hash, listed.seq)).collect();
    assert_eq!(listed, BTreeMap::from([(kept.hash, kept.seq), (half, 0)]));
    assert!(!moto.raw("GET", "/kept", b"").contains(&Hash::of(b"gone").to_string()));
    assert_eq!(store.delete(&[(half, 0), (kept.hash, 0)]), Ok(vec![half]));
    // Changed, made longer than any block, taken away.
    moto.raw("PUT", &object(&kept.hash.to_string()), b"bent");
    assert_eq!(store.get(&kept.hash), Err(Error::Rotten));
    moto.raw("PUT", &object(&kept.hash.to_string()), &vec![1; (1 << 20) + 1]);
    assert_eq!(store.get(&kept.hash), Err(Error::Rotten));
    moto.raw("DELETE", &object(&kept.hash.to_string()), b"");
    assert_eq!(store.get(&kept.hash), Err(Error::NotFound));
    // All that told seqs is lost, but not what was given.
    assert!(put(&store, b"kept").seq > kept.seq);
    let large = vec![3; 1 << 20];
    assert_eq!(store.put(&[&large, b"small"]).iter().map(|answer| answer.is_ok()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(store.put(&[&large]), [Err(Error::Full)]);
    drop(store);
    let store = S3::open(&place, 2 << 20).expect("the store again");
    put(&store, &large);
    assert_eq!(store.get(&Hash::of(&large)), Ok(large));
}

/// More than a page of the server's.
#[test]
fn long_lists() {
    let Some(moto) = Moto::start() else { return };
    let store = S3::open(&moto.place(""), 1 << 30).expect("the store");
    let blocks: Vec<Vec<u8>> = (0..700).map(|n| content(n, 30)).collect();
    let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
    assert!(store.put(&blocks).iter().all(Result::is_ok));
    assert_eq!(all(&store, 333).len(), 700);
    drop(store);
    let store = S3::open(&moto.place(""), 1 << 30).expect("the store again");
    assert_eq!(store.usage().blocks, 700);
}

#[test]
fn words_when_it_does_not_work() {
    let Some(moto) = Moto::start() else { return };
    let store = S3::open(&moto.place("x/"), 1 << 30).expect("the store");
    let refused = S3::open(&Place { bucket: "nowhere".to_owned(), ..moto.place("x/") }, 1).err().expect("no bucket");
    assert!(refused.contains("nowhere") && refused.contains("404 NoSuchBucket"), "{refused}");
    let stored = put(&store, b"x");
    drop(moto);
    let Err(Error::Io(words)) = store.get(&stored.hash) else { panic!("the server is gone") };
    assert!(words.starts_with("object store: reading x/") && !words.contains("Signature"), "{words}");
    assert!(matches!(store.put(&[b"y"]).remove(0), Err(Error::Io(_))));
    assert!(matches!(store.delete(&[(stored.hash, stored.seq)]), Err(Error::Io(_))));
    assert!(matches!(store.list(None, 1), Err(Error::Io(_))));
}

#[test]
fn the_secret_is_in_a_file_for_its_owner() {
    let temp = TempDir::new();
    let file = temp.path().join("secret");
    let parse = || {
        let text = format!(
            "[data]\nstore = \"s3\"\ns3_endpoint = \"https://s3.example\"\ns3_bucket = \"b\"\ns3_access_key = \"k\"\n\
             s3_secret_key_file = \"{}\"\n",
            file.display()
        );
        Place::of(&config::parse("x.toml", &text, &Overrides::default()).expect("good"))
    };
    assert!(parse().err().expect("no file").contains("secret: "));
    std::fs::write(&file, "word\n").expect("writing");
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("chmod");
    mode(0o640);
    assert!(parse().err().expect("open to others").contains("chmod 600"));
    mode(0o600);
    let place = parse().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((place.secret.as_str(), place.prefix.as_str()), ("word", "blocks/"));
    std::fs::write(&file, "two words").expect("writing");
    assert!(parse().is_err());
}

/// A CA, and a certificate of it for 127.0.0.1 with its key, all as PEM.
fn certificates() -> (String, String, String) {
    let key = || rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "a CA of our own");
    let ca = rcgen::CertifiedIssuer::self_signed(params, key()).expect("a CA");
    let own = key();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&own, &ca).expect("a certificate");
    (ca.pem(), certificate.pem(), own.serialize_pem())
}

#[test]
fn over_tls_with_a_ca_of_its_own() {
    let temp = TempDir::new();
    let (ca, certificate, key) = certificates();
    let (other, _, _) = certificates();
    let file = |name: &str, text: &str| {
        let path = temp.path().join(name);
        std::fs::write(&path, text).expect("writing");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (ca, other) = (file("ca.pem", &ca), file("other.pem", &other));
    let (certificate, key) = (file("certificate.pem", &certificate), file("key.pem", &key));
    let Some(moto) = Moto::start_with(&["-c", &certificate, "-k", &key]) else { return };
    let place = |host: &str, ca: &str| {
        let port = moto.address.rsplit_once(':').expect("a port").1;
        let text = format!(
            "[data]\nstore = \"s3\"\ns3_endpoint = \"https://{host}:{port}\"\ns3_bucket = \"kept\"\ns3_access_key = \"k\"\n\
             s3_secret_key_file = \"{}\"\ns3_ca_file = \"{ca}\"\n",
            file("secret", "word")
        );
        Place::of(&config::parse("x.toml", &text, &Overrides::default()).expect("good"))
    };
    // moto has the bucket once somebody made it, over TLS too.
    let trusted = ureq::tls::Certificate::from_pem(&std::fs::read(&ca).expect("the CA")).expect("PEM");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::new_with_certs(&[trusted]))
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).proxy(None).build().into();
    let made = agent.put(format!("https://{}/kept", moto.address)).header("Authorization", SIGNED).send_empty();
    assert_eq!(made.expect("an answer").status(), 200);

    let store =
        S3::open(&place("127.0.0.1", &ca).unwrap_or_else(|error| panic!("{error}")), 1 << 30).expect("the store");
    let large = content(1, 1 << 20);
    let stored = put(&store, &large);
    assert_eq!(store.get(&stored.hash), Ok(large));
    assert_eq!(all(&store, 10).len(), 1);
    assert_eq!(store.delete(&[(stored.hash, stored.seq)]), Ok(vec![stored.hash]));
    // Nobody else is trusted: not the public CAs' word, not another CA's, not for another name.
    for (host, ca) in [("127.0.0.1", ""), ("127.0.0.1", other.as_str()), ("localhost", ca.as_str())] {
        let place = place(host, ca).unwrap_or_else(|error| panic!("{error}"));
        let refused = S3::open(&place, 1 << 30).err().unwrap_or_else(|| panic!("{host} {ca} is trusted"));
        assert!(refused.contains("certificate"), "{host} {ca}: {refused}");
    }
    // What is no certificate says so before anything is sent.
    for (name, text) in [("none", ""), ("key", &*std::fs::read_to_string(&key).expect("the key"))] {
        let words = place("127.0.0.1", &file(name, text)).err().expect("no certificate");
        assert!(words.contains(name) && words.contains("no certificate"), "{words}");
    }
    assert!(place("127.0.0.1", "/nonexistent").is_err_and(|words| words.starts_with("/nonexistent: ")));
}
