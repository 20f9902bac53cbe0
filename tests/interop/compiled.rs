//! Small programs of ours on C libraries of others, compiled here.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
};

/// Uploads on libcoap; none if it cannot be compiled.
pub(crate) static LIBCOAP: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| compile("libcoap/uploads.c", &["-lcoap-3-openssl"]));

/// A DTLS client on Mbed TLS; none if it cannot be compiled.
pub(crate) static MBED_TLS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    compile(
        "mbedtls/pipe.c",
        &["-lmbedtls", "-lmbedx509", "-lmbedcrypto"],
    )
});

fn compile(source: &str, libraries: &[&str]) -> Option<PathBuf> {
    let name = format!("{}-{}", source.replace(['/', '.'], "-"), std::process::id());
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let compiled = Command::new("cc")
        .args(["-O1", "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .arg(
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("interop")
                .join(source),
        )
        .args(libraries)
        .stdin(Stdio::null())
        .output();
    compiled
        .is_ok_and(|output| output.status.success())
        .then_some(program)
}
