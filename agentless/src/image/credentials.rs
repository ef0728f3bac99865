//! Who this machine is to a registry: what `docker login` and `podman login` keep, helpers included.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::PathBuf;

use docker_credential::{
    CredentialRetrievalError as Error, DockerCredential, get_credential_from_reader,
};
use oci_client::secrets::RegistryAuth;

/// Why what is kept cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the login for {registry} cannot be used: {why}")]
pub struct CredentialError {
    registry: String,
    why: String,
}

/// The name under which Docker keeps the login for its own registry.
const HUB: &str = "https://index.docker.io/v1/";

/// Finds the login for a registry; nobody if none is kept.
pub(crate) async fn find(registry: &str) -> Result<RegistryAuth, CredentialError> {
    let wrong = |why: String| CredentialError { registry: registry.to_owned(), why };
    let host = registry.to_owned();
    // A credential helper is a program, which may wait for a person.
    let found = tokio::task::spawn_blocking(move || {
        kept(&host, &files(|name| std::env::var_os(name).filter(|value| !value.is_empty())))
    });
    found.await.map_err(|error| wrong(error.to_string()))?.map_err(wrong)
}

/// The files that logins are kept in: Docker's, then Podman's (containers-auth.json(5)).
fn files(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let folder = |name: &str| variable(name).map(PathBuf::from);
    let home = folder("HOME");
    let below = |path: &str| home.as_ref().map(|home| home.join(path));
    let docker = folder("DOCKER_CONFIG").or_else(|| below(".docker"));
    let run = folder("XDG_RUNTIME_DIR").map(|run| run.join("containers/auth.json"));
    let podman = match folder("REGISTRY_AUTH_FILE") {
        Some(file) => vec![Some(file)],
        None => vec![run, below(".config/containers/auth.json")],
    };
    let docker = docker.map(|folder| folder.join("config.json"));
    [docker].into_iter().chain(podman).flatten().collect()
}

fn kept(registry: &str, files: &[PathBuf]) -> Result<RegistryAuth, String> {
    let server = if registry == "docker.io" { HUB } else { registry };
    for path in files {
        let file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        match get_credential_from_reader(file, server) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                return Ok(RegistryAuth::Basic(user, password));
            }
            Ok(DockerCredential::IdentityToken(_)) => {
                return Err("it is an identity token, which Berth cannot use yet; log in with a name and a password or an access token".to_owned());
            }
            Err(Error::ConfigNotFound | Error::NoCredentialConfigured) => {}
            // What every helper says that has nothing (docker-credential-helpers, `errCredentialsNotFoundMessage`).
            Err(Error::HelperFailure { stdout, .. })
                if stdout.contains("credentials not found") => {}
            // What a helper printed may be what must not be shown.
            Err(Error::HelperFailure { helper, .. }) => return Err(format!("`{helper}` failed")),
            Err(Error::ConfigReadError) => {
                return Err(format!("{} is not what `docker login` writes", path.display()));
            }
            Err(other) => return Err(other.to_string()),
        }
    }
    Ok(RegistryAuth::Anonymous)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(auth: &Result<RegistryAuth, String>) -> String {
        match auth {
            Ok(RegistryAuth::Basic(user, password)) => format!("{user}:{password}"),
            Ok(_) => "nobody".to_owned(),
            Err(why) => why.clone(),
        }
    }

    #[test]
    fn docker_is_asked_before_podman_and_nobody_is_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = [folder.path().join("docker"), folder.path().join("podman")];
        let write = |at: usize, text: &str| std::fs::write(&files[at], text).expect("a file");
        assert_eq!(spoken(&kept("r.io", &files)), "nobody");
        // ana:one, ben:two
        write(1, r#"{"auths":{"r.io":{"auth":"YmVuOnR3bw=="},"s.io":{"auth":"YmVuOnR3bw=="}}}"#);
        assert_eq!(spoken(&kept("r.io", &files)), "ben:two");
        write(
            0,
            r#"{"auths":{"r.io":{"auth":"YW5hOm9uZQ=="},"https://index.docker.io/v1/":{"auth":"YW5hOm9uZQ=="}}}"#,
        );
        assert_eq!(spoken(&kept("r.io", &files)), "ana:one");
        assert_eq!(spoken(&kept("s.io", &files)), "ben:two");
        assert_eq!(spoken(&kept("docker.io", &files)), "ana:one");
        assert_eq!(spoken(&kept("t.io", &files)), "nobody");
        write(0, r#"{"auths":{"r.io":{"identitytoken":"x"}}}"#);
        assert!(spoken(&kept("r.io", &files)).contains("identity token"));
        write(0, "{");
        assert!(spoken(&kept("r.io", &files)).contains("is not what `docker login` writes"));
        write(0, r#"{"credHelpers":{"r.io":"no-such-helper"}}"#);
        assert!(spoken(&kept("r.io", &files)).contains("helper"));
    }

    #[test]
    fn files_are_where_docker_and_podman_keep_them() {
        let with = |set: &'static [(&str, &str)]| {
            let found = files(move |name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            });
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            with(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]),
            [
                "/h/.docker/config.json",
                "/r/containers/auth.json",
                "/h/.config/containers/auth.json"
            ]
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("REGISTRY_AUTH_FILE", "/a.json")]),
            ["/d/config.json", "/a.json"]
        );
        assert!(with(&[]).is_empty());
    }
}
