//! The command line: a mode, then `--name value` pairs, some of them repeated.
//!
//! By hand, because a parser crate would be the largest part of the program.

use std::env;
use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

/// The mode and its options, in the order in which they came.
pub struct Arguments {
    mode: String,
    options: Vec<(String, String)>,
}

impl Arguments {
    pub fn from_command_line() -> Result<Arguments, Box<dyn Error>> {
        let mut words = env::args().skip(1);
        let mode = words.next().unwrap_or_default();
        let mut options = Vec::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or(format!("not an option: {word}"))?;
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            options.push((name.to_owned(), value));
        }
        Ok(Arguments { mode, options })
    }

    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// Every value that was given under a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A value that has to be there.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<T, Box<dyn Error>> {
        let text = self.text(name).ok_or(format!("--{name} is missing"))?;
        text.parse().map_err(|_| format!("--{name}: not a number: {text}").into())
    }

    pub fn number_or<T: FromStr>(&self, name: &str, default: T) -> Result<T, Box<dyn Error>> {
        if self.text(name).is_none() { Ok(default) } else { self.number(name) }
    }

    /// A value in seconds, zero when it is not given.
    pub fn seconds(&self, name: &str) -> Result<Duration, Box<dyn Error>> {
        Ok(Duration::try_from_secs_f64(self.number_or(name, 0.0)?)?)
    }

    pub fn address(&self) -> Result<&str, Box<dyn Error>> {
        self.text("to").ok_or_else(|| "--to is missing".into())
    }
}
