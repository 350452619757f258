//! A signed request.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};

use crate::config::NeptuneConfig;
use crate::error::{Error, ErrorKind};

const SERVICE: &str = "neptune-db";
const ANSWERS: &str = "application/sparql-results+json, application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A signed request.
pub(super) type Signed = Request<Full<Bytes>>;

/// A request before it is signed.
pub(super) struct Call {
    pub(super) method: &'static str,
    /// Path and query, both of which need no encoding.
    pub(super) target: String,
    /// A form.
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn get(target: String) -> Self {
        Self { method: "GET", target, body: Bytes::new() }
    }

    /// The signed request.
    pub(super) fn sign(
        &self,
        config: &NeptuneConfig,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<Signed, Error> {
        let unusable = |why: &str| {
            Error::new(ErrorKind::CredentialsUnavailable, "the request could not be signed")
                .because(why.to_owned())
                .remedy("Check the credentials for stray quotes and line breaks (jq -r, not jq)")
        };
        let authority = config.authority();
        let identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&config.common.region)
            .name(SERVICE)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| unusable("the signer lacks a setting"))?
            .into();
        let mut headers = vec![("host", authority.as_str()), ("accept", ANSWERS)];
        if !self.body.is_empty() {
            headers.push(("content-type", FORM));
        }
        let url = format!("https://{authority}{}", self.target);
        let signable = SignableRequest::new(
            self.method,
            url,
            headers.into_iter(),
            SignableBody::Bytes(&self.body),
        )
        .map_err(|_| unusable("the host name is not valid in a URL"))?;
        let (signed, _) = sign(signable, &params)
            .map_err(|_| unusable("the credentials hold characters that no AWS key has"))?
            .into_parts();
        let (signed, _) = signed.into_parts();
        let mut request = self.builder(&authority);
        for header in signed {
            request = request.header(header.name(), header.value());
        }
        request
            .body(Full::new(self.body.clone()))
            .map_err(|_| unusable("the credentials hold characters that no header can hold"))
    }

    /// The same request without a signature, which a cluster without IAM authentication answers.
    pub(super) fn unsigned(
        &self,
        config: &NeptuneConfig,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        self.builder(&config.authority()).body(Full::new(self.body.clone()))
    }

    fn builder(&self, authority: &str) -> hyper::http::request::Builder {
        let request = Request::builder()
            .method(self.method)
            .uri(&self.target)
            .header(HOST, authority)
            .header(ACCEPT, ANSWERS);
        if self.body.is_empty() { request } else { request.header(CONTENT_TYPE, FORM) }
    }
}
