//! Where the sessions of a port are while there is no process: a file that is written once and read once.
//!
//! A file that could be read twice could lead to the same nonce being used twice (`dtls-proto`, `Server::load`). So reading it is:
//! give it another name, which only one process can do; read it; remove it; have the removal written to disk. Only then may a session be
//! used. Whatever goes wrong before that leaves no session in use.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use dtls_proto::{LoadError, SaveKey, SavedSessions};

/// The file, and the key it is sealed with.
#[derive(Debug, Clone)]
pub struct SessionStore {
    path: PathBuf,
    key: SaveKey,
}

/// Why sessions were not kept or not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be written, read or removed.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in the file cannot be used; the file is left as it is.
    #[error("{} cannot be used", path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: LoadError,
    },
    /// There is no randomness to be had, or there are too many sessions to seal.
    #[error("sessions cannot be sealed")]
    Seal,
}

impl SessionStore {
    /// Keeps sessions in the file at `path`.
    #[must_use]
    pub const fn new(path: PathBuf, key: SaveKey) -> Self {
        Self { path, key }
    }

    /// Takes the sessions out of the file, which is gone then; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError`]; no session may be used then.
    pub fn take(&self) -> Result<Option<SavedSessions>, StoreError> {
        let claimed = self.beside(".loading");
        match fs::rename(&self.path, &claimed) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("rename", &self.path, source)),
        }
        let sealed = fs::read(&claimed).map_err(|source| failed("read", &claimed, source))?;
        match self.key.open(sealed) {
            Ok(sessions) => {
                fs::remove_file(&claimed).map_err(|source| failed("remove", &claimed, source))?;
                self.sync_folder()?;
                Ok(Some(sessions))
            }
            Err(source) => {
                fs::rename(&claimed, &self.path)
                    .map_err(|source| failed("rename", &claimed, source))?;
                let path = self.path.clone();
                Err(StoreError::Refused { path, source })
            }
        }
    }

    /// Writes sessions to the file, in place of whatever is there. A crash leaves the old file or the new one, never half of one.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is kept then.
    pub fn put(&self, sessions: SavedSessions) -> Result<(), StoreError> {
        let salt = dtls_proto::crypto::random().ok_or(StoreError::Seal)?;
        let sealed = self
            .key
            .seal(salt, sessions)
            .map_err(|_| StoreError::Seal)?;
        let new = self.beside(".new");
        write(&new, &sealed).map_err(|source| failed("write", &new, source))?;
        fs::rename(&new, &self.path).map_err(|source| failed("rename", &new, source))?;
        self.sync_folder()
    }

    /// Whether a file can be written where it is to be: better known at the start than at the end.
    ///
    /// # Errors
    /// [`StoreError`], if not.
    pub fn check(&self) -> Result<(), StoreError> {
        // Under a name of this process's own, since an earlier process may still be writing the file.
        let probe = self.beside(&format!(".check-{}", std::process::id()));
        write(&probe, &[]).map_err(|source| failed("write", &probe, source))?;
        fs::remove_file(&probe).map_err(|source| failed("remove", &probe, source))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(suffix);
        path.into()
    }

    /// Has the names of files in the folder written to disk.
    fn sync_folder(&self) -> Result<(), StoreError> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| failed("sync", folder, source))
    }
}

/// Nobody else may read it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::File {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt,
        sync::atomic::{AtomicUsize, Ordering},
        time::{Instant, SystemTime},
    };

    use dtls_proto::{Config, Moment, Server};

    use super::*;

    /// A folder of this test's own, gone when it ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("dtls-server-store-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn store(&self, key: u8) -> SessionStore {
            SessionStore::new(self.0.join("sessions"), SaveKey::new([key; 32]))
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn sessions() -> SavedSessions {
        let at = Moment {
            now: Instant::now(),
            wall: SystemTime::now(),
        };
        Server::new(Config::default(), [1; 32]).save(at, |_| None)
    }

    #[test]
    fn what_was_put_is_taken_once() {
        let folder = Folder::new();
        let store = folder.store(1);
        assert!(store.take().unwrap().is_none());
        store.put(sessions()).unwrap();
        assert_eq!(folder.files(), ["sessions"]);
        let mode = fs::metadata(folder.0.join("sessions")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        assert!(store.take().unwrap().is_some());
        assert!(store.take().unwrap().is_none());
        assert_eq!(folder.files(), [""; 0]);
    }

    #[test]
    fn what_a_process_claimed_before_it_crashed_is_not_taken_again() {
        let folder = Folder::new();
        let store = folder.store(1);
        store.put(sessions()).unwrap();
        fs::rename(folder.0.join("sessions"), folder.0.join("sessions.loading")).unwrap();
        assert!(store.take().unwrap().is_none());
    }

    #[test]
    fn what_is_refused_stays_where_it_is() {
        let folder = Folder::new();
        folder.store(1).put(sessions()).unwrap();
        let refused = folder.store(2).take().unwrap_err();
        assert!(
            matches!(
                refused,
                StoreError::Refused {
                    source: LoadError::OtherKey,
                    ..
                }
            ),
            "{refused:?}"
        );
        assert!(folder.store(1).take().unwrap().is_some());
        fs::write(folder.0.join("sessions"), b"a file of somebody else").unwrap();
        let refused = folder.store(1).take().unwrap_err();
        assert!(
            matches!(
                refused,
                StoreError::Refused {
                    source: LoadError::Foreign,
                    ..
                }
            ),
            "{refused:?}"
        );
        assert_eq!(folder.files(), ["sessions"]);
    }

    /// Symptom (reasoned): sessions were lost when a process started while its predecessor saved
    /// them. Cause: the check at the start truncated and removed the file under the name that the
    /// predecessor was writing to.
    #[test]
    fn a_check_leaves_what_another_process_is_writing_alone() {
        let folder = Folder::new();
        let new = folder.0.join("sessions.new");
        fs::write(&new, b"half of it").unwrap();
        folder.store(1).check().unwrap();
        assert_eq!(fs::read(&new).unwrap(), b"half of it");
        assert_eq!(folder.files(), ["sessions.new"]);
    }

    #[test]
    fn a_place_where_nothing_can_be_written_is_known_beforehand() {
        let folder = Folder::new();
        folder.store(1).check().unwrap();
        assert_eq!(folder.files(), [""; 0]);
        let path = folder.0.join("missing").join("sessions");
        let store = SessionStore::new(path, SaveKey::new([1; 32]));
        let error = store.check().unwrap_err();
        assert!(
            matches!(error, StoreError::File { what: "write", .. }),
            "{error:?}"
        );
    }
}
