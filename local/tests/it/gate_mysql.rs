//! MySQL's gate gives the verdicts of PostgreSQL's: every defect of a login is refused with Aurora's
//! message, and its reason is in the log only. What a hostile client could try ends the connection.

use crate::common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::recipe::{Recipe, defects};
use common::{start_mysql, text, with_env_sourced};
use rds_local::Server;
use rds_local::iam::{Identity, dbuser_arn};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A login with the `mysql` client, and its message.
pub async fn login(
    folder: &Path,
    user: &str,
    password: &str,
    options: &[&str],
) -> Result<(), String> {
    let mut client = Command::new("mysql");
    client
        .arg(format!("--defaults-file={}", folder.join("my.cnf").display()))
        .args(options)
        .arg(format!("--user={user}"))
        .args(["--execute", "SELECT 1", "--port"])
        .arg(port(folder))
        .env("MYSQL_PWD", password);
    let run = move || client.output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    if output.status.success() { Ok(()) } else { Err(text(&output.stderr).trim().to_owned()) }
}

fn port(folder: &Path) -> String {
    let env = std::fs::read_to_string(folder.join("env")).unwrap();
    env.lines().find_map(|line| line.strip_prefix("MYSQL_TCP_PORT=")).unwrap().to_owned()
}

fn denied(user: &str) -> String {
    format!("ERROR 1045 (28000): Access denied for user '{user}'@'127.0.0.1' (using password: YES)")
}

fn last_reason(server: &Server) -> String {
    server.gate.log().records().last().unwrap().outcome.clone().unwrap_err()
}

#[tokio::test]
async fn the_verdicts_are_those_of_postgresqls_gate() {
    let (server, folder) = start_mysql(|options| options).await;
    let folder = folder.path();
    for (defect, token, reason) in defects(&server) {
        let refused = login(folder, "iam_ro_user", &token, &[]).await.expect_err(defect);
        assert_eq!(refused, denied("iam_ro_user"), "{defect}");
        let logged = last_reason(&server);
        assert!(logged.contains(reason), "{defect}: {logged}");
    }
    good_tokens_are_accepted(&server, folder).await;
    users_without_the_plugin_are_refused(&server, folder).await;

    let good = Recipe::good(&server);
    let insecure = ["--skip-ssl", "--skip-ssl-verify-server-cert"];
    let refused = login(folder, "iam_ro_user", &good.token(), &insecure).await;
    assert_eq!(refused, Err(denied("iam_ro_user")));
    assert_eq!(last_reason(&server), "no TLS");
    // The database that the user asks for is MariaDB's to refuse.
    let refused = login(folder, "iam_ro_user", &good.token(), &["--database=rds_iam"]).await;
    assert!(refused.unwrap_err().starts_with("ERROR 1044 (42000)"));

    let log = std::fs::read_to_string(folder.join("gate.log")).unwrap();
    assert!(!log.contains("X-Amz-Signature=") && !log.contains(&good.secret), "{log}");
    server.stop().await.unwrap();
}

async fn good_tokens_are_accepted(server: &Server, folder: &Path) {
    let good = Recipe::good(server);
    let long_lived =
        Identity::with_key("AKIAEXAMPLE", "secret", None, "arn:user", &[dbuser_arn("iam_*")]);
    let session = Some("x".repeat(4000));
    let long_session =
        Identity::with_key("ASIALONG", "secret", session, "arn:long", &[dbuser_arn("iam_ro_user")]);
    for identity in [&long_lived, &long_session] {
        server.iam.add(identity.clone());
    }
    for (user, token) in [
        ("iam_ro_user", good.token()),
        ("iam_ro_user", good.identity(&long_lived).token()),
        ("iam_ro_user", good.identity(&long_session).token()),
        ("iam_rw_user", good.with(|r| r.user = "iam_rw_user".into()).token()),
    ] {
        // Switched to the plugin, or with the token in the first packet already.
        for options in [vec![], vec!["--default-auth=mysql_clear_password"]] {
            let result = login(folder, user, &token, &options).await;
            let last = server.gate.log().records().pop();
            assert_eq!(result, Ok(()), "{user} {options:?} {last:?}");
        }
    }
}

