//! Finds the C libraries of the engines that are switched on, and says what to install where one is missing.

#![allow(clippy::print_stderr, reason = "a build script has no other way to speak")]

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=FLITE_LIB_DIR");
    #[cfg(feature = "pocketsphinx")]
    pocketsphinx();
    if std::env::var_os("CARGO_FEATURE_FLITE").is_some() {
        flite();
    }
}

#[cfg(feature = "pocketsphinx")]
fn pocketsphinx() {
    if let Err(e) = pkg_config::Config::new().atleast_version("0.8").probe("pocketsphinx") {
        eprintln!("{e}\n");
        fail(
            "libpocketsphinx is not installed",
            "apt-get install libpocketsphinx-dev pocketsphinx-en-us",
            "pocketsphinx",
        );
    }
}

/// Flite ships no pkg-config file; its voices are libraries of their own.
fn flite() {
    let configured = std::env::var("FLITE_LIB_DIR").ok();
    let machine = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let usual = [
        format!("/usr/lib/{machine}-linux-gnu"),
        "/usr/lib64".to_owned(),
        "/usr/lib".to_owned(),
        "/usr/local/lib".to_owned(),
        "/opt/homebrew/lib".to_owned(),
    ];
    let found = configured.iter().chain(&usual).find(|dir| {
        ["so", "a", "dylib"].iter().any(|kind| Path::new(dir).join(format!("libflite.{kind}")).exists())
    });
    let Some(dir) = found else {
        fail("libflite is not installed", "apt-get install flite1-dev", "flite");
    };
    println!("cargo:rustc-link-search=native={dir}");
    for library in [
        "flite_cmu_us_slt",
        "flite_cmu_us_rms",
        "flite_cmu_us_awb",
        "flite_cmu_us_kal",
        "flite_cmu_us_kal16",
        "flite_usenglish",
        "flite_cmulex",
        "flite",
    ] {
        println!("cargo:rustc-link-lib={library}");
    }
}

#[cfg(any(feature = "pocketsphinx", feature = "flite"))]
fn fail(what: &str, command: &str, feature: &str) -> ! {
    eprintln!("{what}.\n  Debian and Ubuntu: {command}\n  or build without the feature `{feature}`.");
    std::process::exit(1);
}

#[cfg(not(any(feature = "pocketsphinx", feature = "flite")))]
fn fail(_: &str, _: &str, _: &str) -> ! {
    unreachable!("only called where an engine with a C library is switched on")
}
