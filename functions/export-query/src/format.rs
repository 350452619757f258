//! What the end of a key says: the format and the compression of an object.

use rds_iam::postgres::RowForm;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON object a line.
    Ndjson,
    /// As `COPY … TO STDOUT (FORMAT csv, HEADER)` writes it.
    Csv,
    /// Columns with types, compressed with zstd by the page.
    Parquet,
}

/// How the whole object is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// For the error of a key that ends otherwise.
pub(crate) const ENDINGS: &str =
    "End it with .ndjson or .csv, alone or with .gz or .zst, or with .parquet";

/// The format and compression of an object with this key.
pub(crate) fn of_key(key: &str) -> Option<(Format, Compression)> {
    let (name, compression) = if let Some(name) = key.strip_suffix(".gz") {
        (name, Compression::Gzip)
    } else if let Some(name) = key.strip_suffix(".zst") {
        (name, Compression::Zstd)
    } else {
        (key, Compression::None)
    };
    let format = match name.rsplit_once('.')?.1 {
        "ndjson" => Format::Ndjson,
        "csv" => Format::Csv,
        "parquet" if compression == Compression::None => Format::Parquet,
        _ => return None,
    };
    Some((format, compression))
}

/// A key without the ending that [`of_key`] reads.
pub(crate) fn without_ending(key: &str) -> &str {
    let name = key.strip_suffix(".gz").or_else(|| key.strip_suffix(".zst")).unwrap_or(key);
    name.rsplit_once('.').map_or(name, |(name, _)| name)
}

impl Format {
    /// The form in which the rows must arrive.
    pub(crate) fn row_form(self) -> RowForm {
        match self {
            Self::Ndjson => RowForm::Members,
            Self::Csv => RowForm::Fields,
            Self::Parquet => RowForm::Values,
        }
    }

    /// The media type of an object. A compressed one is a file of that kind: with a Content-Encoding,
    /// some clients would unpack it behind their user's back.
    pub(crate) fn content_type(self, compression: Compression) -> &'static str {
        match (compression, self) {
            (Compression::Gzip, _) => "application/gzip",
            (Compression::Zstd, _) => "application/zstd",
            (Compression::None, Self::Ndjson) => "application/x-ndjson",
            (Compression::None, Self::Csv) => "text/csv",
            (Compression::None, Self::Parquet) => "application/vnd.apache.parquet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_key_decides() {
        assert_eq!(of_key("a.ndjson"), Some((Format::Ndjson, Compression::None)));
        assert_eq!(of_key("a.b/c.csv.gz"), Some((Format::Csv, Compression::Gzip)));
        assert_eq!(of_key("a.ndjson.zst"), Some((Format::Ndjson, Compression::Zstd)));
        assert_eq!(of_key("a.parquet"), Some((Format::Parquet, Compression::None)));
        for other in ["a", "a.json", "a.gz", "a.parquet.gz", "a.csv.bz2", "csv", ""] {
            assert_eq!(of_key(other), None, "{other}");
        }
        for key in ["a.b/c.csv.gz", "a.b/c.ndjson", "a.b/c.parquet", "a.b/c.csv.zst"] {
            assert_eq!(without_ending(key), "a.b/c");
        }
    }
}
