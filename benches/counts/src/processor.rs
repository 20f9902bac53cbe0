//! What of the processor decides which code runs.

/// The architecture, and the features that our cryptography and the C library choose code by, as far as they are there.
///
/// Under valgrind it is the processor that valgrind plays: the same on all hosts that offer as much.
pub(crate) fn features() -> String {
    let mut all = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! push_those_there {
            ($($name:tt)*) => { $(if std::is_x86_feature_detected!($name) { all.push($name); })* };
        }
        push_those_there!("ssse3" "sse4.2" "aes" "pclmulqdq" "avx" "avx2" "bmi2" "adx" "sha" "vaes" "vpclmulqdq" "avx512f");
    }
    all.join(" ")
}
