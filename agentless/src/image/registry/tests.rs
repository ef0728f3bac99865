//! A registry in this process, and what is made of its answers.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A registry in this process, which tells what it was asked.
#[derive(Clone, Default)]
struct Fake {
    documents: Arc<StdMutex<HashMap<String, Vec<u8>>>>,
    asked: Arc<StdMutex<Vec<String>>>,
    /// Ends connections after so many bytes of a blob.
    cut: Option<usize>,
    /// Answers parts of blobs as if the whole had been asked for.
    no_ranges: bool,
    /// Wants a login.
    closed: bool,
}

impl Fake {
    fn put(&self, path: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        self.lock().insert(path.replace("DIGEST", &digest), bytes.to_vec());
        digest
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an image with one layer under a tag, for an architecture; gives the manifest's digest.
    fn image(&self, tag: &str, layer: &[u8], architecture: &str) -> (String, String) {
        let layer_digest = self.put("/v2/web/blobs/DIGEST", layer);
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}}}}"#
        );
        let config_digest = self.put("/v2/web/blobs/DIGEST", config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"c","digest":"{config_digest}","size":{}}},"layers":[{{"mediaType":"l","digest":"{layer_digest}","size":{}}}]}}"#,
            config.len(),
            layer.len()
        );
        self.put(&format!("/v2/web/manifests/{tag}"), manifest.as_bytes());
        (self.put("/v2/web/manifests/DIGEST", manifest.as_bytes()), layer_digest)
    }

    fn asked(&self, part: &str) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|line| line.contains(part)).count()
    }

    /// Serves, and says where.
    async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().answer(stream));
            }
        });
        host
    }

    async fn answer(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut path, mut from) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                let line = line.trim();
                if let Some(rest) = line.strip_prefix("GET ") {
                    let target = rest.split(' ').next().unwrap_or_default();
                    path = target.split('?').next().unwrap_or_default().to_owned();
                }
                if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    from = range.trim_end_matches('-').parse().unwrap_or(0);
                }
                if line.is_empty() {
                    break;
                }
            }
            let line = format!("{path} from {from}");
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            if self.no_ranges {
                from = 0;
            }
            let found = self.lock().get(&path).cloned();
            let (status, body) = match found {
                _ if self.closed => ("401 Unauthorized", Vec::new()),
                Some(bytes) if from > 0 => ("206 Partial Content", bytes[from..].to_vec()),
                Some(bytes) => ("200 OK", bytes),
                None if path == "/v2/" => ("200 OK", Vec::new()),
                None => ("404 Not Found", br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#.to_vec()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n",
                body.len()
            );
            let whole = match self.cut.filter(|cut| path.contains("/blobs/") && *cut < body.len()) {
                Some(cut) => &body[..cut],
                None => &body[..],
            };
            if stream.write_all(head.as_bytes()).await.is_err()
                || stream.write_all(whole).await.is_err()
                || whole.len() < body.len()
            {
                return;
            }
        }
    }
}

/// Two hosts without TLS, the first with the second as its mirror if `mirrored`.
fn project(hosts: &[&str], mirrored: bool) -> (tempfile::TempDir, Registries) {
    let folder = tempfile::tempdir().expect("a folder");
    let access = |at: usize| Access {
        http: true,
        mirrors: if mirrored && at == 0 { vec![hosts[1].to_owned()] } else { Vec::new() },
        ..Access::default()
    };
    let entries = hosts.iter().enumerate().map(|(at, host)| ((*host).to_owned(), access(at)));
    let registries = Registries::new(folder.path().to_owned(), entries.collect());
    (folder, registries)
}

fn large() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

