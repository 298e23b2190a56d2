//! Streams of any size, grown from a small real one: its master node, registries and layouts stay,
//! files are added.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write};
use std::path::Path;

use uor_zfs::record::Header;
use uor_zfs::stream::StreamReader;
use uor_zfs::{ByteOrder, Fletcher4};

/// A record about a file.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// The file is declared, to have so many bytes.
    Declare(u64),
    /// Bytes at an offset.
    Write(u64, Vec<u8>),
    /// A hole from an offset on, of so many bytes.
    Free(u64, u64),
}

/// A stream of two files, told by any sequence of records: whole, or as an increment to such a one.
pub(crate) fn told(steps: &[(u64, Step)], is_increment: bool) -> Vec<u8> {
    let template = template();
    let (mut begin, mut end, mut guid) = (template.begin.clone(), template.end.clone(), GUID);
    if is_increment {
        guid += 1;
        set_u64(&mut begin, 48, GUID);
    }
    set_u64(&mut begin, 40, guid);
    set_u64(&mut end, 40, guid);
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out, &begin);
    if !is_increment {
        for (header, payload) in &template.rest {
            writer.record(header, payload);
        }
        writer.record(
            &write_header(ROOT, GUID, 0),
            &directory(&Shape {
                files: 2,
                file_len: 0,
            }),
        );
    }
    for (file, step) in steps {
        let number = FIRST + file;
        match step {
            Step::Declare(len) => {
                let (header, bonus) = object(&template, number, guid, *len);
                writer.record(&header, &bonus);
            }
            Step::Write(offset, bytes) => {
                writer.record(
                    &write_header_of(number, guid, *offset, bytes.len() as u64),
                    bytes,
                );
            }
            Step::Free(offset, len) => {
                let mut header = vec![0; HEADER_LEN];
                set_u32(&mut header, 0, 4);
                [number, *offset, *len, guid]
                    .into_iter()
                    .zip([8, 16, 24, 32])
                    .for_each(|(value, at)| {
                        set_u64(&mut header, at, value);
                    });
                writer.record(&header, &[]);
            }
        }
    }
    writer.end(&end);
    out
}

/// What is in a stream.
pub(crate) struct Shape {
    pub(crate) files: u64,
    pub(crate) file_len: u64,
}

const HEADER_LEN: usize = 312;
const BLOCK_LEN: u64 = 128 << 10;
/// Numbers of the files that are added begin here.
const FIRST: u64 = 1000;
/// The root directory of the real stream, and one of its files.
const ROOT: u64 = 34;
const MODEL: u64 = 2;
const GUID: u64 = 0x5ccf_0945_79b5_8d82;
/// Of how many blocks one is changed by the increment, in how many files one.
const CHANGED_BLOCKS: u64 = 16;
const CHANGED_FILES: u64 = 8;

type Raw = (Vec<u8>, Vec<u8>);

struct Template {
    begin: Vec<u8>,
    /// Everything but the root directory's block and END.
    rest: Vec<Raw>,
    model: Raw,
    end: Vec<u8>,
}

fn template() -> Template {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../zfs/tests/data/streams/tiny-full.zsend.gz"
    );
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(File::open(path).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    let (mut begin, mut rest, mut model, mut end) = (Vec::new(), Vec::new(), None, Vec::new());
    let mut reader = StreamReader::new(bytes.as_slice());
    while let Some(record) = reader.next_record().unwrap() {
        let at = usize::try_from(record.offset).unwrap();
        let header = bytes[at..at + HEADER_LEN].to_vec();
        let raw = (header.clone(), record.payload.to_vec());
        match &record.header {
            Header::Begin(_) => begin = header,
            Header::End => end = header,
            Header::Write(write) if write.object == ROOT => {}
            Header::Object(object) if object.object == ROOT => {
                let mut raw = raw;
                set_u32(&mut raw.0, 24, u32::try_from(BLOCK_LEN).unwrap());
                rest.push(raw);
            }
            Header::Object(object) => {
                if object.object == MODEL {
                    model = Some(raw.clone());
                }
                rest.push(raw);
            }
            _ => rest.push(raw),
        }
    }
    Template {
        begin,
        rest,
        model: model.unwrap(),
        end,
    }
}

fn set_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn set_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Writes records, and their checksums.
struct Writer<W> {
    out: W,
    sum: Fletcher4,
    len: u64,
}

fn create(path: &Path) -> BufWriter<File> {
    BufWriter::with_capacity(1 << 20, File::create(path).unwrap())
}

impl<W: Write> Writer<W> {
    fn begin(out: W, header: &[u8]) -> Self {
        let mut writer = Self {
            out,
            sum: Fletcher4::default(),
            len: 0,
        };
        writer.put(header);
        writer
    }

    fn put(&mut self, bytes: &[u8]) {
        self.sum.add(ByteOrder::Little, bytes);
        self.out.write_all(bytes).unwrap();
        self.len += bytes.len() as u64;
    }

