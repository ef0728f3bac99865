//! N services, each a short call of a typed template: the same work for every language.
//!
//! A service is given by its name, team, tier, image, port and replicas; the template makes 16 fields of
//! them, with a range on two, an enum, strings put together, and a table looked up.

use std::fmt::Write as _;

/// What one service is given.
struct Given {
    name: String,
    team: usize,
    tier: &'static str,
    image: String,
    port: usize,
    replicas: usize,
}

fn given(n: usize) -> impl Iterator<Item = Given> {
    (0..n).map(|i| Given {
        name: format!("svc-{i:05}"),
        team: i % 17,
        tier: ["small", "medium", "large"][i % 3],
        image: format!(
            "registry.example.com/team-{}/app-{}:1.{}.{}",
            i % 17,
            i % 97,
            i % 40,
            i % 7
        ),
        port: 8000 + i % 1000,
        replicas: 1 + i % 9,
    })
}

const BERTH: &str = r#"enum Tier { small, medium, large }
fn sized(tier: Tier) -> Resources = match tier {
  small -> { cpu: 250m, memory: 128MiB }
  medium -> { cpu: 500m, memory: 512MiB }
  large -> { cpu: 2, memory: 2GiB }
}
fn app(name: Str, team: Str, tier: Tier, image: Image, port: PortNumber, replicas: Replicas) -> Service = {
  image: image
  replicas: replicas
  command: ["/bin/app", "--port", "${port}"]
  env: {
    APP_NAME: name, PORT: "${port}", LOG_LEVEL: "info", REGION: "eu-west-1"
    DATABASE_URL: "postgres://db.${team}.internal/${name}"
    TEAM: team, MANAGED_BY: "bench", ZONE: "a", USER: "1000:1000", NETWORKS: join(["edge", team], ",")
  }
  ports: [{ name: "http", container: port, protocol: tcp }]
  resources: sized(tier)
  health: http("/healthz", port: port, every: 10s, timeout: 2s, fail_after: 3)
  rollout: rolling(surge: 1, unavailable: 0, deadline: 60s)
  place: { spread: "zone" }
  priority: 10
  grace: 30s
}
"#;

/// The project's text in our own language.
pub(crate) fn berth(n: usize) -> String {
    let mut text = BERTH.to_owned();
    for Given { name, team, tier, image, port, replicas } in given(n) {
        let word = name.replace('-', "_");
        let _ = writeln!(
            text,
            "service {word} = app(\"{name}\", \"team-{team}\", {tier}, \"{image}\", {port}, {replicas})"
        );
    }
    text
}

/// A peer: the file's name, what comes before the services, a service, what comes after.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) typed: bool,
    pub(crate) file: &'static str,
    /// The command; `{}` stands for the file.
    pub(crate) command: &'static [&'static str],
    head: &'static str,
    tail: &'static str,
    between: &'static str,
    each: fn(&Given) -> String,
}

impl Peer {
    pub(crate) fn text(&self, n: usize) -> String {
        let all: Vec<String> = given(n).map(|one| (self.each)(&one)).collect();
        format!("{}{}{}", self.head, all.join(self.between), self.tail)
    }
}

