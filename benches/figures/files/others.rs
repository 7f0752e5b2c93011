//! The programs that Convergia is set beside: nginx and sshd, each with a configuration, keys and a port of its own.

use std::fs;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::process::kill_process;
use rustix::process::Pid;
use rustix::process::Signal;

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that was started here, and is ended here.
pub struct Other {
    child: Child,
    pub port: u16,
}

impl Other {
    fn start(mut command: Command, port: u16, log: &Path) -> Result<Other> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(log)?).spawn()?;
        let mut other = Other { child, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if other.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let words = fs::read_to_string(log)?;
                return Err(format!("{:?} does not start: {words}", command.get_program()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(other)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Not killed: it ends its own children.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// Where a program is; None: not installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut programs =
        path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]).map(|folder| Path::new(folder).join(name));
    programs.find(|program| program.is_file())
}

/// Which of them are not installed.
pub fn missing(names: &[&str]) -> Option<String> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| find(name).is_none()).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// Taken by nobody right now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// nginx with WebDAV's PUT over TLS 1.3, below `folder`. curl checks its certificate with `certificate.pem` there.
pub fn nginx(folder: &Path, workers: &str) -> Result<Other> {
    let (port, here) = (free_port()?, folder.display());
    fs::create_dir_all(folder.join("files"))?;
    fs::create_dir_all(folder.join("temporary"))?;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    fs::write(folder.join("certificate.pem"), certificate.pem())?;
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = kinds.map(|kind| format!("{kind}_temp_path {here}/temporary;\n")).concat();
    // As root its workers would be somebody else, who may not write here.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let text = format!(
        "{user}daemon off;\nworker_processes {workers};\npid {here}/pid;\nevents {{ }}\nhttp {{\naccess_log off;\nsendfile on;\n\
         client_max_body_size 0;\n{temporary}server {{\nlisten 127.0.0.1:{port} ssl;\nssl_protocols TLSv1.3;\n\
         ssl_certificate {here}/certificate.pem;\nssl_certificate_key {here}/key.pem;\nroot {here}/files;\n\
         location / {{ dav_methods PUT; }}\n}}\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), text)?;
    let mut command = Command::new(find("nginx").ok_or("no nginx")?);
    command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    Other::start(command, port, &folder.join("output.log"))
}

/// sshd for whoever runs this, with a fresh key each for server and user.
pub fn sshd(folder: &Path) -> Result<(Other, String)> {
    let (port, here) = (free_port()?, folder.display());
    fs::create_dir_all(folder)?;
    for name in ["host", "user"] {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name));
        if !command.stdin(Stdio::null()).status()?.success() {
            return Err("ssh-keygen makes no key".into());
        }
    }
    let text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nAuthorizedKeysFile {here}/user.pub\nPidFile {here}/pid\n\
         PermitRootLogin yes\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
    );
    fs::write(folder.join("sshd_config"), text)?;
    let mut command = Command::new(find("sshd").ok_or("no sshd")?);
    command.arg("-D").arg("-e").arg("-f").arg(folder.join("sshd_config"));
    let other = Other::start(command, port, &folder.join("output.log"))?;
    let shell = format!(
        "ssh -p {port} -i {here}/user -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    );
    Ok((other, shell))
}
