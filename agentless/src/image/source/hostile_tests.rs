//! Images that somebody damaged, or made to do harm: each is refused, with words, and nothing is written.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::*;

/// What is in an archive: a kind as in a tar header, a path, where a link leads, and bytes.
#[derive(Clone)]
struct Entry {
    kind: u8,
    path: String,
    link: String,
    data: Vec<u8>,
}

fn file(path: impl Into<String>, data: impl Into<Vec<u8>>) -> Entry {
    Entry { kind: b'0', path: path.into(), link: String::new(), data: data.into() }
}

fn header(entry: &Entry) -> [u8; 512] {
    let mut header = [0_u8; 512];
    header[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", entry.data.len()).as_bytes());
    header[156] = entry.kind;
    header[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
    header[257..262].copy_from_slice(b"ustar");
    summed(&mut header);
    header
}

fn summed(header: &mut [u8; 512]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        out.extend_from_slice(&header(entry));
        out.extend_from_slice(&entry.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(&[0; 1024]);
    out
}

/// An image by its documents; digests and sizes of one in another are written when it is built.
#[derive(Clone)]
struct Made {
    index: Value,
    manifest: Value,
    config: Value,
    layer: Vec<u8>,
}

const LAYER: &str = "/layers/0";

impl Made {
    fn new() -> Self {
        let layer = b"the only layer".to_vec();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Env": ["A=b"], "Cmd": ["sh"] },
            "rootfs": { "type": "layers", "diff_ids": [digest_of(&layer)] },
        });
        let layers =
            json!([{ "mediaType": "l", "digest": digest_of(&layer), "size": layer.len() }]);
        let manifest =
            json!({ "schemaVersion": 2, "config": { "mediaType": "c" }, "layers": layers });
        let index = json!({ "schemaVersion": 2, "manifests": [{ "mediaType": "m" }] });
        Self { index, manifest, config, layer }.linked()
    }

    /// Writes what each document says of the one below.
    fn linked(mut self) -> Self {
        let config = self.config.to_string();
        self.manifest["config"] = json!({ "mediaType": "c", "digest": digest_of(config.as_bytes()), "size": config.len() });
        self.index_linked()
    }

    fn index_linked(mut self) -> Self {
        let manifest = self.manifest.to_string();
        self.index["manifests"][0] = json!({ "mediaType": "m", "digest": digest_of(manifest.as_bytes()), "size": manifest.len() });
        self
    }

    fn entries(&self) -> Vec<Entry> {
        let blob = |bytes: &[u8]| file(path_of(&digest_of(bytes)), bytes);
        vec![
            file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
            blob(&self.layer),
            blob(self.config.to_string().as_bytes()),
            blob(self.manifest.to_string().as_bytes()),
            file("index.json", self.index.to_string()),
        ]
    }

    /// As `docker save` writes it.
    fn docker(&self) -> (Value, Vec<Entry>) {
        let config = self.config.to_string();
        let name = format!("{}.json", &digest_of(config.as_bytes())["sha256:".len()..]);
        let list = json!([{ "Config": name, "RepoTags": ["web:1"], "Layers": ["0/layer.tar"] }]);
        (list, vec![file("0/layer.tar", self.layer.clone()), file(name, config)])
    }
}

/// What is done to an entry.
type Change<'a> = &'a dyn Fn(&mut Entry);

/// What was tried; each is an archive, or a layout.
struct Table {
    folder: tempfile::TempDir,
    tried: usize,
    taken: Vec<String>,
}

impl Table {
    fn archive(&mut self, what: String, bytes: &[u8]) {
        let path = self.folder.path().join("image.tar");
        fs::write(&path, bytes).expect("write");
        self.judge(what, verify_archive(&path));
    }

    fn entries(&mut self, what: String, entries: &[Entry]) {
        self.archive(what, &tar(entries));
    }

    /// As an archive, and as a folder.
    fn both(&mut self, what: String, entries: &[Entry]) {
        self.entries(what.clone(), entries);
        let folder = self.folder.path().join("layout");
        for entry in entries {
            let path = folder.join(&entry.path);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(path, &entry.data).expect("write");
        }
        self.judge(format!("{what}, as a folder"), verify_layout(&folder));
        fs::remove_dir_all(folder).expect("rm");
    }

    fn judge(&mut self, what: String, judged: Result<ImageFacts, ImageError>) {
        self.tried += 1;
        match judged {
            Ok(_) => self.taken.push(what),
            Err(error) => assert!(!error.to_string().is_empty(), "{what}: no words"),
        }
    }
}

/// Values that are wrong wherever a digest, a size, or a list of these is asked for.
fn wrong() -> Vec<Value> {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("../../../../etc/passwd"),
        json!([]),
        json!([{}]),
        json!({}),
        json!({ "digest": 1, "size": 1 }),
        deep,
    ]
}

