//! Tokens with one thing changed, for the gates of both engines.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::SharedTimeSource;
use rds_local::iam::{Identity, dbuser_arn};
use rds_local::{HOST, Server};

const MINUTE: Duration = Duration::from_secs(60);

/// What a token is made from; each case changes one thing.
#[derive(Clone)]
pub struct Recipe {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub action: String,
    pub region: String,
    pub service: String,
    pub signed_at: SystemTime,
    pub expires: u64,
    pub key: String,
    pub secret: String,
    pub session: Option<String>,
}

impl Recipe {
    pub fn good(server: &Server) -> Self {
        let variables = server.variables();
        Self {
            host: HOST.into(),
            port: server.address.port(),
            user: "iam_ro_user".into(),
            action: "connect".into(),
            region: "us-east-1".into(),
            service: "rds-db".into(),
            signed_at: SharedTimeSource::default().now(),
            expires: 900,
            key: variables["AWS_ACCESS_KEY_ID"].clone(),
            secret: variables["AWS_SECRET_ACCESS_KEY"].clone(),
            session: Some(variables["AWS_SESSION_TOKEN"].clone()),
        }
    }

    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut recipe = self.clone();
        change(&mut recipe);
        recipe
    }

    pub fn identity(&self, identity: &Identity) -> Self {
        self.with(|r| {
            r.key.clone_from(&identity.access_key_id);
            r.secret.clone_from(&identity.secret_access_key);
            r.session.clone_from(&identity.session_token);
        })
    }

    pub fn token(&self) -> String {
        let url = format!(
            "https://{}:{}/?Action={}&DBUser={}",
            self.host, self.port, self.action, self.user
        );
        let credentials =
            Credentials::new(&self.key, &self.secret, self.session.clone(), None, "test");
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(Duration::from_secs(self.expires));
        settings.signature_location = SignatureLocation::QueryParams;
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(self.signed_at)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let request =
            SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))
                .unwrap();
        let (signed, _) = sign(request, &params).unwrap().into_parts();
        let mut token = url.replace("https://", "");
        for (name, value) in signed.params() {
            let value =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            token.push_str(&format!("&{name}={value}"));
        }
        token
    }
}

/// A defect's name, the token, and what the gate's log says of it.
pub type Defect = (&'static str, String, &'static str);

/// Every defect of a token.
pub fn defects(server: &Server) -> Vec<Defect> {
    let good = Recipe::good(server);
    [
        wrong_times(&good),
        wrong_claims(&good),
        wrong_keys(server, &good),
        altered_texts(&good),
        cut_texts(server, &good),
        no_permission(server, &good),
    ]
    .concat()
}

fn wrong_times(good: &Recipe) -> Vec<Defect> {
    let now = good.signed_at;
    let no_life = good.token().replace("X-Amz-Expires=900", "X-Amz-Expires=0");
    vec![
        ("expired", good.with(|r| r.signed_at = now - 16 * MINUTE).token(), "expired"),
        (
            "short-lived and expired",
            good.with(|r| (r.signed_at, r.expires) = (now - MINUTE, 30)).token(),
            "expired",
        ),
        ("future-dated", good.with(|r| r.signed_at = now + 6 * MINUTE).token(), "future"),
        ("expires over 900", good.with(|r| r.expires = 901).token(), "X-Amz-Expires is 901"),
        ("expires 0", no_life, "X-Amz-Expires is 0"),
    ]
}

fn wrong_claims(good: &Recipe) -> Vec<Defect> {
    let other_host = HOST.replace("rds-local", "other");
    vec![
        ("other host", good.with(|r| r.host = other_host).token(), "signed for endpoint"),
        ("other port", good.with(|r| r.port = 5432).token(), "signed for endpoint"),
        ("other user", good.with(|r| r.user = "iam_rw_user".into()).token(), "DBUser"),
        ("user in another case", good.with(|r| r.user = "IAM_RO_USER".into()).token(), "DBUser"),
        ("other region", good.with(|r| r.region = "eu-west-1".into()).token(), "signed for region"),
        ("other service", good.with(|r| r.service = "rds".into()).token(), "signed for service"),
        ("other action", good.with(|r| r.action = "Connect".into()).token(), "Action"),
    ]
}

