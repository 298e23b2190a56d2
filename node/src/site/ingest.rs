//! Things on their way in: files and directories, and snapshots of ZFS file systems.
//!
//! To be read in this order: `add`, `import`.

pub(super) mod add;
pub(super) mod import;

pub use self::add::{
    AddError, AddEvent, AddOptions, Added, ExcludeError, Excludes, Fate, LeftOut, Obstacle,
    Planned, Progress, Source,
};
pub use self::import::{
    ImportError, ImportOptions, ImportProgress, ImportRefusal, ImportReport, Imported,
};
