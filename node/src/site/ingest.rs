//! Things on their way in: files and directories, and snapshots of ZFS file systems.
//!
//! To be read in this order: `walk`, `stat_cache`, `add`, `import`.

pub(super) mod add;
pub(super) mod import;
mod stat_cache;
mod walk;

pub use self::add::{
    AddError, AddEvent, AddOptions, Added, Bounded, ExcludeError, Excludes, Fate, LeftOut,
    Obstacle, Planned, Progress, Source,
};
pub use self::import::{
    ImportError, ImportOptions, ImportProgress, ImportRefusal, ImportReport, Imported,
};