/// Users whom MariaDB does not have, or not with the plugin, and one whose name wants to leave its quotes.
async fn users_without_the_plugin_are_refused(server: &Server, folder: &Path) {
    let anyone = Identity::with_key("AKIAANY", "secret", None, "arn:any", &[dbuser_arn("*")]);
    server.iam.add(anyone.clone());
    for user in ["root", "nobody_here", "a' OR '1'='1", "mariadb.sys"] {
        let encoded = user.replace(' ', "%20").replace('\'', "%27");
        let recipe = Recipe::good(server).with(|r| r.user = encoded);
        let resource = dbuser_arn(user);
        let no_policy = format!(
            "is not authorized to perform: rds-db:connect on resource: {resource} because no identity-based policy"
        );
        for (token, reason) in [
            (recipe.token(), no_policy.as_str()),
            (
                recipe.identity(&anyone).token(),
                "the user was not created with AWSAuthenticationPlugin",
            ),
        ] {
            assert_eq!(login(folder, user, &token, &[]).await, Err(denied(user)));
            let logged = last_reason(server);
            assert!(logged.contains(reason), "{user}: {logged}");
        }
    }
}

#[tokio::test]
async fn logins_beyond_the_throttle_are_refused_like_any_other() {
    let throttle = Some((1, 1));
    let (server, folder) = start_mysql(|options| rds_local::Options { throttle, ..options }).await;
    let good = Recipe::good(&server);
    let mut refused = 0;
    for number in 0..4 {
        let token = good.with(|r| r.expires -= number).token();
        if let Err(told) = login(folder.path(), "iam_ro_user", &token, &[]).await {
            assert_eq!(told, denied("iam_ro_user"));
            assert!(last_reason(&server).starts_with("throttled"));
            refused += 1;
        }
    }
    assert!((1..=3).contains(&refused), "{refused}");
    server.stop().await.unwrap();
}

/// A packet with its header.
fn framed(sequence: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&length[..3], &[sequence], body].concat()
}

/// A client that writes what it likes.
pub struct Raw<S>(pub S);

/// Reports an end of the connection without TLS's own as an error.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

impl<S: Read + Write> Raw<S> {
    pub fn packet(&mut self) -> (u8, Vec<u8>) {
        self.try_packet().unwrap()
    }

    pub fn try_packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 4];
        self.0.read_exact(&mut header)?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body)?;
        Ok((header[3], body))
    }

    pub fn send(&mut self, sequence: u8, body: &[u8]) {
        self.0.write_all(&framed(sequence, body)).unwrap();
    }

    /// Whether the gate has ended TLS properly, without another word.
    pub fn is_ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0))
    }

    /// Whether the gate has closed the connection, without another word.
    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

fn connect(server: &Server) -> Raw<TcpStream> {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    Raw(stream)
}

/// PROTOCOL_41, SSL, SECURE_CONNECTION, PLUGIN_AUTH, and CONNECT_WITH_DB.
pub const CAPABILITIES: u64 = 0x200 | 0x800 | 0x8000 | 0x8_0000 | 8;

/// The first packet of a login. The upper half of the capabilities is MariaDB's.
pub fn first(capabilities: u64) -> Vec<u8> {
    let capabilities = capabilities.to_le_bytes();
    let longest = (1_u32 << 24).to_le_bytes();
    [&capabilities[..4], &longest, &[45], &[0; 19], &capabilities[4..]].concat()
}

fn response() -> Vec<u8> {
    response_of("iam_ro_user")
}

fn response_of(user: &str) -> Vec<u8> {
    response_with(CAPABILITIES, user, "sample_db")
}

pub fn response_with(capabilities: u64, user: &str, database: &str) -> Vec<u8> {
    let rest = format!("{user}\0\0{database}\0mysql_native_password\0");
    [first(capabilities), rest.into_bytes()].concat()
}

