//! The credentials and their source: names of profiles, files and variables, and never a value of a key.

use std::fmt;
use std::time::SystemTime;

use rds_iam::credentials::{Failure, KeyFlaw, KeyKind};

/// A flaw of one part of the credentials, and the variable that holds or would hold it.
pub(crate) type Flaw = (&'static str, KeyFlaw);

/// The credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// The step did not run.
    #[default]
    Unknown,
    Found {
        /// The kind that the key id shows.
        kind: KeyKind,
        /// Whether a session token belongs to them.
        session_token: bool,
        expiry: Option<SystemTime>,
        /// Flaws of the keys, such as quotes.
        flaws: Vec<Flaw>,
        source: Source,
    },
    /// Not found.
    Missing {
        failure: Failure,
        /// Whether a server was not reached.
        unreachable: bool,
        /// Where they were to come from.
        source: Source,
    },
    /// Their source did not answer.
    Silent {
        /// Where they were to come from.
        source: Source,
    },
}

impl Credentials {
    /// Their source, if the step ran.
    pub(crate) fn source(&self) -> Option<&Source> {
        match self {
            Self::Unknown => None,
            Self::Found { source, .. } | Self::Missing { source, .. } | Self::Silent { source } => {
                Some(source)
            }
        }
    }

    /// Why they are missing, if they are.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Missing { failure, .. } => Some(failure),
            _ => None,
        }
    }
}

/// The first source that is configured, in the order of the SDK's default chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `AWS_ACCESS_KEY_ID` and its companions.
    Environment,
    Profile(Profile),
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`, with `AWS_ROLE_ARN`.
    WebIdentity(TokenFile),
    /// The agent of a container.
    Container {
        /// The variable that names it.
        variable: &'static str,
        /// The flaw of the file of `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, as a phrase.
        token: Option<&'static str>,
    },
    /// Nothing is configured: an EC2 instance's role, if this machine has one.
    Machine,
}

impl Source {
    /// The profile, if it is one.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        match self {
            Self::Profile(profile) => Some(profile),
            _ => None,
        }
    }

    /// The web identity, of the variables or of a profile.
    pub(crate) fn web_identity(&self) -> Option<&TokenFile> {
        match self {
            Self::WebIdentity(token)
            | Self::Profile(Profile { way: Way::WebIdentity(token), .. }) => Some(token),
            _ => None,
        }
    }

    /// Whether they are got from STS.
    pub(crate) fn asks_sts(&self) -> bool {
        self.web_identity().is_some() || self.profile().is_some_and(|p| !p.roles.is_empty())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("the environment's keys"),
            Self::Profile(profile) => write!(f, "profile {}", profile.selected),
            Self::WebIdentity(_) => f.write_str("a web identity"),
            Self::Container { .. } => f.write_str("the container's role"),
            Self::Machine => f.write_str("the default profile, or the machine's role"),
        }
    }
}

/// The profile that `AWS_PROFILE` selects, followed through each `source_profile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The selected one.
    pub(crate) selected: String,
    /// The one that the first credentials come from.
    pub(crate) base: String,
    /// The file and the section of the base: `~/.aws/config, under [profile app]`
    pub(crate) place: String,
    /// Where the base has its credentials from.
    pub(crate) way: Way,
    /// The roles that are assumed on the way, the selected profile's first.
    pub(crate) roles: Vec<ProfileRole>,
    /// The profiles that there are.
    pub(crate) names: Vec<String>,
}

/// A role of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProfileRole {
    /// `role_arn`
    pub(crate) arn: String,
    /// The file and the section of its profile.
    pub(crate) place: String,
    /// Whether the profile has an `external_id`.
    pub(crate) external_id: bool,
}

/// Where a profile has its credentials from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `aws_access_key_id` and its companions, and what no key has in it.
    Keys(Vec<Flaw>),
    /// `credential_process`
    Process,
    /// IAM Identity Center.
    Sso,
    /// `web_identity_token_file`
    WebIdentity(TokenFile),
    /// `credential_source`, with its value.
    CredentialSource(&'static str),
    /// `login_session`, of `aws login`.
    LoginSession,
    /// There is no profile of that name.
    NoSuchProfile,
    /// The profile has none.
    Nothing,
    /// It is configured wrongly: a phrase. `ends` if no other source is tried then.
    Broken {
        what: String,
        /// Whether the SDK stops there.
        ends: bool,
    },
}

/// The file of a web identity token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenFile {
    pub(crate) path: String,
    /// The role that it is exchanged for; empty if that is not set.
    pub(crate) role: String,
    /// The file's flaw, as a phrase.
    pub(crate) flaw: Option<&'static str>,
}
