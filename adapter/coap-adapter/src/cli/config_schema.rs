//! `config-schema`: the JSON Schema of the configuration file, for editors and charts.

use adapter::config;

use super::{Error, print};

pub(crate) fn execute() -> Result<(), Error> {
    print(&format!("{:#}\n", config::schema()))
}
