//! What is said of a site's condition beside a command: what opening mended, what was lost, what is
//! damaged.

use uor_node::site::Site;
use uor_node::site::text::count;

use crate::console::Console;
use crate::render::short;

/// Most damaged places that are named; more are only counted.
const PLACES_SAID_MAX: usize = 8;

/// A crash leaves the beginnings of writes that were never acknowledged; opening for writing sets
/// them aside, and says so.
pub(crate) fn say_what_was_mended(site: &Site, console: &mut Console<'_>) {
    if site.was_open_to_others() {
        let dir = site.dir().display();
        console.note(format!(
            "Other users could read {dir}: from now on only its owner can (modes 0700 and 0600)"
        ));
    }
    let opened = site.store().opened();
    if let Some(cut) = &opened.log.cut
        && let Some(saved) = &cut.saved
    {
        console.note(format!(
            "After a crash, {} bytes of an unfinished commit were moved from {} to {saved}",
            cut.bytes, cut.file
        ));
    }
    if let Some(stale) = opened.index.as_ref().filter(|stale| stale.is_damage) {
        console.note(format!(
            "Damage: {}; the index was rebuilt from the log",
            stale.what
        ));
    }
    say_what_packs_lost(site, console);
    if let Some(loss) = site.loss() {
        // Whether it is known whom to ask is worth knowing; a book that cannot be read knows
        // nobody.
        let known: Vec<String> = site
            .peers()
            .unwrap_or_default()
            .iter()
            .map(|peer| short(&peer.site_id))
            .collect();
        let whom = if known.is_empty() {
            "no address of one is known here: name one with --peer".to_owned()
        } else {
            format!("addresses are known of {}", known.join(", "))
        };
        console.warn(format!(
            "This site has lost something: {loss}\nHint: `uor recover` asks the other sites for it ({whom})"
        ));
    }
    let again = site.commits_to_fetch_again();
    if again > 0 {
        console.warn(format!(
            "{} of other sites were in the log and are no longer: they are fetched again while `uor node` runs",
            count(again, "commit")
        ));
    } else if site.log_was_cut() {
        console.warn(
            "The log was longer: commits of other sites may be gone, and are fetched again while `uor node` runs",
        );
    }
    if site.is_lone_copy() {
        console.note(
            "This data directory is a copy. There is no other site to ask for later commits: see to it that nobody goes on \
             writing at the other copy.",
        );
    }
}

/// What is damaged or missing of the packs, what was rebuilt, and what follows.
fn say_what_packs_lost(site: &Site, console: &mut Console<'_>) {
    let opened = site.store().opened();
    for damage in opened.blocks.mended.iter().take(PLACES_SAID_MAX) {
        console.note(format!("Damage: {damage}; it was rebuilt from the packs"));
    }
    let damages = &opened.blocks.damages;
    for damage in damages.iter().take(PLACES_SAID_MAX) {
        console.warn(format!("Damage: {damage}"));
    }
    if damages.len() > PLACES_SAID_MAX {
        let more = count((damages.len() - PLACES_SAID_MAX) as u64, "place");
        console.warn(format!(
            "Damage at {more} more: `uor-replay verify` names all"
        ));
    }
    if !opened.erased_again.is_empty() {
        let payloads = count(opened.erased_again.len() as u64, "payload");
        console.note(format!(
            "{payloads} erased here on request came with older packs and stay erased"
        ));
    }
    if damages.is_empty() || site.loss().is_some() {
        return;
    }
    let wanted = site.store().view().wanted().len() as u64;
    if wanted > 0 {
        console.warn(format!(
            "Not here: {}; they come from other sites while `uor node` runs",
            count(wanted, "payload")
        ));
    }
    console
        .warn("Hint: put back from a backup what was lost, or go on without it with `uor recover`");
}

/// A damaged index costs no answer; that it is damaged is worth knowing, since disks seldom leave
/// it at that.
pub(crate) fn say_what_is_damaged(site: &Site, console: &mut Console<'_>) {
    for damage in site.store().take_index_damage() {
        console.note(format!("Damage: {damage}"));
    }
}
