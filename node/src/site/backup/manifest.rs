//! The list of what is in a backup: each file's length and digest, and what tells that its source
//! has not changed since.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use uor_index_format::id::{Checksum, FederationId, SiteId};

const TITLE: &str = "uor backup 1";

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) site: SiteId,
    pub(super) federation: FederationId,
    /// The site's own commits.
    pub(super) commits: u64,
    pub(super) files: Vec<Line>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Inside the data directory.
    pub(super) path: String,
    pub(super) len: u64,
    pub(super) digest: Checksum,
    /// Of the file that was copied.
    pub(super) stamp: Stamp,
}

/// What changes when a file does: inode, and when it was modified last. Of a file that was not
/// copied whole, zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        }
    }
}

impl Manifest {
    pub(super) fn encode(&self) -> String {
        let mut text = format!(
            "{TITLE}\nsite {}\nfederation {}\ncommits {}\n",
            self.site, self.federation, self.commits
        );
        for Line {
            path,
            len,
            digest,
            stamp:
                Stamp {
                    inode,
                    seconds,
                    nanoseconds,
                },
        } in &self.files
        {
            text.push_str(&format!(
                "file {digest} {len} {inode} {seconds} {nanoseconds} {path}\n"
            ));
        }
        let check = Checksum::of(text.as_bytes());
        text.push_str(&format!("check {check}\n"));
        text
    }

    /// The manifest in a file, or what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let said = text
            .rfind("check ")
            .and_then(|at| text.split_at_checked(at));
        let (said, check) = said.ok_or("it ends without a check")?;
        let found = Checksum::of(said.as_bytes());
        if check != format!("check {found}\n") {
            return Err(format!(
                "its check should be {found}, it is `{}`",
                check.trim_end().escape_default()
            ));
        }
        let mut lines = said.lines();
        match lines.next() {
            Some(TITLE) => {}
            found => {
                return Err(format!(
                    "it begins with {found:?} and not with `{TITLE}`: upgrade uor"
                ));
            }
        }
        let value = |line: Option<&str>, key: &str| -> Result<String, String> {
            let value = line.and_then(|line| line.strip_prefix(key)?.strip_prefix(' '));
            value
                .map(str::to_owned)
                .ok_or_else(|| format!("it states no {key}"))
        };
        let site = value(lines.next(), "site")?
            .parse()
            .map_err(|_| "its site is no id")?;
        let federation = value(lines.next(), "federation")?
            .parse()
            .map_err(|_| "its federation is no id")?;
        let commits = value(lines.next(), "commits")?
            .parse()
            .map_err(|_| "its number of commits is none")?;
        let line = |line| {
            Line::decode(line)
                .ok_or_else(|| format!("line `{}` names no file", line.escape_default()))
        };
        Ok(Self {
            site,
            federation,
            commits,
            files: lines.map(line).collect::<Result<_, _>>()?,
        })
    }

    /// The line about a file.
    pub(super) fn line(&self, path: &str) -> Option<&Line> {
        self.files.iter().find(|line| line.path == path)
    }
}

impl Line {
    fn decode(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("file ")?.splitn(6, ' ');
        let digest = words.next()?.parse().ok()?;
        let len = words.next()?.parse().ok()?;
        let inode = words.next()?.parse().ok()?;
        let (seconds, nanoseconds) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let path = words.next().filter(|path| is_ours(path))?.to_owned();
        Some(Self {
            path,
            len,
            digest,
            stamp: Stamp {
                inode,
                seconds,
                nanoseconds,
            },
        })
    }
}

/// Whether a path is a plain name, alone or in `log` or `blocks`: nothing else belongs into a data
/// directory from here.
fn is_ours(path: &str) -> bool {
    let name = path
        .strip_prefix("log/")
        .or_else(|| path.strip_prefix("blocks/"))
        .unwrap_or(path);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let line = |path: &str, len| Line {
            path: path.to_owned(),
            len,
            digest: Checksum::of(path.as_bytes()),
            stamp: Stamp {
                inode: 3,
                seconds: -1,
                nanoseconds: 999,
            },
        };
        Manifest {
            site: SiteId::from_bytes([1; 32]),
            federation: FederationId::from_bytes([2; 32]),
            commits: 7,
            files: vec![
                line("site.toml", 60),
                line("log/00000001.log", u64::MAX),
                line("blocks/packs.list", 0),
            ],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_no_other_byte_passes() {
        let text = sample().encode();
        assert_eq!(Manifest::decode(text.as_bytes()), Ok(sample()));
        for at in 0..text.len() {
            let mut broken = text.clone().into_bytes();
            broken[at] ^= 1;
            assert!(Manifest::decode(&broken).is_err(), "byte {at}");
            assert!(
                Manifest::decode(&text.as_bytes()[..at]).is_err(),
                "{at} bytes"
            );
        }
    }

    #[test]
    fn the_layout_is_what_the_page_says() {
        let text = sample().encode();
        let lines: Vec<&str> = text.lines().collect();
        let digest = Checksum::of(b"site.toml");
        let expected = [
            "uor backup 1".to_owned(),
            format!("site {}", "01".repeat(32)),
            format!("federation {}", "02".repeat(32)),
            "commits 7".to_owned(),
            format!("file {digest} 60 3 -1 999 site.toml"),
        ];
        assert_eq!(
            lines[..5],
            expected.iter().map(String::as_str).collect::<Vec<_>>()
        );
        assert_eq!(
            lines.last(),
            Some(&"check efb69ebed69852859d439ac2b66668177d5b57477c54c88109f34cc0cb0f3946")
        );
    }

    #[test]
    fn no_path_leaves_the_data_directory() {
        for path in [
            "../key",
            "/etc/passwd",
            "log/../key",
            "log/",
            "",
            ".",
            "..",
            "index/x",
            "log/a/b",
            "a b",
            ".hidden",
        ] {
            assert!(!is_ours(path), "{path}");
        }
        assert!(
            ["key", "log/00000001.log", "blocks/packs.list"]
                .into_iter()
                .all(is_ours)
        );
    }
}
