//! How a batch job repeats a statement: in chunks, each a transaction of its own.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::declared::{Mode, Param, ResultKind, Wrong};

/// A pause holds neither a lock nor a transaction, and the lease must outlive it.
const LONGEST_PAUSE: f64 = 60.0;
const LONGEST_TARGET: f64 = 300.0;

/// Front matter of a statement that `batch-job` runs again until it affects no rows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repeat {
    /// The time between two chunks.
    pub pause: Duration,
    /// The number of chunks after which a run ends the step, whatever is left.
    pub max_chunks: Option<u64>,
    /// The parameter that is the size of a chunk, if the function adapts it.
    pub adapt: Option<Adapt>,
}

/// A parameter whose value follows from how long chunks take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adapt {
    /// Its index in the query's parameters.
    pub param: usize,
    /// The time that a chunk should take.
    pub target: Duration,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum RawRepeat {
    #[serde(rename = "until-no-rows")]
    UntilNoRows,
}

/// The keys of the front matter that are about chunks.
pub(super) struct RawChunks {
    pub(super) repeat: Option<Spanned<RawRepeat>>,
    pub(super) pause: Option<Spanned<f64>>,
    pub(super) max_chunks: Option<Spanned<i64>>,
    pub(super) adapt: Option<Spanned<RawAdapt>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdapt {
    param: String,
    seconds: f64,
}

impl RawChunks {
    pub(super) fn read(
        &self,
        mode: Mode,
        result: &ResultKind,
        params: &[Param],
    ) -> Result<Option<Repeat>, Wrong> {
        let Some(repeat) = &self.repeat else {
            let start = [
                ("pause", self.pause.as_ref().map(|value| value.span().start)),
                ("max_chunks", self.max_chunks.as_ref().map(|value| value.span().start)),
                ("adapt", self.adapt.as_ref().map(|value| value.span().start)),
            ];
            let alone = start.into_iter().find_map(|(key, start)| Some((key, start?)));
            return match alone {
                None => Ok(None),
                Some((key, start)) => {
                    Err((start, format!("{key} is for repeat = \"until-no-rows\" only")))
                }
            };
        };
        if mode != Mode::Write || *result != ResultKind::Affected {
            let why = "repeat is for mode = \"write\" with result = \"affected\" only: it counts the rows that the statement affects";
            return Err((repeat.span().start, why.to_owned()));
        }
        Ok(Some(Repeat {
            pause: self.pause()?,
            max_chunks: self.max_chunks()?,
            adapt: self.adapt(params)?,
        }))
    }

    fn pause(&self) -> Result<Duration, Wrong> {
        let Some(pause) = &self.pause else { return Ok(Duration::ZERO) };
        let seconds = *pause.get_ref();
        if !(0.0..=LONGEST_PAUSE).contains(&seconds) {
            let why = format!("pause is in seconds, 0 to {LONGEST_PAUSE}");
            return Err((pause.span().start, why));
        }
        Ok(Duration::from_secs_f64(seconds))
    }

    fn max_chunks(&self) -> Result<Option<u64>, Wrong> {
        let Some(max) = &self.max_chunks else { return Ok(None) };
        match u64::try_from(*max.get_ref()) {
            Ok(count @ 1..) => Ok(Some(count)),
            _ => Err((max.span().start, "max_chunks is a number from 1".to_owned())),
        }
    }

    fn adapt(&self, params: &[Param]) -> Result<Option<Adapt>, Wrong> {
        let Some(adapt) = &self.adapt else { return Ok(None) };
        let wrong = |why: String| Err((adapt.span().start, why));
        let RawAdapt { param, seconds } = adapt.get_ref();
        if !(0.01..=LONGEST_TARGET).contains(seconds) {
            return wrong(format!("adapt: seconds is 0.01 to {LONGEST_TARGET}"));
        }
        match params.iter().position(|declared| declared.name == *param) {
            Some(index) if params[index].param_type.is_none() => {
                Ok(Some(Adapt { param: index, target: Duration::from_secs_f64(*seconds) }))
            }
            Some(_) => {
                wrong(format!("adapt: the parameter {param} has a type, so it is not a number"))
            }
            None => wrong(format!("adapt: params declares no parameter {param}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Query;

    const JOB: &str = "mode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"";

    fn parse(front: &str) -> Result<Query, String> {
        let text = format!("/*+++\n{front}\n+++*/\nDELETE FROM t");
        Query::parse("q", &text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_read() {
        let query = parse(&format!(
            "{JOB}\npause = 0.25\nmax_chunks = 7\nadapt = {{ param = \"n\", seconds = 1.5 }}\n\
             params = [{{ name = \"m\" }}, {{ name = \"n\", default = 100 }}]"
        ));
        let repeat = query.unwrap().repeat.unwrap();
        assert_eq!((repeat.pause.as_millis(), repeat.max_chunks), (250, Some(7)));
        let adapt = repeat.adapt.unwrap();
        assert_eq!((adapt.param, adapt.target.as_millis()), (1, 1500));
        let plain = parse(JOB).unwrap().repeat.unwrap();
        assert!(plain.pause.is_zero() && plain.max_chunks.is_none() && plain.adapt.is_none());
        assert!(parse("mode = \"write\"").unwrap().repeat.is_none());
    }

    #[test]
    fn what_contradicts_itself_names_the_line() {
        for (front, expected) in [
            ("repeat = \"until-no-rows\"".to_owned(), "line 2: repeat is for mode"),
            (
                "mode = \"write\"\nrepeat = \"until-no-rows\"".to_owned(),
                "line 3: repeat is for mode",
            ),
            ("mode = \"write\"\npause = 1".to_owned(), "line 3: pause is for repeat"),
            ("max_chunks = 1".to_owned(), "line 2: max_chunks is for repeat"),
            (format!("{JOB}\npause = 61"), "line 5: pause is in seconds, 0 to 60"),
            (format!("{JOB}\npause = -1"), "line 5: pause is in seconds"),
            (format!("{JOB}\nmax_chunks = 0"), "line 5: max_chunks is a number from 1"),
            (
                format!("{JOB}\nadapt = {{ param = \"n\", seconds = 1 }}"),
                "params declares no parameter n",
            ),
            (format!("{JOB}\nadapt = {{ param = \"n\", seconds = 0 }}"), "seconds is 0.01 to 300"),
            (format!("{JOB}\nadapt = {{ parm = \"n\", seconds = 1 }}"), "did you mean param?"),
            (format!("{JOB}\npauze = 1"), "unknown key pauze; did you mean pause?"),
            (
                format!(
                    "{JOB}\nadapt = {{ param = \"n\", seconds = 1 }}\nparams = [{{ name = \"n\", type = \"json\" }}]"
                ),
                "it is not a number",
            ),
            ("mode = \"write\"\nresult = \"affected\"\nrepeat = \"forever\"".to_owned(), "line 4"),
        ] {
            let error = parse(&front).unwrap_err();
            assert!(error.contains(expected), "{front}: {error}");
        }
    }
}
