//! Files and directories become artifacts.
//!
//! Several threads read files, and put their bytes into blocks ([`files`]); one walks the
//! directories ahead of them, takes their results in the order of the walk, and builds trees from
//! the inside out ([`tree`]). So what is added, and in which commits, does not depend on which
//! thread is quicker.
//!
//! What cannot be in a tree is left out and named ([`left_out`]), what a person does not want is
//! counted ([`excludes`]); a plan says beforehand what would become of everything ([`plan`]).
//!
//! Records follow the bytes in commits of bounded size ([`adding`]), the topmost tree and the
//! ref in the last. So memory does not grow with what is added, and a tree becomes visible only
//! when all of it is durable. What was added before a failure stays, as files without a tree;
//! adding again writes only the rest.
//!
//! To be read in this order: `error`, `left_out`, `excludes`, `walk`, `source`, `report`,
//! `stat_cache`, `files`, `adding`, `awaiting`, `tree`, `plan`.

mod adding;
mod awaiting;
pub(in crate::site) mod error;
mod excludes;
mod files;
pub(in crate::site) mod left_out;
mod plan;
mod report;
pub(in crate::site) mod source;
mod stat_cache;
mod tree;
mod walk;

pub use self::error::AddError;
pub use self::excludes::{ExcludeError, Excludes};
pub use self::left_out::{LeftOut, Obstacle};
pub use self::plan::{Fate, Planned};
pub use self::report::{AddEvent, Added, Progress};
pub use self::source::{AddOptions, Source};