const FIELDS: [(&str, &str); 11] = [
    ("index", "/manifests"),
    ("index", "/manifests/0"),
    ("index", "/manifests/0/digest"),
    ("index", "/manifests/0/size"),
    ("manifest", "/config"),
    ("manifest", "/config/digest"),
    ("manifest", "/config/size"),
    ("manifest", "/layers"),
    ("manifest", LAYER),
    ("config", "/rootfs"),
    ("config", "/rootfs/diff_ids"),
];

fn fields(table: &mut Table) {
    for (document, field) in FIELDS {
        for value in wrong() {
            let mut made = Made::new();
            let at = match document {
                "index" => &mut made.index,
                "manifest" => &mut made.manifest,
                _ => &mut made.config,
            };
            *at.pointer_mut(field).expect(field) = value.clone();
            let made = match document {
                "index" => made,
                "manifest" => made.index_linked(),
                _ => made.linked(),
            };
            let value = value.to_string().chars().take(40).collect::<String>();
            table.both(format!("{document}{field} is {value}"), &made.entries());
        }
    }
}

fn digests(table: &mut Table) {
    let right = digest_of(b"the only layer");
    let wrong = [
        right.to_uppercase(),
        right.replace("sha256:", "sha512:"),
        right.replace("sha256:", ""),
        right[..70].to_owned(),
        format!("{right}0"),
        format!("{right}\0"),
        format!("sha256:../{}", &right[10..]),
        format!("sha256:{}/..", &right[7..68]),
        format!("/{right}"),
        "sha256:../../index.json".to_owned(),
        "sha256:".to_owned(),
        digest_of(b"nobody's"),
    ];
    for digest in wrong {
        for field in ["/config/digest", "/layers/0/digest"] {
            let mut made = Made::new();
            *made.manifest.pointer_mut(field).expect(field) = json!(digest);
            table.both(format!("{field} is {digest:?}"), &made.index_linked().entries());
        }
    }
}

fn blobs(table: &mut Table) {
    let whole = Made::new().entries();
    let names = ["oci-layout", "the layer", "the configuration", "the manifest", "index.json"];
    // Nobody needs the version's file to know what to do.
    for (at, name) in names.iter().enumerate().skip(1) {
        let with = |change: Change<'_>| {
            let mut entries = whole.clone();
            change(&mut entries[at]);
            entries
        };
        let changes: [(&str, Change<'_>); 9] = [
            ("is a folder", &|e| (e.kind, e.data) = (b'5', Vec::new())),
            ("is a link out", &|e| {
                (e.kind, e.link, e.data) = (b'2', "../../../etc/passwd".to_owned(), Vec::new());
            }),
            ("is an absolute link", &|e| {
                (e.kind, e.link, e.data) = (b'2', "/etc/passwd".to_owned(), Vec::new());
            }),
            ("is a hard link out", &|e| {
                (e.kind, e.link, e.data) = (b'1', "../etc/passwd".to_owned(), Vec::new());
            }),
            ("is a link to itself", &|e| {
                (e.kind, e.link, e.data) = (b'1', e.path.clone(), Vec::new());
            }),
            ("is a device", &|e| (e.kind, e.data) = (b'3', Vec::new())),
            ("is a pipe", &|e| (e.kind, e.data) = (b'6', Vec::new())),
            ("is above", &|e| e.path = format!("../{}", e.path)),
            ("is at the root", &|e| e.path = format!("/{}", e.path)),
        ];
        for (how, change) in changes {
            table.entries(format!("{name} {how}"), &with(change));
        }
        let mut without = whole.clone();
        without.remove(at);
        table.both(format!("{name} is missing"), &without);
        table.both(format!("{name} is empty"), &with(&|e| e.data.clear()));
        table.both(format!("{name} is short"), &with(&|e| _ = e.data.pop()));
        table.both(format!("{name} has a zero more"), &with(&|e| e.data.push(0)));
        table.both(format!("{name} has another byte"), &with(&|e| e.data[3] ^= 0x80));
    }
}

