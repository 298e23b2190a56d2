//! Real streams give the trees that were seen when their snapshots were mounted; damaged and
//! hostile ones are refused for the reason they should be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

mod support;

use std::error::Error;

use serde_json::Value;
use support::{Failure, Receiver, assert_listing, expected, json_file, read, receiver_for, stream};
use uor_zfs::record::Header;
use uor_zfs::stream::StreamReader;

fn guid(substream: &Value, field: &str) -> u64 {
    u64::from_str_radix(substream[field].as_str().unwrap(), 16).unwrap()
}

/// A message with all its causes.
fn whole(error: &dyn Error) -> String {
    error.source().map_or_else(
        || error.to_string(),
        |cause| format!("{error}: {}", whole(cause)),
    )
}

#[test]
fn every_stream_gives_the_listing_of_its_mounted_snapshot() {
    let index = json_file("index.json");
    for (name, entry) in index
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, entry)| entry["expect"].is_null())
    {
        let listings = receiver_for(&index, name)
            .receive(&stream(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut listings = listings.iter();
        for substream in entry["substreams"].as_array().unwrap() {
            let listing = substream["expect"].as_str().unwrap();
            if listing.starts_with("expected/") {
                let (found_guid, found) = listings.next().unwrap();
                assert_eq!(*found_guid, guid(substream, "toguid"), "{name}");
                assert_listing(name, found, &expected(listing));
            }
        }
        assert_eq!(listings.next(), None, "{name}");
    }
}

#[test]
fn an_increment_without_its_base_names_the_guid() {
    let index = json_file("index.json");
    for (name, entry) in index.as_object().unwrap() {
        let first = &entry["substreams"][0];
        let base = guid(first, "fromguid");
        if base == 0 || !entry["expect"].is_null() {
            continue;
        }
        let error = Receiver::default().receive(&stream(name)).unwrap_err();
        assert!(
            matches!(error, Failure::MissingBase(missing) if missing == base),
            "{name}: {error}"
        );
    }
    let mut receiver = Receiver::default();
    receiver.receive(&stream("tiny-full")).unwrap();
    let error = receiver.receive(&stream("tiny-inc-s2-s3")).unwrap_err();
    assert!(
        matches!(error, Failure::MissingBase(0x44bd_6611_f6e6_78e3)),
        "{error}"
    );
}

#[test]
fn what_is_not_imported_is_refused_by_name() {
    let index = json_file("index.json");
    let mut count = 0;
    for (name, entry) in index.as_object().unwrap() {
        let Some(wanted) = entry["expect"].as_str() else {
            continue;
        };
        let message = whole(&Receiver::default().receive(&stream(name)).unwrap_err());
        let words = match wanted.split(['(', ',']).next().unwrap().trim() {
            "refuse: raw encrypted stream" => "raw encrypted stream",
            "refuse: redacted stream" => "redacted stream",
            "refuse: deduplicated stream" => "zstream redup",
            "refuse: tail of an interrupted send" => "tail of an interrupted send",
            "refuse: a volume" => "this is a volume, not a filesystem",
            _ => "needs snapshot",
        };
        assert!(message.contains(words), "{name}: {message}");
        count += 1;
    }
    assert_eq!(count, 11);
}

#[test]
fn damaged_and_hostile_streams_come_out_as_wanted() {
    for (name, entry) in json_file("errors/errors.json").as_object().unwrap() {
        let bytes = read(&format!("errors/{name}.zsend.gz"));
        assert_eq!(bytes.len() as u64, entry["bytes"].as_u64().unwrap());
        let result = Receiver::default().receive(&bytes);
        let wanted = entry["expect"].as_str().unwrap();
        let words = match name.as_str() {
            "flip-header" => "damaged at or before",
            "objset-type-zvol" => "not a filesystem",
            "hostile-huge-size" => "bytes",
            "hostile-write-size" | "hostile-write-offset" | "hostile-bonuslen" => "bad record",
            "hostile-zap-chain-loop" | "hostile-zap-chunk-range" => match &result {
                Ok(listings) => {
                    assert_listing(name, &listings[0].1, &expected("expected/tiny-s1.jsonl"));
                    continue;
                }
                Err(_) => "damaged ZAP",
            },
            _ => match wanted.split_once(": ").unwrap() {
                ("accept", listing) => {
                    let listing = format!(
                        "expected/{}.jsonl",
                        listing.strip_prefix("listing ").unwrap()
                    );
                    assert_listing(name, &result.unwrap()[0].1, &expected(&listing));
                    continue;
                }
                (_, "checksum (BEGIN is covered by the next record checksum)") => "checksum",
                (_, "bad record; at least no endless loop") => "bad record",
                (_, words) => words,
            },
        };
        let message = whole(&result.unwrap_err());
        assert!(
            message.contains(words),
            "{name}: wanted `{wanted}`, got `{message}`"
        );
    }
}

#[test]
fn records_of_every_stream_are_read_and_counted_right() {
    for (name, entry) in json_file("index.json").as_object().unwrap() {
        let bytes = stream(name);
        let mut reader = StreamReader::new(bytes.as_slice());
        let mut counts = std::collections::BTreeMap::<&str, u64>::new();
        while let Some(record) = reader
            .next_record()
            .unwrap_or_else(|error| panic!("{name}: {error}"))
        {
            let word = match record.header {
                Header::Begin(_) => "BEGIN",
                Header::Object(_) => "OBJECT",
                Header::FreeObjects { .. } => "FREEOBJECTS",
                Header::Write(_) => "WRITE",
                Header::Free { .. } => "FREE",
                Header::End => "END",
                Header::WriteByRef => "WRITE_BYREF",
                Header::Spill(_) => "SPILL",
                Header::WriteEmbedded(_) => "WRITE_EMBEDDED",
                Header::ObjectRange => "OBJECT_RANGE",
                Header::Redact => "REDACT",
            };
            *counts.entry(word).or_default() += 1;
        }
        assert_eq!(reader.offset(), bytes.len() as u64, "{name}");
        for word in [
            "OBJECT",
            "WRITE",
            "FREE",
            "SPILL",
            "WRITE_EMBEDDED",
            "WRITE_BYREF",
            "OBJECT_RANGE",
            "REDACT",
        ] {
            let wanted = entry["substreams"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|it| it["records"][word].as_u64());
            assert_eq!(
                counts.get(word).copied().unwrap_or(0),
                wanted.sum::<u64>(),
                "{name}: {word}"
            );
        }
    }
}
