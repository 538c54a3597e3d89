//! The Debian package: built, unpacked into a directory of its own, and tried there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::build::target;
use crate::process::{cargo, installed, program};

/// What builds the package.
const CARGO_DEB: (&str, &str) = ("cargo-deb", "3.6.0");
/// The profile that packages are built with.
const PROFILE: &str = "packaged";
/// The most bytes of the program.
const PROGRAM_MAX: u64 = 12 << 20;

/// What must be in the package, beside the program.
const FILES: [&str; 8] = [
    "etc/miso/miso.toml",
    "usr/lib/systemd/system/miso.service",
    "usr/share/bash-completion/completions/miso-server",
    "usr/share/doc/miso-server/copyright",
    "usr/share/fish/vendor_completions.d/miso-server.fish",
    "usr/share/man/man1/miso-server.1.gz",
    "usr/share/man/man1/miso-server-status.1.gz",
    "usr/share/zsh/vendor-completions/_miso-server",
];

/// The subcommands that have manual pages of their own.
const SUBCOMMANDS: [&str; 3] = ["cluster", "certs", "status"];

pub(super) fn run() -> Outcome {
    if !installed("dpkg-deb") {
        return Err("dpkg-deb is not installed: the package is unpacked by it".to_owned());
    }
    let tool = cargo_deb()?;
    if !cargo(&["build", "--profile", PROFILE, "--locked", "--package", "miso-server"]).run()? {
        return Ok(false);
    }
    generate(&target().join(PROFILE).join("miso-server"))?;
    let build = ["deb", "--no-build", "--profile", PROFILE, "--package", "miso-server"];
    let printed = program(tool).args(build).quietly()?;
    let printed = String::from_utf8_lossy(&printed);
    let package = PathBuf::from(printed.lines().last().unwrap_or_default());
    let place = target().join("platforms/unpacked");
    // There is none before the first time.
    let _ = fs::remove_dir_all(&place);
    program("dpkg-deb").args(["-x"]).args([&package, &place]).quietly()?;
    println!("{}", package.display());
    tried(&place)
}

fn cargo_deb() -> Result<PathBuf, String> {
    let (name, version) = CARGO_DEB;
    let path = super::folder().join("bin").join(name);
    if !path.exists() {
        let install = ["install", "--locked", name, "--version", version, "--root"];
        if !cargo(&install).args([super::folder()]).run()? {
            return Err(format!("{name} does not build"));
        }
    }
    Ok(path)
}

/// Writes what the program prints for shells and man to where the package takes it from.
fn generate(server: &Path) -> Result<(), String> {
    let folder = target().join("deb-assets");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let write = |name: String, flags: &[&str]| {
        let text = program(server).args(flags).quietly()?;
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    for shell in ["bash", "zsh", "fish"] {
        write(format!("miso-server.{shell}"), &["--print-completions", shell])?;
    }
    write("miso-server.1".to_owned(), &["--print-man-page"])?;
    for subcommand in SUBCOMMANDS {
        let flag = format!("--print-man-page={subcommand}");
        write(format!("miso-server-{subcommand}.1"), &[&flag])?;
    }
    Ok(())
}

/// Whether the unpacked package is whole and its program runs.
fn tried(place: &Path) -> Outcome {
    let mut holds = true;
    for file in FILES {
        if !place.join(file).is_file() {
            println!("missing: {file}");
            holds = false;
        }
    }
    let server = place.join("usr/bin/miso-server");
    let size = fs::metadata(&server).map_err(|error| format!("{}: {error}", server.display()))?;
    println!("usr/bin/miso-server: {} bytes", size.len());
    if size.len() > PROGRAM_MAX {
        println!("it may have {PROGRAM_MAX}");
        holds = false;
    }
    let config = place.join("etc/miso/miso.toml");
    program(&server).args(["--check-config", "--config"]).args([config]).quietly()?;
    let unit = fs::read_to_string(place.join("usr/lib/systemd/system/miso.service"));
    let unit = unit.map_err(|error| format!("the unit: {error}"))?;
    if !unit.contains("ExecStart=/usr/bin/miso-server ") {
        println!("the unit starts another program");
        holds = false;
    }
    Ok(holds)
}