fn headers(table: &mut Table) {
    let entries = Made::new().entries();
    let whole = tar(&entries);
    let mut at = 0;
    for (number, entry) in entries.iter().enumerate() {
        let of = |change: &dyn Fn(&mut [u8; 512])| {
            let mut bytes = whole.clone();
            let mut header = header(entry);
            change(&mut header);
            bytes[at..at + 512].copy_from_slice(&header);
            bytes
        };
        let sized = |size: &'static [u8; 12]| {
            of(&|header| {
                header[124..136].copy_from_slice(size);
                summed(header);
            })
        };
        table.archive(format!("header {number}: a wrong sum"), &of(&|header| header[0] ^= 1));
        table.archive(format!("header {number}: no sum"), &of(&|h| h[148..156].fill(b'?')));
        table.archive(format!("header {number}: a size of words"), &sized(b"many bytes!\0"));
        table.archive(format!("header {number}: 8 GiB"), &sized(b"77777777777\0"));
        let most = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
        table.archive(format!("header {number}: more than there is"), &sized(most));
        at += 512 + entry.data.len().next_multiple_of(512);
    }
    // What follows the last file is needed too: an archive that was cut is told from a whole one.
    for end in (0..whole.len() - 1024).step_by(256).chain([whole.len() - 1024]) {
        table.archive(format!("cut after {end} bytes"), &whole[..end]);
    }
}

fn extended(table: &mut Table) {
    let whole = Made::new().entries();
    let records: [(&str, Vec<u8>); 7] = [
        ("no length", b"path=x\n".to_vec()),
        ("a length that is too long", b"99 path=x\n".to_vec()),
        ("a length of nothing", b"0 path=x\n".to_vec()),
        ("an endless length", b"99999999999999999999 path=x\n".to_vec()),
        ("no end", b"11 path=abc".to_vec()),
        ("another place for the next file", b"15 path=../../x\n".get(..15).expect("15").to_vec()),
        ("64 KiB and one byte", vec![b' '; 64 * 1024 + 1]),
    ];
    for (what, data) in records {
        for at in 1..whole.len() {
            let mut entries = whole.clone();
            let header =
                Entry { kind: b'x', path: "p".to_owned(), link: String::new(), data: data.clone() };
            entries.insert(at, header);
            table.entries(format!("pax before entry {at}: {what}"), &entries);
        }
    }
}