/// Reads the greeting and starts TLS.
pub fn secure(server: &Server) -> Raw<Tls> {
    secure_with(server, CAPABILITIES)
}

fn secure_with(server: &Server, capabilities: u64) -> Raw<Tls> {
    let mut raw = connect(server);
    assert_eq!(raw.packet().1[0], 10);
    raw.send(1, &first(capabilities));
    let mut roots = RootCertStore::empty();
    let root = &server.variables()["MYSQL_SSL_CA"];
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    Raw(StreamOwned::new(connection, raw.0))
}

impl Raw<Tls> {
    /// Ends TLS, and leaves the connection open.
    pub fn end_tls(&mut self) {
        self.0.conn.send_close_notify();
        self.0.flush().unwrap();
    }
}

/// Logs in up to the OK packet.
pub fn logged_in(server: &Server, token: &str) -> Raw<Tls> {
    logged_in_as(server, "iam_ro_user", token, 0)
}

/// The same with more capabilities.
pub fn logged_in_as(server: &Server, user: &str, token: &str, more: u64) -> Raw<Tls> {
    let mut raw = secure_with(server, CAPABILITIES | more);
    raw.send(2, &response_with(CAPABILITIES | more, user, "sample_db"));
    assert_eq!(raw.packet().0, 3);
    raw.send(4, &[token.as_bytes(), &[0]].concat());
    let (sequence, ok) = raw.packet();
    assert_eq!((sequence, ok[0]), (5, 0), "{}", text(&ok));
    raw
}

