//! Odd packets around a login: the gate answers each as PostgreSQL itself does, and then closes as it does.
//!
//! The gate's own PostgreSQL is asked over its socket, where it demands a password from everyone without a role
//! of the demo. The machine's version and 17 each compare with themselves.

use rds_local::testing::postgres_17;
use rds_local::{Options, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::common::wire::{SSL_REQUEST, V3, Wire, clear, encrypted, encrypted_after};
use crate::common::{root, start};

const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];
const HBA: &str = "local all postgres,iam_ro_user,iam_rw_user trust\nlocal all all password\n";
const USER: &[u8] = b"nobody_here";

/// What a client does before it looks at what comes.
#[derive(Clone)]
enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Reads the byte that answers a request for encryption.
    ReadByte,
    /// Reads one message.
    ReadMessage,
}
use Step::{ReadByte, ReadMessage, Send};

/// Takes the steps, and tells all that comes up to the end: types of messages, and of errors the severity and
/// the SQLSTATE. A reset is an end, too: PostgreSQL leaves bytes unread that the gate takes.
async fn seen<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, steps: &[Step]) -> String {
    let mut seen = Vec::new();
    for step in steps {
        match step {
            // The other side may have closed already.
            Send(bytes) => {
                let _ = wire.stream.write_all(bytes).await;
                let _ = wire.stream.flush().await;
            }
            ReadByte => seen.push(format!("{:?}", wire.stream.read_u8().await.unwrap() as char)),
            ReadMessage => seen.push(wire.next().await.unwrap().unwrap().kind.to_string()),
        }
    }
    while let Ok(Some(message)) = wire.next().await {
        let fields = ['S', 'V', 'C'].map(|code| message.field(code));
        seen.push(match message.kind {
            'E' => fields.join(" "),
            kind => kind.to_string(),
        });
    }
    seen.push("end".into());
    seen.join(", ")
}

fn start_up(user: &[u8], database: &[u8]) -> Step {
    let parts = [&b"user\0"[..], user, b"\0database\0", database, b"\0\0"];
    let body = [&V3.to_be_bytes()[..], &parts.concat()].concat();
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    Send([&length[..], &body].concat())
}