    fn record(&mut self, header: &[u8], payload: &[u8]) {
        self.put(&header[..280]);
        let sums = self.sum.sums.map(u64::to_le_bytes).concat();
        self.put(&sums);
        self.put(payload);
    }

    fn end(mut self, header: &[u8]) -> u64 {
        let mut header = header.to_vec();
        for (at, sum) in self.sum.sums.into_iter().enumerate() {
            set_u64(&mut header, 8 + 8 * at, sum);
        }
        self.record(&header, &[]);
        self.out.flush().unwrap();
        self.len
    }
}

/// Half of a block is noise, the other half repeats itself.
struct Noise(u64);

impl Noise {
    fn block(&mut self, block: &mut [u8]) {
        let (noise, text) = block.split_at_mut(block.len() / 2);
        for word in noise.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes());
        }
        let seed = self.0;
        for (at, word) in text.chunks_exact_mut(64).enumerate() {
            let words = [
                seed % 7,
                at as u64 % 13,
                seed,
                at as u64 / 5,
                0,
                1,
                seed >> 3,
                2,
            ];
            word.copy_from_slice(&words.map(u64::to_le_bytes).concat());
        }
    }
}

/// The length of the file rounded up to whole blocks.
fn blocks(shape: &Shape) -> u64 {
    shape.file_len.div_ceil(BLOCK_LEN)
}

fn object(template: &Template, number: u64, guid: u64, len: u64) -> Raw {
    let (mut header, mut bonus) = template.model.clone();
    set_u64(&mut header, 8, number);
    set_u32(&mut header, 24, u32::try_from(BLOCK_LEN).unwrap());
    set_u64(&mut header, 40, guid);
    let attributes = usize::from(u16::from_le_bytes([bonus[4], bonus[5]]) >> 10) * 8;
    set_u64(&mut bonus, attributes + 8, len);
    (header, bonus)
}

fn write_header(number: u64, guid: u64, offset: u64) -> Vec<u8> {
    write_header_of(number, guid, offset, BLOCK_LEN)
}

fn write_header_of(number: u64, guid: u64, offset: u64, len: u64) -> Vec<u8> {
    let mut header = vec![0; HEADER_LEN];
    set_u32(&mut header, 0, 3);
    set_u64(&mut header, 8, number);
    set_u32(&mut header, 16, 19);
    set_u64(&mut header, 24, offset);
    set_u64(&mut header, 32, len);
    set_u64(&mut header, 40, guid);
    header
}

/// Writes a full stream; its length.
pub(crate) fn full(shape: &Shape, path: &Path) -> u64 {
    let template = template();
    let mut writer = Writer::begin(create(path), &template.begin);
    for (header, payload) in &template.rest {
        writer.record(header, payload);
    }
    writer.record(&write_header(ROOT, GUID, 0), &directory(shape));
    let (mut noise, mut block) = (
        Noise(0x9E37_79B9_7F4A_7C15),
        vec![0; usize::try_from(BLOCK_LEN).unwrap()],
    );
    for number in FIRST..FIRST + shape.files {
        let (header, bonus) = object(&template, number, GUID, shape.file_len);
        writer.record(&header, &bonus);
        for at in 0..blocks(shape) {
            noise.block(&mut block);
            writer.record(&write_header(number, GUID, at * BLOCK_LEN), &block);
        }
    }
    writer.end(&template.end)
}

/// A root directory that names the files; the others of the real stream are unlinked.
fn directory(shape: &Shape) -> Vec<u8> {
    let mut block = vec![0; usize::try_from(BLOCK_LEN).unwrap()];
    set_u64(&mut block, 0, 0x8000_0000_0000_0003);
    assert!(shape.files < BLOCK_LEN / 64, "the directory has one block");
    for (at, number) in (FIRST..FIRST + shape.files).enumerate() {
        let entry = 64 * (at + 1);
        set_u64(&mut block, entry, 8 << 60 | number);
        let name = format!("file-{number}");
        block[entry + 14..entry + 14 + name.len()].copy_from_slice(name.as_bytes());
    }
    block
}

/// Writes an increment to the full stream; its length.
pub(crate) fn increment(shape: &Shape, path: &Path) -> u64 {
    let template = template();
    let (mut begin, mut end) = (template.begin.clone(), template.end.clone());
    set_u64(&mut begin, 40, GUID + 1);
    set_u64(&mut begin, 48, GUID);
    set_u64(&mut end, 40, GUID + 1);
    let mut writer = Writer::begin(create(path), &begin);
    let (mut noise, mut block) = (
        Noise(0xD1B5_4A32_D192_ED03),
        vec![0; usize::try_from(BLOCK_LEN).unwrap()],
    );
    for number in (FIRST..FIRST + shape.files).filter(|number| number % CHANGED_FILES == 0) {
        let (header, bonus) = object(&template, number, GUID + 1, shape.file_len);
        writer.record(&header, &bonus);
        for at in (0..blocks(shape)).filter(|at| at % CHANGED_BLOCKS == 3) {
            noise.block(&mut block);
            writer.record(&write_header(number, GUID + 1, at * BLOCK_LEN), &block);
        }
    }
    writer.end(&end)
}