/// MariaDB takes the quotes off. A policy that allows every name but this one must not let it in.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_quotes_opens_no_session_of_the_name_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.json");
    std::fs::write(
        &policy,
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"rds-db:connect","Resource":"*"}}"#,
    )
    .unwrap();
    let (server, _folder) =
        start_mysql(|options| rds_local::Options { policies: vec![policy], ..options }).await;
    for (user, is_accepted) in [("iam_ro_user", true), ("'iam_ro_user'", false)] {
        let token = Recipe { user: user.into(), ..Recipe::good(&server) }.token();
        let mut raw = secure(&server);
        raw.send(2, &response_of(user));
        raw.packet();
        raw.send(4, &[token.as_bytes(), &[0]].concat());
        assert_eq!(raw.packet().1[0] == 0, is_accepted, "{user}");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_client_sends_ends_its_connection_only() {
    let (server, folder) = start_mysql(|options| options).await;
    let token = Recipe::good(&server).token();

    // Greeting: TLS is offered, compression is not.
    let (sequence, greeting) = connect(&server).packet();
    let version = greeting.iter().position(|byte| *byte == 0).unwrap();
    let low = u16::from_le_bytes([greeting[version + 14], greeting[version + 15]]);
    assert_eq!((sequence, low & 0x800, low & 0x20), (0, 0x800, 0));

    what_is_no_login_is_a_bad_handshake(&server);
    a_login_may_come_in_pieces(&server, &token);
    what_is_no_token_is_denied(&server, &token);
    another_user_is_not_taken_on(&server, &token);
    let log = std::fs::read_to_string(folder.path().join("gate.log")).unwrap();
    assert_eq!(log.matches("COM_CHANGE_USER is refused").count(), 3, "{log}");

    // The gate serves others meanwhile, and afterwards.
    logged_in(&server, &token);
    server.stop().await.unwrap();
}

fn what_is_no_login_is_a_bad_handshake(server: &Server) {
    let truncated = response()[..40].to_vec();
    for garbage in [vec![], vec![0; 3], first(0), first(0x200), truncated, vec![0xff; 5000]] {
        let mut raw = connect(server);
        raw.packet();
        raw.send(1, &garbage);
        let (_, error) = raw.packet();
        assert!(text(&error).contains("08S01Bad handshake"), "{garbage:?}");
        assert!(raw.is_closed());
    }
    // A packet that claims 16 MB is not waited for; nor is HTTP.
    for start in [&[0xff, 0xff, 0xff, 1][..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut raw = connect(server);
        raw.packet();
        raw.0.write_all(start).unwrap();
        assert!(raw.is_closed());
    }
    // TLS asked for twice.
    let mut raw = secure(server);
    raw.send(2, &first(CAPABILITIES));
    assert!(text(&raw.packet().1).contains("Bad handshake"));
}

/// The login comes one byte at a time, and the token in two pieces.
fn a_login_may_come_in_pieces(server: &Server, token: &str) {
    let mut raw = secure(server);
    framed(2, &response()).iter().for_each(|byte| raw.0.write_all(&[*byte]).unwrap());
    raw.packet();
    let answer = framed(4, &[token.as_bytes(), &[0]].concat());
    for piece in answer.chunks(answer.len() / 2 + 1) {
        raw.0.write_all(piece).unwrap();
        raw.0.flush().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(raw.packet().1[0], 0);
}

/// A client that has sent its login, and is asked for the token.
pub fn asked_for_token(server: &Server) -> Raw<Tls> {
    let mut raw = secure(server);
    raw.send(2, &response());
    raw.packet();
    raw
}

fn what_is_no_token_is_denied(server: &Server, token: &str) {
    // An empty answer, and a token after a NUL.
    for answer in [vec![], vec![0], [b"x\0", token.as_bytes(), &[0]].concat(), vec![b'A'; 200_000]]
    {
        let mut raw = asked_for_token(server);
        raw.send(4, &answer);
        assert!(text(&raw.packet().1).contains("28000Access denied"), "{}", answer.len());
        assert!(raw.is_closed());
    }
    // Too long for a login.
    let mut raw = asked_for_token(server);
    raw.0.write_all(&[0, 0, 5, 4]).unwrap();
    assert!(raw.is_closed());
}

/// Whether the change of the user comes in one piece or in many.
fn another_user_is_not_taken_on(server: &Server, token: &str) {
    for size in [1, 7, 4096] {
        let mut raw = logged_in(server, token);
        raw.send(0, b"\x03SELECT 1");
        for _ in 0..5 {
            raw.packet();
        }
        let packet = framed(0, b"\x11root\0\0mysql\0\x2d\0mysql_native_password\0");
        packet.chunks(size).for_each(|piece| raw.0.write_all(piece).unwrap());
        let (sequence, error) = raw.packet();
        assert_eq!((sequence, error[0]), (1, 0xff));
        assert!(text(&error).contains("28000Access denied"), "{}", text(&error));
        assert!(raw.is_closed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_answers_is_cut_off() {
    let (server, _folder) = start_mysql(|options| options).await;
    let start = tokio::time::Instant::now();
    let mut silent = connect(&server);
    silent.packet();
    let mut asked = asked_for_token(&server);
    assert!(silent.is_closed() && asked.is_closed());
    let took = start.elapsed();
    assert!(took.as_secs() >= 9, "MySQL's connect_timeout is 10 s: {took:?}");
    server.stop().await.unwrap();
}

/// What `mysql-mimic`, which we did not write, sends in the place of our packets.
const MIMIC: &str = "
from mysql_mimic import packets
from mysql_mimic.charset import CharacterSet
print(packets.make_auth_switch_request(CharacterSet.utf8mb4, 'mysql_clear_password', b'').hex())
";

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_to_clear_text_is_mysql_mimics_without_plugin_data() {
    let (server, folder) = start_mysql(|options| options).await;
    let mut raw = secure(&server);
    raw.send(2, &response());
    let (_, ours) = raw.packet();
    let ours: String = ours.iter().map(|byte| format!("{byte:02x}")).collect();
    let output = with_env_sourced(folder.path(), &format!("python -c \"{MIMIC}\"")).await;
    assert_eq!(text(&output.stdout).trim(), ours, "{}", text(&output.stderr));
    server.stop().await.unwrap();
}