fn wrong_keys(server: &Server, good: &Recipe) -> Vec<Defect> {
    let before = good.signed_at - MINUTE;
    let expired = Identity::session("arn:expired".into(), Some(before), vec![dbuser_arn("*")]);
    server.iam.add(expired.clone());
    vec![
        ("unknown key", good.with(|r| r.key = "ASIAUNKNOWN".into()).token(), "unknown access key"),
        ("wrong secret", good.with(|r| r.secret.push('x')).token(), "signature does not match"),
        ("missing session token", good.with(|r| r.session = None).token(), "session token missing"),
        (
            "wrong session token",
            good.with(|r| r.session = Some("x".into())).token(),
            "wrong session token",
        ),
        ("expired session", good.identity(&expired).token(), "session has expired"),
    ]
}

const SIGNATURE: &str = "X-Amz-Signature=";

fn altered_texts(good: &Recipe) -> Vec<Defect> {
    let token = good.token();
    let signature_at = token.find(SIGNATURE).unwrap() + SIGNATURE.len();
    let flipped = if token.as_bytes()[signature_at] == b'0' { "1" } else { "0" };
    let tampered = format!("{}{flipped}{}", &token[..signature_at], &token[signature_at + 1..]);
    let tampered_expiry = token.replace("X-Amz-Expires=900", "X-Amz-Expires=800");
    let duplicate = format!("{token}&DBUser=iam_ro_user");
    vec![
        ("a line end", format!("{token}\n"), "a line end after it"),
        ("tampered signature", tampered, "signature does not match"),
        ("tampered expiry", tampered_expiry, "signature does not match"),
        ("duplicate parameter", duplicate, "duplicate parameter DBUser"),
        ("unknown parameter", format!("{token}&X=1"), "unknown parameter"),
        ("broken escape", format!("{token}%"), "percent escape"),
        ("plain password", "hunter2".into(), "plain password"),
    ]
}

/// The gate names a part that a cut token lacks. The session token is the last one, and the gate looks for
/// it before the signature: a lack of the signature shows only with a key that has no session token.
fn cut_texts(server: &Server, good: &Recipe) -> Vec<Defect> {
    let token = good.token();
    let own_key = Identity::with_key("AKIAOWN", "secret", None, "arn:own", &[dbuser_arn("*")]);
    server.iam.add(own_key.clone());
    let own = good.identity(&own_key).token();
    let before = |name: &str| own[..own.find(name).unwrap()].to_owned();
    let malformed = "X-Amz-Signature is not 64 hexadecimal digits";
    vec![
        ("truncated", token[..token.len() * 2 / 3].to_owned(), "session token missing"),
        ("cut in its session token", token[..token.len() - 1].to_owned(), "wrong session token"),
        ("without its signature", before("&X-Amz-Signature="), "X-Amz-Signature is missing"),
        ("without its second half", before("&X-Amz-Date="), "X-Amz-SignedHeaders is missing"),
        ("cut in its signature", own[..own.len() - 1].to_owned(), malformed),
        ("text after its signature", own + "0", malformed),
    ]
}

fn no_permission(server: &Server, good: &Recipe) -> Vec<Defect> {
    let other_resource = dbuser_arn("iam_ro_user").replace("db-", "db-X");
    [
        ("no policy", "arn:none", vec![]),
        ("policy for another user", "arn:other", vec![dbuser_arn("iam_rw_user")]),
        ("policy for another resource", "arn:name", vec![other_resource]),
    ]
    .map(|(name, arn, may_connect)| {
        let identity = Identity::session(arn.into(), None, may_connect);
        server.iam.add(identity.clone());
        (name, good.identity(&identity).token(), "because no identity-based policy")
    })
    .to_vec()
}
