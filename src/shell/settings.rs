//! The settings file: how the command and the prompt behave where the command line does not say so.

use super::format::Format;
use super::size::bytes;
use crate::error::{Error, Place, Result};
use crate::session::nearest;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::env::var_os;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// What can be set; [`SETTINGS`] tells what each is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    pub format: Format,
    pub expanded: bool,
    pub max_rows: NonZeroUsize,
    pub timing: bool,
    pub paging: bool,
    pub pager: Option<String>,
    pub colours: bool,
    pub history: Option<PathBuf>,
    pub history_size: NonZeroUsize,
    #[serde(deserialize_with = "size")]
    pub memory_limit: Option<usize>,
}

const MAX_ROWS: NonZeroUsize = NonZeroUsize::new(40).expect("a number above 0");
const HISTORY_SIZE: NonZeroUsize = NonZeroUsize::new(10_000).expect("a number above 0");

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: Format::Table,
            expanded: false,
            max_rows: MAX_ROWS,
            timing: false,
            paging: false,
            pager: None,
            colours: true,
            history: None,
            history_size: HISTORY_SIZE,
            memory_limit: None,
        }
    }
}

/// The settings in reading order: name, a value, and what it does.
#[rustfmt::skip]
const SETTINGS: [(&str, &str, &str); 10] = [
    ("format",       "\"table\"",            "how results are written: table, csv, json, ndjson or arrow"),
    ("expanded",     "false",                "tables with a line for each column"),
    ("max_rows",     "40",                   "how many rows of a longer table are shown"),
    ("timing",       "false",                "tell how long each statement takes"),
    ("paging",       "false",                "show whole tables page by page"),
    ("pager",        "\"less -SFX\"",        "the pager; else it is $PAGER"),
    ("colours",      "true",                 "colours on a terminal; $NO_COLOR turns them off, too"),
    ("history",      "\"~/.nabla_history\"", "where the prompt's history is, unless $NABLA_HISTORY says so; \"\" keeps none"),
    ("history_size", "10000",                "how many entries the history keeps"),
    ("memory_limit", "\"512MB\"",            "as --memory-limit"),
];

/// The settings file, for reading: every name with a value.
pub fn settings_help() -> String {
    let lines = SETTINGS.map(|(name, value, does)| format!("\n  {:<32} # {does}", format!("{name} = {value}")));
    format!(
        "Settings:\n  The file is that of --config, else of $NABLA_CONFIG, else nabla/config.toml in $XDG_CONFIG_HOME or ~/.config.\n  \
         The command line wins over it.\n{}",
        lines.concat()
    )
}

impl Settings {
    /// The settings of the file that is named, or of the user's own if there is one.
    pub fn load(named: Option<&Path>) -> Result<Self> {
        let Some((path, must_be)) = file(named) else { return Ok(Self::default()) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path),
            Err(e) if e.kind() == ErrorKind::NotFound && !must_be => Ok(Self::default()),
            Err(e) => Err(Error::new(format!("the settings file cannot be read: {e}")).at(place(&path, None))),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let line = |span: Option<Range<usize>>| span.map(|span| text[..span.start].matches('\n').count() as u64 + 1);
        let refused = |e: toml::de::Error| Error::new(e.message().replace('\n', ", ")).at(place(path, line(e.span())));
        let table = DeTable::parse(text).map_err(refused)?;
        let names = || SETTINGS.iter().map(|(name, ..)| *name);
        let unknown = table.get_ref().keys().filter(|key| !names().any(|name| name == key.get_ref())).map(|key| {
            let error = Error::new(format!("unknown setting '{}'", key.get_ref())).at(place(path, line(Some(key.span()))));
            match nearest(key.get_ref(), names()) {
                Some(meant) => error.hint(format!("did you mean '{meant}'?")),
                None => error.hint(format!("the settings are {}", names().collect::<Vec<_>>().join(", "))),
            }
        });
        match Error::all(unknown) {
            Some(error) => Err(error),
            None => toml::from_str(text).map_err(refused),
        }
    }

    /// Whether what is written to a terminal may have colours.
    pub fn is_coloured(&self) -> bool {
        self.colours && var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Where the history is kept, if it is.
    pub fn history_file(&self) -> Option<PathBuf> {
        let home = || var_os("HOME").map(PathBuf::from);
        let path = match (var_os("NABLA_HISTORY"), &self.history) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(path)) => match path.strip_prefix("~") {
                Ok(below) => home()?.join(below),
                Err(_) => path.clone(),
            },
            (None, None) => home()?.join(".nabla_history"),
        };
        (!path.as_os_str().is_empty()).then_some(path)
    }
}

/// Which file is read, and whether it has to be there.
fn file(named: Option<&Path>) -> Option<(PathBuf, bool)> {
    if let Some(path) = named.map(Path::to_path_buf).or_else(|| var_os("NABLA_CONFIG").map(PathBuf::from)) {
        return (!path.as_os_str().is_empty()).then_some((path, true));
    }
    let folder = |name| var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let configuration = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some((configuration.join("nabla/config.toml"), false))
}

fn place(path: &Path, line: Option<u64>) -> Place {
    Place::File { path: path.display().to_string(), line, column: None }
}

fn size<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    bytes(&String::deserialize(value)?).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Settings, String> {
        Settings::parse(text, Path::new("config.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn every_setting_that_is_told_is_one_and_has_the_default_that_is_told() {
        for (name, value, _) in SETTINGS {
            let set = parsed(&format!("{name} = {value}")).expect(name);
            let given = ["pager", "history", "memory_limit"].contains(&name);
            assert_eq!(set == Settings::default(), !given, "{name} = {value}");
        }
        let refused = toml::from_str::<Settings>("nope = 1").expect_err("no setting").to_string();
        assert_eq!(refused.matches('`').count() / 2 - 1, SETTINGS.len(), "{refused}");
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_line_and_the_nearest_name() {
        let told = parsed("timing = true\n\n[display]\nmaxrows = 3\n").expect_err("two are unknown");
        assert_eq!(told.split('\n').next(), Some("unknown setting 'display'"), "{told}");
        let told = parsed("# mine\ntiming = true\nmaxrows = 3\ncolors = false").expect_err("two are unknown");
        let both = "unknown setting 'colors'\n  at: file config.toml, line 4\n  hint: did you mean 'colours'?\n\
                    unknown setting 'maxrows'\n  at: file config.toml, line 3\n  hint: did you mean 'max_rows'?";
        assert_eq!(told, both);
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_its_line() {
        for (text, said) in [
            ("\ntiming = 1", "expected a boolean"),
            ("\nformat = 'xml'", "unknown variant `xml`, expected one of `table`, `csv`"),
            ("\nmax_rows = 0", "expected a nonzero"),
            ("\nmemory_limit = '3XB'", "the unit 'XB' is none of"),
            ("\ntiming = ", "string values must be quoted"),
        ] {
            let told = parsed(text).expect_err(text);
            assert!(told.contains(said) && told.contains("at: file config.toml, line 2"), "{text}: {told}");
        }
        assert_eq!(parsed("memory_limit = '2KB'").expect("a size").memory_limit, Some(2048));
    }
}
