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

/// Every defect of a token: its name, the token, and what the gate's log says.
pub fn defects(server: &Server) -> Vec<(&'static str, String, &'static str)> {
    let good = Recipe::good(server);
    let now = good.signed_at;
    let expired =
        Identity::session("arn:expired".into(), Some(now - MINUTE), vec![dbuser_arn("*")]);
    let without_policy = Identity::session("arn:none".into(), None, vec![]);
    let other_user = Identity::session("arn:other".into(), None, vec![dbuser_arn("iam_rw_user")]);
    let wrong_resource = Identity::session(
        "arn:name".into(),
        None,
        vec![dbuser_arn("iam_ro_user").replace("db-", "db-X")],
    );
    for identity in [&expired, &without_policy, &other_user, &wrong_resource] {
        server.iam.add(identity.clone());
    }
    let token = good.token();
    let signature_at = token.find("X-Amz-Signature=").unwrap() + 16;
    let flipped = if token.as_bytes()[signature_at] == b'0' { "1" } else { "0" };
    let tampered = format!("{}{flipped}{}", &token[..signature_at], &token[signature_at + 1..]);

    vec![
        ("expired", good.with(|r| r.signed_at = now - 16 * MINUTE).token(), "expired"),
        (
            "short-lived and expired",
            good.with(|r| (r.signed_at, r.expires) = (now - MINUTE, 30)).token(),
            "expired",
        ),
        ("future-dated", good.with(|r| r.signed_at = now + 6 * MINUTE).token(), "future"),
        ("expires over 900", good.with(|r| r.expires = 901).token(), "X-Amz-Expires is 901"),
        ("expires 0", token.replace("X-Amz-Expires=900", "X-Amz-Expires=0"), "X-Amz-Expires is 0"),
        (
            "other host",
            good.with(|r| r.host = HOST.replace("rds-local", "other")).token(),
            "signed for endpoint",
        ),
        ("other port", good.with(|r| r.port = 5432).token(), "signed for endpoint"),
        ("other user", good.with(|r| r.user = "iam_rw_user".into()).token(), "DBUser"),
        ("user in another case", good.with(|r| r.user = "IAM_RO_USER".into()).token(), "DBUser"),
        ("other region", good.with(|r| r.region = "eu-west-1".into()).token(), "signed for region"),
        ("other service", good.with(|r| r.service = "rds".into()).token(), "signed for service"),
        ("other action", good.with(|r| r.action = "Connect".into()).token(), "Action"),
        ("a line end", good.token() + "\n", "a line end after it"),
        ("unknown key", good.with(|r| r.key = "ASIAUNKNOWN".into()).token(), "unknown access key"),
        ("wrong secret", good.with(|r| r.secret.push('x')).token(), "signature does not match"),
        ("missing session token", good.with(|r| r.session = None).token(), "session token missing"),
        (
            "wrong session token",
            good.with(|r| r.session = Some("x".into())).token(),
            "wrong session token",
        ),
        ("expired session", good.identity(&expired).token(), "session has expired"),
        ("tampered signature", tampered, "signature does not match"),
        (
            "tampered expiry",
            token.replace("X-Amz-Expires=900", "X-Amz-Expires=800"),
            "signature does not match",
        ),
        ("truncated", token[..token.len() * 2 / 3].to_owned(), ""),
        ("without its signature", token[..signature_at - 17].to_owned(), "missing"),
        (
            "duplicate parameter",
            format!("{token}&DBUser=iam_ro_user"),
            "duplicate parameter DBUser",
        ),
        ("unknown parameter", format!("{token}&X=1"), "unknown parameter"),
        ("broken escape", format!("{token}%"), "percent escape"),
        ("no policy", good.identity(&without_policy).token(), "because no identity-based policy"),
        (
            "policy for another user",
            good.identity(&other_user).token(),
            "because no identity-based policy",
        ),
        (
            "policy for another resource",
            good.identity(&wrong_resource).token(),
            "because no identity-based policy",
        ),
        ("plain password", "hunter2".into(), "plain password"),
    ]
}
