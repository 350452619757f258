//! EC2's read calls, in its Query API: a signed form, and XML for an answer. EC2's own SDK is larger than the
//! rest of the program. <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html>

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_http_client::default_connector;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::note::{Refusal, Right};

const VERSION: &str = "2016-11-15";

/// The characters that AWS's own clients encode in a form.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The elements that hold others. Every other element that is read here holds text.
const LISTS: [&str; 7] = [
    "associationSet",
    "ipPermissions",
    "item",
    "routeSet",
    "routeTableSet",
    "securityGroupInfo",
    "subnetSet",
];

pub(super) struct Ec2 {
    connector: SharedHttpConnector,
    url: String,
    region: String,
    keys: Credentials,
    clock: SharedTimeSource,
}

/// An element of an answer.
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn read(mut decoder: ScopedDecoder<'_, '_>, holds_others: bool) -> Self {
        let name = decoder.start_el().local().to_owned();
        let mut children = Vec::new();
        let mut text = String::new();
        if holds_others {
            while let Some(tag) = decoder.next_tag() {
                let holds_others = LISTS.contains(&tag.start_el().local());
                children.push(Self::read(tag, holds_others));
            }
        } else {
            text = try_data(&mut decoder).unwrap_or_default().trim().to_owned();
        }
        Self { name, text, children }
    }

    /// The items of a list in this element.
    pub(super) fn items<'a>(&'a self, list: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == list).flat_map(|list| &list.children)
    }

    /// The text of an element in this one; empty if it is missing.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.children.iter().find(|child| child.name == name);
        found.map_or("", |child| &child.text)
    }
}

impl Ec2 {
    /// A client of the region. `suffix` is that of the partition's host names. `None` without an HTTP client.
    pub(super) fn new(
        sdk: &SdkConfig,
        keys: Credentials,
        region: &str,
        suffix: &str,
    ) -> Option<Self> {
        let key = ServiceConfigKey::builder()
            .service_id("EC2")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        let own = key.ok().and_then(|key| sdk.service_config()?.load_config(key));
        let given = own.or_else(|| sdk.endpoint_url().map(str::to_owned));
        let url = given.unwrap_or_else(|| format!("https://ec2.{region}.{suffix}"));
        Some(Self {
            connector: default_connector(&HttpConnectorSettings::default(), sdk.sleep_impl())?,
            url: url.trim_end_matches('/').to_owned() + "/",
            region: region.to_owned(),
            keys,
            clock: sdk.time_source().unwrap_or_default(),
        })
    }

    /// The items that an action lists, of those that a filter lets through.
    pub(super) async fn list(
        &self,
        action: Right,
        list: &str,
        filter: (&str, &[String]),
    ) -> Result<Vec<Element>, Refusal> {
        let mut form = format!("Action={action:?}&Version={VERSION}&Filter.1.Name={}", filter.0);
        for (index, value) in filter.1.iter().enumerate() {
            let value = utf8_percent_encode(value, &RESERVED);
            form += &format!("&Filter.1.Value.{}={value}", index + 1);
        }
        let answer = self.call(form).await?;
        // EC2 lists everything where no page was asked for.
        if !answer.text("nextToken").is_empty() {
            return Err(Refusal::Failed("the answer is not whole".into()));
        }
        let found = answer.children.into_iter().filter(|child| child.name == list);
        Ok(found.flat_map(|list| list.children).collect())
    }

    async fn call(&self, form: String) -> Result<Element, Refusal> {
        let unreachable = |_| Refusal::Failed(format!("{} cannot be reached", self.url));
        let request = self.signed(form).map_err(|_| {
            Refusal::Failed(format!("the request to {} cannot be signed", self.url))
        })?;
        let response = self.connector.call(request).await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let body = ByteStream::new(response.into_body()).collect().await;
        let body = body.map_err(|_| Refusal::Failed(format!("{} broke off", self.url)))?.to_vec();
        if status == 403 {
            return Err(Refusal::Denied);
        }
        let text = String::from_utf8_lossy(&body);
        let mut document = Document::new(&text);
        match document.root_element() {
            Ok(root) if status == 200 => Ok(Element::read(root, true)),
            _ => Err(Refusal::Failed(format!("{} answered with status {status}", self.url))),
        }
    }

    fn signed(&self, form: String) -> Result<HttpRequest, BoxError> {
        let host = self.url.split("://").nth(1).unwrap_or_default().trim_end_matches('/');
        let headers =
            [("host", host), ("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let identity = self.keys.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ec2")
            .time(self.clock.now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let body = SignableBody::Bytes(form.as_bytes());
        let signable = SignableRequest::new("POST", &self.url, headers.into_iter(), body)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let (signed, _) = instructions.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(form));
        request.set_uri(self.url.as_str())?;
        request.set_method("POST")?;
        for (name, value) in headers {
            request.headers_mut().try_insert(name, value.to_owned())?;
        }
        for header in signed {
            request.headers_mut().try_insert(header.name(), header.value().to_owned())?;
        }
        Ok(request)
    }
}
