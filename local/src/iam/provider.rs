//! OpenID Connect identity providers, and the check of their tokens: a JSON Web Token (RFC 7519)
//! signed with RS256 or ES256 by a key of the provider's set (RFC 7517).

use std::time::SystemTime;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sigv4;

/// How far the provider's clock may be ahead.
const CLOCK_SKEW: i64 = 300;

/// An identity provider that an account trusts.
#[derive(Debug)]
pub(crate) struct Provider {
    /// The issuer's URL without `https://`, which its condition keys begin with.
    pub(crate) name: String,
    audiences: Vec<String>,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    kind: KeyKind,
}

#[derive(Debug)]
enum KeyKind {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
}

/// The claims of a valid token.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) provider: String,
    pub(crate) subject: String,
    pub(crate) audience: String,
}

/// Why a token is refused, as STS's errors tell them apart, in AWS's words where they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is malformed, or signed by nobody who is trusted.
    Invalid(String),
    /// It was valid once.
    Expired(String),
}

impl Provider {
    /// A provider with a JSON Web Key Set.
    pub(crate) fn new(issuer: &str, audiences: Vec<String>, keys: &Value) -> Result<Self, String> {
        let name = issuer.strip_prefix("https://").unwrap_or(issuer);
        if audiences.is_empty() {
            return Err("audiences is empty".into());
        }
        let keys = keys
            .get("keys")
            .and_then(Value::as_array)
            .ok_or("keys is not a JSON Web Key Set, {\"keys\": […]}")?
            .iter()
            .map(|key| Key::parse(key).ok_or("a key is neither RSA nor EC P-256"))
            .collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), audiences, keys })
    }

    /// A provider with a fresh key, and a token that it signed for a subject.
    pub(super) fn with_token(name: &str, subject: &str) -> Option<(Self, String)> {
        let audience = "sts.amazonaws.com";
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate(algorithm).ok()?;
        let part = |value: Value| BASE64.encode(value.to_string());
        // It lasts as long as the provider's key, which is as long as rds-local runs.
        let claims = json!({
            "iss": format!("https://{name}"), "sub": subject, "aud": audience, "iat": 0,
            "exp": 4_102_444_800_u64,
        });
        let signed = format!("{}.{}", part(json!({ "alg": "ES256", "typ": "JWT" })), part(claims));
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        let kind = KeyKind::P256(pair.public_key().as_ref().to_vec());
        let provider = Self {
            name: name.to_owned(),
            audiences: vec![audience.to_owned()],
            keys: vec![Key { id: None, kind }],
        };
        Some((provider, format!("{signed}.{}", BASE64.encode(signature.as_ref()))))
    }
}

/// Checks a token against the providers, of which its issuer must be one.
pub(crate) fn check(
    token: &str,
    providers: &[Provider],
    now: SystemTime,
) -> Result<Claims, Refused> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        kid: Option<String>,
    }
    let invalid = |why: &str| Refused::Invalid(why.to_owned());
    let malformed = || {
        invalid(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
        )
    };
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let decode = |part: &str| BASE64.decode(part).map_err(|_| malformed());
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
    let claims: Value = serde_json::from_slice(&decode(claims)?).map_err(|_| malformed())?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);

    let issuer = text("iss").ok_or_else(|| invalid("The ID Token has no issuer (iss)"))?;
    let provider = providers
        .iter()
        .find(|provider| issuer.strip_prefix("https://") == Some(&provider.name))
        .ok_or_else(|| {
            Refused::Invalid(format!(
                "No OpenIDConnect provider found in your account for {}",
                issuer.escape_debug()
            ))
        })?;
    let signature = decode(signature)?;
    let fits = |key: &&Key| header.kid.is_none() || key.id.is_none() || key.id == header.kid;
    if !provider.keys.iter().filter(fits).any(|key| key.has_signed(&header.alg, signed, &signature))
    {
        return Err(invalid("The ID Token's signature is not by a key of its identity provider"));
    }
    check_times(&claims, now)?;
    let audience = audiences(&claims)
        .find(|audience| provider.audiences.iter().any(|known| known == audience))
        .ok_or_else(|| invalid("Incorrect token audience"))?;
    Ok(Claims {
        provider: provider.name.clone(),
        subject: text("sub")
            .ok_or_else(|| invalid("The ID Token has no subject (sub)"))?
            .to_owned(),
        audience: audience.to_owned(),
    })
}

