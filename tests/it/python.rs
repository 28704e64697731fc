//! A Python with packages from PyPI, for tests with real clients, kept between runs. Where there is none, such a test says so, and does
//! not fail.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// A Python of its own that has the packages and can run the imports; or why there is none.
pub fn with(name: &str, packages: &[&str], imports: &str) -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _made = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = environment.join("bin").join("python");
    if python.exists() && output(Command::new(&python).args(["-c", imports])).is_ok() {
        return Ok(python);
    }
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment).output();
    let made = made.map_err(|e| format!("python3 cannot be started: {e}"))?;
    let text = said(&made);
    if !made.status.success() && (text.contains("ensurepip") || text.contains("No module named")) {
        return Err(format!("python3 cannot make virtual environments: {text}"));
    }
    assert!(made.status.success(), "{text}");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2", "--timeout", "30"];
    if let Err(text) = output(Command::new(&python).args(install).args(packages)) {
        let unreachable = ["onnection", "timed out", "resolution", "unreachable", "ProxyError", "SSLError"];
        assert!(unreachable.iter().any(|word| text.contains(word)), "{text}");
        return Err(format!("PyPI cannot be reached: {text}"));
    }
    output(Command::new(&python).args(["-c", imports])).unwrap_or_else(|text| panic!("{text}"));
    Ok(python)
}

/// What a command prints, or what it says when it fails.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(said(&output)) }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}