async fn fetched(fake: Fake) -> (Fake, Result<u64, RegistryError>) {
    let (manifest, _) = fake.image("1", &large(), "amd64");
    let host = fake.clone().serve().await;
    let (_folder, registries) = project(&[&host], false);
    let name = format!("{host}/web:1");
    let got = async {
        let digest = registries.resolve(&name).await?;
        assert_eq!(digest.as_str(), manifest);
        let reference = parse(&name)?;
        let image = registries.image(&reference, &digest, "amd64").await?;
        let layer = &image.manifest.layers[0];
        assert_eq!(fake.asked(&layer.digest), 0, "documents alone");
        registries.blob(&reference, layer).await?;
        registries.blob(&reference, layer).await?;
        let whole = registries.source().image(image.descriptor.digest.as_str())?;
        Ok(whole.manifest.layers[0].size)
    };
    let got = got.await;
    (fake, got)
}

#[tokio::test]
async fn an_image_is_pinned_and_then_fetched_once() {
    let (fake, got) = fetched(Fake::default()).await;
    assert_eq!(got.expect("an image"), 400_000);
    assert_eq!(fake.asked("/manifests/1 "), 1);
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_ended() {
    let (fake, got) = fetched(Fake { cut: Some(150_000), ..Fake::default() }).await;
    assert_eq!(got.expect("an image"), 400_000);
    assert_eq!(fake.asked("from 150000") + fake.asked("from 300000"), 2);
    // A registry that cannot go on begins again, which ends only if it is not cut each time.
    let (_, got) = fetched(Fake { cut: Some(150_000), no_ranges: true, ..Fake::default() }).await;
    assert!(matches!(got, Err(RegistryError::Unreachable { .. })), "{got:?}");
}

#[tokio::test]
async fn damage_of_an_earlier_download_is_no_reason_to_fail() {
    for damage in ["a law", "a layers and more"] {
        let fake = Fake::default();
        let (digest, layer) = fake.image("1", b"a layer", "amd64");
        let host = fake.clone().serve().await;
        let (folder, registries) = project(&[&host], false);
        let reference = parse(&format!("{host}/web:1")).expect("a reference");
        let digest = ImageDigest::new(digest);
        let image = registries.image(&reference, &digest, "amd64").await.expect("documents");
        let partial = folder.path().join(".berth/images/partial").join(layer.replace(':', "-"));
        std::fs::create_dir_all(partial.parent().expect("a folder")).expect("mkdir");
        std::fs::write(&partial, damage).expect("a file");
        registries.blob(&reference, &image.manifest.layers[0]).await.expect("the layer");
    }
}

#[tokio::test]
async fn other_bytes_than_the_digest_says_are_not_kept() {
    let fake = Fake::default();
    let (_, layer) = fake.image("1", b"a layer", "amd64");
    fake.lock().insert(format!("/v2/web/blobs/{layer}"), b"a lawyer".to_vec());
    let host = fake.clone().serve().await;
    let (folder, registries) = project(&[&host], false);
    let reference = parse(&format!("{host}/web:1")).expect("a reference");
    let digest = registries.resolve(&format!("{host}/web:1")).await.expect("a digest");
    let image = registries.image(&reference, &digest, "amd64").await.expect("documents");
    for (bytes, word) in [("a lawyer", "longer"), ("a laser", "digest")] {
        fake.lock().insert(format!("/v2/web/blobs/{layer}"), bytes.as_bytes().to_vec());
        let got = registries.blob(&reference, &image.manifest.layers[0]).await;
        let words = words(&got.expect_err("other bytes"));
        assert!(words.contains(word), "{words}");
    }
    let kept = folder.path().join(".berth/images/blobs").join(layer.replace(':', "/"));
    assert!(!kept.exists());
    // The right ones are, then.
    fake.lock().insert(format!("/v2/web/blobs/{layer}"), b"a layer".to_vec());
    registries.blob(&reference, &image.manifest.layers[0]).await.expect("the layer");
    assert_eq!(std::fs::read(kept).expect("the layer"), b"a layer");
}

#[tokio::test]
async fn an_index_gives_each_machine_its_image() {
    let fake = Fake::default();
    let (amd, _) = fake.image("amd", b"one", "amd64");
    let (arm, _) = fake.image("arm", b"two", "arm64");
    let entry = |digest: &str, architecture: &str| {
        let size = fake.lock()[&format!("/v2/web/manifests/{digest}")].len();
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}}"#,
        entry(&amd, "amd64"),
        entry(&arm, "arm64")
    );
    fake.put("/v2/web/manifests/1", index.as_bytes());
    fake.put("/v2/web/manifests/DIGEST", index.as_bytes());
    let host = fake.clone().serve().await;
    let (_folder, registries) = project(&[&host], false);
    let digest = registries.resolve(&format!("{host}/web:1")).await.expect("a digest");
    assert_eq!(digest.as_str(), digest_of(index.as_bytes()), "the index is what is pinned");
    let reference = parse(&format!("{host}/web:1")).expect("a reference");
    for (machine, wanted) in [("amd64", &amd), ("arm64", &arm)] {
        let image = registries.image(&reference, &digest, machine).await.expect("an image");
        assert_eq!(&image.descriptor.digest, wanted);
        assert_eq!(image.index.expect("an index").digest, digest.as_str());
    }
    let none = registries.image(&reference, &digest, "s390x").await.expect_err("none");
    assert!(none.to_string().contains("no linux/s390x image"), "{none}");
}