/// The token must have begun, and not have ended.
fn check_times(claims: &Value, now: SystemTime) -> Result<(), Refused> {
    let invalid = |why: &str| Refused::Invalid(why.to_owned());
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    let now = sigv4::seconds_between(SystemTime::UNIX_EPOCH, now) as f64;
    let expiry = seconds("exp").ok_or_else(|| invalid("The ID Token has no expiry (exp)"))?;
    if expiry <= now {
        return Err(Refused::Expired(format!(
            "Token expired: current date/time {now} must be before the expiration date/time {expiry}"
        )));
    }
    let early = |name: &str| seconds(name).is_some_and(|time| time > now + CLOCK_SKEW as f64);
    if early("iat") || early("nbf") {
        return Err(invalid("The ID Token is not valid yet (iat or nbf is in the future)"));
    }
    Ok(())
}

/// `aud` is a string, or a list of them.
fn audiences(claims: &Value) -> impl Iterator<Item = &str> {
    let audience = claims.get("aud");
    let many = audience.and_then(Value::as_array).into_iter().flatten();
    many.chain(audience).filter_map(Value::as_str)
}

impl Key {
    fn parse(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let number = |name: &str| BASE64.decode(text(name)?).ok();
        let kind = match text("kty")? {
            "RSA" => KeyKind::Rsa { n: number("n")?, e: number("e")? },
            "EC" if text("crv") == Some("P-256") => {
                KeyKind::P256([vec![4], number("x")?, number("y")?].concat())
            }
            _ => return None,
        };
        Some(Self { id: text("kid").map(str::to_owned), kind })
    }

    fn has_signed(&self, algorithm: &str, message: &str, signature: &[u8]) -> bool {
        let message = message.as_bytes();
        match (&self.kind, algorithm) {
            (KeyKind::Rsa { n, e }, "RS256") => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            (KeyKind::P256(point), "ES256") => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .is_ok()
            }
            // A key signs in its own way only, so that a token cannot choose a weaker one.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_token_is_checked_in_every_part() {
        let (provider, token) = Provider::with_token("idp.example", "me").unwrap();
        let (_, of_another_key) = Provider::with_token("idp.example", "me").unwrap();
        let (_, of_another_issuer) = Provider::with_token("other.example", "me").unwrap();
        let providers = [provider];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_260);
        let claims = check(&token, &providers, now).unwrap();
        assert_eq!(
            (claims.subject.as_str(), claims.audience.as_str()),
            ("me", "sts.amazonaws.com")
        );

        let unsigned = token.replacen(
            token.split('.').next().unwrap(),
            &BASE64.encode(r#"{"alg":"none"}"#),
            1,
        );
        for (token, told) in [
            (of_another_key, "signature"),
            (of_another_issuer, "provider"),
            (unsigned, "signature"),
            ("x".into(), "not a valid JWT"),
            (format!("{token}x"), ""),
            (token[..token.rfind('.').unwrap() + 1].to_owned(), "signature"),
        ] {
            let Err(Refused::Invalid(why)) = check(&token, &providers, now) else {
                panic!("{token} is not refused");
            };
            assert!(why.contains(told), "{why}");
        }
        let later = now + Duration::from_secs(3_000_000_000);
        let error = check(&token, &providers, later).unwrap_err();
        assert!(
            matches!(&error, Refused::Expired(why) if why.contains("must be before")),
            "{error:?}"
        );
    }
}
