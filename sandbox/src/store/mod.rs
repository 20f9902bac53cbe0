//! The registry's data in one `SQLite` file, so that it outlives the sandbox.
//!
//! A change is in the file before it is acknowledged. The file holds keys in the clear, as the
//! registry has to tell
//! them to adapters: nobody but its owner may read it.

mod rows;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fmt,
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, Transaction, params};

use crate::world::{Change, Tenant, World};

/// An open file.
pub(crate) struct Store {
    path: PathBuf,
    connection: Connection,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It can be neither opened nor made.
    #[error("the file cannot be opened")]
    Open(#[source] io::Error),
    /// Another process has locked it.
    #[error("another sandbox is running with this file; end it, or name another file")]
    Locked,
    /// It is no `SQLite` file, or the disk is full.
    #[error("SQLite: {0}")]
    Sqlite(String),
    /// It was written by another version of the sandbox, or by another program.
    #[error("the file has format {found} and not {FORMAT}")]
    Format {
        /// The format of the file.
        found: i64,
    },
    /// A row of it cannot be understood.
    #[error("what is kept of {0} cannot be understood")]
    Row(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            // A statement's parameters are not part of the text.
            _ => Self::Sqlite(error.to_string()),
        }
    }
}

impl Store {
    /// Opens a file. A new one begins with `world`; otherwise the world in the file is what there is.
    pub(crate) fn open(path: &Path, world: World) -> Result<(Self, World), StoreError> {
        create_private(path).map_err(StoreError::Open)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        // A second sandbox on the same file is turned away at its start.
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")?;
        let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let world = match (format, tables) {
            (0, 0) => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(TABLES)?;
                for (id, tenant) in &world.tenants {
                    rows::write_tenant(&transaction, id, tenant)?;
                    for (device_id, device) in &tenant.devices {
                        rows::write_device(&transaction, id, device_id, device)?;
                    }
                }
                transaction.commit()?;
                world
            }
            (FORMAT, _) => rows::read(&connection)?,
            (found, _) => return Err(StoreError::Format { found }),
        };
        // A commit is on the disk when it returns.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
        let path = path.to_owned();
        Ok((Self { path, connection }, world))
    }

    /// Brings what `changes` are about from the world to the file, all or nothing.
    pub(crate) fn save(&mut self, world: &World, changes: &[Change]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for change in changes {
            match change {
                Change::Tenant { tenant, .. } => {
                    save_tenant(&transaction, tenant, world.tenants.get(tenant))?;
                }
                Change::Device { tenant, device, .. } | Change::Credentials { tenant, device } => {
                    save_device(&transaction, world, tenant, device)?;
                }
                Change::AllDevicesDeleted { tenant } => {
                    let kept = world.tenants.get(tenant);
                    let kept: BTreeSet<&str> = kept
                        .into_iter()
                        .flat_map(|tenant| tenant.devices.keys().map(String::as_str))
                        .collect();
                    rows::delete_devices_except(&transaction, tenant, &kept)?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// The world as it is in the file.
    pub(crate) fn load(&self) -> Result<World, StoreError> {
        rows::read(&self.connection)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn save_tenant(
    transaction: &Transaction<'_>,
    id: &str,
    tenant: Option<&Tenant>,
) -> Result<(), StoreError> {
    match tenant {
        Some(tenant) => rows::write_tenant(transaction, id, tenant),
        None => {
            rows::delete_devices_except(transaction, id, &BTreeSet::new())?;
            transaction.execute("DELETE FROM tenants WHERE id = ?1", params![id])?;
            Ok(())
        }
    }
}

fn save_device(
    transaction: &Transaction<'_>,
    world: &World,
    tenant: &str,
    id: &str,
) -> Result<(), StoreError> {
    let device = world
        .tenants
        .get(tenant)
        .and_then(|tenant| tenant.devices.get(id));
    match device {
        Some(device) => rows::write_device(transaction, tenant, id, device),
        None => {
            let delete = "DELETE FROM devices WHERE tenant = ?1 AND id = ?2";
            transaction.execute(delete, params![tenant, id])?;
            Ok(())
        }
    }
}

/// Makes the file if there is none, for its owner only.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

const FORMAT: i64 = 1;
/// A row tells all of a tenant or of a device as JSON.
const TABLES: &str = "
CREATE TABLE tenants (id TEXT PRIMARY KEY, reported TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE devices (tenant TEXT NOT NULL, id TEXT NOT NULL, reported TEXT NOT NULL, PRIMARY KEY (tenant, id)) WITHOUT ROWID;
PRAGMA user_version = 1;
";
/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(1);
