//! The configuration as it holds, each value with who wrote it.

use super::{
    Group, Kind, Origin, Problem, Setting,
    catalogue::GROUPS,
    chosen::{Chosen, full_name},
};

/// What holds for one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effective {
    /// The setting's full name.
    pub name: String,
    /// What it may hold.
    pub kind: Kind,
    /// Its value as it was written; none if it has none, `***` for what must not be shown.
    pub value: Option<String>,
    /// Who wrote it.
    pub origin: Origin,
}

pub(super) fn all(chosen: &Chosen) -> Vec<Effective> {
    let rows = |group: &'static Group| group.settings.iter().map(|setting| (group.prefix, setting));
    GROUPS
        .iter()
        .flat_map(rows)
        .map(|(prefix, setting)| one(chosen, prefix, setting))
        .collect()
}

fn one(chosen: &Chosen, prefix: &str, setting: &Setting) -> Effective {
    let name = full_name(prefix, setting.key);
    match chosen.choice(prefix, setting.key) {
        Some(choice) => {
            let shown = if setting.kind.is_secret() {
                "***"
            } else {
                &choice.text
            };
            Effective {
                name,
                kind: setting.kind,
                value: Some(shown.to_owned()),
                origin: choice.origin.clone(),
            }
        }
        None => Effective {
            name,
            kind: setting.kind,
            value: setting.default.map(str::to_owned),
            origin: Origin::Default,
        },
    }
}

/// The files that are named and cannot be read.
pub(super) fn unreadable(effective: &[Effective]) -> Vec<Problem> {
    let files = effective
        .iter()
        .filter(|effective| effective.kind == Kind::Path);
    files
        .filter_map(|file| {
            let path = file.value.as_deref()?;
            let error = std::fs::File::open(path).err()?;
            let text = format!(
                "`{}` should be a readable file; `{path}`: {error}",
                file.name
            );
            Some(Problem::new(file.origin.clone(), text))
        })
        .collect()
}
