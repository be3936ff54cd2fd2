//! URLs that lead inward by every way that is known, made from a few addresses and many spellings.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A way of attack, and its URLs.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) urls: Vec<String>,
}

/// This machine, this network, and what clouds keep credentials behind; the canary listens at the first.
const INWARD: [Ipv4Addr; 6] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::UNSPECIFIED,
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(192, 168, 1, 1),
];

/// Names that the test's name server leads to the canary.
pub(super) const LOCAL_NAMES: [&str; 9] = [
    "localhost",
    "localhost.",
    "LOCALHOST",
    "a.localhost",
    "localhost.localdomain",
    "printer.local",
    "db.internal.",
    "intranet",
    "127.0.0.1.nip.test",
];

/// The same for names of metadata services.
pub(super) const METADATA_NAMES: [&str; 5] =
    ["metadata.google.internal", "metadata.google.internal.", "METADATA.google.INTERNAL", "metadata", "instance-data"];

/// The families that are URLs; redirects, rebinding, names with several addresses and proxies have tests of their own.
pub(super) fn families(port: u16) -> Vec<Family> {
    let both = |hosts: Vec<String>| -> Vec<String> {
        hosts.iter().flat_map(|host| ["https", "http"].map(|scheme| format!("{scheme}://{host}:{port}/x"))).collect()
    };
    let as_is = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
    vec![
        Family { name: "IPv4 as numbers", urls: both(INWARD.into_iter().flat_map(numbers).collect()) },
        Family { name: "IPv4 within IPv6", urls: both(INWARD.into_iter().flat_map(wrapped).collect()) },
        Family { name: "local names", urls: both(as_is(&LOCAL_NAMES)) },
        Family { name: "metadata hosts", urls: metadata(both(as_is(&METADATA_NAMES))) },
        Family { name: "disguised characters", urls: both(disguised()) },
        Family { name: "userinfo, backslash", urls: confused(port) },
        Family { name: "other schemes", urls: schemes(port) },
        Family { name: "own and runtime API", urls: own(port) },
    ]
}

fn numbers(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let all = address.to_bits();
    vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{c}.{d}."),
        format!("{all}"),
        format!("{all:#x}"),
        format!("0X{all:X}"),
        format!("0{all:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("00000{a:o}.{b}.{c}.{d}"),
        format!("{a:#x}.{b}.0{c:o}.{d}"),
        format!("{a}.{b}.{}", all & 0xffff),
        format!("{a}.{}", all & 0x00ff_ffff),
        format!("{a:#x}.{:#x}", all & 0x00ff_ffff),
    ]
}

fn wrapped(address: Ipv4Addr) -> Vec<String> {
    let [high, low] = [address.to_bits() >> 16, address.to_bits() & 0xffff];
    let flipped = !address.to_bits();
    let mapped = Ipv6Addr::from(u128::from(address.to_bits()) | 0xffff_0000_0000);
    let mut hosts = vec![
        format!("::ffff:{address}"),
        format!("::FFFF:{high:x}:{low:x}"),
        format!("0:0:0:0:0:ffff:{high:04x}:{low:04x}"),
        format!("::{high:x}:{low:x}"),
        format!("::ffff:0:{high:x}:{low:x}"),
        format!("64:ff9b::{address}"),
        format!("64:ff9b:1::{high:x}:{low:x}"),
        format!("2002:{high:x}:{low:x}::1"),
        format!("2001:0:102:304:0:0:{:x}:{:x}", flipped >> 16, flipped & 0xffff),
        mapped.to_string(),
    ];
    hosts.extend(["::1", "::", "fd00:ec2::254", "fe80::1"].map(str::to_owned));
    hosts.iter().map(|host| format!("[{host}]")).collect()
}

fn metadata(mut urls: Vec<String>) -> Vec<String> {
    for host in [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "[fd00:ec2::254]",
    ] {
        for path in [
            "/latest/meta-data/iam/security-credentials/",
            "/v2/credentials",
            "/metadata/instance?api-version=2021-02-01",
        ] {
            urls.extend(["http", "https"].map(|scheme| format!("{scheme}://{host}{path}")));
        }
    }
    urls
}