/// Layers that are of their digests, and whose contents are not what they should be.
fn layers(table: &mut Table) {
    let of = |layer: Vec<u8>, named: &[u8]| {
        let mut made = Made::new();
        let (digest, size) = (digest_of(&layer), layer.len());
        made.manifest["layers"] = json!([{ "mediaType": "l", "digest": digest, "size": size }]);
        made.config["rootfs"]["diff_ids"] = json!([digest_of(named)]);
        made.layer = layer;
        made.linked().entries()
    };
    let packed = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        (0..300).for_each(|_| encoder.write_all(text).expect("room"));
        encoder.finish().expect("room")
    };
    let text = b"a file system";
    table.both("what it holds is not named".to_owned(), &of(text.to_vec(), b"another"));
    table.both("what it unpacks to is not named".to_owned(), &of(packed(text), text));
    let mut cut = packed(text);
    cut.truncate(cut.len() - 5);
    table.both("a part of a gzip".to_owned(), &of(cut, &text.repeat(300)));
    let mut damaged = packed(text);
    damaged[20] ^= 8;
    table.both("a damaged gzip".to_owned(), &of(damaged, &text.repeat(300)));
    let zeros = vec![0; 1 << 20];
    table.both("a bomb".to_owned(), &of(packed(&zeros), &zeros.repeat(300)));
    // And one that is good, so that it is not the packing that is refused.
    let good = of(packed(text), &text.repeat(300));
    let path = table.folder.path().join("image.tar");
    fs::write(&path, tar(&good)).expect("write");
    verify_archive(&path).expect("a layer in gzip");
}

fn limits(table: &mut Table) {
    let mut made = Made::new();
    let layer = made.manifest[&LAYER[1..7]][0].clone();
    made.manifest["layers"] = Value::Array(vec![layer; LAYER_LIMIT + 1]);
    made.config["rootfs"]["diff_ids"] =
        Value::Array(vec![json!(digest_of(&made.layer)); LAYER_LIMIT + 1]);
    table.both("too many layers".to_owned(), &made.linked().entries());

    let mut made = Made::new();
    let one = made.index["manifests"][0].clone();
    made.index["manifests"] = Value::Array(vec![one; 257]);
    table.both("too many images".to_owned(), &made.entries());
    made.index["manifests"] = json!([]);
    table.both("no image".to_owned(), &made.entries());

    let mut made = Made::new();
    made.index["manifests"][0]["platform"] = json!({ "os": "linux", "architecture": "arm64" });
    let other = made.index["manifests"][0].clone();
    made.index["manifests"] = json!([other, other]);
    table.both("none for this machine".to_owned(), &made.entries());

    let made = Made::new();
    let mut entries = made.entries();
    let mut index = made.index;
    for _ in 0..3 {
        let inner = index.to_string();
        let digest = digest_of(inner.as_bytes());
        entries.push(file(path_of(&digest), inner.as_bytes()));
        let media_type = "application/vnd.oci.image.index.v1+json";
        index = json!({ "manifests": [{ "mediaType": media_type, "digest": digest, "size": inner.len() }] });
    }
    entries[4] = file("index.json", index.to_string());
    table.both("indexes of indexes".to_owned(), &entries);

    let long = "x".repeat(usize::try_from(DOCUMENT_LIMIT).expect("small"));
    for document in ["index", "manifest", "config"] {
        let mut made = Made::new();
        let at = match document {
            "index" => &mut made.index,
            "manifest" => &mut made.manifest,
            _ => &mut made.config,
        };
        at["annotation"] = json!(long);
        let made = if document == "index" { made } else { made.linked() };
        table.both(format!("a {document} of more than 4 MiB"), &made.entries());
    }

    let many = (0..65_600).map(|n| file(n.to_string(), Vec::new()));
    let mut entries: Vec<Entry> = many.collect();
    entries.extend(Made::new().entries());
    table.entries("too many files".to_owned(), &entries);
}

fn others(table: &mut Table) {
    let whole = tar(&Made::new().entries());
    let starting = |magic: &[u8]| {
        let mut bytes = whole.clone();
        bytes[..magic.len()].copy_from_slice(magic);
        bytes
    };
    table.archive("nothing".to_owned(), b"");
    table.archive("zeros".to_owned(), &[0; 10_240]);
    table.archive("a text".to_owned(), "hello\n".repeat(500).as_bytes());
    table.archive("gzip".to_owned(), &starting(b"\x1f\x8b\x08"));
    table.archive("zstd".to_owned(), &starting(b"\x28\xb5\x2f\xfd"));
    table.archive("xz".to_owned(), &starting(b"\xfd7zXZ\0"));
    table.archive("zip".to_owned(), &starting(b"PK\x03\x04"));
    table.archive("a program".to_owned(), &starting(b"\x7fELF"));
    table.entries("files that nobody asked for".to_owned(), &[file("etc/passwd", "root")]);
}

