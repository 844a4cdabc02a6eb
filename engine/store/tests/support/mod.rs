//! A PostgreSQL server of the test's own, on a socket in a folder of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A server that ends with this.
pub(crate) struct Postgres {
    dir: tempfile::TempDir,
    bin: PathBuf,
}

impl Postgres {
    /// Makes a cluster and starts it. `None` where PostgreSQL is not installed.
    pub(crate) fn start() -> Option<Self> {
        let bin = installed()?;
        let dir = tempfile::tempdir().expect("a folder");
        // The server refuses to run as root, and its own user must get in.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).expect("ours");
        let server = Self { dir, bin };
        let data = server.data();
        server.run("initdb", &["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "-D", &data]);
        let sockets = server.dir.path().display().to_string();
        let options = format!("-c listen_addresses='' -c unix_socket_directories='{sockets}' -c fsync=off");
        let log = server.dir.path().join("log").display().to_string();
        server.run("pg_ctl", &["-D", &data, "-l", &log, "-w", "-t", "60", "-o", &options, "start"]);
        Some(server)
    }

    /// Makes a database and tells its address.
    pub(crate) fn database(&self, name: &str) -> String {
        let sockets = self.dir.path().display().to_string();
        self.run("createdb", &["-h", &sockets, "-U", "postgres", name]);
        format!("postgres://postgres@localhost/{name}?host={sockets}")
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // The server keeps what it inherits: a pipe would never end.
        let out = std::fs::File::create(self.dir.path().join("out")).expect("ours");
        let status = command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a handle"))
            .stderr(out)
            .status()
            .expect("it starts");
        let said = std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
        assert!(status.success(), "{command:?}: {said}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.data();
        if Path::new(&data).join("postmaster.pid").exists() {
            self.run("pg_ctl", &["-D", &data, "-m", "immediate", "-w", "stop"]);
        }
        // Files of another user, which root may delete and nobody else has.
        let _ = std::fs::remove_dir_all(&data);
    }
}

/// Where the newest release's programs lie.
fn installed() -> Option<PathBuf> {
    let releases = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let with_bin =
        releases.map(|release| release.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    with_bin.max()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
