//! Apache Parquet: the texts of a column, page by page.

use std::fs::File;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use parquet::basic::Type;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::{Compression, Place, Reading, Source, Take, document};
use crate::{DataError, file};

/// Rows that are read at a time.
const ROWS: usize = 1024;

/// The documents of a file, from columns of strings. A row without a value is none.
pub(super) fn parquet(
    source: &Source,
    reading: &Reading,
    count: &AtomicU64,
    take: Take<'_>,
) -> Result<ControlFlow<()>, DataError> {
    let failed = |problem: String| DataError::File {
        path: source.path.clone(),
        problem,
    };
    let damaged = |error: ParquetError| failed(format!("cannot be read as Parquet: {error}"));
    if source.compression != Compression::None {
        let problem =
            "is a compressed Parquet file, which is compressed inside: decompress it first";
        return Err(failed(problem.to_owned()));
    }
    let opened = File::open(&source.path).map_err(|error| file::failed(&source.path, error))?;
    let reader = SerializedFileReader::new(opened).map_err(damaged)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let place = |name: &String| {
        let columns = schema.columns();
        let found = columns
            .iter()
            .position(|column| column.path().string() == *name)
            .ok_or_else(|| {
                let names: Vec<String> = columns.iter().map(|c| c.path().string()).collect();
                let names = names.join(", ");
                failed(format!(
                    "has no column {name:?}, but {names}: choose one of these"
                ))
            })?;
        let column = &columns[found];
        match column.physical_type() {
            Type::BYTE_ARRAY if column.max_rep_level() == 0 => Ok(found),
            _ => Err(failed(format!("has a column {name:?} that is no text"))),
        }
    };
    let places: Vec<usize> = reading.fields.iter().map(place).collect::<Result<_, _>>()?;
    let mut row = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(damaged)?;
        let mut columns = (places.iter())
            .map(|place| {
                let depth = schema.column(*place).max_def_level();
                let column = group.get_column_reader(*place).map_err(damaged)?;
                Ok((column, depth))
            })
            .collect::<Result<Vec<_>, DataError>>()?;
        loop {
            let texts = (columns.iter_mut())
                .map(|(column, depth)| next_rows(column, *depth))
                .collect::<Result<Vec<_>, _>>()
                .map_err(damaged)?;
            let rows = texts.iter().map(Vec::len).min().unwrap_or(0);
            if rows == 0 {
                break;
            }
            for at in 0..rows {
                let cells: Vec<&[u8]> = (texts.iter())
                    .filter_map(|texts| texts[at].as_ref().map(ByteArray::data))
                    .collect();
                // Rows stand for lines in errors.
                let place = Place {
                    lines: row,
                    bytes: 0,
                };
                if document(&cells.join(&b' '), place, take).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                row += 1;
            }
        }
        let size = group.metadata().compressed_size();
        count.fetch_add(u64::try_from(size).unwrap_or(0), Ordering::Relaxed);
    }
    Ok(ControlFlow::Continue(()))
}

/// The next values of a column; none where a row has no value.
fn next_rows(
    column: &mut ColumnReader,
    depth: i16,
) -> Result<Vec<Option<ByteArray>>, ParquetError> {
    let ColumnReader::ByteArrayColumnReader(column) = column else {
        return Err(ParquetError::General(
            "a column changes its type".to_owned(),
        ));
    };
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (rows, _, _) = column.read_records(ROWS, Some(&mut levels), None, &mut values)?;
    let mut values = values.into_iter();
    Ok(match depth {
        0 => values.map(Some).collect(),
        _ => (levels.into_iter().take(rows))
            .map(|level| (level == depth).then(|| values.next()).flatten())
            .collect(),
    })
}
