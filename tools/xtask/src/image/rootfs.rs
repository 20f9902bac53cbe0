//! The root file system of the image.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::Form;
use crate::step::{self, cargo};

/// A folder that is the root of a container.
pub(super) struct Rootfs {
    folder: PathBuf,
    /// What the binary loads, by its path on the machine that built it.
    libraries: Vec<PathBuf>,
}

impl Rootfs {
    /// Builds the binary and lays it out with what it needs.
    pub(super) fn make(folder: &Path, target: &Path, profile: &str, form: Form) -> Result<Self> {
        let mut build = cargo(["build", "--locked", "--workspace", "--bin", "coap-adapter"]);
        build.arg(form.flag());
        if profile == "release" {
            build.arg("--release");
        }
        step::run(&mut build)?;
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let folder = folder.to_owned();
        let built = target.join(profile).join("coap-adapter");
        let libraries = libraries(&built)?;
        let rootfs = Self { folder, libraries };
        for place in ["etc/ssl/certs", "tmp", "usr/share/doc/coap-adapter"] {
            fs::create_dir_all(rootfs.path(place))?;
        }
        let binary = rootfs.path("coap-adapter");
        // What a debugger needs stays behind; names of functions stay for the traces of a crash.
        let mut strip = Command::new("strip");
        step::run(
            strip
                .arg("--strip-debug")
                .arg("-o")
                .arg(&binary)
                .arg(&built),
        )?;
        for library in &rootfs.libraries {
            rootfs.copy(library)?;
        }
        rootfs.copy(Path::new(AUTHORITIES))?;
        fs::write(
            rootfs.path("etc/passwd"),
            "nobody:x:65532:65532:nobody:/:/none\n",
        )?;
        fs::write(rootfs.path("etc/group"), "nobody:x:65532:\n")?;
        fs::write(rootfs.path("etc/nsswitch.conf"), "hosts: files dns\n")?;
        Ok(rootfs)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name.trim_start_matches('/'))
    }

    fn copy(&self, from: &Path) -> Result<()> {
        let to = self.path(&from.to_string_lossy());
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// Which Debian packages the files come from, with their versions.
    pub(super) fn packages(&self) -> Result<Vec<(String, String)>> {
        let mut packages = Vec::new();
        for file in self.libraries.iter().map(PathBuf::as_path) {
            // A package knows a file by its real path.
            let real = file.canonicalize()?;
            let real = real.to_string_lossy();
            let merged = real.strip_prefix("/usr").unwrap_or(&real);
            let owner = [real.as_ref(), merged].iter().find_map(|path| {
                let mut ask = Command::new("dpkg-query");
                step::output(ask.args(["--search", path]).stderr(Stdio::null())).ok()
            });
            let owner = owner.with_context(|| format!("no package has {real}"))?;
            let name = owner
                .split([':', ','])
                .next()
                .unwrap_or_default()
                .to_owned();
            packages.push(name);
        }
        packages.push("ca-certificates".to_owned());
        packages.sort();
        packages.dedup();
        let version = |name: String| {
            let mut ask = Command::new("dpkg-query");
            let version = step::output(ask.args(["--show", "--showformat=${Version}", &name]))?;
            Ok((name, version))
        };
        packages.into_iter().map(version).collect()
    }

    /// Tells what is in the image, and how large it is.
    pub(super) fn show(&self) -> Result<()> {
        for library in &self.libraries {
            println!("image: the binary loads {}", library.display());
        }
        let mut bytes = 0;
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else {
                    bytes += entry.metadata()?.len();
                }
            }
        }
        println!("image: {} MB in all", bytes / 1_000_000);
        ensure!(
            bytes < LARGEST || self.is_debug(),
            "the image is larger than {LARGEST} bytes"
        );
        Ok(())
    }

    fn is_debug(&self) -> bool {
        fs::metadata(self.path("coap-adapter")).is_ok_and(|binary| binary.len() > LARGEST / 2)
    }

    /// Runs the binary with this as its root: as nobody, and with nothing there that it could write to.
    pub(super) fn starts(&self) -> Result<()> {
        let output = self.enter(&["--version"])?.output()?;
        let reported = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && reported.starts_with("coap-adapter "),
            "the binary does not run in the image: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        println!(
            "image: {} runs in it as an unprivileged user",
            reported.trim()
        );
        Ok(())
    }

    /// The binary, ready to run inside.
    pub(super) fn enter(&self, words: &[&str]) -> Result<Command> {
        if step::output(Command::new("id").arg("-u"))?.trim() != "0" {
            bail!("only root may enter the image; run this as root, or in a container");
        }
        // Writable here means writable in a container whose file system is not read-only.
        fs::set_permissions(self.path("tmp"), fs::Permissions::from_mode(0o755))?;
        let mut enter = Command::new("chroot");
        enter.arg("--userspec=65532:65532").arg(&self.folder);
        enter
            .arg("/coap-adapter")
            .args(words)
            .env_clear()
            .stdin(Stdio::null());
        enter.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Ok(enter)
    }
}

/// What the loader finds for the binary.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let reported = step::output(Command::new("ldd").arg(binary))?;
    ensure!(
        !reported.contains("not found"),
        "a library is missing: {reported}"
    );
    let path = |line: &str| {
        let found = line.split("=>").last()?.split_whitespace().next()?;
        found.starts_with('/').then(|| PathBuf::from(found))
    };
    let mut found: Vec<PathBuf> = reported.lines().filter_map(path).collect();
    found.sort();
    Ok(found)
}

/// The authorities that TLS trusts if no trust store is configured.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A few tens of megabytes.
const LARGEST: u64 = 60_000_000;