#[tokio::test]
async fn what_no_image_needs_is_tidied_away() {
    let fake = Fake::default();
    let names = ["1", "2"].map(|tag| (fake.image(tag, tag.as_bytes(), "amd64"), tag));
    let host = fake.clone().serve().await;
    let (_folder, registries) = project(&[&host], false);
    let reference = parse(&format!("{host}/web")).expect("a reference");
    for ((digest, _), _) in &names {
        let digest = ImageDigest::new(digest.clone());
        let image = registries.image(&reference, &digest, "amd64").await.expect("documents");
        registries.blob(&reference, &image.manifest.layers[0]).await.expect("a layer");
    }
    let keep = BTreeSet::from([ImageDigest::new(names[0].0.0.clone())]);
    let (files, _) = registries.tidy(&keep).expect("a folder");
    assert_eq!(files, 3, "manifest, configuration and layer of the other one");
    registries.source().image(&names[0].0.0).expect("the one that is kept");
    assert_eq!(registries.tidy(&keep).expect("a folder"), (0, 0));
}

#[tokio::test]
async fn mirrors_come_first_and_are_no_end() {
    let (origin, mirror) = (Fake::default(), Fake::default());
    let (digest, _) = origin.image("1", b"a layer", "amd64");
    let (there, here) = (origin.clone().serve().await, mirror.clone().serve().await);
    let (_folder, registries) = project(&[&there, &here], true);
    let name = format!("{there}/web:1");
    // The mirror does not have it.
    assert_eq!(registries.resolve(&name).await.expect("a digest").as_str(), digest);
    assert_eq!((mirror.asked("/manifests/1"), origin.asked("/manifests/1")), (1, 1));
    // Now it does, and the registry is left alone.
    mirror.image("1", b"a layer", "amd64");
    assert_eq!(registries.resolve(&name).await.expect("a digest").as_str(), digest);
    assert_eq!((mirror.asked("/manifests/1"), origin.asked("/manifests/1")), (2, 1));
    // A node is told the same.
    let file = registries.hosts_file(&parse(&name).expect("a reference")).await.expect("hosts");
    let wanted = format!(
        "server = \"http://{there}\"\n[host.\"http://{here}\"]\n  capabilities = [\"pull\", \"resolve\"]\n[host.\"http://{there}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    assert_eq!(file.text, wanted);
}

#[tokio::test]
async fn what_cannot_be_had_says_so_and_what_to_do() {
    let (open, closed) = (Fake::default(), Fake { closed: true, ..Fake::default() });
    let (open, closed) = (open.serve().await, closed.serve().await);
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address").to_string()
    };
    let (_folder, registries) = project(&[&open, &closed, &nobody], false);
    let mut seen = BTreeSet::new();
    for (name, words, mend) in [
        (format!("{open}/web:2"), "has no `web:2`", "look at its name"),
        (
            format!("{closed}/web:2"),
            "does not let anybody without a login read `web`",
            "docker login",
        ),
        (format!("{nobody}/web:2"), "does not answer: Connection refused", "plain HTTP"),
        ("Not A Name".to_owned(), "does not name an image", "ghcr.io/acme/web:1.4"),
    ] {
        let error = registries.resolve(&name).await.expect_err("no image");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.mend().contains(mend), "{}", error.mend());
        seen.insert(error.mend());
    }
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn only_what_a_key_of_the_project_signed_is_taken() {
    let fake = Fake::default();
    let (digest, _) = fake.image("1", b"a layer", "amd64");
    let host = fake.clone().serve().await;
    let (folder, _) = project(&[&host], false);
    let keys = |name: &str| {
        let script = format!(
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key &&
             openssl pkey -in {name}.key -pubout -out {name}.pub"
        );
        let mut shell = std::process::Command::new("sh");
        assert!(shell.current_dir(&folder).args(["-c", &script]).status().expect("sh").success());
    };
    keys("ours");
    keys("theirs");
    // Each time as another process would.
    let resolved = async |signed_by: &[&str]| {
        let signed_by = signed_by.iter().map(|path| (*path).to_owned()).collect();
        let access = Access { http: true, signed_by, ..Access::default() };
        let access = BTreeMap::from([(host.clone(), access)]);
        let registries = Registries::new(folder.path().to_owned(), access);
        let name = format!("{host}/web:1");
        let found = registries.resolve(&name).await;
        let reference = parse(&name).expect("a reference");
        let image = registries.image(&reference, &ImageDigest::new(&*digest), "amd64").await;
        assert_eq!(found.is_ok(), image.is_ok(), "pinned or not, it is asked for");
        found.map_err(|error| (error.to_string(), error.mend()))
    };
    let refused = |found: Result<ImageDigest, (String, String)>, word: &str| {
        let (why, mend) = found.expect_err(word);
        assert!(why.contains(word), "{why}");
        assert!(!mend.is_empty());
    };
    assert!(resolved(&[]).await.is_ok());
    refused(
        resolved(&["ours.pub"]).await,
        "is not signed by ours.pub: the registry has no signature",
    );
    refused(resolved(&["none.pub"]).await, "none.pub");
    refused(resolved(&["ours.key"]).await, "not a PUBLIC KEY");

    let sign = |signed: &str| {
        let payload = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":""}},"image":{{"docker-manifest-digest":"{signed}"}},"type":"cosign container image signature"}},"optional":null}}"#
        );
        std::fs::write(folder.path().join("payload"), &payload).expect("write");
        let mut openssl = std::process::Command::new("sh");
        let run = openssl
            .current_dir(&folder)
            .args(["-c", "openssl dgst -sha256 -sign ours.key payload | base64 -w0"])
            .output();
        let signature = String::from_utf8(run.expect("sh").stdout).expect("base64");
        let payload_digest = fake.put("/v2/web/blobs/DIGEST", payload.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"sha256:0","size":2}},"layers":[{{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"{payload_digest}","size":{},"annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}]}}"#,
            payload.len()
        );
        let tag = digest.replace(':', "-");
        fake.put(&format!("/v2/web/manifests/{tag}.sig"), manifest.as_bytes());
    };
    sign(&digest_of(b"another image"));
    refused(resolved(&["ours.pub"]).await, "another image");
    sign(&digest);
    assert!(resolved(&["ours.pub"]).await.is_ok());
    assert!(resolved(&["theirs.pub", "ours.pub"]).await.is_ok());
    refused(resolved(&["theirs.pub"]).await, "another key");
}
