//! Bytes to an object's bytes: as they are, or compressed on the way.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use crate::format::Compression;

/// What is written goes in, and what the object holds is taken out: memory holds the difference only.
pub(crate) enum Compressor {
    None(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(Vec::new()),
            // gzip's own default.
            Compression::Gzip => {
                let encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                Self::Gzip(Box::new(encoder))
            }
            // zstd's own default.
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
                encoder.include_checksum(true)?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    /// The bytes of the object that are ready, to be taken.
    pub(crate) fn ready(&mut self) -> &mut Vec<u8> {
        match self {
            Self::None(ready) => ready,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }

    /// Ends the compression, and returns what is left.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::None(ready) => Ok(ready),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(ready) => ready.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