/// Every language that has this workload.
pub(crate) const PEERS: &[Peer] = &[
    Peer {
        name: "Pkl",
        typed: true,
        file: "svc.pkl",
        command: &["pkl", "eval", "-f", "json", "{}"],
        head: r#"typealias Port = Int(isBetween(1, 65535))
typealias Replicas = Int(isBetween(0, 1000))
typealias Tier = "small"|"medium"|"large"
local class PortDef { name: String; container: Port; protocol: "tcp"|"udp" }
local class Resources { cpu_m: Int; memory_mib: Int }
local class Health { path: String; port: Port; every_s: Int; timeout_s: Int; fail_after: Int }
local class Rolling { surge: Int; unavailable: Int; deadline_s: Int }
local class Service {
  name: String; image: String; replicas: Replicas
  command: Listing<String>
  env: Mapping<String, String>
  ports: Listing<PortDef>
  resources: Resources
  health: Health
  labels: Mapping<String, String>
  restart: "always"|"on_failure"|"never"
  networks: Listing<String>
  volumes: Listing<String>
  rollout: Rolling
  spread: String
  priority: Int
  grace_s: Int
}
local class In { name: String; team: String; tier: Tier; image: String; port: Port; replicas: Replicas }
local const sizes: Mapping<String, Resources> = new {
  ["small"] = new Resources { cpu_m = 250; memory_mib = 128 }
  ["medium"] = new Resources { cpu_m = 500; memory_mib = 512 }
  ["large"] = new Resources { cpu_m = 2000; memory_mib = 2048 }
}
local function service(r: In): Service = new Service {
  name = r.name; image = r.image; replicas = r.replicas
  command { "/bin/app"; "--port"; r.port.toString() }
  env { ["APP_NAME"] = r.name; ["PORT"] = r.port.toString(); ["LOG_LEVEL"] = "info"; ["REGION"] = "eu-west-1"; ["DATABASE_URL"] = "postgres://db.\(r.team).internal/\(r.name)" }
  ports { new { name = "http"; container = r.port; protocol = "tcp" } }
  resources = sizes[r.tier]
  health { path = "/healthz"; port = r.port; every_s = 10; timeout_s = 2; fail_after = 3 }
  labels { ["app"] = r.name; ["team"] = r.team; ["tier"] = r.tier; ["managed_by"] = "bench" }
  restart = "always"
  networks { "edge"; r.team }
  volumes {}
  rollout { surge = 1; unavailable = 0; deadline_s = 60 }
  spread = "zone"; priority = 10; grace_s = 30
}
services: Listing<Service> = new {
"#,
        tail: "\n}\n",
        between: "\n",
        each: |r| {
            format!(
                "  service(new In {{ name = \"{}\"; team = \"team-{}\"; tier = \"{}\"; image = \"{}\"; port = {}; replicas = {} }})",
                r.name, r.team, r.tier, r.image, r.port, r.replicas
            )
        },
    },
    Peer {
        name: "Nickel",
        typed: true,
        file: "svc.ncl",
        command: &["nickel", "export", "{}"],
        head: r#"let Between = fun low high => std.contract.from_predicate (fun x => std.is_number x && x >= low && x <= high) in
let Port = Between 1 65535 in
let Replicas = Between 0 1000 in
let Tier = [| 'small, 'medium, 'large |] in
let In = { name | String, team | String, tier | Tier, image | String, port | Port, replicas | Replicas } in
let Service = {
  name | String, image | String, replicas | Replicas, command | Array String, env | { _ | String },
  ports | Array { name | String, container | Port, protocol | [| 'tcp, 'udp |] },
  resources | { cpu_m | Number, memory_mib | Number },
  health | { path | String, port | Port, every_s | Number, timeout_s | Number, fail_after | Number },
  labels | { _ | String }, restart | [| 'always, 'on_failure, 'never |],
  networks | Array String, volumes | Array String,
  rollout | { surge | Number, unavailable | Number, deadline_s | Number },
  spread | String, priority | Number, grace_s | Number,
} in
let sizes = { small = { cpu_m = 250, memory_mib = 128 }, medium = { cpu_m = 500, memory_mib = 512 }, large = { cpu_m = 2000, memory_mib = 2048 } } in
let service = fun given =>
  let r | In = given in
  {
    name = r.name, image = r.image, replicas = r.replicas,
    command = ["/bin/app", "--port", std.string.from_number r.port],
    env = { APP_NAME = r.name, PORT = std.string.from_number r.port, LOG_LEVEL = "info", REGION = "eu-west-1", DATABASE_URL = "postgres://db.%{r.team}.internal/%{r.name}" },
    ports = [{ name = "http", container = r.port, protocol = 'tcp }],
    resources = r.tier |> match { 'small => sizes.small, 'medium => sizes.medium, 'large => sizes.large },
    health = { path = "/healthz", port = r.port, every_s = 10, timeout_s = 2, fail_after = 3 },
    labels = { app = r.name, team = r.team, tier = std.string.from_enum r.tier, managed_by = "bench" },
    restart = 'always, networks = ["edge", r.team], volumes = [],
    rollout = { surge = 1, unavailable = 0, deadline_s = 60 }, spread = "zone", priority = 10, grace_s = 30,
  } | Service
in
{ services = [
"#,
        tail: "\n] }\n",
        between: ",\n",
        each: |r| {
            format!(
                "  service {{ name = \"{}\", team = \"team-{}\", tier = '{}, image = \"{}\", port = {}, replicas = {} }}",
                r.name, r.team, r.tier, r.image, r.port, r.replicas
            )
        },
    },
    Peer {
        name: "Dhall",
        typed: true,
        file: "svc.dhall",
        command: &["dhall-to-json", "--file", "{}"],
        head: DHALL,
        tail: "\n] }\n",
        between: ",\n",
        each: dhall,
    },
    Peer {
        name: "Dhall (the dhall package of Python, in Rust)",
        typed: true,
        file: "svc.dhall",
        command: &[
            "python3",
            "-c",
            "import sys, json, dhall\nprint(json.dumps(dhall.loads(open(sys.argv[1]).read())))",
            "{}",
        ],
        head: DHALL,
        tail: "\n] }\n",
        between: ",\n",
        each: dhall,
    },
    Peer {
        name: "KCL",
        typed: true,
        file: "svc.k",
        command: &["kcl", "run", "{}", "--format", "json"],
        head: KCL,
        tail: "\n]\n",
        between: "\n",
        each: kcl,
    },
    Peer {
        name: "KCL (kcl_lib)",
        typed: true,
        file: "svc.k",
        command: &[
            "python3",
            "-c",
            "import sys, kcl_lib.api as k\nr = k.API().exec_program(k.ExecProgramArgs(k_filename_list=[sys.argv[1]]))\nprint(r.json_result)",
            "{}",
        ],
        head: KCL,
        tail: "\n]\n",
        between: "\n",
        each: kcl,
    },
    Peer {
        name: "Nix",
        typed: false,
        file: "svc.nix",
        command: &["nix-instantiate", "--eval", "--strict", "--json", "{}"],
        head: r#"let
  sizes = { small = { cpu_m = 250; memory_mib = 128; }; medium = { cpu_m = 500; memory_mib = 512; }; large = { cpu_m = 2000; memory_mib = 2048; }; };
  service = { name, team, tier, image, port, replicas }:
    assert builtins.isString name && builtins.isString team && builtins.isString image;
    assert builtins.isInt port && port >= 1 && port <= 65535;
    assert builtins.isInt replicas && replicas >= 0 && replicas <= 1000; {
    inherit name image replicas;
    command = [ "/bin/app" "--port" (toString port) ];
    env = { APP_NAME = name; PORT = toString port; LOG_LEVEL = "info"; REGION = "eu-west-1"; DATABASE_URL = "postgres://db.${team}.internal/${name}"; };
    ports = [ { name = "http"; container = port; protocol = "tcp"; } ];
    resources = sizes.${tier};
    health = { path = "/healthz"; inherit port; every_s = 10; timeout_s = 2; fail_after = 3; };
    labels = { app = name; inherit team tier; managed_by = "bench"; };
    restart = "always"; networks = [ "edge" team ]; volumes = [ ];
    rollout = { surge = 1; unavailable = 0; deadline_s = 60; }; spread = "zone"; priority = 10; grace_s = 30;
  };
in { services = [
"#,
        tail: "\n]; }\n",
        between: "\n",
        each: |r| {
            format!(
                "  (service {{ name = \"{}\"; team = \"team-{}\"; tier = \"{}\"; image = \"{}\"; port = {}; replicas = {}; }})",
                r.name, r.team, r.tier, r.image, r.port, r.replicas
            )
        },
    },
    Peer {
        name: "jrsonnet",
        typed: false,
        file: "svc.jsonnet",
        command: &["jrsonnet", "{}"],
        head: JSONNET,
        tail: "\n] }\n",
        between: ",\n",
        each: jsonnet,
    },
    Peer {
        name: "jrsonnet (rjsonnet)",
        typed: false,
        file: "svc.jsonnet",
        command: &[
            "python3",
            "-c",
            "import sys, rjsonnet\nprint(rjsonnet.evaluate_file(sys.argv[1]))",
            "{}",
        ],
        head: JSONNET,
        tail: "\n] }\n",
        between: ",\n",
        each: jsonnet,
    },
    Peer {
        name: "go-jsonnet (gojsonnet)",
        typed: false,
        file: "svc.jsonnet",
        command: &[
            "python3",
            "-c",
            "import sys, _gojsonnet\nprint(_gojsonnet.evaluate_file(sys.argv[1]))",
            "{}",
        ],
        head: JSONNET,
        tail: "\n] }\n",
        between: ",\n",
        each: jsonnet,
    },
];

const DHALL: &str = r#"let Tier = < small | medium | large >
let Entry = { mapKey : Text, mapValue : Text }
let Protocol = < tcp | udp >
let Restart = < always | on_failure | never >
let Resources = { cpu_m : Natural, memory_mib : Natural }
let Service = { name : Text, image : Text, replicas : Natural, command : List Text, env : List Entry
  , ports : List { name : Text, container : Natural, protocol : Protocol }, resources : Resources
  , health : { path : Text, port : Natural, every_s : Natural, timeout_s : Natural, fail_after : Natural }
  , labels : List Entry, restart : Restart, networks : List Text, volumes : List Text
  , rollout : { surge : Natural, unavailable : Natural, deadline_s : Natural }, spread : Text, priority : Natural, grace_s : Natural }
let In = { name : Text, team : Text, tier : Tier, image : Text, port : Natural, replicas : Natural }
let e = \(k : Text) -> \(v : Text) -> { mapKey = k, mapValue = v }
let service : In -> Service = \(r : In) ->
  { name = r.name, image = r.image, replicas = r.replicas
  , command = [ "/bin/app", "--port", Natural/show r.port ]
  , env = [ e "APP_NAME" r.name, e "PORT" (Natural/show r.port), e "LOG_LEVEL" "info", e "REGION" "eu-west-1", e "DATABASE_URL" "postgres://db.${r.team}.internal/${r.name}" ]
  , ports = [ { name = "http", container = r.port, protocol = Protocol.tcp } ]
  , resources = merge { small = { cpu_m = 250, memory_mib = 128 }, medium = { cpu_m = 500, memory_mib = 512 }, large = { cpu_m = 2000, memory_mib = 2048 } } r.tier
  , health = { path = "/healthz", port = r.port, every_s = 10, timeout_s = 2, fail_after = 3 }
  , labels = [ e "app" r.name, e "team" r.team, e "tier" (merge { small = "small", medium = "medium", large = "large" } r.tier), e "managed_by" "bench" ]
  , restart = Restart.always, networks = [ "edge", r.team ], volumes = [] : List Text
  , rollout = { surge = 1, unavailable = 0, deadline_s = 60 }, spread = "zone", priority = 10, grace_s = 30 }
in { services = [
"#;

fn dhall(r: &Given) -> String {
    format!(
        "  service {{ name = \"{}\", team = \"team-{}\", tier = Tier.{}, image = \"{}\", port = {}, replicas = {} }}",
        r.name, r.team, r.tier, r.image, r.port, r.replicas
    )
}

const JSONNET: &str = r#"local sizes = { small: { cpu_m: 250, memory_mib: 128 }, medium: { cpu_m: 500, memory_mib: 512 }, large: { cpu_m: 2000, memory_mib: 2048 } };
local service(name, team, tier, image, port, replicas) =
  assert std.isString(name) && std.isString(team) && std.isString(image) : 'name, team, image must be strings';
  assert std.isNumber(port) && port >= 1 && port <= 65535 : 'port out of range: %s' % port;
  assert std.isNumber(replicas) && replicas >= 0 && replicas <= 1000 : 'replicas out of range: %s' % replicas;
  {
    name: name, image: image, replicas: replicas,
    command: ['/bin/app', '--port', '%d' % port],
    env: { APP_NAME: name, PORT: '%d' % port, LOG_LEVEL: 'info', REGION: 'eu-west-1', DATABASE_URL: 'postgres://db.' + team + '.internal/' + name },
    ports: [{ name: 'http', container: port, protocol: 'tcp' }],
    resources: sizes[tier],
    health: { path: '/healthz', port: port, every_s: 10, timeout_s: 2, fail_after: 3 },
    labels: { app: name, team: team, tier: tier, managed_by: 'bench' },
    restart: 'always', networks: ['edge', team], volumes: [],
    rollout: { surge: 1, unavailable: 0, deadline_s: 60 }, spread: 'zone', priority: 10, grace_s: 30,
  };
{ services: [
"#;

fn jsonnet(r: &Given) -> String {
    format!(
        "  service(name='{}', team='team-{}', tier='{}', image='{}', port={}, replicas={})",
        r.name, r.team, r.tier, r.image, r.port, r.replicas
    )
}

const KCL: &str = r#"schema PortDef:
    name: str
    container: int
    protocol: "tcp" | "udp"
schema Resources:
    cpu_m: int
    memory_mib: int
schema Health:
    path: str
    port: int
    every_s: int
    timeout_s: int
    fail_after: int
schema Rolling:
    surge: int
    unavailable: int
    deadline_s: int
schema Service:
    name: str
    image: str
    replicas: int
    command: [str]
    env: {str:str}
    ports: [PortDef]
    resources: Resources
    health: Health
    labels: {str:str}
    restart: "always" | "on_failure" | "never"
    networks: [str]
    volumes: [str]
    rollout: Rolling
    spread: str
    priority: int
    grace_s: int
    check:
        0 <= replicas <= 1000, "replicas out of range"
schema In:
    name: str
    team: str
    tier: "small" | "medium" | "large"
    image: str
    port: int
    replicas: int
    check:
        1 <= port <= 65535, "port out of range"
_sizes: {str:Resources} = {small = Resources {cpu_m = 250, memory_mib = 128}, medium = Resources {cpu_m = 500, memory_mib = 512}, large = Resources {cpu_m = 2000, memory_mib = 2048}}
service = lambda r: In -> Service {
    Service {
        name = r.name
        image = r.image
        replicas = r.replicas
        command = ["/bin/app", "--port", str(r.port)]
        env = {APP_NAME = r.name, PORT = str(r.port), LOG_LEVEL = "info", REGION = "eu-west-1", DATABASE_URL = "postgres://db.${r.team}.internal/${r.name}"}
        ports = [PortDef {name = "http", container = r.port, protocol = "tcp"}]
        resources = _sizes[r.tier]
        health = Health {path = "/healthz", port = r.port, every_s = 10, timeout_s = 2, fail_after = 3}
        labels = {app = r.name, team = r.team, tier = r.tier, managed_by = "bench"}
        restart = "always"
        networks = ["edge", r.team]
        volumes = []
        rollout = Rolling {surge = 1, unavailable = 0, deadline_s = 60}
        spread = "zone"
        priority = 10
        grace_s = 30
    }
}
services = [
"#;

fn kcl(r: &Given) -> String {
    format!(
        "    service(In {{name = \"{}\", team = \"team-{}\", tier = \"{}\", image = \"{}\", port = {}, replicas = {}}})",
        r.name, r.team, r.tier, r.image, r.port, r.replicas
    )
}