/// A message whose length is right unless it is given.
fn message(kind: u8, length: Option<u32>, body: &[u8]) -> Vec<u8> {
    let length = length.unwrap_or_else(|| u32::try_from(body.len() + 4).unwrap());
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// Logins with odd names and passwords, and packets in their place, by name.
fn logins() -> Vec<(String, Vec<Step>)> {
    let mut cases = Vec::new();
    let long = |length: usize| [vec![b'x'; length - 5], vec![0]].concat();
    for (name, answer) in [
        ("a password", message(b'p', None, b"secret\0")),
        ("an empty password", message(b'p', None, b"\0")),
        ("a password without its NUL", message(b'p', None, b"secret")),
        ("a NUL in the password", message(b'p', None, b"a\0b\0")),
        ("two NULs behind the password", message(b'p', None, b"a\0\0")),
        ("two NULs", message(b'p', None, b"\0\0")),
        ("no password", message(b'p', None, b"")),
        ("a length below its own", message(b'p', Some(3), b"")),
        ("a negative length", message(b'p', Some(u32::MAX), b"")),
        ("the longest password", message(b'p', None, &long(65_535))),
        ("one byte more", message(b'p', None, &long(65_536))),
        ("a password that is not UTF-8", message(b'p', None, b"\xff\xfe\0")),
        ("Query", message(b'Q', None, b"SELECT 1\0")),
        ("Terminate", message(b'X', None, b"")),
        ("Sync", message(b'S', None, b"")),
        ("a second start-up packet", vec![0, 0, 0, 8, 0, 3, 0, 0]),
    ] {
        cases.push((name.into(), vec![start_up(USER, b"postgres"), ReadMessage, Send(answer)]));
    }
    let (long, accents) = (vec![b'u'; 200], "\u{e9}".repeat(40));
    for (user, database) in [
        (&b"\xff\xfe"[..], &b"postgres"[..]),
        (b"a\xc3", b"postgres"),
        (USER, b"\xff"),
        (&long[..63], b"postgres"),
        (&long[..64], b"postgres"),
        (&long, b"postgres"),
        (USER, &long),
        (USER, b""),
        (accents.as_bytes(), accents.as_bytes()),
        (b"nobody\nhere", b"post\"gres"),
    ] {
        let password = Send(message(b'p', None, b"secret\0"));
        let start = |name: &[u8]| name.escape_ascii().take(12).map(char::from).collect::<String>();
        let shown = |name: &[u8]| format!("{} ({})", start(name), name.len());
        let name = format!("user {} database {}", shown(user), shown(database));
        cases.push((name, vec![start_up(user, database), ReadMessage, password]));
    }
    cases.push(("an empty user".into(), vec![start_up(b"", b"postgres")]));
    let cancel = [0, 0, 0, 17, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 1, 0];
    cases.push(("a long cancel request".into(), vec![Send(cancel.into())]));
    cases.push(("a packet of seven bytes".into(), vec![Send(vec![0, 0, 0, 7, 0, 3, 0])]));
    cases.push(("a packet of 64 KiB".into(), vec![Send(vec![0, 1, 0, 0, 0, 3, 0, 0])]));
    cases
}

async fn socket(server: &Server) -> Wire<UnixStream> {
    let folder = server.database.postgres().unwrap().socket_folder();
    Wire { stream: UnixStream::connect(folder.join(".s.PGSQL.5432")).await.unwrap() }
}

/// Has the server itself ask for passwords on its socket.
async fn demand_passwords(server: &Server) {
    let folder = server.database.postgres().unwrap().socket_folder();
    std::fs::write(folder.join("data/pg_hba.conf"), HBA).unwrap();
    let admin = server.database.superuser("postgres").await.unwrap();
    admin.execute("SELECT pg_reload_conf()", &[]).await.unwrap();
    for _ in 0..500 {
        let mut wire = socket(server).await;
        let Send(packet) = start_up(USER, b"postgres") else { unreachable!() };
        wire.stream.write_all(&packet).await.unwrap();
        if wire.next().await.unwrap().is_some_and(|message| message.kind == 'R') {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("PostgreSQL does not ask for passwords");
}

#[tokio::test]
async fn every_odd_packet_has_postgresqls_own_answer() {
    for postgres_bin in [None].into_iter().chain(postgres_17(&root()).map(Some)) {
        let (server, _folder) = start(|options| Options { postgres_bin, ..options }).await;
        demand_passwords(&server).await;
        let mut wrong = Vec::new();
        let mut compare = |name: &str, ours: String, theirs: String| {
            println!("{name}: {theirs}");
            if ours != theirs {
                wrong.push(format!("{name}: the gate {ours}, PostgreSQL {theirs}"));
            }
        };
        for (name, steps) in logins() {
            let ours = seen(&mut encrypted(&server, false, &[]).await, &steps).await;
            compare(&name, ours, seen(&mut socket(&server).await, &steps).await);
        }
        // Encryption that is asked for again. Over the socket, the first request is answered N.
        for (name, first, again) in [
            ("TLS twice", SSL_REQUEST, SSL_REQUEST),
            ("GSSAPI inside TLS", GSSENC_REQUEST, GSSENC_REQUEST),
        ] {
            let again = Send(again.to_vec());
            let ours =
                seen(&mut encrypted(&server, false, &[]).await, std::slice::from_ref(&again)).await;
            let steps = [Send(first.to_vec()), ReadByte, again];
            let theirs = seen(&mut socket(&server).await, &steps).await;
            compare(name, format!("'N', {ours}"), theirs);
        }
        let gss = Send(GSSENC_REQUEST.to_vec());
        let early = Send([&GSSENC_REQUEST[..], b"early"].concat());
        for (name, steps) in [
            ("GSSAPI twice", vec![gss.clone(), ReadByte, gss.clone()]),
            ("data behind the request for GSSAPI", vec![early, ReadByte]),
        ] {
            let ours = seen(&mut clear(&server).await, &steps).await;
            compare(name, ours, seen(&mut socket(&server).await, &steps).await);
        }
        // The server's answer to the request differs: N, and the gate's is S.
        let early = [&SSL_REQUEST[..], b"early"].concat();
        let ours = seen(&mut encrypted_after(&server, &early).await, &[]).await;
        let theirs = seen(&mut socket(&server).await, &[Send(early), ReadByte]).await;
        compare("data behind the request for TLS", format!("'N', {ours}"), theirs);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        server.stop().await.unwrap();
    }
}

/// PostgreSQL cuts the name: token and session are those of the name that is left.
#[tokio::test]
async fn a_long_name_is_the_name_that_is_left_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let [policy, script] = ["policy.json", "init.sql"].map(|name| folder.path().join(name));
    let allow = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"rds-db:connect","Resource":"*"}}"#;
    std::fs::write(&policy, allow).unwrap();
    let name = "n".repeat(63);
    std::fs::write(&script, format!("CREATE ROLE {name} LOGIN; GRANT rds_iam TO {name}")).unwrap();
    let (server, _folder) =
        start(|options| Options { policies: vec![policy], init: Some(script), ..options }).await;
    let long = format!("{name}_of_someone_else");
    for (signed_for, is_accepted) in [(&name, true), (&long, false)] {
        let mut wire = encrypted(&server, false, &[]).await;
        wire.start_up(V3, &[("user", &long), ("database", "sample_db")]).await;
        let told = wire.log_in(&server, signed_for).await;
        if is_accepted {
            told.unwrap();
            assert_eq!(wire.ask("SELECT session_user::text").await.unwrap(), name);
        } else {
            let refused = format!("PAM authentication failed for user \"{name}\"");
            assert_eq!(told.unwrap_err(), ("28000".into(), refused));
        }
    }
    server.stop().await.unwrap();
}