fn docker(table: &mut Table) {
    let (list, files) = Made::new().docker();
    let mut with = |what: String, list: &Value, files: &[Entry]| {
        let mut entries = files.to_vec();
        entries.push(file("manifest.json", list.to_string()));
        table.entries(format!("docker: {what}"), &entries);
    };
    for field in ["", "/0", "/0/Config", "/0/Layers", "/0/Layers/0"] {
        for value in wrong() {
            let mut list = list.clone();
            *list.pointer_mut(field).expect(field) = value.clone();
            let value = value.to_string().chars().take(40).collect::<String>();
            with(format!("{field} is {value}"), &list, &files);
        }
    }
    with("two images".to_owned(), &json!([list[0], list[0]]), &files);
    with("no layer".to_owned(), &list, &files[1..]);
    with("no configuration".to_owned(), &list, &files[..1]);
    let mut more = list.clone();
    more[0]["Layers"] = json!(["0/layer.tar", "0/layer.tar"]);
    with("a layer more than the configuration has".to_owned(), &more, &files);
    for (at, name) in ["the layer", "the configuration"].iter().enumerate() {
        let mut damaged = files.clone();
        damaged[at].data[2] ^= 1;
        with(format!("{name} has another byte"), &list, &damaged);
    }
    let mut loose = files.clone();
    loose[0] = Entry {
        kind: b'2',
        link: "../../etc/passwd".to_owned(),
        data: Vec::new(),
        ..loose[0].clone()
    };
    with("the layer is a link out".to_owned(), &list, &loose);
    let mut made = Made::new();
    made.config["rootfs"]["diff_ids"] = json!(vec![digest_of(&made.layer); LAYER_LIMIT + 1]);
    let (mut list, files) = made.docker();
    list[0]["Layers"] = json!(vec!["0/layer.tar"; LAYER_LIMIT + 1]);
    with("too many layers".to_owned(), &list, &files);
}

#[test]
fn every_bad_image_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("tempdir");
    let mut table = Table { folder, tried: 0, taken: Vec::new() };
    for part in [fields, digests, blobs, headers, extended, limits, layers, others, docker] {
        part(&mut table);
    }
    assert_eq!(table.taken, Vec::<String>::new(), "of {} that were tried", table.tried);
    assert!(table.tried >= 500, "only {} were tried", table.tried);
    let left: Vec<_> = fs::read_dir(table.folder.path()).expect("read").flatten().collect();
    assert_eq!(left.len(), 1, "only the archive that was tried last: {left:?}");
}

#[test]
fn the_images_that_the_bad_ones_are_made_of_are_good() {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("image.tar");
    fs::write(&path, tar(&Made::new().entries())).expect("write");
    let oci = verify_archive(&path).expect("OCI");
    assert_eq!(oci.architectures, ["amd64"]);
    let (list, mut files) = Made::new().docker();
    files.push(file("manifest.json", list.to_string()));
    fs::write(&path, tar(&files)).expect("write");
    let docker = verify_archive(&path).expect("docker");
    assert_eq!(docker.architectures, oci.architectures);
    assert_eq!(
        read_archive(&path).expect("again").digest,
        docker.digest,
        "the same image every time"
    );
    // Before Docker 25 a layer that two images share is a link.
    files[0].path = "1/layer.tar".to_owned();
    let link =
        Entry { kind: b'2', link: "../1/layer.tar".to_owned(), ..file("0/layer.tar", Vec::new()) };
    files.push(link);
    fs::write(&path, tar(&files)).expect("write");
    assert_eq!(verify_archive(&path).expect("linked").digest, docker.digest);
    assert!(Path::new(&path).exists());
}
