//! Who may come in: names with passwords, and tokens.

use crate::error::{Error, Place, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::collections::HashMap;
use std::path::Path;
use subtle::ConstantTimeEq;

/// Names with their passwords, and tokens with the names that they are of.
#[derive(Default)]
pub(super) struct Users {
    passwords: HashMap<String, String>,
    tokens: Vec<(String, String)>,
}

impl Users {
    /// Reads a file with a line `name:password` for each user. A line `:token` is a bearer token of its own.
    ///
    /// # Errors
    /// The file cannot be read, others than its owner can read it, or it has a line without a colon.
    pub fn read(path: &Path) -> Result<Self> {
        let at = |line| Place::File { path: path.display().to_string(), line, column: None };
        let text = std::fs::read_to_string(path).map_err(|e| Error::new(format!("the users cannot be read: {e}")).at(at(None)))?;
        refuse_open(path).map_err(|e| e.at(at(None)))?;
        let mut users = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#')) {
            match line.split_once(':') {
                Some((_, "")) | None => {
                    let error = Error::new("a user needs a name and a password").hint("write name:password, or :token");
                    return Err(error.at(at(Some(number as u64 + 1))));
                }
                Some(("", token)) => users.tokens.push((token.into(), "token".into())),
                Some((name, password)) => {
                    users.passwords.insert(name.into(), password.into());
                    users.tokens.push((random()?, name.into()));
                }
            }
        }
        if users.tokens.is_empty() {
            return Err(Error::new("the file names no user").at(at(None)).hint("write a line name:password"));
        }
        Ok(users)
    }

    pub fn password(&self, name: &str) -> Option<&str> {
        self.passwords.get(name).map(String::as_str)
    }

    /// The user of a header `Basic ...` or `Bearer ...`.
    pub fn of_header(&self, header: &str) -> Option<&str> {
        if let Some(token) = strip(header, "bearer ") {
            return self.tokens.iter().find(|(known, _)| same(known, token)).map(|(_, name)| name.as_str());
        }
        let decoded = BASE64_STANDARD.decode(strip(header, "basic ")?.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (name, password) = text.split_once(':')?;
        // A name that is not there takes as long as one that is.
        let (known, expected) = self.passwords.get_key_value(name).map_or(("", ""), |(k, v)| (k.as_str(), v.as_str()));
        (same(expected, password) && !known.is_empty()).then(|| self.passwords.get_key_value(name).map_or("", |(k, _)| k))
    }

    /// The token that stands for a name until the server ends.
    pub fn token(&self, name: &str) -> Option<&str> {
        self.tokens.iter().find(|(_, of)| of == name).map(|(token, _)| token.as_str())
    }
}

fn strip<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    header.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(|_| &header[scheme.len()..])
}

/// In a time that does not tell how much is right.
fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// 64 hexadecimal digits that nobody can guess.
pub(super) fn random() -> Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| Error::new(format!("the system gives no random numbers: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(unix)]
fn refuse_open(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode());
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::new("others can read the passwords").hint(format!("chmod 600 {}", path.display())))
}

#[cfg(not(unix))]
fn refuse_open(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> Result<Users> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Users::read(file.path())
    }

    #[test]
    fn headers_are_of_a_user_or_of_nobody() {
        let users = users("# who\nann:s3cret:with colons\nbob:b\n:a-token\n").unwrap();
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert_eq!(users.of_header(&basic("ann:s3cret:with colons")), Some("ann"));
        assert_eq!(users.of_header(&basic("bob:b").replace("Basic", "basic")), Some("bob"));
        assert_eq!(users.of_header("Bearer a-token"), Some("token"));
        assert_eq!(users.of_header(&format!("Bearer {}", users.token("ann").unwrap())), Some("ann"));
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer a-toke", "Basic", "Basic !!", &basic("ann:s3cret"), &basic("eve:"), &basic(":"), &basic("")]
        {
            assert_eq!(users.of_header(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_without_users_or_with_a_wrong_line_is_refused() {
        assert!(users("").is_err());
        let wrong = users("ann:a\nbob\n").err().unwrap().to_string();
        assert!(wrong.contains("line 2"), "{wrong}");
        assert!(users("ann:\n").is_err());
    }
}
