//! Whom to dial, and when: addresses that fail, that stay silent, and that somebody says.

use std::collections::BTreeSet;

use uor_index_format::id::SiteId;
use uor_node::replication::book::{
    BACKOFF_MS_MAX, BACKOFF_MS_MIN, BACKOFF_MS_STRANGER, Book, DIAL_MS_MAX,
};

use super::world::{key, mallory};

#[test]
fn back_off_doubles_to_its_cap_starts_afresh_when_reached_and_shuns_strangers() {
    let (site, mut book, mut now_ms) = (key(1).site_id(), Book::default(), 0);
    book.add("a".to_owned(), Some(site));
    let mut wait_ms = BACKOFF_MS_MIN;
    for _ in 0..20 {
        assert_eq!(book.due(now_ms, |_| false), ["a"]);
        book.failed("a");
        assert!(book.due(now_ms + wait_ms - 1, |_| false).is_empty());
        now_ms += wait_ms;
        wait_ms = (wait_ms * 2).min(BACKOFF_MS_MAX);
    }
    assert_eq!(wait_ms, BACKOFF_MS_MAX);
    assert!(book.due(now_ms, |_| true).is_empty());
    book.reached(&site);
    book.lost(&site, now_ms);
    assert_eq!(book.due(now_ms + BACKOFF_MS_MIN, |_| false), ["a"]);
    book.failed("a");
    book.shun(&site, now_ms);
    assert!(
        book.due(now_ms + BACKOFF_MS_STRANGER - 1, |_| false)
            .is_empty()
    );
    assert_eq!(book.due(now_ms + BACKOFF_MS_STRANGER, |_| false), ["a"]);
}

/// One address that accepts and stays silent, or several, hide no other.
#[test]
fn silent_addresses_hide_no_other() {
    let (site, mut book) = (key(1).site_id(), Book::default());
    for number in 0..8 {
        book.add(format!("silent-{number}"), Some(site));
    }
    book.add("true".to_owned(), Some(site));
    let mut now_ms = 0;
    let mut tried = Vec::new();
    while !tried.contains(&"true".to_owned()) {
        let due = book.due(now_ms, |_| false);
        assert!(due.len() <= 2, "few at a time");
        tried.extend(due);
        now_ms += 100;
        assert!(
            now_ms <= 5 * DIAL_MS_MAX,
            "the true address was never dialled: {tried:?}"
        );
    }
    let first: BTreeSet<&String> = tried.iter().take(9).collect();
    assert_eq!(
        first.len(),
        9,
        "each had its turn before any was tried twice: {tried:?}"
    );
}

#[test]
fn few_addresses_are_dialled_at_a_time_and_hearsay_makes_room() {
    let mut book = Book::default();
    let site = |number: u32| {
        let mut bytes = [5; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        SiteId::from_bytes(bytes)
    };
    let teller = mallory().site_id();
    for number in 0..2000 {
        book.hear(format!("address-{number}"), site(number), teller);
    }
    assert_eq!(book.due(0, |_| false).len(), 16);
    assert_eq!(book.due(1, |_| false).len(), 0);
    book.add("given".to_owned(), Some(site(9999)));
    assert!(
        book.is_given(&site(9999)),
        "a full book takes what its owner gives"
    );
}
