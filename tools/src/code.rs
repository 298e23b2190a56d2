//! Codes of errors: what a script tells them apart by. They are listed in `tools/ERRORS.md`, and
//! stay.

use std::fmt;

macro_rules! codes {
    ($($variant:ident, $name:literal, $meaning:literal;)*) => {
        /// What kind of failure it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

codes! {
    Usage, "usage", "The command line is wrong, or its arguments do not go together.";
    Interrupted, "interrupted", "SIGINT or SIGTERM came; nothing was committed after it.";
    Failed, "failed", "None of the others; the message says what it is.";
    Output, "output", "Standard output cannot be written to.";
    NotFound, "not-found", "A key, name, path in a tree, site, snapshot or receipt means nothing here, or there is no backup.";
    Ambiguous, "ambiguous", "What was given may mean several things.";
    Removed, "removed", "It was removed; older snapshots still show it.";
    Later, "later", "It was written after the snapshot that was asked for.";
    WrongKind, "wrong-kind", "It is of another kind than is needed.";
    BadName, "bad-name", "This cannot be a name, a label or a site's name.";
    BadInput, "bad-input", "What was given breaks a rule that the message names.";
    Exists, "exists", "Something is there already, and is not overwritten.";
    NoSite, "no-site", "There is no site in the data directory.";
    SiteExists, "site-exists", "There is a site, or something else, in the data directory already.";
    InUse, "in-use", "Another process is using the data directory.";
    NewerFormat, "newer-format", "A newer release wrote it.";
    Damaged, "damaged", "Bytes on the disk are not what was written.";
    MissingPayload, "missing-payload", "Records are here, their bytes are not.";
    Erased, "erased", "The bytes were erased here on request.";
    Withheld, "withheld", "Claims differ, and the federation's rule lets none stand.";
    NoConflict, "no-conflict", "There is no open conflict about it.";
    Kept, "kept", "A kept snapshot needs it.";
    Busy, "busy", "Something is being added or run meanwhile.";
    FileNotFound, "file-not-found", "A file or directory of this machine is not there.";
    PermissionDenied, "permission-denied", "The system does not permit it.";
    DiskFull, "disk-full", "The disk, or what may be used of it, is full.";
    Io, "io", "The system failed to read or write.";
    NotAMember, "not-a-member", "This site may not write, or not yet.";
    BadProgram, "bad-program", "A program file, or a module of it, is not sound.";
    Unbound, "unbound", "An input of a program is not given, given twice, or unknown to it.";
    NoResult, "no-result", "A node of a run came to no result.";
    BadStream, "bad-stream", "What is to be imported is damaged, cut off, or of a kind that is not imported.";
    MissingBase, "missing-base", "An increment needs a snapshot that is not here.";
    OtherContents, "other-contents", "A snapshot with this identity is here with other contents.";
    BadTicket, "bad-ticket", "The ticket is none, is damaged, or was used before.";
    BadAddress, "bad-address", "This is no multiaddress, or not one of the site that is meant.";
    Unreachable, "unreachable", "The other node cannot be reached.";
    Network, "network", "The network of this node could not start, or stopped.";
    NodeSilent, "node-silent", "The node that has the data directory open does not answer.";
    NodeGone, "node-gone", "The node that ran the command ended, or the connection to it.";
    NodeBusy, "node-busy", "The node runs as many commands as it may.";
    OtherRelease, "other-release", "The node is of another release than the command.";
    OtherFederation, "other-federation", "Stores of different federations cannot be compared.";
    SameStore, "same-store", "A store was to be compared with itself.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the documentation, as it has to be.
    fn table() -> String {
        let row = |code: &Code| format!("| `{}` | {} |\n", code.name(), code.meaning());
        Code::ALL.iter().map(row).collect()
    }

    #[test]
    fn the_documentation_lists_every_code_and_no_other() {
        let page = include_str!("../ERRORS.md");
        let rows: String = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(rows == table(), "tools/ERRORS.md has to list:\n{}", table());
    }

    #[test]
    fn codes_are_unique_words() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert!(
            names.iter().all(|name| name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')),
            "{names:?}"
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