fn disguised() -> Vec<String> {
    [
        "１２７.0.0.1",
        "127。0。0。1",
        "127．0．0．1",
        "①②⑦.0.0.1",
        "ⓛocalhost",
        "ｌｏｃａｌｈｏｓｔ",
        "loc\u{ad}alhost",
        "l\u{200b}ocalhost",
        "%31%32%37.0.0.1",
        "127%2e0%2e0%2e1",
        "%6c%6f%63alhost",
        "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1",
        "127.0.0.1%00.example.test",
        "127.0.0.1%0d%0a.example.test",
        "127.0.0.1\u{0}",
        "[::ffff:127.0.0.1%25eth0]",
        "[::1%lo]",
        "127.0.0.1%23.example.test",
        "A\u{1ee24}",
        "A%F0%9E%B8%A4",
        "xn--127-0-0-1-.test",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn confused(port: u16) -> Vec<String> {
    let here = format!("127.0.0.1:{port}");
    let rests = [
        format!("api.example.test@{here}/"),
        format!("api.example.test:443@{here}/"),
        format!("user:api.example.test@{here}/"),
        format!("@{here}/"),
        format!(":@{here}/"),
        format!("api.example.test%40{here}/"),
        format!("api.example.test\\@{here}/"),
        format!("{here}\\@api.example.test/"),
        format!("{here}\\.api.example.test/"),
        format!("{here}#@api.example.test/"),
        format!("{here}?@api.example.test/"),
        format!("{here};@api.example.test/"),
        format!("api.example.test@api.example.test@{here}/"),
        format!("api.example.test\t@{here}/"),
        format!("api.example.test\n@{here}/"),
        format!("api.example.test @{here}/"),
        format!(" {here}/"),
        format!("127.0.0.1\t:{port}/"),
        format!("127.0.0\n.1:{port}/"),
        format!("/{here}/"),
        format!("///{here}/"),
        format!("\\{here}/"),
        format!("\\\\{here}/"),
        format!("\\/{here}/"),
    ];
    let mut urls: Vec<String> =
        rests.iter().flat_map(|rest| ["https", "http"].map(|scheme| format!("{scheme}://{rest}"))).collect();
    for start in ["http:", "https:", "http:/", "http:\\\\", "//", "\\\\", "", " https://", "\thttps://", "ht\ttps://"] {
        urls.push(format!("{start}{here}/"));
    }
    urls
}

fn schemes(port: u16) -> Vec<String> {
    let mut urls: Vec<String> =
        ["file", "ftp", "gopher", "dict", "ws", "wss", "ldap", "tftp", "sftp", "jar", "netdoc", "blob"]
            .iter()
            .flat_map(|scheme| [format!("{scheme}://127.0.0.1:{port}/x"), format!("{scheme}:///etc/passwd")])
            .collect();
    urls.extend(
        ["data:text/plain,x", "javascript:alert(1)", "about:blank", "file:/proc/self/environ", "unix:/run/docker.sock"]
            .map(str::to_owned),
    );
    for scheme in ["jar:http", "view-source:http", "url:http", "blob:http", "http+unix", "feed:https"] {
        urls.push(format!("{scheme}://127.0.0.1:{port}/"));
    }
    urls
}

fn own(port: u16) -> Vec<String> {
    let mut urls = Vec::new();
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "127.255.255.254"] {
        for place in [
            ":9001/2018-06-01/runtime/invocation/next".to_owned(),
            ":2000/".to_owned(),
            ":8080/v1/agents".to_owned(),
            ":2773/secretsmanager/get".to_owned(),
            format!(":{port}/v1/agents"),
        ] {
            urls.extend(["http", "https"].map(|scheme| format!("{scheme}://{host}{place}")));
        }
    }
    urls
}
